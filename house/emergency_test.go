package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// emergencyPower lets Ana, who is eligible, take the power to change the policy
// alone, by break-glass.
const emergencyPower = `
request: emergency-power
title: The policy in an emergency
priority: -10
grants: {system: countersign, kind: role, entitlement: emergency-policy-author}
beneficiary: [person]
ask: {incident: {type: string}}
limits: {duration: {default: 1h, max: 4h}}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
  - {name: closed-ticket, kind: ticket, ticket: closed, due: at-closure, verified_by: incidents, from: incident, within: 2 business days}
break_glass: {declared: true, tell: [group(security)]}
stages: [{name: at-once, automatic: "true"}]
fulfil: [role.assign]
review:
  reviewers: [group(platform-leads)]
  within: 1 business day
  then: {escalate_to: [person(bea)], within: 1 business day}
`

const onCallForPolicy = `
request: on-call
title: Eligible for the policy
grants: {system: countersign, kind: role, entitlement: policy-on-call}
beneficiary: [person]
limits: {duration: {default: 90d, max: 90d}}
stages: [{name: manager, approvers: [manager-of(requester)]}]
fulfil: [role.assign]
`

// emergencyStage asks Ana, too.
const emergencyStage = `- {name: manager, approvers: [manager-of(requester), person(ana)], within: 2 business days}`

// emergencies founds a house in which Ana has taken the power.
func emergencies(t *testing.T, open database) *world {
	w := empty(t, open)
	w.edit("{name: operator, kind: role}]", "{name: operator, kind: role}, {name: emergency-policy-author, kind: role}, {name: policy-on-call, kind: role, eligible_for: emergency-policy-author}]")
	w.must(w.found(w.policies(emergencyStage)...))
	w.settle()
	id := w.submit("ana", desk.Asking{Entitlements: []string{"countersign/house/policy-on-call"}, Reason: "on call this quarter"})
	w.must(w.approve("max", id))
	w.settle()
	w.submit("ana", desk.Asking{Type: "emergency-power", Entitlements: []string{"countersign/house/emergency-policy-author"}, Reason: "the route leads to nobody", Answers: []byte(`{"incident":"` + w.incident() + `"}`)})
	w.settle()
	return w
}

func (w *world) policies(stages string) []string {
	return []string{policyFor(stages, ""), emergencyPower, onCallForPolicy, builtInTickets}
}

func (w *world) enforce(who string, id countersign.ProposalID, reason string) error {
	return w.house.Desk.Enforce(w.ctx, w.as(who), desk.Key{}, id, desk.ProposalDecision{Shown: w.proposal(who, id).Shown, Reason: reason})
}

func TestAnEmergencyChangeIsInForceAtOnceAndLapsesUnlessASecondPersonConfirms(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := emergencies(t, open)
		within := func(want string) {
			t.Helper()
			other := asking()
			other.Beneficiary, other.Entitlements = "otto", []string{"ledger/vaults/read"}
			preview, err := w.house.Desk.Preview(w.ctx, w.as("otto"), other)
			w.must(err)
			if got := preview.Plan.Stages[0].Stage.Within; got != want {
				t.Errorf("the manager has %s, want %s", got, want)
			}
		}
		theirs := asking()
		theirs.Beneficiary = "syd"
		waiting := w.submit("syd", theirs)
		changed := w.policies(strings.Replace(emergencyStage, "2 business days", "4 business days", 1))
		id, err := w.propose("ana", countersign.PolicyProposal, changed...)
		w.must(err)
		w.refused(w.enforce("adam", id, "it burns"), "not-an-emergency-author")
		w.refused(w.enforce("ana", id, ""), "reason-missing")
		w.must(w.enforce("ana", id, "nobody could approve anything"))
		within("4 business days")
		view := w.proposal("alma", id)
		if view.State != countersign.ProposalProvisional || view.EnforcedBy.Login != "ana" || len(view.Changes) != 1 || !strings.Contains(view.Changes[0], "4 business days") {
			t.Fatalf("the second person is shown %+v", view)
		}
		// Who did it asks for nothing meanwhile, decides nothing, and does not confirm.
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asking())
		w.refused(err, "emergency-author")
		w.refused(w.approve("ana", waiting), "emergency-author")
		w.refused(w.publish("ana", id), "separation-of-duties")
		another, err := w.propose("adam", countersign.PolicyProposal, w.policies(strings.Replace(emergencyStage, "2 business days", "5 business days", 1))...)
		w.must(err)
		w.refused(w.publish("alma", another), "emergency-in-force")

		w.pass(3*24*time.Hour - time.Second)
		within("4 business days")
		w.pass(2 * time.Second)
		within("2 business days")
		if state := w.proposal("alma", id).State; state != countersign.ProposalLapsed {
			t.Errorf("the proposal is %s", state)
		}
		w.refused(w.publish("alma", id), "already-lapsed")
		theirs.Beneficiary = "sam"
		w.must(w.approve("ana", w.submit("sam", theirs)))
		w.submit("ana", asking())
		w.verified()
	})
}

