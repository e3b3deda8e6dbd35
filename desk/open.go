package desk

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

const (
	// wokenAtOnce is how many open requests a change makes due in its own commit.
	wokenAtOnce = 20
	// wokenTogether is how many a later one does.
	wokenTogether = 500
	openPrefix    = "open/"
)

// wakeRequests makes every request due that waits for somebody: who may decide
// can have changed. Where they are more than a few, that is work for afterwards: a
// suspension must not wait for what is asked for in the whole house. Whoever decides
// meanwhile meets the change by its guards.
func (tx *transaction) wakeRequests(ctx context.Context, cause string) error {
	waiting, err := tx.waiting(ctx, "", wokenAtOnce+1)
	if err != nil {
		return err
	}
	if len(waiting) > wokenAtOnce {
		work := store.Work{Key: openPrefix + cause, Kind: store.OpenWork, DueAt: tx.now()}
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: store.AnyAttempt})
		return nil
	}
	for _, request := range waiting {
		tx.look(string(request.ID), store.RequestWork, cause)
	}
	return nil
}

// waiting returns the newest requests that wait for somebody, older than the given one.
func (tx *transaction) waiting(ctx context.Context, before countersign.RequestID, limit int) ([]*countersign.Request, error) {
	return tx.desk.Store.Requests(ctx, store.RequestQuery{
		States: []countersign.RequestState{countersign.RequestCollecting, countersign.RequestDeciding}, Before: before, Limit: limit,
	})
}

// LookAtOpen makes the next requests due that wait for somebody, for each change of
// directory or policy that left it for afterwards.
func (d *Desk) LookAtOpen(ctx context.Context, works []store.Work) error {
	var failed error
	for _, work := range works {
		failed = errors.Join(failed, d.lookAtOpen(ctx, work))
	}
	return failed
}

func (d *Desk) lookAtOpen(ctx context.Context, work store.Work) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	waiting, err := tx.waiting(ctx, countersign.RequestID(work.Ref), wokenTogether)
	if err != nil {
		return err
	}
	for _, request := range waiting {
		tx.look(string(request.ID), store.RequestWork, strings.TrimPrefix(work.Key, openPrefix))
		work.Ref = string(request.ID)
	}
	next := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: tx.now()}
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: next, Attempt: work.Attempt, Delete: len(waiting) < wokenTogether})
	return late(tx.commit(ctx))
}
