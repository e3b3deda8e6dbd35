package pdp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

func TestAnAssignmentGivesExactlyWhatItNames(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	l.expect("assigned", order, "")
	for name, change := range map[string]func(*Order){
		"another subject":    func(o *Order) { o.Subject = l.mint.Identity() },
		"another action":     func(o *Order) { o.Action = "admin" },
		"a wildcard":         func(o *Order) { o.Action = "*" },
		"another resource":   func(o *Order) { o.Resource = "billing/ledger" },
		"another system":     func(o *Order) { o.Resource = "payroll/invoices" },
		"another case":       func(o *Order) { o.Action = "Reader" },
		"the resource alone": func(o *Order) { o.Resource = "invoices" },
	} {
		other := order
		change(&other)
		l.expect(name, other, NoAssignment)
	}
	evaluation := ask(order)
	evaluation.ResourceType = "record"
	if l.Evaluate(evaluation).Allowed {
		t.Error("another type of resource is allowed")
	}
}

func TestASubjectIsFoundByItsHandle(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.people["alice"] = order.Subject
	l.assign(order)
	evaluation := ask(order)
	evaluation.SubjectType, evaluation.SubjectID = "user", "alice"
	if !l.Evaluate(evaluation).Allowed {
		t.Error("alice is refused")
	}
	evaluation.SubjectID = "mallory"
	if decision := l.Evaluate(evaluation); decision.Allowed || decision.Reason != NoAssignment {
		t.Errorf("an unknown subject got %+v", decision)
	}
}

func TestAnAssignmentEndsByTimeAlone(t *testing.T) {
	l := newLab(t, Options{Freshness: 2 * time.Hour})
	l.follow()
	order := l.order()
	l.assign(order)
	l.clock.Advance(time.Hour - time.Millisecond)
	l.expect("just before", order, "")
	l.clock.Advance(time.Millisecond)
	l.expect("at its end", order, Ended)
}

func TestARemovedAssignmentIsRefusedAtOnceAndForGood(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	l.remove(order)
	l.expect("removed", order, NoAssignment)
	l.remove(order)
	if err := l.Assign(context.Background(), order); countersign.ReasonOf(err) != "removed" {
		t.Errorf("assigning again got %v", err)
	}
	l.follow()
	l.expect("after the next look", order, NoAssignment)
}

func TestAnOrderThatComesAfterItsRemovalGivesNothing(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.remove(order)
	if err := l.Assign(context.Background(), order); countersign.ReasonOf(err) != "removed" {
		t.Errorf("got %v", err)
	}
	l.expect("a late order", order, NoAssignment)
}

func TestRemovingOneCredentialLeavesTheOther(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	first := l.order()
	second := first
	second.Credential, second.Grant, second.Intent = l.mint.Credential(), l.mint.Grant(), l.mint.Intent()
	l.assign(first)
	l.assign(second)
	l.remove(first)
	l.expect("one is left", first, "")
	check, err := l.CheckCredential(context.Background(), first.Credential)
	if err != nil || check.Allowed || check.Reason != NoAssignment {
		t.Errorf("the removed one reads back as %+v, %v", check, err)
	}
	check, err = l.CheckCredential(context.Background(), second.Credential)
	if err != nil || !check.Allowed || check.Until != second.Until || check.Action != "reader" || check.Resource != second.Resource || check.Subject != mustID(t, second.Subject) {
		t.Errorf("the other one reads back as %+v, %v", check, err)
	}
	l.remove(second)
	l.expect("none is left", first, NoAssignment)
}

func TestAStopRefusesAtOnceAndIsNoSignOfBeingGone(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	for name, id := range map[string]target.ID{
		"holder": mustID(t, order.Subject), "system": mustID(t, order.System), "entitlement": mustID(t, order.Entitlement),
		"grant": mustID(t, order.Grant), "credential": mustID(t, order.Credential),
	} {
		l.stops.Stop(id, target.Held)
		l.expect(name+" stopped", order, Stopped)
		check, err := l.CheckCredential(context.Background(), order.Credential)
		if err != nil || check.Reason != Stopped {
			t.Errorf("%s stopped: the target reads back as %+v, %v", name, check, err)
		}
		l.stops.Lift(id, target.Held)
		l.expect(name+" lifted", order, "")
	}
}

func TestAStoppedGrantDoesNotHideAnotherOne(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	first := l.order()
	second := first
	second.Credential, second.Grant = l.mint.Credential(), l.mint.Grant()
	l.assign(first)
	l.assign(second)
	l.stops.Stop(mustID(t, first.Grant), target.Ended)
	l.expect("the other grant stands", first, "")
	l.stops.Stop(mustID(t, second.Grant), target.Ended)
	l.expect("both are stopped", first, Stopped)
}

