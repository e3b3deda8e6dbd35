package sqlstore

import (
	"database/sql"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign"
)

//go:embed migrations
var migrations embed.FS

// versionTable is where goose notes which migrations have run.
const versionTable = "schema_version"

// migrationsOf returns the migrations of one dialect.
func migrationsOf(dialect goose.Dialect) fs.FS {
	folder := map[goose.Dialect]string{goose.DialectSQLite3: "migrations/sqlite", goose.DialectPostgres: "migrations/postgres"}[dialect]
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		panic("sqlstore: " + err.Error())
	}
	return files
}

func newProvider(dialect goose.Dialect, db *sql.DB, files fs.FS, options ...goose.ProviderOption) (*goose.Provider, error) {
	return goose.NewProvider(dialect, db, files, append(options,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))...)
}

// newestVersion returns the version of the schema that the files lead to.
func newestVersion(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// newer refuses a database or an archive that a later version of the program
// has migrated or written.
func newer(what string, found, known int64) error {
	return countersign.Errorf(countersign.Unavailable, "schema-newer",
		"the %s has schema %d and this version of countersign knows schemas up to %d: run the version that it is from, or a later one", what, found, known)
}
