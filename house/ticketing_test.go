package house_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/ticketing/ticketingtest"
)

const (
	ritm, issue  = "9d385017c611228701d22104cc95c371", "10402"
	ticketWord   = "Basic dGhlOndvcmQ="
	anasAccount  = "6816f79cc0a8016401c5a33be04be441"
	anasAtlas    = "5b10a2844c20165700ede21g"
	accessTicket = `
ask: {why: {type: string}, seats: {type: integer, optional: true}}
`
)

var ticketCredentials = map[string]countersign.Secret{"servicenow": countersign.NewSecret(ticketWord), "jira": countersign.NewSecret(ticketWord)}

// ticketed is a house beside both ticket systems.
type ticketed struct {
	*world
	now  *ticketingtest.ServiceNow
	jira *ticketingtest.Jira
}

func besideTickets(t *testing.T, open database) *ticketed {
	w := &ticketed{
		world: empty(t, open), now: ticketingtest.NewServiceNow(t, ticketWord, ritm),
		jira: ticketingtest.NewJira(t, ticketWord, map[string][]string{"To Do": {"In Progress", "Cancelled"}, "In Progress": {"Done"}}, issue),
	}
	w.edit("{login: ana, name: Ana Asker, email: ana@test.example, manager: max}",
		"{login: ana, name: Ana Asker, email: ana@test.example, manager: max, handles: [{kind: ticketing, namespace: servicenow, value: "+anasAccount+"}, {kind: ticketing, namespace: jira, value: "+anasAtlas+"}]}")
	w.must(w.world.found(policyFor(managerStage, accessTicket), fmt.Sprintf(`
ticketing:
  - name: servicenow
    kind: servicenow
    url: %s
    withdrawn: ["4"]
    states: {deciding: "2", active: "3", denied: "7"}
    opens:
      - request: access
        when: {$.cat_item: ledger-access}
        entitlements: [$.variables.right]
        reason: $.short_description
        duration: $.variables.how_long
        answers: {why: $.variables.why, seats: $.variables.seats}
  - name: jira
    kind: jira
    url: %s
    withdrawn: [Cancelled]
    states: {deciding: In Progress, active: Done, denied: Rejected}
    opens:
      - {request: access, when: {$.issue.fields.project.key: ACC}, entitlements: [ledger/books/read], reason: $.issue.fields.summary, answers: {why: $.issue.fields.summary}}
`, w.now.URL, w.jira.URL)))
	w.settle()
	return w
}

// item is what the business rule of a request item sends.
func item(event, state, by string) []byte {
	return fmt.Appendf(nil, `{"event": %q, "sys_id": %q, "number": "RITM0010001", "state": %q, "opened_by": %q, "updated_by": %q, "cat_item": "ledger-access",
		"short_description": "the books of the month are due", "approval": "approved", "variables": {"right": "ledger/books/read", "how_long": "5d", "why": "month", "seats": "2", "more": [1.5, null]}}`,
		event, ritm, state, anasAccount, by)
}

// moved is what Jira sends when the status of the issue has changed.
func moved(status, by string) []byte {
	return fmt.Appendf(nil, `{"timestamp": 1, "webhookEvent": "jira:issue_updated", "user": {"accountId": %q}, "changelog": {"items": [{"field": "status"}]},
		"issue": {"id": %q, "key": "ACC-7", "fields": {"status": {"name": %q}, "creator": {"accountId": %q}, "summary": "Read the books", "project": {"key": "ACC"}}}}`, by, issue, status, anasAtlas)
}

func created() []byte {
	return []byte(strings.Replace(strings.Replace(string(moved("To Do", anasAtlas)), "issue_updated", "issue_created", 1), `"status"}`, `"priority"}`, 1))
}

// hear has the house hear of a ticket, and wants the outcome.
func (w *ticketed) hear(system string, body []byte, outcome string) *desk.HeardTicket {
	w.t.Helper()
	heard, err := w.house.Desk.HearTicket(w.ctx, system, body)
	if err != nil || heard.Outcome != outcome {
		w.t.Fatalf("heard %+v, %v; want %s", heard, err, outcome)
	}
	return heard
}

