package sqlstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign"
)

// patience is how long one waits for a lane before it goes alone: what is under way
// may itself be kept waiting, by another replica for one.
const patience = 50 * time.Millisecond

// gathering lets what waits for the database at the same time go there together.
// Who finds a lane free takes it, with all that wait by then, and hands it on.
type gathering[T any] struct {
	lock    sync.Mutex
	waiting []*waiter[T]
	// free is how many lanes nobody is in.
	free int
}

// waiter is one that waits. It is told at most twice: that it leads, or of a fault
// of ours, and what became of it.
type waiter[T any] struct {
	what T
	told chan verdict
}

type verdict struct {
	leads bool
	err   error
}

func (w *waiter[T]) tell(err error) { w.told <- verdict{err: err} }

// do has run, which tells each of those that it is given, do what is asked, alone or
// together with others that gather takes out of those that wait. Who goes away before
// its turn was not begun; what was begun is awaited.
func (g *gathering[T]) do(ctx context.Context, what T, gather func(leader *waiter[T], waiting []*waiter[T]) (batch, left []*waiter[T]), run func(batch []*waiter[T])) error {
	w := &waiter[T]{what, make(chan verdict, 2)}
	if leads, verdict := g.enter(ctx, w); !leads {
		if verdict.leads {
			run([]*waiter[T]{w})
			return (<-w.told).err
		}
		return verdict.err
	}
	g.lock.Lock()
	var batch []*waiter[T]
	batch, g.waiting = gather(w, g.waiting)
	g.lock.Unlock()
	g.lead(batch, run)
	return (<-w.told).err
}

// lead runs the batch and hands the lane on. A fault of ours is its leader's to
// report; the others must not wait for ever meanwhile.
func (g *gathering[T]) lead(batch []*waiter[T], run func(batch []*waiter[T])) {
	others, ended := slices.Clone(batch[1:]), false
	defer func() {
		for _, other := range others {
			if !ended {
				other.tell(countersign.Errorf(countersign.Unavailable, "outcome-unknown", "what went to the database together did not end: read again what is stored"))
			}
		}
		g.lock.Lock()
		defer g.lock.Unlock()
		if len(g.waiting) > 0 {
			g.waiting[0].told <- verdict{leads: true}
			g.waiting = slices.Delete(g.waiting, 0, 1)
		} else {
			g.free++
		}
	}()
	run(batch)
	ended = true
}

// enter waits until a lane is free for the waiter, which it then leads, or until
// somebody took it along. Where neither comes in time it goes by itself: the
// verdict says that it leads, outside of any lane.
func (g *gathering[T]) enter(ctx context.Context, w *waiter[T]) (leads bool, _ verdict) {
	g.lock.Lock()
	if leads = g.free > 0; leads {
		g.free--
	} else {
		g.waiting = append(g.waiting, w)
	}
	g.lock.Unlock()
	if leads {
		return true, verdict{}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	gone := ctx.Done()
	for {
		select {
		case told := <-w.told:
			return told.leads, told
		case <-gone:
			if g.leave(w) {
				return false, verdict{err: ctx.Err()}
			}
			gone = nil
		case <-timer.C:
			if g.leave(w) {
				return false, verdict{leads: true}
			}
		}
	}
}

// leave takes the waiter out of those that wait; it is too late once it was told to
// lead, or was taken along.
func (g *gathering[T]) leave(w *waiter[T]) bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	at := slices.Index(g.waiting, w)
	if at >= 0 {
		g.waiting = slices.Delete(g.waiting, at, at+1)
	}
	return at >= 0
}