func TestAPointRefusesUntilItHasLookedAndAfterItCouldNot(t *testing.T) {
	l := newLab(t, Options{})
	order := l.order()
	l.assign(order)
	l.expect("before the first look", order, Stale)
	l.follow()
	l.expect("after it", order, "")
	l.shelf.broken = errors.New("the database is away")
	l.clock.Advance(DefaultFreshness)
	if err := l.Follow(context.Background()); err == nil {
		t.Error("a failed look went unnoticed")
	}
	l.expect("at the bound", order, "")
	l.clock.Advance(time.Millisecond)
	l.expect("beyond the bound", order, Stale)
	if decision := l.Evaluate(ask(order)); decision.Age != DefaultFreshness+time.Millisecond || decision.Bound != DefaultFreshness {
		t.Errorf("the age is %s of %s", decision.Age, decision.Bound)
	}
	if _, err := l.CheckCredential(context.Background(), order.Credential); countersign.KindOf(err) != countersign.Unavailable {
		t.Errorf("reading back from a stale point: %v", err)
	}
	l.shelf.broken = nil
	l.follow()
	l.expect("the database is back", order, "")
	l.clock.Advance(-time.Hour)
	l.expect("the clock stepped back", order, Stale)
}

func TestAReplicaWhoseClockIsOffRefuses(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	l.stops.SetUnfit("the clock is 3 s off")
	l.expect("unfit", order, Unfit)
	l.stops.SetUnfit("")
	l.expect("fit again", order, "")
}

func TestAnotherReplicaFollows(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	other := New(l.shelf, l.stops, l.people, l.clock, Options{})
	order := l.order()
	l.assign(order)
	if err := other.Follow(context.Background()); err != nil || !other.Evaluate(ask(order)).Allowed {
		t.Errorf("the other replica has not heard of the assignment: %v", err)
	}
	l.remove(order)
	if err := other.Follow(context.Background()); err != nil || other.Evaluate(ask(order)).Reason != NoAssignment {
		t.Errorf("the other replica has not heard of the removal: %v", err)
	}
}

// A list tells what another replica wrote before it was asked for, also where memory
// has not heard of it and changes are held back for a while.
func TestAListHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, Options{Replica: "one"})
		l.follow()
		other := New(l.shelf, l.stops, l.people, l.clock, Options{Replica: "two"})
		ctx := context.Background()
		if err := other.Follow(ctx); err != nil {
			t.Fatal(err)
		}
		l.shelf.hold(true)
		kept, gone, elsewhere := l.order(), l.order(), l.order()
		gone.System = kept.System
		for _, order := range []Order{kept, gone, elsewhere} {
			if err := other.Assign(ctx, order); err != nil {
				t.Fatal(err)
			}
		}
		if err := other.Remove(ctx, gone.Credential, 0); err != nil {
			t.Fatal(err)
		}
		var listed []Listed
		done := make(chan error, 1)
		go func() {
			done <- l.List(ctx, kept.System, func(one Listed) error {
				listed = append(listed, one)
				return nil
			})
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("the list does not wait for what is held back: %v, %v", listed, err)
		default:
		}
		l.shelf.hold(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := []Listed{{kept.Credential, kept.Subject, kept.Action, kept.Resource, kept.Until}}
		if !slices.Equal(listed, want) {
			t.Errorf("listed is %v, want %v", listed, want)
		}
	})
}

func TestAListNeedsTheShelf(t *testing.T) {
	l := newLab(t, Options{})
	order := l.order()
	l.assign(order)
	l.shelf.broken = errors.New("out of reach")
	err := l.List(context.Background(), order.System, func(Listed) error { return nil })
	if countersign.KindOf(err) != countersign.Unavailable {
		t.Errorf("without the shelf the list answers %v", err)
	}
}

func TestAFollowerTakesManyPages(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	var orders []Order
	for range 2*followPage + 1 {
		order := l.order()
		orders = append(orders, order)
		l.assign(order)
	}
	l.Point = New(l.shelf, l.stops, l.people, l.clock, Options{})
	l.follow()
	for _, order := range orders {
		if !l.Evaluate(ask(order)).Allowed {
			t.Fatal("one of many was not followed")
		}
	}
}

func TestARemovalIsNotUndoneByAPageReadBeforeIt(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	removed := make(chan error, 1)
	// The page with the assignment has been read; the removal arrives now.
	l.shelf.between = func() {
		if l.following.TryLock() {
			l.following.Unlock()
			t.Error("a removal can slip in between the page and memory")
		}
		go func() { removed <- l.Remove(context.Background(), order.Credential, 0) }()
	}
	l.follow()
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	l.expect("removed while a page was on its way", order, NoAssignment)
}

