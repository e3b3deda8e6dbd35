package httpapi_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/httpapi"
)

func TestEveryAnswerKeepsBrowsersOut(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct{ who, method, path string }{
		{"mina.park", "GET", "/api/v1/me"}, {"", "GET", "/api/v1/me"}, {"", "GET", "/nowhere"}, {"", "PUT", "/api/v1/me"},
		{"", "GET", "/healthz"}, {"mina.park", "POST", "/access/v1/evaluation"}, {"mina.park", "GET", "/panics"},
	} {
		got := w.call(test.who, test.method, test.path, nil)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Countersign-Sample-House": "true",
		} {
			if value := got.Header.Get(name); value != want {
				t.Errorf("%s: %s is %q", got.what, name, value)
			}
		}
		if got.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s has no number", got.what)
		}
	}
}

func TestARequestKeepsItsNumber(t *testing.T) {
	w := newWorld(t)
	if got := w.call("", "GET", "/healthz", nil, "X-Request-ID", "abc-1").Header.Get("X-Request-ID"); got != "abc-1" {
		t.Errorf("the number became %q", got)
	}
	for _, wrong := range []string{"line\nbreak", strings.Repeat("x", 129), "é"} {
		if got := w.call("", "GET", "/healthz", nil, "X-Request-ID", wrong).Header.Get("X-Request-ID"); got == wrong || got == "" {
			t.Errorf("the number %q became %q", wrong, got)
		}
	}
}

func TestAFaultOfOursTellsNothingButItsNumber(t *testing.T) {
	w := newWorld(t)
	got := w.call("mina.park", "GET", "/panics", nil)
	said := got.refused(http.StatusInternalServerError, "internal")
	if strings.Contains(string(got.Body), "innermost") || said.Incident == "" || !strings.Contains(said.Detail, said.Incident) {
		t.Errorf("the answer is %s", got.Body)
	}
	if log := w.log.String(); !strings.Contains(log, said.Incident) || !strings.Contains(log, "the innermost secret") {
		t.Errorf("the log does not tell of incident %s", said.Incident)
	}
}

func TestTheLogNamesNoPathAndNoBody(t *testing.T) {
	w := newWorld(t)
	w.call("mina.park", "GET", "/api/v1/identities/laura.schmidt@meridian.example", nil).want(http.StatusOK, nil)
	w.submit("mina.park", roleAsking())
	log := w.log.String()
	for _, private := range []string{"laura.schmidt", "handbook", "cst_"} {
		if strings.Contains(log, private) {
			t.Errorf("the log holds %q: %s", private, log)
		}
	}
	for _, wanted := range []string{`"route":"GET /api/v1/identities/{name}"`, `"status":200`, `"status":201`, `"identity":"idn_`, `"token":"tok_`} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log lacks %s: %s", wanted, log)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	w := newWorld(t)
	w.call("", "GET", "/healthz", nil).want(http.StatusOK, nil)
	w.call("", "GET", "/readyz", nil).want(http.StatusOK, nil)
	w.ready = errors.New("the database at db.internal is away")
	got := w.call("", "GET", "/readyz", nil)
	got.refused(http.StatusServiceUnavailable, "not-ready")
	if got.Header.Get("Retry-After") == "" || strings.Contains(string(got.Body), "db.internal") {
		t.Errorf("the answer is %v %s", got.Header, got.Body)
	}
	w.call("", "GET", "/healthz", nil).want(http.StatusOK, nil)
}

func TestAnUnfitReplicaSaysWhenToComeBack(t *testing.T) {
	w := newWorld(t)
	w.house.Desk.SetUnfit("its clock is off")
	got := w.call("mina.park", "POST", "/api/v1/requests", roleAsking())
	got.refused(http.StatusServiceUnavailable, "replica-unfit")
	if got.Header.Get("Retry-After") == "" {
		t.Error("nobody says when to try again")
	}
}

// stream reads server-sent events over a real connection.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (w *world) watch(login, id string) *stream {
	w.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = httpapi.Server("", w.door)
	server.Start()
	w.t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", server.URL+"/api/v1/requests/"+id+"/watch", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token(login).Reveal())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("%s %s", response.Status, response.Header.Get("Content-Type"))
	}
	return &stream{w.t, bufio.NewScanner(response.Body)}
}

// next returns the next event or comment, "" at the end.
func (s *stream) next() string {
	s.t.Helper()
	var block []string
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return strings.Join(block, "\n")
		}
		block = append(block, s.lines.Text())
	}
	if err := s.lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return ""
}

func TestAWatchTellsOfEachChangeAndEndsWithTheRequest(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	events := w.watch("mina.park", made.ID)
	if got := events.next(); got != "id: 2\nevent: changed\ndata: {\"version\":2,\"state\":\"deciding\"}" {
		t.Errorf("the first event is %q", got)
	}
	for range 15 {
		<-w.looks
	}
	if got := events.next(); got != ": nothing new" {
		t.Errorf("after a quiet time comes %q", got)
	}
	w.call("mina.park", "POST", "/api/v1/requests/"+made.ID+"/cancel", object{}).want(http.StatusOK, nil)
	<-w.looks
	if got := events.next(); got != "id: 3\nevent: changed\ndata: {\"version\":3,\"state\":\"cancelled\"}" {
		t.Errorf("the last event is %q", got)
	}
	if got := events.next(); got != "" {
		t.Errorf("after the end comes %q", got)
	}
}

func TestAWatchEndsWithItsToken(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	events := w.watch("mina.park", made.ID)
	events.next()
	w.clock.Advance(3600e9)
	<-w.looks
	if got := events.next(); got != "" {
		t.Errorf("without a token comes %q", got)
	}
}
