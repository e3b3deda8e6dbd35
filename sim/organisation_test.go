package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/directory"
)

// organisation is what the files say, as the script changes them.
type organisation struct {
	// managers and affiliations are of those who move; joined are those who came later.
	managers, affiliations map[string]string
	joined, crew           []string
	security               []string
	departed               []string
	contractEnd            string
	stricter               bool
	// patient gives managers longer to decide; generous lets Ana decide in their place.
	patient, generous bool
	// lean gives the crew less.
	lean bool
}

func newOrganisation() organisation {
	return organisation{
		managers: map[string]string{"ana": "max", "ben": "pia", "jon": "max", "joy": "pia"}, affiliations: map[string]string{},
		security: []string{"syd", "sam", "sue"}, contractEnd: "2027-02-20",
	}
}

func (o organisation) clone() organisation {
	o.managers, o.affiliations = maps.Clone(o.managers), maps.Clone(o.affiliations)
	o.joined, o.crew = slices.Clone(o.joined), slices.Clone(o.crew)
	o.security, o.departed = slices.Clone(o.security), slices.Clone(o.departed)
	return o
}

// movers are those whose manager and affiliation change, joiners those who come later.
var (
	movers  = []string{"ana", "ben", "jon", "joy"}
	joiners = []string{"jon", "joy"}
)

// people are everybody who may turn up in the script.
var people = []string{"ana", "max", "bea", "olga", "otto", "syd", "sam", "sue", "pia", "pit", "adam", "alma", "aud", "cora", "ben"}

func (o organisation) directory() []directory.File {
	text := strings.Replace(directoryText, "SECURITY", strings.Join(o.security, ", "), 1)
	text = strings.Replace(text, "records:\n", archiveSystem+machineSystems+"records:\n", 1)
	text = strings.Replace(text, "CREW", strings.Join(o.crew, ", "), 1)
	joined := ""
	for _, login := range o.joined {
		joined += fmt.Sprintf("  - {login: %s, name: New %s, email: %s@test.example, MOVES-%s}\n", login, login, login, login)
	}
	text = strings.Replace(text, "JOINED\n", joined, 1)
	for _, login := range movers {
		stands := "manager: " + o.managers[login]
		if affiliation := o.affiliations[login]; affiliation != "" {
			stands += ", affiliation: " + affiliation + ", sponsor: otto, contract_end: 2028-11-20"
		}
		text = strings.Replace(text, "MOVES-"+login, stands, 1)
	}
	text = strings.Replace(text, "CONTRACT", o.contractEnd, 1)
	for _, login := range o.departed {
		text = strings.Replace(text, "{login: "+login+",", "{login: "+login+", status: departed,", 1)
	}
	return []directory.File{{Path: "directory/all.yaml", Bytes: []byte(text)}}
}

func (o organisation) policies() []directory.File {
	stages := `
  - {name: manager, approvers: [manager-of(requester)], else: [group(leads)], within: 2 business days, then: {escalate_to: [person(bea), group(leads)], within: 1 business day, then: deny}}
  - {name: security, when: resource.risk == "high", approvers: [group(security)], need: 2, within: 3d}
  - {name: outside, when: 'has(beneficiary.affiliation) && beneficiary.affiliation != "employee"', approvers: [group(leads), person(bea)], distinct_from: [manager], within: 3d}`
	if o.patient {
		stages = strings.Replace(stages, "within: 2 business days", "within: 4 business days", 1)
	}
	if o.generous {
		stages = strings.Replace(stages, "manager-of(requester)]", "manager-of(requester), person(ana)]", 1)
	}
	if o.stricter {
		stages += `
  - {name: leads, approvers: [group(leads)], distinct_from: [manager], within: 3d}`
	}
	basics := packages
	if o.lean {
		basics = strings.Replace(packages, ", ledger/books/list]", "]", 1)
	}
	var files []directory.File
	for i, text := range []string{strings.Replace(ledgerPolicy, "STAGES", stages, 1), basics, birthrights, exceptions, rotationPolicy, wikiPolicy, onCallPolicy, breakGlassPolicy, policyOnCall, emergencyPolicy, separation, sources, accountPolicy, toolPolicy} {
		files = append(files, directory.File{Path: fmt.Sprintf("policies/%d.yaml", i), Bytes: []byte(text)})
	}
	files = append(files, directory.File{Path: "policies/archive.yaml", Bytes: []byte(archivePolicy)})
	return files
}

