package desk

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/faultpoint"
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
	// Extends, Rotates, Exception and Questions are there where the request has them.
	Extends   countersign.GrantID    `json:"extends,omitempty"`
	Rotates   *countersign.Rotates   `json:"rotates,omitempty"`
	Adopts    countersign.FindingID  `json:"adopts,omitempty"`
	Exception *countersign.Exception `json:"exception,omitempty"`
	Questions countersign.Digest     `json:"questions,omitempty"`
	// Effects are what the connectors said that they would do.
	Effects []string `json:"effects,omitempty"`
	// Grants are what a review is about.
	Grants []countersign.GrantRef `json:"grants,omitempty"`
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
		Extends: request.Extends, Rotates: request.Rotates, Adopts: request.Adopts, Exception: request.Exception, Effects: request.Effects,
	}
	if len(request.Questions) > 0 {
		var err error
		if page.Questions, err = countersign.DigestOf("questions", request.Questions); err != nil {
			return "", err
		}
	}
	for _, slot := range request.Evidence {
		if slot.Held != nil {
			page.Evidence[slot.Name] = slot.Held.Digest
		}
	}
	if open := request.OpenStages(); len(open) > 0 {
		page.Step = request.Stages[open[0]].Step
		if request.Stages[open[0]].Review {
			page.Grants = request.Grants
		}
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

	finding countersign.Outcome
}

// Approve takes one person's approval.
func (d *Desk) Approve(ctx context.Context, caller Caller, key Key, id countersign.RequestID, decision Decision) error {
	return d.decide(ctx, caller, key, id, workflow.Approve, decision)
}

// Deny takes one person's denial, which ends the request.
func (d *Desk) Deny(ctx context.Context, caller Caller, key Key, id countersign.RequestID, decision Decision) error {
	return d.decide(ctx, caller, key, id, workflow.Deny, decision)
}

// Review takes what one person found of what was done with access that was taken
// by break-glass.
func (d *Desk) Review(ctx context.Context, caller Caller, key Key, id countersign.RequestID, finding countersign.Outcome, decision Decision) error {
	decision.finding = finding
	return d.decide(ctx, caller, key, id, workflow.Review, decision)
}

func (d *Desk) decide(ctx context.Context, caller Caller, key Key, id countersign.RequestID, name workflow.Command, decision Decision) error {
	foresee := func(tx *transaction) store.Questions {
		questions := tx.foreseeMatter(string(id), store.GuardHold(string(caller.Identity)))
		questions.RequestIDs, questions.Heads = []countersign.RequestID{id}, []countersign.Stream{countersign.Stream(id)}
		return questions
	}
	err := d.onRequestLooking(ctx, caller, key, id, foresee, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		command := workflow.RequestCommand{
			Name: name, Stage: decision.Stage, Reason: decision.Reason, Duration: decision.Duration,
			Shown: decision.Shown, Finding: decision.finding, Issuer: caller.Issuer, Strength: caller.Strength,
		}
		if err := tx.authorDecides(caller.Identity); err != nil {
			return command, workflow.RequestVerdict{}, err
		}
		// The holder's guard is read before the facts that it stands for.
		if name == workflow.Approve {
			if err := tx.read.look(ctx, tx.directory.questionsOf(s.matter, store.GuardHold(string(caller.Identity)))); err != nil {
				return command, workflow.RequestVerdict{}, err
			}
			if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
				return command, workflow.RequestVerdict{}, err
			}
		}
		if err := tx.refuseHeld(ctx, caller.Identity, "decide nothing"); err != nil {
			return command, workflow.RequestVerdict{}, err
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
				if asked.Person != caller.Identity {
					continue
				}
				s.resolver.relyOn(tx, asked.Rule, asked.Person)
				if asked.OnBehalfOf == "" {
					continue
				}
				if err := tx.lookForHolds(ctx, string(asked.OnBehalfOf)); err != nil {
					return command, verdict, err
				}
				if d.heldNow(string(asked.OnBehalfOf)) {
					return command, verdict, countersign.Errorf(countersign.Refused, "held", "A hold is in force on who you stand in for.")
				}
			}
		}
		faultpoint.Reach(faultpoint.BeforeDecision)
		return command, verdict, nil
	})
	if err == nil {
		faultpoint.Reach(faultpoint.AfterDecision)
	}
	return err
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

// Ask wants to know more before deciding.
func (d *Desk) Ask(ctx context.Context, caller Caller, key Key, id countersign.RequestID, question string) error {
	return d.say(ctx, caller, key, id, workflow.Ask, question)
}

// Answer tells an approver what was asked, which begins the time to decide anew.
func (d *Desk) Answer(ctx context.Context, caller Caller, key Key, id countersign.RequestID, answer string) error {
	return d.say(ctx, caller, key, id, workflow.Answer, answer)
}

// Unblock is one of the two voices that let somebody use break-glass again whose
// review is overdue.
func (d *Desk) Unblock(ctx context.Context, caller Caller, key Key, id countersign.RequestID, reason string) error {
	return d.say(ctx, caller, key, id, workflow.Unblock, reason)
}

