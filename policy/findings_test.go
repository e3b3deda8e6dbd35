package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// kindsOf returns the kinds of findings with the lines where they stand.
func kindsOf(all []Finding) []string {
	kinds := []string{}
	for _, finding := range all {
		kinds = append(kinds, fmt.Sprintf("%s:%d", finding.Kind, finding.Line))
	}
	return kinds
}

func TestCheckFindsWhatLoadsAndCannotHaveBeenMeant(t *testing.T) {
	const manager = "stages:\n  - {name: manager, approvers: [manager-of(requester)]}\n"
	stage := func(when string) string {
		return manager + "  - {name: security, when: '" + when + "', approvers: [group(security)]}\n"
	}
	refuse := func(when string) string {
		return manager + "refuse:\n  - {when: '" + when + "', because: '\"no\"'}\n"
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing odd", stage(`resource.risk == "high"`), nil},
		{"another kind of beneficiary", stage(`beneficiary.kind == "person"`), []string{"never-opens:10"}},
		{"an attribute of people only", stage(`has(beneficiary.affiliation) && beneficiary.affiliation == "vendor"`), []string{"never-opens:10"}},
		{"two values at once", stage(`resource.system == "a" && resource.system == "b"`), []string{"never-opens:10"}},
		{"beyond the longest", stage(`request.duration > duration("2160h")`), []string{"never-opens:10"}},
		{"just the longest", stage(`request.duration >= duration("2160h")`), nil},
		{"below the shortest", stage(`request.duration < duration("1h")`), []string{"never-opens:10"}},
		{"whatever is asked", stage(`request.duration > duration("1m") || resource.risk == "high"`), []string{"always-opens:10"}},
		{"a number out of its range", stage(`answers.count < 1`), []string{"never-opens:10"}},
		{"a number at its edge", stage(`answers.count > 1`), nil},
		{"an empty choice", stage(`has(answers.size) && answers.size == "small" && answers.size == "large"`), []string{"never-opens:10"}},
		{"attributes compared with each other", stage(`resource.environment != beneficiary.environment`), nil},
		{"an attribute compared with itself", stage(`resource.environment != resource.environment`), []string{"never-opens:10"}},
		{"a list with two names", stage(`"a" in beneficiary.teams && "b" in beneficiary.teams`), nil},
		{"an empty list with a name", stage(`size(beneficiary.teams) == 0 && "b" in beneficiary.teams`), []string{"never-opens:10"}},
		{"at night", stage(`now.getHours() < 6`), nil},
		{"what trying cannot tell", stage(`resource.name.matches("^x$") && resource.name.matches("^y$")`), nil},
		{"refused before it opens", "refuse:\n  - {when: 'resource.risk == \"high\"', because: '\"no\"'}\n" + stage(`resource.risk == "high"`), []string{"never-opens:12"}},
		{"a refusal that never refuses", refuse(`!beneficiary.active`), []string{"never-refuses:11"}},
		{"a refusal of everything", refuse(`beneficiary.kind == "service"`), []string{"refuses-everything:11"}},
		{"a rule that always passes", "stages:\n  - {name: manager, automatic: 'beneficiary.active', approvers: [manager-of(requester)]}\n", []string{"approves-itself:1", "always-automatic:9"}},
		{"a rule that never passes", "stages:\n  - {name: manager, automatic: '!beneficiary.active', approvers: [manager-of(requester)]}\n", []string{"never-automatic:9"}},
		{"skipped and passed by rule", "stages:\n  - {name: a, when: 'resource.risk == \"high\"', approvers: [group(x)]}\n  - {name: b, automatic: 'beneficiary.environment == \"dev\"', approvers: [group(x)]}\n", []string{"approves-itself:1"}},
		{"one or the other is asked", "stages:\n  - {name: a, when: 'resource.risk == \"high\"', approvers: [group(x)]}\n  - {name: b, when: 'resource.risk != \"high\"', approvers: [group(x)]}\n", nil},
		{"escalation in a circle", "stages:\n  - {name: a, approvers: [group(x)], then: {escalate_to: [group(y)], then: {escalate_to: [group(y), group(x)]}}}\n", []string{"escalates-in-a-circle:9"}},
		{"escalation to the second in line", "stages:\n  - {name: a, approvers: [group(x)], else: [group(y)], then: {escalate_to: [group(y)]}}\n", nil},
		{"a variable", "variables: {big: 'has(answers.size) && answers.size == \"large\"'}\n" + stage(`variables.big && has(answers.size) && answers.size == "small"`), []string{"never-opens:11"}},
		{"a review that nobody else hears of", manager + "review: {reviewers: [group(x)]}\n", []string{"no-escalation:10"}},
		{"a closing text that nobody else hears of", manager + "evidence:\n  - {name: report, kind: text, due: at-closure, within: 2d}\n", []string{"follow-up-without-owner:11"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := withType(t, test.text).Check()
			if kinds := kindsOf(found); !slices.Equal(kinds, append([]string{}, test.want...)) {
				t.Errorf("found %v, and it should be %v\n%v", kinds, test.want, found)
			}
		})
	}
}

