package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// keepAnswers is how long an idempotency key is kept.
const keepAnswers = 48 * countersign.Hour

// Commit writes the whole change or nothing of it; see store.Store.
func (s *Store) Commit(ctx context.Context, change store.Change) error {
	tx, err := planChange(change)
	if err != nil {
		return err
	}
	return s.database.write(ctx, tx)
}

// planChange turns a change into statements, in an order that is the same for
// every change, so that two of them seldom wait for each other in a circle.
func planChange(change store.Change) (transaction, error) {
	var tx transaction
	var err error
	if tx.guards, err = planGuards(change); err != nil {
		return tx, err
	}
	if tx.statements, err = planWrites(tx.statements, change); err != nil {
		return tx, err
	}
	tx.statements = planHandles(tx.statements, change.Handles)
	if tx.statements, err = planEvents(tx.statements, change.Events); err != nil {
		return tx, err
	}
	if tx.statements, err = planWork(tx.statements, change.Work); err != nil {
		return tx, err
	}
	tx.statements = planContents(tx.statements, "content", change.Contents)
	tx.statements = planContents(tx.statements, "policy_set", change.PolicySets)
	if change.Idempotency != nil {
		tx.statements = planIdempotency(tx.statements, *change.Idempotency, change.Now)
	}
	return tx, nil
}

// planGuards sorts the guards by key and makes one of those that share a key.
func planGuards(change store.Change) ([]store.Guard, error) {
	guards := slices.Clone(change.Guards)
	if change.DirectoryRevision > 0 {
		guards = append(guards, store.Guard{Key: store.GuardDirectory, Version: change.DirectoryRevision - 1, Next: change.DirectoryRevision})
	}
	slices.SortStableFunc(guards, func(a, b store.Guard) int { return strings.Compare(a.Key, b.Key) })
	merged := guards[:0]
	for _, guard := range guards {
		if guard.Key == "" || guard.Version < 0 || guard.Next != 0 && guard.Next <= guard.Version {
			return nil, internal("malformed-guard", "the guard %q must have a key and move on from version %d to a higher one, not to %d", guard.Key, guard.Version, guard.Next)
		}
		if last := len(merged) - 1; last >= 0 && merged[last].Key == guard.Key {
			if merged[last].Version != guard.Version {
				// It was read twice, before and after somebody moved it on.
				return nil, &store.Changed{Key: guard.Key}
			}
			merged[last].Next = max(merged[last].Next, guard.Next)
			continue
		}
		merged = append(merged, guard)
	}
	return merged, nil
}

func planWrites(statements []statement, change store.Change) ([]statement, error) {
	type planned struct {
		store.Write
		table *table
	}
	writes := make([]planned, 0, len(change.Writes))
	for _, write := range change.Writes {
		table, err := tableOf(write.Row)
		if err != nil {
			return nil, err
		}
		if write.Was < 0 || write.Row.RowVersion() <= write.Was {
			return nil, internal("malformed-write", "the version of %s must rise: %d comes after %d", write.Row.RowKey(), write.Row.RowVersion(), write.Was)
		}
		if table.directory && change.DirectoryRevision <= 0 {
			return nil, internal("malformed-write", "%s is a row of the directory: the change that writes it must set its directory revision", write.Row.RowKey())
		}
		writes = append(writes, planned{write, table})
	}
	// What takes a unique place comes last, after what frees it in the same change.
	slices.SortStableFunc(writes, func(a, b planned) int {
		return cmp.Or(strings.Compare(a.table.name, b.table.name), cmp.Compare(takes(a.Row), takes(b.Row)), strings.Compare(a.Row.RowKey(), b.Row.RowKey()))
	})
	for _, write := range writes {
		body, err := countersign.Canonical(write.Row)
		if err != nil {
			return nil, err
		}
		args := append([]any{write.Row.RowVersion(), string(body)}, write.table.derive(write.Row)...)
		if write.table.directory {
			args = append(args, change.DirectoryRevision)
		}
		query := write.table.insert
		args = append(args, write.Row.RowKey())
		if write.Was > 0 {
			query = write.table.update
			args = append(args, write.Was)
		}
		statements = append(statements, statement{query, args, &store.Changed{Key: write.Row.RowKey()}})
		if request, ok := write.Row.(*countersign.Request); ok {
			statements = planRequest(statements, request, write.Was == 0)
		}
	}
	return statements, nil
}

// takes returns 1 for a row that takes a place of which there is one, and 0.
func takes(row countersign.Row) int {
	switch row := row.(type) {
	case *countersign.Request:
		if row.State.Open() {
			return 1
		}
	case *countersign.Grant:
		if !row.State.Ended() {
			return 1
		}
	}
	return 0
}

