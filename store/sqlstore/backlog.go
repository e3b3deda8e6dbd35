package sqlstore

import (
	"context"
	"errors"
	"strconv"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// The queries of a backlog. Each reads one partial index that holds what waits and
// nothing else, and stops after so many of it.
var (
	backlogLimit = strconv.Itoa(store.BacklogLimit)

	dueWork = `SELECT value, (SELECT count(*) FROM (SELECT key FROM work WHERE parked_at = 0 AND kind = value AND due_at <= ? LIMIT ` + backlogLimit + `) AS due),
		(SELECT coalesce(min(due_at), 0) FROM work WHERE parked_at = 0 AND kind = value AND due_at <= ?) FROM {list}`
	parkedWork = `SELECT kind, count(*), min(parked_at) FROM (SELECT kind, parked_at FROM work WHERE parked_at <> 0 ORDER BY parked_at, key LIMIT ` + backlogLimit + `) AS parked GROUP BY kind`
	endings    = `SELECT count(*), coalesce(min(ending_since), 0) FROM (SELECT ending_since FROM access_grant WHERE ending_since <> 0 ORDER BY ending_since LIMIT ` + backlogLimit + `) AS ending`
	removals   = `SELECT count(*), coalesce(min(key), '') FROM (SELECT key FROM work WHERE key >= '` + store.RemovalsFrom + `' AND key < '` + store.RemovalsTo + `' ORDER BY key LIMIT ` + backlogLimit + `) AS removal`
	overdues   = `SELECT count(*) FROM (SELECT id FROM request WHERE overdue LIMIT ` + backlogLimit + `) AS overdue`
	findings   = `SELECT count(*), coalesce(min(id), '') FROM (SELECT id FROM finding WHERE open ORDER BY id LIMIT ` + backlogLimit + `) AS found`
	untold     = `SELECT ` + workColumns + ` FROM work {by untold} WHERE kind = 'notice' AND parked_at = 0 AND attempt > 0 ORDER BY attempt DESC LIMIT 1`
	unwritten  = `SELECT ` + workColumns + ` FROM work {by unwritten} WHERE kind = 'ticket' AND parked_at = 0 AND attempt > 0 ORDER BY attempt DESC LIMIT 1`
)

// Backlog says what waits; see store.Reader.
func (s *Store) Backlog(ctx context.Context, now countersign.Instant) (store.Backlog, error) {
	var backlog store.Backlog
	var errs [6]error
	backlog.Due, errs[0] = s.queues(ctx, dueWork, int64(now), int64(now), texts(store.WorkKinds))
	backlog.Parked, errs[1] = s.queues(ctx, parkedWork)
	errs[2] = one(ctx, s.database, "count of ends", endings, nil, &backlog.Ending.Count, &backlog.Ending.Oldest)
	errs[3] = one(ctx, s.database, "count of what is overdue", overdues, nil, &backlog.Overdue)
	oldest, removing, asked := "", 0, ""
	errs[5] = one(ctx, s.database, "count of removals", removals, nil, &removing, &asked)
	backlog.Ending.Count = min(backlog.Ending.Count+removing, store.BacklogLimit)
	backlog.Ending.Oldest = countersign.Earliest(backlog.Ending.Oldest, store.RemovalAsked(asked))
	errs[4] = one(ctx, s.database, "count of findings", findings, nil, &backlog.Findings.Count, &oldest)
	// Ids begin with the time of their making.
	backlog.Findings.Oldest = countersign.TimeOfID(oldest)
	for _, most := range []struct {
		query string
		into  *store.Work
	}{{untold, &backlog.Untold}, {unwritten, &backlog.Unwritten}} {
		items, err := s.works(ctx, most.query)
		if err != nil {
			return backlog, err
		}
		if len(items) > 0 {
			*most.into = items[0]
		}
	}
	return backlog, errors.Join(errs[:]...)
}

func (s *Store) queues(ctx context.Context, query string, args ...any) (map[store.WorkKind]store.Queue, error) {
	found := map[store.WorkKind]store.Queue{}
	err := s.database.query(ctx, query, func(row row) error {
		var kind store.WorkKind
		var queue store.Queue
		err := row.Scan(&kind, &queue.Count, &queue.Oldest)
		if queue.Count > 0 {
			found[kind] = queue
		}
		return err
	}, args...)
	return found, err
}
