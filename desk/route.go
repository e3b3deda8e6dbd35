package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/workflow"
)

// route turns a judgement into what the law needs to open a request, or to amend
// one.
func (tx *transaction) route(ctx context.Context, j *judgement, asking Asking) (workflow.Route, workflow.RequestVerdict, error) {
	plan := j.preview.Plan
	// In their one form, so that an amendment that says the same is the same.
	answers, err := countersign.Canonical(asking.Answers)
	if err != nil {
		return workflow.Route{}, workflow.RequestVerdict{}, countersign.Errorf(countersign.Invalid, "not-representable", "The answers cannot be kept: %v.", err).At("/answers")
	}
	asking.Answers = answers
	facts, err := countersign.Canonical(j.facts)
	if err != nil {
		return workflow.Route{}, workflow.RequestVerdict{}, countersign.Errorf(countersign.Invalid, "not-representable", "The answers cannot be kept: %v.", err).At("/answers")
	}
	route := workflow.Route{
		Type: plan.Type, Title: plan.Title, Requester: j.matter.requester.ID, Beneficiary: j.matter.beneficiary.ID,
		SamePerson: sortedIDs(j.same), Reason: asking.Reason, Answers: asking.Answers, Effects: j.planned(), Duration: plan.Duration, LatestEnd: plan.LatestEnd,
		Route: j.preview.Route, ConsentOf: j.preview.ConsentOf, Fulfil: plan.Fulfil, Terms: plan.Terms, Facts: facts,
		BreakGlass: plan.BreakGlass, Extends: asking.Extends, Adopts: asking.Adopts, Ticket: asking.Ticket,
	}
	if plan.Rotates != nil {
		route.Rotates = &countersign.Rotates{Grant: asking.Rotates, Overlap: plan.Rotates.Overlap}
	}
	verdict := workflow.RequestVerdict{Systems: j.matter.systems(), Rungs: map[int][]workflow.Rung{}, Changed: j.changed}
	if exception := j.facts.Exception; exception != nil {
		route.Exception = &countersign.Exception{Control: exception.Control, Owner: exception.Owner, Until: exception.Until}
		for _, waived := range plan.Waived {
			route.Exception.Waives = append(route.Exception.Waives, countersign.Waived{Reason: waived.Reason, Rule: waived.Rule})
		}
	}
	if route.CollectBy, err = j.set.Deadline(plan.CollectWithin, "", tx.now()); err != nil {
		return route, verdict, err
	}
	for _, item := range j.matter.items {
		route.Entitlements = append(route.Entitlements, item.entitlement.ID)
		if definition := item.entitlement.Definition; definition != "" {
			if route.Definitions == nil {
				route.Definitions = workflow.Definitions{}
			}
			route.Definitions[item.entitlement.ID] = definition
		}
	}
	if route.Evidence, err = tx.fillSlots(ctx, j, asking); err != nil {
		return route, verdict, err
	}
	for _, planned := range plan.Stages {
		route.Stages = append(route.Stages, tx.directory.impersonal(planned.Stage))
	}
	for i := range route.Evidence {
		route.Evidence[i].EscalateTo = tx.directory.impersonalRules(route.Evidence[i].EscalateTo)
	}
	for index, stage := range route.Stages {
		if stage.State == countersign.StageWaiting {
			if verdict.Rungs[index], err = rungs(tx, j.set, j.resolver, route.Stages, index, j.same); err != nil {
				return route, verdict, err
			}
		}
	}
	verdict.Tell = j.resolver.tell(plan.Tell)
	return route, verdict, nil
}

// writeRouted writes what opened or amended a request, with guards on everything
// that the path relied on.
func (tx *transaction) writeRouted(j *judgement, outcome workflow.Outcome, before *countersign.Request) {
	j.resolver.relyOnMatter(tx)
	for _, stage := range outcome.Request.Stages {
		for _, asked := range stage.Asked {
			j.resolver.relyOn(tx, asked.Rule, asked.Person)
		}
	}
	tx.relyOnPolicy()
	tx.write(outcome, before, j.changed)
}

// tell returns the active people whom the rules find, each once, sorted.
func (r *resolved) tell(rules []string) []countersign.IdentityID {
	var told []countersign.IdentityID
	for _, rule := range rules {
		for _, candidate := range r.answer(rule)[rule] {
			if candidate.Active && candidate.Human {
				told = append(told, candidate.ID)
			}
		}
	}
	slices.Sort(told)
	return slices.Compact(told)
}

