package bench

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	exechands "github.com/countersign/countersign/connector/exec"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/connector/webhook"
	"github.com/countersign/countersign/connector/wire"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/servers"
	"github.com/countersign/countersign/store/pgtest"
)

// targetsOfLag are all targets that can be had; one that is not installed is skipped
// by name when it is opened.
func targetsOfLag() []lagging {
	groups := &lagGroups{}
	return []lagging{
		{name: "noop", kind: countersign.CredentialKind, action: "apply", resource: "r", right: "e", open: func(*testing.T, house.Targets) connector.Connector {
			return noop.New(wallClock{}, countersign.CredentialKind)
		}},
		{name: "role", kind: countersign.RoleKind, action: "assign", resource: "r", right: "e"},
		{name: "vault", kind: countersign.CredentialKind, action: "issue-key", resource: "r", right: "e"},
		{name: "registry", kind: countersign.CredentialKind, action: "create-account", resource: "r", right: "e", machines: true},
		{name: "pki", kind: countersign.CredentialKind, action: "issue", resource: "r", right: "lag.bench.example", ask: csr},
		{name: "ssh", kind: countersign.CredentialKind, action: "certify", resource: "r", right: "e", ask: publicKey},
		{name: "postgres", kind: countersign.CredentialKind, action: "create-login", resource: "lag", right: "reader", open: lagPostgres},
		{name: "redis", kind: countersign.CredentialKind, action: "create-login", resource: "r", right: "reader", settings: `acl.r/reader: "+@read ~orders:*"`, open: lagRedis},
		{name: "ldap", kind: countersign.RoleKind, action: "add-member", resource: "r", right: "reader", open: groups.open, meet: groups.meet},
		{name: "exec", kind: countersign.RoleKind, action: "open-account", resource: "r", right: "reader", open: lagExec},
		{name: "webhook", kind: countersign.RoleKind, action: "apply", resource: "r", right: "e", open: lagWebhook},
	}
}

