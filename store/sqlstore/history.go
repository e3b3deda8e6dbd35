package sqlstore

import (
	"context"
	"encoding/json"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Heads returns the end of each stream; the zero head for one without events.
func (s *Store) Heads(ctx context.Context, streams []countersign.Stream) (map[countersign.Stream]store.Head, error) {
	heads := make(map[countersign.Stream]store.Head, len(streams))
	for _, stream := range streams {
		heads[stream] = store.Head{}
	}
	err := s.database.query(ctx, `SELECT asked.value,
			(SELECT max(seq) FROM event WHERE stream = asked.value),
			(SELECT hash FROM event WHERE stream = asked.value ORDER BY seq DESC LIMIT 1)
		FROM (SELECT value FROM {list}) AS asked
		WHERE EXISTS (SELECT 1 FROM event WHERE stream = asked.value)`, func(row row) error {
		var stream countersign.Stream
		var head store.Head
		var hash []byte
		if err := row.Scan(&stream, &head.Seq, &hash); err != nil {
			return err
		}
		heads[stream] = head
		return setHash(heads, stream, hash)
	}, texts(streams))
	return heads, err
}

func setHash(heads map[countersign.Stream]store.Head, stream countersign.Stream, hash []byte) error {
	head := heads[stream]
	if copy(head.Hash[:], hash) != len(head.Hash) || len(hash) != len(head.Hash) {
		return internal("damaged-event", "stream %s, event %d has a hash of %d bytes", stream, head.Seq, len(hash))
	}
	heads[stream] = head
	return nil
}

// Events returns up to limit events after the sequence number, in order.
func (s *Store) Events(ctx context.Context, stream countersign.Stream, after int64, limit int) ([]countersign.SealedEvent, error) {
	var events []countersign.SealedEvent
	var last int64
	err := s.database.query(ctx, `SELECT e.seq, e.header, e.hash, v.value_group, v.salt, v.bytes
		FROM (SELECT stream, seq, header, hash FROM event WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?) AS e
		LEFT JOIN event_value v ON v.stream = e.stream AND v.seq = e.seq
		ORDER BY e.seq, v.value_group`, func(row row) error {
		var seq int64
		var header, hash, salt, content []byte
		var group *string
		if err := row.Scan(&seq, &header, &hash, &group, &salt, &content); err != nil {
			return err
		}
		if seq != last {
			last = seq
			var event countersign.SealedEvent
			if err := json.Unmarshal(header, &event.Header); err != nil {
				return internal("damaged-event", "stream %s, event %d has a header that cannot be read: %v", stream, seq, err)
			}
			if len(hash) != len(event.Hash) {
				return internal("damaged-event", "stream %s, event %d has a hash of %d bytes", stream, seq, len(hash))
			}
			copy(event.Hash[:], hash)
			events = append(events, event)
		}
		if group == nil {
			return nil
		}
		value := countersign.Value{Group: countersign.ValueGroup(*group), Bytes: content}
		if len(salt) != len(value.Salt) {
			return internal("damaged-event", "stream %s, event %d has a salt of %d bytes", stream, seq, len(salt))
		}
		copy(value.Salt[:], salt)
		event := &events[len(events)-1]
		event.Values = append(event.Values, value)
		return nil
	}, string(stream), after, most(limit))
	return events, err
}

// Streams returns up to limit names of streams after the given one.
func (s *Store) Streams(ctx context.Context, after countersign.Stream, limit int) ([]countersign.Stream, error) {
	var streams []countersign.Stream
	err := s.database.query(ctx, `SELECT stream FROM event WHERE stream > ? AND seq = 1 ORDER BY stream LIMIT ?`, func(row row) error {
		var stream countersign.Stream
		err := row.Scan(&stream)
		streams = append(streams, stream)
		return err
	}, string(after), most(limit))
	return streams, err
}
