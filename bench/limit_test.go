package bench

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// plainCommits is how many durable commits of a row, an event and a work item
// SQLite makes in a second, with the pragmas of the house and nothing else: one
// writer, one commit each.
func plainCommits(t *testing.T, lasting time.Duration) float64 {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "plain.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-65536)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(4000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, table := range []string{
		`CREATE TABLE noun (id text PRIMARY KEY, version integer, body text, state text) WITHOUT ROWID`,
		`CREATE TABLE event (stream text, seq integer, hash blob, header text, value blob, PRIMARY KEY (stream, seq)) WITHOUT ROWID`,
		`CREATE TABLE work (key text PRIMARY KEY, kind text, due_at integer) WITHOUT ROWID`,
		`CREATE INDEX work_due ON work (due_at, key)`,
	} {
		if _, err := conn.ExecContext(ctx, table); err != nil {
			t.Fatal(err)
		}
	}
	prepare := func(text string) *sql.Stmt {
		statement, err := conn.PrepareContext(ctx, text)
		if err != nil {
			t.Fatal(err)
		}
		return statement
	}
	begin, commit := prepare(`BEGIN IMMEDIATE`), prepare(`COMMIT`)
	noun, event, work := prepare(`INSERT INTO noun VALUES (?, 1, ?, 'deciding')`), prepare(`INSERT INTO event VALUES (?, 1, ?, ?, ?)`), prepare(`INSERT INTO work VALUES (?, 'request', ?)`)
	body, header, value, hash := strings.Repeat("b", bodySize), strings.Repeat("h", headerSize), make([]byte, valueSize), make([]byte, 32)
	began, count := time.Now(), 0
	for ; time.Since(began) < lasting; count++ {
		key := fmt.Sprintf("req_%026d", count)
		for _, step := range []struct {
			statement *sql.Stmt
			args      []any
		}{{begin, nil}, {noun, []any{key, body}}, {event, []any{key, hash, header, value}}, {work, []any{key, count}}, {commit, nil}} {
			if _, err := step.statement.ExecContext(ctx, step.args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	return float64(count) / time.Since(began).Seconds()
}

// What a submitted request takes: its row, the header of its event and the values.
const bodySize, headerSize, valueSize = 1800, 600, 1800

// pgbench runs pgbench -N, which updates one row and adds one to a history in each
// transaction.
type pgbench struct {
	program string
	args    []string
}

// newPgbench fills the tables in the database of the URL; nil where pgbench is
// not installed.
func newPgbench(t *testing.T, database string) *pgbench {
	t.Helper()
	program, err := exec.LookPath("pgbench")
	if err != nil {
		found, globbed := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
		if globbed != nil || len(found) == 0 {
			return nil
		}
		program = found[len(found)-1]
	}
	at, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	host, port := at.Hostname(), at.Port()
	if socket := at.Query().Get("host"); socket != "" {
		host = socket
	}
	p := &pgbench{program, []string{"-h", host, "-U", at.User.Username(), strings.TrimPrefix(at.Path, "/")}}
	if port != "" {
		p.args = append([]string{"-p", port}, p.args...)
	}
	if output, err := exec.Command(program, append([]string{"-i", "-q", "-s", "10"}, p.args...)...).CombinedOutput(); err != nil {
		t.Fatalf("pgbench -i: %v\n%s", err, output)
	}
	return p
}

var tps, processed = regexp.MustCompile(`tps = ([0-9.]+)`), regexp.MustCompile(`actually processed: ([0-9]+)`)

// run returns how many transactions there were, and how many a second. On a machine that is so
// busy that there was none, it looks for longer.
func (p *pgbench) run(t *testing.T, clients int, lasting time.Duration) (count, rate float64) {
	t.Helper()
	for seconds := max(1, int(lasting.Seconds())); ; seconds *= 2 {
		output, err := exec.Command(p.program, append([]string{"-N", "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, 2)), "-T", strconv.Itoa(seconds)}, p.args...)...).CombinedOutput()
		found := tps.FindSubmatch(output)
		if err != nil || found == nil && seconds > 16 {
			t.Fatalf("pgbench -N: %v\n%s", err, output)
		}
		if found == nil {
			continue
		}
		rate, err = strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		count, err = strconv.ParseFloat(string(processed.FindSubmatch(output)[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return count, rate
	}
}
