package pdp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// followPage is how many changes are read at a time.
const followPage = 4000

const beatPrefix = "beat/"

// beatEvery is how often a replica proves that it hears its own heartbeat.
const beatEvery = time.Second

// heartbeat is the replica's own item on the shelf. Only one version of it is
// under way at a time: writing the next one would hide the one that is awaited.
type heartbeat struct {
	key     string
	version int64
	// begun is when the awaited version was written; zero while none is.
	begun time.Time
}

// Follow is one step: it takes over what changed on the shelf since the last
// one, all of it at the first. A loop calls it, several times within the
// freshness bound. An item that cannot be understood gives nothing; it is
// reported, and does not hold up the others.
func (p *Point) Follow(ctx context.Context) error {
	p.following.Lock()
	defer p.following.Unlock()
	return p.follow(ctx, 0, false)
}

// follow is Follow with the lock held. It writes a heartbeat before its time where the
// last one has a lower version than atLeast. In short it does not look again for what
// has become visible meanwhile: the next look finds it.
func (p *Point) follow(ctx context.Context, atLeast int64, short bool) error {
	begun := p.clock.Now()
	if err := p.writeBeat(ctx, begun, atLeast); err != nil {
		return fmt.Errorf("heartbeat of the decision point: %w", err)
	}
	var poisoned []error
	for read := p.changes(ctx, p.position); ; {
		changes := <-read
		if countersign.ReasonOf(changes.err) == "unknown-position" {
			// The database is an older one, restored under us: nothing that is in
			// memory can be trusted, and the next step begins anew.
			p.forget()
		}
		if changes.err != nil {
			return fmt.Errorf("following the assignments: %w", changes.err)
		}
		last := changes.position == p.position || short && len(changes.items) < followPage
		if !last {
			// The next ones are read while these are taken over.
			read = p.changes(ctx, changes.position)
		}
		for _, item := range changes.items {
			if err := p.take(item); err != nil {
				poisoned = append(poisoned, err)
			}
		}
		p.position = changes.position
		if last {
			break
		}
	}
	if p.beat.key == "" {
		p.markFresh(begun)
	}
	return errors.Join(poisoned...)
}

// changes are what a look at the shelf found, and the position to go on from.
type changes struct {
	items    []store.Item
	position int64
	err      error
}

// changes reads what changed after the position. Who does not wait for it leaves
// nothing behind.
func (p *Point) changes(ctx context.Context, after int64) <-chan changes {
	read := make(chan changes, 1)
	go func() {
		var found changes
		found.items, found.position, found.err = p.shelf.Changes(ctx, after, followPage)
		read <- found
	}()
	return read
}

// look is one step of Follow that several checks wait for.
type look struct {
	done chan struct{}
	err  error
}

// CatchUp follows the shelf now, together with whoever waits for the same: the step
// begins after every one of them has asked. Where the shelf cannot be read it is the
// error of Answers.
func (p *Point) CatchUp(ctx context.Context) error {
	p.looks.Lock()
	mine := p.looks.next
	first := mine == nil
	if first {
		mine = &look{done: make(chan struct{})}
		p.looks.next = mine
	}
	p.looks.Unlock()
	if !first {
		select {
		case <-mine.done:
			return mine.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.following.Lock()
	p.looks.Lock()
	p.looks.next = nil
	p.looks.Unlock()
	// Others wait for it, too: it does not end with who came first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.freshness)
	defer cancel()
	mine.err = p.follow(ctx, 0, true)
	p.following.Unlock()
	if mine.err != nil {
		mine.err = stale().Because(mine.err)
	}
	close(mine.done)
	return mine.err
}

func (p *Point) take(item store.Item) error {
	if strings.HasPrefix(item.Key, beatPrefix) {
		if item.Key == p.beat.key && item.Version == p.beat.version && !p.beat.begun.IsZero() {
			p.markFresh(p.beat.begun)
			p.beat.begun = time.Time{}
		}
		return nil
	}
	if isUse(item.Key) {
		return nil
	}
	// Until it is understood, the item counts as removed.
	held := record{RemovedAt: 1}
	var damaged error
	if !item.Deleted {
		if held, damaged = decode(item); damaged != nil {
			held = record{RemovedAt: 1}
		}
	}
	return errors.Join(damaged, p.show(item.Key, held))
}

func (p *Point) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position, p.index, p.freshAt = 0, newIndex(), time.Time{}
}

func (p *Point) markFresh(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freshAt = at
}

// writeBeat writes the replica's next heartbeat if it is time for one, or if the last
// one has a lower version than atLeast; none while one is awaited.
func (p *Point) writeBeat(ctx context.Context, now time.Time, atLeast int64) error {
	p.mu.RLock()
	age := now.Sub(p.freshAt)
	p.mu.RUnlock()
	if p.beat.key == "" || !p.beat.begun.IsZero() || (p.beat.version >= atLeast && age >= 0 && age < beatEvery) {
		return nil
	}
	var changed *store.Changed
	err := p.commitBeat(ctx, now)
	if !errors.As(err, &changed) {
		return err
	}
	// An earlier process with this name, or an own write whose answer was lost,
	// went further.
	item, err := p.shelf.Item(ctx, p.beat.key)
	if err != nil {
		return err
	}
	p.beat.version = item.Version
	return p.commitBeat(ctx, now)
}

func (p *Point) commitBeat(ctx context.Context, now time.Time) error {
	err := p.shelf.Commit(ctx, store.ShelfChange{
		Now:  countersign.InstantOf(now),
		Puts: []store.Item{{Key: p.beat.key, Version: p.beat.version + 1, Body: []byte("{}")}},
	})
	if err == nil {
		p.beat.version++
		p.beat.begun = now
	}
	return err
}
