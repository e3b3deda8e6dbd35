package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
)

// plenty reports whether the rules that depend on nobody find so many people that
// the stages can be decided whoever is kept out.
func (c *census) plenty(apart []countersign.Stage) bool {
	needed := 0
	for _, stage := range apart {
		for _, quorum := range stage.Quorums {
			needed += quorum.Need
		}
	}
	for _, stage := range apart {
		for _, quorum := range stage.Quorums {
			people := map[countersign.IdentityID]bool{}
			for _, rule := range slices.Concat(quorum.Approvers, quorum.Else) {
				found, _ := c.always(rule)
				for _, candidate := range found {
					people[candidate.ID] = true
				}
			}
			if len(people) < needed+c.most {
				return false
			}
		}
	}
	return true
}

// undecided returns the askings for which the last of the stages could be decided
// by nobody, and why. Askers are alike when the rules find for them, and keep out
// from among those found, the same people, as far as these matter; so few
// askings of each kind are judged, and what was judged for other types with the
// same rules is known.
func (c *census) undecided(apart []countersign.Stage, kinds []countersign.IdentityKind, askers, items []int) []stuck {
	var signature strings.Builder
	fmt.Fprint(&signature, kinds, items)
	var rules []string
	for _, stage := range apart {
		for _, quorum := range stage.Quorums {
			fmt.Fprintf(&signature, "%q%q%d;", quorum.Approvers, quorum.Else, quorum.Need)
		}
		fmt.Fprint(&signature, "|")
		rules = append(rules, StageRules(stage)...)
	}
	if known, done := c.decided[signature.String()]; done {
		return known
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	matters := map[countersign.IdentityID]bool{}
	byItem := false
	var byAsker []string
	for _, rule := range rules {
		found, fixed := c.always(rule)
		for _, candidate := range found {
			matters[candidate.ID] = true
		}
		switch {
		case ofItem(rule):
			byItem = true
		case !fixed:
			byAsker = append(byAsker, rule)
		}
	}
	var alike [][]int
	groupOf := map[string]int{}
	var key []byte
	for _, i := range askers {
		key = c.Askers[i].key(byAsker, matters, key[:0])
		at, known := groupOf[string(key)]
		if !known {
			at = len(alike)
			groupOf[string(key)], alike = at, append(alike, nil)
		}
		alike[at] = append(alike[at], i)
	}
	about := []int{-1}
	if byItem {
		about = items
	}
	var all []stuck
	for _, item := range about {
		all = append(all, c.undecidedFor(item, apart, rules, alike, askers)...)
	}
	c.decided[signature.String()] = all
	return all
}

// undecidedFor judges one asking of each kind, and each by or for somebody who has
// to do with an owner of the item.
func (c *census) undecidedFor(item int, apart []countersign.Stage, rules []string, alike [][]int, askers []int) (all []stuck) {
	var owned OwnedItem
	special := map[int]bool{}
	if item >= 0 {
		owned = c.Items[item]
		for _, id := range []countersign.IdentityID{owned.Owner.ID, owned.SecondOwner.ID} {
			for _, i := range c.related[id] {
				if _, among := slices.BinarySearch(askers, i); among {
					special[i] = true
				}
			}
		}
	}
	for _, group := range alike {
		first := slices.IndexFunc(group, func(i int) bool { return !special[i] })
		if first < 0 {
			continue
		}
		if because := c.judge(apart, rules, c.Askers[group[first]], owned); because != "" {
			all = append(all, stuck{slices.DeleteFunc(slices.Clone(group), func(i int) bool { return special[i] }), item, because})
		}
	}
	for _, i := range slices.Sorted(maps.Keys(special)) {
		if because := c.judge(apart, rules, c.Askers[i], owned); because != "" {
			all = append(all, stuck{[]int{i}, item, because})
		}
	}
	return all
}

// key says what matters about an asker: whom the rules find, by name where it
// matters who it is, and who is kept out.
func (a Asker) key(rules []string, matters map[countersign.IdentityID]bool, key []byte) []byte {
	var seen [8]countersign.IdentityID
	others := seen[:0]
	for _, rule := range rules {
		candidate := a.Found[rule]
		switch _, out := a.SamePerson[candidate.ID]; {
		case candidate.ID == "" || !candidate.Active || !candidate.Human:
			key = append(key, '-')
		case out:
			key = append(key, '!')
		case matters[candidate.ID]:
			key = append(key, candidate.ID...)
		default:
			at := slices.Index(others, candidate.ID)
			if at < 0 {
				at, others = len(others), append(others, candidate.ID)
			}
			key = strconv.AppendInt(key, int64(at), 10)
		}
		key = append(key, ';')
	}
	var kept []countersign.IdentityID
	for id := range a.SamePerson {
		if matters[id] {
			kept = append(kept, id)
		}
	}
	slices.Sort(kept)
	for _, id := range kept {
		key = append(append(key, id...), ',')
	}
	return key
}

// judge says why the last stage can be decided by nobody; "" if it can.
func (c *census) judge(apart []countersign.Stage, rules []string, asker Asker, item OwnedItem) string {
	found := map[string][]Candidate{}
	for _, rule := range rules {
		if fixed, ok := c.always(rule); ok {
			found[rule] = fixed
			continue
		}
		candidate := asker.Found[rule]
		if ofItem(rule) {
			candidate = item.found(rule)
		}
		if candidate.ID != "" {
			found[rule] = []Candidate{candidate}
		}
	}
	var stages []PlannedStage
	for _, template := range apart {
		planned := PlannedStage{Stage: template}
		planned.Standing, planned.Excluded = Standing(template, found, asker.SamePerson)
		stages = append(stages, planned)
	}
	last := stages[len(stages)-1]
	if missing, ok := Supplies(last.Stage, last.Standing); !ok {
		var kept []string
		for _, excluded := range last.Excluded {
			if excluded.Because != "not active" && excluded.Because != "not a person" && len(kept) < 5 {
				kept = append(kept, c.nameOf(rules, found, excluded.Person)+" ("+excluded.Because+")")
			}
		}
		if len(kept) > 0 {
			missing += "; kept out: " + strings.Join(kept, ", ")
		}
		return missing
	}
	for _, other := range stages[:len(stages)-1] {
		if _, ok := Supplies(other.Stage, other.Standing); !ok {
			// That is the trouble of the other stage.
			return ""
		}
	}
	if missing, ok := supplyApart(stages); !ok && !canBeDecided(stages) {
		return "other people must decide it than the earlier stages, and " + missing
	}
	return ""
}

func (c *census) nameOf(rules []string, found map[string][]Candidate, id countersign.IdentityID) string {
	for _, rule := range rules {
		for _, candidate := range found[rule] {
			if candidate.ID == id {
				return candidate.Name
			}
		}
	}
	return string(id)
}
