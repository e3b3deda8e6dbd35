package sqlstore

import (
	"context"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/countersign/countersign"
)

// Migrate brings the PostgreSQL database of the URL to the schema that this
// version knows, as the role that owns it. It refuses a newer one. Two at once
// take turns.
func Migrate(ctx context.Context, url string) error {
	return migratePostgres(ctx, url, migrationsOf(goose.DialectPostgres))
}

func migratePostgres(ctx context.Context, url string, files fs.FS) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return malformedURL(err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	provider, err := newProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return errors.Join(err, db.Close())
	}
	// Up takes the lock first, and leaves a newer schema alone.
	_, err = provider.Up(ctx)
	if err == nil {
		var found, known int64
		if found, known, err = provider.GetVersions(ctx); err == nil && found > known {
			err = newer("database", found, known)
		}
	}
	return postgresFault(errors.Join(err, db.Close()))
}

// checkVersion refuses a schema that is not the one that this version knows.
func checkVersion(ctx context.Context, p *postgres) error {
	known, err := newestVersion(migrationsOf(goose.DialectPostgres))
	if err != nil {
		return err
	}
	var migrated bool
	var found int64
	if err := one(ctx, p, "schema", `SELECT to_regclass('schema_version') IS NOT NULL`, nil, &migrated); err != nil {
		return err
	}
	if migrated {
		if found, err = (&Store{p}).SchemaVersion(ctx); err != nil {
			return err
		}
	}
	switch {
	case found > known:
		return newer("database", found, known)
	case found < known:
		return countersign.Errorf(countersign.Unavailable, "schema-older",
			"the database has schema %d and this version of countersign needs schema %d: run `countersign migrate` as the role that owns the database", found, known)
	}
	return nil
}
