package policy

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign"
)

// Explain puts a judgement into words, for a person who asks why: the type and
// why it was chosen, each condition with its value, the refusals, the limits
// with the strictest first, and each stage with its rules, whom they find and
// keep out, and its deadlines if it opened now. With an empty type name the
// matching type is found first. Errors are those of Find and Judge.
func (s *Set) Explain(typeName string, facts Facts) (string, error) {
	why := "it was named"
	if typeName == "" {
		found, err := s.Find("", facts)
		if err != nil {
			return "", err
		}
		typeName = found
		why = fmt.Sprintf("it matches with the highest priority, %d", s.find(found).priority)
	}
	j, err := s.judge(typeName, facts)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.Repeat("  ", indent))
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
	}
	plan := j.plan
	line(0, "%s (%s)", plan.Title, plan.Type)
	line(1, "chosen because %s", why)
	line(1, "rule %s in %s", plan.Rule, j.kind.path)
	if len(plan.Refusals) == 0 {
		line(0, "Nothing refuses it")
	} else {
		line(0, "Refused")
	}
	for _, refusal := range plan.Refusals {
		line(1, "%s: %s", refusal.Reason, refusal.Because)
	}
	if len(plan.Waived) > 0 {
		line(0, "Waived, if the exception is approved")
	}
	for _, refusal := range plan.Waived {
		line(1, "%s: %s", refusal.Reason, refusal.Because)
	}
	if len(j.traces) > 0 {
		line(0, "Conditions")
	}
	for _, trace := range j.traces {
		line(1, "%s: %s → %s", trace.where, oneLine(trace.text), trace.value)
	}
	line(0, "Duration %s from the moment when access is live%s", plan.Duration, latest(plan.LatestEnd))
	for _, limit := range plan.Limits {
		if limit.End != 0 {
			line(1, "%s: %s", limit.Source, limit.End)
		} else {
			line(1, "%s: %s", limit.Source, limit.Duration)
		}
	}
	line(0, "Stages")
	for _, planned := range plan.Stages {
		s.explainStage(j, planned, line)
	}
	line(0, "Carried out by %s", plan.Fulfil[0])
	for _, bound := range plan.Terms.BoundedBy {
		line(1, "within what the %s of the agent holds: %s", bound.Who, enumerate(bound.Holds, "or"))
	}
	if plan.Rotates != nil {
		line(1, "as another credential of the grant; the older one works beside it for %s, and ends then", plan.Rotates.Overlap)
	}
	if names := j.kind.parameters; len(names) > 0 {
		line(1, "which is told %s", enumerate(names, "and"))
	}
	return b.String(), nil
}

func (s *Set) explainStage(j *judgement, planned PlannedStage, line func(int, string, ...any)) {
	stage := planned.Stage
	if stage.State != countersign.StageWaiting {
		text := stage.Because
		if stage.State == countersign.StagePassed {
			text = "passed " + text
		}
		line(1, "%d. %s: %s", stage.Step, stage.Name, oneLine(text))
		return
	}
	line(1, "%d. %s", stage.Step, stage.Name)
	for i, quorum := range stage.Quorums {
		rules := strings.Join(quorum.Approvers, ", ")
		for _, rule := range quorum.Else {
			rules += ", else " + rule
		}
		line(2, "%d must approve, found by %s", quorum.Need, rules)
		for _, asked := range planned.Standing {
			if asked.Quorum == i {
				line(3, "%s (%s)", j.name(asked.Person), asked.Rule)
			}
		}
	}
	for _, excluded := range planned.Excluded {
		line(2, "kept out: %s (%s)", j.name(excluded.Person), excluded.Because)
	}
	if len(stage.DistinctFrom) > 0 {
		line(2, "by other people than decide %s", strings.Join(stage.DistinctFrom, ", "))
	}
	at := j.facts.Now
	step := func(within string) string {
		deadline, err := s.Deadline(within, stage.Calendar, at)
		if err != nil {
			return within
		}
		at = deadline
		return fmt.Sprintf("%s (until %s)", within, deadline)
	}
	line(2, "within %s", step(stage.Within))
	for _, rung := range stage.Ladder {
		line(2, "then %s is asked too, within %s", strings.Join(rung.EscalateTo, ", "), step(rung.Within))
	}
	line(2, "then denied")
}

func latest(end countersign.Instant) string {
	if end == 0 {
		return ""
	}
	return ", and not beyond " + end.String()
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
