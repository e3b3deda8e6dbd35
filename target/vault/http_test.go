package vault

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// byBearer takes the bearer token itself as the caller's id.
var byBearer = target.AuthenticatorFunc(func(r *http.Request) (countersign.IdentityID, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found || countersign.CheckID("idn", token) != nil {
		return "", countersign.Errorf(countersign.Unauthenticated, "no-token", "no token")
	}
	return countersign.IdentityID(token), nil
})

func (h *house) serve(method, path, contentType, caller, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	mux := http.NewServeMux()
	mux.Handle(IntrospectPath, h.Introspect(byBearer))
	mux.Handle(ReadPath, h.ReadSecret(byBearer))
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	if caller != "" {
		request.Header.Set("Authorization", "Bearer "+caller)
	}
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, request)
	if recorder.Header().Get("Cache-Control") != "no-store" {
		h.t.Errorf("%s %s may be cached: %q", method, path, recorder.Header().Get("Cache-Control"))
	}
	return recorder
}

const form = "application/x-www-form-urlencoded"

func (h *house) introspect(key countersign.Secret) string {
	h.t.Helper()
	recorder := h.serve("POST", IntrospectPath, form, string(h.mint.Identity()), url.Values{"token": {key.Reveal()}}.Encode())
	if recorder.Code != http.StatusOK || recorder.Header().Get("Content-Type") != "application/json" {
		h.t.Fatalf("introspection answers %d %s", recorder.Code, recorder.Header().Get("Content-Type"))
	}
	return strings.TrimSpace(recorder.Body.String())
}

func TestIntrospectionTellsAResourceServerWhatTheKeyIsFor(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	var answer introspection
	if err := json.Unmarshal([]byte(h.introspect(h.read(order))), &answer); err != nil {
		t.Fatal(err)
	}
	want := introspection{
		Active: true, Scope: "read", Sub: string(order.Holder), Aud: "billing", Iss: "https://desk.example",
		Iat: h.clock.Now().Unix(), Exp: h.clock.Now().Add(time.Hour).Unix(), Jti: string(order.Credential),
	}
	if answer != want {
		t.Errorf("got %+v, want %+v", answer, want)
	}
}

func TestIntrospectionSaysOfADeadKeyOnlyThatItIsDead(t *testing.T) {
	const dead = `{"active":false}`
	for name, kill := range map[string]func(h *house, order Order){
		"ended":          func(h *house, _ Order) { h.clock.Advance(time.Hour) },
		"revoked":        func(h *house, order Order) { _ = h.Revoke(h.t.Context(), order.Credential, 0) },
		"holder stopped": func(h *house, order Order) { h.stops.Stop(mustID(h.t, order.Holder), target.Held) },
		"system stopped": func(h *house, order Order) { h.stops.Stop(mustID(h.t, order.System), target.Held) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			order := h.order()
			h.issue(order)
			key := h.read(order)
			kill(h, order)
			if got := h.introspect(key); got != dead {
				t.Errorf("got %s", got)
			}
		})
	}
	h := newHouse(t)
	unknown, err := newKey(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []countersign.Secret{unknown, countersign.NewSecret("hunter2")} {
		if got := h.introspect(key); got != dead {
			t.Errorf("an unknown key gives %s", got)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestIntrospectionRefusesWhatItDoesNotUnderstand(t *testing.T) {
	h := newHouse(t)
	caller := string(h.mint.Identity())
	for name, test := range map[string]struct {
		method, contentType, caller, body string
		want                              int
	}{
		"no caller":        {"POST", form, "", "token=x", http.StatusUnauthorized},
		"unknown caller":   {"POST", form, "nobody", "token=x", http.StatusUnauthorized},
		"GET":              {"GET", form, caller, "", http.StatusMethodNotAllowed},
		"JSON":             {"POST", "application/json", caller, `{"token":"x"}`, http.StatusUnsupportedMediaType},
		"no token":         {"POST", form, caller, "tokens=x", http.StatusBadRequest},
		"empty token":      {"POST", form, caller, "token=", http.StatusBadRequest},
		"two tokens":       {"POST", form, caller, "token=x&token=y", http.StatusBadRequest},
		"bad escape":       {"POST", form, caller, "token=%zz", http.StatusBadRequest},
		"body too large":   {"POST", form, caller, "token=" + strings.Repeat("x", maxBody), http.StatusRequestEntityTooLarge},
		"token in the URL": {"POST", form, caller, "", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			path := IntrospectPath
			if name == "token in the URL" {
				path += "?token=x"
			}
			recorder := h.serve(test.method, path, test.contentType, test.caller, test.body)
			if recorder.Code != test.want || recorder.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d %s, want %d", recorder.Code, recorder.Header().Get("Content-Type"), test.want)
			}
			if (recorder.Code == http.StatusUnauthorized) != strings.HasPrefix(recorder.Header().Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("WWW-Authenticate is %q", recorder.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

func TestTheHolderFetchesTheSecretOverHTTPOnce(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	path := "/targets/vault/secrets/" + string(order.Credential) + "/read"
	if got := h.serve("POST", path, "", "", "").Code; got != http.StatusUnauthorized {
		t.Errorf("nobody got %d", got)
	}
	stranger := h.serve("POST", path, "", string(h.mint.Identity()), "")
	missing := h.serve("POST", strings.Replace(path, string(order.Credential), string(h.mint.Credential()), 1), "", string(order.Holder), "")
	if stranger.Code != http.StatusNotFound || stranger.Body.String() != missing.Body.String() {
		t.Errorf("a stranger got %d %s, a missing one %s", stranger.Code, stranger.Body, missing.Body)
	}
	h.stops.Stop(mustID(t, order.Holder), target.Held)
	if got := h.serve("POST", path, "", string(order.Holder), "").Code; got != http.StatusForbidden {
		t.Errorf("a held holder got %d", got)
	}
	h.stops.Lift(mustID(t, order.Holder), target.Held)
	recorder := h.serve("POST", path, "", string(order.Holder), "")
	var answer struct{ Reference, Secret string }
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || recorder.Code != http.StatusOK {
		t.Fatalf("the holder got %d, %v", recorder.Code, err)
	}
	if !h.check(countersign.NewSecret(answer.Secret)).Active || answer.Reference != string(order.Credential) {
		t.Error("what the holder got is not the key")
	}
	if got := h.serve("POST", path, "", string(order.Holder), "").Code; got != http.StatusGone {
		t.Errorf("the second time the holder got %d", got)
	}
	if got := h.serve("GET", path, "", string(order.Holder), "").Code; got != http.StatusMethodNotAllowed {
		t.Errorf("GET got %d", got)
	}
}
