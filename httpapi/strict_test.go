package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/auth"
)

// Everything here is refused for its form, with a sentence that names the place,
// and nothing has happened afterwards.
func TestWhatIsMalformedIsRefusedAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	approve := "/api/v1/requests/" + made.ID + "/approve"
	const requests, grants = "/api/v1/requests", "/api/v1/grants"
	deep := `{"entitlements":["wiki/pages/editor"],"answers":{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`
	before := w.events()
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		reason, field, says      string
		headers                  []string
	}{
		{name: "no body", method: "POST", path: requests, body: "", status: 400, reason: "malformed-body", says: "ends before"},
		{name: "no JSON", method: "POST", path: requests, body: "reason=x", status: 400, reason: "malformed-body", says: "not JSON"},
		{name: "half of a body", method: "POST", path: requests, body: `{"reason":"x"`, status: 400, reason: "malformed-body", says: "ends before"},
		{name: "a list", method: "POST", path: requests, body: `[]`, status: 400, reason: "malformed-body", says: "must be an object, not a list"},
		{name: "a text", method: "POST", path: requests, body: `"x"`, status: 400, reason: "malformed-body", says: "must be an object"},
		{name: "null", method: "POST", path: requests, body: `null`, status: 400, reason: "malformed-body", says: "null"},
		{name: "two objects", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"]} {}`, status: 400, reason: "malformed-body", says: "follows"},
		{name: "an unknown key", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"durration":60}`, status: 400, reason: "unknown-key", field: "/durration", says: `did you mean "duration"?`},
		{name: "a key in another case", method: "POST", path: requests, body: `{"Entitlements":["wiki/pages/editor"]}`, status: 400, reason: "unknown-key", field: "/Entitlements", says: `did you mean "entitlements"?`},
		{name: "a key that resembles none", method: "POST", path: approve, body: `{"zzzzzzzz":1}`, status: 400, reason: "unknown-key", says: "there are duration, reason, shown, stage"},
		{name: "a key inside", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"evidence":[{"slot":"a","txt":"b"}]}`, status: 400, reason: "unknown-key", field: "/evidence/0/txt", says: `did you mean "text"?`},
		{name: "a key twice", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":"a","reason":"b"}`, status: 400, reason: "key-twice", field: "/reason"},
		{name: "a key twice in answers", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"answers":{"a":{"b":1,"b":2}}}`, status: 400, reason: "key-twice", field: "/answers/a/b"},
		{name: "a key twice by an escape", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":"a","\u0072eason":"b"}`, status: 400, reason: "key-twice", field: "/reason"},
		{name: "a missing key", method: "POST", path: requests, body: `{"reason":"x"}`, status: 400, reason: "missing-key", field: "/entitlements"},
		{name: "null for a key", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":null}`, status: 400, reason: "malformed-body", field: "/reason", says: "leave the key out"},
		{name: "a number for a text", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":7}`, status: 400, reason: "malformed-body", field: "/reason", says: "must be a text"},
		{name: "a text for a number", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"duration":"30d"}`, status: 400, reason: "malformed-body", field: "/duration", says: "whole number"},
		{name: "half a second", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"duration":0.5}`, status: 400, reason: "malformed-body", field: "/duration", says: "whole number"},
		{name: "a number beyond all", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"duration":99999999999999999999}`, status: 400, reason: "malformed-body", field: "/duration", says: "whole number"},
		{name: "no duration at all", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"duration":0}`, status: 400, reason: "malformed-duration", field: "/duration"},
		{name: "less than nothing", method: "POST", path: approve, body: `{"shown":"x","duration":-5}`, status: 400, reason: "malformed-duration", field: "/duration"},
		{name: "a text for a list", method: "POST", path: requests, body: `{"entitlements":"wiki/pages/editor"}`, status: 400, reason: "malformed-body", field: "/entitlements", says: "must be a list"},
		{name: "a number in a list", method: "POST", path: requests, body: `{"entitlements":["a",5]}`, status: 400, reason: "malformed-body", field: "/entitlements/1", says: "must be a text"},
		{name: "an object for a text", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":{}}`, status: 400, reason: "malformed-body", field: "/reason", says: "must be a text, not an object"},
		{name: "no time", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"until":"tomorrow"}`, status: 400, reason: "malformed-time", field: "/until"},
		{name: "a number for a time", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"until":5}`, status: 400, reason: "malformed-body", field: "/until", says: "must be a text"},
		{name: "too deep", method: "POST", path: requests, body: deep, status: 400, reason: "malformed-body", says: "deeper"},
		{name: "invalid UTF-8", method: "POST", path: requests, body: "{\"entitlements\":[\"wiki/pages/editor\"],\"reason\":\"\xff\"}", status: 400, reason: "malformed-body", says: "UTF-8"},
		{name: "half of a surrogate pair", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"reason":"a \ud800 b"}`, status: 400, reason: "malformed-body", field: "/reason", says: "no character"},
		{name: "half of a pair in answers", method: "POST", path: requests, body: `{"entitlements":["wiki/pages/editor"],"answers":{"a":["\udfff"]}}`, status: 400, reason: "malformed-body", field: "/answers/a/0"},
		{name: "too large", method: "POST", path: requests, body: `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, reason: "body-too-large"},
		{name: "nothing asked for", method: "POST", path: requests, body: `{"entitlements":[]}`, status: 400, reason: "entitlements-missing"},
		{name: "no content type", method: "POST", path: requests, body: `{}`, status: 415, reason: "wrong-content-type", headers: []string{"Content-Type", ""}},
		{name: "a form", method: "POST", path: requests, body: `a=b`, status: 415, reason: "wrong-content-type", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{name: "text", method: "POST", path: requests, body: `{}`, status: 415, reason: "wrong-content-type", headers: []string{"Content-Type", "text/plain"}},
		{name: "Latin-1", method: "POST", path: requests, body: `{}`, status: 415, reason: "wrong-content-type", headers: []string{"Content-Type", "application/json; charset=iso-8859-1"}},
		{name: "compressed", method: "POST", path: requests, body: `{}`, status: 415, reason: "wrong-content-type", headers: []string{"Content-Encoding", "gzip"}},
		{name: "a body for a command without", method: "POST", path: "/api/v1/requests/" + made.ID + "/consent", body: `{}`, status: 400, reason: "body-not-expected"},
		{name: "a body for a look", method: "GET", path: requests, body: `{}`, status: 400, reason: "body-not-expected"},
		{name: "an unknown parameter", method: "GET", path: requests + "?inbx=true", status: 400, reason: "unknown-parameter", says: `did you mean "inbox"?`},
		{name: "a parameter where there is none", method: "GET", path: "/api/v1/me?a=b", status: 400, reason: "unknown-parameter", says: "there are none"},
		{name: "a parameter of a command", method: "POST", path: requests + "?inbox=true", body: `{}`, status: 400, reason: "unknown-parameter"},
		{name: "a parameter twice", method: "GET", path: requests + "?limit=1&limit=2", status: 400, reason: "parameter-twice"},
		{name: "a parameter without a value", method: "GET", path: requests + "?cursor=", status: 400, reason: "malformed-parameter", field: "cursor"},
		{name: "a broken query", method: "GET", path: requests + "?cursor=%zz", status: 400, reason: "malformed-query"},
		{name: "maybe", method: "GET", path: requests + "?inbox=maybe", status: 400, reason: "malformed-parameter", field: "inbox"},
		{name: "an unknown state", method: "GET", path: requests + "?state=colecting", status: 400, reason: "malformed-parameter", field: "state", says: `did you mean "collecting"?`},
		{name: "no limit", method: "GET", path: requests + "?limit=0", status: 400, reason: "malformed-parameter", field: "limit"},
		{name: "a limit beyond all", method: "GET", path: grants + "?limit=201", status: 400, reason: "malformed-parameter", field: "limit"},
		{name: "a limit in words", method: "GET", path: grants + "?limit=ten", status: 400, reason: "malformed-parameter", field: "limit"},
		{name: "a cursor of somebody's making", method: "GET", path: requests + "?cursor=bm9uZQ", status: 400, reason: "malformed-cursor", field: "cursor"},
		{name: "an id as cursor", method: "GET", path: requests + "?cursor=" + made.ID, status: 400, reason: "malformed-cursor", field: "cursor"},
		{name: "an empty key", method: "POST", path: requests, body: `{}`, status: 400, reason: "malformed-idempotency-key", headers: []string{"Idempotency-Key", ""}},
		{name: "a long key", method: "POST", path: requests, body: `{}`, status: 400, reason: "malformed-idempotency-key", headers: []string{"Idempotency-Key", strings.Repeat("k", 201)}},
		{name: "a key of other letters", method: "POST", path: requests, body: `{}`, status: 400, reason: "malformed-idempotency-key", headers: []string{"Idempotency-Key", "schlüssel"}},
		{name: "an unknown path", method: "GET", path: "/api/v1/request", status: 404, reason: "no-such-path"},
		{name: "a slash at the end", method: "GET", path: requests + "/", status: 404, reason: "no-such-path"},
		{name: "two slashes", method: "GET", path: "/api/v1//requests", status: 404, reason: "no-such-path"},
		{name: "dots", method: "GET", path: "/api/v1/me/../requests", status: 404, reason: "no-such-path"},
		{name: "the root", method: "GET", path: "/", status: 404, reason: "no-such-path"},
		{name: "another version", method: "GET", path: "/api/v2/me", status: 404, reason: "no-such-path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := *w
			w.t = t
			var body any = test.body
			if test.body == "" && test.method == "GET" {
				body = nil
			}
			got := w.call("mina.park", test.method, test.path, body, test.headers...).refused(test.status, test.reason)
			if got.Field != test.field && test.field != "" {
				t.Errorf("the field is %q, want %q", got.Field, test.field)
			}
			if !strings.Contains(got.Detail, test.says) {
				t.Errorf("%q does not say %q", got.Detail, test.says)
			}
			if after := w.events(); after != before {
				t.Errorf("%s before, %s after", before, after)
			}
		})
	}
}

