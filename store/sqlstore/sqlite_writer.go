package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"sync"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// mostTogether is how many changes share one commit at most.
const mostTogether = 64

// writer is the one connection that writes. Changes that wait at the same time
// share one transaction and one sync to disk, each behind a savepoint of its
// own, so that one that fails leaves the others whole.
type writer struct {
	db       *sql.DB
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	options  Options

	jobs chan *job
	// closing is closed first; done when the last job was answered.
	closing chan struct{}
	done    chan struct{}
	once    sync.Once
}

// job is one change in the queue.
type job struct {
	ctx    context.Context
	run    func(*writer) error
	answer chan error
	err    error
}

func newWriter(ctx context.Context, db *sql.DB, options Options) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, conn: conn, prepared: map[string]*sql.Stmt{}, options: options, jobs: make(chan *job, mostTogether), closing: make(chan struct{}), done: make(chan struct{})}
	go w.loop()
	return w, nil
}

var errClosed = countersign.Errorf(countersign.Unavailable, "database-away", "the database is closed")

// do queues a change and waits for its outcome, which is known also to a caller
// whose context ended: before its turn the change is not written, and once it
// has begun its outcome is awaited.
func (w *writer) do(ctx context.Context, run func(*writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, run: run, answer: make(chan error, 1)}
	select {
	case <-w.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	case w.jobs <- j:
	}
	select {
	case err := <-j.answer:
		return err
	case <-w.done:
		// The writer ended; it may have answered just before.
		select {
		case err := <-j.answer:
			return err
		default:
			return errClosed
		}
	}
}

func (w *writer) loop() {
	defer close(w.done)
	for {
		select {
		case first := <-w.jobs:
			w.together(first)
		case <-w.closing:
			for {
				select {
				case first := <-w.jobs:
					w.together(first)
				default:
					return
				}
			}
		}
	}
}

// together runs the first job and those that wait behind it in one transaction.
func (w *writer) together(first *job) {
	batch := []*job{first}
	for len(batch) < mostTogether {
		select {
		case next := <-w.jobs:
			batch = append(batch, next)
			continue
		default:
		}
		break
	}
	err := w.transact(batch)
	for _, j := range batch {
		if err != nil {
			j.err = err
		}
		j.answer <- j.err
	}
}

// transact returns an error where nothing of the batch was written, or where
// nobody can tell.
func (w *writer) transact(batch []*job) error {
	if _, err := w.exec(`BEGIN IMMEDIATE`); err != nil {
		return sqliteFault(err)
	}
	for _, j := range batch {
		if err := w.one(j, len(batch) > 1); err != nil {
			_, rollback := w.exec(`ROLLBACK`)
			if rollback = ignoreNoTransaction(rollback); rollback == nil {
				return sqliteFault(err)
			}
			return errors.Join(sqliteFault(err), rollback)
		}
	}
	if _, err := w.exec(`COMMIT`); err != nil {
		_, rollback := w.exec(`ROLLBACK`)
		return countersign.Errorf(countersign.Unavailable, "outcome-unknown", "the database did not confirm the commit: read again what is stored: %v", err).
			Because(errors.Join(err, ignoreNoTransaction(rollback)))
	}
	return nil
}

// ignoreNoTransaction drops the complaint of a rollback after SQLite has rolled
// back by itself.
func ignoreNoTransaction(err error) error {
	var fault *driver.Error
	if errors.As(err, &fault) && fault.Code() == sqlite3.SQLITE_ERROR {
		return nil
	}
	return err
}

// one runs a job and notes what becomes of it: behind a savepoint of its own where
// others share the transaction. It returns an error where the whole transaction is
// lost: with the only job, or after a full disk, for one, when SQLite has rolled
// back by itself and the next statement would commit alone.
func (w *writer) one(j *job, shared bool) error {
	if j.err = j.ctx.Err(); j.err != nil {
		return nil
	}
	if !shared {
		return j.run(w)
	}
	if _, err := w.exec(`SAVEPOINT change`); err != nil {
		return err
	}
	if j.err = j.run(w); j.err != nil {
		if !ofOneChange(j.err) {
			return j.err
		}
		j.err = sqliteFault(j.err)
		if _, err := w.exec(`ROLLBACK TO change`); err != nil {
			return err
		}
	}
	_, err := w.exec(`RELEASE change`)
	return err
}

// ofOneChange says that the error is about one change and not about the database.
func ofOneChange(err error) bool {
	var fault *driver.Error
	if errors.As(err, &fault) {
		code := fault.Code() & 0xff
		return code == sqlite3.SQLITE_CONSTRAINT || code == sqlite3.SQLITE_MISMATCH || code == sqlite3.SQLITE_TOOBIG
	}
	return known(err)
}

