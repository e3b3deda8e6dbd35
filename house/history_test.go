package house_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// findings checks the record and returns what is wrong with it.
func (w *world) findings() []string {
	w.t.Helper()
	found, err := desk.Verify(w.ctx, w.house.Store, func(int64) {})
	if err != nil {
		return []string{err.Error()}
	}
	return found.Findings
}

// Every way to change the record by hand is found and named.
func TestTheVerifierNamesWhatWasChangedByHand(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		w.settle()
		w.pass(time.Hour)
		denied := asking()
		denied.Entitlements = []string{"ledger/books/write"}
		other := w.submit("ana", denied)
		w.must(w.deny("max", other))
		w.verified()
		ana := w.as("ana").Identity
		known, err := w.house.Store.Directory(w.ctx, 0)
		w.must(err)
		group, system, entitlement, record := known.Groups[0].ID, known.Systems[0].ID, known.Entitlements[0].ID, known.Records[0].ID
		where := func(stream any, seq int) string { return fmt.Sprintf(" WHERE stream = '%v' AND seq = %d", stream, seq) }
		body := func(table string, id any) string {
			return fmt.Sprintf(`UPDATE %s SET body = REPLACE(body, '"version":', '"version":1') WHERE id = '%v'`, table, id)
		}
		undo := func(table string) []string {
			if table == "request" {
				return []string{"UPDATE request SET body = kept_request.body, state = kept_request.state FROM kept_request WHERE kept_request.id = request.id"}
			}
			return []string{"DELETE FROM " + table, "INSERT INTO " + table + " SELECT * FROM kept_" + table}
		}
		tables := []string{"event", "event_value", "request", "access_grant", "identity", "access_group", "system", "entitlement", "record", "policy", "house"}
		for _, table := range tables {
			w.harm("CREATE TABLE kept_" + table + " AS SELECT * FROM " + table)
		}
		for _, test := range []struct{ table, harm, names string }{
			{"event", `UPDATE event SET header = REPLACE(header, 'request.', 'Request.')` + where(id, 2), string(id)},
			{"event", `UPDATE event SET header = REPLACE(header, '2026-11-02', '2026-11-01')` + where(id, 1), string(id)},
			{"event", `UPDATE event SET hash = (SELECT hash FROM event` + where(id, 1) + `)` + where(id, 2), string(id)},
			{"event", `DELETE FROM event` + where(id, 1), string(id)},
			{"event", `DELETE FROM event` + where(id, 2), string(id)},
			{"event", fmt.Sprintf(`DELETE FROM event WHERE stream = '%s' AND seq = (SELECT MAX(seq) FROM event WHERE stream = '%s')`, id, id), string(id)},
			{"event", fmt.Sprintf(`DELETE FROM event WHERE stream = '%s'`, grant.ID), string(grant.ID)},
			{"event", `UPDATE event SET seq = CASE seq WHEN 2 THEN 1002 ELSE 1003 END` + fmt.Sprintf(` WHERE stream = '%s' AND seq IN (2, 3)`, id), string(id)},
			{"event", fmt.Sprintf(`UPDATE event SET stream = '%s', seq = seq + 100 WHERE stream = '%s' AND seq = 2`, other, id), string(id)},
			{"event_value", `UPDATE event_value SET bytes = ` + w.cast(`{"text":"another reason"}`) + where(id, 1) + ` AND value_group = 'reason'`, string(id)},
			{"event_value", `UPDATE event_value SET salt = bytes` + where(id, 1) + ` AND value_group = 'change'`, string(id)},
			{"event_value", `DELETE FROM event_value` + where(id, 1) + ` AND value_group = 'change'`, string(id)},
			{"event_value", `UPDATE event_value SET value_group = 'subject'` + where(id, 1) + ` AND value_group = 'facts'`, string(id)},
			{"request", body("request", id), string(id)},
			{"request", fmt.Sprintf(`UPDATE request SET state = 'denied' WHERE id = '%s'`, id), string(id)},
			{"request", fmt.Sprintf(`UPDATE request SET body = REPLACE(body, 'the books', 'The books') WHERE id = '%s'`, id), string(id)},
			{"access_grant", body("access_grant", grant.ID), string(grant.ID)},
			{"access_grant", fmt.Sprintf(`UPDATE access_grant SET body = REPLACE(body, '2026-11-12', '2027-11-12') WHERE id = '%s'`, grant.ID), string(grant.ID)},
			{"access_grant", fmt.Sprintf(`DELETE FROM access_grant WHERE id = '%s'`, grant.ID), string(grant.ID)},
			{"identity", body("identity", ana), string(ana)},
			{"identity", fmt.Sprintf(`UPDATE identity SET body = REPLACE(body, 'Ana Asker', 'Ana Auditor') WHERE id = '%s'`, ana), string(ana)},
			{"identity", fmt.Sprintf(`DELETE FROM identity WHERE id = '%s'`, ana), string(ana)},
			{"access_group", body("access_group", group), string(group)},
			{"system", body("system", system), string(system)},
			{"entitlement", body("entitlement", entitlement), string(entitlement)},
			{"entitlement", fmt.Sprintf(`DELETE FROM entitlement WHERE id = '%s'`, entitlement), string(entitlement)},
			{"record", body("record", record), string(record)},
			{"policy", `UPDATE policy SET body = REPLACE(body, 'sha256:', 'sha256:0')`, "policy"},
			{"house", `UPDATE house SET body = REPLACE(body, 'Test', 'Best')`, "house"},
		} {
			w.harm(test.harm)
			if found := strings.Join(w.findings(), "\n"); !strings.Contains(found, test.names) {
				t.Errorf("%s\nis not found: it must name %s, and the findings are: %s", test.harm, test.names, found)
			}
			for _, query := range undo(test.table) {
				w.harm(query)
			}
		}
		w.verified()
	})
}

