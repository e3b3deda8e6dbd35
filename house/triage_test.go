package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

func (w *world) describe(who, text string) countersign.RequestID {
	w.t.Helper()
	id, err := w.house.Desk.Describe(w.ctx, w.as(who), desk.Key{}, desk.Describing{Text: text})
	w.must(err)
	return id
}

func (w *world) classify(who string, id countersign.RequestID, entitlement string) error {
	return w.house.Desk.Classify(w.ctx, w.as(who), desk.Key{}, id, desk.Classification{Entitlements: []string{entitlement}})
}

func TestWordsBecomeARequestThroughAnOperatorWhoGrantsNothing(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor("- {name: all, approvers: [person(oda), person(max)], within: 2 business days}", ""))
		id := w.describe("ana", "I have to look at the books of October, can somebody help me?")
		view := w.state(id, countersign.RequestTriaging)
		if view.Phase != countersign.Triage || view.Priority != 2 || view.WaitsFor == "" {
			t.Fatalf("the description is %+v", view)
		}
		for _, who := range []string{"ana", "max", "adam"} {
			if err := w.classify(who, id, "ledger/books/read"); err == nil {
				t.Errorf("%s sorts", who)
			}
		}
		w.must(w.house.Desk.Ask(w.ctx, w.as("odo"), desk.Key{}, id, "Only read?"))
		w.must(w.house.Desk.Answer(w.ctx, w.as("ana"), desk.Key{}, id, "Yes"))
		w.refused(w.classify("oda", id, "ledger/books/reed"), "no-such-entitlement")
		w.must(w.classify("oda", id, "ledger/books/read"))
		view = w.state(id, countersign.RequestDeciding)
		if view.Type != "access" || view.ClassifiedBy == nil || view.ClassifiedBy.Login != "oda" || len(view.Questions) != 1 || len(view.Stages[0].Asked) != 1 {
			t.Fatalf("the request is %+v", view)
		}
		// Oda stands by the policy, and has sorted it: she decides nothing of it.
		w.refused(w.approve("oda", id), "separation-of-duties")
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		w.verified()
	})
}

func TestAnOperatorGrantsNothingByARuleAndSortsNothingOfTheirOwn(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: rule, automatic: "true"}`, ""))
	w.refused(w.classify("oda", w.describe("ana", "the books, please"), "ledger/books/read"), "nobody-decides")
	w.refused(w.classify("oda", w.describe("oda", "the books, please"), "ledger/books/read"), "separation-of-duties")
	// To everything that is not in triage an operator is a stranger.
	id := w.submit("ana", asking())
	_, err := w.house.Desk.Request(w.ctx, w.as("odo"), id)
	w.refused(err, "no-such-request")
	w.settle()
	_, err = w.house.Desk.Grant(w.ctx, w.as("odo"), w.grant(id).ID)
	w.refused(err, "no-such-grant")
}

func TestADescriptionIsMergedDeclinedOrBecomesMoreUrgentAndIsNeverForgotten(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	real := w.submit("ana", asking())
	twice, nothing, waits := w.describe("ana", "the books, please"), w.describe("ana", "a better chair"), w.describe("ana", "something else")
	merge := func(into countersign.RequestID) error {
		return w.house.Desk.Merge(w.ctx, w.as("oda"), desk.Key{}, twice, into, "you have asked for it already")
	}
	w.refused(merge(twice), "nothing-to-merge-with")
	w.must(merge(real))
	w.state(twice, countersign.RequestCancelled)
	w.refused(w.house.Desk.Decline(w.ctx, w.as("oda"), desk.Key{}, nothing, " "), "reason-missing")
	w.must(w.house.Desk.Decline(w.ctx, w.as("oda"), desk.Key{}, nothing, "chairs are not access"))
	w.state(nothing, countersign.RequestDenied)
	w.refused(w.house.Desk.Prioritise(w.ctx, w.as("oda"), desk.Key{}, waits, "huge", "low"), "unknown-level")
	w.must(w.house.Desk.Prioritise(w.ctx, w.as("oda"), desk.Key{}, waits, "low", "low"))
	for _, want := range []int{4, 3, 2, 1, 1} {
		if got := w.state(waits, countersign.RequestTriaging).Priority; got != want {
			t.Fatalf("the priority is %d, want %d", got, want)
		}
		w.pass(5*24*time.Hour + time.Minute)
	}
	lines, err := w.house.Desk.Requests(w.ctx, w.as("odo"), desk.RequestFilter{States: []countersign.RequestState{countersign.RequestTriaging}})
	w.must(err)
	if len(lines) != 1 || lines[0].ID != waits {
		t.Fatalf("operators find %+v", lines)
	}
	w.verified()
}

func TestOfTwoDescriptionsThatAreMergedWithEachOtherAtOnceOneGoesOn(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		one, other := w.describe("ana", "the books, please"), w.describe("ana", "the books of the month")
		merge := func(who string, id, into countersign.RequestID) error {
			return w.house.Desk.Merge(w.ctx, w.as(who), desk.Key{}, id, into, "it asks for the same")
		}
		meanwhile := func() { w.must(merge("odo", other, one)) }
		w.between.Store(&meanwhile)
		w.refused(merge("oda", one, other), "nothing-to-merge-with")
		w.state(one, countersign.RequestTriaging)
		w.state(other, countersign.RequestCancelled)
		w.verified()
	})
}
