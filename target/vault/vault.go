// Package vault is the built-in target for API keys: it makes them, keeps them
// until their holder has read them, and answers whether one still works. Secrets
// that other targets take are deposited in it and read by the same rules.
//
// It keeps its own shelf, named "vault", and never reads requests or grants; it
// imports neither desk nor auth. After Issue returns nil the key works until its
// end; after Revoke returns nil it never works again and its data key is
// destroyed. The key itself leaves only by Read, to its holder.
package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that the vault keeps.
const ShelfName = "vault"

// Vault is the target. Its methods may be called at once.
type Vault struct {
	shelf  store.Shelf
	master keys.Master
	stops  *target.Stops
	clock  interface{ Now() time.Time }
	random io.Reader
	issuer string
	uses   *target.Uses
}

// New returns the vault on its shelf. Random must be cryptographically strong
// and safe for many callers at once; issuer is the house's own address, as
// introspection names it.
func New(shelf store.Shelf, master keys.Master, stops *target.Stops, clock interface{ Now() time.Time }, random io.Reader, issuer string) *Vault {
	return &Vault{shelf: shelf, master: master, stops: stops, clock: clock, random: random, issuer: issuer, uses: target.NewUses(shelf, clock)}
}

// Order asks for one key.
type Order struct {
	// Intent and Attempt tell a repeated order from a new one.
	Intent     countersign.IntentID
	Attempt    int
	Credential countersign.CredentialID
	Grant      countersign.GrantID
	Holder     countersign.IdentityID
	System     countersign.SystemID
	SystemName string
	// Entitlement is what a stop can name.
	Entitlement countersign.EntitlementID
	Resource    string
	// Scope is the name of the entitlement that the key carries.
	Scope string
	// Reader may read the secret instead of the holder; "" for the holder alone.
	Reader countersign.IdentityID
	// Until is when the key stops to work; 0 for never.
	Until countersign.Instant
	// KeepUntilEnd lets the holder read the secret again until the key ends;
	// otherwise the first reading destroys it.
	KeepUntilEnd bool
	// Place is what whoever deposits must know again of where the secret came from; the
	// vault keeps it as it is, also after a revoke. Former is what it was when that was
	// read: another one is a Conflict with the reason "place-changed".
	Place, Former string
	// NotAfter is when nothing may be written any more; 0 for no limit.
	NotAfter countersign.Instant
}

// record is the body of an item, under the credential's id. The item's Ref is
// the hash of the key, its EndsAt the end.
type record struct {
	Intent      countersign.IntentID      `json:"intent,omitempty"`
	Attempt     int                       `json:"attempt,omitempty"`
	Grant       countersign.GrantID       `json:"grant,omitempty"`
	Holder      countersign.IdentityID    `json:"holder,omitempty"`
	System      countersign.SystemID      `json:"system,omitempty"`
	SystemName  string                    `json:"system_name,omitempty"`
	Entitlement countersign.EntitlementID `json:"entitlement,omitempty"`
	Resource    string                    `json:"resource,omitempty"`
	Scope       string                    `json:"scope,omitempty"`
	Reader      countersign.IdentityID    `json:"reader,omitempty"`
	Until       countersign.Instant       `json:"until,omitempty"`
	IssuedAt    countersign.Instant       `json:"issued_at,omitempty"`
	// Hash is SHA-256 of the key, in hexadecimal digits; "" for a secret that was
	// made elsewhere.
	Hash         string `json:"hash,omitempty"`
	KeepUntilEnd bool   `json:"keep_until_end,omitempty"`
	// Place is the order's.
	Place string `json:"place,omitempty"`
	// Secret is the key under its data key; nil once that is destroyed.
	Secret *keys.Sealed        `json:"secret,omitempty"`
	ReadAt countersign.Instant `json:"read_at,omitempty"`
	// RevokedAt is set for good. A record with nothing else marks a credential
	// that was revoked before it was issued: a late order must not issue it.
	RevokedAt countersign.Instant `json:"revoked_at,omitempty"`
}

// secretContext binds a ciphertext to its credential.
func secretContext(credential countersign.CredentialID) string { return "vault/" + string(credential) }

