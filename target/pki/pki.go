// Package pki is the built-in target for certificates: an X.509 authority and an
// SSH authority for each system that is reached through it. It signs keys that
// others made, and publishes what it has revoked: a list for TLS (RFC 5280) and
// one for OpenSSH.
//
// It keeps its own shelf, named "pki", and never reads requests or grants; it
// imports neither desk nor auth. The keys of an authority are made at the first
// need, are wrapped by the master key, and never leave this process. After Issue
// returns nil there is a certificate that ends by itself; after Revoke returns nil
// every list that is published from then on names it. A certificate that a stop
// covers is named, too, for as long as the stop lasts. Verifiers may go by the
// list that they fetched last: nobody here can reach them.
package pki

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that the authorities keep.
const ShelfName = "pki"

// Kind is what an authority signs.
type Kind string

const (
	X509 Kind = "x509"
	SSH  Kind = "ssh"
	// Elsewhere is an X.509 certificate that an authority of somebody else's signed:
	// it stands in the register, and that authority publishes what it has revoked.
	Elsewhere Kind = "elsewhere"
)

// How long verifiers may go by a list that they have fetched, in seconds: an
// X.509 list says so itself; for hosts with OpenSSH it is how often they must
// fetch.
const (
	CRLInterval = countersign.Hour
	KRLInterval = 5 * countersign.Minute
)

// Authority is the target. Its methods may be called at once.
type Authority struct {
	shelf  store.Shelf
	master keys.Master
	stops  *target.Stops
	clock  interface{ Now() time.Time }
	random io.Reader
	issuer string

	// issued is what was read of the serial numbers, to the position.
	lock     sync.Mutex
	issued   map[string]issued
	position int64
}

// New returns the authorities on their shelf. Random must be cryptographically
// strong and safe for many callers at once; issuer is the house's own address, at
// which verifiers find the lists.
func New(shelf store.Shelf, master keys.Master, stops *target.Stops, clock interface{ Now() time.Time }, random io.Reader, issuer string) *Authority {
	return &Authority{shelf: shelf, master: master, stops: stops, clock: clock, random: random, issuer: issuer, issued: map[string]issued{}}
}

// Order asks for one certificate.
type Order struct {
	// Intent and Attempt tell a repeated order from a new one.
	Intent      countersign.IntentID
	Attempt     int
	Credential  countersign.CredentialID
	Grant       countersign.GrantID
	Holder      countersign.IdentityID
	System      countersign.SystemID
	SystemName  string
	Entitlement countersign.EntitlementID
	Resource    string
	// Name is what the certificate names: the DNS name, or for SSH the last part of
	// the principal.
	Name string
	Kind Kind
	// Key is what the holder sent: a certificate signing request (PEM), or for SSH a
	// public key as it stands in authorized_keys.
	Key    string
	Limits Limits
	// Until is when the certificate ends.
	Until countersign.Instant
	// NotAfter is when nothing may be written any more; 0 for no limit.
	NotAfter countersign.Instant
}

// Limits are what a system allows.
type Limits struct {
	// Longest is the longest life of a certificate, in seconds.
	Longest countersign.Seconds
	// Server and Client say what an X.509 certificate is good for.
	Server, Client bool
}

// record is the body of an item, under the credential's id.
type record struct {
	Intent      countersign.IntentID      `json:"intent,omitempty"`
	Attempt     int                       `json:"attempt,omitempty"`
	Grant       countersign.GrantID       `json:"grant,omitempty"`
	Holder      countersign.IdentityID    `json:"holder,omitempty"`
	System      countersign.SystemID      `json:"system,omitempty"`
	SystemName  string                    `json:"system_name,omitempty"`
	Entitlement countersign.EntitlementID `json:"entitlement,omitempty"`
	Resource    string                    `json:"resource,omitempty"`
	Name        string                    `json:"name,omitempty"`
	Kind        Kind                      `json:"kind,omitempty"`
	// Key is the fingerprint of the public key, as Asked has it.
	Key string `json:"key,omitempty"`
	// Serial is in hexadecimal digits, for SSH in decimal ones; Certificate is DER,
	// for SSH the wire form.
	Serial      string              `json:"serial,omitempty"`
	Certificate []byte              `json:"certificate,omitempty"`
	Until       countersign.Instant `json:"until,omitempty"`
	// Ends is when a certificate from elsewhere ends by itself, after its last second.
	Ends     countersign.Instant `json:"ends,omitempty"`
	IssuedAt countersign.Instant `json:"issued_at,omitempty"`
	// Place is where the authority elsewhere keeps what was ordered; Issuers are the
	// certificates above, in DER.
	Place   string   `json:"place,omitempty"`
	Issuers [][]byte `json:"issuers,omitempty"`
	// Trouble is why it could not be deployed and was taken back; "" otherwise.
	Trouble string `json:"trouble,omitempty"`
	// RevokedAt is set for good. A record with nothing else marks a credential that
	// was revoked before it was issued: a late order must not issue it.
	RevokedAt countersign.Instant `json:"revoked_at,omitempty"`
}

