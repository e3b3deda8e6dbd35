package sim

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/target/tickets"
)

// Acts of triage, batches, ownership and emergencies.

// describe asks in words.
func (s *story) describe() error {
	asker := pick(s, "ana", "ana", "ben", "max", "cora")
	asked := desk.Describing{Text: "I need whatever the books of the month take", Impact: pick(s, "", "low", "high"), Urgency: pick(s, "", "medium", "high")}
	if asker == "ana" && s.chance(20) {
		asked.Beneficiary = pick(s, "svc-ana", "agent")
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Describe(s.ctx, s.as(asker), key, asked)
		return string(id), err
	})
}

// described draws a description that nobody has sorted yet.
func (s *story) described() *countersign.Request {
	return s.someRequest(func(r *countersign.Request) bool { return r.State == countersign.RequestTriaging })
}

// sorter is mostly somebody who may.
func (s *story) sorter() desk.Caller { return s.as(pick(s, "oda", "oda", "odo", "odo", "ana", "adam")) }

func (s *story) classify() error {
	request, sorter := s.described(), s.sorter()
	if request == nil {
		return errNothing
	}
	said := desk.Classification{
		Entitlements: []string{pick(s, "ledger/books/read", "ledger/books/write", "ledger/vaults/open", "wiki/space/reader", "wiki/space/editor")},
		Duration:     pick(s, 0, countersign.Day, 20*countersign.Day),
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Classify(s.ctx, sorter, key, request.ID, said))
	})
}

func (s *story) prioritise() error {
	request, sorter, impact := s.described(), s.sorter(), pick(s, "low", "medium", "high")
	if request == nil {
		return errNothing
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Prioritise(s.ctx, sorter, key, request.ID, impact, "high"))
	})
}

func (s *story) decline() error {
	request := s.described()
	if request == nil {
		return errNothing
	}
	return s.declineOne(request, pick(s, "oda", "odo", "ana"))
}

func (s *story) declineOne(request *countersign.Request, who string) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Decline(s.ctx, s.as(who), key, request.ID, "this is nothing that the desk gives"))
	})
}

// merge ends a description in favour of another request of the same person. Two
// operators may do so both ways at once.
func (s *story) merge() error {
	request, sorter := s.described(), s.sorter()
	if request == nil {
		return errNothing
	}
	into := s.someRequest(func(r *countersign.Request) bool {
		return r.ID != request.ID && r.Beneficiary == request.Beneficiary && (!r.State.Final() || s.chance(10))
	})
	if into == nil {
		return errNothing
	}
	if into.State == countersign.RequestTriaging && s.depth == 0 && s.chance(50) {
		s.faults.meanwhile = func() {
			s.depth++
			defer func() { s.depth-- }()
			s.tell("meanwhile the other way: %v", s.mergeInto(into, request, s.as("odo")))
		}
	}
	return s.mergeInto(request, into, sorter)
}

func (s *story) mergeInto(request, into *countersign.Request, who desk.Caller) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Merge(s.ctx, who, key, request.ID, into.ID, "it asks for the same"))
	})
}

// ask is a question of an operator, or of somebody who is to decide.
func (s *story) ask() error {
	request := s.someRequest(func(r *countersign.Request) bool {
		return r.State == countersign.RequestTriaging || r.State == countersign.RequestDeciding
	})
	if request == nil {
		return errNothing
	}
	caller := s.sorter()
	if open := request.OpenStages(); len(open) > 0 && len(request.Stages[open[0]].Asked) > 0 {
		caller = desk.Caller{Identity: pick(s, request.Stages[open[0]].Asked...).Person}
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Ask(s.ctx, caller, key, request.ID, "Which books are these?"))
	})
}

func (s *story) answer() error {
	request := s.someRequest(func(r *countersign.Request) bool {
		return (r.State == countersign.RequestTriaging || r.State == countersign.RequestDeciding) &&
			slices.ContainsFunc(r.Questions, func(q countersign.Question) bool { return q.AnsweredAt == 0 })
	})
	if request == nil {
		return errNothing
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Answer(s.ctx, desk.Caller{Identity: request.Requester}, key, request.ID, "Those of the month."))
	})
}

