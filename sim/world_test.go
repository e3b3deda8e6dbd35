package sim

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/sqlstore"
)

// world is a house on a database file, served by two engines, with a target whose
// record outlives them.
type world struct {
	t      testing.TB
	ctx    context.Context
	clock  *clock
	rng    *rand.Rand
	random *seeded
	target *fakeTarget
	master keys.Master
	// folder holds the database files; each crash leaves one and goes on with another.
	folder string
	path   string
	opened int
	store  *sqlstore.Store
	houses []*house.House
	faults faults
	bites  bites
	files  organisation
	// alone starts one replica that nobody shares the database with.
	alone bool
	// crashes counts how often it was stopped and started again.
	crashes int
}

// clock is the time of the bubble, moved by what the test has stepped it back.
type clock struct {
	offset time.Duration
	real   func() time.Time
}

func (c *clock) Now() time.Time { return c.real().Add(c.offset) }

func (c *clock) instant() countersign.Instant { return countersign.InstantOf(c.Now()) }

// monday is a working day; a bubble begins at midnight of 2000-01-01.
var monday = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// seeded gives the house its random bytes out of the seed.
type seeded struct {
	lock   sync.Mutex
	source *rand.ChaCha8
}

func (s *seeded) Read(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.source.Read(p)
}

// newWorld founds a house. Its clock starts on monday, whatever real says then.
func newWorld(t testing.TB, seed uint64, alone bool, real func() time.Time) *world {
	var key [32]byte
	copy(key[:], fmt.Sprintf("seed %d", seed))
	w := &world{
		t: t, ctx: context.Background(), clock: &clock{real: real, offset: monday.Sub(real())},
		rng: rand.New(rand.NewPCG(seed, 1)), random: &seeded{source: rand.NewChaCha8(key)}, folder: folder(t), files: newOrganisation(), alone: alone, bites: bites{},
	}
	t.Cleanup(w.close)
	w.target = newTarget(w.clock)
	w.target.bites, w.faults.bites = w.bites, w.bites
	master, err := keys.Create(filepath.Join(w.folder, "master.key"), w.random)
	w.must(err)
	w.master = master
	w.path = filepath.Join(w.folder, "house-0.db")
	w.open()
	w.must(w.house(0).Desk.Found(w.ctx, desk.Genesis{Files: directory.Files{Name: "Test", Directory: w.files.directory(), Policies: w.files.policies()}, OperatingSystemUser: "test"}))
	return w
}

// folder is in memory where the machine has such a place: what is stopped here is a
// process and never the machine, so that waiting for a disk proves nothing.
func folder(t testing.TB) string {
	const memory = "/dev/shm"
	path, err := os.MkdirTemp(memory, "sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return path
}

// open starts both replicas over the database file, with empty memories.
func (w *world) open() {
	opened, err := sqlstore.OpenSQLite(w.ctx, w.path, sqlstore.Options{})
	w.must(err)
	w.store, w.houses = opened, nil
	replicas := []string{"a", "b"}
	if w.alone {
		replicas = replicas[:1]
	}
	for _, replica := range replicas {
		opened, err := house.Open(w.ctx, house.Options{
			Store: faultyStore{Store: w.store, faults: &w.faults}, Master: w.master, Clock: w.clock, Entropy: w.random, Replica: replica, Shared: !w.alone,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Issuer: "http://countersign.test",
			Connectors: connector.Set{"fake": w.target}, DeliverByClaim: true,
			ReconcileEvery: func(string) countersign.Seconds { return countersign.Minute },
		})
		w.must(err)
		w.houses = append(w.houses, opened)
	}
}

func (w *world) close() {
	if w.store != nil {
		w.must(w.store.Close())
		w.store = nil
	}
}

func (w *world) house(replica int) *house.House { return w.houses[replica] }

// crash throws all memory away. What goes on is a copy of the files as they stand
// at this moment, for closing a database writes to it.
func (w *world) crash() {
	w.crashes++
	w.faults.clear()
	w.opened++
	next := filepath.Join(w.folder, fmt.Sprintf("house-%d.db", w.opened))
	for _, side := range []string{"", "-wal"} {
		content, err := os.ReadFile(w.path + side)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		w.must(err)
		w.must(os.WriteFile(next+side, content, 0o600))
	}
	w.close()
	for _, side := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(w.path + side); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.must(err)
		}
	}
	w.path = next
	w.open()
}

// surviving runs something that may meet a fault point, and starts again after it.
func (w *world) surviving(run func() error) (err error, died bool) {
	defer func() {
		switch what := recover().(type) {
		case nil:
		case stopped:
			w.crash()
			died = true
		default:
			panic(what)
		}
	}()
	return run(), false
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// as makes the person the caller.
func (w *world) as(login string) desk.Caller {
	id, known := w.house(0).Desk.Resolve(login)
	if !known {
		w.t.Fatalf("there is no %s", login)
	}
	return desk.Caller{Identity: id, Issuer: "test", Strength: "test"}
}

// writers are the connections that write, by the path of their database, so that a
// disk can be made full: the limit belongs to the connection.
var writers struct {
	sync.Mutex
	of map[string]sqlite.ExecQuerierContext
}

func init() {
	writers.of = map[string]sqlite.ExecQuerierContext{}
	sqlite.RegisterConnectionHook(func(connection sqlite.ExecQuerierContext, source string) error {
		path, options, _ := strings.Cut(strings.TrimPrefix(source, "file://"), "?")
		if strings.Contains(options, "_txlock=immediate") {
			writers.Lock()
			writers.of[path] = connection
			writers.Unlock()
		}
		return nil
	})
}

// fillDisk leaves the database no page beyond those that it has; a page limit of 0
// gives it room again.
func (w *world) fillDisk(full bool) {
	writers.Lock()
	connection := writers.of[w.path]
	writers.Unlock()
	limit := int64(1<<32 - 2)
	if full {
		limit = 1 // no limit is below what is in use
	}
	_, err := connection.ExecContext(w.ctx, fmt.Sprintf("PRAGMA max_page_count = %d", limit), []driver.NamedValue{})
	w.must(err)
	w.faults.full = full
}
