package sqlstore

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
)

func TestEveryEarlierPostgresSchemaMigratesStepByStep(t *testing.T) {
	all := versions(t, goose.DialectPostgres)
	for i, from := range all {
		url := pgtest.Database(t, nil)
		if _, err := OpenPostgres(background, url, Options{}); countersign.ReasonOf(err) != "schema-older" {
			t.Fatalf("an empty database: got the error %v", err)
		}
		for _, version := range all[i:] {
			if err := migratePostgres(background, url, upTo(t, goose.DialectPostgres, version)); err != nil {
				t.Fatalf("from %d to %d: %v", from, version, err)
			}
		}
		opened(t)(OpenPostgres(background, url, Options{})).Close()
		if err := migratePostgres(background, url, upTo(t, goose.DialectPostgres, all[len(all)-1]+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPostgres(background, url, Options{}); countersign.ReasonOf(err) != "schema-newer" {
			t.Fatalf("a later schema: got the error %v", err)
		}
		if err := Migrate(background, url); countersign.ReasonOf(err) != "schema-newer" {
			t.Fatalf("migrating a later schema: got the error %v", err)
		}
	}
}

func TestTwoMigrationsAtOnceTakeTurns(t *testing.T) {
	url := pgtest.Database(t, nil)
	errs := make([]error, 3)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = Migrate(background, url) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// postgresStore opens a store on a new database, and a bare connection to it.
func postgresStore(t *testing.T) (*Store, string) {
	t.Helper()
	url := pgtest.Database(t, func(url string) error { return Migrate(background, url) })
	s := opened(t)(OpenPostgres(background, url, Options{}))
	t.Cleanup(func() { s.Close() })
	return s, url
}

// begin starts a transaction by hand.
func begin(t *testing.T, url string) pgx.Tx {
	t.Helper()
	conn, err := pgx.Connect(background, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(background) })
	tx, err := conn.Begin(background)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func execute(t *testing.T, tx pgx.Tx, query string, args ...any) {
	t.Helper()
	if _, err := tx.Exec(background, query, args...); err != nil {
		t.Fatal(err)
	}
}

const putByHand = `INSERT INTO shelf_item (shelf, key, ref, version, ends_at, body, deleted, position) VALUES ('vault', $1, '', 1, 0, '', false, countersign_position('vault'))`

func TestAFollowerMissesNothingWhenTransactionsCommitOutOfOrder(t *testing.T) {
	s, url := postgresStore(t)
	vault := s.Shelf("vault")
	follow := func(after int64, want ...string) int64 {
		t.Helper()
		items, next, err := vault.Changes(background, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, item := range items {
			got = append(got, item.Key)
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
		return next
	}
	early, late := begin(t, url), begin(t, url)
	execute(t, early, putByHand, "early")
	execute(t, late, putByHand, "late")
	execute(t, late, putByHand, "late too")
	if err := late.Commit(background); err != nil {
		t.Fatal(err)
	}
	// The later one is there, but a follower that took it would go past the
	// earlier one for ever.
	position := follow(0)
	if position != 0 {
		t.Fatalf("the follower moved to %d", position)
	}
	if _, err := vault.Item(background, "late"); err != nil {
		t.Fatal(err)
	}
	if err := early.Commit(background); err != nil {
		t.Fatal(err)
	}
	position = follow(0, "early", "late", "late too")
	follow(position)
}

func TestShelvesCanBeFollowedAfterARestoreIntoANewCluster(t *testing.T) {
	s, url := postgresStore(t)
	vault := s.Shelf("vault")
	for _, key := range []string{"a", "b", "c"} {
		if err := vault.Commit(background, store.ShelfChange{Puts: []store.Item{{Key: key, Version: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	// A dump carries positions that the new cluster has not reached.
	tamper(t, s, `UPDATE shelf_item SET position = position + (1::bigint << 50)`)
	restored := opened(t)(OpenPostgres(background, url, Options{}))
	defer restored.Close()
	vault = restored.Shelf("vault")
	if err := vault.Commit(background, store.ShelfChange{Puts: []store.Item{{Key: "a", Version: 2}}}); err != nil {
		t.Fatal(err)
	}
	items, _, err := vault.Changes(background, 0, 10)
	if err != nil || len(items) != 3 || items[0].Key != "b" || items[1].Key != "c" || items[2].Key != "a" {
		t.Fatalf("got %v, %v", items, err)
	}
}

func TestALostConnectionIsUnavailableAndTheStoreRecovers(t *testing.T) {
	s, url := postgresStore(t)
	// The commit waits for the lock that we hold, and is cut off there.
	holder := begin(t, url)
	locks, _ := guardLocks([]store.Guard{{Key: "k"}})
	execute(t, holder, `SELECT pg_advisory_xact_lock($1)`, locks[0])
	result := make(chan error)
	go func() {
		result <- s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Next: 1}}})
	}()
	for cut := false; !cut; {
		err := holder.QueryRow(background, `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&cut)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; countersign.KindOf(err) != countersign.Unavailable {
		t.Fatalf("got the error %v", err)
	}
	if err := holder.Rollback(background); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Next: 1}}}); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

func TestADatabaseThatLosesCommitsIsRefused(t *testing.T) {
	s, url := postgresStore(t)
	tamper(t, s, `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$`)
	if _, err := OpenPostgres(background, url, Options{}); countersign.ReasonOf(err) != "commits-not-durable" {
		t.Fatalf("got the error %v", err)
	}
}

func TestAMalformedURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"postgres://a:sesame@host:port/db", "nonsense sesame"} {
		for _, err := range []error{func() error { _, err := OpenPostgres(background, url, Options{}); return err }(), Migrate(background, url)} {
			if countersign.KindOf(err) != countersign.Invalid || strings.Contains(err.Error(), "sesame") {
				t.Errorf("got the error %v", err)
			}
		}
	}
}

func TestWhatTheDatabaseCannotKeepFailsByItself(t *testing.T) {
	s, _ := postgresStore(t)
	var batch []*waiter[transaction]
	// A zero byte is part of no text there.
	for _, trouble := range []string{"timeout", "\x00", "refused"} {
		tx, err := planChange(store.Change{Work: []store.WorkWrite{{Work: store.Work{Key: "work " + trouble, Kind: store.NoticeWork, Trouble: trouble}, Attempt: store.AnyAttempt}}})
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, &waiter[transaction]{tx, make(chan verdict, 2)})
	}
	s.database.(*postgres).commit(slices.Clone(batch))
	for i, w := range batch {
		err := (<-w.told).err
		if bad := i == 1; bad != (countersign.ReasonOf(err) == "database-fault") || !bad && err != nil {
			t.Errorf("%d was told %v", i, err)
		}
	}
	for _, key := range []string{"work timeout", "work refused"} {
		if _, err := s.Work(background, key); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEmptyTextIsReadTogetherAsOne(t *testing.T) {
	s, _ := postgresStore(t)
	text, found := "not read", false
	err := s.database.ask(background, []question{{query: `SELECT ''::text`, visit: func(row row) error {
		found = true
		return row.Scan(&text)
	}}})
	if err != nil || !found || text != "" {
		t.Errorf("read %q, %v", text, err)
	}
}
