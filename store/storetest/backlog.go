package storetest

import (
	"maps"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// tellBacklog counts what waits, and nothing that is well or not yet due.
func tellBacklog(h *house) {
	empty := must(h.Backlog(background, noon))(h)
	if len(empty.Due)+len(empty.Parked)+empty.Ending.Count+empty.Overdue != 0 || empty.Ending.Oldest != 0 || empty.Untold.Key != "" {
		h.Fatalf("an empty house has the backlog %v", empty)
	}
	notice := func(key string, attempt int, parkedAt countersign.Instant) store.Work {
		return store.Work{Key: key, Kind: store.NoticeWork, DueAt: noon + 5, Attempt: attempt, ParkedAt: parkedAt}
	}
	parked := deliver("p", noon-9)
	parked.ParkedAt = noon - 3
	ticket := func(key string, attempt int) store.Work {
		return store.Work{Key: key, Kind: store.TicketWork, DueAt: noon + 5, Attempt: attempt}
	}
	change := put(ticket("t0", 0), ticket("t1", 2), ticket("t2", 4), deliver("a", noon-2), deliver("b", noon), deliver("c", noon+1), parked,
		notice("n0", 0, 0), notice("n1", 3, 0), notice("n2", 7, 0), notice("n3", 100, noon-1), notice("n4", 100, noon-4))
	ending, sooner, live, gone := h.grant("idn_a", "ent_a"), h.grant("idn_b", "ent_a"), h.grant("idn_c", "ent_a"), h.grant("idn_d", "ent_a")
	ending.State, ending.EndAt = countersign.GrantRevoking, noon-7
	sooner.State, sooner.EndAt = countersign.GrantRevoking, noon-8
	gone.State, gone.EndAt = countersign.GrantGone, noon-9
	overdue, done := h.request("idn_a", "ent_b"), h.request("idn_b", "ent_b")
	overdue.State, done.State = countersign.RequestClosing, countersign.RequestClosed
	overdue.Evidence = []countersign.Slot{{Name: "ticket", Overdue: true}}
	done.Evidence = overdue.Evidence
	change.Writes = writes(ending, sooner, live, gone, overdue, done)
	h.commit(change)

	got := must(h.Backlog(background, noon))(h)
	wantDue := map[store.WorkKind]store.Queue{store.DeliverWork: {Count: 2, Oldest: noon - 2}}
	wantParked := map[store.WorkKind]store.Queue{store.DeliverWork: {Count: 1, Oldest: noon - 3}, store.NoticeWork: {Count: 2, Oldest: noon - 4}}
	if !maps.Equal(got.Due, wantDue) || !maps.Equal(got.Parked, wantParked) {
		h.Errorf("due are %v and parked %v", got.Due, got.Parked)
	}
	if got.Ending != (store.Queue{Count: 2, Oldest: noon - 8}) || got.Overdue != 1 || got.Untold.Key != "n2" || got.Untold.Attempt != 7 || got.Unwritten.Key != "t2" {
		h.Errorf("got %+v", got)
	}
	if list := must(h.Parked(background, store.NoticeWork, 10))(h); keys(list) != "n4 n3" {
		h.Errorf("parked notices are %s", keys(list))
	}
	if list := must(h.Parked(background, store.NoticeWork, 1))(h); keys(list) != "n4" {
		h.Errorf("one parked notice is %s", keys(list))
	}
	told, untold := ticket("t3", 1), ticket("t4", 1)
	told.ParkedAt, untold.ParkedAt, untold.Trouble = noon-8, noon-7, "it is gone"
	h.commit(put(told, untold))
	if list := must(h.Parked(background, store.TicketWork, 10))(h); keys(list) != "t4 t3" {
		h.Errorf("parked tickets are %s", keys(list))
	}

	// What is done waits no longer.
	ended := *sooner
	ended.Version, ended.State = 2, countersign.GrantGone
	h.commit(store.Change{Writes: []store.Write{write(1, &ended)}})
	if got := must(h.Backlog(background, noon))(h); got.Ending != (store.Queue{Count: 1, Oldest: noon - 7}) {
		h.Errorf("after one end: %+v", got.Ending)
	}
}