// issued is the body of an item under the serial number, which says what is
// published of it.
type issued struct {
	Credential  countersign.CredentialID  `json:"credential"`
	Grant       countersign.GrantID       `json:"grant"`
	Holder      countersign.IdentityID    `json:"holder"`
	System      countersign.SystemID      `json:"system"`
	Entitlement countersign.EntitlementID `json:"entitlement"`
	Kind        Kind                      `json:"kind"`
	Serial      string                    `json:"serial"`
	Resource    string                    `json:"resource"`
	Name        string                    `json:"name"`
	IssuedAt    countersign.Instant       `json:"issued_at"`
	Until       countersign.Instant       `json:"until"`
	RevokedAt   countersign.Instant       `json:"revoked_at,omitempty"`
	Reason      Reason                    `json:"reason,omitempty"`
}

// Reason is why a certificate is on a list, by its number in RFC 5280.
type Reason int

const (
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	CertificateHold      Reason = 6
)

// The prefixes of the keys of items besides credentials' ids.
const (
	serialPrefix    = "serial/"
	keyPrefix       = "key/"
	authorityPrefix = "authority/"
	listPrefix      = "list/"
	// deploymentPrefix stands before what is deployed under a name.
	deploymentPrefix = "deployment/"
	// challengePrefix stands before what an authority elsewhere wants to read here.
	challengePrefix = "challenge/"
)

func serialKey(system countersign.SystemID, kind Kind, serial string) string {
	return serialPrefix + string(system) + "/" + string(kind) + "/" + serial
}

// Issue signs the key of a credential, once. Ordered again with the same content
// it changes nothing; with another end, unless the order is an older attempt, a new
// certificate supersedes the former one. A credential that is there with other
// content, or was revoked, is a Conflict, and so is a key that was signed for
// another credential.
func (a *Authority) Issue(ctx context.Context, order Order) error {
	if err := order.check(); err != nil {
		return err
	}
	asked, err := order.read(a.now())
	if err != nil {
		return err
	}
	signer, err := a.authority(ctx, order.Kind, order.System, order.SystemName, order.NotAfter)
	if err != nil {
		return err
	}
	return target.Commit(ctx, a.shelf, a.clock, order.NotAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, order.Credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
		case err != nil:
			return nil, err
		case held.Trouble != "":
			return nil, notDeployed(order.Credential, held.Trouble)
		case held.RevokedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "the certificate of %s was revoked at %s and is never issued again; ask for a new credential", order.Credential, held.RevokedAt)
		case !held.carries(order, asked):
			return nil, countersign.Errorf(countersign.Conflict, "not-ours", "the authority has signed another certificate under %s, for %s on %s/%s", order.Credential, held.Holder, held.SystemName, held.Resource)
		case held.Until == order.Until || held.Intent == order.Intent && held.Attempt >= order.Attempt:
			return nil, nil
		}
		change := &store.ShelfChange{}
		if err := a.claimKey(ctx, change, asked, order.Credential); err != nil {
			return nil, err
		}
		certificate, serial, err := signer.sign(a, order, asked, now)
		if err != nil {
			return nil, err
		}
		if held.Serial != "" {
			former, err := a.mark(ctx, held, now, Superseded)
			if err != nil {
				return nil, err
			}
			change.Puts = append(change.Puts, former)
		}
		made := record{
			Intent: order.Intent, Attempt: order.Attempt, Grant: order.Grant, Holder: order.Holder, System: order.System, SystemName: order.SystemName,
			Entitlement: order.Entitlement, Resource: order.Resource, Name: order.Name, Kind: order.Kind, Key: asked.key,
			Serial: serial, Certificate: certificate, Until: order.Until, IssuedAt: now,
		}
		put, err := target.Next(store.Item{Key: string(order.Credential), Version: item.Version, Ref: ""}, made)
		if err != nil {
			return nil, err
		}
		entry, err := target.Next(store.Item{Key: serialKey(order.System, order.Kind, serial)}, issued{
			Credential: order.Credential, Grant: order.Grant, Holder: order.Holder, System: order.System, Entitlement: order.Entitlement,
			Kind: order.Kind, Serial: serial, Resource: order.Resource, Name: order.Name, IssuedAt: now, Until: order.Until,
		})
		if err != nil {
			return nil, err
		}
		put.EndsAt, entry.EndsAt = order.Until, order.Until
		change.Puts = append(change.Puts, put, entry)
		return change, a.record(ctx, change, now, order.System, &CertificateIssued{CertificateIssuedChange{
			Credential: order.Credential, Grant: order.Grant, Intent: order.Intent, Holder: order.Holder, Resource: order.Resource, Name: order.Name,
			Kind: order.Kind, Serial: serial, Key: asked.key, Until: order.Until,
		}})
	})
}

