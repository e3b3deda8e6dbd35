package house_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/sqlstore"
)

// kept is a house that the host's commands reach, too.
type kept struct {
	*world
	place house.Place
	// destroy takes away everything but the key file and leaves an empty place.
	destroy func()
}

// hostOptions are those of a command on the host of the house.
func (k *kept) hostOptions() house.Options {
	return house.Options{
		Clock: k.clock, Entropy: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Replica: "host command",
		Connectors: connector.Set{"noop": k.target}, DeliverByClaim: true,
	}
}

func onEveryPlace(t *testing.T, run func(t *testing.T, k *kept)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		run(t, keptOnFile(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		run(t, keptOnServer(t))
	})
}

func keptOnFile(t *testing.T) *kept {
	place := house.Place{Data: t.TempDir()}
	path := filepath.Join(place.Data, "countersign.db")
	k := keptAt(t, place, filepath.Join(place.Data, "master.key"), func() (store.Store, error) {
		return sqlstore.OpenSQLite(context.Background(), path, sqlstore.Options{})
	})
	k.destroy = func() {
		for _, side := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + side); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	return k
}

func keptOnServer(t *testing.T) *kept {
	url := pgtest.Database(t, func(url string) error { return sqlstore.Migrate(context.Background(), url) })
	place := house.Place{Database: url, KeyFile: filepath.Join(t.TempDir(), "master.key")}
	k := keptAt(t, place, place.KeyFile, func() (store.Store, error) {
		return sqlstore.OpenPostgres(context.Background(), url, sqlstore.Options{})
	})
	k.destroy = func() {
		connection, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close(context.Background())
		if _, err := connection.Exec(context.Background(), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func keptAt(t *testing.T, place house.Place, keyFile string, open func() (store.Store, error)) *kept {
	master, err := keys.Create(keyFile, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: context.Background(), clock: &movedClock{now: monday}, directory: directoryFile, master: master}
	w.target = noop.New(w.clock, countersign.CredentialKind)
	w.database.open = func() store.Store {
		opened, err := open()
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}
	w.start()
	t.Cleanup(func() { w.house.Store.Close() })
	w.must(w.found(policyFor(managerStage, ""), editorPolicy))
	w.settle()
	return &kept{world: w, place: place}
}

func (k *kept) backup() string {
	k.t.Helper()
	path := filepath.Join(k.t.TempDir(), "house.backup")
	if _, err := house.Backup(k.ctx, k.place, k.hostOptions(), path); err != nil {
		k.t.Fatal(err)
	}
	return path
}

func (k *kept) restore(path string) (house.Restored, error) {
	return house.Restore(k.ctx, k.place, k.hostOptions(), path, func(int64) {})
}

func editing(who string) desk.Asking {
	return desk.Asking{Beneficiary: who, Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook", Duration: 10 * countersign.Day}
}

func (w *world) mayEdit(who string) pdp.Decision {
	return w.house.Point.Evaluate(pdp.Evaluation{SubjectType: "identity", SubjectID: who + "@test.example", Action: "editor", ResourceType: "resource", ResourceID: "wiki/space"})
}

// given is an approved asking that the engine has carried out.
func (w *world) given(asking desk.Asking) countersign.RequestID {
	w.t.Helper()
	id := w.submit("ana", asking)
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	return id
}

// underLoad keeps people asking and cancelling while do runs.
func (w *world) underLoad(do func()) {
	w.t.Helper()
	stop := make(chan struct{})
	people := []string{"otto", "olga", "syd", "sue"}
	faults, first := make(chan error, len(people)), sync.WaitGroup{}
	first.Add(len(people))
	for _, who := range people {
		caller, asked := w.as(who), asking()
		asked.Beneficiary = who
		go func() {
			begun := sync.OnceFunc(first.Done)
			defer begun()
			for {
				select {
				case <-stop:
					faults <- nil
					return
				default:
				}
				id, err := w.house.Desk.Submit(w.ctx, caller, desk.Key{}, asked)
				if err == nil {
					err = w.house.Desk.Cancel(w.ctx, caller, desk.Key{}, id, "asked too early")
				}
				if err != nil {
					faults <- err
					return
				}
				begun()
			}
		}()
	}
	first.Wait()
	do()
	close(stop)
	for range people {
		w.must(<-faults)
	}
}

// The drill: a house under load is copied, lost, and made anew.
func TestAHouseUnderLoadIsCopiedLostAndRestored(t *testing.T) {
	onEveryPlace(t, func(t *testing.T, k *kept) {
		for _, who := range []string{"pia", "sam"} {
			asked := editing(who)
			if who == "sam" {
				asked.Duration = 30 * countersign.Day
			}
			k.given(asked)
		}
		books := k.given(asking())
		open := k.submit("ana", editing("pit"))
		// Approved, and not yet carried out when the copy is taken.
		pending := k.submit("ana", editing("ana"))
		k.must(k.approve("max", pending))
		var path string
		k.underLoad(func() { path = k.backup() })
		if about, err := os.Stat(path); err != nil || about.Mode().Perm() != 0o600 {
			t.Fatalf("the archive can be read by others: %v %v", about.Mode(), err)
		}

		// Afterwards it is given, taken away again, and something else is decided.
		k.settle()
		if !k.mayEdit("ana").Allowed {
			t.Fatal("the approved role was not given")
		}
		k.must(k.revocation("ana", k.grant(pending).ID)())
		k.settle()
		k.must(k.deny("max", open))
		k.verified()
		k.must(k.house.Store.Close())
		k.destroy()
		k.clock.move(11 * 24 * time.Hour)

		restored, err := k.restore(path)
		k.must(err)
		if len(restored.Record.Findings) != 0 || restored.Record.Rows == 0 || restored.Parked != 1 || restored.House != "Test" {
			t.Fatalf("the restore says %+v, %+v", restored, restored.Record)
		}
		k.start()
		k.must(k.house.Engine.Beat(k.ctx))
		// Before the engine has done anything: what ended meanwhile is refused, what
		// lasts is not, and what was being given is not given.
		for who, allowed := range map[string]bool{"pia": false, "sam": true, "ana": false} {
			if decision := k.mayEdit(who); decision.Allowed != allowed {
				t.Errorf("after the restore, %s is answered %+v", who, decision)
			}
		}
		k.settle()
		if k.holds(books) {
			t.Error("the target still holds what ended meanwhile")
		}
		k.state(books, countersign.RequestClosed)
		if decision := k.mayEdit("ana"); decision.Allowed {
			t.Errorf("what was revoked after the copy is given once more: %+v", decision)
		}
		grant := k.grant(pending)
		if grant.Parked == nil || !strings.Contains(grant.Parked.Why, "restored") {
			t.Fatalf("the operation that was under way is not parked: %+v", grant)
		}
		k.must(k.revocation("ana", grant.ID)())
		// Silence has denied what was open, and the house serves: the same is asked
		// again and given.
		k.settle()
		k.state(open, countersign.RequestDenied)
		for _, who := range []string{"pit", "pia"} {
			k.given(editing(who))
			if !k.mayEdit(who).Allowed {
				t.Errorf("what was approved after the restore is not given to %s", who)
			}
		}
		k.state(pending, countersign.RequestFailed)
		k.verified()
		if kinds := k.houseEvents(); !strings.HasSuffix(kinds, "house.backed-up@1 house.restored@1") {
			t.Errorf("the house's stream ends with %s", kinds)
		}
	})
}

// houseEvents lists the kinds of the house's stream.
func (w *world) houseEvents() string {
	w.t.Helper()
	events, err := w.house.Store.Events(w.ctx, countersign.StreamHouse, 0, 1000)
	w.must(err)
	var kinds []string
	for _, event := range events {
		kinds = append(kinds, event.Header.Kind)
	}
	return strings.Join(kinds, " ")
}

// An operation that gives is parked as the state of the archive was; one that
// takes away goes on by itself.
func TestARestoredHouseGoesOnTakingAway(t *testing.T) {
	onEveryPlace(t, func(t *testing.T, k *kept) {
		id := k.given(editing("ana"))
		k.must(k.revocation("ana", k.grant(id).ID)())
		path := k.backup()
		k.must(k.house.Store.Close())
		k.destroy()
		restored, err := k.restore(path)
		k.must(err)
		if restored.Parked != 0 {
			t.Errorf("%d operations are parked", restored.Parked)
		}
		k.start()
		k.must(k.house.Engine.Beat(k.ctx))
		if decision := k.mayEdit("ana"); decision.Allowed {
			t.Errorf("what was revoked before the copy is answered %+v", decision)
		}
		k.settle()
		k.state(id, countersign.RequestClosed)
		k.verified()
	})
}

func TestARestoreIntoTheWrongPlaceChangesNothing(t *testing.T) {
	onEveryPlace(t, func(t *testing.T, k *kept) {
		k.given(editing("ana"))
		path := k.backup()
		events := k.houseEvents()
		_, err := k.restore(path)
		k.refused(err, "not-empty")
		if now := k.houseEvents(); now != events {
			t.Errorf("the house's stream was %s, and is %s", events, now)
		}
		k.verified()
		_, err = house.Backup(k.ctx, k.place, k.hostOptions(), path)
		k.refused(err, "file-exists")

		k.must(k.house.Store.Close())
		k.destroy()
		keyFile := k.place.KeyFile
		if keyFile == "" {
			keyFile = filepath.Join(k.place.Data, "master.key")
		}
		k.must(os.Rename(keyFile, keyFile+".kept"))
		_, err = k.restore(path)
		k.refused(err, "no-key-file")
		if _, err := keys.Create(keyFile, rand.Reader); err != nil {
			t.Fatal(err)
		}
		_, err = k.restore(path)
		k.refused(err, "wrong-key-file")
		k.must(os.Rename(keyFile+".kept", keyFile))

		archive, err := os.ReadFile(path)
		k.must(err)
		for name, broken := range map[string][]byte{
			"cut off": archive[:len(archive)-100], "empty": {}, "a bit turned": func() []byte {
				turned := append([]byte{}, archive...)
				turned[len(turned)/3] ^= 4
				return turned
			}(),
		} {
			file := filepath.Join(t.TempDir(), "broken")
			k.must(os.WriteFile(file, broken, 0o600))
			if _, err := k.restore(file); countersign.KindOf(err) != countersign.Invalid {
				t.Errorf("%s: got %v", name, err)
			}
		}
		// None of it is in the way of the right one.
		_, err = k.restore(path)
		k.must(err)
		k.start()
		k.verified()
	})
}

func TestARestoreTellsWhatIsWrongInTheCopy(t *testing.T) {
	k := keptOnFile(t)
	id := k.given(editing("ana"))
	database, err := sql.Open("sqlite", filepath.Join(k.place.Data, "countersign.db"))
	k.must(err)
	_, err = database.Exec(`UPDATE request SET state = 'denied' WHERE id = ?`, string(id))
	k.must(errors.Join(err, database.Close()))
	path := k.backup()
	k.must(k.house.Store.Close())
	k.destroy()
	restored, err := k.restore(path)
	k.must(err)
	if found := restored.Record.Findings; len(found) != 1 || !strings.Contains(found[0], string(id)) || !strings.Contains(found[0], "state") {
		t.Errorf("the findings are %q", found)
	}
	k.start()
}

// A house that has outgrown the embedded database moves to PostgreSQL.
func TestAHouseMovesFromSQLiteToPostgreSQL(t *testing.T) {
	from, to := keptOnFile(t), keptOnServer(t)
	id := from.given(editing("ana"))
	path := from.backup()
	to.must(to.house.Store.Close())
	to.destroy()
	key, err := os.ReadFile(filepath.Join(from.place.Data, "master.key"))
	to.must(err)
	to.must(os.WriteFile(to.place.KeyFile, key, 0o600))
	to.master = from.master
	_, err = to.restore(path)
	to.must(err)
	to.start()
	to.settle()
	if !to.mayEdit("ana").Allowed {
		t.Errorf("the moved house answers %+v", to.mayEdit("ana"))
	}
	to.must(to.revocation("ana", to.grant(id).ID)())
	to.settle()
	to.state(id, countersign.RequestClosed)
	to.verified()
}