// write writes what is due into tickets.
func (w *ticketed) write() {
	w.t.Helper()
	for {
		written, err := w.house.Engine.Write(w.ctx)
		w.must(err)
		if written == 0 {
			return
		}
	}
}

// inOrder wants each text in one comment, one after the other.
func inOrder(t *testing.T, comments []string, texts ...string) {
	t.Helper()
	if len(comments) != len(texts) {
		t.Errorf("there are %d comments, want %d: %s", len(comments), len(texts), strings.Join(comments, "\n---\n"))
		return
	}
	for i, text := range texts {
		if !strings.Contains(comments[i], text) {
			t.Errorf("comment %d is %q, want %q", i, comments[i], text)
		}
	}
}

func TestATicketOpensARequestAndHearsWhatBecomesOfIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := besideTickets(t, open)
		id := w.hear("servicenow", item("created", "1", anasAccount), "opened").Request
		other := w.hear("jira", created(), "refused") // the same right, asked for twice
		if other.Reason != "duplicate-request" {
			t.Errorf("the second ticket: %+v", other)
		}
		view := w.view(id)
		if view.Requester.Login != "ana" || view.Ticket.Key != "RITM0010001" || view.Duration != 5*countersign.Day || string(view.Answers) != `{"seats":2,"why":"month"}` || view.Ticket.Unwritten != 2 {
			t.Errorf("the request is %+v with %+v", view, view.Ticket)
		}
		w.tells(id, "in the ticket RITM0010001 of servicenow")
		w.write()
		if w.view(id).Ticket.Unwritten != 0 || w.now.State(ritm) != "2" {
			t.Errorf("the item has the state %s, and unwritten are %+v", w.now.State(ritm), w.view(id).Ticket)
		}
		w.must(w.approve("max", id))
		w.settle()
		w.write()
		inOrder(t, w.now.Comments(ritm), "The path: manager (1 of manager-of(requester))", "Max Manager by manager-of(requester) may decide", "Max Manager: approved", "is approved", "the access is live")
		if w.now.State(ritm) != "3" {
			t.Errorf("the item has the state %s", w.now.State(ritm))
		}
		inOrder(t, w.jira.Comments(issue), "duplicate-request")
		w.pass(6 * 24 * time.Hour)
		w.write()
		if comments := w.now.Comments(ritm); !strings.Contains(comments[len(comments)-1], "closed") {
			t.Errorf("at the end it says %q", comments[len(comments)-1])
		}
		w.verified()
	})
}

func TestJiraIsMovedAndSaysWhereItCannotBeMovedTo(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	id := w.hear("jira", created(), "opened").Request
	w.write()
	if w.jira.Status(issue) != "In Progress" {
		t.Errorf("the issue is %s", w.jira.Status(issue))
	}
	w.must(w.deny("max", id))
	w.write()
	comments := w.jira.Comments(issue)
	if last := comments[len(comments)-1]; w.jira.Status(issue) != "In Progress" || !strings.Contains(last, "ended as denied") || !strings.Contains(last, `no transition from there to \"Rejected\"`) {
		t.Errorf("the issue is %s and says %s", w.jira.Status(issue), last)
	}
}

