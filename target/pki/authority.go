package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

const (
	// authorityLife is how long the certificate of an authority is valid. None is
	// renewed: what it signs ends with it at the latest, and Ends says when that is.
	authorityLife = 10 * 365 * 24 * time.Hour
	// backdated lets verifiers whose clock is behind take a new certificate.
	backdated = time.Minute
)

// authorityRecord is the body of an authority's item.
type authorityRecord struct {
	// Certificate is DER, for SSH the public key in its wire form.
	Certificate []byte              `json:"certificate"`
	Secret      keys.Sealed         `json:"secret"`
	MadeAt      countersign.Instant `json:"made_at"`
}

// signer is an authority with its key.
type signer struct {
	key         crypto.Signer
	certificate *x509.Certificate
	ssh         ssh.Signer
}

func authorityKey(kind Kind, system countersign.SystemID) string {
	return authorityPrefix + string(kind) + "/" + string(system)
}

// secretContext binds the ciphertext of a key to its authority.
func secretContext(kind Kind, system countersign.SystemID) string {
	return "pki/" + string(kind) + "/" + string(system)
}

// authority returns the system's authority, and makes it where it is the first
// need.
func (a *Authority) authority(ctx context.Context, kind Kind, system countersign.SystemID, name string, notAfter countersign.Instant) (*signer, error) {
	held, err := a.loadAuthority(ctx, kind, system)
	if countersign.KindOf(err) != countersign.NotFound {
		return held, err
	}
	err = target.Commit(ctx, a.shelf, a.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		// Somebody else may have made it meanwhile, and there is one for ever.
		if _, err := a.shelf.Item(ctx, authorityKey(kind, system)); countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		made, fingerprint, err := a.makeAuthority(kind, system, name, now)
		if err != nil {
			return nil, err
		}
		item, err := target.Next(store.Item{Key: authorityKey(kind, system)}, made)
		if err != nil {
			return nil, err
		}
		change := &store.ShelfChange{Puts: []store.Item{item}}
		return change, a.record(ctx, change, now, system, &AuthorityMade{AuthorityMadeChange{Kind: kind, Key: fingerprint}})
	})
	if err != nil {
		return nil, err
	}
	return a.loadAuthority(ctx, kind, system)
}

func (a *Authority) makeAuthority(kind Kind, system countersign.SystemID, name string, now countersign.Instant) (*authorityRecord, string, error) {
	made := &authorityRecord{MadeAt: now}
	var key crypto.Signer
	var fingerprint string
	var err error
	if kind == SSH {
		_, key, err = ed25519.GenerateKey(a.random)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), a.random)
	}
	if err != nil {
		return nil, "", err
	}
	if kind == SSH {
		public, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			return nil, "", err
		}
		made.Certificate, fingerprint = public.Marshal(), ssh.FingerprintSHA256(public)
	} else {
		serial, err := a.bigSerial()
		if err != nil {
			return nil, "", err
		}
		spki, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, "", err
		}
		sum := sha256.Sum256(spki)
		fingerprint = "sha256:" + hex.EncodeToString(sum[:])
		template := &x509.Certificate{
			SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Countersign"}, CommonName: "Authority of " + clipped(name) + " " + string(system)[len(system)-6:]},
			NotBefore: now.Time().Add(-backdated), NotAfter: now.Time().Add(authorityLife),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: sum[:20],
		}
		if made.Certificate, err = x509.CreateCertificate(a.random, template, template, key.Public(), key); err != nil {
			return nil, "", err
		}
	}
	content, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	defer clear(content)
	made.Secret, err = keys.Seal(a.master, a.random, content, secretContext(kind, system))
	return made, fingerprint, err
}

// clipped keeps a name within what a common name takes, 64 bytes in all.
func clipped(name string) string {
	if len(name) > 40 {
		return strings.ToValidUTF8(name[:40], "")
	}
	return name
}

func (a *Authority) authorityRecord(ctx context.Context, kind Kind, system countersign.SystemID) (authorityRecord, error) {
	var held authorityRecord
	item, err := a.shelf.Item(ctx, authorityKey(kind, system))
	if err == nil {
		err = json.Unmarshal(item.Body, &held)
	}
	return held, err
}

