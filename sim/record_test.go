package sim

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/workflow"
)

// record is the replay of every stream, as far as it was read, and the rows that it
// gives.
type record struct {
	streams map[countersign.Stream]*replayed
	rows    map[string]string
	// tables read the rows of all nouns; read is their query.
	read string
}

// replayed is a stream as far as it was read.
type replayed struct {
	seq    int64
	chain  *audit.Chain
	replay *workflow.Replay
}

func newRecord() *record {
	return &record{streams: map[countersign.Stream]*replayed{}, rows: map[string]string{}}
}

// checkRows replays what was added to streams since the last look, and compares each
// row that is stored with what its stream gives. It reads the bytes as they lie in the
// database, whatever is wrong with the house, so that a row that does not follow is
// found at the step that made it.
func (s *story) checkRows() {
	const law = "every row is the replay of its stream"
	record := s.laws.record
	heads := map[countersign.Stream]int64{}
	s.query(`SELECT stream, max(seq) FROM event GROUP BY stream`, 2, func(values []driver.Value) {
		heads[countersign.Stream(values[0].(string))] = values[1].(int64)
	})
	for _, stream := range slices.Sorted(maps.Keys(heads)) {
		if err := s.replay(stream, heads[stream]); err != nil {
			s.breaks(law, "the stream %s: %v", stream, err)
			return
		}
	}
	for stream, before := range record.streams {
		if heads[stream] < before.seq {
			s.breaks("nothing is lost", "the stream %s had %d events, and has %d", stream, before.seq, heads[stream])
		}
	}
	if record.read == "" {
		var tables []string
		s.query(`SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name IN ('id', 'version', 'body') WHERE m.type = 'table' GROUP BY m.name HAVING count(*) = 3`, 1, func(values []driver.Value) {
			tables = append(tables, fmt.Sprintf("SELECT id, body FROM %s", values[0]))
		})
		record.read = strings.Join(tables, " UNION ALL ")
	}
	left := maps.Clone(record.rows)
	s.query(record.read, 2, func(values []driver.Value) {
		key, body := values[0].(string), values[1].(string)
		if given, known := left[key]; !known || given != body {
			s.breaks(law, "the row %s is not what its stream gives:\n%s\n%s", key, body, given)
		}
		delete(left, key)
	})
	for key := range left {
		s.breaks(law, "the events of %s are there, and the row is missing", key)
	}
}

// replay reads a stream on from where it was left.
func (s *story) replay(stream countersign.Stream, head int64) error {
	record := s.laws.record
	at := record.streams[stream]
	if at == nil {
		at = &replayed{chain: audit.NewChain(stream), replay: workflow.NewReplay()}
		record.streams[stream] = at
	}
	for before := at.seq; at.seq < head; {
		events, err := s.store.Events(s.ctx, stream, at.seq, 500)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("the events after %d are not there", at.seq)
		}
		for _, event := range events {
			if err := at.chain.Add(event); err != nil {
				return err
			}
			at.seq = event.Header.Seq
			if workflow.Registry[event.Header.Kind] == nil {
				continue // of a target, and touches no row; the whole check knows their names
			}
			payload, err := workflow.Registry.Decode(event)
			if err == nil {
				err = at.replay.Apply(event.Header, payload)
			}
			if err != nil {
				return err
			}
		}
		if at.seq < head {
			continue
		}
		for key, row := range at.replay.Rows {
			if row.RowVersion() <= before {
				continue
			}
			body, err := countersign.Canonical(row)
			if err != nil {
				return err
			}
			record.rows[key] = string(body)
		}
	}
	return nil
}

// query reads the database past the house, and past whatever fails there.
func (s *story) query(query string, columns int, visit func([]driver.Value)) {
	writers.Lock()
	defer writers.Unlock()
	rows, err := writers.of[s.path].QueryContext(s.ctx, query, nil)
	s.must(err)
	defer rows.Close()
	for row := make([]driver.Value, columns); ; {
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return
		} else {
			s.must(err)
		}
		visit(row)
	}
}

// Each of these is found by the next look, in whatever state the house is.
func TestWhatDoesNotFollowFromItsStreamIsFoundAtOnce(t *testing.T) {
	for name, harm := range map[string]string{
		"a row that no event made":               `UPDATE identity SET body = replace(body, 'Olga', 'Olge')`,
		"a row that is missing":                  `PRAGMA foreign_keys = 0; DELETE FROM record`,
		"a row that nothing tells of":            `INSERT INTO record (id, version, body, revision) SELECT 'rec_other', version, body, revision FROM record LIMIT 1`,
		"an event that says something else":      `UPDATE event_value SET bytes = CAST(replace(CAST(bytes AS TEXT), 'due', 'duE') AS BLOB) WHERE stream LIKE 'req_%' AND value_group = 'reason'`,
		"an event that is missing at the end":    `DELETE FROM event WHERE stream LIKE 'grt_%' AND seq = (SELECT max(seq) FROM event e WHERE e.stream = event.stream)`,
		"an event that is missing in the middle": `UPDATE event SET seq = seq + 1 WHERE stream LIKE 'req_%' AND seq = (SELECT max(seq) FROM event e WHERE e.stream = event.stream)`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStory(newWorld(t, 1, true, time.Now))
				if name == "an event that is missing at the end" {
					s.given("ana", "ledger/books/read")
				}
				s.checkRows()
				if len(s.broken) > 0 {
					t.Fatalf("found before: %s", lines(s.broken))
				}
				s.given("ana", "wiki/space/reader")
				s.harm(harm)
				if s.checkRows(); len(s.broken) == 0 {
					t.Error("nothing was found")
				}
			})
		})
	}
}