// statement returns the prepared form of a text, to be run once.
func (w *writer) statement(text string) (*sql.Stmt, error) {
	w.options.tell(text)
	if known, ok := w.prepared[text]; ok {
		return known, nil
	}
	statement, err := w.conn.PrepareContext(context.Background(), text)
	if err == nil {
		w.prepared[text] = statement
	}
	return statement, err
}

func (w *writer) exec(text string, args ...any) (sql.Result, error) {
	statement, err := w.statement(text)
	if err != nil {
		return nil, err
	}
	return statement.Exec(args...)
}

// write queues the transaction.
func (w *writer) write(ctx context.Context, tx transaction) error {
	// What can fail about the arguments alone fails before the queue.
	var statements []statement
	for _, s := range tx.statements {
		if s.form != nil {
			statements = s.spelled(statements)
			continue
		}
		s.args = sqliteArgs(s.args)
		statements = append(statements, s)
	}
	tx.statements = statements
	return w.do(ctx, func(w *writer) error { return w.apply(tx) })
}

func (w *writer) apply(tx transaction) error {
	for _, guard := range tx.guards {
		if err := w.guard(guard); err != nil {
			return err
		}
	}
	for _, s := range tx.statements {
		if s.finds {
			if err := w.find(s); err != nil {
				return err
			}
			continue
		}
		result, err := w.exec(sqliteDialect.text(s.query, false), s.args...)
		if err != nil {
			return sqliteRefusal(err, s.otherwise)
		}
		if !s.counted() {
			continue
		}
		if touched, err := result.RowsAffected(); err != nil {
			return err
		} else if touched != 1 {
			return s.otherwise
		}
	}
	return nil
}

// find runs a statement that must find one row.
func (w *writer) find(s statement) error {
	statement, err := w.statement(sqliteDialect.text(s.query, false))
	if err != nil {
		return err
	}
	var found int64
	if err := statement.QueryRow(s.args...).Scan(&found); errors.Is(err, sql.ErrNoRows) {
		return s.otherwise
	} else {
		return err
	}
}

func (w *writer) guard(guard store.Guard) error {
	check, err := w.statement(`SELECT coalesce((SELECT version FROM guard WHERE key = ?), 0)`)
	if err != nil {
		return err
	}
	var version int64
	if err := check.QueryRow(guard.Key).Scan(&version); err != nil {
		return err
	}
	if version != guard.Version {
		return &store.Changed{Key: guard.Key}
	}
	if guard.Next == 0 {
		return nil
	}
	_, err = w.exec(`INSERT INTO guard (key, version) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET version = excluded.version`, guard.Key, guard.Next)
	return err
}

// claim leases due items; nobody else writes meanwhile.
func (w *writer) claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	var claimed []store.Work
	err := w.do(ctx, func(w *writer) error {
		claimed = nil
		text, args := dueText(workColumns, claim)
		due, err := w.statement(sqliteDialect.text(text, false))
		if err != nil {
			return err
		}
		rows, err := due.Query(args...)
		if err := visitRows(rows, err, func(row row) error {
			item, err := scanWork(row)
			claimed = append(claimed, item)
			return err
		}); err != nil {
			return err
		}
		for i := range claimed {
			c := &claimed[i]
			c.ClaimedAt, c.LeaseUntil, c.LeasedBy, c.Reported = claim.Now, claim.Now.Add(claim.Lease), claim.Owner, false
			c.DueAt, c.Attempt = c.LeaseUntil, c.Attempt+1
			if _, err := w.exec(`UPDATE work SET due_at = ?, attempt = ?, claimed_at = ?, lease_until = ?, leased_by = ?, reported = 0 WHERE key = ?`,
				int64(c.DueAt), c.Attempt, int64(c.ClaimedAt), int64(c.LeaseUntil), c.LeasedBy, c.Key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.closing) })
	<-w.done
	var err error
	// Nobody else closes what was prepared on one connection, and with it open
	// SQLite keeps the log beside the file.
	for _, statement := range w.prepared {
		err = errors.Join(err, statement.Close())
	}
	clear(w.prepared)
	return errors.Join(err, w.conn.Close(), w.db.Close())
}

func jsonList(values list) string {
	if values == nil {
		// null would be a list of one that is not there.
		values = list{}
	}
	text, err := json.Marshal([]string(values))
	if err != nil {
		panic("sqlstore: a list of texts has no JSON: " + err.Error())
	}
	return string(text)
}
