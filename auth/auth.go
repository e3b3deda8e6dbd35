package auth

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/store"
)

// ShelfName is the name of the shelf that auth keeps.
const ShelfName = "auth"

// What the tokens say that the host issues.
const (
	HostIssuer = "host"
	// HostStrength never counts as step-up: whoever has the host's files can have
	// such a token, so that it proves nobody's presence.
	HostStrength = "host-token"
	// MaxHostDuration bounds a host's token: it stands for a person who did not
	// sign in, so that its theft must not outlast a sitting at the desk.
	MaxHostDuration = countersign.Hour
)

// Tokens issues and recognises tokens. Its methods may be called at once.
type Tokens struct {
	shelf  store.Shelf
	clock  interface{ Now() time.Time }
	random io.Reader
}

// New returns the tokens on their shelf. Random must be cryptographically
// strong and safe for many callers at once.
func New(shelf store.Shelf, clock interface{ Now() time.Time }, random io.Reader) *Tokens {
	return &Tokens{shelf: shelf, clock: clock, random: random}
}

// Token is what is known of a token, its text aside.
type Token struct {
	ID        countersign.TokenID    `json:"id"`
	Identity  countersign.IdentityID `json:"identity"`
	Scopes    []Scope                `json:"scopes"`
	Issuer    string                 `json:"issuer"`
	Strength  string                 `json:"strength"`
	IssuedAt  countersign.Instant    `json:"issued_at"`
	ExpiresAt countersign.Instant    `json:"expires_at"`
	// OperatingSystemUser is who ordered the token at the host.
	OperatingSystemUser string `json:"operating_system_user"`
}

// Has reports whether the token opens what the scope names.
func (t Token) Has(scope Scope) bool {
	for _, has := range t.Scopes {
		if has == scope {
			return true
		}
	}
	return false
}

// Order asks for a token at the host. That the identity exists and is active is
// for whoever orders to check.
type Order struct {
	Identity countersign.IdentityID
	// Login is what people call the identity; kept for the event only, may be "".
	Login    string
	Scopes   []Scope
	Duration countersign.Seconds
	// OperatingSystemUser is who sits at the host's command line.
	OperatingSystemUser string
}

// Issue makes a token and returns its text, once. Invalid errors:
// malformed-id, unknown-scope, no-scope, duration-not-offered,
// operating-system-user-missing.
func (t *Tokens) Issue(ctx context.Context, order Order) (countersign.Secret, Token, error) {
	scopes, err := order.check()
	if err != nil {
		return countersign.Secret{}, Token{}, err
	}
	text, err := newText(t.random)
	if err != nil {
		return countersign.Secret{}, Token{}, err
	}
	var token Token
	err = t.commit(ctx, countersign.SystemHost, func(now countersign.Instant, mint *countersign.Mint) (store.ShelfChange, countersign.Payload, error) {
		token = Token{
			ID: mint.Token(), Identity: order.Identity, Scopes: scopes, Issuer: HostIssuer, Strength: HostStrength,
			IssuedAt: now, ExpiresAt: now.Add(order.Duration), OperatingSystemUser: order.OperatingSystemUser,
		}
		change, err := t.forgetExpired(ctx, order.Identity, now)
		if err != nil {
			return change, nil, err
		}
		body, err := json.Marshal(token)
		change.Puts = []store.Item{{Key: itemKey(token.Identity, token.ID), Ref: hashOf(text), Version: 1, EndsAt: token.ExpiresAt, Body: body}}
		return change, &TokenIssued{
			Change: TokenIssuedChange{
				Token: token.ID, Identity: token.Identity, Scopes: token.Scopes, ExpiresAt: token.ExpiresAt, Issuer: token.Issuer, Strength: token.Strength,
			},
			Subject: &TokenIssuedSubject{OperatingSystemUser: order.OperatingSystemUser, Login: order.Login},
		}, err
	})
	if err != nil {
		return countersign.Secret{}, Token{}, err
	}
	return text, token, nil
}

func (o Order) check() ([]Scope, error) {
	if err := countersign.CheckID("idn", string(o.Identity)); err != nil {
		return nil, err
	}
	if o.Duration <= 0 || o.Duration > MaxHostDuration {
		return nil, countersign.Errorf(countersign.Invalid, "duration-not-offered", "A token that the host issues lives at least one second and at most %s, not %s.", MaxHostDuration, o.Duration).At("duration")
	}
	if o.OperatingSystemUser == "" {
		return nil, countersign.Errorf(countersign.Invalid, "operating-system-user-missing", "A token that the host issues names the operating-system user who ordered it.").At("operating_system_user")
	}
	names := make([]string, len(o.Scopes))
	for i, scope := range o.Scopes {
		names[i] = string(scope)
	}
	return ParseScopes(names)
}

