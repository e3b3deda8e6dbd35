//go:build openbao

// These tests run against a real server, which COUNTERSIGN_TEST_OPENBAO_ADDR and
// COUNTERSIGN_TEST_OPENBAO_TOKEN (a root token) name, as bao server -dev starts one.
// They mount engines and write policies there, and leave them. Its database is a
// PostgreSQL of the test's own, so the server must be on this host.
package openbao_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/openbao"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// realLab is a connector on a real server, in one namespace of it.
type realLab struct {
	t                        *testing.T
	address, root, namespace string
	mount                    string
	database                 *url.URL
	admin                    *pgx.Conn
	clock                    realClock
	vault                    *vault.Vault
	mint                     *countersign.Mint
	hands                    *openbao.Connector
	options                  openbao.Options
}

func (l *realLab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// ask asks as an administrator, and returns the status and the answer.
func (l *realLab) ask(namespace, token, method, path string, question any) (int, map[string]any) {
	l.t.Helper()
	content, err := json.Marshal(question)
	l.ok(err)
	request, err := http.NewRequest(method, l.address+"/v1/"+path, bytes.NewReader(content))
	l.ok(err)
	request.Header.Set("X-Vault-Token", token)
	request.Header.Set("X-Vault-Namespace", namespace)
	response, err := http.DefaultClient.Do(request)
	l.ok(err)
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	l.ok(err)
	answer := map[string]any{}
	if len(content) > 0 {
		l.ok(json.Unmarshal(content, &answer))
	}
	return response.StatusCode, answer
}

func (l *realLab) set(path string, question any) map[string]any {
	l.t.Helper()
	code, answer := l.ask(l.namespace, l.root, http.MethodPost, path, question)
	if code >= 300 {
		l.t.Fatalf("%s: %d %v", path, code, answer)
	}
	return answer
}

func newRealLab(t *testing.T, gives openbao.Gives, namespace string) *realLab {
	t.Helper()
	l := &realLab{t: t, address: os.Getenv("COUNTERSIGN_TEST_OPENBAO_ADDR"), root: os.Getenv("COUNTERSIGN_TEST_OPENBAO_TOKEN"), namespace: namespace}
	if l.address == "" || l.root == "" {
		t.Fatal("name a server in COUNTERSIGN_TEST_OPENBAO_ADDR and its root token in COUNTERSIGN_TEST_OPENBAO_TOKEN")
	}
	if namespace != "" {
		l.namespace = ""
		l.set("sys/namespaces/"+namespace, map[string]any{})
		l.namespace = namespace
	}
	l.mount = "test-" + strings.ToLower(rand.Text())
	written := policies(t)
	for name, text := range written {
		l.set("sys/policies/acl/"+name+"-"+l.mount, map[string]any{"policy": strings.NewReplacer("database/", l.mount+"/", "/approle/", "/"+l.mount+"/", "create/countersign", "create/"+l.mount).Replace(text)})
	}
	held := "countersign-secret-ids-" + l.mount
	l.options = openbao.Options{Name: "bao", Gives: gives, Address: l.address, Namespace: namespace, Transport: &http.Transport{}, Clock: l.clock}
	if gives == openbao.Lease {
		held = "countersign-" + l.mount
		l.engine()
		l.options.TokenRole = l.mount
		l.set("auth/token/roles/"+l.mount, map[string]any{"orphan": true, "renewable": true, "token_type": "service", "allowed_policies": "countersign-leases-" + l.mount, "token_no_default_policy": true})
	} else {
		l.options.Residual = residual
		l.set("sys/auth/"+l.mount, map[string]any{"type": "approle"})
		l.set("auth/"+l.mount+"/role/reader", map[string]any{"token_max_ttl": "20m", "token_policies": "default"})
	}
	answer := l.set("auth/token/create-orphan", map[string]any{"policies": []string{held}, "no_default_policy": true, "period": "1h"})
	token := answer["auth"].(map[string]any)["client_token"].(string)
	l.options.Token = func() (countersign.Secret, error) { return countersign.NewSecret(token), nil }
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	l.ok(err)
	l.vault = vault.New(shelftest.New(vault.ShelfName), master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	l.options.Vault = l.vault
	l.hands, err = openbao.New(l.options)
	l.ok(err)
	var seed [32]byte
	_, err = rand.Read(seed[:])
	l.ok(err)
	l.mint = countersign.NewMint(seed, countersign.InstantOf(time.Now()))
	return l
}

// engine mounts the engine for databases over a PostgreSQL of the test's own.
func (l *realLab) engine() {
	l.t.Helper()
	database, err := url.Parse(pgtest.Database(l.t, nil))
	l.ok(err)
	l.database = database
	l.admin, err = pgx.Connect(l.t.Context(), database.String())
	l.ok(err)
	l.t.Cleanup(func() { l.admin.Close(context.Background()) })
	_, err = l.admin.Exec(l.t.Context(), `CREATE ROLE "`+l.mount+`" LOGIN CREATEROLE PASSWORD 'bao'`)
	l.ok(err)
	account := *database
	account.User = url.UserPassword("{{username}}", "{{password}}")
	l.set("sys/mounts/"+l.mount, map[string]any{"type": "database"})
	way, err := url.PathUnescape(account.String())
	l.ok(err)
	l.set(l.mount+"/config/pg", map[string]any{"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": way, "username": l.mount, "password": "bao"})
	for role, longest := range map[string]string{"reader": "3h", "hour": "1h"} {
		l.set(l.mount+"/roles/"+role, map[string]any{"db_name": "pg", "default_ttl": "1m", "max_ttl": longest, "creation_statements": []string{`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`}})
	}
}

func (l *realLab) task() connector.Task {
	task := connectortest.NewTask(l.mint, countersign.InstantOf(time.Now()), l.hands.Describe().Actions[0])
	task.Resource = l.mount
	return task
}

// login reads the secret, and returns what tries it.
func (l *realLab) login(task connector.Task) func() bool {
	l.t.Helper()
	secret, err := l.vault.Read(l.t.Context(), task.Holder, task.Credential)
	l.ok(err)
	var login map[string]string
	l.ok(json.Unmarshal([]byte(secret.Reveal()), &login))
	return func() bool {
		if l.options.Gives == openbao.SecretID {
			code, _ := l.ask(l.namespace, "", http.MethodPost, "auth/"+l.mount+"/login", login)
			return code == http.StatusOK
		}
		way := *l.database
		way.User = url.UserPassword(login["username"], login["password"])
		session, err := pgx.Connect(context.Background(), way.String())
		if err != nil {
			return false
		}
		session.Close(context.Background())
		return true
	}
}

func (l *realLab) gone(task connector.Task) {
	l.t.Helper()
	if reading, err := l.hands.VerifyGone(l.t.Context(), task); err != nil || reading.Present {
		l.t.Errorf("it is not gone: %+v, %v", reading, err)
	} else {
		l.t.Log(reading.How)
	}
}

// lost answers nothing to the first question that has the text, once it was carried out.
type lost struct {
	http.Transport
	text string
}

func (l *lost) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.Transport.RoundTrip(request)
	if err == nil && l.text != "" && strings.HasSuffix(request.URL.Path, l.text) {
		l.text = ""
		response.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return response, err
}

func TestOnARealServer(t *testing.T) {
	for _, gives := range []openbao.Gives{openbao.Lease, openbao.SecretID} {
		for _, namespace := range []string{"", "team-a"} {
			t.Run(string(gives)+" in "+namespace, func(t *testing.T) { newRealLab(t, gives, namespace).play() })
		}
	}
}

func (l *realLab) play() {
	ctx := l.t.Context()
	l.ok(l.hands.Check(ctx))
	task := l.task()
	plan, err := l.hands.Plan(ctx, task)
	l.ok(err)
	l.t.Log(plan.Effect)
	missing := task
	missing.Entitlement = "nobody"
	if _, err := l.hands.Plan(ctx, missing); err == nil || !strings.Contains(err.Error(), "has no role") {
		l.t.Errorf("a role that is not there: %v", err)
	}
	l.ok(l.hands.Apply(ctx, task))
	l.ok(l.hands.Apply(ctx, task))
	works := l.login(task)
	if !works() {
		l.t.Error("it does not work")
	}
	reading, err := l.hands.Verify(ctx, task)
	if err != nil || !reading.Present || reading.Until < task.Until.Add(-1) || reading.Until > task.Until.Add(5) {
		l.t.Errorf("it reads back as %+v, %v", reading, err)
	}
	l.t.Log(reading.How)
	other := task
	other.Holder = l.mint.Identity()
	if reading, err := l.hands.Verify(ctx, other); err != nil || reading.Present {
		l.t.Errorf("for another holder it reads back as %+v, %v", reading, err)
	}
	if l.options.Gives == openbao.Lease {
		l.unwilling(task, works)
		extended := task
		extended.Intent, extended.Until = l.mint.Intent(), task.Until.Add(countersign.Hour)
		l.ok(l.hands.Apply(ctx, extended))
		if reading, err := l.hands.Verify(ctx, extended); err != nil || !reading.Present || reading.Until < extended.Until.Add(-1) {
			l.t.Errorf("extended, it reads back as %+v, %v", reading, err)
		}
		hour := l.task()
		hour.Entitlement = "hour"
		l.ok(l.hands.Apply(ctx, hour))
		if reading, err := l.hands.Verify(ctx, hour); err != nil || !reading.Present || reading.Until < hour.Until.Add(-10) {
			l.t.Errorf("for as long as the role's max_ttl it reads back as %+v, %v", reading, err)
		}
		l.ok(l.hands.Revoke(ctx, hour))
		tooLong := l.task()
		tooLong.Until = tooLong.Until.Add(3 * countersign.Hour)
		if err := l.hands.Apply(ctx, tooLong); err == nil || !strings.Contains(err.Error(), "max_ttl") {
			l.t.Errorf("beyond the role's max_ttl: %v", err)
		}
	}
	l.ok(l.hands.Revoke(ctx, task))
	l.ok(l.hands.Revoke(ctx, task))
	if works() {
		l.t.Error("after its revoke it works")
	}
	l.gone(task)
	l.lostAnswers()
	if l.options.Gives == openbao.SecretID {
		task := l.task()
		l.ok(l.hands.Apply(ctx, task))
		code, answer := l.ask(l.namespace, l.root, http.MethodDelete, "auth/"+l.mount+"/role/reader", nil)
		if code >= 300 {
			l.t.Fatalf("removing the role: %d %v", code, answer)
		}
		l.gone(task)
		l.ok(l.hands.Revoke(ctx, task))
	}
}

// unwilling takes from the engine's account the right to sign in, so that nothing
// can be taken back.
func (l *realLab) unwilling(task connector.Task, works func() bool) {
	l.t.Helper()
	ctx := l.t.Context()
	for _, statement := range []string{`ALTER ROLE "` + l.mount + `" NOLOGIN`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '` + l.mount + `'`} {
		_, err := l.admin.Exec(ctx, statement)
		l.ok(err)
	}
	at, err := l.vault.PlaceOf(ctx, task.Credential)
	l.ok(err)
	var place struct{ Lease string }
	l.ok(json.Unmarshal([]byte(at), &place))
	code, answer := l.ask(l.namespace, l.root, http.MethodPost, "sys/leases/revoke/"+place.Lease, map[string]any{"sync": true})
	if code != http.StatusBadRequest {
		l.t.Errorf("a revoke that the engine cannot do is answered by %d %v", code, answer)
	}
	if reading, err := l.hands.VerifyGone(ctx, task); err != nil || !reading.Present || !works() {
		l.t.Errorf("while the account is there it reads back as %+v, %v", reading, err)
	}
	_, err = l.admin.Exec(ctx, `ALTER ROLE "`+l.mount+`" LOGIN`)
	l.ok(err)
}

// within polls until it is so.
func (l *realLab) within(most time.Duration, what string, so func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(most); !so(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("after %s it is not so: %s", most, what)
		}
		<-time.After(time.Second)
	}
}

// It takes the server its six tries, which are a quarter of an hour: go test -timeout 30m.
func TestALeaseThatARealServerGivesUpIsNotGone(t *testing.T) {
	l := newRealLab(t, openbao.Lease, "")
	task := l.task()
	task.Until = countersign.InstantOf(time.Now()).Add(5)
	l.ok(l.hands.Apply(t.Context(), task))
	works := l.login(task)
	_, err := l.admin.Exec(t.Context(), `ALTER ROLE "`+l.mount+`" NOLOGIN`)
	l.ok(err)
	_, err = l.admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1`, l.mount)
	l.ok(err)
	says := func(text string) func() bool {
		return func() bool {
			reading, err := l.hands.VerifyGone(t.Context(), task)
			if err != nil || !reading.Present {
				t.Fatalf("while the account is there it reads back as %+v, %v", reading, err)
			}
			return strings.Contains(reading.How, text)
		}
	}
	l.within(20*time.Second, "its revoke is queued", says("in a queue"))
	l.within(25*time.Minute, "it is irrevocable", says("irrevocable"))
	task.Deadline = countersign.InstantOf(time.Now()).Add(60)
	if err := l.hands.Revoke(t.Context(), task); err == nil || !strings.Contains(err.Error(), "could not take the lease back") {
		t.Errorf("revoking it is answered by %v", err)
	}
	if reading, err := l.hands.VerifyGone(t.Context(), task); err == nil {
		t.Log(reading.How)
	}
	_, err = l.admin.Exec(t.Context(), `ALTER ROLE "`+l.mount+`" LOGIN`)
	l.ok(err)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
	if works() {
		t.Error("it works still")
	}
}

func (l *realLab) lostAnswers() {
	l.t.Helper()
	ctx := l.t.Context()
	for _, text := range []string{"/creds/reader", "/secret-id"} {
		cut := &lost{text: text}
		options := l.options
		options.Transport = cut
		hands, err := openbao.New(options)
		l.ok(err)
		for _, again := range []bool{true, false} {
			task := l.task()
			cut.text = text
			err := hands.Apply(ctx, task)
			if cut.text != "" {
				break // not asked by this kind
			}
			if err == nil {
				l.t.Error("an apply whose answer was lost is success")
			}
			if again {
				l.ok(hands.Apply(ctx, task))
				if !l.login(task)() {
					l.t.Error("at the next try it does not work")
				}
			}
			l.ok(hands.Revoke(ctx, task))
			l.gone(task)
		}
	}
}