const directoryText = `
people:
  - {login: ana, name: Ana Asker, email: ana@test.example, MOVES-ana}
  - {login: max, name: Max Manager, email: max@test.example, manager: bea}
  - {login: bea, name: Bea Boss, email: bea@test.example}
  - {login: olga, name: Olga Owner, email: olga@test.example, manager: max}
  - {login: otto, name: Otto Other, email: otto@test.example, manager: bea}
  - {login: syd, name: Syd Security, email: syd@test.example, manager: bea}
  - {login: sam, name: Sam Security, email: sam@test.example, manager: bea}
  - {login: sue, name: Sue Security, email: sue@test.example, manager: bea}
  - {login: pia, name: Pia Platform, email: pia@test.example, manager: bea}
  - {login: pit, name: Pit Platform, email: pit@test.example, manager: bea}
  - {login: ben, name: Ben Backup, email: ben@test.example, MOVES-ben}
  - {login: adam, name: Adam Admin, email: adam@test.example, manager: bea}
  - {login: alma, name: Alma Admin, email: alma@test.example, manager: bea}
  - {login: aud, name: Aud Auditor, email: aud@test.example, manager: bea}
  - {login: aura, name: Aura Auditor, email: aura@test.example, manager: bea}
  - {login: oda, name: Oda Operator, email: oda@test.example, manager: bea}
  - {login: odo, name: Odo Operator, email: odo@test.example, manager: bea}
  - {login: cora, name: Cora Contractor, email: cora@test.example, manager: max, affiliation: contractor, sponsor: otto, contract_end: CONTRACT}
JOINED
services:
  - {login: svc, name: Service A, owner: olga, purpose: "sends the invoices of the month", record: SR-1, environment: prod, last_confirmed: 2026-10-01}
  - {login: svc-ana, name: Service of Ana, owner: ana, purpose: "does what Ana says it should do", record: SR-2, environment: prod, last_confirmed: 2026-10-01}
agents:
  - {login: agent, name: Agent Smith, owner: ana, sponsor: max, purpose: "answers questions of customers", record: SR-2, environment: prod, last_confirmed: 2026-10-01}
groups:
  - {name: security, members: [SECURITY]}
  - {name: leads, members: [pia, pit]}
  - {name: board, members: [otto, pit, sue, bea]}
  - {name: clerks, members: [oda, odo, sam, syd]}
  - {name: crew, members: [CREW]}
systems:
  - name: countersign
    title: Countersign itself
    owner: bea
    environment: prod
    risk: high
    connector: role
    resources:
      - {name: house, title: The house, entitlements: [{name: administrator, kind: role}, {name: auditor, kind: role}, {name: operator, kind: role}, {name: emergency-policy-author, kind: role}, {name: policy-on-call, kind: role, eligible_for: emergency-policy-author}]}
  - name: ledger
    title: Ledger
    owner: otto
    second_owner: pit
    environment: prod
    risk: medium
    connector: fake
    resources:
      - name: books
        title: Books
        entitlements:
          - {name: read, kind: credential}
          - {name: write, kind: credential}
          - {name: brief, kind: credential, max_duration: 2d}
          - {name: list, kind: credential, max_duration: 40d}
      - {name: vaults, title: Vaults, risk: high, entitlements: [{name: open, kind: credential}]}
  - name: wiki
    title: Wiki
    owner: otto
    second_owner: pit
    environment: prod
    risk: low
    connector: role
    resources: [{name: space, title: Space, entitlements: [{name: reader, kind: role}, {name: editor, kind: role}, {name: editor-on-call, kind: role, eligible_for: editor}, {name: handbook, kind: role}, {name: guest, kind: role}]}]
records:
  - {key: SR-1, title: Invoicing, owner: olga, environment: prod, scopes: [read, write]}
  - {key: SR-2, title: Asking, owner: ana, environment: prod, scopes: [read]}
powers:
  administrator: [adam, alma]
  auditor: [aud, aura]
  operator: [oda, odo]
`