func TestADamagedItemGivesNothingAndHoldsNothingUp(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	bad, good := l.order(), l.order()
	l.assign(bad)
	l.assign(good)
	ctx := context.Background()
	item, err := l.shelf.Item(ctx, string(bad.Credential))
	if err != nil {
		t.Fatal(err)
	}
	item.Version++
	item.Body = []byte(`{"subject": 7`)
	if err := l.shelf.Commit(ctx, store.ShelfChange{Puts: []store.Item{item}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(ctx); err == nil || !strings.Contains(err.Error(), string(bad.Credential)) {
		t.Errorf("the damage is reported as %v", err)
	}
	l.expect("the damaged one", bad, NoAssignment)
	l.expect("the other one", good, "")
	l.follow()
}

func TestAReplicaWhoseDatabaseHoldsChangesBackIsStale(t *testing.T) {
	l := newLab(t, Options{Replica: "one"})
	l.follow()
	order := l.order()
	l.assign(order)
	l.expect("its heartbeat came back", order, "")
	l.shelf.held = true
	for range 6 {
		l.clock.Advance(time.Second)
		l.follow()
	}
	l.expect("its heartbeat does not come back", order, Stale)
	l.shelf.held = false
	l.follow()
	l.follow()
	l.expect("its heartbeat came back late", order, "")
	again := New(l.shelf, l.stops, l.people, l.clock, Options{Replica: "one"})
	if err := again.Follow(context.Background()); err != nil || !again.Evaluate(ask(order)).Allowed {
		t.Errorf("a process that starts under the same name: %v", err)
	}
}

func TestAHeartbeatIsAwaitedAndNotOverwritten(t *testing.T) {
	l := newLab(t, Options{Replica: "one"})
	l.shelf.lagging = true
	order := l.order()
	l.assign(order)
	for range 6 {
		l.follow()
		l.clock.Advance(2 * time.Second)
	}
	l.expect("every write shows one look late", order, "")
}

func TestAnOrderIsCarriedOutOnceHoweverOftenItComes(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	var group sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		group.Go(func() { results[i] = l.Assign(context.Background(), order) })
	}
	group.Wait()
	if err := errors.Join(results...); err != nil {
		t.Fatal(err)
	}
	item, err := l.shelf.Item(context.Background(), string(order.Credential))
	if err != nil || item.Version != 1 || l.index.count != 1 {
		t.Errorf("written %d times, %d in memory, %v", item.Version, l.index.count, err)
	}
	later := order
	later.Attempt, later.Until = 2, order.Until.Add(countersign.Hour)
	l.assign(later)
	l.assign(order)
	if check, err := l.CheckCredential(context.Background(), order.Credential); err != nil || check.Until != later.Until {
		t.Errorf("a late first attempt set the end to %s, %v", check.Until, err)
	}
}

func TestAnotherAssignmentUnderTheSameNameIsNeverAdopted(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.assign(order)
	for name, change := range map[string]func(*Order){
		"subject":  func(o *Order) { o.Subject = l.mint.Identity() },
		"grant":    func(o *Order) { o.Grant = l.mint.Grant() },
		"action":   func(o *Order) { o.Action = "admin" },
		"resource": func(o *Order) { o.Resource = "billing/ledger" },
	} {
		other := order
		change(&other)
		if err := l.Assign(context.Background(), other); countersign.ReasonOf(err) != "not-ours" {
			t.Errorf("another %s: got %v", name, err)
		}
		if other.Grant == order.Grant {
			l.expect("another "+name, other, NoAssignment)
		}
	}
	l.expect("what was there", order, "")
}

func TestAMalformedOrderIsRefused(t *testing.T) {
	l := newLab(t, Options{})
	for name, change := range map[string]func(*Order){
		"credential":      func(o *Order) { o.Credential = "crd_x" },
		"grant":           func(o *Order) { o.Grant = "" },
		"subject":         func(o *Order) { o.Subject = "alice" },
		"system":          func(o *Order) { o.System = "billing" },
		"action":          func(o *Order) { o.Action = "" },
		"resource":        func(o *Order) { o.Resource = "invoices" },
		"no resource":     func(o *Order) { o.Resource = "billing/" },
		"end in the past": func(o *Order) { o.Until = l.clock.Instant() },
	} {
		order := l.order()
		change(&order)
		if err := l.Assign(context.Background(), order); countersign.KindOf(err) != countersign.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	order := l.order()
	order.NotAfter = l.clock.Instant()
	if err := l.Assign(context.Background(), order); countersign.ReasonOf(err) != "deadline-passed" {
		t.Errorf("after the deadline: got %v", err)
	}
}

func TestARestoredDatabaseIsReadAnew(t *testing.T) {
	l := newLab(t, Options{})
	l.follow()
	kept, lost := l.order(), l.order()
	l.assign(kept)
	l.follow()
	l.assign(lost)
	// The restored database knows the first assignment only.
	restored := shelftest.New(ShelfName)
	item, err := l.shelf.Item(context.Background(), string(kept.Credential))
	if err != nil {
		t.Fatal(err)
	}
	if err := restored.Commit(context.Background(), store.ShelfChange{Puts: []store.Item{item}}); err != nil {
		t.Fatal(err)
	}
	l.shelf.Shelf = restored
	l.shelf.broken = countersign.Errorf(countersign.Conflict, "unknown-position", "the position lies ahead")
	if err := l.Follow(context.Background()); err == nil {
		t.Error("the change of the database went unnoticed")
	}
	l.expect("nothing can be trusted", kept, Stale)
	l.shelf.broken = nil
	l.follow()
	l.expect("in the backup", kept, "")
	l.expect("not in the backup", lost, NoAssignment)
}
