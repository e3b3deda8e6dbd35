package sqlstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/backup"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/sqlstore"
)

// lived is an archive of a house in which something was asked for and decided,
// and the house's key file.
func lived(t *testing.T) (*backup.Archive, string) {
	t.Helper()
	place := house.Place{Data: t.TempDir()}
	h, _, err := house.Start(t.Context(), place, nil, options())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	var first countersign.RequestID
	for _, who := range []string{"mina.park", "quinn.taylor"} {
		asking := desk.Asking{Entitlements: []string{"wiki/pages/editor"}, Reason: "I write the handbook of the reports."}
		if first, err = h.Desk.Submit(t.Context(), as(t, h, who), desk.Key{Route: "test", Value: who}, asking); err != nil {
			t.Fatal(err)
		}
	}
	view, err := h.Desk.Request(t.Context(), as(t, h, "quinn.taylor"), first)
	if err != nil {
		t.Fatal(err)
	}
	decider := desk.Caller{Identity: view.Stages[0].Asked[0].Person.ID, Issuer: "test", Strength: "test"}
	if err := h.Desk.Approve(t.Context(), decider, desk.Key{}, first, desk.Decision{Shown: view.Shown}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Settle(t.Context()), h.Store.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "house.backup")
	if _, err := house.Backup(t.Context(), place, options(), path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, content), filepath.Join(place.Data, "master.key")
}

