package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// PowerEmergencyAuthor puts a policy proposal into force before a second person has
// looked. It is a power like the others; the way to hold it is break-glass.
const PowerEmergencyAuthor = "emergency-policy-author"

// EmergencyTime is how long a policy is in force that only one person has put there.
// Without a second person by then, the set before it comes back by itself.
const EmergencyTime = 3 * countersign.Day

// Enforce puts a policy proposal into force at once. Everybody who could publish it
// is told; one of them publishes it for good or rejects it, or it lapses. Until
// then, nothing is asked for by whoever did it, or for them, and they decide
// nothing.
func (d *Desk) Enforce(ctx context.Context, caller Caller, key Key, id countersign.ProposalID, decision ProposalDecision) error {
	return d.onProposal(ctx, caller, key, id, workflow.Enforce, decision)
}

// enforce completes the command with what it puts into force, and what comes back
// if nobody confirms it.
func (tx *transaction) enforce(ctx context.Context, proposal *countersign.Proposal, would *proposed, command *workflow.ProposalCommand) error {
	switch {
	case proposal.Kind != countersign.PolicyProposal:
		return countersign.Errorf(countersign.Refused, "not-a-policy", "Only a policy is put into force before a second person has looked: a directory change waits.")
	case tx.policy.emergency != nil:
		return countersign.Errorf(countersign.Conflict, "emergency-in-force", "The emergency change %s is in force already: it is confirmed or rejected first.", tx.policy.emergency.Proposal)
	}
	if gains := slices.DeleteFunc(slices.Clone(would.standing), func(line string) bool { return !strings.HasSuffix(line, gainsStanding) }); len(gains) > 0 {
		return countersign.Errorf(countersign.Refused, "gives-standing", "An emergency change gives nobody approval standing: %s.", strings.Join(gains, "; "))
	}
	people, err := tx.holdersOf(ctx, powersFor(proposal.Kind)...)
	if err != nil {
		return err
	}
	command.Told = slices.DeleteFunc(people, func(id countersign.IdentityID) bool { return id == tx.occasion.Actor.Identity() })
	if len(command.Told) == 0 {
		return countersign.Errorf(countersign.Refused, "nobody-to-confirm", "Nobody else could confirm it afterwards: it takes a second person now.")
	}
	command.Before, command.Until = tx.policy.digest, tx.now().Add(EmergencyTime)
	return nil
}

// holdersOf returns the active people who hold one of the powers now, sorted.
func (tx *transaction) holdersOf(ctx context.Context, powers ...string) ([]countersign.IdentityID, error) {
	grants, err := tx.desk.Store.Grants(ctx, store.GrantQuery{System: tx.directory.systemNames[SystemName], States: []countersign.GrantState{countersign.GrantLive}})
	if err != nil {
		return nil, err
	}
	var people []countersign.IdentityID
	for _, grant := range grants {
		holder, power := tx.directory.identities[grant.Holder], tx.directory.entitlements[grant.Entitlement]
		if holder != nil && holder.Human() && holder.ActiveAt(tx.now()) && power != nil && slices.Contains(powers, power.Name) {
			people = append(people, holder.ID)
		}
	}
	slices.Sort(people)
	return slices.Compact(people), nil
}

// endEmergency gives the house the set back that was active before the proposal,
// where the proposal is still what is in force.
func (tx *transaction) endEmergency(ctx context.Context, proposal *countersign.Proposal) error {
	if tx.policy.emergency == nil || tx.policy.emergency.Proposal != proposal.ID {
		return nil
	}
	before, err := tx.desk.policySet(ctx, proposal.Before)
	if err != nil {
		return err
	}
	return tx.activate(ctx, before, nil)
}

// refuseAuthor refuses whatever whoever put a policy into force alone asks for, or
// is to get, until somebody else has confirmed it.
func (tx *transaction) refuseAuthor(m matter) []policy.Refusal {
	if tx.policy == nil || tx.policy.emergency == nil {
		return nil
	}
	emergency := tx.policy.emergency
	for _, side := range []*countersign.Identity{m.requester, m.beneficiary} {
		if slices.Contains(side.SamePerson(), emergency.By) {
			return []policy.Refusal{{Reason: "emergency-author", Because: fmt.Sprintf("%s put the policy in force alone (%s): until somebody else has confirmed it, nothing is asked for by or for %s.", tx.directory.nameOf(emergency.By), emergency.Proposal, side.Name)}}
		}
	}
	return nil
}

// authorDecides refuses a decision of whoever put the policy in force alone.
func (tx *transaction) authorDecides(who countersign.IdentityID) error {
	if tx.policy == nil || tx.policy.emergency == nil || tx.policy.emergency.By != who {
		return nil
	}
	return countersign.Errorf(countersign.Refused, "emergency-author", "You put the policy in force alone (%s): until somebody else has confirmed it, you decide nothing.", tx.policy.emergency.Proposal)
}
