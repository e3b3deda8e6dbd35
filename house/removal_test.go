package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
)

// onlyFinding returns the only open finding of the ledger.
func (w *world) onlyFinding() *desk.FindingView {
	w.t.Helper()
	findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "ledger"})
	w.must(err)
	if len(findings) != 1 {
		w.t.Fatalf("the findings are %+v", findings)
	}
	view, err := w.house.Desk.Finding(w.ctx, w.as("otto"), findings[0].ID)
	w.must(err)
	return view
}

func (w *world) finding(id countersign.FindingID) *desk.FindingView {
	w.t.Helper()
	view, err := w.house.Desk.Finding(w.ctx, w.as("otto"), id)
	w.must(err)
	return view
}

func (w *world) remove(who string, id countersign.FindingID) error {
	return w.house.Desk.RemoveFound(w.ctx, w.as(who), desk.Key{}, id, "nobody asked for it")
}

func TestAccessThatNobodyAskedForIsTakenAwayByNameAndItsFindingClosesWithWhatWasReadBack(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		_, grant := w.approved(asking())
		w.settle()
		planted, other := w.byHand("syd", "write"), w.byHand("syd", "read")
		w.reread("ledger")
		findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "ledger"})
		w.must(err)
		id := findings[0].ID
		if findings[0].Entitlement != "write" {
			id = findings[1].ID
		}
		for who, reason := range map[string]string{"ana": "no-such-finding", "syd": "no-such-finding", "aud": "not-the-owner"} {
			w.refused(w.remove(who, id), reason)
		}
		w.refused(w.house.Desk.RemoveFound(w.ctx, w.as("pit"), desk.Key{}, id, " "), "reason-missing")
		w.must(w.remove("pit", id))
		w.refused(w.remove("otto", id), "removal-asked")
		_, err = w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, desk.Asking{Beneficiary: "syd", Entitlements: []string{"ledger/books/write"}, Reason: "it was given by hand before", Adopts: id})
		w.refused(err, "removal-asked")
		w.settle()
		view := w.finding(id)
		if w.target.Holds(planted.Credential) || view.State != countersign.FindingClosed || view.ClosedBecause != countersign.ClosedRemoved ||
			view.Removal.By.Login != "pit" || !strings.Contains(view.Removal.ReadBack, "the map of the no-op target") {
			t.Fatalf("the finding is %+v, %+v", view, view.Removal)
		}
		if !w.target.Holds(other.Credential) || !w.target.Holds(grant.Credentials[0].ID) {
			t.Fatal("more than that was taken away")
		}
		w.reread("ledger")
		w.expectOpen("the other one stays", "out-of-band syd books/read")
		w.verified()
	})
}

func TestARemovalIsTriedWithoutEndAndIsAnAlarmUntilTheTargetWasReadBack(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		planted := w.byHand("syd", "write")
		w.reread("ledger")
		id := w.onlyFinding().ID
		w.target.SetFaults(noop.Faults{Reject: true})
		w.must(w.remove("otto", id))
		asked := countersign.InstantOf(w.clock.Now())
		for range 20 {
			w.pass(6 * time.Minute)
		}
		view := w.onlyFinding()
		if !w.target.Holds(planted.Credential) || view.Removal.Attempts < 10 || !strings.Contains(view.Removal.Trouble, "told to refuse") {
			t.Fatalf("the removal is %+v", view.Removal)
		}
		figures, err := w.house.Desk.Figures(w.ctx)
		w.must(err)
		if figures.Ending.Count != 1 || figures.Ending.Oldest != asked {
			t.Fatalf("the ends that wait are %+v, asked at %s", figures.Ending, asked)
		}
		w.target.SetFaults(noop.Faults{})
		w.pass(6 * time.Minute)
		if view := w.finding(id); w.target.Holds(planted.Credential) || view.ClosedBecause != countersign.ClosedRemoved {
			t.Fatalf("the target answers again, and the finding is %+v", view)
		}
		if figures, err = w.house.Desk.Figures(w.ctx); err != nil || figures.Ending.Count != 0 {
			t.Fatalf("the ends that wait are %+v, %v", figures.Ending, err)
		}
		w.verified()
	})
}

func TestWhatNoConnectorTakesAwayIsATaskForWhoAnswersForTheSystem(t *testing.T) {
	ear := &listener{}
	w := listening(t, onSQLite(t), ear, policyFor(managerStage, ""))
	w.house.Desk.Connectors["noop"] = listsOnly{w.target, w.target}
	planted := w.byHand("syd", "write")
	w.reread("ledger")
	id := w.onlyFinding().ID
	w.must(w.remove("adam", id))
	w.settle()
	if view := w.onlyFinding(); !view.Removal.ByHand || !w.target.Holds(planted.Credential) {
		t.Fatalf("the removal is %+v", view.Removal)
	}
	w.tell()
	if kinds := ear.kinds("Otto Other"); len(kinds) != 1 || kinds[0] != desk.NoticeTask {
		t.Fatalf("the owner heard %v", kinds)
	}
	w.must(w.target.Revoke(w.ctx, planted))
	w.reread("ledger")
	if view := w.finding(id); view.State != countersign.FindingClosed || view.Removal == nil {
		t.Fatalf("it was taken away by hand, and the finding is %+v", view)
	}
	w.verified()
}

