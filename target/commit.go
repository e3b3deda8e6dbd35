package target

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Commit lets decide look and then writes what it decides, again from the start when
// others wrote meanwhile: to the same item or, more often, to the stream of the same
// system. Nil means that there is nothing to write. Nothing is written once notAfter
// has come; 0 is no limit.
func Commit(ctx context.Context, shelf store.Shelf, clock interface{ Now() time.Time }, notAfter countersign.Instant,
	decide func(now countersign.Instant) (*store.ShelfChange, error)) error {
	return store.Again(ctx, rand.Reader, func() error {
		now := countersign.InstantOf(clock.Now())
		change, err := decide(now)
		if err != nil || change == nil {
			return err
		}
		// Deciding takes time, so the deadline is compared with a later look at the
		// clock, next to the write.
		if notAfter != 0 && countersign.InstantOf(clock.Now()) >= notAfter {
			return countersign.Errorf(countersign.Unavailable, "deadline-passed", "the time for this operation ended at %s; nothing was written", notAfter)
		}
		change.Now = now
		return shelf.Commit(ctx, *change)
	})
}