// Issue makes the key for a credential, once. Ordered again with the same
// content it changes nothing; with another end, unless the order is an older
// attempt, the end moves. A credential that is there with other content, or was
// revoked, is a Conflict: the vault never adopts and never revives.
func (v *Vault) Issue(ctx context.Context, order Order) error {
	return v.keep(ctx, order, func(now countersign.Instant, item store.Item, held *record) (*change, error) {
		if held != nil {
			return held.moved(item, order), nil
		}
		key, err := newKey(v.random)
		if err != nil {
			return nil, err
		}
		return v.issue(order, item, now, key, hashOf(key))
	})
}

// Deposit keeps a secret that was made elsewhere, for the same reader and under
// the same rules as a key of the vault's own. It is no key: introspection never
// finds it. Deposited again, the new secret takes the place of the former one,
// also where that was read: whoever deposits says that the former one works
// nowhere.
func (v *Vault) Deposit(ctx context.Context, order Order, secret countersign.Secret) error {
	return v.keep(ctx, order, func(now countersign.Instant, item store.Item, held *record) (*change, error) {
		if err := held.stillAt(order); err != nil {
			return nil, err
		}
		return v.issue(order, item, now, secret, "")
	})
}

// DepositOnce is Deposit for a secret that stays the same for as long as its
// credential. What is there already is that secret, also where it was read: ordered
// again, only its end moves, and whoever comes late gives nobody a second reading.
func (v *Vault) DepositOnce(ctx context.Context, order Order, secret countersign.Secret) error {
	return v.keep(ctx, order, func(now countersign.Instant, item store.Item, held *record) (*change, error) {
		// Where only a place is kept, there is none yet.
		if held != nil && held.IssuedAt != 0 {
			return held.moved(item, order), nil
		}
		return v.issue(order, item, now, secret, "")
	})
}

// Reserve keeps the order's place before there is a secret: what is asked for on
// another target is found again however the asking ends. What was to be read by
// then is readable no longer.
func (v *Vault) Reserve(ctx context.Context, order Order) error {
	return v.keep(ctx, order, func(_ countersign.Instant, item store.Item, held *record) (*change, error) {
		if err := held.stillAt(order); err != nil {
			return nil, err
		}
		return &change{item: item, record: recordOf(order)}, nil
	})
}

// PlaceOf returns the place that was kept for a credential; "" for none.
func (v *Vault) PlaceOf(ctx context.Context, credential countersign.CredentialID) (string, error) {
	_, held, err := v.load(ctx, credential)
	if countersign.KindOf(err) == countersign.NotFound {
		return "", nil
	}
	return held.Place, err
}

// MoveEnd gives a secret that is there another end, as Issue does when it is
// ordered again. Where only a place is kept there is none yet.
func (v *Vault) MoveEnd(ctx context.Context, order Order) error {
	return v.keep(ctx, order, func(_ countersign.Instant, item store.Item, held *record) (*change, error) {
		if held == nil || held.IssuedAt == 0 {
			return nil, countersign.Errorf(countersign.Conflict, "no-such-secret", "the vault holds no secret of %s whose end could be moved", order.Credential)
		}
		return held.moved(item, order), nil
	})
}

// keep refuses what no order may change, and lets write do the rest; it gets nil
// for a credential that the vault does not know.
func (v *Vault) keep(ctx context.Context, order Order, write func(now countersign.Instant, item store.Item, held *record) (*change, error)) error {
	if err := order.check(); err != nil {
		return err
	}
	return v.commit(ctx, order.NotAfter, func(now countersign.Instant) (*change, error) {
		if order.Until != 0 && order.Until <= now {
			return nil, countersign.Errorf(countersign.Invalid, "end-has-passed", "the key of %s would have ended at %s already", order.Credential, order.Until)
		}
		item, held, err := v.load(ctx, order.Credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			return write(now, store.Item{Key: string(order.Credential)}, nil)
		case err != nil:
			return nil, err
		case held.RevokedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "the key of %s was revoked at %s and is never issued again; ask for a new credential", order.Credential, held.RevokedAt)
		case !held.carries(order):
			return nil, countersign.Errorf(countersign.Conflict, "not-ours", "the vault holds another key under %s, for %s on %s/%s", order.Credential, held.Holder, held.SystemName, held.Resource)
		}
		return write(now, item, &held)
	})
}

