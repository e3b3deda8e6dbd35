package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

const (
	// KeyAge is after how long the key that signs is renewed, in seconds.
	KeyAge = 90 * countersign.Day
	// KeysLife is how long verifiers may go by the keys that they have read.
	KeysLife = countersign.Hour
	// publishedAhead is how long a key is published before it signs: by then nobody
	// goes by a set without it.
	publishedAhead = KeysLife + TokenLife
	// leeway is how much longer than its last token a key stays published: clocks of
	// verifiers differ.
	leeway = countersign.Minute
)

// signingKeyItem is the key of the item that keeps the signing keys. They stand in
// one item, so that of two who renew them one wins.
const signingKeyItem = "signing-key"

// signingKeyContext binds the ciphertext of a key to its use.
const signingKeyContext = "registry/" + signingKeyItem

// signingKeys is its body: the key that signs now, the one that signs next, and those
// whose tokens may still be out.
type signingKeys struct {
	signingKey
	Next   *signingKey `json:"next,omitempty"`
	Former []formerKey `json:"former,omitempty"`
}

type signingKey struct {
	// Public is what verifiers read.
	Public jose.JSONWebKey     `json:"public"`
	Secret keys.Sealed         `json:"secret"`
	MadeAt countersign.Instant `json:"made_at"`
	// SignsFrom is when it takes over from the one before; 0 for the first one.
	SignsFrom countersign.Instant `json:"signs_from,omitempty"`
}

// formerKey signs nothing any more; its secret is destroyed.
type formerKey struct {
	Public jose.JSONWebKey `json:"public"`
	// Until is when the last token that it signed is over.
	Until countersign.Instant `json:"until"`
}

// at returns the key that signs at an instant. It is told by time alone: nothing has
// to be written for the next key to take over.
func (k *signingKeys) at(now countersign.Instant) signingKey {
	if k.Next != nil && now >= k.Next.SignsFrom {
		return *k.Next
	}
	return k.signingKey
}

// unsealed is the key that signs, as this process has unwrapped it: the master key is
// asked once for each key, and not for each token.
type unsealed struct {
	lock   sync.Mutex
	key    string
	signer jose.Signer
}

// forget drops the key unless it has the id.
func (u *unsealed) forget(but string) {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.key != but {
		u.key, u.signer = "", nil
	}
}

// signer returns what signs tokens at an instant, and makes its key where the system
// is the first to need one.
func (r *Registry) signer(ctx context.Context, system countersign.SystemID, now countersign.Instant) (jose.Signer, error) {
	_, held, err := r.signingKeys(ctx)
	if countersign.KindOf(err) == countersign.NotFound {
		if err := r.makeFirstKey(ctx, system); err != nil {
			return nil, err
		}
		_, held, err = r.signingKeys(ctx)
	}
	if err != nil {
		return nil, err
	}
	key := held.at(now)
	r.unsealed.lock.Lock()
	defer r.unsealed.lock.Unlock()
	if r.unsealed.key != key.Public.KeyID {
		signer, err := r.unseal(key)
		if err != nil {
			return nil, err
		}
		r.unsealed.key, r.unsealed.signer = key.Public.KeyID, signer
	}
	return r.unsealed.signer, nil
}

func (r *Registry) unseal(key signingKey) (jose.Signer, error) {
	content, err := keys.Unseal(r.master, key.Secret, signingKeyContext)
	if err != nil {
		return nil, err
	}
	defer clear(content)
	private, err := x509.ParsePKCS8PrivateKey(content)
	if err != nil {
		return nil, countersign.Errorf(countersign.Internal, "malformed-signing-key", "the key that signs tokens cannot be read")
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: key.Public.KeyID}}, (&jose.SignerOptions{}).WithType("at+jwt"))
}

func (r *Registry) signingKeys(ctx context.Context) (store.Item, *signingKeys, error) {
	var held signingKeys
	item, err := r.shelf.Item(ctx, signingKeyItem)
	if err == nil {
		err = json.Unmarshal(item.Body, &held)
	}
	return item, &held, err
}

func (r *Registry) newKey(now countersign.Instant) (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), r.random)
	if err != nil {
		return signingKey{}, err
	}
	made := signingKey{Public: jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.ES256), Use: "sig"}, MadeAt: now}
	print, err := made.Public.Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, err
	}
	made.Public.KeyID = base64.RawURLEncoding.EncodeToString(print)
	content, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return signingKey{}, err
	}
	defer clear(content)
	made.Secret, err = keys.Seal(r.master, r.random, content, signingKeyContext)
	return made, err
}

