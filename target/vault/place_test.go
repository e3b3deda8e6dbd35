package vault

import (
	"context"
	"testing"

	"github.com/countersign/countersign"
)

func TestAPlaceIsKeptBeforeItsSecretAndAfterItsRevokeAndByOneWriterAtATime(t *testing.T) {
	h := newHouse(t)
	order, ctx := h.order(), context.Background()
	at := func(want string) {
		t.Helper()
		if place, err := h.PlaceOf(ctx, order.Credential); err != nil || place != want {
			t.Errorf("the place is %q, %v; want %q", place, err, want)
		}
	}
	at("")
	order.Place = "asked"
	if err := h.Reserve(ctx, order); err != nil {
		t.Fatal(err)
	}
	at("asked")
	if got := h.kinds(order); got != "" {
		t.Errorf("a place is told as %s", got)
	}
	if _, err := h.Read(ctx, order.Holder, order.Credential); countersign.ReasonOf(err) != "secret-gone" {
		t.Errorf("without a secret, reading is answered by %v", err)
	}

	longer := order
	longer.Until, longer.Attempt = order.Until.Add(countersign.Hour), order.Attempt+1
	if err := h.MoveEnd(ctx, longer); countersign.ReasonOf(err) != "no-such-secret" || h.kinds(order) != "" {
		t.Errorf("where only a place is kept, its end moves: %v, told as %q", err, h.kinds(order))
	}

	// Somebody who knows of nothing, and somebody who knows what is no longer so.
	late := order
	for _, former := range []string{"", "before"} {
		late.Place, late.Former = "elsewhere", former
		if err := h.Reserve(ctx, late); countersign.ReasonOf(err) != "place-changed" {
			t.Errorf("kept over %q: %v", former, err)
		}
		if err := h.Deposit(ctx, late, countersign.NewSecret("late")); countersign.ReasonOf(err) != "place-changed" {
			t.Errorf("deposited over %q: %v", former, err)
		}
	}
	order.Place, order.Former = "given", "asked"
	if err := h.Deposit(ctx, order, countersign.NewSecret("content")); err != nil {
		t.Fatal(err)
	}
	at("given")
	if got := h.read(order).Reveal(); got != "content" {
		t.Errorf("read %q", got)
	}
	if err := h.Revoke(ctx, order.Credential, 0); err != nil {
		t.Fatal(err)
	}
	at("given")
	order.Former = "given"
	if err := h.Reserve(ctx, order); countersign.ReasonOf(err) != "revoked" {
		t.Errorf("kept after its revoke: %v", err)
	}
}

func TestASecretIsDepositedOnceAlsoWhereItsPlaceIsKept(t *testing.T) {
	h := newHouse(t)
	order, ctx := h.order(), context.Background()
	order.Place = "asked"
	if err := h.Reserve(ctx, order); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"content", "late"} {
		if err := h.DepositOnce(ctx, order, countersign.NewSecret(content)); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.read(order).Reveal(); got != "content" {
		t.Errorf("read %q", got)
	}
}