// Authenticate returns the token that a caller sent. Unauthenticated errors:
// token-missing, token-malformed, token-unknown-or-expired.
func (t *Tokens) Authenticate(ctx context.Context, bearer countersign.Secret) (Token, error) {
	switch text := bearer.Reveal(); {
	case text == "":
		return Token{}, countersign.Errorf(countersign.Unauthenticated, "token-missing", "Nobody is signed in: send a token as \"Authorization: Bearer cst_…\".")
	case !LooksLikeToken(text):
		return Token{}, countersign.Errorf(countersign.Unauthenticated, "token-malformed", "What was sent as a token is none: a token is %s and %d letters and digits, the last of which are a checksum.", tokenPrefix, tokenLength-len(tokenPrefix))
	}
	items, err := t.shelf.Items(ctx, hashOf(bearer), "", 1)
	if err != nil {
		return Token{}, err
	}
	now := countersign.InstantOf(t.clock.Now())
	if len(items) == 0 || now >= items[0].EndsAt {
		return Token{}, countersign.Errorf(countersign.Unauthenticated, "token-unknown-or-expired", "The token is unknown, was revoked, or has expired: ask for a new one.")
	}
	return decode(items[0])
}

// List returns the tokens of an identity that work now, the oldest first.
func (t *Tokens) List(ctx context.Context, identity countersign.IdentityID) ([]Token, error) {
	items, err := t.items(ctx, identity)
	if err != nil {
		return nil, err
	}
	now := countersign.InstantOf(t.clock.Now())
	tokens := []Token{}
	for _, item := range items {
		if now >= item.EndsAt {
			continue
		}
		token, err := decode(item)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// Revoke ends a token of the identity that revokes it. A token that is not
// there, has expired or belongs to somebody else is NotFound.
func (t *Tokens) Revoke(ctx context.Context, id countersign.TokenID, by countersign.IdentityID) error {
	return t.commit(ctx, countersign.Actor(by), func(now countersign.Instant, _ *countersign.Mint) (store.ShelfChange, countersign.Payload, error) {
		item, err := t.shelf.Item(ctx, itemKey(by, id))
		if countersign.KindOf(err) == countersign.NotFound || err == nil && now >= item.EndsAt {
			err = countersign.Errorf(countersign.NotFound, "no-such-token", "You have no token %q.", countersign.Clip(string(id)))
		}
		return store.ShelfChange{Deletes: []store.Item{item}}, &TokenRevoked{Change: TokenRevokedChange{Token: id, Identity: by}}, err
	})
}

// itemKey lets the tokens of one identity stand together on the shelf.
func itemKey(identity countersign.IdentityID, token countersign.TokenID) string {
	return string(identity) + "/" + string(token)
}

func decode(item store.Item) (Token, error) {
	var token Token
	if err := json.Unmarshal(item.Body, &token); err != nil {
		return Token{}, countersign.Errorf(countersign.Internal, "damaged-token", "the shelf item %s is damaged", item.Key).Because(err)
	}
	return token, nil
}

// page is how many items are read at once.
const page = 200

func (t *Tokens) items(ctx context.Context, identity countersign.IdentityID) ([]store.Item, error) {
	var found []store.Item
	prefix := itemKey(identity, "")
	after := prefix
	for {
		items, err := t.shelf.Items(ctx, "", after, page)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if !strings.HasPrefix(item.Key, prefix) {
				return found, nil
			}
			found = append(found, item)
		}
		if len(items) < page {
			return found, nil
		}
		after = items[len(items)-1].Key
	}
}

// forgetExpired takes the identity's expired tokens off the shelf, so that it
// does not grow with every sitting; their events stay.
func (t *Tokens) forgetExpired(ctx context.Context, identity countersign.IdentityID, now countersign.Instant) (store.ShelfChange, error) {
	items, err := t.items(ctx, identity)
	var change store.ShelfChange
	for _, item := range items {
		if now >= item.EndsAt {
			change.Deletes = append(change.Deletes, item)
		}
	}
	return change, err
}

// commit lets decide look, and writes its change together with its event on the
// house's stream, again from the start when others wrote to that meanwhile.
func (t *Tokens) commit(ctx context.Context, actor countersign.Actor,
	decide func(countersign.Instant, *countersign.Mint) (store.ShelfChange, countersign.Payload, error)) error {
	return store.Again(ctx, t.random, func() error {
		now := countersign.InstantOf(t.clock.Now())
		var seed [32]byte
		if _, err := io.ReadFull(t.random, seed[:]); err != nil {
			return countersign.Errorf(countersign.Internal, "no-entropy", "no random bytes: %v", err)
		}
		mint := countersign.NewMint(seed, now)
		change, payload, err := decide(now, mint)
		if err != nil {
			return err
		}
		head, err := t.shelf.Head(ctx, countersign.StreamHouse)
		if err != nil {
			return err
		}
		event, err := audit.Seal(head.Seq, head.Hash, audit.Stamp{Time: now, Actor: actor}, mint, countersign.Event{Stream: countersign.StreamHouse, Payload: payload})
		if err != nil {
			return err
		}
		change.Now, change.Events = now, []countersign.SealedEvent{event}
		return t.shelf.Commit(ctx, change)
	})
}
