package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/sqlstore"
	"github.com/countersign/countersign/workflow"
)

// loader writes many rows of the store's own kind into a house that does not run.
type loader struct {
	t     *testing.T
	store *sqlstore.Store
	mint  *countersign.Mint
	now   countersign.Instant
	// people and rights are by their names, systems by the names of their rights.
	people  map[string]countersign.IdentityID
	rights  map[string]countersign.EntitlementID
	systems map[string]countersign.SystemID
}

func openStore(t *testing.T, where house.Place) *sqlstore.Store {
	t.Helper()
	var opened *sqlstore.Store
	var err error
	if where.Database != "" {
		opened, err = sqlstore.OpenPostgres(context.Background(), where.Database, sqlstore.Options{})
	} else {
		opened, err = sqlstore.OpenSQLite(context.Background(), filepath.Join(where.Data, "countersign.db"), sqlstore.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func newLoader(t *testing.T, where house.Place) *loader {
	t.Helper()
	l := &loader{
		t: t, store: openStore(t, where), now: countersign.InstantOf(time.Now()),
		people: map[string]countersign.IdentityID{}, rights: map[string]countersign.EntitlementID{}, systems: map[string]countersign.SystemID{},
	}
	var seed [32]byte
	rand.Read(seed[:])
	l.mint = countersign.NewMint(seed, l.now)
	directory, err := l.store.Directory(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, identity := range directory.Identities {
		l.people[identity.Handle(countersign.Login)] = identity.ID
	}
	names := map[countersign.SystemID]string{}
	for _, system := range directory.Systems {
		names[system.ID] = system.Name
	}
	for _, entitlement := range directory.Entitlements {
		name := names[entitlement.System] + "/r/" + entitlement.Name
		l.rights[name], l.systems[name] = entitlement.ID, entitlement.System
	}
	return l
}

// atOnce is how many nouns one commit loads.
const atOnce = 4096

// grants loads live grants of a right of each system of each person, count in all
// and until the given end, with an event, a timer and an assignment each.
func (l *loader) grants(count int, until countersign.Instant, which func(n int) (person, system, right string)) {
	l.t.Helper()
	shelf := l.store.Shelf(pdp.ShelfName)
	for first := 0; first < count; first += atOnce {
		change := store.Change{Now: l.now}
		assigned := store.ShelfChange{Now: l.now}
		for n := first; n < min(first+atOnce, count); n++ {
			person, system, right := which(n)
			name := system + "/r/" + right
			grant := &countersign.Grant{
				ID: l.mint.Grant(), Version: 1, State: countersign.GrantLive, Origin: countersign.FromGenesis,
				Holder: l.people[person], Entitlement: l.rights[name], System: l.systems[name], Step: countersign.Step{Connector: "role", Action: "assign"},
				Duration: 10 * countersign.Day, OpenedAt: l.now, From: l.now, Until: until,
				Credentials: []countersign.Credential{{ID: l.mint.Credential(), State: countersign.CredentialLive, From: l.now, Until: until, Reference: system + "/r"}},
			}
			if grant.Holder == "" || grant.Entitlement == "" {
				l.t.Fatalf("there is no %s or no %s", person, name)
			}
			event, err := audit.Seal(0, countersign.Hash{}, audit.Stamp{Time: l.now, Actor: countersign.SystemHost}, l.mint, countersign.Event{
				Stream: grant.RowStream(), Payload: &workflow.GrantOpened{Change: workflow.GrantOpenedChange{
					Origin: grant.Origin, Holder: grant.Holder, Entitlement: grant.Entitlement, System: grant.System, Step: grant.Step, Duration: grant.Duration,
				}},
			})
			if err != nil {
				l.t.Fatal(err)
			}
			change.Writes = append(change.Writes, store.Write{Row: grant})
			change.Events = append(change.Events, event)
			change.Work = append(change.Work, store.WorkWrite{Work: store.Work{Key: string(grant.ID), Kind: store.GrantWork, Ref: string(grant.ID), DueAt: until}, Attempt: store.AnyAttempt})
			body, err := json.Marshal(map[string]any{
				"grant": grant.ID, "subject": grant.Holder, "action": right, "system": grant.System, "entitlement": grant.Entitlement, "resource": system + "/r", "until": until,
			})
			if err != nil {
				l.t.Fatal(err)
			}
			assigned.Puts = append(assigned.Puts, store.Item{Key: string(grant.Credentials[0].ID), Ref: string(grant.Holder), Version: 1, EndsAt: until, Body: body})
		}
		if err := l.store.Commit(context.Background(), change); err != nil {
			l.t.Fatal(err)
		}
		if err := shelf.Commit(context.Background(), assigned); err != nil {
			l.t.Fatal(err)
		}
	}
}

// requests loads copies of an open request, each for another holder and right.
func (l *loader) requests(like *countersign.Request, count int, which func(n int) asking) {
	l.t.Helper()
	for first := 0; first < count; first += atOnce {
		change := store.Change{Now: l.now}
		for n := first; n < min(first+atOnce, count); n++ {
			asked := which(n)
			request := workflow.Copy(like)
			request.ID, request.Version = l.mint.Request(), 1
			request.Requester, request.Beneficiary = l.people[asked.requester], l.people[asked.holder]
			request.SamePerson = []countersign.IdentityID{request.Requester, request.Beneficiary}
			request.Entitlements = []countersign.EntitlementID{l.rights[asked.right]}
			request.Stages[0].Asked[0].Person = l.people[asked.manager]
			event, err := audit.Seal(0, countersign.Hash{}, audit.Stamp{Time: l.now, Actor: countersign.SystemHost}, l.mint, countersign.Event{
				Stream: request.RowStream(), Payload: &workflow.RequestEnded{},
			})
			if err != nil {
				l.t.Fatal(fmt.Errorf("%s: %w", request.ID, err))
			}
			change.Writes = append(change.Writes, store.Write{Row: request})
			change.Events = append(change.Events, event)
			change.Work = append(change.Work, store.WorkWrite{Work: store.Work{
				Key: string(request.ID), Kind: store.RequestWork, Ref: string(request.ID), DueAt: workflow.RequestDue(request),
			}, Attempt: store.AnyAttempt})
		}
		if err := l.store.Commit(context.Background(), change); err != nil {
			l.t.Fatal(err)
		}
	}
}

// count runs a query that answers with one number, beside a house that runs.
func count(t *testing.T, where house.Place, query string) int {
	t.Helper()
	var found int
	if where.Database != "" {
		conn, err := pgx.Connect(context.Background(), where.Database)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := conn.QueryRow(context.Background(), query).Scan(&found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(where.Data, "countersign.db")+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

// onDisk is how many bytes the database of a house takes.
func onDisk(t *testing.T, where house.Place) float64 {
	t.Helper()
	if where.Database != "" {
		return float64(count(t, where, `SELECT pg_database_size(current_database())`))
	}
	files, err := filepath.Glob(filepath.Join(where.Data, "countersign.db*"))
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, file := range files {
		about, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		total += about.Size()
	}
	return float64(total)
}
