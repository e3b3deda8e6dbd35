package httpapi_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/ticketing/ticketingtest"
)

const (
	heardAt    = "/api/v1/ticketing/servicenow/events"
	ticketBody = `{"event": "created", "sys_id": "9d385017c611228701d22104cc95c371", "number": "RITM0010001", "state": "1", "opened_by": "6816f79cc0a8016401c5a33be04be441",
		"cat_item": "books", "short_description": "It is my week.", "a key of theirs": [1.5, {"x": null}]}`
)

func besideTickets(t *testing.T) *world {
	w := worldOf(t, os.DirFS("testdata/ledger"))
	w.configure(func(config *httpapi.Config) {
		config.TicketSecrets = map[string]countersign.Secret{
			"servicenow": countersign.NewSecret(ticketingtest.ServiceNowSecret), "jira": countersign.NewSecret(ticketingtest.JiraSecret),
		}
	})
	return w
}

// sent are the headers of a body that was signed at a time.
func sent(at time.Time, body string) []string {
	header := http.Header{}
	ticketingtest.SignServiceNow(header, "evt-1", at, body)
	var pairs []string
	for name := range header {
		pairs = append(pairs, name, header.Get(name))
	}
	return pairs
}

func TestASignedTicketOpensARequestThatSaysWhereItIsFrom(t *testing.T) {
	w := besideTickets(t)
	var heard struct{ Outcome, Request string }
	w.call("", "POST", heardAt, ticketBody, sent(w.clock.Now(), ticketBody)...).want(200, &heard)
	if heard.Outcome != "opened" {
		t.Fatalf("heard %+v", heard)
	}
	w.settle()
	var request struct {
		Requester struct{ Login string }
		Ticket    struct {
			System, Key, Why string
			Unwritten        int
		}
	}
	w.call("ada", "GET", "/api/v1/requests/"+heard.Request, nil).want(200, &request)
	if request.Requester.Login != "ada" || request.Ticket.Key != "RITM0010001" || request.Ticket.Unwritten != 2 || !strings.Contains(request.Ticket.Why, "servicenow") {
		t.Errorf("the request says %+v", request)
	}
	w.call("", "POST", heardAt, ticketBody, sent(w.clock.Now(), ticketBody)...).want(200, &heard)
	if heard.Outcome != "open-already" {
		t.Errorf("sent again: %+v", heard)
	}
}

func TestWhatIsNotSignedNowLeavesNothingBehind(t *testing.T) {
	w := besideTickets(t)
	now := w.clock.Now()
	good := sent(now, ticketBody)
	with := func(name, value string) []string { return append(append([]string{}, good...), name, value) }
	before := w.events()
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		reason     string
	}{
		"nothing":           {heardAt, ticketBody, nil, 401, "signature-wrong"},
		"another body":      {heardAt, strings.Replace(ticketBody, "my week", "my year", 1), good, 401, "signature-wrong"},
		"another id":        {heardAt, ticketBody, with("webhook-id", "evt-2"), 401, "signature-wrong"},
		"another time":      {heardAt, ticketBody, with("webhook-timestamp", fmt.Sprint(now.Unix()+1)), 401, "signature-wrong"},
		"no version":        {heardAt, ticketBody, with("webhook-signature", "AAAA"), 401, "signature-wrong"},
		"another system's":  {"/api/v1/ticketing/jira/events", ticketBody, good, 401, "signature-wrong"},
		"old":               {heardAt, ticketBody, sent(now.Add(-6*time.Minute), ticketBody), 401, "timestamp-stale"},
		"of the future":     {heardAt, ticketBody, sent(now.Add(6*time.Minute), ticketBody), 401, "timestamp-stale"},
		"nobody's":          {"/api/v1/ticketing/remedy/events", ticketBody, good, 404, "no-such-ticket-system"},
		"a form":            {heardAt, ticketBody, with("Content-Type", "text/plain"), 415, "wrong-content-type"},
		"too large":         {heardAt, `"` + strings.Repeat("x", 1<<20) + `"`, good, 413, "body-too-large"},
		"signed and no use": {heardAt, `{"event": "created"}`, sent(now, `{"event": "created"}`), 400, "malformed-ticket-event"},
		"read in two ways":  {heardAt, `{"sys_id": "a", "sys_id": "b"}`, sent(now, `{"sys_id": "a", "sys_id": "b"}`), 400, "malformed-ticket-event"},
	} {
		t.Run(name, func(t *testing.T) {
			w.call("", "POST", c.path, c.body, c.headers...).refused(c.status, c.reason)
		})
	}
	if after := w.events(); after != before {
		t.Errorf("before there were %s, and now %s", before, after)
	}
	w.call("", "POST", heardAt, ticketBody, good...).want(200, nil)
}

func TestATicketSystemWithoutASecretIsNotHeard(t *testing.T) {
	w := besideTickets(t)
	w.configure(func(config *httpapi.Config) { config.TicketSecrets = nil })
	w.call("", "POST", heardAt, ticketBody, sent(w.clock.Now(), ticketBody)...).refused(503, "no-ticketing-secret")
}

func TestAnOperatorSeesAndDismissesWhatWasRefused(t *testing.T) {
	w := besideTickets(t)
	body := fmt.Sprintf(`{"timestamp": %d, "webhookEvent": "jira:issue_created", "user": {"accountId": "5b10"},
		"issue": {"id": "10402", "key": "ACC-7", "fields": {"summary": "Books", "status": {"name": "To Do"}, "creator": {"accountId": "5b10"}}}}`, w.clock.Now().UnixMilli())
	header := http.Header{}
	ticketingtest.SignJira(header, body)
	var heard struct{ Outcome, Reason string }
	w.call("", "POST", "/api/v1/ticketing/jira/events", body, "X-Hub-Signature", header.Get("X-Hub-Signature")).want(200, &heard)
	if heard.Outcome != "refused" || heard.Reason != "unmapped-account" {
		t.Errorf("heard %+v", heard)
	}
	w.settle()
	var parked struct {
		Tickets []struct{ System, Id, Key string }
	}
	w.call("bo", "GET", "/api/v1/ticketing/parked", nil).want(200, &parked)
	if len(parked.Tickets) != 0 {
		t.Errorf("before it is written, %+v waits for somebody", parked)
	}
	w.call("ada", "GET", "/api/v1/ticketing/parked", nil).refused(403, "not-entitled-to-tickets")
	w.call("bo", "POST", "/api/v1/ticketing/dismiss", object{"system": "jira", "id": "10402"}).refused(404, "no-such-parked-ticket")
	w.call("bo", "POST", "/api/v1/ticketing/retry", nil).want(200, nil)
}
