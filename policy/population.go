package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Population is who there is and what there is to ask for, for CheckIn.
type Population struct {
	// Askers are those who could be asked for, each with who would ask.
	Askers []Asker
	Items  []OwnedItem
	// Find answers a rule that depends on nobody: group(…) or person(…).
	Find func(rule string) []Candidate
}

// Asker is an asking by who could ask for whom, without what for.
type Asker struct {
	Requester, Beneficiary Party
	// SamePerson is who is kept out, as in Facts.
	SamePerson map[countersign.IdentityID]string
	// Found answers the rules that depend on the two, under the rule; what is absent
	// finds nobody.
	Found map[string]Candidate
	// SecondOwner is that of a beneficiary that is no person.
	SecondOwner Candidate
}

// OwnedItem is something to ask for, and who owns it; without an id, nobody does.
type OwnedItem struct {
	Item
	Owner, SecondOwner Candidate
}

func (i OwnedItem) found(rule string) Candidate {
	if rule == "owner-of(resource)" {
		return i.Owner
	}
	return i.SecondOwner
}

// census is a population as the checks of several types use it.
type census struct {
	Population
	fixed map[string][]Candidate
	// related are the askers for whom somebody is found or kept out.
	related map[countersign.IdentityID][]int
	// most is how many people are kept out of one asking, at most.
	most    int
	decided map[string][]stuck
}

// stuck are askings of which nobody could decide a stage, and why; the item is -1
// where it makes no difference.
type stuck struct {
	askers  []int
	item    int
	because string
}

// CheckIn is Check, and says besides what is odd among the people and systems there
// are today: stages that nobody can decide under separation of duties, escalations
// and follow-ups that reach nobody, people who could decide everything alone, or
// for a machine of their own. The list is in the order of file and line.
func (s *Set) CheckIn(population Population) []Finding {
	c := &census{Population: population, fixed: map[string][]Candidate{}, related: map[countersign.IdentityID][]int{}, decided: map[string][]stuck{}}
	for i, asker := range population.Askers {
		c.most = max(c.most, len(asker.SamePerson))
		ids := map[countersign.IdentityID]bool{}
		for id := range asker.SamePerson {
			ids[id] = true
		}
		for _, candidate := range asker.Found {
			ids[candidate.ID] = true
		}
		for id := range ids {
			c.related[id] = append(c.related[id], i)
		}
	}
	all := s.Check()
	for _, t := range s.types {
		f := findings{kind: t}
		f.checkPeople(c)
		all = append(all, f.list...)
	}
	return sortFindings(all)
}

// always returns who a rule finds whoever asks for what; ok is false for a rule
// that depends on it.
func (c *census) always(rule string) (found []Candidate, ok bool) {
	if !strings.HasPrefix(rule, "group(") && !strings.HasPrefix(rule, "person(") {
		return nil, false
	}
	found, known := c.fixed[rule]
	if !known {
		for _, candidate := range c.Find(rule) {
			if candidate.Active && candidate.Human {
				found = append(found, candidate)
			}
		}
		c.fixed[rule] = found
	}
	return found, true
}

func ofItem(rule string) bool { return strings.HasSuffix(rule, "(resource)") }

// checkPeople checks one type.
func (f *findings) checkPeople(c *census) {
	askers, items := f.among(c)
	if len(askers) == 0 || len(items) == 0 {
		f.add(f.kind.line, false, "nobody-can-ask", "nothing in the directory matches %s: there is no beneficiary or no entitlement that it is for", f.kind.name)
		return
	}
	for _, s := range f.kind.stages {
		f.checkDecided(c, s, askers, items)
		for i, rung := range s.template.Ladder {
			if f.reachesNobody(c, rung.EscalateTo, askers, items) {
				f.add(s.line, true, "escalates-to-nobody", "the stage %s escalates in step %d to %s, which finds nobody", s.template.Name, i+1, enumerate(rung.EscalateTo, "and"))
			}
		}
	}
	for _, s := range f.kind.evidence {
		if len(s.EscalateTo) > 0 && f.reachesNobody(c, s.EscalateTo, askers, items) {
			f.add(s.line, true, "follow-up-without-owner", "the evidence %s, when it is late, is told to %s, which finds nobody", s.Name, enumerate(s.EscalateTo, "and"))
		}
	}
	f.checkAlone(c, askers, items)
	f.checkOwnMachine(c, askers, items)
}

