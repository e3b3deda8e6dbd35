package tickets_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/source/tickets"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	register "github.com/countersign/countersign/target/tickets"
)

var _ source.Source = (*tickets.Source)(nil)

func TestTheSourceSaysWhatTheEndpointOfTheRegisterAnswers(t *testing.T) {
	clock, ctx := connectortest.NewClock(), t.Context()
	kept := register.New(shelftest.New(register.ShelfName), clock)
	mina := countersign.NewMint([32]byte{7}, clock.Instant()).Identity()
	asked := tickets.New(kept)
	compare := func(open bool) {
		t.Helper()
		got, err := asked.Ticket(ctx, "INC-1")
		if err != nil {
			t.Fatal(err)
		}
		state := map[bool]string{true: "open", false: "closed"}[open]
		if got.Key != "INC-1" || got.Title != "Ledger <is> down" || got.Open != open || got.State != state || got.OpenedBy != string(mina) || got.From != "built-in tickets" {
			t.Errorf("got %+v", got)
		}
		mux := http.NewServeMux()
		mux.Handle(register.ReadPath, kept.ReadTicket(target.AuthenticatorFunc(func(*http.Request) (countersign.IdentityID, error) { return mina, nil })))
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/targets/tickets/tickets/INC-1", nil))
		if answer.Body.String() != string(got.Bytes) {
			t.Errorf("the endpoint answers %s, and the source keeps %s", answer.Body, got.Bytes)
		}
	}
	if _, err := kept.Open(ctx, mina, register.Incident, "Ledger <is> down"); err != nil {
		t.Fatal(err)
	}
	compare(true)
	if _, err := kept.Close(ctx, mina, "INC-1", "Restarted & watched"); err != nil {
		t.Fatal(err)
	}
	compare(false)
}

// broken is a register that cannot be read.
type broken struct{}

func (broken) Ticket(context.Context, string) (*register.Ticket, error) {
	return nil, errors.New("the disk is gone")
}

func TestTheSourceRefusesAsEverySourceDoes(t *testing.T) {
	kept := tickets.New(register.New(shelftest.New(register.ShelfName), connectortest.NewClock()))
	for _, c := range []struct {
		source *tickets.Source
		key    string
		kind   countersign.Kind
		reason string
	}{
		{kept, "INC-1", countersign.NotFound, "no-such-ticket"},
		{kept, "inc-1", countersign.Invalid, "malformed-ticket-key"},
		{tickets.New(broken{}), "INC-1", countersign.Unavailable, "source-unavailable"},
	} {
		if _, err := c.source.Ticket(t.Context(), c.key); countersign.KindOf(err) != c.kind || countersign.ReasonOf(err) != c.reason {
			t.Errorf("%s: got %v", c.key, err)
		}
	}
}
