package postgres

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/logfile"
)

// serverLog is the server's log, as jsonlog or csvlog writes it. The plain form is
// not read: a statement of several lines can forge any line of it.
type serverLog struct {
	files  *logfile.Files
	quoted bool

	lock sync.Mutex
	// used is the last use of each credential in what was read so far, by the server's
	// clock; begin is where the log began, own the last connection of the connector's
	// own account.
	used       map[string]time.Time
	begin, own time.Time
}

// openLog takes the pattern that names the log files.
func openLog(pattern string) (*serverLog, error) {
	ending := filepath.Ext(pattern)
	if ending != ".json" && ending != ".csv" {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-log-files", "the log %q of a PostgreSQL server is read as jsonlog or csvlog writes it: name files that end in .json or .csv, as /var/log/postgresql/*.json", pattern)
	}
	files, err := logfile.New(pattern, ending == ".csv")
	return &serverLog{files: files, quoted: ending == ".csv", used: map[string]time.Time{}}, err
}

// line is one record of the log.
type line struct {
	at        time.Time
	user      string
	severity  string
	message   string
	statement string
}

// csvColumns are how many columns csvlog has at least, and the places of those that
// count.
const (
	csvColumns   = 23
	csvTime      = 0
	csvUser      = 1
	csvSeverity  = 11
	csvMessage   = 13
	csvStatement = 19
)

// read takes one record apart.
func (l *serverLog) read(text []byte, zone *time.Location) (line, error) {
	var read line
	var at string
	if l.quoted {
		fields, err := csv.NewReader(bytes.NewReader(text)).Read()
		if err != nil || len(fields) < csvColumns {
			return read, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log has a record that csvlog does not write")
		}
		at, read.user, read.severity, read.message, read.statement = fields[csvTime], fields[csvUser], fields[csvSeverity], fields[csvMessage], fields[csvStatement]
	} else {
		var fields struct {
			Timestamp string `json:"timestamp"`
			User      string `json:"user"`
			Severity  string `json:"error_severity"`
			Message   string `json:"message"`
			Statement string `json:"statement"`
		}
		if err := json.Unmarshal(text, &fields); err != nil {
			return read, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log has a record that jsonlog does not write")
		}
		at, read.user, read.severity, read.message, read.statement = fields.Timestamp, fields.User, fields.Severity, fields.Message, fields.Statement
	}
	var err error
	read.at, err = logTime(at, zone)
	return read, err
}

// logTime reads a time as the server writes it: in its log_timezone, with that zone's
// short name, which tells the two passes of one hour in autumn apart.
func logTime(text string, zone *time.Location) (time.Time, error) {
	zoneAt := strings.LastIndexByte(text, ' ') + 1
	clock, short := strings.TrimSuffix(text[:zoneAt], " "), text[zoneAt:]
	at, err := time.ParseInLocation("2006-01-02 15:04:05", clock, zone)
	for _, shift := range []time.Duration{0, time.Hour, -time.Hour} {
		other := at.Add(shift)
		if name, _ := other.Zone(); err == nil && name == short && other.Format("15:04:05") == at.Format("15:04:05") {
			return other, nil
		}
	}
	return time.Time{}, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log has the time %q, which is none of the server's log_timezone %s", countersign.Clip(text), zone)
}

// uses reports whether the line is from a session of its user: what a login that
// failed leaves is not.
func (l line) uses() bool { return l.severity != "FATAL" && l.severity != "PANIC" }

// what tells the line in words.
func (l line) what() string {
	text := l.message
	if l.severity != "LOG" {
		text = l.severity + ": " + text
	}
	if l.statement != "" {
		text += ", at: " + l.statement
	}
	return text
}

// logging is how the server writes its log, as it says itself.
type logging struct {
	zone        *time.Location
	connections bool
	statements  string
	account     string
	// ahead is how far the server's clock is ahead of the house's.
	ahead time.Duration
}

func (c *Connector) logging(ctx context.Context, q querier) (logging, error) {
	var found logging
	var zone string
	var now time.Time
	err := q.QueryRow(ctx, `SELECT current_setting('log_timezone'), current_setting('log_connections')::bool, current_setting('log_statement'), session_user, clock_timestamp()`).
		Scan(&zone, &found.connections, &found.statements, &found.account, &now)
	if err != nil {
		return found, failed(err)
	}
	if !found.connections {
		return found, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the server does not log connections: set log_connections to on")
	}
	if found.zone, err = time.LoadLocation(zone); err != nil {
		return found, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the server's log_timezone %q is not known here", countersign.Clip(zone))
	}
	found.ahead = now.Sub(c.Clock.Now())
	return found, nil
}

// follow reads what came to the log since the last look.
func (l *serverLog) follow(ctx context.Context, how logging) error {
	mark := []byte("crd_")
	return l.files.Next(ctx, func(record logfile.Record) error {
		own := bytes.Contains(record.Text, []byte(how.account))
		if !l.begin.IsZero() && !own && !bytes.Contains(record.Text, mark) {
			return nil
		}
		line, err := l.read(record.Text, how.zone)
		if err != nil {
			return err
		}
		if l.begin.IsZero() {
			l.begin = line.at
		}
		switch {
		case line.user == how.account && line.uses():
			l.own = later(l.own, line.at)
		case strings.HasPrefix(line.user, string(mark)) && line.uses():
			l.used[line.user] = later(l.used[line.user], line.at)
		}
		return nil
	})
}

func later(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

const (
	// logPatience is how long a line of the connector's own may take to get from the
	// server to the files, and logPause the time between two looks.
	logPatience = 2 * time.Second
	logPause    = 200 * time.Millisecond
)

// reaches looks until the files hold a line of the connector's own account from the
// given time on, by the server's clock: this is the log of that server, it is
// written, and it is all here. The connection that asks leaves such a line itself.
func (l *serverLog) reaches(ctx context.Context, how logging, until time.Time) error {
	for tries := int(logPatience / logPause); ; tries-- {
		if err := l.follow(ctx, how); err != nil {
			return err
		}
		if !l.own.Before(until) {
			return nil
		}
		if tries == 0 {
			return countersign.Errorf(countersign.Unavailable, "log-too-old", "the log %s has no connection of the account %s from %s on: it is not this server's, or not all of it is here yet", l.files, how.account, countersign.InstantOf(until))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPause):
		}
	}
}

// lastUsed is the last use of a login, zero for none, and when the log began.
func (l *serverLog) lastUsed(ctx context.Context, how logging, c *Connector, credential countersign.CredentialID) (used, since countersign.Instant, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if err := l.reaches(ctx, how, c.Clock.Now().Add(how.ahead-useGrain)); err != nil {
		return 0, 0, err
	}
	if at, known := l.used[string(credential)]; known {
		used = countersign.InstantOf(at.Add(-how.ahead))
	}
	return used, countersign.InstantOf(l.begin.Add(-how.ahead)), nil
}

// useGrain is how old what the log tells may be.
const useGrain = time.Hour

// activity calls found for each line of the role between the two times, by the
// server's clock.
func (l *serverLog) activity(ctx context.Context, how logging, role string, from, to time.Time, only bool, found func(connector.Act) error) error {
	l.lock.Lock()
	err := l.reaches(ctx, how, to)
	l.lock.Unlock()
	if err != nil {
		return err
	}
	name := []byte(role)
	if strings.ContainsAny(role, "\"\\") {
		name = nil // it stands in another spelling there
	}
	var begin time.Time
	if err := l.files.All(ctx, func(record logfile.Record) error {
		if !begin.IsZero() && !bytes.Contains(record.Text, name) {
			return nil
		}
		line, err := l.read(record.Text, how.zone)
		if err != nil {
			return err
		}
		if begin.IsZero() {
			begin = line.at
		}
		if line.user != role || only && (line.at.Before(from) || line.at.After(to)) {
			return nil
		}
		return found(connector.Act{At: countersign.InstantOf(line.at.Add(-how.ahead)), What: line.what()})
	}); err != nil {
		return err
	}
	if begin.After(from) {
		return countersign.Errorf(countersign.Unavailable, "log-too-young", "the log %s begins at %s only", l.files, countersign.InstantOf(begin))
	}
	return nil
}