// checkReuse refuses a key that was signed before: a key that has leaked once must
// not live on under a new certificate.
func (a *Authority) checkReuse(ctx context.Context, asked Asked) error {
	former, err := a.keyOf(ctx, asked.key)
	if err == nil && former != "" {
		return reused(asked)
	}
	return err
}

func reused(asked Asked) error {
	return countersign.Errorf(countersign.Conflict, "key-reused", "this key was certified before (%s): make a new one for each certificate", asked.key)
}

// keyOf returns the credential that the key was signed for; "" for none.
func (a *Authority) keyOf(ctx context.Context, key string) (countersign.CredentialID, error) {
	item, err := a.shelf.Item(ctx, keyPrefix+key)
	if countersign.KindOf(err) == countersign.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var credential countersign.CredentialID
	return credential, json.Unmarshal(item.Body, &credential)
}

// mark puts the record's certificate on the lists.
func (a *Authority) mark(ctx context.Context, held record, now countersign.Instant, reason Reason) (store.Item, error) {
	item, err := a.shelf.Item(ctx, serialKey(held.System, held.Kind, held.Serial))
	if err != nil {
		return store.Item{}, err
	}
	var entry issued
	if err := json.Unmarshal(item.Body, &entry); err != nil {
		return store.Item{}, err
	}
	entry.RevokedAt, entry.Reason = now, reason
	return target.Next(item, entry)
}

// Revoke puts the certificate of a credential on the lists for good. That it is
// revoked already, or was never issued, is success; in the latter case it can
// never be issued afterwards.
func (a *Authority) Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	if _, err := target.ParseID(credential); err != nil {
		return err
	}
	return target.Commit(ctx, a.shelf, a.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := a.load(ctx, credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			put, err := target.Next(store.Item{Key: string(credential)}, record{RevokedAt: now})
			return &store.ShelfChange{Puts: []store.Item{put}}, err
		case err != nil:
			return nil, err
		case held.RevokedAt != 0:
			return nil, nil
		}
		change := &store.ShelfChange{}
		if held.Serial != "" {
			entry, err := a.mark(ctx, held, now, CessationOfOperation)
			if err != nil {
				return nil, err
			}
			change.Puts = append(change.Puts, entry)
		}
		held.RevokedAt = now
		put, err := target.Next(item, held)
		if err != nil {
			return nil, err
		}
		change.Puts = append(change.Puts, put)
		return change, a.record(ctx, change, now, held.System, &CertificateRevoked{CertificateRevokedChange{Credential: credential, Grant: held.Grant, Serial: held.Serial}})
	})
}

// State says whether a certificate is good.
type State string

const (
	Good    State = "good"
	Unknown State = "unknown"
	Revoked State = "revoked"
	Expired State = "expired"
	// Stopped: it is on the lists for as long as a stop lasts.
	Stopped State = "stopped"
)

// Check is what the register says of a credential.
type Check struct {
	State      State
	Kind       Kind
	Holder     countersign.IdentityID
	System     countersign.SystemID
	SystemName string
	Resource   string
	Name       string
	Serial     string
	IssuedAt   countersign.Instant
	Until      countersign.Instant
	// Certificate is DER, for SSH the wire form.
	Certificate []byte
	// Issuers are the certificates above it, in DER; nil for SSH.
	Issuers [][]byte
	// Place is where an authority elsewhere keeps it.
	Place string
}

