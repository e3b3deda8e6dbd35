package house_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// countedStore counts transactions that write.
type countedStore struct {
	store.Store
	commits *atomic.Int64
}

func (s countedStore) Commit(ctx context.Context, change store.Change) error {
	s.commits.Add(1)
	return s.Store.Commit(ctx, change)
}

func (s countedStore) Claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	s.commits.Add(1)
	return s.Store.Claim(ctx, claim)
}

// cost is what a step asks of the database.
type cost struct {
	// statements are all that are sent, those that begin and end a transaction
	// included, which on PostgreSQL need none.
	statements int
	// commits are transactions that write.
	commits int64
}

// costs runs a step and says what it asked of the database, and which statements
// it sent several times.
func (w *world) costs(step func()) (c cost, several []string) {
	w.database.statements.taken()
	w.commits.Store(0)
	step()
	for text, times := range w.database.statements.taken() {
		c.statements += times
		if times > 1 {
			several = append(several, text)
		}
	}
	c.commits = w.commits.Load()
	slices.Sort(several)
	return c, several
}

// What a command costs stays what it is: a figure that rises here is a decision,
// and one that falls is written down.
func TestEveryCommandSendsNoMoreStatementsThanItDid(t *testing.T) {
	for _, kind := range []struct {
		name string
		open func(testing.TB) database
		want map[string]cost
	}{
		{"sqlite", onSQLite, map[string]cost{
			"preview": {5, 0}, "submit": {25, 1}, "show": {3, 0}, "inbox": {2, 0}, "approve": {30, 1},
			"carry out": {24, 2}, "deny": {31, 1}, "cancel": {13, 1}, "revoke": {13, 1}, "expire eight": {39, 2},
		}},
		{"postgres", onPostgres, map[string]cost{
			"preview": {5, 0}, "submit": {14, 1}, "show": {3, 0}, "inbox": {2, 0}, "approve": {18, 1},
			"carry out": {19, 2}, "deny": {16, 1}, "cancel": {12, 1}, "revoke": {11, 1}, "expire eight": {13, 2},
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := found(t, kind.open(t), policyFor(managerStage, ""), keysPolicy, toxic)
			ask := func(who string) countersign.RequestID {
				asked := asking()
				asked.Beneficiary = who
				return w.submit("ana", asked)
			}
			check := func(name string, step func()) {
				t.Helper()
				is, several := w.costs(step)
				if want := kind.want[name]; is != want {
					t.Errorf("%s: %d statements and %d transactions that write, and it was %d and %d; sent several times:", name, is.statements, is.commits, want.statements, want.commits)
					for _, text := range several {
						t.Log(text)
					}
				}
			}
			check("preview", func() {
				_, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking())
				w.must(err)
			})
			var id, denied, cancelled countersign.RequestID
			check("submit", func() { id = ask("ana") })
			check("show", func() { w.view(id) })
			check("inbox", func() {
				_, err := w.house.Desk.Requests(w.ctx, w.as("max"), desk.RequestFilter{Inbox: true})
				w.must(err)
			})
			approval := w.approval("max", id)
			check("approve", func() { w.must(approval()) })
			check("carry out", func() {
				works, err := w.house.Engine.Claim(w.ctx, 1)
				w.must(err)
				w.must(w.house.Engine.Deliver(w.ctx, works[0]))
			})
			denied, cancelled = ask("otto"), ask("olga")
			denial := w.denial("max", denied)
			check("deny", func() { w.must(denial()) })
			check("cancel", func() { w.must(w.cancellation("ana", cancelled)()) })
			grant := w.grant(id).ID
			check("revoke", func() { w.must(w.revocation("ana", grant)()) })
			w.settle()
			// Eight ends at the same moment are claimed and begun together.
			for _, who := range []string{"ana", "otto", "olga", "syd", "sam", "sue", "pia", "pit"} {
				w.must(w.approve("max", ask(who)))
			}
			w.settle()
			w.move(10 * 24 * time.Hour)
			check("expire eight", func() {
				done, err := w.house.Engine.Timers(w.ctx)
				w.must(err)
				if done != 8 {
					t.Errorf("%d timers were due", done)
				}
			})
		})
	}
}
