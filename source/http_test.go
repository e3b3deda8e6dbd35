package source_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/source"
)

const credential = "Bearer the-credential-of-the-test"

// answering is a source whose server is the handler; a key may be anything.
func answering(t *testing.T, handler http.HandlerFunc) *source.HTTP {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s := settings()
	s.URL, s.Key = server.URL+"/api/{key}?token=in-the-query", "(?s:.*)"
	made, err := source.NewHTTP("helpdesk", s, countersign.NewSecret(credential), nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

const open = `{"fields": {"status": {"name": "In progress"}, "summary": "Ledger is down", "reporter": {"name": "mina"}},
	"people": [{"role": "watcher", "name": "otto"}, {"role": "assignee", "name": "ben"}], "weight": 1.50e3, "more": null}`

func TestASourceTellsWhatATicketSaysAndKeepsTheBytes(t *testing.T) {
	var asked *http.Request
	s := answering(t, func(w http.ResponseWriter, r *http.Request) { asked = r; fmt.Fprint(w, open) })
	got, err := s.Ticket(t.Context(), "INC-7")
	if err != nil {
		t.Fatal(err)
	}
	if got.Key != "INC-7" || got.Title != "Ledger is down" || !got.Open || got.State != "In progress" || got.OpenedBy != "mina" || got.Assignee != "ben" {
		t.Errorf("got %+v", got)
	}
	if !bytes.Equal(got.Bytes, []byte(open)) {
		t.Errorf("the bytes are %s", got.Bytes)
	}
	if want := "http://" + asked.Host + "/api/INC-7"; got.From != want {
		t.Errorf("it is from %q, want %q", got.From, want)
	}
	if asked.Header.Get("Authorization") != credential || asked.Header.Get("Accept-Encoding") != "identity" || asked.URL.RawQuery != "token=in-the-query" {
		t.Errorf("asked %s with %v", asked.URL, asked.Header)
	}
}

func TestAnAnswerIsReadAsItsSettingsSay(t *testing.T) {
	status := func(value string) string { return `{"fields":{"status":{"name":` + value + `}}}` }
	deep := strings.Repeat("[", 32) + strings.Repeat("]", 32)
	for name, c := range map[string]struct {
		body string
		open bool
		why  string
	}{
		"open":                {status(`"Open"`), true, ""},
		"closed":              {status(`"Done"`), false, ""},
		"null elsewhere":      {`{"fields":{"status":{"name":"Done"},"summary":null,"reporter":null}}`, false, ""},
		"another word":        {status(`"Paused"`), false, `the state "Paused" is listed neither as open nor as closed`},
		"another letter case": {status(`"open"`), false, `"open" is listed neither`},
		"no state":            {`{"fields":{}}`, false, "no state at $"},
		"an empty state":      {status(`""`), false, "no state at $"},
		"null":                {status(`null`), false, "no state at $"},
		"a number":            {status(`1`), false, "is no text"},
		"a list":              {status(`["Open"]`), false, "is no text"},
		"a title of no text":  {`{"fields":{"status":{"name":"Open"},"summary":7}}`, false, "is no text"},
		"two assignees":       {`{"fields":{"status":{"name":"Open"}},"people":[{"role":"assignee","name":"a"},{"role":"assignee","name":"b"}]}`, false, "2 values at $"},
		"a key twice":         {`{"fields":{"status":{"name":"Open","name":"Done"}}}`, false, `"name" stands twice`},
		"a key twice, spelt":  {`{"fields":{"status":{"name":"Open","n\u0061me":"Done"}}}`, false, `"name" stands twice`},
		"a page":              {"<html>sign in</html>", false, "not JSON"},
		"half":                {`{"fields":{"status":{"name":"Open"`, false, "not JSON"},
		"nothing":             {"", false, "not JSON"},
		"two values":          {status(`"Open"`) + "{}", false, "something follows"},
		"no UTF-8":            {status("\"Open\xff\""), false, "not UTF-8"},
		"too deep":            {`{"x":` + deep + `}`, false, "deeper than 32"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, says(c.body)).Ticket(t.Context(), "INC-7")
			if c.why == "" {
				if err != nil || got.Open != c.open {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			unavailable(t, err, c.why)
		})
	}
}

// unavailable wants an error that says which source and why, and no secret.
func unavailable(t *testing.T, err error, why string) {
	t.Helper()
	if countersign.KindOf(err) != countersign.Unavailable || countersign.ReasonOf(err) != "source-unavailable" ||
		!strings.Contains(err.Error(), "helpdesk") || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, want %q", err, why)
	}
	for _, secret := range []string{credential, "in-the-query"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the message tells a secret: %v", err)
		}
	}
}

func TestASourceThatFailsIsUnavailableAndSaysWhy(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, open) }
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		why     string
	}{
		"a fault":      {status(500), "status 500"},
		"unauthorised": {status(401), "status 401"},
		"forbidden":    {status(403), "status 403"},
		"too many":     {status(429), "status 429"},
		"another yes":  {status(202), "status 202"},
		"a redirect":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "status 302"},
		"too large":    {says(open + strings.Repeat(" ", 256<<10)), "more than 262144 bytes"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "{")
		}, "EOF"},
		"no HTTP": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b")
		}, "not UTF-8"},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "status 204"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := answering(t, c.handler).Ticket(t.Context(), "INC-7")
			unavailable(t, err, c.why)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		server := httptest.NewServer(says(open))
		server.Close()
		s := settings()
		s.URL = server.URL + "/{key}?token=in-the-query"
		made, err := source.NewHTTP("helpdesk", s, countersign.NewSecret(credential), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = made.Ticket(t.Context(), "INC-7")
		unavailable(t, err, "connect")
	})
}

