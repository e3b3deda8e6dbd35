package redis_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/connector/redis/redistest"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

const account, accountPassword = redistest.Account, redistest.AccountPassword

// settings are those of the system: what each right is on the server.
var settings = map[string]string{
	"acl.invoices/reader": "+@read ~orders:*", "acl.invoices/auditor": "+@read ~audit:*",
	"acl.invoices/writer": "%R~orders:* ~cart:* &orders +@read +@write +publish -@admin",
	"acl.invoices/admin":  "+@read +client ~orders:*", "acl.invoices/typo": "+gett ~orders:*", "acl.invoices/all": "+@all ~*",
}

// lab is a connector on a real server in a folder of its own.
type lab struct {
	*redistest.Server
	t     testing.TB
	line  *connectortest.Line
	hands *redis.Connector
	vault *vault.Vault
	clock *connectortest.Clock
	mint  *countersign.Mint
	read  map[countersign.CredentialID]string
}

func newLab(t testing.TB, persistence redis.Persistence) *lab {
	t.Helper()
	l := &lab{t: t, Server: redistest.New(t, persistence == redis.ACLFile), clock: connectortest.NewClock(), read: map[countersign.CredentialID]string{}}
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	l.line = connectortest.NewLine(t, "unix", l.Socket)
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.vault = vault.New(shelftest.New(vault.ShelfName), master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	l.hands = l.connector(persistence)
	return l
}

func (l *lab) connector(persistence redis.Persistence) *redis.Connector {
	l.t.Helper()
	way := url.URL{Scheme: "redis", User: url.UserPassword(account, accountPassword), Host: l.line.Address()}
	made, err := redis.New(redis.Options{Name: "cache", URL: countersign.NewSecret(way.String()), Persistence: persistence, Vault: l.vault, Clock: l.clock, Random: rand.Reader})
	if err != nil {
		l.t.Fatal(err)
	}
	return made
}

func (l *lab) signIn(task connector.Task) *goredis.Client {
	if _, known := l.read[task.Credential]; !known {
		if secret, err := l.vault.Read(context.Background(), task.Holder, task.Credential); err == nil {
			l.read[task.Credential] = secret.Reveal()
		}
	}
	session := l.Open(string(task.Credential), cmp.Or(l.read[task.Credential], "unknown"))
	l.t.Cleanup(func() { session.Close() })
	return session
}

// may signs in and reads what the entitlement is for, and only that.
func (l *lab) may(task connector.Task) bool {
	l.t.Helper()
	session := l.signIn(task)
	reads := func(key string) bool { return session.Get(context.Background(), key).Err() == nil }
	if task.Entitlement == "auditor" {
		return reads("audit:1") && !reads("orders:1")
	}
	if !reads("orders:1") {
		return false
	}
	for _, err := range []error{session.Get(context.Background(), "audit:1").Err(), session.Set(context.Background(), "orders:1", "two", 0).Err(), session.Do(context.Background(), "acl", "list").Err()} {
		if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			l.t.Errorf("out of scope the answer is %v", err)
		}
	}
	return true
}

func (l *lab) execute(arguments ...any) {
	l.t.Helper()
	l.ok(l.Admin.Do(context.Background(), arguments...).Err())
}

func (l *lab) plant(task connector.Task) {
	l.t.Helper()
	l.read[task.Credential] = "planted"
	arguments := []any{"acl", "setuser", string(task.Credential), "reset", "on", ">planted"}
	for _, rule := range strings.Fields(settings["acl.invoices/"+task.Entitlement]) {
		arguments = append(arguments, rule)
	}
	l.execute(arguments...)
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) fails(err error, kind connector.FailureKind, says string) {
	l.t.Helper()
	connectortest.Fails(l.t, err, kind, says, accountPassword)
}

func (l *lab) task() connector.Task {
	task := connectortest.NewTask(l.mint, l.clock.Instant(), "create-login")
	task.Settings = settings
	return task
}

// set is a connector whose systems all have the settings.
type set struct{ *redis.Connector }

func (s set) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	task.Settings = settings
	return s.Connector.Plan(ctx, task)
}

func (s set) Apply(ctx context.Context, task connector.Task) error {
	task.Settings = settings
	return s.Connector.Apply(ctx, task)
}

func (s set) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	task.Settings = settings
	return s.Connector.Verify(ctx, task)
}

func (s set) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	of.Settings = settings
	return s.Connector.List(ctx, of, found)
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		l := newLab(t, redis.ACLFile)
		return &connectortest.Bench{
			Connector: set{l.hands}, Clock: l.clock,
			Works: func(_ *testing.T, task connector.Task) bool { return l.may(task) },
			Plant: func(_ *testing.T, task connector.Task) { l.plant(task) },
			Writes: func(_ *testing.T, task connector.Task) int {
				return l.line.Asked("\r\nsetuser\r\n", string(task.Credential))
			},
		}
	})
}
