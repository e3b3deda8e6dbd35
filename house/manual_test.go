package house_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const manualPolicy = `
request: archive
title: Access to the archive
grants: {system: archive, kind: role}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}}
stages:
  - {name: manager, approvers: [manager-of(requester)], within: 2 business days}
fulfil: [manual.give]
grant: {ends: revoke}
close: {when: [gone]}
`

// byHand opens a house with an archive that the platform leads and Ana look after.
func byHand(t *testing.T, open database, settings string) *world {
	t.Helper()
	w := empty(t, open)
	w.edit("records:\n", `  - name: archive
    title: Archive
    owner: otto
    environment: prod
    risk: low
    connector: manual
    settings: {`+settings+`}
    resources: [{name: files, title: Files, entitlements: [{name: reader, kind: role}]}]
records:
`, "members: [pia, pit, both]", "members: [pia, pit, max, ana]")
	w.must(w.found(manualPolicy))
	w.settle()
	return w
}

const platform = `fulfiller: group(platform-leads), within: 2d, column: login`

func (w *world) openTask(grant countersign.GrantID) *countersign.Task {
	w.t.Helper()
	stored := w.stored(grant)
	if stored.Task == nil {
		w.t.Fatalf("the grant is %s and has no task", stored.State)
	}
	return stored.Task
}

func (w *world) done(who string, grant countersign.GrantID) error {
	w.t.Helper()
	return w.house.Desk.TaskDone(w.ctx, w.as(who), desk.Key{}, grant, desk.TaskReport{Task: w.openTask(grant).Intent})
}

func (w *world) check(who string, grant countersign.GrantID, report desk.TaskReport) error {
	w.t.Helper()
	report.Task = w.openTask(grant).Intent
	return w.house.Desk.TaskCheck(w.ctx, w.as(who), desk.Key{}, grant, report)
}

func (w *world) asked() (countersign.RequestID, countersign.GrantID) {
	w.t.Helper()
	id := w.submit("ana", desk.Asking{Beneficiary: "ana", Entitlements: []string{"archive/files/reader"}, Reason: "old invoices are asked for"})
	w.must(w.approve("max", id))
	w.settle()
	return id, w.grant(id).ID
}

func TestWhatPeopleCarryOutIsLiveAndGoneOnlyWhenASecondPersonHasLooked(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := byHand(t, open, platform)
		id, grant := w.asked()
		task := w.openTask(grant)
		if want := []countersign.IdentityID{w.as("pia").Identity, w.as("pit").Identity}; !slices.Equal(task.Told, want) {
			t.Errorf("asked are %v, want %v: neither who asked nor who approved", task.Told, want)
		}
		w.refused(w.check("pit", grant, desk.TaskReport{Present: true, Reason: "I looked"}), "task-not-done")
		w.refused(w.done("ana", grant), "separation-of-duties")
		w.refused(w.done("max", grant), "separation-of-duties")
		w.refused(w.done("otto", grant), "not-the-fulfiller")
		w.refused(w.done("syd", grant), "no-such-grant")
		w.pass(30 * time.Hour)
		w.must(w.done("pia", grant))
		w.state(id, countersign.RequestFulfilling)
		w.refused(w.check("pia", grant, desk.TaskReport{Present: true, Reason: "I did it"}), "separation-of-duties")
		w.refused(w.check("max", grant, desk.TaskReport{Present: true, Reason: "I looked"}), "separation-of-duties")
		w.refused(w.check("pit", grant, desk.TaskReport{Present: true}), "reason-missing")
		w.refused(w.check("pit", grant, desk.TaskReport{List: []byte("name\nana\n")}), "malformed-list")
		w.must(w.check("pit", grant, desk.TaskReport{List: []byte("login,since\nsyd,2020\n")}))
		if w.openTask(grant).DoneBy != "" {
			t.Error("what was not found stays done")
		}
		w.must(w.done("pia", grant))
		w.must(w.check("pit", grant, desk.TaskReport{List: []byte("login,since\nsyd,2020\nANA,2026\n")}))
		view := w.grant(id)
		if view.State != countersign.GrantLive || view.Assurance != countersign.Listed || view.Until != countersign.InstantOf(w.clock.Now()).Add(10*countersign.Day) {
			t.Errorf("the grant is %s (%s) until %s", view.State, view.Assurance, view.Until)
		}
		w.state(id, countersign.RequestActive)

		w.pass(10 * 24 * time.Hour)
		if view := w.grant(id); view.State != countersign.GrantRevoking {
			t.Fatalf("after its end the grant is %s", view.State)
		}
		w.must(w.done("pit", grant))
		w.must(w.check("pia", grant, desk.TaskReport{Present: true, Reason: "the account is still there"}))
		w.must(w.done("pit", grant))
		w.must(w.check("pia", grant, desk.TaskReport{Present: false, Reason: "looked at the administration page: no such account"}))
		if view := w.state(id, countersign.RequestClosed).Grants[0]; view.State != countersign.GrantGone || view.Assurance != countersign.Attested {
			t.Errorf("the grant is %s (%s)", view.State, view.Assurance)
		}
		w.tells(id, "found the access not there (attested)")
		w.verified()
	})
}

