package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
)

func TestAnotherReplicaRefusesABeatAfterARevokeAlthoughNoConnectorHasRun(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	id := w.editor()
	other := w.replica("other")
	for range 2 {
		w.must(other.Engine.Beat(w.ctx))
	}
	w.must(w.house.Desk.Revoke(w.ctx, w.as("ana"), desk.Key{}, w.grant(id).ID, "done with it"))
	w.must(other.Engine.Beat(w.ctx))
	if decision := mayEdit(other.Point); decision.Reason != pdp.Stopped {
		t.Errorf("the other replica says %+v", decision)
	}
}

func TestAHoldThatComesBetweenAJudgementAndItsCommitIsSeen(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		shown := w.shown(id)
		w.before(func() {
			_, err := w.hold("adam", "ana", true)
			w.must(err)
		})
		w.refused(w.house.Desk.Approve(w.ctx, w.as("max"), desk.Key{}, id, desk.Decision{Shown: shown}), "held")
		w.settle()
		w.state(id, countersign.RequestDeciding)
		if w.target.Total() != 0 {
			t.Error("the target was reached under a hold")
		}
	})
}

func TestUnderAHoldNothingIsRotatedAndNothingCarriedOut(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	hold, err := w.hold("adam", "ledger", false)
	w.must(err)
	w.settle()
	w.state(id, countersign.RequestFulfilling)
	if w.target.Total() != 0 {
		t.Error("the target was reached under a hold")
	}
	w.must(w.lift("alma", hold))
	w.pass(time.Minute + time.Second)
	w.state(id, countersign.RequestActive)
	for _, on := range []string{"ana", "ledger", string(w.grant(id).ID)} {
		hold, err := w.hold("adam", on, false)
		w.must(err)
		w.refused(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, w.grant(id).ID, 0, "in time"), "held")
		w.must(w.lift("alma", hold))
	}
	w.verified()
}

func TestAPersonUnderAHoldDecidesNothingAndAnAuditorPutsNone(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	shown := w.shown(id)
	_, err := w.hold("aud", "max", false)
	w.refused(err, "not-entitled-to-hold")
	hold, err := w.hold("adam", "max", false)
	w.must(err)
	w.refused(w.house.Desk.Approve(w.ctx, w.as("max"), desk.Key{}, id, desk.Decision{Shown: shown}), "held")
	w.must(w.lift("alma", hold))
	w.must(w.approve("max", id))
}

func TestSomebodyWhoBecameTheOwnerAfterApprovingCountsAsTheSamePersonThen(t *testing.T) {
	stages := "- {name: manager, approvers: [manager-of(requester)]}\n- {name: security, approvers: [group(security)]}"
	w := found(t, onSQLite(t), policyFor(stages, ""))
	id := w.submit("olga", desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.must(w.approve("max", id))
	changed := strings.Replace(directoryFile, "{login: svc, name: Service A, owner: olga,", "{login: svc, name: Service A, owner: max,", 1)
	proposal, err := w.propose("adam", countersign.DirectoryProposal, changed)
	w.must(err)
	w.must(w.publish("alma", proposal))
	w.settle()
	w.refused(w.approve("sue", id), "separation-of-duties")
	w.settle()
	if w.target.Total() != 0 {
		t.Error("the target was reached")
	}
}

func TestVerifiedEvidenceIsNotReplacedByAnUpload(t *testing.T) {
	more := "ask: {consumer: {type: string, format: system-record}}\nevidence: [{name: record, kind: record, due: at-request, verified_by: directory}]\n"
	w := found(t, onSQLite(t), policyFor(managerStage, more))
	asked := desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due", Answers: []byte(`{"consumer":"SR-1"}`)}
	id := w.submit("ana", asked)
	w.refused(w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "record", Content: []byte("I say so")}), "slot-is-verified")
	asked.Evidence = []desk.EvidenceContent{{Slot: "record", Content: []byte("I say so")}}
	asked.Beneficiary = "svc-b"
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asked)
	w.refused(err, "slot-is-verified")
}

