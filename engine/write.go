package engine

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/ticketing"
)

// Bounds of one step: so many items under leases that each could use up to the
// end.
const (
	writtenAtOnce = 5
	writingTime   = desk.Lease / (writtenAtOnce + 1)
)

// Write brings what became of requests into the tickets that opened them, and
// returns how many items it took. A ticket system that is away keeps its items for
// later. When the context ends, the item under way is brought to its end.
func (e *Engine) Write(ctx context.Context) (int, error) {
	ended := ctx.Done()
	ctx = context.WithoutCancel(ctx)
	works, err := e.Store.Claim(ctx, store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.TicketWork}, Limit: writtenAtOnce, Lease: desk.Lease})
	if err != nil {
		return 0, err
	}
	away := map[string]error{}
	for _, work := range works {
		select {
		case <-ended:
			err = errors.Join(err, e.Desk.WriteLater(ctx, work, 0))
		default:
			err = errors.Join(err, e.write(ctx, work, away))
		}
	}
	return len(works), err
}

// write takes one item. What is away is not tried twice in one step.
func (e *Engine) write(ctx context.Context, work store.Work, away map[string]error) error {
	writing, err := e.Desk.Writing(ctx, work)
	switch {
	case err != nil:
		return err // it comes back when its lease ends
	case writing.After != 0:
		return e.Desk.WriteLater(ctx, work, writing.After)
	case writing.Why != nil:
		return e.Desk.NotWritten(ctx, work, writing.Why)
	case away[writing.Name] != nil:
		return e.Desk.WriteLater(ctx, work, e.now().Add(max(awayTime, ticketing.After(away[writing.Name]))))
	case e.now() >= work.ClaimedAt.Add(desk.Lease-writingTime):
		return e.Desk.WriteLater(ctx, work, 0)
	}
	bounded, cancel := context.WithTimeout(ctx, time.Duration(writingTime)*time.Second)
	defer cancel()
	cause := writing.System.Write(bounded, writing.Note)
	if cause == nil {
		return e.Desk.Written(ctx, work)
	}
	if countersign.KindOf(cause) == countersign.Unavailable {
		away[writing.Name] = cause
	}
	e.Log.WarnContext(ctx, "a ticket was not written to", "system", writing.Name, "reason", countersign.ReasonOf(cause))
	return e.Desk.NotWritten(ctx, work, cause)
}

// awayTime is how long items are left that were not tried because their system was
// away.
const awayTime = 10 * countersign.Seconds(1)
