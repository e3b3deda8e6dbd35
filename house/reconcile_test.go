package house_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
)

// read lets the engine read every target that is due.
func (w *world) read() {
	w.t.Helper()
	for {
		taken, err := w.house.Engine.Reconcile(w.ctx)
		w.must(err)
		if taken == 0 {
			return
		}
	}
}

// reread has one system read at once.
func (w *world) reread(system string) {
	w.t.Helper()
	w.must(w.runNow("adam", system))
	w.read()
}

func (w *world) runNow(who, system string) error {
	_, err := w.house.Desk.ReconcileNow(w.ctx, w.as(who), system)
	return err
}

// openFindings returns kind, principal and right of what is open on the ledger.
func (w *world) openFindings() []string {
	w.t.Helper()
	findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "ledger"})
	w.must(err)
	var told []string
	for _, finding := range findings {
		who := finding.Principal
		if finding.Holder.ID != "" {
			who = finding.Holder.Login
		}
		told = append(told, strings.TrimSpace(string(finding.Kind)+" "+who+" "+finding.Resource+"/"+finding.Entitlement))
	}
	slices.Sort(told)
	return told
}

func (w *world) expectOpen(when string, want ...string) {
	w.t.Helper()
	if got := w.openFindings(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: the findings are %q, want %q", when, got, want)
	}
}

// plant gives somebody a right on the ledger behind the house's back.
func (w *world) plant(login string) connector.Task {
	ledger, known := w.systemID("ledger")
	if !known {
		w.t.Fatal("there is no ledger")
	}
	task := connector.Task{
		Credential: countersign.NewMint([32]byte{7}, countersign.InstantOf(w.clock.Now())).Credential(), Holder: w.as(login).Identity,
		System: ledger, SystemName: "ledger", Resource: "books", Entitlement: "write",
	}
	w.target.Put(task)
	return task
}

func (w *world) systemID(name string) (countersign.SystemID, bool) {
	directory, err := w.house.Store.Directory(w.ctx, 0)
	w.must(err)
	for _, system := range directory.Systems {
		if system.Name == name {
			return system.ID, true
		}
	}
	return "", false
}

// lose takes what a grant gave off the target behind the house's back.
func (w *world) lose(id countersign.GrantID) {
	w.t.Helper()
	w.must(w.target.Revoke(w.ctx, taskOf(w.stored(id))))
}

func TestWhatDiffersIsFoundAndClosesItselfWhenItIsMended(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		w.settle()
		w.read()
		w.expectOpen("all is as it should be")
		planted := w.plant("syd")
		w.reread("ledger")
		w.expectOpen("somebody gave it by hand", "out-of-band syd books/write")
		w.reread("ledger")
		w.expectOpen("the same is found once", "out-of-band syd books/write")
		w.lose(grant.ID)
		w.reread("ledger")
		w.expectOpen("and the target lost what was given", "lost ana books/read", "out-of-band syd books/write")
		// It ends nothing.
		w.state(id, countersign.RequestActive)
		if !w.target.Holds(planted.Credential) {
			t.Fatal("a finding took away what somebody gave by hand")
		}
		w.must(w.target.Revoke(w.ctx, planted))
		w.must(w.revocation("ana", grant.ID)())
		w.settle()
		w.reread("ledger")
		w.expectOpen("both are mended")
		all, err := w.house.Desk.Findings(w.ctx, w.as("pit"), desk.FindingFilter{System: "ledger", All: true})
		w.must(err)
		if len(all) != 2 || all[0].State != countersign.FindingClosed || all[0].ClosedAt == 0 || all[0].Owner.Login != "otto" || all[0].Deadline != all[0].OpenedAt.Add(7*countersign.Day) {
			t.Fatalf("closed findings stay on the record: %+v", all)
		}
		w.verified()
	})
}

func TestATargetThatGivesNoWholeListIsAnAlarmAndNothingIsLost(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		w.approved(asking())
		w.settle()
		w.read()
		w.target.SetFaults(noop.Faults{List: &connector.Failure{Kind: connector.Transient, Message: "the line broke in the middle"}})
		for range 3 {
			w.pass(25 * time.Hour)
			w.read()
		}
		w.expectOpen("a list was cut short")
		view := w.standing("adam", "ledger")
		if view.State != desk.SystemLate || view.FailingSince == 0 || !strings.Contains(view.Trouble, "broke in the middle") || view.Last == nil {
			t.Fatalf("the system stands at %+v", view)
		}
		w.move(time.Hour)
		w.tell()
		if kinds := ear.kinds("Otto Other"); !slices.Equal(kinds, []string{desk.NoticeUnread}) {
			t.Fatalf("the owner should hear of it once, and heard %v", kinds)
		}
		w.target.SetFaults(noop.Faults{})
		w.reread("ledger")
		if view := w.standing("adam", "ledger"); view.State != desk.SystemCurrent || view.FailingSince != 0 || view.Trouble != "" {
			t.Fatalf("the target answers again, and the system stands at %+v", view)
		}
		w.verified()
	})
}

