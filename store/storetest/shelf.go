package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

func item(key string, version int64) store.Item {
	return store.Item{Key: key, Version: version, Body: []byte(fmt.Sprintf("%s v%d", key, version))}
}

// keep commits a change of a shelf and ends the test where that fails.
func (h *house) keep(shelf store.Shelf, change store.ShelfChange) {
	h.Helper()
	if err := shelf.Commit(background, change); err != nil {
		h.Fatalf("commit on the shelf: %v", err)
	}
}

// changes returns what is new on the shelf and where to go on.
func (h *house) changes(shelf store.Shelf, after int64, limit int) ([]store.Item, int64) {
	h.Helper()
	items, next, err := shelf.Changes(background, after, limit)
	if err != nil {
		h.Fatal(err)
	}
	return items, next
}

var shelfStories = []story{
	{"AShelfKeepsItemsByKeyAndReference", func(h *house) {
		vault := h.Shelf("vault")
		whole := store.Item{Key: "b", Ref: "grt_1", Version: 1, EndsAt: noon, Body: []byte{0, 255}}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{whole, {Key: "a", Ref: "grt_1", Version: 1}, {Key: "C", Ref: "grt_2", Version: 1}, {Key: "é", Ref: "grt_1", Version: 1}}})
		h.same(must(vault.Item(background, "b"))(h), whole)
		for _, test := range []struct {
			ref, after string
			limit      int
			want       string
		}{
			{"", "", 10, "C a b é"}, {"", "a", 1, "b"}, {"grt_1", "", 10, "a b é"}, {"grt_1", "a", 10, "b é"}, {"grt_3", "", 10, ""},
		} {
			if got := shelfKeys(must(vault.Items(background, test.ref, test.after, test.limit))(h)); got != test.want {
				h.Errorf("%+v: got %s", test, got)
			}
		}
		// Another shelf has keys of its own.
		h.keep(h.Shelf("pki"), store.ShelfChange{Puts: []store.Item{item("b", 1)}})
		h.same(must(vault.Item(background, "b"))(h), whole)
		if items, _ := h.changes(h.Shelf("pki"), 0, 10); shelfKeys(items) != "b" {
			h.Fatalf("the shelf pki sees %s", shelfKeys(items))
		}
	}},
	{"AnItemIsWrittenOnlyOverTheVersionThatWasRead", func(h *house) {
		vault := h.Shelf("vault")
		put := func(version int64) error {
			return vault.Commit(background, store.ShelfChange{Puts: []store.Item{item("a", version)}})
		}
		remove := func(version int64) error {
			return vault.Commit(background, store.ShelfChange{Deletes: []store.Item{{Key: "a", Version: version}}})
		}
		h.expectChanged("a", put(2))
		h.expectChanged("a", remove(1))
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1)}})
		h.expectChanged("a", put(1))
		h.expectChanged("a", put(3))
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 2)}})
		h.expectChanged("a", remove(1))
		h.keep(vault, store.ShelfChange{Deletes: []store.Item{{Key: "a", Version: 2}}})
		h.expectChanged("a", remove(2))
		h.expectChanged("a", put(3))
		_, err := vault.Item(background, "a")
		h.absent(err)
		if items := must(vault.Items(background, "", "", 10))(h); len(items) != 0 {
			h.Fatalf("a deleted item is listed: %v", items)
		}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1)}})
		h.same(must(vault.Item(background, "a"))(h), item("a", 1))
		// One change, one outcome.
		h.expectChanged("a", vault.Commit(background, store.ShelfChange{Puts: []store.Item{item("b", 1), item("a", 1)}}))
		_, err = vault.Item(background, "b")
		h.absent(err)
		results := together(func() error { return put(2) }, func() error { return put(2) }, func() error { return remove(1) })
		if won := h.wins(results, isChanged); won != 1 {
			h.Fatalf("%d writes over one version won", won)
		}
	}},
	{"AFollowerSeesTheLastStateOfEachItem", func(h *house) {
		vault := h.Shelf("vault")
		if items, next := h.changes(vault, 0, 10); len(items) != 0 || next != 0 {
			h.Fatalf("an empty shelf gave %v and %d", items, next)
		}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1), item("b", 1), item("c", 1)}})
		first, position := h.changes(vault, 0, 2)
		if len(first) != 2 {
			h.Fatalf("a limit of 2 gave %s", shelfKeys(first))
		}
		second, position := h.changes(vault, position, 2)
		if len(second) != 1 || sortedKeys(append(first, second...)) != "a b c" {
			h.Fatalf("got %s, then %s", shelfKeys(first), shelfKeys(second))
		}
		if items, next := h.changes(vault, position, 2); len(items) != 0 || next != position {
			h.Fatalf("nothing new gave %v and moved from %d to %d", items, position, next)
		}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{{Key: "b", Ref: "grt_1", Version: 2, EndsAt: noon, Body: []byte("b v2")}}, Deletes: []store.Item{{Key: "a", Version: 1}}})
		if items, _ := h.changes(vault, position, 10); shelfKeys(items) != "-a b" || len(items[0].Body) != 0 {
			h.Fatalf("got %+v", items)
		} else {
			h.same(items[1], item("b", 2))
		}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("b", 3)}})
		items, position := h.changes(vault, position, 10)
		if shelfKeys(items) != "-a b" || items[1].Version != 3 || string(items[1].Body) != "b v3" || len(items[0].Body) != 0 {
			h.Fatalf("got %+v", items)
		}
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1)}})
		if items, _ := h.changes(vault, position, 10); shelfKeys(items) != "a" {
			h.Fatalf("got %s", shelfKeys(items))
		}
		if items, _ := h.changes(vault, 0, 10); shelfKeys(items) != "c b a" {
			h.Fatalf("from the start: got %s", shelfKeys(items))
		}
	}},
	{"APositionFromAnotherLifeIsRefused", func(h *house) {
		vault := h.Shelf("vault")
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1)}})
		if _, _, err := vault.Changes(background, 1<<60, 10); countersign.ReasonOf(err) != "unknown-position" {
			h.Fatalf("got the error %v", err)
		}
	}},
	{"AFollowerMissesNothingWhileManyWrite", func(h *house) {
		const writers, each = 8, 20
		vault := h.Shelf("vault")
		stop, done := make(chan struct{}), make(chan struct{})
		seen := map[string]int64{}
		var position int64
		follow := func() {
			items, next, err := vault.Changes(background, position, 3)
			if err != nil {
				h.Errorf("follow: %v", err)
				return
			}
			if next < position || len(items) > 3 {
				h.Errorf("%d items at %d after %d", len(items), next, position)
			}
			for _, item := range items {
				seen[item.Key] = item.Version
			}
			position = next
		}
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					follow()
				}
			}
		}()
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for n := range each {
					key := fmt.Sprintf("w%d-%d", w, n%7)
					if err := vault.Commit(background, store.ShelfChange{Puts: []store.Item{item(key, int64(n/7)+1)}}); err != nil {
						h.Errorf("write: %v", err)
					}
				}
			})
		}
		all.Wait()
		close(stop)
		<-done
		// A transaction that is open anywhere on the same server holds the last ones back.
		missing := func() (missing []string) {
			for w := range writers {
				for n := range 7 {
					key, want := fmt.Sprintf("w%d-%d", w, n), int64((each-1-n)/7)+1
					if seen[key] != want {
						missing = append(missing, fmt.Sprintf("%s at version %d, and not %d", key, seen[key], want))
					}
				}
			}
			return missing
		}
		patience, cancel := context.WithTimeout(background, 10*time.Second)
		defer cancel()
		for missing() != nil && patience.Err() == nil {
			follow()
		}
		if left := missing(); left != nil {
			h.Errorf("the follower has %s", left)
		}
	}},
	{"AShelfAppendsItsOwnKindsToStreamsOfSystems", func(h *house) {
		vault, system := h.Shelf("vault"), countersign.Stream("sys_1")
		first := h.event(system, store.Head{}, "vault.read@1")
		second := h.event(system, headOf(first), "vault.read@1")
		h.keep(vault, store.ShelfChange{Puts: []store.Item{item("a", 1)}, Events: []countersign.SealedEvent{first}})
		if head := must(vault.Head(background, system))(h); head != headOf(first) {
			h.Fatalf("got the head %+v", head)
		}
		h.expectChanged("sys_1", vault.Commit(background, store.ShelfChange{Puts: []store.Item{item("a", 2)}, Events: []countersign.SealedEvent{first}}))
		h.same(must(vault.Item(background, "a"))(h), item("a", 1))
		h.keep(vault, store.ShelfChange{Events: []countersign.SealedEvent{second}})
		h.same(must(h.Events(background, system, 0, 10))(h), []countersign.SealedEvent{first, second})
		for _, foreign := range []countersign.SealedEvent{
			h.event(system, headOf(second), "grant.ended@1"),
			h.event(system, headOf(second), "vaults.read@1"),
			h.event("req_1", store.Head{}, "vault.read@1"),
			h.event(countersign.StreamHouse, store.Head{}, "vault.read@1"),
		} {
			err := vault.Commit(background, store.ShelfChange{Events: []countersign.SealedEvent{foreign}})
			if countersign.ReasonOf(err) != "foreign-event" {
				h.Fatalf("%s on %s: got the error %v", foreign.Header.Kind, foreign.Header.Stream, err)
			}
		}
		issued := h.event(countersign.StreamHouse, store.Head{}, "auth.token-issued@1")
		h.keep(h.Shelf("auth"), store.ShelfChange{Events: []countersign.SealedEvent{issued}})
		h.keep(h.Shelf("registry"), store.ShelfChange{Events: []countersign.SealedEvent{h.event(countersign.StreamHouse, headOf(issued), "registry.signing-key-retired@1")}})
	}},
}