// planRequest keeps the rows beside a request. Rows that stay as they are stay
// untouched, which is most of them.
func planRequest(statements []statement, r *countersign.Request, created bool) []statement {
	entitlements := texts(wanted(r))
	all, awaited := parties(r)
	if !created {
		statements = append(statements,
			statement{query: `DELETE FROM request_entitlement WHERE request = ? AND entitlement NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), entitlements}},
			statement{query: `DELETE FROM request_party WHERE request = ? AND identity NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), texts(all)}})
	}
	return append(statements,
		statement{query: `INSERT INTO request_entitlement (request, holder, type, open, entitlement)
			SELECT ?, ?, ?, ?, value FROM {list} WHERE true ORDER BY value
			ON CONFLICT (request, entitlement) DO UPDATE SET holder = excluded.holder, type = excluded.type, open = excluded.open
			WHERE request_entitlement.holder <> excluded.holder OR request_entitlement.type <> excluded.type OR request_entitlement.open <> excluded.open`,
			args: []any{string(r.ID), string(r.Beneficiary), r.Type, r.State.Open(), entitlements}},
		statement{query: `INSERT INTO request_party (request, identity, awaited)
			SELECT ?, party.value, party.value IN (SELECT value FROM {list}) FROM (SELECT value FROM {list}) AS party WHERE true
			ON CONFLICT (request, identity) DO UPDATE SET awaited = excluded.awaited
			WHERE request_party.awaited <> excluded.awaited`,
			args: []any{string(r.ID), texts(awaited), texts(all)}})
}

func planHandles(statements []statement, handles []store.HandleWrite) []statement {
	handles = slices.Clone(handles)
	slices.SortStableFunc(handles, func(a, b store.HandleWrite) int { return strings.Compare(a.Handle.Key(), b.Handle.Key()) })
	for _, write := range handles {
		statements = append(statements, statement{
			`INSERT INTO handle (key, identity, removed) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET removed = excluded.removed WHERE handle.identity = excluded.identity`,
			[]any{write.Handle.Key(), string(write.Identity), write.Removed},
			&store.Duplicate{Constraint: store.OneHandle}})
	}
	return statements
}

// planEvents appends events to their streams. An event that does not follow
// from the stream's head, as a fork or with a gap, is one that somebody else
// was faster with.
func planEvents(statements []statement, events []countersign.SealedEvent) ([]statement, error) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b countersign.SealedEvent) int {
		return cmp.Or(strings.Compare(string(a.Header.Stream), string(b.Header.Stream)), cmp.Compare(a.Header.Seq, b.Header.Seq))
	})
	for _, event := range events {
		header, err := countersign.Canonical(event.Header)
		if err != nil {
			return nil, err
		}
		stream, seq := string(event.Header.Stream), event.Header.Seq
		if stream == "" || seq < 1 || (seq == 1) != (event.Header.Prev == countersign.Hash{}) {
			return nil, internal("malformed-event", "event %d of the stream %q does not name what is before it", seq, stream)
		}
		changed := &store.Changed{Key: stream}
		if seq == 1 {
			statements = append(statements, statement{
				`INSERT INTO event (stream, seq, hash, header) VALUES (?, 1, ?, ?)`,
				[]any{stream, event.Hash[:], string(header)}, changed})
		} else {
			statements = append(statements, statement{
				`INSERT INTO event (stream, seq, hash, header)
				SELECT stream, seq + 1, ?, ? FROM event WHERE stream = ? AND seq = ? AND hash = ?`,
				[]any{event.Hash[:], string(header), stream, seq - 1, event.Header.Prev[:]}, changed})
		}
		for _, value := range event.Values {
			content := value.Bytes
			if content == nil {
				content = []byte{}
			}
			statements = append(statements, statement{
				`INSERT INTO event_value (stream, seq, value_group, salt, bytes) VALUES (?, ?, ?, ?, ?)`,
				[]any{stream, seq, string(value.Group), value.Salt[:], content}, changed})
		}
	}
	return statements, nil
}

func planContents(statements []statement, table string, contents []store.Content) []statement {
	contents = slices.Clone(contents)
	slices.SortStableFunc(contents, func(a, b store.Content) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	for _, content := range contents {
		bytes := content.Bytes
		if bytes == nil {
			bytes = []byte{}
		}
		statements = append(statements, statement{
			query: `INSERT INTO ` + table + ` (digest, bytes) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING`,
			args:  []any{string(content.Digest), bytes}})
	}
	return statements
}

// planIdempotency keeps an answer, and removes a few that are past their time:
// more than one, so that what is kept does not grow for ever.
func planIdempotency(statements []statement, i store.Idempotency, now countersign.Instant) []statement {
	expired := int64(now.Add(-keepAnswers))
	return append(statements,
		statement{query: `DELETE FROM idempotency WHERE (caller, route, key) IN
			(SELECT caller, route, key FROM idempotency WHERE at < ? ORDER BY at LIMIT 8 {locking})`,
			args: []any{expired}},
		statement{`INSERT INTO idempotency (caller, route, key, body, object, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (caller, route, key) DO UPDATE SET body = excluded.body, object = excluded.object, at = excluded.at
			WHERE idempotency.at < ?`,
			[]any{i.Caller, i.Route, i.Key, string(i.Body), i.Object, int64(i.At), expired},
			&store.Duplicate{Constraint: store.OneIdempotencyKey}})
}