func lagPostgres(t *testing.T, targets house.Targets) connector.Connector {
	t.Helper()
	// A server of its own, because roles belong to a whole server.
	server, err := url.Parse(pgtest.OwnServer(t).Database(nil))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	for _, statement := range []string{
		"CREATE DATABASE lag", "CREATE ROLE reader", "CREATE ROLE hands LOGIN CREATEROLE PASSWORD 'of-the-house'", "GRANT pg_signal_backend TO hands", "GRANT reader TO hands WITH ADMIN OPTION",
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	server.Path, server.User = "/lag", url.UserPassword("hands", "of-the-house")
	made, err := postgres.New(postgres.Options{Name: "postgres", Gives: postgres.Login, URL: countersign.NewSecret(server.String()), Vault: targets.Vault, Clock: wallClock{}, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func lagRedis(t *testing.T, targets house.Targets) connector.Connector {
	t.Helper()
	started, err := servers.StartRedis(servers.RedisConfig{
		Users: "user hands on >of-the-house +acl|getuser +acl|setuser +acl|deluser +acl|users +acl|save +acl|cat +acl|dryrun +command|info\n", Keeps: true,
	})
	server := connectortest.Started(t, started, err)
	account := url.URL{Scheme: "unix", User: url.UserPassword("hands", "of-the-house"), Path: server.Socket}
	made, err := redis.New(redis.Options{Name: "redis", URL: countersign.NewSecret(account.String()), Persistence: redis.ACLFile, Vault: targets.Vault, Clock: wallClock{}, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// lagGroups is an LDAP server with an entry for each holder.
type lagGroups struct{ server *servers.Slapd }

func (g *lagGroups) open(t *testing.T, targets house.Targets) connector.Connector {
	t.Helper()
	const suffix, bind = "dc=bench,dc=example", "cn=hands,dc=bench,dc=example"
	started, err := servers.StartSlapd(servers.SlapdConfig{Suffix: suffix, Access: fmt.Sprintf("access to * by dn.exact=%q write by users read", bind)})
	g.server = connectortest.Started(t, started, err)
	for _, entry := range [][]string{
		{suffix, "organization", "dc", "bench", "o", "Bench", "objectClass", "dcObject"},
		{"ou=people," + suffix, "organizationalUnit"}, {"ou=groups," + suffix, "organizationalUnit"}, {"ou=marks," + suffix, "organizationalUnit"}, {"ou=r,ou=groups," + suffix, "organizationalUnit"},
		{bind, "person", "sn", "Hands", "userPassword", "of-the-house"}, {"cn=reader,ou=r,ou=groups," + suffix, "groupOfNames", "member", bind},
	} {
		if err := g.server.Add(entry[0], entry[1], entry[2:]...); err != nil {
			t.Fatal(err)
		}
	}
	made, err := ldap.New(ldap.Options{
		Name: "ldap", URL: "ldapi://" + g.server.Socket, BindDN: bind, Password: countersign.NewSecret("of-the-house"), People: "ou=people," + suffix, Groups: "ou=groups," + suffix,
		Marks: "ou=marks," + suffix, HolderAttribute: "employeeNumber", MemberAttribute: "member", Vault: targets.Vault, Clock: wallClock{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (g *lagGroups) meet(t *testing.T, i int, holder countersign.IdentityID) {
	t.Helper()
	if err := g.server.Add(fmt.Sprintf("uid=p%d,ou=people,%s", i, g.server.Suffix), "inetOrgPerson", "cn", "Person", "sn", "Person", "employeeNumber", string(holder)); err != nil {
		t.Fatal(err)
	}
}

// lagExec starts the worked example, one process for each operation.
func lagExec(t *testing.T, _ house.Targets) connector.Connector {
	t.Helper()
	interpreter, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Skipf("the example needs python3: %v", err)
	}
	example, err := filepath.Abs("../docs/examples/accounts.py")
	if err != nil {
		t.Fatal(err)
	}
	made, err := exechands.New("exec", exechands.Settings{
		Program:  exechands.Program{Command: []string{strings.TrimSpace(string(interpreter)), "-I", example, filepath.Join(t.TempDir(), "accounts.json")}},
		Describe: wire.Description{Actions: []string{"open-account"}, Kind: countersign.RoleKind, EnforcesExpiryItself: true, EndsSessions: true},
	}, wallClock{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// lagWebhook posts to a receiver that keeps what it was told in memory.
func lagWebhook(t *testing.T, _ house.Targets) connector.Connector {
	t.Helper()
	type task struct {
		Credential                  string
		Holder, System, Entitlement struct{ ID, Name string }
		Resource                    string
		Until                       string
	}
	var lock sync.Mutex
	held := map[string]task{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			Operation string
			Task      task
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		lock.Lock()
		defer lock.Unlock()
		asked := question.Task
		answer := map[string]any{"protocol": 1, "answer": "done"}
		switch question.Operation {
		case "plan":
			answer["answer"], answer["effect"] = "plan", "an entry in a map"
		case "apply":
			held[asked.Credential] = asked
		case "revoke":
			delete(held, asked.Credential)
		case "verify", "verify-gone":
			found, there := held[asked.Credential]
			answer["answer"], answer["present"], answer["how"] = "reading", there, "the map has "+asked.Credential
			if there {
				answer["holder"], answer["system"], answer["resource"], answer["entitlement"] = found.Holder.ID, found.System.Name, found.Resource, found.Entitlement.Name
				answer["until"], answer["reference"] = found.Until, asked.Credential
			}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	made, err := webhook.New("webhook", webhook.Settings{
		URL: server.URL, Describe: wire.Description{Actions: []string{"apply"}, Kind: countersign.RoleKind, EnforcesExpiryItself: true, EndsSessions: true},
	}, countersign.NewSecret("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), nil, wallClock{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}
