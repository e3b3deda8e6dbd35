package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// commitTimeout is how long a commit waits for the database before its outcome
// counts as unknown.
const commitTimeout = 30 * time.Second

// changedState is the SQLSTATE by which our functions say that something is not
// as a change expects it.
const changedState = "CS001"

// postgres is the database of many replicas.
type postgres struct{ pool *pgxpool.Pool }

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
	p := &postgres{pool}
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

// ask sends all queries in one round trip.
func (p *postgres) ask(ctx context.Context, questions []question) error {
	var batch pgx.Batch
	for _, q := range questions {
		batch.Queue(postgresDialect.text(q.query, false), postgresArgs(q.args)...)
	}
	results := p.pool.SendBatch(ctx, &batch)
	for _, q := range questions {
		rows, err := results.Query()
		if err := visitPostgres(rows, err, q.visit); err != nil {
			return errors.Join(err, ignoreSame(results.Close(), err))
		}
	}
	return postgresFault(results.Close())
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

// write sends the whole transaction in one round trip: the server runs a
// pipeline as one transaction and commits at its end, or stops at the first
// error and commits nothing.
func (p *postgres) write(ctx context.Context, tx transaction) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return postgresFault(err)
	}
	defer conn.Release()
	var batch pgx.Batch
	// refusals says for each statement what it means that it was refused.
	var refusals []error
	if len(tx.guards) > 0 {
		refusals = queueGuards(&batch, tx.guards)
	}
	for _, s := range tx.statements {
		batch.Queue(postgresDialect.text(s.query, s.counted() || s.finds), postgresArgs(s.args)...)
		refusals = append(refusals, s.otherwise)
	}
	if len(refusals) == 0 {
		return nil
	}
	// A caller that goes away must not leave a commit whose outcome nobody knows.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	results := conn.SendBatch(ctx, &batch)
	for _, refusal := range refusals {
		if _, err := results.Exec(); err != nil {
			return commitFault(errors.Join(postgresRefusal(err, refusal), ignoreSame(results.Close(), err)))
		}
	}
	return commitFault(results.Close())
}

// ignoreSame drops a second report of the same error.
func ignoreSame(err, reported error) error {
	if errors.Is(err, reported) {
		return nil
	}
	return err
}

// queueGuards locks the guards, compares their versions and moves on those that
// have a next one; an error of it names the guard by itself. The locks are advisory
// ones because their queue is fair: a commit that moves a guard on waits for those
// that hold it shared and for no later one, which shared row locks do not promise.
// Each statement sees what was committed before it began, so the second one sees all
// that the locks waited for.
func queueGuards(batch *pgx.Batch, guards []store.Guard) (refusals []error) {
	locks, modes := guardLocks(guards)
	keys, versions := make([]string, len(guards)), make([]int64, len(guards))
	var moved []string
	var nexts []int64
	for i, guard := range guards {
		keys[i], versions[i] = guard.Key, guard.Version
		if guard.Next > 0 {
			moved, nexts = append(moved, guard.Key), append(nexts, guard.Next)
		}
	}
	batch.Queue(`SELECT CASE WHEN exclusive THEN pg_advisory_xact_lock(lock) ELSE pg_advisory_xact_lock_shared(lock) END
		FROM unnest($1::bigint[], $2::boolean[]) AS wanted (lock, exclusive)`, locks, modes)
	batch.Queue(`SELECT countersign_changed(expected.key) FROM unnest($1::text[], $2::bigint[]) AS expected (key, version)
		WHERE coalesce((SELECT guard.version FROM guard WHERE guard.key = expected.key), 0) <> expected.version LIMIT 1`, keys, versions)
	if len(moved) > 0 {
		batch.Queue(`INSERT INTO guard (key, version) SELECT key, next FROM unnest($1::text[], $2::bigint[]) AS moved (key, next)
			ON CONFLICT (key) DO UPDATE SET version = excluded.version`, moved, nexts)
	}
	return make([]error, batch.Len())
}

// guardLocks returns the locks that the guards need, in an order that all commits
// share. Two keys that share a lock take the stronger of the two.
func guardLocks(guards []store.Guard) (locks []int64, exclusive []bool) {
	modes := map[int64]bool{}
	for _, guard := range guards {
		sum := sha256.Sum256([]byte("countersign/guard/v1\n" + guard.Key))
		lock := int64(binary.BigEndian.Uint64(sum[:8]))
		modes[lock] = modes[lock] || guard.Next > 0
	}
	locks = slices.Sorted(maps.Keys(modes))
	exclusive = make([]bool, len(locks))
	for i, lock := range locks {
		exclusive[i] = modes[lock]
	}
	return locks, exclusive
}

func (p *postgres) claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	var claimed []store.Work
	var due []countersign.Instant
	err := p.query(ctx, `WITH due AS MATERIALIZED (
			SELECT key, due_at FROM work WHERE parked_at = 0 AND due_at <= ? AND kind {any}
			ORDER BY due_at, key LIMIT ? FOR UPDATE SKIP LOCKED)
		UPDATE work SET due_at = ?, lease_until = ?, attempt = attempt + 1, claimed_at = ?, leased_by = ?, reported = false
		FROM due WHERE work.key = due.key
		RETURNING `+workColumns+`, due.due_at`, func(row row) error {
		var was countersign.Instant
		item, err := scanWork(row, &was)
		claimed, due = append(claimed, item), append(due, was)
		return err
	}, int64(claim.Now), texts(claim.Kinds), claim.Limit,
		int64(claim.Now.Add(claim.Lease)), int64(claim.Now.Add(claim.Lease)), int64(claim.Now), claim.Owner)
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
		return &store.Changed{Key: "database"}
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
