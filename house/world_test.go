package house_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/sqlstore"
)

// world is a whole house on a real database, with a clock that the test moves
// and an engine that runs only when the test says so.
type world struct {
	t      testing.TB
	ctx    context.Context
	clock  *movedClock
	target *noop.Connector
	house  *house.House
	// database can be opened again, as after a restart.
	database database
	master   keys.Master
	// databaseClock is what the database says the time is; nil for a database
	// without a clock.
	databaseClock func() countersign.Instant
	// between happens before the next commit.
	between atomic.Pointer[func()]
	// commits counts transactions that write.
	commits atomic.Int64
	// channels are how people are told, from the next start on.
	channels []notify.Channel
	// connectors opens what stands in for built-in connectors; nil for nothing.
	connectors func(house.Targets) (connector.Set, error)
	// directory is the organisation's file as it was applied last.
	directory string
}

type movedClock struct {
	lock sync.Mutex
	now  time.Time
}

func (c *movedClock) Now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.now
}

func (c *movedClock) move(by time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.now = c.now.Add(by)
}

// interruptedStore lets something happen between a judgement and its commit.
type interruptedStore struct {
	store.Store
	between *atomic.Pointer[func()]
}

// Commit lets happen first what the test wants to happen before it, once.
func (s interruptedStore) Commit(ctx context.Context, change store.Change) error {
	if happen := s.between.Swap(nil); happen != nil {
		(*happen)()
	}
	return s.Store.Commit(ctx, change)
}

// movedStore hides the database's own clock, which the test does not move, or
// shows the one that the test gives it.
type movedStore struct {
	store.Store
	world *world
}

func (s movedStore) Clock(context.Context) (countersign.Instant, error) {
	if s.world.databaseClock == nil {
		return 0, nil
	}
	return s.world.databaseClock(), nil
}

// monday is a working day, in the calendar of the test organisation too.
var monday = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// directoryFile is the organisation that the scenarios play in.
const directoryFile = `
people:
  - {login: ana, name: Ana Asker, email: ana@test.example, manager: max}
  - {login: max, name: Max Manager, email: max@test.example, manager: bea}
  - {login: bea, name: Bea Boss, email: bea@test.example}
  - {login: olga, name: Olga Owner, email: olga@test.example, manager: max}
  - {login: otto, name: Otto Other, email: otto@test.example, manager: bea}
  - {login: syd, name: Syd Security, email: syd@test.example, manager: bea}
  - {login: sam, name: Sam Security, email: sam@test.example, manager: bea}
  - {login: sue, name: Sue Security, email: sue@test.example, manager: bea}
  - {login: pia, name: Pia Platform, email: pia@test.example, manager: bea}
  - {login: pit, name: Pit Platform, email: pit@test.example, manager: bea}
  - {login: both, name: Bo Both, email: both@test.example, manager: bea}
  - {login: adam, name: Adam Admin, email: adam@test.example, manager: bea}
  - {login: alma, name: Alma Admin, email: alma@test.example, manager: bea}
  - {login: aud, name: Aud Auditor, email: aud@test.example, manager: bea}
  - {login: aura, name: Aura Auditor, email: aura@test.example, manager: bea}
  - {login: cora, name: Cora Contractor, email: cora@test.example, manager: max, affiliation: contractor, sponsor: otto, contract_end: 2026-11-20}
  - {login: oda, name: Oda Operator, email: oda@test.example, manager: bea}
  - {login: odo, name: Odo Operator, email: odo@test.example, manager: bea}
  - {login: nomad, name: Nomad Nomanager, email: nomad@test.example}
services:
  - {login: svc, name: Service A, owner: olga, purpose: "sends the invoices of the month", record: SR-1, environment: prod, last_confirmed: 2026-10-01}
  - {login: svc-b, name: Service B, owner: olga, purpose: "prints the invoices of the month", record: SR-1, environment: staging, last_confirmed: 2026-10-01}
  - {login: svc-ana, name: Service of Ana, owner: ana, purpose: "does what Ana says it should do", record: SR-2, environment: prod, last_confirmed: 2026-10-01}
agents:
  - {login: agent, name: Agent Smith, owner: ana, sponsor: max, purpose: "answers questions of customers", record: SR-2, environment: prod, last_confirmed: 2026-10-01}
groups:
  - {name: security, members: [syd], groups: [security-eu]}
  - {name: security-eu, members: [sam], groups: [security-eu-north]}
  - {name: security-eu-north, members: [sue]}
  - {name: platform-leads, members: [pia, pit, both]}
  - {name: reviewers, members: [both, pia]}
  - {name: nobody, members: []}
systems:
  - name: countersign
    title: Countersign itself
    owner: bea
    environment: prod
    risk: high
    connector: role
    resources:
      - {name: house, title: The house, entitlements: [{name: administrator, kind: role}, {name: auditor, kind: role}, {name: operator, kind: role}]}
  - name: ledger
    title: Ledger
    owner: otto
    second_owner: pit
    environment: prod
    risk: medium
    connector: noop
    resources:
      - name: books
        title: Books
        entitlements:
          - {name: read, kind: credential}
          - {name: write, kind: credential, risk: high}
          - {name: brief, kind: credential, max_duration: 2d}
      - {name: vaults, title: Vaults, risk: high, entitlements: [{name: read, kind: credential}]}
  - name: keys
    title: Keys
    owner: otto
    environment: prod
    risk: low
    connector: vault
    resources: [{name: api, title: Interface, entitlements: [{name: call, kind: credential}]}]
  - name: wiki
    title: Wiki
    owner: otto
    environment: prod
    risk: low
    connector: role
    resources: [{name: space, title: Space, entitlements: [{name: editor, kind: role}, {name: editor-on-call, kind: role, eligible_for: editor}]}]
records:
  - {key: SR-1, title: Invoicing, owner: olga, environment: prod, scopes: [read, write]}
  - {key: SR-2, title: Asking, owner: ana, environment: prod, scopes: [read]}
powers:
  administrator: [adam, alma]
  auditor: [aud, aura]
  operator: [oda, odo]
`

