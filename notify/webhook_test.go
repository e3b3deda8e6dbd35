package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

const webhookKey = "0123456789abcdef0123456789abcdef"

var webhookSecret = countersign.NewSecret("whsec_" + base64.StdEncoding.EncodeToString([]byte(webhookKey)))

// newWebhook fills in what the options leave out.
func newWebhook(t *testing.T, options WebhookOptions) *Webhook {
	t.Helper()
	options.Secret = webhookSecret
	if options.Now == nil {
		options.Now = at.Time
	}
	webhook, err := NewWebhook(options)
	if err != nil {
		t.Fatal(err)
	}
	return webhook
}

// told is one message as a receiver got it.
type told struct {
	header http.Header
	body   string
}

// receiver answers with what the handler says and keeps what it was told.
func receiver(t *testing.T, answer http.HandlerFunc) (*httptest.Server, *[]told) {
	t.Helper()
	var got []told
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		got = append(got, told{r.Header, string(body)})
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server, &got
}

func accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestAWebhookIsSignedByStandardWebhooks(t *testing.T) {
	server, got := receiver(t, accept)
	webhook := newWebhook(t, WebhookOptions{URL: server.URL + "/hook?tenant=1"})
	message := digest(2)
	message.Lines[0].Subject, message.Lines[0].Text = "Thing\r\n\"0\"", "a\r\nb"
	if err := webhook.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	first := (*got)[0]
	mac := hmac.New(sha256.New, []byte(webhookKey))
	io.WriteString(mac, "msg-1.1769850000."+first.body)
	for header, want := range map[string]string{
		"webhook-id": "msg-1", "webhook-timestamp": "1769850000", "content-type": "application/json",
		"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	} {
		if got := first.header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	const want = `{"type":"countersign.notice","timestamp":"2026-01-31T09:00:00.000Z","data":{"to":{"id":"idn_ada","name":"Ada Lovelace"},"lines":[` +
		`{"key":"line-0","kind":"asked-to-decide","at":"2026-01-31T09:00:00.000Z","subject":"Thing \"0\"","text":"a\nb","about":"req_1"},` +
		`{"key":"line-1","kind":"asked-to-decide","at":"2026-01-31T08:59:00.000Z","subject":"Thing 1","text":"Reason: the month ends.\nUntil: tomorrow.","about":"req_1"}]}}`
	if first.body != want {
		t.Errorf("got %s", first.body)
	}
}

func TestAWebhookThatIsSentAgainIsRecognised(t *testing.T) {
	server, got := receiver(t, accept)
	now := at
	webhook := newWebhook(t, WebhookOptions{URL: server.URL, Now: func() time.Time { return now.Time() }})
	for range 2 {
		if err := webhook.Send(t.Context(), oneMessage()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(countersign.Hour)
	}
	first, second := (*got)[0], (*got)[1]
	if first.body != second.body || first.header.Get("webhook-id") != second.header.Get("webhook-id") {
		t.Error("the second attempt has another id or another body")
	}
	if first.header.Get("webhook-timestamp") == second.header.Get("webhook-timestamp") || first.header.Get("webhook-signature") == second.header.Get("webhook-signature") {
		t.Error("the second attempt has the stamp or the signature of the first")
	}
}

func TestAWebhookSaysHowManyLinesItLeavesOut(t *testing.T) {
	server, got := receiver(t, accept)
	if err := newWebhook(t, WebhookOptions{URL: server.URL}).Send(t.Context(), digest(53)); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix((*got)[0].body, `],"more":3}}`) {
		t.Errorf("got %s", (*got)[0].body)
	}
}

func TestAnythingButSuccessIsAnError(t *testing.T) {
	for status, want := range map[int]struct {
		kind   countersign.Kind
		reason string
	}{
		200: {}, 202: {}, 204: {},
		301: {countersign.Refused, "webhook-redirected"},
		308: {countersign.Refused, "webhook-redirected"},
		400: {countersign.Refused, "webhook-refused"},
		404: {countersign.Refused, "webhook-refused"},
		408: {countersign.Unavailable, "webhook-not-delivered"},
		410: {countersign.Refused, "webhook-gone"},
		429: {countersign.Unavailable, "webhook-not-delivered"},
		500: {countersign.Unavailable, "webhook-not-delivered"},
		503: {countersign.Unavailable, "webhook-not-delivered"},
	} {
		server, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		err := newWebhook(t, WebhookOptions{URL: server.URL}).Send(t.Context(), oneMessage())
		if countersign.KindOf(err) != want.kind || countersign.ReasonOf(err) != want.reason {
			t.Errorf("%d: got %v", status, err)
		}
		if len(*got) != 1 {
			t.Errorf("%d: the message was posted %d times", status, len(*got))
		}
	}
}

func TestRedirectsAreNotFollowedByAClientThatWould(t *testing.T) {
	elsewhere, got := receiver(t, accept)
	server := httptest.NewTLSServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	err := newWebhook(t, WebhookOptions{URL: server.URL, Client: client}).Send(t.Context(), oneMessage())
	refusedAs(t, err, countersign.Refused, "webhook-redirected")
	if len(*got) != 0 {
		t.Error("the message was posted elsewhere")
	}
}

// endless is an answer that never ends, and counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(into []byte) (int, error) {
	e.read += len(into)
	return copy(into, strings.Repeat("no\r\n", len(into)/4+1)), nil
}

func (e *endless) Close() error { return nil }

// transport answers without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestLittleIsReadOfAnAnswer(t *testing.T) {
	answer := &endless{}
	client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadRequest, Body: answer}, nil
	})}
	err := newWebhook(t, WebhookOptions{URL: "https://hooks.example", Client: client}).Send(t.Context(), oneMessage())
	refusedAs(t, err, countersign.Refused, "webhook-refused")
	if answer.read > 8<<10 || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("read %d bytes, and says %q", answer.read, err)
	}
}

