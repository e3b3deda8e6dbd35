package tickets

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
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

// serve sends a request; only mina counts as a person.
func (h *house) serve(method, path string, caller countersign.IdentityID, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	people := target.AuthenticatorFunc(func(r *http.Request) (countersign.IdentityID, error) {
		caller, err := byBearer(r)
		if err == nil && caller != h.mina {
			return "", countersign.Errorf(countersign.Refused, "people-only", "only people do this")
		}
		return caller, err
	})
	mux := http.NewServeMux()
	mux.Handle(OpenPath, h.OpenTicket(people))
	mux.Handle(ListPath, h.ListTickets(byBearer))
	mux.Handle(ReadPath, h.ReadTicket(byBearer))
	mux.Handle(ClosePath, h.CloseTicket(people))
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if caller != "" {
		request.Header.Set("Authorization", "Bearer "+string(caller))
	}
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, request)
	if recorder.Header().Get("Cache-Control") != "no-store" {
		h.t.Errorf("%s %s may be cached: %q", method, path, recorder.Header().Get("Cache-Control"))
	}
	return recorder
}

// refused wants a problem with the status and reason.
func (h *house) refused(got *httptest.ResponseRecorder, status int, reason string) string {
	h.t.Helper()
	var problem struct{ Reason, Detail string }
	if err := json.Unmarshal(got.Body.Bytes(), &problem); err != nil || got.Code != status || problem.Reason != reason || got.Header().Get("Content-Type") != "application/problem+json" {
		h.t.Errorf("got %d %s, want %d %s", got.Code, got.Body, status, reason)
	}
	return problem.Detail
}

const base = "/targets/tickets/tickets"

func TestATicketIsOpenedReadListedAndClosedOverHTTP(t *testing.T) {
	h := newHouse(t)
	opened := h.serve("POST", base, h.mina, `{"kind":"incident","title":"Ledger is down"}`)
	if opened.Code != http.StatusCreated || opened.Header().Get("Location") != base+"/INC-1" {
		t.Fatalf("got %d %s %v", opened.Code, opened.Body, opened.Header())
	}
	now := h.clock.Instant().String()
	want := `{"key":"INC-1","kind":"incident","title":"Ledger is down","state":"open","opened_by":"` + string(h.mina) + `","opened_at":"` + now + `"}`
	if got := strings.TrimSpace(opened.Body.String()); got != want {
		t.Errorf("opened %s, want %s", got, want)
	}
	// A machine reads.
	if got := h.serve("GET", base+"/INC-1", h.otto, ""); got.Code != http.StatusOK || got.Body.String() != opened.Body.String() {
		t.Errorf("read %d %s", got.Code, got.Body)
	}
	if got := h.serve("GET", base+"?state=open", h.otto, ""); got.Code != http.StatusOK || strings.TrimSpace(got.Body.String()) != `{"tickets":[`+want+`]}` {
		t.Errorf("listed %d %s", got.Code, got.Body)
	}
	if got := h.serve("GET", base+"?state=closed", h.otto, ""); strings.TrimSpace(got.Body.String()) != `{"tickets":[]}` {
		t.Errorf("listed %d %s", got.Code, got.Body)
	}
	closed := h.serve("POST", base+"/INC-1/close", h.mina, `{"resolution":"Restarted"}`)
	if closed.Code != http.StatusOK || !strings.Contains(closed.Body.String(), `"state":"closed"`) || !strings.Contains(closed.Body.String(), `"resolution":"Restarted"`) {
		t.Errorf("closed %d %s", closed.Code, closed.Body)
	}
	detail := h.refused(h.serve("POST", base+"/INC-1/close", h.mina, `{"resolution":"Again"}`), http.StatusConflict, "ticket-closed")
	if !strings.Contains(detail, string(h.mina)) {
		t.Errorf("the detail is %q", detail)
	}
}

func TestOnlyPeopleOpenAndCloseTickets(t *testing.T) {
	h := newHouse(t)
	h.open(Incident, "x")
	for path, body := range map[string]string{base: `{"kind":"incident","title":"x"}`, base + "/INC-1/close": `{"resolution":"x"}`} {
		h.refused(h.serve("POST", path, h.otto, body), http.StatusForbidden, "people-only")
		h.refused(h.serve("POST", path, "", body), http.StatusUnauthorized, "unauthenticated")
	}
	for _, path := range []string{base, base + "/INC-1"} {
		h.refused(h.serve("GET", path, "", ""), http.StatusUnauthorized, "unauthenticated")
	}
	if got := h.keys(Open); got != "INC-1" {
		t.Errorf("open are %s", got)
	}
}

