package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	// The test reads the tables directly, as somebody else's program would.
	_ "github.com/jackc/pgx/v5/stdlib"
)

func TestASuspensionWaitsForNoReaderAndIsObeyedFromItsAnswerOn(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		h := onSQLite(t)
		h.suspensions(h.reader("sqlite", `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		h := onPostgres(t, 2)
		h.suspensions(h.reader("pgx", `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`))
	})
}

// reader opens a transaction that has read every table and stays open. It is looked
// at again, and ended, by the function that is returned.
func (h *house) reader(driver, tables string) (again func() error) {
	h.t.Helper()
	database, err := sql.Open(driver, h.database)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { database.Close() })
	tx, err := database.BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if driver == "sqlite" {
		// Each of its transactions reads one snapshot; it knows no other level.
		tx, err = database.Begin()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { tx.Rollback() })
	rows, err := tx.Query(tables)
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			h.t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || !slices.Contains(names, "identity") || !slices.Contains(names, "guard") {
		h.t.Fatalf("the tables are %v, %v", names, err)
	}
	count := func() (counted []int, err error) {
		for _, name := range names {
			var rows int
			if err := tx.QueryRow(`SELECT count(*) FROM ` + name).Scan(&rows); err != nil {
				return nil, err
			}
			counted = append(counted, rows)
		}
		return counted, nil
	}
	first, err := count()
	if err != nil {
		h.t.Fatal(err)
	}
	return func() error {
		counted, err := count()
		if err == nil && !slices.Equal(first, counted) {
			err = fmt.Errorf("the reader no longer sees what it saw: %v, then %v", first, counted)
		}
		return err
	}
}

// suspensions suspends an approver again and again, first in peace and then while
// others read all the time and the approver decides all the time.
func (h *house) suspensions(again func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := &load{house: h, pairs: map[string]int{}}
	// suspended is true from the answer to a suspension until it is taken back.
	var gate sync.RWMutex
	suspended := false
	suspend := func() time.Duration {
		from := time.Now()
		if err := l.command(ctx, "adam", "/identities/syd/suspend", map[string]any{"reason": "lost her laptop"}, func() {}); err != nil {
			h.t.Fatal(err)
		}
		took := time.Since(from)
		gate.Lock()
		suspended = true
		gate.Unlock()
		if err := again(); err != nil {
			h.t.Fatalf("the reader: %v", err)
		}
		return took
	}
	reactivate := func() {
		gate.Lock()
		defer gate.Unlock()
		suspended = false
		if err := l.command(ctx, "alma", "/identities/syd/reactivate", map[string]any{"reason": "it was found"}, func() {}); err != nil {
			h.t.Fatal(err)
		}
	}
	const times = 5
	var idle, busy []time.Duration
	for range times {
		idle = append(idle, suspend())
		reactivate()
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	loop := func(step func() error) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := step(); err != nil {
					h.t.Error(err)
					return
				}
			}
		})
	}
	a, err := l.ask(ctx, asker(0), beneficiary(0), "wiki/books/r01")
	if err != nil {
		h.t.Fatal(err)
	}
	var reads atomic.Int64
	from := time.Now()
	for range 4 {
		loop(func() error {
			reads.Add(1)
			if _, err := h.view(ctx, "aud", a.id); err != nil {
				return err
			}
			// Without a pause the readers would measure how the test shares the processor.
			<-time.After(10 * time.Millisecond)
			return nil
		})
	}
	var approved, refused int
	var lock sync.Mutex
	for i := range 2 {
		loop(func() error {
			holders, right, err := l.pair("crypt", 1)
			if err != nil {
				return err
			}
			asked, err := l.ask(ctx, asker(i), holders[0], right)
			if err != nil {
				return err
			}
			view, err := l.view(ctx, "aud", asked.id)
			if err != nil {
				return err
			}
			// While it is on its way, she is not reactivated: what is approved though she
			// was suspended when it began is a fault.
			gate.RLock()
			defer gate.RUnlock()
			before := suspended
			said, err := h.insist(ctx, "syd", http.MethodPost, "/api/v1/requests/"+asked.id+"/approve", l.key(), map[string]any{"shown": view.Shown})
			if err != nil {
				return err
			}
			lock.Lock()
			defer lock.Unlock()
			if said.done() {
				approved++
			} else {
				refused++
			}
			switch {
			case said.done() && before:
				return fmt.Errorf("somebody who was suspended has approved %s", asked.id)
			case !said.done() && said.status == http.StatusConflict:
				return fmt.Errorf("an approval: %s", said)
			}
			return nil
		})
	}
	for range times {
		busy = append(busy, suspend())
		// The approver is refused at least once before she is taken back.
		lock.Lock()
		seen := refused
		lock.Unlock()
		for !h.t.Failed() {
			lock.Lock()
			more := refused > seen
			lock.Unlock()
			if more {
				break
			}
			if err := l.wait(ctx); err != nil {
				h.t.Fatal(err)
			}
		}
		reactivate()
	}
	close(stop)
	all.Wait()
	if approved == 0 && !h.t.Failed() {
		h.t.Error("nothing was approved, so that nothing was in the way")
	}
	// A busy machine is nobody's fault, and what waits for every reader takes longer than
	// that. How long it takes on an idle one is measured in bench.
	if most := max(20*middle(idle), 2*time.Second); slices.Max(busy) > most {
		h.t.Errorf("a suspension took %s among readers, and %s in peace: more than %s says that it waits for them", slices.Max(busy), middle(idle), most)
	}
	h.t.Logf("a suspension took %s in peace and %s among %.0f reads and %.0f approvals a second, in the middle of %d; at most %s",
		middle(idle), middle(busy), float64(reads.Load())/time.Since(from).Seconds(), float64(approved+refused)/time.Since(from).Seconds(), times, slices.Max(busy))
}

func middle(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}
