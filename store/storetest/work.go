package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var everyKind = []store.WorkKind{store.DeliverWork, store.RequestWork, store.GrantWork}

// put stores an item without asking for its attempt.
func put(items ...store.Work) store.Change {
	var change store.Change
	for _, item := range items {
		change.Work = append(change.Work, store.WorkWrite{Work: item, Attempt: store.AnyAttempt})
	}
	return change
}

func deliver(key string, due countersign.Instant) store.Work {
	return store.Work{Key: key, Kind: store.DeliverWork, Ref: "grt_" + key, DueAt: due}
}

func keys(items []store.Work) string {
	var all []string
	for _, item := range items {
		all = append(all, item.Key)
	}
	return strings.Join(all, " ")
}

// claim asks for everything that is due.
func (h *house) claim(owner string, now countersign.Instant, limit int) []store.Work {
	h.Helper()
	return must(h.Claim(background, store.Claim{Now: now, Owner: owner, Kinds: everyKind, Limit: limit, Lease: countersign.Minute}))(h)
}

var workStories = []story{
	{"WorkIsClaimedWhenItIsDueTheLongestDueFirst", func(h *house) {
		h.commit(put(deliver("c", noon-1), deliver("a", noon), deliver("b", noon-2), deliver("d", noon+1), deliver("e", noon-1)))
		if got := keys(h.claim("r1", noon, 3)); got != "b c e" {
			h.Fatalf("got %s", got)
		}
		if got := keys(h.claim("r1", noon, 10)); got != "a" {
			h.Fatalf("got %s", got)
		}
		if got := h.claim("r1", noon, 10); len(got) != 0 {
			h.Fatalf("got %s", keys(got))
		}
		if got := h.claim("r1", noon+1, 0); len(got) != 0 {
			h.Fatalf("a claim for nothing got %s", keys(got))
		}
	}},
	{"AClaimIsALease", func(h *house) {
		item := deliver("a", noon)
		item.Reported = true
		h.commit(put(item))
		claimed := h.claim("r1", noon+5, 1)
		want := store.Work{Key: "a", Kind: store.DeliverWork, Ref: "grt_a", DueAt: noon + 60_005, Attempt: 1,
			ClaimedAt: noon + 5, LeaseUntil: noon + 60_005, LeasedBy: "r1"}
		if len(claimed) != 1 || claimed[0] != want {
			h.Fatalf("got %+v", claimed)
		}
		if stored := must(h.Work(background, "a"))(h); stored != want {
			h.Fatalf("got %+v", stored)
		}
		if got := h.claim("r2", noon+60_004, 1); len(got) != 0 {
			h.Fatal("a leased item was claimed")
		}
		again := h.claim("r2", noon+60_005, 1)
		if len(again) != 1 || again[0].Attempt != 2 || again[0].LeasedBy != "r2" {
			h.Fatalf("got %+v", again)
		}
	}},
	{"OnlyTheKindsAskedForAreClaimed", func(h *house) {
		h.commit(put(deliver("a", noon), store.Work{Key: "req_1", Kind: store.RequestWork, DueAt: noon}, store.Work{Key: "grt_1", Kind: store.GrantWork, DueAt: noon}))
		got := must(h.Claim(background, store.Claim{Now: noon, Owner: "r", Kinds: []store.WorkKind{store.GrantWork, store.RequestWork}, Limit: 9, Lease: 60}))(h)
		if keys(got) != "grt_1 req_1" {
			h.Fatalf("got %s", keys(got))
		}
	}},
	{"ParkedWorkIsNeverClaimed", func(h *house) {
		late, early := deliver("late", noon), deliver("early", noon)
		late.ParkedAt, late.Trouble = noon+2, "the target refuses"
		early.ParkedAt, early.Trouble = noon+1, "the target refuses"
		h.commit(put(late, early, deliver("free", noon)))
		if got := keys(h.claim("r1", noon+10, 10)); got != "free" {
			h.Fatalf("got %s", got)
		}
		if read := must(h.Work(background, "late"))(h); read != late {
			h.Fatalf("got %+v", read)
		}
		late.ParkedAt, late.Trouble = 0, ""
		h.commit(put(late))
		if got := keys(h.claim("r1", noon+10, 10)); got != "late" {
			h.Fatalf("got %s", got)
		}
	}},
	{"ALateDuplicateLosesOnItsAttempt", func(h *house) {
		h.commit(put(deliver("a", noon)))
		slow := h.claim("r1", noon, 1)[0]
		fast := h.claim("r2", slow.LeaseUntil, 1)[0]
		done := func(item store.Work) store.Change {
			return store.Change{Work: []store.WorkWrite{{Work: item, Attempt: item.Attempt, Delete: true}}}
		}
		report := slow
		report.Reported = true
		h.changed("a", done(slow))
		h.changed("a", store.Change{Work: []store.WorkWrite{{Work: report, Attempt: slow.Attempt}}})
		h.changed("a", store.Change{Work: []store.WorkWrite{{Work: report, Attempt: 0}}})
		fast.Reported = true
		h.commit(store.Change{Work: []store.WorkWrite{{Work: fast, Attempt: fast.Attempt}}})
		if stored := must(h.Work(background, "a"))(h); stored != fast {
			h.Fatalf("got %+v", stored)
		}
		h.commit(done(fast))
		h.changed("a", done(fast))
		h.changed("a", store.Change{Work: []store.WorkWrite{{Work: fast, Attempt: fast.Attempt}}})
		_, err := h.Work(background, "a")
		h.absent(err)
		// Deleting what is not there asks nothing where the attempt asks nothing.
		h.commit(store.Change{Work: []store.WorkWrite{{Work: fast, Attempt: store.AnyAttempt, Delete: true}}})
	}},
	{"TwoOwnersNeverHoldOneItem", func(h *house) {
		const items, owners = 300, 6
		var all []store.Work
		for n := range items {
			all = append(all, deliver(fmt.Sprintf("w%03d", n), noon))
		}
		h.commit(put(all...))
		var lock sync.Mutex
		holder := map[string]string{}
		var calls []func() error
		for n := range owners {
			owner := fmt.Sprintf("r%d", n)
			calls = append(calls, func() error {
				for {
					claimed, err := h.Claim(background, store.Claim{Now: noon, Owner: owner, Kinds: everyKind, Limit: 7, Lease: 60})
					if err != nil || len(claimed) == 0 {
						return err
					}
					lock.Lock()
					for _, item := range claimed {
						if other, twice := holder[item.Key]; twice {
							h.Errorf("%s belongs to %s and to %s", item.Key, other, owner)
						}
						holder[item.Key] = item.LeasedBy
					}
					lock.Unlock()
				}
			})
		}
		for _, err := range together(calls...) {
			if err != nil {
				h.Fatal(err)
			}
		}
		// An owner can stop early, because others held the last items for a moment;
		// nothing may be left all the same.
		for _, item := range h.claim("r0", noon, items) {
			holder[item.Key] = "r0"
		}
		if len(holder) != items {
			h.Fatalf("%d of %d items were claimed", len(holder), items)
		}
	}},
	{"TheBacklogIsWhatWaits", tellBacklog},
	{"TheClockIsZeroOrTells", func(h *house) {
		first := must(h.Clock(background))(h)
		second := must(h.Clock(background))(h)
		if second < first || first != 0 && first < noon {
			h.Fatalf("the clock says %s, then %s", first, second)
		}
	}},
}

// shelfKeys lists items in one line, deleted ones with a minus.
func shelfKeys(items []store.Item) string {
	var all []string
	for _, item := range items {
		if item.Deleted {
			all = append(all, "-"+item.Key)
		} else {
			all = append(all, item.Key)
		}
	}
	return strings.Join(all, " ")
}

func sortedKeys(items []store.Item) string {
	all := strings.Fields(shelfKeys(items))
	slices.Sort(all)
	return strings.Join(all, " ")
}
