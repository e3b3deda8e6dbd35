package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign"
)

// judgement is one judging under way.
type judgement struct {
	kind    *requestType
	facts   Facts
	recheck bool
	plan    Plan
	answers *answerFields
	// items holds what conditions see, for each entitlement; owned what they see with
	// an agent's owner in the place of the agent.
	items, owned []*evaluation
	// traces are the conditions in the order in which they were judged.
	traces []trace
	err    error
}

// trace is one condition and what became of it.
type trace struct {
	where, text, value string
}

// Judge says what the set makes of one asking, given complete facts. Refusals
// are part of the plan; an error means that the facts are incomplete
// (incomplete-facts names what is missing) or that there is no such type.
func (s *Set) Judge(typeName string, facts Facts) (Plan, error) {
	j, err := s.judge(typeName, facts)
	if err != nil {
		return Plan{}, err
	}
	return j.plan, nil
}

func (s *Set) judge(typeName string, facts Facts) (*judgement, error) {
	t, err := s.known(typeName)
	if err != nil {
		return nil, err
	}
	if len(facts.Items) == 0 {
		return nil, countersign.Errorf(countersign.Invalid, ReasonNothingIsAskedFor, "nothing is asked for: name at least one entitlement").At("/entitlements")
	}
	j := &judgement{kind: t, facts: facts}
	j.plan = Plan{
		Type: t.name, Title: t.title, Rule: t.rule, CollectWithin: t.collectWithin, Evidence: t.slots(),
		Stages: []PlannedStage{}, Fulfil: slices.Clone(t.fulfil), Terms: t.terms,
	}
	j.plan.Terms.EndsWhen, j.plan.Terms.BoundedBy = slices.Clone(t.terms.EndsWhen), cloneBounds(t.terms.BoundedBy)
	if t.rotates != nil {
		rotation := *t.rotates
		j.plan.Rotates = &rotation
	}
	if t.breakGlass != nil {
		j.plan.BreakGlass, j.plan.Tell = true, slices.Clone(t.breakGlass.tell)
	}
	if j.refuseMismatch() {
		return j, nil
	}
	j.judgeAnswers()
	j.judgeParties()
	j.judgeDuration()
	j.judgeRecords()
	j.judgeTickets()
	j.judgeAttested()
	j.judgeBreakGlass()
	j.judgeRefusals()
	j.judgeBounds()
	j.judgeSeparations(s.separations)
	for _, stage := range t.stages {
		j.judgeStage(stage)
	}
	j.judgeException()
	j.judgeDistinct()
	return j, j.err
}

// Recheck judges again what can only refuse: the parties, the limits, the
// records, the policy's own refusals and the separation rules. Facts are those of
// the request as it stands, with the duration that is decided so far; approvers
// are not needed. What an exception was approved for is lifted while it lasts.
func (s *Set) Recheck(typeName string, facts Facts) []Refusal {
	t := s.find(typeName)
	if t == nil {
		return []Refusal{{Reason: ReasonNoRequestType, Because: fmt.Sprintf("The request type `%s` is not offered any more.", countersign.Clip(typeName))}}
	}
	if len(facts.Items) == 0 {
		return []Refusal{{Reason: ReasonNothingIsAskedFor, Because: "Nothing is asked for."}}
	}
	j := &judgement{kind: t, facts: facts, recheck: true}
	if j.refuseMismatch() {
		return j.plan.Refusals
	}
	answers, unreadable := t.form.decode(facts.Answers)
	if unreadable != nil {
		j.refuse(*unreadable)
	}
	j.see(answers)
	j.judgeParties()
	j.judgeDuration()
	j.judgeRecords()
	j.judgeBreakGlass()
	j.judgeRefusals()
	j.judgeBounds()
	j.judgeSeparations(s.separations)
	j.keepWaived()
	if j.err != nil {
		j.refuse(Refusal{Reason: ReasonIncompleteFacts, Because: j.err.Error()})
	}
	return j.plan.Refusals
}

