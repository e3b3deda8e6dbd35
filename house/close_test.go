package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

func (w *world) close(who string, id countersign.RequestID) error {
	return w.house.Desk.Close(w.ctx, w.as(who), desk.Key{}, id, "the work is done")
}

const owedPolicy = `
evidence:
  - {name: report, kind: text, due: at-closure, within: 2 business days, escalate_to: [owner-of(resource)]}
`

func TestWhoIsDoneGivesEverythingBackAtOnce(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, replaceOnce(t, policyFor(managerStage, ""), "open_per_holder: 5", "open_per_holder: 5, entitlements: 2"))
		asked := asking()
		asked.Entitlements = []string{"ledger/books/read", "ledger/vaults/read"}
		id := w.submit("ana", asked)
		w.refused(w.close("ana", id), "wrong-state")
		w.must(w.approve("max", id))
		w.refused(w.close("syd", id), "no-such-request")
		w.settle()
		view := w.state(id, countersign.RequestActive)
		w.must(w.close("ana", id))
		for _, grant := range w.view(id).Grants {
			if grant.State != countersign.GrantRevoking {
				t.Errorf("when the command is answered, the grant is %s", grant.State)
			}
		}
		w.must(w.close("ana", id))
		w.settle()
		w.state(id, countersign.RequestClosed)
		for _, grant := range view.Grants {
			if w.target.Holds(grant.Credentials[0].ID) {
				t.Error("the target still holds what was given back")
			}
		}
		w.refused(w.close("ana", id), "already-closed")
		w.verified()
	})
}

func TestARequestClosesByHandWithoutEvidenceThatNeverCame(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, owedPolicy))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	w.must(w.close("ana", id))
	w.settle()
	w.state(id, countersign.RequestClosing)
	w.refused(w.close("otto", id), "not-overdue")
	w.pass(5 * 24 * time.Hour)
	w.refused(w.close("ana", id), "separation-of-duties")
	w.refused(w.close("max", id), "not-entitled-to-close")
	w.must(w.close("otto", id))
	w.state(id, countersign.RequestClosed)
	w.tells(id, "closed the request without the evidence report: the work is done")
	w.verified()
}

func TestNobodyWritesOffWhatIsOwedForTheirOwnAccess(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, owedPolicy))
	w.together("owner: otto\n    second_owner: pit", "owner: otto\n    second_owner: ana")
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	w.must(w.close("ana", id))
	w.settle()
	w.pass(5 * 24 * time.Hour)
	w.refused(w.close("ana", id), "separation-of-duties")
	w.must(w.close("otto", id))
	w.verified()
}

func TestBreakGlassIsClosedByItsReviewAlone(t *testing.T) {
	w := onCall(t, onSQLite(t), builtInTickets)
	id := w.submit("ana", emergency(w.incident()))
	w.settle()
	w.must(w.close("ana", id))
	w.settle()
	w.state(id, countersign.RequestClosing)
	w.pass(30 * 24 * time.Hour)
	w.refused(w.close("otto", id), "needs-review")
	w.state(id, countersign.RequestClosing)
	w.verified()
}
