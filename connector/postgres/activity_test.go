package postgres_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/store/pgtest"
)

// logged is a server of the test's own, which logs connections and statements in
// both forms that are read, in a time zone that is not UTC.
type logged struct{ database, folder string }

func (s logged) lab(t *testing.T, gives postgres.Gives) *lab { return newLabOn(t, gives, s.database) }

func (s logged) files(ending string) string { return filepath.Join(s.folder, "*"+ending) }

func newLogged(t *testing.T) logged {
	t.Helper()
	server := pgtest.OwnServer(t)
	made := logged{database: server.Database(nil)}
	before := made.lab(t, postgres.Login)
	for _, setting := range []string{
		"logging_collector = on", "log_destination = 'jsonlog,csvlog'", "log_connections = on", "log_disconnections = on", "log_statement = 'all'", "log_timezone = 'Europe/Berlin'",
	} {
		before.execute(before.admin, "ALTER SYSTEM SET "+setting)
	}
	if err := before.admin.QueryRow(t.Context(), `SELECT current_setting('data_directory') || '/log'`).Scan(&made.folder); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	return made
}

// reading is a connector that reads a log.
func (l *lab) reading(gives postgres.Gives, log string) *postgres.Connector {
	l.t.Helper()
	options := l.connector(gives, l.accountURL()).Options
	options.Log = log
	hands, err := postgres.New(options)
	if err != nil {
		l.t.Fatal(err)
	}
	return hands
}

// advance moves the clock to the server's time.
func (l *lab) advance() { l.clock.Advance(time.Since(l.clock.Now())) }

// ended applies the task, lets the login do something, and revokes.
func (l *lab) ended(gives postgres.Gives, statements ...string) (connector.Task, connector.Use) {
	l.t.Helper()
	l.advance()
	task := l.task()
	task.Action = l.hands.Describe().Actions[0]
	of := connector.Use{Credential: task.Credential, Holder: task.Holder, From: l.clock.Instant()}
	login, password := string(task.Credential), ""
	if gives == postgres.Membership {
		login, password = l.person(task.Holder), "own"
	}
	if err := l.hands.Apply(l.t.Context(), task); err != nil {
		l.t.Fatal(err)
	}
	if gives == postgres.Login {
		password = l.password(task)
	}
	conn, err := l.signIn(login, password)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, statement := range statements {
		// What is refused is done, too.
		_, _ = conn.Exec(l.t.Context(), statement)
	}
	conn.Close(l.t.Context())
	if err := l.hands.Revoke(l.t.Context(), task); err != nil {
		l.t.Fatal(err)
	}
	l.advance()
	of.To = l.clock.Instant()
	return task, of
}

// acts are what the connector tells, and why it tells no more.
func (l *lab) acts(hands *postgres.Connector, of connector.Use) ([]string, error) {
	l.t.Helper()
	l.advance()
	var acts []string
	_, err := hands.Activity(l.t.Context(), of, func(act connector.Act) error {
		if act.At < of.From.Add(-2) || act.At > of.To.Add(2) {
			l.t.Errorf("%s was done at %s, and the access lasted from %s to %s", act.What, act.At, of.From, of.To)
		}
		acts = append(acts, act.What)
		return nil
	})
	return acts, err
}

func has(acts []string, parts ...string) bool {
	return slices.ContainsFunc(acts, func(act string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(act, part) })
	})
}

func TestTheLogOfARealServer(t *testing.T) {
	server := newLogged(t)
	t.Run("tells what a login did, and nothing of any other", server.tellsOfALogin)
	t.Run("tells what a person's login did while a membership lasted", server.tellsOfAMembership)
	t.Run("tells nothing where it is not all there, or another server's", server.tellsNothing)
}

