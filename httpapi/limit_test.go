package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/httpapi"
)

// from sends a request as it comes over a connection from the address.
func (w *world) from(address, bearer, method, path, body string, headers ...string) *answer {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = address
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	recorded := httptest.NewRecorder()
	w.door.ServeHTTP(recorded, r)
	return &answer{w.t, method + " " + path + " from " + address, recorded.Code, recorded.Header(), recorded.Body.Bytes()}
}

const evaluation = `{"subject":{"type":"person","id":"mina.park"},"action":{"name":"read"},"resource":{"type":"resource","id":"x/y"}}`

func TestTooMuchOfOneThingIsRefusedUntilItsTime(t *testing.T) {
	w := newWorld(t)
	few := httpapi.Rate{Count: 3, Per: time.Minute}
	w.configure(func(c *httpapi.Config) {
		c.Limits = httpapi.Limits{Submit: httpapi.Bound{Caller: few}, Upload: httpapi.Bound{Caller: few}, Evaluate: httpapi.Bound{Caller: few}}
	})
	mina, laura := w.token("mina.park").Reveal(), w.token("laura.schmidt").Reveal()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/v1/requests/preview", "{}"}, {"POST", "/access/v1/evaluation", evaluation}, {"POST", "/api/v1/directory/plan", "{}"},
	} {
		for i := range 4 {
			got := w.from("192.0.2.1:999", mina, c.method, c.path, c.body)
			if (got.Status == http.StatusTooManyRequests) != (i == 3) {
				t.Fatalf("%s, call %d: %d %s", c.path, i+1, got.Status, got.Body)
			}
			if i < 3 {
				continue
			}
			got.refused(http.StatusTooManyRequests, "too-many")
			if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || wait != 20 {
				t.Errorf("%s says to come back after %q", c.path, got.Header.Get("Retry-After"))
			}
		}
		if got := w.from("192.0.2.1:999", laura, c.method, c.path, c.body); got.Status == http.StatusTooManyRequests {
			t.Errorf("%s is refused to another caller: %s", c.path, got.Body)
		}
	}
	// Reading and deciding are not limited, and time heals.
	for range 50 {
		w.from("192.0.2.1:999", mina, "GET", "/api/v1/me", "").want(http.StatusOK, nil)
	}
	w.clock.Advance(20 * time.Second)
	for i := range 2 {
		got := w.from("192.0.2.1:999", mina, "POST", "/access/v1/evaluation", evaluation)
		if (got.Status == http.StatusTooManyRequests) != (i == 1) {
			t.Errorf("after 20 seconds, call %d: %d", i+1, got.Status)
		}
	}
}

func TestAnAddressIsLimitedWhoeverCalls(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *httpapi.Config) {
		c.Limits = httpapi.Limits{Evaluate: httpapi.Bound{Address: httpapi.Rate{Count: 2, Per: time.Minute}}}
		c.Proxy = netip.MustParsePrefix("10.0.0.0/8")
	})
	mina, laura := w.token("mina.park").Reveal(), w.token("laura.schmidt").Reveal()
	ask := func(bearer, forwarded string) int {
		return w.from("10.1.1.1:1", bearer, "POST", "/access/v1/evaluation", evaluation, "X-Forwarded-For", forwarded).Status
	}
	// What a caller writes before the proxy's own word moves nothing, and an IPv6
	// network counts as one.
	for i, c := range []struct {
		bearer, forwarded string
		status            int
	}{
		{mina, "203.0.113.9", 200}, {laura, "198.51.100.1, 203.0.113.9", 200}, {mina, "198.51.100.2, 203.0.113.9", 429}, {laura, "203.0.113.9", 429},
		{mina, "203.0.113.10", 200}, {mina, "2001:db8::1", 200}, {mina, "2001:db8::2", 200}, {mina, "2001:db8::3", 429}, {mina, "2001:db8:0:1::3", 200},
	} {
		if got := ask(c.bearer, c.forwarded); got != c.status {
			t.Errorf("call %d for %s: %d, want %d", i+1, c.forwarded, got, c.status)
		}
	}
}

func TestFailedSignInsAreLimitedAndNeverATokenThatWorks(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *httpapi.Config) { c.Limits.SignIn = httpapi.Rate{Count: 5, Per: time.Minute} })
	for i := range 8 {
		got := w.from("192.0.2.1:999", fmt.Sprint("cst_wrong", i), "GET", "/api/v1/me", "")
		if i < 5 {
			got.refused(http.StatusUnauthorized, "token-malformed")
		} else {
			got.refused(http.StatusTooManyRequests, "too-many")
		}
	}
	w.from("192.0.2.1:999", w.token("mina.park").Reveal(), "GET", "/api/v1/me", "").want(http.StatusOK, nil)
	w.from("192.0.2.2:999", "cst_wrong", "GET", "/api/v1/me", "").refused(http.StatusUnauthorized, "token-malformed")
}

