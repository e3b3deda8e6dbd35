package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
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
