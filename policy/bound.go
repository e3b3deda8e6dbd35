package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

const (
	maxBounds = 32
	maxHolds  = 32
)

var answering = []countersign.Answering{countersign.AnsweringOwner, countersign.AnsweringSponsor}

// readBounds reads what access of an agent counts within.
func (t *requestType) readBounds(g *mapping) {
	nodes := g.list("bounded_by")
	if g.has("bounded_by") && !slices.Equal(t.beneficiary, []countersign.IdentityKind{countersign.Agent}) {
		g.problem(g.keys["bounded_by"], "`bounded_by` belongs to a type whose `beneficiary` is `[agent]`: only an agent is bounded by who answers for it")
	}
	if len(nodes) > maxBounds {
		g.problem(g.values["bounded_by"], "`bounded_by` has %d entries, and may have %d", len(nodes), maxBounds)
	}
	for _, node := range nodes {
		m := g.mapping(node, "a bound", "who", "holds", "resource")
		m.require("who", "holds")
		bound := countersign.Bound{Who: word(m, "who", "person who answers for an agent", answering), Holds: m.names("holds"), Resources: m.names("resource")}
		for _, name := range bound.Holds {
			if strings.Count(name, "/") < 2 {
				m.problem(m.values["holds"], "`%s` is not an entitlement: write it as system/resource/entitlement", countersign.Clip(name))
			}
		}
		if m.has("holds") && (len(bound.Holds) == 0 || len(bound.Holds) > maxHolds) {
			m.problem(m.values["holds"], "`holds` names between 1 and %d entitlements, of which one is enough", maxHolds)
		}
		t.terms.BoundedBy = append(t.terms.BoundedBy, bound)
	}
}

func cloneBounds(bounds []countersign.Bound) []countersign.Bound {
	bounds = slices.Clone(bounds)
	for i, bound := range bounds {
		bounds[i].Holds, bounds[i].Resources = slices.Clone(bound.Holds), slices.Clone(bound.Resources)
	}
	return bounds
}

// judgeBounds refuses an agent what who answers for it does not hold the like of.
func (j *judgement) judgeBounds() {
	beneficiary := j.facts.Beneficiary
	for _, item := range j.facts.Items {
		for _, bound := range j.kind.terms.BoundedBy {
			if !bound.Covers(item.Resource.Name) {
				continue
			}
			who := beneficiary.Owner
			if bound.Who == countersign.AnsweringSponsor {
				who = beneficiary.Sponsor
			}
			holds := func(held HeldItem) bool {
				return held.Live && held.Holder == who && slices.Contains(bound.Holds, held.path())
			}
			if who != "" && slices.ContainsFunc(j.facts.Held, holds) {
				continue
			}
			j.refuse(Refusal{
				Reason: ReasonOutOfBounds, Field: "/entitlements",
				Because: fmt.Sprintf("%s is for an agent whose %s holds %s, and that of %s does not.", item.path(), bound.Who, enumerate(bound.Holds, "or"), beneficiary.Name),
			})
		}
	}
}

// owner returns the owner of a beneficiary that is an agent, or nil.
func (j *judgement) owner() *Party {
	for i, p := range j.facts.Answering {
		if p.ID == j.facts.Beneficiary.Owner {
			return &j.facts.Answering[i]
		}
	}
	return nil
}

// inPlaceOf is an agent as a rule would see it if its owner asked: the owner's
// affiliation, teams, groups and contract, and everything else that of the agent.
func inPlaceOf(owner, agent Party) Party {
	agent.Affiliation, agent.Teams, agent.Groups, agent.ContractEnd = owner.Affiliation, owner.Teams, owner.Groups, owner.ContractEnd
	return agent
}

// refusesOwner reports whether a rule would refuse the owner of an agent the same.
// What it reads that even then is not there, it does not say of the owner.
func (j *judgement) refusesOwner(rule refuseRule, item int) bool {
	if len(j.owned) == 0 {
		return false
	}
	value, err := j.owned[item].run(rule.when)
	if err != nil {
		return false
	}
	holds, _ := value.Value().(bool)
	return holds
}

// readAnswering reads who answers for an agent in a test: active employees, where
// it says nothing else.
func (f *Facts) readAnswering(given *mapping) {
	for role, id := range map[string]countersign.IdentityID{"owner": f.Beneficiary.Owner, "sponsor": f.Beneficiary.Sponsor} {
		if given.has(role) && (f.Beneficiary.Kind != countersign.Agent || id == "") {
			given.problem(given.keys[role], "the test says how the %s is, and its beneficiary is no agent that has one", role)
		}
	}
	if f.Beneficiary.Kind != countersign.Agent {
		return
	}
	for _, one := range []struct {
		role string
		id   countersign.IdentityID
	}{{"owner", f.Beneficiary.Owner}, {"sponsor", f.Beneficiary.Sponsor}} {
		if one.id != "" {
			p := readParty(given, one.role, countersign.Person)
			p.ID = one.id
			f.Answering = append(f.Answering, p)
		}
	}
}
