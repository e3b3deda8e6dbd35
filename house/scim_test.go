package house_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/scim"
	"github.com/countersign/countersign/connector/scim/scimtest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// appsFile adds an application to the organisation that is reached over SCIM.
const appsFile = `
  - name: crm
    title: Customers
    owner: otto
    environment: prod
    risk: medium
    connector: apps
    settings: {group.sales/editor: GROUP, account: sales/account}
    resources: [{name: sales, title: Sales, entitlements: [{name: editor, kind: role}, {name: account, kind: role}]}]
records:`

// onApps founds a house with a connector to a SCIM server, whose group is the
// entitlement crm/sales/editor and whose accounts are crm/sales/account.
func onApps(t *testing.T, open database) (w *world, server *scimtest.Server, group string) {
	t.Helper()
	server = scimtest.New(t)
	group = server.AddGroup("Editors of sales")
	w = empty(t, open)
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		made, err := scim.New(scim.Options{
			Name: "apps", URL: server.URL, Token: countersign.NewSecret(scimtest.Token), HTTP: &http.Client{Timeout: 5 * time.Second},
			HolderAttribute: "externalId", Marks: targets.SCIM, Clock: w.clock,
		})
		return connector.Set{"apps": made}, err
	}
	w.restart()
	w.edit("\nrecords:", strings.Replace(appsFile, "GROUP", "'"+group+"'", 1))
	editor := strings.NewReplacer("system: ledger, kind: credential", "system: crm, kind: role, entitlement: editor", "noop.apply", "apps.add-member").Replace(policyFor(managerStage, ""))
	account := strings.NewReplacer("request: access", "request: account", "system: ledger, kind: credential", "system: crm, kind: role, entitlement: account", "noop.apply", "apps.activate-account").
		Replace(policyFor(managerStage, "\nask:\n  user_name: {type: string, optional: true}\nparameters: [user_name]\n"))
	w.must(w.found(editor, account))
	w.settle()
	return w, server, group
}

func TestAMembershipOverSCIMIsGivenReadBackAndTakenAwayAtItsEnd(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, server, group := onApps(t, open)
		asking := desk.Asking{Beneficiary: "ana", Entitlements: []string{"crm/sales/account"}, Reason: "customers ask for Ana", Answers: []byte(`{"user_name":"ana@test.example"}`)}
		account := w.submit("ana", asking)
		if effects := w.view(account).Effects; len(effects) != 1 || !strings.Contains(effects[0], `An account "ana@test.example" is made for Ana Asker`) {
			t.Errorf("the approver is shown %q", effects)
		}
		w.must(w.approve("max", account))
		w.settle()
		w.state(account, countersign.RequestActive)
		user := server.UserOf(string(w.as("ana").Identity))
		if user == "" || server.User(user)["active"] != true {
			t.Fatalf("there is no active account: %v", server.User(user))
		}
		asking = desk.Asking{Beneficiary: "ana", Entitlements: []string{"crm/sales/editor"}, Reason: "customers ask for Ana"}
		id := w.submit("ana", asking)
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		if !server.Member(group, user) {
			t.Error("who was granted it is no member")
		}
		// The server is away at the end, and comes back.
		for range 20 {
			server.Answer(http.StatusServiceUnavailable)
		}
		w.must(w.revocation("ana", w.grant(id).ID)())
		w.settle()
		if grant := w.grant(id); grant.State != countersign.GrantRevoking {
			t.Errorf("with the server away the grant is %s", grant.State)
		}
		for range 40 {
			w.pass(5 * time.Minute)
		}
		if grant := w.grant(id); grant.State != countersign.GrantGone || server.Member(group, user) {
			t.Errorf("with the server back the grant is %s, and a member: %v", grant.State, server.Member(group, user))
		}
		w.pass(10 * 24 * time.Hour)
		if grant := w.grant(account); grant.State != countersign.GrantGone || server.User(user)["active"] != false {
			t.Errorf("after its end the grant is %s, and the account %v", grant.State, server.User(user))
		}
		w.verified()
	})
}

func TestAMembershipThatSomebodyGaveByHandOverSCIMIsFoundAdoptedAndEndsWithItsGrant(t *testing.T) {
	w, server, group := onApps(t, onSQLite(t))
	user := server.AddUser("ana@test.example", string(w.as("ana").Identity))
	server.Put(group, user)
	w.reread("crm")
	var given *desk.FindingView
	findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "crm"})
	w.must(err)
	for _, finding := range findings {
		if finding.Kind == countersign.OutOfBandFinding && finding.Entitlement == "editor" && finding.Principal == user {
			given = &finding
		}
	}
	if given == nil || len(findings) != 2 {
		t.Fatalf("the findings are %+v, want the membership and the account", findings)
	}
	id := w.submit("otto", desk.Asking{Beneficiary: "ana", Entitlements: []string{"crm/sales/editor"}, Reason: "it was given by hand before", Adopts: given.ID})
	w.must(w.approve("bea", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.reread("crm")
	if findings, err = w.house.Desk.Findings(w.ctx, w.as("otto"), desk.FindingFilter{System: "crm"}); err != nil || len(findings) != 1 || findings[0].Entitlement != "account" {
		t.Errorf("after it was adopted the findings are %+v, %v", findings, err)
	}
	w.pass(10*24*time.Hour + time.Minute)
	if grant := w.grant(id); grant.State != countersign.GrantGone || server.Member(group, user) {
		t.Errorf("after its end the grant is %s, and a member: %v", grant.State, server.Member(group, user))
	}
	w.verified()
}
