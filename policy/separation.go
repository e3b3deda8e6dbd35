package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// SeparationInfo is a separation rule: a combination of access that nobody may
// hold as one person.
type SeparationInfo struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Combination has two sides or more; at least one entitlement of each is toxic.
	Combination []Side `json:"combination"`
	// Because is the sentence for people.
	Because  string `json:"because"`
	Waivable bool   `json:"waivable"`
	// Rule is the digest of the rule's file.
	Rule countersign.Digest `json:"rule"`
}

// Side is one side of a combination. An empty list of resources or entitlements
// allows any.
type Side struct {
	Systems      []string `json:"systems"`
	Resources    []string `json:"resources"`
	Entitlements []string `json:"entitlements"`
}

// HeldItem is an entitlement that somebody holds now.
type HeldItem struct {
	Item
	Holder     countersign.IdentityID `json:"holder"`
	HolderName string                 `json:"holder_name"`
	Grant      countersign.GrantID    `json:"grant"`
	// Live says that it works by now, and is not on its way out.
	Live bool `json:"live,omitempty"`
}

// Separations returns the separation rules, in the order of names.
func (s *Set) Separations() []SeparationInfo {
	infos := slices.Clone(s.separations)
	for i := range infos {
		infos[i].Combination = slices.Clone(infos[i].Combination)
		for k, side := range infos[i].Combination {
			infos[i].Combination[k] = Side{slices.Clone(side.Systems), slices.Clone(side.Resources), slices.Clone(side.Entitlements)}
		}
	}
	return infos
}

func (l *loader) readSeparations(s *source, root *yaml.Node) {
	for _, node := range l.entries(s, root, "separation") {
		m := s.mapping(node, "a separation rule", "name", "title", "combination", "because", "waivable")
		m.require("name", "combination")
		m.sentences("title", "because")
		rule := SeparationInfo{
			Name: l.named(m, "separation rule"), Title: m.text("title"), Because: m.text("because"), Waivable: m.flag("waivable"), Rule: s.digest(),
		}
		nodes := m.list("combination")
		if m.has("combination") && m.values["combination"].Kind == yaml.SequenceNode && len(nodes) < 2 {
			s.problem(m.values["combination"], "a combination has at least two sides, and this one has %d", len(nodes))
		}
		for i, node := range nodes {
			before := len(s.problems)
			side := readSide(s, node)
			for k, other := range rule.Combination {
				if len(s.problems) == before && len(other.Systems) > 0 && side.overlaps(other) {
					s.problem(node, "sides %d and %d could be the same entitlement: keep them apart by system, resource or entitlement", k+1, i+1)
				}
			}
			rule.Combination = append(rule.Combination, side)
		}
		l.set.separations = append(l.set.separations, rule)
	}
}

func readSide(s *source, node *yaml.Node) Side {
	m := s.mapping(node, "a side", "system", "resource", "entitlement")
	m.require("system")
	side := Side{m.some("system"), m.some("resource"), m.some("entitlement")}
	if slices.Contains(side.Systems, anySystem) {
		s.problem(m.values["system"], "`any` is no system: a side names its systems")
	}
	return side
}

// overlaps reports whether one entitlement could satisfy both sides.
func (s Side) overlaps(other Side) bool {
	return common(s.Systems, other.Systems) && common(s.Resources, other.Resources) && common(s.Entitlements, other.Entitlements)
}

func (s Side) satisfiedBy(item Item) bool {
	return slices.Contains(s.Systems, item.Resource.System) &&
		common(s.Resources, []string{item.Resource.Name}) && common(s.Entitlements, []string{item.Entitlement.Name})
}

// touches reports whether one of the items satisfies a side of the rule.
func (r SeparationInfo) touches(items []Item) bool {
	return slices.ContainsFunc(r.Combination, func(side Side) bool { return slices.ContainsFunc(items, side.satisfiedBy) })
}

// Toxic refuses items that would complete a combination with what is held: for
// access that nobody asks for.
func (s *Set) Toxic(items []Item, held []HeldItem) []Refusal {
	j := &judgement{facts: Facts{Items: items, Held: held}}
	j.judgeSeparations(s.separations)
	return j.plan.Refusals
}

// judgeSeparations refuses what would complete a combination: each side is
// asked for now or held already, and at least one is asked for now.
func (j *judgement) judgeSeparations(rules []SeparationInfo) {
	for _, rule := range rules {
		if !rule.touches(j.facts.Items) {
			continue
		}
		together, open := j.together(rule)
		where := "separation " + rule.Name
		if open > 0 {
			j.traces = append(j.traces, trace{where, rule.Title, fmt.Sprintf("side %d is neither asked for nor held", open)})
			continue
		}
		j.traces = append(j.traces, trace{where, rule.Title, "every side is asked for or held"})
		j.refuse(Refusal{
			Reason: ReasonToxicCombination, Rule: rule.Name, Field: "/entitlements", Waivable: rule.Waivable,
			Because: fmt.Sprintf("%s: %s. %s", rule.Title, strings.Join(together, ", and "), rule.Because),
		})
	}
}

// together says of each side who asks for it or holds it; open is the number of
// the first side that nobody does, or 0.
func (j *judgement) together(rule SeparationInfo) (together []string, open int) {
	for i, side := range rule.Combination {
		var found []string
		for _, item := range j.facts.Items {
			if side.satisfiedBy(item) {
				found = append(found, item.path()+" is asked for")
			}
		}
		if len(found) == 0 {
			for _, held := range j.facts.Held {
				if side.satisfiedBy(held.Item) {
					found = append(found, fmt.Sprintf("%s is held by %s", held.path(), cmp.Or(held.HolderName, string(held.Holder))))
				}
			}
		}
		if len(found) == 0 {
			return nil, i + 1
		}
		const shown = 3
		if len(found) > shown {
			found = append(found[:shown], fmt.Sprintf("%d more", len(found)-shown))
		}
		together = append(together, strings.Join(found, ", "))
	}
	return together, 0
}

// readHeld reads what a test says is held, by the beneficiary if it names nobody.
func readHeld(given *mapping, beneficiary Party) []HeldItem {
	var held []HeldItem
	for i, node := range given.list("held") {
		m := given.mapping(node, "what is held", "system", "resource", "entitlement", "risk", "holder")
		m.require("system", "resource", "entitlement")
		holder := m.textOr("holder", beneficiary.Name)
		item := HeldItem{Holder: countersign.IdentityID(holder), HolderName: holder, Grant: countersign.GrantID(fmt.Sprintf("held %d", i+1)), Live: true}
		item.Resource = ResourceFact{Name: m.text("resource"), System: m.text("system"), Risk: countersign.LowRisk}
		if m.has("risk") {
			item.Resource.Risk = word(m, "risk", "risk", risks)
		}
		name := m.text("entitlement")
		item.Entitlement = EntitlementFact{ID: countersign.EntitlementID(name), Name: name, Risk: item.Resource.Risk}
		held = append(held, item)
	}
	return held
}
