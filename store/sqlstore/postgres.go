package sqlstore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// changedState is the SQLSTATE by which our functions say that something is not
// as a change expects it.
const changedState = "CS001"

// postgres is the database of many replicas.
type postgres struct {
	pool    *pgxpool.Pool
	commits gathering[transaction]
	reads   gathering[*reading]
}

// OpenPostgres connects to the database of the URL, whose schema must be the
// one that this version knows: only Migrate changes it.
func OpenPostgres(ctx context.Context, url string, options Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, malformedURL(err)
	}
	config.MaxConns = int32(options.connections(16))
	// Guards are locked first and read afterwards, so each statement must see
	// what was committed before it began.
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	config.ConnConfig.RuntimeParams["lock_timeout"] = "10s"
	// Statements are planned once on each connection: to plan them anew each time
	// costs more than to run them. A plan must then not depend on how few rows a
	// table had when it was made, so indexes are always taken, from row to row and
	// never whole; there is one for each query.
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	config.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	config.ConnConfig.RuntimeParams["enable_hashjoin"] = "off"
	config.ConnConfig.RuntimeParams["enable_mergejoin"] = "off"
	config.ConnConfig.RuntimeParams["jit"] = "off"
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "countersign"
	}
	if options.Statement != nil {
		config.ConnConfig.Tracer = statementTracer{options.Statement}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, postgresFault(err)
	}
	p := &postgres{pool: pool, commits: gathering[transaction]{free: lanes}, reads: gathering[*reading]{free: lanes}}
	if err := p.check(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &Store{p}, nil
}

// statementTracer tells of statements as pgx sends them.
type statementTracer struct{ tell func(query string) }

func (s statementTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.tell(data.SQL)
	return ctx
}

func (statementTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (statementTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (s statementTracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	s.tell(data.SQL)
}

func (statementTracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func malformedURL(err error) error {
	return countersign.Errorf(countersign.Invalid, "malformed-database-url", "the database URL cannot be read: it should look like postgres://user@host:5432/database").Because(err)
}

// check refuses a database that cannot keep the promises.
func (p *postgres) check(ctx context.Context) error {
	if err := checkVersion(ctx, p); err != nil {
		return err
	}
	var synchronous, encoding string
	if err := one(ctx, p, "setting", `SELECT current_setting('synchronous_commit'), current_setting('server_encoding')`, nil, &synchronous, &encoding); err != nil {
		return err
	}
	if synchronous == "off" {
		return countersign.Errorf(countersign.Unavailable, "commits-not-durable", "the database has synchronous_commit off, so a crash would lose what was answered: set it to on")
	}
	if encoding != "UTF8" {
		return countersign.Errorf(countersign.Unavailable, "encoding-not-utf8", "the database has the encoding %s: create it with the encoding UTF8", encoding)
	}
	return p.renumberRestored(ctx)
}

// renumberRestored brings the positions of shelves below the transactions to
// come. They are ahead of them after a dump was loaded into another cluster,
// whose transaction ids begin anew.
func (p *postgres) renumberRestored(ctx context.Context) error {
	const ahead = `SELECT EXISTS (SELECT 1 FROM shelf_item WHERE position >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 12)`
	var restored bool
	if err := one(ctx, p, "position", ahead, nil, &restored); err != nil || !restored {
		return err
	}
	return postgresFault(pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE shelf_item IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		// Another replica may have done it meanwhile. The new positions are negative
		// for a moment, because no two rows may share one.
		if err := tx.QueryRow(ctx, ahead).Scan(&restored); err != nil || !restored {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE shelf_item SET position = -ranked.position
			FROM (SELECT shelf, key, row_number() OVER (PARTITION BY shelf ORDER BY position) AS position FROM shelf_item) AS ranked
			WHERE shelf_item.shelf = ranked.shelf AND shelf_item.key = ranked.key`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE shelf_item SET position = -position`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, ahead).Scan(&restored); err != nil || !restored {
			return err
		}
		return internal("shelf-too-large", "a shelf has more items than the restored cluster has positions")
	}))
}

func (p *postgres) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	rows, err := p.pool.Query(ctx, postgresDialect.text(query, false), postgresArgs(args)...)
	return visitPostgres(rows, err, visit)
}

func visitPostgres(rows pgx.Rows, err error, visit func(row) error) error {
	if err != nil {
		return postgresFault(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows); err != nil {
			return err
		}
	}
	return postgresFault(rows.Err())
}

