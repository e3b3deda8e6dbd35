package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// What a verdict relied on changes between judging and committing: the verdict
// is taken again, and never committed as it was.
func TestWhatAVerdictReliedOnChangesBeforeItsCommitAndTheVerdictIsTakenAgain(t *testing.T) {
	for _, test := range []struct {
		name, old, new, reason string
	}{
		{"the membership", "{name: security-eu-north, members: [sue]}", "{name: security-eu-north, members: []}", "no-such-request"},
		{"a group on the path to it", "members: [sam], groups: [security-eu-north]}", "members: [sam]}", "no-such-request"},
		{"the approver is suspended", "{login: sue, name: Sue Security,", "{login: sue, name: Sue Security, status: suspended,", "no-such-request"},
		{"the beneficiary is suspended", "{login: svc, name: Service A,", "{login: svc, name: Service A, status: suspended,", "inactive"},
		{"the owner is suspended", "{login: olga, name: Olga Owner,", "{login: olga, name: Olga Owner, status: suspended,", "inactive"},
		{"an attribute that a rule asks for", "sends the invoices of the month", "sends nothing any more", "refused-by-policy"},
		{"the entitlement", "- {name: read, kind: credential}\n          - {name: write", "- {name: read, title: All of it, kind: credential}\n          - {name: write", "shown-has-changed"},
		{"the entitlement goes", "- {name: read, kind: credential}\n          - {name: write", "- {name: write", "shown-has-changed"},
		{"something else", "{login: nomad, name: Nomad Nomanager,", "{login: nomad, name: Nomad Somebody,", ""},
		{"another membership", "{name: reviewers, members: [both, pia]}", "{name: reviewers, members: [both]}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := func(t *testing.T, open database) {
				w := found(t, open, policyFor(`- {name: security, approvers: [group(security)]}`, "refuse: [{when: 'beneficiary.purpose == \"sends nothing any more\"', because: '\"not for nothing\"'}]"))
				id := w.submit("olga", desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
				approval := w.approval("sue", id)
				w.before(func() { w.apply(test.old, test.new) })
				if test.reason == "" {
					w.must(approval())
					w.state(id, countersign.RequestFulfilling)
				} else {
					w.refused(approval(), test.reason)
					if decisions := w.view(id).Stages[0].Decisions; len(decisions) != 0 {
						t.Errorf("%v was committed", decisions)
					}
				}
				w.settle()
				w.verified()
			}
			// Both databases compare guards alike; their own tests prove it for each.
			if test.reason == "no-such-request" {
				everyDatabase(t, run)
			} else {
				run(t, onSQLite(t))
			}
		})
	}
}

func TestWhatASubmitReliedOnChangesBeforeItsCommit(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		happen       func(w *world)
	}{
		{"the manager is suspended", "no-approver", func(w *world) {
			w.apply("{login: max, name: Max Manager,", "{login: max, name: Max Manager, status: suspended,")
		}},
		{"there is another manager rule now", "route-moved", func(w *world) {
			w.together("{login: ana, name: Ana Asker, email: ana@test.example, manager: max}", "{login: ana, name: Ana Asker, email: ana@test.example}")
		}},
		{"the limit is reached", "too-many-open", func(w *world) {
			w.submit("ana", desk.Asking{Entitlements: []string{"ledger/books/write"}, Reason: "the books of the month are due"})
		}},
		{"somebody was faster", "duplicate-request", func(w *world) { w.submit("ana", asking()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			everyDatabase(t, func(t *testing.T, open database) {
				stage, limit := managerStage, "open_per_holder: 1"
				switch test.reason {
				case "route-moved":
					stage = `- {name: manager, approvers: [manager-of(requester)], else: [group(security)]}`
				case "duplicate-request":
					limit = "open_per_holder: 5"
				}
				w := found(t, open, strings.Replace(policyFor(stage, ""), "open_per_holder: 5", limit, 1))
				agreed := asking()
				preview, err := w.house.Desk.Preview(w.ctx, w.as("ana"), agreed)
				w.must(err)
				agreed.Route = preview.Route
				w.before(func() { test.happen(w) })
				_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, agreed)
				w.refused(err, test.reason)
				w.verified()
			})
		})
	}
}

