package sqlstore

import (
	"context"
	"errors"
	"log/slog"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Options are what an operator may choose.
type Options struct {
	// Connections is how many connections read on SQLite, and how many there are
	// in all on PostgreSQL; 0 stands for 8 and 16.
	Connections int
	// AsItIs refuses an older schema on SQLite instead of migrating it: for a visit to
	// a database that another process may be serving.
	AsItIs bool
	// Log is told of migrations and backups; nil discards.
	Log *slog.Logger
	// Statement is told of each statement that is sent to the database, by many
	// goroutines at once; nil tells nobody.
	Statement func(query string)
}

// tell says that a statement is about to be sent.
func (o Options) tell(query string) {
	if o.Statement != nil {
		o.Statement(query)
	}
}

func (o Options) connections(standard int) int {
	if o.Connections > 0 {
		return o.Connections
	}
	return standard
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Store is a house's storage in one database. It is safe for concurrent use.
type Store struct {
	database database
}

var _ store.Store = (*Store)(nil)

// database is what the two databases do in different ways.
type database interface {
	reader
	// write runs the statements as one transaction. It is durable when write
	// returns nil; an error is a *store.Changed, a *store.Duplicate or a
	// *countersign.Error.
	write(ctx context.Context, tx transaction) error
	// ask runs the queries one after the other, each on what is committed by then.
	ask(ctx context.Context, questions []question) error
	// snapshot calls look with a reader that sees one committed state.
	snapshot(ctx context.Context, look func(reader) error) error
	claim(ctx context.Context, claim store.Claim) ([]store.Work, error)
	clock(ctx context.Context) (countersign.Instant, error)
	// catalogue is the query for the columns of all tables.
	catalogue() string
	close() error
}

// reader runs one query, which sees one committed state.
type reader interface {
	query(ctx context.Context, query string, visit func(row) error, args ...any) error
}

// question is one query that is asked together with others.
type question struct {
	query string
	args  []any
	visit func(row) error
}

// row is a row of an answer.
type row interface {
	Scan(columns ...any) error
}

// list is an argument for {list}.
type list []string

// texts makes a list of any kind of text.
func texts[T ~string](values []T) list {
	converted := make(list, len(values))
	for i, value := range values {
		converted[i] = string(value)
	}
	return converted
}

// transaction is what one commit does: guards first, then statements in order.
type transaction struct {
	guards     []store.Guard
	statements []statement
	// writes names what the statements write, guards aside: two transactions that have
	// none of it in common can be one. Nil writes alone.
	writes []string
}

// statement is one write: a query with its arguments, or a form with its rows.
type statement struct {
	query string
	args  []any
	form  *form
	rows  [][]any
	// phase orders the statements of transactions that are made one.
	phase int
	// otherwise is the error when the statement does not touch exactly one row,
	// or finds its primary key taken; nil asks nothing.
	otherwise error
	// inserts says that the statement adds all of its rows or fails by itself, so
	// that nothing is left to count.
	inserts bool
	// finds says that the statement reads, and must find exactly one row.
	finds bool
}

// counted says that the touched rows must be looked at.
func (s statement) counted() bool { return s.otherwise != nil && !s.inserts && !s.finds }

// duplicates maps unique indexes, by the name in PostgreSQL and by the columns
// in SQLite, to what they keep unique.
var duplicates = []struct{ index, columns, constraint string }{
	{"one_open_request", "request_entitlement.holder, request_entitlement.entitlement, request_entitlement.type", store.OneOpenRequest},
	{"one_ticket", "request.ticket", store.OneTicket},
	{"one_live_grant", "access_grant.holder, access_grant.entitlement", store.OneLiveGrant},
}

// Close ends the store after the commits that have begun.
func (s *Store) Close() error { return s.database.close() }

// Clock returns the database's own time; zero on SQLite.
func (s *Store) Clock(ctx context.Context) (countersign.Instant, error) {
	return s.database.clock(ctx)
}

// Claim leases due work; see store.Store.
func (s *Store) Claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	if claim.Limit <= 0 || len(claim.Kinds) == 0 {
		return nil, nil
	}
	return s.database.claim(ctx, claim)
}

// SchemaVersion reads the version of the schema in the database; a database
// that cannot be read is not ready.
func (s *Store) SchemaVersion(ctx context.Context) (int64, error) {
	return schemaVersion(ctx, s.database)
}

func schemaVersion(ctx context.Context, from reader) (int64, error) {
	var version int64
	err := one(ctx, from, "schema version", `SELECT coalesce(max(version_id), 0) FROM schema_version WHERE is_applied`, nil, &version)
	return version, err
}

// one reads a single row into columns; what names it where it is not there.
func one(ctx context.Context, from reader, what, query string, args []any, columns ...any) error {
	found := false
	err := from.query(ctx, query, func(row row) error {
		found = true
		return row.Scan(columns...)
	}, args...)
	if err == nil && !found {
		err = countersign.Errorf(countersign.NotFound, "not-found", "there is no %s", what)
	}
	return err
}

// internal is a fault of ours, or of who calls a store.
func internal(reason, format string, args ...any) error {
	return countersign.Errorf(countersign.Internal, reason, format, args...)
}

// known says that the error is one that the contract names.
func known(err error) bool {
	var changed *store.Changed
	var duplicate *store.Duplicate
	var named *countersign.Error
	return errors.As(err, &changed) || errors.As(err, &duplicate) || errors.As(err, &named)
}