func TestAWrongMethodIsToldWhichAreRight(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct{ method, path, allow string }{
		{"DELETE", "/api/v1/requests", "GET, HEAD, POST"},
		{"GET", "/api/v1/requests/req_x/approve", "POST"},
		{"PUT", "/api/v1/me", "GET, HEAD"},
		{"GET", "/api/v1/tokens/tok_x", "DELETE"},
		{"POST", "/healthz", "GET, HEAD"},
		{"OPTIONS", "/api/v1/me", "GET, HEAD"},
	} {
		got := w.call("", test.method, test.path, nil)
		got.refused(http.StatusMethodNotAllowed, "method-not-allowed")
		if allow := got.Header.Get("Allow"); allow != test.allow {
			t.Errorf("%s %s: Allow is %q, want %q", test.method, test.path, allow, test.allow)
		}
	}
}

// lookups of every operation, with the scope that it takes.
var operations = []struct {
	method, path string
	scope        auth.Scope
}{
	{"GET", "/house", auth.Read},
	{"GET", "/me", ""},
	{"GET", "/catalogue", auth.Read},
	{"GET", "/identities/mina.park", auth.Read},
	{"POST", "/identities/mina.park/suspend", auth.Grant},
	{"POST", "/identities/mina.park/reactivate", auth.Grant},
	{"POST", "/identities/svc-billing/offer", auth.Grant},
	{"POST", "/identities/svc-billing/accept", auth.Grant},
	{"POST", "/identities/svc-billing/confirm", auth.Grant},
	{"GET", "/delegations", auth.Read},
	{"POST", "/delegations", auth.Decide},
	{"POST", "/delegations/dlg_x/end", auth.Decide},
	{"POST", "/batches", auth.Request},
	{"GET", "/batches/bat_x", auth.Read},
	{"POST", "/requests/preview", auth.Request},
	{"POST", "/requests", auth.Request},
	{"GET", "/requests", auth.Read},
	{"GET", "/requests/req_x", auth.Read},
	{"GET", "/requests/req_x/timeline", auth.Read},
	{"GET", "/requests/req_x/watch", auth.Read},
	{"POST", "/requests/req_x/consent", auth.Decide},
	{"POST", "/requests/req_x/evidence", auth.Request},
	{"POST", "/requests/req_x/approve", auth.Decide},
	{"POST", "/requests/req_x/deny", auth.Decide},
	{"POST", "/requests/req_x/cancel", auth.Request},
	{"POST", "/requests/req_x/amend", auth.Request},
	{"POST", "/requests/req_x/ask", auth.Decide},
	{"POST", "/requests/req_x/answer", auth.Request},
	{"POST", "/requests/req_x/review", auth.Decide},
	{"POST", "/requests/req_x/unblock", auth.Decide},
	{"POST", "/requests/describe", auth.Request},
	{"POST", "/requests/req_x/classify", auth.Decide},
	{"POST", "/requests/req_x/prioritise", auth.Decide},
	{"POST", "/requests/req_x/merge", auth.Decide},
	{"POST", "/requests/req_x/decline", auth.Decide},
	{"POST", "/requests/req_x/close", auth.Grant},
	{"PUT", "/requests/req_x/evidence/ticket", auth.Request},
	{"POST", "/requests/req_x/evidence/ticket/fetch", auth.Request},
	{"POST", "/requests/req_x/evidence/ticket/open", auth.Read},
	{"GET", "/identities/mina.park/birthrights", auth.Read},
	{"GET", "/systems/wiki", auth.Read},
	{"POST", "/systems/wiki/offer", auth.Grant},
	{"POST", "/systems/wiki/accept", auth.Grant},
	{"POST", "/systems/wiki/confirm", auth.Grant},
	{"GET", "/machines", auth.Read},
	{"POST", "/systems/wiki/baseline", auth.Directory},
	{"GET", "/grants", auth.Read},
	{"GET", "/grants/grt_x", auth.Read},
	{"POST", "/grants/grt_x/rotate", auth.Grant},
	{"POST", "/grants/grt_x/revoke", auth.Grant},
	{"POST", "/grants/grt_x/retry", auth.Grant},
	{"GET", "/tasks", auth.Read},
	{"POST", "/grants/grt_x/task/done", auth.Decide},
	{"POST", "/grants/grt_x/task/refuse", auth.Decide},
	{"POST", "/grants/grt_x/task/check", auth.Decide},
	{"POST", "/directory/plan", auth.Directory},
	{"POST", "/directory/apply", auth.Directory},
	{"GET", "/notices/parked", auth.Grant},
	{"POST", "/notices/retry", auth.Grant},
	{"GET", "/ticketing/parked", auth.Grant},
	{"POST", "/ticketing/retry", auth.Grant},
	{"POST", "/ticketing/dismiss", auth.Grant},
	{"GET", "/reconciliations", auth.Read},
	{"GET", "/reconciliations/claim", auth.Read},
	{"POST", "/reconciliations/wiki/run", auth.Grant},
	{"GET", "/findings", auth.Read},
	{"GET", "/findings/fnd_x", auth.Read},
	{"POST", "/findings/fnd_x/remove", auth.Grant},
	{"GET", "/holds", auth.Grant},
	{"POST", "/holds", auth.Grant},
	{"GET", "/holds/hld_x", auth.Grant},
	{"POST", "/holds/hld_x/lift", auth.Grant},
	{"GET", "/proposals", auth.Directory},
	{"POST", "/proposals", auth.Directory},
	{"GET", "/proposals/prp_x", auth.Directory},
	{"GET", "/proposals/prp_x/pairs", auth.Directory},
	{"POST", "/proposals/prp_x/publish", auth.Directory},
	{"POST", "/proposals/prp_x/enforce", auth.Directory},
	{"POST", "/proposals/prp_x/reject", auth.Directory},
	{"POST", "/proposals/prp_x/withdraw", auth.Directory},
	{"GET", "/tokens", ""},
	{"DELETE", "/tokens/tok_x", ""},
	{"POST", "../../access/v1/evaluation", auth.Evaluate},
	{"POST", "../../targets/vault/introspect", auth.Introspect},
	{"POST", "../../targets/vault/secrets/crd_x/read", auth.Read},
}

