package sqlstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	// readTimeout is how long those who ask together wait for the database.
	readTimeout = 10 * time.Second
	// mostAsked is how many questions are sent together, one who asks aside.
	mostAsked = 64
)

// reading is who asks, and what was answered.
type reading struct {
	questions []question
	answers   [][]answered
}

// ask sends all queries in one round trip, with those of others that wait at the
// same time. Each query sees what was committed before it was sent.
func (p *postgres) ask(ctx context.Context, questions []question) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &reading{questions: questions}
	if err := p.reads.do(ctx, r, gatherReads, p.read); err != nil {
		return err
	}
	types := typeMaps.Get().(*pgtype.Map)
	defer typeMaps.Put(types)
	for i, q := range questions {
		for _, row := range r.answers[i] {
			row.types = types
			if err := q.visit(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func gatherReads(leader *waiter[*reading], waiting []*waiter[*reading]) (batch, left []*waiter[*reading]) {
	batch = []*waiter[*reading]{leader}
	asked := 0
	for i, w := range waiting {
		if asked += len(w.what.questions); asked > mostAsked {
			return batch, slices.Clone(waiting[i:])
		}
		batch = append(batch, w)
	}
	return batch, nil
}

// read sends the questions of the batch, and tells each who asked. One that the
// database does not answer fails by itself.
func (p *postgres) read(batch []*waiter[*reading]) {
	err := p.readTogether(batch)
	var fault *pgconn.PgError
	if len(batch) > 1 && errors.As(err, &fault) {
		for _, w := range batch {
			go p.read([]*waiter[*reading]{w})
		}
		return
	}
	for _, w := range batch {
		w.tell(postgresFault(err))
	}
}

func (p *postgres) readTogether(batch []*waiter[*reading]) error {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	var queries pgx.Batch
	for _, w := range batch {
		for _, q := range w.what.questions {
			queries.Queue(postgresDialect.text(q.query, false), postgresArgs(q.args)...)
		}
	}
	results := p.pool.SendBatch(ctx, &queries)
	for _, w := range batch {
		w.what.answers = make([][]answered, len(w.what.questions))
		for i := range w.what.questions {
			rows, err := results.Query()
			if err == nil {
				w.what.answers[i], err = keep(rows)
			}
			if err != nil {
				return errors.Join(err, ignoreSame(results.Close(), err))
			}
		}
	}
	return results.Close()
}

// answered is a row that outlives the connection that it came by.
type answered struct {
	types  *pgtype.Map
	fields []pgconn.FieldDescription
	values [][]byte
}

// typeMaps are for reading rows by one goroutine at a time.
var typeMaps = sync.Pool{New: func() any { return pgtype.NewMap() }}

func (a answered) Scan(columns ...any) error {
	return pgx.ScanRow(a.types, a.fields, a.values, columns...)
}

func keep(rows pgx.Rows) ([]answered, error) {
	defer rows.Close()
	var kept []answered
	var fields []pgconn.FieldDescription
	for rows.Next() {
		if fields == nil {
			fields = slices.Clone(rows.FieldDescriptions())
		}
		values := slices.Clone(rows.RawValues())
		bytes := slices.Concat(values...)
		for i, value := range values {
			// An empty text is none of them, and is not null either.
			if len(value) > 0 {
				values[i], bytes = bytes[:len(value):len(value)], bytes[len(value):]
			}
		}
		kept = append(kept, answered{fields: fields, values: values})
	}
	return kept, rows.Err()
}
