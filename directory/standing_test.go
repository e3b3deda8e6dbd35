package directory_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/store"
)

const base = `people:
  - {login: mara, name: Mara, email: mara@example.org}
  - {login: jonas, name: Jonas, manager: mara, status: active}
  - {login: quinn, name: Quinn, affiliation: vendor, sponsor: mara, contract_end: 2027-03-31}
services:
  - {login: helper, name: Helper, owner: mara, sponsor: jonas}
  - {login: svc, name: Service, owner: jonas, second_owner: quinn, purpose: Billing, record: SR-1, environment: dev}
groups:
  - {name: all, groups: [security]}
  - {name: security, members: [mara, jonas]}
records:
  - {key: SR-1, title: Billing, owner: mara, scopes: [read]}
systems:
  - {name: db, title: Orders database, owner: mara, second_owner: jonas, environment: prod, risk: medium, connector: role, settings: {url: x},
     resources: [{name: orders, title: Orders, owner: jonas, risk: high, entitlements: [
       {name: read, kind: role, risk: medium, max_duration: 10d}]}, {name: log}]}
`

func TestAChangeNeedsASecondPersonWhenItGivesSomebodySomething(t *testing.T) {
	// Each case changes the base organisation from what it has to what it wants;
	// standing "" means that one person may do it.
	for name, test := range map[string]struct{ old, new, standing string }{
		"a new person without a manager":       {"services:\n", "  - {login: ann, name: Ann}\nservices:\n", ""},
		"a new person with a manager":          {"services:\n", "  - {login: ann, name: Ann, manager: mara}\nservices:\n", "mara becomes the manager of ann."},
		"a new outsider":                       {"services:\n", "  - {login: ann, name: Ann, affiliation: partner, sponsor: jonas}\nservices:\n", "jonas becomes the sponsor of ann."},
		"a new machine":                        {"services:\n", "services:\n  - {login: new, name: New, owner: jonas}\n", "jonas becomes the owner of new."},
		"another manager":                      {"manager: mara", "manager: quinn", "quinn becomes the manager of jonas."},
		"no manager any more":                  {"manager: mara, ", "", "jonas has no manager any more, and other rules find who approves."},
		"another sponsor":                      {"sponsor: mara", "sponsor: jonas", "jonas becomes the sponsor of quinn."},
		"another owner of a machine":           {"owner: jonas, second_owner: quinn", "owner: mara, second_owner: quinn", "mara becomes the owner of svc. jonas no longer answers for svc, and could approve for it."},
		"owners of a machine change places":    {"owner: jonas, second_owner: quinn", "owner: quinn, second_owner: jonas", "quinn becomes the owner of svc. jonas becomes the second owner of svc. jonas no longer answers for svc, and could approve for it."},
		"a machine loses its sponsor":          {", sponsor: jonas", "", "jonas no longer answers for helper, and could approve for it."},
		"a machine loses its second owner":     {", second_owner: quinn", "", ""},
		"a new handle":                         {"name: Jonas,", "name: Jonas, handles: [{kind: oidc, namespace: \"https://login.example\", value: a}],", "Somebody could sign in as jonas by the new handle oidc https://login.example a."},
		"a handle less":                        {", email: mara@example.org", "", ""},
		"another name":                         {"name: Jonas", "name: Jon", ""},
		"somebody is suspended":                {"status: active", "status: suspended", ""},
		"somebody departs":                     {"status: active", "status: departed", ""},
		"a contract ends earlier":              {"2027-03-31", "2027-03-30", ""},
		"a contract ends later":                {"2027-03-31", "2027-04-01", "The contract of quinn ends later, and access can last as long."},
		"a contract has no end any more":       {"affiliation: vendor, sponsor: mara, contract_end: 2027-03-31", "affiliation: partner, sponsor: mara", "The contract of quinn ends later, and access can last as long."},
		"a contract gets an end":               {"status: active", "contract_end: 2027-01-31", ""},
		"a machine's environment":              {"record: SR-1, environment: dev", "record: SR-1, environment: prod", "The environment of svc changes, and other rules apply to what it asks for."},
		"a machine has no environment more":    {", environment: dev", "", "The environment of svc changes, and other rules apply to what it asks for."},
		"a machine's purpose":                  {"purpose: Billing", "purpose: Invoices", ""},
		"a machine is confirmed":               {"environment: dev", "environment: dev, last_confirmed: 2026-11-01", "svc counts as confirmed on 2026-11-01, whoever said so."},
		"a machine is confirmed less often":    {"environment: dev", "environment: dev, confirm_every: 365d", "The owner of svc confirms in other intervals."},
		"a system is confirmed":                {"second_owner: jonas", "second_owner: jonas, last_confirmed: 2026-11-01, confirm_every: 90d", "db counts as confirmed on 2026-11-01, whoever said so. The owner of db confirms in other intervals."},
		"a new member":                         {"members: [mara, jonas]", "members: [mara, jonas, svc]", "svc becomes a member of security."},
		"a member less":                        {"members: [mara, jonas]", "members: [mara]", ""},
		"a member for another":                 {"members: [mara, jonas]", "members: [mara, quinn]", "quinn becomes a member of security."},
		"members in another order":             {"members: [mara, jonas]", "members: [jonas, mara]", "no change"},
		"a nested group less":                  {", groups: [security]", "", ""},
		"another nested group":                 {"  - {name: all, groups: [security]}", "  - {name: more}\n  - {name: all, groups: [security, more]}", "Everybody in more becomes a member of all."},
		"an owner of a group":                  {"{name: all,", "{name: all, owner: quinn,", "quinn becomes the owner of the group all."},
		"another owner of a record":            {"title: Billing, owner: mara", "title: Billing, owner: quinn", "quinn becomes the owner of the record SR-1."},
		"another title of a record":            {"title: Billing", "title: Invoices", ""},
		"a record allows more":                 {"scopes: [read]", "scopes: [read, write]", "The record SR-1 allows the scope write."},
		"a record allows less":                 {"scopes: [read]", "scopes: []", ""},
		"a record is retired":                  {"scopes: [read]", "scopes: [read], retired: true", ""},
		"a new record":                         {"records:\n", "records:\n  - {key: SR-2, title: New, owner: jonas}\n", "jonas becomes the owner of the record SR-2."},
		"another owner of a system":            {"title: Orders database, owner: mara", "title: Orders database, owner: quinn", "quinn becomes the owner of db."},
		"another second owner of a system":     {"second_owner: jonas", "second_owner: quinn", "quinn becomes the second owner of db."},
		"a system loses its second owner":      {"second_owner: jonas, ", "", ""},
		"another owner of a resource":          {"title: Orders, owner: jonas", "title: Orders, owner: quinn", "quinn becomes the owner of db/orders."},
		"a resource falls to its system":       {"title: Orders, owner: jonas", "title: Orders", "mara becomes the owner of db/orders."},
		"a new resource with an owner":         {"resources: [", "resources: [{name: r, owner: quinn}, ", "quinn becomes the owner of db/r."},
		"a new resource without one":           {"resources: [", "resources: [{name: r}, ", ""},
		"another title of a system":            {"title: Orders database", "title: Orders", ""},
		"another connector of a system":        {"connector: role, settings", "connector: vault, settings", "Access to db is carried out in another way, and others could read its keys."},
		"another setting of a system":          {"settings: {url: x}", "settings: {url: y}", "Access to db is carried out in another way, and others could read its keys."},
		"a setting less":                       {", settings: {url: x}", "", "Access to db is carried out in another way, and others could read its keys."},
		"another environment of a system":      {"environment: prod", "environment: dev", "The environment of db changes, and other rules apply to access to it."},
		"a system of higher risk":              {"prod, risk: medium", "prod, risk: high", ""},
		"a system of lower risk":               {"prod, risk: medium", "prod, risk: low", "The risk of db falls from medium to low, and fewer people may be asked."},
		"a resource with its system's risk":    {"owner: jonas, risk: high, ", "owner: jonas, ", "The risk of db/orders falls from high to medium, and fewer people may be asked."},
		"an entitlement of lower risk":         {"kind: role, risk: medium", "kind: role, risk: low", "The risk of read falls from medium to low, and fewer people may be asked."},
		"an entitlement of its resource's":     {"kind: role, risk: medium, ", "kind: role, ", ""},
		"an entitlement for longer":            {"max_duration: 10d", "max_duration: 11d", "Access by read can last longer."},
		"an entitlement for any time":          {", max_duration: 10d", "", "Access by read can last longer."},
		"an entitlement for shorter":           {"max_duration: 10d", "max_duration: 9d", ""},
		"a new entitlement":                    {"{name: read,", "{name: write, kind: role}, {name: read,", ""},
		"a new system":                         {"systems:\n", "systems:\n  - {name: new, owner: quinn, environment: dev, risk: low, connector: role}\n", "quinn becomes the owner of new."},
		"an old login in another letter case":  {"{login: jonas,", "{login: JONAS,", "no change"},
		"an old e-mail in another letter case": {"mara@example.org", "Mara@Example.ORG", "no change"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(base, test.old) {
				t.Fatalf("the base has no %q", test.old)
			}
			checkStanding(t, found(t, base), strings.Replace(base, test.old, test.new, 1), test.standing)
		})
	}
}

