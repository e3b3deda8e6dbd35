package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// challengeToken is base64url of at least 128 bits, by RFC 8555.
var challengeToken = regexp.MustCompile(`^[A-Za-z0-9_-]{16,256}$`)

// Reservation is what the register knows of a certificate that is ordered
// elsewhere.
type Reservation struct {
	Asked Asked
	// Place is where the order is kept; "" where none was made.
	Place string
	// There says that the certificate is here already.
	There bool
}

// Reserve writes down what is to be ordered elsewhere, before it is, with the
// refusals of Issue. Reserved again, another end is taken over: the authority
// elsewhere decides when a certificate ends, and the register when it is revoked.
func (a *Authority) Reserve(ctx context.Context, order Order) (Reservation, error) {
	if err := order.check(); err != nil {
		return Reservation{}, err
	}
	asked, err := order.read(a.now())
	if err != nil {
		return Reservation{}, err
	}
	found := Reservation{Asked: asked}
	err = target.Commit(ctx, a.shelf, a.clock, order.NotAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, order.Credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			held = record{
				Grant: order.Grant, Holder: order.Holder, System: order.System, SystemName: order.SystemName, Entitlement: order.Entitlement,
				Resource: order.Resource, Name: order.Name, Kind: order.Kind, Key: asked.key,
			}
		case err != nil:
			return nil, err
		case held.Trouble != "":
			return nil, notDeployed(order.Credential, held.Trouble)
		case held.RevokedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "the certificate of %s was revoked at %s and is never ordered again; ask for a new credential", order.Credential, held.RevokedAt)
		case !held.carries(order, asked):
			return nil, countersign.Errorf(countersign.Conflict, "not-ours", "the register has another certificate under %s, for %s on %s/%s", order.Credential, held.Holder, held.SystemName, held.Resource)
		}
		found.Place, found.There = held.Place, held.Certificate != nil
		if held.Until == order.Until || held.Intent == order.Intent && held.Attempt >= order.Attempt {
			return nil, nil
		}
		change := &store.ShelfChange{}
		if err := a.claimKey(ctx, change, asked, order.Credential); err != nil {
			return nil, err
		}
		held.Intent, held.Attempt, held.Until = order.Intent, order.Attempt, order.Until
		if held.Serial != "" {
			entry, err := a.moveEnd(ctx, held)
			if err != nil {
				return nil, err
			}
			change.Puts = append(change.Puts, entry)
		}
		put, err := target.Next(item, held)
		put.Key, put.EndsAt = string(order.Credential), order.Until
		change.Puts = append(change.Puts, put)
		return change, err
	})
	return found, err
}

// moveEnd is the entry of the record's serial number with the record's end.
func (a *Authority) moveEnd(ctx context.Context, held record) (store.Item, error) {
	item, err := a.shelf.Item(ctx, serialKey(held.System, held.Kind, held.Serial))
	if err != nil {
		return store.Item{}, err
	}
	var entry issued
	if err := json.Unmarshal(item.Body, &entry); err != nil {
		return store.Item{}, err
	}
	entry.Until, item.EndsAt = held.end(), held.end()
	return target.Next(item, entry)
}

// Ordered writes down where the order of a credential is kept; "" forgets an order
// of which nothing will come.
func (a *Authority) Ordered(ctx context.Context, credential countersign.CredentialID, place string, notAfter countersign.Instant) error {
	return target.Commit(ctx, a.shelf, a.clock, notAfter, func(countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, credential)
		if err != nil || held.Place == place {
			return nil, err
		}
		held.Place = place
		put, err := target.Next(item, held)
		return &store.ShelfChange{Puts: []store.Item{put}}, err
	})
}

