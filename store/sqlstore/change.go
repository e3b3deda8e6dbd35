package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Commit writes the whole change or nothing of it; see store.Store.
func (s *Store) Commit(ctx context.Context, change store.Change) error {
	tx, err := planChange(change)
	if err != nil {
		return err
	}
	return s.database.write(ctx, tx)
}

// The phases of a change, in an order that is the same for every change, so that two
// of them seldom wait for each other in a circle, and what needs something comes
// after it. Each table of nouns has phases of its own, and in them those rows come
// last that take a place of which there is one.
const (
	phaseUpdates = iota
	phaseInserts
	phaseStrangers
	phaseEntitlements
	phaseParties
	taking

	phasesOfTable = 2 * taking
)

const (
	phaseItems = 1000 + iota
	phaseHandles
	phaseHeads
	phaseEvents
	phaseValues
	phaseWorkOfClaim
	phaseWorkGone
	phaseWork
	phaseContents
	phaseIdempotency
)

// planChange turns a change into statements.
func planChange(change store.Change) (transaction, error) {
	tx := transaction{writes: []string{}}
	var err error
	if tx.guards, err = planGuards(change); err != nil {
		return tx, err
	}
	if err = tx.planWrites(change); err != nil {
		return tx, err
	}
	tx.planHandles(change.Handles)
	if err = tx.planEvents(change.Events); err != nil {
		return tx, err
	}
	if err = tx.planWork(change.Work); err != nil {
		return tx, err
	}
	tx.planContents("content", change.Contents)
	tx.planContents("policy_set", change.PolicySets)
	if change.Idempotency != nil {
		tx.planIdempotency(*change.Idempotency, change.Now)
	}
	tx.statements = together(tx.statements)
	return tx, nil
}

func (tx *transaction) add(statements ...statement) {
	tx.statements = append(tx.statements, statements...)
}

func (tx *transaction) wrote(key string) { tx.writes = append(tx.writes, key) }

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

func (tx *transaction) planWrites(change store.Change) error {
	writes := slices.Clone(change.Writes)
	slices.SortStableFunc(writes, func(a, b store.Write) int { return strings.Compare(a.Row.RowKey(), b.Row.RowKey()) })
	for _, write := range writes {
		table, err := tableOf(write.Row)
		if err != nil {
			return err
		}
		if write.Was < 0 || write.Row.RowVersion() <= write.Was {
			return internal("malformed-write", "the version of %s must rise: %d comes after %d", write.Row.RowKey(), write.Row.RowVersion(), write.Was)
		}
		if write.Before != nil && (write.Before.RowKey() != write.Row.RowKey() || write.Before.RowVersion() != write.Was) {
			return internal("malformed-write", "what %s was before is version %d of %s, and not version %d", write.Row.RowKey(), write.Before.RowVersion(), write.Before.RowKey(), write.Was)
		}
		if table.directory && change.DirectoryRevision <= 0 {
			return internal("malformed-write", "%s is a row of the directory: the change that writes it must set its directory revision", write.Row.RowKey())
		}
		body, err := countersign.Canonical(write.Row)
		if err != nil {
			return err
		}
		row := append([]any{write.Row.RowVersion(), string(body)}, table.derive(write.Row)...)
		if table.directory {
			row = append(row, change.DirectoryRevision)
		}
		row = append(row, write.Row.RowKey())
		// What takes a unique place comes last, after what frees it in the same change.
		phase := table.at * phasesOfTable
		if takes(write.Row) {
			phase += taking
		}
		changed := &store.Changed{Key: write.Row.RowKey()}
		if write.Was > 0 {
			tx.add(table.update.of(phase+phaseUpdates, changed, append(row, write.Was)))
		} else {
			tx.add(table.insert.of(phase+phaseInserts, changed, row))
		}
		tx.wrote(write.Row.RowKey())
		if request, ok := write.Row.(*countersign.Request); ok {
			tx.planRequest(request, write, phase)
		}
	}
	return nil
}

// takes reports whether a row takes a place of which there is one.
func takes(row countersign.Row) bool {
	switch row := row.(type) {
	case *countersign.Request:
		return row.State.Open()
	case *countersign.Grant:
		return !row.State.Ended()
	}
	return false
}

