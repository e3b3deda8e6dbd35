// Package registry is the built-in target for service accounts: a machine shows
// the client credentials of its account and gets a token of a few minutes, signed
// here, that resource servers verify by themselves.
//
// It keeps its own shelf, named "registry", and never reads requests or grants; it
// imports neither desk nor auth. The signing key is made at the first need, is
// wrapped by the master key, never leaves this process, and is renewed in time. After Create returns
// nil the account works until its end; after Revoke returns nil it gets no token
// ever again. While a stop covers an account, or nobody active answers for its
// holder, it gets none either. Tokens that are out cannot be called back: they end
// within TokenLife.
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that the registry keeps.
const ShelfName = "registry"

// TokenLife is how long a token works, in seconds.
const TokenLife = 5 * countersign.Minute

// Directory says who may act.
type Directory interface {
	// Accountable reports whether a holder may act now: it is active, and so is who
	// answers for it, where it is no person.
	Accountable(holder countersign.IdentityID) bool
}

// Registry is the target. Its methods may be called at once.
type Registry struct {
	shelf     store.Shelf
	master    keys.Master
	stops     *target.Stops
	directory Directory
	clock     interface{ Now() time.Time }
	random    io.Reader
	issuer    string
	uses      *target.Uses
	unsealed  unsealed
}

// New returns the registry on its shelf. Random must be cryptographically strong
// and safe for many callers at once; address is the house's own, which tokens name
// as the beginning of their issuer.
func New(shelf store.Shelf, master keys.Master, stops *target.Stops, directory Directory, clock interface{ Now() time.Time }, random io.Reader, address string) *Registry {
	return &Registry{
		shelf: shelf, master: master, stops: stops, directory: directory, clock: clock, random: random,
		issuer: address + basePath, uses: target.NewUses(shelf, clock),
	}
}

// Order asks for one account.
type Order struct {
	// Intent and Attempt tell a repeated order from a new one.
	Intent  countersign.IntentID
	Attempt int
	// Credential is the account's client id.
	Credential countersign.CredentialID
	Grant      countersign.GrantID
	Holder     countersign.IdentityID
	System     countersign.SystemID
	// SystemName is the audience of the account's tokens.
	SystemName string
	// Entitlement is what a stop can name.
	Entitlement countersign.EntitlementID
	Resource    string
	// Scope is the name of the entitlement, which tokens carry.
	Scope string
	// Until is when the account ends; 0 for never.
	Until countersign.Instant
	// NotAfter is when nothing may be written any more; 0 for no limit.
	NotAfter countersign.Instant
}

// account is the body of an item, under the credential's id.
type account struct {
	Intent      countersign.IntentID      `json:"intent,omitempty"`
	Attempt     int                       `json:"attempt,omitempty"`
	Grant       countersign.GrantID       `json:"grant,omitempty"`
	Holder      countersign.IdentityID    `json:"holder,omitempty"`
	System      countersign.SystemID      `json:"system,omitempty"`
	SystemName  string                    `json:"system_name,omitempty"`
	Entitlement countersign.EntitlementID `json:"entitlement,omitempty"`
	Resource    string                    `json:"resource,omitempty"`
	Scope       string                    `json:"scope,omitempty"`
	Until       countersign.Instant       `json:"until,omitempty"`
	CreatedAt   countersign.Instant       `json:"created_at,omitempty"`
	// Hash is SHA-256 of the client secret, in hexadecimal digits.
	Hash string `json:"hash,omitempty"`
	// Secret is the client secret under its data key, until it was handed over.
	Secret *keys.Sealed `json:"secret,omitempty"`
	// RevokedAt is set for good. An account with nothing else marks a credential
	// that was revoked before it was created: a late order must not create it.
	RevokedAt countersign.Instant `json:"revoked_at,omitempty"`
}

// secretContext binds a ciphertext to its credential.
func secretContext(credential countersign.CredentialID) string {
	return "registry/" + string(credential)
}

// secretPrefix lets secret scanners recognise a client secret.
const secretPrefix = "csc_"

var secretEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newSecret(random io.Reader) (countersign.Secret, error) {
	content := make([]byte, 32)
	if _, err := io.ReadFull(random, content); err != nil {
		return countersign.Secret{}, fmt.Errorf("making a client secret: %w", err)
	}
	return countersign.NewSecret(secretPrefix + secretEncoding.EncodeToString(content)), nil
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Create makes the account of a credential, once, and returns its client secret
// until HandedOver says that it lies where the holder reads it; after that the
// secret is empty, and only its hash is left here. Ordered again with the same
// content it changes nothing; with another end, unless the order is an older
// attempt, the end moves. A credential that is there with other content, or was
// revoked, is a Conflict.
func (r *Registry) Create(ctx context.Context, order Order) (countersign.Secret, error) {
	if err := order.check(); err != nil {
		return countersign.Secret{}, err
	}
	var secret countersign.Secret
	err := target.Commit(ctx, r.shelf, r.clock, order.NotAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		secret = countersign.Secret{}
		if order.Until != 0 && order.Until <= now {
			return nil, countersign.Errorf(countersign.Invalid, "end-has-passed", "the account of %s would have ended at %s already", order.Credential, order.Until)
		}
		item, held, err := r.load(ctx, order.Credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			if secret, err = newSecret(r.random); err != nil {
				return nil, err
			}
			return r.create(ctx, order, secret, now)
		case err != nil:
			return nil, err
		case held.RevokedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "revoked", "the account of %s was revoked at %s and is never created again; ask for a new credential", order.Credential, held.RevokedAt)
		case !held.carries(order):
			return nil, countersign.Errorf(countersign.Conflict, "not-ours", "the registry holds another account under %s, for %s on %s/%s", order.Credential, held.Holder, held.SystemName, held.Resource)
		}
		if held.Secret != nil {
			content, err := keys.Unseal(r.master, *held.Secret, secretContext(order.Credential))
			if err != nil {
				return nil, err
			}
			secret = countersign.NewSecret(string(content))
		}
		if held.Until == order.Until || held.Intent == order.Intent && held.Attempt >= order.Attempt {
			return nil, nil
		}
		held.Intent, held.Attempt, held.Until = order.Intent, order.Attempt, order.Until
		return r.change(ctx, now, item, held, held.created(order.Credential))
	})
	return secret, err
}

func (r *Registry) create(ctx context.Context, order Order, secret countersign.Secret, now countersign.Instant) (*store.ShelfChange, error) {
	sealed, err := keys.Seal(r.master, r.random, []byte(secret.Reveal()), secretContext(order.Credential))
	if err != nil {
		return nil, err
	}
	made := account{
		Intent: order.Intent, Attempt: order.Attempt, Grant: order.Grant, Holder: order.Holder, System: order.System, SystemName: order.SystemName,
		Entitlement: order.Entitlement, Resource: order.Resource, Scope: order.Scope, Until: order.Until, CreatedAt: now, Hash: hashOf(secret.Reveal()), Secret: &sealed,
	}
	return r.change(ctx, now, store.Item{Key: string(order.Credential)}, made, made.created(order.Credential))
}

// HandedOver destroys the client secret here: it lies where its holder reads it.
func (r *Registry) HandedOver(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	return target.Commit(ctx, r.shelf, r.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := r.load(ctx, credential)
		if err != nil || held.Secret == nil {
			return nil, err
		}
		held.Secret = nil
		return r.change(ctx, now, item, held, nil)
	})
}

// Revoke ends the account of a credential for good. That it is revoked already, or
// was never created, is success; in the latter case it can never be created
// afterwards.
func (r *Registry) Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	if _, err := target.ParseID(credential); err != nil {
		return err
	}
	return target.Commit(ctx, r.shelf, r.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := r.load(ctx, credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			return r.change(ctx, now, store.Item{Key: string(credential)}, account{RevokedAt: now}, nil)
		case err != nil:
			return nil, err
		case held.RevokedAt != 0:
			return nil, nil
		}
		held.RevokedAt, held.Secret = now, nil
		return r.change(ctx, now, item, held, &AccountRevoked{AccountRevokedChange{Credential: credential, Grant: held.Grant}})
	})
}

// State says whether an account gets tokens.
type State string

const (
	Active  State = "active"
	Unknown State = "unknown"
	Revoked State = "revoked"
	Ended   State = "ended"
	// Stopped: the desk put a stop on it; it is still there.
	Stopped State = "stopped"
	// Unowned: nobody active answers for its holder; it is still there.
	Unowned State = "unowned"
)

// Check is what the registry has of an account.
type Check struct {
	State      State
	Holder     countersign.IdentityID
	System     countersign.SystemID
	SystemName string
	Resource   string
	Scope      string
	Until      countersign.Instant
}

// CheckCredential looks an account up as the token endpoint does, for a reader who
// must not know the secret. A registry that may answer nothing now says so, and not
// that the account is gone.
func (r *Registry) CheckCredential(ctx context.Context, credential countersign.CredentialID) (Check, error) {
	if err := r.stops.Answers(); err != nil {
		return Check{}, err
	}
	_, held, err := r.load(ctx, credential)
	if countersign.KindOf(err) == countersign.NotFound {
		return Check{State: Unknown}, nil
	}
	if err != nil {
		return Check{}, err
	}
	state, err := r.state(credential, held, r.now())
	return Check{state, held.Holder, held.System, held.SystemName, held.Resource, held.Scope, held.Until}, err
}

