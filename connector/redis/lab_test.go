package redis_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

const account, accountPassword = "hands", "hands-of-the-house"

// settings are those of the system: what each right is on the server.
var settings = map[string]string{
	"acl.invoices/reader": "+@read ~orders:*", "acl.invoices/auditor": "+@read ~audit:*",
	"acl.invoices/writer": "%R~orders:* ~cart:* &orders +@read +@write +publish -@admin",
	"acl.invoices/admin":  "+@read +client ~orders:*", "acl.invoices/typo": "+gett ~orders:*", "acl.invoices/all": "+@all ~*",
}

// lab is a connector on a real server in a folder of its own.
type lab struct {
	t      testing.TB
	folder string
	server *exec.Cmd
	admin  *goredis.Client
	line   *connectortest.Line
	hands  *redis.Connector
	vault  *vault.Vault
	clock  *connectortest.Clock
	mint   *countersign.Mint
	read   map[countersign.CredentialID]string
}

func program(t testing.TB) string {
	t.Helper()
	found, err := exec.LookPath("redis-server")
	if err == nil {
		return found
	}
	const missing = "redis-server is missing: scripts/install-test-tools installs it (Debian: apt-get install redis-server)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

func newLab(t testing.TB, persistence redis.Persistence) *lab {
	t.Helper()
	// A name that fits into the address of a socket.
	folder, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	l := &lab{t: t, folder: folder, clock: connectortest.NewClock(), read: map[countersign.CredentialID]string{}}
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	users := "user default off\nuser root on >root ~* &* +@all\nuser " + account + " on >" + accountPassword +
		" +acl|getuser +acl|setuser +acl|deluser +acl|users +acl|save +acl|cat +acl|dryrun +command|info\n"
	config := "port 0\nunixsocket " + l.socket() + "\nsave \"\"\ndir " + folder + "\n"
	if persistence == redis.ACLFile {
		config += "aclfile " + filepath.Join(folder, "users.acl") + "\n"
		l.write("users.acl", users)
	} else {
		config += users
	}
	l.write("redis.conf", config)
	l.start()
	t.Cleanup(l.stop)
	l.line = connectortest.NewLine(t, "unix", l.socket())
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.vault = vault.New(shelftest.New(vault.ShelfName), master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	l.hands = l.connector(persistence)
	return l
}

func (l *lab) socket() string { return filepath.Join(l.folder, "s") }

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.folder, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
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

// start returns when the server answers its administrator.
func (l *lab) start() {
	l.t.Helper()
	os.Remove(l.socket())
	l.server = exec.Command(program(l.t), filepath.Join(l.folder, "redis.conf"))
	if err := l.server.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.admin = l.open("root", "root", 200)
	if err := l.admin.Ping(context.Background()).Err(); err != nil {
		l.t.Fatalf("redis-server did not start: %v", err)
	}
	for _, key := range []string{"orders:1", "audit:1"} {
		l.ok(l.admin.Set(context.Background(), key, "one", 0).Err())
	}
}

func (l *lab) stop() {
	l.admin.Close()
	// It has nothing to lose that is not in its files.
	_ = l.server.Process.Kill()
	_ = l.server.Wait()
}

// open is one connection, that tries so often.
func (l *lab) open(user, password string, tries int) *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Network: "unix", Addr: l.socket(), Username: user, Password: password, PoolSize: 1, MaxRetries: tries,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 50 * time.Millisecond, DisableIdentity: true,
	})
}

func (l *lab) signIn(task connector.Task) *goredis.Client {
	if _, known := l.read[task.Credential]; !known {
		if secret, err := l.vault.Read(context.Background(), task.Holder, task.Credential); err == nil {
			l.read[task.Credential] = secret.Reveal()
		}
	}
	session := l.open(string(task.Credential), cmp.Or(l.read[task.Credential], "unknown"), -1)
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
	l.ok(l.admin.Do(context.Background(), arguments...).Err())
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
	var failure *connector.Failure
	if !errors.As(err, &failure) || failure.Kind != kind || !strings.Contains(err.Error(), says) {
		l.t.Errorf("got %v, want %s that says %q", err, kind, says)
	}
	if err != nil && strings.Contains(err.Error(), accountPassword) {
		l.t.Errorf("the account's password stands in %v", err)
	}
}

func (l *lab) task() connector.Task {
	now := l.clock.Instant()
	return connector.Task{
		Intent: l.mint.Intent(), Attempt: 1, Credential: l.mint.Credential(), Grant: l.mint.Grant(), Action: "create-login",
		Holder: l.mint.Identity(), HolderName: "Alex Kim", System: l.mint.System(), SystemName: "billing", Resource: "invoices", Settings: settings,
		Entitlement: "reader", EntitlementID: l.mint.Entitlement(), Until: now.Add(countersign.Hour), Deadline: now.Add(countersign.Minute),
	}
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
