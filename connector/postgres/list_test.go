package postgres_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/reconcile"
)

func (l *lab) list(of connector.Task) []connector.Item {
	l.t.Helper()
	var items []connector.Item
	err := l.hands.List(l.t.Context(), connector.Scope{System: of.System, SystemName: of.SystemName}, func(item connector.Item) error {
		items = append(items, item)
		return item.Check()
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return items
}

func count(items []connector.Item, is func(connector.Item) bool) int {
	found := 0
	for _, item := range items {
		if is(item) {
			found++
		}
	}
	return found
}

func TestWhatWasGivenByHandStandsInTheListWithoutAMark(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		task := l.task()
		login := l.person(task.Holder)
		l.ok(l.hands.Apply(t.Context(), task))
		l.execute(l.admin, `GRANT auditor TO `+login)
		items := l.list(task)
		if n := count(items, func(i connector.Item) bool {
			return i.Credential == task.Credential && i.Holder == task.Holder && i.Resource == "invoices" && i.Entitlement == "reader"
		}); n != 1 {
			t.Errorf("what was given stands %d times in %+v", n, items)
		}
		if n := count(items, func(i connector.Item) bool {
			return i.Principal == login && i.Holder == task.Holder && i.Entitlement == "auditor" && i.Credential == ""
		}); n != 1 {
			t.Errorf("the membership that was given by hand stands %d times in %+v", n, items)
		}
		if n := count(items, func(i connector.Item) bool { return i.Principal == login && i.Entitlement == "" }); n != 1 {
			t.Errorf("the account %s stands %d times", login, n)
		}
		if n := count(items, func(i connector.Item) bool { return i.Principal == l.account }); n != 0 {
			t.Errorf("the connector's own account stands in the list %d times", n)
		}
		if gives == postgres.Membership {
			// The mark of a credential is for the login that it was made for.
			other := l.person(l.task().Holder)
			l.execute(l.admin, `GRANT `+string(task.Credential)+` TO `+other)
			if n := count(l.list(task), func(i connector.Item) bool {
				return i.Credential == "" && i.Principal == other && i.Entitlement == "reader"
			}); n != 1 {
				t.Errorf("who was put into the credential's role stands %d times", n)
			}
		}
	})
}

func TestAMembershipThatWasGivenByHandIsTakenOverInOneStep(t *testing.T) {
	l := newLab(t, postgres.Membership)
	task := l.task()
	login := l.person(task.Holder)
	l.execute(l.admin, `GRANT reader TO `+login)
	task.TakesOver = "somebody_else"
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "and not somebody_else")
	task.TakesOver = login
	plan, err := l.hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, "takes the place of the membership") {
		t.Fatalf("the plan is %q, %v", plan.Effect, err)
	}
	l.ok(l.hands.Apply(t.Context(), task))
	ours := func(i connector.Item) bool { return i.Principal == login && i.Entitlement == "reader" }
	items := l.list(task)
	if count(items, ours) != 1 || count(items, func(i connector.Item) bool { return ours(i) && i.Credential == task.Credential }) != 1 {
		t.Fatalf("one membership should be there, and be ours: %+v", items)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	if items := l.list(task); count(items, ours) != 0 {
		t.Fatalf("what was taken over ends with the grant: %+v", items)
	}
}

// told is a directory that knows whom comments name.
type told struct{}

func (told) Find(string) countersign.IdentityID { return "" }
func (told) Standing(id countersign.IdentityID) reconcile.Standing {
	return reconcile.Standing{Active: id != ""}
}