func TestAWebhookGivesUp(t *testing.T) {
	var deadline time.Time
	client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		deadline, _ = r.Context().Deadline()
		return nil, errors.New("no route")
	})}
	webhook := newWebhook(t, WebhookOptions{URL: "https://hooks.example/?token=hidden", Client: client})
	before := time.Now()
	err := webhook.Send(t.Context(), oneMessage())
	refusedAs(t, err, countersign.Unavailable, "webhook-not-delivered")
	if strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "hooks.example") || !strings.Contains(err.Error(), "no route") {
		t.Errorf("the error is %q", err)
	}
	if limit := deadline.Sub(before); limit <= 0 || limit > 11*time.Second {
		t.Errorf("it would have waited %s", limit)
	}

	reached, release := make(chan struct{}), make(chan struct{})
	server, _ := receiver(t, func(http.ResponseWriter, *http.Request) { close(reached); <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	err = newWebhook(t, WebhookOptions{URL: server.URL}).Send(ctx, oneMessage())
	refusedAs(t, err, countersign.Unavailable, "webhook-not-delivered")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestWebhookOptionsThatAreUnsafeAreRefused(t *testing.T) {
	short := "whsec_" + base64.StdEncoding.EncodeToString([]byte(webhookKey[:23]))
	long := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(webhookKey, 3)))
	for name, c := range map[string]struct {
		url, secret string
		reason      string
	}{
		"https":                   {"https://hooks.example/a", webhookSecret.Reveal(), ""},
		"http on loopback":        {"http://localhost:8080/a", webhookSecret.Reveal(), ""},
		"http on IPv6 loopback":   {"http://[::1]/a", webhookSecret.Reveal(), ""},
		"http elsewhere":          {"http://hooks.example/a", webhookSecret.Reveal(), "webhook-in-the-clear"},
		"http on a private one":   {"http://10.0.0.1/a", webhookSecret.Reveal(), "webhook-in-the-clear"},
		"a name like loopback":    {"http://127.0.0.1.example/a", webhookSecret.Reveal(), "webhook-in-the-clear"},
		"another scheme":          {"ftp://hooks.example/a", webhookSecret.Reveal(), "webhook-in-the-clear"},
		"no host":                 {"https:///a", webhookSecret.Reveal(), "malformed-webhook-url"},
		"no scheme":               {"hooks.example/a", webhookSecret.Reveal(), "malformed-webhook-url"},
		"a user":                  {"https://me:hidden@hooks.example", webhookSecret.Reveal(), "malformed-webhook-url"},
		"a port that is none":     {"https://hooks.example:hidden/", webhookSecret.Reveal(), "malformed-webhook-url"},
		"no secret":               {"https://hooks.example", "", "malformed-webhook-secret"},
		"a secret without prefix": {"https://hooks.example", webhookSecret.Reveal()[6:], "malformed-webhook-secret"},
		"a secret not in base64":  {"https://hooks.example", "whsec_hidden!", "malformed-webhook-secret"},
		"a short secret":          {"https://hooks.example", short, "malformed-webhook-secret"},
		"a long secret":           {"https://hooks.example", long, "malformed-webhook-secret"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewWebhook(WebhookOptions{URL: c.url, Secret: countersign.NewSecret(c.secret), Now: at.Time})
			if countersign.ReasonOf(err) != c.reason {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	_, err := NewWebhook(WebhookOptions{URL: "https://hooks.example", Secret: webhookSecret})
	refusedAs(t, err, countersign.Invalid, "no-clock")
	if webhook := newWebhook(t, WebhookOptions{URL: "https://hooks.example"}); !webhook.Reaches(Recipient{}) || webhook.Name() != "webhook" {
		t.Error("the webhook does not reach everybody")
	}
}
