package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/pgserver"
	"github.com/countersign/countersign/sample"
)

// tourDatabase is a PostgreSQL server that runs for the tour, reached as people
// reach one: with psql.
type tourDatabase struct {
	server *pgserver.Server
	at     *url.URL
	psql   string
	// account is the URL of the connector's account.
	account countersign.Secret
}

// openTourDatabase starts the server, and prepares what stands on it before
// anybody asks for access. Without PostgreSQL the error is a *pgserver.Missing.
func openTourDatabase(ctx context.Context) (*tourDatabase, error) {
	server, err := pgserver.Start()
	if err != nil {
		return nil, err
	}
	d := &tourDatabase{server: server, psql: filepath.Join(server.Binaries, "psql")}
	if _, err := os.Stat(d.psql); err != nil {
		if d.psql, err = exec.LookPath("psql"); err != nil {
			return nil, errors.Join(&pgserver.Missing{Why: "psql is not installed: apt-get install postgresql-client"}, server.Close())
		}
	}
	if d.at, err = url.Parse(server.URL); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	password := countersign.NewSecret(rand.Text())
	if _, err := d.run(ctx, d.at, "CREATE DATABASE orders"); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	d.at.Path = "/orders"
	account := *d.at
	account.User = url.UserPassword("countersign", password.Reveal())
	d.account = countersign.NewSecret(account.String())
	for _, statement := range []string{
		"CREATE TABLE orders AS SELECT generate_series(1, 1207) AS number",
		"CREATE ROLE app_reader", "GRANT SELECT ON orders TO app_reader",
		"CREATE ROLE countersign LOGIN CREATEROLE PASSWORD '" + password.Reveal() + "'",
		"GRANT pg_signal_backend TO countersign", "GRANT app_reader TO countersign WITH ADMIN OPTION",
	} {
		if _, err := d.run(ctx, d.at, statement); err != nil {
			return nil, errors.Join(err, server.Close())
		}
	}
	return d, nil
}

// command is psql at a place, which hands the password on in its environment.
func (d *tourDatabase) command(ctx context.Context, at *url.URL, query string) *exec.Cmd {
	place := *at
	password, _ := place.User.Password()
	place.User = url.User(place.User.Username())
	command := exec.CommandContext(ctx, d.psql, "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", place.String())
	command.Stdin = strings.NewReader(query)
	command.Env = []string{"PGPASSWORD=" + password, "PGCONNECT_TIMEOUT=10", "LC_ALL=C"}
	return command
}

// run returns what a query gives, or what PostgreSQL says of it.
func (d *tourDatabase) run(ctx context.Context, at *url.URL, query string) (string, error) {
	output, err := d.command(ctx, at, query).Output()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return strings.TrimSpace(string(output)), err
	}
	said := string(failed.Stderr)
	for _, severity := range []string{"ERROR:  ", "FATAL:  "} {
		if _, after, found := strings.Cut(said, severity); found {
			said = after
		}
	}
	return "", errors.New(strings.SplitN(strings.TrimSpace(said), "\n", 2)[0])
}

func (d *tourDatabase) as(login string, password countersign.Secret) *url.URL {
	at := *d.at
	at.User = url.UserPassword(login, password.Reveal())
	return &at
}

func (d *tourDatabase) Query(login string, password countersign.Secret, query string) (string, error) {
	return d.run(context.Background(), d.as(login, password), query)
}

func (d *tourDatabase) ByHand(login string) error {
	_, err := d.run(context.Background(), d.at, "CREATE ROLE "+login+" LOGIN IN ROLE app_reader")
	return err
}

// tourSession is a psql that sleeps on the server.
type tourSession struct{ ended <-chan struct{} }

// Open gives psql the moment that it needs to hear of its end.
func (s tourSession) Open() bool {
	select {
	case <-s.ended:
		return false
	case <-time.After(5 * time.Second):
		return true
	}
}

func (d *tourDatabase) Stay(login string, password countersign.Secret) (sample.Session, error) {
	command := d.command(context.Background(), d.as(login, password), "SELECT pg_sleep(600)")
	if err := command.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		// How it ends is no matter, only that it does.
		_ = command.Wait()
		close(ended)
	}()
	for {
		there, err := d.run(context.Background(), d.at, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND usename = '"+login+"'")
		if err != nil || there == "1" {
			return tourSession{ended}, err
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("the session of %s ended before it began", login)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// postgres opens the connector to the server.
func (d *tourDatabase) postgres(targets house.Targets, clock connector.Clock) (connector.Connector, error) {
	return postgres.New(postgres.Options{Name: "orders-server", Gives: postgres.Login, URL: d.account, Vault: targets.Vault, Clock: clock, Random: rand.Reader})
}