func TestAnEmergencyChangeIsConfirmedOrRejectedBySomebodyElse(t *testing.T) {
	for name, end := range map[string]struct {
		do     func(*world, countersign.ProposalID) error
		within string
	}{
		"confirmed": {func(w *world, id countersign.ProposalID) error { return w.publish("alma", id) }, "4 business days"},
		"rejected": {func(w *world, id countersign.ProposalID) error {
			return w.house.Desk.Reject(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: w.proposal("alma", id).Shown, Reason: "not like this"})
		}, "2 business days"},
		"withdrawn": {func(w *world, id countersign.ProposalID) error {
			return w.house.Desk.Withdraw(w.ctx, w.as("ana"), desk.Key{}, id, "it is over")
		}, "2 business days"},
	} {
		t.Run(name, func(t *testing.T) {
			w := emergencies(t, onSQLite(t))
			id, err := w.propose("ana", countersign.PolicyProposal, w.policies(strings.Replace(emergencyStage, "2 business days", "4 business days", 1))...)
			w.must(err)
			w.must(w.enforce("ana", id, "nobody could approve anything"))
			w.must(end.do(w, id))
			w.pass(4 * 24 * time.Hour)
			request := w.submit("ana", asking())
			if stages := w.view(request).Stages; len(stages) != 1 {
				t.Errorf("the stages are %+v", stages)
			}
			pinned, err := w.house.Desk.Preview(w.ctx, w.as("otto"), desk.Asking{Entitlements: []string{"ledger/vaults/read"}, Reason: "closing the month"})
			w.must(err)
			if got := pinned.Plan.Stages[0].Stage.Within; got != end.within {
				t.Errorf("the manager has %s, want %s", got, end.within)
			}
			w.verified()
		})
	}
}

func TestAnEmergencyChangeGivesNobodyStanding(t *testing.T) {
	w := emergencies(t, onSQLite(t))
	id, err := w.propose("ana", countersign.PolicyProposal, w.policies(`- {name: manager, approvers: [person(syd)]}`)...)
	w.must(err)
	w.refused(w.enforce("ana", id, "it burns"), "gives-standing")
	w.verified()
}

// Nobody else holds the power as a rule: what keeps the last holders of others must
// not make an hour a year.
func TestThePowerThatWasTakenInAnEmergencyEndsOnTimeThoughNobodyElseHoldsIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := emergencies(t, open)
		if !w.powerful("ana", desk.PowerEmergencyAuthor) {
			t.Fatal("Ana has not taken the power")
		}
		w.pass(61 * time.Minute)
		if w.powerful("ana", desk.PowerEmergencyAuthor) {
			t.Error("she still has the power after its hour")
		}
		grants, err := w.house.Store.Grants(w.ctx, store.GrantQuery{Holders: []countersign.IdentityID{w.as("ana").Identity}, States: []countersign.GrantState{countersign.GrantLive}})
		w.must(err)
		if len(grants) != 1 {
			t.Errorf("%d grants are live, want only that which makes her eligible", len(grants))
		}
		w.pass(91 * 24 * time.Hour)
		if grants, err = w.house.Store.Grants(w.ctx, store.GrantQuery{Holders: []countersign.IdentityID{w.as("ana").Identity}, States: []countersign.GrantState{countersign.GrantLive}}); err != nil || len(grants) != 0 {
			t.Errorf("she is eligible for ever: %v, %v", grants, err)
		}
		w.verified()
	})
}
