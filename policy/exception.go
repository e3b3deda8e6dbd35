package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// exceptions is how a set lets waivable refusals be waived.
type exceptions struct {
	longest countersign.Seconds
	stage   stage
	rule    countersign.Digest
	// path and line are where the stage stands.
	path string
	line int
}

func (e *exceptions) stageName() string {
	if e == nil {
		return ""
	}
	return e.stage.template.Name
}

// ExceptionsInfo is how a set lets waivable refusals be waived.
type ExceptionsInfo struct {
	// Longest is how long an exception may last.
	Longest countersign.Seconds `json:"longest"`
	// Stage is the stage that approves an exception, as it is written.
	Stage countersign.Stage `json:"stage"`
	// Rule is the digest of the file.
	Rule countersign.Digest `json:"rule"`
}

// ExceptionFact is an exception that a request asks for.
type ExceptionFact struct {
	// Control says what compensates for what is waived.
	Control string                 `json:"control"`
	Owner   countersign.IdentityID `json:"owner"`
	// OwnerActive says that the owner is there and active.
	OwnerActive bool                `json:"owner_active"`
	Until       countersign.Instant `json:"until"`
	// Waived are the refusals that the exception was approved for; a recheck lifts
	// no others.
	Waived []Refusal `json:"waived,omitempty"`
}

// Exceptions returns how refusals may be waived; nil where they may not.
func (s *Set) Exceptions() *ExceptionsInfo {
	if s.exceptions == nil {
		return nil
	}
	return &ExceptionsInfo{Longest: s.exceptions.longest, Stage: cloneStage(s.exceptions.stage.template), Rule: s.exceptions.rule}
}

func (l *loader) readExceptions(s *source, root *yaml.Node) {
	file := s.mapping(root, "the file", "exceptions")
	if !l.first(s, file.keys["exceptions"], "block", "exceptions") {
		return
	}
	m := s.mapping(file.values["exceptions"], "`exceptions`", "longest", "stage")
	m.require("longest", "stage")
	read := &exceptions{longest: m.seconds("longest"), rule: s.digest(), path: s.path}
	if m.has("stage") {
		read.line = m.values["stage"].Line
		read.stage = readExceptionStage(s, m.values["stage"], l.set.calendarNames())
	}
	l.set.exceptions = read
}

// readExceptionStage reads a stage that opens always and passes by people only.
func readExceptionStage(s *source, node *yaml.Node, calendars []string) stage {
	m := s.mapping(node, "the exception stage", "name", "when", "automatic", "approvers", "else", "need", "quorum", "distinct_from", "within", "calendar", "then")
	if node.Kind != yaml.MappingNode {
		return stage{}
	}
	if !m.has("approvers") && !m.has("quorum") {
		s.problem(node, "the exception stage needs `approvers` or `quorum`")
		return stage{}
	}
	known := &yaml.Node{Kind: yaml.MappingNode, Line: node.Line, Column: node.Column}
	for i := 0; i < len(node.Content); i += 2 {
		switch key := node.Content[i]; {
		case key.Value == "when", key.Value == "automatic":
			s.problem(key, "the exception stage has no `%s`: people decide every exception", key.Value)
		case m.has(key.Value):
			known.Content = append(known.Content, key, node.Content[i+1])
		}
	}
	return (&requestType{entitlements: maxPerRequest}).readStage(&compiler{source: s}, known, calendars, nil)
}

const leastControl = 20