// moved gives the record the order's end, unless the order is an older attempt
// or changes nothing.
func (r record) moved(item store.Item, order Order) *change {
	if r.Until == order.Until || r.Intent == order.Intent && r.Attempt >= order.Attempt {
		return nil
	}
	r.Intent, r.Attempt, r.Until = order.Intent, order.Attempt, order.Until
	if order.Place != "" {
		r.Place = order.Place
	}
	return &change{item: item, record: r, actor: countersign.SystemDelivery, event: r.issued(order.Credential)}
}

func (v *Vault) issue(order Order, item store.Item, now countersign.Instant, content countersign.Secret, hash string) (*change, error) {
	if content.Reveal() == "" {
		return nil, countersign.Errorf(countersign.Invalid, "no-secret", "there is no secret to deposit for %s", order.Credential)
	}
	secret, err := keys.Seal(v.master, v.random, []byte(content.Reveal()), secretContext(order.Credential))
	if err != nil {
		return nil, err
	}
	made := recordOf(order)
	made.IssuedAt, made.Hash, made.Secret = now, hash, &secret
	return &change{item: item, record: made, actor: countersign.SystemDelivery, event: made.issued(order.Credential)}, nil
}

func recordOf(order Order) record {
	return record{
		Intent: order.Intent, Attempt: order.Attempt, Grant: order.Grant, Holder: order.Holder,
		System: order.System, SystemName: order.SystemName, Entitlement: order.Entitlement, Resource: order.Resource, Scope: order.Scope, Reader: order.Reader,
		Until: order.Until, KeepUntilEnd: order.KeepUntilEnd, Place: order.Place,
	}
}

// stillAt refuses an order that was made without knowing what was kept since.
func (r *record) stillAt(order Order) error {
	if r == nil && order.Former == "" || r != nil && r.Place == order.Former {
		return nil
	}
	return countersign.Errorf(countersign.Conflict, "place-changed", "another operation for %s was under way at the same time", order.Credential)
}

// Revoke ends the key of a credential for good and destroys its data key. That
// it is revoked already, or was never issued, is success; in the latter case it
// can never be issued afterwards.
func (v *Vault) Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	if _, err := target.ParseID(credential); err != nil {
		return err
	}
	return v.commit(ctx, notAfter, func(now countersign.Instant) (*change, error) {
		item, held, err := v.load(ctx, credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			return &change{item: store.Item{Key: string(credential)}, record: record{RevokedAt: now}}, nil
		case err != nil:
			return nil, err
		case held.RevokedAt != 0:
			return nil, nil
		}
		held.RevokedAt, held.Secret = now, nil
		event := &KeyRevoked{Change: KeyRevokedChange{Credential: credential, Grant: held.Grant}}
		return &change{item: item, record: held, actor: countersign.SystemDelivery, event: event}, nil
	})
}

// reader is who may read the secret.
func (r record) reader() countersign.IdentityID {
	if r.Reader != "" {
		return r.Reader
	}
	return r.Holder
}