// postgresSnapshot is one read transaction.
type postgresSnapshot struct{ tx pgx.Tx }

func (s postgresSnapshot) query(ctx context.Context, query string, visit func(row) error, args ...any) error {
	rows, err := s.tx.Query(ctx, postgresDialect.text(query, false), postgresArgs(args)...)
	return visitPostgres(rows, err, visit)
}

func (p *postgres) snapshot(ctx context.Context, look func(reader) error) error {
	tx, err := p.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return postgresFault(err)
	}
	err = look(postgresSnapshot{tx})
	return errors.Join(err, postgresFault(tx.Rollback(context.WithoutCancel(ctx))))
}

// ignoreSame drops a second report of the same error.
func ignoreSame(err, reported error) error {
	if errors.Is(err, reported) {
		return nil
	}
	return err
}

func (p *postgres) claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	var claimed []store.Work
	var due []countersign.Instant
	// Who claims hears the claim to its end, also when it stops; a database that does
	// not answer must not keep it for ever. What was leased then is left to its lease.
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	text, args := dueText(`key, due_at`, claim)
	err := p.query(ctx, `WITH due AS MATERIALIZED (`+text+`)
		UPDATE work SET due_at = ?, lease_until = ?, attempt = attempt + 1, claimed_at = ?, leased_by = ?, reported = false
		FROM due WHERE work.key = due.key
		RETURNING `+workColumns+`, due.due_at`, func(row row) error {
		var was countersign.Instant
		item, err := scanWork(row, &was)
		claimed, due = append(claimed, item), append(due, was)
		return err
	}, append(args, int64(claim.Now.Add(claim.Lease)), int64(claim.Now.Add(claim.Lease)), int64(claim.Now), claim.Owner)...)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(claimed))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if due[a] != due[b] {
			return int(due[a] - due[b])
		}
		return strings.Compare(claimed[a].Key, claimed[b].Key)
	})
	sorted := make([]store.Work, 0, len(claimed))
	for _, i := range order {
		sorted = append(sorted, claimed[i])
	}
	return sorted, nil
}

func (p *postgres) clock(ctx context.Context) (countersign.Instant, error) {
	var now countersign.Instant
	err := one(ctx, p, "clock", `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`, nil, &now)
	return now, err
}

func (p *postgres) catalogue() string { return postgresCatalogue }

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}

// postgresArgs gives lists the form of an array.
func postgresArgs(args []any) []any {
	for i, arg := range args {
		if values, ok := arg.(list); ok {
			args[i] = []string(values)
		}
	}
	return args
}

// databaseChanged stands for what two commits have met in that has no name.
const databaseChanged = "database"

// postgresRefusal says what a failed statement means.
func postgresRefusal(err, otherwise error) error {
	var fault *pgconn.PgError
	if !errors.As(err, &fault) {
		return err
	}
	switch fault.Code {
	case changedState:
		if otherwise != nil {
			return otherwise
		}
		return &store.Changed{Key: fault.Message}
	case "23505": // unique_violation
		for _, unique := range duplicates {
			if fault.ConstraintName == unique.index {
				return &store.Duplicate{Constraint: unique.constraint}
			}
		}
		if otherwise != nil {
			return otherwise
		}
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		return &store.Changed{Key: databaseChanged}
	}
	return err
}

// commitFault tells an error after which nothing was written from one after
// which nobody can tell.
func commitFault(err error) error {
	var fault *pgconn.PgError
	if err == nil || known(err) || errors.As(err, &fault) || pgconn.SafeToRetry(err) {
		return postgresFault(err)
	}
	return countersign.Errorf(countersign.Unavailable, "outcome-unknown", "the connection to the database broke in a commit: read again what is stored: %v", err).Because(err)
}

// postgresFault gives an error of the database the kind that a caller can act on.
func postgresFault(err error) error {
	if err == nil || known(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		switch fault.Code[:2] {
		case "08", "53", "57", "58": // connection, resources, operator, system
			return countersign.Errorf(countersign.Unavailable, "database-away", "the database cannot answer: %v", err).Because(err)
		}
		return countersign.Errorf(countersign.Internal, "database-fault", "the database answered: %v", err).Because(err)
	}
	return countersign.Errorf(countersign.Unavailable, "database-away", "the database cannot be reached: %v", err).Because(err)
}
