package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/countersign/countersign/faultpoint"
)

// points are where the program is killed, and the scenario that leads there.
var points = []struct {
	point    faultpoint.Point
	most     int
	scenario string
}{
	{faultpoint.BeforeDecision, 3, "keep"},
	{faultpoint.AfterDecision, 3, "keep"},
	{faultpoint.AfterClaim, 3, "keep"},
	{faultpoint.BeforeApply, 3, "keep"},
	{faultpoint.AfterApply, 3, "keep"},
	{faultpoint.BeforeObserve, 3, "revoke at once"},
	{faultpoint.AfterObserve, 3, "keep"},
	{faultpoint.AfterRevoke, 2, "revoke"},
	{faultpoint.InSweep, 3, "sweep"},
	{faultpoint.InBatch, 3, "batch"},
}

func TestKilledAtNamedPointsAndAtRandomNothingIsLostHalfDoneOrDoneTwice(t *testing.T) {
	t.Parallel()
	for round := range rounds(t, 1) {
		t.Run(fmt.Sprintf("sqlite %d", round), func(t *testing.T) {
			t.Parallel()
			chance := seeded(t)
			h := onSQLite(t)
			h.killed(chance)
			h.intact()
		})
		t.Run(fmt.Sprintf("postgres with three replicas %d", round), func(t *testing.T) {
			t.Parallel()
			chance := seeded(t)
			onPostgres(t, 3).killed(chance)
		})
	}
}

// killed kills one replica after the other under load, at random and at named
// points (some of them in an ordinary run), and checks in the end.
func (h *house) killed(chance *rand.Rand) {
	h.t.Helper()
	l := h.begin(chance)
	order := chance.Perm(len(points))
	if os.Getenv(roundsVariable) == "" {
		order = order[:3]
	}
	for turn, i := range order {
		replica, at := turn%len(h.replicas), points[i]
		if h.t.Failed() {
			break
		}
		// At random first, while everything of it is under way.
		h.down(replica)
		h.up(replica, fmt.Sprintf("%s:%d", at.point, 1+chance.IntN(at.most)))
		l.preferred.Store(at.scenario)
		ctx, cancel := context.WithTimeout(l.ctx, patience)
		if err := h.replicas[replica].ends(ctx); err != nil {
			h.t.Errorf("%s: %v", at.point, err)
		}
		cancel()
		h.t.Logf("killed at %s", at.point)
		h.up(replica, "")
		l.preferred.Store("")
		// Some moments of a life, before it ends at random.
		<-time.After(time.Duration(chance.IntN(int(time.Second))))
	}
	h.check(l.end())
}
