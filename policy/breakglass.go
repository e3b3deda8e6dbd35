package policy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// breakGlass is what makes a request type the urgent path: a rule and not a
// person approves, and a review follows.
type breakGlass struct {
	// declared says that the word of who asks serves while the source of the
	// incident cannot be reached.
	declared bool
	// tell are the rules that find who is told at once.
	tell []string
}

// TicketFact is what a source said of the ticket of an evidence slot.
type TicketFact struct {
	Key   string `json:"key"`
	Found bool   `json:"found,omitempty"`
	Open  bool   `json:"open,omitempty"`
	// Unreachable says why the source gave no answer; "" where it did.
	Unreachable string `json:"unreachable,omitempty"`
}

// OverdueReview is a review whose time has passed, of break-glass access that the
// beneficiary took before.
type OverdueReview struct {
	Request countersign.RequestID `json:"request"`
	// Systems are those that the access was on, by name.
	Systems []string `json:"systems"`
}

// TicketQuery asks a source for the ticket of an evidence slot.
type TicketQuery struct {
	Slot, Source, Key string
}

// readTicketField settles which answer names the ticket that a source is asked
// for.
func (t *requestType) readTicketField(m *mapping, read *slot) {
	if read.Kind != countersign.TicketEvidence {
		m.problem(m.values["verified_by"], "a source verifies evidence of the kind `ticket` only")
	}
	if !m.has("ticket") {
		m.problem(m.node, "evidence that a source verifies needs `ticket`, the state that the ticket must have: `open` or `closed`")
	}
	var fields []string
	for _, field := range t.form.fields {
		if field.kind == "string" {
			fields = append(fields, field.name)
		}
	}
	switch {
	case !m.has("from"):
		m.problem(m.node, "evidence that a source verifies needs `from`, the answer that names the ticket")
	case !slices.Contains(fields, read.from):
		m.problem(m.values["from"], "%s", unknown("field of `ask`", read.from, fields))
	}
}

// readReview reads the review that follows the access, as a last stage.
func (t *requestType) readReview(c *compiler, m *mapping, calendars []string) {
	if !m.has("review") {
		return
	}
	node := m.values["review"]
	r := c.mapping(node, "`review`", "reviewers", "else", "need", "within", "calendar", "then", "substitute")
	r.require("reviewers")
	stage := stage{line: node.Line, template: countersign.Stage{
		Name: reviewName, State: countersign.StageWaiting, Within: defaultWithin, Calendar: r.text("calendar"), Review: true, Step: 1,
		Quorums: []countersign.Quorum{{Approvers: r.readRules("reviewers"), Else: r.readRules("else"), Need: r.number("need", 1, 1, 100)}},
	}}
	for _, before := range t.stages {
		stage.template.Step = max(stage.template.Step, before.template.Step+1)
		if before.template.Name == reviewName {
			c.problem(node, "a stage is named `%s`, and so is the review: rename the stage", reviewName)
		}
	}
	if r.has("within") {
		stage.template.Within = r.within("within")
	}
	if r.has("calendar") && !slices.Contains(calendars, stage.template.Calendar) {
		c.problem(r.values["calendar"], "%s", unknown("calendar", stage.template.Calendar, calendars))
	}
	if r.has("then") {
		if last := lastThen(r.values["then"]); last.Kind == yaml.ScalarNode {
			c.problem(last, "a review is never denied: after the last `escalate_to` it is asked for again and again")
		} else {
			stage.template.Ladder = c.readLadder(r.values["then"])
		}
	}
	t.stages = append(t.stages, stage)
	substitute := standardSubstitute
	if r.has("substitute") {
		substitute = r.name("substitute")
	}
	t.addActivity(c, node, substitute)
}

const (
	reviewName = "review"
	// activityName is the evidence of what the targets tell of what was done; its
	// substitute is what a reviewer brings where they cannot tell.
	activityName       = "activity"
	standardSubstitute = "substitute"
	// targetVerifier stands for the targets that the access was on.
	targetVerifier = "target"
)

// addActivity adds the evidence that every review looks at. Neither has a time of
// its own: the review has one.
func (t *requestType) addActivity(c *compiler, node *yaml.Node, substitute string) {
	slots := []countersign.Slot{
		{Name: activityName, Title: "What the target tells of what was done", Kind: countersign.ActivityEvidence, VerifiedBy: targetVerifier, MustOpen: true},
		{Name: substitute, Title: "What was looked at in place of what the target cannot tell", Kind: countersign.TextEvidence, InPlaceOf: activityName},
	}
	for _, added := range slots {
		added.Due = countersign.DueAtClosure
		if slices.ContainsFunc(t.evidence, func(s slot) bool { return s.Name == added.Name }) {
			c.problem(node, "`%s` is evidence that a review brings along: give the other evidence slot of that name, or the `substitute` of the review, another one", added.Name)
			continue
		}
		t.evidence = append(t.evidence, slot{Slot: added, line: node.Line})
	}
}

// lastThen returns the innermost consequence, or the last rung that names none.
func lastThen(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.MappingNode {
		var next *yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == "then" {
				next = node.Content[i+1]
			}
		}
		if next == nil {
			break
		}
		node = next
	}
	return node
}

