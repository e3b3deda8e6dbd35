package sim

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/target/registry"
)

// Accounts of services in the registry and tools of agents, and the laws of them: the
// token endpoint and the decision points are asked as a service and an agent would.

const machineSystems = `  - name: gateway
    title: Gateway
    owner: otto
    second_owner: pit
    environment: prod
    risk: low
    connector: registry
    resources: [{name: routes, title: Routes, entitlements: [{name: call, kind: credential}]}]
  - name: tools
    title: Tools
    owner: otto
    second_owner: pit
    environment: prod
    risk: low
    connector: tools
    resources:
      - {name: search, title: Searching, entitlements: [{name: query, kind: role}]}
      - {name: edit, title: Editing, entitlements: [{name: rewrite, kind: role}]}
`

const accountPolicy = `
request: account
title: An account at the gateway
grants: {system: gateway, kind: credential}
beneficiary: [service]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: gateway, approvers: [group(leads)], within: 2 business days}]
fulfil: [registry.create-account]
grant: {ends: revoke, overlap: 3d}
`

const toolPolicy = `
request: tools
title: Tools of an agent
grants: {system: tools, kind: role}
beneficiary: [agent]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: tools, approvers: [group(leads)], within: 2 business days}]
fulfil: [tools.allow]
grant: {ends: revoke, bounded_by: [{who: sponsor, resource: [edit], holds: [wiki/space/reader]}]}
`

func (s *story) askForAccount() error {
	service := pick(s, "svc", "svc-ana")
	asking := desk.Asking{Beneficiary: service, Entitlements: []string{"gateway/routes/call"}, Duration: pick(s, 0, countersign.Day, 20*countersign.Day), Reason: "invoices follow the orders"}
	return s.askAndDecide(s.answers(service), asking)
}

func (s *story) askForTool() error {
	asking := desk.Asking{Beneficiary: "agent", Entitlements: []string{pick(s, "tools/search/query", "tools/edit/rewrite")}, Duration: pick(s, 0, countersign.Day, 20*countersign.Day), Reason: "customers have questions"}
	return s.askAndDecide(s.answers("agent"), asking)
}

// answers is mostly who answers for the machine.
func (s *story) answers(machine string) string {
	owner := s.look().identities[s.as(machine).Identity].Owner
	at := slices.IndexFunc(people, func(login string) bool { return s.as(login).Identity == owner })
	if at < 0 || s.chance(10) {
		return pick(s, "ana", "olga", "ben")
	}
	return people[at]
}

// getToken has a service read its secret and get a token by it.
func (s *story) getToken() error {
	grant := s.someGrant(func(g *countersign.Grant) bool { return g.Step.Connector == "registry" })
	if grant == nil {
		return errNothing
	}
	h, credential := pick(s, s.houses...), pick(s, grant.Credentials...).ID
	secret, err := h.Vault.Read(s.ctx, grant.Holder, credential)
	if err != nil {
		if countersign.KindOf(err) == countersign.Internal {
			s.breaks("answers", "the vault says %v", err)
		}
		return err
	}
	request := httptest.NewRequest(http.MethodPost, registry.TokenPath, strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(string(credential), secret.Reveal())
	recorder := httptest.NewRecorder()
	h.Registry.Public(func(*http.Request) {})[registry.TokenPath].ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		return countersign.Errorf(countersign.Refused, "no-token", "%d %s", recorder.Code, recorder.Body)
	}
	if grant.State.Ended() {
		s.breaks("no access after its end", "the account %s got a token, and its grant %s is %s", credential, grant.ID, grant.State)
	}
	return nil
}

// callTool has the agent call a tool.
func (s *story) callTool() error {
	if h := pick(s, s.houses...); calls(h, "search", "query") || calls(h, "edit", "rewrite") {
		return nil
	}
	return countersign.Errorf(countersign.Refused, "no-call", "the agent may call nothing now")
}

// calls reports whether the decision point of a replica lets the agent call a tool now.
func calls(h *house.House, tool, scope string) bool {
	return h.Point.Evaluate(pdp.Evaluation{SubjectType: "agent", SubjectID: "agent", Action: pdp.CallAction, ResourceType: pdp.ToolType, ResourceID: tool, Scope: scope}).Allowed
}

// accounts are those that the registry has, suspended ones included.
func (s *story) accounts(l *look) []registry.Listed {
	var all []registry.Listed
	for _, system := range l.directory.Systems {
		if system.Name == "gateway" {
			s.must(s.houses[0].Registry.List(s.ctx, system.ID, func(one registry.Listed) error {
				all = append(all, one)
				return nil
			}))
		}
	}
	return all
}

// checkAccounts compares what the registry has with what was decided.
func (s *story) checkAccounts(l *look) {
	for _, account := range s.accounts(l) {
		grant := l.grantOf(account.Credential)
		if grant == nil {
			s.breaks("no access without a decision", "the registry has the account %s, and no grant has it", account.Credential)
			continue
		}
		if why := s.unauthorised(taskOf{Credential: account.Credential, Grant: grant.ID, Holder: account.Holder, EntitlementID: grant.Entitlement}, false); why != "" {
			s.breaks("no access without a decision", "the registry: %s", why)
		}
		if account.Scope != l.names[grant.Entitlement] {
			s.breaks("no access without a decision", "the account %s may %s, and its grant %s gives %s", account.Credential, account.Scope, grant.ID, l.names[grant.Entitlement])
		}
		if credential := grant.FindCredential(account.Credential); grant.State.Ended() || credential.State == countersign.CredentialGone && grant.Intent == nil {
			s.breaks("no access after its end", "the registry has the account %s, and its grant %s is %s", account.Credential, grant.ID, grant.State)
		}
	}
}

func (l *look) grantOf(credential countersign.CredentialID) *countersign.Grant {
	for _, grant := range l.grants {
		if grant.FindCredential(credential) != nil {
			return grant
		}
	}
	return nil
}

// checkMachineStops holds a replica to what storage says, as checkStops does for people:
// an account works, and a tool can be called, only while something gives it, and while
// those are there who answer for the machine.
func (s *story) checkMachineStops(h *house.House, l *look, lives map[string]bool) {
	answered := func(machine *countersign.Identity) bool {
		owner, sponsor := l.identities[machine.Owner], l.identities[machine.Sponsor]
		return owner.ActiveAt(l.now) && (sponsor == nil || sponsor.ActiveAt(l.now))
	}
	for _, account := range s.accounts(l) {
		check, err := h.Registry.CheckCredential(s.ctx, account.Credential)
		if err != nil || check.State != registry.Active {
			continue
		}
		if grant := l.grantOf(account.Credential); grant != nil && !lives[string(grant.Holder)+" "+string(grant.Entitlement)] || !answered(l.identities[account.Holder]) {
			s.breaks("checks refuse", "the account %s of %s works, and nothing gives it now", account.Credential, account.Holder)
		}
	}
	agent := l.identities[s.as("agent").Identity]
	for _, tool := range [][2]string{{"search", "query"}, {"edit", "rewrite"}} {
		if !calls(h, tool[0], tool[1]) {
			continue
		}
		gives := func(holder countersign.IdentityID, name string) bool {
			return slices.ContainsFunc(l.grantsOf(holder, name), func(grant *countersign.Grant) bool {
				return lives[string(holder)+" "+string(grant.Entitlement)]
			})
		}
		if !gives(agent.ID, tool[1]) || !answered(agent) || tool[0] == "edit" && !gives(agent.Sponsor, "reader") {
			s.breaks("checks refuse", "the agent may call %s, and nothing gives it now", tool[0])
		}
	}
}
