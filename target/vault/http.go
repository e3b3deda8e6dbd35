package vault

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Where the vault answers.
const (
	IntrospectPath = "/targets/vault/introspect"
	ReadPath       = "/targets/vault/secrets/{reference}/read"
)

// maxBody bounds what a caller may send, in bytes.
const maxBody = 16 << 10

// introspection is the answer of RFC 7662, section 2.2; times are seconds since
// 1970. An inactive key has no other member than active.
type introspection struct {
	Active bool   `json:"active"`
	Scope  string `json:"scope,omitempty"`
	Sub    string `json:"sub,omitempty"`
	Aud    string `json:"aud,omitempty"`
	Iss    string `json:"iss,omitempty"`
	Iat    int64  `json:"iat,omitempty"`
	Exp    int64  `json:"exp,omitempty"`
	Jti    string `json:"jti,omitempty"`
}

// Introspect answers whether a key works (RFC 7662), to resource servers.
func (v *Vault) Introspect(resourceServers target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onlyPost(w, r) {
			return
		}
		if _, known := target.Caller(w, r, resourceServers); !known {
			return
		}
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/x-www-form-urlencoded" {
			target.Refuse(w, http.StatusUnsupportedMediaType, "wrong-content-type", "send the token as application/x-www-form-urlencoded")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			target.RefuseBody(w, err)
			return
		}
		token, ok := onlyValue(r.PostForm, "token")
		if !ok {
			target.Refuse(w, http.StatusBadRequest, "invalid_request", "send exactly one token member in the body")
			return
		}
		check, err := v.CheckKey(r.Context(), countersign.NewSecret(token))
		if err != nil {
			target.Refuse(w, http.StatusServiceUnavailable, "unavailable", "the key cannot be checked now")
			return
		}
		target.Answer(w, http.StatusOK, v.introspection(check))
	})
}

func (v *Vault) introspection(check Check) introspection {
	if !check.Active {
		return introspection{}
	}
	answer := introspection{
		Active: true, Scope: check.Scope, Sub: string(check.Holder), Aud: check.SystemName, Iss: v.issuer,
		Iat: check.IssuedAt.Time().Unix(), Jti: string(check.Credential),
	}
	if check.Until != 0 {
		answer.Exp = check.Until.Time().Unix()
	}
	return answer
}

// ReadSecret hands a secret to its holder.
func (v *Vault) ReadSecret(holders target.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onlyPost(w, r) {
			return
		}
		holder, known := target.Caller(w, r, holders)
		if !known {
			return
		}
		reference := countersign.CredentialID(r.PathValue("reference"))
		secret, err := v.Read(r.Context(), holder, reference)
		switch kind := countersign.KindOf(err); {
		case err == nil:
			target.Answer(w, http.StatusOK, map[string]string{"reference": string(reference), "secret": secret.Reveal()})
		case kind == countersign.NotFound:
			target.Refuse(w, http.StatusNotFound, "no-such-secret", "there is no such secret for you")
		case kind == countersign.Conflict:
			target.Refuse(w, http.StatusGone, countersign.ReasonOf(err), err.Error())
		case kind == countersign.Refused:
			target.Refuse(w, http.StatusForbidden, countersign.ReasonOf(err), err.Error())
		default:
			target.Refuse(w, http.StatusServiceUnavailable, "unavailable", "the secret cannot be read now; nothing was read")
		}
	})
}

func onlyPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	target.Refuse(w, http.StatusMethodNotAllowed, "wrong-method", "use POST")
	return false
}

func onlyValue(form url.Values, name string) (string, bool) {
	values := form[name]
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}