func TestATicketOpensOneRequestHoweverOftenItIsSent(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := besideTickets(t, open)
		body := item("created", "1", anasAccount)
		runs := make([]func() error, 8)
		ids := make([]countersign.RequestID, len(runs))
		for i := range runs {
			runs[i] = func() error {
				heard, err := w.house.Desk.HearTicket(w.ctx, "servicenow", body)
				if err == nil {
					ids[i] = heard.Request
				}
				return err
			}
		}
		for i, err := range race(runs...) {
			// Who lost every time is told to send it again.
			if err != nil && countersign.ReasonOf(err) != "changed-meanwhile" || err == nil && ids[i] == "" {
				t.Errorf("delivery %d: %q, %v", i, ids[i], err)
			}
		}
		first := w.hear("servicenow", body, "open-already").Request
		// None of them takes another for somebody who asks for the same.
		_, err := w.house.Store.Work(w.ctx, "ticket/servicenow/"+ritm)
		if countersign.KindOf(err) != countersign.NotFound {
			t.Errorf("a refusal is to be written: %v", err)
		}
		for i, id := range ids {
			if id != "" && id != first {
				t.Errorf("delivery %d opened %s, and not %s", i, id, first)
			}
		}
		w.must(w.cancellation("ana", first)())
		// Also after its end, and after all keys of idempotency have run out.
		w.pass(72 * time.Hour)
		w.hear("servicenow", body, "open-already")
		all, err := w.house.Store.Requests(w.ctx, store.RequestQuery{Limit: 10})
		if w.must(err); len(all) != 1 {
			t.Errorf("there are %d requests", len(all))
		}
	})
}

func TestNothingInATicketDecides(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	id := w.hear("servicenow", item("created", "1", anasAccount), "opened").Request
	for _, state := range []string{"approved", "2", "3", "7"} {
		w.hear("servicenow", item("state-changed", state, anasAccount), "open-already")
	}
	w.hear("servicenow", item("commented", "4", anasAccount), "ignored")
	w.hear("servicenow", item("created", "4", anasAccount), "open-already") // not a change of the state
	w.state(id, countersign.RequestDeciding)
	// Somebody else over there cannot take it back, nor who is nobody here.
	if heard := w.hear("servicenow", item("state-changed", "4", "unknown"), "refused"); heard.Reason != "unmapped-account" {
		t.Errorf("a stranger: %+v", heard)
	}
	w.state(id, countersign.RequestDeciding)
	w.hear("servicenow", item("state-changed", "4", anasAccount), "withdrawn")
	w.state(id, countersign.RequestCancelled)
	w.tells(id, "The ticket RITM0010001 was set to 4.")
	// What is decided is not taken back by a ticket.
	second := w.hear("jira", created(), "opened").Request
	w.must(w.approve("max", second))
	w.settle()
	w.hear("jira", moved("Cancelled", anasAtlas), "open-already")
	w.state(second, countersign.RequestActive)
	w.verified()
}

// What comes a moment too late, because it was delivered twice or somebody decided, is
// no fault of the ticket: nothing is refused, and nobody has to look.
func TestATicketTakenBackTooLateIsNotRefused(t *testing.T) {
	for name, test := range map[string]struct {
		happen  func(*ticketed, countersign.RequestID)
		outcome string
		state   countersign.RequestState
	}{
		"delivered twice": {func(w *ticketed, _ countersign.RequestID) {
			w.hear("servicenow", item("state-changed", "4", anasAccount), "withdrawn")
		}, "withdrawn", countersign.RequestCancelled},
		"denied meanwhile": {func(w *ticketed, id countersign.RequestID) { w.must(w.deny("max", id)) }, "open-already", countersign.RequestDenied},
	} {
		t.Run(name, func(t *testing.T) {
			w := besideTickets(t, onSQLite(t))
			id := w.hear("servicenow", item("created", "1", anasAccount), "opened").Request
			w.before(func() { test.happen(w, id) })
			w.hear("servicenow", item("state-changed", "4", anasAccount), test.outcome)
			w.state(id, test.state)
			if _, err := w.house.Store.Work(w.ctx, "ticket/servicenow/"+ritm); countersign.KindOf(err) != countersign.NotFound {
				t.Errorf("a refusal is to be written: %v", err)
			}
		})
	}
}