const ledgerPolicy = `
request: access
title: Access to the ledger
grants: {system: ledger, kind: credential}
beneficiary: [person, service, workload, agent]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 5}
evidence: [{name: handover, kind: text, due: at-closure, within: 2 business days, escalate_to: [group(leads)]}]
refuse: [{when: 'has(beneficiary.affiliation) && beneficiary.affiliation == "vendor"', because: '"Vendors keep no books."'}]
stages:STAGES
fulfil: [fake.apply]
grant: {ends: revoke, remind: 1d, overlap: 3d, ends_when: [owner-left]}
close: {when: [gone]}
`

const rotationPolicy = `
request: rotation
title: Another credential that writes
grants: {system: ledger, kind: credential, entitlement: write}
rotates: {overlap: 6h}
beneficiary: [person, service, workload, agent]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: manager, approvers: [manager-of(requester)], else: [group(leads)], within: 1 business day}]
fulfil: [fake.apply]
`

const wikiPolicy = `
request: wiki
title: Reading the wiki
grants: {system: wiki, kind: role, entitlement: reader}
beneficiary: [person, service, agent]
limits: {duration: {default: 5d, max: 60d}}
stages: [{name: manager, approvers: [manager-of(requester)], else: [group(leads)], within: 1 business day}]
fulfil: [role.assign]
grant: {ends: revoke}
`

const onCallPolicy = `
request: on-call
title: Eligible assignment
grants: {system: wiki, kind: role, entitlement: editor-on-call}
beneficiary: [person]
limits: {duration: {default: 60d, max: 90d}}
stages: [{name: manager, approvers: [manager-of(requester)], within: 5 business days}]
fulfil: [role.assign]
`

const breakGlassPolicy = `
request: break-glass
title: The wiki in an emergency
grants: {system: wiki, kind: role, entitlement: editor}
beneficiary: [person]
ask: {incident: {type: string}}
limits: {duration: {default: 1h, max: 4h}}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
  - {name: closed-ticket, kind: ticket, ticket: closed, due: at-closure, verified_by: incidents, from: incident, within: 2 business days}
break_glass: {tell: [group(security)]}
stages: [{name: at-once, automatic: "true"}]
fulfil: [role.assign]
review:
  reviewers: [group(leads), person(ana)]
  within: 1 business day
  then: {escalate_to: [person(bea)], within: 1 business day}
`

const policyOnCall = `
request: policy-on-call
title: Eligible for the policy
grants: {system: countersign, kind: role, entitlement: policy-on-call}
beneficiary: [person]
limits: {duration: {default: 90d, max: 90d}}
stages: [{name: manager, approvers: [manager-of(requester)], within: 5 business days}]
fulfil: [role.assign]
`

const emergencyPolicy = `
request: emergency-policy
title: The policy in an emergency
grants: {system: countersign, kind: role, entitlement: emergency-policy-author}
beneficiary: [person]
ask: {incident: {type: string}}
limits: {duration: {default: 1h, max: 4h}}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
  - {name: closed-ticket, kind: ticket, ticket: closed, due: at-closure, verified_by: incidents, from: incident, within: 2 business days}
break_glass: {tell: [group(security)]}
stages: [{name: at-once, automatic: "true"}]
fulfil: [role.assign]
review:
  reviewers: [group(leads)]
  within: 1 business day
  then: {escalate_to: [person(bea)], within: 1 business day}
`

const separation = `
separation:
  - name: write-and-open
    title: Writing the books and opening the vaults
    combination:
      - {system: ledger, entitlement: write}
      - {system: ledger, entitlement: open}
    because: Whoever writes the books must not open the vaults.
    waivable: true
`

const exceptions = `
exceptions:
  longest: 20d
  stage: {name: exception, approvers: [group(board)], need: 2, within: 3d}
`

const packages = `
packages:
  - {name: basics, title: What the crew works with, entitlements: [wiki/space/handbook, ledger/books/list], beneficiary: [person]}
  - {name: guests, title: What outsiders read, entitlements: [wiki/space/guest], beneficiary: [person]}
  - {name: starter, title: What one begins with, entitlements: [wiki/space/reader, ledger/books/read, ledger/books/brief]}
`

const birthrights = `
birthrights:
  - {name: crew, when: '"crew" in identity.groups', package: basics, overlap: 2d}
  - {name: outsiders, when: 'has(identity.affiliation) && identity.affiliation != "employee"', package: guests, overlap: 0d}
`

const sources = `sources: [{name: incidents, built_in: tickets}]`
