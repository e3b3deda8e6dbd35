package house_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const twoOfSecurity = `- {name: security, approvers: [group(security)], need: 2}`

// logins lists who can still decide the stage.
func logins(stage desk.StageView) string {
	var names []string
	for _, ref := range stage.CanStillDecide {
		names = append(names, ref.Login)
	}
	return strings.Join(names, " ")
}

func TestAfterOneOfTwoTheRequestIsPendingAndSaysWhoCanStillDecide(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(twoOfSecurity, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("sam", id))
	view := w.state(id, countersign.RequestDeciding)
	if stage := view.Stages[0]; stage.StillNeeded != 1 || logins(stage) != "syd sue" {
		t.Errorf("%d are needed, of %s", stage.StillNeeded, logins(stage))
	}
	if want := `1 more approval(s) in the stage "security", by Syd Security, Sue Security`; view.WaitsFor != want {
		t.Errorf("it waits for %q, want %q", view.WaitsFor, want)
	}
	w.must(w.approve("sue", id))
	w.state(id, countersign.RequestFulfilling)
	w.verified()
}

func TestTheSamePersonTwiceCountsOnceAlsoAtTheSameInstant(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(twoOfSecurity, ""))
		for range 12 {
			id := w.submit("ana", asking())
			for _, err := range race(w.approval("syd", id), w.approval("syd", id), w.approval("syd", id)) {
				w.must(err)
			}
			view := w.state(id, countersign.RequestDeciding)
			if stage := view.Stages[0]; len(stage.Decisions) != 1 || stage.StillNeeded != 1 {
				t.Fatalf("%d decisions of one person, %d still needed", len(stage.Decisions), stage.StillNeeded)
			}
			w.must(w.deny("sam", id))
		}
		w.verified()
	})
}

func TestWhoApprovedCannotDenyTheSameStageAndIsToldSo(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(twoOfSecurity, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("syd", id))
	w.refused(w.deny("syd", id), "decided-already")
	w.state(id, countersign.RequestDeciding)
}

func TestMoreApprovalsThanAQuorumNeedsStillSettleTheStage(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: both, quorum: [{approvers: [group(platform-leads)]}, {approvers: [group(security)]}]}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("pit", id))
	w.must(w.approve("pia", id))
	w.must(w.approve("both", id))
	if view := w.state(id, countersign.RequestDeciding); view.Stages[0].StillNeeded != 1 {
		t.Errorf("three of one group and none of the other: %d still needed", view.Stages[0].StillNeeded)
	}
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestMoreApprovalsAtTheSameInstantThanNeededSettleItOnce(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(twoOfSecurity, ""))
		for range 12 {
			id := w.submit("ana", asking())
			counted := 0
			for _, err := range race(w.approval("syd", id), w.approval("sam", id), w.approval("sue", id)) {
				if err == nil {
					counted++
				} else {
					w.refused(err, "already-decided")
				}
			}
			w.settle()
			view := w.state(id, countersign.RequestActive)
			if counted != 2 || len(view.Stages[0].Decisions) != 2 || len(view.Grants) != 1 {
				t.Fatalf("%d were told that they count, %d count, %d grants", counted, len(view.Stages[0].Decisions), len(view.Grants))
			}
			w.must(w.revocation("ana", view.Grants[0].ID)())
			w.settle()
		}
		w.verified()
	})
}

func TestForTwoGroupsTwoPeopleAreNeededAlsoWhereOneIsInBoth(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: both, quorum: [{approvers: [group(platform-leads)]}, {approvers: [group(reviewers)]}]}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("both", id))
	w.must(w.approve("both", id))
	if view := w.state(id, countersign.RequestDeciding); view.Stages[0].StillNeeded != 1 {
		t.Fatalf("one person in both groups leaves %d needed", view.Stages[0].StillNeeded)
	}
	// Pit is in one of the two groups only: Bo moves to the seat of the other.
	w.must(w.approve("pit", id))
	w.state(id, countersign.RequestFulfilling)
	w.verified()
}

func TestADenialEndsTheRequestAlsoAfterApprovalsWithItsReason(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage+"\n"+`- {name: security, approvers: [group(security)], need: 3}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.must(w.approve("syd", id))
	w.must(w.approve("sam", id))
	err := w.house.Desk.Deny(w.ctx, w.as("sue"), desk.Key{}, id, desk.Decision{Shown: w.shown(id)})
	w.refused(err, "reason-missing")
	w.must(w.house.Desk.Deny(w.ctx, w.as("sue"), desk.Key{}, id, desk.Decision{Shown: w.shown(id), Reason: "the books are closed"}))
	view := w.state(id, countersign.RequestDenied)
	if view.Outcome != "the books are closed" || len(view.Grants) != 0 {
		t.Errorf("it ended as %q with %d grants", view.Outcome, len(view.Grants))
	}
	w.settle()
	if w.target.Total() != 0 {
		t.Error("a denied request reached the target")
	}
	w.tells(id, "denied in the stage \"security\" by group(security): the books are closed")
	w.refused(w.approve("sue", id), "already-denied")
	w.verified()
}

func TestStandingIsCheckedWhenThePersonDecides(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(twoOfSecurity, ""))
	id := w.submit("ana", asking())
	syd, sam := w.approval("syd", id), w.approval("sam", id)
	w.apply("{name: security, members: [syd], groups", "{name: security, members: [], groups")
	w.refused(syd(), "no-such-request")
	w.apply("{login: sam, name: Sam Security,", "{login: sam, name: Sam Security, status: suspended,")
	w.refused(sam(), "no-such-request")
	// One of three is left where two are needed: nobody waits for what cannot come.
	w.settle()
	view := w.state(id, countersign.RequestDenied)
	if !strings.Contains(view.Outcome, "Nobody is left") {
		t.Errorf("it ended as %q", view.Outcome)
	}
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asking())
	w.refused(err, "too-few-approvers")
	w.verified()
}

func TestSomebodyDeactivatedIsNotAsked(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: security, approvers: [group(security)]}`, ""))
	open := w.submit("ana", asking())
	w.apply("{login: sam, name: Sam Security,", "{login: sam, name: Sam Security, status: suspended,")
	w.settle()
	other := asking()
	other.Entitlements = []string{"ledger/books/write"}
	for _, id := range []countersign.RequestID{open, w.submit("ana", other)} {
		if stage := w.view(id).Stages[0]; logins(stage) != "syd sue" {
			t.Errorf("it asks %s", logins(stage))
		}
	}
	w.tells(open, "asks other people now")
}

