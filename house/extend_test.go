package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
)

func (w *world) active(stages string) (countersign.RequestID, desk.GrantView) {
	w.t.Helper()
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	return id, w.grant(id)
}

func extension(grant countersign.GrantID, duration countersign.Seconds) desk.Asking {
	asking := asking()
	asking.Extends, asking.Duration = grant, duration
	return asking
}

func TestAnExtensionMovesTheEndWithoutAGapOnceTheTargetWasReadBackWithIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		first, grant := w.active(managerStage)
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asking())
		w.refused(err, "already-held")
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, extension(grant.ID, 5*countersign.Day))
		w.refused(err, "cannot-extend")
		_, err = w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, extension(grant.ID, 30*countersign.Day))
		w.refused(err, "no-such-grant")

		w.pass(8 * 24 * time.Hour)
		id := w.submit("ana", extension(grant.ID, 20*countersign.Day))
		if got := w.view(id); got.Extends != grant.ID || w.view(first).Grants[0].Until != grant.Until {
			t.Fatalf("asking alone moved something: %+v", got)
		}
		w.must(w.approve("max", id))
		if w.view(first).Grants[0].Until != grant.Until {
			t.Fatal("the end moved before the target was read back")
		}
		w.settle()
		w.state(id, countersign.RequestClosed)
		later := w.view(first).Grants[0]
		if want := countersign.InstantOf(w.clock.Now()).Add(20 * countersign.Day); later.Until != want {
			t.Fatalf("the access ends at %s, want %s", later.Until, want)
		}
		w.pass(3 * 24 * time.Hour)
		w.state(first, countersign.RequestActive)
		if !w.holds(first) {
			t.Fatal("there is a gap")
		}
		w.pass(18 * 24 * time.Hour)
		w.state(first, countersign.RequestClosed)
		if w.holds(first) {
			t.Fatal("the access outlives its later end")
		}
		w.verified()
	})
}

func TestTheEarlierEndStandsWhereTheTargetCannotBeTold(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	first, grant := w.active(managerStage)
	w.pass(9 * 24 * time.Hour)
	id := w.submit("ana", extension(grant.ID, 20*countersign.Day))
	w.must(w.approve("max", id))
	w.target.SetFaults(noop.Faults{Reject: true})
	w.settle()
	w.state(id, countersign.RequestFulfilling)
	w.target.SetFaults(noop.Faults{})
	w.pass(25 * time.Hour)
	w.state(first, countersign.RequestClosed)
	w.state(id, countersign.RequestFailed)
	if w.holds(first) {
		t.Fatal("the access outlives its end")
	}
	w.verified()
}

func TestWhatTodayRefusesIsNotExtended(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	first, grant := w.active(managerStage)
	w.pass(24 * time.Hour)
	id := w.submit("ana", extension(grant.ID, 20*countersign.Day))
	w.must(w.approve("max", id))
	_, err := w.hold("adam", "ledger", false)
	w.must(err)
	w.settle()
	w.state(id, countersign.RequestFailed)
	if got := w.view(first).Grants[0]; got.State != countersign.GrantLive || got.Until != grant.Until {
		t.Fatalf("the access is %+v", got)
	}
	w.verified()
}

// An extension that timed out after its effect is dropped; at the end the target is
// looked at a second time, a lease later.
func TestADroppedExtensionThatNobodySettledIsLookedAtTwice(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	first, grant := w.active(managerStage)
	w.pass(24 * time.Hour)
	id := w.submit("ana", extension(grant.ID, 20*countersign.Day))
	w.must(w.approve("max", id))
	w.target.SetFaults(noop.Faults{TimeOut: 1})
	w.settle()
	w.state(id, countersign.RequestFulfilling)
	w.target.SetFaults(noop.Faults{})
	_, err := w.hold("adam", "ledger", false)
	w.must(err)
	w.pass(10 * time.Second)
	w.state(id, countersign.RequestFailed)
	w.must(w.revocation("ana", grant.ID)())
	w.settle()
	if got := w.view(first).Grants[0]; got.State != countersign.GrantRevoked {
		t.Fatalf("after the first look the grant is %s", got.State)
	}
	w.pass(61 * time.Second)
	w.state(first, countersign.RequestClosed)
	w.verified()
}
