package house_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/openbao"
	"github.com/countersign/countersign/connector/openbao/openbaotest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

const baoFile = `
  - name: bao
    title: Databases through OpenBao
    owner: otto
    environment: prod
    risk: medium
    connector: database
    resources: [{name: database, title: Databases, entitlements: [{name: invoices-reader, kind: credential}]}]
records:`

// onBao founds a house beside a fake OpenBao, with the policies that its page has.
func onBao(t *testing.T) (*world, *openbaotest.Server) {
	t.Helper()
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	w := empty(t, onSQLite(t))
	server := openbaotest.New(t, w.clock)
	for _, block := range regexp.MustCompile("(?s)```hcl\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		server.SetPolicy(t, block[1], block[2])
	}
	server.SetTokenRole("countersign", "countersign-leases")
	server.AddToken(openbaotest.Token{ID: "s.hands", Policies: []string{"countersign"}, Period: 24 * time.Hour, Renewable: true})
	server.SetRole("database", "invoices-reader", openbaotest.Role{Default: time.Hour, Longest: 30 * 24 * time.Hour})
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		made, err := openbao.New(openbao.Options{
			Name: "database", Gives: openbao.Lease, Address: "http://" + server.Address(), TokenRole: "countersign", Vault: targets.Vault, Clock: w.clock,
			Token: func() (countersign.Secret, error) { return countersign.NewSecret("s.hands"), nil },
		})
		return connector.Set{"database": made}, err
	}
	w.restart()
	w.edit("\nrecords:", baoFile)
	w.must(w.found(strings.NewReplacer("request: access", "request: account", "system: ledger", "system: bao", "noop.apply", "database.issue-lease").Replace(policyFor(managerStage, ""))))
	w.settle()
	return w, server
}

// leased asks for an account, and reads what it is once it is there.
func (w *world) leased(server *openbaotest.Server) (countersign.RequestID, func() bool) {
	w.t.Helper()
	asking := desk.Asking{Beneficiary: "ana", Entitlements: []string{"bao/database/invoices-reader"}, Reason: "the invoices of the month are due", Duration: 4 * countersign.Hour}
	preview, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking)
	w.must(err)
	if len(preview.Effects) != 1 || !strings.Contains(preview.Effects[0], "A lease of database/creds/invoices-reader") {
		w.t.Errorf("the effect is said to be %q", preview.Effects)
	}
	id := w.submit("ana", asking)
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	reference := countersign.CredentialID(w.grant(id).Credentials[0].Reference)
	if _, err := w.house.Vault.Read(w.ctx, w.as("max").Identity, reference); countersign.KindOf(err) != countersign.NotFound {
		w.t.Errorf("who approved reads the secret: %v", err)
	}
	secret, err := w.house.Vault.Read(w.ctx, w.as("ana").Identity, reference)
	w.must(err)
	if _, err := w.house.Vault.Read(w.ctx, w.as("ana").Identity, reference); countersign.ReasonOf(err) != "secret-gone" {
		w.t.Errorf("it is read twice: %v", err)
	}
	var login struct{ Username, Password string }
	w.must(json.Unmarshal([]byte(secret.Reveal()), &login))
	return id, func() bool { return server.Login("database", "invoices-reader", login.Username, login.Password) }
}

func TestALeaseIsApprovedReadOnceAndGoneFromTheServerAtItsEnd(t *testing.T) {
	w, server := onBao(t)
	id, works := w.leased(server)
	if !works() || len(server.Leases()) != 1 {
		t.Fatalf("the leases are %v", server.Leases())
	}
	w.pass(4*time.Hour - time.Minute)
	if !works() {
		t.Error("it ends before its time")
	}
	w.pass(2 * time.Minute)
	if grant := w.grant(id); grant.State != countersign.GrantGone || works() || len(server.Leases()) != 0 || len(server.Tokens("countersign")) != 0 {
		t.Errorf("after its end the grant is %s, with the leases %v and tokens %v", grant.State, server.Leases(), server.Tokens("countersign"))
	}
	w.state(id, countersign.RequestClosed)

	// Taken away before its time, the server is told to.
	id, works = w.leased(server)
	w.must(w.revocation("ana", w.grant(id).ID)())
	w.settle()
	if grant := w.grant(id); grant.State != countersign.GrantGone || works() || len(server.Leases()) != 0 {
		t.Errorf("after its revoke the grant is %s, with the leases %v", grant.State, server.Leases())
	}
	w.verified()
}

func TestALeaseThatTheServerCannotTakeBackKeepsTheGrantEndingWithAnAlarm(t *testing.T) {
	w, server := onBao(t)
	id, works := w.leased(server)
	server.SetBroken("database", "dial tcp 192.0.2.7:5432: connect: connection refused")
	w.pass(4*time.Hour + time.Minute)
	for range 12 {
		w.pass(5 * time.Minute)
	}
	if given := server.Irrevocable(); len(given) != 1 || !works() {
		t.Fatalf("irrevocable are %v", given)
	}
	if grant := w.grant(id); grant.State != countersign.GrantRevoking {
		t.Fatalf("while the account is there the grant is %s", grant.State)
	}
	work, err := w.house.Store.Work(w.ctx, string(w.stored(w.grant(id).ID).Intent.ID))
	w.must(err)
	figures, err := w.house.Desk.Figures(w.ctx)
	w.must(err)
	if !strings.Contains(work.Trouble, "could not take the lease back") || figures.Ending.Count != 1 {
		t.Errorf("the trouble is %q, the figures are %+v", work.Trouble, figures)
	}
	server.SetBroken("database", "")
	w.pass(5 * time.Minute)
	if grant := w.grant(id); grant.State != countersign.GrantGone || works() {
		t.Errorf("once the server can, the grant is %s", grant.State)
	}
	w.verified()
}
