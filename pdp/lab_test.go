package pdp

import (
	"context"
	"sync"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

// people resolves "user" subjects by login, and identities by their id.
type people map[string]countersign.IdentityID

func (p people) Resolve(subjectType, subjectID string) (countersign.IdentityID, bool) {
	if subjectType == "identity" {
		return countersign.IdentityID(subjectID), true
	}
	id, known := p[subjectID]
	return id, known && subjectType == "user"
}

// lab is a decision point with everything around it.
type lab struct {
	*Point
	t      testing.TB
	clock  *connectortest.Clock
	shelf  *faultyShelf
	stops  *target.Stops
	mint   *countersign.Mint
	people people
}

// faultyShelf fails when it is told to, and can hold changes back as a database
// with a long transaction does.
type faultyShelf struct {
	*shelftest.Shelf
	mu      sync.Mutex
	broken  error
	held    bool
	lagging bool   // shows a write only from the next look on
	horizon int64  // up to where lagging shows
	between func() // runs once, after a page of changes was read
}

func (f *faultyShelf) Changes(ctx context.Context, after int64, limit int) ([]store.Item, int64, error) {
	f.mu.Lock()
	broken, held, between := f.broken, f.held, f.between
	f.between = nil
	f.mu.Unlock()
	if broken != nil {
		return nil, after, broken
	}
	if held {
		return nil, after, nil
	}
	if f.lagging {
		return f.lag(ctx, after)
	}
	items, position, err := f.Shelf.Changes(ctx, after, limit)
	if between != nil {
		between()
	}
	return items, position, err
}

// hold holds changes back, or lets them go.
func (f *faultyShelf) hold(held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = held
}

func (f *faultyShelf) lag(ctx context.Context, after int64) ([]store.Item, int64, error) {
	item, position, err := f.Shelf.Changes(ctx, after, 1)
	if err == nil && position > after && position <= f.horizon {
		return item, position, nil
	}
	_, f.horizon, err = f.Shelf.Changes(ctx, 0, 1<<20)
	return nil, after, err
}

func newLab(t testing.TB, options Options) *lab {
	t.Helper()
	clock := connectortest.NewClock()
	l := &lab{t: t, clock: clock, shelf: &faultyShelf{Shelf: shelftest.New(ShelfName)}, stops: target.NewStops(),
		mint: countersign.NewMint([32]byte{3}, clock.Instant()), people: people{}}
	l.Point = New(l.shelf, l.stops, l.people, clock, options)
	return l
}

func (l *lab) follow() {
	l.t.Helper()
	if err := l.Follow(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) order() Order {
	return Order{
		Intent: l.mint.Intent(), Attempt: 1, Credential: l.mint.Credential(), Grant: l.mint.Grant(), Subject: l.mint.Identity(),
		Action: "reader", System: l.mint.System(), Entitlement: l.mint.Entitlement(), Resource: "billing/invoices", Until: l.clock.Instant().Add(countersign.Hour),
	}
}

func (l *lab) assign(order Order) {
	l.t.Helper()
	if err := l.Assign(context.Background(), order); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) remove(order Order) {
	l.t.Helper()
	if err := l.Remove(context.Background(), order.Credential, 0); err != nil {
		l.t.Fatal(err)
	}
}

func ask(order Order) Evaluation {
	return Evaluation{SubjectType: "identity", SubjectID: string(order.Subject), Action: order.Action, ResourceType: ResourceType, ResourceID: order.Resource}
}

// expect asks for the order's right and wants the reason, "" for a yes.
func (l *lab) expect(say string, order Order, want Reason) {
	l.t.Helper()
	decision := l.Evaluate(ask(order))
	if decision.Reason != want || decision.Allowed != (want == "") {
		l.t.Errorf("%s: the decision is %v %q, want %q", say, decision.Allowed, decision.Reason, want)
	}
	if allowed, err := l.Allowed(order.Subject, order.Action, order.Resource, l.clock.Instant()); (allowed && err == nil) != (want == "") {
		l.t.Errorf("%s: Allowed says %v and Evaluate %q", say, allowed, want)
	}
}

func mustID[T countersign.IdentityID | countersign.SystemID | countersign.EntitlementID | countersign.GrantID | countersign.CredentialID](t testing.TB, id T) target.ID {
	t.Helper()
	small, err := target.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return small
}