func TestABodyThatIsNotExactlyWhatIsReadIsRefused(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		body, reason, says string
		status             int
	}{
		"no body":            {"", "wrong-content-type", "application/json", 415},
		"no JSON":            {"kind=incident", "malformed-body", "JSON", 400},
		"null":               {"null", "malformed-body", "JSON", 400},
		"a list":             {`["incident"]`, "malformed-body", "JSON", 400},
		"two objects":        {`{"kind":"incident","title":"x"}{}`, "malformed-body", "JSON", 400},
		"a key twice":        {`{"kind":"incident","title":"x","title":"y"}`, "malformed-body", "twice", 400},
		"a number":           {`{"kind":"incident","title":1}`, "malformed-body", "text", 400},
		"an unknown key":     {`{"kind":"incident","titel":"x"}`, "unknown-key", "did you mean title?", 400},
		"another case":       {`{"Kind":"incident","title":"x"}`, "unknown-key", "did you mean kind?", 400},
		"both cases":         {`{"kind":"incident","title":"x","Title":"y"}`, "unknown-key", "Title", 400},
		"a missing key":      {`{"kind":"incident"}`, "missing-key", "title", 400},
		"null as a text":     {`{"kind":"incident","title":null}`, "missing-key", "title", 400},
		"an unknown kind":    {`{"kind":"problem","title":"x"}`, "unknown-ticket-kind", "incident", 400},
		"not UTF-8":          {"{\"kind\":\"incident\",\"title\":\"\xff\"}", "malformed-body", "UTF-8", 400},
		"half of a pair":     {`{"kind":"incident","title":"\ud800"}`, "malformed-body", "UTF-8", 400},
		"a body too large":   {`{"kind":"incident","title":"` + strings.Repeat("x", maxBody) + `"}`, "body-too-large", "larger", 413},
		"a title too long":   {`{"kind":"incident","title":"` + strings.Repeat("x", 201) + `"}`, "malformed-ticket", "title: ", 400},
		"another key's text": {`{"resolution":"x"}`, "unknown-key", "only kind and title", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if detail := h.refused(h.serve("POST", base, h.mina, c.body), c.status, c.reason); !strings.Contains(detail, c.says) {
				t.Errorf("the detail is %q, want %q", detail, c.says)
			}
		})
	}
	if got := h.keys(""); got != "" {
		t.Errorf("there are %s", got)
	}
}

func TestAQueryThatIsNotReadIsRefused(t *testing.T) {
	h := newHouse(t)
	for query, reason := range map[string]string{
		"state=": "malformed-query", "state=open&state=closed": "malformed-query", "State=open": "malformed-query",
		"state=open&kind=task": "malformed-query", "state=%zz": "malformed-query", "state=ajar": "unknown-ticket-state",
	} {
		h.refused(h.serve("GET", base+"?"+query, h.mina, ""), http.StatusBadRequest, reason)
	}
	h.refused(h.serve("GET", base+"/INC-9", h.mina, ""), http.StatusNotFound, "no-such-ticket")
	h.refused(h.serve("GET", base+"/inc-9", h.mina, ""), http.StatusBadRequest, "malformed-ticket-key")
	h.refused(h.serve("POST", base+"/INC-9/close", h.mina, `{"resolution":"x"}`), http.StatusNotFound, "no-such-ticket")
}

func TestARegisterThatCannotBeReachedSaysSo(t *testing.T) {
	h := newHouse(t)
	h.Register = New(brokenShelf{shelftest.New(ShelfName)}, h.clock)
	for _, got := range []*httptest.ResponseRecorder{
		h.serve("POST", base, h.mina, `{"kind":"incident","title":"x"}`), h.serve("GET", base, h.mina, ""), h.serve("GET", base+"/INC-1", h.mina, ""),
		h.serve("POST", base+"/INC-1/close", h.mina, `{"resolution":"x"}`),
	} {
		if detail := h.refused(got, http.StatusServiceUnavailable, "unavailable"); strings.Contains(detail, "disk") {
			t.Errorf("the detail is %q", detail)
		}
	}
}

// brokenShelf cannot be read.
type brokenShelf struct{ *shelftest.Shelf }

var errDisk = errors.New("the disk is gone")

func (brokenShelf) Item(context.Context, string) (store.Item, error) { return store.Item{}, errDisk }

func (brokenShelf) Items(context.Context, string, string, int) ([]store.Item, error) {
	return nil, errDisk
}
