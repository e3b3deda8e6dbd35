package sim

import (
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// faults are what goes wrong between the house and its database. Counters count
// down with each commit; zero is nothing armed.
type faults struct {
	// dieBefore and dieAfter stop the process before or after a commit.
	dieBefore, dieAfter int
	// refuse fails a commit before it is written; lose fails it once it is.
	refuse, lose int
	// meanwhile happens once, between a judgement and its commit.
	meanwhile func()
	// slow is how long it takes to claim grants that are due.
	slow time.Duration
	// full says that the disk has no room.
	full bool
	// answered are the objects of commands whose commit was written, by their key.
	answered map[string]string
	commits  int
	// bites count what happened; latest is the latest time of a commit.
	bites  bites
	latest countersign.Instant
}

// clear disarms what is armed; what was written stays known.
func (f *faults) clear() {
	*f = faults{answered: f.answered, commits: f.commits, bites: f.bites, latest: f.latest}
}

// stopped is what a process that dies at a fault point panics with.
type stopped struct{}

var errLost = countersign.Errorf(countersign.Unavailable, "outcome-unknown", "the simulated database did not answer")

// next counts down and reports whether it is this one's turn.
func next(counter *int) bool {
	if *counter == 0 {
		return false
	}
	*counter--
	return *counter == 0
}

// faultyStore is a replica's way to the database.
type faultyStore struct {
	store.Store
	faults *faults
}

func (s faultyStore) Claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	if slices.Contains(claim.Kinds, store.GrantWork) {
		time.Sleep(s.faults.slow)
	}
	return s.Store.Claim(ctx, claim)
}

func (s faultyStore) Commit(ctx context.Context, change store.Change) error {
	f := s.faults
	if happen := f.meanwhile; happen != nil {
		f.meanwhile = nil
		f.bites.count(midCommand)
		happen()
	}
	if next(&f.dieBefore) {
		f.bites.count(diesAtCommit)
		panic(stopped{})
	}
	if next(&f.refuse) {
		f.bites.count(commitRefused)
		return errLost
	}
	err := s.Store.Commit(ctx, change)
	if f.full && countersign.KindOf(err) == countersign.Unavailable {
		f.bites.count(diskFull)
	}
	if err == nil {
		for _, event := range change.Events {
			if event.Header.Time < f.latest {
				f.bites.count(stepsBack)
				break
			}
			f.latest = event.Header.Time
		}
		f.commits++
		if change.Idempotency != nil {
			f.answered[change.Idempotency.Key] = change.Idempotency.Object
		}
	}
	if next(&f.dieAfter) {
		f.bites.count(diesAfterCommit)
		panic(stopped{})
	}
	if next(&f.lose) {
		f.bites.count(commitLost)
		return errLost
	}
	return err
}
