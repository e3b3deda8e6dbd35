package sqlstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// rowPage is how many rows are read at a time: memory stays small, and no
// connection is held in the middle of an answer while visit works.
const rowPage = 500

// kept is a row as the database keeps it.
type kept struct {
	id      string
	version int64
	row     countersign.Row
	body    []byte
	columns []any
}

// Rows calls visit for every stored row, table by table, out of one committed
// state. wrong names the first column that does not follow from the row's
// bytes, or is "".
func (s *Store) Rows(ctx context.Context, visit func(stream countersign.Stream, row countersign.Row, wrong string) error) error {
	return s.database.snapshot(ctx, func(from reader) error {
		for _, t := range tables {
			for after, more := "", true; more; {
				page, err := rowsAfter(ctx, from, t, after)
				if err != nil {
					return err
				}
				var beside map[string][]string
				if t == requestTable && len(page) > 0 {
					if beside, err = besideRequests(ctx, from, page[0].id, page[len(page)-1].id); err != nil {
						return err
					}
				}
				for _, k := range page {
					if err := visit(k.row.RowStream(), k.row, k.wrong(t, beside)); err != nil {
						return err
					}
					after = k.id
				}
				more = len(page) == rowPage
			}
		}
		return nil
	})
}

func rowsAfter(ctx context.Context, from reader, t *table, after string) ([]kept, error) {
	columns := append([]string{"id", "version", "body"}, t.columns...)
	query := `SELECT ` + strings.Join(columns, ", ") + ` FROM ` + t.name + ` WHERE id > ? ORDER BY id LIMIT ?`
	var page []kept
	err := from.query(ctx, query, func(row row) error {
		k := kept{columns: make([]any, len(t.columns))}
		var body []byte
		targets := []any{&k.id, &k.version, &body}
		for i := range k.columns {
			targets = append(targets, &k.columns[i])
		}
		if err := row.Scan(targets...); err != nil {
			return err
		}
		k.body = bytes.Clone(body)
		var err error
		if k.row, err = t.decode(body); err != nil {
			return fmt.Errorf("%s %s: %w", t.name, k.id, err)
		}
		page = append(page, k)
		return nil
	}, after, rowPage)
	return page, err
}

// wrong compares the columns with what the noun says they should be.
func (k kept) wrong(t *table, beside map[string][]string) string {
	if k.id != k.row.RowKey() {
		return "id"
	}
	if exactly(k.body, k.row) != nil {
		return "body"
	}
	if k.version != k.row.RowVersion() {
		return "version"
	}
	for i, want := range t.derive(k.row) {
		if column(k.columns[i]) != column(want) {
			return t.columns[i]
		}
	}
	if request, ok := k.row.(*countersign.Request); ok {
		return wrongBeside(request, beside[k.id])
	}
	return ""
}

// column gives a value one spelling: SQLite keeps truth as 1 and 0.
func column(value any) string {
	switch value := value.(type) {
	case bool:
		if value {
			return "1"
		}
		return "0"
	default:
		return fmt.Sprint(value)
	}
}

// besideRequests reads the rows of request_entitlement and request_party for a
// range of requests, as sorted lines by request.
func besideRequests(ctx context.Context, from reader, first, last string) (map[string][]string, error) {
	lines := map[string][]string{}
	err := from.query(ctx, `SELECT request, entitlement, holder, type, open FROM request_entitlement WHERE request >= ? AND request <= ?`, func(row row) error {
		var request, entitlement, holder, kind string
		var open bool
		err := row.Scan(&request, &entitlement, &holder, &kind, &open)
		lines[request] = append(lines[request], entitlementLine(entitlement, holder, kind, open))
		return err
	}, first, last)
	if err != nil {
		return nil, err
	}
	err = from.query(ctx, `SELECT request, identity, awaited FROM request_party WHERE request >= ? AND request <= ?`, func(row row) error {
		var request, identity string
		var awaited bool
		err := row.Scan(&request, &identity, &awaited)
		lines[request] = append(lines[request], partyLine(identity, awaited))
		return err
	}, first, last)
	for _, of := range lines {
		slices.Sort(of)
	}
	return lines, err
}

func entitlementLine(entitlement, holder, kind string, open bool) string {
	return fmt.Sprintf("request_entitlement: %q %q %q %t", entitlement, holder, kind, open)
}

func partyLine(identity string, awaited bool) string {
	return fmt.Sprintf("request_party: %q %t", identity, awaited)
}

// wrongBeside names the table beside the request whose rows do not follow from it.
func wrongBeside(r *countersign.Request, stored []string) string {
	var derived []string
	for _, entitlement := range wanted(r) {
		derived = append(derived, entitlementLine(string(entitlement), string(r.Beneficiary), r.Type, r.State.Open()))
	}
	all, awaited := parties(r)
	for _, identity := range all {
		derived = append(derived, partyLine(string(identity), slices.Contains(awaited, identity)))
	}
	slices.Sort(derived)
	for _, table := range []string{"request_entitlement", "request_party"} {
		of := func(lines []string) []string {
			return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, table+":") })
		}
		if !slices.Equal(of(stored), of(derived)) {
			return table
		}
	}
	return ""
}
