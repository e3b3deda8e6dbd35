package directory_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

func parse(t *testing.T, text string) *directory.Organisation {
	t.Helper()
	organisation, problems := directory.Parse([]directory.File{{Path: "people.yaml", Bytes: []byte(text)}})
	for _, problem := range problems {
		t.Error(problem)
	}
	if t.Failed() {
		t.FailNow()
	}
	return organisation
}

const twoPeople = `people:
  - {login: mara, name: Mara}
  - {login: jonas, name: Jonas}
`

func TestAMalformedFileIsRefusedWhereItIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		wanted []string
	}{
		"unknown top-level key": {"poeple: []\n", []string{`1:1: "poeple" is not a key of a directory file; did you mean "people"?`}},
		"unknown key": {
			"people:\n  - login: mara\n    name: Mara\n    managr: jonas\n",
			[]string{`4:5: "managr" is not a key of a person; did you mean "manager"?`},
		},
		"a key of another kind": {
			"people:\n  - {login: mara, name: Mara, purpose: none}\n",
			[]string{`2:31: "purpose" is not a key of a person; the keys are affiliation, contract_end, email, handles, login, manager, name, sponsor, status`},
		},
		"duplicate key": {
			"people:\n  - login: mara\n    name: Mara\n    login: jonas\n",
			[]string{`4:5: the key "login" stands twice`},
		},
		"missing key":       {"people:\n  - {login: mara}\n", []string{`2:5: a person needs the key "name"`}},
		"missing owner":     {"services:\n  - {login: svc, name: Service}\n", []string{`2:5: a service needs the key "owner"`}},
		"agent, no sponsor": {twoPeople + "agents:\n  - {login: bot, name: Bot, owner: mara}\n", []string{`5:5: an agent needs the key "sponsor"`}},
		"number for text":   {"people:\n  - {login: mara, name: 7}\n", []string{`2:25: "name" is a text; write numbers, dates and the like in quotes`}},
		"list for text":     {"people:\n  - {login: mara, name: [Mara]}\n", []string{`2:25: "name" is a text; write numbers, dates and the like in quotes`}},
		"mapping for list":  {"people: {login: mara}\n", []string{`1:9: "people" is a list`}},
		"nothing for list":  {"people:\n", []string{`1:8: "people" is a list`}},
		"text for mapping":  {"people: [mara]\n", []string{`1:10: a person is a mapping of keys to values`}},
		"text for flag": {
			twoPeople + "records:\n  - {key: R-1, title: R, owner: mara, retired: \"yes\"}\n",
			[]string{`5:48: "retired" is true or false`},
		},
		"unknown value": {
			"people:\n  - {login: mara, name: Mara, status: activ}\n",
			[]string{`2:39: "activ" is no value of "status"; did you mean "active"?`},
		},
		"value far from all": {
			twoPeople + "systems:\n  - {name: s, owner: mara, environment: production, risk: low, connector: role}\n",
			[]string{`5:41: "production" is no value of "environment"; it is one of prod, staging, dev`},
		},
		"not a day":             {"people:\n  - {login: mara, name: Mara, contract_end: 31.3.2027}\n", []string{`2:45: "contract_end" is a day, written as 2027-03-31`}},
		"not a duration":        {systemWith("entitlements: [{name: e, kind: role, max_duration: soon}]"), []string{`12:60: "soon" is not a duration: write a whole number with a unit, as in 30d, 8h, 1d12h or 45m`}},
		"not an e-mail address": {"people:\n  - {login: mara, name: Mara, email: nowhere}\n", []string{`2:38: "nowhere" is not an e-mail address`}},
		"not a group's name":    {"groups:\n  - {name: My Group}\n", []string{`2:12: "name" has lower-case letters, digits, dots, hyphens and underscores, at most 64, unlike "My Group"`}},
		"two lines":             {"people:\n  - {login: mara, name: \"Mara\\nLindqvist\"}\n", []string{`2:25: "name" is one line without control characters`}},
		"letters that turn around": {
			"people:\n  - {login: mara, name: \"Mara \u202etsivqdniL\"}\n",
			[]string{`2:25: "name" is one line without control characters`},
		},
		"dangling name": {
			twoPeople + "services:\n  - {login: svc, name: Service, owner: jonsa1}\n  - {login: svc2, name: Service, owner: jonass}\n",
			[]string{
				`5:40: there is no identity with the login "jonsa1"; did you mean "jonas"?`,
				`6:41: there is no identity with the login "jonass"; did you mean "jonas"?`,
			},
		},
		"dangling group": {
			"groups:\n  - {name: security}\n  - {name: all, groups: [securty]}\n",
			[]string{`3:26: there is no group "securty"; did you mean "security"?`},
		},
		"dangling record": {
			twoPeople + "records:\n  - {key: SR-1042, title: R, owner: mara}\nservices:\n  - {login: svc, name: Service, owner: mara, record: SR-1024x}\n",
			[]string{`7:54: there is no record "SR-1024x"; did you mean "SR-1042"?`},
		},
		"machine as owner": {
			twoPeople + "services:\n  - {login: svc, name: S, owner: mara}\n  - {login: svc2, name: S, owner: svc}\n",
			[]string{`6:35: svc is a service; the owner must be a person`},
		},
		"one handle, two people": {
			"people:\n  - {login: mara, name: Mara, email: Mara@Example.org}\n  - {login: jonas, name: Jonas, handles: [{kind: email, value: mara@EXAMPLE.org}]}\n",
			[]string{`3:43: the email "mara@example.org" is already given at people.yaml:2:38; a handle belongs to one identity`},
		},
		"a login that is somebody's e-mail address": {
			"people:\n  - {login: mara, name: Mara, email: mara@example.org}\n  - {login: mara@example.org, name: Jonas}\n",
			[]string{`3:13: "mara@example.org" names another identity already, as a handle of another kind`},
		},
		"a login that looks like an id": {
			"people:\n  - {login: idn_mara, name: Mara}\n",
			[]string{`2:13: the login "idn_mara" looks like the id of an identity; choose another`},
		},
		"one login, two spellings": {
			"people:\n  - {login: mara, name: Mara}\n  - {login: MARA, name: Mara}\n",
			[]string{`3:13: the login "mara" is already given at people.yaml:2:13; a handle belongs to one identity`},
		},
		"handle without its issuer": {
			"people:\n  - {login: mara, name: Mara, handles: [{kind: oidc, value: abc}]}\n",
			[]string{`2:41: an oidc handle needs its issuer as namespace`},
		},
		"group and team of one name": {
			"groups:\n  - {name: security}\nteams:\n  - {name: security}\n",
			[]string{`4:12: there is another group or team "security" already, at people.yaml:2:12`},
		},
		"member twice":           {twoPeople + "groups:\n  - {name: g, members: [mara, jonas, Mara]}\n", []string{`5:38: "mara" stands twice in "members"`}},
		"outsider alone":         {"people:\n  - {login: quinn, name: Quinn, affiliation: partner}\n", []string{`2:5: a partner needs a sponsor: a person who answers for quinn`}},
		"contract without end":   {"people:\n  - {login: mara, name: Mara}\n  - {login: quinn, name: Quinn, affiliation: vendor, sponsor: mara}\n", []string{`3:5: a vendor needs a contract_end`}},
		"sponsor of oneself":     {"people:\n  - {login: quinn, name: Quinn, affiliation: partner, sponsor: quinn}\n", []string{`2:64: quinn cannot be the sponsor of himself or herself`}},
		"manager of oneself":     {"people:\n  - {login: mara, name: Mara, manager: mara}\n", []string{`2:40: mara manages himself or herself, over the manager mara`}},
		"managers in a circle":   {"people:\n  - {login: a, name: A, manager: b}\n  - {login: b, name: B, manager: c}\n  - {login: c, name: C, manager: b}\n", []string{`3:34: b manages himself or herself, over the manager c`}},
		"groups in a circle":     {"groups:\n  - {name: a, groups: [b]}\n  - {name: b, groups: [c]}\n  - {name: c, groups: [a]}\n", []string{`4:24: the group a would be inside itself, over c`}},
		"second owner the same":  {twoPeople + "services:\n  - {login: svc, name: S, owner: mara, second_owner: mara}\n", []string{`5:54: mara is the owner already; the second owner is somebody else`}},
		"one resource twice":     {systemWith("entitlements: []\n      - name: things"), []string{`13:15: there is another resource of this system "things" already, at people.yaml:11:15`}},
		"one entitlement twice":  {systemWith("entitlements: [{name: e, kind: role}, {name: e, kind: role}]"), []string{`12:54: there is another entitlement of this resource "e" already, at people.yaml:12:31`}},
		"unknown power":          {twoPeople + "powers: {administrators: [mara, jonas]}\n", []string{`4:10: "administrators" is not a key of powers; did you mean "administrator"?`}},
		"power of one":           {houseWith("auditor: [mara]"), []string{`11:12: the power auditor needs at least two active people`}},
		"power of the departed":  {houseWith("auditor: [mara, jonas, gone]"), []string{`11:26: gone is departed; a power is held by active people`}},
		"power of a machine":     {houseWith("auditor: [mara, jonas, svc]"), []string{`11:26: svc is a service; a power is held by people`}},
		"power without a right":  {houseWith("operator: [mara, jonas]"), []string{`11:13: the power operator needs an entitlement "operator" of kind role on the resource "house" of the system "countersign"`}},
		"two documents":          {"people: []\n---\npeople: []\n", []string{`2:1: a file holds one document; remove the --- and what follows`}},
		"an alias":               {"people:\n  - &a {login: mara, name: Mara}\n  - *a\n", []string{`2:5: anchors and aliases are not read; write the value out`}},
		"a merge":                {"people:\n  - {<<: {name: Mara}, login: mara}\n", []string{`2:6: "<<" is not a key of a person; the keys are affiliation, contract_end, email, handles, login, manager, name, sponsor, status`, `2:5: a person needs the key "name"`}},
		"too deep":               {"people: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", []string{`1:40: nested deeper than 32`}},
		"not YAML":               {"people:\n\t- login: mara\n", []string{`2:1: this is not YAML: found character that cannot start any token`}},
		"setting twice":          {systemWith("entitlements: []\n    settings:\n      url: \"x\"\n      url: \"y\""), []string{`15:7: the key "url" stands twice`}},
		"number among settings":  {systemWith("entitlements: []\n    settings:\n      port: 5432"), []string{`14:13: "settings" is a text; write numbers, dates and the like in quotes`}},
		"a space in a login":     {"people:\n  - {login: mara lindqvist, name: Mara}\n", []string{`2:13: "login" has at most 128 bytes and no spaces, commas or brackets, unlike "mara lindqvist"`}},
		"a handle of a new kind": {"people:\n  - {login: mara, name: Mara, handles: [{kind: phone, value: x}]}\n", []string{`2:48: "phone" is no value of "kind"; it is one of login, email, oidc, spiffe, ticketing`}},
	} {
		t.Run(name, func(t *testing.T) {
			organisation, problems := directory.Parse([]directory.File{{Path: "people.yaml", Bytes: []byte(test.text)}})
			if organisation != nil {
				t.Error("there is an organisation in spite of problems")
			}
			missing := map[string]bool{}
			for _, wanted := range test.wanted {
				missing["people.yaml:"+wanted] = true
			}
			for _, problem := range problems {
				if !missing[problem.String()] {
					t.Errorf("unexpected: %s", problem)
				}
				delete(missing, problem.String())
			}
			for wanted := range missing {
				t.Errorf("missing: %s", wanted)
			}
		})
	}
}

