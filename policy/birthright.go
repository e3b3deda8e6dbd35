package policy

import (
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// BirthrightInfo is a rule by which identities get a package without asking.
type BirthrightInfo struct {
	Name    string `json:"name"`
	When    string `json:"when"`
	Package string `json:"package"`
	// Overlap is how long the access is kept after the rule stops to hold.
	Overlap countersign.Seconds `json:"overlap"`
	// Rule is the digest of the rule's file.
	Rule countersign.Digest `json:"rule"`
}

// BirthrightDue is a birthright that holds for somebody.
type BirthrightDue struct {
	Rule    string `json:"rule"`
	Package string `json:"package"`
	// Digest is that of the rule's file.
	Digest countersign.Digest `json:"digest"`
}

// BirthrightProblem is a rule that cannot be judged for somebody, and why.
type BirthrightProblem struct {
	Rule    string `json:"rule"`
	Because string `json:"because"`
}

type birthright struct {
	BirthrightInfo
	when  *expression
	kinds []countersign.IdentityKind
}

// Birthrights returns the rules, in the order of names.
func (s *Set) Birthrights() []BirthrightInfo {
	infos := make([]BirthrightInfo, len(s.birthrights))
	for i, rule := range s.birthrights {
		infos[i] = rule.BirthrightInfo
	}
	return infos
}

// Birthright says which rules hold for an identity, in the order of their names.
// A rule whose package is not for the identity's kind does not hold. Problems
// name the rules that cannot be judged; such a rule neither holds nor has
// stopped to hold.
func (s *Set) Birthright(identity Party, now countersign.Instant) (due []BirthrightDue, problems []BirthrightProblem) {
	seen := map[string]any{"identity": viewParty("identity", identity), "now": types.Timestamp{Time: now.Time()}}
	for _, rule := range s.birthrights {
		if len(rule.kinds) > 0 && !slices.Contains(rule.kinds, identity.Kind) {
			continue
		}
		value, _, err := rule.when.program.Eval(seen)
		var lacking *missing
		switch {
		case errors.As(err, &lacking):
			problems = append(problems, BirthrightProblem{rule.Name, fmt.Sprintf("The birthright %s cannot be judged for %s, who has no %s.", rule.Name, identity.Name, lacking.attribute)})
		case err != nil:
			problems = append(problems, BirthrightProblem{rule.Name, fmt.Sprintf("The birthright %s cannot be judged for %s: %s.", rule.Name, identity.Name, err)})
		case value.Value() == true:
			due = append(due, BirthrightDue{rule.Name, rule.Package, rule.Rule})
		}
	}
	return due, problems
}

// DefaultOverlap is for how long access is kept that its holder would not get any
// more, where a file does not say.
const DefaultOverlap = 7 * countersign.Day

const (
	longestOverlap = 90 * countersign.Day
)

func (l *loader) readBirthrights(s *source, root *yaml.Node) {
	names := []string{"identity", "now"}
	env, provider, err := newEnvironment(names)
	if err != nil {
		s.problem(root, "the language of conditions cannot be set up: %s", err)
		return
	}
	c := &compiler{source: s, env: env, provider: provider}
	for _, node := range l.entries(s, root, "birthrights") {
		m := s.mapping(node, "a birthright", "name", "when", "package", "overlap")
		m.require("name", "when", "package")
		read := &birthright{BirthrightInfo: BirthrightInfo{Name: l.named(m, "birthright"), Package: m.text("package"), Overlap: m.overlap(), Rule: s.digest()}}
		if m.has("when") {
			if read.when = c.compile(m.values["when"], "`when`", cel.BoolType); read.when != nil {
				read.When = read.when.text
			}
		}
		if info, err := l.set.Package(read.Package); err == nil {
			read.kinds = info.Beneficiary
		} else if read.Package != "" {
			m.problem(m.values["package"], "%s", unknown("package", read.Package, l.set.packageNames()))
		}
		l.set.birthrights = append(l.set.birthrights, read)
	}
}

// overlap reads how long access is kept; `0d` is not at all.
func (m *mapping) overlap() countersign.Seconds {
	node := m.values["overlap"]
	switch {
	case node == nil:
		return DefaultOverlap
	case node.Kind == yaml.ScalarNode && node.Value == "0d":
		return 0
	}
	overlap := m.seconds("overlap")
	if overlap > longestOverlap {
		m.problem(node, "`overlap` is %s, and must be from 0d to %s", overlap, longestOverlap)
	}
	return overlap
}