// among returns the askers and items that the type is for, one item of each pair
// of owners.
func (f *findings) among(c *census) (askers, items []int) {
	for i, asker := range c.Askers {
		if slices.Contains(f.kind.beneficiary, asker.Beneficiary.Kind) {
			askers = append(askers, i)
		}
	}
	owners := map[[2]countersign.IdentityID]bool{}
	for i, item := range c.Items {
		pair := [2]countersign.IdentityID{item.Owner.ID, item.SecondOwner.ID}
		if !owners[pair] && f.kind.grants.allows(item.Item) {
			owners[pair] = true
			items = append(items, i)
		}
	}
	return askers, items
}

// allows reports whether the selector is for the item.
func (s Selector) allows(item Item) bool {
	return s.Kind == item.Entitlement.Kind && common(s.Systems, []string{item.Resource.System}) &&
		common(s.Resources, []string{item.Resource.Name}) && common(s.Entitlements, []string{item.Entitlement.Name})
}

// reachesNobody reports whether rules find nobody, whoever asks for what.
func (f *findings) reachesNobody(c *census, rules []string, askers, items []int) bool {
	for _, rule := range rules {
		if len(c.anybody(rule, askers, items)) > 0 {
			return false
		}
	}
	return true
}

// anybody returns everybody whom a rule could find.
func (c *census) anybody(rule string, askers, items []int) map[countersign.IdentityID]Candidate {
	found := map[countersign.IdentityID]Candidate{}
	add := func(candidate Candidate) {
		if candidate.ID != "" && candidate.Active && candidate.Human {
			found[candidate.ID] = candidate
		}
	}
	if fixed, ok := c.always(rule); ok {
		for _, candidate := range fixed {
			add(candidate)
		}
	} else if ofItem(rule) {
		for _, i := range items {
			add(c.Items[i].found(rule))
		}
	} else {
		for _, i := range askers {
			add(c.Askers[i].Found[rule])
		}
	}
	return found
}

// checkDecided looks for askings of which a stage could be decided by nobody,
// together with the stages whose people may not decide it again.
func (f *findings) checkDecided(c *census, s stage, askers, items []int) {
	if len(s.template.Quorums) == 0 {
		return
	}
	apart := []countersign.Stage{s.template}
	for _, other := range f.kind.stages {
		if slices.Contains(s.template.DistinctFrom, other.template.Name) && len(other.template.Quorums) > 0 {
			apart = append([]countersign.Stage{other.template}, apart...)
		}
	}
	if c.plenty(apart) {
		return
	}
	var first stuck
	number := 0
	for _, group := range c.undecided(apart, f.kind.beneficiary, askers, items) {
		about := []int{group.item}
		if group.item < 0 {
			about = items
		}
		for _, item := range about {
			for _, asker := range group.askers {
				if !f.couldOpen(s, c.Askers[asker], c.Items[item]) {
					continue
				}
				if number++; number == 1 {
					first = stuck{[]int{asker}, item, group.because}
				}
			}
		}
	}
	if number == 0 {
		return
	}
	asker, item, askings := c.Askers[first.askers[0]], c.Items[first.item], len(askers)*len(items)
	f.add(s.line, number == askings, "nobody-can-decide", "the stage %s can be decided by nobody when %s asks for %s/%s/%s for %s: %s. So it is for %d of %d kinds of askings, by who is to hold it and who owns it",
		s.template.Name, asker.Requester.Name, item.Resource.System, item.Resource.Name, item.Entitlement.Name, asker.Beneficiary.Name, first.because, number, askings)
}

