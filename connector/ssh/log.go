package ssh

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/logfile"
)

// Log is what the sshd of every host that trusts the authority writes, in files that
// the house can read: as syslog writes it, or as journalctl --output=json.
type Log struct {
	files *logfile.Files
	// zone is that of times which name none.
	zone *time.Location

	lock sync.Mutex
	// used is the last login of each certificate in what was read so far; begin and end
	// are the first and the last time in it.
	used       map[shown]time.Time
	begin, end time.Time
}

// shown is a certificate as sshd names it.
type shown struct {
	credential countersign.CredentialID
	holder     countersign.IdentityID
	serial     string
	// authority is the fingerprint of who signed it.
	authority string
}

// OpenLog takes the pattern that names the files, and the zone of times that name
// none.
func OpenLog(pattern string, zone *time.Location) (*Log, error) {
	files, err := logfile.New(pattern, false)
	return &Log{files: files, zone: zone, used: map[shown]time.Time{}}, err
}

// The heads of a line of syslog: with the time of RFC 3339, or the older one without
// a year. What sshd says begins right after them, so that a name which somebody
// chose cannot stand in its place.
var (
	dated   = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\S+) (\S+) (?:sshd(?:-session)?\[\d+\]: (.*))?`)
	undated = regexp.MustCompile(`^([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (\S+) (?:sshd(?:-session)?\[\d+\]: (.*))?`)
	// accepted is all of a line that lets a certificate in. Key ids are chosen by
	// whoever signs, so nothing may follow what is ours.
	accepted = regexp.MustCompile(`^Accepted publickey for (\S+) from (\S+) port (\d+) ssh2: \S+-CERT SHA256:\S+ ID (crd_[0-9a-z]{26}) for (idn_[0-9a-z]{26}) \(serial (\d+)\) CA \S+ (SHA256:\S+)$`)
)

// said is one line: when and where, and what sshd said; "" for what others did.
type said struct {
	at            time.Time
	host, message string
}

// read takes one line apart.
func (l *Log) read(record logfile.Record) (said, error) {
	text := bytes.TrimRight(record.Text, "\r")
	if bytes.HasPrefix(text, []byte("{")) {
		return readJournal(text)
	}
	if found := dated.FindSubmatch(text); found != nil {
		at, err := time.Parse(time.RFC3339, string(found[1]))
		if err == nil {
			return said{at, string(found[2]), string(found[3])}, nil
		}
	}
	if found := undated.FindSubmatch(text); found != nil {
		if at, err := time.ParseInLocation("Jan _2 15:04:05", string(found[1]), l.zone); err == nil {
			return said{inYear(at, record.Modified.In(l.zone)), string(found[2]), string(found[3])}, nil
		}
	}
	return said{}, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log %s has a line that neither syslog nor the journal writes: %q", l.files, countersign.Clip(string(text)))
}

// inYear gives a time the latest year in which the file could hold it.
func inYear(at, written time.Time) time.Time {
	for year := written.Year() + 1; ; year-- {
		dated := time.Date(year, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, at.Location())
		// The 29th of February stands in one year of four.
		if dated.Day() == at.Day() && !dated.After(written.Add(time.Hour)) || year < written.Year()-8 {
			return dated
		}
	}
}

// readJournal reads one entry. Who said it is what the journal itself saw, and not
// what the program calls itself.
func readJournal(text []byte) (said, error) {
	var entry struct {
		At      string          `json:"__REALTIME_TIMESTAMP"`
		Host    string          `json:"_HOSTNAME"`
		Program string          `json:"_COMM"`
		User    string          `json:"_UID"`
		Message json.RawMessage `json:"MESSAGE"`
	}
	err := json.Unmarshal(text, &entry)
	micros, wrong := strconv.ParseInt(entry.At, 10, 64)
	if err != nil || wrong != nil {
		return said{}, countersign.Errorf(countersign.Unavailable, "log-not-readable", "the log has an entry that journalctl --output=json does not write")
	}
	read := said{at: time.UnixMicro(micros), host: entry.Host}
	if (entry.Program == "sshd" || entry.Program == "sshd-session") && entry.User == "0" {
		// What is no text stands there as numbers, and is none of ours.
		_ = json.Unmarshal(entry.Message, &read.message)
	}
	return read, nil
}

// login reads whether a line lets a certificate in, and tells it in words.
func (s said) login() (shown, string, bool) {
	found := accepted.FindStringSubmatch(s.message)
	if found == nil {
		return shown{}, "", false
	}
	return shown{countersign.CredentialID(found[4]), countersign.IdentityID(found[5]), found[6], found[7]},
		"login as " + found[1] + " on " + s.host + ", from " + found[2] + " port " + found[3], true
}

// useGrain is how old the newest line may be for the log to tell of now.
const useGrain = time.Hour

func tooOld(l *Log, until time.Time) error {
	return countersign.Errorf(countersign.Unavailable, "log-too-old", "the log %s has no line from %s on: it may not all be here yet", l.files, countersign.InstantOf(until))
}

// lastUsed is the last login by the certificate, zero for none, and when the log began.
func (l *Log) lastUsed(ctx context.Context, now time.Time, of shown) (used, since countersign.Instant, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if err := l.files.Next(ctx, func(record logfile.Record) error {
		line, err := l.read(record)
		if err != nil {
			return err
		}
		if l.begin.IsZero() {
			l.begin = line.at
		}
		l.end = later(l.end, line.at)
		if certificate, _, is := line.login(); is {
			l.used[certificate] = later(l.used[certificate], line.at)
		}
		return nil
	}); err != nil {
		return 0, 0, err
	}
	if l.end.Before(now.Add(-useGrain)) {
		return 0, 0, tooOld(l, now.Add(-useGrain))
	}
	if at, known := l.used[of]; known {
		used = countersign.InstantOf(at)
	}
	return used, countersign.InstantOf(l.begin), nil
}

func later(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

// activity calls found for each login by the certificate.
func (l *Log) activity(ctx context.Context, of shown, from, to time.Time, found func(connector.Act) error) error {
	var begin, end time.Time
	if err := l.files.All(ctx, func(record logfile.Record) error {
		line, err := l.read(record)
		if err != nil {
			return err
		}
		if begin.IsZero() {
			begin = line.at
		}
		end = later(end, line.at)
		if certificate, what, is := line.login(); is && certificate == of {
			return found(connector.Act{At: countersign.InstantOf(line.at), What: what})
		}
		return nil
	}); err != nil {
		return err
	}
	switch {
	case begin.After(from):
		return countersign.Errorf(countersign.Unavailable, "log-too-young", "the log %s begins at %s only", l.files, countersign.InstantOf(begin))
	case end.Before(to):
		return tooOld(l, to)
	}
	return nil
}

// fingerprint is that of an authority's key as sshd writes it.
func fingerprint(key []byte) (string, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey(key)
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(public), nil
}

// certificate is how sshd names the certificate of a credential.
func (c *Connector) certificate(ctx context.Context, credential countersign.CredentialID) (shown, error) {
	if c.log == nil {
		return shown{}, countersign.Errorf(countersign.Unavailable, "use-not-known", "the log of the hosts is not read here")
	}
	check, err := c.target.CheckCredential(ctx, credential)
	if err != nil {
		return shown{}, err
	}
	if check.Serial == "" {
		return shown{}, countersign.Errorf(countersign.Unavailable, "use-not-known", "there is no certificate of %s", credential)
	}
	key, err := c.target.AuthorityKey(ctx, check.System)
	if err != nil {
		return shown{}, err
	}
	authority, err := fingerprint(key)
	return shown{credential, check.Holder, check.Serial, authority}, err
}

// LastUsed implements connector.LastUse: the last login that a host tells of.
func (c *Connector) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	used, since, err := c.LoggedUse(ctx, credential)
	return cmp.Or(used, since), err
}

// LoggedUse implements connector.LoggedUse.
func (c *Connector) LoggedUse(ctx context.Context, credential countersign.CredentialID) (used, since countersign.Instant, err error) {
	of, err := c.certificate(ctx, credential)
	if err != nil {
		return 0, 0, err
	}
	return c.log.lastUsed(ctx, c.clock.Now(), of)
}

// Activity implements connector.Activity: the logins by the certificate. What was
// done in them hosts do not tell.
func (c *Connector) Activity(ctx context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	certificate, err := c.certificate(ctx, of.Credential)
	if err != nil {
		return "", err
	}
	source := "the logins by the certificate with the serial " + certificate.serial + " in " + c.log.files.String() + "; what was done in them hosts do not tell"
	return source, c.log.activity(ctx, certificate, of.From.Time(), of.To.Time(), found)
}
