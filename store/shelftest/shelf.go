// Package shelftest is a small, real store.Shelf in memory, for the tests of
// targets and side rooms. It keeps every promise of the contract except that it
// survives nothing.
package shelftest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Shelf keeps items and events in memory. It is safe for many callers at once.
type Shelf struct {
	name string

	mu      sync.Mutex
	items   map[string]store.Item
	changed map[string]int64 // position at which each key last became visible
	last    int64
	events  map[countersign.Stream][]countersign.SealedEvent
}

// New returns an empty shelf.
func New(name string) *Shelf {
	return &Shelf{
		name:    name,
		items:   make(map[string]store.Item),
		changed: make(map[string]int64),
		events:  make(map[countersign.Stream][]countersign.SealedEvent),
	}
}

// Item implements store.Shelf.
func (s *Shelf) Item(ctx context.Context, key string) (store.Item, error) {
	if err := ctx.Err(); err != nil {
		return store.Item{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	item, there := s.items[key]
	if !there || item.Deleted {
		return store.Item{}, countersign.Errorf(countersign.NotFound, "no-such-item", "the shelf %s has no item %q", s.name, key)
	}
	return copied(item), nil
}

// Items implements store.Shelf.
func (s *Shelf) Items(ctx context.Context, ref, after string, limit int) ([]store.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []store.Item
	for key, item := range s.items {
		if key > after && !item.Deleted && (ref == "" || item.Ref == ref) {
			found = append(found, copied(item))
		}
	}
	slices.SortFunc(found, func(a, b store.Item) int { return strings.Compare(a.Key, b.Key) })
	return found[:min(limit, len(found))], nil
}

// Commit implements store.Shelf.
func (s *Shelf) Commit(ctx context.Context, change store.ShelfChange) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, put := range change.Puts {
		if s.version(put.Key) != put.Version-1 {
			return &store.Changed{Key: put.Key}
		}
	}
	for _, deleted := range change.Deletes {
		if s.version(deleted.Key) != deleted.Version || deleted.Version == 0 {
			return &store.Changed{Key: deleted.Key}
		}
	}
	heads := make(map[countersign.Stream]store.Head)
	for _, event := range change.Events {
		stream := event.Header.Stream
		head, seen := heads[stream]
		if !seen {
			head = s.head(stream)
		}
		if event.Header.Seq != head.Seq+1 || event.Header.Prev != head.Hash {
			return &store.Changed{Key: string(stream)}
		}
		if !strings.HasPrefix(event.Header.Kind, s.name+".") {
			return countersign.Errorf(countersign.Internal, "foreign-event", "the shelf %s may not append %s", s.name, event.Header.Kind)
		}
		heads[stream] = store.Head{Seq: event.Header.Seq, Hash: event.Hash, Time: event.Header.Time}
	}
	for _, put := range change.Puts {
		s.show(copied(put))
	}
	for _, deleted := range change.Deletes {
		s.show(store.Item{Key: deleted.Key, Version: deleted.Version, Deleted: true})
	}
	for _, event := range change.Events {
		s.events[event.Header.Stream] = append(s.events[event.Header.Stream], event)
	}
	return nil
}

// Changes implements store.Shelf.
func (s *Shelf) Changes(ctx context.Context, after int64, limit int) ([]store.Item, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, after, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []store.Item
	for key, position := range s.changed {
		if position > after {
			item := copied(s.items[key])
			item.Ref, item.EndsAt = "", 0
			found = append(found, item)
		}
	}
	slices.SortFunc(found, func(a, b store.Item) int { return int(s.changed[a.Key] - s.changed[b.Key]) })
	if found = found[:min(limit, len(found))]; len(found) > 0 {
		after = s.changed[found[len(found)-1].Key]
	}
	return found, after, nil
}

// Head implements store.Shelf.
func (s *Shelf) Head(ctx context.Context, stream countersign.Stream) (store.Head, error) {
	if err := ctx.Err(); err != nil {
		return store.Head{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head(stream), nil
}

// Events returns what was appended to a stream, for a test to look at.
func (s *Shelf) Events(stream countersign.Stream) []countersign.SealedEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events[stream])
}

func (s *Shelf) show(item store.Item) {
	s.last++
	s.items[item.Key] = item
	s.changed[item.Key] = s.last
}

func (s *Shelf) version(key string) int64 {
	if item := s.items[key]; !item.Deleted {
		return item.Version
	}
	return 0
}

func (s *Shelf) head(stream countersign.Stream) store.Head {
	events := s.events[stream]
	if len(events) == 0 {
		return store.Head{}
	}
	last := events[len(events)-1]
	return store.Head{Seq: last.Header.Seq, Hash: last.Hash, Time: last.Header.Time}
}

func copied(item store.Item) store.Item {
	item.Body = slices.Clone(item.Body)
	return item
}