func (a *Authority) loadAuthority(ctx context.Context, kind Kind, system countersign.SystemID) (*signer, error) {
	held, err := a.authorityRecord(ctx, kind, system)
	if err != nil {
		return nil, err
	}
	content, err := keys.Unseal(a.master, held.Secret, secretContext(kind, system))
	if err != nil {
		return nil, err
	}
	defer clear(content)
	parsed, err := x509.ParsePKCS8PrivateKey(content)
	if err != nil {
		return nil, countersign.Errorf(countersign.Internal, "malformed-authority", "the key of the authority of %s cannot be read", system)
	}
	key, is := parsed.(crypto.Signer)
	if !is {
		return nil, countersign.Errorf(countersign.Internal, "malformed-authority", "the key of the authority of %s signs nothing", system)
	}
	made := &signer{key: key}
	if kind == SSH {
		made.ssh, err = ssh.NewSignerFromSigner(key)
	} else {
		made.certificate, err = x509.ParseCertificate(held.Certificate)
	}
	return made, err
}

// Ends returns when the certificates of the X.509 authorities end, by system.
func (a *Authority) Ends(ctx context.Context) (map[countersign.SystemID]countersign.Instant, error) {
	found, prefix := map[countersign.SystemID]countersign.Instant{}, authorityKey(X509, "")
	for after := prefix; ; {
		items, err := a.shelf.Items(ctx, "", after, listPage)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			system, is := strings.CutPrefix(item.Key, prefix)
			if !is {
				return found, nil
			}
			var held authorityRecord
			if err := json.Unmarshal(item.Body, &held); err != nil {
				return nil, err
			}
			certificate, err := x509.ParseCertificate(held.Certificate)
			if err != nil {
				return nil, err
			}
			found[countersign.SystemID(system)] = countersign.InstantOf(certificate.NotAfter)
			after = item.Key
		}
		if len(items) < listPage {
			return found, nil
		}
	}
}

// bigSerial draws a serial number of 127 bits, which none else has.
func (a *Authority) bigSerial() (*big.Int, error) {
	var drawn [16]byte
	if _, err := io.ReadFull(a.random, drawn[:]); err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	drawn[0] = drawn[0]&0x7f | 0x40
	return new(big.Int).SetBytes(drawn[:]), nil
}

// sign makes the certificate of an order, and returns it with its serial number.
func (s *signer) sign(a *Authority, order Order, asked Asked, now countersign.Instant) ([]byte, string, error) {
	if order.Kind == SSH {
		return s.signSSH(a, order, asked, now)
	}
	serial, err := a.bigSerial()
	if err != nil {
		return nil, "", err
	}
	// Its last second is included in its life, and the end is not.
	end := order.Until.Time().Truncate(time.Second).Add(-time.Second)
	if end.After(s.certificate.NotAfter) {
		return nil, "", countersign.Errorf(countersign.Conflict, "authority-ends-first", "the authority of %s ends at %s, before the certificate would", order.SystemName, countersign.InstantOf(s.certificate.NotAfter))
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{}, DNSNames: []string{order.Name},
		NotBefore: now.Time().Add(-backdated), NotAfter: end, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		CRLDistributionPoints: []string{a.issuer + strings.Replace(CRLPath, "{system}", string(order.System), 1)},
		IssuingCertificateURL: []string{a.issuer + strings.Replace(CertificatePath, "{system}", string(order.System), 1)},
	}
	// A subject that fits is what old clients look at; a longer name stands in the
	// alternative name alone.
	if len(order.Name) <= 64 {
		template.Subject.CommonName = order.Name
	}
	if order.Limits.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if order.Limits.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	certificate, err := x509.CreateCertificate(a.random, template, s.certificate, asked.public, s.key)
	return certificate, hexSerial(serial), err
}

func hexSerial(serial *big.Int) string { return fmt.Sprintf("%x", serial) }

// Principal is what a host must let in for the right: system/resource/name.
func Principal(system, resource, name string) string { return system + "/" + resource + "/" + name }

func (s *signer) signSSH(a *Authority, order Order, asked Asked, now countersign.Instant) ([]byte, string, error) {
	var drawn [8]byte
	if _, err := io.ReadFull(a.random, drawn[:]); err != nil {
		return nil, "", fmt.Errorf("drawing a serial number: %w", err)
	}
	certificate := &ssh.Certificate{
		Key: asked.ssh, Serial: binary.BigEndian.Uint64(drawn[:])>>1 | 1<<62, CertType: ssh.UserCert,
		KeyId:           string(order.Credential) + " for " + string(order.Holder),
		ValidPrincipals: []string{Principal(order.SystemName, order.Resource, order.Name)},
		ValidAfter:      uint64(now.Time().Add(-backdated).Unix()), ValidBefore: uint64(order.Until.Time().Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	if err := certificate.SignCert(a.random, s.ssh); err != nil {
		return nil, "", err
	}
	return certificate.Marshal(), fmt.Sprint(certificate.Serial), nil
}
