package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/connector/ldap/ldaptest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

const invoicesFile = `
  - name: billing
    title: Billing
    owner: otto
    environment: prod
    risk: medium
    connector: groups
    resources: [{name: invoices, title: Invoices, entitlements: [{name: reader, kind: role}]}]
records:`

func TestAMembershipInARealDirectoryIsGivenReadBackAndTakenAwayAtItsEnd(t *testing.T) {
	server := ldaptest.New(t)
	w := empty(t, onSQLite(t))
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		made, err := ldap.New(ldap.Options{
			Name: "groups", URL: server.Secure, Roots: server.Roots, BindDN: ldaptest.Account, Password: countersign.NewSecret(ldaptest.AccountPassword),
			People: ldaptest.People, Groups: ldaptest.Groups, Marks: ldaptest.Marks, HolderAttribute: "employeeNumber", MemberAttribute: "member",
			Vault: targets.Vault, Clock: w.clock,
		})
		return connector.Set{"groups": made}, err
	}
	w.restart()
	w.edit("\nrecords:", invoicesFile)
	w.must(w.found(strings.NewReplacer("system: ledger, kind: credential", "system: billing, kind: role", "noop.apply", "groups.add-member").Replace(policyFor(managerStage, ""))))
	w.settle()
	const ana = "uid=ana," + ldaptest.People
	server.Add(t, ana, "inetOrgPerson", "cn", "Ana Asker", "sn", "Asker", "employeeNumber", string(w.as("ana").Identity))
	asking := desk.Asking{Beneficiary: "ana", Entitlements: []string{"billing/invoices/reader"}, Reason: "invoices are due"}
	preview, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking)
	w.must(err)
	if len(preview.Effects) != 1 || !strings.Contains(preview.Effects[0], ana) {
		t.Errorf("the effect is said to be %q", preview.Effects)
	}
	id := w.submit("ana", asking)
	if server.Member(t, ldaptest.GroupDN("reader"), ana) {
		t.Error("before it was approved she is a member")
	}
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	if !server.Member(t, ldaptest.GroupDN("reader"), ana) {
		t.Error("who was granted it is no member")
	}
	w.pass(10*24*time.Hour + time.Minute)
	if grant := w.grant(id); grant.State != countersign.GrantGone || server.Member(t, ldaptest.GroupDN("reader"), ana) {
		t.Errorf("after its end the grant is %s, and she is a member: %v", grant.State, server.Member(t, ldaptest.GroupDN("reader"), ana))
	}
	w.verified()
}
