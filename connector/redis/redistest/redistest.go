// Package redistest lends tests a real redis-server in a folder of its own.
//
// It imports no room of the house but connectortest. Without redis-server the test
// is skipped, and fails where the environment says CI=true.
package redistest

import (
	"context"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/connector/connectortest"
)

// Account is the connector's user.
const Account, AccountPassword = "hands", "hands-of-the-house"

// Server is one redis-server, with a key for each right of the tests.
type Server struct {
	// Socket is where it listens; Secure is host:port for TLS.
	Socket, Secure string
	// Roots trusts its certificate.
	Roots *x509.CertPool
	// Admin may do everything, and is another one after each start.
	Admin *goredis.Client

	t      testing.TB
	folder string
	run    *exec.Cmd
}

func program(t testing.TB) string {
	t.Helper()
	found, err := exec.LookPath("redis-server")
	if err == nil {
		return found
	}
	const missing = "redis-server is missing: scripts/install-test-tools installs it (Debian: apt-get install redis-server)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// New starts one until the test ends; keeps says that it has a file for its users.
func New(t testing.TB, keeps bool) *Server {
	t.Helper()
	program(t)
	// A name that fits into the address of a socket.
	folder, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	port := connectortest.FreePort(t)
	s := &Server{Socket: filepath.Join(folder, "s"), Secure: "127.0.0.1:" + port, Roots: connectortest.Certificate(t, folder), t: t, folder: folder}
	users := "user default off\nuser root on >root ~* &* +@all\nuser " + Account + " on >" + AccountPassword +
		" +acl|getuser +acl|setuser +acl|deluser +acl|users +acl|save +acl|cat +acl|dryrun +command|info\n"
	config := "port 0\nunixsocket " + s.Socket + "\nsave \"\"\ndir " + folder + "\nbind 127.0.0.1\ntls-port " + port +
		"\ntls-cert-file " + filepath.Join(folder, "server.crt") + "\ntls-key-file " + filepath.Join(folder, "server.key") + "\ntls-ca-cert-file " + filepath.Join(folder, "server.crt") + "\ntls-auth-clients no\n"
	if keeps {
		config += "aclfile " + filepath.Join(folder, "users.acl") + "\n"
		s.write("users.acl", users)
	} else {
		config += users
	}
	s.write("redis.conf", config)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start returns when the server answers its administrator.
func (s *Server) Start() {
	s.t.Helper()
	os.Remove(s.Socket)
	s.run = exec.Command(program(s.t), filepath.Join(s.folder, "redis.conf"))
	if err := s.run.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.Admin = s.Open("root", "root", 200)
	if err := s.Admin.Ping(context.Background()).Err(); err != nil {
		s.t.Fatalf("redis-server did not start: %v", err)
	}
	for _, key := range []string{"orders:1", "audit:1"} {
		if err := s.Admin.Set(context.Background(), key, "one", 0).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Stop ends the server at once: it has nothing to lose that is not in its files.
func (s *Server) Stop() {
	s.Admin.Close()
	_ = s.run.Process.Kill()
	_ = s.run.Wait()
}

// Open is one connection, that tries so often.
func (s *Server) Open(user, password string, tries int) *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Network: "unix", Addr: s.Socket, Username: user, Password: password, PoolSize: 1, MaxRetries: tries,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 50 * time.Millisecond, DisableIdentity: true,
	})
}