// say gives a command that consists of words.
func (d *Desk) say(ctx context.Context, caller Caller, key Key, id countersign.RequestID, name workflow.Command, words string) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		return workflow.RequestCommand{Name: name, Reason: words}, workflow.RequestVerdict{Rungs: s.rungs}, checkReason(words)
	})
}

// Amend changes what an undecided request asks for. Type and beneficiary stay.
func (d *Desk) Amend(ctx context.Context, caller Caller, key Key, id countersign.RequestID, asking Asking) error {
	asked := tickets{}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		request, s, err := tx.readable(ctx, id)
		if err != nil {
			return "", err
		}
		if err := workflow.Allowed(workflow.RequestTransitions, request.State, workflow.Amend, s.standing); err != nil {
			return "", err
		}
		amendment := asking
		amendment.Type, amendment.Beneficiary, amendment.Extends, amendment.Adopts = request.Type, string(request.Beneficiary), request.Extends, request.Adopts
		if request.Rotates != nil {
			amendment.Rotates = request.Rotates.Grant
		}
		judged, err := d.judge(ctx, tx, caller, &amendment, request, asked)
		if err != nil {
			return "", err
		}
		if err := refusal(judged.preview.Plan.Refusals); err != nil {
			return "", err
		}
		route, verdict, err := tx.route(ctx, judged, amendment)
		if err != nil {
			return "", err
		}
		// Amending again and again gives no more time to collect.
		if request.State == countersign.RequestCollecting {
			route.CollectBy = countersign.Earliest(route.CollectBy, request.CollectBy)
		}
		// Evidence that is not given anew stays as it is.
		for i := range route.Evidence {
			for _, was := range request.Evidence {
				if slot := &route.Evidence[i]; slot.Name == was.Name && slot.Record == was.Record && slot.Held == nil {
					slot.Held = was.Held
				}
			}
		}
		verdict.Standing = s.standing
		outcome, err := workflow.AmendRequest(tx.occasion, request, route, verdict)
		if err != nil {
			return "", err
		}
		tx.writeRouted(judged, outcome, request)
		return string(id), nil
	})
	return err
}

// Cancel takes a request back that is not decided yet.
func (d *Desk) Cancel(ctx context.Context, caller Caller, key Key, id countersign.RequestID, reason string) error {
	return d.onRequest(ctx, caller, key, id, func(*transaction, *countersign.Request, *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		return workflow.RequestCommand{Name: workflow.Cancel, Reason: reason}, workflow.RequestVerdict{}, checkReason(reason)
	})
}

// Close gives back everything that a request gave, at once; the request closes by
// itself when all of it is read back as gone. Of a request that only waits for
// evidence which never came, it says that it closes without.
func (d *Desk) Close(ctx context.Context, caller Caller, key Key, id countersign.RequestID, reason string) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		command := workflow.RequestCommand{Name: workflow.Close, Reason: reason}
		if err := checkReason(reason); err != nil {
			return command, workflow.RequestVerdict{}, err
		}
		return command, workflow.RequestVerdict{}, tx.closeGrants(ctx, request, s, reason)
	})
}

// closeGrants ends what the request gave and is not ending yet.
func (tx *transaction) closeGrants(ctx context.Context, request *countersign.Request, s *stance, reason string) error {
	active := request.State == countersign.RequestFulfilling || request.State == countersign.RequestActive
	if !active || workflow.Allowed(workflow.RequestTransitions, request.State, workflow.Close, s.standing) != nil {
		return nil // the law says why
	}
	if request.Extends != "" {
		return countersign.Errorf(countersign.Conflict, "nothing-to-close", "This only moves the end of the grant %s: revoke that, or let it be.", request.Extends)
	}
	if request.Rotates != nil {
		return countersign.Errorf(countersign.Conflict, "nothing-to-close", "This only gives the grant %s another credential: revoke that, or let it be.", request.Rotates.Grant)
	}
	for _, ref := range request.Grants {
		if ref.State != countersign.GrantProvisioning && ref.State != countersign.GrantLive {
			continue
		}
		grant, err := tx.desk.Store.Grant(ctx, ref.Grant)
		if err != nil {
			return err
		}
		standing, err := tx.standOnGrant(ctx, grant)
		if err != nil {
			return err
		}
		if err := tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Revoke, Reason: reason}, workflow.GrantVerdict{Standing: standing}); err != nil {
			return err
		}
	}
	return nil
}

// onRequest runs one command of a person on a request.
func (d *Desk) onRequest(ctx context.Context, caller Caller, key Key, id countersign.RequestID,
	prepare func(*transaction, *countersign.Request, *stance) (workflow.RequestCommand, workflow.RequestVerdict, error)) error {
	return d.onRequestLooking(ctx, caller, key, id, foreseeRequest(id), prepare)
}

