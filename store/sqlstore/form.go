package sqlstore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// form is a statement over any number of rows. What one change does of a form, and
// what changes do of it that share a transaction, is one statement where the
// database can take it so.
type form struct {
	does    deed
	table   string
	columns []string
	// conflict follows the rows of an insert.
	conflict string

	texts sync.Map // of the number of rows, or of nothing, to text
}

// deed is what a form does with each of its rows.
type deed int

const (
	// insertRows adds the row.
	insertRows deed = iota
	// updateRow writes the row over the one with its id and version, which stand in
	// the last two columns, and must find it.
	updateRow
	// findEvent must find the event of the stream, number and hash.
	findEvent
)

// mostRows is how many rows one statement takes on SQLite, where each is spelled.
const mostRows = 16

var (
	eventForm       = &form{table: "event", columns: []string{"stream", "seq", "hash", "header"}}
	headForm        = &form{does: findEvent, table: "event", columns: []string{"stream", "seq", "hash"}}
	valueForm       = &form{table: "event_value", columns: []string{"stream", "seq", "value_group", "salt", "bytes"}}
	entitlementForm = &form{table: "request_entitlement", columns: []string{"request", "holder", "type", "open", "entitlement"},
		conflict: `ON CONFLICT (request, entitlement) DO UPDATE SET holder = excluded.holder, type = excluded.type, open = excluded.open`}
	partyForm = &form{table: "request_party", columns: []string{"request", "identity", "awaited"},
		conflict: `ON CONFLICT (request, identity) DO UPDATE SET awaited = excluded.awaited`}
	workForm = &form{table: "work", columns: []string{"kind", "ref", "due_at", "attempt", "claimed_at", "lease_until", "leased_by", "reported", "parked_at", "trouble", "key"},
		conflict: `ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, ref = excluded.ref, due_at = excluded.due_at, attempt = excluded.attempt,
		claimed_at = excluded.claimed_at, lease_until = excluded.lease_until, leased_by = excluded.leased_by,
		reported = excluded.reported, parked_at = excluded.parked_at, trouble = excluded.trouble`}
)

// of makes a statement of the form; otherwise is the error of a row that is refused.
func (f *form) of(phase int, otherwise error, rows ...[]any) statement {
	return statement{phase: phase, form: f, rows: rows, otherwise: otherwise}
}

// together sorts statements by their phases and makes one of those next to each
// other that have a form in common. Of rows that are refused together, the error is
// that of the first.
func together(statements []statement) []statement {
	slices.SortStableFunc(statements, func(a, b statement) int { return a.phase - b.phase })
	kept, ours := statements[:0], false
	for _, s := range statements {
		last := len(kept) - 1
		if last < 0 || s.form == nil || kept[last].form != s.form || kept[last].phase != s.phase {
			kept, ours = append(kept, s), false
			continue
		}
		if !ours {
			// The rows of a transaction that is tried again stay as they are.
			kept[last].rows, ours = slices.Clone(kept[last].rows), true
		}
		kept[last].rows = append(kept[last].rows, s.rows...)
	}
	return kept
}

// spelled writes a statement of a form as SQLite takes it.
func (s statement) spelled(into []statement) []statement {
	size := mostRows
	if s.form.does == updateRow {
		size = 1
	}
	for part := range slices.Chunk(s.rows, size) {
		spelled := statement{query: s.form.spelling(len(part)), args: slices.Concat(part...), otherwise: s.otherwise}
		spelled.inserts, spelled.finds = s.form.does == insertRows, s.form.does == findEvent
		into = append(into, spelled)
	}
	return into
}

func (f *form) spelling(rows int) string {
	if text, known := f.texts.Load(rows); known {
		return text.(string)
	}
	var text string
	switch f.does {
	case insertRows:
		row := "(?" + strings.Repeat(", ?", len(f.columns)-1) + ")"
		text = "INSERT INTO " + f.table + " (" + strings.Join(f.columns, ", ") + ") VALUES " + row + strings.Repeat(", "+row, rows-1) + " " + f.conflict
	case updateRow:
		set := f.columns[:len(f.columns)-2]
		text = "UPDATE " + f.table + " SET " + strings.Join(set, " = ?, ") + " = ? WHERE id = ? AND version = ?"
	case findEvent:
		text = "SELECT 1 FROM (SELECT count(*) AS found FROM event WHERE stream = ? AND seq = ? AND hash = ?" +
			strings.Repeat(" OR stream = ? AND seq = ? AND hash = ?", rows-1) + ") AS heads WHERE found = " + strconv.Itoa(rows)
	}
	f.texts.Store(rows, text)
	return text
}

// arrays writes a statement of a form as PostgreSQL takes it: one text for any
// number of rows, and an array for each column.
func (s statement) arrays() (string, []any) {
	columns := make([]any, len(s.form.columns))
	types := make([]string, len(columns))
	for i := range columns {
		columns[i], types[i] = array(s.rows, i)
	}
	if len(s.rows) == 0 {
		panic("sqlstore: a statement without rows")
	}
	text, known := s.form.texts.Load(nil)
	if !known {
		text = s.form.overArrays(types)
		s.form.texts.Store(nil, text)
	}
	if s.form.does == updateRow {
		columns = append(columns, len(s.rows))
	}
	return text.(string), columns
}

func (f *form) overArrays(types []string) string {
	lists := make([]string, len(types))
	for i, name := range types {
		lists[i] = fmt.Sprintf("$%d::%s[]", i+1, name)
	}
	rows := "unnest(" + strings.Join(lists, ", ") + ") AS given (" + strings.Join(f.columns, ", ") + ")"
	switch f.does {
	case updateRow:
		set := slices.Clone(f.columns[:len(f.columns)-2])
		for i, name := range set {
			set[i] = name + " = given." + name
		}
		return "WITH touched AS (UPDATE " + f.table + " SET " + strings.Join(set, ", ") + " FROM " + rows + " WHERE " + f.table + ".id = given.id AND " + f.table + ".version = given.was RETURNING 1)" +
			" SELECT countersign_changed('a row') FROM (SELECT count(*) AS rows FROM touched) AS counted WHERE rows <> $" + strconv.Itoa(len(types)+1)
	case findEvent:
		return "SELECT countersign_changed(given.stream) FROM " + rows + " WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.stream = given.stream AND event.seq = given.seq AND event.hash = given.hash) LIMIT 1"
	case insertRows:
	}
	return "INSERT INTO " + f.table + " (" + strings.Join(f.columns, ", ") + ") SELECT * FROM " + rows + " " + f.conflict
}

// array makes a typed array of one column of the rows.
func array(rows [][]any, column int) (any, string) {
	switch rows[0][column].(type) {
	case string:
		return typed[string](rows, column), "text"
	case int64:
		return typed[int64](rows, column), "bigint"
	case bool:
		return typed[bool](rows, column), "boolean"
	case []byte:
		return typed[[]byte](rows, column), "bytea"
	}
	panic(fmt.Sprintf("sqlstore: a column cannot be a %T", rows[0][column]))
}

func typed[T any](rows [][]any, column int) []T {
	values := make([]T, len(rows))
	for i, row := range rows {
		values[i] = row[column].(T)
	}
	return values
}