// TestARealOrganisationIsComparedExactly gives roles and members by hand as three
// real organisations have them, but for ten that the connector gives, of which
// three are dropped by hand: it wants each pair once, and exactly that found.
func TestARealOrganisationIsComparedExactly(t *testing.T) {
	l := newLab(t, postgres.Membership)
	for name, pairs := range map[string]int{"hc": 1486, "domino": 730, "emea": 7220} {
		t.Run(name, func(t *testing.T) {
			given := rolePairs(t, name)
			if len(given) != pairs {
				t.Fatalf("%d pairs in the data, want %d", len(given), pairs)
			}
			const byUs, dropped = 10, 3
			prefix := name + "_"
			task := l.task()
			var script strings.Builder
			var tasks []connector.Task
			var known []reconcile.Granted
			users, roles, holders := map[string]bool{}, map[string]bool{}, map[string]countersign.IdentityID{}
			for pair := range given {
				user, role := prefix+"u"+pair[0], prefix+"p"+pair[1]
				if !users[user] {
					users[user] = true
					fmt.Fprintf(&script, "CREATE ROLE %s LOGIN;\n", user)
				}
				if !roles[role] {
					roles[role] = true
					fmt.Fprintf(&script, "CREATE ROLE %s NOLOGIN;\n", role)
				}
				if len(tasks) == byUs || holders[user] != "" {
					fmt.Fprintf(&script, "GRANT %s TO %s;\n", role, user)
					continue
				}
				one := l.task()
				one.System, one.Entitlement = task.System, role
				tasks, holders[user] = append(tasks, one), one.Holder
				known = append(known, reconcile.Granted{Grant: one.Grant, Credential: one.Credential, Holder: one.Holder, Resource: one.Resource, Entitlement: role, Settled: true})
				fmt.Fprintf(&script, "COMMENT ON ROLE %s IS 'countersign holder %s';\nGRANT %s TO %s WITH ADMIN OPTION;\n", user, one.Holder, role, l.account)
			}
			l.execute(l.admin, script.String())
			for _, one := range tasks {
				l.ok(l.hands.Apply(t.Context(), one))
			}
			lost := map[countersign.GrantID]bool{}
			for _, one := range tasks[:dropped] {
				l.execute(l.admin, "DROP ROLE "+string(one.Credential))
				lost[one.Grant] = true
			}
			t.Cleanup(func() {
				for _, one := range tasks {
					l.execute(l.admin, "DROP ROLE IF EXISTS "+string(one.Credential))
				}
				for _, all := range []map[string]bool{users, roles} {
					l.execute(l.admin, "DROP ROLE "+strings.Join(slices.Collect(maps.Keys(all)), ", "))
				}
			})
			begun := time.Now()
			c := reconcile.New(told{}, known, l.clock.Instant().Add(countersign.Hour))
			if err := l.hands.List(t.Context(), connector.Scope{System: task.System, SystemName: task.SystemName}, c.Found); err != nil {
				t.Fatal(err)
			}
			differences := c.Differences()
			t.Logf("%s: listed and compared in %s", name, time.Since(begun))
			outOfBand, orphaned := 0, 0
			for _, one := range differences {
				switch {
				case one.Kind == countersign.LostFinding:
					if !lost[one.Grant] {
						t.Errorf("this was not lost: %+v", one)
					}
					delete(lost, one.Grant)
				case !strings.HasPrefix(one.Principal, prefix): // another test's on the same server
				case one.Kind == countersign.OrphanedFinding:
					orphaned++
				default:
					outOfBand++
					pair := [2]string{strings.TrimPrefix(one.Principal, prefix+"u"), strings.TrimPrefix(one.Entitlement, prefix+"p")}
					if !given[pair] {
						t.Errorf("this is not in the data, or found twice: %+v", one)
					}
					delete(given, pair)
				}
			}
			if _, _, ours, _ := c.Counts(); ours != byUs-dropped || len(lost) != 0 || outOfBand != pairs-byUs || orphaned != len(users)-byUs {
				t.Errorf("%d ours, %d lost and not found, %d of %d out of band, %d of %d accounts of nobody", ours, len(lost), outOfBand, pairs-byUs, orphaned, len(users)-byUs)
			}
		})
	}
}

// rolePairs reads who holds what in one of the HP Labs role-mining sets.
func rolePairs(t testing.TB, name string) map[[2]string]bool {
	t.Helper()
	folder := os.Getenv("COUNTERSIGN_TEST_DATA")
	if folder == "" {
		t.Skip("COUNTERSIGN_TEST_DATA names no folder with hp-labs/" + name + ".txt (HP Labs role-mining data)")
	}
	file, err := os.Open(filepath.Join(folder, "hp-labs", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pairs := map[[2]string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 {
			pairs[[2]string{fields[0], fields[1]}] = true
		}
	}
	return pairs
}
