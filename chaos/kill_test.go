package chaos

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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

// A point that no test goes through would prove nothing.
func TestEachPointThatIsNamedIsOneAtWhichTheProgramIsKilled(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../faultpoint/faultpoint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	gone := slices.Concat(certificatePoints, accountPoints)
	for _, at := range points {
		gone = append(gone, at.point)
	}
	named := 0
	ast.Inspect(file, func(node ast.Node) bool {
		declared, is := node.(*ast.ValueSpec)
		if !is || fmt.Sprint(declared.Type) != "Point" {
			return true
		}
		named++
		value, err := strconv.Unquote(declared.Values[0].(*ast.BasicLit).Value)
		if err != nil || !slices.Contains(gone, faultpoint.Point(value)) {
			t.Errorf("%s (%s) is a point, and no test here kills the program there: add a line to points, or to the list of its scenario", declared.Names[0], value)
		}
		return true
	})
	if named < len(points) {
		t.Errorf("%d points were found in faultpoint.go, and %d are gone through", named, len(points))
	}
}

func TestKilledAtNamedPointsAndAtRandomNothingIsLostHalfDoneOrDoneTwice(t *testing.T) {
	t.Parallel()
	for round := range rounds(1) {
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