// policyFor writes a request type over the no-op target with the given stages;
// more is further keys.
func policyFor(stages, more string) string {
	return `
request: access
title: Access to the ledger
grants: {system: ledger, kind: credential}
beneficiary: [person, service, workload, agent]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 5}
stages:
` + indent(stages) + `
fulfil: [noop.apply]
grant: {ends: revoke}
close: {when: [gone]}
` + more
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// managerStage is the plainest policy.
const managerStage = `- {name: manager, approvers: [manager-of(requester)], within: 2 business days}`

// database is where a test's house is kept.
type database struct {
	open func() store.Store
	// harm changes it behind the house's back and returns how many rows that met.
	harm     func(query string) (rows int64, err error)
	postgres bool
	// statements counts what is sent to the database, statement by statement.
	statements *statements
}

// statements counts by text.
type statements struct {
	lock  sync.Mutex
	texts map[string]int
}

func (s *statements) tell(query string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.texts[query]++
}

// taken returns what was counted, and begins anew.
func (s *statements) taken() map[string]int {
	s.lock.Lock()
	defer s.lock.Unlock()
	texts := s.texts
	s.texts = map[string]int{}
	return texts
}

// everyDatabase runs the test on SQLite and on PostgreSQL.
func everyDatabase(t *testing.T, run func(t *testing.T, open database)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, onSQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		run(t, onPostgres(t))
	})
}

// onSQLite is for tests that are about no race.
func onSQLite(t testing.TB) database {
	path, sent := filepath.Join(t.TempDir(), "house.db"), &statements{texts: map[string]int{}}
	return database{
		statements: sent,
		open: func() store.Store {
			opened, err := sqlstore.OpenSQLite(context.Background(), path, sqlstore.Options{Statement: sent.tell})
			if err != nil {
				t.Fatal(err)
			}
			return opened
		},
		harm: func(query string) (int64, error) {
			file, err := sql.Open("sqlite", path)
			if err != nil {
				return 0, err
			}
			defer file.Close()
			result, err := file.Exec(query)
			if err != nil {
				return 0, err
			}
			return result.RowsAffected()
		},
	}
}

func onPostgres(t testing.TB) database {
	url := pgtest.Database(t, func(url string) error { return sqlstore.Migrate(context.Background(), url) })
	sent := &statements{texts: map[string]int{}}
	return database{
		postgres: true, statements: sent,
		open: func() store.Store {
			opened, err := sqlstore.OpenPostgres(context.Background(), url, sqlstore.Options{Statement: sent.tell})
			if err != nil {
				t.Fatal(err)
			}
			return opened
		},
		harm: func(query string) (int64, error) {
			connection, err := pgx.Connect(context.Background(), url)
			if err != nil {
				return 0, err
			}
			defer connection.Close(context.Background())
			result, err := connection.Exec(context.Background(), query)
			return result.RowsAffected(), err
		},
	}
}

// found opens a new house with the test organisation and the given policies.
func found(t testing.TB, open database, policies ...string) *world {
	t.Helper()
	w := empty(t, open)
	if err := w.found(policies...); err != nil {
		t.Fatal(err)
	}
	w.settle()
	return w
}

