package policy

import (
	"slices"

	"github.com/countersign/countersign"
)

// Path says which stages of a request type people have to decide, given the facts
// of today, by the conditions alone: who decides is not asked for. A stage whose
// condition cannot be judged is left out, and so is one that a rule passes.
func (s *Set) Path(typeName string, facts Facts) []string {
	t := s.find(typeName)
	if t == nil || len(facts.Items) == 0 {
		return nil
	}
	j := &judgement{kind: t, facts: facts}
	answers, unreadable := t.form.decode(facts.Answers)
	if unreadable != nil {
		return nil
	}
	j.see(answers)
	var path []string
	for _, stage := range t.stages {
		if stage.template.Review || !j.holds(stage.when, true) || j.passes(stage) {
			continue
		}
		path = append(path, stage.template.Name)
	}
	return path
}

// holds reports whether a condition holds for one of the items at least; without
// a condition it is what the caller says.
func (j *judgement) holds(condition *expression, without bool) bool {
	if condition == nil {
		return without
	}
	results, judged := j.conditions("", condition)
	return judged && slices.Contains(results, true)
}

// passes reports whether a rule passes the stage for all items, or could not be
// judged: it asks nobody then.
func (j *judgement) passes(s stage) bool {
	if s.automatic == nil {
		return false
	}
	results, judged := j.conditions("", s.automatic)
	return !judged || !slices.Contains(results, false)
}

// Decided reports whether people decide, or decided, a stage: it is neither
// skipped nor passed by a rule.
func Decided(stage countersign.Stage) bool {
	byRule := stage.State == countersign.StagePassed && len(stage.Decisions) == 0
	return stage.State != countersign.StageSkipped && !byRule
}