// state is the one way to an active account. The end is compared here: no token is
// given after it without anything having swept the account.
func (r *Registry) state(credential countersign.CredentialID, held account, now countersign.Instant) (State, error) {
	switch {
	case held.RevokedAt != 0:
		return Revoked, nil
	case held.Until != 0 && now >= held.Until:
		return Ended, nil
	}
	stopped, err := r.stops.Stops(target.Access{Credential: credential, Grant: held.Grant, Holder: held.Holder, System: held.System, Entitlement: held.Entitlement})
	switch {
	case err != nil:
		return "", err
	case stopped:
		return Stopped, nil
	case !r.directory.Accountable(held.Holder):
		return Unowned, nil
	}
	return Active, nil
}

// LastUsed returns the last time that the account got a token, to the hour; zero
// for none.
func (r *Registry) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	return r.uses.Last(ctx, credential)
}

// Listed is one account as the registry has it.
type Listed struct {
	Credential countersign.CredentialID
	Holder     countersign.IdentityID
	Resource   string
	Scope      string
	Until      countersign.Instant
	LastUsed   countersign.Instant
}

// listPage is how many items are read at a time.
const listPage = 500

// List calls found for each account of the system that is neither revoked nor
// ended, in the order of their credentials.
func (r *Registry) List(ctx context.Context, system countersign.SystemID, found func(Listed) error) error {
	for after := accountPrefix; ; {
		items, err := r.shelf.Items(ctx, "", after, listPage)
		if err != nil {
			return err
		}
		for _, item := range items {
			if after = item.Key; !strings.HasPrefix(after, accountPrefix) {
				return nil
			}
			held, err := decode(item)
			if err != nil {
				return err
			}
			if held.System != system || held.RevokedAt != 0 || held.Until != 0 && r.now() >= held.Until {
				continue
			}
			credential := countersign.CredentialID(item.Key)
			used, err := r.uses.Last(ctx, credential)
			if err != nil {
				return err
			}
			if err := found(Listed{credential, held.Holder, held.Resource, held.Scope, held.Until, used}); err != nil {
				return err
			}
		}
		if len(items) < listPage {
			return nil
		}
	}
}

// accountPrefix begins the keys of accounts, which are ids of credentials.
const accountPrefix = "crd_"

// change is the next version of an account's item, with the event that says so on
// the stream of its system (none if payload is nil).
func (r *Registry) change(ctx context.Context, now countersign.Instant, item store.Item, next account, payload countersign.Payload) (*store.ShelfChange, error) {
	item.EndsAt = next.Until
	put, err := target.Next(item, next)
	if err != nil {
		return nil, err
	}
	change := &store.ShelfChange{Puts: []store.Item{put}}
	if payload == nil {
		return change, nil
	}
	return change, target.Record(ctx, r.shelf, r.random, change, now, countersign.SystemDelivery, countersign.Stream(next.System), payload)
}

func (r *Registry) load(ctx context.Context, credential countersign.CredentialID) (store.Item, account, error) {
	if _, err := target.ParseID(credential); err != nil {
		return store.Item{}, account{}, err
	}
	item, err := r.shelf.Item(ctx, string(credential))
	if err != nil {
		return store.Item{}, account{}, err
	}
	held, err := decode(item)
	return item, held, err
}

func decode(item store.Item) (account, error) {
	var held account
	if err := json.Unmarshal(item.Body, &held); err != nil {
		return account{}, fmt.Errorf("registry item %s: %w", item.Key, err)
	}
	return held, nil
}

func (r *Registry) now() countersign.Instant { return countersign.InstantOf(r.clock.Now()) }

func (a account) carries(order Order) bool {
	return a.Grant == order.Grant && a.Holder == order.Holder && a.System == order.System && a.SystemName == order.SystemName &&
		a.Entitlement == order.Entitlement && a.Resource == order.Resource && a.Scope == order.Scope
}

func (o Order) check() error {
	if err := (target.Access{Credential: o.Credential, Grant: o.Grant, Holder: o.Holder, System: o.System, Entitlement: o.Entitlement}).Check(); err != nil {
		return err
	}
	if !strings.HasPrefix(string(o.Credential), accountPrefix) {
		return countersign.Errorf(countersign.Invalid, "malformed-id", "%q is not the id of a credential", countersign.Clip(string(o.Credential)))
	}
	if o.SystemName == "" || o.Resource == "" {
		return countersign.Errorf(countersign.Invalid, "incomplete-order", "an account needs a system and a resource; %s has %q and %q", o.Credential, o.SystemName, o.Resource)
	}
	return CheckScope(o.Scope)
}

// CheckScope refuses what cannot be a scope of a token (RFC 6749, section 3.3).
func CheckScope(scope string) error {
	bad := strings.ContainsFunc(scope, func(c rune) bool { return c <= 0x20 || c > 0x7e || c == '"' || c == '\\' })
	if scope == "" || bad {
		return countersign.Errorf(countersign.Invalid, "no-scope", "%q cannot be the scope of a token: use ASCII letters, digits and signs, without blanks, quotes and backslashes", countersign.Clip(scope))
	}
	return nil
}