func TestARedirectIsNotFollowedWithAClientThatWould(t *testing.T) {
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	s := settings()
	s.URL = server.URL + "/{key}"
	made, err := source.NewHTTP("helpdesk", s, countersign.NewSecret(credential), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	_, err = made.Ticket(t.Context(), "INC-7")
	unavailable(t, err, "status 307")
	if followed || server.Client().CheckRedirect != nil {
		t.Errorf("followed: %v; the caller's client was changed: %v", followed, server.Client().CheckRedirect != nil)
	}
}

// silent answers nothing until the caller gives up.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestASourceThatDoesNotAnswerIsGivenUpAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, err := source.NewHTTP("helpdesk", settings(), countersign.Secret{}, &http.Client{Transport: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = made.Ticket(t.Context(), "INC-7")
		unavailable(t, err, "within 5s")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = made.Ticket(ctx, "INC-7")
		unavailable(t, err, "canceled")
	})
}

func TestATicketThatIsNotThereIsNotFound(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusGone} {
		_, err := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }).Ticket(t.Context(), "INC-7")
		if countersign.KindOf(err) != countersign.NotFound || countersign.ReasonOf(err) != "no-such-ticket" {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

// A key in a query finds a list: an empty one is no ticket, and what a query
// language could read in a key is never sent.
func TestAKeyInTheQueryFindsAListOrNothing(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("sysparm_query"))
		if r.URL.Query().Get("sysparm_query") == "number=INC7" {
			fmt.Fprint(w, `{"result": [{"number": "INC7", "state": "Open"}]}`)
			return
		}
		fmt.Fprint(w, `{"result": []}`)
	}))
	defer server.Close()
	s := source.Settings{URL: server.URL + "/api/now/table/incident?sysparm_query=number={key}", Key: "(?s:.*)", State: "$.result[0].state", Open: []string{"Open"}, Closed: []string{"Closed"}}
	made, err := source.NewHTTP("helpdesk", s, countersign.NewSecret(credential), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := made.Ticket(t.Context(), "INC7"); err != nil || !got.Open {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := made.Ticket(t.Context(), "INC8"); countersign.ReasonOf(err) != "no-such-ticket" {
		t.Errorf("nothing was found, and the answer is %v", err)
	}
	for _, key := range []string{"INC7^ORnumber=INC8", "INC7&x=1", "INC 7", "INC7%5E", "*", ""} {
		if _, err := made.Ticket(t.Context(), key); countersign.ReasonOf(err) != "malformed-ticket-key" {
			t.Errorf("the key %q: %v", key, err)
		}
	}
	if len(asked) != 2 {
		t.Errorf("asked for %q", asked)
	}
}

// Whatever a key is, it stays one segment of the path on the same host, or is
// not asked for.
func TestAKeyNeverChangesWhatIsAsked(t *testing.T) {
	for key, refused := range map[string]bool{
		"INC-7": false, "INC 7": false, "INC?x=1": false, "INC#1": false, "%2e%2e": false, "Ü-1": false, "a@b": false, "a:b;c": false, "{key}": false, ".a": false,
		"": true, ".": true, "..": true, "../admin": true, `..\admin`: true, "a/b": true, "a\nb": true, "a\x00": true, "\xff": true, strings.Repeat("x", 201): true,
	} {
		t.Run(key, func(t *testing.T) {
			var asked *http.Request
			_, err := answering(t, func(w http.ResponseWriter, r *http.Request) { asked = r; fmt.Fprint(w, open) }).Ticket(t.Context(), key)
			if refused {
				if countersign.KindOf(err) != countersign.Invalid || countersign.ReasonOf(err) != "malformed-ticket-key" || asked != nil {
					t.Errorf("got %v, asked %v", err, asked)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := "/api/" + url.PathEscape(key) + "?token=in-the-query"; asked.RequestURI != want || asked.URL.Path != "/api/"+key {
				t.Errorf("asked %s, want %s", asked.RequestURI, want)
			}
		})
	}
}

func TestAKeyMustMatchAsAWhole(t *testing.T) {
	made, err := source.NewHTTP("helpdesk", settings(), countersign.Secret{}, &http.Client{Transport: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"INC-7x", "xINC-7", "INC-7\n", "inc-7", "INC"} {
		if _, err := made.Ticket(t.Context(), key); countersign.ReasonOf(err) != "malformed-ticket-key" || !strings.Contains(err.Error(), "[A-Z]+-[0-9]+") {
			t.Errorf("%q: got %v", key, err)
		}
	}
}

func TestACredentialThatIsNoHeaderIsRefusedWithoutShowingIt(t *testing.T) {
	_, err := source.NewHTTP("helpdesk", settings(), countersign.NewSecret(credential+"\n"), nil)
	if countersign.KindOf(err) != countersign.Invalid || strings.Contains(err.Error(), credential) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutACredentialNoneIsSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, sent := r.Header["Authorization"]; sent {
			t.Error("an Authorization header was sent")
		}
		fmt.Fprint(w, open)
	}))
	defer server.Close()
	s := settings()
	s.URL = server.URL + "/{key}"
	made, err := source.NewHTTP("helpdesk", s, countersign.Secret{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Ticket(t.Context(), "INC-7"); err != nil {
		t.Error(err)
	}
}
