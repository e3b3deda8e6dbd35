package sqlstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
)

// Lists that a house asks for at every beat and at every step of a sweep, and those
// of people, must find what they look for among very many newer rows in another state.
func TestAListPassesOverNothingInAnotherState(t *testing.T) {
	one := strings.Repeat("a", 26)
	system, live := countersign.SystemID("sys_"+one), []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive}
	queries := map[string]string{}
	arguments := map[string][]any{}
	add := func(name, text string, args []any) { queries[name], arguments[name] = text, args }
	for name, query := range map[string]store.GrantQuery{
		"of a system":            {System: system, States: live, Limit: 5},
		"of a system, page":      {System: system, States: live, Before: "grt_000009", Limit: 5},
		"of a system, all":       {System: system, Limit: 5},
		"of an entitlement":      {Entitlement: countersign.EntitlementID("ent_" + one), States: live, Limit: 5},
		"in states":              {States: live, Limit: 5},
		"in states that are not": {States: []countersign.GrantState{countersign.GrantRevoked, countersign.GrantProvisioning}, Limit: 5},
	} {
		text, args := grantsText(query)
		add("grants "+name, text, args)
	}
	text, args := requestsText(store.RequestQuery{States: []countersign.RequestState{countersign.RequestTriaging, countersign.RequestDeciding}, Limit: 5})
	add("requests in states", text, args)

	t.Run("SQLite", func(t *testing.T) {
		s := databases["SQLite"](t)()
		defer s.Close()
		for name, query := range queries {
			if steps := sqlitePlan(t, s, query, arguments[name]...); !strings.Contains(steps, "_in_state (") || strings.Contains(steps, "SCAN access_grant") || strings.Contains(steps, "SCAN request") {
				t.Errorf("%s: goes by %s", name, steps)
			}
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s, err := OpenPostgres(background, pgtest.Database(t, func(url string) error { return Migrate(background, url) }), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		connection, err := s.database.(*postgres).pool.Acquire(background)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Release()
		for _, statement := range []string{
			`INSERT INTO access_grant (id, version, body, holder, entitlement, system, request, requester, state, live)
			SELECT 'grt_' || lpad(n::text, 6, '0'), 1, repeat('x', 600), 'idn_' || n, 'ent_' || repeat(chr(97 + n % 3), 26), 'sys_' || repeat(chr(97 + n % 3), 26), '', '', 'live', true FROM generate_series(1, 15000) AS n`,
			`INSERT INTO request (id, version, body, beneficiary, type, state)
			SELECT 'req_' || lpad(n::text, 6, '0'), 1, '{}', 'idn_' || n, 't', CASE WHEN n <= 5 THEN 'deciding' ELSE 'closed' END FROM generate_series(1, 5000) AS n`,
			`ANALYZE access_grant`, `ANALYZE request`,
			// What was live when the planner last looked, and evenly spread, ends.
			`UPDATE access_grant SET state = 'revoking' WHERE system = '` + string(system) + `' AND id > 'grt_000015'`,
		} {
			if _, err := connection.Exec(background, statement); err != nil {
				t.Fatal(err)
			}
		}
		for name, query := range queries {
			prepared := `asked_` + strings.NewReplacer(" ", "_", ",", "").Replace(name)
			if _, err := connection.Exec(background, `PREPARE `+prepared+` AS `+postgresDialect.text(query, false)); err != nil {
				t.Fatal(err)
			}
			if steps := executed(t, connection, prepared, arguments[name]); strings.Contains(steps, "Rows Removed by Filter") || strings.Contains(steps, "_pkey") || !strings.Contains(steps, "_in_state") {
				t.Errorf("%s: goes by\n%s", name, steps)
			}
		}
	})
}

// What is to be delivered is found among very many ends that fall due together.
func TestAClaimPassesOverNothingOfAnotherKind(t *testing.T) {
	text, args := dueText(`key, due_at`, store.Claim{Now: 2000, Kinds: []store.WorkKind{store.DeliverWork, store.HoldWork}, Limit: 5})
	t.Run("SQLite", func(t *testing.T) {
		s := databases["SQLite"](t)()
		defer s.Close()
		if steps := sqlitePlan(t, s, text, args...); strings.Count(steps, "INDEX work_due_of_kind (kind=? AND due_at<?)") != 2 {
			t.Errorf("goes by %s", steps)
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s, _ := postgresStore(t)
		connection, err := s.database.(*postgres).pool.Acquire(background)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Release()
		for _, statement := range []string{
			`INSERT INTO work (key, kind, ref, due_at, attempt, claimed_at, lease_until, leased_by, reported, parked_at, trouble)
			SELECT 'k' || n, CASE WHEN n <= 5 THEN 'deliver' ELSE 'grant' END, '', 1000, 0, 0, 0, '', false, 0, '' FROM generate_series(1, 5000) AS n`,
			`ANALYZE work`, `PREPARE claimed AS ` + postgresDialect.text(text, false),
		} {
			if _, err := connection.Exec(background, statement); err != nil {
				t.Fatal(err)
			}
		}
		plan := executed(t, connection, "claimed", args)
		if strings.Contains(plan, "Rows Removed by Filter") || strings.Count(plan, "Index Scan using work_due_of_kind") != 2 {
			t.Errorf("goes by\n%s", plan)
		}
		claimed, err := s.Claim(background, store.Claim{Now: 2000, Owner: "here", Kinds: []store.WorkKind{store.DeliverWork, store.HoldWork}, Limit: 3, Lease: 60})
		if err != nil || len(claimed) != 3 || claimed[0].Key != "k1" || claimed[2].Key != "k3" {
			t.Errorf("claimed are %v, %v", claimed, err)
		}
	})
}

// sqlitePlan says how SQLite answers the query.
func sqlitePlan(t *testing.T, s *Store, query string, args ...any) string {
	t.Helper()
	var plan []string
	err := s.database.query(background, `EXPLAIN QUERY PLAN `+query, func(row row) error {
		var id, parent, none int
		var step string
		err := row.Scan(&id, &parent, &none, &step)
		plan = append(plan, step)
		return err
	}, args...)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(plan)
}

// executed says how PostgreSQL answered the statement that was prepared by that name.
func executed(t *testing.T, connection *pgxpool.Conn, prepared string, args []any) string {
	t.Helper()
	var values []string
	for _, arg := range args {
		values = append(values, fmt.Sprintf("'%v'", arg))
	}
	rows, err := connection.Query(background, `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE `+prepared+`(`+strings.Join(values, ", ")+`)`)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

// What every command looks for has its own index, also in a plan that was made while
// the table was empty, which a connection keeps.
func TestACommandLooksNowhereElseThanInItsIndexWhileTablesAreSmall(t *testing.T) {
	s, _ := postgresStore(t)
	_, heads := headsQuestion([]countersign.Stream{"req_a", "grt_a"})
	_, guards := guardsQuestion([]string{"a", "b"})
	held, heldArgs := grantsText(store.GrantQuery{Holders: []countersign.IdentityID{"idn_a"}, Entitlement: "ent_a", States: []countersign.GrantState{countersign.GrantLive}, Limit: 1})
	open, openArgs := requestsText(store.RequestQuery{Holder: "idn_a", States: []countersign.RequestState{countersign.RequestDeciding}, Limit: 100})
	for name, one := range map[string]struct {
		question
		wanted string
	}{
		"heads":           {heads, "Index Cond: ((stream = (each.value)::text) AND (seq = "},
		"guards":          {guards, "Index Cond: (key = ANY"},
		"a grant held":    {question{query: held, args: heldArgs}, "one_live_grant on access_grant"},
		"requests open":   {question{query: open, args: openArgs}, "one_open_request on request_entitlement"},
		"a grant's owner": {question{query: `SELECT body FROM request WHERE id IN (SELECT request FROM access_grant WHERE id {any})`, args: []any{list{"grt_a"}}}, "Index Cond: (id = access_grant.request)"},
	} {
		var plan []string
		err := s.database.query(background, `EXPLAIN (COSTS OFF) `+one.query, func(row row) error {
			var step string
			err := row.Scan(&step)
			plan = append(plan, step)
			return err
		}, one.args...)
		if err != nil {
			t.Fatal(err)
		}
		if steps := strings.Join(plan, "\n"); !strings.Contains(steps, one.wanted) || strings.Contains(steps, "Seq Scan") || strings.Contains(steps, "Hash Join") {
			t.Errorf("%s: goes by\n%s", name, steps)
		}
	}
}
