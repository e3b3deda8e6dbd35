package store

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/countersign/countersign"
)

const (
	// tries is how often Again has something written.
	tries = 12
	// firstPause and longestPause bound what is waited between two tries; together they
	// are some two seconds.
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// Again has write look, decide and commit, and again from the start while somebody
// else changes what it relied on. Between two tries it waits for a random moment, the
// longer the more often it lost: of many that write to one stream at once, one wins
// each time, and those that come back together lose together. The moments are drawn
// from random, so that a simulation can draw them again. Who lost every time is told
// that it is busy, Unavailable, because of the last *Changed. Nothing is written then,
// nor when the context ends in between.
func Again(ctx context.Context, random io.Reader, write func() error) error {
	longest := firstPause
	for try := 1; ; try++ {
		err := write()
		var changed *Changed
		if !errors.As(err, &changed) {
			return err
		}
		if try == tries {
			return countersign.Errorf(countersign.Unavailable, "busy", "others wrote at the same time, %d times in a row; nothing was written", tries).Because(changed)
		}
		var drawn [8]byte
		if _, err := io.ReadFull(random, drawn[:]); err != nil {
			return countersign.Errorf(countersign.Internal, "no-entropy", "no random bytes: %v", err)
		}
		timer := time.NewTimer(time.Duration(binary.BigEndian.Uint64(drawn[:]) % uint64(longest)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		longest = min(2*longest, longestPause)
	}
}
