package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

// lab is a connector on a real server, with an account that is no superuser.
type lab struct {
	t     testing.TB
	admin *pgx.Conn
	// server is the URL of the superuser, in the database invoices.
	server  *url.URL
	account string
	hands   *postgres.Connector
	vault   *vault.Vault
	shelf   *shelftest.Shelf
	clock   *connectortest.Clock
	mint    *countersign.Mint
	read    map[countersign.CredentialID]countersign.Secret
}

const accountPassword = "hands-of-the-house"

// newLab prepares group roles, a database with one table, and the account. The
// clock starts at the present, because the server has its own.
func newLab(t testing.TB, gives postgres.Gives) *lab {
	t.Helper()
	return newLabOn(t, gives, pgtest.Database(t, nil))
}

func newLabOn(t testing.TB, gives postgres.Gives, database string) *lab {
	t.Helper()
	l := &lab{t: t, clock: connectortest.NewClock(), shelf: shelftest.New(vault.ShelfName), read: map[countersign.CredentialID]countersign.Secret{}}
	l.clock.Advance(time.Since(l.clock.Now()).Truncate(time.Millisecond))
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	server, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	first := l.open(server)
	var made bool
	if err := first.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'invoices')`).Scan(&made); err != nil {
		t.Fatal(err)
	}
	if !made {
		l.execute(first, `CREATE DATABASE invoices`)
	}
	there := *server
	there.Path = "/invoices"
	l.server, l.admin = &there, l.open(&there)
	for _, role := range []string{"reader", "auditor", "super", "hidden"} {
		l.execute(l.admin, fmt.Sprintf(`DO $$ BEGIN CREATE ROLE %s; EXCEPTION WHEN duplicate_object THEN NULL; END $$`, role))
	}
	l.account = "hands_" + strings.ToLower(rand.Text())
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS invoice (number int)`, `GRANT SELECT ON invoice TO reader`, `GRANT CREATE ON SCHEMA public TO reader`,
		`ALTER ROLE super CREATEDB`,
		`CREATE ROLE ` + l.account + ` LOGIN CREATEROLE PASSWORD '` + accountPassword + `'`,
		`GRANT pg_signal_backend TO ` + l.account,
		`GRANT reader, auditor, super TO ` + l.account + ` WITH ADMIN OPTION`,
	} {
		l.execute(l.admin, statement)
	}
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.vault = vault.New(l.shelf, master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	l.hands = l.connector(gives, l.accountURL())
	return l
}

func (l *lab) accountURL() *url.URL {
	account := *l.server
	account.User = url.UserPassword(l.account, accountPassword)
	return &account
}

func (l *lab) connector(gives postgres.Gives, account *url.URL) *postgres.Connector {
	l.t.Helper()
	hands, err := postgres.New(postgres.Options{Name: "orders-pg", Gives: gives, URL: countersign.NewSecret(account.String()), Vault: l.vault, Clock: l.clock, Random: rand.Reader})
	if err != nil {
		l.t.Fatal(err)
	}
	return hands
}

