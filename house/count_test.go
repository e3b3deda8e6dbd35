package house_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// countedStore counts what a command asks of storage: every read is one query or
// a few that belong together, every commit and claim is a transaction that writes.
type countedStore struct {
	store.Store
	reads, writes *atomic.Int64
}

func (s countedStore) Request(ctx context.Context, id countersign.RequestID) (*countersign.Request, error) {
	s.reads.Add(1)
	return s.Store.Request(ctx, id)
}

func (s countedStore) Requests(ctx context.Context, query store.RequestQuery) ([]*countersign.Request, error) {
	s.reads.Add(1)
	return s.Store.Requests(ctx, query)
}

func (s countedStore) Grant(ctx context.Context, id countersign.GrantID) (*countersign.Grant, error) {
	s.reads.Add(1)
	return s.Store.Grant(ctx, id)
}

func (s countedStore) Grants(ctx context.Context, query store.GrantQuery) ([]*countersign.Grant, error) {
	s.reads.Add(1)
	return s.Store.Grants(ctx, query)
}

func (s countedStore) Work(ctx context.Context, key string) (store.Work, error) {
	s.reads.Add(1)
	return s.Store.Work(ctx, key)
}

func (s countedStore) Directory(ctx context.Context, since int64) (store.Directory, error) {
	s.reads.Add(1)
	return s.Store.Directory(ctx, since)
}

func (s countedStore) Guards(ctx context.Context, keys []string) (map[string]int64, error) {
	s.reads.Add(1)
	return s.Store.Guards(ctx, keys)
}

func (s countedStore) Heads(ctx context.Context, streams []countersign.Stream) (map[countersign.Stream]store.Head, error) {
	s.reads.Add(1)
	return s.Store.Heads(ctx, streams)
}

func (s countedStore) Events(ctx context.Context, stream countersign.Stream, after int64, limit int) ([]countersign.SealedEvent, error) {
	s.reads.Add(1)
	return s.Store.Events(ctx, stream, after, limit)
}

func (s countedStore) Holds(ctx context.Context, all bool, before countersign.HoldID, limit int) ([]*countersign.Hold, error) {
	s.reads.Add(1)
	return s.Store.Holds(ctx, all, before, limit)
}

func (s countedStore) Commit(ctx context.Context, change store.Change) error {
	s.writes.Add(1)
	return s.Store.Commit(ctx, change)
}

func (s countedStore) Claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	s.writes.Add(1)
	return s.Store.Claim(ctx, claim)
}

// costs runs a step and says what it asked of storage.
func (w *world) costs(step func()) (reads, writes int64) {
	w.reads.Store(0)
	w.writes.Store(0)
	step()
	return w.reads.Load(), w.writes.Load()
}

// What a command costs stays what it is: a figure that rises here is a decision,
// and one that falls is written down.
func TestEveryCommandAsksStorageForNoMoreThanItDid(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, toxic)
	var id, other countersign.RequestID
	var grant countersign.GrantID
	for _, step := range []struct {
		name          string
		reads, writes int64
		run           func()
	}{
		{"preview", 6, 0, func() {
			_, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking())
			w.must(err)
		}},
		{"submit", 8, 1, func() { id = w.submit("ana", asking()) }},
		{"show", 3, 0, func() {
			_, err := w.house.Desk.Request(w.ctx, w.as("ana"), id)
			w.must(err)
		}},
		{"inbox", 2, 0, func() {
			_, err := w.house.Desk.Requests(w.ctx, w.as("max"), desk.RequestFilter{Inbox: true})
			w.must(err)
		}},
		{"approve", 11, 1, func() {
			shown := w.shown(id)
			w.reads.Store(0)
			w.must(w.house.Desk.Approve(w.ctx, w.as("max"), desk.Key{}, id, desk.Decision{Shown: shown}))
		}},
		{"carry out", 13, 2, func() {
			works, err := w.house.Engine.Claim(w.ctx, 1)
			w.must(err)
			w.must(w.house.Engine.Deliver(w.ctx, works[0]))
		}},
		{"submit another", 8, 1, func() {
			again := asking()
			again.Beneficiary = "otto"
			other = w.submit("otto", again)
		}},
		{"cancel", 3, 1, func() { w.must(w.cancellation("otto", other)()) }},
		{"revoke", 5, 1, func() {
			grant = w.grant(id).ID
			w.reads.Store(0)
			w.must(w.revocation("ana", grant)())
		}},
	} {
		if reads, writes := w.costs(step.run); reads != step.reads || writes != step.writes {
			t.Errorf("%s: %d reads and %d transactions that write, and it was %d and %d", step.name, reads, writes, step.reads, step.writes)
		}
	}
}

// A hundred ends at the same moment are claimed and begun together.
func TestManyEndsCostFewTransactions(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	people := []string{"ana", "otto", "olga", "syd", "sam", "sue", "pia", "pit"}
	for _, who := range people {
		asked := asking()
		asked.Beneficiary = who
		id := w.submit("ana", asked)
		w.must(w.approve("max", id))
	}
	w.settle()
	w.move(10 * 24 * time.Hour)
	_, writes := w.costs(func() {
		_, err := w.house.Engine.Timers(w.ctx)
		w.must(err)
	})
	if writes > 3 {
		t.Errorf("%d ends take %d transactions that write", len(people), writes)
	}
}
