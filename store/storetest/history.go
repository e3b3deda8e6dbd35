package storetest

import (
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var historyStories = []story{
	{"EventsAreReadAsTheyWereSealed", func(h *house) {
		stream := countersign.Stream("req_x")
		var events []countersign.SealedEvent
		var head store.Head
		for range 5 {
			event := h.event(stream, head, "request.decided@1")
			head = headOf(event)
			events = append(events, event)
		}
		events[4].Values = nil
		h.commit(store.Change{Events: events[:2]})
		h.commit(store.Change{Events: events[2:]})
		h.same(must(h.Events(background, stream, 0, 100))(h), events)
		h.same(must(h.Events(background, stream, 1, 2))(h), events[1:3])
		if rest := must(h.Events(background, stream, 5, 10))(h); len(rest) != 0 {
			h.Fatalf("got %d events after the last", len(rest))
		}
		for _, event := range must(h.Events(background, stream, 0, 100))(h) {
			if hash, err := event.Header.Hash(); err != nil || hash != event.Hash {
				h.Fatalf("the header of event %d has another hash after reading (%v)", event.Header.Seq, err)
			}
			for _, value := range event.Values {
				if value.Commitment() != event.Header.Commitments[value.Group] {
					h.Fatalf("the value %s of event %d has another commitment after reading", value.Group, event.Header.Seq)
				}
			}
		}
	}},
	{"HeadsAreTheEndsOfStreams", func(h *house) {
		first := h.event("req_b", store.Head{}, "a.b@1")
		second := h.event("req_b", headOf(first), "a.b@1")
		other := h.event("req_a", store.Head{}, "a.b@1")
		h.commit(store.Change{Events: []countersign.SealedEvent{first, second, other}})
		heads := must(h.Heads(background, []countersign.Stream{"req_a", "req_b", "req_c"}))(h)
		if len(heads) != 3 || heads["req_a"] != headOf(other) || heads["req_b"] != headOf(second) || heads["req_c"] != (store.Head{}) {
			h.Fatalf("got %v", heads)
		}
		if none := must(h.Heads(background, nil))(h); len(none) != 0 {
			h.Fatalf("got %v", none)
		}
	}},
	{"StreamsAreListedInByteOrder", func(h *house) {
		names := []countersign.Stream{"Req", "policy", "req_B", "req_a", "req_é", "req_z"}
		slices.Sort(names)
		for _, name := range names {
			first := h.event(name, store.Head{}, "a.b@1")
			h.commit(store.Change{Events: []countersign.SealedEvent{first, h.event(name, headOf(first), "a.b@1")}})
		}
		if got := must(h.Streams(background, "", 100))(h); !slices.Equal(got, names) {
			h.Fatalf("got %v, want %v", got, names)
		}
		if got := must(h.Streams(background, names[1], 3))(h); !slices.Equal(got, names[2:5]) {
			h.Fatalf("got %v, want %v", got, names[2:5])
		}
	}},
}