// planRequest keeps the rows beside a request. What follows from the row that it
// was made from as from the new one stays as it is, which is most of it.
func (tx *transaction) planRequest(r *countersign.Request, write store.Write, phase int) {
	before, _ := write.Before.(*countersign.Request)
	entitlements := wanted(r)
	if before == nil || before.Beneficiary != r.Beneficiary || before.Type != r.Type || before.State.Open() != r.State.Open() || !slices.Equal(wanted(before), entitlements) {
		if write.Was > 0 && (before == nil || !slices.Equal(wanted(before), entitlements)) {
			tx.add(statement{phase: phase + phaseStrangers, query: `DELETE FROM request_entitlement WHERE request = ? AND entitlement NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), texts(entitlements)}})
		}
		for _, entitlement := range entitlements {
			tx.add(entitlementForm.of(phase+phaseEntitlements, nil, []any{string(r.ID), string(r.Beneficiary), r.Type, r.State.Open(), string(entitlement)}))
		}
	}
	all, awaited := parties(r)
	var allBefore, awaitedBefore []countersign.IdentityID
	if before != nil {
		allBefore, awaitedBefore = parties(before)
	}
	if write.Was > 0 && (before == nil || !slices.Equal(all, allBefore)) {
		tx.add(statement{phase: phase + phaseStrangers, query: `DELETE FROM request_party WHERE request = ? AND identity NOT IN (SELECT value FROM {list})`, args: []any{string(r.ID), texts(all)}})
	}
	for _, party := range all {
		waits := slices.Contains(awaited, party)
		if before == nil || !slices.Contains(allBefore, party) || slices.Contains(awaitedBefore, party) != waits {
			tx.add(partyForm.of(phase+phaseParties, nil, []any{string(r.ID), string(party), waits}))
		}
	}
}

func (tx *transaction) planHandles(handles []store.HandleWrite) {
	handles = slices.Clone(handles)
	slices.SortStableFunc(handles, func(a, b store.HandleWrite) int { return strings.Compare(a.Handle.Key(), b.Handle.Key()) })
	for _, write := range handles {
		tx.wrote(write.Handle.Key())
		tx.add(statement{
			phase: phaseHandles,
			query: `INSERT INTO handle (key, identity, removed) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET removed = excluded.removed WHERE handle.identity = excluded.identity`,
			args:      []any{write.Handle.Key(), string(write.Identity), write.Removed},
			otherwise: &store.Duplicate{Constraint: store.OneHandle}})
	}
}

// planEvents appends events to their streams. An event that does not follow
// from the stream's head, as a fork or with a gap, is one that somebody else
// was faster with. The first of each stream must find the head there, which stays
// for ever once it is; what follows it in this change need only follow from the
// one before.
func (tx *transaction) planEvents(events []countersign.SealedEvent) error {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b countersign.SealedEvent) int {
		return cmp.Or(strings.Compare(string(a.Header.Stream), string(b.Header.Stream)), cmp.Compare(a.Header.Seq, b.Header.Seq))
	})
	for i, event := range events {
		header, err := event.Header.Canonical()
		if err != nil {
			return err
		}
		stream, seq := event.Header.Stream, event.Header.Seq
		changed := &store.Changed{Key: string(stream)}
		first := i == 0 || events[i-1].Header.Stream != stream
		if first {
			tx.wrote(string(stream))
		}
		switch {
		case stream == "" || seq < 1 || (seq == 1) != (event.Header.Prev == countersign.Hash{}):
			return internal("malformed-event", "event %d of the stream %q does not name what is before it", seq, stream)
		case first && seq > 1:
			tx.add(headForm.of(phaseHeads, changed, []any{string(stream), seq - 1, event.Header.Prev[:]}))
		case !first && (seq != events[i-1].Header.Seq+1 || event.Header.Prev != events[i-1].Hash):
			return changed
		}
		tx.add(eventForm.of(phaseEvents, changed, []any{string(stream), seq, event.Hash[:], string(header)}))
		for _, value := range event.Values {
			content := value.Bytes
			if content == nil {
				content = []byte{}
			}
			tx.add(valueForm.of(phaseValues, changed, []any{string(stream), seq, string(value.Group), value.Salt[:], content}))
		}
	}
	return nil
}

func (tx *transaction) planContents(table string, contents []store.Content) {
	contents = slices.Clone(contents)
	slices.SortStableFunc(contents, func(a, b store.Content) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	for _, content := range contents {
		bytes := content.Bytes
		if bytes == nil {
			bytes = []byte{}
		}
		tx.add(statement{
			phase: phaseContents,
			query: `INSERT INTO ` + table + ` (digest, bytes) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING`,
			args:  []any{string(content.Digest), bytes}})
	}
}

// planIdempotency keeps an answer, and removes a few that are past their time:
// more than one, so that what is kept does not grow for ever.
func (tx *transaction) planIdempotency(i store.Idempotency, now countersign.Instant) {
	expired := int64(now.Add(-store.KeepAnswers))
	tx.wrote(i.Caller + "\n" + i.Route + "\n" + i.Key)
	tx.add(
		statement{phase: phaseIdempotency, query: `DELETE FROM idempotency WHERE (caller, route, key) IN
			(SELECT caller, route, key FROM idempotency WHERE at < ? ORDER BY at LIMIT 8 {locking})`,
			args: []any{expired}},
		statement{phase: phaseIdempotency, query: `INSERT INTO idempotency (caller, route, key, body, object, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (caller, route, key) DO UPDATE SET body = excluded.body, object = excluded.object, at = excluded.at
			WHERE idempotency.at < ?`,
			args:      []any{i.Caller, i.Route, i.Key, string(i.Body), i.Object, int64(i.At), expired},
			otherwise: &store.Duplicate{Constraint: store.OneIdempotencyKey}})
}
