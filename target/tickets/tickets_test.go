package tickets

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/store/shelftest"
)

// house is a register with everything around it.
type house struct {
	*Register
	t     *testing.T
	clock *connectortest.Clock
	mina  countersign.IdentityID
	otto  countersign.IdentityID
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, clock: connectortest.NewClock()}
	mint := countersign.NewMint([32]byte{7}, h.clock.Instant())
	h.mina, h.otto = mint.Identity(), mint.Identity()
	h.Register = New(shelftest.New(ShelfName), h.clock)
	return h
}

func (h *house) open(kind Kind, title string) *Ticket {
	h.t.Helper()
	h.clock.Advance(time.Second)
	ticket, err := h.Open(context.Background(), h.mina, kind, title)
	if err != nil {
		h.t.Fatal(err)
	}
	return ticket
}

func (h *house) close(key string) {
	h.t.Helper()
	h.clock.Advance(time.Second)
	if _, err := h.Close(context.Background(), h.otto, key, "Done."); err != nil {
		h.t.Fatal(err)
	}
}

// keys are the keys of a list.
func (h *house) keys(state State) string {
	h.t.Helper()
	tickets, more, err := h.Tickets(context.Background(), state)
	if err != nil || more {
		h.t.Fatal(more, err)
	}
	var keys []string
	for _, ticket := range tickets {
		keys = append(keys, ticket.Key)
	}
	return strings.Join(keys, " ")
}

func TestTicketsAreCountedPerKind(t *testing.T) {
	h := newHouse(t)
	for _, step := range []struct {
		kind Kind
		want string
	}{{Incident, "INC-1"}, {Incident, "INC-2"}, {Change, "CHG-1"}, {Task, "TASK-1"}, {Incident, "INC-3"}, {Change, "CHG-2"}} {
		opened := h.open(step.kind, "What it is about")
		if opened.Key != step.want {
			t.Errorf("a new %s is %s, want %s", step.kind, opened.Key, step.want)
		}
		read, err := h.Ticket(context.Background(), opened.Key)
		want := Ticket{Key: step.want, Kind: step.kind, Title: "What it is about", State: Open, OpenedBy: h.mina, OpenedAt: h.clock.Instant()}
		if err != nil || *read != want {
			t.Errorf("read %+v, %v; want %+v", read, err, want)
		}
	}
}

