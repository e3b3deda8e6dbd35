package house_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
)

func TestOnePersonFillsNoTwoQuorumsByStandingIn(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: both, quorum: [{approvers: [group(platform-leads)]}, {approvers: [group(security)]}], within: 2 business days}`, ""))
	_, err := w.delegate("syd", "pia", nil)
	w.must(err)
	id := w.submit("ana", asking())
	w.must(w.approve("pia", id))
	w.state(id, countersign.RequestDeciding)
}

func TestAnAmendmentAfterTheOwnerChangedAsksForConsentAndGoesOn(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	a := asking()
	a.Beneficiary = "svc"
	id := w.submit("ana", a)
	w.must(w.house.Desk.Consent(w.ctx, w.as("olga"), desk.Key{}, id))
	w.state(id, countersign.RequestDeciding)
	w.together("{login: svc, name: Service A, owner: olga,", "{login: svc, name: Service A, owner: otto,", "{key: SR-1, title: Invoicing, owner: olga,", "{key: SR-1, title: Invoicing, owner: otto,")
	w.must(w.amend("ana", id, func(x *desk.Asking) { x.Beneficiary = "svc"; x.Duration = 5 * countersign.Day }))
	t.Logf("after amend: %s consent %+v", w.view(id).State, w.view(id).Consent)
	t.Logf("consent by the new owner: %v", w.house.Desk.Consent(w.ctx, w.as("otto"), desk.Key{}, id))
	w.must(w.approve("max", id))
	w.settle()
	for range 10 {
		w.pass(20 * 24 * time.Hour)
	}
	if v := w.view(id); v.State == countersign.RequestDeciding {
		t.Fatalf("200 days later it is still %s, stage %s, waits for %q; consent: %v", v.State, v.Stages[0].State, v.WaitsFor, w.house.Desk.Consent(w.ctx, w.as("otto"), desk.Key{}, id))
	}
}

// 3. Break-glass access extended by an ordinary type: its review goes away with the end.
const editorOrdinary = `
request: wiki-editor
title: Wiki editor
grants: {system: wiki, kind: role, entitlement: editor}
beneficiary: [person]
priority: 1
limits: {duration: {default: 30d, max: 90d}}
stages: [{name: manager, approvers: [manager-of(requester)]}]
fulfil: [role.assign]
`

func TestBreakGlassAccessIsExtendedByNoType(t *testing.T) {
	w := found(t, onSQLite(t), eligibilityPolicy, breakGlassPolicy, editorOrdinary, builtInTickets)
	e := w.submit("ana", desk.Asking{Type: "on-call", Entitlements: []string{"wiki/space/editor-on-call"}, Reason: "on call this quarter"})
	w.must(w.approve("max", e))
	w.settle()
	id := w.submit("ana", emergency(w.incident()))
	w.settle()
	w.state(id, countersign.RequestActive)
	g := w.grant(id)
	ext, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, desk.Asking{Type: "wiki-editor", Entitlements: []string{"wiki/space/editor"}, Reason: "a bit longer", Extends: g.ID, Duration: 60 * countersign.Day})
	if err == nil {
		w.must(w.approve("max", ext))
		w.settle()
		w.pass(50 * 24 * time.Hour)
		t.Logf("50 days later the emergency (at most 4h) is %s, its review %s, access until %s", w.view(id).State, w.view(id).Stages[1].State, w.grant(id).Until)
	}
	w.refused(err, "cannot-extend")
}

func TestASuspensionByTheDirectoryIsTakenBackByNoCommand(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.apply("{login: ana, name: Ana Asker,", "{login: ana, name: Ana Asker, status: suspended,")
	w.refused(w.house.Desk.Reactivate(w.ctx, w.as("max"), desk.Key{}, "ana", "she stays"), "suspended-by-directory")
	w.refused(w.house.Desk.Reactivate(w.ctx, w.as("adam"), desk.Key{}, "ana", "she stays"), "suspended-by-directory")
	w.must(w.house.Desk.Suspend(w.ctx, w.as("max"), desk.Key{}, "ana", "she leaves", true))
	w.refused(w.house.Desk.Reactivate(w.ctx, w.as("adam"), desk.Key{}, "ana", "she stays"), "suspended-by-directory")
}

func TestTheRequesterKeepsNoManagerOutByADelegation(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: manager, approvers: [manager-of(requester)], else: [person(otto)], within: 2 business days}`, ""))
	_, err := w.delegate("ana", "max", nil)
	w.refused(err, "decides-on-you")
	id := w.submit("ana", asking())
	w.refused(w.approve("otto", id), "not-an-approver")
}