func TestOnlyTheProxyIsAnsweredButProbes(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *httpapi.Config) { c.Proxy, c.Secure = netip.MustParsePrefix("10.0.0.0/8"), true })
	for _, c := range []struct {
		from, path string
		status     int
	}{
		{"10.1.2.3:5", "/api/v1/me", 401}, {"[::ffff:10.1.2.3]:5", "/api/v1/me", 401}, {"192.0.2.1:5", "/api/v1/me", 403}, {"127.0.0.1:5", "/api/v1/me", 403},
		{"192.0.2.1:5", "/healthz", 200}, {"192.0.2.1:5", "/readyz", 200}, {"192.0.2.1:5", "/metrics", 403}, {"127.0.0.1:5", "/metrics", 200}, {"nonsense", "/api/v1/me", 403},
	} {
		got := w.from(c.from, "", "GET", c.path, "")
		if got.Status != c.status || got.Header.Get("Strict-Transport-Security") == "" || got.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %v, want %d", got.what, got.Status, got.Header, c.status)
		}
	}
}

func TestFiguresAreForThisMachineOrAToken(t *testing.T) {
	w := newWorld(t)
	reads, _ := w.issue("mina.park", auth.Read)
	scrapes, _ := w.issue("mina.park", auth.Metrics)
	w.from("127.0.0.1:5", "", "GET", "/metrics", "").want(http.StatusOK, nil)
	w.from("[::1]:5", "", "GET", "/metrics", "").want(http.StatusOK, nil)
	w.from("192.0.2.1:5", "", "GET", "/metrics", "").refused(http.StatusUnauthorized, "token-missing")
	w.from("192.0.2.1:5", reads.Reveal(), "GET", "/metrics", "").refused(http.StatusForbidden, "missing-scope")
	w.from("192.0.2.1:5", scrapes.Reveal(), "GET", "/metrics", "").want(http.StatusOK, nil)
	// What comes through a proxy on this machine does not come from this machine.
	w.from("127.0.0.1:5", "", "GET", "/metrics", "", "X-Forwarded-For", "127.0.0.1").refused(http.StatusUnauthorized, "token-missing")
	w.from("127.0.0.1:5", "", "GET", "/metrics", "", "Forwarded", "for=127.0.0.1").refused(http.StatusUnauthorized, "token-missing")
	w.configure(func(c *httpapi.Config) { c.Proxy = netip.MustParsePrefix("127.0.0.0/8") })
	w.from("127.0.0.1:5", "", "GET", "/metrics", "").refused(http.StatusUnauthorized, "token-missing")
}

func TestEachLimitCountsEachOfItsOperationsByCallerAndByAddress(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *httpapi.Config) {
		c.Mounts = append(c.Mounts, httpapi.Mount{Path: "POST /open", Handler: http.NotFoundHandler(), Limit: httpapi.Submits})
	})
	mina, laura := w.token("mina.park").Reveal(), w.token("laura.schmidt").Reveal()
	const here, elsewhere, missing = "192.0.2.1:999", "192.0.2.2:999", "/api/v1/requests/req_01h455vb4pex5vsknk084sn02q"
	few := httpapi.Rate{Count: 2, Per: time.Minute}
	kinds := map[string]struct {
		limits func(httpapi.Bound) httpapi.Limits
		paths  []string
	}{
		"submit": {func(b httpapi.Bound) httpapi.Limits { return httpapi.Limits{Submit: b} }, []string{
			"POST /api/v1/requests/preview", "POST /api/v1/requests", "POST /api/v1/requests/describe", "POST /api/v1/batches", "POST " + missing + "/amend", "POST /open",
		}},
		"upload": {func(b httpapi.Bound) httpapi.Limits { return httpapi.Limits{Upload: b} }, []string{
			"POST " + missing + "/evidence", "PUT " + missing + "/evidence/incident", "POST " + missing + "/evidence/incident/fetch", "POST /api/v1/directory/plan",
			"POST /api/v1/directory/apply", "POST /api/v1/proposals", "POST /api/v1/grants/grt_01h455vb4pex5vsknk084sn02q/task/check",
		}},
		"evaluate": {func(b httpapi.Bound) httpapi.Limits { return httpapi.Limits{Evaluate: b} }, []string{"POST /access/v1/evaluation"}},
	}
	refused := func(address, bearer, operation string) bool {
		method, path, _ := strings.Cut(operation, " ")
		return w.from(address, bearer, method, path, "{}").Status == http.StatusTooManyRequests
	}
	for name, kind := range kinds {
		for _, path := range kind.paths {
			for by, bound := range map[string]httpapi.Bound{"caller": {Caller: few}, "address": {Address: few}} {
				w.configure(func(c *httpapi.Config) { c.Limits = kind.limits(bound) })
				for i := range 3 {
					if got := refused(here, mina, path); got != (i == 2) {
						t.Errorf("%s by %s: call %d of %s is refused: %v", name, by, i+1, path, got)
					}
				}
				if got := refused(elsewhere, mina, path); got != (by == "caller") {
					t.Errorf("%s by %s: %s by the same caller from elsewhere is refused: %v", name, by, path, got)
				}
				if got := refused(here, laura, path); got != (by == "address") {
					t.Errorf("%s by %s: %s by somebody else from the same address is refused: %v", name, by, path, got)
				}
				for other, uncounted := range kinds {
					// What has been too much is so for every operation of its kind, and for no other.
					for _, operation := range uncounted.paths {
						if got := refused(here, mina, operation); got != (other == name) {
							t.Errorf("%s by %s: after %s, %s is refused: %v", name, by, path, operation, got)
						}
					}
				}
			}
		}
	}
}