// Deposit takes over what was signed elsewhere for a credential: the certificate
// and those above it, in DER. One that is not exactly for the reserved name and key
// is a Conflict.
func (a *Authority) Deposit(ctx context.Context, credential countersign.CredentialID, asked Asked, chain [][]byte, notAfter countersign.Instant) error {
	if len(chain) == 0 {
		return countersign.Errorf(countersign.Conflict, "no-certificate", "the authority elsewhere gave no certificate for %s", credential)
	}
	certificate, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return countersign.Errorf(countersign.Conflict, "no-certificate", "what the authority elsewhere gave for %s is no certificate", credential).Because(err)
	}
	return target.Commit(ctx, a.shelf, a.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, credential)
		if err != nil || held.Certificate != nil {
			return nil, err
		}
		if held.RevokedAt != 0 {
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "%s was revoked at %s, while its certificate was signed", credential, held.RevokedAt)
		}
		public, comparable := asked.public.(interface{ Equal(x crypto.PublicKey) bool })
		further := len(certificate.IPAddresses) + len(certificate.EmailAddresses) + len(certificate.URIs)
		if len(certificate.DNSNames) != 1 || certificate.DNSNames[0] != held.Name || further > 0 || held.Key != asked.key || !comparable || !public.Equal(certificate.PublicKey) {
			return nil, countersign.Errorf(countersign.Conflict, "another-certificate", "the authority elsewhere signed another name or key for %s: %v", credential, certificate.DNSNames)
		}
		held.Ends = countersign.InstantOf(certificate.NotAfter).Add(1)
		held.Certificate, held.Issuers, held.Serial, held.IssuedAt = chain[0], chain[1:], hexSerial(certificate.SerialNumber), now
		put, err := target.Next(item, held)
		if err != nil {
			return nil, err
		}
		entry, err := target.Next(store.Item{Key: serialKey(held.System, held.Kind, held.Serial), EndsAt: held.end()}, issued{
			Credential: credential, Grant: held.Grant, Holder: held.Holder, System: held.System, Entitlement: held.Entitlement, Kind: held.Kind,
			Serial: held.Serial, Resource: held.Resource, Name: held.Name, IssuedAt: now, Until: held.end(),
		})
		if err != nil {
			return nil, err
		}
		change := &store.ShelfChange{Puts: []store.Item{put, entry}}
		return change, a.record(ctx, change, now, held.System, &CertificateIssued{CertificateIssuedChange{
			Credential: credential, Grant: held.Grant, Intent: held.Intent, Holder: held.Holder, Resource: held.Resource, Name: held.Name,
			Kind: held.Kind, Serial: held.Serial, Key: held.Key, Until: held.end(),
		}})
	})
}

// Challenge has the house answer an authority elsewhere that looks whether a name
// leads here.
func (a *Authority) Challenge(ctx context.Context, token, answer string) error {
	if !challengeToken.MatchString(token) {
		return countersign.Errorf(countersign.Conflict, "malformed-token", "the authority elsewhere names a token that is none")
	}
	return target.Commit(ctx, a.shelf, a.clock, 0, func(countersign.Instant) (*store.ShelfChange, error) {
		item, err := a.shelf.Item(ctx, challengePrefix+token)
		if err != nil && countersign.KindOf(err) != countersign.NotFound || err == nil && string(item.Body) == answer {
			return nil, err
		}
		return &store.ShelfChange{Puts: []store.Item{{Key: challengePrefix + token, Version: item.Version + 1, Body: []byte(answer)}}}, nil
	})
}

// Forget takes the answer to a challenge away again.
func (a *Authority) Forget(ctx context.Context, token string) error {
	return target.Commit(ctx, a.shelf, a.clock, 0, func(countersign.Instant) (*store.ShelfChange, error) {
		item, err := a.shelf.Item(ctx, challengePrefix+token)
		if countersign.KindOf(err) == countersign.NotFound {
			return nil, nil
		}
		return &store.ShelfChange{Deletes: []store.Item{item}}, err
	})
}

func (a *Authority) readChallenge(w http.ResponseWriter, r *http.Request) {
	if !onlyGet(w, r) {
		return
	}
	token := r.PathValue("token")
	if !challengeToken.MatchString(token) {
		target.Refuse(w, http.StatusNotFound, "no-such-challenge", "there is no such challenge")
		return
	}
	item, err := a.shelf.Item(r.Context(), challengePrefix+token)
	if err != nil {
		if countersign.KindOf(err) == countersign.NotFound {
			target.Refuse(w, http.StatusNotFound, "no-such-challenge", "there is no such challenge")
			return
		}
		refuseRead(w, err, "")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// A failed write means that the caller went away; there is nobody to tell.
	_, _ = fmt.Fprint(w, string(item.Body))
}