func TestCheckFindsEvidenceThatNeedNotBeNamed(t *testing.T) {
	set := load(t,
		File{Path: "sources.yaml", Bytes: []byte("sources:\n  - {name: incidents, built_in: tickets}\n")},
		File{Path: "t.yaml", Bytes: []byte(strings.Replace(smallType, "ask: {", "ask: {incident: {type: string, optional: true}, ", 1) + `stages:
  - {name: manager, approvers: [manager-of(requester)]}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
`)})
	if kinds := kindsOf(set.Check()); !slices.Equal(kinds, []string{"evidence-never-due:11"}) {
		t.Errorf("found %v", kinds)
	}
}

// town is a small population: ana and otto work for max, who works for mia; svc is
// ana's machine, with otto as second owner; max owns the things.
func town() Population {
	person := func(name string) Candidate {
		return Candidate{ID: countersign.IdentityID(name), Name: name, Active: true, Human: true}
	}
	manager := map[string]string{"ana": "max", "otto": "max", "max": "mia"}
	groups := map[string][]string{"group(one)": {"ana"}, "group(two)": {"ana", "otto"}, "group(many)": {"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"}, "group(none)": nil}
	people := Population{
		Find: func(rule string) (found []Candidate) {
			for _, name := range groups[rule] {
				found = append(found, person(name))
			}
			return found
		},
		Items: []OwnedItem{{
			Item:  Item{Entitlement: EntitlementFact{Name: "reader", Kind: countersign.CredentialKind, Risk: countersign.LowRisk}, Resource: ResourceFact{Name: "orders", System: "shop", Risk: countersign.LowRisk}},
			Owner: person("max"),
		}},
	}
	for _, name := range []string{"ana", "max", "mia", "otto", "svc"} {
		asker := Asker{Requester: Party{ID: countersign.IdentityID(name), Name: name, Kind: countersign.Person, Active: true}, SamePerson: map[countersign.IdentityID]string{countersign.IdentityID(name): "asked for it"}, Found: map[string]Candidate{}}
		asker.Beneficiary = asker.Requester
		if name == "svc" {
			asker.Requester = people.Askers[0].Requester
			asker.Beneficiary = Party{ID: "svc", Name: "svc", Kind: countersign.Service, Active: true, Owner: "ana", Environment: "prod"}
			asker.SamePerson["ana"], asker.SecondOwner = "answers for svc", person("otto")
			asker.Found["manager-of(requester)"] = person("max")
		} else if manager[name] != "" {
			asker.Found["manager-of(requester)"] = person(manager[name])
		}
		people.Askers = append(people.Askers, asker)
	}
	return people
}

func TestCheckFindsStagesThatNobodyCouldDecideToday(t *testing.T) {
	for _, test := range []struct {
		name, stages string
		want         []string
		says         string
	}{
		{"enough people", "  - {name: a, approvers: [group(many)], need: 2}\n", nil, ""},
		{"only who asks", "  - {name: a, approvers: [group(one)]}\n", []string{"nobody-can-decide:9"}, "ana (answers for svc)"},
		{"a second in line", "  - {name: a, approvers: [group(one)], else: [group(many)]}\n", nil, ""},
		{"two for one place", "  - {name: a, approvers: [manager-of(requester)]}\n  - {name: b, approvers: [owner-of(resource)], distinct_from: [a]}\n", []string{"nobody-can-decide:10"}, "other people must decide it"},
		{"one for two places", "  - {name: a, approvers: [manager-of(requester)]}\n  - {name: b, approvers: [owner-of(resource)]}\n", []string{"one-person-decides-all:10"}, "max could decide"},
		{"skipped for everybody", "  - {name: a, approvers: [group(many)]}\n  - {name: b, when: 'resource.risk == \"high\"', approvers: [group(one)]}\n", nil, ""},
		{"answers could open it", "  - {name: a, approvers: [group(many)]}\n  - {name: b, when: 'answers.count > 3', approvers: [group(one)]}\n", []string{"nobody-can-decide:10"}, ""},
		{"the machine's second owner", "  - {name: a, approvers: [group(two)]}\n", []string{"decides-for-own-machine:9"}, "otto could decide"},
		{"escalation to nobody", "  - {name: a, approvers: [group(many)], then: {escalate_to: [group(none)]}}\n", []string{"escalates-to-nobody:9"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := withType(t, "stages:\n"+test.stages).CheckIn(town())
			if kinds := kindsOf(found); !slices.Equal(kinds, append([]string{}, test.want...)) {
				t.Fatalf("found %v, and it should be %v\n%v", kinds, test.want, found)
			}
			if len(found) > 0 && !strings.Contains(found[0].Message, test.says) {
				t.Errorf("%q does not say %q", found[0].Message, test.says)
			}
		})
	}
}