// systemWith puts a text under the one resource of a system.
func systemWith(text string) string {
	return twoPeople + `systems:
  - name: s
    owner: mara
    environment: dev
    risk: low
    connector: role
    resources:
      - name: things
        ` + text + "\n"
}

// houseWith is an organisation with the given powers.
func houseWith(powers string) string {
	return twoPeople + `  - {login: gone, name: Gone, status: departed}
services:
  - {login: svc, name: Service, owner: mara}
systems:
  - {name: countersign, owner: mara, environment: prod, risk: high, connector: role,
     resources: [{name: house, entitlements: [{name: auditor, kind: role}]}]}
powers:
  ` + powers + "\n"
}

func TestAllProblemsOfAllFilesAreToldAtOnceInOrder(t *testing.T) {
	_, problems := directory.Parse([]directory.File{
		{Path: "b.yaml", Bytes: []byte("people:\n  - {login: mara, name: Mara, manager: nobody}\n  - {name: Jonas}\n")},
		{Path: "a.yaml", Bytes: []byte("groups:\n  - {name: g, members: [anybody]}\n")},
	})
	var told []string
	for _, problem := range problems {
		told = append(told, fmt.Sprintf("%s:%d", problem.File, problem.Line))
	}
	if wanted := "a.yaml:2 b.yaml:2 b.yaml:3"; strings.Join(told, " ") != wanted {
		t.Errorf("problems at %v, expected %s", told, wanted)
	}
}