func checkStanding(t *testing.T, current store.Directory, text, standing string) {
	t.Helper()
	difference := compare(t, current, text)
	if standing == "no change" {
		if len(difference.Changes) > 0 {
			t.Errorf("there are differences\n%s", difference)
		}
		return
	}
	if len(difference.Changes) == 0 {
		t.Error("there is no difference")
	}
	var sentences []string
	for _, change := range difference.Changes {
		if change.Standing != "" {
			sentences = append(sentences, change.Standing)
		}
	}
	if told := strings.Join(sentences, " "); told != standing {
		t.Errorf("told %q, expected %q, in\n%s", told, standing, difference)
	}
}

func TestWhatComesBackIsGivenAgain(t *testing.T) {
	for name, test := range map[string]struct{ old, without, standing string }{
		"a person": {"{login: jonas, name: Jonas, manager: mara, status: active}", "{login: jonas, name: Jonas, manager: mara, status: suspended}", "jonas becomes active again."},
		"a record": {"scopes: [read]", "scopes: [read], retired: true", "mara becomes the owner of the record SR-1. The record SR-1 allows the scope read."},
		"a member": {"members: [mara, jonas]", "members: [jonas]", "mara becomes a member of security."},
		"machines": {base[strings.Index(base, "services:"):strings.Index(base, "groups:")], "", "helper becomes active again. svc becomes active again."},
		"a system": {base[strings.Index(base, "systems:"):], "", "mara becomes the owner of db. jonas becomes the second owner of db. jonas becomes the owner of db/orders."},
	} {
		t.Run(name, func(t *testing.T) {
			current := found(t, base)
			current = apply(t, current, compare(t, current, strings.Replace(base, test.old, test.without, 1)))
			checkStanding(t, current, base, test.standing)
		})
	}
}
