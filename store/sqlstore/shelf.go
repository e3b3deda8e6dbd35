package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// mostItems is how many items one shelf change may write: positions on
// PostgreSQL have room for as many in one transaction.
const mostItems = 4096

// mostSharedItems is how many items a change may write that shares a transaction
// with others, so that there are positions for all.
const mostSharedItems = mostItems / mostTogether

// shelf is the narrowed store of one target or side room.
type shelf struct {
	name     string
	database database
}

// Shelf returns the storage of one target or side room.
func (s *Store) Shelf(name string) store.Shelf { return &shelf{name, s.database} }

const itemColumns = `key, ref, version, ends_at, body, deleted`

func scanItem(row row) (store.Item, error) {
	var item store.Item
	err := row.Scan(&item.Key, &item.Ref, &item.Version, &item.EndsAt, &item.Body, &item.Deleted)
	return item, err
}

func (s *shelf) Item(ctx context.Context, key string) (store.Item, error) {
	var item store.Item
	found := false
	err := s.database.ask(ctx, []question{{`SELECT ` + itemColumns + ` FROM shelf_item WHERE shelf = ? AND key = ? AND NOT deleted`, []any{s.name, key}, func(row row) (err error) {
		found = true
		item, err = scanItem(row)
		return err
	}}})
	if err == nil && !found {
		err = notFound(s.name+" item", key)
	}
	return item, err
}

func (s *shelf) Items(ctx context.Context, ref, after string, limit int) ([]store.Item, error) {
	query := `SELECT ` + itemColumns + ` FROM shelf_item WHERE shelf = ? AND key > ? AND NOT deleted`
	args := []any{s.name, after}
	if ref != "" {
		query += ` AND ref = ?`
		args = append(args, ref)
	}
	query, args = query+` ORDER BY key LIMIT ?`, append(args, most(limit))
	var items []store.Item
	visit := func(row row) error {
		item, err := scanItem(row)
		items = append(items, item)
		return err
	}
	if limit == 1 {
		err := s.database.ask(ctx, []question{{query, args, visit}})
		return items, err
	}
	err := s.database.query(ctx, query, visit, args...)
	return items, err
}

// Head returns the end of a stream that the shelf appends to.
func (s *shelf) Head(ctx context.Context, stream countersign.Stream) (store.Head, error) {
	heads, err := (&Store{s.database}).Heads(ctx, []countersign.Stream{stream})
	return heads[stream], err
}

// Changes returns items by the positions of their last writes. A position that
// lies ahead of the database is from another life of it (a restored backup):
// the follower must start again from 0.
func (s *shelf) Changes(ctx context.Context, after int64, limit int) ([]store.Item, int64, error) {
	var items []store.Item
	position := after
	err := s.database.query(ctx, `SELECT key, version, body, deleted, position FROM shelf_item
		WHERE shelf = ? AND position > ? AND {visible} ORDER BY position LIMIT ?`, func(row row) error {
		var item store.Item
		err := row.Scan(&item.Key, &item.Version, &item.Body, &item.Deleted, &position)
		items = append(items, item)
		return err
	}, s.name, after, most(limit))
	if err != nil {
		return nil, after, err
	}
	if len(items) == 0 && after > 0 {
		var newest int64
		if err := one(ctx, s.database, "position", `SELECT coalesce(max(position), 0) FROM shelf_item WHERE shelf = ?`, []any{s.name}, &newest); err != nil {
			return nil, after, err
		}
		if after > newest {
			return nil, after, countersign.Errorf(countersign.Conflict, "unknown-position", "the position %d lies ahead of the shelf %s, whose newest is %d: follow it again from 0", after, s.name, newest)
		}
	}
	return items, position, nil
}

// Commit writes the whole change or nothing of it.
func (s *shelf) Commit(ctx context.Context, change store.ShelfChange) error {
	if len(change.Puts)+len(change.Deletes) > mostItems {
		return countersign.Errorf(countersign.TooLarge, "shelf-change-too-large", "one change of a shelf writes at most %d items, not %d", mostItems, len(change.Puts)+len(change.Deletes))
	}
	for _, event := range change.Events {
		if err := s.mayAppend(event.Header); err != nil {
			return err
		}
	}
	items := slices.Clone(change.Puts)
	for i := range items {
		items[i].Deleted = false
	}
	for _, item := range change.Deletes {
		items = append(items, store.Item{Key: item.Key, Version: item.Version, Deleted: true})
	}
	slices.SortStableFunc(items, func(a, b store.Item) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version))
	})
	var tx transaction
	for _, item := range items {
		if item.Key == "" || item.Version < 1 {
			return internal("malformed-item", "the item %q of the shelf %s must have a key and a version from 1, not %d", item.Key, s.name, item.Version)
		}
		tx.add(s.write(item))
		tx.wrote(s.name + "/" + item.Key)
	}
	if err := tx.planEvents(change.Events); err != nil {
		return err
	}
	tx.statements = together(tx.statements)
	if len(items) > mostSharedItems {
		tx.writes = nil
	}
	return s.database.write(ctx, tx)
}

// write stores one item. An item that was deleted can be made anew.
func (s *shelf) write(item store.Item) statement {
	changed := &store.Changed{Key: item.Key}
	body := item.Body
	if body == nil {
		body = []byte{}
	}
	switch {
	case item.Deleted:
		return statement{phase: phaseItems, query: `UPDATE shelf_item SET body = ?, ends_at = 0, deleted = true, position = {position}
			WHERE shelf = ? AND key = ? AND version = ? AND NOT deleted`,
			args: []any{body, s.name, s.name, item.Key, item.Version}, otherwise: changed}
	case item.Version == 1:
		return statement{phase: phaseItems, query: `INSERT INTO shelf_item (ref, version, ends_at, body, deleted, position, shelf, key) VALUES (?, 1, ?, ?, false, {position}, ?, ?)
			ON CONFLICT (shelf, key) DO UPDATE SET ref = excluded.ref, version = 1, ends_at = excluded.ends_at, body = excluded.body,
			deleted = false, position = excluded.position WHERE shelf_item.deleted`,
			args: []any{item.Ref, int64(item.EndsAt), body, s.name, s.name, item.Key}, otherwise: changed}
	default:
		return statement{phase: phaseItems, query: `UPDATE shelf_item SET ref = ?, version = ?, ends_at = ?, body = ?, position = {position}
			WHERE shelf = ? AND key = ? AND version = ? AND NOT deleted`,
			args: []any{item.Ref, item.Version, int64(item.EndsAt), body, s.name, s.name, item.Key, item.Version - 1}, otherwise: changed}
	}
}

// mayAppend holds a shelf to events of its own kinds, on streams of systems;
// the shelves auth and registry write of tokens and of the key that signs them, which
// belong to the house.
func (s *shelf) mayAppend(header countersign.Header) error {
	if !strings.HasPrefix(header.Kind, s.name+".") {
		return internal("foreign-event", "the shelf %s cannot append an event of the kind %q: its kinds begin with %q", s.name, header.Kind, s.name+".")
	}
	if countersign.PrefixOf(string(header.Stream)) == "sys" || (s.name == "auth" || s.name == "registry") && header.Stream == countersign.StreamHouse {
		return nil
	}
	return internal("foreign-event", "the shelf %s cannot append to the stream %q: only to streams of systems, and the shelves auth and registry to that of the house", s.name, header.Stream)
}
