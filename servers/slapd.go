package servers

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

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

// SlapdConfig is how a server is made.
type SlapdConfig struct {
	// Suffix is where its directory begins, which is empty.
	Suffix string
	// Access are lines of slapd.conf that say who may do what; TLS those that name its
	// certificate.
	Access, TLS string
	// Listen are further addresses, as ldap://127.0.0.1:3890.
	Listen []string
}

// StartSlapd starts a server. Without its program the error is a *Missing.
func StartSlapd(how SlapdConfig) (*Slapd, error) {
	program, err := found("slapd is not installed: apt-get install slapd", "/usr/sbin/slapd", "/usr/local/sbin/slapd", "/usr/local/libexec/slapd")
	if err != nil {
		return nil, err
	}
	folder, err := newFolder("slapd")
	if err != nil {
		return nil, err
	}
	s := &Slapd{Socket: filepath.Join(folder, "s"), Suffix: how.Suffix}
	s.URL = "ldapi://" + url.PathEscape(s.Socket)
	config := fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
%[4]s
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
`, folder, how.Suffix, how.Access, how.TLS)
	if err := os.WriteFile(filepath.Join(folder, "slapd.conf"), []byte(config), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	answers := func() (err error) {
		s.Root, err = ldap.DialURL("ldapi://" + s.Socket)
		return err
	}
	if s.process, err = start(folder, nil, answers, program, "-d", "0", "-f", filepath.Join(folder, "slapd.conf"), "-h", strings.Join(append([]string{s.URL}, how.Listen...), " ")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := s.Root.Bind("cn=root,"+how.Suffix, "root"); err != nil {
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