func TestARemovalEscalatesWithoutEndAndWaitsForNoFulfiller(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := byHand(t, open, platform)
		id, grant := w.asked()
		w.must(w.done("pia", grant))
		w.must(w.check("otto", grant, desk.TaskReport{Present: true, Reason: "saw the account"}))
		w.apply("members: [pia, pit, max, ana]", "members: []")
		w.must(w.revocation("ana", grant)())
		w.settle()
		if told := w.openTask(grant).Told; !slices.Contains(told, w.as("otto").Identity) {
			t.Errorf("without a fulfiller %v are told", told)
		}
		for round := 1; round <= 4; round++ {
			w.pass(48 * time.Hour)
			task := w.openTask(grant)
			if admin := slices.Contains(task.Told, w.as("adam").Identity); task.Escalated != round || admin != (round > 1) {
				t.Errorf("round %d: escalated %d, told %v", round, task.Escalated, task.Told)
			}
		}
		refuse := desk.TaskReport{Task: w.openTask(grant).Intent, Reason: "the machine is locked"}
		w.must(w.house.Desk.TaskRefuse(w.ctx, w.as("otto"), desk.Key{}, grant, refuse))
		if view := w.grant(id); view.Parked != nil || view.State != countersign.GrantRevoking {
			t.Errorf("a removal that cannot be done is parked: %+v", view)
		}
		w.must(w.done("otto", grant))
		w.must(w.check("adam", grant, desk.TaskReport{Reason: "no account any more"}))
		w.state(id, countersign.RequestClosed)
		w.verified()
	})
}

func TestATaskThatCannotBeDoneWaitsForTheOwnerAndAWordIsNotEnoughWhereAListIsAskedFor(t *testing.T) {
	w := byHand(t, onSQLite(t), platform+`, attested: "no"`)
	id, grant := w.asked()
	stale := desk.TaskReport{Task: w.openTask(grant).Intent, Reason: "no licence left"}
	w.must(w.house.Desk.TaskRefuse(w.ctx, w.as("pia"), desk.Key{}, grant, stale))
	if parked := w.grant(id).Parked; parked == nil || parked.Person.ID != w.as("otto").Identity {
		t.Fatalf("parked is %+v", parked)
	}
	w.refused(w.done("pia", grant), "task-parked")
	w.must(w.house.Desk.Retry(w.ctx, w.as("otto"), desk.Key{}, grant))
	w.settle()
	w.must(w.done("pia", grant))
	w.refused(w.check("pit", grant, desk.TaskReport{Present: true, Reason: "saw it"}), "list-needed")
	w.must(w.revocation("ana", grant)())
	w.settle()
	w.refused(w.house.Desk.TaskDone(w.ctx, w.as("pia"), desk.Key{}, grant, stale), "another-task")
	w.verified()
}