// Read returns the secret of a credential to its reader. Unless the key was
// ordered to be kept, the data key is destroyed and the reading recorded before
// the secret leaves, so that a lost answer costs a rotation and never a second
// reader. For anybody else it is NotFound; once read, ended or revoked it is a
// Conflict with the reason "secret-gone"; while stopped it is Refused.
func (v *Vault) Read(ctx context.Context, reader countersign.IdentityID, credential countersign.CredentialID) (countersign.Secret, error) {
	var secret countersign.Secret
	err := v.commit(ctx, 0, func(now countersign.Instant) (*change, error) {
		item, held, err := v.load(ctx, credential)
		if countersign.KindOf(err) == countersign.NotFound || err == nil && (held.reader() != reader || reader == "") {
			return nil, countersign.Errorf(countersign.NotFound, "no-such-secret", "there is no secret %s for you", countersign.Clip(string(credential)))
		}
		if err != nil {
			return nil, err
		}
		if held.Secret == nil || held.endedAt(now) {
			return nil, countersign.Errorf(countersign.Conflict, "secret-gone", "the secret of %s was read already, or its key has ended; ask for a rotation", credential)
		}
		stopped, err := v.stopped(credential, held)
		if err != nil {
			return nil, err
		}
		if stopped {
			return nil, countersign.Errorf(countersign.Refused, "stopped", "the secret of %s cannot be read now: its holder, system, entitlement or grant is stopped", credential)
		}
		content, err := keys.Unseal(v.master, *held.Secret, secretContext(credential))
		if err != nil {
			return nil, err
		}
		secret = countersign.NewSecret(string(content))
		held.ReadAt = now
		if !held.KeepUntilEnd {
			held.Secret = nil
		}
		event := &SecretRead{Change: SecretReadChange{Credential: credential, Destroyed: held.Secret == nil}}
		return &change{item: item, record: held, actor: countersign.Actor(reader), event: event}, nil
	})
	if err != nil {
		return countersign.Secret{}, err
	}
	return secret, nil
}

// change is one write: the item as it was read, what it becomes, and the event
// that says so on the stream of its system (none if event is nil).
type change struct {
	item   store.Item
	record record
	actor  countersign.Actor
	event  countersign.Payload
}

// commit decides and writes with target.Commit; a decision of nil means that
// there is nothing to write.
func (v *Vault) commit(ctx context.Context, notAfter countersign.Instant, decide func(now countersign.Instant) (*change, error)) error {
	return target.Commit(ctx, v.shelf, v.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		next, err := decide(now)
		if err != nil || next == nil {
			return nil, err
		}
		return v.seal(ctx, now, next)
	})
}

func (v *Vault) seal(ctx context.Context, now countersign.Instant, next *change) (*store.ShelfChange, error) {
	item, err := target.Next(next.item, next.record)
	if err != nil {
		return nil, err
	}
	item.Ref, item.EndsAt = next.record.Hash, next.record.Until
	change := &store.ShelfChange{Puts: []store.Item{item}}
	if next.event == nil {
		return change, nil
	}
	return change, target.Record(ctx, v.shelf, v.random, change, now, next.actor, countersign.Stream(next.record.System), next.event)
}

func (v *Vault) load(ctx context.Context, credential countersign.CredentialID) (store.Item, record, error) {
	item, err := v.shelf.Item(ctx, string(credential))
	if err != nil {
		return store.Item{}, record{}, err
	}
	held, err := decode(item)
	return item, held, err
}

func decode(item store.Item) (record, error) {
	var held record
	if err := json.Unmarshal(item.Body, &held); err != nil {
		return record{}, fmt.Errorf("vault item %s: %w", item.Key, err)
	}
	return held, nil
}

func (v *Vault) now() countersign.Instant { return countersign.InstantOf(v.clock.Now()) }

func (r record) endedAt(now countersign.Instant) bool {
	return r.RevokedAt != 0 || r.Until != 0 && now >= r.Until
}

func (r record) carries(order Order) bool {
	return r.Grant == order.Grant && r.Holder == order.Holder && r.System == order.System &&
		r.SystemName == order.SystemName && r.Entitlement == order.Entitlement && r.Resource == order.Resource && r.Scope == order.Scope &&
		r.KeepUntilEnd == order.KeepUntilEnd && r.Reader == order.Reader
}

func (o Order) check() error {
	if err := (target.Access{Credential: o.Credential, Grant: o.Grant, Holder: o.Holder, System: o.System, Entitlement: o.Entitlement}).Check(); err != nil {
		return err
	}
	if o.SystemName == "" || o.Resource == "" || o.Scope == "" {
		return countersign.Errorf(countersign.Invalid, "incomplete-order", "a key needs a system, a resource and a scope; %s has %q, %q and %q", o.Credential, o.SystemName, o.Resource, o.Scope)
	}
	return nil
}