// empty opens a database that is no house yet.
func empty(t testing.TB, open database) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), clock: &movedClock{now: monday}, database: open, directory: directoryFile}
	w.target = noop.New(w.clock, countersign.CredentialKind)
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.master = master
	w.start()
	t.Cleanup(func() { w.house.Store.Close() })
	return w
}

// found makes the database the test organisation's house.
func (w *world) found(policies ...string) error {
	files := directory.Files{Name: "Test", Directory: w.files()}
	for i, text := range policies {
		files.Policies = append(files.Policies, directory.File{Path: fmt.Sprintf("policies/%d.yaml", i), Bytes: []byte(text)})
	}
	return w.house.Desk.Found(w.ctx, desk.Genesis{Files: files, OperatingSystemUser: "test"})
}

func (w *world) files() []directory.File {
	return []directory.File{{Path: "directory/all.yaml", Bytes: []byte(w.directory)}}
}

// before lets something happen between the next command's judgement and its
// commit.
func (w *world) before(happen func()) { w.between.Store(&happen) }

// edit changes the organisation's file: each old text is replaced by the new one
// that follows it.
func (w *world) edit(oldNew ...string) {
	w.t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if strings.Count(w.directory, oldNew[i]) != 1 {
			w.t.Fatalf("the directory file has %q %d times", oldNew[i], strings.Count(w.directory, oldNew[i]))
		}
		w.directory = strings.Replace(w.directory, oldNew[i], oldNew[i+1], 1)
	}
}

// apply edits the organisation's file and applies it as an administrator; all of
// it must be applied.
func (w *world) apply(oldNew ...string) {
	w.t.Helper()
	w.edit(oldNew...)
	applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	if len(applied.Refused.Changes) != 0 || len(applied.Applied.Changes) == 0 {
		w.t.Fatalf("the change was not applied: %+v", applied)
	}
}

// race lets all run at the same instant and returns what each answered.
func race(runs ...func() error) []error {
	var ready, done sync.WaitGroup
	start, answers := make(chan struct{}), make([]error, len(runs))
	for i, run := range runs {
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			ready.Done()
			<-start
			answers[i] = run()
		}()
	}
	ready.Wait()
	close(start)
	done.Wait()
	return answers
}

