package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

func (w *world) in(days int) countersign.Instant {
	return countersign.InstantOf(w.clock.Now()).Add(countersign.Seconds(days) * countersign.Day)
}

func (w *world) delegate(from, to string, change func(*desk.Delegating)) (countersign.DelegationID, error) {
	asked := desk.Delegating{To: to, Ends: w.in(10), Reason: "on holiday"}
	if change != nil {
		change(&asked)
	}
	return w.house.Desk.Delegate(w.ctx, w.as(from), desk.Key{}, asked)
}

func TestADelegateDecidesAndTheRecordShowsBothNames(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		w.refused(w.approve("otto", id), "not-an-approver")
		delegation, err := w.delegate("max", "otto", nil)
		w.must(err)
		w.settle()
		if asked := w.view(id).Stages[0].Asked; len(asked) != 2 {
			t.Fatalf("who may decide now: %+v", asked)
		}
		w.must(w.approve("otto", id))
		decision := w.view(id).Stages[0].Decisions[0]
		if decision.By.Login != "otto" || decision.OnBehalfOf == nil || decision.OnBehalfOf.Login != "max" {
			t.Fatalf("the record shows %+v", decision)
		}
		w.tells(id, "on behalf of Max Manager")
		w.must(w.house.Desk.EndDelegation(w.ctx, w.as("max"), desk.Key{}, delegation))
		w.refused(w.house.Desk.EndDelegation(w.ctx, w.as("max"), desk.Key{}, delegation), "already-ended")
		w.verified()
	})
}

func TestADelegationIsRefusedToOneselfInThePastAndBeyondWhatOneHolds(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	for reason, wrong := range map[string]struct {
		from, to string
		change   func(*desk.Delegating)
	}{
		"to-oneself":           {"max", "max", nil},
		"no-such-identity":     {"max", "nobody", nil},
		"not-an-active-person": {"max", "svc", nil},
		"needs-person":         {"svc", "otto", nil},
		"in-the-past":          {"max", "otto", func(a *desk.Delegating) { a.Ends = w.in(-1) }},
		"end-before-start":     {"max", "otto", func(a *desk.Delegating) { a.Starts = w.in(12) }},
		"too-long":             {"max", "otto", func(a *desk.Delegating) { a.Ends = w.in(91) }},
		"beyond-contract":      {"cora", "otto", func(a *desk.Delegating) { a.Ends = w.in(60) }},
		"no-request-type":      {"max", "otto", func(a *desk.Delegating) { a.Types = []string{"acess"} }},
		"reason-missing":       {"max", "otto", func(a *desk.Delegating) { a.Reason = " " }},
	} {
		_, err := w.delegate(wrong.from, wrong.to, wrong.change)
		w.refused(err, reason)
	}
}

func TestWhatIsDelegatedIsNotDelegatedOn(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, err := w.delegate("max", "otto", nil)
	w.must(err)
	_, err = w.delegate("otto", "olga", nil)
	w.must(err)
	id := w.submit("ana", asking())
	w.refused(w.approve("olga", id), "no-such-request")
}

func TestADelegationCountsOnlyInItsTimeAndForItsTypes(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy)
	_, err := w.delegate("max", "otto", func(a *desk.Delegating) { a.Types = []string{"keys"} })
	w.must(err)
	_, err = w.delegate("max", "olga", func(a *desk.Delegating) { a.Starts, a.Ends = w.in(1), w.in(2) })
	w.must(err)
	id := w.submit("ana", asking())
	w.refused(w.approve("otto", id), "not-an-approver")
	w.refused(w.approve("olga", id), "no-such-request")
	w.pass(25 * time.Hour)
	w.must(w.approve("olga", id))
}

func TestADelegateOfTheRequesterCannotApproveForTheRequester(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor("- {name: two, approvers: [person(bea), person(otto), person(olga)], within: 2 business days}", ""))
		delegation, err := w.delegate("ana", "bea", nil)
		w.must(err)
		id := w.submit("ana", asking())
		w.refused(w.approve("bea", id), "separation-of-duties")
		// It has counted since the request was made, whether or not it still lasts.
		w.must(w.house.Desk.EndDelegation(w.ctx, w.as("ana"), desk.Key{}, delegation))
		w.refused(w.approve("bea", id), "separation-of-duties")
		// Nobody keeps an approver, or the own manager, out by naming them.
		for _, who := range []string{"otto", "max"} {
			_, err = w.delegate("ana", who, nil)
			w.refused(err, "decides-on-you")
		}
		// Nor can the requester, standing in for an approver.
		_, err = w.delegate("olga", "ana", nil)
		w.must(err)
		w.refused(w.approve("ana", id), "separation-of-duties")
		w.must(w.approve("olga", id))
		w.verified()
	})
}

func TestAPersonAndWhoStandsInForThePersonAreOneApproval(t *testing.T) {
	w := found(t, onSQLite(t), policyFor("- {name: two, approvers: [group(platform-leads)], need: 2, within: 2 business days}", ""))
	_, err := w.delegate("pia", "otto", nil)
	w.must(err)
	id := w.submit("ana", asking())
	w.must(w.approve("pia", id))
	w.refused(w.approve("otto", id), "not-an-approver")
	w.state(id, countersign.RequestDeciding)
	// Who stands by a rule as well counts for himself.
	_, err = w.delegate("pia", "pit", nil)
	w.must(err)
	w.must(w.approve("pit", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestADelegationThatEndsBetweenJudgementAndCommitIsJudgedAgain(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		delegation, err := w.delegate("max", "otto", nil)
		w.must(err)
		id := w.submit("ana", asking())
		approve := w.approval("otto", id)
		w.before(func() { w.must(w.house.Desk.EndDelegation(w.ctx, w.as("max"), desk.Key{}, delegation)) })
		w.refused(approve(), "not-an-approver")
		w.state(id, countersign.RequestDeciding)
		w.verified()
	})
}
