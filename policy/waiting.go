package policy

import (
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// WaitingTerms say how long what one person has begun waits for a second one, and how
// long before its time those who may decide are reminded.
type WaitingTerms struct {
	Within countersign.Seconds `json:"within"`
	Remind countersign.Seconds `json:"remind"`
}

// standardProposalTerms count where a set says nothing.
var standardProposalTerms = WaitingTerms{Within: 30 * countersign.Day, Remind: 7 * countersign.Day}

// StandardProposalTerms are those of a set that says nothing.
func StandardProposalTerms() WaitingTerms { return standardProposalTerms }

// The shortest and the longest time that anything waits for a second person.
const (
	shortestWait = countersign.Day
	longestWait  = 365 * countersign.Day
)

// Clock says until when something waits that was begun at a time, and when it is
// reminded of. What is older than that when it gets its clock is reminded of first:
// nothing ends of which nobody was told.
func (t WaitingTerms) Clock(begun, now countersign.Instant) (until, remindAt countersign.Instant) {
	until = max(begun.Add(t.Within), now.Add(t.Remind))
	return until, until.Add(-t.Remind)
}

// Proposals returns how long proposals wait.
func (s *Set) Proposals() WaitingTerms { return s.proposals }

func (l *loader) readProposals(s *source, root *yaml.Node) {
	file := s.mapping(root, "the file", "proposals")
	if !l.first(s, file.keys["proposals"], "key", "proposals") {
		return
	}
	m := s.mapping(file.values["proposals"], "`proposals`", "within", "remind")
	terms := &l.set.proposals
	if m.has("within") {
		terms.Within = m.between("within", shortestWait, longestWait)
		terms.Remind = min(terms.Remind, terms.Within/2)
	}
	if m.has("remind") {
		terms.Remind = m.between("remind", countersign.Hour, 90*countersign.Day)
		if len(s.problems) == 0 && terms.Remind >= terms.Within {
			m.problem(m.values["remind"], "`remind` is %s, and must be shorter than `within`, which is %s", terms.Remind, terms.Within)
		}
	}
}
