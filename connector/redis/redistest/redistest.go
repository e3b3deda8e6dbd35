// Package redistest lends tests a real redis-server.
//
// It imports no room of the house but connectortest and servers. Without redis-server the test
// is skipped, and fails where the environment says CI=true.
package redistest

import (
	"context"
	"crypto/x509"
	"errors"
	"path/filepath"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/servers"
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
	server *servers.Redis
}

// New starts one until the test ends; keeps says that it has a file for its users.
func New(t testing.TB, keeps bool) *Server {
	t.Helper()
	folder, port := t.TempDir(), connectortest.FreePort(t)
	s := &Server{Secure: "127.0.0.1:" + port, Roots: connectortest.Certificate(t, folder), t: t}
	started, err := servers.StartRedis(servers.RedisConfig{
		Users: "user " + Account + " on >" + AccountPassword + " +acl|getuser +acl|setuser +acl|deluser +acl|users +acl|save +acl|cat +acl|dryrun +command|info\n", Keeps: keeps,
		More: "bind 127.0.0.1\ntls-port " + port + "\ntls-cert-file " + filepath.Join(folder, "server.crt") + "\ntls-key-file " + filepath.Join(folder, "server.key") +
			"\ntls-ca-cert-file " + filepath.Join(folder, "server.crt") + "\ntls-auth-clients no\n",
	})
	s.server = connectortest.Started(t, started, err)
	s.Socket = s.server.Socket
	s.signIn()
	t.Cleanup(func() { s.Admin.Close() })
	return s
}

// signIn is the administrator on a server that has just started.
func (s *Server) signIn() {
	s.t.Helper()
	s.Admin = s.Open(servers.Root, servers.Root)
	for _, key := range []string{"orders:1", "audit:1"} {
		if err := s.Admin.Set(context.Background(), key, "one", 0).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Restart kills the server, which has nothing to lose that is not in its files, and
// starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Admin.Close()
	if err := errors.Join(s.server.Stop(), s.server.Start()); err != nil {
		s.t.Fatal(err)
	}
	s.signIn()
}

// Open is one connection.
func (s *Server) Open(user, password string) *goredis.Client { return s.server.Open(user, password) }