// onRequestLooking is onRequest for a command that knows before what it will ask of
// storage.
func (d *Desk) onRequestLooking(ctx context.Context, caller Caller, key Key, id countersign.RequestID, foresee foresight,
	prepare func(*transaction, *countersign.Request, *stance) (workflow.RequestCommand, workflow.RequestVerdict, error)) error {
	_, err := d.commandLooking(ctx, caller, key, foresee, func(tx *transaction) (string, error) {
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
			if len(tx.events) == 0 {
				tx.guards = map[string]store.Guard{}
			}
			return string(id), nil
		}
		tx.relyOnPolicy()
		tx.write(outcome, request, verdict.Changed)
		return string(id), nil
	})
	return err
}

// foreseeRequest asks for a request and for what a command on it is chained to.
func foreseeRequest(id countersign.RequestID) foresight {
	return func(*transaction) store.Questions {
		return store.Questions{RequestIDs: []countersign.RequestID{id}, Heads: []countersign.Stream{countersign.Stream(id)}}
	}
}

// readable loads a request that the actor may see.
func (tx *transaction) readable(ctx context.Context, id countersign.RequestID) (*countersign.Request, *stance, error) {
	request, err := tx.read.Request(ctx, id)
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
	if tx.match != nil {
		if err := tx.match(request.Version); err != nil {
			return nil, nil, err
		}
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
	same := tx.directory.onePerson(s.matter, request.SamePerson)
	if decider := request.KeptOutDecider(same); decider != "" {
		refusals = append(refusals, policy.Refusal{Reason: "separation-of-duties", Because: fmt.Sprintf("%s approved an earlier stage and now %s: the request has to be asked for anew.", tx.directory.nameOf(decider), same[decider])})
	}
	if added, err := tx.newStages(ctx, request, s.resolver); err != nil {
		return verdict, err
	} else if len(added) > 0 {
		refusals = append(refusals, policy.Refusal{Reason: "path-has-changed", Because: fmt.Sprintf("The stage %q has to decide, too, by now: look at the request again in a moment.", request.Stages[added[0]].Name)})
	}
	for id := range tx.directory.redefined(request) {
		refusals = append(refusals, policy.Refusal{Reason: "redefined", Because: fmt.Sprintf("%s means something else by now: look at the request again in a moment.", tx.directory.entitlementRef(id).Name)})
	}
	if id := request.Changes(); id != "" {
		if verdict.Changed, err = tx.read.Grant(ctx, id); err != nil {
			return verdict, err
		}
	}
	if pinned, err := tx.desk.policySet(ctx, request.PolicySet); err == nil {
		verdict.Tell = s.resolver.tell(pinned.Tell(request.Type))
	}
	verdict.Refusal = refusal(refusals)
	verdict.Facts, err = countersign.Canonical(facts)
	s.resolver.relyOnMatter(tx)
	return verdict, err
}

// recheck asks today's policy set for everything that can only refuse.
func (tx *transaction) recheck(ctx context.Context, request *countersign.Request, r *resolved, same map[countersign.IdentityID]string) (policy.Facts, []policy.Refusal, error) {
	r.rotates = request.Rotates != nil
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
	if exception := request.Exception; exception != nil {
		owner := tx.directory.identities[exception.Owner]
		if owner != nil {
			tx.relyOn(owner)
		}
		facts.Exception = &policy.ExceptionFact{Control: exception.Control, Owner: exception.Owner, OwnerActive: owner != nil && owner.ActiveAt(tx.now()), Until: exception.Until}
		for _, waived := range exception.Waives {
			facts.Exception.Waived = append(facts.Exception.Waived, policy.Refusal{Reason: waived.Reason, Rule: waived.Rule})
		}
	}
	complete, err := tx.facts(ctx, r, set, request.Type, facts, request.ID, nil)
	if err == nil {
		facts = complete
	} else if kind := countersign.KindOf(err); kind == countersign.Internal || kind == countersign.Unavailable {
		return facts, nil, err
	}
	refusals := slices.Concat(set.Recheck(request.Type, facts), tx.desk.refuseHeld(r.matter), tx.refuseUnsponsored(r.matter), tx.refuseAuthor(r.matter), tx.refuseUntrusted(set, request))
	if !request.BreakGlass && request.Rotates == nil {
		refusals = append(refusals, tx.refuseUnconfirmed(r.matter)...)
	}
	for _, item := range r.matter.items {
		if item.entitlement.Retired || item.system.Retired {
			refusals = append(refusals, policy.Refusal{Reason: "retired", Because: "The entitlement " + r.directory.rightName(item.entitlement) + " is retired."})
		}
		held, err := tx.heldElsewhere(ctx, r.matter.beneficiary.ID, item.entitlement.ID, request.ID)
		if err != nil {
			return facts, nil, err
		}
		if held != nil && held.ID != request.Changes() {
			refusals = append(refusals, policy.Refusal{Reason: "already-held", Because: r.directory.alreadyHeld(held)})
		}
	}
	return facts, refusals, nil
}
