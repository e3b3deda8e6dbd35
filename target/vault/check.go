package vault

import (
	"context"
	"crypto/subtle"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Check is what the lookup of a key found.
type Check struct {
	// Active says that the key works now.
	Active bool
	// Why says what makes an inactive key so: "unknown", "revoked", "ended", or
	// "stopped", which means that the vault still holds it and a stop refuses it.
	Why        Reason
	Credential countersign.CredentialID
	Holder     countersign.IdentityID
	System     countersign.SystemID
	SystemName string
	Resource   string
	Scope      string
	IssuedAt   countersign.Instant
	Until      countersign.Instant
}

// Reason is why a key is not active.
type Reason string

const (
	Unknown Reason = "unknown"
	Revoked Reason = "revoked"
	Expired Reason = "ended"
	Stopped Reason = "stopped"
)

// CheckKey looks up a key that somebody shows, for introspection and for signing
// in. That it was found active counts as a use.
func (v *Vault) CheckKey(ctx context.Context, key countersign.Secret) (Check, error) {
	if !LooksLikeKey(key.Reveal()) {
		return Check{Why: Unknown}, nil
	}
	check, err := v.lookup(ctx, hashOf(key))
	if err == nil && check.Active {
		// That a use could not be noted is no reason to refuse it: at worst the key
		// counts as unused for longer, and a person is asked about it.
		_ = v.uses.Note(ctx, check.Credential, v.now())
	}
	return check, err
}

// CheckCredential runs the lookup of introspection for the key of a credential,
// by its stored hash: for a reader who must not know the key, and is no use of
// it. A vault that may answer nothing now says so, and not that the key is gone.
// Of a secret that was made elsewhere it knows only whether it was revoked.
func (v *Vault) CheckCredential(ctx context.Context, credential countersign.CredentialID) (Check, error) {
	if err := v.stops.Answers(); err != nil {
		return Check{}, err
	}
	_, held, err := v.load(ctx, credential)
	switch {
	case countersign.KindOf(err) == countersign.NotFound:
		return Check{Why: Unknown}, nil
	case err != nil:
		return Check{}, err
	case held.Hash == "" && held.RevokedAt != 0:
		return Check{Why: Revoked}, nil
	case held.Hash == "":
		return Check{Why: Unknown}, nil
	}
	return v.lookup(ctx, held.Hash)
}

// lookup is the one way to an active answer. The end is compared here: a key is
// refused after it without anything having swept it.
func (v *Vault) lookup(ctx context.Context, hash string) (Check, error) {
	items, err := v.shelf.Items(ctx, hash, "", 2)
	if err != nil {
		return Check{}, err
	}
	for _, item := range items {
		held, err := decode(item)
		if err != nil {
			return Check{}, err
		}
		if subtle.ConstantTimeCompare([]byte(held.Hash), []byte(hash)) != 1 {
			continue
		}
		check := Check{
			Credential: countersign.CredentialID(item.Key), Holder: held.Holder, System: held.System, SystemName: held.SystemName,
			Resource: held.Resource, Scope: held.Scope, IssuedAt: held.IssuedAt, Until: held.Until,
		}
		stopped, err := v.stopped(check.Credential, held)
		if err != nil {
			return Check{}, err
		}
		switch {
		case held.RevokedAt != 0:
			check.Why = Revoked
		case held.endedAt(v.now()):
			check.Why = Expired
		case stopped:
			check.Why = Stopped
		default:
			check.Active = true
		}
		return check, nil
	}
	return Check{Why: Unknown}, nil
}

// stopped reports whether a stop refuses the key; a vault that cannot tell returns an
// error.
func (v *Vault) stopped(credential countersign.CredentialID, held record) (bool, error) {
	if err := v.stops.Answers(); err != nil {
		return false, err
	}
	return v.stops.Stops(target.Access{Credential: credential, Grant: held.Grant, Holder: held.Holder, System: held.System, Entitlement: held.Entitlement})
}