// CheckCredential looks the certificate of a credential up.
func (a *Authority) CheckCredential(ctx context.Context, credential countersign.CredentialID) (Check, error) {
	if err := a.stops.Answers(); err != nil {
		return Check{}, err
	}
	_, held, err := a.load(ctx, credential)
	if countersign.KindOf(err) == countersign.NotFound {
		return Check{State: Unknown}, nil
	}
	if err != nil {
		return Check{}, err
	}
	check := Check{
		State: Good, Kind: held.Kind, Holder: held.Holder, System: held.System, SystemName: held.SystemName, Resource: held.Resource, Name: held.Name,
		Serial: held.Serial, IssuedAt: held.IssuedAt, Until: held.end(), Certificate: held.Certificate, Issuers: held.Issuers, Place: held.Place,
	}
	if held.Kind == X509 {
		authority, err := a.AuthorityCertificate(ctx, held.System)
		if err != nil {
			return Check{}, err
		}
		check.Issuers = [][]byte{authority}
	}
	switch {
	case held.RevokedAt != 0:
		check.State = Revoked
	case held.Certificate == nil:
		// It is ordered elsewhere, and not there yet.
		check.State = Unknown
	case a.now() >= held.end():
		check.State = Expired
	case a.stopped(issued{Credential: credential, Grant: held.Grant, Holder: held.Holder, System: held.System, Entitlement: held.Entitlement}):
		check.State = Stopped
	}
	return check, nil
}

// stopped reports whether a stop covers the certificate; what cannot be read counts
// as stopped.
func (a *Authority) stopped(entry issued) bool {
	stopped, err := a.stops.Stops(target.Access{Credential: entry.Credential, Grant: entry.Grant, Holder: entry.Holder, System: entry.System, Entitlement: entry.Entitlement})
	return stopped || err != nil
}

// record adds the event to the change, on the stream of its system.
func (a *Authority) record(ctx context.Context, change *store.ShelfChange, now countersign.Instant, system countersign.SystemID, payload countersign.Payload) error {
	return target.Record(ctx, a.shelf, a.random, change, now, countersign.SystemDelivery, countersign.Stream(system), payload)
}

func (a *Authority) load(ctx context.Context, credential countersign.CredentialID) (store.Item, record, error) {
	var held record
	if _, err := target.ParseID(credential); err != nil {
		return store.Item{}, held, err
	}
	item, err := a.shelf.Item(ctx, string(credential))
	if err == nil {
		err = json.Unmarshal(item.Body, &held)
	}
	return item, held, err
}

// claimKey notes in the change that a key belongs to a credential, unless it is
// noted; another one's is refused.
func (a *Authority) claimKey(ctx context.Context, change *store.ShelfChange, asked Asked, credential countersign.CredentialID) error {
	former, err := a.keyOf(ctx, asked.key)
	if err != nil || former == credential {
		return err
	}
	if former != "" {
		return reused(asked)
	}
	put, err := target.Next(store.Item{Key: keyPrefix + asked.key}, credential)
	change.Puts = append(change.Puts, put)
	return err
}

func (a *Authority) now() countersign.Instant { return countersign.InstantOf(a.clock.Now()) }

// end is when the certificate is good no more: what comes first of the end that was
// ordered and its own.
func (r record) end() countersign.Instant { return countersign.Earliest(r.Until, r.Ends) }

func (r record) carries(order Order, asked Asked) bool {
	return r.Grant == order.Grant && r.Holder == order.Holder && r.System == order.System && r.SystemName == order.SystemName &&
		r.Entitlement == order.Entitlement && r.Resource == order.Resource && r.Name == order.Name && r.Kind == order.Kind && r.Key == asked.key
}

func (o Order) check() error {
	if err := (target.Access{Credential: o.Credential, Grant: o.Grant, Holder: o.Holder, System: o.System, Entitlement: o.Entitlement}).Check(); err != nil {
		return err
	}
	if o.SystemName == "" || o.Resource == "" || o.Name == "" || strings.ContainsAny(o.Resource+o.Name, "/") {
		return countersign.Errorf(countersign.Invalid, "incomplete-order", "a certificate needs a system, a resource and a name, without slashes; %s has %q, %q and %q", o.Credential, o.SystemName, o.Resource, o.Name)
	}
	return nil
}