func TestEveryOperationTakesATokenWithItsScope(t *testing.T) {
	w := newWorld(t)
	described := 0
	for _, item := range description().Paths.Map() {
		for _, operation := range item.Operations() {
			// What is signed takes no token.
			if operation.Security == nil {
				described++
			}
		}
	}
	if described+3 != len(operations) {
		t.Errorf("%d operations are described, and %d tried", described, len(operations)-3)
	}
	for _, scope := range auth.Scopes {
		bearer, _ := w.issue("mina.park", scope)
		for _, operation := range operations {
			path := "/api/v1" + operation.path
			if outside, is := strings.CutPrefix(operation.path, "../.."); is {
				path = outside
			}
			w.call("", operation.method, path, nil).refused(http.StatusUnauthorized, "token-missing")
			got := w.call("", operation.method, path, nil, "Authorization", "Bearer "+bearer.Reveal())
			lacks := strings.Contains(string(got.Body), "missing-scope")
			if should := operation.scope != "" && operation.scope != scope; lacks != should {
				t.Errorf("%s %s with the scope %s: %d %s", operation.method, path, scope, got.Status, got.Body)
			}
			if lacks && !strings.Contains(got.Header.Get("WWW-Authenticate"), `scope="`+string(operation.scope)+`"`) {
				t.Errorf("%s %s: the challenge is %q", operation.method, path, got.Header.Get("WWW-Authenticate"))
			}
		}
	}
}

