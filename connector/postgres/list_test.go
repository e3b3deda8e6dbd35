package postgres_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
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
			if n := count(l.list(task), func(i connector.Item) bool { return i.Credential == "" && i.Principal == other && i.Entitlement == "reader" }); n != 1 {
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

// TestARealOrganisationIsListedWhole gives roles and members as three real
// organisations have them, and wants each pair once and no other.
func TestARealOrganisationIsListedWhole(t *testing.T) {
	l := newLab(t, postgres.Membership)
	for name, pairs := range map[string]int{"hc": 1486, "domino": 730, "emea": 7220} {
		t.Run(name, func(t *testing.T) {
			given := rolePairs(t, name)
			if len(given) != pairs {
				t.Fatalf("%d pairs in the data, want %d", len(given), pairs)
			}
			var script strings.Builder
			made := map[string]bool{}
			for pair := range given {
				user, role := name+"_u"+pair[0], name+"_p"+pair[1]
				for _, create := range []string{"CREATE ROLE " + user + " LOGIN;\n", "CREATE ROLE " + role + " NOLOGIN;\n"} {
					if !made[create] {
						made[create] = true
						script.WriteString(create)
					}
				}
				fmt.Fprintf(&script, "GRANT %s TO %s;\n", role, user)
			}
			l.execute(l.admin, script.String())
			t.Cleanup(func() {
				var drop strings.Builder
				for create := range made {
					fmt.Fprintf(&drop, "DROP ROLE %s;\n", strings.Fields(create)[2])
				}
				l.execute(l.admin, strings.ReplaceAll(drop.String(), ";;", ";"))
			})
			begun := time.Now()
			found := map[[2]string]int{}
			for _, item := range l.list(l.task()) {
				user, isUser := strings.CutPrefix(item.Principal, name+"_u")
				role, isRole := strings.CutPrefix(item.Entitlement, name+"_p")
				if isUser && isRole {
					found[[2]string{user, role}]++
				}
			}
			t.Logf("%s: %d pairs listed in %s", name, len(found), time.Since(begun))
			if len(found) != pairs {
				t.Errorf("%d pairs listed, want %d", len(found), pairs)
			}
			for pair := range given {
				if found[pair] != 1 {
					t.Fatalf("the pair %v stands %d times in the list", pair, found[pair])
				}
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
