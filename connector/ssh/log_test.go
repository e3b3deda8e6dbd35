package ssh

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/logfile"
)

const (
	aCredential = "crd_01kjxfzn01e3gtm6vgqmk8p7ff"
	aHolder     = "idn_01kjxfzn01e3gtm6vgqmk8p7fg"
	anAuthority = "SHA256:w3cpmPmzbm0sL9w5CTvE3QO2kTZ8Ih3wAEWv2OjgHCM"
	aLogin      = "Accepted publickey for deploy from 192.0.2.7 port 53022 ssh2: ED25519-CERT SHA256:+EgQN2Wq0S7Yvf0ACFm7n4mBFcHt8dGvCvI4BHB3bDk ID " + aCredential + " for " + aHolder + " (serial 42) CA ED25519 " + anAuthority
)

var aCertificate = shown{aCredential, aHolder, "42", anAuthority}

// newLog writes a file and opens it.
func newLog(t *testing.T, zone string, changed time.Time, lines ...string) *Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.log")
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, changed, changed); err != nil {
		t.Fatal(err)
	}
	in, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	log, err := OpenLog(path, in)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestALoginIsReadWithItsTimeInEveryForm(t *testing.T) {
	for _, form := range []struct{ name, zone, line, changed, want string }{
		{"older syslog", "Europe/Berlin", "Jul  3 09:05:06 web-1 sshd[812]: " + aLogin, "2026-07-03T08:00:00Z", "2026-07-03T07:05:06Z"},
		{"last year's", "UTC", "Dec 31 23:59:58 web-1 sshd[812]: " + aLogin, "2026-01-01T00:10:00Z", "2025-12-31T23:59:58Z"},
		{"a leap day", "UTC", "Feb 29 10:00:00 web-1 sshd[812]: " + aLogin, "2026-01-01T00:10:00Z", "2024-02-29T10:00:00Z"},
		{"newer syslog", "UTC", "2026-07-03T09:05:06.250000+02:00 web-1 sshd-session[812]: " + aLogin, "2026-07-03T08:00:00Z", "2026-07-03T07:05:06.25Z"},
		{"journal", "UTC", entry(t, map[string]any{}), "2026-07-03T08:00:00Z", "2026-07-03T07:05:06.25Z"},
	} {
		changed, err := time.Parse(time.RFC3339, form.changed)
		if err != nil {
			t.Fatal(err)
		}
		log := newLog(t, form.zone, changed, form.line)
		read, err := log.read(logfile.Record{Text: []byte(form.line), Modified: changed})
		certificate, what, is := read.login()
		if err != nil || read.at.UTC().Format(time.RFC3339Nano) != form.want || !is || certificate != aCertificate || what != "login as deploy on web-1, from 192.0.2.7 port 53022" {
			t.Errorf("%s: read %s, %+v, %q, %t, %v", form.name, read.at.UTC(), certificate, what, is, err)
		}
	}
}

// entry is a line of journalctl, with other fields.
func entry(t *testing.T, other map[string]any) string {
	t.Helper()
	fields := map[string]any{"__REALTIME_TIMESTAMP": "1783062306250000", "_HOSTNAME": "web-1", "_COMM": "sshd", "_UID": "0", "MESSAGE": aLogin}
	for name, value := range other {
		fields[name] = value
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNothingThatSomebodyElseChoseCountsAsALogin(t *testing.T) {
	const head = "Jul  3 09:05:06 web-1 sshd[812]: "
	for name, line := range map[string]string{
		"a user's name":            head + "Invalid user x sshd[1]: " + aLogin + " from 192.0.2.66 port 1",
		"another program":          "Jul  3 09:05:06 web-1 evil[812]: sshd[1]: " + aLogin,
		"another authority's id":   head + aLogin + " (serial 7) CA ED25519 SHA256:AAAA",
		"no certificate":           head + "Accepted password for deploy from 192.0.2.7 port 53022 ssh2",
		"a journal of another":     entry(t, map[string]any{"_COMM": "logger", "SYSLOG_IDENTIFIER": "sshd"}),
		"a journal of a user":      entry(t, map[string]any{"_UID": "1000"}),
		"a journal that is binary": entry(t, map[string]any{"MESSAGE": []int{65, 99, 99}}),
	} {
		log := newLog(t, "UTC", time.Now(), line)
		read, err := log.read(logfile.Record{Text: []byte(line), Modified: time.Now()})
		if _, what, is := read.login(); err != nil || is {
			t.Errorf("%s counts as %q, %v", name, what, err)
		}
	}
	for _, line := range []string{"what is this", "{}", "{"} {
		log := newLog(t, "UTC", time.Now(), line)
		if _, err := log.read(logfile.Record{Text: []byte(line)}); countersign.ReasonOf(err) != "log-not-readable" {
			t.Errorf("%q is answered with %v", line, err)
		}
	}
}

func TestOnlyTheCertificateThatIsAskedForIsToldAndOnlyFromALogThatReaches(t *testing.T) {
	at := func(text string) time.Time {
		read, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	log := newLog(t, "UTC", at("2026-07-03T12:00:00Z"),
		"2026-07-03T08:00:00Z web-1 CRON[1]: pam_unix(cron:session): session opened",
		"2026-07-03T09:00:00Z web-1 sshd[2]: "+aLogin,
		"2026-07-03T12:00:00Z web-2 CRON[1]: pam_unix(cron:session): session opened")
	for _, ask := range []struct {
		name     string
		of       shown
		from, to string
		acts     int
		reason   string
	}{
		{"its own", aCertificate, "2026-07-03T08:30:00Z", "2026-07-03T11:00:00Z", 1, ""},
		{"another serial", shown{aCredential, aHolder, "43", anAuthority}, "2026-07-03T08:30:00Z", "2026-07-03T11:00:00Z", 0, ""},
		{"another authority", shown{aCredential, aHolder, "42", "SHA256:AAAA"}, "2026-07-03T08:30:00Z", "2026-07-03T11:00:00Z", 0, ""},
		{"before it begins", aCertificate, "2026-07-03T07:00:00Z", "2026-07-03T11:00:00Z", 1, "log-too-young"},
		{"after it ends", aCertificate, "2026-07-03T08:30:00Z", "2026-07-03T13:00:00Z", 1, "log-too-old"},
	} {
		acts := 0
		err := log.activity(t.Context(), ask.of, at(ask.from), at(ask.to), func(connector.Act) error { acts++; return nil })
		if acts != ask.acts || countersign.ReasonOf(err) != ask.reason {
			t.Errorf("%s: told %d, %v", ask.name, acts, err)
		}
	}
	if used, _, err := log.lastUsed(t.Context(), at("2026-07-03T12:30:00Z"), aCertificate); err != nil || used.Time() != at("2026-07-03T09:00:00Z") {
		t.Errorf("the last use was %s, %v", used, err)
	}
	if used, since, err := log.lastUsed(t.Context(), at("2026-07-03T12:30:00Z"), shown{}); err != nil || used != 0 || since.Time() != at("2026-07-03T08:00:00Z") {
		t.Errorf("what was not used may have been used until %s, %v", used, err)
	}
	if _, _, err := log.lastUsed(t.Context(), at("2026-07-03T14:00:00Z"), aCertificate); countersign.ReasonOf(err) != "log-too-old" {
		t.Errorf("an old log is answered with %v", err)
	}
}
