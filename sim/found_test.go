package sim

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
)

// What becomes of access that was given by hand: it is taken away, or taken on the
// record as legacy; and proposals, by which the second happens.

// Remove implements connector.Remover.
func (f *fakeTarget) Remove(ctx context.Context, task connector.Task) error {
	return f.write(ctx, task, func() error {
		f.takes(task)
		delete(f.byHand, heldByOthers(task))
		return nil
	})
}

// Held implements connector.Remover.
func (f *fakeTarget) Held(_ context.Context, task connector.Task) (connector.Reading, error) {
	if f.down() {
		return connector.Reading{}, timeout()
	}
	return connector.Reading{Present: f.byHand[heldByOthers(task)], Reference: task.Principal, How: "the target looked"}, nil
}

// heldByOthers is the right that somebody else gave; the target calls people by their
// ids.
func heldByOthers(task connector.Task) handed {
	return handed{countersign.IdentityID(task.Principal), task.System, task.Resource, task.Entitlement}
}

func adoptedAs(grant *countersign.Grant) handed {
	return handed{countersign.IdentityID(grant.Adopted.Principal), grant.System, grant.Adopted.Resource, grant.Adopted.Entitlement}
}

// removeFound has access taken away that nobody asked for.
func (s *story) removeFound() error {
	findings, err := s.store.Findings(s.ctx, store.FindingQuery{})
	s.must(err)
	findings = slices.DeleteFunc(findings, func(f *countersign.Finding) bool { return f.Kind != countersign.OutOfBandFinding })
	if len(findings) == 0 {
		return errNothing
	}
	return s.removeOne(pick(s, findings...), s.as(pick(s, "otto", "otto", "pit", "adam", "ana")))
}

func (s *story) removeOne(finding *countersign.Finding, who desk.Caller) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(finding.ID), h.Desk.RemoveFound(s.ctx, who, key, finding.ID, "nobody asked for it"))
	})
}

// signBaseline takes what is there by hand on the record, by two people, or by one who
// tries to be both. Where nothing is, somebody gives something first.
func (s *story) signBaseline() error {
	if len(s.target.byHand) == 0 {
		_ = s.giveByHand()
	}
	if err := s.readTargets(s.houses[0]); err != nil {
		return err
	}
	who, signer := s.as(pick(s, "otto", "otto", "pit", "adam", "ana")), s.as(pick(s, "pit", "pit", "otto", "alma", "ben"))
	lasts := pick(s, 0, countersign.Day, 20*countersign.Day, 300*countersign.Day)
	var id countersign.ProposalID
	err := s.command(func(h *house.House, key desk.Key) (string, error) {
		var err error
		id, err = h.Desk.ProposeBaseline(s.ctx, who, key, "ledger", lasts, "what was there before")
		return string(id), err
	})
	if err != nil || s.chance(10) {
		return err
	}
	view, err := s.houses[0].Desk.Proposal(s.ctx, signer, id)
	if err != nil {
		return err
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(id), h.Desk.Publish(s.ctx, signer, key, id, desk.ProposalDecision{Shown: view.Shown}))
	})
}

// withdraw takes a proposal back, mostly as who made it; where none is open, one is
// made.
func (s *story) withdraw() error {
	open := s.proposals(countersign.ProposalOpen)
	if len(open) == 0 {
		files := s.files.clone()
		files.patient = !files.patient
		err := s.command(func(h *house.House, key desk.Key) (string, error) {
			id, err := h.Desk.Propose(s.ctx, s.as("adam"), key, countersign.PolicyProposal, files.policies(), "managers need longer")
			return string(id), err
		})
		if err != nil {
			return err
		}
		if open = s.proposals(countersign.ProposalOpen); len(open) == 0 {
			return errNothing
		}
	}
	proposal := pick(s, open...)
	who := desk.Caller{Identity: proposal.By}
	if s.chance(25) {
		who = s.as(pick(s, "alma", "otto", "ana"))
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(proposal.ID), h.Desk.Withdraw(s.ctx, who, key, proposal.ID, "it was a mistake"))
	})
}

