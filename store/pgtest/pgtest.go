// Package pgtest gives each test a fresh PostgreSQL database. The server is the
// one that COUNTERSIGN_TEST_POSTGRES names (the URL of a superuser), or one that
// the test process starts for itself from the installed binaries.
//
// It imports no room of the house but pgserver. When the test process has ended, however it
// ended, the server that it started is stopped and its folder is gone.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/pgserver"
)

// variable names the server to use instead of starting one.
const variable = "COUNTERSIGN_TEST_POSTGRES"

// Database returns the URL of a new database that migrate has been run on, for
// this test alone; a nil migrate leaves it empty. On a server of our own migrate
// runs once, on a database that the others are copies of, so all tests of one
// process must give the same. Without PostgreSQL the test is skipped, and fails
// where the environment says CI=true.
func Database(t testing.TB, migrate func(url string) error) string {
	t.Helper()
	server, foreign := os.Getenv(variable), true
	if server == "" {
		server, foreign = ownServer(t), false
	}
	if migrate == nil || foreign {
		return create(t, server, "template0", migrate, foreign)
	}
	template.Do(func() {
		created, err := url.Parse(create(t, server, "template0", migrate, false))
		if err != nil {
			t.Fatal(err)
		}
		templateName = strings.TrimPrefix(created.Path, "/")
	})
	if templateName == "" {
		t.Fatal("the database that the others are copies of could not be migrated")
	}
	return create(t, server, templateName, nil, false)
}

var (
	template     sync.Once
	templateName string
)

// Server is a server for one test alone, which the test may kill and start again.
type Server struct {
	t       testing.TB
	running *pgserver.Server
}

// OwnServer starts a server of the test's own, also where COUNTERSIGN_TEST_POSTGRES
// names one. It is stopped when the test ends.
func OwnServer(t testing.TB) *Server {
	t.Helper()
	running := orSkip(t)(pgserver.Start())
	t.Cleanup(func() { running.Close() })
	return &Server{t, running}
}

// Database returns the URL of a new database that migrate has been run on; a nil
// migrate leaves it empty.
func (s *Server) Database(migrate func(url string) error) string {
	s.t.Helper()
	return create(s.t, s.running.URL, "template0", migrate, false)
}

// Kill ends the server by SIGKILL. What was committed is on disk.
func (s *Server) Kill() { s.must(s.running.Kill()) }

// Start starts the killed server again, and returns when it answers.
func (s *Server) Start() { s.must(s.running.Again()) }

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// create makes a database. Those on a foreign server are dropped when the test
// ends; our own server goes away as a whole.
func create(t testing.TB, server, from string, migrate func(url string) error, foreign bool) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	administer(t, server, "CREATE DATABASE "+name+" ENCODING 'UTF8' LOCALE 'C' TEMPLATE "+from)
	if foreign {
		t.Cleanup(func() { administer(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	}
	database, err := url.Parse(server)
	if err != nil {
		t.Fatalf("the URL of the PostgreSQL server cannot be read: %v", err)
	}
	database.Path = "/" + name
	if migrate != nil {
		if err := migrate(database.String()); err != nil {
			t.Fatalf("migrate the test database: %v", err)
		}
	}
	return database.String()
}

// administer runs one command on the server.
func administer(t testing.TB, server, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL server: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, command); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

// started is the server of this process.
var started = sync.OnceValues(pgserver.Start)

func ownServer(t testing.TB) string {
	t.Helper()
	return orSkip(t)(started()).URL
}

// orSkip skips the test where a server cannot be had for want of its binaries.
func orSkip(t testing.TB) func(*pgserver.Server, error) *pgserver.Server {
	return func(own *pgserver.Server, err error) *pgserver.Server {
		t.Helper()
		if _, none := err.(*pgserver.Missing); none && os.Getenv("CI") != "true" {
			t.Skip(err.Error())
		}
		if err != nil {
			t.Fatal(fmt.Errorf("start a PostgreSQL server: %w", err))
		}
		return own
	}
}