// cast writes text as the bytes of the database at hand.
func (w *world) cast(text string) string {
	if w.database.postgres {
		return "convert_to('" + text + "', 'UTF8')"
	}
	return "CAST('" + text + "' AS BLOB)"
}

func TestTheHistoryOfARequestNamesWhoDidWhatByWhichRule(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerThenSecurity, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.must(w.approve("sue", id))
	w.settle()
	w.must(w.revocation("ana", w.grant(id).ID)())
	w.settle()
	entries, err := w.house.Desk.Timeline(w.ctx, w.as("ana"), id)
	w.must(err)
	var told []string
	for i, entry := range entries {
		told = append(told, entry.Actor+" "+entry.Text)
		if i > 0 && entry.Time < entries[i-1].Time {
			t.Error("the times run backwards")
		}
	}
	all := strings.Join(told, "\n")
	for _, part := range []string{
		"Ana Asker asked for ledger/books/read for Ana Asker, for 10d",
		`Max Manager approved in the stage "manager" by manager-of(requester)`,
		`Sue Security approved in the stage "security" by group(security)`,
		"read back by noop", "Ana Asker the access ends (revoked): not needed any more", "the credential is gone", "the request is closed",
	} {
		if !strings.Contains(all, part) {
			t.Errorf("the history does not tell %q:\n%s", part, all)
		}
	}
}

func TestWhatAVerdictReliedOnIsKeptWithIt(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	events, err := w.house.Store.Events(w.ctx, countersign.Stream(id), 0, 100)
	w.must(err)
	for _, event := range events {
		if event.Header.Kind != "request.submitted@1" && event.Header.Kind != "request.decided@1" {
			continue
		}
		facts := ""
		for _, value := range event.Values {
			if value.Group == countersign.ValueFacts {
				facts = string(value.Bytes)
			}
		}
		for _, part := range []string{"Ana Asker", "ledger", `"manager-of(requester)"`} {
			if !strings.Contains(facts, part) {
				t.Errorf("the facts of %s do not hold %s: %s", event.Header.Kind, part, facts)
			}
		}
		if event.Header.PolicySet == "" || event.Header.DirectoryRevision == 0 {
			t.Errorf("%s names no policy set or directory", event.Header.Kind)
		}
		if strings.Contains(fmt.Sprint(event.Header), "Ana") {
			t.Error("the header names a person")
		}
	}
}

// goingOn lets the house go on after the chains were read and before the rows are.
type goingOn struct {
	store.Reader
	goOn func()
}

func (m goingOn) Rows(ctx context.Context, visit func(countersign.Stream, countersign.Row, string) error) error {
	m.goOn()
	return m.Reader.Rows(ctx, visit)
}

func TestTheVerifierFindsNothingWhereTheHouseGoesOn(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		verify := func(goOn func()) []string {
			found, err := desk.Verify(w.ctx, goingOn{w.house.Store, goOn}, func(int64) {})
			w.must(err)
			return found.Findings
		}
		if findings := verify(func() {
			w.must(w.approve("max", id))
			denied := asking()
			denied.Entitlements = []string{"ledger/books/write"}
			w.submit("ana", denied)
		}); len(findings) != 0 {
			t.Errorf("found %v", findings)
		}
		// What no event explains is found all the same.
		if findings := verify(func() {
			w.harm(fmt.Sprintf(`UPDATE request SET body = REPLACE(body, '"version":', '"version":1'), version = CAST('1' || CAST(version AS TEXT) AS integer) WHERE id = '%s'`, id))
		}); len(findings) != 1 || !strings.Contains(findings[0], "no event of the stream") {
			t.Errorf("found %v", findings)
		}
	})
}
