package policy

import (
	"os"
	"strings"
	"testing"
)

const (
	ticketedType = `request: access
title: Access
grants: {system: any, kind: role}
beneficiary: [person]
ask: {why: {type: string}, seats: {type: integer, optional: true}, sure: {type: boolean, optional: true}, names: {type: array, items: {type: string}, optional: true}}
limits: {duration: {default: 10d, max: 30d}}
stages:
  - {name: manager, approvers: [manager-of(requester)], within: 2d}
fulfil: [role.assign]
close: {when: [gone]}
`
	ticketingFile = `ticketing:
  - name: snow
    kind: servicenow
    url: https://example.service-now.com
    journal: work_notes
    withdrawn: ["4"]
    states: {active: "3"}
    opens:
      - request: access
        when: {$.cat_item: [a, b]}
        beneficiary: $.for
        entitlements: [wiki/pages/editor, $.right]
        reason: $.why
        duration: 5d
        answers: {why: $.why, seats: "2"}
  - {name: issues, kind: jira, url: "http://127.0.0.1:8080", opens: [{request: access, entitlements: [a/b/c], reason: x}]}
`
)

func TestATicketSystemIsReadWithItsDefaults(t *testing.T) {
	set, problems := Load([]File{{"a.yaml", []byte(ticketedType)}, {"p.yaml", []byte(ticketingFile)}}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := set.Ticketing()
	if len(got) != 2 || got[0].Name != "issues" || got[0].Journal != "" || got[1].Journal != "work_notes" || got[1].States["active"] != "3" || len(got[1].Opens[0].When["$.cat_item"]) != 2 {
		t.Errorf("read %+v", got)
	}
}

func TestDotsInANameLookNowhereElse(t *testing.T) {
	for _, path := range []string{`$['a..b']`, `$['"..'].c`, `$.a[?@.b == "\"..\\"]`} {
		text := strings.Replace(ticketingFile, "beneficiary: $.for", "beneficiary: '"+strings.ReplaceAll(path, "'", "''")+"'", 1)
		if _, problems := Load([]File{{"a.yaml", []byte(ticketedType)}, {"p.yaml", []byte(text)}}, nil); len(problems) > 0 {
			t.Errorf("%s: %v", path, problems)
		}
	}
}

func TestWhatIsWrongWithATicketSystemIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":         {"withdrawn:", "withdraw:", "p.yaml:6:5: unknown key `withdraw`: did you mean `withdrawn`?"},
		"two of one name":     {"name: issues", "name: snow", "p.yaml:16:12: the ticket system `snow` is given twice, first in p.yaml:2"},
		"kind":                {"kind: servicenow", "kind: remedy", "p.yaml:3:11: unknown kind of ticket system `remedy`: use `servicenow` or `jira`"},
		"not encrypted":       {"https://example", "http://example", "p.yaml:4:10: an address begins with https; http is for this host alone"},
		"a path":              {"now.com", "now.com/api", "p.yaml:4:10: the address of a ticket system ends with its host"},
		"a slash":             {"now.com", "now.com/", "p.yaml:4:10: the address of a ticket system ends with its host"},
		"a password":          {"https://", "https://me:secret@", "p.yaml:4:10: an address holds no user and no password"},
		"journal":             {"work_notes", "notes", "p.yaml:5:14: unknown journal `notes`"},
		"journal of Jira":     {"kind: jira,", "kind: jira, journal: comments,", "p.yaml:16:32: `journal` belongs to the kind `servicenow`"},
		"state":               {"active:", "approved:", "p.yaml:7:14: unknown key `approved`"},
		"request type":        {"request: access\n", "request: acces\n", "p.yaml:9:18: unknown request type `acces`: did you mean `access`?"},
		"when is no path":     {"$.cat_item", "cat_item", "p.yaml:10:16: `cat_item` is not a path into what the ticket system sends"},
		"a wrong path":        {"$.cat_item", "$.a b", "p.yaml:10:16: `$.a b` is not a JSON path (RFC 9535)"},
		"everywhere":          {"beneficiary: $.for", "beneficiary: $..for", "p.yaml:11:22: `..` looks everywhere"},
		"everywhere, twice":   {"beneficiary: $.for", "beneficiary: \"$.all[?@.id == 'a..b' && $..x]\"", "p.yaml:11:22: `..` looks everywhere"},
		"entitlement":         {"$.right", "$..right", "p.yaml:12:43: `..` looks everywhere"},
		"duration":            {"5d", "5 parsecs", "p.yaml:14:19:"},
		"answer":              {"seats: \"2\"", "seat: \"2\"", "p.yaml:15:31: unknown field of `ask` `seat`: did you mean `seats`?"},
		"opens nothing":       {"opens: [{request: access, entitlements: [a/b/c], reason: x}]", "opens: []", "p.yaml:16:69: `opens` names nothing"},
		"no reason":           {", reason: x}", "}", "the key `reason` is missing"},
		"a word for no state": {`["4"]`, `[]`, "p.yaml:6:16: `withdrawn` names nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(ticketingFile, c.from) == 0 {
				t.Fatalf("there is no %q", c.from)
			}
			_, problems := Load([]File{{"a.yaml", []byte(ticketedType)}, {"p.yaml", []byte(strings.Replace(ticketingFile, c.from, c.to, 1))}}, nil)
			for _, problem := range problems {
				if strings.Contains(problem.String(), c.want) {
					return
				}
			}
			t.Errorf("got %v, want %s", problems, c.want)
		})
	}
}

func TestATicketTakesNobodyBreakGlass(t *testing.T) {
	emergency, err := os.ReadFile("../httpapi/testdata/ledger/policies/emergency.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, problems := Load([]File{{"a.yaml", []byte(ticketedType)}, {"b.yaml", emergency}, {"s.yaml", []byte(sourcesFile)}, {"p.yaml", []byte(strings.Replace(ticketingFile, "request: access\n", "request: emergency\n", 1))}}, nil)
	for _, problem := range problems {
		if strings.Contains(problem.String(), "p.yaml:9:18: `emergency` is break-glass") {
			return
		}
	}
	t.Errorf("got %v", problems)
}

func TestAnswersAreReadFromWhatTicketSystemsWrite(t *testing.T) {
	set, problems := Load([]File{{"a.yaml", []byte(ticketedType)}}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got, err := set.AnswersFrom("access", map[string][]any{"why": {"x"}, "seats": {"12"}, "sure": {"true"}, "names": {"a", "b"}})
	if want := `{"names":["a","b"],"seats":12,"sure":true,"why":"x"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	got, err = set.AnswersFrom("access", map[string][]any{"why": {""}, "seats": {"many"}, "sure": {nil}, "names": nil})
	if want := `{"seats":"many"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := set.AnswersFrom("access", map[string][]any{"why": {"x", "y"}}); err == nil {
		t.Error("two values were taken for one")
	}
}