// judgeException moves what the exception would waive out of the refusals, ends
// the access with it at the latest, and adds the stage that approves it.
func (j *judgement) judgeException() {
	exception, rule := j.facts.Exception, j.kind.exceptions
	if exception == nil {
		return
	}
	if rule == nil {
		j.refuse(Refusal{Reason: ReasonNoExceptions, Field: "/exception", Because: "The policies allow no exceptions."})
		return
	}
	if length := utf8.RuneCountInString(strings.TrimSpace(exception.Control)); length < leastControl {
		j.refuse(Refusal{Reason: ReasonNoControl, Field: "/exception/control",
			Because: fmt.Sprintf("An exception says in at least %d characters what compensates for it; these are %d.", leastControl, length)})
	}
	switch {
	case exception.Owner == "":
		j.refuse(Refusal{Reason: ReasonNoExceptionOwner, Field: "/exception/owner", Because: "An exception has an owner, and this one names none."})
	case !exception.OwnerActive:
		j.refuse(Refusal{Reason: ReasonNoExceptionOwner, Field: "/exception/owner", Because: "The owner of the exception is not active."})
	}
	now := j.facts.Now
	last := now.Add(rule.longest)
	switch {
	case exception.Until == 0:
		j.refuse(Refusal{Reason: ReasonExceptionEnd, Field: "/exception/until", Because: fmt.Sprintf("An exception has an end, at %s at the latest, and this one names none.", last)})
	case exception.Until <= now:
		j.refuse(Refusal{Reason: ReasonExceptionEnd, Field: "/exception/until", Because: fmt.Sprintf("The end of the exception, %s, is in the past: it is %s now.", exception.Until, now)})
	case exception.Until > last:
		j.refuse(Refusal{Reason: ReasonExceptionEnd, Field: "/exception/until", Because: fmt.Sprintf("The exception would last until %s; exceptions last %s, which is until %s.", exception.Until, rule.longest, last)})
	}
	var kept []Refusal
	for _, refusal := range j.plan.Refusals {
		if refusal.Waivable {
			j.plan.Waived = append(j.plan.Waived, refusal)
		} else {
			kept = append(kept, refusal)
		}
	}
	j.plan.Refusals = kept
	if len(j.plan.Waived) == 0 {
		j.refuse(Refusal{Reason: ReasonNothingToWaive, Field: "/exception", Because: "An exception is asked for, and nothing is refused that it could waive."})
		return
	}
	if exception.Until != 0 {
		j.limit(Limit{Source: "the end of the exception", End: exception.Until})
	}
	added := cloneStage(rule.stage.template)
	for _, planned := range j.plan.Stages {
		added.Step = max(added.Step, planned.Stage.Step+1)
		if planned.Stage.State == countersign.StageWaiting {
			added.DistinctFrom = append(added.DistinctFrom, planned.Stage.Name)
		}
	}
	j.judgeStage(stage{template: added})
}

// keepWaived drops the refusals that the exception was approved for, while it
// lasts and somebody answers for it.
func (j *judgement) keepWaived() {
	exception := j.facts.Exception
	if exception == nil || exception.Until <= j.facts.Now {
		return
	}
	refused := len(j.plan.Refusals)
	j.plan.Refusals = slices.DeleteFunc(j.plan.Refusals, func(refusal Refusal) bool {
		return refusal.Waivable && slices.ContainsFunc(exception.Waived, func(waived Refusal) bool {
			return waived.Reason == refusal.Reason && waived.Rule == refusal.Rule
		})
	})
	if len(j.plan.Refusals) < refused && !exception.OwnerActive {
		j.refuse(Refusal{Reason: ReasonNoExceptionOwner, Field: "/exception/owner", Because: "The owner of the exception is not active."})
	}
}

// readException reads the exception that a test asks for. What it does not name
// is as it should be, for a day.
func readException(given *mapping, now countersign.Instant) *ExceptionFact {
	if !given.has("exception") {
		return nil
	}
	m := given.inner("exception", "control", "owner", "owner_active", "until")
	read := &ExceptionFact{
		Control: m.textOr("control", "somebody else reads the log each day"), Owner: countersign.IdentityID(m.textOr("owner", "owner")),
		OwnerActive: !m.has("owner_active") || m.flag("owner_active"), Until: now.Add(countersign.Day),
	}
	if m.has("until") {
		read.Until = m.instant("until")
	}
	return read
}

// waivedOtherwise says how what is waived differs from what the test expects, by
// the names of rules or the reasons.
func (t test) waivedOtherwise(waived []Refusal) string {
	if t.waived == nil {
		return ""
	}
	var texts []string
	meets := func(refusal Refusal, word string) bool { return word == refusal.Reason || word == refusal.Rule }
	same := true
	for _, refusal := range waived {
		texts = append(texts, strings.TrimSpace(refusal.Reason+" "+refusal.Rule))
		same = same && slices.ContainsFunc(t.waived, func(word string) bool { return meets(refusal, word) })
	}
	for _, word := range t.waived {
		same = same && slices.ContainsFunc(waived, func(refusal Refusal) bool { return meets(refusal, word) })
	}
	if same {
		return ""
	}
	return fmt.Sprintf("expected to waive [%s], and waived are [%s]", strings.Join(t.waived, ", "), strings.Join(texts, ", "))
}