// submitMany asks for several at once, some of whom will be refused. Its reason is
// its own, by which what came of it is found.
func (s *story) submitMany() error {
	asking := desk.ManyAsking{
		Beneficiaries: pick(s, []string{"ana", "ben"}, []string{"ana", "cora", "svc"}, []string{"ben", "svc-ana", "agent"}, []string{"ana", "nobody"}),
		Entitlements:  pick(s, []string{"ledger/books/read"}, []string{"ledger/books/write", "ledger/vaults/open"}, []string{"wiki/space/reader", "wiki/space/editor"}),
		Duration:      pick(s, countersign.Day, 10*countersign.Day), Reason: fmt.Sprintf("the course %d begins", s.commands),
	}
	asker := pick(s, "ana", "max", "pia")
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.SubmitMany(s.ctx, s.as(asker), key, asking)
		return string(id), err
	})
}

// confirm is the word of an owner, or of somebody else, that a machine or a system is
// still as it says.
func (s *story) confirm() error {
	l, name, by := s.look(), pick(s, "svc", "svc-ana", "agent", "ledger", "wiki"), s.as(pick(s, people...))
	for _, system := range l.directory.Systems {
		if system.Name == name && s.chance(85) {
			by.Identity = system.Owner
		}
	}
	if id, known := s.houses[0].Desk.Resolve(name); known && s.chance(85) {
		by.Identity = l.identities[id].Owner
	}
	return s.confirmOne(name, by)
}

func (s *story) confirmOne(name string, by desk.Caller) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		if name == "ledger" || name == "wiki" {
			return with("", h.Desk.ConfirmSystem(s.ctx, by, key, name, "it is as it was"))
		}
		return with("", h.Desk.ConfirmIdentity(s.ctx, by, key, name, "it is as it was"))
	})
}

// confirmSystems are owners who do what they owe.
func (s *story) confirmSystems() {
	l := s.look()
	for _, system := range l.directory.Systems {
		if slices.Contains([]string{"ledger", "wiki", "gateway", "tools"}, system.Name) && system.LastConfirmed < l.now.Add(-60*countersign.Day) {
			_ = s.confirmOne(system.Name, desk.Caller{Identity: system.Owner})
		}
	}
}

// offerMachine offers a machine to somebody, or asks to take it over.
func (s *story) offerMachine() error {
	name, caller, to := pick(s, "svc", "svc-ana", "agent"), s.as(pick(s, "adam", "otto", "pia")), pick(s, "", "otto", "pia", "olga", "ana", "ben")
	if s.chance(50) {
		caller = desk.Caller{Identity: s.look().identities[s.as(name).Identity].Owner}
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with("", h.Desk.OfferOwnership(s.ctx, caller, key, name, to, "the work moves"))
	})
}

func (s *story) acceptMachine() error {
	var offered []*countersign.Identity
	for _, identity := range s.look().directory.Identities {
		if identity.Offer != nil {
			offered = append(offered, identity)
		}
	}
	if len(offered) == 0 {
		return errNothing
	}
	machine := pick(s, offered...)
	caller := s.accepting(machine.Offer, machine.Owner)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with("", h.Desk.AcceptOwnership(s.ctx, caller, key, string(machine.ID), "I know what it does"))
	})
}

// accepting is mostly the second person whom the offer needs.
func (s *story) accepting(offer *countersign.OwnershipOffer, owner countersign.IdentityID) desk.Caller {
	switch {
	case s.chance(20):
		return s.as(pick(s, people...))
	case offer.By == offer.To:
		return desk.Caller{Identity: owner}
	}
	return desk.Caller{Identity: offer.To}
}

func (s *story) offerSystem() error {
	name, caller, to := pick(s, "ledger", "wiki"), s.as(pick(s, "adam", "otto", "pit", "ana")), pick(s, "", "otto", "pia", "pit", "olga")
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with("", h.Desk.OfferSystem(s.ctx, caller, key, name, to, "the work moves"))
	})
}

func (s *story) acceptSystem() error {
	var offered []*countersign.System
	for _, system := range s.look().directory.Systems {
		if system.Offer != nil {
			offered = append(offered, system)
		}
	}
	if len(offered) == 0 {
		return errNothing
	}
	system := pick(s, offered...)
	caller := s.accepting(system.Offer, system.Owner)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with("", h.Desk.AcceptSystem(s.ctx, caller, key, system.Name, "I know what it is for"))
	})
}

