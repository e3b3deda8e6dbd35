package policy

import (
	"strings"
	"testing"
)

const goodKey = `"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"`

func TestAVerifierSaysWhoseWordCountsAndForWhat(t *testing.T) {
	load := func(verifier, slot string) []Problem {
		files := []File{{"verifiers.yaml", []byte("verifiers:\n  - " + verifier)}}
		if slot != "" {
			files = append(files, File{"type.yaml", []byte(`
request: deploy
title: Deploy
grants: {system: any, kind: role}
beneficiary: [person]
limits: {duration: {default: 1d, max: 2d}}
ask: {artifact: {type: string}, size: {type: integer}, note: {type: string, optional: true}}
evidence: [` + slot + `]
stages: [{name: boss, approvers: [manager-of(requester)]}]
fulfil: [role.assign]
`)})
		}
		_, problems := Load(files, nil)
		return problems
	}
	good := "{name: scans, predicates: [x], keys: [{id: ci, key: " + goodKey + "}]}"
	if problems := load(good, "{name: scan, kind: attestation, due: at-request, verified_by: scans, from: artifact}"); len(problems) > 0 {
		t.Fatal(problems)
	}
	if set, problems := Load([]File{{"verifiers.yaml", []byte("verifiers:\n  - " + good)}, {"type.yaml", []byte(`
request: deploy
title: Deploy
grants: {system: any, kind: role}
beneficiary: [person]
limits: {duration: {default: 1d, max: 2d}}
ask: {artifact: {type: string}}
evidence: [{name: scan, kind: attestation, due: at-request, verified_by: scans, from: artifact}]
stages: [{name: boss, approvers: [manager-of(requester)]}]
fulfil: [role.assign]
tests:
  - {name: any artifact, expect: {stages: [boss]}}
  - {name: a name is no artifact, given: {answers: {artifact: latest}}, expect: {refused: invalid-answer}}
`)}}, nil); len(problems) > 0 {
		t.Error(problems)
	} else {
		for _, result := range set.Test() {
			if len(result.Failures) > 0 {
				t.Errorf("%s: %v", result.Name, result.Failures)
			}
		}
	}
	with := func(more string) string { return strings.Replace(good, "{name: scans", "{name: scans, "+more, 1) }
	for name, test := range map[string]struct{ verifier, slot, problem string }{
		"no key":                    {"{name: scans, predicates: [x], keys: []}", "", "`keys` names nothing"},
		"a key that is none":        {"{name: scans, predicates: [x], keys: [{id: ci, key: abc}]}", "", "no public key"},
		"a key twice":               {"{name: scans, predicates: [x], keys: [{id: a, key: " + goodKey + "}, {id: b, key: " + goodKey + "}]}", "", "stands twice"},
		"no predicate":              {"{name: scans, predicates: [], keys: [{id: ci, key: " + goodKey + "}]}", "", "`predicates` names nothing"},
		"an age without a time":     {with("max_age: 7d"), "", "`max_age` and `time` stand together"},
		"a path that is none":       {with("has: [severity]"), "", "no JSON path"},
		"lacks without has":         {with(`lacks: ["$.x"]`), "", "`lacks` needs `has`"},
		"an address without a key":  {with("url: https://ci.example/x"), "", "{key}"},
		"an address in clear":       {with("url: 'http://ci.example/{key}'"), "", "https"},
		"the directory's name":      {strings.Replace(good, "scans", "directory", 1), "", "the house's own"},
		"an unknown key of its own": {with("threshold: 2"), "", "threshold"},
		"a ticket":                  {good, "{name: scan, kind: ticket, due: at-request, verified_by: scans, from: artifact}", "kinds `scan-report` and `attestation`"},
		"no artifact":               {good, "{name: scan, kind: scan-report, due: at-request, verified_by: scans}", "needs `from`"},
		"an artifact in numbers":    {good, "{name: scan, kind: scan-report, due: at-request, verified_by: scans, from: size}", "size"},
		"one that may be missing":   {good, "{name: scan, kind: scan-report, due: at-request, verified_by: scans, from: note}", "note"},
		"another verifier":          {good, "{name: scan, kind: scan-report, due: at-request, verified_by: scan, from: artifact}", "scans"},
	} {
		problems := load(test.verifier, test.slot)
		if len(problems) == 0 || !strings.Contains(problems[0].Message, test.problem) {
			t.Errorf("%s: %v, want %q", name, problems, test.problem)
		}
	}
}
