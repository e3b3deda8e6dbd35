package ssh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/ssh"
	"github.com/countersign/countersign/servers"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
)

// host is a real sshd that trusts the authority of one system and lets one principal
// in. It writes the log that its syslog would.
type host struct {
	*testing.T
	server    *servers.SSHD
	log       string
	authority *pki.Authority
	system    countersign.SystemID
}

// newHost starts it. The authority's certificate must have been made already.
func newHost(t *testing.T, authority *pki.Authority, system countersign.SystemID, principal string) *host {
	t.Helper()
	h := &host{T: t, log: filepath.Join(t.TempDir(), "auth.log"), authority: authority, system: system}
	trusted, err := authority.AuthorityKey(t.Context(), system)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	server, err := servers.StartSSHD(trusted, principal, h.list(), func(line string) {
		fmt.Fprintf(log, "%s web-1 sshd[1]: %s\n", time.Now().Format(time.RFC3339Nano), line)
	})
	h.server = connectortest.Started(t, server, err)
	return h
}

func (h *host) list() []byte {
	h.Helper()
	krl, err := h.authority.KRL(h.Context(), h.system)
	if err != nil {
		h.Fatal(err)
	}
	return krl
}

// fetch is what a timer on the host does.
func (h *host) fetch() {
	h.Helper()
	if err := h.server.Revoked(h.list()); err != nil {
		h.Fatal(err)
	}
}

func TestAHostLetsTheCertificateInUntilItIsRevokedHeldOrEnded(t *testing.T) {
	clock, keeper, stops := connectortest.NewClock(), &holder{}, target.NewStops()
	authority := newAuthority(t, shelftest.New(pki.ShelfName), stops, clock)
	// sshd has the time of this machine.
	clock.Advance(time.Since(clock.Now()))
	made := &asking{hands.New(authority, clock, nil), t, keeper}
	mint := countersign.NewMint([32]byte{8}, clock.Instant())
	system := mint.System()
	task := func(entitlement string) connector.Task {
		task := connectortest.NewTask(mint, clock.Instant(), "certify")
		task.System, task.SystemName, task.Resource, task.Entitlement = system, "hosts", "web-1", entitlement
		if err := made.Apply(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		return task
	}
	mine, another, reader := task("deploy"), task("deploy"), task("reader")
	clock.Advance(-2 * time.Hour)
	ended := task("deploy")
	clock.Advance(2 * time.Hour)
	server := newHost(t, authority, system, "hosts/web-1/deploy")
	expect := func(say string, task connector.Task, in bool) {
		t.Helper()
		out, err := server.server.Login(keeper.signer(t, task.Credential), certificate(t, authority, task), "echo inside")
		if in != (err == nil && out == "inside") {
			t.Errorf("%s: got %q, %v; sshd says\n%s", say, out, err, server.server.Said())
		}
	}
	// Instants are whole milliseconds, and the log has begun in this one, perhaps.
	began := countersign.InstantOf(time.Now().Add(time.Millisecond))
	expect("a certificate", mine, true)
	expect("another one", another, true)
	expect("a certificate for another right", reader, false)
	expect("one that has ended", ended, false)
	if said := server.server.Said(); !strings.Contains(said, "expired") || !strings.Contains(said, string(mine.Credential)+" for "+string(mine.Holder)) {
		t.Errorf("the log of the host does not say who came in, or why not:\n%s", said)
	}

	if err := made.Revoke(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	server.fetch()
	over := countersign.InstantOf(time.Now())
	expect("the revoked one", mine, false)
	expect("the other one", another, true)
	if reading, err := made.VerifyGone(t.Context(), mine); err != nil || reading.Present {
		t.Errorf("the read-back is %+v, %v", reading, err)
	}

	held, err := target.ParseID(another.Holder)
	if err != nil {
		t.Fatal(err)
	}
	stops.Stop(held, target.Held)
	server.fetch()
	expect("while held", another, false)
	stops.Lift(held, target.Held)
	server.fetch()
	expect("after the hold", another, true)

	log, err := hands.OpenLog(server.log+"*", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	logged := hands.New(authority, clock, log)
	told := func(task connector.Task) (logins int) {
		t.Helper()
		_, err := logged.Activity(t.Context(), connector.Use{Credential: task.Credential, Holder: task.Holder, From: began, To: over}, func(act connector.Act) error {
			if logins++; !strings.Contains(act.What, "login as "+server.server.Account+" on web-1, from 127.0.0.1") || act.At < began {
				t.Errorf("the log tells %s, %q", act.At, act.What)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%v; sshd says\n%s", err, server.server.Said())
		}
		return logins
	}
	if of, other, none := told(mine), told(another), told(ended); of != 1 || other != 3 || none != 0 {
		t.Errorf("the log tells of %d, %d and %d logins; they were 1, 3 and 0", of, other, none)
	}
	clock.Advance(time.Since(clock.Now()))
	if used, err := logged.LastUsed(t.Context(), mine.Credential); err != nil || used < began || used > over {
		t.Errorf("the last use was %s, %v", used, err)
	}
}