func TestWhoIsNotRecognisedIsToldHowToSignIn(t *testing.T) {
	w := newWorld(t)
	good := w.token("mina.park").Reveal()
	for _, test := range []struct{ name, header, reason, challenge string }{
		{"nobody", "", "token-missing", `Bearer realm="countersign"`},
		{"another scheme", "Basic " + good, "token-malformed", `Bearer realm="countersign", error="invalid_token"`},
		{"no token", "Bearer", "token-malformed", `Bearer realm="countersign", error="invalid_token"`},
		{"a wrong token", "Bearer " + good + "x", "token-malformed", `Bearer realm="countersign", error="invalid_token"`},
		{"two blanks", "Bearer  " + good, "token-malformed", `Bearer realm="countersign", error="invalid_token"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			if test.header != "" {
				headers = []string{"Authorization", test.header}
			}
			got := w.call("", "GET", "/api/v1/me", nil, headers...)
			got.refused(http.StatusUnauthorized, test.reason)
			if challenge := got.Header.Get("WWW-Authenticate"); challenge != test.challenge {
				t.Errorf("the challenge is %q", challenge)
			}
		})
	}
	// The scheme has no case.
	w.call("", "GET", "/api/v1/me", nil, "Authorization", "bearer "+good).want(http.StatusOK, nil)
	// A query is no place for a token.
	w.call("", "GET", "/api/v1/me?access_token="+good, nil).refused(http.StatusUnauthorized, "token-missing")
	// Ivan is suspended.
	w.call("ivan.horvat", "GET", "/api/v1/me", nil).refused(http.StatusUnauthorized, "identity-inactive")
	// An hour later nobody is signed in any more.
	w.clock.Advance(3600e9)
	w.call("mina.park", "GET", "/api/v1/me", nil).refused(http.StatusUnauthorized, "token-unknown-or-expired")
}
