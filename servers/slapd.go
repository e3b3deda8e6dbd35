package servers

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/go-ldap/ldap/v3"
)

// Slapd is an LDAP server that listens on a socket alone.
type Slapd struct {
	*process
	// URL is where it listens, and Socket its file.
	URL, Socket string
	// Suffix is where its directory begins.
	Suffix string
	// Root is a session of who may do everything.
	Root *ldap.Conn
}

// StartSlapd starts a server with an empty directory under the suffix. access are
// lines of slapd.conf that say who may do what. Without its program the error is a
// *Missing.
func StartSlapd(suffix, access string) (*Slapd, error) {
	program, err := found("slapd is not installed: apt-get install slapd", "/usr/sbin/slapd", "/usr/local/sbin/slapd", "/usr/local/libexec/slapd")
	if err != nil {
		return nil, err
	}
	folder, err := newFolder("slapd")
	if err != nil {
		return nil, err
	}
	s := &Slapd{Socket: filepath.Join(folder, "s"), Suffix: suffix}
	s.URL = "ldapi://" + url.PathEscape(s.Socket)
	config := fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
database mdb
suffix %[2]s
rootdn cn=root,%[2]s
rootpw root
directory %[1]s
dbnosync
index entryUUID,serialNumber,employeeNumber eq
access to attrs=userPassword by anonymous auth
%[3]s
access to * by users read
`, folder, suffix, access)
	if err := os.WriteFile(filepath.Join(folder, "slapd.conf"), []byte(config), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	answers := func() (err error) {
		s.Root, err = ldap.DialURL("ldapi://" + s.Socket)
		return err
	}
	if s.process, err = start(folder, nil, answers, program, "-d", "0", "-f", filepath.Join(folder, "slapd.conf"), "-h", s.URL); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.Root.Bind("cn=root,"+suffix, "root"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Add makes an entry of one class; attributes are names and values in turn.
func (s *Slapd) Add(dn, class string, attributes ...string) error {
	request := ldap.NewAddRequest(dn, nil)
	values := map[string][]string{"objectClass": {class}}
	for i := 0; i < len(attributes); i += 2 {
		values[attributes[i]] = append(values[attributes[i]], attributes[i+1])
	}
	for name, of := range values {
		request.Attribute(name, of)
	}
	return s.Root.Add(request)
}

// Close ends the server and removes its folder.
func (s *Slapd) Close() error {
	// The session ends with the server.
	_ = s.Root.Close()
	return s.close()
}
