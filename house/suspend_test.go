package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/store"
)

func TestASuspensionStopsAtOnceAndIsTakenBackBySomebodyElse(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, editorPolicy)
		w.editor()
		suspend := func(who string, leaver bool) error {
			return w.house.Desk.Suspend(w.ctx, w.as(who), desk.Key{}, "ana", "she is on her way out", leaver)
		}
		reactivate := func(who string) error {
			return w.house.Desk.Reactivate(w.ctx, w.as(who), desk.Key{}, "ana", "she stays")
		}
		for _, who := range []string{"otto", "ana", "syd"} {
			w.refused(suspend(who, true), "not-entitled-to-suspend")
		}
		w.refused(reactivate("max"), "not-suspended")
		w.must(suspend("max", true))
		if decision := mayEdit(w.house.Point); decision.Reason != pdp.Stopped {
			t.Fatalf("the decision point says %+v", decision)
		}
		w.refused(suspend("adam", true), "already-suspended")
		w.refused(reactivate("max"), "separation-of-duties")
		// Nothing is taken away yet, and all of it comes back.
		w.pass(5 * 24 * time.Hour)
		w.must(reactivate("adam"))
		if decision := mayEdit(w.house.Point); decision.Reason != "" {
			t.Fatalf("after it was taken back: %+v", decision)
		}
		w.verified()
	})
}

// What waits in the whole house is looked at after the suspension, not in it.
func TestASuspensionDoesNotWaitForWhatIsAskedFor(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		var ids []countersign.RequestID
		for _, who := range []string{"ana", "otto", "olga", "syd", "sam", "sue", "pia"} {
			for _, right := range []string{"ledger/books/read", "ledger/books/brief", "ledger/vaults/read"} {
				asked := asking()
				asked.Beneficiary, asked.Entitlements = who, []string{right}
				ids = append(ids, w.submit("ana", asked))
			}
		}
		w.settle()
		w.must(w.house.Desk.Suspend(w.ctx, w.as("adam"), desk.Key{}, "max", "he lost his laptop", false))
		due, err := w.house.Store.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "test", Kinds: []store.WorkKind{store.RequestWork}, Limit: 100, Lease: desk.Lease})
		w.must(err)
		if len(due) != 0 {
			t.Errorf("the suspension made %d requests due", len(due))
		}
		w.settle()
		for _, id := range ids {
			if view := w.view(id); view.State != countersign.RequestDenied {
				t.Errorf("%s is %s, and nobody is left to decide it", id, view.State)
			}
		}
		w.verified()
	})
}

func TestWhatALeaverHeldEndsWhenTheSuspensionWasNotTakenBack(t *testing.T) {
	w := found(t, onSQLite(t), replaceOnce(t, editorPolicy, "{default: 10d, max: 30d}", "{default: 60d, max: 60d}"))
	id := w.editor()
	w.must(w.house.Desk.Suspend(w.ctx, w.as("max"), desk.Key{}, "ana", "she leaves", true))
	w.pass(29 * 24 * time.Hour)
	w.state(id, countersign.RequestActive)
	w.pass(25 * time.Hour)
	w.state(id, countersign.RequestClosed)
	w.refused(w.house.Desk.Reactivate(w.ctx, w.as("adam"), desk.Key{}, "ana", "she stays after all"), "not-suspended")
	w.verified()
}
