package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// changePolicy gives access for as long as a ticket is open.
var changePolicy = strings.Replace(policyFor(managerStage, `
ask: {change: {type: string}}
evidence:
  - {name: change, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: change}
`), "grant: {ends: revoke}", "grant: {ends: revoke, ends_when: [ticket-closed]}", 1)

func TestAccessForATicketEndsWithTheTicket(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, changePolicy, builtInTickets)
		ticket := w.incident()
		asked := asking()
		asked.Answers = []byte(`{"change":"` + ticket + `"}`)
		id := w.submit("ana", asked)
		w.must(w.approve("max", id))
		w.settle()
		w.pass(time.Hour)
		w.state(id, countersign.RequestActive)
		w.resolve(ticket)
		w.pass(5 * time.Minute)
		w.state(id, countersign.RequestClosed)
		if gone := w.grant(id); gone.Ending != "The ticket "+ticket+" is closed." {
			t.Errorf("the grant ended because: %s", gone.Ending)
		}
		w.verified()
	})
}

// A source that is away ends nothing, and is asked again; the end by time comes
// all the same.
func TestATicketThatCannotBeLookedUpEndsNothing(t *testing.T) {
	w := found(t, onSQLite(t), changePolicy, builtInTickets)
	ticket := w.incident()
	asked := asking()
	asked.Answers = []byte(`{"change":"` + ticket + `"}`)
	id := w.submit("ana", asked)
	w.must(w.approve("max", id))
	w.settle()
	w.harm(`DELETE FROM shelf_item WHERE shelf = 'tickets'`)
	w.pass(time.Hour)
	w.state(id, countersign.RequestActive)
	w.pass(10 * 24 * time.Hour)
	w.state(id, countersign.RequestClosed)
}

func TestTicketClosedNeedsTheTicket(t *testing.T) {
	w := empty(t, onSQLite(t))
	err := w.found(strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke}", "grant: {ends: revoke, ends_when: [ticket-closed]}", 1))
	w.refused(err, "malformed-policy")
	if !strings.Contains(err.Error(), "`ticket-closed` needs the ticket") {
		t.Errorf("the refusal says %v", err)
	}
}
