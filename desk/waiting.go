package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// A proposal waits for a second person, and not for ever: who may decide it is told of
// it and reminded, and what nobody has decided by its time lapses.

// A hold has no end, because time lifts nothing; who put it and who can lift it are
// asked again and again.

// lookClock is the cause of a look at a proposal whose time nothing else brings up.
const lookClock = "clock"

// proposalTerms are those of the set in force; of no set, where it cannot be read.
func (a *activeSet) proposalTerms() policy.WaitingTerms {
	if set, err := a.judging(); err == nil {
		return set.Proposals()
	}
	return policy.StandardProposalTerms()
}

// draft opens a proposal of the actor.
func (tx *transaction) draft(ctx context.Context, kind countersign.ProposalKind, files countersign.Digest, system countersign.SystemID, reason string) (string, error) {
	clock, err := tx.proposalClock(ctx, &countersign.Proposal{Kind: kind, System: system, By: tx.occasion.Actor.Identity(), At: tx.now()})
	if err != nil {
		return "", err
	}
	proposal, events, err := workflow.DraftProposal(tx.occasion, kind, files, system, reason, clock)
	if err != nil {
		return "", err
	}
	tx.put(proposal, 0)
	tx.events = append(tx.events, events...)
	tx.schedule(string(proposal.ID), store.ProposalWork, workflow.ProposalDue(proposal))
	return string(proposal.ID), nil
}

// proposalClock is until when a proposal waits that has no deadline yet, and who may
// decide it now.
func (tx *transaction) proposalClock(ctx context.Context, proposal *countersign.Proposal) (workflow.ProposalClock, error) {
	people, err := tx.holdersOf(ctx, powersFor(proposal.Kind)...)
	if err != nil {
		return workflow.ProposalClock{}, err
	}
	people = unique(append(people, tx.fit(tx.directory.ownersOf(proposal.System), nil)...))
	clock := workflow.ProposalClock{Told: []countersign.IdentityID{}}
	clock.Told = append(clock.Told, slices.DeleteFunc(people, func(id countersign.IdentityID) bool { return id == proposal.By })...)
	clock.Until, clock.RemindAt = tx.policy.proposalTerms().Clock(proposal.At, tx.now())
	return clock, nil
}

// SweepProposals makes due a look at every proposal that has no deadline yet, being
// from before there were any, or whose time came and whose timer is lost.
func (d *Desk) SweepProposals(ctx context.Context) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	var before countersign.ProposalID
	for {
		proposals, err := d.Store.Proposals(ctx, []countersign.ProposalState{countersign.ProposalOpen, countersign.ProposalProvisional}, before, proposalPage)
		if err != nil {
			return err
		}
		for _, proposal := range proposals {
			if workflow.ProposalDue(proposal) <= tx.now() {
				tx.look(string(proposal.ID), store.ProposalWork, lookClock)
			}
		}
		if len(proposals) < proposalPage {
			break
		}
		before = proposals[len(proposals)-1].ID
	}
	if len(tx.change.Work) == 0 {
		return nil
	}
	return late(tx.commit(ctx))
}

const proposalPage = 500

// TickProposals lets time pass for proposals: those who may decide are reminded, and
// what nobody has decided in time lapses. What one person alone has put into force is
// taken back with it.
func (d *Desk) TickProposals(ctx context.Context, works []store.Work) error {
	err := d.together(ctx, len(works), nil, func(tx *transaction, i int) error {
		proposal, err := d.Store.Proposal(ctx, countersign.ProposalID(works[i].Ref))
		if err != nil {
			return err
		}
		if !proposal.State.Decided() && !tx.written(works[i].Ref) {
			if err := tx.tickProposal(ctx, proposal); err != nil {
				return err
			}
		}
		tx.looked(works[i], workflow.ProposalDue(proposal))
		return nil
	})
	if err != nil || len(works) == 0 {
		return err
	}
	return d.Refresh(ctx)
}

func (tx *transaction) tickProposal(ctx context.Context, proposal *countersign.Proposal) error {
	clock, err := tx.proposalClock(ctx, proposal)
	if err != nil {
		return err
	}
	standing := workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}
	after, event, err := workflow.DecideProposal(tx.occasion, proposal, workflow.ProposalCommand{Name: workflow.Tick, Clock: clock}, standing)
	if err != nil || after == nil {
		return err
	}
	tx.put(after, proposal.Version)
	tx.events = append(tx.events, event)
	tx.schedule(string(proposal.ID), store.ProposalWork, workflow.ProposalDue(after))
	if after.State == countersign.ProposalLapsed && proposal.State == countersign.ProposalProvisional {
		return tx.endEmergency(ctx, proposal)
	}
	return nil
}

// RemindOfHolds tells of holds that are in force for long: who put one and who owns what
// is held, and from the second time on administrators as well.
func (d *Desk) RemindOfHolds(ctx context.Context) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	var due []countersign.HoldID
	var before countersign.HoldID
	for {
		holds, err := d.Store.Holds(ctx, false, before, holdPage)
		if err != nil {
			return err
		}
		for _, hold := range holds {
			if workflow.HoldDue(hold) <= tx.now() {
				due = append(due, hold.ID)
			}
		}
		if len(holds) < holdPage {
			break
		}
		before = holds[len(holds)-1].ID
	}
	return d.together(ctx, len(due), nil, func(tx *transaction, i int) error {
		hold, found, err := tx.loadHold(ctx, due[i])
		if err != nil || hold.State() != countersign.HoldActive {
			return err
		}
		told := tx.fit(append([]countersign.IdentityID{hold.By}, found.owners...), nil)
		if hold.RemindedAt != 0 || len(told) == 0 {
			told = unique(append(told, tx.withPower(PowerAdministrator)...))
		}
		standing := workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}
		after, event, err := workflow.TickHold(tx.occasion, hold, told, standing)
		if err != nil || after == nil {
			return err
		}
		tx.put(after, hold.Version)
		tx.events = append(tx.events, event)
		return nil
	})
}
