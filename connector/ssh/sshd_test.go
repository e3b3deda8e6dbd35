package ssh_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/ssh"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
)

// host is a real sshd on loopback, that trusts the authority of one system and
// lets one principal in as the account of the test.
type host struct {
	*testing.T
	folder, address, account string
	authority                *pki.Authority
	system                   countersign.SystemID

	lock sync.Mutex
	log  strings.Builder
}

func daemon(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	const missing = "OpenSSH's sshd is missing: scripts/install-test-tools installs it (Debian: apt-get install openssh-server)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// newHost starts it. The authority's certificate must have been made already.
func newHost(t *testing.T, authority *pki.Authority, system countersign.SystemID, principal string) *host {
	t.Helper()
	program := daemon(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, folder: t.TempDir(), account: me.Username, authority: authority, system: system}
	if me.Uid == "0" {
		// The folder that sshd locks its unprivileged half into; no file is ever in it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(h.folder, "host"))
	trusted, err := authority.AuthorityKey(t.Context(), system)
	h.write("trusted", trusted, err)
	h.write("principals", []byte(principal+"\n"), nil)
	h.fetch()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(h.address)
	h.write("config", fmt.Appendf(nil, `
ListenAddress 127.0.0.1
Port %s
HostKey %[2]s/host
PidFile none
TrustedUserCAKeys %[2]s/trusted
RevokedKeys %[2]s/krl
AuthorizedPrincipalsFile %[2]s/principals
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
LogLevel VERBOSE
`, port, h.folder), nil)
	server := exec.Command(program, "-D", "-e", "-f", filepath.Join(h.folder, "config"))
	output, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	syslog, err := os.Create(filepath.Join(h.folder, "auth.log"))
	if err != nil {
		t.Fatal(err)
	}
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		told := false
		for lines := bufio.NewScanner(output); lines.Scan(); {
			h.lock.Lock()
			h.log.WriteString(lines.Text() + "\n")
			// As the host's syslog writes what it is told.
			fmt.Fprintf(syslog, "%s web-1 sshd[%d]: %s\n", time.Now().Format(time.RFC3339Nano), server.Process.Pid, strings.TrimRight(lines.Text(), "\r"))
			h.lock.Unlock()
			if !told && strings.Contains(lines.Text(), "Server listening") {
				told = true
				close(listening)
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		_ = server.Wait()
		syslog.Close()
	})
	select {
	case <-listening:
	case <-ended:
		t.Fatalf("sshd does not start:\n%s", h.said())
	}
	return h
}

func (h *host) run(program string, arguments ...string) {
	h.Helper()
	if out, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		h.Fatalf("%s: %v: %s", program, err, out)
	}
}

func (h *host) write(name string, content []byte, err error) {
	h.Helper()
	if err == nil {
		err = os.WriteFile(filepath.Join(h.folder, name), content, 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
}

// fetch is what a timer on the host does.
func (h *host) fetch() {
	h.Helper()
	krl, err := h.authority.KRL(h.Context(), h.system)
	h.write("krl", krl, err)
}

func (h *host) said() string {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.log.String()
}

// login returns what the account's shell says, or why nobody was let in.
func (h *host) login(key ssh.Signer, shown *ssh.Certificate) (string, error) {
	h.Helper()
	signer, err := ssh.NewCertSigner(shown, key)
	if err != nil {
		h.Fatal(err)
	}
	client, err := ssh.Dial("tcp", h.address, &ssh.ClientConfig{
		User: h.account, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.Output("echo inside")
	return strings.TrimSpace(string(out)), err
}

func TestAHostLetsTheCertificateInUntilItIsRevokedHeldOrEnded(t *testing.T) {
	daemon(t)
	clock, keeper, stops := connectortest.NewClock(), &holder{}, target.NewStops()
	authority := newAuthority(t, shelftest.New(pki.ShelfName), stops, clock)
	// sshd has the time of this machine.
	clock.Advance(time.Since(clock.Now()))
	made := &asking{hands.New(authority, clock, nil), t, keeper}
	mint := countersign.NewMint([32]byte{8}, clock.Instant())
	system := mint.System()
	task := func(entitlement string) connector.Task {
		now := clock.Instant()
		task := connector.Task{
			Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "certify", Holder: mint.Identity(), HolderName: "Alex Kim",
			System: system, SystemName: "hosts", Resource: "web-1", Entitlement: entitlement, EntitlementID: mint.Entitlement(),
			Until: now.Add(countersign.Hour), Deadline: now.Add(countersign.Minute),
		}
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
		out, err := server.login(keeper.signer(t, task.Credential), certificate(t, authority, task))
		if in != (err == nil && out == "inside") {
			t.Errorf("%s: got %q, %v; sshd says\n%s", say, out, err, server.said())
		}
	}
	// Instants are whole milliseconds, and the log has begun in this one, perhaps.
	began := countersign.InstantOf(time.Now().Add(time.Millisecond))
	expect("a certificate", mine, true)
	expect("another one", another, true)
	expect("a certificate for another right", reader, false)
	expect("one that has ended", ended, false)
	if said := server.said(); !strings.Contains(said, "expired") || !strings.Contains(said, string(mine.Credential)+" for "+string(mine.Holder)) {
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

	log, err := hands.OpenLog(filepath.Join(server.folder, "auth.log*"), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	logged := hands.New(authority, clock, log)
	told := func(task connector.Task) (logins int) {
		t.Helper()
		_, err := logged.Activity(t.Context(), connector.Use{Credential: task.Credential, Holder: task.Holder, From: began, To: over}, func(act connector.Act) error {
			if logins++; !strings.Contains(act.What, "login as "+server.account+" on web-1, from 127.0.0.1") || act.At < began {
				t.Errorf("the log tells %s, %q", act.At, act.What)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%v; sshd says\n%s", err, server.said())
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
