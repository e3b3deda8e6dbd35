package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/backup"
	"github.com/countersign/countersign/store/pgtest"
)

// place is where a database of a kind is, or will be.
type place struct {
	name    string
	dialect goose.Dialect
	open    func(t *testing.T) *Store
	load    func(archive *backup.Archive) error
	// raw runs statements by hand.
	raw func(t *testing.T) *sql.DB
	url string
}

func onFile(t *testing.T) place {
	path := filepath.Join(t.TempDir(), "house.db")
	return place{
		name: "SQLite", dialect: goose.DialectSQLite3, url: path,
		open: func(t *testing.T) *Store { return opened(t)(OpenSQLite(background, path, Options{})) },
		load: func(archive *backup.Archive) error { return LoadSQLite(background, path, archive) },
		raw: func(t *testing.T) *sql.DB {
			db, err := sql.Open("sqlite", sqliteURL(path, ""))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return db
		},
	}
}

func onServer(t *testing.T) place {
	url := pgtest.Database(t, nil)
	return place{
		name: "PostgreSQL", dialect: goose.DialectPostgres, url: url,
		open: func(t *testing.T) *Store {
			if err := Migrate(background, url); err != nil {
				t.Fatal(err)
			}
			return opened(t)(OpenPostgres(background, url, Options{}))
		},
		load: func(archive *backup.Archive) error { return LoadPostgres(background, url, archive) },
		raw: func(t *testing.T) *sql.DB {
			config, err := pgx.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			db := stdlib.OpenDB(*config)
			t.Cleanup(func() { db.Close() })
			return db
		},
	}
}

var places = []func(*testing.T) place{onFile, onServer}

// values that a form could lose: letters, control characters, the largest
// numbers, bytes that are no text.
const strangeText = "é\u202e\t\"\\\n<&>\U0001F511"

