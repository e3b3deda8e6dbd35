package pki

import (
	"context"
	"encoding/pem"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Where the authorities answer. The lists and the authorities themselves are
// public: who verifies a certificate has no token.
const (
	CertificatePath = "/targets/pki/{system}/ca.crt"
	CRLPath         = "/targets/pki/{system}/crl"
	SSHPath         = "/targets/pki/{system}/ssh-ca.pub"
	KRLPath         = "/targets/pki/{system}/krl"
	RegisterPath    = "/targets/pki/{system}/certificates"
	// ChallengePath is where an authority elsewhere looks (RFC 8555, section 8.3).
	ChallengePath = "/.well-known/acme-challenge/{token}"
	IssuedPath    = "/targets/pki/credentials/{credential}/certificate"
)

const maxRegister = 100

// Public returns the handlers of what anybody may read, by path.
func (a *Authority) Public() map[string]http.Handler {
	of := func(media string, read func(ctx context.Context, system countersign.SystemID) ([]byte, error)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !onlyGet(w, r) {
				return
			}
			system, ok := systemOf(w, r)
			if !ok {
				return
			}
			content, err := read(r.Context(), system)
			if err != nil {
				refuseRead(w, err, "this system has no authority: one is made with its first certificate")
				return
			}
			w.Header().Set("Content-Type", media)
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			// A failed write means that the caller went away; there is nobody to tell.
			_, _ = w.Write(content)
		})
	}
	return map[string]http.Handler{
		CertificatePath: of("application/pkix-cert", a.AuthorityCertificate),
		CRLPath:         of("application/pkix-crl", a.CRL),
		SSHPath:         of("text/plain; charset=utf-8", a.AuthorityKey),
		KRLPath:         of("application/octet-stream", a.KRL),
		ChallengePath:   http.HandlerFunc(a.readChallenge),
	}
}

// AuthorityCertificate returns the certificate of a system's X.509 authority, in
// DER.
func (a *Authority) AuthorityCertificate(ctx context.Context, system countersign.SystemID) ([]byte, error) {
	held, err := a.authorityRecord(ctx, X509, system)
	return held.Certificate, err
}

// AuthorityKey returns the public key of a system's SSH authority, as sshd takes
// it in TrustedUserCAKeys.
func (a *Authority) AuthorityKey(ctx context.Context, system countersign.SystemID) ([]byte, error) {
	held, err := a.authorityRecord(ctx, SSH, system)
	if err != nil {
		return nil, err
	}
	public, err := ssh.ParsePublicKey(held.Certificate)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(public), nil
}

// Chain returns the certificate of a credential as its holder installs it: PEM,
// with the authority's after it; for SSH one line.
func (a *Authority) Chain(ctx context.Context, credential countersign.CredentialID) ([]byte, error) {
	_, held, err := a.load(ctx, credential)
	if err != nil {
		return nil, err
	}
	if held.Certificate == nil {
		return nil, countersign.Errorf(countersign.NotFound, "no-such-certificate", "no certificate was issued for %s", credential)
	}
	if held.Kind == SSH {
		public, err := ssh.ParsePublicKey(held.Certificate)
		if err != nil {
			return nil, err
		}
		return ssh.MarshalAuthorizedKey(public), nil
	}
	chain, issuers := pemOf(held.Certificate), held.Issuers
	if held.Kind == X509 {
		authority, err := a.AuthorityCertificate(ctx, held.System)
		if err != nil {
			return nil, err
		}
		issuers = [][]byte{authority}
	}
	for _, issuer := range issuers {
		chain = append(chain, pemOf(issuer)...)
	}
	return chain, nil
}

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}

// ReadIssued hands the certificate of a credential to whoever is signed in: it
// holds no secret.
func (a *Authority) ReadIssued(callers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onlyGet(w, r) {
			return
		}
		if _, known := target.Caller(w, r, callers); !known {
			return
		}
		chain, err := a.Chain(r.Context(), countersign.CredentialID(r.PathValue("credential")))
		if err != nil {
			refuseRead(w, err, "no certificate was issued for this credential")
			return
		}
		target.Answer(w, http.StatusOK, map[string]string{"credential": r.PathValue("credential"), "certificate": string(chain)})
	})
}

// ReadRegister lists the certificates of a system by serial number, to whoever is
// signed in.
func (a *Authority) ReadRegister(callers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onlyGet(w, r) {
			return
		}
		if _, known := target.Caller(w, r, callers); !known {
			return
		}
		system, ok := systemOf(w, r)
		if !ok {
			return
		}
		limit := maxRegister
		if text := r.URL.Query().Get("limit"); text != "" {
			var err error
			if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxRegister {
				target.Refuse(w, http.StatusBadRequest, "malformed-limit", "limit is a number from 1 to "+strconv.Itoa(maxRegister))
				return
			}
		}
		found, err := a.Register(r.Context(), system, r.URL.Query().Get("after"), limit)
		if err != nil {
			refuseRead(w, err, "this system has no certificates")
			return
		}
		target.Answer(w, http.StatusOK, map[string]any{"certificates": found})
	})
}

func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	target.Refuse(w, http.StatusMethodNotAllowed, "wrong-method", "use GET")
	return false
}

func systemOf(w http.ResponseWriter, r *http.Request) (countersign.SystemID, bool) {
	system := countersign.SystemID(r.PathValue("system"))
	if _, err := target.ParseID(system); err != nil || !strings.HasPrefix(string(system), "sys_") {
		target.Refuse(w, http.StatusNotFound, "no-such-system", "name the system by its id, sys_…")
		return "", false
	}
	return system, true
}

func refuseRead(w http.ResponseWriter, err error, missing string) {
	if kind := countersign.KindOf(err); kind == countersign.NotFound || kind == countersign.Invalid {
		target.Refuse(w, http.StatusNotFound, "no-such-certificate", missing)
		return
	}
	target.Refuse(w, http.StatusServiceUnavailable, "unavailable", "this cannot be read now")
}