func TestNobodyDecidesInThePlaceOfSomebodyUnderAHold(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, err := w.delegate("max", "otto", nil)
	w.must(err)
	id := w.submit("ana", asking())
	_, err = w.hold("adam", "max", false)
	w.must(err)
	if err := w.approve("otto", id); err == nil {
		t.Fatal("approved in the name of somebody under a hold")
	}
}

func TestAFalseDeclarationIsFoundNotInOrderWithoutItsEvidence(t *testing.T) {
	w := onCall(t, onSQLite(t), deadTickets)
	id := w.submit("ana", emergency("INC-1"))
	w.settle()
	w.pass(time.Hour)
	w.state(id, countersign.RequestClosing)
	if err := w.review("pia", id, countersign.NotInOrder); err != nil {
		t.Fatal(err)
	}
}

func TestEvidenceOfAnEndedRequestIsReadByNobodyElse(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "evidence: [{name: plan, kind: text, due: at-request}]\n"), keysPolicy)
	a := asking()
	a.Evidence = []desk.EvidenceContent{{Slot: "plan", Content: []byte("first the backups")}}
	_, err := w.delegate("ana", "sue", func(a *desk.Delegating) { a.Types = []string{"keys"} })
	w.must(err)
	id := w.submit("ana", a)
	_, err = w.house.Desk.OpenEvidence(w.ctx, w.as("sue"), id, "plan")
	t.Logf("while open: %v", err)
	w.must(w.deny("max", id))
	content, err := w.house.Desk.OpenEvidence(w.ctx, w.as("sue"), id, "plan")
	if err == nil {
		t.Fatalf("a delegate for another type reads %q", content)
	}
}

func TestARetirementDoesNotWaitForAParkedExtension(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, grant := w.active(managerStage)
	w.must(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, countersign.Day, "new key"))
	w.settle()
	id := w.submit("ana", extension(grant.ID, 20*countersign.Day))
	w.must(w.approve("max", id))
	w.target.SetFaults(noop.Faults{Reject: true})
	w.settle() // parked
	w.target.SetFaults(noop.Faults{})
	w.pass(25 * time.Hour)
	w.state(id, countersign.RequestFailed)
	for i, credential := range w.stored(grant.ID).Credentials {
		if want := []countersign.CredentialState{countersign.CredentialGone, countersign.CredentialLive}[i]; credential.State != want {
			t.Errorf("the credential %d is %s, want %s", i+1, credential.State, want)
		}
	}
	w.verified()
}

func TestOneItemHoldsUpNoOthersOfItsBatch(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.house.Desk.Connectors["noop"] = lame{w.target}
	id, err := w.house.Desk.SubmitMany(w.ctx, w.as("max"), desk.Key{}, desk.ManyAsking{Beneficiaries: []string{"ana", "otto", "olga"}, Entitlements: []string{"ledger/vaults/read", "ledger/books/read"}, Reason: "the course begins"})
	w.must(err)
	for range 300 {
		_, last := w.house.Engine.Batches(w.ctx)
		err = errors.Join(last)
		w.clock.move(10 * time.Minute)
		w.must(w.house.Engine.Beat(w.ctx))
	}
	view, _ := w.house.Desk.Batch(w.ctx, w.as("max"), id)
	if view.Opened < 3 {
		t.Fatalf("two days later %d of 3 good items are opened, %d refused, done %v; the last step said %v", view.Opened, view.Refused, view.Done, err)
	}
}

type lame struct{ connector.Connector }

func (l lame) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	if task.Resource == "vaults" {
		return connector.Plan{}, &connector.Failure{Kind: connector.Transient, Message: "nobody answers"}
	}
	return l.Connector.Plan(ctx, task)
}

func (w *world) contractor() {
	w.together("{login: ana, name: Ana Asker, email: ana@test.example, manager: max}", "{login: ana, name: Ana Asker, email: ana@test.example, manager: max, affiliation: contractor, sponsor: otto, contract_end: 2027-11-20}")
}

