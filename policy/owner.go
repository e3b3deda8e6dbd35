package policy

import (
	"maps"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// OwnerTerms say how often owners confirm that they still answer for a
// non-human identity or a system, and what happens while they do not.
type OwnerTerms struct {
	ConfirmEvery countersign.Seconds `json:"confirm_every"`
	// Kinds and Risks replace ConfirmEvery for machines of a kind and for systems of
	// a risk.
	Kinds map[countersign.IdentityKind]countersign.Seconds `json:"kinds,omitempty"`
	Risks map[countersign.Risk]countersign.Seconds         `json:"risks,omitempty"`
	// Remind is how long before the time the owner is reminded; Grace is how long
	// others have, once told, until nothing new is given.
	Remind countersign.Seconds `json:"remind"`
	Grace  countersign.Seconds `json:"grace"`
	// AcceptWithin is how long an offer to answer for one waits for a second person.
	AcceptWithin countersign.Seconds `json:"accept_within"`
}

// standardOwnerTerms count where a set says nothing.
var standardOwnerTerms = OwnerTerms{ConfirmEvery: 180 * countersign.Day, Remind: 14 * countersign.Day, Grace: 14 * countersign.Day, AcceptWithin: 30 * countersign.Day}

// StandardOwnerTerms are those of a set that says nothing.
func StandardOwnerTerms() OwnerTerms { return standardOwnerTerms }

// Owners returns what the set says of owners.
func (s *Set) Owners() OwnerTerms {
	terms := s.owners
	terms.Kinds, terms.Risks = maps.Clone(terms.Kinds), maps.Clone(terms.Risks)
	return terms
}

// Offers says how long an offer waits. Who may accept it is reminded as an owner is, and
// not before half of the time has passed.
func (t OwnerTerms) Offers() WaitingTerms {
	return WaitingTerms{Within: t.AcceptWithin, Remind: min(t.Remind, t.AcceptWithin/2)}
}

// OfMachine is how often a machine is confirmed; its own is 0 where nobody said so.
func (t OwnerTerms) OfMachine(kind countersign.IdentityKind, own countersign.Seconds) countersign.Seconds {
	if own != 0 {
		return own
	}
	if every, said := t.Kinds[kind]; said {
		return every
	}
	return t.ConfirmEvery
}

// OfSystem is how often a system is confirmed.
func (t OwnerTerms) OfSystem(risk countersign.Risk, own countersign.Seconds) countersign.Seconds {
	if own != 0 {
		return own
	}
	if every, said := t.Risks[risk]; said {
		return every
	}
	return t.ConfirmEvery
}

func (l *loader) readOwners(s *source, root *yaml.Node) {
	file := s.mapping(root, "the file", "owners")
	if !l.first(s, file.keys["owners"], "key", "owners") {
		return
	}
	m := s.mapping(file.values["owners"], "`owners`", "confirm_every", "kinds", "risks", "remind", "grace", "accept_within")
	terms := &l.set.owners
	if m.has("confirm_every") {
		terms.ConfirmEvery = m.between("confirm_every", countersign.ShortestConfirmation, countersign.LongestConfirmation)
	}
	terms.Kinds = intervals(m, "kinds", []countersign.IdentityKind{countersign.Service, countersign.Workload, countersign.Agent})
	terms.Risks = intervals(m, "risks", []countersign.Risk{countersign.LowRisk, countersign.MediumRisk, countersign.HighRisk})
	for key, into := range map[string]*countersign.Seconds{"remind": &terms.Remind, "grace": &terms.Grace} {
		if m.has(key) {
			*into = m.between(key, countersign.Day, 90*countersign.Day)
		}
	}
	if m.has("accept_within") {
		terms.AcceptWithin = m.between("accept_within", shortestWait, longestWait)
	}
}

// between reads a duration within bounds.
func (m *mapping) between(key string, shortest, longest countersign.Seconds) countersign.Seconds {
	before := len(m.problems)
	read := m.seconds(key)
	if len(m.problems) == before && (read < shortest || read > longest) {
		m.problem(m.values[key], "`%s` is %s, and must be from %s to %s", key, read, shortest, longest)
	}
	return read
}

// intervals reads times between two confirmations by words of a closed list.
func intervals[T ~string](m *mapping, key string, known []T) map[T]countersign.Seconds {
	if !m.has(key) {
		return nil
	}
	inner := m.mapping(m.values[key], "`"+key+"`", words(known)...)
	read := map[T]countersign.Seconds{}
	for _, word := range known {
		if inner.has(string(word)) {
			read[word] = inner.between(string(word), countersign.ShortestConfirmation, countersign.LongestConfirmation)
		}
	}
	return read
}