func (l *lab) open(server *url.URL) *pgx.Conn {
	l.t.Helper()
	conn, err := pgx.Connect(l.t.Context(), server.String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (l *lab) execute(conn *pgx.Conn, statement string) {
	l.t.Helper()
	if _, err := conn.Exec(l.t.Context(), statement); err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
}

// signIn connects as the login with the password.
func (l *lab) signIn(login, password string) (*pgx.Conn, error) {
	server := *l.server
	server.User = url.UserPassword(login, password)
	conn, err := pgx.Connect(l.t.Context(), server.String())
	if err == nil {
		l.t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

// password reads the credential's password from the vault, as its holder, once.
func (l *lab) password(task connector.Task) string {
	if _, read := l.read[task.Credential]; !read {
		secret, err := l.vault.Read(l.t.Context(), task.Holder, task.Credential)
		if err != nil {
			return ""
		}
		l.read[task.Credential] = secret
	}
	return l.read[task.Credential].Reveal()
}

// person is the login of a holder, made by hand with the holder's id.
func (l *lab) person(holder countersign.IdentityID) string {
	l.t.Helper()
	login := "person_" + strings.TrimPrefix(string(holder), "idn_")
	var there bool
	if err := l.admin.QueryRow(l.t.Context(), `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, login).Scan(&there); err != nil {
		l.t.Fatal(err)
	}
	if !there {
		l.execute(l.admin, `CREATE ROLE `+login+` LOGIN PASSWORD 'own'`)
		l.execute(l.admin, `COMMENT ON ROLE `+login+` IS 'countersign holder `+string(holder)+`'`)
	}
	return login
}

// may signs in and does what the entitlement is for; a person under the role of
// the one credential.
func (l *lab) may(gives postgres.Gives, task connector.Task) bool {
	l.t.Helper()
	login, password := string(task.Credential), ""
	if gives == postgres.Membership {
		login, password = l.person(task.Holder), "own"
	} else if password = l.password(task); password == "" {
		return false
	}
	conn, err := l.signIn(login, password)
	if err != nil {
		return false
	}
	defer conn.Close(l.t.Context())
	if _, err := conn.Exec(l.t.Context(), `SET ROLE `+string(task.Credential)); err != nil {
		return false
	}
	var member bool
	err = conn.QueryRow(l.t.Context(), `SELECT pg_has_role(current_user, $1, 'usage')`, task.Entitlement).Scan(&member)
	if err == nil && member && task.Entitlement == "reader" {
		_, err = conn.Exec(l.t.Context(), `SELECT count(*) FROM invoice`)
	}
	return err == nil && member
}

// plant makes the credential's role by hand.
func (l *lab) plant(gives postgres.Gives, task connector.Task) {
	l.t.Helper()
	if gives == postgres.Membership {
		l.execute(l.admin, `CREATE ROLE `+string(task.Credential)+` NOLOGIN IN ROLE `+task.Entitlement+` ROLE `+l.person(task.Holder))
		return
	}
	l.execute(l.admin, `CREATE ROLE `+string(task.Credential)+` LOGIN PASSWORD 'planted' IN ROLE `+task.Entitlement)
	l.read[task.Credential] = countersign.NewSecret("planted")
}

// writes counts the transactions that the role, its comment and its memberships
// are from, or the deposits if there were more: a role that was made again.
func (l *lab) writes(task connector.Task) int {
	l.t.Helper()
	var written int
	err := l.admin.QueryRow(l.t.Context(), `WITH r AS (SELECT oid, xmin FROM pg_authid WHERE rolname = $1)
		SELECT count(DISTINCT x) FROM (SELECT xmin::text FROM r UNION ALL SELECT d.xmin::text FROM pg_shdescription d JOIN r ON objoid = oid
		UNION ALL SELECT m.xmin::text FROM pg_auth_members m JOIN r ON oid IN (roleid, member)) AS rows(x)`, string(task.Credential)).Scan(&written)
	if err != nil {
		l.t.Fatal(err)
	}
	deposits := 0
	for _, event := range l.shelf.Events(countersign.Stream(task.System)) {
		if strings.HasPrefix(event.Header.Kind, "vault.key-issued") && task.System != "" {
			deposits++
		}
	}
	return max(written, deposits)
}

func (l *lab) task() connector.Task {
	return connectortest.NewTask(l.mint, l.clock.Instant(), l.hands.Describe().Actions[0])
}

// known is a connector whose holders all have a login on the server.
type known struct {
	*postgres.Connector
	lab  *lab
	lock *sync.Mutex
}

func (k known) meet(task connector.Task) {
	k.lock.Lock()
	defer k.lock.Unlock()
	if countersign.CheckID("idn", string(task.Holder)) == nil {
		k.lab.person(task.Holder)
	}
}

func (k known) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	k.meet(task)
	return k.Connector.Plan(ctx, task)
}

func (k known) Apply(ctx context.Context, task connector.Task) error {
	k.meet(task)
	return k.Connector.Apply(ctx, task)
}

var givings = []postgres.Gives{postgres.Login, postgres.Membership}

func TestConformance(t *testing.T) {
	for _, gives := range givings {
		t.Run(string(gives), func(t *testing.T) {
			connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
				l := newLab(t, gives)
				var hands connector.Connector = l.hands
				if gives == postgres.Membership {
					hands = known{l.hands, l, &sync.Mutex{}}
				}
				return &connectortest.Bench{
					Connector: hands, Clock: l.clock,
					Works:  func(_ *testing.T, task connector.Task) bool { return l.may(gives, task) },
					Plant:  func(_ *testing.T, task connector.Task) { l.plant(gives, task) },
					Writes: func(_ *testing.T, task connector.Task) int { return l.writes(task) },
					ByHand: func(_ *testing.T, task connector.Task) connector.Item {
						login := l.person(task.Holder)
						l.execute(l.admin, `GRANT `+task.Entitlement+` TO `+login)
						return connector.Item{Principal: login, Entitlement: task.Entitlement}
					},
				}
			})
		})
	}
}
