package house_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const noted = `
ask:
  note: {type: string, default: "as usual"}
  other: {type: string, optional: true}
parameters: [note]
`

func TestAConnectorIsGivenTheAnswersThatThePolicyNamesAndApproversSeeWhatItMakesOfThem(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, noted))
		asking := asking()
		asking.Answers = []byte(`{"note":"shelf 7","other":"nobody's business"}`)
		id := w.submit("ana", asking)
		if effects := w.view(id).Effects; len(effects) != 1 || !strings.Contains(effects[0], `"shelf 7"`) {
			t.Errorf("the approver is shown %q", effects)
		}
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		if grant := w.stored(w.grant(id).ID); w.target.Note(grant.Credentials[0].ID) != "shelf 7" {
			t.Error("the target was told otherwise")
		}
		asking.Entitlements, asking.Answers = []string{"ledger/books/write"}, []byte(`{}`)
		id = w.submit("ana", asking)
		if effects := w.view(id).Effects; len(effects) != 1 || !strings.Contains(effects[0], `"as usual"`) {
			t.Errorf("where nothing is answered, the default counts, and the approver is shown %q", effects)
		}
		w.verified()
	})
}

func TestAnAmendedAnswerReachesTheConnectorAndVoidsWhatWasApproved(t *testing.T) {
	w := found(t, onSQLite(t), policyFor("- {name: manager, approvers: [manager-of(requester)], within: 2 business days}\n- {name: owner, approvers: [owner-of(resource)], within: 2 business days}", noted))
	asking := asking()
	asking.Answers = []byte(`{"note":"shelf 7"}`)
	id := w.submit("ana", asking)
	w.must(w.approve("max", id))
	asking.Answers = []byte(`{"note":"shelf 8"}`)
	w.must(w.house.Desk.Amend(w.ctx, w.as("ana"), desk.Key{}, id, asking))
	if view := w.view(id); len(view.Stages[0].Decisions) != 0 || !strings.Contains(view.Effects[0], "shelf 8") {
		t.Errorf("after another answer the decisions are %v and the effect is %q", view.Stages[0].Decisions, view.Effects)
	}
	w.must(w.approve("max", id))
	w.must(w.approve("otto", id))
	w.settle()
	if grant := w.stored(w.grant(id).ID); w.target.Note(grant.Credentials[0].ID) != "shelf 8" {
		t.Error("the target was told what stood there before")
	}
}

func TestAPolicyThatGivesAConnectorWhatItDoesNotTakeIsNoPolicy(t *testing.T) {
	w := empty(t, onSQLite(t))
	err := w.found(policyFor(managerStage, strings.Replace(noted, "[note]", "[note, other]", 1)))
	if err == nil || !strings.Contains(err.Error(), `the connector "noop" takes no parameter "other"; it takes [note]`) {
		t.Errorf("got %v", err)
	}
}
