package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheConnectorsOfTheConfigurationAreCheckedBeforeAnythingIsOpened(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.url", "postgres://hands:s3cret-word@db.example/orders\n", 0o600)
	open := write("open.url", "postgres://hands:s3cret-word@db.example/orders\n", 0o644)
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		t.Fatal(err)
	}
	key := write("account.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	bad := write("bad.url", "postgres://hands:s3cret-word@db.example:port/orders\n", 0o600)
	signed, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, made.Public(), made)
	if err != nil {
		t.Fatal(err)
	}
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})), 0o644)
	const subtrees = "people: 'ou=people,dc=x', groups: 'ou=groups,dc=x', marks: 'ou=countersign,dc=x', holder_attribute: employeeNumber"
	for _, c := range []struct{ text, says string }{
		{"connectors: {orders-pg: {kind: postgres, url_file: " + good + "}}", ""},
		{"connectors: {orders-pg: {kind: postgres, gives: login, url_file: " + good + "}}", ""},
		{"connectors:\n  orders-pg: {kind: postgers}", "line 2: a connector has a kind, one of acme, exec, ldap, openbao, pki, postgres, redis, scim, webhook"},
		{"connectors:\n  orders-pg: {kind: postgres, url: x}", "line 2: the connector of the kind postgres: field url not found"},
		{"connectors: {orders-pg: {kind: postgres, log: /var/log/postgresql/*.json, url_file: " + good + "}}", ""},
		{"connectors: {orders-pg: {kind: postgres, log: /var/log/postgresql.log, url_file: " + good + "}}", "end in .json or .csv"},
		{"ssh_log: {files: /var/log/auth.log*, zone: Europe/Berlin}", ""},
		{"ssh_log: {files: auth.log}", "absolute path"},
		{"ssh_log: {files: /var/log/auth.log, zone: Berlin}", "ssh_log.zone"},
		{"ssh_log: {zone: UTC}", "ssh_log.files is missing"},
		{"connectors: {orders-pg: {kind: postgres, gives: all, url_file: " + good + "}}", "membership or login"},
		{"connectors: {orders-pg: {kind: postgres}}", "connectors.orders-pg.url_file is missing"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + folder + "/nowhere}}", "cannot be read"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + open + "}}", "chmod 600"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + bad + "}}", "not one of a PostgreSQL server"},
		{"connectors: {cache: {kind: redis, url_file: " + write("cache.url", "rediss://hands:s3cret-word@cache.example:6379\n", 0o600) + "}}", ""},
		{"connectors: {cache: {kind: redis, persistence: none, url_file: " + write("socket.url", "unix://hands:s3cret-word@/run/redis/redis.sock\n", 0o600) + "}}", ""},
		{"connectors: {cache: {kind: redis, persistence: disk, url_file: " + good + "}}", "aclfile or none"},
		{"connectors: {cache: {kind: redis, url_file: " + good + "}}", "not one of a user on a Redis server"},
		{"connectors: {cache: {kind: redis, url_file: " + write("clear.url", "redis://hands:s3cret-word@cache.example:6379\n", 0o600) + "}}", "rediss://"},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", ""},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', ca_file: " + ca + ", " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", ""},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', ca_file: " + good + ", " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", "holds no certificate"},
		{"connectors: {groups: {kind: ldap, url: 'ldap://127.0.0.1', ca_file: " + ca + ", " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", "ca_file goes with ldaps://"},
		{"connectors: {cache: {kind: redis, ca_file: " + ca + ", url_file: " + write("cache-ca.url", "rediss://hands:s3cret-word@cache.example:6379\n", 0o600) + "}}", ""},
		{"connectors: {cache: {kind: redis, ca_file: " + ca + ", url_file: " + write("local.url", "redis://hands:s3cret-word@127.0.0.1:6379\n", 0o600) + "}}", "no certificate to judge"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', ca_file: " + ca + ", token_file: " + good + "}}", ""},
		{"connectors: {groups: {kind: ldap, url: 'ldapi:///run/slapd/ldapi', " + subtrees + "}}", ""},
		{"connectors: {groups: {kind: ldap, url: 'ldap://ldap.example', start_tls: true, " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", ""},
		{"connectors: {groups: {kind: ldap, url: 'ldap://ldap.example', " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + good + "}}", "start_tls: true"},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', " + subtrees + "}}", "bind_dn is missing"},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', " + subtrees + ", bind_dn: 'cn=hands,dc=x', password_file: " + open + "}}", "chmod 600"},
		{"connectors: {groups: {kind: ldap, url: 'ldaps://ldap.example', people: nowhere, bind_dn: 'cn=hands,dc=x', holder_attribute: uid, password_file: " + good + "}}", "people is the DN"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', token_file: " + good + "}}", ""},
		{"connectors: {apps: {kind: scim, url: 'http://apps.example/scim/v2', token_file: " + good + "}}", "https://"},
		{"connectors: {apps: {kind: scim, url: 'https://hands:s3cret-word@apps.example', token_file: " + good + "}}", "without a user"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2'}}", "connectors.apps.token_file is missing"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', token_file: " + open + "}}", "chmod 600"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', token_file: " + write("two.token", "s3cret-word and more\n", 0o600) + "}}", "no bearer token"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', ca_file: " + good + ", token_file: " + good + "}}", "holds no certificate"},
		{"connectors: {apps: {kind: scim, url: 'https://apps.example/scim/v2', holder_attribute: 'a b', token_file: " + good + "}}", "holder_attribute"},
		{"connectors: {edge: {kind: pki, probe: '{name}:443'}}", ""},
		{"connectors: {edge: {kind: pki, probe: nowhere}}", "is not host:port"},
		{"connectors: {edge: {kind: pki, deploy: {command: [/bin/cat]}}}", "must be seen where it is used"},
		{"connectors: {edge: {kind: pki, deploy: {command: [cat]}, probe: '{name}:443'}}", "connectors/edge/deploy/command/0"},
		{"connectors: {ssh: {kind: pki}}", "built in"},
		{"connectors: {public: {kind: acme, directory: 'https://acme.example/dir', account_key_file: " + key + "}}", ""},
		{"connectors: {public: {kind: acme, directory: 'http://acme.example/dir', account_key_file: " + key + "}}", "https address"},
		{"connectors: {public: {kind: acme, directory: 'https://acme.example/dir', account_key_file: " + good + "}}", "holds no private key"},
		{"connectors: {public: {kind: acme, directory: 'https://acme.example/dir', account_key_file: " + key + ", contact: [pki@example.org]}}", "mailto:"},
		{"connectors: {vault: {kind: postgres, url_file: " + good + "}}", "built in"},
		{"connectors: {Orders.PG: {kind: postgres, url_file: " + good + "}}", "not the name of a connector"},
		{"connectors: {orders-pg: }", "has no value"},
	} {
		path := write("countersign.yaml", c.text+"\n", 0o600)
		code, out, problems := run(t, "", "config", "check", path)
		if strings.Contains(out+problems, "s3cret-word") {
			t.Errorf("%s: the password stands in %q", c.text, problems)
		}
		if want := map[bool]int{true: 0, false: 2}[c.says == ""]; code != want || !strings.Contains(problems, c.says) {
			t.Errorf("%s: exit code %d: %s%s", c.text, code, out, problems)
		}
	}
}

