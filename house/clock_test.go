package house_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
)

func TestAReplicaWhoseClockIsOffCommitsNothingClaimsNothingAndRefuses(t *testing.T) {
	w := found(t, onSQLite(t), editorPolicy)
	w.editor()
	var offset time.Duration
	w.databaseClock = func() countersign.Instant { return countersign.InstantOf(w.clock.Now().Add(offset)) }

	offset = 1900 * time.Millisecond
	w.must(w.house.Engine.Beat(w.ctx))
	if !mayEdit(w.house.Point).Allowed {
		t.Fatalf("within two seconds the check says %+v", mayEdit(w.house.Point))
	}
	for _, offset = range []time.Duration{2100 * time.Millisecond, -2100 * time.Millisecond} {
		if err := w.house.Engine.Beat(w.ctx); err == nil {
			t.Fatal("beyond two seconds the beat goes on")
		}
		if health := w.house.Engine.Health(); health.Offset != -offset.Milliseconds() || health.BeatAt == 0 {
			t.Errorf("the engine says of itself %+v", health)
		}
		if decision := mayEdit(w.house.Point); decision.Reason != pdp.Unfit {
			t.Errorf("beyond two seconds the check says %+v", decision)
		}
		_, err := w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook"})
		w.refused(err, "replica-unfit")
		if err := w.house.Ready(context.Background()); countersign.ReasonOf(err) != "replica-unfit" {
			t.Errorf("its readiness is %v", err)
		}
	}
	offset = 0
	w.must(w.house.Engine.Beat(w.ctx))
	if !mayEdit(w.house.Point).Allowed {
		t.Errorf("with its clock right again the check says %+v", mayEdit(w.house.Point))
	}
}
