package sqlstore

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// waiting are rows that an operator is told of, and some that are well.
func waiting() []store.Write {
	request := func(id countersign.RequestID, state countersign.RequestState, slots []countersign.Slot, stages []countersign.Stage) store.Write {
		return store.Write{Row: &countersign.Request{
			ID: id, Version: 1, Type: "t", State: state, Requester: "idn_a", Beneficiary: "idn_a", Answers: []byte("{}"), Evidence: slots, Stages: stages,
		}}
	}
	grant := func(id countersign.GrantID, state countersign.GrantState, endAt countersign.Instant) store.Write {
		return store.Write{Row: &countersign.Grant{
			ID: id, Version: 1, State: state, Holder: countersign.IdentityID("idn_" + string(id)), Entitlement: "ent_1", System: "sys_1", EndAt: endAt,
		}}
	}
	late := countersign.Slot{Name: "closed", Overdue: true}
	given := countersign.Slot{Name: "closed", Overdue: true, Held: &countersign.Evidence{ID: "evd_1", Digest: "sha256:00"}}
	review := func(state countersign.StageState, overdue bool) []countersign.Stage {
		return []countersign.Stage{{Name: "review", Review: true, State: state, Overdue: overdue}}
	}
	return []store.Write{
		grant("grt_1", countersign.GrantRevoking, 1769853600007), grant("grt_2", countersign.GrantRevoking, 1769853600123),
		grant("grt_3", countersign.GrantGone, 1769853500000), grant("grt_4", countersign.GrantLive, 0),
		request("req_1", countersign.RequestClosing, []countersign.Slot{given, late}, nil),
		request("req_2", countersign.RequestClosing, nil, review(countersign.StageOpen, true)),
		request("req_3", countersign.RequestClosing, []countersign.Slot{given}, review(countersign.StageOpen, false)),
		request("req_4", countersign.RequestClosed, []countersign.Slot{late}, review(countersign.StagePassed, true)),
	}
}

func TestTheMigrationFindsWhatWaitedAlready(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		if err := s.Commit(background, store.Change{Writes: waiting()}); err != nil {
			t.Fatal(err)
		}
		tamper(t, s, `UPDATE access_grant SET ending_since = 0`)
		tamper(t, s, `UPDATE request SET overdue = false`)
		if found := wrongColumns(t, s); len(found) != 4 {
			t.Fatalf("before: %v", found)
		}
		dialect := goose.DialectPostgres
		if _, embedded := s.database.(*sqlite); embedded {
			dialect = goose.DialectSQLite3
		}
		text, err := fs.ReadFile(migrationsOf(dialect), "00007_backlog.sql")
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(text), ";") {
			if statement = strings.TrimSpace(statement); strings.HasPrefix(statement, "UPDATE") {
				tamper(t, s, statement)
			}
		}
		if found := wrongColumns(t, s); len(found) != 0 {
			t.Fatalf("after: %v", found)
		}
	})
}

// A scrape must cost the same whatever is stored that is well, so each query has to
// go by an index that holds only what waits.
func TestABacklogReadsOnlyWhatWaits(t *testing.T) {
	s := databases["SQLite"](t)()
	defer s.Close()
	for query, index := range map[string]string{
		dueWork: "work_due_of_kind", parkedWork: "work_parked", endings: "grant_ending", removals: "sqlite_autoindex_work_1", overdues: "request_overdue", untold: "work_untold", unwritten: "work_unwritten",
	} {
		arguments := make([]any, strings.Count(sqliteDialect.text(query, false), "?"))
		if steps := sqlitePlan(t, s, query, arguments...); !strings.Contains(steps, "INDEX "+index) {
			t.Errorf("%s\ngoes by %s, and not by %s", query, steps, index)
		}
	}
}

func BenchmarkBacklog(b *testing.B) {
	for name, open := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b)()
			defer s.Close()
			var change store.Change
			for i := range 20000 {
				due := countersign.Instant(1000)
				if i%2 == 0 {
					due = 1 << 50
				}
				change.Work = append(change.Work, store.WorkWrite{Work: store.Work{Key: fmt.Sprint("grt_", i), Kind: store.GrantWork, DueAt: due}, Attempt: store.AnyAttempt})
			}
			if err := s.Commit(background, change); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Backlog(background, 2000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