// takePolicyPower takes the power to change the policy alone, by break-glass.
func (s *story) takePolicyPower() error {
	return s.takePolicyPowerAs(s.eligible("policy-on-call", "ana", "adam"))
}

func (s *story) takePolicyPowerAs(who desk.Caller) error {
	ticket, err := s.houses[0].Tickets.Open(s.ctx, s.as("otto").Identity, tickets.Incident, "The route leads to nobody")
	if err != nil {
		return err
	}
	asking := desk.Asking{Type: "emergency-policy", Entitlements: []string{"countersign/house/emergency-policy-author"}, Reason: "the route leads to nobody", Answers: []byte(`{"incident":"` + ticket.Key + `"}`)}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Submit(s.ctx, who, key, asking)
		return string(id), err
	})
}

// enforce puts another policy into force alone; now and then one that would give
// Ana decisions, which no one person may. Whoever has not the power takes it first.
func (s *story) enforce() error {
	files := s.files.clone()
	files.patient, files.generous = !files.patient, s.chance(40)
	who := s.eligible("policy-on-call", "ana", "adam")
	if held, err := s.houses[0].Desk.HoldsPower(who.Identity, desk.PowerEmergencyAuthor); !held || err != nil {
		if err := s.takePolicyPowerAs(who); err != nil {
			return err
		}
		if err := s.houses[0].Settle(s.ctx); err != nil {
			return err
		}
	}
	var id countersign.ProposalID
	err := s.command(func(h *house.House, key desk.Key) (string, error) {
		var err error
		id, err = h.Desk.Propose(s.ctx, who, key, countersign.PolicyProposal, files.policies(), "nobody can approve anything")
		if err == nil {
			s.widening[id] = files.generous
		}
		return string(id), err
	})
	if err != nil {
		return err
	}
	view, err := s.houses[0].Desk.Proposal(s.ctx, who, id)
	if err != nil {
		return err
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(id), h.Desk.Enforce(s.ctx, who, key, id, desk.ProposalDecision{Shown: view.Shown, Reason: "nobody can approve anything"}))
	})
}

// endEnforced is a second person's word on what one person put into force.
func (s *story) endEnforced() error {
	enforced := s.proposals(countersign.ProposalProvisional)
	if len(enforced) == 0 {
		return errNothing
	}
	id, who, publish := enforced[0].ID, pick(s, "alma", "alma", "adam", "olga"), s.chance(50)
	view, err := s.houses[0].Desk.Proposal(s.ctx, s.as(who), id)
	if err != nil {
		return err
	}
	decision := desk.ProposalDecision{Shown: view.Shown, Reason: "I have looked at it"}
	err = s.command(func(h *house.House, key desk.Key) (string, error) {
		if publish {
			return with(string(id), h.Desk.Publish(s.ctx, s.as(who), key, id, decision))
		}
		return with(string(id), h.Desk.Reject(s.ctx, s.as(who), key, id, decision))
	})
	if err == nil && publish {
		s.files.patient = !s.files.patient
	}
	return err
}

// close gives back all that a request gave, or closes without what never came.
func (s *story) close() error {
	request := s.someRequest(func(r *countersign.Request) bool {
		return r.State == countersign.RequestActive || r.State == countersign.RequestFulfilling || r.State == countersign.RequestClosing
	})
	if request == nil {
		return errNothing
	}
	caller := pick(s, desk.Caller{Identity: request.Requester}, s.as("adam"), s.as("otto"), s.as("syd"))
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Close(s.ctx, caller, key, request.ID, "the work is done"))
	})
}

// unblock is one voice for somebody whose review is overdue.
func (s *story) unblock() error {
	request := s.someRequest(func(r *countersign.Request) bool { return r.State == countersign.RequestClosing && reviewable(r) })
	if request == nil {
		return errNothing
	}
	caller := s.as(pick(s, "pia", "pit", "otto", "adam", "ana"))
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Unblock(s.ctx, caller, key, request.ID, "the review is on its way"))
	})
}
