package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The organisation: a few who ask, many who benefit, one manager and a group that
// decide, and what they ask for.
const (
	beneficiaries = 24
	rights        = 40
)

// powerful are two administrators and two auditors.
var powerful = []string{"adam", "alma", "aud", "aura"}

// askers and reviewers grow with the rounds: in some histories each of them can be
// used once.
func askers() int    { return rounds(callers) }
func reviewers() int { return rounds(3) }

func asker(i int) string       { return fmt.Sprintf("asker%d", i) }
func reviewer(i int) string    { return fmt.Sprintf("reviewer%d", i) }
func beneficiary(i int) string { return fmt.Sprintf("b%02d", i) }

// directoryFile writes the organisation's people, groups and systems.
func directoryFile() string {
	var file strings.Builder
	file.WriteString(`people:
  - {login: max, name: Max Manager, email: max@test.example, manager: bea}
  - {login: bea, name: Bea Boss, email: bea@test.example}
  - {login: otto, name: Otto Owner, email: otto@test.example, manager: bea}
  - {login: syd, name: Syd Security, email: syd@test.example, manager: bea}
  - {login: sam, name: Sam Security, email: sam@test.example, manager: bea}
  - {login: sue, name: Sue Security, email: sue@test.example, manager: bea}
  - {login: adam, name: Adam Admin, email: adam@test.example, manager: bea}
  - {login: alma, name: Alma Admin, email: alma@test.example, manager: bea}
  - {login: aud, name: Aud Auditor, email: aud@test.example, manager: bea}
  - {login: aura, name: Aura Auditor, email: aura@test.example, manager: bea}
`)
	for i := range askers() {
		fmt.Fprintf(&file, "  - {login: %s, name: Asker %d, email: %[1]s@test.example, manager: max}\n", asker(i), i)
	}
	for i := range beneficiaries {
		fmt.Fprintf(&file, "  - {login: %s, name: Beneficiary %d, email: %[1]s@test.example, manager: max}\n", beneficiary(i), i)
	}
	var members []string
	for i := range reviewers() {
		fmt.Fprintf(&file, "  - {login: %s, name: Reviewer %d, email: %[1]s@test.example, manager: bea}\n", reviewer(i), i)
		members = append(members, reviewer(i))
	}
	file.WriteString("services:\n")
	for i := range askers() {
		fmt.Fprintf(&file, "  - {login: svc%d, name: Service %[1]d, owner: asker%[1]d, purpose: does what its owner says it should do, record: SR-1, environment: prod, last_confirmed: 2026-10-01}\n", i)
	}
	fmt.Fprintf(&file, `groups:
  - {name: security, members: [syd, sam, sue]}
  - {name: reviewers, members: [sue, %s]}
`, strings.Join(members, ", "))
	file.WriteString(`
records:
  - {key: SR-1, title: Asking, owner: asker0, environment: prod, scopes: [r00]}
powers:
  administrator: [adam, alma]
  auditor: [aud, aura]
systems:
  - name: countersign
    title: Countersign itself
    owner: bea
    environment: prod
    risk: high
    connector: role
    resources:
      - {name: house, title: The house, entitlements: [{name: administrator, kind: role}, {name: auditor, kind: role}, {name: operator, kind: role}]}
`)
	for _, system := range []struct{ name, connector, kind string }{
		{"ledger", "outside", "credential"}, {"crypt", "outside", "credential"}, {"attic", "outside", "credential"}, {"wiki", "role", "role"},
	} {
		fmt.Fprintf(&file, `  - name: %s
    title: The %[1]s
    owner: otto
    environment: prod
    risk: low
    connector: %s
    resources:
      - name: books
        title: Books
        entitlements:
`, system.name, system.connector)
		for i := range rights {
			fmt.Fprintf(&file, "          - {name: r%02d, kind: %s}\n", i, system.kind)
		}
		if system.name == "wiki" {
			file.WriteString("          - {name: r00-on-call, kind: role, eligible_for: r00}\n")
		}
	}
	return file.String()
}

// policies are one request type for each system, and a toxic combination.
var policies = map[string]string{
	"ledger": `
request: ledger
title: Access to the ledger
grants: {system: ledger, kind: credential}
beneficiary: [person, service]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 500, entitlements: 3}
stages:
  - {name: manager, approvers: [manager-of(requester), group(security)], within: 2 business days}
fulfil: [outside.put]
grant: {ends: revoke}
close: {when: [gone]}
`,
	"crypt": `
request: crypt
title: Access to the crypt
grants: {system: crypt, kind: credential}
beneficiary: [person, service]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 500, entitlements: 3}
stages:
  - {name: security, approvers: [group(security)], within: 2 business days}
fulfil: [outside.put]
grant: {ends: revoke}
close: {when: [gone]}
`,
	"attic": `
request: attic
title: Access to the attic
grants: {system: attic, kind: credential}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 500}
stages:
  - {name: reviewers, approvers: [group(reviewers)], within: 2 business days}
fulfil: [outside.put]
grant: {ends: revoke}
close: {when: [gone]}
`,
	"wiki": `
request: wiki
title: A role in the wiki
grants: {system: wiki, kind: role}
beneficiary: [person]
priority: 1
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 500, entitlements: 3}
stages:
  - {name: manager, approvers: [manager-of(requester)], within: 2 business days}
fulfil: [role.assign]
grant: {ends: revoke}
close: {when: [gone]}
`,
	"break-glass": `
request: break-glass
title: The wiki in an emergency
grants: {system: wiki, kind: role, entitlement: r00}
beneficiary: [person]
ask: {incident: {type: string}}
limits: {duration: {default: 1h, max: 4h}}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
  - {name: closed-ticket, kind: ticket, ticket: closed, due: at-closure, verified_by: incidents, from: incident, within: 2 business days}
break_glass: {declared: true, tell: [group(security)]}
stages: [{name: at-once, automatic: "true"}]
fulfil: [role.assign]
review:
  reviewers: [group(security)]
  within: 1 business day
  then: {escalate_to: [person(bea)], within: 1 business day}
`,
	"sources": "sources: [{name: incidents, built_in: tickets}]\n",
	"separation": `
separation:
  - name: ledger-and-crypt
    title: The ledger and the crypt
    combination:
      - {system: ledger, resource: books, entitlement: r00}
      - {system: crypt, resource: books, entitlement: r00}
    because: Whoever reads the ledger must not open the crypt.
`,
}

// organisation writes the files and returns their folder.
func organisation(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"organisation.yaml": "name: Test\n", "directory/all.yaml": directoryFile()}
	for name, text := range policies {
		files["policies/"+name+".yaml"] = text
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
