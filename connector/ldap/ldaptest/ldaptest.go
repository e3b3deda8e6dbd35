// Package ldaptest lends tests a real slapd, with a directory of people and groups
// in it.
//
// It imports no room of the house but connectortest and servers. Without slapd the test is
// skipped, and fails where the environment says CI=true.
package ldaptest

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/servers"
)

// What the directory has. Account is the connector's, and Nobody is a member of
// every group, which cannot be empty.
const (
	Suffix          = "dc=example,dc=org"
	People          = "ou=people," + Suffix
	Groups          = "ou=groups," + Suffix
	Marks           = "ou=countersign," + Suffix
	Account         = "cn=hands," + Suffix
	AccountPassword = "hands-of-the-house"
	Nobody          = "cn=first," + Suffix
)

// Server is one slapd.
type Server struct {
	// Socket is where it listens; Plain and Secure are ldap:// and ldaps://.
	Socket, Plain, Secure string
	// Roots trusts its certificate.
	Roots *x509.CertPool
	// Admin may do everything.
	Admin *goldap.Conn

	server *servers.Slapd
}

// New starts one until the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	folder := t.TempDir()
	s := &Server{Roots: connectortest.Certificate(t, folder), Plain: "ldap://127.0.0.1:" + connectortest.FreePort(t), Secure: "ldaps://127.0.0.1:" + connectortest.FreePort(t)}
	started, err := servers.StartSlapd(servers.SlapdConfig{
		Suffix: Suffix, Listen: []string{s.Plain, s.Secure},
		TLS: "TLSCertificateFile " + filepath.Join(folder, "server.crt") + "\nTLSCertificateKeyFile " + filepath.Join(folder, "server.key"),
		Access: fmt.Sprintf(`
access to dn.subtree="%[1]s" attrs=member by dn.exact="%[2]s" write by users read
access to dn.subtree="%[3]s" by dn.exact="%[2]s" write by users read
access to dn.subtree="ou=hidden,%[4]s" by * none`, Groups, Account, Marks, Suffix),
	})
	s.server = connectortest.Started(t, started, err)
	s.Socket, s.Admin = s.server.Socket, s.server.Root
	s.Add(t, Suffix, "organization", "dc", "example", "o", "Example", "objectClass", "dcObject")
	for _, unit := range []string{People, Groups, Marks, "ou=invoices," + Groups, "ou=ledger," + Groups} {
		s.Add(t, unit, "organizationalUnit")
	}
	s.Add(t, Account, "person", "sn", "Hands", "userPassword", AccountPassword)
	s.Add(t, Nobody, "person", "sn", "First")
	for _, group := range []string{"reader", "auditor", "admin"} {
		s.Add(t, GroupDN(group), "groupOfNames", "member", Nobody)
	}
	s.Add(t, "cn=reader,ou=ledger,"+Groups, "groupOfNames", "member", Nobody)
	return s
}

// GroupDN is the group for an entitlement on invoices.
func GroupDN(name string) string { return "cn=" + name + ",ou=invoices," + Groups }

// Add makes an entry by hand, with attributes as name and value.
func (s *Server) Add(t testing.TB, dn, class string, attributes ...string) {
	t.Helper()
	if err := s.server.Add(dn, class, attributes...); err != nil {
		t.Fatal(err)
	}
}

// Member says whether the person is a member of the group, by their names.
func (s *Server) Member(t testing.TB, group, person string) bool {
	t.Helper()
	is, err := s.Admin.Compare(group, "member", person)
	if err != nil {
		t.Fatal(err)
	}
	return is
}
