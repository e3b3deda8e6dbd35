package store

import (
	"context"

	"github.com/countersign/countersign"
)

// Shelf is what a target or a side room keeps: items by key, found again by
// reference, with an optional end; and, in the same commit, events on the
// streams that belong to it.
type Shelf interface {
	// Item returns the item under the key, or NotFound.
	Item(ctx context.Context, key string) (Item, error)
	// Items returns up to limit items after the key, in byte order of keys; with
	// ref set, only those with that reference.
	Items(ctx context.Context, ref, after string, limit int) ([]Item, error)
	// Commit writes all or nothing, with the promises of Store.Commit.
	Commit(ctx context.Context, change ShelfChange) error
	// Changes returns the items that became visible after the position, in that
	// order and at most limit, and the position to go on from. Nothing is missed,
	// also when transactions commit in another order than they began. An item
	// that was deleted is returned with Deleted set. With nothing new the
	// position comes back as it was. Items come without Ref and EndsAt: a follower
	// reads a million of them when it starts, and their bodies say what they are.
	Changes(ctx context.Context, after int64, limit int) ([]Item, int64, error)
	// Head returns the end of a stream that the shelf appends to.
	Head(ctx context.Context, stream countersign.Stream) (Head, error)
}

// Item is one thing on a shelf.
type Item struct {
	Key string
	// Ref is a second name to find items by; several items may share it.
	Ref string
	// Version counts writes of the item from 1.
	Version int64
	// EndsAt is when the item stops to count; 0 for never. The store does
	// nothing about it.
	EndsAt  countersign.Instant
	Body    []byte
	Deleted bool
}

// ShelfChange is one write of a target. Puts store an item whose Version is one
// above the version read (1 for a new one); Deletes name the version read.
type ShelfChange struct {
	Now     countersign.Instant
	Puts    []Item
	Deletes []Item
	// Events must have kinds that begin with the shelf's name and a dot.
	Events []countersign.SealedEvent
}
