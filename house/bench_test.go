package house_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// manyPeople begins the list of people with so many holders that pairs do not
// wait for each other's holder.
func manyPeople(count int) string {
	var people strings.Builder
	people.WriteString("people:\n")
	for i := range count {
		fmt.Fprintf(&people, "  - {login: p%d, name: Person %d, email: p%d@test.example, manager: max}\n", i, i, i)
	}
	return people.String()
}

// BenchmarkPair measures one pair: a request created, approved and fulfilled at
// the no-op target, through the desk and the engine's steps, at eight callers.
func BenchmarkPair(b *testing.B) {
	for name, open := range map[string]func(testing.TB) database{"sqlite": onSQLite, "postgres": onPostgres} {
		b.Run(name, func(b *testing.B) {
			w := empty(b, open(b))
			w.directory = strings.Replace(directoryFile, "people:\n", manyPeople(2000), 1)
			if err := w.found(policyFor(managerStage, "")); err != nil {
				b.Fatal(err)
			}
			w.settle()
			approver := w.as("max")
			var next atomic.Int64
			var last atomic.Pointer[countersign.RequestID]
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := next.Add(1)
					holder := w.as(fmt.Sprintf("p%d", n%2000))
					right := []string{"ledger/books/read", "ledger/books/write", "ledger/vaults/read", "ledger/books/brief"}[n/2000%4]
					id, err := w.house.Desk.Submit(w.ctx, holder, desk.Key{}, desk.Asking{Entitlements: []string{right}, Reason: "measured"})
					if err != nil {
						b.Error(err)
						return
					}
					view, err := w.house.Desk.Request(w.ctx, approver, id)
					if err == nil {
						err = w.house.Desk.Approve(w.ctx, approver, desk.Key{}, id, desk.Decision{Shown: view.Shown})
					}
					if err != nil {
						b.Error(err)
						return
					}
					last.Store(&id)
				}
			})
			w.must(w.house.Settle(w.ctx))
			b.StopTimer()
			w.state(*last.Load(), countersign.RequestActive)
		})
	}
}
