package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/countersign/countersign/store/pgtest"
)

// exitUnavailable is the exit code of a command that cannot be done now, as on a
// database of another schema.
const exitUnavailable = 7

// refused checks that a command of the house's program is refused by name.
func (h *house) refused(reason string, arguments ...string) {
	h.t.Helper()
	said, err := h.run(arguments...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != exitUnavailable || !strings.Contains(said, reasons[reason]) {
		h.t.Errorf("%v on a database of another schema: %v, %s; want exit code %d and %s", arguments, err, said, exitUnavailable, reason)
	}
}

// reasons are what the program says of schemas that are not its own.
var reasons = map[string]string{
	"schema-newer": "run the version that it is from, or a later one",
	"schema-older": "and this version of countersign needs schema",
}

// verified checks that the program finds the whole record good.
func (h *house) verified() {
	h.t.Helper()
	if said, err := h.run("audit", "verify"); err != nil {
		h.t.Errorf("audit verify of %s: %v\n%s", filepath.Base(h.version()), err, said)
	}
}

// after has the version before look at what the present one left, and says whether it
// is refused: it cannot know what a later schema means, and says so instead of guessing.
func (h *house) after(older *version) (refused bool) {
	h.t.Helper()
	if h.program = older.path; !older.earlier {
		h.verified()
		return false
	}
	h.refused("schema-newer", "audit", "verify")
	h.refused("schema-newer", "serve", "--listen", "127.0.0.1:0")
	return true
}

// A rolling upgrade: the version before founds the house and goes on serving it while
// the present one migrates the database and serves beside it.
func TestTwoNeighbouringVersionsServeOneHouseAndEndWhatTheOtherBegan(t *testing.T) {
	t.Parallel()
	older := before(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	chance := seeded(t)
	url := pgtest.Database(t, nil)
	h := &house{
		t: t, place: []string{"--database", url, "--key-file", filepath.Join(t.TempDir(), "master.key")}, database: url,
		replicas: make([]*process, 1), program: older.path,
	}
	if said, err := run(t, older.path, "migrate", "--database", url); err != nil {
		t.Fatalf("the version before does not found its schema: %v %s", err, said)
	}
	h.found()
	h.verified()

	l := h.begin(chance)
	if h.program = ""; older.earlier {
		h.refused("schema-older", "serve", "--listen", "127.0.0.1:0")
	}
	if said, err := run(t, h.version(), "migrate", "--database", url); err != nil {
		t.Fatalf("the present version does not migrate: %v %s", err, said)
	}
	h.replicas = append(h.replicas, nil)
	h.up(1, "")
	h.crossed(ctx, l)
	l.end()
	// Each takes over what was under way at the other when that was killed; the older
	// one goes last, for it could not start again.
	h.takenOver(ctx, l, 1, 0)
	h.up(1, "")
	h.takenOver(ctx, l, 0, 1)
	h.check(l.asked)

	h.after(older)
}

// crossed has requests created, approved, fulfilled and revoked, or kept, in each
// order of the two replicas, which both serve.
func (h *house) crossed(ctx context.Context, l *load) {
	h.t.Helper()
	var all sync.WaitGroup
	for order := range 8 {
		create, approve, revoke := h.replicas[order&1], h.replicas[order>>1&1], h.replicas[order>>2&1]
		for _, system := range []string{"ledger", "wiki"} {
			all.Go(func() {
				if err := h.cross(ctx, l, system, create, approve, revoke); err != nil {
					h.t.Errorf("order %03b of older (0) and newer (1) in %s: %v", order, system, err)
				}
			})
		}
	}
	all.Wait()
}

func (h *house) cross(ctx context.Context, l *load, system string, create, approve, revoke *process) error {
	holders, right, err := l.pair(system, 1)
	if err != nil {
		return err
	}
	post := func(at *process, login, path string, body any) (answer, error) {
		said, err := h.insistAt(ctx, at.url, login, http.MethodPost, "/api/v1"+path, l.key(), body)
		if err == nil && !said.done() {
			err = fmt.Errorf("%s as %s: %s", path, login, said)
		}
		return said, err
	}
	a := &asked{reason: "both of them are asked, " + l.key(), holder: holders[0], rights: []string{right}, fate: kept}
	said, err := post(create, asker(0), "/requests", requestBody{Beneficiary: holders[0], Entitlements: a.rights, Reason: a.reason})
	if err != nil {
		return err
	}
	view, err := parsed(said)
	if err != nil {
		return err
	}
	a.id = view.ID
	l.note(a)
	if _, err := post(approve, "max", "/requests/"+a.id+"/approve", map[string]any{"shown": view.Shown}); err != nil {
		return err
	}
	for view.State != "active" {
		if err := l.wait(ctx); err != nil {
			return fmt.Errorf("it is approved and never active: %s", view.State)
		}
		said, err := h.insistAt(ctx, revoke.url, "max", http.MethodGet, "/api/v1/requests/"+a.id, "", nil)
		if err != nil {
			return err
		}
		if view, err = parsed(said); err != nil {
			return err
		}
	}
	if create == revoke {
		return nil
	}
	_, err = post(revoke, asker(0), "/grants/"+view.Grants[0].ID+"/revoke", map[string]any{"reason": "not needed any more"})
	if err == nil {
		a.fate = revoked
	}
	return err
}

// takenOver approves something at one replica, kills it while the target is being
// told, and returns when the other one has given it.
func (h *house) takenOver(ctx context.Context, l *load, from, to int) {
	h.t.Helper()
	holders, right, err := l.pair("ledger", 1)
	if err != nil {
		h.t.Fatal(err)
	}
	a := must(l.ask(ctx, asker(0), holders[0], right))(h.t)
	a.fate = kept
	arrived, letGo := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(letGo) })
	h.t.Cleanup(release)
	var once sync.Once
	// Nothing else is put meanwhile, whoever asked for it.
	h.target.interrupt(func(method, id string) {
		if method != http.MethodPut {
			return
		}
		if view, err := h.viewAt(ctx, h.replicas[to], a.id); err == nil && len(view.Grants) == 1 && len(view.Grants[0].Credentials) == 1 && view.Grants[0].Credentials[0].ID == id {
			once.Do(func() { close(arrived) })
		}
		<-letGo
	})
	h.approveAt(ctx, h.replicas[from], a)
	await(ctx, h.t, arrived)
	h.down(from)
	h.target.interrupt(nil)
	release()
	for {
		view := must(h.viewAt(ctx, h.replicas[to], a.id))(h.t)
		if view.State == "active" {
			if by := h.target.put(view.Grants[0].Credentials[0].ID); !slices.Contains(by, fmt.Sprint(to)) {
				h.t.Errorf("what replica %d left was put by %v, and not by replica %d", from, by, to)
			}
			return
		}
		if err := l.wait(ctx); err != nil {
			h.t.Fatalf("what replica %d left is never active", from)
		}
	}
}