// start opens the house anew over the same database, as after a restart: all
// memory is thrown away, the target stays as it is.
func (w *world) start() {
	w.t.Helper()
	opened, err := house.Open(w.ctx, house.Options{
		Store: movedStore{interruptedStore{countedStore{w.database.open(), &w.commits}, &w.between}, w}, Master: w.master, Clock: w.clock, Entropy: rand.Reader, Replica: "test",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Issuer: "http://countersign.test",
		Connectors: connector.Set{"noop": w.target}, DeliverByClaim: true, Channels: w.channels, TicketCredentials: ticketCredentials, OpenConnectors: w.connectors,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.house = opened
}

func (w *world) restart() {
	w.t.Helper()
	w.house.Store.Close()
	w.start()
}

// settle runs the engine's steps until nothing is due.
func (w *world) settle() {
	w.t.Helper()
	for range 100 {
		if err := w.house.Engine.Beat(w.ctx); err != nil {
			w.t.Fatal(err)
		}
		w.must(w.house.Engine.Sweep(w.ctx))
		timers, err := w.house.Engine.Timers(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		works, err := w.house.Engine.Claim(w.ctx, 50)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, work := range works {
			if err := w.house.Engine.Deliver(w.ctx, work); err != nil {
				w.t.Fatal(err)
			}
		}
		batches, err := w.house.Engine.Batches(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		identities, err := w.house.Engine.Identities(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		if timers+len(works)+batches+identities == 0 {
			return
		}
	}
	w.t.Fatal("the engine never comes to rest")
}

// move moves the clock, and nothing is done yet but to follow the database.
func (w *world) move(by time.Duration) {
	w.t.Helper()
	w.clock.move(by)
	w.must(w.house.Engine.Beat(w.ctx))
}

// pass moves the clock and lets the engine do what is due then.
func (w *world) pass(by time.Duration) {
	w.t.Helper()
	w.clock.move(by)
	w.settle()
}

func (w *world) as(login string) desk.Caller {
	w.t.Helper()
	id, known := w.house.Desk.Resolve(login)
	if !known {
		w.t.Fatalf("there is no %s", login)
	}
	return desk.Caller{Identity: id, Issuer: "test", Strength: "test"}
}

// powerful reports whether somebody holds a power of the desk.
func (w *world) powerful(login, power string) bool {
	w.t.Helper()
	held, err := w.house.Desk.HoldsPower(w.as(login).Identity, power)
	w.must(err)
	return held
}

// asking is the plainest one: read access to the books.
func asking() desk.Asking {
	return desk.Asking{Beneficiary: "ana", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"}
}

func (w *world) submit(who string, asking desk.Asking) countersign.RequestID {
	w.t.Helper()
	id, err := w.house.Desk.Submit(w.ctx, w.as(who), desk.Key{}, asking)
	if err != nil {
		w.t.Fatalf("%s submits: %v", who, err)
	}
	return id
}

// shown is what a decider would be shown now.
func (w *world) shown(id countersign.RequestID) countersign.Digest {
	w.t.Helper()
	return w.view(id).Shown
}

// view reads the request as an auditor does.
func (w *world) view(id countersign.RequestID) *desk.RequestView {
	w.t.Helper()
	view, err := w.house.Desk.Request(w.ctx, w.as("aud"), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return view
}

func (w *world) approve(who string, id countersign.RequestID) error { return w.approval(who, id)() }

func (w *world) deny(who string, id countersign.RequestID) error { return w.denial(who, id)() }

// approval prepares an approval on what is shown now, to be sent later.
func (w *world) approval(who string, id countersign.RequestID) func() error {
	caller, decision := w.as(who), desk.Decision{Shown: w.shown(id)}
	return func() error { return w.house.Desk.Approve(w.ctx, caller, desk.Key{}, id, decision) }
}

func (w *world) denial(who string, id countersign.RequestID) func() error {
	caller, decision := w.as(who), desk.Decision{Shown: w.shown(id), Reason: "not now"}
	return func() error { return w.house.Desk.Deny(w.ctx, caller, desk.Key{}, id, decision) }
}

// cancellation and revocation prepare those commands.
func (w *world) cancellation(who string, id countersign.RequestID) func() error {
	caller := w.as(who)
	return func() error { return w.house.Desk.Cancel(w.ctx, caller, desk.Key{}, id, "not needed any more") }
}

func (w *world) revocation(who string, id countersign.GrantID) func() error {
	caller := w.as(who)
	return func() error { return w.house.Desk.Revoke(w.ctx, caller, desk.Key{}, id, "not needed any more") }
}

// holds reports whether the target lets any credential of the request through.
func (w *world) holds(id countersign.RequestID) bool {
	w.t.Helper()
	for _, grant := range w.view(id).Grants {
		for _, credential := range grant.Credentials {
			if w.target.Holds(credential.ID) {
				return true
			}
		}
	}
	return false
}

// tells checks that the request's history says the text.
func (w *world) tells(id countersign.RequestID, text string) {
	w.t.Helper()
	entries, err := w.house.Desk.Timeline(w.ctx, w.as("aud"), id)
	w.must(err)
	var all []string
	for _, entry := range entries {
		if strings.Contains(entry.Text, text) {
			return
		}
		all = append(all, entry.Text)
	}
	w.t.Fatalf("the history does not tell %q: %s", text, strings.Join(all, " | "))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused checks that the error has the reason, and a sentence.
func (w *world) refused(err error, reason string) {
	w.t.Helper()
	if countersign.ReasonOf(err) != reason {
		w.t.Fatalf("the answer is %v (%q), want the reason %q", err, countersign.ReasonOf(err), reason)
	}
	if len(err.Error()) < 10 {
		w.t.Fatalf("%q is no sentence", err)
	}
}

func (w *world) state(id countersign.RequestID, want countersign.RequestState) *desk.RequestView {
	w.t.Helper()
	view := w.view(id)
	if view.State != want {
		w.t.Fatalf("the request is %s (%s), want %s", view.State, view.Outcome, want)
	}
	return view
}

// grant returns the only grant of a request.
func (w *world) grant(id countersign.RequestID) desk.GrantView {
	w.t.Helper()
	view := w.view(id)
	if len(view.Grants) != 1 {
		w.t.Fatalf("the request has %d grants", len(view.Grants))
	}
	return view.Grants[0]
}

// verified checks the whole record: chains, and rows replayed from events.
func (w *world) verified() {
	w.t.Helper()
	found, err := desk.Verify(w.ctx, w.house.Store, func(int64) {})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, finding := range found.Findings {
		w.t.Errorf("the record: %s", finding)
	}
	if found.Rows == 0 || found.Events == 0 {
		w.t.Error("the record is empty")
	}
}

// harm changes the database behind the house's back.
func (w *world) harm(query string) {
	w.t.Helper()
	rows, err := w.database.harm(query)
	if err != nil || rows == 0 && !strings.HasPrefix(query, "CREATE") {
		w.t.Fatalf("%s: %d rows, %v", query, rows, err)
	}
}