func TestATicketOfNobodyWaitsForAnOperatorAndSaysSo(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := besideTickets(t, open)
		stranger := []byte(strings.ReplaceAll(string(item("created", "1", "")), anasAccount, "ana@test.example"))
		for range 2 {
			if heard := w.hear("servicenow", stranger, "refused"); heard.Reason != "unmapped-account" {
				t.Errorf("a stranger: %+v", heard)
			}
			w.write()
		}
		inOrder(t, w.now.Comments(ritm), "{kind: ticketing, namespace: servicenow, value: ana@test.example}")
		parked, err := w.house.Desk.ParkedTickets(w.ctx, w.as("oda"))
		if w.must(err); len(parked) != 1 || parked[0].Key != "RITM0010001" || parked[0].Reason != "unmapped-account" || parked[0].Request != "" {
			t.Errorf("an operator sees %+v", parked)
		}
		_, err = w.house.Desk.ParkedTickets(w.ctx, w.as("ana"))
		w.refused(err, "not-entitled-to-tickets")
		// Saved again by somebody who is known, it opens a request and waits for nobody.
		w.hear("servicenow", item("state-changed", "1", anasAccount), "opened")
		parked, err = w.house.Desk.ParkedTickets(w.ctx, w.as("oda"))
		if w.must(err); len(parked) != 0 {
			t.Errorf("still waiting: %+v", parked)
		}
	})
}

func TestARefusedTicketCanBeDismissed(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	body := []byte(strings.Replace(string(item("created", "1", anasAccount)), "ledger/books/read", "ledger/books/*", 1))
	if heard := w.hear("servicenow", body, "refused"); heard.Reason != "wildcard" {
		t.Errorf("heard %+v", heard)
	}
	w.refused(w.house.Desk.DismissTicket(w.ctx, w.as("oda"), "servicenow", ritm), "no-such-parked-ticket")
	w.write()
	w.refused(w.house.Desk.DismissTicket(w.ctx, w.as("aud"), "servicenow", ritm), "not-entitled-to-tickets")
	w.must(w.house.Desk.DismissTicket(w.ctx, w.as("oda"), "servicenow", ritm))
	parked, err := w.house.Desk.ParkedTickets(w.ctx, w.as("oda"))
	if w.must(err); len(parked) != 0 {
		t.Errorf("still waiting: %+v", parked)
	}
}

func TestWhatATicketSystemMissedIsWrittenLaterInOrderAndOnce(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := besideTickets(t, open)
		w.now.Break(ticketingtest.Down, -1)
		id := w.hear("servicenow", item("created", "1", anasAccount), "opened").Request
		w.write()
		// The house goes on meanwhile.
		w.must(w.approve("max", id))
		for range 12 {
			w.pass(5 * time.Minute)
			w.write()
		}
		w.state(id, countersign.RequestActive)
		if ticket := w.view(id).Ticket; ticket.Unwritten != 5 || ticket.Since == 0 || !strings.Contains(ticket.Why, "503") {
			t.Errorf("the view says %+v", ticket)
		}
		figures, err := w.house.Desk.Figures(w.ctx)
		if w.must(err); countersign.InstantOf(w.clock.Now()).Time().Sub(figures.OldestUnwritten.Time()) < time.Hour {
			t.Errorf("the oldest is of %s", figures.OldestUnwritten)
		}
		w.now.Mend()
		for range 4 {
			w.pass(5 * time.Minute)
			w.write()
		}
		inOrder(t, w.now.Comments(ritm), "The path", "may decide", "approved in", "is approved", "is live")
		if w.now.State(ritm) != "3" || w.view(id).Ticket.Unwritten != 0 {
			t.Errorf("the state is %s, and %+v", w.now.State(ritm), w.view(id).Ticket)
		}
	})
}

func TestACommentIsNotDoubledWhenTheAnswerWasLost(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	w.now.Break(ticketingtest.LostAnswer, 1)
	id := w.hear("servicenow", item("created", "1", anasAccount), "opened").Request
	w.must(w.cancellation("ana", id)())
	w.jira.Break(ticketingtest.LostAnswer, 2)
	w.hear("jira", created(), "opened")
	for range 8 {
		w.write()
		w.pass(time.Minute)
	}
	inOrder(t, w.now.Comments(ritm), "The path", "may decide", "ended as cancelled")
	// Of an issue the first loses the comment, and the second the transition.
	inOrder(t, w.jira.Comments(issue), "The path", "may decide")
	if w.jira.Status(issue) != "In Progress" {
		t.Errorf("the issue is %s", w.jira.Status(issue))
	}
}