func TestAHopelessFileGivesUpAfterManyProblems(t *testing.T) {
	var words strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&words, "w%d, ", i)
	}
	for name, text := range map[string]string{
		"many words":  "groups:\n  - {name: g, members: [" + words.String() + "]}\n",
		"too large":   strings.Repeat("#", directory.MaxFile+1),
		"too deep":    "people: " + strings.Repeat("[", 500_000),
		"many errors": "people:\n" + strings.Repeat("  - {a: b, c: d}\n", 50_000),
	} {
		organisation, problems := directory.Parse([]directory.File{{Path: "x.yaml", Bytes: []byte(text)}})
		if organisation != nil || len(problems) == 0 || len(problems) > 200 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
	}
}

func TestNamesMayBeSpreadOverFilesAndSpelledInAnyCase(t *testing.T) {
	organisation, problems := directory.Parse([]directory.File{
		{Path: "groups.yaml", Bytes: []byte("groups:\n  - {name: g, owner: MARA, members: [Mara]}\n")},
		{Path: "empty.yaml"},
		{Path: "people.yaml", Bytes: []byte("people:\n  - login: Mara\n    name: Mara Lindqvist\n    email: Mara@Example.org\n    affiliation: contractor\n    sponsor: jonas\n    contract_end: 2027-03-31\n  - {login: jonas, name: Jonas}\n")},
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	mara, group := organisation.Identities[0], organisation.Groups[0]
	if mara.Login != "mara" || group.Owner != "mara" || group.Members[0] != "mara" {
		t.Errorf("the login is %q, the owner %q, the member %q", mara.Login, group.Owner, group.Members[0])
	}
	if mara.Handles[0] != (countersign.Handle{Kind: countersign.Login, Value: "mara"}) || mara.Handles[1] != (countersign.Handle{Kind: countersign.Email, Value: "mara@example.org"}) {
		t.Errorf("handles: %v", mara.Handles)
	}
	if end := mara.ContractEnd.String(); end != "2027-04-01T00:00:00.000Z" {
		t.Errorf("a contract until 31 March ends at %s", end)
	}
	if mara.Status != countersign.IdentityActive || organisation.Identities[1].Affiliation != countersign.Employee {
		t.Error("without a word, people are active employees")
	}
}
