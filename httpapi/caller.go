package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
)

// session is who sent one request, and under which idempotency key.
type session struct {
	bearer countersign.Secret
	token  auth.Token
	caller desk.Caller
	key    desk.Key
}

type sessionKey struct{}

func sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}

// Authenticated returns who is calling, for the handlers of Mounts.
func Authenticated(r *http.Request) (countersign.IdentityID, error) {
	if s := sessionOf(r.Context()); s != nil {
		return s.caller.Identity, nil
	}
	return "", countersign.Errorf(countersign.Unauthenticated, "token-missing", "Nobody is signed in.")
}

// authenticated lets only callers through whose token has the scope, and no more of
// them than the limit says.
func (a *api) authenticated(scope auth.Scope, limit Class, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := a.recognise(r.Context(), bearerOf(r))
		if err != nil {
			a.refuse(w, r, a.failedSignIn(w, r, err))
			return
		}
		noteCaller(w, s)
		if scope != "" && !s.token.Has(scope) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="countersign", error="insufficient_scope", scope="`+string(scope)+`"`)
			a.refuse(w, r, countersign.Errorf(countersign.Refused, "missing-scope", "This token lacks the scope %q.", scope))
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, s))
		if err := a.checkLimit(w, r, limit); err != nil {
			a.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// public lets anybody through, as far as the address may ask that often.
func (a *api) public(limit Class, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.checkAddress(w, r, limit); err != nil {
			a.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearerOf returns what stands as token in the one Authorization header. Another
// scheme, or a second header, gives a text that is no token.
func bearerOf(r *http.Request) countersign.Secret {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return countersign.Secret{}
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || text == "" {
		return countersign.NewSecret("no token")
	}
	return countersign.NewSecret(text)
}

// recognise finds out who is calling, from the token and from the directory of
// this moment.
func (a *api) recognise(ctx context.Context, bearer countersign.Secret) (*session, error) {
	token, err := a.Authenticate(ctx, bearer)
	if err != nil {
		return nil, err
	}
	active, err := a.Desk.Active(ctx, token.Identity)
	if err != nil {
		return nil, err
	}
	if !active {
		return nil, countersign.Errorf(countersign.Unauthenticated, "identity-inactive", "The identity of this token is not active.")
	}
	return &session{bearer: bearer, token: token, caller: desk.Caller{Identity: token.Identity, Issuer: token.Issuer, Strength: token.Strength}}, nil
}
