package desk

import (
	"context"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// notFound is the one answer for a request that is not there and for one that
// the caller may not know of.
func notFound(noun, id string) error {
	return countersign.Errorf(countersign.NotFound, "no-such-"+noun, "There is no %s %q that you may see.", noun, countersign.Clip(id))
}

// DecisionPage is exactly what a person is shown who decides; a decision is
// bound to its digest.
type DecisionPage struct {
	Request      countersign.RequestID               `json:"request"`
	Type         string                              `json:"type"`
	Requester    countersign.IdentityID              `json:"requester"`
	Beneficiary  countersign.IdentityID              `json:"beneficiary"`
	Entitlements []countersign.EntitlementID         `json:"entitlements"`
	Reason       string                              `json:"reason"`
	Answers      countersign.Digest                  `json:"answers"`
	Duration     countersign.Seconds                 `json:"duration"`
	LatestEnd    countersign.Instant                 `json:"latest_end"`
	Evidence     map[string]countersign.Digest       `json:"evidence"`
	Route        countersign.Digest                  `json:"route"`
	PolicySet    countersign.Digest                  `json:"policy_set"`
	Consent      map[string]countersign.IdentityID   `json:"consent"`
	Versions     map[countersign.EntitlementID]int64 `json:"versions"`
	// Step is the step of the open stages; 0 where none is open.
	Step int `json:"step"`
}

// pageOf builds the page, without what other people decide meanwhile: their
// decisions change nothing about what is asked.
func (d *snapshot) pageOf(request *countersign.Request) (countersign.Digest, error) {
	page := DecisionPage{
		Request: request.ID, Type: request.Type, Requester: request.Requester, Beneficiary: request.Beneficiary,
		Entitlements: request.Entitlements, Reason: request.Reason, Duration: request.Duration, LatestEnd: request.LatestEnd,
		Answers: countersign.DigestBytes("answers", request.Answers), Evidence: map[string]countersign.Digest{},
		Route: request.Route, PolicySet: request.PolicySet, Versions: map[countersign.EntitlementID]int64{},
		Consent: map[string]countersign.IdentityID{"of": request.Consent.Of, "by": request.Consent.By},
	}
	for _, slot := range request.Evidence {
		if slot.Held != nil {
			page.Evidence[slot.Name] = slot.Held.Digest
		}
	}
	if open := request.OpenStages(); len(open) > 0 {
		page.Step = request.Stages[open[0]].Step
	}
	for _, id := range request.Entitlements {
		if entitlement := d.entitlements[id]; entitlement != nil {
			page.Versions[id] = entitlement.Version
		}
	}
	return countersign.DigestOf("decision-page", page)
}

// Decision is what somebody says about an open stage.
type Decision struct {
	// Stage names the stage; "" where only one asks the person.
	Stage  string
	Reason string
	// Duration shortens what was asked for; zero leaves it.
	Duration countersign.Seconds
	// Shown is the digest of what the person was shown.
	Shown countersign.Digest
}

// Approve takes one person's approval.
func (d *Desk) Approve(ctx context.Context, caller Caller, key Key, id countersign.RequestID, decision Decision) error {
	return d.decide(ctx, caller, key, id, workflow.Approve, decision)
}

// Deny takes one person's denial, which ends the request.
func (d *Desk) Deny(ctx context.Context, caller Caller, key Key, id countersign.RequestID, decision Decision) error {
	return d.decide(ctx, caller, key, id, workflow.Deny, decision)
}

func (d *Desk) decide(ctx context.Context, caller Caller, key Key, id countersign.RequestID, name workflow.Command, decision Decision) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		command := workflow.RequestCommand{
			Name: name, Stage: decision.Stage, Reason: decision.Reason, Duration: decision.Duration,
			Shown: decision.Shown, Issuer: caller.Issuer, Strength: caller.Strength,
		}
		// The holder's guard is read before the facts that it stands for.
		if name == workflow.Approve {
			if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
				return command, workflow.RequestVerdict{}, err
			}
		}
		if err := tx.lookForHolds(ctx, string(caller.Identity)); err != nil {
			return command, workflow.RequestVerdict{}, err
		}
		if d.heldNow(string(caller.Identity)) {
			return command, workflow.RequestVerdict{}, countersign.Errorf(countersign.Refused, "held", "A hold is in force on you: you decide nothing until it is lifted.")
		}
		verdict, err := tx.verdict(ctx, request, s)
		if err != nil {
			return command, verdict, err
		}
		if err := checkReason(decision.Reason); err != nil {
			return command, verdict, err
		}
		// Standing is what it is at this commit: the person and the path by which a
		// rule finds them are guarded.
		for _, index := range request.OpenStages() {
			if len(s.rungs[index]) == 0 {
				continue
			}
			for _, asked := range s.rungs[index][0].Asked {
				if asked.Person == caller.Identity {
					s.resolver.relyOn(tx, asked.Rule, asked.Person)
				}
			}
		}
		return command, verdict, nil
	})
}

// Consent is given by the accountable owner of an NHI who did not ask.
func (d *Desk) Consent(ctx context.Context, caller Caller, key Key, id countersign.RequestID) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
			return workflow.RequestCommand{}, workflow.RequestVerdict{}, err
		}
		verdict, err := tx.verdict(ctx, request, s)
		// Consent is the owner's who was named, or today's.
		owner := caller.Identity == request.Consent.Of || caller.Identity == s.matter.beneficiary.Owner
		if err == nil && request.Consent.Of != "" && !owner {
			err = countersign.Errorf(countersign.Refused, "not-the-owner", "Only %s can consent: who answers for %s and did not ask.", tx.directory.nameOf(request.Consent.Of), s.matter.beneficiary.Name)
		}
		return workflow.RequestCommand{Name: workflow.Consent}, verdict, err
	})
}

