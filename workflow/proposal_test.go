package workflow_test

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// The clock of a proposal, step by step: what each look does, and that the emergency
// puts its own in the place of it.
func TestAProposalIsRemindedOfOnceAndLapsesUnlessAnEmergencyGivesItAnotherTime(t *testing.T) {
	const made = countersign.Instant(1_800_000_000_000)
	at := func(days countersign.Seconds, actor countersign.Actor) workflow.Occasion {
		now := made.Add(days * countersign.Day)
		return workflow.Occasion{Actor: actor, Now: now, Mint: countersign.NewMint([32]byte{1}, now)}
	}
	clock := workflow.ProposalClock{Until: made.Add(30 * countersign.Day), RemindAt: made.Add(23 * countersign.Day), Told: []countersign.IdentityID{"idn_second"}}
	proposal, events, err := workflow.DraftProposal(at(0, "idn_author"), countersign.PolicyProposal, "sha256:files", "", "it changes", clock)
	if err != nil || len(events) != 2 || proposal.Version != 2 || workflow.ProposalDue(proposal) != clock.RemindAt {
		t.Fatalf("the draft is %+v with %d events: %v", proposal, len(events), err)
	}
	tick := func(proposal *countersign.Proposal, day countersign.Seconds) (*countersign.Proposal, countersign.Payload) {
		t.Helper()
		timer := workflow.Standing{Actor: countersign.SystemTimer, Roles: []workflow.Role{workflow.Timer}}
		after, event, err := workflow.DecideProposal(at(day, countersign.SystemTimer), proposal, workflow.ProposalCommand{Name: workflow.Tick, Clock: clock}, timer)
		if err != nil {
			t.Fatal(err)
		}
		return after, event.Payload
	}
	if after, _ := tick(proposal, 22); after != nil {
		t.Errorf("too early it becomes %+v", after)
	}
	reminded, payload := tick(proposal, 23)
	if _, is := payload.(*workflow.ProposalReminded); !is || reminded.State != countersign.ProposalOpen || workflow.ProposalDue(reminded) != clock.Until {
		t.Fatalf("the reminder is %T and leads to %+v", payload, reminded)
	}
	if after, _ := tick(reminded, 29); after != nil {
		t.Errorf("reminded twice: %+v", after)
	}
	lapsed, payload := tick(reminded, 30)
	if _, is := payload.(*workflow.ProposalLapsed); !is || lapsed.State != countersign.ProposalLapsed || workflow.ProposalDue(lapsed) != 0 {
		t.Errorf("the end is %T and leads to %+v", payload, lapsed)
	}

	author := workflow.Standing{Actor: "idn_author", Roles: []workflow.Role{workflow.EmergencyAuthor}}
	until := made.Add(25 * countersign.Day)
	command := workflow.ProposalCommand{Name: workflow.Enforce, Reason: "it burns", Shown: "sha256:shown", ShownNow: "sha256:shown", Before: "sha256:before", Until: until, Told: clock.Told}
	enforced, _, err := workflow.DecideProposal(at(22, "idn_author"), proposal, command, author)
	if err != nil || enforced.State != countersign.ProposalProvisional || workflow.ProposalDue(enforced) != until {
		t.Fatalf("in the emergency it is %+v, %v", enforced, err)
	}
	if after, _ := tick(enforced, 24); after != nil {
		t.Errorf("the emergency is reminded of as if it waited: %+v", after)
	}
	if after, _ := tick(enforced, 25); after == nil || after.State != countersign.ProposalLapsed {
		t.Errorf("after its own time it is %+v", after)
	}
	if _, _, err := workflow.DecideProposal(at(30, "idn_author"), proposal, command, author); countersign.ReasonOf(err) != "already-lapsed" {
		t.Errorf("put into force after its time: %v", err)
	}
}