// exceptionFact finds who is to answer for an exception.
func (tx *transaction) exceptionFact(asked *AskedException) (*policy.ExceptionFact, error) {
	if asked == nil {
		return nil, nil
	}
	if err := checkReason(asked.Control); err != nil {
		var known *countersign.Error
		if errors.As(err, &known) {
			return nil, known.At("/exception/control")
		}
		return nil, err
	}
	fact := &policy.ExceptionFact{Control: asked.Control, Until: asked.Until}
	if asked.Owner == "" {
		return fact, nil
	}
	owner := tx.directory.findIdentity(asked.Owner)
	if owner == nil || !owner.Human() {
		return nil, countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no person %q to answer for the exception.", countersign.Clip(asked.Owner)).At("/exception/owner")
	}
	tx.relyOn(owner)
	fact.Owner, fact.OwnerActive = owner.ID, owner.ActiveAt(tx.now())
	return fact, nil
}

// changed returns the grant that is to be extended or rotated, and refuses in the
// plan what cannot be.
func (tx *transaction) changed(ctx context.Context, asking *Asking, m matter, plan *policy.Plan) (*countersign.Grant, error) {
	id, field, reason := asking.Extends, "/extends", "cannot-extend"
	if asking.Rotates != "" {
		id, field, reason = asking.Rotates, "/rotates", "cannot-rotate"
	}
	grant, err := tx.desk.Store.Grant(ctx, id)
	missing := countersign.Errorf(countersign.NotFound, "no-such-grant", "There is no grant %q that you may see.", countersign.Clip(string(id))).At(field)
	if countersign.KindOf(err) == countersign.NotFound {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	standing, err := tx.standOnGrant(ctx, grant)
	if err != nil {
		return nil, err
	}
	if !standing.HasAny(workflow.Requester, workflow.Beneficiary, workflow.Accountable) {
		return nil, missing
	}
	refuse := func(format string, args ...any) {
		plan.Refusals = append(plan.Refusals, policy.Refusal{Reason: reason, Field: field, Because: fmt.Sprintf(format, args...)})
	}
	if grant.Holder != m.beneficiary.ID || len(m.items) != 1 || m.items[0].entitlement.ID != grant.Entitlement {
		refuse("The grant %s is of another holder or entitlement than is asked for.", id)
	}
	if grant.State != countersign.GrantLive {
		refuse("The grant %s is %s: only live access is extended or rotated.", id, grant.State)
	}
	taken := plan.BreakGlass
	if grant.Request != "" {
		first, err := tx.load(ctx, grant.Request)
		if err != nil {
			return nil, err
		}
		taken = taken || first.BreakGlass
	}
	if taken {
		refuse("Access that is taken by break-glass gets no later end: take it anew, or ask for it.")
	}
	if asking.Rotates != "" {
		tx.refuseRotation(grant, plan, refuse)
	} else {
		tx.refuseExtension(grant, plan, refuse)
	}
	return grant, nil
}

func (tx *transaction) refuseExtension(grant *countersign.Grant, plan *policy.Plan, refuse func(string, ...any)) {
	// Of what a baseline adopted the target knows no end.
	if hands, err := tx.desk.Connectors.Find(grant.Step.Connector); err != nil || !hands.Describe().Extends && grant.Adopted == nil {
		refuse("The connector %q cannot move the end of what it gave: ask again when it has ended.", grant.Step.Connector)
	}
	// What a baseline adopted is worked off by an approval, whose end counts, an earlier
	// one too.
	if end := countersign.Earliest(tx.now().Add(plan.Duration), plan.LatestEnd); end <= grant.Until && grant.Origin != countersign.FromBaseline {
		refuse("The grant %s ends at %s already, and what is asked for would end at %s.", grant.ID, grant.Until, end)
	}
}

func (tx *transaction) refuseRotation(grant *countersign.Grant, plan *policy.Plan, refuse func(string, ...any)) {
	if grant.Rotating != nil {
		refuse("The grant %s is being rotated already: the older credential is still to go.", grant.ID)
	}
	if hands, err := tx.desk.Connectors.Find(grant.Step.Connector); err != nil || !hands.Describe().Rotates || grant.Adopted != nil {
		refuse("The connector %q has nothing to rotate: the access carries no credential of its own.", grant.Step.Connector)
	}
	if grant.Step != plan.Fulfil[0] {
		refuse("The grant %s is carried out by %s, and the request type %q by %s.", grant.ID, grant.Step, plan.Type, plan.Fulfil[0])
	}
}

// rotatedBy returns the request type that another credential of the grant is asked
// for with; "" where none is.
func (tx *transaction) rotatedBy(grant *countersign.Grant) (string, error) {
	set, err := tx.policy.judging()
	if err != nil {
		return "", err
	}
	m, err := tx.directory.matterOf(grant.Holder, grant.Holder, []countersign.EntitlementID{grant.Entitlement})
	if err != nil {
		return "", err
	}
	r := tx.resolver(m, "")
	r.rotates = true
	found, err := set.Find("", r.baseFacts("", 0, 0, nil, nil))
	if countersign.ReasonOf(err) == policy.ReasonNoRequestType {
		return "", nil
	}
	return found, err
}