func options() house.Options {
	return house.Options{Clock: connectortest.NewClock(), Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", DeliverByClaim: true}
}

func as(t *testing.T, h *house.House, login string) desk.Caller {
	t.Helper()
	id, known := h.Desk.Resolve(login)
	if !known {
		t.Fatalf("there is no %s", login)
	}
	return desk.Caller{Identity: id, Issuer: "test", Strength: "test"}
}

func read(t *testing.T, content []byte) *backup.Archive {
	t.Helper()
	archive, err := backup.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// writtenAt is the archive as a program of an earlier schema would have written it:
// without the tables and columns that came later. A table that came later must be
// empty, because nobody could have filled it.
func writtenAt(t *testing.T, archive *backup.Archive, version int64) *backup.Archive {
	t.Helper()
	known := sqlstore.ColumnsAt(t, version)
	var out bytes.Buffer
	writer := backup.NewWriter(&out)
	for _, table := range archive.Manifest.Tables {
		kept := slices.DeleteFunc(slices.Clone(table.Columns), func(column backup.Column) bool { return !slices.Contains(known[table.Name], column) })
		if len(kept) == 0 {
			if table.Rows > 0 {
				t.Fatalf("the table %s came after schema %d and has %d rows", table.Name, version, table.Rows)
			}
			continue
		}
		if err := writer.Table(table.Name, kept); err != nil {
			t.Fatal(err)
		}
		for values, err := range archive.Rows(table) {
			if err != nil {
				t.Fatal(err)
			}
			var row []any
			for i, column := range table.Columns {
				if slices.Contains(kept, column) {
					row = append(row, values[i])
				}
			}
			if err := writer.Row(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	manifest := archive.Manifest
	manifest.Schema = version
	if _, err := writer.Close(manifest); err != nil {
		t.Fatal(err)
	}
	return read(t, out.Bytes())
}

// verified checks the whole record, and that there is one.
func verified(t *testing.T, what string, s *sqlstore.Store) {
	t.Helper()
	found, err := desk.Verify(t.Context(), s, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := s.Requests(t.Context(), store.RequestQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Findings) > 0 || len(requests) != 2 || found.Events < 100 {
		t.Errorf("%s: %d events, %d requests, and findings: %v", what, found.Events, len(requests), found.Findings)
	}
}

func schemaOf(t *testing.T, s *sqlstore.Store) int64 {
	t.Helper()
	version, err := s.SchemaVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// Each schema and the next one: what an earlier program wrote is migrated, and
// the record is what it was.
func TestRowsOfEveryEarlierSchemaAreMigratedAndVerified(t *testing.T) {
	archive, _ := lived(t)
	known := sqlstore.Newest(t)
	for _, version := range sqlstore.Versions(t) {
		earlier := writtenAt(t, archive, version)
		path := filepath.Join(t.TempDir(), "house.db")
		if err := sqlstore.LoadSQLite(t.Context(), path, earlier); err != nil {
			t.Fatalf("schema %d on SQLite: %v", version, err)
		}
		// Somebody who only visits changes nothing: the house may be served.
		if visited, err := sqlstore.OpenSQLite(t.Context(), path, sqlstore.Options{AsItIs: true}); version < known && countersign.ReasonOf(err) != "schema-older" {
			t.Errorf("a visit to schema %d: got %v", version, err)
		} else if err == nil && visited.Close() != nil {
			t.Error("the visit does not end")
		}
		s, err := sqlstore.OpenSQLite(t.Context(), path, sqlstore.Options{})
		if err != nil {
			t.Fatalf("from schema %d on SQLite: %v", version, err)
		}
		verified(t, fmt.Sprintf("SQLite from schema %d", version), s)
		if now := schemaOf(t, s); now != known {
			t.Errorf("the schema is %d", now)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// It was copied first, and the copy is what it was before.
		copied := fmt.Sprintf("%s.schema-%d.backup", path, version)
		if _, err := os.Stat(copied); (err == nil) != (version < known) {
			t.Errorf("from schema %d: the copy before the migration: %v", version, err)
		}

		url := pgtest.Database(t, nil)
		if err := sqlstore.LoadPostgres(t.Context(), url, earlier); err != nil {
			t.Fatalf("schema %d on PostgreSQL: %v", version, err)
		}
		if _, err := sqlstore.OpenPostgres(t.Context(), url, sqlstore.Options{}); version < known && countersign.ReasonOf(err) != "schema-older" {
			t.Errorf("schema %d before its migration: got %v", version, err)
		}
		if err := sqlstore.Migrate(t.Context(), url); err != nil {
			t.Fatalf("from schema %d on PostgreSQL: %v", version, err)
		}
		p, err := sqlstore.OpenPostgres(t.Context(), url, sqlstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		verified(t, fmt.Sprintf("PostgreSQL from schema %d", version), p)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The next version adds to the schema while this one works on: what both wrote
// verifies with both, and this one does not start again on the later schema.
func TestTwoNeighbouringVersionsWorkOnOneDatabase(t *testing.T) {
	archive, keyFile := lived(t)
	known := sqlstore.Newest(t)

	path := filepath.Join(t.TempDir(), "countersign.db")
	if err := sqlstore.LoadSQLite(t.Context(), path, archive); err != nil {
		t.Fatal(err)
	}
	next, err := sqlstore.OpenLaterSQLite(t, path)
	if err != nil {
		t.Fatal(err)
	}
	verified(t, "SQLite with the later schema", next)
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("%s.schema-%d.backup", path, known)); err != nil {
		t.Errorf("nothing was copied before the migration: %v", err)
	}
	refusesLater(t, house.Place{Data: filepath.Dir(path)})

	url := pgtest.Database(t, nil)
	if err := sqlstore.LoadPostgres(t.Context(), url, archive); err != nil {
		t.Fatal(err)
	}
	running, err := sqlstore.OpenPostgres(t.Context(), url, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	verified(t, "PostgreSQL before the later schema", running)
	if err := sqlstore.MigrateLaterPostgres(t, url); err != nil {
		t.Fatal(err)
	}
	// The replica that was started before writes a row of a table that has grown.
	master, err := keys.Open(keyFile, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	replica := options()
	replica.Store, replica.Master, replica.Shared = running, master, true
	h, err := house.Open(t.Context(), replica)
	if err != nil {
		t.Fatal(err)
	}
	open, err := running.Requests(t.Context(), store.RequestQuery{Holder: as(t, h, "mina.park").Identity})
	if err != nil || len(open) != 1 {
		t.Fatalf("%d requests, %v", len(open), err)
	}
	if err := h.Desk.Cancel(t.Context(), as(t, h, "mina.park"), desk.Key{}, open[0].ID, "not needed any more"); err != nil {
		t.Fatal(err)
	}
	verified(t, "PostgreSQL with the later schema", running)
	refusesLater(t, house.Place{Database: url, KeyFile: filepath.Join(t.TempDir(), "master.key")})
}

// refusesLater starts the house as serve does.
func refusesLater(t *testing.T, place house.Place) {
	t.Helper()
	_, _, err := house.Start(context.Background(), place, nil, house.Options{Clock: connectortest.NewClock(), Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	if countersign.ReasonOf(err) != "schema-newer" {
		t.Errorf("a house of a later schema: got %v", err)
	}
}
