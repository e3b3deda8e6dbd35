package openbao_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/openbao"
	"github.com/countersign/countersign/connector/openbao/openbaotest"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

const (
	token     = "s.hands-of-the-house"
	tokenRole = "countersign"
	residual  = 20 * countersign.Minute
)

// lab is a connector on a fake server.
type lab struct {
	t       testing.TB
	server  *openbaotest.Server
	line    *connectortest.Line
	options openbao.Options
	hands   *openbao.Connector
	vault   *vault.Vault
	clock   *connectortest.Clock
	mint    *countersign.Mint
	read    map[countersign.CredentialID]string
}

// policies are those of the page about connectors, by name.
func policies(t testing.TB) map[string]string {
	t.Helper()
	content, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```hcl\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		found[block[1]] = block[2]
	}
	return found
}

func newLab(t testing.TB, gives openbao.Gives) *lab {
	t.Helper()
	l := &lab{t: t, clock: connectortest.NewClock(), read: map[countersign.CredentialID]string{}}
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	l.server = openbaotest.New(t, l.clock)
	l.line = connectortest.NewLine(t, "tcp", l.server.Address())
	written := policies(t)
	for _, name := range []string{"countersign", "countersign-leases", "countersign-secret-ids"} {
		// The page mounts its engine at database, and the suite elsewhere.
		text := written[name]
		for _, mount := range []string{"invoices", "ledger"} {
			text += strings.NewReplacer("database/", mount+"/", "/approle/", "/"+mount+"/").Replace(written[name])
		}
		l.server.SetPolicy(t, name, text)
	}
	l.server.SetTokenRole(tokenRole, "countersign-leases")
	l.server.AddToken(openbaotest.Token{ID: token, Policies: []string{map[openbao.Gives]string{openbao.Lease: "countersign", openbao.SecretID: "countersign-secret-ids"}[gives]}, Period: time.Hour, Renewable: true})
	for _, mount := range []string{"invoices", "ledger"} {
		for _, role := range []string{"reader", "auditor", "admin"} {
			l.server.SetRole(mount, role, openbaotest.Role{Default: 30 * time.Minute, Longest: 24 * time.Hour})
			l.server.SetAppRole(mount, role, openbaotest.AppRole{ID: "role-id-of-" + mount + "-" + role, TokenMaxTTL: residual.Duration()})
		}
	}
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.vault = vault.New(shelftest.New(vault.ShelfName), master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	// One connection for each question, so that a line that is cut costs one answer.
	transport := &http.Transport{DisableKeepAlives: true}
	l.options = openbao.Options{
		Name: "bao", Gives: gives, Address: "http://" + l.line.Address(), Transport: transport, Vault: l.vault, Clock: l.clock,
		Token: func() (countersign.Secret, error) { return countersign.NewSecret(token), nil },
	}
	if gives == openbao.Lease {
		l.options.TokenRole = tokenRole
	} else {
		l.options.Residual = residual
	}
	l.hands, err = openbao.New(l.options)
	l.ok(err)
	return l
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) fails(err error, kind connector.FailureKind, says string) {
	l.t.Helper()
	connectortest.Fails(l.t, err, kind, says, token)
}

func (l *lab) task() connector.Task {
	return connectortest.NewTask(l.mint, l.clock.Instant(), l.hands.Describe().Actions[0])
}

// works reads the secret as its holder, once, and signs in with it.
func (l *lab) works(task connector.Task) bool {
	l.t.Helper()
	if _, known := l.read[task.Credential]; !known {
		if secret, err := l.vault.Read(l.t.Context(), task.Holder, task.Credential); err == nil {
			l.read[task.Credential] = secret.Reveal()
		}
	}
	var login struct{ Username, Password, RoleID, SecretID string }
	text := strings.NewReplacer("role_id", "roleid", "secret_id", "secretid").Replace(l.read[task.Credential])
	if text == "" || json.Unmarshal([]byte(text), &login) != nil {
		return false
	}
	if l.options.Gives == openbao.SecretID {
		return l.server.SignIn(task.Resource, task.Entitlement, login.RoleID, login.SecretID)
	}
	return l.server.Login(task.Resource, task.Entitlement, login.Username, login.Password)
}

// gone wants the read-back, the server and the credential's user to agree.
func (l *lab) gone(task connector.Task) {
	l.t.Helper()
	reading, err := l.hands.VerifyGone(l.t.Context(), task)
	if err != nil || reading.Present || l.works(task) {
		l.t.Errorf("it is not gone: %+v, %v", reading, err)
	}
	if left := l.server.Tokens(tokenRole); len(left) > 0 {
		l.t.Errorf("the tokens %v are left", left)
	}
	if left := l.server.Leases(); len(left) > 0 {
		l.t.Errorf("the leases %v are left", left)
	}
}

// there wants it to be there, and says what the read-back says.
func (l *lab) there(task connector.Task, says string) {
	l.t.Helper()
	if reading, err := l.hands.VerifyGone(l.t.Context(), task); err != nil || !reading.Present || !strings.Contains(reading.How, says) {
		l.t.Errorf("it reads back as gone, or does not say %q: %+v, %v", says, reading, err)
	}
}

// later is the task with a new time to be done in.
func (l *lab) later(task connector.Task) connector.Task {
	task.Deadline = l.clock.Instant().Add(countersign.Minute)
	return task
}

func TestConformance(t *testing.T) {
	for _, gives := range []openbao.Gives{openbao.Lease, openbao.SecretID} {
		t.Run(string(gives), func(t *testing.T) {
			connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
				l := newLab(t, gives)
				return &connectortest.Bench{
					Connector: l.hands, Clock: l.clock, CannotList: true,
					Works: func(_ *testing.T, task connector.Task) bool { return l.works(task) },
					Plant: func(_ *testing.T, task connector.Task) { l.ok(l.hands.Apply(t.Context(), task)) },
					Writes: func(_ *testing.T, task connector.Task) int {
						return l.server.Given(string(task.Credential))
					},
				}
			})
		})
	}
}
