package connectortest

import (
	"sync"
	"time"

	"github.com/countersign/countersign"
)

// Clock stands still until it is moved. It is safe for many callers at once.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

// Now implements connector.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Instant is Now as an instant.
func (c *Clock) Instant() countersign.Instant { return countersign.InstantOf(c.Now()) }

// Advance moves the clock on, or back for a negative duration.
func (c *Clock) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}