func TestCheckFindsTypesThatNobodyCanAskFor(t *testing.T) {
	people := town()
	people.Items = nil
	if kinds := kindsOf(withType(t, "stages:\n  - {name: a, approvers: [group(many)]}\n").CheckIn(people)); !slices.Equal(kinds, []string{"nobody-can-ask:1"}) {
		t.Errorf("found %v", kinds)
	}
}

// city has many people in teams of ten with a manager each, and many things with
// an owner each.
func city(people, items int) Population {
	person := func(n int) Candidate {
		name := fmt.Sprintf("p%d", n)
		return Candidate{ID: countersign.IdentityID(name), Name: name, Active: true, Human: true}
	}
	c := Population{Find: func(rule string) []Candidate {
		var n int
		if _, err := fmt.Sscanf(rule, "group(g%d)", &n); err != nil {
			return nil
		}
		return []Candidate{person(n), person(n + 1), person(n + 2)}
	}}
	for n := range people {
		one := person(n)
		party := Party{ID: one.ID, Name: one.Name, Kind: countersign.Person, Active: true, Affiliation: countersign.Employee}
		c.Askers = append(c.Askers, Asker{Requester: party, Beneficiary: party, SamePerson: map[countersign.IdentityID]string{one.ID: "asked for it"}, Found: map[string]Candidate{
			"manager-of(requester)": person(n / 10), "manager-of(beneficiary)": person(n / 10),
		}})
	}
	for n := range items {
		c.Items = append(c.Items, OwnedItem{
			Item:  Item{Entitlement: EntitlementFact{Name: fmt.Sprintf("e%d", n), Kind: countersign.RoleKind, Risk: countersign.LowRisk}, Resource: ResourceFact{Name: "all", System: fmt.Sprintf("s%d", n%200), Risk: countersign.LowRisk}},
			Owner: person(n * 7 % people), SecondOwner: person(n * 11 % people),
		})
	}
	return c
}

// many are request types, each for a system and with a group of its own.
func many(types int) (files []File) {
	for n := range types {
		files = append(files, File{Path: fmt.Sprintf("t%03d.yaml", n), Bytes: fmt.Appendf(nil, `request: t%d
title: Type %d
grants: {system: s%d, kind: role}
beneficiary: [person]
ask: {class: {type: string, enum: [public, internal, confidential], default: internal}, count: {type: integer, minimum: 1, maximum: 100, default: 1}}
limits: {duration: {default: 30d, max: 90d, min: 1h}}
refuse:
  - {when: 'beneficiary.affiliation == "partner" && resource.risk == "high"', because: '"no"'}
stages:
  - {name: manager, approvers: [manager-of(requester)], else: [group(g%d)], then: {escalate_to: [owner-of(resource)]}}
  - {name: owner, approvers: [owner-of(resource)], else: [second-owner-of(resource)], distinct_from: [manager]}
  - {name: security, when: 'resource.risk == "high" || answers.class == "confidential" || answers.count > 10', approvers: [group(g%d)], need: 2, distinct_from: [manager, owner]}
fulfil: [role.assign]
`, n, n, n, n, n+1)})
	}
	return files
}

// The bar for 200 types and 10,000 people is 2 seconds, loading included.
func BenchmarkCheck(b *testing.B) {
	files, people := many(200), city(10_000, 2000)
	for b.Loop() {
		set, problems := Load(files, time.LoadLocation)
		if len(problems) > 0 {
			b.Fatal(problems[0])
		}
		if found := set.CheckIn(people); len(found) == 0 {
			b.Fatal("nothing was found")
		}
	}
}