func (w *world) standing(who, system string) desk.ReconciliationView {
	w.t.Helper()
	views, err := w.house.Desk.Reconciliations(w.ctx, w.as(who))
	w.must(err)
	for _, view := range views {
		if view.System == system {
			return view
		}
	}
	w.t.Fatalf("%s does not see %s: %+v", who, system, views)
	return desk.ReconciliationView{}
}

// meanwhile is a target that lists what it has, and lets something happen before
// or after that.
type meanwhile struct {
	connector.Connector
	before, after func()
}

func (m *meanwhile) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	if m.before != nil {
		m.before()
	}
	err := m.Connector.(connector.Inventory).List(ctx, of, found)
	if m.after != nil {
		m.after()
	}
	return err
}

func TestWhatHappensWhileATargetIsReadIsNoFinding(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		_, early := w.approved(asking())
		w.settle()
		w.read()
		second := asking()
		second.Entitlements = []string{"ledger/books/write"}
		target := &meanwhile{Connector: w.target}
		w.house.Desk.Connectors["noop"] = target
		var opened *countersign.Grant
		for name, happen := range map[string]func(){
			"a grant becomes live": func() { _, opened = w.approved(second); w.settle() },
			"a grant is rotated":   func() { w.must(w.rotate("ana", early.ID)); w.settle() },
		} {
			target.before, target.after = happen, nil
			w.reread("ledger")
			w.expectOpen(name + " before the list")
		}
		target.before, target.after = func() { w.must(w.revocation("ana", early.ID)()); w.settle() }, nil
		w.reread("ledger")
		w.expectOpen("a grant ends before the list")
		target.before, target.after = nil, func() { w.must(w.revocation("ana", opened.ID)()); w.settle() }
		w.reread("ledger")
		w.expectOpen("a grant ends after the list")
		w.verified()
	})
}

func (w *world) rotate(who string, id countersign.GrantID) error {
	return w.house.Desk.Rotate(w.ctx, w.as(who), desk.Key{}, id, countersign.Hour, "the key is due")
}

func TestAMachineThatNobodyAnswersForIsFoundWhereItHasAccess(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	mine := asking()
	mine.Beneficiary = "svc-ana"
	w.approved(mine)
	w.settle()
	w.apply("{login: ana, name: Ana Asker, email: ana@test.example, manager: max}", "{login: ana, name: Ana Asker, email: ana@test.example, manager: max, status: departed}")
	w.settle()
	w.reread("ledger")
	w.expectOpen("its owner left", "unowned svc-ana /")
}

func TestTheClaimSaysWhatItRestsOn(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	claim := func() *desk.ClaimView {
		t.Helper()
		view, err := w.house.Desk.Claim(w.ctx, w.as("aud"))
		w.must(err)
		return view
	}
	if view := claim(); view.Verdict != desk.NotProven || view.Systems != 4 || view.NeverRead != 4 {
		t.Fatalf("nothing was read, and the claim is %+v", view)
	}
	w.approved(asking())
	w.settle()
	w.read()
	view := claim()
	// The powers of the first day come from no request, and that is said.
	if view.Verdict != desk.DoesNotHold || view.Current != 4 || view.Pairs != 7 || view.Ours != 7 || len(view.Because) != 1 || !strings.Contains(view.Because[0], "6 live grant(s) come from genesis") {
		t.Fatalf("the claim is %+v", view)
	}
	w.plant("syd")
	w.reread("ledger")
	if view := claim(); view.Verdict != desk.DoesNotHold || !strings.Contains(strings.Join(view.Because, "\n"), "ledger holds 1 pair(s) that no live grant gives") {
		t.Fatalf("the claim is %+v", view)
	}
	w.move(48 * time.Hour)
	if view := claim(); view.Late != 4 || view.Pairs != 0 || !strings.Contains(strings.Join(view.Because, "\n"), "past its interval") {
		t.Fatalf("everything was read too long ago, and the claim is %+v", view)
	}
	_, err := w.house.Desk.Claim(w.ctx, w.as("otto"))
	w.refused(err, "not-entitled-to-claim")
}

