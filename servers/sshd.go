package servers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHD is an OpenSSH server on loopback, that trusts one authority and lets one
// principal in, as the account of this process.
type SSHD struct {
	*process
	// Address is where it listens, Account who comes in.
	Address, Account string
}

const noSSHD = "sshd is not installed: apt-get install openssh-server"

func findSSHD() (program, keygen string, err error) {
	if program, err = found(noSSHD, "/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"); err != nil {
		return "", "", err
	}
	keygen, err = found(noSSHD, "ssh-keygen")
	return program, keygen, err
}

// FindSSHD returns a *Missing where StartSSHD would.
func FindSSHD() error {
	_, _, err := findSSHD()
	return err
}

// StartSSHD starts a server. Trusted is the public key of the authority, revoked its
// list of revoked certificates. told hears each line of its log; nil for nobody.
// Without its programs the error is a *Missing.
func StartSSHD(trusted []byte, principal string, revoked []byte, told func(line string)) (*SSHD, error) {
	program, keygen, err := findSSHD()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if me.Uid == "0" {
		// The folder that sshd locks its unprivileged half into; no file is ever in it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	folder, err := newFolder("sshd")
	if err != nil {
		return nil, err
	}
	s := &SSHD{process: &process{folder: folder}, Account: me.Username}
	if err := s.prepare(keygen, trusted, principal, revoked); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if s.process, err = start(folder, told, s.listens, program, "-D", "-e", "-f", filepath.Join(folder, "config")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

func (s *SSHD) prepare(keygen string, trusted []byte, principal string, revoked []byte) error {
	if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.folder, "host")).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Address = free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(s.Address)
	config := fmt.Sprintf(`
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
`, port, s.folder)
	for name, content := range map[string][]byte{"trusted": trusted, "principals": []byte(principal + "\n"), "config": []byte(config)} {
		if err := os.WriteFile(filepath.Join(s.folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return s.Revoked(revoked)
}

func (s *SSHD) listens() error {
	connection, err := net.DialTimeout("tcp", s.Address, time.Second)
	if err == nil {
		connection.Close()
	}
	return err
}

// Revoked puts a list of revoked certificates in the place of the one before, in one
// step.
func (s *SSHD) Revoked(list []byte) error {
	next := filepath.Join(s.folder, "krl.next")
	if err := os.WriteFile(next, list, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(s.folder, "krl"))
}

// Said is what the server has said so far.
func (s *SSHD) Said() string { return s.said.String() }

// Login signs in with a certificate, and returns what the account's shell says to a
// command, or why nobody was let in.
func (s *SSHD) Login(key ssh.Signer, shown *ssh.Certificate, command string) (string, error) {
	signer, err := ssh.NewCertSigner(shown, key)
	if err != nil {
		return "", err
	}
	client, err := ssh.Dial("tcp", s.Address, &ssh.ClientConfig{
		User: s.Account, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.Output(command)
	return strings.TrimSpace(string(out)), err
}

// Close ends the server and removes its folder.
func (s *SSHD) Close() error { return s.close() }
