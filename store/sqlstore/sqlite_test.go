package sqlstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// upTo returns the migrations up to a version, and one made up beyond them
// where the version lies there.
func upTo(t *testing.T, dialect goose.Dialect, version int64) fs.FS {
	t.Helper()
	all := migrationsOf(dialect)
	names, err := fs.Glob(all, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names {
		number, err := goose.NumericComponent(name)
		if err != nil {
			t.Fatal(err)
		}
		if number > version {
			continue
		}
		text, err := fs.ReadFile(all, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	newest, err := newestVersion(all)
	if err != nil {
		t.Fatal(err)
	}
	for number := newest + 1; number <= version; number++ {
		files[fmt.Sprintf("%05d_later.sql", number)] = &fstest.MapFile{Data: fmt.Appendf(nil, "-- +goose Up\nCREATE TABLE later_%d (id TEXT);\n", number)}
	}
	return files
}

// versions are the schemas that there were, in order; numbers can be missing.
func versions(t *testing.T, dialect goose.Dialect) []int64 {
	t.Helper()
	all := migrationsOf(dialect)
	names, err := fs.Glob(all, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int64
	for _, name := range names {
		number, err := goose.NumericComponent(name)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers
}

func newest(t *testing.T, dialect goose.Dialect) int64 {
	t.Helper()
	version, err := newestVersion(migrationsOf(dialect))
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestEveryEarlierSQLiteSchemaMigratesItselfStepByStep(t *testing.T) {
	known := versions(t, goose.DialectSQLite3)
	for i, from := range known {
		path := filepath.Join(t.TempDir(), "house.db")
		for _, version := range known[i:] {
			s := opened(t)(openSQLite(background, path, Options{}, upTo(t, goose.DialectSQLite3, version)))
			if found, err := s.SchemaVersion(background); err != nil || found != version {
				t.Fatalf("from %d: got schema %d (%v), want %d", from, found, err, version)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		opened(t)(OpenSQLite(background, path, Options{})).Close()
	}
}

func TestSQLiteIsCopiedBeforeItsMigration(t *testing.T) {
	known := newest(t, goose.DialectSQLite3)
	path := filepath.Join(t.TempDir(), "house.db")
	grant := &countersign.Grant{ID: "grt_1", Version: 1, Holder: "idn_a", Entitlement: "ent_a"}
	s := opened(t)(OpenSQLite(background, path, Options{}))
	if err := s.Commit(background, store.Change{Writes: []store.Write{{Row: grant}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if backups, _ := filepath.Glob(path + ".*backup*"); len(backups) != 0 {
		t.Fatalf("a new database was copied: %v", backups)
	}
	var log strings.Builder
	options := Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
	opened(t)(openSQLite(background, path, options, upTo(t, goose.DialectSQLite3, known+1))).Close()
	backup := fmt.Sprintf("%s.schema-%d.backup", path, known)
	if !strings.Contains(log.String(), filepath.Base(backup)) {
		t.Errorf("the log does not name the backup: %s", log.String())
	}
	copied := opened(t)(OpenSQLite(background, backup, Options{}))
	defer copied.Close()
	if _, err := copied.Grant(background, "grt_1"); err != nil {
		t.Fatalf("the backup lacks a row: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.part")); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the backup can be read by others: %v %v", info.Mode(), err)
	}
	// This version does not know the schema that the database has now.
	if _, err := OpenSQLite(background, path, Options{}); countersign.ReasonOf(err) != "schema-newer" {
		t.Fatalf("got the error %v", err)
	}
}

func TestTheSQLiteFileIsPrivateAndDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.db")
	s := opened(t)(OpenSQLite(background, path, Options{}))
	defer s.Close()
	if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Next: 1}}}); err != nil {
		t.Fatal(err)
	}
	for _, side := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + side)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", info.Name(), info.Mode())
		}
	}
	w := s.database.(*sqlite).writer
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := w.conn.QueryRowContext(background, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", pragma, got, err, want)
		}
	}
	if _, err := s.database.(*sqlite).readers.Exec(`DELETE FROM guard`); err == nil {
		t.Error("a reader can write")
	}
}

func TestAfterCloseNothingIsAnswered(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Next: 1}}}); countersign.KindOf(err) != countersign.Unavailable {
			t.Errorf("commit: got the error %v", err)
		}
		if _, err := s.Guards(background, []string{"k"}); countersign.KindOf(err) != countersign.Unavailable {
			t.Errorf("read: got the error %v", err)
		}
	})
}

func TestAfterCloseTheFileAloneIsTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.db")
	s := opened(t)(OpenSQLite(background, path, Options{}))
	if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Next: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Guards(background, []string{"k"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, side := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + side); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left (%v)", side, err)
		}
	}
}

func TestAFaultOfTheDatabaseFailsTheWholeBatch(t *testing.T) {
	// After a fault such as a full disk SQLite may have rolled back by itself; a
	// neighbour that went on would commit alone and outside of any transaction.
	s := opened(t)(OpenSQLite(background, filepath.Join(t.TempDir(), "house.db"), Options{}))
	defer s.Close()
	w := s.database.(*sqlite).writer
	insert := func(key string) func(*writer) error {
		return func(w *writer) error {
			_, err := w.exec(`INSERT INTO guard (key, version) VALUES (?, 1)`, key)
			return err
		}
	}
	fault := errors.New("the disk is full")
	var batch []*job
	for _, run := range []func(*writer) error{insert("before"), func(w *writer) error {
		if _, err := w.exec(`ROLLBACK`); err != nil {
			return err
		}
		return fault
	}, insert("after")} {
		batch = append(batch, &job{ctx: background, run: run})
	}
	if err := w.transact(batch); !errors.Is(err, fault) {
		t.Fatalf("got the error %v", err)
	}
	versions, err := s.Guards(background, []string{"before", "after"})
	if err != nil || versions["before"] != 0 || versions["after"] != 0 {
		t.Fatalf("something was written: %v %v", versions, err)
	}
	if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: "later", Next: 1}}}); err != nil {
		t.Fatalf("the writer did not recover: %v", err)
	}
}