func TestNumbersGoOnPastTen(t *testing.T) {
	h := newHouse(t)
	for n := 1; n <= 11; n++ {
		if got, want := h.open(Incident, "x").Key, fmt.Sprintf("INC-%d", n); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got := h.keys(""); got != "INC-11 INC-10 INC-9 INC-8 INC-7 INC-6 INC-5 INC-4 INC-3 INC-2 INC-1" {
		t.Errorf("the list is %s", got)
	}
}

func TestListsAreNewestFirstAndByState(t *testing.T) {
	h := newHouse(t)
	h.open(Incident, "a")
	h.open(Change, "b")
	h.open(Incident, "c")
	h.open(Task, "d")
	h.close("INC-1")
	h.close("TASK-1")
	for state, want := range map[State]string{"": "TASK-1 INC-2 CHG-1 INC-1", Open: "INC-2 CHG-1", Closed: "TASK-1 INC-1"} {
		if got := h.keys(state); got != want {
			t.Errorf("%q gives %s, want %s", state, got, want)
		}
	}
	if _, _, err := h.Tickets(context.Background(), "ajar"); countersign.ReasonOf(err) != "unknown-ticket-state" {
		t.Errorf("got %v", err)
	}
}

func TestAListIsBoundedAndSaysSo(t *testing.T) {
	h := newHouse(t)
	for range 60 {
		h.open(Incident, "x")
		h.open(Change, "x")
	}
	tickets, more, err := h.Tickets(context.Background(), Open)
	if err != nil || !more || len(tickets) != maxList || tickets[0].Key != "CHG-60" || tickets[maxList-1].Key != "INC-11" {
		t.Errorf("got %d tickets, more %v, %v", len(tickets), more, err)
	}
}

func TestATicketIsClosedOnceAndStaysSo(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	opened := h.open(Incident, "Ledger is down")
	h.close("INC-1")
	_, err := h.Close(ctx, h.mina, "INC-1", "Mine.")
	if countersign.KindOf(err) != countersign.Conflict || !strings.Contains(err.Error(), string(h.otto)) || !strings.Contains(err.Error(), h.clock.Instant().String()) {
		t.Errorf("the second close: %v", err)
	}
	want := *opened
	want.State, want.ClosedBy, want.ClosedAt, want.Resolution = Closed, h.otto, h.clock.Instant(), "Done."
	if read, err := h.Ticket(ctx, "INC-1"); err != nil || *read != want {
		t.Errorf("read %+v, %v; want %+v", read, err, want)
	}
}

func TestWhatIsMalformedIsRefused(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.open(Incident, "x")
	open := func(kind Kind, title string) error { _, err := h.Open(ctx, h.mina, kind, title); return err }
	closing := func(key, how string) error { _, err := h.Close(ctx, h.mina, key, how); return err }
	read := func(key string) error { _, err := h.Ticket(ctx, key); return err }
	for name, c := range map[string]struct {
		err    error
		reason string
	}{
		"kind":                {open("Incident", "x"), "unknown-ticket-kind"},
		"no kind":             {open("", "x"), "unknown-ticket-kind"},
		"no title":            {open(Incident, ""), "malformed-ticket"},
		"blank title":         {open(Incident, " "), "malformed-ticket"},
		"long title":          {open(Incident, strings.Repeat("x", 201)), "malformed-ticket"},
		"title of two lines":  {open(Incident, "a\nb"), "malformed-ticket"},
		"title with escape":   {open(Incident, "\x1b[2J"), "malformed-ticket"},
		"title not UTF-8":     {open(Incident, "\xff"), "malformed-ticket"},
		"no resolution":       {closing("INC-1", ""), "malformed-ticket"},
		"long resolution":     {closing("INC-1", strings.Repeat("x", 2001)), "malformed-ticket"},
		"no key":              {read(""), "malformed-ticket-key"},
		"lower-case key":      {read("inc-1"), "malformed-ticket-key"},
		"second spelling":     {read("INC-01"), "malformed-ticket-key"},
		"zero":                {read("INC-0"), "malformed-ticket-key"},
		"long number":         {read("INC-1000000000"), "malformed-ticket-key"},
		"unknown prefix":      {read("PRB-1"), "malformed-ticket-key"},
		"unknown ticket":      {read("INC-2"), "no-such-ticket"},
		"other kind's ticket": {closing("CHG-1", "x"), "no-such-ticket"},
	} {
		if countersign.ReasonOf(c.err) != c.reason {
			t.Errorf("%s: got %v, want %s", name, c.err, c.reason)
		}
	}
	if err := closing("INC-1", "First this,\nthen that."); err != nil {
		t.Errorf("a resolution of two lines: %v", err)
	}
}

func TestTicketsOpenedAtOnceGetDifferentNumbers(t *testing.T) {
	h := newHouse(t)
	var opening sync.WaitGroup
	for range 6 {
		opening.Go(func() {
			if _, err := h.Open(context.Background(), h.mina, Incident, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	if got := h.keys(Open); got != "INC-6 INC-5 INC-4 INC-3 INC-2 INC-1" {
		t.Errorf("the list is %s", got)
	}
}

func TestOfTwoWhoCloseAtOnceOneDoes(t *testing.T) {
	h := newHouse(t)
	h.open(Incident, "x")
	results := make(chan error, 6)
	for range cap(results) {
		go func() {
			_, err := h.Close(context.Background(), h.otto, "INC-1", "Done.")
			results <- err
		}()
	}
	closed := 0
	for range cap(results) {
		if err := <-results; err == nil {
			closed++
		} else if countersign.KindOf(err) != countersign.Conflict {
			t.Error(err)
		}
	}
	if closed != 1 {
		t.Errorf("%d closed it", closed)
	}
}
