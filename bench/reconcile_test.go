package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/reconcile"
)

// known is a directory in which everybody is active.
type known struct{}

func (known) Find(string) countersign.IdentityID { return "" }
func (known) Standing(countersign.IdentityID) reconcile.Standing {
	return reconcile.Standing{Active: true}
}

// TestReconcile measures how long comparing a target with the record takes, for as
// many pairs as a real organisation of 3,477 people has.
func TestReconcile(t *testing.T) {
	count := 105_205
	if !*measure {
		count = 1000
	}
	began := countersign.InstantOf(time.Now())
	mint := countersign.NewMint([32]byte{1}, began.Add(-countersign.Day))
	var granted []reconcile.Granted
	var items []connector.Item
	var holder countersign.IdentityID
	for i := range count {
		if i%30 == 0 {
			holder = mint.Identity()
		}
		one := reconcile.Granted{Grant: mint.Grant(), Credential: mint.Credential(), Holder: holder, Resource: "books", Entitlement: fmt.Sprint("right-", i%1587), Settled: true}
		granted = append(granted, one)
		items = append(items, connector.Item{Principal: string(holder), Holder: holder, Resource: one.Resource, Entitlement: one.Entitlement, Credential: one.Credential})
	}
	start := time.Now()
	c := reconcile.New(known{}, granted, began)
	for _, item := range items[1:] {
		if err := c.Found(item); err != nil {
			t.Fatal(err)
		}
	}
	differences := c.Differences()
	c.List()
	took := time.Since(start)
	if len(differences) != 1 || differences[0].Grant != granted[0].Grant {
		t.Fatalf("one was left out, and this was found: %+v", differences)
	}
	figures.atMost("-", fmt.Sprint(count), "comparing a target with the record", took.Seconds(), "s", 2)
}