// fill puts a row into every table.
func fill(t *testing.T, at place) {
	t.Helper()
	s, db := at.open(t), at.raw(t)
	columns, native, err := columnsOf(background, s.database, s.database.catalogue())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range copied {
		var marks []string
		var args []any
		for i := range columns[table] {
			marks = append(marks, fmt.Sprintf("$%d", i+1))
			switch native[table][i] {
			case "TEXT", "text":
				args = append(args, strangeText)
			case "BLOB", "bytea":
				args = append(args, []byte{0, 255, 128, '\n'})
			case truth:
				args = append(args, true)
			default:
				args = append(args, int64(1))
			}
		}
		if _, err := db.Exec(`INSERT INTO `+table+` (`+strings.Join(namesOf(columns[table]), ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, args...); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	if _, err := db.Exec(`UPDATE guard SET version = 9223372036854775807`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func dump(t *testing.T, at place) ([]byte, backup.Manifest) {
	t.Helper()
	s := at.open(t)
	defer s.Close()
	var out bytes.Buffer
	writer := backup.NewWriter(&out)
	schema, err := s.Dump(background, writer)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := writer.Close(backup.Manifest{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), manifest
}

func read(t *testing.T, archive []byte) *backup.Archive {
	t.Helper()
	opened, err := backup.Open(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestEveryTableIsCopied(t *testing.T) {
	for _, at := range places {
		at := at(t)
		s := at.open(t)
		defer s.Close()
		var names []string
		err := s.database.query(background, s.database.catalogue(), func(row row) error {
			var name, column, kind string
			err := row.Scan(&name, &column, &kind)
			if name != versionTable && !strings.HasPrefix(name, "sqlite_") && !slices.Contains(names, name) {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Sorted(slices.Values(copied))
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("%s has the tables %v, and copied are %v", at.name, names, want)
		}
	}
}

func TestACopyIsLoadedAsItWas(t *testing.T) {
	for _, from := range places {
		for _, to := range places {
			from, to := from(t), to(t)
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				fill(t, from)
				archive, was := dump(t, from)
				if err := to.load(read(t, archive)); err != nil {
					t.Fatal(err)
				}
				_, is := dump(t, to)
				if !slices.EqualFunc(is.Tables, was.Tables, func(a, b backup.Table) bool {
					return a.Name == b.Name && a.Rows == 1 && a.Rows == b.Rows && (a.SHA256 == b.SHA256) == slices.Equal(a.Columns, b.Columns)
				}) {
					t.Errorf("loaded were\n%+v\nand copied\n%+v", is.Tables, was.Tables)
				}
				again, _ := dump(t, to)
				if err := to.load(read(t, again)); countersign.ReasonOf(err) != "not-empty" {
					t.Errorf("loading twice: got %v", err)
				}
			})
		}
	}
}

// after changes an archive as somebody could who knows its form.
func after(t *testing.T, archive []byte, change func(*backup.Manifest, map[string][][]any)) []byte {
	t.Helper()
	was := read(t, archive)
	rows := map[string][][]any{}
	for _, table := range was.Manifest.Tables {
		for values, err := range was.Rows(table) {
			if err != nil {
				t.Fatal(err)
			}
			rows[table.Name] = append(rows[table.Name], values)
		}
	}
	change(&was.Manifest, rows)
	var out bytes.Buffer
	writer := backup.NewWriter(&out)
	for _, table := range was.Manifest.Tables {
		if err := writer.Table(table.Name, table.Columns); err != nil {
			t.Fatal(err)
		}
		for _, values := range rows[table.Name] {
			if err := writer.Row(values); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := writer.Close(was.Manifest); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveThatDoesNotFitLeavesNothing(t *testing.T) {
	for _, at := range places {
		from := at(t)
		fill(t, from)
		archive, manifest := dump(t, from)
		for name, broken := range map[string]struct {
			reason string
			change func(*backup.Manifest, map[string][][]any)
		}{
			"a later schema":      {"schema-newer", func(m *backup.Manifest, _ map[string][][]any) { m.Schema = manifest.Schema + 1 }},
			"no schema":           {"damaged-archive", func(m *backup.Manifest, _ map[string][][]any) { m.Schema = 0 }},
			"a table is missing":  {"damaged-archive", func(m *backup.Manifest, _ map[string][][]any) { m.Tables = m.Tables[1:] }},
			"a table of another":  {"damaged-archive", func(m *backup.Manifest, _ map[string][][]any) { m.Tables[0].Name = "house; DROP TABLE event" }},
			"a column of another": {"damaged-archive", func(m *backup.Manifest, _ map[string][][]any) { m.Tables[0].Columns[0].Name = "id) --" }},
			"a row stands twice": {"", func(_ *backup.Manifest, rows map[string][][]any) {
				rows["event"] = append(rows["event"], rows["event"][0])
			}},
			"a row of no request": {"", func(_ *backup.Manifest, rows map[string][][]any) { rows["request"] = nil }},
			"a number as a text":  {"damaged-archive", func(_ *backup.Manifest, rows map[string][][]any) { rows["guard"][0] = []any{"x", "1"} }},
			"the migrations' table": {"damaged-archive", func(m *backup.Manifest, rows map[string][][]any) {
				m.Tables = append(m.Tables, backup.Table{Name: versionTable, Columns: []backup.Column{{Name: "id", Type: backup.Integer}}})
			}},
		} {
			to := at(t)
			err := to.load(read(t, after(t, archive, broken.change)))
			if err == nil || broken.reason != "" && countersign.ReasonOf(err) != broken.reason {
				t.Errorf("%s, %s: got %v", from.name, name, err)
			}
			if to.dialect == goose.DialectSQLite3 {
				if _, err := os.Stat(to.url); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: a file is left", name)
				}
				continue
			}
			if name == "a later schema" {
				continue
			}
			// The same database takes the right archive afterwards.
			if err := to.load(read(t, archive)); err != nil {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		}
	}
}

// disturbed lets something happen before each query.
type disturbed struct {
	database
	before func(query string)
}

func (d disturbed) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	d.before(query)
	return d.database.query(ctx, query, visit, args...)
}

func (d disturbed) snapshot(ctx context.Context, look func(reader) error) error {
	return d.database.snapshot(ctx, func(from reader) error { return look(disturbedReader{from, d.before}) })
}

type disturbedReader struct {
	reader
	before func(query string)
}

func (d disturbedReader) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	d.before(query)
	return d.reader.query(ctx, query, visit, args...)
}

func TestACopyIsOfOneMoment(t *testing.T) {
	for _, at := range places {
		at := at(t)
		fill(t, at)
		s := at.open(t)
		defer s.Close()
		db, written := at.raw(t), 0
		var out bytes.Buffer
		writer := backup.NewWriter(&out)
		_, err := (&Store{disturbed{s.database, func(query string) {
			if strings.HasSuffix(query, "FROM guard") {
				// Others write while the copy is under way, and need not wait.
				written++
				if _, err := db.Exec(`UPDATE guard SET version = 7`); err != nil {
					t.Fatal(err)
				}
			}
		}}}).Dump(background, writer)
		if err != nil || written != 1 {
			t.Fatal(written, err)
		}
		if _, err := writer.Close(backup.Manifest{}); err != nil {
			t.Fatal(err)
		}
		archive := read(t, out.Bytes())
		for _, table := range archive.Manifest.Tables {
			for values, err := range archive.Rows(table) {
				if err != nil || table.Name == "guard" && slices.Contains(values, any(int64(7))) {
					t.Errorf("%s: the copy holds %v (%v), which came later", at.name, values, err)
				}
			}
		}
	}
}

func TestADumpThatIsGivenUpEnds(t *testing.T) {
	for _, at := range places {
		at := at(t)
		fill(t, at)
		s := at.open(t)
		defer s.Close()
		ctx, cancel := context.WithCancel(background)
		cancel()
		if _, err := s.Dump(ctx, backup.NewWriter(&bytes.Buffer{})); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", at.name, err)
		}
	}
}