func (s logged) tellsOfALogin(t *testing.T) {
	l := s.lab(t, postgres.Login)
	forged := "SELECT 1 /*\n{\"timestamp\":\"2026-01-01 00:00:00.000 CET\",\"user\":\"postgres\"}\n2026-01-01 00:00:00.000 CET,\"forged */"
	_, of := l.ended(postgres.Login, "SELECT count(*) FROM invoice", "DELETE FROM invoice", forged)
	_, other := l.ended(postgres.Login, "SELECT 'of the other'")
	if _, err := l.signIn(string(other.Credential), "guessed"); err == nil {
		t.Fatal("a dropped role signs in")
	}
	for _, ending := range []string{".json", ".csv"} {
		hands := l.reading(postgres.Login, s.files(ending))
		acts, err := l.acts(hands, of)
		if err != nil {
			t.Fatalf("%s: %v", ending, err)
		}
		for _, parts := range [][]string{
			{"connection authorized"}, {"statement: SELECT count(*) FROM invoice"}, {"ERROR: permission denied for table invoice", "at: DELETE FROM invoice"}, {"forged */"}, {"disconnection"},
		} {
			if !has(acts, parts...) {
				t.Errorf("%s tells nothing of %q: %q", ending, parts, acts)
			}
		}
		if has(acts, "of the other") || has(acts, string(other.Credential)) || has(acts, "ROLE", string(of.Credential)) {
			t.Errorf("%s tells of another credential: %q", ending, acts)
		}
		used, err := hands.LastUsed(t.Context(), of.Credential)
		if err != nil || used < of.From.Add(-2) || used > of.To.Add(2) {
			t.Errorf("%s: the last use was %s, %v; the access lasted from %s to %s", ending, used, err, of.From, of.To)
		}
		// Of what never signed in, it may have been used before the log began.
		if used, err := hands.LastUsed(t.Context(), l.mint.Credential()); err != nil || used > of.From {
			t.Errorf("%s: what was never used was used at %s, %v", ending, used, err)
		}
		if used, since, err := hands.LoggedUse(t.Context(), l.mint.Credential()); err != nil || used != 0 || since == 0 || since > of.From {
			t.Errorf("%s: of what was never used the log tells %s, from %s on, %v", ending, used, since, err)
		}
	}
}

func (s logged) tellsNothing(t *testing.T) {
	l := s.lab(t, postgres.Login)
	_, of := l.ended(postgres.Login, "SELECT 1")
	// Another server's: it has no line of this connection.
	elsewhere := filepath.Join(t.TempDir(), "log.json")
	written, err := filepath.Glob(s.files(".json"))
	if err != nil || len(written) == 0 {
		t.Fatalf("the server writes %v, %v", written, err)
	}
	text, err := os.ReadFile(written[0])
	if err != nil {
		t.Fatal(err)
	}
	beginning := text[:strings.IndexByte(string(text), '\n')+1]
	if err := os.WriteFile(elsewhere, beginning, 0o600); err != nil {
		t.Fatal(err)
	}
	hands := l.reading(postgres.Login, elsewhere)
	if acts, err := l.acts(hands, of); countersign.ReasonOf(err) != "log-too-old" {
		t.Errorf("of another server it tells %q, %v", acts, err)
	}
	if _, err := hands.LastUsed(t.Context(), of.Credential); countersign.ReasonOf(err) != "log-too-old" {
		t.Errorf("of another server the last use is known: %v", err)
	}
	// Asked for a time before the server began to log.
	of.From = of.From.Add(-countersign.Day)
	if acts, err := l.acts(l.reading(postgres.Login, s.files(".json")), of); countersign.ReasonOf(err) != "log-too-young" || len(acts) == 0 {
		t.Errorf("of a log that begins later it tells %q, %v", acts, err)
	}
	if _, err := l.acts(l.hands, of); countersign.ReasonOf(err) != "use-not-known" {
		t.Errorf("without a log the answer is %v", err)
	}
	l.execute(l.admin, "ALTER SYSTEM SET log_connections = off")
	l.execute(l.admin, "SELECT pg_reload_conf()")
	if _, err := l.acts(l.reading(postgres.Login, s.files(".json")), of); countersign.ReasonOf(err) != "log-not-readable" {
		t.Errorf("while the server logs no connections the answer is %v", err)
	}
	for _, name := range []string{"/var/log/postgresql.log", "log.json"} {
		options := l.hands.Options
		options.Log = name
		var wrong *countersign.Error
		if _, err := postgres.New(options); !errors.As(err, &wrong) || wrong.Reason != "malformed-log-files" {
			t.Errorf("the log %s is answered with %v", name, err)
		}
	}
}

func (s logged) tellsOfAMembership(t *testing.T) {
	l := s.lab(t, postgres.Membership)
	_, before := l.ended(postgres.Membership, "SELECT 'of somebody else'")
	_, of := l.ended(postgres.Membership, "SELECT count(*) FROM invoice")
	hands := l.reading(postgres.Membership, s.files(".json"))
	acts, err := l.acts(hands, of)
	if err != nil || !has(acts, "statement: SELECT count(*) FROM invoice") || has(acts, "of somebody else") {
		t.Errorf("it tells %q, %v", acts, err)
	}
	after := of
	after.From, after.To = before.From, before.To
	l.advance()
	if acts, err := l.acts(hands, after); err != nil || len(acts) != 0 {
		t.Errorf("of the time before it tells %q, %v", acts, err)
	}
	if _, err := hands.LastUsed(t.Context(), of.Credential); countersign.ReasonOf(err) != "use-not-known" {
		t.Errorf("the last use of a membership is known: %v", err)
	}
}
