package sqlstore

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/store"
)

const workColumns = `work.key, work.kind, work.ref, work.due_at, work.attempt, work.claimed_at, work.lease_until, work.leased_by, work.reported, work.parked_at, work.trouble`

func scanWork(row row, more ...any) (store.Work, error) {
	var w store.Work
	err := row.Scan(append([]any{&w.Key, &w.Kind, &w.Ref, &w.DueAt, &w.Attempt, &w.ClaimedAt, &w.LeaseUntil, &w.LeasedBy, &w.Reported, &w.ParkedAt, &w.Trouble}, more...)...)
	return w, err
}

// planWork writes one by one what asks for an attempt, and the rest together: an
// item that is written twice in one change is left as the last write wants it.
func (tx *transaction) planWork(writes []store.WorkWrite) error {
	writes = slices.Clone(writes)
	slices.SortStableFunc(writes, func(a, b store.WorkWrite) int { return strings.Compare(a.Work.Key, b.Work.Key) })
	var gone list
	for i, write := range writes {
		w := write.Work
		if w.Key == "" || write.Attempt < store.AnyAttempt {
			return internal("malformed-work", "the work item %q must have a key and an attempt, or store.AnyAttempt", w.Key)
		}
		tx.wrote(w.Key)
		changed := &store.Changed{Key: w.Key}
		values := []any{string(w.Kind), w.Ref, int64(w.DueAt), int64(w.Attempt), int64(w.ClaimedAt), int64(w.LeaseUntil), w.LeasedBy, w.Reported, int64(w.ParkedAt), w.Trouble, w.Key}
		switch {
		case write.Delete && write.Attempt != store.AnyAttempt:
			tx.add(statement{phase: phaseWorkOfClaim, query: `DELETE FROM work WHERE key = ? AND attempt = ?`, args: []any{w.Key, write.Attempt}, otherwise: changed})
		case write.Attempt != store.AnyAttempt:
			tx.add(statement{phase: phaseWorkOfClaim,
				query: `UPDATE work SET kind = ?, ref = ?, due_at = ?, attempt = ?, claimed_at = ?, lease_until = ?, leased_by = ?, reported = ?, parked_at = ?, trouble = ?
				WHERE key = ? AND attempt = ?`,
				args: append(values, write.Attempt), otherwise: changed})
		case i+1 < len(writes) && writes[i+1].Work.Key == w.Key:
			if writes[i+1].Attempt != store.AnyAttempt {
				return internal("malformed-work", "the work item %q is written without an attempt and then by one, which it cannot have", w.Key)
			}
		case write.Delete:
			gone = append(gone, w.Key)
		default:
			tx.add(workForm.of(phaseWork, nil, values))
		}
	}
	if len(gone) > 0 {
		tx.add(statement{phase: phaseWorkGone, query: `DELETE FROM work WHERE key {any}`, args: []any{gone}})
	}
	return nil
}

// dueText selects what is due of the kinds, what was due first first. Each kind is
// looked up by itself: among very many that are due, as ends that fall together, those
// of another kind would be passed over for each that is wanted.
func dueText(columns string, claim store.Claim) (string, []any) {
	var each []string
	var args []any
	for i, kind := range slices.Compact(slices.Sorted(slices.Values(claim.Kinds))) {
		each = append(each, `SELECT * FROM (SELECT `+columns+` FROM work WHERE parked_at = 0 AND kind = ? AND due_at <= ?
			ORDER BY due_at, key LIMIT ? {locking}) AS due_`+strconv.Itoa(i))
		args = append(args, string(kind), int64(claim.Now), claim.Limit)
	}
	return strings.Join(each, " UNION ALL ") + ` ORDER BY due_at, key LIMIT ?`, append(args, claim.Limit)
}

// Work returns the item under the key.
func (s *Store) Work(ctx context.Context, key string) (store.Work, error) {
	items, err := s.works(ctx, `SELECT `+workColumns+` FROM work WHERE key = ?`, key)
	if err == nil && len(items) == 0 {
		err = notFound("work item", key)
	}
	if err != nil {
		return store.Work{}, err
	}
	return items[0], nil
}

// Parked returns parked items of the kind.
func (s *Store) Parked(ctx context.Context, kind store.WorkKind, limit int) ([]store.Work, error) {
	return s.works(ctx, `SELECT `+workColumns+` FROM work WHERE parked_at <> 0 AND kind = ? ORDER BY trouble = '', parked_at, key LIMIT ?`, string(kind), most(limit))
}

func (s *Store) works(ctx context.Context, query string, args ...any) ([]store.Work, error) {
	var items []store.Work
	err := s.database.query(ctx, query, func(row row) error {
		item, err := scanWork(row)
		items = append(items, item)
		return err
	}, args...)
	return items, err
}
