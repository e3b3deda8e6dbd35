package vault_test

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	vaultconnector "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/store/sqlstore"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

var shelves = map[string]func(t *testing.T) store.Shelf{
	"memory": func(*testing.T) store.Shelf { return shelftest.New(vault.ShelfName) },
	"SQLite": func(t *testing.T) store.Shelf {
		database, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "house.db"), sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { database.Close() })
		return database.Shelf(vault.ShelfName)
	},
}

func newVault(t *testing.T, shelf store.Shelf, stops *target.Stops, clock connector.Clock) *vault.Vault {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return vault.New(shelf, master, stops, clock, rand.Reader, "https://desk.example")
}

func TestConformance(t *testing.T) {
	for name, open := range shelves {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
				clock := connectortest.NewClock()
				shelf := open(t)
				house := newVault(t, shelf, target.NewStops(), clock)
				secrets := make(map[countersign.CredentialID]countersign.Secret)
				return &connectortest.Bench{
					Connector: vaultconnector.New(house, clock), Clock: clock,
					// The holder reads the secret once and then uses it at a resource server.
					Works: func(t *testing.T, task connector.Task) bool {
						if _, read := secrets[task.Credential]; !read {
							secret, err := house.Read(t.Context(), task.Holder, task.Credential)
							if err != nil {
								return false
							}
							secrets[task.Credential] = secret
						}
						check, err := house.CheckKey(t.Context(), secrets[task.Credential])
						return err == nil && check.Active && check.Holder == task.Holder && check.System == task.System &&
							check.Resource == task.Resource && check.Scope == task.Entitlement
					},
					Plant: func(t *testing.T, task connector.Task) {
						err := house.Issue(t.Context(), vault.Order{
							Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System,
							SystemName: task.SystemName, Entitlement: task.EntitlementID, Resource: task.Resource, Scope: task.Entitlement, Until: task.Until,
						})
						if err != nil {
							t.Fatal(err)
						}
					},
					Writes: func(t *testing.T, task connector.Task) int { return issued(t, shelf, task) },
				}
			})
		})
	}
}

// issued counts the writes of the credential's item, less the reading of Works.
func issued(t *testing.T, shelf store.Shelf, task connector.Task) int {
	t.Helper()
	item, err := shelf.Item(t.Context(), string(task.Credential))
	if countersign.KindOf(err) == countersign.NotFound {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(item.Body), `"read_at":"2`) {
		item.Version--
	}
	return int(item.Version)
}

func TestAKeyThatTheDeskStopsIsNotGone(t *testing.T) {
	clock, stops := connectortest.NewClock(), target.NewStops()
	hands := vaultconnector.New(newVault(t, shelftest.New(vault.ShelfName), stops, clock), clock)
	connectortest.RunStopped(t, hands, clock, stops)
}

func TestASettingThatTheVaultDoesNotKnowIsRejected(t *testing.T) {
	clock := connectortest.NewClock()
	hands := vaultconnector.New(newVault(t, shelftest.New(vault.ShelfName), target.NewStops(), clock), clock)
	mint := countersign.NewMint([32]byte{5}, clock.Instant())
	task := connector.Task{Action: "issue-key", Holder: mint.Identity(), System: mint.System(), SystemName: "billing", Resource: "invoices", Entitlement: "reader"}
	for setting, good := range map[[2]string]bool{
		{"read", "once"}: true, {"read", "until-end"}: true, {"read", "twice"}: false, {"raed", "once"}: false,
	} {
		task.Settings = map[string]string{setting[0]: setting[1]}
		if _, err := hands.Plan(t.Context(), task); (err == nil) != good {
			t.Errorf("%v: got %v", setting, err)
		}
	}
}