func TestASuspensionThatIsLiftedGivesBackWhatWasThere(t *testing.T) {
	w := found(t, onSQLite(t), editorPolicy)
	w.editor()
	w.apply("{login: ana, name: Ana Asker,", "{login: ana, name: Ana Asker, status: suspended,")
	w.settle()
	if decision := mayEdit(w.house.Point); decision.Reason != pdp.Stopped {
		t.Fatalf("suspended, the check says %+v", decision)
	}
	proposal, err := w.propose("adam", countersign.DirectoryProposal, directoryFile)
	w.must(err)
	w.must(w.publish("alma", proposal))
	w.settle()
	if !mayEdit(w.house.Point).Allowed {
		t.Errorf("active again, the check says %+v", mayEdit(w.house.Point))
	}
}

func TestTheLastTwoHoldersOfAPowerDoNotLapse(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.pass(91 * 24 * time.Hour)
	_, err := w.propose("adam", countersign.PolicyProposal, policyFor(`- {name: security, approvers: [group(security)]}`, ""))
	w.must(err)
	grants, err := w.house.Desk.Grants(w.ctx, w.as("adam"), desk.GrantFilter{Holder: "adam"})
	w.must(err)
	if len(grants) != 1 || grants[0].State != countersign.GrantLive || grants[0].Until <= countersign.InstantOf(w.clock.Now()) {
		t.Errorf("after ninety-one days Adam holds %+v", grants)
	}
	w.verified()
}

func TestADirectoryChangeThatEndsManyAtOnceTakesASecondPerson(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	text := directoryFile
	for _, login := range []string{"otto", "syd", "sam", "sue", "pia", "pit"} {
		text = strings.Replace(text, "{login: "+login+", ", "{login: "+login+", status: departed, ", 1)
	}
	w.directory = text
	applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	if len(applied.Applied.Changes) != 0 || len(applied.Refused.Changes) != 6 || !strings.Contains(applied.Refused.Changes[0].Standing, "one of 6") {
		t.Errorf("applied %v, refused %v", applied.Applied, applied.Refused)
	}
	w.directory = strings.Replace(directoryFile, "{login: otto, ", "{login: otto, status: departed, ", 1)
	applied, err = w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	if len(applied.Applied.Changes) != 1 {
		t.Errorf("one named person's departure: applied %v, refused %v", applied.Applied, applied.Refused)
	}
}

func TestASecretInEscapedAnswersIsStillASecret(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "ask: {note: {type: string}}\n"))
	asked := asking()
	asked.Answers = []byte(`{"note":"\u0041KIAIOSFODNN7EXAMPLE"}`)
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asked)
	w.refused(err, "secret-pasted")
}

func TestNoNameStandsInThePartOfAnEventThatIsNeverErased(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: owner, approvers: [person(max@test.example)], within: 2 business days, then: {escalate_to: [person(bea)], then: deny}}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	for _, stream := range []countersign.Stream{countersign.Stream(id), countersign.Stream(w.grant(id).ID)} {
		events, err := w.house.Store.Events(w.ctx, stream, 0, 100)
		w.must(err)
		for _, event := range events {
			for _, value := range event.Values {
				if value.Group == countersign.ValueChange && (strings.Contains(string(value.Bytes), "test.example") || strings.Contains(string(value.Bytes), "person(bea)")) {
					t.Errorf("%s holds %s", event.Header.Kind, value.Bytes)
				}
			}
		}
	}
	if rule := w.view(id).Stages[0].Decisions[0].Rules[0]; rule != "person(max)" {
		t.Errorf("the page names the rule %q", rule)
	}
}

func TestAPowerThatEndsBetweenAJudgementAndItsCommitIsSeen(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, err := w.propose("adam", countersign.PolicyProposal, policyFor(`- {name: security, approvers: [group(security)]}`, ""))
	w.must(err)
	shown := w.proposal("alma", id).Shown
	grants, err := w.house.Desk.Grants(w.ctx, w.as("aud"), desk.GrantFilter{Holder: "alma"})
	w.must(err)
	w.before(func() {
		w.must(w.house.Desk.Revoke(w.ctx, w.as("adam"), desk.Key{}, grants[0].ID, "she moved to another team"))
	})
	err = w.house.Desk.Publish(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: shown})
	if countersign.KindOf(err) != countersign.Refused && countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("the answer is %v", err)
	}
	if state := w.proposal("aud", id).State; state != countersign.ProposalOpen {
		t.Errorf("the proposal is %s", state)
	}
}