// couldOpen reports whether a stage could open for an asking, as far as that is
// known without the answers of a form: what cannot be judged could.
func (f *findings) couldOpen(s stage, asker Asker, item OwnedItem) bool {
	if s.when == nil {
		return true
	}
	e := f.kind.blank()
	e.requester, e.beneficiary = viewParty("requester", asker.Requester), viewParty("beneficiary", asker.Beneficiary)
	e.resource, e.entitlement = viewItem(item.Item)
	e.request.Duration = f.kind.standard.Duration()
	opens, err := is(s.when, true)(e)
	return err != nil || opens || len(f.kind.form.fields) > 0 && f.readsAnswers(s.when)
}

func (f *findings) readsAnswers(condition *expression) bool {
	for name := range f.kind.read(condition).attributes {
		if strings.HasPrefix(name, answersType+".") || name == "now" || strings.HasPrefix(name, "request.") {
			return true
		}
	}
	return false
}

// checkAlone looks for somebody who could decide every stage alone.
func (f *findings) checkAlone(c *census, askers, items []int) {
	var stages []stage
	for _, s := range f.kind.stages {
		if !s.template.Review && len(s.template.Quorums) > 0 {
			stages = append(stages, s)
		}
	}
	if len(stages) < 2 {
		return
	}
	var everywhere map[countersign.IdentityID]Candidate
	for _, s := range stages {
		if len(s.template.DistinctFrom) > 0 || len(s.template.Quorums) > 1 || s.template.Quorums[0].Need > 1 {
			return
		}
		here := map[countersign.IdentityID]Candidate{}
		for _, rule := range s.template.Quorums[0].Approvers {
			maps.Copy(here, c.anybody(rule, askers, items))
		}
		if everywhere == nil {
			everywhere = here
			continue
		}
		maps.DeleteFunc(everywhere, func(id countersign.IdentityID, _ Candidate) bool { _, in := here[id]; return !in })
	}
	if len(everywhere) == 0 {
		return
	}
	var names []string
	for _, s := range stages {
		names = append(names, s.template.Name)
	}
	one := everywhere[slices.Min(slices.Collect(maps.Keys(everywhere)))]
	f.add(stages[len(stages)-1].line, false, "one-person-decides-all", "%s could decide the stages %s alone, as could %d more: give the last one `distinct_from: [%s]` if two people are meant",
		one.Name, enumerate(names, "and"), len(everywhere)-1, strings.Join(names[:len(names)-1], ", "))
}

// checkOwnMachine looks for the second owner of a machine who may decide what the
// machine gets: no separation of duties keeps a second owner out.
func (f *findings) checkOwnMachine(c *census, askers, items []int) {
	for _, s := range f.kind.stages {
		if s.template.Review {
			continue
		}
		// Those of an `else` are asked too seldom to speak of.
		var rules []string
		for _, quorum := range s.template.Quorums {
			rules = append(rules, quorum.Approvers...)
		}
		for _, rung := range s.template.Ladder {
			rules = append(rules, rung.EscalateTo...)
		}
		for _, rule := range rules {
			if example, found := c.ownMachine(rule, askers, items); found {
				asker := c.Askers[example]
				f.add(s.line, false, "decides-for-own-machine", "%s could decide the stage %s for a machine of their own: second owner of %s → found by %s → not kept out, because only the owner and the sponsor count as the machine itself",
					asker.SecondOwner.Name, s.template.Name, asker.Beneficiary.Name, rule)
				break
			}
		}
	}
}

func (c *census) ownMachine(rule string, askers, items []int) (int, bool) {
	var found map[countersign.IdentityID]Candidate
	if _, fixed := c.always(rule); fixed || ofItem(rule) {
		found = c.anybody(rule, nil, items)
	}
	for _, i := range askers {
		second := c.Askers[i].SecondOwner
		_, kept := c.Askers[i].SamePerson[second.ID]
		if second.ID == "" || kept || !second.Active {
			continue
		}
		if _, in := found[second.ID]; in || c.Askers[i].Found[rule].ID == second.ID {
			return i, true
		}
	}
	return 0, false
}
