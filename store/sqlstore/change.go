package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strconv"
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
		if write.Before != nil && (write.Before.RowKey() != write.Row.RowKey() || write.Before.RowVersion() != write.Was) {
			return nil, internal("malformed-write", "what %s was before is version %d of %s, and not version %d", write.Row.RowKey(), write.Before.RowVersion(), write.Before.RowKey(), write.Was)
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
		statements = append(statements, statement{query: query, args: args, otherwise: &store.Changed{Key: write.Row.RowKey()}, inserts: write.Was == 0})
		if request, ok := write.Row.(*countersign.Request); ok {
			statements = planRequest(statements, request, write.Write)
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

// planRequest keeps the rows beside a request. What follows from the row that it
// was made from as from the new one stays as it is, which is most of it.
func planRequest(statements []statement, r *countersign.Request, write store.Write) []statement {
	before, _ := write.Before.(*countersign.Request)
	entitlements := wanted(r)
	all, awaited := parties(r)
	if before == nil || before.Beneficiary != r.Beneficiary || before.Type != r.Type || before.State.Open() != r.State.Open() || !slices.Equal(wanted(before), entitlements) {
		if write.Was > 0 && (before == nil || !slices.Equal(wanted(before), entitlements)) {
			statements = append(statements, statement{query: `DELETE FROM request_entitlement WHERE request = ? AND entitlement NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), texts(entitlements)}})
		}
		statements = append(statements, statement{query: `INSERT INTO request_entitlement (request, holder, type, open, entitlement)
			SELECT ?, ?, ?, ?, value FROM {list} WHERE true ORDER BY value
			ON CONFLICT (request, entitlement) DO UPDATE SET holder = excluded.holder, type = excluded.type, open = excluded.open
			WHERE request_entitlement.holder <> excluded.holder OR request_entitlement.type <> excluded.type OR request_entitlement.open <> excluded.open`,
			args: []any{string(r.ID), string(r.Beneficiary), r.Type, r.State.Open(), texts(entitlements)}})
	}
	var allBefore, awaitedBefore []countersign.IdentityID
	if before != nil {
		if allBefore, awaitedBefore = parties(before); slices.Equal(all, allBefore) && slices.Equal(awaited, awaitedBefore) {
			return statements
		}
	}
	if write.Was > 0 && !slices.Equal(all, allBefore) {
		statements = append(statements, statement{query: `DELETE FROM request_party WHERE request = ? AND identity NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), texts(all)}})
	}
	return append(statements, statement{query: `INSERT INTO request_party (request, identity, awaited)
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
			query: `INSERT INTO handle (key, identity, removed) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET removed = excluded.removed WHERE handle.identity = excluded.identity`,
			args:      []any{write.Handle.Key(), string(write.Identity), write.Removed},
			otherwise: &store.Duplicate{Constraint: store.OneHandle}})
	}
	return statements
}

// planEvents appends events to their streams. An event that does not follow
// from the stream's head, as a fork or with a gap, is one that somebody else
// was faster with. The first of each stream must find the head there, which stays
// for ever once it is; what follows it in this change need only follow from the
// one before.
func planEvents(statements []statement, events []countersign.SealedEvent) ([]statement, error) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b countersign.SealedEvent) int {
		return cmp.Or(strings.Compare(string(a.Header.Stream), string(b.Header.Stream)), cmp.Compare(a.Header.Seq, b.Header.Seq))
	})
	var heads, added, values [][]any
	for i, event := range events {
		header, err := event.Header.Canonical()
		if err != nil {
			return nil, err
		}
		stream, seq := event.Header.Stream, event.Header.Seq
		first := i == 0 || events[i-1].Header.Stream != stream
		switch {
		case stream == "" || seq < 1 || (seq == 1) != (event.Header.Prev == countersign.Hash{}):
			return nil, internal("malformed-event", "event %d of the stream %q does not name what is before it", seq, stream)
		case first && seq > 1:
			heads = append(heads, []any{string(stream), seq - 1, event.Header.Prev[:]})
		case !first && (seq != events[i-1].Header.Seq+1 || event.Header.Prev != events[i-1].Hash):
			return nil, &store.Changed{Key: string(stream)}
		}
		added = append(added, []any{string(stream), seq, event.Hash[:], string(header)})
		for _, value := range event.Values {
			content := value.Bytes
			if content == nil {
				content = []byte{}
			}
			values = append(values, []any{string(stream), seq, string(value.Group), value.Salt[:], content})
		}
	}
	if len(events) == 0 {
		return statements, nil
	}
	changed := &store.Changed{Key: string(events[0].Header.Stream)}
	for part := range slices.Chunk(heads, mostRows) {
		query := `SELECT 1 FROM (SELECT count(*) AS found FROM event WHERE stream = ? AND seq = ? AND hash = ?` +
			strings.Repeat(` OR stream = ? AND seq = ? AND hash = ?`, len(part)-1) + `) AS heads WHERE found = ` + strconv.Itoa(len(part))
		statements = append(statements, statement{query: query, args: slices.Concat(part...), otherwise: changed, finds: true})
	}
	statements = insertRows(statements, `INSERT INTO event (stream, seq, hash, header)`, added, "", changed)
	return insertRows(statements, `INSERT INTO event_value (stream, seq, value_group, salt, bytes)`, values, "", changed), nil
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
		statement{query: `INSERT INTO idempotency (caller, route, key, body, object, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (caller, route, key) DO UPDATE SET body = excluded.body, object = excluded.object, at = excluded.at
			WHERE idempotency.at < ?`,
			args:      []any{i.Caller, i.Route, i.Key, string(i.Body), i.Object, int64(i.At), expired},
			otherwise: &store.Duplicate{Constraint: store.OneIdempotencyKey}})
}
