package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// signingKeyItem is the key of the item that keeps the signing key.
const signingKeyItem = "signing-key"

// signingKey is its body. None is renewed yet.
type signingKey struct {
	// Public is what verifiers read.
	Public jose.JSONWebKey     `json:"public"`
	Secret keys.Sealed         `json:"secret"`
	MadeAt countersign.Instant `json:"made_at"`
}

// claims are those of an access token by RFC 9068.
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// token is what the token endpoint gives.
type token struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

// The codes of RFC 6749, section 5.2.
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidScope         = "invalid_scope"
	unsupportedGrantType = "unsupported_grant_type"
)

// refusal is an answer of the token endpoint that is no token.
type refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (r *refusal) Error() string { return r.Description }

// unproven is the same for an account that is not there and for a wrong secret.
var unproven = &refusal{invalidClient, "there is no such client, or this is not its secret"}

// issue gives a token to whoever shows the client credentials of an account that
// is active. Nil for scope is all of the account's.
func (r *Registry) issue(ctx context.Context, client, secret string, scope *string) (*token, error) {
	if why := r.stops.Unfit(); why != "" {
		return nil, countersign.Errorf(countersign.Unavailable, "unfit", "no token is given now: %s", why)
	}
	credential := countersign.CredentialID(client)
	_, held, err := r.load(ctx, credential)
	if kind := countersign.KindOf(err); kind == countersign.NotFound || kind == countersign.Invalid {
		return nil, unproven
	}
	if err != nil {
		return nil, err
	}
	if held.Hash == "" || subtle.ConstantTimeCompare([]byte(held.Hash), []byte(hashOf(secret))) != 1 {
		return nil, unproven
	}
	now := r.now()
	state, err := r.state(credential, held, now)
	if err != nil {
		return nil, err
	}
	// Who knows the secret may know why it does not help.
	switch state {
	case Revoked, Ended:
		return nil, &refusal{invalidClient, "this account has ended"}
	case Stopped:
		return nil, &refusal{invalidClient, "this account is under a hold, or is ending"}
	case Unowned:
		return nil, &refusal{invalidClient, "this account is suspended: nobody active answers for its holder, until somebody takes it over"}
	case Active, Unknown:
	}
	if scope != nil {
		asked := strings.Fields(*scope)
		if len(asked) == 0 || slices.ContainsFunc(asked, func(one string) bool { return one != held.Scope }) {
			return nil, &refusal{invalidScope, fmt.Sprintf("this account has the scope %q, and a token has no other", held.Scope)}
		}
	}
	end := now.Add(TokenLife)
	if held.Until != 0 && held.Until < end {
		end = held.Until
	}
	// Tokens tell time in whole seconds; none outlives its account.
	from, to := now.Time().Unix(), end.Time().Unix()
	if to <= from {
		return nil, &refusal{invalidClient, "this account has ended"}
	}
	signer, err := r.signer(ctx, held.System)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	if _, err := io.ReadFull(r.random, id[:]); err != nil {
		return nil, fmt.Errorf("naming a token: %w", err)
	}
	issuedAt, expiry := jwt.NumericDate(from), jwt.NumericDate(to)
	signed, err := jwt.Signed(signer).Claims(claims{
		Claims: jwt.Claims{
			Issuer: r.issuer, Subject: string(held.Holder), Audience: jwt.Audience{held.SystemName},
			IssuedAt: &issuedAt, Expiry: &expiry, ID: hex.EncodeToString(id[:]),
		},
		ClientID: client, Scope: held.Scope,
	}).Serialize()
	if err != nil {
		return nil, err
	}
	// That a use could not be noted is no reason to refuse it: at worst the account
	// counts as unused for longer, and a person is asked about it.
	_ = r.uses.Note(ctx, credential, now)
	return &token{signed, "Bearer", to - from, held.Scope}, nil
}

// signer returns what signs tokens, and makes its key where the system is the
// first to need one.
func (r *Registry) signer(ctx context.Context, system countersign.SystemID) (jose.Signer, error) {
	held, err := r.signingKey(ctx)
	if countersign.KindOf(err) == countersign.NotFound {
		if err := r.makeSigningKey(ctx, system); err != nil {
			return nil, err
		}
		held, err = r.signingKey(ctx)
	}
	if err != nil {
		return nil, err
	}
	return r.open.signer(held.Public.KeyID, func() (jose.Signer, error) { return r.unseal(held) })
}

// opened is the key that signs, as this process has unwrapped it: the master key is
// asked once for each key, and not for each token.
type opened struct {
	lock sync.Mutex
	key  string
	jose.Signer
}

// signer returns the signer with the key's id, and drops the one of any other key.
func (o *opened) signer(key string, open func() (jose.Signer, error)) (jose.Signer, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.key == key {
		return o.Signer, nil
	}
	signer, err := open()
	if err != nil {
		return nil, err
	}
	o.key, o.Signer = key, signer
	return signer, nil
}

func (r *Registry) unseal(held signingKey) (jose.Signer, error) {
	content, err := keys.Unseal(r.master, held.Secret, signingKeyContext)
	if err != nil {
		return nil, err
	}
	defer clear(content)
	private, err := x509.ParsePKCS8PrivateKey(content)
	if err != nil {
		return nil, countersign.Errorf(countersign.Internal, "malformed-signing-key", "the key that signs tokens cannot be read")
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: held.Public.KeyID}}, (&jose.SignerOptions{}).WithType("at+jwt"))
}

// signingKeyContext binds the ciphertext of the key to its use.
const signingKeyContext = "registry/" + signingKeyItem

func (r *Registry) signingKey(ctx context.Context) (signingKey, error) {
	var held signingKey
	item, err := r.shelf.Item(ctx, signingKeyItem)
	if err == nil {
		err = json.Unmarshal(item.Body, &held)
	}
	return held, err
}

func (r *Registry) makeSigningKey(ctx context.Context, system countersign.SystemID) error {
	return target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		// Somebody else may have made it meanwhile, and there is one for ever.
		if _, err := r.signingKey(ctx); countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		private, err := ecdsa.GenerateKey(elliptic.P256(), r.random)
		if err != nil {
			return nil, err
		}
		made := signingKey{Public: jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.ES256), Use: "sig"}, MadeAt: now}
		print, err := made.Public.Thumbprint(crypto.SHA256)
		if err != nil {
			return nil, err
		}
		made.Public.KeyID = base64.RawURLEncoding.EncodeToString(print)
		content, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, err
		}
		defer clear(content)
		if made.Secret, err = keys.Seal(r.master, r.random, content, signingKeyContext); err != nil {
			return nil, err
		}
		item, err := target.Next(store.Item{Key: signingKeyItem}, made)
		if err != nil {
			return nil, err
		}
		change := &store.ShelfChange{Puts: []store.Item{item}}
		return change, target.Record(ctx, r.shelf, r.random, change, now, countersign.SystemDelivery, system, &SigningKeyMade{SigningKeyMadeChange{Key: made.Public.KeyID}})
	})
}

// publicKeys are what verifiers read; none before the first token.
func (r *Registry) publicKeys(ctx context.Context) (jose.JSONWebKeySet, error) {
	held, err := r.signingKey(ctx)
	if countersign.KindOf(err) == countersign.NotFound {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}, nil
	}
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{held.Public}}, err
}
