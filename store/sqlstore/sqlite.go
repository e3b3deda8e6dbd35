package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// sqlite is the embedded database: one file, one writer, a pool of readers.
type sqlite struct {
	*writer
	readers *sql.DB
	options Options
	// prepared holds the statements of the readers by text.
	prepared sync.Map
}

// OpenSQLite opens the database in the file at path, and makes it where there
// is none (its folder must exist). An existing database of an older schema is
// copied to a backup file beside it, and then migrated.
func OpenSQLite(ctx context.Context, path string, options Options) (*Store, error) {
	return openSQLite(ctx, path, options, migrationsOf(goose.DialectSQLite3))
}

func openSQLite(ctx context.Context, path string, options Options, files fs.FS) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// The file is made here because SQLite would let others read it; its side
	// files take their rights from it.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, countersign.Errorf(countersign.Unavailable, "database-away", "the database file cannot be opened: %v", err).Because(err)
	}
	if err := errors.Join(file.Close(), syncFolder(filepath.Dir(path))); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", sqliteURL(path, "_txlock=immediate"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := migrateSQLite(ctx, write, path, options, files); err != nil {
		return nil, errors.Join(sqliteFault(err), write.Close())
	}
	writer, err := newWriter(ctx, write, options)
	if err != nil {
		return nil, errors.Join(sqliteFault(err), write.Close())
	}
	readers, err := sql.Open("sqlite", sqliteURL(path, "_pragma=query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writer.close())
	}
	connections := options.connections(8)
	readers.SetMaxOpenConns(connections)
	readers.SetMaxIdleConns(connections)
	return &Store{&sqlite{writer: writer, readers: readers, options: options}}, nil
}

func sqliteFile(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

func sqliteURL(path, more string) string {
	// synchronous=FULL syncs the log at every commit: what was answered is on disk.
	return sqliteFile(path) + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-65536)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(4000)&" + more
}

// migrateSQLite brings the database to the schema of the files.
func migrateSQLite(ctx context.Context, db *sql.DB, path string, options Options, files fs.FS) error {
	provider, err := newProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	found, known, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	switch {
	case found > known:
		return newer("database", found, known)
	case found == known:
		return nil
	case options.AsItIs:
		return countersign.Errorf(countersign.Unavailable, "schema-older",
			"the database has schema %d and this version of countersign needs schema %d: `countersign serve` of this version migrates it, after a copy", found, known)
	case found > 0:
		backup, err := backupSQLite(ctx, db, path, found)
		if err != nil {
			return fmt.Errorf("backup before the migration: %w", err)
		}
		options.log().InfoContext(ctx, "the database was copied before its migration", "backup", backup, "schema", found)
	}
	if _, err := provider.Up(ctx); err != nil {
		return err
	}
	options.log().InfoContext(ctx, "the database was migrated", "from", found, "to", known)
	return nil
}

// backupSQLite copies the database to a new file beside it. The copy takes its
// name only when it is whole and on disk.
func backupSQLite(ctx context.Context, db *sql.DB, path string, version int64) (string, error) {
	backup := fmt.Sprintf("%s.schema-%d.backup", path, version)
	for n := 2; ; n++ {
		if _, err := os.Stat(backup); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		backup = fmt.Sprintf("%s.schema-%d.backup-%d", path, version, n)
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".backup-*.part")
	if err != nil {
		return "", err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, part.Name()); err != nil {
		return "", err
	}
	if err := part.Sync(); err != nil {
		return "", err
	}
	if err := os.Rename(part.Name(), backup); err != nil {
		return "", err
	}
	return backup, syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (s *sqlite) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	text := sqliteDialect.text(query, false)
	s.options.tell(text)
	known, ok := s.prepared.Load(text)
	if !ok {
		statement, err := s.readers.PrepareContext(ctx, text)
		if err != nil {
			return sqliteFault(err)
		}
		var lost bool
		if known, lost = s.prepared.LoadOrStore(text, statement); lost {
			statement.Close()
		}
	}
	rows, err := known.(*sql.Stmt).QueryContext(ctx, sqliteArgs(args)...)
	return visitRows(rows, err, visit)
}

func (s *sqlite) ask(ctx context.Context, questions []question) error {
	for _, q := range questions {
		if err := s.query(ctx, q.query, q.visit, q.args...); err != nil {
			return err
		}
	}
	return nil
}

// visitRows reads an answer to its end.
func visitRows(rows *sql.Rows, err error, visit func(row) error) error {
	if err != nil {
		return sqliteFault(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows); err != nil {
			return err
		}
	}
	return sqliteFault(rows.Err())
}

// sqliteSnapshot is one read transaction.
type sqliteSnapshot struct {
	tx      *sql.Tx
	options Options
}

func (s sqliteSnapshot) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	text := sqliteDialect.text(query, false)
	s.options.tell(text)
	rows, err := s.tx.QueryContext(ctx, text, sqliteArgs(args)...)
	return visitRows(rows, err, visit)
}

func (s *sqlite) snapshot(ctx context.Context, look func(reader) error) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return sqliteFault(err)
	}
	return errors.Join(look(sqliteSnapshot{tx, s.options}), tx.Rollback())
}

// clock returns zero: the process and the database share one clock.
func (s *sqlite) clock(context.Context) (countersign.Instant, error) { return 0, nil }

func (s *sqlite) catalogue() string { return sqliteCatalogue }

func (s *sqlite) close() error {
	// The last connection to close brings the log into the file, and a reader may
	// not write.
	return errors.Join(s.readers.Close(), s.writer.close())
}

// sqliteArgs gives lists the form that json_each reads.
func sqliteArgs(args []any) []any {
	for i, arg := range args {
		if values, ok := arg.(list); ok {
			args[i] = jsonList(values)
		}
	}
	return args
}

// sqliteFault gives an error of the database the kind that a caller can act on.
func sqliteFault(err error) error {
	var fault *driver.Error
	if err == nil || known(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.As(err, &fault) {
		switch fault.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return countersign.Errorf(countersign.Unavailable, "database-busy", "another process holds the database: %v", err).Because(err)
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
			return countersign.Errorf(countersign.Unavailable, "database-away", "the database cannot be read or written: %v", err).Because(err)
		}
	}
	if errors.Is(err, sql.ErrConnDone) || strings.Contains(err.Error(), "database is closed") {
		return countersign.Errorf(countersign.Unavailable, "database-away", "the database is closed").Because(err)
	}
	return countersign.Errorf(countersign.Internal, "database-fault", "the database answered: %v", err).Because(err)
}

// sqliteRefusal says what a failed statement means.
func sqliteRefusal(err error, otherwise error) error {
	var fault *driver.Error
	if !errors.As(err, &fault) {
		return err
	}
	switch fault.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		for _, unique := range duplicates {
			if strings.Contains(fault.Error(), unique.columns) {
				return &store.Duplicate{Constraint: unique.constraint}
			}
		}
		if otherwise != nil {
			return otherwise
		}
	}
	return err
}