// Who is to lose access has everybody who could take it away stand in, once.
func TestNobodyKeepsTheirAccessByHavingOthersStandIn(t *testing.T) {
	w := byHand(t, onSQLite(t), platform)
	id, grant := w.asked()
	w.must(w.done("pia", grant))
	w.must(w.check("pit", grant, desk.TaskReport{Present: true, Reason: "saw the account"}))
	for _, to := range []string{"pia", "pit", "otto"} {
		if _, err := w.delegate("ana", to, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.must(w.revocation("otto", grant)())
	w.settle()
	w.must(w.done("pia", grant))
	w.must(w.check("pit", grant, desk.TaskReport{Reason: "no account any more"}))
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestWhoSortedADescriptionCarriesNothingOfItOut(t *testing.T) {
	w := byHand(t, onSQLite(t), `fulfiller: person(oda), witness: group(platform-leads)`)
	id := w.describe("ana", "I have to look at the invoices of last year, can somebody help me?")
	w.must(w.classify("oda", id, "archive/files/reader"))
	w.must(w.approve("max", id))
	w.settle()
	grant := w.grant(id).ID
	w.refused(w.done("oda", grant), "separation-of-duties")
}

func TestWhoLeftBetweenApprovalAndTaskGetsNothing(t *testing.T) {
	w := byHand(t, onSQLite(t), platform)
	id, grant := w.asked()
	w.must(w.house.Desk.Suspend(w.ctx, w.as("adam"), desk.Key{}, "max", "is being looked into", false))
	w.refused(w.done("pia", grant), "not-given-any-more")
	w.settle()
	if view := w.grant(id); view.State != countersign.GrantRevoking || !strings.Contains(view.Ending, "not active") {
		t.Errorf("the grant is %s: %s", view.State, view.Ending)
	}
}

func TestSettingsThatNameNobodyAreRefusedWithTheRequest(t *testing.T) {
	for settings, want := range map[string]string{
		"fulfiller: group(nobody)":                       "no-fulfiller",
		"fulfiller: anybody":                             "cannot-be-carried-out",
		"fulfiller: group(security), filler: x":          "cannot-be-carried-out",
		`fulfiller: group(security), within: "100 days"`: "cannot-be-carried-out",
	} {
		w := byHand(t, onSQLite(t), settings)
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, desk.Asking{Beneficiary: "ana", Entitlements: []string{"archive/files/reader"}, Reason: "old invoices are asked for"})
		if countersign.ReasonOf(err) != want {
			t.Errorf("%s: got %q (%v), and it should be %q", settings, countersign.ReasonOf(err), err, want)
		}
	}
}

// The list of accounts still has the name under which the access was given, which is
// not the holder's any more: it is not gone.
func TestAnAccountIsNotGoneBecauseItsHolderIsCalledOtherwiseNow(t *testing.T) {
	w := byHand(t, onSQLite(t), `fulfiller: group(platform-leads), within: 2d, column: email, handle: email`)
	id, grant := w.asked()
	w.must(w.done("pia", grant))
	w.must(w.check("pit", grant, desk.TaskReport{List: []byte("email\nana@test.example\n")}))
	w.together("email: ana@test.example", "email: ana.married@test.example")
	w.must(w.revocation("ana", grant)())
	w.settle()
	w.must(w.done("pia", grant))
	tasks, err := w.house.Desk.Tasks(w.ctx, w.as("pit"))
	w.must(err)
	if len(tasks) != 1 || !slices.Equal(tasks[0].GivenTo, []string{"ana@test.example"}) || tasks[0].Account != "ana.married@test.example" {
		t.Fatalf("the task is %+v", tasks)
	}
	for _, list := range []string{"email\nana@test.example\n", "email\nana.married@test.example\n"} {
		w.must(w.check("pit", grant, desk.TaskReport{List: []byte(list)}))
		if view := w.grant(id); view.State != countersign.GrantRevoking {
			t.Fatalf("the account is on the list %q, and the grant is %s", list, view.State)
		}
		w.must(w.done("pia", grant))
	}
	w.must(w.check("pit", grant, desk.TaskReport{List: []byte("email\nsyd@test.example\n")}))
	w.state(id, countersign.RequestClosed)
	w.verified()
}