func TestAnAmendmentKeepsNoPassOfARuleThatHoldsNoLonger(t *testing.T) {
	w := found(t, onSQLite(t), policyFor("- {name: security, automatic: 'beneficiary.affiliation == \"employee\"', approvers: [group(security)]}\n"+managerStage, ""))
	id := w.submit("ana", asking())
	w.contractor()
	w.must(w.amend("ana", id, func(a *desk.Asking) { a.Duration = 5 * countersign.Day }))
	if s := w.view(id).Stages[0]; s.State == countersign.StagePassed {
		t.Fatalf("nobody decided the stage, and its rule is false: %+v", s)
	}
}

func TestAnAmendmentOpensNoEarlierStageAfterALaterOne(t *testing.T) {
	w := found(t, onSQLite(t), policyFor("- {name: first, when: 'beneficiary.affiliation == \"contractor\"', approvers: [group(platform-leads)]}\n- {name: leads, approvers: [group(platform-leads)], distinct_from: [first]}", ""))
	id := w.submit("ana", asking())
	w.contractor()
	w.must(w.amend("ana", id, func(a *desk.Asking) { a.Duration = 5 * countersign.Day }))
	t.Logf("first %s, leads %s", w.view(id).Stages[0].State, w.view(id).Stages[1].State)
	w.must(w.approve("pia", id))
	t.Logf("first %s, leads %s", w.view(id).Stages[0].State, w.view(id).Stages[1].State)
	if err := w.approve("pia", id); err == nil {
		t.Fatalf("Pia decided both stages: %s", w.view(id).State)
	}
}

func TestAPersonAndWhoStandsInLiftNoBlockAsTwo(t *testing.T) {
	w := onCall(t, onSQLite(t), builtInTickets)
	id := w.submit("ana", emergency(w.incident()))
	w.settle()
	w.pass(time.Hour)
	_, err := w.delegate("pia", "olga", nil)
	w.must(err)
	w.pass(25 * time.Hour)
	for _, who := range []string{"pia", "olga"} {
		_ = w.house.Desk.Unblock(w.ctx, w.as(who), desk.Key{}, id, "the wiki burns again")
	}
	w.refused(w.tryEmergency("ana", w.incident()), "review-overdue")
}

func TestWhoWasStoodInForCountsLikeWhoDecided(t *testing.T) {
	w := found(t, onSQLite(t), policyFor("- {name: first, approvers: [person(otto)]}\n- {name: leads, approvers: [group(platform-leads)]}", ""))
	_, err := w.delegate("otto", "sue", nil)
	w.must(err)
	a := asking()
	a.Beneficiary = "svc"
	id := w.submit("ana", a)
	w.must(w.house.Desk.Consent(w.ctx, w.as("olga"), desk.Key{}, id))
	w.must(w.approve("sue", id))
	w.together("{login: svc, name: Service A, owner: olga,", "{login: svc, name: Service A, owner: otto,", "{key: SR-1, title: Invoicing, owner: olga,", "{key: SR-1, title: Invoicing, owner: otto,")
	err = w.approve("pia", id)
	w.settle()
	t.Logf("it is %s, holds %v", w.view(id).State, w.holds(id))
	w.refused(err, "separation-of-duties")
}

func TestTheAuthorKeepsNoReviewerOutByADelegation(t *testing.T) {
	w := onCall(t, onSQLite(t), builtInTickets)
	incident := w.incident()
	id := w.submit("ana", emergency(incident))
	w.settle()
	for _, who := range []string{"pit", "both"} {
		_, err := w.delegate("ana", who, nil)
		w.must(err)
	}
	w.resolve(incident)
	w.pass(time.Hour)
	if asked := w.view(id).Stages[1].Asked; len(asked) < 3 {
		t.Fatalf("Ana left %d reviewer: %+v", len(asked), asked)
	}
}

func TestAnAnswerAfterTheDeadlineRevivesNothing(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.must(w.house.Desk.Ask(w.ctx, w.as("max"), desk.Key{}, id, "why?"))
	w.move(30 * 24 * time.Hour)
	w.must(w.house.Desk.Answer(w.ctx, w.as("ana"), desk.Key{}, id, "because"))
	w.settle()
	w.state(id, countersign.RequestDenied)
}
