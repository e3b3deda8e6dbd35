package house_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
)

// miningSets are three organisations of the HP Labs role-mining data, with their pairs.
var miningSets = map[string]int{"hc": 1486, "domino": 730, "emea": 7220}

// minedPairs reads who holds what in one of them, as login and role.
func minedPairs(t testing.TB, name, prefix string) [][2]string {
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
			pairs[[2]string{prefix + name + "_u" + fields[0], prefix + name + "_p" + fields[1]}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(pairs), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// Three real organisations, given by hand on a real server, are taken on the record;
// what is put in afterwards is exactly what is found, and what is removed is gone there.
func TestRealOrganisationsOnARealServerAreTakenOnTheRecord(t *testing.T) {
	prefix := "m" + strings.ToLower(rand.Text()[:8]) + "_"
	var pairs [][2]string
	for _, name := range slices.Sorted(maps.Keys(miningSets)) {
		mined := minedPairs(t, name, prefix)
		if len(mined) != miningSets[name] {
			t.Fatalf("%d pairs in %s, want %d", len(mined), name, miningSets[name])
		}
		pairs = append(pairs, mined...)
	}
	server, err := url.Parse(pgtest.Database(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	execute := func(script string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), script); err != nil {
			t.Fatal(err)
		}
	}
	users, roles := map[string]bool{}, map[string]bool{}
	var script, people, entitlements strings.Builder
	for _, pair := range pairs {
		if user := pair[0]; !users[user] {
			users[user] = true
			fmt.Fprintf(&script, "CREATE ROLE %s LOGIN;\n", user)
			fmt.Fprintf(&people, "  - {login: %s, name: User %s, email: %s@test.example, manager: bea}\n", user, user, user)
		}
		if role := pair[1]; !roles[role] {
			roles[role] = true
			fmt.Fprintf(&script, "CREATE ROLE %s NOLOGIN;\n", role)
			fmt.Fprintf(&entitlements, "          - {name: %s, kind: role}\n", role)
		}
		fmt.Fprintf(&script, "GRANT %s TO %s;\n", pair[1], pair[0])
	}
	hands := *server
	hands.User = url.UserPassword(prefix+"hands", "of-the-house")
	fmt.Fprintf(&script, "CREATE ROLE %shands LOGIN CREATEROLE PASSWORD 'of-the-house';\nGRANT pg_signal_backend TO %shands;\n", prefix, prefix)
	execute(script.String())
	t.Cleanup(func() {
		all := slices.Concat(slices.Collect(maps.Keys(users)), slices.Collect(maps.Keys(roles)))
		_, _ = admin.Exec(context.Background(), "DROP ROLE "+strings.Join(all, ", "))
	})
	w := empty(t, onSQLite(t))
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		made, err := postgres.New(postgres.Options{Name: "members", Gives: postgres.Membership, URL: countersign.NewSecret(hands.String()), Vault: targets.Vault, Clock: w.clock, Random: rand.Reader})
		return connector.Set{"members": made}, err
	}
	w.clock.move(time.Since(monday).Truncate(time.Millisecond))
	w.restart()
	w.edit("services:\n", people.String()+"services:\n", "records:\n", `  - name: organisations
    title: Organisations
    owner: otto
    second_owner: pit
    environment: prod
    risk: medium
    connector: members
    resources:
      - name: `+strings.TrimPrefix(server.Path, "/")+`
        title: The database
        entitlements:
`+entitlements.String()+"records:\n")
	w.must(w.found(policyFor(managerStage, "")))
	w.settle()
	w.read()
	begun := time.Now()
	id, err := w.house.Desk.ProposeBaseline(w.ctx, w.as("otto"), desk.Key{}, "organisations", 0, "what was there before the house")
	w.must(err)
	proposed := time.Since(begun)
	w.must(w.publish("pit", id))
	begun = time.Now()
	w.read()
	t.Logf("listed and proposed in %s, adopted and compared in %s", proposed, time.Since(begun))
	baseline := w.standing("otto", "organisations").Baseline
	if baseline.Adopted != len(pairs) || baseline.Left != 0 || baseline.Pending() {
		t.Fatalf("%d pairs on the server, and the baseline is %+v", len(pairs), baseline)
	}
	// found tells the open findings on what this test made: other tests share the server.
	found := func() map[string]countersign.FindingID {
		t.Helper()
		w.must(w.runNow("otto", "organisations"))
		w.read()
		told := map[string]countersign.FindingID{}
		filter := desk.FindingFilter{System: "organisations", Limit: 200}
		for {
			findings, err := w.house.Desk.Findings(w.ctx, w.as("otto"), filter)
			w.must(err)
			for _, finding := range findings {
				if strings.HasPrefix(finding.Principal, prefix) {
					told[string(finding.Kind)+" "+finding.Principal+" "+finding.Entitlement] = finding.ID
				}
			}
			if len(findings) < filter.Limit {
				return told
			}
			filter.Before = findings[len(findings)-1].ID
		}
	}
	if told := found(); len(told) != 0 {
		t.Fatalf("all of it was signed for, and this was found: %v", told)
	}
	ofDomino, inHC := pairs[0][0], pairs[len(pairs)-1][1]
	added := map[string]bool{}
	for _, role := range []string{inHC, pairs[len(pairs)/2][1]} {
		execute("GRANT " + role + " TO " + ofDomino)
		added["out-of-band "+ofDomino+" "+role] = true
	}
	told := found()
	if got, want := slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(added)); !slices.Equal(got, want) {
		t.Fatalf("put in were %v, and found was %v", want, got)
	}
	member := func(user, role string) (is bool) {
		t.Helper()
		err := admin.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_auth_members JOIN pg_roles u ON u.oid = member JOIN pg_roles g ON g.oid = roleid WHERE u.rolname = $1 AND g.rolname = $2)`, user, role).Scan(&is)
		w.must(err)
		return is
	}
	w.must(w.house.Desk.RemoveFound(w.ctx, w.as("pit"), desk.Key{}, told["out-of-band "+ofDomino+" "+inHC], "nobody asked for it"))
	grants, err := w.house.Store.Grants(w.ctx, store.GrantQuery{Holders: []countersign.IdentityID{w.as(ofDomino).Identity}, Limit: 1})
	w.must(err)
	w.must(w.revocation("otto", grants[0].ID)())
	w.settle()
	gone := w.stored(grants[0].ID)
	if member(ofDomino, inHC) || gone.State != countersign.GrantGone || member(gone.Adopted.Principal, gone.Adopted.Entitlement) {
		t.Fatalf("the removal left something: %+v", gone)
	}
	if told := found(); len(told) != 1 {
		t.Fatalf("one should be left: %v", told)
	}
	claim := w.proven()
	if claim.Verdict != desk.DoesNotHold || claim.Legacy != (desk.LegacyCount{Adopted: len(pairs), Left: len(pairs) - 1, WorkedOff: 1}) {
		t.Fatalf("the claim is %+v", claim)
	}
	t.Logf("%s %s: legacy %+v, because %s", claim.Claim, claim.Verdict, claim.Legacy, strings.Join(claim.Because, "; "))
}
