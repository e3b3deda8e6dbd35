package house_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store/pgtest"
)

// ordersFile adds a real database to the organisation.
const ordersFile = `
  - name: orders
    title: Orders
    owner: otto
    environment: prod
    risk: medium
    connector: orders-pg
    resources: [{name: DATABASE, title: The database, entitlements: [{name: ROLE, kind: credential}]}]
records:`

// loginPolicy gives logins on it.
var loginPolicy = strings.NewReplacer("request: access", "request: login", "system: ledger", "system: orders", "noop.apply", "orders-pg.create-login").
	Replace(policyFor(managerStage, ""))

// onOrders founds a house with a connector to a database that was made for the
// test, which account reaches, and returns that database's URL of the superuser.
func onOrders(t *testing.T) (w *world, admin *pgx.Conn, server, account *url.URL, role string) {
	t.Helper()
	server, err := url.Parse(pgtest.Database(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if admin, err = pgx.Connect(t.Context(), server.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	suffix := strings.ToLower(rand.Text())
	role = "app_reader_" + suffix
	hands := *server
	hands.User = url.UserPassword("hands_"+suffix, "of-the-house")
	for _, statement := range []string{
		`CREATE ROLE ` + role, `CREATE TABLE sold (number int)`, `GRANT SELECT ON sold TO ` + role,
		`CREATE ROLE hands_` + suffix + ` LOGIN CREATEROLE PASSWORD 'of-the-house'`,
		`GRANT ` + role + ` TO hands_` + suffix + ` WITH ADMIN OPTION`, `GRANT pg_signal_backend TO hands_` + suffix,
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	w = empty(t, onSQLite(t))
	// The server has a clock of its own, so the house's is near to it.
	w.clock.move(time.Since(monday).Truncate(time.Millisecond))
	w.house.Store.Close()
	opened, err := house.Open(w.ctx, house.Options{
		Store: movedStore{w.database.open(), w}, Master: w.master, Clock: w.clock, Entropy: rand.Reader, Replica: "test",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Issuer: "http://countersign.test", DeliverByClaim: true,
		Connectors: connector.Set{"noop": w.target},
		OpenConnectors: func(targets house.Targets) (connector.Set, error) {
			made, err := postgres.New(postgres.Options{Name: "orders-pg", Gives: postgres.Login, URL: countersign.NewSecret(hands.String()), Vault: targets.Vault, Clock: w.clock, Random: rand.Reader})
			return connector.Set{"orders-pg": made}, err
		},
	})
	w.must(err)
	w.house = opened
	w.edit("\nrecords:", strings.NewReplacer("DATABASE", strings.TrimPrefix(server.Path, "/"), "ROLE", role).Replace(ordersFile))
	w.must(w.found(policyFor(managerStage, ""), loginPolicy))
	w.settle()
	return w, admin, server, &hands, role
}

func TestALoginOnARealDatabaseWorksUntilItsEndAndItsOpenSessionIsCut(t *testing.T) {
	w, admin, server, _, role := onOrders(t)
	asking := desk.Asking{Beneficiary: "svc-ana", Entitlements: []string{"orders" + server.Path + "/" + role}, Reason: "the orders of the month are due"}
	preview, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking)
	w.must(err)
	if len(preview.Effects) != 1 || !strings.Contains(preview.Effects[0], role) || !strings.Contains(preview.Effects[0], "Service of Ana") {
		t.Errorf("the effect is said to be %q", preview.Effects)
	}
	id := w.submit("ana", asking)
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	credential := w.grant(id).Credentials[0]
	if _, err := w.house.Vault.Read(w.ctx, w.as("ana").Identity, countersign.CredentialID(credential.Reference)); countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("who asked reads the password: %v", err)
	}
	password, err := w.house.Vault.Read(w.ctx, w.as("svc-ana").Identity, countersign.CredentialID(credential.Reference))
	w.must(err)
	login := *server
	login.User = url.UserPassword(string(credential.ID), password.Reveal())
	session, err := pgx.Connect(w.ctx, login.String())
	w.must(err)
	defer session.Close(w.ctx)
	if _, err := session.Exec(w.ctx, `SELECT count(*) FROM sold`); err != nil {
		t.Fatalf("the login does not open what was asked: %v", err)
	}
	if _, err := session.Exec(w.ctx, `DELETE FROM sold`); err == nil {
		t.Error("it opens more than was asked")
	}
	w.pass(10*24*time.Hour + time.Minute)
	w.settle()
	if grant := w.grant(id); grant.State != countersign.GrantGone {
		t.Errorf("after its end the grant is %s", grant.State)
	}
	if session.Ping(w.ctx) == nil {
		t.Error("the open session goes on")
	}
	if late, err := pgx.Connect(w.ctx, login.String()); err == nil {
		late.Close(w.ctx)
		t.Error("the login still works")
	}
	var there bool
	w.must(admin.QueryRow(w.ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, string(credential.ID)).Scan(&there))
	if there {
		t.Error("the role is still there")
	}
	w.verified()
}

func TestAnEndOnAServerThatRefusesTheConnectorIsRetriedUntilItComesBack(t *testing.T) {
	w, admin, server, hands, role := onOrders(t)
	id := w.submit("ana", desk.Asking{Beneficiary: "svc-ana", Entitlements: []string{"orders" + server.Path + "/" + role}, Reason: "the orders of the month are due"})
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	account := pgx.Identifier{hands.User.Username()}.Sanitize()
	_, err := admin.Exec(w.ctx, `ALTER ROLE `+account+` NOLOGIN`)
	w.must(err)
	w.must(w.revocation("ana", w.grant(id).ID)())
	for range 12 {
		w.pass(5 * time.Minute)
	}
	if grant := w.grant(id); grant.State != countersign.GrantRevoking {
		t.Fatalf("with the server away the grant is %s", grant.State)
	}
	_, err = admin.Exec(w.ctx, `ALTER ROLE `+account+` LOGIN`)
	w.must(err)
	for range 3 {
		w.pass(5 * time.Minute)
	}
	if grant := w.grant(id); grant.State != countersign.GrantGone {
		t.Errorf("with the server back the grant is %s", grant.State)
	}
	w.verified()
}