func TestFailedSignInsCountByNetworkWhateverWasTriedAndTimeHeals(t *testing.T) {
	w := newWorld(t)
	fresh := func() {
		w.configure(func(c *httpapi.Config) { c.Limits.SignIn = httpapi.Rate{Count: 3, Per: time.Minute} })
	}
	fails := func(address, bearer string, status int) {
		t.Helper()
		w.from(address, bearer, "GET", "/api/v1/me", "").want(status, nil)
	}
	fresh()
	ended, token := w.issue("mina.park", auth.Read)
	if err := w.house.Auth.Revoke(t.Context(), token.ID, token.Identity); err != nil {
		t.Fatal(err)
	}
	fails("[2001:db8::1]:9", "", http.StatusUnauthorized)
	fails("[2001:db8::2]:9", "cst_wrong", http.StatusUnauthorized)
	fails("[2001:db8::3]:9", ended.Reveal(), http.StatusUnauthorized)
	fails("[2001:db8::4]:9", "", http.StatusTooManyRequests)
	fails("[2001:db8::4]:9", ended.Reveal(), http.StatusTooManyRequests)
	fails("[2001:db8:0:1::4]:9", "", http.StatusUnauthorized)
	w.clock.Advance(20 * time.Second)
	fails("[2001:db8::5]:9", "", http.StatusUnauthorized)
	fails("[2001:db8::6]:9", "", http.StatusTooManyRequests)
}

// signIn is an endpoint of a target that takes one secret.
func signIn(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("secret") == "right" {
		return
	}
	httpapi.SignInFailed(r)
	w.WriteHeader(http.StatusUnauthorized)
}

func TestNoSecretIsLookedAtFromAnAddressWhereTooManyWereWrong(t *testing.T) {
	w := newWorld(t)
	w.configure(func(c *httpapi.Config) {
		c.Limits.SignIn = httpapi.Rate{Count: 5, Per: time.Minute}
		c.Mounts = append(c.Mounts, httpapi.Mount{Path: "POST /sign-in", Public: true, SignsIn: true, Handler: http.HandlerFunc(signIn)})
	})
	try := func(address, secret string) *answer {
		return w.from(address, "", "POST", "/sign-in?secret="+secret, "")
	}
	for range 20 {
		try("192.0.2.1:9", "right").want(http.StatusOK, nil)
	}
	for i := range 5 {
		try("192.0.2.1:9", fmt.Sprint("wrong", i)).want(http.StatusUnauthorized, nil)
	}
	for _, secret := range []string{"wrong", "right"} {
		got := try("192.0.2.1:9", secret)
		got.refused(http.StatusTooManyRequests, "too-many")
		if got.Header.Get("Retry-After") != "12" {
			t.Errorf("says to come back after %q", got.Header.Get("Retry-After"))
		}
	}
	try("192.0.2.2:9", "right").want(http.StatusOK, nil)
	// Tokens that fail count along, and those that work go on.
	w.from("192.0.2.1:9", "cst_wrong", "GET", "/api/v1/me", "").refused(http.StatusTooManyRequests, "too-many")
	w.from("192.0.2.1:9", w.token("mina.park").Reveal(), "GET", "/api/v1/me", "").want(http.StatusOK, nil)
	w.clock.Advance(12 * time.Second)
	try("192.0.2.1:9", "right").want(http.StatusOK, nil)
	try("192.0.2.1:9", "wrong").want(http.StatusUnauthorized, nil)
	try("192.0.2.1:9", "right").refused(http.StatusTooManyRequests, "too-many")
}

func TestManySecretsThatAreTriedAtOnceAreAllWaitedFor(t *testing.T) {
	w := newWorld(t)
	const many = 10
	var together sync.WaitGroup
	together.Add(many)
	w.configure(func(c *httpapi.Config) {
		c.Limits.SignIn = httpapi.Rate{Count: 5, Per: time.Minute}
		c.Mounts = append(c.Mounts, httpapi.Mount{Path: "POST /sign-in", Public: true, SignsIn: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			together.Done()
			together.Wait()
			signIn(w, r)
		})})
	})
	var answered sync.WaitGroup
	for range many {
		answered.Go(func() {
			if got := w.from("192.0.2.1:9", "", "POST", "/sign-in?secret=wrong", ""); got.Status != http.StatusUnauthorized {
				t.Errorf("a wrong secret: %d", got.Status)
			}
		})
	}
	answered.Wait()
	// Five beyond the bound, and one more to come: six times twelve seconds.
	got := w.from("192.0.2.1:9", "", "POST", "/sign-in?secret=right", "")
	got.refused(http.StatusTooManyRequests, "too-many")
	if got.Header.Get("Retry-After") != "72" {
		t.Errorf("says to come back after %q", got.Header.Get("Retry-After"))
	}
}