// readBreakGlass reads the urgent path, and holds the type to what it takes:
// people only, by rule alone, an open incident before, and a closed ticket and a
// review after.
func (t *requestType) readBreakGlass(m *mapping) {
	if !m.has("break_glass") {
		return
	}
	node := m.values["break_glass"]
	b := m.mapping(node, "`break_glass`", "declared", "tell")
	b.require("tell")
	t.breakGlass = &breakGlass{declared: b.flag("declared"), tell: b.readRules("tell")}
	byPeople := slices.ContainsFunc(t.stages, func(s stage) bool { return !s.template.Review && (s.automatic == nil || len(s.template.Quorums) > 0) })
	for _, lacking := range []struct {
		lacks bool
		what  string
	}{
		{!slices.Equal(t.beneficiary, []countersign.IdentityKind{countersign.Person}), "`beneficiary: [person]`: a machine takes nothing by break-glass"},
		{byPeople, "only stages with `automatic` and no approvers: it waits for nobody"},
		{!m.has("review"), "a `review`, which says afterwards whether it was in order"},
		{!t.asksFor(countersign.DueAtRequest, countersign.TicketOpen), "evidence of an incident that is open: `kind: ticket, ticket: open, due: at-request`, verified by a source"},
		{!t.asksFor(countersign.DueAtClosure, countersign.TicketClosed), "evidence of the closed ticket: `kind: ticket, ticket: closed, due: at-closure`, verified by a source"},
	} {
		if lacking.lacks {
			m.problem(m.keys["break_glass"], "a break-glass type needs %s", lacking.what)
		}
	}
}

// asksFor reports whether there is evidence of a ticket in the state, verified by a
// source.
func (t *requestType) asksFor(due countersign.EvidenceDue, state countersign.TicketState) bool {
	return slices.ContainsFunc(t.evidence, func(s slot) bool { return s.Due == due && s.Ticket == state })
}

func (s *Set) sourceNames() []string {
	names := make([]string, len(s.sources))
	for i, source := range s.sources {
		names[i] = source.Name
	}
	return names
}

// ticketQueries are the tickets that answers name and that must be known at
// submit.
func (t *requestType) ticketQueries(answers *answerFields) []TicketQuery {
	var queries []TicketQuery
	for _, slot := range t.evidence {
		if slot.Ticket == "" || slot.Due != countersign.DueAtRequest {
			continue
		}
		if key, given := answers.values[slot.from].(string); given && key != "" {
			queries = append(queries, TicketQuery{slot.Name, slot.VerifiedBy, key})
		}
	}
	return queries
}

// judgeTickets refuses what names a ticket that is not as it must be, and notes
// under each slot which ticket it is about.
func (j *judgement) judgeTickets() {
	for i := range j.plan.Evidence {
		slot := &j.plan.Evidence[i]
		if key, given := j.answers.values[j.kind.evidence[i].from].(string); slot.Ticket != "" && given {
			slot.Record = key
		}
	}
	for _, needed := range j.kind.ticketQueries(j.answers) {
		ticket, known := j.facts.Tickets[needed.Slot]
		if !known {
			j.incomplete("the ticket %s was not looked up", countersign.Clip(needed.Key))
			continue
		}
		wanted := countersign.TicketOpen
		for _, slot := range j.kind.evidence {
			if slot.Name == needed.Slot {
				wanted = slot.Ticket
			}
		}
		refusal := Refusal{Field: "/answers"}
		switch {
		case ticket.Unreachable != "" && j.kind.breakGlass != nil && j.kind.breakGlass.declared:
			continue
		case ticket.Unreachable != "":
			refusal.Reason, refusal.Because = ReasonSourceUnavailable, fmt.Sprintf("The ticket %s cannot be looked up now: %s", needed.Key, ticket.Unreachable)
		case !ticket.Found:
			refusal.Reason, refusal.Because = ReasonTicketNotFound, fmt.Sprintf("The source %s has no ticket %s.", needed.Source, needed.Key)
		case ticket.Open != (wanted == countersign.TicketOpen):
			refusal.Reason, refusal.Because = ReasonTicketState, fmt.Sprintf("The ticket %s is not %s.", needed.Key, wanted)
		default:
			continue
		}
		j.refuse(refusal)
	}
}

// judgeBreakGlass refuses who has no eligible assignment, who takes it for
// somebody else, and whose earlier use on the same system still waits for its
// review.
func (j *judgement) judgeBreakGlass() {
	if j.kind.breakGlass == nil {
		return
	}
	facts := j.facts
	if facts.Requester.ID != facts.Beneficiary.ID {
		j.refuse(Refusal{Reason: ReasonNotForOthers, Field: "/beneficiary", Because: "Break-glass is taken by the person who needs it, and not for somebody else."})
	}
	for _, item := range facts.Items {
		if !slices.Contains(facts.Eligible, item.Entitlement.ID) {
			j.refuse(Refusal{Reason: ReasonNotEligible, Field: "/entitlements", Because: fmt.Sprintf("%s has no eligible assignment for %s on %s: ask for that first, or ask for the access itself.", facts.Beneficiary.Name, item.Entitlement.Name, item.Resource.System)})
		}
		for _, overdue := range facts.OverdueReviews {
			if slices.Contains(overdue.Systems, item.Resource.System) {
				j.refuse(Refusal{Reason: ReasonReviewOverdue, Because: fmt.Sprintf("The review of %s is overdue: until it is done, or two people lift this, %s takes nothing more by break-glass on %s.", overdue.Request, facts.Beneficiary.Name, item.Resource.System)})
			}
		}
	}
}

// Tell returns the rules that find who is told at once when a request of the type
// is approved.
func (s *Set) Tell(typeName string) []string {
	if t := s.find(typeName); t != nil && t.breakGlass != nil {
		return slices.Clone(t.breakGlass.tell)
	}
	return nil
}
