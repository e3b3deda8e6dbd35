package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
)

// Finding is something in a set that loads and does not do what it seems to.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Type string `json:"type"`
	// Kind names what was found, as in "never-opens"; the list is in docs/policy.md.
	Kind string `json:"kind"`
	// Wrong says that it cannot have been meant. Otherwise somebody should look.
	Wrong   bool   `json:"wrong"`
	Message string `json:"message"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Kind, f.Message)
}

// findings collects what is found in one request type.
type findings struct {
	kind *requestType
	list []Finding
}

func (f *findings) add(line int, wrong bool, kind, format string, args ...any) {
	f.list = append(f.list, Finding{f.kind.path, line, f.kind.name, kind, wrong, fmt.Sprintf(format, args...)})
}

// Check says what is odd about the set by itself, whoever there is: conditions that
// are never or always true, stages that never open or that nobody ever decides,
// escalations that lead nowhere, and evidence that cannot be had. The list is in
// the order of file and line.
func (s *Set) Check() []Finding {
	var all []Finding
	for _, t := range s.types {
		f := findings{kind: t}
		f.checkRefusals()
		for i := range t.stages {
			f.checkStage(t.stages[i])
			f.checkLadder(t.stages[i])
		}
		f.checkNobodyDecides()
		f.checkEvidence()
		all = append(all, f.list...)
	}
	return sortFindings(all)
}

func sortFindings(all []Finding) []Finding {
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(all)
}

// is judges a condition as one of the set's own.
func is(condition *expression, wanted bool) func(*evaluation) (bool, error) {
	return func(e *evaluation) (bool, error) {
		value, err := e.run(condition)
		if err != nil {
			return false, err
		}
		holds, isBool := value.Value().(bool)
		return isBool && holds == wanted, nil
	}
}

// all holds where each does.
func all(questions ...func(*evaluation) (bool, error)) func(*evaluation) (bool, error) {
	return func(e *evaluation) (bool, error) {
		for _, question := range questions {
			if holds, err := question(e); err != nil || !holds {
				return false, err
			}
		}
		return true, nil
	}
}

func (f *findings) checkRefusals() {
	for _, rule := range f.kind.refuse {
		r := f.kind.read(rule.when)
		if _, can := r.try(is(rule.when, true)); can == never {
			f.add(rule.when.line, true, "never-refuses", "`%s` is never true, so this refuses nothing", countersign.Clip(rule.when.text))
		} else if _, can := r.try(is(rule.when, false)); can == never {
			f.add(rule.when.line, true, "refuses-everything", "`%s` is always true, so nobody gets anything by this type", countersign.Clip(rule.when.text))
		}
	}
}

func (f *findings) checkStage(s stage) {
	if s.when != nil {
		f.checkOpens(s)
	}
	if s.automatic == nil {
		return
	}
	r := f.kind.read(s.automatic)
	_, passes := r.try(is(s.automatic, true))
	_, waits := r.try(is(s.automatic, false))
	switch {
	case passes == never:
		f.add(s.automatic.line, true, "never-automatic", "the stage %s never passes by its rule: `%s` is never true", s.template.Name, countersign.Clip(s.automatic.text))
	case waits == never && len(s.template.Quorums) > 0:
		f.add(s.automatic.line, true, "always-automatic", "the stage %s always passes by its rule, so the approvers that it names are never asked: `%s` is always true", s.template.Name, countersign.Clip(s.automatic.text))
	}
}

// checkOpens says whether a stage opens never or always, and whether what would
// open it is refused before.
func (f *findings) checkOpens(s stage) {
	r := f.kind.read(s.when)
	example, opens := r.try(is(s.when, true))
	if opens == never {
		f.add(s.when.line, true, "never-opens", "the stage %s never opens: `%s` is never true", s.template.Name, countersign.Clip(s.when.text))
		return
	}
	if _, skips := r.try(is(s.when, false)); skips == never {
		f.add(s.when.line, false, "always-opens", "the stage %s is never skipped: `%s` is always true", s.template.Name, countersign.Clip(s.when.text))
	}
	if opens != sometimes {
		return
	}
	// What reads nothing that the stage reads refuses, or not, independently of it.
	conditions, questions, last := []*expression{s.when}, []func(*evaluation) (bool, error){is(s.when, true)}, 0
	for _, rule := range f.kind.refuse {
		reads := f.kind.read(rule.when)
		for name := range reads.attributes {
			if r.attributes[name] != nil {
				conditions, questions, last = append(conditions, rule.when), append(questions, is(rule.when, false)), rule.when.line
				break
			}
		}
	}
	if _, can := f.kind.read(conditions...).try(all(questions...)); can == never {
		f.add(s.when.line, true, "never-opens", "the stage %s never opens: whatever would open it (%s) is refused before, on line %d at the latest", s.template.Name, described(example), last)
	}
}

// checkLadder finds escalations to people who are asked already. Those of an
// `else` are not, unless the first were too few.
func (f *findings) checkLadder(s stage) {
	var asked []string
	for _, quorum := range s.template.Quorums {
		asked = append(asked, quorum.Approvers...)
	}
	for i, rung := range s.template.Ladder {
		if !slices.ContainsFunc(rung.EscalateTo, func(rule string) bool { return !slices.Contains(asked, rule) }) {
			f.add(s.line, true, "escalates-in-a-circle", "the stage %s escalates in step %d to %s, who %s asked already", s.template.Name, i+1, enumerate(rung.EscalateTo, "and"), plural(len(rung.EscalateTo), "is", "are"))
		}
		asked = append(asked, rung.EscalateTo...)
	}
	if s.template.Review && len(s.template.Ladder) == 0 {
		f.add(s.line, false, "no-escalation", "nobody else hears of a review that is overdue: give it `then: {escalate_to: […]}`")
	}
}

func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// checkNobodyDecides finds askings that no person decides: every stage is skipped
// or passes by its rule, and nothing refuses.
func (f *findings) checkNobodyDecides() {
	if f.kind.breakGlass != nil {
		// It is meant to be taken, and is reviewed.
		return
	}
	var conditions []*expression
	var questions []func(*evaluation) (bool, error)
	var chain []string
	for _, s := range f.kind.stages {
		if s.template.Review {
			continue
		}
		switch {
		case s.when == nil && s.automatic == nil:
			return
		case s.when == nil:
			conditions, questions = append(conditions, s.automatic), append(questions, is(s.automatic, true))
			chain = append(chain, fmt.Sprintf("%s passes by its rule", s.template.Name))
		case s.automatic == nil:
			conditions, questions = append(conditions, s.when), append(questions, is(s.when, false))
			chain = append(chain, fmt.Sprintf("%s is skipped", s.template.Name))
		default:
			conditions = append(conditions, s.when, s.automatic)
			skipped, passed := is(s.when, false), is(s.automatic, true)
			questions = append(questions, func(e *evaluation) (bool, error) {
				if holds, err := skipped(e); err != nil || holds {
					return holds, err
				}
				return passed(e)
			})
			chain = append(chain, fmt.Sprintf("%s is skipped or passes by its rule", s.template.Name))
		}
	}
	for _, rule := range f.kind.refuse {
		conditions, questions = append(conditions, rule.when), append(questions, is(rule.when, false))
	}
	if example, can := f.kind.read(conditions...).try(all(questions...)); can == sometimes {
		f.add(f.kind.line, false, "approves-itself", "what is asked for %s is decided by no person, so whoever asks gives it to themselves: %s", described(example), enumerate(chain, "and"))
	}
}

// checkEvidence finds evidence that cannot be had, and what is owed without
// anybody who hears of it when it is late.
func (f *findings) checkEvidence() {
	for _, s := range f.kind.evidence {
		if asked, known := f.kind.form.find(s.from); known && asked.optional && asked.standard == nil && s.VerifiedBy != "" {
			f.add(s.line, true, "evidence-never-due", "the evidence %s is looked up by the answer %s, which need not be given: without it there is nothing to look up, and the request waits for it in vain", s.Name, s.from)
		}
		if s.Due == countersign.DueAtClosure && s.Within != "" && len(s.EscalateTo) == 0 {
			f.add(s.line, false, "follow-up-without-owner", "nobody but who owes the evidence %s hears of it when it is late: give it `escalate_to`", s.Name)
		}
	}
}
