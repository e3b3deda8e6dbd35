package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Heads returns the end of each stream; the zero head for one without events.
func (s *Store) Heads(ctx context.Context, streams []countersign.Stream) (map[countersign.Stream]store.Head, error) {
	heads, q := headsQuestion(streams)
	return heads, s.database.query(ctx, q.query, q.visit, q.args...)
}

func headsQuestion(streams []countersign.Stream) (map[countersign.Stream]store.Head, question) {
	heads := make(map[countersign.Stream]store.Head, len(streams))
	for _, stream := range streams {
		heads[stream] = store.Head{}
	}
	return heads, question{`SELECT event.stream, event.seq, event.hash, event.header
		FROM (SELECT value FROM {list}) AS asked
		JOIN event ON event.stream = asked.value AND event.seq = (SELECT max(seq) FROM event AS last WHERE last.stream = asked.value)`, []any{texts(streams)}, func(row row) error {
		var stream countersign.Stream
		var head store.Head
		var hash, header []byte
		if err := row.Scan(&stream, &head.Seq, &hash, &header); err != nil {
			return err
		}
		var last struct {
			Time countersign.Instant `json:"time"`
		}
		if err := cmp.Or(copyExactly(head.Hash[:], hash), json.Unmarshal(header, &last)); err != nil {
			return damaged(stream, head.Seq, err)
		}
		head.Time = last.Time
		heads[stream] = head
		return nil
	}}
}

// copyExactly fills a hash or a salt.
func copyExactly(into, from []byte) error {
	if len(from) != len(into) {
		return fmt.Errorf("%d bytes are stored where %d belong", len(from), len(into))
	}
	copy(into, from)
	return nil
}

// exactly refuses kept bytes that are read as the value and are not its canonical
// form: what others read in them (a name that stands twice, one in another case)
// would be something else than what was hashed.
func exactly(kept []byte, value any) error {
	canonical, err := countersign.Canonical(value)
	if err == nil && !bytes.Equal(canonical, kept) {
		err = errors.New("its bytes are not in canonical form")
	}
	return err
}

func damaged(stream countersign.Stream, seq int64, err error) error {
	return internal("damaged-event", "stream %s, event %d cannot be read: %v", stream, seq, err)
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
			if err := cmp.Or(json.Unmarshal(header, &event.Header), copyExactly(event.Hash[:], hash), exactly(header, event.Header)); err != nil {
				return damaged(stream, seq, err)
			}
			events = append(events, event)
		}
		if group == nil {
			return nil
		}
		value := countersign.Value{Group: countersign.ValueGroup(*group), Bytes: content}
		if err := copyExactly(value.Salt[:], salt); err != nil {
			return damaged(stream, seq, err)
		}
		event := &events[len(events)-1]
		event.Values = append(event.Values, value)
		return nil
	}, string(stream), after, most(limit))
	return events, err
}

// Streams returns up to limit names of streams after the given one. It steps
// from name to name, so that a long stream costs no more than a short one, and
// one whose first event was taken away is listed all the same.
func (s *Store) Streams(ctx context.Context, after countersign.Stream, limit int) ([]countersign.Stream, error) {
	var streams []countersign.Stream
	err := s.database.query(ctx, `WITH RECURSIVE names (stream, number) AS (
			SELECT (SELECT min(stream) FROM event WHERE stream > ?), CAST(1 AS bigint)
			UNION ALL
			SELECT (SELECT min(event.stream) FROM event WHERE event.stream > names.stream), names.number + 1
			FROM names WHERE names.stream IS NOT NULL AND names.number < ?)
		SELECT stream FROM names WHERE stream IS NOT NULL ORDER BY stream`, func(row row) error {
		var stream countersign.Stream
		err := row.Scan(&stream)
		streams = append(streams, stream)
		return err
	}, string(after), most(limit))
	return streams, err
}
