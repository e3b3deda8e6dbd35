package sqlstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

const (
	// commitTimeout is how long a commit waits for the database before its outcome
	// counts as unknown.
	commitTimeout = 30 * time.Second
	// lanes is how many commits, and how many reads, a replica has under way. What
	// waits meanwhile shares the next one.
	lanes = 4
)

// write commits the transaction, alone or with others that wait at the same time:
// one look at their guards, one statement for each table, one sync to disk. They
// have nothing in common, so that each is as it would be alone; when one of them
// fails, the others are written without it. A caller that goes away before its turn
// has written nothing; once it has begun its outcome is awaited.
func (p *postgres) write(ctx context.Context, tx transaction) error {
	if err := ctx.Err(); err != nil || len(tx.guards)+len(tx.statements) == 0 {
		return err
	}
	return p.commits.do(ctx, tx, gather, p.commit)
}

// gather takes those out of the queue that can share a transaction with the leader,
// in their order.
func gather(leader *waiter[transaction], waiting []*waiter[transaction]) (batch, left []*waiter[transaction]) {
	batch = []*waiter[transaction]{leader}
	shared := newShared(leader.what)
	for _, w := range waiting {
		if len(batch) < mostTogether && shared.admits(w.what) {
			batch = append(batch, w)
		} else {
			left = append(left, w)
		}
	}
	return batch, left
}

// shared is what transactions rely on and write that are to be one.
type shared struct {
	alone  bool
	guards map[string]store.Guard
	writes map[string]bool
}

func newShared(tx transaction) *shared {
	s := &shared{alone: tx.writes == nil, guards: map[string]store.Guard{}, writes: map[string]bool{}}
	s.take(tx)
	return s
}

func (s *shared) take(tx transaction) {
	for _, guard := range tx.guards {
		s.guards[guard.Key] = guard
	}
	for _, key := range tx.writes {
		s.writes[key] = true
	}
}

// admits takes the transaction in, unless it writes what another one writes, or
// relies on what another one moves on.
func (s *shared) admits(tx transaction) bool {
	if s.alone || tx.writes == nil {
		return false
	}
	for _, guard := range tx.guards {
		if other, known := s.guards[guard.Key]; known && (other.Version != guard.Version || other.Next != 0 || guard.Next != 0) {
			return false
		}
	}
	for _, key := range tx.writes {
		if s.writes[key] {
			return false
		}
	}
	s.take(tx)
	return true
}

// commit writes the batch and tells each of its transactions what became of it.
func (p *postgres) commit(batch []*waiter[transaction]) {
	for len(batch) > 0 {
		err := p.send(batch)
		var guard *guardChanged
		switch {
		case errors.As(err, &guard):
			// Those that relied on it are refused, and the others are not.
			batch = slices.DeleteFunc(batch, func(w *waiter[transaction]) bool {
				relied := slices.ContainsFunc(w.what.guards, func(g store.Guard) bool { return g.Key == guard.key })
				if relied {
					w.tell(&store.Changed{Key: guard.key})
				}
				return relied
			})
			continue
		case len(batch) > 1 && ofOne(err):
			for _, w := range batch {
				go p.commit([]*waiter[transaction]{w})
			}
		default:
			for _, w := range batch {
				w.tell(err)
			}
		}
		return
	}
}

// ofOne says that nothing was written and that the error is about one of the changes,
// as a text that the database cannot keep, and not about the database.
func ofOne(err error) bool {
	var changed *store.Changed
	var taken *store.Duplicate
	var fault *pgconn.PgError
	return errors.As(err, &changed) || errors.As(err, &taken) || errors.As(err, &fault) && countersign.KindOf(err) == countersign.Internal
}

// guardChanged says that a guard has another version than was relied on.
type guardChanged struct{ key string }

func (g *guardChanged) Error() string { return g.key + " has changed" }

// send sends the batch in one round trip: the server runs a pipeline as one
// transaction and commits at its end, or stops at the first error and commits
// nothing.
func (p *postgres) send(together []*waiter[transaction]) error {
	// A caller that goes away must not leave a commit whose outcome nobody knows.
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return postgresFault(err)
	}
	defer conn.Release()
	tx := merged(together)
	var batch pgx.Batch
	queueGuards(&batch, tx.guards)
	guards := batch.Len()
	for _, s := range tx.statements {
		if s.form != nil {
			text, args := s.arrays()
			batch.Queue(text, args...)
			continue
		}
		batch.Queue(postgresDialect.text(s.query, s.counted()), postgresArgs(s.args)...)
	}
	results := conn.SendBatch(ctx, &batch)
	for i := range batch.Len() {
		_, err := results.Exec()
		if err == nil {
			continue
		}
		var refusal error
		if i >= guards {
			refusal = tx.statements[i-guards].otherwise
		}
		err = commitFault(errors.Join(postgresRefusal(err, refusal), ignoreSame(results.Close(), err)))
		var changed *store.Changed
		if i < guards && errors.As(err, &changed) && changed.Key != databaseChanged {
			return &guardChanged{changed.Key}
		}
		return err
	}
	return commitFault(results.Close())
}

// merged makes one transaction of several.
func merged(batch []*waiter[transaction]) transaction {
	if len(batch) == 1 {
		return batch[0].what
	}
	var all transaction
	for _, w := range batch {
		all.guards, all.statements = append(all.guards, w.what.guards...), append(all.statements, w.what.statements...)
	}
	slices.SortStableFunc(all.guards, func(a, b store.Guard) int {
		return cmp.Compare(a.Key, b.Key)
	})
	all.guards = slices.CompactFunc(all.guards, func(a, b store.Guard) bool { return a.Key == b.Key })
	all.statements = together(all.statements)
	return all
}

// queueGuards locks the guards, compares their versions and moves on those that
// have a next one; an error of it names the guard by itself. The locks are advisory
// ones because their queue is fair: a commit that moves a guard on waits for those
// that hold it shared and for no later one, which shared row locks do not promise.
// Each statement sees what was committed before it began, so the second one sees all
// that the locks waited for.
func queueGuards(batch *pgx.Batch, guards []store.Guard) {
	if len(guards) == 0 {
		return
	}
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
