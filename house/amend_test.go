package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const twoStages = `
- {name: manager, approvers: [manager-of(requester)], within: 2 business days}
- {name: security, when: 'request.duration > duration("480h")', approvers: [group(security)], within: 2 business days}
- {name: leads, approvers: [group(platform-leads)], within: 2 business days}
`

func (w *world) amend(who string, id countersign.RequestID, change func(*desk.Asking)) error {
	changed := asking()
	change(&changed)
	return w.house.Desk.Amend(w.ctx, w.as(who), desk.Key{}, id, changed)
}

func TestShorteningVoidsNothingAndWideningVoidsWhatReliedOnLess(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(twoStages, ""))
		id := w.submit("ana", asking())
		w.must(w.approve("max", id))
		late := w.approval("pia", id)
		w.refused(w.amend("max", id, func(a *desk.Asking) { a.Duration = countersign.Day }), "not-the-asker")
		w.must(w.amend("ana", id, func(a *desk.Asking) { a.Duration = 5 * countersign.Day }))
		view := w.state(id, countersign.RequestDeciding)
		if len(view.Stages[0].Decisions) != 1 || view.Duration != 5*countersign.Day || view.Stages[2].State != countersign.StageOpen {
			t.Fatalf("after shortening it is %+v", view.Stages)
		}
		// Who looked at what was asked before decides on nothing that is asked now.
		w.refused(late(), "shown-has-changed")

		// The longer time takes another path, and says so.
		w.must(w.amend("ana", id, func(a *desk.Asking) { a.Duration = 25 * countersign.Day }))
		view = w.state(id, countersign.RequestDeciding)
		if len(view.Stages[0].Decisions) != 0 || view.Stages[0].State != countersign.StageOpen || view.Stages[1].State != countersign.StageWaiting {
			t.Fatalf("after widening it is %+v", view.Stages)
		}
		w.tells(id, "counts no longer")
		for _, who := range []string{"max", "syd", "pia"} {
			w.must(w.approve(who, id))
		}
		w.settle()
		w.state(id, countersign.RequestActive)
		w.refused(w.amend("ana", id, func(a *desk.Asking) { a.Duration = countersign.Day }), "wrong-state")
		w.verified()
	})
}

func TestAStageThatComesBeforeOneThatWasReachedIsNotPassedOver(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: short, when: 'request.duration < duration("72h")', approvers: [person(bea)], within: 2 business days}
- {name: manager, approvers: [manager-of(requester)], within: 2 business days}
- {name: leads, approvers: [group(platform-leads)], within: 2 business days}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.must(w.amend("ana", id, func(a *desk.Asking) { a.Duration = countersign.Day }))
	view := w.state(id, countersign.RequestDeciding)
	if view.Stages[0].State != countersign.StageOpen || view.Stages[1].State != countersign.StageWaiting || view.Stages[2].State != countersign.StageWaiting {
		t.Fatalf("the path is %+v", view.Stages)
	}
	for _, who := range []string{"bea", "max", "pia"} {
		w.must(w.approve(who, id))
	}
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestAnAmendmentIsRefusedLikeAnAsking(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.refused(w.amend("ana", id, func(a *desk.Asking) { a.Duration = 100 * countersign.Day }), "duration-not-offered")
	w.refused(w.amend("ana", id, func(a *desk.Asking) { a.Entitlements = []string{"ledger/books/nothing"} }), "no-such-entitlement")
	w.state(id, countersign.RequestDeciding)
}

func TestAQuestionIsAnsweredBeforeItIsDecidedAndTheTimeBeginsAnew(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	deadline := w.view(id).Stages[0].Deadline
	ask := func(who, text string) error { return w.house.Desk.Ask(w.ctx, w.as(who), desk.Key{}, id, text) }
	answer := func(who, text string) error { return w.house.Desk.Answer(w.ctx, w.as(who), desk.Key{}, id, text) }
	w.refused(answer("ana", "it is for the month"), "no-question")
	w.refused(ask("ana", "may I?"), "separation-of-duties")
	w.refused(ask("max", " "), "question-missing")
	w.must(ask("max", "Which month is it for?"))
	if waits := w.view(id).WaitsFor; waits != "an answer to Max Manager" {
		t.Fatalf("it waits for %q", waits)
	}
	late := w.approval("max", id)
	w.pass(24 * time.Hour)
	w.refused(answer("max", "October, surely"), "not-the-asker")
	w.must(answer("ana", "October"))
	view := w.view(id)
	if view.Stages[0].Deadline <= deadline || view.Questions[0].Answer != "October" {
		t.Fatalf("after the answer it is %+v", view)
	}
	w.refused(late(), "shown-has-changed")
	w.must(w.approve("max", id))
	w.verified()
}

func TestWhoMustOpenTheEvidenceDoesNotApproveWithoutHavingDoneSo(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "evidence: [{name: plan, kind: text, due: at-request, must_open: true}]\n"))
	asked := asking()
	asked.Evidence = []desk.EvidenceContent{{Slot: "plan", Content: []byte("first the backups, then the books")}}
	id := w.submit("ana", asked)
	open := func(who string) (string, error) {
		content, err := w.house.Desk.OpenEvidence(w.ctx, w.as(who), id, "plan")
		return string(content), err
	}
	w.refused(w.approve("max", id), "evidence-not-opened")
	_, err := open("olga")
	w.refused(err, "no-such-request")
	content, err := open("max")
	w.must(err)
	if content != "first the backups, then the books" {
		t.Fatalf("the evidence reads %q", content)
	}
	w.must(w.approve("max", id))
	if opened := w.view(id).Stages[0].Decisions[0].Opened; len(opened) != 1 {
		t.Fatalf("the decision names what was opened: %v", opened)
	}
	w.settle()
	w.pass(20 * 24 * time.Hour)
	w.state(id, countersign.RequestClosed)
	if content, err = open("aud"); err != nil || content == "" {
		t.Fatalf("an auditor reads it later: %q, %v", content, err)
	}
	w.verified()
}