// unremovable says why the target should not take this away now: nobody asked for it by
// name, or a grant gives it.
func (s *story) unremovable(task connector.Task) string {
	l := s.look()
	for _, grant := range l.grants {
		if grant.ID == task.Grant {
			// A second look takes away what came back since the first.
			if grant.State != countersign.GrantRevoking && grant.State != countersign.GrantRevoked || !s.committed(grant.ID, task.Intent) {
				return "the grant " + string(grant.ID) + " is " + string(grant.State) + ", and what it took on the record is taken away"
			}
		} else if grant.Adopted != nil && grant.State == countersign.GrantLive && adoptedAs(grant) == heldByOthers(task) {
			return "the grant " + string(grant.ID) + " gives what is taken away"
		}
	}
	if task.Grant != "" {
		return ""
	}
	asked := slices.ContainsFunc(l.findings, func(f *countersign.Finding) bool {
		return f.Removal != nil && f.Removal.Intent == task.Intent && f.Holder == countersign.IdentityID(task.Principal) && f.System == task.System && f.Resource == task.Resource && f.Entitlement == task.Entitlement
	})
	if !asked {
		return "nobody asked for " + task.Entitlement + " of " + task.Principal + " to be taken away"
	}
	return ""
}

// checkRemovals holds each removal to who may ask for it, and to what wakes it.
func (s *story) checkRemovals(l *look) {
	const law = "a removal is asked for by name"
	for _, finding := range l.findings {
		removal := finding.Removal
		if removal == nil {
			continue
		}
		if finding.State == countersign.FindingOpen && !removal.ByHand {
			if work, err := s.store.Work(s.ctx, store.RemovalKey(finding)); err != nil || work.ParkedAt != 0 {
				s.breaks("an owner and a clock", "the removal of the finding %s is nobody's work: %v", finding.ID, err)
			}
		}
		if s.laws.told[string(finding.ID)] == removal.At {
			continue
		}
		s.laws.told[string(finding.ID)] = removal.At
		answers := slices.ContainsFunc(l.directory.Systems, func(system *countersign.System) bool {
			return system.ID == finding.System && (system.Owner == removal.By || system.SecondOwner == removal.By || s.laws.rows[string(system.ID)] != system.Version)
		})
		if !answers && !l.hasPower(removal.By, desk.PowerAdministrator) || finding.Grant != "" || finding.Kind != countersign.OutOfBandFinding {
			s.breaks(law, "%s asked for the removal of the finding %s (%s), and does not answer for its system", removal.By, finding.ID, finding.Kind)
		}
	}
}

// hasPower reports whether a grant gives somebody the power, or gave it: who loses it in
// the step may have used it before.
func (l *look) hasPower(who countersign.IdentityID, name string) bool {
	return slices.ContainsFunc(l.grantsOf(who, name), func(grant *countersign.Grant) bool { return grant.System == l.powers })
}

// checkLegacy holds what was taken on the record to what two people signed: another
// than who proposed it, for a time, and only what was there.
func (s *story) checkLegacy(l *look) {
	const law = "legacy is signed by a second person"
	signed := map[countersign.ProposalID]*countersign.Proposal{}
	for _, proposal := range l.proposals {
		if proposal.State == countersign.ProposalPublished {
			signed[proposal.ID] = proposal
			if one := l.identities[proposal.DecidedBy]; one == nil || !one.Human() || proposal.DecidedBy == proposal.By {
				s.breaks("a proposal takes a second person", "%s made %s, and %s published it", proposal.By, proposal.ID, proposal.DecidedBy)
			}
		}
		if proposal.State == countersign.ProposalWithdrawn && proposal.DecidedBy != proposal.By {
			s.breaks("a proposal takes a second person", "%s made %s, and %s withdrew it", proposal.By, proposal.ID, proposal.DecidedBy)
		}
	}
	for _, grant := range l.grants {
		if grant.Origin != countersign.FromBaseline {
			continue
		}
		baseline := signed[grant.Adopted.Baseline]
		if baseline == nil || baseline.Kind != countersign.BaselineProposal || baseline.System != grant.System {
			s.breaks(law, "the grant %s is legacy by %s, which nobody signed", grant.ID, grant.Adopted.Baseline)
			continue
		}
		if grant.Request == "" && grant.Until > baseline.DecidedAt.Add(desk.MaxBaselineTime) {
			s.breaks(law, "the grant %s lasts until %s, and its baseline was signed at %s", grant.ID, grant.Until, baseline.DecidedAt)
		}
		if by := adoptedAs(grant); !s.target.ever[by] || by.holder != grant.Holder || by.entitlement != l.names[grant.Entitlement] {
			s.breaks(law, "the grant %s says that %s had %s, which was never there", grant.ID, by.holder, by.entitlement)
		}
		if grant.State.Ended() && grant.State != countersign.GrantFailed && s.target.byHand[adoptedAs(grant)] && !s.target.again[adoptedAs(grant)] {
			s.breaks("no access after its end", "the grant %s is %s, and the target has what it took on the record", grant.ID, grant.State)
		}
	}
}
