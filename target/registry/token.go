package registry

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
)

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
	if err := r.stops.Answers(); err != nil {
		return nil, err
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
	signer, err := r.signer(ctx, held.System, now)
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
