// Package ldaptest lends tests a real slapd in a folder of its own, with a
// directory of people and groups in it.
//
// It imports no room of the house but connectortest. Without slapd the test is
// skipped, and fails where the environment says CI=true.
package ldaptest

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connector/connectortest"
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
}

func program(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/slapd", "/usr/local/sbin/slapd", "/usr/local/libexec/slapd"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	const missing = "slapd is missing: scripts/install-test-tools installs it (Debian: apt-get install slapd)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// New starts one until the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	slapd := program(t)
	// A name that fits into the address of a socket.
	folder, err := os.MkdirTemp("", "slapd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	s := &Server{Socket: filepath.Join(folder, "s"), Roots: connectortest.Certificate(t, folder)}
	s.Plain = "ldap://127.0.0.1:" + connectortest.FreePort(t)
	s.Secure = "ldaps://127.0.0.1:" + connectortest.FreePort(t)
	config := fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
TLSCertificateFile %[1]s/server.crt
TLSCertificateKeyFile %[1]s/server.key
database mdb
suffix %[2]s
rootdn cn=root,%[2]s
rootpw root
directory %[1]s
dbnosync
index entryUUID,serialNumber,employeeNumber eq
access to attrs=userPassword by anonymous auth
access to dn.subtree="%[3]s" attrs=member by dn.exact="%[4]s" write by users read
access to dn.subtree="%[5]s" by dn.exact="%[4]s" write by users read
access to dn.subtree="ou=hidden,%[2]s" by * none
access to * by users read
`, folder, Suffix, Groups, Account, Marks)
	if err := os.WriteFile(filepath.Join(folder, "slapd.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(slapd, "-d", "0", "-f", filepath.Join(folder, "slapd.conf"), "-h", "ldapi://"+url.PathEscape(s.Socket)+" "+s.Plain+" "+s.Secure)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.Admin != nil {
			s.Admin.Close()
		}
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	// It listens within a moment; each try that fails takes one of its own.
	for range 500 {
		if s.Admin, err = goldap.DialURL("ldapi://" + s.Socket); err == nil {
			break
		}
		wait, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
		<-wait.Done()
		done()
	}
	if err != nil {
		t.Fatalf("slapd did not start: %v", err)
	}
	if err := s.Admin.Bind("cn=root,"+Suffix, "root"); err != nil {
		t.Fatal(err)
	}
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
	request := goldap.NewAddRequest(dn, nil)
	values := map[string][]string{"objectClass": {class}}
	for i := 0; i < len(attributes); i += 2 {
		values[attributes[i]] = append(values[attributes[i]], attributes[i+1])
	}
	for name, of := range values {
		request.Attribute(name, of)
	}
	if err := s.Admin.Add(request); err != nil {
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
