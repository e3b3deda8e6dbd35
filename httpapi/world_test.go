package httpapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

// world is a house of the sample organisation on a real database, behind its
// door. Its clock stands still and its engine runs only when a test says so.
type world struct {
	t      *testing.T
	house  *house.House
	clock  *connectortest.Clock
	config httpapi.Config
	door   http.Handler
	log    *lockedBuffer
	tokens map[string]countersign.Secret
	// looks is how a watch waits: it hands out a turn for each receive.
	looks chan struct{}
	// ready is what readiness answers.
	ready error
}

type lockedBuffer struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, nil)
}

// worldOf is a world of another organisation; nil for the sample.
func worldOf(t *testing.T, organisation fs.FS) *world {
	t.Helper()
	w := &world{t: t, clock: connectortest.NewClock(), log: &lockedBuffer{}, tokens: map[string]countersign.Secret{}, looks: make(chan struct{})}
	log := slog.New(slog.NewJSONHandler(w.log, nil))
	h, founded, err := house.Start(t.Context(), house.Place{Data: filepath.Join(t.TempDir(), "house")}, organisation, house.Options{
		Clock: w.clock, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test", DeliverByClaim: true,
	})
	if err != nil || !founded {
		t.Fatalf("founded %v: %v", founded, err)
	}
	t.Cleanup(func() { h.Store.Close() })
	w.house = h
	caller := target.AuthenticatorFunc(httpapi.Authenticated)
	w.config = httpapi.Config{
		Desk: h.Desk, Authenticate: h.Authenticate, Tokens: h.Auth, Clock: w.clock, Log: log, Sample: true,
		Ready: func(context.Context) error { return w.ready },
		Wait: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case w.looks <- struct{}{}:
				return nil
			}
		},
		Mounts: []httpapi.Mount{
			{Path: vault.IntrospectPath, Scope: auth.Introspect, Handler: h.Vault.Introspect(caller)},
			{Path: vault.ReadPath, Scope: auth.Read, Handler: h.Vault.ReadSecret(caller)},
			{Path: pdp.EvaluationPath, Scope: auth.Evaluate, Handler: h.Point.Evaluation(caller), Limit: httpapi.Evaluates},
			{Path: "/panics", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the innermost secret") })},
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "figures 1") }),
	}
	w.configure(func(*httpapi.Config) {})
	w.settle()
	return w
}

// configure opens the door anew, with something changed.
func (w *world) configure(change func(*httpapi.Config)) {
	change(&w.config)
	w.door = httpapi.New(w.config)
}

func (w *world) settle() {
	w.t.Helper()
	if err := w.house.Settle(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// token is a token of the person with every scope.
func (w *world) token(login string) countersign.Secret {
	w.t.Helper()
	if _, has := w.tokens[login]; !has {
		w.tokens[login], _ = w.issue(login, auth.Scopes...)
	}
	return w.tokens[login]
}

func (w *world) issue(login string, scopes ...auth.Scope) (countersign.Secret, auth.Token) {
	w.t.Helper()
	identity, known := w.house.Desk.Resolve(login)
	if !known {
		w.t.Fatalf("there is no %s", login)
	}
	text, token, err := w.house.Auth.Issue(w.t.Context(), auth.Order{Identity: identity, Login: login, Scopes: scopes, Duration: countersign.Hour, OperatingSystemUser: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return text, token
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// call sends a request as somebody ("" for nobody), with further headers as name
// and value. The body is sent as it is if it is a string, as JSON otherwise.
// Whatever comes back must be what the interface's description promises.
func (w *world) call(login, method, path string, body any, headers ...string) *answer {
	w.t.Helper()
	var content io.Reader = http.NoBody
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		content = bytes.NewReader(encoded)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, content)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if login != "" {
		r.Header.Set("Authorization", "Bearer "+w.token(login).Reveal())
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	w.door.ServeHTTP(recorder, r)
	got := &answer{w.t, method + " " + path, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
	checkAnswer(w.t, r, got)
	return got
}

// want checks the status, and reads the body into a value (nil for none).
func (a *answer) want(status int, into any) *answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("%s: status %d, want %d: %s", a.what, a.Status, status, a.Body)
	}
	if into != nil {
		if err := json.Unmarshal(a.Body, into); err != nil {
			a.t.Fatalf("%s: %v: %s", a.what, err, a.Body)
		}
	}
	return a
}

// problem is what a problem document says.
type problem struct {
	Type, Title, Detail, Kind, Reason, Field, Incident string
	Status                                             int
	Problems                                           []string
	Refusals                                           []struct{ Reason, Because string }
	Preview                                            *struct{ Route string }
}

// refused checks that the answer is a problem with the status and reason.
func (a *answer) refused(status int, reason string) problem {
	a.t.Helper()
	var p problem
	a.want(status, &p)
	if p.Reason != reason || p.Type != "urn:countersign:problem:"+reason || p.Status != status || p.Title == "" || p.Detail == "" {
		a.t.Errorf("%s: the problem is %s, want the reason %s", a.what, a.Body, reason)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: the content type is %q", a.what, got)
	}
	return p
}

// events counts the events of everything but the house itself, whose stream also
// tells of the tokens that tests use; to see that nothing happened.
func (w *world) events() string {
	w.t.Helper()
	streams, err := w.house.Store.Streams(w.t.Context(), "", 10000)
	if err != nil {
		w.t.Fatal(err)
	}
	heads, err := w.house.Store.Heads(w.t.Context(), streams)
	if err != nil {
		w.t.Fatal(err)
	}
	total := int64(0)
	for stream, head := range heads {
		if stream != countersign.StreamHouse {
			total += head.Seq
		}
	}
	return fmt.Sprint(len(streams), " streams, ", total, " events")
}

// object is a JSON object that a test sends.
type object = map[string]any

// keyAsking asks for an API key for the billing service.
func keyAsking() object {
	return object{
		"beneficiary": "svc-billing", "entitlements": []string{"payments-api/payments/payments:read"}, "duration": 30 * 86400,
		"reason":  "Invoices are matched with payments from next month on.",
		"answers": object{"purpose": "Match payments with the invoices of the month", "consumer": "SR-1042"},
	}
}

// roleAsking asks for a role that needs the manager only.
func roleAsking() object {
	return object{"entitlements": []string{"wiki/pages/editor"}, "reason": "I write the handbook of the reports."}
}

// request is what tests read of a request.
type request struct {
	ID       string
	Version  int64
	State    string
	Shown    string
	Reason   string
	Offered  []string
	WaitsFor string `json:"waits_for"`
	Stages   []struct {
		Name  string
		State string
	}
	Grants []struct {
		ID          string
		State       string
		Credentials []struct{ ID, State, Reference string }
	}
}

func (w *world) submit(login string, asking object) request {
	w.t.Helper()
	var made request
	w.call(login, "POST", "/api/v1/requests", asking).want(http.StatusCreated, &made)
	return made
}

func (w *world) show(login, id string) request {
	w.t.Helper()
	var shown request
	w.call(login, "GET", "/api/v1/requests/"+id, nil).want(http.StatusOK, &shown)
	return shown
}

func (w *world) approve(login, id string) *answer {
	w.t.Helper()
	return w.call(login, "POST", "/api/v1/requests/"+id+"/approve", object{"shown": w.show("wanda.jansen", id).Shown})
}
