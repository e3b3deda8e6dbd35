package role_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/role"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/store/sqlstore"
	"github.com/countersign/countersign/target"
)

var shelves = map[string]func(t *testing.T) store.Shelf{
	"memory": func(*testing.T) store.Shelf { return shelftest.New(pdp.ShelfName) },
	"SQLite": func(t *testing.T) store.Shelf {
		database, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "house.db"), sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { database.Close() })
		return database.Shelf(pdp.ShelfName)
	},
}

// byID resolves subjects that are named by their own id.
type byID struct{}

func (byID) Resolve(subjectType, subjectID string) (countersign.IdentityID, bool) {
	return countersign.IdentityID(subjectID), subjectType == "identity"
}

func TestConformance(t *testing.T) {
	for name, open := range shelves {
		for kind, made := range map[string]func(role.Target, connector.Clock, countersign.Seconds) *role.Connector{"role": role.New, "tools": role.NewTools} {
			// What the target holds shows the same with a heartbeat.
			replica := map[string]string{"role": "", "tools": "one"}[kind]
			t.Run(kind+" "+name, func(t *testing.T) {
				connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
					clock := connectortest.NewClock()
					shelf := open(t)
					point := pdp.New(shelf, target.NewStops(), byID{}, clock, pdp.Options{Replica: replica})
					return &connectortest.Bench{
						Connector: made(point, clock, 0), Clock: clock,
						// Another replica, which was told nothing, is asked the holder's question;
						// of the credential it says whether that one gives the right.
						Works: func(t *testing.T, task connector.Task) bool {
							other := pdp.New(shelf, target.NewStops(), byID{}, clock, pdp.Options{})
							check, err := other.CheckCredential(t.Context(), task.Credential)
							if err != nil {
								t.Fatal(err)
							}
							decision := other.Evaluate(pdp.Evaluation{
								SubjectType: "identity", SubjectID: string(task.Holder), Action: task.Entitlement,
								ResourceType: pdp.ResourceType, ResourceID: task.ResourcePath(),
							})
							return decision.Allowed && check.Allowed
						},
						Plant: func(t *testing.T, task connector.Task) {
							err := point.Assign(t.Context(), pdp.Order{
								Credential: task.Credential, Grant: task.Grant, Subject: task.Holder, Action: task.Entitlement,
								System: task.System, Entitlement: task.EntitlementID, Resource: task.ResourcePath(), Until: task.Until,
							})
							if err != nil {
								t.Fatal(err)
							}
						},
						Writes: func(t *testing.T, task connector.Task) int {
							item, err := shelf.Item(t.Context(), string(task.Credential))
							if err != nil && countersign.KindOf(err) != countersign.NotFound {
								t.Fatal(err)
							}
							return int(item.Version)
						},
					}
				})
			})
		}
	}
}

func TestAnAssignmentThatTheDeskStopsIsNotGone(t *testing.T) {
	clock, stops := connectortest.NewClock(), target.NewStops()
	point := pdp.New(shelftest.New(pdp.ShelfName), stops, byID{}, clock, pdp.Options{})
	hands := role.New(point, clock, 5)
	connectortest.RunStopped(t, hands, clock, stops)
	if residual := hands.Describe().Residual; residual.Duration() != pdp.DefaultFreshness || residual.Duration() < time.Second {
		t.Errorf("other replicas may answer for %s, and the connector declares %s", pdp.DefaultFreshness, residual)
	}
}

func TestASettingIsRejected(t *testing.T) {
	clock := connectortest.NewClock()
	hands := role.New(pdp.New(shelftest.New(pdp.ShelfName), target.NewStops(), byID{}, clock, pdp.Options{}), clock, 0)
	mint := countersign.NewMint([32]byte{5}, clock.Instant())
	task := connector.Task{Action: "assign", Holder: mint.Identity(), System: mint.System(), SystemName: "billing", Resource: "invoices", Entitlement: "reader"}
	if _, err := hands.Plan(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	task.Settings = map[string]string{"admin": "true"}
	if _, err := hands.Plan(t.Context(), task); err == nil {
		t.Error("a setting that nothing reads is accepted")
	}
}

func TestABoundIsToldAndShown(t *testing.T) {
	clock := connectortest.NewClock()
	point := pdp.New(shelftest.New(pdp.ShelfName), target.NewStops(), byID{}, clock, pdp.Options{})
	hands := role.NewTools(point, clock, 0)
	mint := countersign.NewMint([32]byte{5}, clock.Instant())
	task := connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "allow", Holder: mint.Identity(), HolderName: "Agent",
		System: mint.System(), SystemName: "tools", Resource: "search", Entitlement: "read", EntitlementID: mint.Entitlement(), Until: clock.Instant().Add(countersign.Hour),
		Bounds: []connector.Bound{{Who: countersign.AnsweringSponsor, Holds: []connector.BoundRight{{Entitlement: "editor", Resource: "wiki/pages"}}}},
	}
	plan, err := hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, "while its sponsor holds editor on wiki/pages") {
		t.Errorf("the plan is %q: %v", plan.Effect, err)
	}
	if err := hands.Apply(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if reading, err := hands.Verify(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("read back: %+v, %v", reading, err)
	}
	evaluation := pdp.Evaluation{SubjectType: "identity", SubjectID: string(task.Holder), Action: "read", ResourceType: pdp.ResourceType, ResourceID: "tools/search"}
	if decision := point.Evaluate(evaluation); decision.Reason != pdp.OutOfBounds {
		t.Errorf("nobody holds what it is bounded by, and the decision is %+v", decision)
	}
}