func (j *judgement) refuse(refusal Refusal) {
	if !slices.Contains(j.plan.Refusals, refusal) {
		j.plan.Refusals = append(j.plan.Refusals, refusal)
	}
}

func (j *judgement) incomplete(format string, args ...any) {
	if j.err == nil {
		j.err = countersign.Errorf(countersign.Internal, ReasonIncompleteFacts, "the facts are incomplete: "+format, args...)
	}
}

// see prepares what conditions see.
func (j *judgement) see(answers map[string]any) {
	j.answers = j.kind.form.view(answers)
	requester, beneficiary := viewParty("requester", j.facts.Requester), viewParty("beneficiary", j.facts.Beneficiary)
	request := &asking{j.kind.name, j.facts.Reason, j.kind.duration(j.facts).Duration()}
	now := types.Timestamp{Time: j.facts.Now.Time()}
	view := func(beneficiary *party) []*evaluation {
		items := make([]*evaluation, 0, len(j.facts.Items))
		for _, item := range j.facts.Items {
			e := &evaluation{kind: j.kind, requester: requester, beneficiary: beneficiary, request: request, answers: j.answers, now: now}
			e.resource, e.entitlement = viewItem(item)
			count := len(j.kind.variables)
			e.variables = &variableFields{e, make([]ref.Val, count), make([]error, count)}
			items = append(items, e)
		}
		return items
	}
	j.items = view(beneficiary)
	if owner := j.owner(); owner != nil {
		j.owned = view(viewParty("beneficiary", inPlaceOf(*owner, j.facts.Beneficiary)))
	}
}

func (j *judgement) judgeAnswers() {
	answers, unreadable := j.kind.form.decode(j.facts.Answers)
	if unreadable != nil {
		j.refuse(*unreadable)
	} else {
		for _, refusal := range j.kind.form.check(answers, "") {
			j.refuse(refusal)
		}
	}
	j.see(answers)
	j.judgeParameters()
}

// refuseMismatch refuses a request of another type. Its conditions would speak
// of what such a request does not have, so nothing else is judged then.
func (j *judgement) refuseMismatch() bool {
	why := j.kind.mismatch(j.facts)
	if why != "" {
		j.refuse(Refusal{Reason: ReasonWrongRequestType, Field: "/type", Because: "The request type does not match: " + why + "."})
	}
	return why != ""
}

func (j *judgement) judgeParties() {
	facts := j.facts
	if len(facts.Items) > j.kind.entitlements {
		j.refuse(Refusal{Reason: ReasonTooManyItems, Field: "/entitlements", Because: fmt.Sprintf("%d entitlements are asked for, and %s grants at most %d in one request.", len(facts.Items), j.kind.title, j.kind.entitlements)})
	}
	if most := j.kind.openPerHolder; most > 0 && facts.OpenRequests >= most {
		j.refuse(Refusal{Reason: ReasonTooManyOpen, Because: fmt.Sprintf("%s has %s of the type %s, and may have at most %d at a time.", facts.Beneficiary.Name, counted(facts.OpenRequests, "open request", "open requests"), j.kind.name, most)})
	}
	for _, p := range []Party{facts.Requester, facts.Beneficiary} {
		if !p.Active {
			j.refuse(Refusal{Reason: ReasonInactive, Because: p.Name + " is not active."})
		}
		if p.Kind != countersign.Person && p.Owner == "" {
			j.refuse(Refusal{Reason: ReasonUnowned, Because: fmt.Sprintf("%s (%s) has no accountable owner, and gets nothing until it has one.", p.Name, p.Kind)})
		}
	}
}

