package house

import (
	"context"
	"net/http"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

// APISystem is the system whose keys open the house's own interface: what
// machines ask for, to sign in.
const APISystem = "countersign-api"

// keyScopes says what a key opens, by the name of its entitlement. None of them
// decides anything.
var keyScopes = map[string][]auth.Scope{
	"read":       {auth.Read},
	"request":    {auth.Read, auth.Request},
	"introspect": {auth.Introspect},
	"evaluate":   {auth.Evaluate},
	"metrics":    {auth.Metrics},
}

// Authenticate returns who sends a bearer token: one that auth issued, or a key
// of the vault for the system APISystem, which is checked like any other use of
// a key.
func (h *House) Authenticate(ctx context.Context, bearer countersign.Secret) (auth.Token, error) {
	if !vault.LooksLikeKey(bearer.Reveal()) {
		return h.Auth.Authenticate(ctx, bearer)
	}
	check, err := h.Vault.CheckKey(ctx, bearer)
	if err != nil {
		return auth.Token{}, err
	}
	if !check.Active || check.SystemName != APISystem || keyScopes[check.Scope] == nil {
		return auth.Token{}, countersign.Errorf(countersign.Unauthenticated, "token-unknown-or-expired", "This key does not open the house's interface: it is unknown, has ended, or is for another system.")
	}
	return auth.Token{
		Identity: check.Holder, Scopes: keyScopes[check.Scope], Issuer: "vault", Strength: "key", IssuedAt: check.IssuedAt, ExpiresAt: check.Until,
	}, nil
}

// PeopleOnly lets only people through, for what no machine may do.
func (h *House) PeopleOnly(callers target.Authenticator) target.Authenticator {
	return target.AuthenticatorFunc(func(r *http.Request) (countersign.IdentityID, error) {
		caller, err := callers.Authenticate(r)
		if err != nil {
			return "", err
		}
		if _, person := h.Desk.ResolveAs(string(countersign.Person), string(caller)); !person {
			return "", countersign.Errorf(countersign.Refused, "people-only", "only people do this; a machine may read")
		}
		return caller, nil
	})
}
