package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/backup"
)

// copied lists every table of a house but the one that notes migrations. A table
// stands behind those that it refers to.
var copied = []string{
	"house", "policy", "policy_set", "identity", "access_group", "system", "entitlement", "record", "handle", "delegation",
	"request", "request_entitlement", "request_party", "access_grant", "hold", "proposal", "batch", "finding", "reconciliation",
	"event", "event_value", "content", "guard", "work", "idempotency", "shelf_item",
}

// catalogue asks each database which columns its tables have, and of what type.
const (
	sqliteCatalogue = `SELECT t.name, c.name, c.type FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
		WHERE t.type = 'table' ORDER BY t.name, c.cid`
	postgresCatalogue = `SELECT t.relname::text, c.attname::text, format_type(c.atttypid, NULL)
		FROM pg_class AS t JOIN pg_attribute AS c ON c.attrelid = t.oid
		WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p') AND c.attnum > 0 AND NOT c.attisdropped
		ORDER BY t.relname, c.attnum`
)

// types say how values of a column are written in an archive.
var types = map[string]backup.Type{
	"TEXT": backup.Text, "INTEGER": backup.Integer, "BLOB": backup.Bytes,
	"text": backup.Text, "bigint": backup.Integer, truth: backup.Integer, "bytea": backup.Bytes,
}

// truth is a type that SQLite keeps as 1 and 0; archives do, too.
const truth = "boolean"

// columnsOf returns the columns of every copied table, and the types that the
// database itself gives them.
func columnsOf(ctx context.Context, from reader, catalogue string) (columns map[string][]backup.Column, native map[string][]string, err error) {
	columns, native = map[string][]backup.Column{}, map[string][]string{}
	err = from.query(ctx, catalogue, func(row row) error {
		var table, name, kind string
		if err := row.Scan(&table, &name, &kind); err != nil || !slices.Contains(copied, table) {
			return err
		}
		known, ok := types[kind]
		if !ok {
			return internal("unknown-column-type", "the column %s of the table %s has the type %s, which no archive has a form for", name, table, kind)
		}
		columns[table] = append(columns[table], backup.Column{Name: name, Type: known})
		native[table] = append(native[table], kind)
		return nil
	})
	return columns, native, err
}

// selecting is a query for all rows of a table.
func selecting(table string, columns []backup.Column) string {
	return `SELECT ` + strings.Join(namesOf(columns), ", ") + ` FROM ` + table
}

func namesOf(columns []backup.Column) []string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.Name
	}
	return names
}

// Dump writes every row of the house into an archive, as one committed state,
// while others go on to read and write. It returns the version of the schema.
func (s *Store) Dump(ctx context.Context, to *backup.Writer) (schema int64, err error) {
	err = s.database.snapshot(ctx, func(from reader) error {
		if schema, err = schemaVersion(ctx, from); err != nil {
			return err
		}
		columns, _, err := columnsOf(ctx, from, s.database.catalogue())
		if err != nil {
			return err
		}
		for _, table := range copied {
			if len(columns[table]) == 0 {
				return internal("missing-table", "the database has no table %s", table)
			}
			if err := to.Table(table, columns[table]); err != nil {
				return err
			}
			if err := dumpTable(ctx, from, to, table, columns[table]); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		return nil
	})
	return schema, err
}

func dumpTable(ctx context.Context, from reader, to *backup.Writer, table string, columns []backup.Column) error {
	values, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	return from.query(ctx, selecting(table, columns), func(row row) error {
		if err := row.Scan(targets...); err != nil {
			return err
		}
		for i, value := range values {
			if is, isTruth := value.(bool); isTruth {
				values[i] = int64(0)
				if is {
					values[i] = int64(1)
				}
			}
		}
		return to.Row(values)
	})
}

// fits refuses an archive whose tables are not those of the schema that it names.
func fits(archive *backup.Archive, columns map[string][]backup.Column) error {
	unfit := func(format string, args ...any) error {
		return countersign.Errorf(countersign.Invalid, "damaged-archive", "the archive does not hold what its schema %d has: %s", archive.Manifest.Schema, fmt.Sprintf(format, args...))
	}
	left := len(columns)
	for _, table := range archive.Manifest.Tables {
		have := columns[table.Name]
		if len(have) == 0 {
			return unfit("it has a table %s", countersign.Clip(table.Name))
		}
		left--
		for _, column := range table.Columns {
			if !slices.Contains(have, column) {
				return unfit("the table %s has a column %s of the type %s", table.Name, countersign.Clip(column.Name), column.Type)
			}
		}
		if len(table.Columns) != len(have) {
			return unfit("the table %s has %d columns instead of %d", table.Name, len(table.Columns), len(have))
		}
	}
	if left != 0 {
		return unfit("%d tables are missing", left)
	}
	return nil
}

// inOrder returns the archive's tables, each behind those that it refers to.
func inOrder(archive *backup.Archive) []backup.Table {
	tables := slices.Clone(archive.Manifest.Tables)
	slices.SortFunc(tables, func(a, b backup.Table) int {
		return slices.Index(copied, a.Name) - slices.Index(copied, b.Name)
	})
	return tables
}
