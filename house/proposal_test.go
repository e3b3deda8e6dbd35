package house_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
)

// propose drafts a change of the directory, or of the policy set.
func (w *world) propose(who string, kind countersign.ProposalKind, texts ...string) (countersign.ProposalID, error) {
	var files []directory.File
	paths := map[countersign.ProposalKind]string{countersign.DirectoryProposal: "directory/%d.yaml", countersign.PolicyProposal: "policies/%d.yaml"}
	for i, text := range texts {
		files = append(files, directory.File{Path: fmt.Sprintf(paths[kind], i), Bytes: []byte(text)})
	}
	return w.house.Desk.Propose(w.ctx, w.as(who), desk.Key{}, kind, files, "the organisation changes")
}

func (w *world) proposal(who string, id countersign.ProposalID) *desk.ProposalView {
	w.t.Helper()
	view, err := w.house.Desk.Proposal(w.ctx, w.as(who), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return view
}

func (w *world) publish(who string, id countersign.ProposalID) error {
	return w.house.Desk.Publish(w.ctx, w.as(who), desk.Key{}, id, desk.ProposalDecision{Shown: w.proposal(who, id).Shown})
}

// together changes the organisation's file as two people do who agree.
func (w *world) together(oldNew ...string) {
	w.t.Helper()
	w.edit(oldNew...)
	id, err := w.propose("adam", countersign.DirectoryProposal, w.directory)
	w.must(err)
	w.must(w.publish("alma", id))
}

// Somebody who makes himself another one's manager, approves, and undoes it: the
// first step already takes a second person.
func TestADirectoryChangeThatGivesStandingTakesASecondPerson(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		changed := strings.Replace(directoryFile, "name: Ana Asker, email: ana@test.example, manager: max", "name: Ana Asker, email: ana@test.example, manager: adam", 1)
		_, err := w.propose("ana", countersign.DirectoryProposal, changed)
		w.refused(err, "needs-power")
		id, err := w.propose("adam", countersign.DirectoryProposal, changed)
		w.must(err)
		view := w.proposal("alma", id)
		if len(view.Changes) != 1 || len(view.Standing) != 1 || !strings.Contains(view.Standing[0], "adam becomes the manager of ana") {
			t.Fatalf("the second person is shown %v and %v", view.Changes, view.Standing)
		}
		request := w.submit("ana", asking())
		w.refused(w.approve("adam", request), "no-such-request")

		w.refused(w.publish("adam", id), "separation-of-duties")
		_, err = w.house.Desk.Proposal(w.ctx, w.as("ana"), id)
		w.refused(err, "no-such-proposal")
		w.refused(w.house.Desk.Publish(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: "sha256:other"}), "shown-has-changed")
		w.must(w.publish("alma", id))
		w.settle()
		// The new manager decides what is open; the old one has nothing to do with it.
		w.refused(w.approve("max", request), "no-such-request")
		w.must(w.approve("adam", request))
		w.refused(w.publish("alma", id), "already-published")
		w.verified()
	})
}

func TestAPolicyChangeTakesTwoPeopleAndPinsWhatWasRoutedBefore(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		request := w.submit("ana", asking())
		stricter := policyFor(`- {name: security, approvers: [group(security)], need: 2}`, "")
		_, err := w.propose("adam", countersign.PolicyProposal, strings.Replace(stricter, "approvers", "aprovers", 1))
		w.refused(err, "malformed-policy")
		_, err = w.propose("adam", countersign.PolicyProposal, policyFor(managerStage, ""))
		w.refused(err, "nothing-to-change")
		id, err := w.propose("adam", countersign.PolicyProposal, stricter)
		w.must(err)
		view := w.proposal("alma", id)
		if len(view.Changes) != 1 || !strings.Contains(view.Changes[0], "+  - {name: security") || !strings.Contains(view.Changes[0], "-  - {name: manager") || !strings.Contains(strings.Join(view.Standing, "\n"), "Sue Security") {
			t.Errorf("the second person is shown %v and %v", view.Changes, view.Standing)
		}
		w.refused(w.publish("adam", id), "separation-of-duties")
		w.must(w.publish("alma", id))
		w.settle()

		// What was asked before keeps its path; what is asked now takes the new one.
		w.must(w.approve("max", request))
		w.settle()
		w.state(request, countersign.RequestActive)
		other := asking()
		other.Beneficiary, other.Entitlements = "otto", []string{"ledger/vaults/read"}
		later := w.submit("otto", other)
		w.refused(w.approve("bea", later), "no-such-request")
		w.must(w.approve("sue", later))
		w.must(w.approve("syd", later))
		w.verified()
	})
}

func TestAProposalIsRejectedWithAReasonOrWithdrawnByItsAuthorAlone(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	stricter := policyFor(`- {name: security, approvers: [group(security)]}`, "")
	id, err := w.propose("adam", countersign.PolicyProposal, stricter)
	w.must(err)
	w.refused(w.house.Desk.Withdraw(w.ctx, w.as("alma"), desk.Key{}, id, ""), "not-the-proposer")
	shown := w.proposal("alma", id).Shown
	w.refused(w.house.Desk.Reject(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: shown}), "reason-missing")
	w.must(w.house.Desk.Reject(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: shown, Reason: "not before the audit"}))
	w.refused(w.publish("alma", id), "already-rejected")
	second, err := w.propose("adam", countersign.PolicyProposal, stricter)
	w.must(err)
	w.must(w.house.Desk.Withdraw(w.ctx, w.as("adam"), desk.Key{}, second, "thought again"))
	w.refused(w.publish("alma", second), "already-withdrawn")
	w.verified()
}

// What was shown is compared again: a directory that moved in between is looked
// at anew.
func TestAProposalThatWouldDoSomethingElseByNowIsShownAgain(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	changed := strings.Replace(directoryFile, "{name: nobody, members: []}", "{name: nobody, members: [otto]}", 1)
	id, err := w.propose("adam", countersign.DirectoryProposal, changed)
	w.must(err)
	shown := w.proposal("alma", id).Shown
	_, err = w.house.Desk.ApplyDirectory(w.ctx, w.as("alma"), []directory.File{{Path: "directory/all.yaml", Bytes: []byte(strings.Replace(directoryFile, "members: [syd]", "members: []", 1))}})
	w.must(err)
	w.refused(w.house.Desk.Publish(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: shown}), "shown-has-changed")
	w.must(w.publish("alma", id))
	w.verified()
}
