package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
)

func (w *world) hold(who, on string, revoke bool) (countersign.HoldID, error) {
	return w.house.Desk.Hold(w.ctx, w.as(who), desk.Key{}, on, "something is wrong here", revoke)
}

func (w *world) lift(who string, id countersign.HoldID) error {
	return w.house.Desk.Lift(w.ctx, w.as(who), desk.Key{}, id, "it was a false alarm")
}

// editor gives Ana the role on the wiki.
func (w *world) editor() countersign.RequestID {
	w.t.Helper()
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook"})
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	return id
}

func TestAHoldRefusesAtOnceAndLiftingItGivesBackWhatWasThere(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, editorPolicy)
		w.editor()
		may := func(want pdp.Reason) {
			t.Helper()
			if decision := mayEdit(w.house.Point); decision.Reason != want {
				t.Fatalf("the decision point says %+v, want %q", decision, want)
			}
		}
		may("")
		for _, on := range []string{"ana", "wiki", "wiki/space/editor"} {
			_, err := w.hold("syd", on, false)
			w.refused(err, "not-entitled-to-hold")
			id, err := w.hold("adam", on, false)
			w.must(err)
			may(pdp.Stopped)
			// After a restart the hold is still in force, before the first check.
			w.restart()
			may(pdp.Stopped)
			w.refused(w.lift("ana", id), map[string]string{"ana": "separation-of-duties", "wiki": "not-entitled-to-lift", "wiki/space/editor": "not-entitled-to-lift"}[on])
			w.must(w.lift("alma", id))
			may("")
			w.refused(w.lift("alma", id), "already-lifted")
		}
		w.verified()
	})
}

func TestWhoIsHeldLiftsNoHoldOfOthers(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	other := w.replica("other")
	id, err := w.hold("otto", "wiki", false)
	w.must(err)
	own, err := w.hold("adam", "otto", false)
	w.must(err)
	lift := func() error {
		return other.Desk.Lift(w.ctx, w.as("otto"), desk.Key{}, id, "it was a false alarm")
	}
	w.refused(lift(), "held")
	w.must(w.lift("alma", own))
	w.must(lift())
	w.verified()
}

func TestUnderAHoldNothingIsAskedForOrApproved(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	open := w.submit("ana", asking())
	id, err := w.hold("max", "ana", false)
	w.must(err)
	w.refused(w.approve("max", open), "held")
	other := asking()
	other.Entitlements = []string{"ledger/vaults/read"}
	_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, other)
	w.refused(err, "held")
	w.must(w.lift("adam", id))
	w.must(w.approve("max", open))
	w.verified()
}

func TestRevokingAllOfAHolderHoldsFirstAndReportsWhatIsObservedGone(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), editorPolicy)
		role := w.editor()
		key := w.submit("ana", asking())
		w.must(w.approve("max", key))
		w.settle()
		credential := w.grant(key).Credentials[0].ID
		id, err := w.hold("adam", "ana", true)
		w.must(err)
		if mayEdit(w.house.Point).Allowed {
			t.Error("when the hold is answered, the check still lets her through")
		}
		view, err := w.house.Desk.HoldView(w.ctx, w.as("adam"), id)
		w.must(err)
		if view.Left != 2 {
			t.Errorf("%d grants are left, before anything was read back", view.Left)
		}
		w.settle()
		w.state(role, countersign.RequestClosed)
		w.state(key, countersign.RequestClosed)
		if w.target.Holds(credential) {
			t.Error("the target still holds what was revoked")
		}
		view, err = w.house.Desk.HoldView(w.ctx, w.as("adam"), id)
		w.must(err)
		if view.Left != 0 {
			t.Errorf("%d grants are left, after all were read back as gone", view.Left)
		}
		w.must(w.lift("alma", id))
		if mayEdit(w.house.Point).Allowed {
			t.Error("lifting the hold gave back what was revoked")
		}
		w.verified()
	})
}

func TestRevokingAllOfAnEntitlementLeavesTheOthers(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		asked := func(entitlement string) (countersign.RequestID, countersign.CredentialID) {
			id := w.submit("ana", desk.Asking{Entitlements: []string{entitlement}, Reason: "closing the month"})
			w.must(w.approve("max", id))
			w.settle()
			return id, w.grant(id).Credentials[0].ID
		}
		read, readKey := asked("ledger/books/read")
		write, writeKey := asked("ledger/books/write")
		waiting := w.submit("olga", desk.Asking{Entitlements: []string{"ledger/books/write"}, Reason: "closing the month"})
		id, err := w.hold("otto", "ledger/books/write", true)
		w.must(err)
		w.refused(w.approve("max", waiting), "held")
		w.settle()
		w.state(read, countersign.RequestActive)
		w.state(write, countersign.RequestClosed)
		if !w.target.Holds(readKey) || w.target.Holds(writeKey) {
			t.Error("the target does not hold exactly what is not under the hold")
		}
		view, err := w.house.Desk.HoldView(w.ctx, w.as("otto"), id)
		w.must(err)
		if view.Left != 0 || view.Name != "the entitlement ledger/books/write" {
			t.Errorf("the hold shows %+v", view)
		}
		w.must(w.lift("otto", id))
		w.must(w.approve("max", waiting))
		w.verified()
	})
}

func TestAHoldThatIsLiftedWhileItsSweepIsAtItRevokesNothing(t *testing.T) {
	w := found(t, onSQLite(t), editorPolicy)
	request := w.editor()
	id, err := w.hold("adam", "ana", true)
	w.must(err)
	w.before(func() { w.must(w.lift("alma", id)) })
	w.settle()
	w.pass(61 * time.Second)
	w.state(request, countersign.RequestActive)
	w.verified()
}

func TestAHoldOfAnotherReplicaIsFollowed(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	w.editor()
	other := w.replica("other")
	for range 2 {
		w.must(other.Engine.Beat(w.ctx))
	}
	if !mayEdit(other.Point).Allowed {
		t.Fatalf("the other replica says %+v", mayEdit(other.Point))
	}
	id, err := w.hold("adam", "wiki", false)
	w.must(err)
	w.clock.move(time.Second)
	w.must(other.Engine.Beat(w.ctx))
	if decision := mayEdit(other.Point); decision.Reason != pdp.Stopped {
		t.Errorf("a beat later the other replica says %+v", decision)
	}
	w.must(w.lift("adam", id))
	w.clock.move(time.Second)
	w.must(other.Engine.Beat(w.ctx))
	if !mayEdit(other.Point).Allowed {
		t.Errorf("a beat after lifting it says %+v", mayEdit(other.Point))
	}
}

func TestWhatWasNotRevokedWhenTheHoldIsLiftedStays(t *testing.T) {
	w := found(t, onSQLite(t), editorPolicy)
	request := w.editor()
	id, err := w.hold("adam", "ana", true)
	w.must(err)
	w.must(w.lift("alma", id))
	w.settle()
	w.pass(61 * time.Second)
	w.state(request, countersign.RequestActive)
	if decision := mayEdit(w.house.Point); decision.Reason != "" {
		t.Errorf("the decision point says %+v after the hold was lifted", decision)
	}
	w.verified()
}
