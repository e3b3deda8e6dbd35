package sqlstore

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign/backup"
)

// For tests outside of the package, which open houses: what only the package can do.

// ColumnsAt returns the columns that the tables have in an earlier schema.
func ColumnsAt(t *testing.T, version int64) map[string][]backup.Column {
	t.Helper()
	s := opened(t)(openSQLite(background, filepath.Join(t.TempDir(), "house.db"), Options{}, upTo(t, goose.DialectSQLite3, version)))
	defer s.Close()
	columns, _, err := columnsOf(background, s.database, sqliteCatalogue)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// Newest is the schema that this version knows.
func Newest(t *testing.T) int64 { return newest(t, goose.DialectSQLite3) }

// Versions are the schemas that there were, in order.
func Versions(t *testing.T) []int64 { return versions(t, goose.DialectSQLite3) }

// later is the schema of testdata/later on top of all others.
func later(t *testing.T, dialect goose.Dialect, folder string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	for name, file := range upTo(t, dialect, newest(t, dialect)).(fstest.MapFS) {
		files[name] = file
	}
	text, err := os.ReadFile(filepath.Join("testdata", "later", folder, "urgency.sql"))
	if err != nil {
		t.Fatal(err)
	}
	files["09999_urgency.sql"] = &fstest.MapFile{Data: text}
	return files
}

// OpenLaterSQLite and MigrateLaterPostgres are what the next version would do.
func OpenLaterSQLite(t *testing.T, path string) (*Store, error) {
	return openSQLite(context.Background(), path, Options{}, later(t, goose.DialectSQLite3, "sqlite"))
}

func MigrateLaterPostgres(t *testing.T, url string) error {
	return migratePostgres(context.Background(), url, later(t, goose.DialectPostgres, "postgres"))
}