// A process that dies after the ticket system took a comment, and before that is
// written down, leaves the item to its lease.
func TestACommentIsNotDoubledByACrash(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := besideTickets(t, open)
		w.hear("servicenow", item("created", "1", anasAccount), "opened")
		works, err := w.house.Store.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "dead", Kinds: []store.WorkKind{store.TicketWork}, Limit: 1, Lease: desk.Lease})
		w.must(err)
		writing, err := w.house.Desk.Writing(w.ctx, works[0])
		w.must(err)
		w.must(writing.System.Write(w.ctx, writing.Note))
		w.restart()
		w.write()
		inOrder(t, w.now.Comments(ritm), "The path") // the second waits for the first
		w.pass(2 * time.Minute)
		w.write()
		inOrder(t, w.now.Comments(ritm), "The path", "may decide")
	})
}

func TestATicketSystemIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	w.now.Break(ticketingtest.TooMany, 1)
	w.hear("servicenow", item("created", "1", anasAccount), "opened")
	w.write()
	w.pass(80 * time.Second)
	w.write()
	inOrder(t, w.now.Comments(ritm))
	w.pass(20 * time.Second)
	w.write()
	inOrder(t, w.now.Comments(ritm), "The path", "may decide")
}

// A ticket that is not there any more is one person's matter, and holds up no
// other ticket; an expired credential is the whole system's, and is tried again
// without end.
func TestWhatIsWrongWithOneTicketWaitsForAPersonAndACredentialDoesNot(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	gone := strings.ReplaceAll(string(item("created", "1", anasAccount)), ritm, "0000000000000000000000000000dead")
	id := w.hear("servicenow", []byte(gone), "opened").Request
	w.jira.Break(ticketingtest.Unauthorised, -1)
	w.must(w.deny("max", id))
	w.hear("jira", created(), "opened")
	for range 20 {
		w.write()
		w.pass(11 * time.Minute)
	}
	parked, err := w.house.Desk.ParkedTickets(w.ctx, w.as("oda"))
	if w.must(err); len(parked) != 1 || parked[0].Request != id || parked[0].Key != "RITM0010001" {
		t.Errorf("an operator sees %+v", parked)
	}
	w.jira.Mend()
	w.pass(11 * time.Minute)
	w.write()
	w.pass(time.Minute)
	w.write()
	inOrder(t, w.jira.Comments(issue), "The path", "may decide")
	retried, err := w.house.Desk.RetryTickets(w.ctx, w.as("oda"))
	if w.must(err); retried != 1 {
		t.Errorf("retried %d", retried)
	}
	w.refused(w.house.Desk.DismissTicket(w.ctx, w.as("oda"), "servicenow", parked[0].ID), "no-such-parked-ticket")
	w.write()
	w.must(w.house.Desk.DismissTicket(w.ctx, w.as("oda"), "servicenow", parked[0].ID))
	parked, err = w.house.Desk.ParkedTickets(w.ctx, w.as("oda"))
	if w.must(err); len(parked) != 0 {
		t.Errorf("of a ticket that is gone an operator still sees %+v", parked)
	}
}

// What the commit of a request loses, the ticket never heard of.
func TestARequestThatIsNotCommittedIsNotWritten(t *testing.T) {
	w := besideTickets(t, onSQLite(t))
	ctx, cancel := context.WithCancel(w.ctx)
	w.before(cancel)
	if _, err := w.house.Desk.HearTicket(ctx, "servicenow", item("created", "1", anasAccount)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the answer is %v", err)
	}
	w.write()
	inOrder(t, w.now.Comments(ritm))
	w.hear("servicenow", item("created", "1", anasAccount), "opened")
}
