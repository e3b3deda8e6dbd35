package target

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/countersign/countersign"
)

// Authenticator says who is calling. An Unauthenticated error means nobody
// known; Refused, that somebody known may not call here; any other, that it
// cannot be found out now. The wiring gives one, so that targets do not import
// auth.
type Authenticator interface {
	Authenticate(r *http.Request) (countersign.IdentityID, error)
}

// AuthenticatorFunc is a function as Authenticator.
type AuthenticatorFunc func(r *http.Request) (countersign.IdentityID, error)

// Authenticate implements Authenticator.
func (f AuthenticatorFunc) Authenticate(r *http.Request) (countersign.IdentityID, error) { return f(r) }

// Caller returns who is calling, or answers 401 (403 if the caller may not, 503
// if that cannot be found out now) and returns false.
func Caller(w http.ResponseWriter, r *http.Request, callers Authenticator) (countersign.IdentityID, bool) {
	caller, err := callers.Authenticate(r)
	if err == nil && caller != "" {
		return caller, true
	}
	if countersign.KindOf(err) == countersign.Refused {
		Refuse(w, http.StatusForbidden, countersign.ReasonOf(err), err.Error())
		return "", false
	}
	if err != nil && countersign.KindOf(err) != countersign.Unauthenticated {
		Refuse(w, http.StatusServiceUnavailable, "unavailable", "who is calling cannot be checked now")
		return "", false
	}
	challenge := `Bearer realm="countersign"`
	if r.Header.Get("Authorization") != "" {
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	Refuse(w, http.StatusUnauthorized, "unauthenticated", "send a valid bearer token in the Authorization header")
	return "", false
}

// Answer writes a JSON body that nobody may keep, unless its headers say for how long.
func Answer(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A failed write means that the caller went away; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(body)
}

// Refuse writes a problem document (RFC 9457).
func Refuse(w http.ResponseWriter, status int, reason, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	Answer(w, status, map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "reason": reason, "detail": detail,
	})
}

// RefuseBody answers why a body could not be read.
func RefuseBody(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		Refuse(w, http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than this endpoint reads")
		return
	}
	Refuse(w, http.StatusBadRequest, "malformed-body", "the body could not be read")
}