// The example of docs/connectors.md, as somebody would configure it.
func TestAConfiguredProgramIsAskedWhatItSaysOfItself(t *testing.T) {
	found, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the example needs python3: %v", err)
		}
		t.Skipf("the example needs python3: %v", err)
	}
	example, err := filepath.Abs("../docs/examples/accounts.py")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	check := func(describe string) (int, string) {
		path := filepath.Join(folder, "countersign.yaml")
		text := "connectors:\n  accounts:\n    kind: exec\n    command: [" + strings.TrimSpace(string(found)) + ", -I, " + example + ", " + filepath.Join(folder, "accounts.json") + "]\n    describe: " + describe + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, problems := run(t, "", "config", "check", path)
		return code, out + problems
	}
	const right = "{actions: [open-account], kind: role, rotates: true, extends: true, enforces_expiry_itself: true, ends_sessions: true, expiry_granularity: 1, idempotent_revoke: true, tells_last_use: true, tells_inventory: true}"
	if code, says := check(right); code != 0 {
		t.Errorf("exit code %d: %s", code, says)
	}
	if code, says := check(strings.Replace(right, "ends_sessions: true", "ends_sessions: false", 1)); code == 0 || !strings.Contains(says, "ends_sessions") {
		t.Errorf("a difference gives the exit code %d: %s", code, says)
	}
	if code, says := check(strings.Replace(right, "actions", "action", 1)); code != 2 || !strings.Contains(says, "action") {
		t.Errorf("a misspelt key gives the exit code %d: %s", code, says)
	}
}