// Attach fills an evidence slot.
func (d *Desk) Attach(ctx context.Context, caller Caller, key Key, id countersign.RequestID, evidence EvidenceContent) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
			return workflow.RequestCommand{}, workflow.RequestVerdict{}, err
		}
		verdict, err := tx.verdict(ctx, request, s)
		if err != nil {
			return workflow.RequestCommand{}, verdict, err
		}
		held, err := tx.keep(evidence.Content, "upload", "")
		if err != nil {
			return workflow.RequestCommand{}, verdict, err
		}
		return workflow.RequestCommand{Name: workflow.Attach, Slot: evidence.Slot, Evidence: *held}, verdict, nil
	})
}

// Cancel takes a request back that is not decided yet.
func (d *Desk) Cancel(ctx context.Context, caller Caller, key Key, id countersign.RequestID, reason string) error {
	return d.onRequest(ctx, caller, key, id, func(*transaction, *countersign.Request, *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		return workflow.RequestCommand{Name: workflow.Cancel, Reason: reason}, workflow.RequestVerdict{}, checkReason(reason)
	})
}

// onRequest runs one command of a person on a request.
func (d *Desk) onRequest(ctx context.Context, caller Caller, key Key, id countersign.RequestID,
	prepare func(*transaction, *countersign.Request, *stance) (workflow.RequestCommand, workflow.RequestVerdict, error)) error {
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		request, s, err := tx.readable(ctx, id)
		if err != nil {
			return "", err
		}
		command, verdict, err := prepare(tx, request, s)
		if err != nil {
			return "", err
		}
		verdict.Standing = s.standing
		outcome, err := workflow.DecideRequest(tx.occasion, request, command, verdict)
		if err != nil {
			return "", err
		}
		if len(outcome.Events) == 0 {
			tx.guards = map[string]store.Guard{}
			return string(id), nil
		}
		tx.relyOnPolicy()
		tx.write(outcome, request)
		return string(id), nil
	})
	return err
}

// readable loads a request that the actor may see.
func (tx *transaction) readable(ctx context.Context, id countersign.RequestID) (*countersign.Request, *stance, error) {
	request, err := tx.desk.Store.Request(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound {
		return nil, nil, notFound("request", string(id))
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := tx.stand(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	if !s.mayRead {
		return nil, nil, notFound("request", string(id))
	}
	return request, s, nil
}

// verdict fills what a decision on the request may need to know.
func (tx *transaction) verdict(ctx context.Context, request *countersign.Request, s *stance) (workflow.RequestVerdict, error) {
	verdict := workflow.RequestVerdict{Standing: s.standing, Rungs: s.rungs, Systems: s.matter.systems()}
	err := tx.lookAtMatter(ctx, s.matter)
	if err != nil {
		return verdict, err
	}
	if verdict.ShownNow, err = tx.directory.pageOf(request); err != nil {
		return verdict, err
	}
	facts, refusals, err := tx.recheck(ctx, request, s.resolver, s.same)
	if err != nil {
		return verdict, err
	}
	if decider := request.KeptOutDecider(s.same); decider != "" {
		refusals = append(refusals, policy.Refusal{Reason: "separation-of-duties", Because: fmt.Sprintf("%s approved an earlier stage and now %s: the request has to be asked for anew.", tx.directory.nameOf(decider), s.same[decider])})
	}
	verdict.Refusal = refusal(refusals)
	verdict.Facts, err = countersign.Canonical(facts)
	s.resolver.relyOnMatter(tx)
	return verdict, err
}

// recheck asks today's policy set for everything that can only refuse.
func (tx *transaction) recheck(ctx context.Context, request *countersign.Request, r *resolved, same map[countersign.IdentityID]string) (policy.Facts, []policy.Refusal, error) {
	facts := r.baseFacts(request.Reason, request.Duration, 0, request.Answers, same)
	for _, slot := range request.Evidence {
		if slot.Held != nil {
			facts.Evidence = append(facts.Evidence, slot.Name)
		}
	}
	set, err := tx.policy.judging()
	if err != nil {
		return facts, nil, err
	}
	complete, err := r.facts(set, request.Type, facts, func() (int, error) {
		return tx.desk.openRequests(ctx, request.Beneficiary, request.Type, request.ID)
	})
	if err == nil {
		facts = complete
	} else if countersign.KindOf(err) == countersign.Internal {
		return facts, nil, err
	}
	refusals := append(set.Recheck(request.Type, facts), tx.desk.refuseHeld(r.matter)...)
	for _, item := range r.matter.items {
		if item.entitlement.Retired || item.system.Retired {
			refusals = append(refusals, policy.Refusal{Reason: "retired", Because: "The entitlement " + r.directory.rightName(item.entitlement) + " is retired."})
		}
		held, err := tx.desk.heldElsewhere(ctx, r.matter.beneficiary.ID, item.entitlement.ID, request.ID)
		if err != nil {
			return facts, nil, err
		}
		if held != nil {
			refusals = append(refusals, policy.Refusal{Reason: "already-held", Because: r.directory.alreadyHeld(held)})
		}
	}
	return facts, refusals, nil
}