func (j *judgement) judgeRecords() {
	for _, needed := range j.kind.recordKeys(j.answers) {
		for i := range j.plan.Evidence {
			if j.plan.Evidence[i].Name == needed.slot {
				j.plan.Evidence[i].Record = needed.key
			}
		}
		record, given := j.facts.Records[needed.key]
		if !given {
			j.incomplete("the record %s was not looked up", countersign.Clip(needed.key))
			continue
		}
		refusal := Refusal{Field: "/answers/" + needed.field}
		switch beneficiary := j.facts.Beneficiary; {
		case !record.Found:
			refusal.Reason, refusal.Because = ReasonRecordNotFound, fmt.Sprintf("There is no system record %s.", needed.key)
		case record.Retired:
			refusal.Reason, refusal.Because = ReasonRecordRetired, fmt.Sprintf("The system record %s is retired.", needed.key)
		case beneficiary.Kind != countersign.Person && record.Owner != beneficiary.Owner:
			refusal.Reason, refusal.Because = ReasonRecordOfAnother, fmt.Sprintf("The system record %s names another owner than %s has.", needed.key, beneficiary.Name)
		default:
			for _, item := range j.facts.Items {
				if name := item.Entitlement.Name; needed.covers && !slices.Contains(record.Scopes, name) {
					refusal.Reason, refusal.Because = ReasonRecordTooNarrow, fmt.Sprintf("The system record %s covers %s, and not %s.", needed.key, scopesText(record.Scopes), name)
					j.refuse(refusal)
				}
			}
			continue
		}
		j.refuse(refusal)
	}
}

func scopesText(scopes []string) string {
	if len(scopes) == 0 {
		return "nothing"
	}
	return strings.Join(scopes, ", ")
}

// judgeRefusals refuses what a rule refuses for any of the entitlements.
func (j *judgement) judgeRefusals() {
	for i, rule := range j.kind.refuse {
		where := fmt.Sprintf("refusal %d", i+1)
		results, _ := j.conditions(where, rule.when)
		for k, holds := range results {
			item, also := j.items[k], ""
			if !holds && j.refusesOwner(rule, k) {
				item, holds = j.owned[k], true
				also = fmt.Sprintf(" This would refuse %s, the owner of %s, who can hold no more.", j.owner().Name, j.facts.Beneficiary.Name)
			}
			if !holds {
				continue
			}
			because := "The condition " + rule.when.text + " holds."
			if text, err := item.run(rule.because); err == nil {
				because = fmt.Sprint(text.Value())
			}
			j.refuse(Refusal{Reason: ReasonRefusedByPolicy, Rule: rule.when.text, Because: because + also, Waivable: rule.waivable})
		}
	}
}

// conditions judges one condition for each entitlement. One that cannot be
// judged refuses the asking by name; it never counts as true or false.
func (j *judgement) conditions(where string, condition *expression) (results []bool, judged bool) {
	results, judged = make([]bool, len(j.items)), true
	for i, item := range j.items {
		value, err := item.run(condition)
		subject := ""
		if len(j.items) > 1 {
			subject = " for " + item.entitlement.Name
		}
		if err != nil {
			j.traces = append(j.traces, trace{where + subject, condition.text, "cannot be judged: " + err.Error()})
			j.refuseCondition(where, condition, err)
			judged = false
			continue
		}
		results[i], _ = value.Value().(bool)
		j.traces = append(j.traces, trace{where + subject, condition.text, fmt.Sprint(results[i])})
	}
	return results, judged
}

func (j *judgement) refuseCondition(where string, condition *expression, err error) {
	var lacking *missing
	if !errors.As(err, &lacking) {
		j.refuse(Refusal{Reason: ReasonConditionFailed, Rule: condition.text, Because: fmt.Sprintf("The condition of %s cannot be judged: %s.", where, err)})
		return
	}
	field := ""
	if name, isAnswer := strings.CutPrefix(lacking.attribute, "answers."); isAnswer {
		field = "/answers/" + name
		answered := func(r Refusal) bool {
			return r.Reason == ReasonInvalidAnswer && (r.Field == field || r.Field == "/answers")
		}
		if slices.ContainsFunc(j.plan.Refusals, answered) {
			return
		}
	}
	j.refuse(Refusal{Reason: ReasonMissingAttribute, Rule: condition.text, Field: field,
		Because: fmt.Sprintf("The condition of %s asks for %s, which this request does not have.", where, lacking.attribute)})
}