func TestFindingsAreSeenByWhoAnswersForTheSystem(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.plant("syd")
	w.reread("ledger")
	for who, sees := range map[string]bool{"otto": true, "pit": true, "adam": true, "aud": true, "ana": false, "syd": false, "olga": false} {
		findings, err := w.house.Desk.Findings(w.ctx, w.as(who), desk.FindingFilter{})
		w.must(err)
		if (len(findings) == 1) != sees {
			t.Errorf("%s sees %+v", who, findings)
		}
	}
	w.refused(w.runNow("aud", "ledger"), "not-the-owner")
	w.refused(w.runNow("ana", "ledger"), "no-such-system")
	w.must(w.runNow("pit", "ledger"))
}

func TestWhatWasGivenByHandIsAdoptedByARequestAndEndsWithIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		byHand := w.plant("ana")
		w.reread("ledger")
		w.expectOpen("somebody gave it by hand", "out-of-band ana books/write")
		findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{})
		w.must(err)
		finding := findings[0]
		if finding.AskFor != "ledger/books/write" {
			t.Fatalf("what can be asked for is %q", finding.AskFor)
		}
		adopting := func(entitlement string) desk.Asking {
			return desk.Asking{Beneficiary: "ana", Entitlements: []string{entitlement}, Reason: "it was given by hand before", Adopts: finding.ID}
		}
		_, err = w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, adopting("ledger/books/read"))
		w.refused(err, "something-else")
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, adopting("ledger/books/write"))
		w.refused(err, "no-such-finding")
		id := w.submit("otto", adopting("ledger/books/write"))
		// Until it is approved nothing is touched, and approvers see what would be done.
		w.settle()
		if !w.target.Holds(byHand.Credential) || len(w.view(id).Effects) != 1 || w.view(id).Adopts != finding.ID {
			t.Fatalf("before the approval: %+v", w.view(id))
		}
		w.must(w.approve("bea", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		grant := w.stored(w.grant(id).ID)
		if w.target.Holds(byHand.Credential) || !w.target.Holds(grant.Credentials[0].ID) {
			t.Fatal("the grant should stand in the place of what was given by hand")
		}
		w.reread("ledger")
		w.expectOpen("it was adopted")
		_, err = w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, adopting("ledger/books/write"))
		w.refused(err, "finding-closed")
		w.must(w.revocation("ana", grant.ID)())
		w.settle()
		w.reread("ledger")
		w.expectOpen("and it ended with its grant")
		w.verified()
	})
}

func TestVeryManyDifferencesAreCountedAndEndNothing(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, _ := w.approved(asking())
	w.settle()
	ledger, _ := w.systemID("ledger")
	mint := countersign.NewMint([32]byte{8}, countersign.InstantOf(w.clock.Now()))
	for range 1100 {
		w.target.Put(connector.Task{Credential: mint.Credential(), Holder: mint.Identity(), System: ledger, Resource: "books", Entitlement: "read"})
	}
	w.reread("ledger")
	view := w.standing("otto", "ledger")
	if view.Last.Opened != 1000 || view.Last.Beyond != 100 || view.Last.Of(countersign.OutOfBandFinding) != 1100 || view.Last.Ours != 1 {
		t.Fatalf("the comparison says %+v", view.Last)
	}
	w.reread("ledger")
	if view := w.standing("otto", "ledger"); view.Last.Opened != 0 || view.Last.Closed != 0 || view.Last.Beyond != 100 {
		t.Fatalf("the same list again says %+v", view.Last)
	}
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestAReadingThatWasCutOffBetweenItsCommitsIsMendedByTheNext(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		w.read()
		w.plant("syd")
		w.must(w.runNow("adam", "ledger"))
		// The finding is written, and the process dies before the list is.
		ctx, die := context.WithCancel(w.ctx)
		w.before(func() { w.before(die) })
		_, _ = w.house.Engine.Reconcile(ctx)
		w.expectOpen("the process died", "out-of-band syd books/write")
		w.restart()
		w.pass(11 * time.Minute)
		w.read()
		w.expectOpen("it is found once", "out-of-band syd books/write")
		if view := w.standing("otto", "ledger"); view.Last.Opened != 0 || view.Last.Of(countersign.OutOfBandFinding) != 1 {
			t.Fatalf("the comparison says %+v", view.Last)
		}
		w.verified()
	})
}

// A reader that lost its lease opens nothing that the next one has opened.
func TestAReaderThatLostItsLeaseWritesNothingAnyMore(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		w.read()
		w.plant("syd")
		w.must(w.runNow("adam", "ledger"))
		// It stands still, with what it is about to write, until another one has done all
		// of it.
		w.before(func() {
			w.move(11 * time.Minute)
			w.read()
		})
		if _, err := w.house.Engine.Reconcile(w.ctx); err != nil {
			t.Fatalf("losing a claim is no failure: %v", err)
		}
		w.expectOpen("two readers found it", "out-of-band syd books/write")
		w.verified()
	})
}
