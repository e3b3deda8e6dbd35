package house_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target/tickets"
)

func TestTicketsAreCountedAndClosedOnceWhoeverWritesAtTheSameTime(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open)
		register, by := w.house.Tickets, w.as("ana").Identity
		openOne := func(kind tickets.Kind) func() error {
			return func() error { _, err := register.Open(w.ctx, by, kind, "The ledger is down"); return err }
		}
		for range 2 {
			for _, err := range race(openOne(tickets.Incident), openOne(tickets.Change), openOne(tickets.Incident), openOne(tickets.Incident), openOne(tickets.Incident), openOne(tickets.Incident)) {
				w.must(err)
			}
		}
		closeIt := func() error { _, err := register.Close(w.ctx, by, "INC-10", "It is up again"); return err }
		closed := 0
		for _, err := range race(closeIt, closeIt, closeIt) {
			if err == nil {
				closed++
			} else if countersign.ReasonOf(err) != "ticket-closed" {
				t.Error(err)
			}
		}
		if closed != 1 {
			t.Errorf("%d closed INC-10", closed)
		}
		w.restart()
		for state, want := range map[tickets.State]string{tickets.Open: "CHG-2 CHG-1 INC-9 INC-8 INC-7 INC-6 INC-5 INC-4 INC-3 INC-2 INC-1", tickets.Closed: "INC-10"} {
			found, more, err := w.house.Tickets.Tickets(w.ctx, state)
			w.must(err)
			// The clock stands still, so changes and incidents are of one time.
			byKind := map[string][]string{}
			for _, ticket := range found {
				byKind[ticket.Key[:3]] = append(byKind[ticket.Key[:3]], ticket.Key)
			}
			if got := strings.Join(append(byKind["CHG"], byKind["INC"]...), " "); got != want || more {
				t.Errorf("%s are %s, want %s", state, got, want)
			}
		}
		w.verified()
	})
}
