package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// together runs the calls at once and returns their errors, in order.
func together(calls ...func() error) []error {
	results := make([]error, len(calls))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, call := range calls {
		all.Go(func() {
			<-start
			results[i] = call()
		})
	}
	close(start)
	all.Wait()
	return results
}

// wins counts the calls that succeeded; each other one must be as lost says.
func (h *house) wins(results []error, lost func(error) bool) int {
	h.Helper()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !lost(err) {
			h.Fatalf("a loser got the error %v", err)
		}
	}
	return won
}

func isChanged(err error) bool {
	var changed *store.Changed
	return errors.As(err, &changed)
}

func isDuplicate(err error) bool {
	var duplicate *store.Duplicate
	return errors.As(err, &duplicate)
}

const rounds = 25

var raceStories = []story{
	{"OfTwoCommitsThatMoveOneGuardOneWins", func(h *house) {
		for round := range int64(rounds) {
			move := func() error {
				return h.Commit(background, store.Change{Guards: []store.Guard{{Key: "holder:idn_ada", Version: round, Next: round + 1}}})
			}
			if won := h.wins(together(move, move), isChanged); won != 1 {
				h.Fatalf("round %d: %d commits won", round, won)
			}
		}
	}},
	{"OfCommitsThatWaitTogetherThoseFailThatMust", func(h *house) {
		taken := h.request("idn_taken", "ent_a")
		first := h.event("req_forked", store.Head{}, "request.submitted@1")
		h.commit(store.Change{Writes: writes(taken), Events: []countersign.SealedEvent{first}})
		var requests []*countersign.Request
		var calls []func() error
		for i := range 40 {
			holder := countersign.IdentityID(fmt.Sprintf("idn_%d", i))
			change := store.Change{Guards: []store.Guard{{Key: "policy"}, {Key: store.GuardHolder(holder), Next: 1}}}
			switch i % 4 {
			case 1:
				change.Guards = append(change.Guards, store.Guard{Key: "moved", Version: 5})
			case 2:
				holder = taken.Beneficiary
			case 3:
				change.Events = []countersign.SealedEvent{h.event("req_forked", store.Head{}, "request.submitted@1")}
			}
			request := h.request(holder, "ent_a")
			change.Writes = writes(request)
			requests = append(requests, request)
			calls = append(calls, func() error { return h.Commit(background, change) })
		}
		for i, err := range together(calls...) {
			switch as := []bool{err == nil, isChanged(err), isDuplicate(err), isChanged(err)}; {
			case !as[i%4]:
				h.Fatalf("the commit %d ended with %v", i, err)
			case i%4 == 0:
				h.same(must(h.Request(background, requests[i].ID))(h), requests[i])
			default:
				_, err := h.Request(background, requests[i].ID)
				h.absent(err)
			}
		}
	}},
	{"TwoHalvesOfARuleCannotPassEachOther", func(h *house) {
		// Each commit relies on the guard that the other one moves on.
		for round := range int64(rounds) {
			left, right := fmt.Sprintf("left-%d", round), fmt.Sprintf("right-%d", round)
			half := func(moves, relies string) func() error {
				return func() error {
					return h.Commit(background, store.Change{Guards: []store.Guard{{Key: moves, Next: 1}, {Key: relies}}})
				}
			}
			if won := h.wins(together(half(left, right), half(right, left)), isChanged); won != 1 {
				h.Fatalf("round %d: %d commits won", round, won)
			}
		}
	}},
	{"OfAFactAndAVerdictThatReliesOnItOneGoesFirst", func(h *house) {
		// Whoever checks and succeeds must have been serial before the change: the
		// row that it writes says what it relied on.
		for round := range int64(rounds) {
			request := h.request("idn_ada", countersign.EntitlementID(fmt.Sprintf("ent_%d", round)))
			results := together(
				func() error {
					return h.Commit(background, store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: round}}, Writes: writes(request)})
				},
				func() error {
					return h.Commit(background, store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: round, Next: round + 1}}})
				})
			if results[1] != nil {
				h.Fatalf("round %d: a check stopped the change: %v", round, results[1])
			}
			if results[0] != nil && !isChanged(results[0]) {
				h.Fatalf("round %d: %v", round, results[0])
			}
			_, err := h.Request(background, request.ID)
			if (err == nil) != (results[0] == nil) {
				h.Fatalf("round %d: the commit said %v and the row says %v", round, results[0], err)
			}
		}
	}},
	{"OfEightIdenticalRequestsOneIsOpened", func(h *house) {
		for round := range rounds {
			var calls []func() error
			for range 8 {
				request := h.request("idn_ada", countersign.EntitlementID(fmt.Sprintf("ent_%d", round)))
				calls = append(calls, func() error { return h.Commit(background, store.Change{Writes: writes(request)}) })
			}
			if won := h.wins(together(calls...), isDuplicate); won != 1 {
				h.Fatalf("round %d: %d requests were opened", round, won)
			}
		}
	}},
	{"OfEightUsesOfAnIdempotencyKeyOneCounts", func(h *house) {
		var calls []func() error
		for n := range 8 {
			calls = append(calls, func() error {
				return h.Commit(background, store.Change{Now: noon, Idempotency: &store.Idempotency{Caller: "c", Route: "r", Key: "k", At: noon, Object: fmt.Sprint(n)}})
			})
		}
		if won := h.wins(together(calls...), isDuplicate); won != 1 {
			h.Fatalf("%d commits won", won)
		}
	}},
	{"AStreamNeverForks", func(h *house) {
		stream := countersign.Stream("req_x")
		var head store.Head
		for round := range rounds {
			var calls []func() error
			for range 4 {
				event := h.event(stream, head, "request.decided@1")
				calls = append(calls, func() error {
					return h.Commit(background, store.Change{Events: []countersign.SealedEvent{event}})
				})
			}
			if won := h.wins(together(calls...), isChanged); won != 1 {
				h.Fatalf("round %d: %d events follow one head", round, won)
			}
			head = must(h.Heads(background, []countersign.Stream{stream}))(h)[stream]
			if head.Seq != int64(round)+1 {
				h.Fatalf("round %d: the head is %d", round, head.Seq)
			}
		}
	}},
	{"AStreamHasNoGapAndNoSecondHistory", func(h *house) {
		stream := countersign.Stream("req_x")
		first := h.event(stream, store.Head{}, "a.b@1")
		second := h.event(stream, headOf(first), "a.b@1")
		h.changed("req_x", store.Change{Events: []countersign.SealedEvent{second}})
		h.commit(store.Change{Events: []countersign.SealedEvent{second, first}})
		h.changed("req_x", store.Change{Events: []countersign.SealedEvent{second}})
		stranger := h.event(stream, headOf(h.event(stream, headOf(first), "other.history@1")), "a.b@1")
		h.changed("req_x", store.Change{Events: []countersign.SealedEvent{stranger}})
		gap := h.event(stream, headOf(h.event(stream, headOf(second), "a.b@1")), "a.b@1")
		h.changed("req_x", store.Change{Events: []countersign.SealedEvent{gap}})
	}},
	{"ReadersOfAGuardDoNotStarveAChange", func(h *house) {
		// Sixteen callers check one guard without a pause. The change waits for the
		// commits that are under way and not for those that come later, so a bound
		// far above sixteen is never reached; where it is, the callers stop.
		const callers, bound = 16, 10_000
		var committed atomic.Int64
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for version := int64(0); committed.Load() < bound; {
					select {
					case <-stop:
						return
					default:
					}
					err := h.Commit(background, store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: version}}})
					switch {
					case err == nil:
						committed.Add(1)
					case isChanged(err):
						version++
					default:
						h.Errorf("a check failed: %v", err)
						return
					}
				}
			})
		}
		for version := range int64(20) {
			committed.Store(0)
			err := h.Commit(background, store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: version, Next: version + 1}}})
			if err != nil {
				h.Errorf("the change failed: %v", err)
				break
			}
			if waited := committed.Load(); waited >= bound {
				h.Errorf("the change waited for %d later commits", waited)
			}
		}
		close(stop)
		all.Wait()
	}},
	{"AFailedChangeLeavesItsNeighboursWhole", func(h *house) {
		taken := h.request("idn_ada", "ent_taken")
		h.commit(store.Change{Writes: writes(taken)})
		var calls []func() error
		var kept []*countersign.Request
		for n := range 64 {
			entitlement := countersign.EntitlementID(fmt.Sprintf("ent_%d", n))
			if n%3 == 0 {
				entitlement = "ent_taken"
			}
			request := h.request("idn_ada", entitlement)
			if n%3 != 0 {
				kept = append(kept, request)
			}
			event := h.event(request.RowStream(), store.Head{}, "request.submitted@1")
			calls = append(calls, func() error {
				return h.Commit(background, store.Change{Events: []countersign.SealedEvent{event}, Writes: writes(request)})
			})
		}
		if won := h.wins(together(calls...), isDuplicate); won != len(kept) {
			h.Fatalf("%d commits won, want %d", won, len(kept))
		}
		stored := must(h.Requests(background, store.RequestQuery{Holder: "idn_ada"}))(h)
		if len(stored) != len(kept)+1 {
			h.Fatalf("%d requests are stored, want %d", len(stored), len(kept)+1)
		}
		streams := must(h.Streams(background, "", 100))(h)
		if len(streams) != len(kept) {
			h.Fatalf("%d streams have events, want %d", len(streams), len(kept))
		}
	}},
	{"ManyRowsInEveryOrderAreAllWritten", func(h *house) {
		// Commits that touch the same guards and rows in other orders wait for each
		// other in one order and never in a circle.
		for round := range int64(5) {
			var calls []func() error
			for n := range 8 {
				var guards []store.Guard
				for i := range 12 {
					guards = append(guards, store.Guard{Key: fmt.Sprintf("k%d", (i*5+n)%12), Version: round})
				}
				guards[0].Next = round + 1
				calls = append(calls, func() error { return h.Commit(background, store.Change{Guards: guards}) })
			}
			if won := h.wins(together(calls...), isChanged); won != 1 {
				h.Fatalf("round %d: %d commits won: each relied on what every other moved", round, won)
			}
			versions := must(h.Guards(background, []string{"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"}))(h)
			var next []store.Guard
			for key, version := range versions {
				if version == round {
					next = append(next, store.Guard{Key: key, Version: round, Next: round + 1})
				}
			}
			for i := 8; i < 12; i++ {
				next = append(next, store.Guard{Key: fmt.Sprintf("k%d", i), Version: round, Next: round + 1})
			}
			h.commit(store.Change{Guards: next})
		}
	}},
	{"ManyGuardsFitInOneCommit", func(h *house) {
		guards := make([]store.Guard, 0, 2000)
		for n := range 2000 {
			guards = append(guards, store.Guard{Key: strings.Repeat("k", 30) + fmt.Sprint(n), Next: 1})
		}
		h.commit(store.Change{Guards: guards})
	}},
}
