package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

func TestAnApprovedRequestBecomesAccessThatEndsByItself(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open func() store.Store) {
		w := found(t, open, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		w.state(id, countersign.RequestDeciding)
		w.must(w.approve("max", id))
		w.state(id, countersign.RequestFulfilling)
		w.settle()
		w.state(id, countersign.RequestActive)
		grant := w.grant(id)
		if !w.target.Holds(grant.Credentials[0].ID) {
			t.Fatal("the grant is live and the target holds nothing")
		}
		if want := countersign.InstantOf(monday.Add(10 * 24 * time.Hour)); grant.Until != want {
			t.Errorf("it ends at %s, want %s", grant.Until, want)
		}
		w.pass(10*24*time.Hour + time.Second)
		w.state(id, countersign.RequestClosed)
		if w.target.Holds(grant.Credentials[0].ID) {
			t.Error("the target still holds what ended")
		}
		w.verified()
	})
}
