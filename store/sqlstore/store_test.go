package sqlstore

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/storetest"
)

// database kinds under test, each with a way to open it.
var databases = map[string]func(t testing.TB) func() *Store{
	"SQLite": func(t testing.TB) func() *Store {
		path := filepath.Join(t.TempDir(), "a house?.db")
		return func() *Store { return opened(t)(OpenSQLite(context.Background(), path, Options{})) }
	},
	"PostgreSQL": func(t testing.TB) func() *Store {
		url := pgtest.Database(t, func(url string) error { return Migrate(context.Background(), url) })
		return func() *Store { return opened(t)(OpenPostgres(context.Background(), url, Options{})) }
	},
}

// opened fails the test unless a store was opened.
func opened(t testing.TB) func(*Store, error) *Store {
	return func(s *Store, err error) *Store {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// onBoth runs a test on a new, empty database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			s := prepare(t)()
			defer s.Close()
			test(t, s)
		})
	}
}

func TestTheStoreKeepsItsPromises(t *testing.T) {
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) (store.Store, func() store.Store) {
				open := prepare(t)
				current := open()
				t.Cleanup(func() { current.Close() })
				return current, func() store.Store {
					if err := current.Close(); err != nil {
						t.Fatal(err)
					}
					current = open()
					return current
				}
			})
		})
	}
}