func (j *judgement) judgeStage(s stage) {
	planned := PlannedStage{Stage: cloneStage(s.template), Standing: []countersign.Asked{}}
	stage := &planned.Stage
	where := "stage " + stage.Name
	defer func() { j.plan.Stages = append(j.plan.Stages, planned) }()
	if s.when != nil {
		results, judged := j.conditions(where+" (when)", s.when)
		if !judged {
			return
		}
		if !slices.Contains(results, true) {
			stage.State, stage.Because = countersign.StageSkipped, fmt.Sprintf("skipped: %s is false", s.when.text)
			return
		}
	}
	if s.automatic != nil {
		results, judged := j.conditions(where+" (automatic)", s.automatic)
		if !judged {
			return
		}
		if !slices.Contains(results, false) {
			stage.State = countersign.StagePassed
			stage.Because = fmt.Sprintf("by rule %s of %s (%s)", s.automatic.text, j.kind.name, j.kind.rule)
			return
		}
	}
	for _, rule := range StageRules(*stage) {
		if _, answered := j.facts.Approvers[rule]; !answered {
			j.incomplete("the rule %s of the stage %s was not looked up", rule, stage.Name)
			return
		}
	}
	planned.Standing, planned.Excluded = Standing(*stage, j.facts.Approvers, j.facts.SamePerson)
	if len(stage.Quorums) == 0 {
		j.refuse(Refusal{Reason: ReasonNoApprover, Rule: s.automatic.text, Because: fmt.Sprintf("The stage %s has no approver: it passes by the rule %s only, which does not hold.", stage.Name, s.automatic.text)})
		return
	}
	for i, quorum := range stage.Quorums {
		if !slices.ContainsFunc(planned.Standing, func(a countersign.Asked) bool { return a.Quorum == i }) {
			rules := slices.Concat(quorum.Approvers, quorum.Else)
			j.refuse(Refusal{Reason: ReasonNoApprover, Because: fmt.Sprintf("The stage %s has no approver: %s finds nobody who may decide%s.", stage.Name, enumerate(rules, "or"), j.namely(planned.Excluded))})
			return
		}
	}
	if missing, ok := Supplies(*stage, planned.Standing); !ok {
		j.refuse(Refusal{Reason: ReasonTooFewApprovers, Because: fmt.Sprintf("The stage %s has too few approvers: %s%s.", stage.Name, missing, j.namely(planned.Excluded))})
	}
}

// namely names who was found and kept out, and why.
func (j *judgement) namely(excluded []Excluded) string {
	if len(excluded) == 0 {
		return ""
	}
	const shown = 5
	var texts []string
	for _, e := range excluded[:min(shown, len(excluded))] {
		texts = append(texts, fmt.Sprintf("%s (%s)", j.name(e.Person), e.Because))
	}
	if len(excluded) > shown {
		texts = append(texts, fmt.Sprintf("%d more", len(excluded)-shown))
	}
	return "; found and kept out: " + strings.Join(texts, ", ")
}

// name returns the name of somebody whom a rule found.
func (j *judgement) name(id countersign.IdentityID) string {
	for _, rule := range slices.Sorted(maps.Keys(j.facts.Approvers)) {
		for _, candidate := range j.facts.Approvers[rule] {
			if candidate.ID == id && candidate.Name != "" {
				return candidate.Name
			}
		}
	}
	return string(id)
}

func cloneStage(template countersign.Stage) countersign.Stage {
	stage := template
	stage.Quorums = make([]countersign.Quorum, len(template.Quorums))
	for i, quorum := range template.Quorums {
		stage.Quorums[i] = countersign.Quorum{Approvers: slices.Clone(quorum.Approvers), Else: slices.Clone(quorum.Else), Need: quorum.Need}
	}
	stage.DistinctFrom = slices.Clone(template.DistinctFrom)
	stage.Ladder = slices.Clone(template.Ladder)
	for i, rung := range stage.Ladder {
		stage.Ladder[i].EscalateTo = slices.Clone(rung.EscalateTo)
	}
	return stage
}