// On the embedded database one version follows the other.
func TestTheNextVersionMigratesTheFileOfTheVersionBeforeAndLosesNothing(t *testing.T) {
	t.Parallel()
	older := before(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	chance := seeded(t)
	h := newHouse(t)
	h.program = older.path
	h.found()
	l := h.begin(chance)
	var early []*asked
	for range 3 {
		early = append(early, h.written(ctx, l))
	}
	// Callers go on asking while there is nobody.
	h.stopped(ctx, 0)
	h.verified()

	h.program = ""
	if older.earlier {
		h.refused("schema-older", "audit", "verify")
	}
	h.up(0, "")
	copies, err := filepath.Glob(h.database + ".schema-*.backup")
	if err != nil || (len(copies) == 1) != older.earlier {
		t.Errorf("the copies from before the migration are %v, %v", copies, err)
	}
	h.written(ctx, l)
	h.check(l.end())
	h.intact()

	if !h.after(older) {
		return
	}
	h.intact()
	// The copy is what the version before left, and good for it.
	kept := filepath.Join(t.TempDir(), "house")
	if err := errors.Join(os.Mkdir(kept, 0o700), os.Rename(copies[0], filepath.Join(kept, "countersign.db")), os.Rename(filepath.Join(filepath.Dir(h.database), "master.key"), filepath.Join(kept, "master.key"))); err != nil {
		t.Fatal(err)
	}
	h.place = []string{"--data", kept}
	h.up(0, "")
	for _, a := range early {
		if view := must(h.viewAt(ctx, h.replicas[0], a.id))(t); view.State != "active" {
			t.Errorf("in the copy, what was active then is %s", view.State)
		}
	}
	h.stopped(ctx, 0)
	h.verified()
}

// written has one request created, approved and carried out.
func (h *house) written(ctx context.Context, l *load) *asked {
	h.t.Helper()
	holders, right, err := l.pair("ledger", 1)
	if err != nil {
		h.t.Fatal(err)
	}
	a, _ := l.granted(ctx, asker(0), holders[0], right)
	return a
}

// stopped ends a replica as an operator does.
func (h *house) stopped(ctx context.Context, replica int) {
	h.t.Helper()
	h.replicas[replica].signal(h.t, syscall.SIGTERM)
	if err := h.replicas[replica].ends(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.balance()
	if code := h.replicas[replica].command.ProcessState.ExitCode(); code != 0 {
		h.t.Errorf("stopped by SIGTERM, it ends with %d; its log is\n%s", code, h.replicas[replica].log)
	}
}