// A mark that no grant has can be taken away by its mark; one that a grant has, only
// with the grant.
func TestWhatBearsAMarkGoesByItsMark(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, grant := w.approved(asking())
	w.settle()
	stale := w.byHand("syd", "write")
	stale.Grant = countersign.NewMint([32]byte{4}, countersign.InstantOf(w.clock.Now().Add(-48*time.Hour))).Grant()
	stale.Credential = countersign.NewMint([32]byte{5}, countersign.InstantOf(w.clock.Now().Add(-48*time.Hour))).Credential()
	w.must(w.target.Revoke(w.ctx, w.byHand("syd", "write")))
	w.target.Put(stale)
	w.reread("ledger")
	id := w.onlyFinding().ID
	w.must(w.remove("otto", id))
	w.settle()
	if w.target.Holds(stale.Credential) || w.finding(id).ClosedBecause != countersign.ClosedRemoved {
		t.Fatal("a mark that no grant has should go")
	}
	stolen := taskOf(w.stored(grant.ID))
	stolen.System, _ = w.systemID("ledger")
	stolen.Credential, stolen.Grant, stolen.SystemName, stolen.Resource, stolen.Entitlement, stolen.Holder = grant.Credentials[0].ID, grant.ID, "ledger", "books", "write", w.as("syd").Identity
	w.target.Put(stolen)
	w.reread("ledger")
	findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "ledger"})
	w.must(err)
	for _, finding := range findings {
		if finding.Kind == countersign.OutOfBandFinding {
			w.refused(w.remove("otto", finding.ID), "revoke-the-grant")
			return
		}
	}
	t.Fatalf("the findings are %+v", findings)
}

func TestFindingsOfASystemThatIsNotReadAnyMoreCloseAndSayWhy(t *testing.T) {
	for name, test := range map[string]struct {
		ends func(w *world)
		want countersign.ClosedBecause
	}{
		"it is retired": {func(w *world) {
			w.apply(directoryFile[strings.Index(directoryFile, "  - name: ledger\n"):strings.Index(directoryFile, "  - name: keys\n")], "")
		}, countersign.ClosedRetired},
		"its connector is others": {func(w *world) { w.house.Desk.Connectors["noop"] = struct{ connector.Connector }{w.target} }, countersign.ClosedUnlisted},
	} {
		t.Run(name, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			w.byHand("syd", "write")
			w.reread("ledger")
			id := w.onlyFinding().ID
			test.ends(w)
			w.move(2 * time.Minute)
			w.must(w.house.Engine.Sweep(w.ctx))
			if view := w.finding(id); view.State != countersign.FindingClosed || view.ClosedBecause != test.want {
				t.Fatalf("the finding is %+v", view)
			}
			w.verified()
		})
	}
}

// Somebody asks for a removal just when the findings of a system close for want of a
// list: the others close, and the removal goes on until the access is gone.
func TestARemovalGoesOnWhereItsSystemIsNotReadAnyMore(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	planted := w.byHand("syd", "write")
	w.reread("ledger")
	id := w.onlyFinding().ID
	w.byHand("ana", "write")
	w.reread("ledger")
	w.apply(directoryFile[strings.Index(directoryFile, "  - name: ledger\n"):strings.Index(directoryFile, "  - name: keys\n")], "")
	w.before(func() { w.must(w.remove("adam", id)) })
	w.must(w.house.Desk.ScheduleReconciliations(w.ctx))
	if view := w.onlyFinding(); view.ID != id || view.Removal == nil {
		t.Fatalf("open is %+v", view)
	}
	w.settle()
	if view := w.finding(id); w.target.Holds(planted.Credential) || view.ClosedBecause != countersign.ClosedRemoved {
		t.Fatalf("the finding is %+v", view)
	}
	w.verified()
}

// What was to be adopted is gone by the time that its request is carried out: nothing
// is given in its place.
func TestWhatIsNotThereAnyMoreIsNotAdopted(t *testing.T) {
	for name, gone := range map[string]func(w *world, planted connector.Task, id countersign.FindingID){
		"somebody took it away by hand": func(w *world, planted connector.Task, _ countersign.FindingID) {
			w.must(w.target.Revoke(w.ctx, planted))
			w.reread("ledger")
		},
		"somebody asked for its removal": func(w *world, _ connector.Task, id countersign.FindingID) { w.must(w.remove("pit", id)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			planted := w.byHand("ana", "write")
			w.reread("ledger")
			finding := w.onlyFinding().ID
			id := w.submit("otto", desk.Asking{Beneficiary: "ana", Entitlements: []string{"ledger/books/write"}, Reason: "it was given by hand before", Adopts: finding})
			gone(w, planted, finding)
			w.must(w.approve("bea", id))
			w.settle()
			w.state(id, countersign.RequestFailed)
			if w.target.Holds(w.stored(w.grant(id).ID).Credentials[0].ID) {
				t.Fatal("access was given in the place of what is not there")
			}
			w.verified()
		})
	}
}