func (r *Registry) makeFirstKey(ctx context.Context, system countersign.SystemID) error {
	return target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		// Somebody else may have made it meanwhile, and there is one first key for ever.
		item, _, err := r.signingKeys(ctx)
		if countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		made, err := r.newKey(now)
		if err != nil {
			return nil, err
		}
		return r.putKeys(ctx, now, item, &signingKeys{signingKey: made}, countersign.SystemDelivery, countersign.Stream(system), &SigningKeyMade{SigningKeyMadeChange{Key: made.Public.KeyID}})
	})
}

// Renew takes the signing keys one step on, where one is due: a key that is old gets
// a successor, which is published before it signs; once that signs, the secret of the
// older one is destroyed. It is for every process to call from time to time: of two
// one wins, and whatever dies in between, the next call goes on.
func (r *Registry) Renew(ctx context.Context) error {
	err := target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := r.signingKeys(ctx)
		if err != nil {
			return nil, err
		}
		r.unsealed.forget(held.at(now).Public.KeyID)
		over := func(former formerKey) bool { return former.Until <= now }
		switch {
		case held.Next != nil && now >= held.Next.SignsFrom:
			retired := formerKey{held.Public, held.Next.SignsFrom.Add(TokenLife + leeway)}
			next := &signingKeys{signingKey: *held.Next, Former: append(slices.DeleteFunc(held.Former, over), retired)}
			return r.putKeys(ctx, now, item, next, countersign.SystemTimer, countersign.StreamHouse,
				&SigningKeyRetired{SigningKeyRetiredChange{Key: retired.Public.KeyID, Successor: next.Public.KeyID, PublishedUntil: retired.Until}})
		case slices.ContainsFunc(held.Former, over):
			held.Former = slices.DeleteFunc(held.Former, over)
			return r.putKeys(ctx, now, item, held, "", "", nil)
		case held.Next == nil && now >= max(held.MadeAt, held.SignsFrom).Add(KeyAge):
			return r.publishNext(ctx, now, item, held, countersign.SystemTimer, nil)
		}
		return nil, nil
	})
	if countersign.KindOf(err) == countersign.NotFound {
		// No token was asked for yet.
		return nil
	}
	return err
}

// Rotate renews the signing key before its time, because somebody at the host says
// so. It returns when the new one signs.
func (r *Registry) Rotate(ctx context.Context, operatingSystemUser string) (countersign.Instant, error) {
	var from countersign.Instant
	err := target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := r.signingKeys(ctx)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
			return nil, countersign.Errorf(countersign.NotFound, "no-signing-key", "There is no key that signs tokens yet: the first token makes one.")
		case err != nil:
			return nil, err
		case held.Next != nil:
			return nil, countersign.Errorf(countersign.Conflict, "key-being-rotated", "The signing key is being rotated already: the next one signs from %s.", held.Next.SignsFrom)
		}
		from = now.Add(publishedAhead)
		return r.publishNext(ctx, now, item, held, countersign.SystemHost, &SigningKeySubject{OperatingSystemUser: operatingSystemUser})
	})
	return from, err
}

func (r *Registry) publishNext(ctx context.Context, now countersign.Instant, item store.Item, held *signingKeys, actor countersign.Actor, subject *SigningKeySubject) (*store.ShelfChange, error) {
	made, err := r.newKey(now)
	if err != nil {
		return nil, err
	}
	made.SignsFrom = now.Add(publishedAhead)
	held.Next = &made
	return r.putKeys(ctx, now, item, held, actor, countersign.StreamHouse,
		&SigningKeyPublished{Change: SigningKeyPublishedChange{Key: made.Public.KeyID, SignsFrom: made.SignsFrom}, Subject: subject})
}

// putKeys is the next version of the keys, with the event that says so (none if
// payload is nil).
func (r *Registry) putKeys(ctx context.Context, now countersign.Instant, item store.Item, next *signingKeys, actor countersign.Actor, stream countersign.Stream, payload countersign.Payload) (*store.ShelfChange, error) {
	item.Key = signingKeyItem
	put, err := target.Next(item, next)
	if err != nil {
		return nil, err
	}
	change := &store.ShelfChange{Puts: []store.Item{put}}
	if payload == nil {
		return change, nil
	}
	return change, target.Record(ctx, r.shelf, r.random, change, now, actor, stream, payload)
}

// publicKeys are what verifiers read: the key that signs, the next one, and those
// whose tokens may be out. There is none before the first token.
func (r *Registry) publicKeys(ctx context.Context) (jose.JSONWebKeySet, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	_, held, err := r.signingKeys(ctx)
	if countersign.KindOf(err) == countersign.NotFound {
		return set, nil
	}
	if err != nil {
		return set, err
	}
	set.Keys = append(set.Keys, held.Public)
	if held.Next != nil {
		set.Keys = append(set.Keys, held.Next.Public)
	}
	for _, former := range held.Former {
		if r.now() < former.Until {
			set.Keys = append(set.Keys, former.Public)
		}
	}
	return set, nil
}