func TestWhatKeepsChangingIsAConflictAfterTwelveTries(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	approval, tries := w.approval("max", id), 0
	guard := store.GuardHolder(w.as("ana").Identity)
	var change func()
	change = func() {
		tries++
		versions, err := w.house.Store.Guards(w.ctx, []string{guard})
		w.must(err)
		w.must(w.house.Store.Commit(w.ctx, store.Change{Guards: []store.Guard{{Key: guard, Version: versions[guard], Next: versions[guard] + 1}}}))
		w.before(change)
	}
	w.before(change)
	w.refused(approval(), "changed-meanwhile")
	w.between.Store(nil)
	if tries != 12 {
		t.Errorf("it was tried %d times", tries)
	}
	w.must(approval())
	w.verified()
}

func TestAnApplyIsClaimedBetweenARevokesJudgementAndItsCommit(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		var claimed []store.Work
		w.before(func() { claimed = w.claim() })
		w.must(w.revocation("ana", grant.ID)())
		ending := w.stored(grant.ID)
		if ending.State != countersign.GrantRevoking || ending.Intent.After != grant.Intent.ID || ending.Intent.NotBefore != claimed[0].LeaseUntil || !ending.Intent.Again {
			t.Fatalf("the revoke does not wait for the claimed apply: %+v", ending.Intent)
		}
		w.must(w.house.Engine.Deliver(w.ctx, claimed[0]))
		w.settle()
		w.pass(61 * time.Second)
		w.pass(61 * time.Second)
		w.state(id, countersign.RequestFailed)
		if w.holds(id) {
			t.Error("the target holds what was revoked")
		}
		w.verified()
	})
}

// An end that comes from outside is not lost to a timer that was judged before.
func TestADepartureBetweenATimersJudgementAndItsCommitIsNotLost(t *testing.T) {
	for name, remind := range map[string]string{"a look that finds nothing": "", "a reminder": ", remind: 9d"} {
		t.Run(name, func(t *testing.T) {
			everyDatabase(t, func(t *testing.T, open database) {
				w := found(t, open, strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke", "grant: {ends: revoke"+remind, 1))
				id, grant := w.approved(asking())
				w.settle()
				w.move(25 * time.Hour)
				work, err := w.house.Store.Work(w.ctx, string(grant.ID))
				w.must(err)
				w.before(func() { w.apply("{login: ana, name: Ana Asker,", "{login: ana, name: Ana Asker, status: departed,") })
				w.must(w.house.Desk.WakeGrants(w.ctx, []store.Work{work}, nil))
				w.settle()
				w.state(id, countersign.RequestClosed)
				if w.holds(id) {
					t.Error("the target holds what somebody who left was given")
				}
				w.verified()
			})
		})
	}
}

func TestAnUnusedAccessWhoseTargetCannotTellNeitherEndsNorKeepsTheEngineBusy(t *testing.T) {
	w := found(t, onSQLite(t), strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke", "grant: {ends: revoke, ends_when: [unused(1h)]", 1))
	short := asking()
	short.Duration = 3*countersign.Hour + 30*countersign.Minute
	id, _ := w.approved(short)
	w.settle()
	for range 3 {
		w.pass(time.Hour)
		w.state(id, countersign.RequestActive)
	}
	w.pass(30 * time.Minute)
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestATimerThatFoundNothingDoesNotPutOffWhatBecameDueMeanwhile(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke", "grant: {ends: revoke, ends_when: [unused(1h)]", 1))
		_, grant := w.approved(asking())
		w.settle()
		w.move(time.Hour)
		works, err := w.house.Store.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "test", Kinds: []store.WorkKind{store.GrantWork}, Limit: 10, Lease: desk.Lease})
		w.must(err)
		if len(works) != 1 || works[0].Ref != string(grant.ID) {
			t.Fatalf("%v are due", works)
		}
		w.before(func() {
			w.must(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, 10*countersign.Minute, ""))
			w.settle()
		})
		w.must(w.house.Desk.WakeGrants(w.ctx, works, nil))
		w.pass(10 * time.Minute)
		rotated := w.stored(grant.ID)
		if len(rotated.Credentials) != 2 || w.target.Holds(rotated.Credentials[0].ID) || !w.target.Holds(rotated.Credentials[1].ID) {
			t.Errorf("after the overlap: %+v", rotated.Credentials)
		}
		w.verified()
	})
}
