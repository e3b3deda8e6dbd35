package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/house"
)

// tick is the unit of /proc/PID/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is one line of /proc/PID/stat.
type stat struct {
	parent int
	// own is the process's time, reaped that of children that have ended.
	own, reaped time.Duration
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name of the program stands in brackets and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	number := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return time.Duration(n)
	}
	return stat{parent: int(number(1)), own: tick * (number(11) + number(12)), reaped: tick * (number(13) + number(14))}, nil
}

// used is the processor time of a process and of everything below it.
func used(t *testing.T, root int) time.Duration {
	t.Helper()
	at, err := readStat(root)
	if err != nil {
		t.Fatal(err)
	}
	total := at.own + at.reaped
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if child, err := readStat(pid); err == nil && child.parent == root {
				total += child.own + child.reaped
			}
		}
	}
	return total
}

// resident is the memory of a process in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatal("the kernel says nothing of the process's memory")
	return 0
}

// meter reads what the house and its database have used so far.
type meter struct {
	house    int
	postgres *pgx.Conn
	// walIndex is the file beside SQLite's log that counts its transactions.
	walIndex string
	// postmaster is the parent of every process of the server, where it runs here.
	postmaster int
}

func newMeter(t *testing.T, of *process, where house.Place) *meter {
	t.Helper()
	m := &meter{house: of.command.Process.Pid}
	url := where.Database
	if url == "" {
		m.walIndex = filepath.Join(where.Data, "countersign.db-shm")
		return m
	}
	var err error
	if m.postgres, err = pgx.Connect(context.Background(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.postgres.Close(context.Background()) })
	var backend int
	if err := m.postgres.QueryRow(context.Background(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		t.Fatal(err)
	}
	if at, err := readStat(backend); err == nil {
		m.postmaster = at.parent
	} else {
		t.Log("the PostgreSQL server runs elsewhere: its processor time is not counted")
	}
	return m
}

// reading is what was used up to a moment.
type reading struct {
	at              time.Time
	house, database time.Duration
	// writing counts the transactions that wrote. On PostgreSQL each of them, and no
	// other, has taken a transaction id. commits counts all of them, reads included; a
	// server learns of it up to ten seconds late.
	writing, commits int64
}

func (m *meter) read(t *testing.T) reading {
	t.Helper()
	r := reading{at: time.Now(), house: used(t, m.house)}
	if m.postgres == nil {
		r.writing = m.walChanges(t)
		return r
	}
	if m.postmaster != 0 {
		r.database = used(t, m.postmaster)
	}
	// Neither query takes a transaction id.
	err := m.postgres.QueryRow(context.Background(), `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
		(SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())`).Scan(&r.writing, &r.commits)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// walChanges reads iChange of the index of SQLite's log, which each transaction that
// writes moves on by one; see https://sqlite.org/walformat.html, section 2.1. It is written in
// the byte order of the machine.
func (m *meter) walChanges(t *testing.T) int64 {
	t.Helper()
	file, err := os.Open(m.walIndex)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var change [4]byte
	if _, err := file.ReadAt(change[:], 8); err != nil {
		t.Fatal(err)
	}
	return int64(binary.NativeEndian.Uint32(change[:]))
}

func (r reading) since(before reading) reading {
	return reading{house: r.house - before.house, database: r.database - before.database, writing: r.writing - before.writing, commits: r.commits - before.commits}
}
