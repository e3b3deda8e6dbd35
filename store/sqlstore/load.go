package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/backup"
)

// checkSchema refuses an archive of a schema that this version does not know.
func checkSchema(dialect goose.Dialect, archive *backup.Archive) error {
	known, err := newestVersion(migrationsOf(dialect))
	if err != nil {
		return err
	}
	if schema := archive.Manifest.Schema; schema > known {
		return newer("archive", schema, known)
	} else if schema < 1 {
		return countersign.Errorf(countersign.Invalid, "damaged-archive", "the archive says that its schema is %d: there is none before 1", schema)
	}
	return nil
}

// LoadSQLite makes a new database out of an archive, in a file at path that must
// not exist. When it fails there is no file; when it returns nil the file is on
// the disk.
func LoadSQLite(ctx context.Context, path string, archive *backup.Archive) (err error) {
	if err := checkSchema(goose.DialectSQLite3, archive); err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return countersign.Errorf(countersign.Conflict, "not-empty", "the database file cannot be made: %v", err).Because(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	// Nobody needs the file before it is whole: no journal, and one sync at its end.
	db, err := sql.Open("sqlite", sqliteFile(path)+"?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)&_pragma=cache_size(-65536)&_txlock=immediate")
	if err != nil {
		return errors.Join(err, file.Close())
	}
	db.SetMaxOpenConns(1)
	if err := errors.Join(sqliteFault(fillSQLite(ctx, db, archive)), db.Close()); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(file.Sync(), file.Close(), syncFolder(filepath.Dir(path)))
}

func fillSQLite(ctx context.Context, db *sql.DB, archive *backup.Archive) error {
	provider, err := newProvider(goose.DialectSQLite3, db, migrationsOf(goose.DialectSQLite3))
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, archive.Manifest.Schema); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	columns, _, err := columnsOf(ctx, sqliteSnapshot{tx: tx}, sqliteCatalogue)
	if err == nil {
		err = fits(archive, columns)
	}
	if err != nil {
		return err
	}
	for _, table := range inOrder(archive) {
		insert, err := tx.PrepareContext(ctx, `INSERT INTO `+table.Name+` (`+strings.Join(namesOf(table.Columns), ", ")+`) VALUES (?`+strings.Repeat(", ?", len(table.Columns)-1)+`)`)
		if err != nil {
			return err
		}
		for values, err := range archive.Rows(table) {
			if err == nil {
				_, err = insert.ExecContext(ctx, values...)
			}
			if err != nil {
				return errors.Join(fmt.Errorf("table %s: %w", table.Name, err), insert.Close())
			}
		}
		if err := insert.Close(); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// LoadPostgres fills the database of the URL out of an archive, as the role that
// owns it. The database must hold no house; its schema is made where it is not
// there. The rows are written in one transaction.
func LoadPostgres(ctx context.Context, url string, archive *backup.Archive) error {
	if err := checkSchema(goose.DialectPostgres, archive); err != nil {
		return err
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return malformedURL(err)
	}
	db := stdlib.OpenDB(*config)
	err = emptyUpTo(ctx, db, archive.Manifest.Schema)
	if err := errors.Join(err, db.Close()); err != nil {
		return postgresFault(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return postgresFault(err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return fillPostgres(ctx, tx, archive) })
	if err == nil {
		// The planner knows nothing of rows that it was given at once.
		_, err = conn.Exec(ctx, `ANALYZE `+tableNames(archive))
	}
	return postgresFault(errors.Join(err, conn.Close(ctx)))
}

// tableNames lists the archive's tables, which fits has compared with those of the
// database.
func tableNames(archive *backup.Archive) string {
	var names []string
	for _, table := range inOrder(archive) {
		names = append(names, table.Name)
	}
	return strings.Join(names, ", ")
}

// emptyUpTo brings a database without a house to the schema of the archive.
func emptyUpTo(ctx context.Context, db *sql.DB, schema int64) error {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := newProvider(goose.DialectPostgres, db, migrationsOf(goose.DialectPostgres), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, schema); err != nil {
		return err
	}
	found, _, err := provider.GetVersions(ctx)
	if err == nil && found != schema {
		err = countersign.Errorf(countersign.Conflict, "not-empty", "the database has schema %d already, and the archive is of schema %d: restore into an empty database", found, schema)
	}
	return err
}

func fillPostgres(ctx context.Context, tx pgx.Tx, archive *backup.Archive) error {
	columns, native, err := columnsOf(ctx, postgresSnapshot{tx}, postgresCatalogue)
	if err == nil {
		err = fits(archive, columns)
	}
	if err != nil {
		return err
	}
	// Nobody may found a house meanwhile.
	if _, err := tx.Exec(ctx, `LOCK TABLE `+tableNames(archive)+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		return err
	}
	for _, table := range inOrder(archive) {
		var filled bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM `+table.Name+`)`).Scan(&filled); err != nil {
			return err
		}
		if filled {
			return countersign.Errorf(countersign.Conflict, "not-empty", "the table %s of the database has rows: restore into an empty database", table.Name)
		}
		isTruth := make([]bool, len(table.Columns))
		for i, column := range columns[table.Name] {
			for at, of := range table.Columns {
				isTruth[at] = isTruth[at] || of == column && native[table.Name][i] == truth
			}
		}
		next, stop := iter.Pull2(archive.Rows(table))
		var unread error
		_, err := tx.CopyFrom(ctx, pgx.Identifier{table.Name}, namesOf(table.Columns), pgx.CopyFromFunc(func() ([]any, error) {
			values, err, more := next()
			if !more || err != nil {
				unread = err
				return nil, err
			}
			for i := range values {
				if number, is := values[i].(int64); is && isTruth[i] {
					values[i] = number != 0
				}
			}
			return values, nil
		}))
		stop()
		if unread != nil {
			// The database only says that it was given up.
			err = unread
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", table.Name, err)
		}
	}
	return nil
}
