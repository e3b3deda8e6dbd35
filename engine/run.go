package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// Run calls the steps until the context ends. Then it claims nothing more, waits
// for the operations that are under way, which their deadlines bound, and gives
// back what was not begun.
func (e *Engine) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { e.keepBeating(ctx) })
	// A step that has claimed what is due is brought to its end, so that no lease
	// outlives this process.
	loops.Go(func() {
		e.keepDoing(ctx, "timers", func(ctx context.Context) (int, error) { return e.Timers(context.WithoutCancel(ctx)) })
	})
	loops.Go(func() {
		e.keepDoing(ctx, "sweep", func(ctx context.Context) (int, error) { return 0, e.Sweep(ctx) })
	})
	loops.Go(func() { e.keepDelivering(ctx) })
	loops.Go(func() { e.keepDoing(ctx, "tell", e.Tell) })
	loops.Go(func() { e.keepDoing(ctx, "write", e.Write) })
	loops.Go(func() {
		e.keepDoing(ctx, "batches", func(ctx context.Context) (int, error) { return e.Batches(context.WithoutCancel(ctx)) })
	})
	// A target that is read when the process stops is left to its lease.
	loops.Go(func() { e.keepDoing(ctx, "reconcile", e.Reconcile) })
	loops.Go(func() {
		e.keepDoing(ctx, "identities", func(ctx context.Context) (int, error) { return e.Identities(context.WithoutCancel(ctx)) })
	})
	loops.Wait()
}

// keepBeating beats, and does nothing else: who waited for ends, deliveries or sweeps
// could not show meanwhile that what it knows is fresh, and would refuse everybody.
func (e *Engine) keepBeating(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		err := e.Beat(ctx)
		e.logged(ctx, "beat", err)
		e.sound.Store(err == nil)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keepDoing calls a step until it finds nothing more to do, at every beat; what makes
// itself due again, as the next part of a sweep does, is taken at once. The step
// itself says what it does when the context ends.
func (e *Engine) keepDoing(ctx context.Context, name string, step func(context.Context) (int, error)) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for e.sound.Load() && ctx.Err() == nil {
			done, err := step(ctx)
			e.logged(ctx, name, err)
			if done == 0 || err != nil {
				break
			}
		}
	}
}

// keepDelivering takes new work only while it has a free slot, and claims no more
// ahead than its workers do in a moment: what waits elsewhere is not leased, or its
// lease ends. While there is more to do than one claim gives, it claims again at
// once.
func (e *Engine) keepDelivering(ctx context.Context) {
	var workers sync.WaitGroup
	slots := make(chan struct{}, e.Workers)
	start := func(work store.Work) {
		workers.Go(func() {
			defer func() { <-slots }()
			e.logged(context.WithoutCancel(ctx), "deliver", e.Deliver(ctx, work))
		})
	}
	var ahead []store.Work
	more := false
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case slots <- struct{}{}:
		}
		if len(ahead) > 0 {
			start(ahead[0])
			ahead = ahead[1:]
			continue
		}
		if more {
			select {
			case work := <-e.Desk.Newborn():
				start(work)
				continue
			default:
			}
		} else {
			select {
			case <-ctx.Done():
				continue
			case work := <-e.Desk.Newborn():
				start(work)
				continue
			case <-ticker.C:
			}
		}
		<-slots
		if more = false; !e.sound.Load() {
			continue
		}
		works, err := e.Claim(ctx, e.Workers)
		e.logged(ctx, "claim", err)
		ahead, more = works, err == nil && len(works) == e.Workers
	}
	finished := make(chan struct{})
	go func() {
		workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(time.Duration(desk.OperationTime)*time.Second + releaseTime):
		e.Log.WarnContext(ctx, "an operation did not end at its deadline and is left to its lease")
	}
	e.release(context.WithoutCancel(ctx), ahead)
}

// release gives back what was leased to this replica and not begun, so that
// another one, or the next start, need not wait for the leases to end.
func (e *Engine) release(ctx context.Context, ahead []store.Work) {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	for _, work := range ahead {
		e.logged(ctx, "release", e.giveBack(ctx, work))
	}
	for ctx.Err() == nil {
		select {
		case work := <-e.Desk.Newborn():
			e.logged(ctx, "release", e.giveBack(ctx, work))
		default:
			return
		}
	}
}

const (
	// releaseTime bounds the last reports and what is given back at the end; leases
	// bound the rest.
	releaseTime = 5 * time.Second
	// patience is how long an operation may hold a slot while none of those of its
	// connector that are under way ends. A busy target lets one through within it,
	// and one that hangs does not.
	patience = 250 * time.Millisecond
)

// places bound what one connector may have under way, so that a target that
// hangs leaves slots to the others, and what gives access leaves some to what
// takes it away. The zero value is ready.
type places struct {
	lock sync.Mutex
	of   map[kindOfWork]*passage
}

// passage is what one connector may have under way of one kind of work.
type passage struct {
	free chan struct{}
	// left counts the operations that have ended.
	left atomic.Int64
}

type kindOfWork struct {
	connector string
	gives     bool
}

// enter takes a place for the delivery. What gives access has half of the slots
// for each connector, what takes it away a quarter. It waits for as long as the
// target lets others through.
func (p *places) enter(ctx context.Context, delivery *desk.Delivery, slots int) (leave func(), entered bool) {
	kind := kindOfWork{delivery.Connector, delivery.Intent.Operation == countersign.ApplyOperation || delivery.Intent.Operation == countersign.ExtendOperation}
	share := slots / 4
	if kind.gives {
		share = slots / 2
	}
	p.lock.Lock()
	if p.of == nil {
		p.of = map[kindOfWork]*passage{}
	}
	way := p.of[kind]
	if way == nil {
		way = &passage{free: make(chan struct{}, max(share, 1))}
		p.of[kind] = way
	}
	p.lock.Unlock()
	timer := time.NewTicker(patience)
	defer timer.Stop()
	for seen := way.left.Load(); ; {
		select {
		case <-ctx.Done():
			return nil, false
		case way.free <- struct{}{}:
			return func() {
				way.left.Add(1)
				<-way.free
			}, true
		case <-timer.C:
			left := way.left.Load()
			if left == seen {
				return nil, false
			}
			seen = left
		}
	}
}
