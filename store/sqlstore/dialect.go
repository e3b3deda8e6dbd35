package sqlstore

import (
	"strconv"
	"strings"
	"sync"
)

// dialect is how one database spells what both can do. Queries are written
// once, with ? for arguments and these marks:
//
//	{list}      an argument that is a list of texts, as a table with the column value
//	{any}       true of what is in an argument that is a list of texts; stands after it
//	{in state}  after an id: in the order of the indexes that begin with a state,
//	            which the table's own index does not have
//	{of one}    after an id: in the order of the indexes that begin with a system or an
//	            entitlement, and a state, which those that begin with a state do not have
//	{state}     the state of a row that something else finds: an index of states holds
//	            too many rows to look there
//	{by …}      the index of what waits to be told or written; SQLite would take that of
//	            all work of the kind
//	{locking}   locks the selected rows and leaves out those that others locked
//	{position}  the next position on the shelf that the argument names
//	{visible}   true for positions behind which nothing can appear any more
type dialect struct {
	marks *strings.Replacer
	// numbered says that arguments are written $1, $2 and so on.
	numbered bool
	// expecting turns a write into one that fails unless it touched one row; nil
	// where the caller can count before the commit.
	expecting func(query string) string

	texts sync.Map // of query and expectation to text
}

type textKey struct {
	query     string
	expecting bool
}

// text returns the query as the database reads it.
func (d *dialect) text(query string, expecting bool) string {
	key := textKey{query, expecting && d.expecting != nil}
	if text, known := d.texts.Load(key); known {
		return text.(string)
	}
	text := d.marks.Replace(query)
	if key.expecting {
		text = d.expecting(text)
	}
	if d.numbered {
		parts := strings.Split(text, "?")
		var numbered strings.Builder
		for i, part := range parts {
			numbered.WriteString(part)
			if i < len(parts)-1 {
				numbered.WriteString("$" + strconv.Itoa(i+1))
			}
		}
		text = numbered.String()
	}
	d.texts.Store(key, text)
	return text
}

var sqliteDialect = &dialect{
	marks: strings.NewReplacer(
		"{list}", "json_each(?)",
		"{any}", "IN (SELECT value FROM json_each(?))",
		"{in state}", "",
		"{of one}", "",
		"{state}", "+state",
		"{by untold}", "INDEXED BY work_untold",
		"{by unwritten}", "INDEXED BY work_unwritten",
		"{locking}", "",
		"{position}", "(SELECT coalesce(max(position), 0) + 1 FROM shelf_item WHERE shelf = ?)",
		"{visible}", "true",
	),
}

var postgresDialect = &dialect{
	marks: strings.NewReplacer(
		"{list}", "unnest(CAST(? AS text[])) AS each (value)",
		"{any}", "= ANY (CAST(? AS text[]))",
		"{in state}", `COLLATE "POSIX"`,
		"{of one}", `COLLATE "ucs_basic"`,
		"{state}", "(state || '')",
		"{by untold}", "",
		"{by unwritten}", "",
		"{locking}", "FOR UPDATE SKIP LOCKED",
		"{position}", "countersign_position(?)",
		"{visible}", "position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 12",
	),
	numbered: true,
	expecting: func(query string) string {
		return "WITH touched AS (" + query + " RETURNING 1) SELECT countersign_changed('a row') FROM (SELECT count(*) AS rows FROM touched) AS counted WHERE rows <> 1"
	},
}
