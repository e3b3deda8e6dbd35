package sqlstore

import (
	"context"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var background = context.Background()

// tamper changes the database behind the store's back.
func tamper(t *testing.T, s *Store, query string) {
	t.Helper()
	var err error
	switch database := s.database.(type) {
	case *sqlite:
		err = database.do(background, func(w *writer) error {
			_, err := w.exec(query)
			return err
		})
	case *postgres:
		_, err = database.pool.Exec(background, query)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// wrongColumns returns what Rows says of each row that has something wrong.
func wrongColumns(t *testing.T, s *Store) map[string]string {
	t.Helper()
	found := map[string]string{}
	if err := s.Rows(background, func(_ countersign.Stream, row countersign.Row, wrong string) error {
		if wrong != "" {
			found[row.RowKey()] = wrong
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRowsNamesTheColumnThatWasTamperedWith(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		request := &countersign.Request{ID: "req_1", Version: 1, Type: "api-key", State: countersign.RequestCollecting, Requester: "idn_a", Beneficiary: "idn_a",
			Entitlements: []countersign.EntitlementID{"ent_1"}, Consent: countersign.Consent{Of: "idn_o"}, Answers: []byte("{}")}
		grant := &countersign.Grant{ID: "grt_1", Version: 1, State: countersign.GrantGone, Holder: "idn_a", Entitlement: "ent_1", System: "sys_1"}
		entitlement := &countersign.Entitlement{ID: "ent_1", Version: 1, System: "sys_1"}
		if err := s.Commit(background, store.Change{DirectoryRevision: 1, Writes: []store.Write{{Row: request}, {Row: grant}, {Row: entitlement}}}); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ key, wrong, harm, repair string }{
			{"req_1", "version", `UPDATE request SET version = 2`, `UPDATE request SET version = 1`},
			{"req_1", "beneficiary", `UPDATE request SET beneficiary = 'idn_b'`, `UPDATE request SET beneficiary = 'idn_a'`},
			{"req_1", "type", `UPDATE request SET type = 'x'`, `UPDATE request SET type = 'api-key'`},
			{"req_1", "state", `UPDATE request SET state = 'closed'`, `UPDATE request SET state = 'collecting'`},
			{"req_1", "request_entitlement", `UPDATE request_entitlement SET open = NOT open`, `UPDATE request_entitlement SET open = NOT open`},
			{"req_1", "request_entitlement", `UPDATE request_entitlement SET holder = 'idn_b'`, `UPDATE request_entitlement SET holder = 'idn_a'`},
			{"req_1", "request_party", `UPDATE request_party SET awaited = NOT awaited WHERE identity = 'idn_o'`, `UPDATE request_party SET awaited = NOT awaited WHERE identity = 'idn_o'`},
			{"req_1", "request_party", `INSERT INTO request_party (request, identity, awaited) VALUES ('req_1', 'idn_z', true)`, `DELETE FROM request_party WHERE identity = 'idn_z'`},
			{"grt_1", "live", `UPDATE access_grant SET live = true`, `UPDATE access_grant SET live = false`},
			{"grt_1", "holder", `UPDATE access_grant SET holder = 'idn_b'`, `UPDATE access_grant SET holder = 'idn_a'`},
			{"grt_1", "request", `UPDATE access_grant SET request = 'req_9'`, `UPDATE access_grant SET request = ''`},
			{"grt_1", "requester", `UPDATE access_grant SET requester = 'idn_z'`, `UPDATE access_grant SET requester = ''`},
			{"grt_1", "ending_since", `UPDATE access_grant SET ending_since = 1`, `UPDATE access_grant SET ending_since = 0`},
			{"req_1", "overdue", `UPDATE request SET overdue = NOT overdue`, `UPDATE request SET overdue = NOT overdue`},
			{"grt_1", "id", `UPDATE access_grant SET id = 'grt_2'`, `UPDATE access_grant SET id = 'grt_1'`},
			{"ent_1", "system", `UPDATE entitlement SET system = 'sys_2'`, `UPDATE entitlement SET system = 'sys_1'`},
		} {
			tamper(t, s, test.harm)
			if found := wrongColumns(t, s); len(found) != 1 || found[test.key] != test.wrong {
				t.Errorf("%s: got %v, want %s of %s", test.harm, found, test.wrong, test.key)
			}
			tamper(t, s, test.repair)
		}
		if found := wrongColumns(t, s); len(found) != 0 {
			t.Fatalf("after the repairs: %v", found)
		}
		tamper(t, s, `UPDATE access_grant SET body = '{"id":'`)
		err := s.Rows(background, func(countersign.Stream, countersign.Row, string) error { return nil })
		if countersign.ReasonOf(err) != "damaged-row" {
			t.Fatalf("got the error %v, want that a row is damaged", err)
		}
	})
}

func TestADamagedEventIsAnError(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		header := countersign.Header{Stream: "req_1", Seq: 1, Kind: "a.b@1", Commitments: map[countersign.ValueGroup]countersign.Hash{}}
		hash, err := header.Hash()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(background, store.Change{Events: []countersign.SealedEvent{{Header: header, Hash: hash}}}); err != nil {
			t.Fatal(err)
		}
		tamper(t, s, `UPDATE event SET seq = 2`)
		if streams, err := s.Streams(background, "", 10); err != nil || len(streams) != 1 {
			t.Fatalf("a stream without its first event is hidden: %v %v", streams, err)
		}
		tamper(t, s, `UPDATE event SET header = '{"stream":7}'`)
		if _, err := s.Events(background, "req_1", 0, 1); countersign.ReasonOf(err) != "damaged-event" {
			t.Fatalf("got the error %v", err)
		}
	})
}
