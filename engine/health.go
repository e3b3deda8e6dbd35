package engine

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
)

// Health is how the engine of this process is doing, since it began.
type Health struct {
	// Offset is how far this replica's clock is ahead of the database's, in
	// milliseconds; 0 where the database has no clock of its own.
	Offset int64
	// BeatAt is when the last beat did all that it should.
	BeatAt countersign.Instant
	// Failures counts steps that failed, by name.
	Failures map[string]int64
	// Operations counts what connectors did.
	Operations map[Outcome]int64
}

// Outcome is what became of an operation: "done", or the kind of the failure.
type Outcome struct {
	Connector, Operation, Result string
}

// steps are those of Run that can fail; each is counted from 0 on.
var steps = []string{"batches", "beat", "claim", "deliver", "identities", "last used", "reconcile", "release", "renewing keys", "sweep", "tell", "timers", "write"}

// health collects a Health. The zero value is ready.
type health struct {
	offset, beat atomic.Int64

	lock       sync.Mutex
	failures   map[string]int64
	operations map[Outcome]int64
}

func (h *health) failed(step string) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.failures == nil {
		h.failures = map[string]int64{}
	}
	h.failures[step]++
}

func (h *health) carriedOut(delivery *desk.Delivery, err error) {
	result := "done"
	var failure *connector.Failure
	if errors.As(err, &failure) {
		result = string(failure.Kind)
	} else if err != nil {
		result = string(connector.Transient)
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.operations == nil {
		h.operations = map[Outcome]int64{}
	}
	h.operations[Outcome{delivery.Connector, string(delivery.Intent.Operation), result}]++
}

// Health says how the engine is doing.
func (e *Engine) Health() Health {
	h := &e.health
	h.lock.Lock()
	defer h.lock.Unlock()
	now := Health{Offset: h.offset.Load(), BeatAt: countersign.Instant(h.beat.Load()), Failures: map[string]int64{}, Operations: maps.Clone(h.operations)}
	for _, step := range steps {
		now.Failures[step] = h.failures[step]
	}
	return now
}