func TestGroupsAreResolvedThroughNestedGroups(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: security, approvers: [group(security)]}`, ""))
	id := w.submit("ana", asking())
	late := w.submit("olga", desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.must(w.approve("sue", id))
	w.state(id, countersign.RequestFulfilling)
	// The group in the middle leaves, and with it all who were in by it.
	sue := w.approval("sue", late)
	w.apply("{name: security, members: [syd], groups: [security-eu]}", "{name: security, members: [syd]}")
	w.refused(sue(), "no-such-request")
	w.must(w.approve("syd", late))
	w.verified()
}

func TestWhoIsNoApproverCanNeitherDecideNorRead(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	for _, stranger := range []string{"syd", "bea", "adam", "nomad", "agent", "svc", "cora"} {
		caller := w.as(stranger)
		w.refused(w.approve(stranger, id), "no-such-request")
		w.refused(w.deny(stranger, id), "no-such-request")
		w.refused(w.house.Desk.Consent(w.ctx, caller, desk.Key{}, id), "no-such-request")
		w.refused(w.house.Desk.Attach(w.ctx, caller, desk.Key{}, id, desk.EvidenceContent{Slot: "x", Content: []byte("x")}), "no-such-request")
		w.refused(w.cancellation(stranger, id)(), "no-such-request")
		_, err := w.house.Desk.Request(w.ctx, caller, id)
		w.refused(err, "no-such-request")
		_, err = w.house.Desk.Timeline(w.ctx, caller, id)
		w.refused(err, "no-such-request")
		lines, err := w.house.Desk.Requests(w.ctx, caller, desk.RequestFilter{})
		w.must(err)
		if len(lines) != 0 {
			t.Errorf("%s sees it in a list", stranger)
		}
	}
	// An auditor and the system's owner may read, and decide nothing.
	for _, reader := range []string{"aud", "otto"} {
		w.refused(w.approve(reader, id), "not-an-approver")
		w.refused(w.deny(reader, id), "not-an-approver")
	}
	w.must(w.approve("max", id))
	w.settle()
	grant := w.grant(id).ID
	for _, stranger := range []string{"syd", "bea", "agent"} {
		w.refused(w.revocation(stranger, grant)(), "no-such-grant")
		_, err := w.house.Desk.Grant(w.ctx, w.as(stranger), grant)
		w.refused(err, "no-such-grant")
	}
	w.refused(w.revocation("aud", grant)(), "not-entitled-to-revoke")
	w.verified()
}

func TestADecisionIsBoundToWhatWasShown(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerThenSecurity, "evidence: [{name: ticket, kind: ticket, due: at-request}]"))
	late := asking()
	id := w.submit("ana", late)
	w.refused(w.approve("max", id), "not-complete")
	w.must(w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "ticket", Content: []byte("OPS-1")}))
	for _, shown := range []countersign.Digest{"", "sha256:00"} {
		err := w.house.Desk.Approve(w.ctx, w.as("max"), desk.Key{}, id, desk.Decision{Shown: shown})
		w.refused(err, "shown-has-changed")
	}
	approval := w.approval("max", id)
	// What is asked for means something else now.
	w.apply("{name: read, kind: credential}\n          - {name: write", "{name: read, title: Read everything, kind: credential}\n          - {name: write")
	w.refused(approval(), "shown-has-changed")
	w.must(w.approve("max", id))
	w.verified()
}

// A decision sent twice must never decide a second stage that opened meanwhile.
func TestADecisionSentTwiceDoesNotDecideTheStageThatItOpened(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: first, approvers: [manager-of(requester)]}
- {name: second, approvers: [manager-of(requester)]}`, ""))
	id := w.submit("ana", asking())
	first := w.approval("max", id)
	w.must(first())
	w.must(first())
	view := w.state(id, countersign.RequestDeciding)
	if len(view.Stages[1].Decisions) != 0 {
		t.Fatal("the repeated decision decided the next stage")
	}
	w.must(w.approve("max", id))
	w.state(id, countersign.RequestFulfilling)
	w.must(first())
	w.verified()
}

// What a caller says of the version is compared in the commit: a change in between
// is not passed over.
func TestACommandForAnotherVersionThanTheCallerSawIsRefusedInItsCommit(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: security, approvers: [group(security)], need: 2}`, ""))
	id := w.submit("ana", asking())
	saw := w.view(id).Version
	match := func(version int64) error {
		if version != saw {
			return countersign.Errorf(countersign.Conflict, "precondition-failed", "It is version %d by now.", version)
		}
		return nil
	}
	w.before(func() { w.must(w.approve("sam", id)) })
	decision := desk.Decision{Shown: w.shown(id)}
	w.refused(w.house.Desk.Approve(w.ctx, w.as("syd"), desk.Key{Match: match}, id, decision), "precondition-failed")
	if decisions := w.view(id).Stages[0].Decisions; len(decisions) != 1 {
		t.Errorf("the decisions are %+v", decisions)
	}
	w.verified()
}
