package cli

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/postgres"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/house"
)

// opener opens one configured connector of a house.
type opener func(house.Targets) (connector.Connector, error)

// connectorKind is what one kind of connector can be told. Prepare reads what
// the settings name and says what is wrong with it; it reaches no target.
type connectorKind interface {
	prepare(name string) (opener, error)
}

// connectorKinds is the list of kinds; each has keys of its own.
var connectorKinds = map[string]func() connectorKind{
	"acme":     func() connectorKind { return &acmeSettings{} },
	"exec":     func() connectorKind { return &execSettings{} },
	"ldap":     func() connectorKind { return &ldapSettings{MemberAttribute: "member"} },
	"openbao":  func() connectorKind { return &openbaoSettings{} },
	"pki":      func() connectorKind { return &pkiSettings{} },
	"postgres": func() connectorKind { return &postgresSettings{Gives: postgres.Membership} },
	"redis":    func() connectorKind { return &redisSettings{Persistence: redis.ACLFile} },
	"scim":     func() connectorKind { return &scimSettings{HolderAttribute: "externalId"} },
	"webhook":  func() connectorKind { return &webhookSettings{} },
}

// connectorSettings are the keys of one connector, of whichever kind.
type connectorSettings struct{ of connectorKind }

// UnmarshalYAML reads the kind first and then exactly that kind's keys.
func (s *connectorSettings) UnmarshalYAML(node *yaml.Node) error {
	var about struct {
		Kind string `yaml:"kind"`
	}
	if err := node.Decode(&about); err != nil {
		return err
	}
	kind, known := connectorKinds[about.Kind]
	if !known {
		return invalid("line %d: a connector has a kind, one of %s, not %q", node.Line, strings.Join(slices.Sorted(maps.Keys(connectorKinds)), ", "), about.Kind)
	}
	content, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	s.of = kind()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(s.of); err != nil {
		// The lines that it names are those of the part.
		text := regexp.MustCompile(`^unmarshal errors:|line \d+: | in type \S+`).ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "")
		return invalid("line %d: the connector of the kind %s: %s", node.Line, about.Kind, strings.Join(strings.Fields(text), " "))
	}
	return nil
}

var connectorName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// connectors prepares every configured connector, and returns what opens them.
func (c configuration) connectors() (func(house.Targets) (connector.Set, error), error) {
	openers := map[string]opener{}
	for _, name := range slices.Sorted(maps.Keys(c.Connectors)) {
		switch settings := c.Connectors[name]; {
		case slices.Contains([]string{"manual", "pki", "registry", "role", "ssh", "tools", "vault"}, name):
			return nil, invalid("the connector %s is built in: give yours another name", name)
		case !connectorName.MatchString(name):
			return nil, invalid("%q is not the name of a connector: write small letters, digits and hyphens", name)
		default:
			open, err := settings.of.prepare(name)
			if err != nil {
				return nil, err
			}
			openers[name] = open
		}
	}
	log, err := c.SSHLog.open()
	if err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Set, error) {
		set := connector.Set{}
		if log != nil {
			set["ssh"] = log(targets)
		}
		for name, open := range openers {
			hands, err := open(targets)
			if err != nil {
				return nil, err
			}
			set[name] = hands
		}
		return set, nil
	}, nil
}

// privateFile reads a secret from a file that only its owner can read.
func privateFile(path, what string) (countersign.Secret, error) {
	if path == "" {
		return countersign.Secret{}, invalid("%s is missing: name a file that only the house can read", what)
	}
	about, err := os.Stat(path)
	if err != nil {
		return countersign.Secret{}, invalid("%s cannot be read: %v", what, err)
	}
	if mode := about.Mode(); !mode.IsRegular() || mode.Perm() != 0o600 && mode.Perm() != 0o400 {
		return countersign.Secret{}, invalid("%s, %s, has the mode %04o; only its owner may read it: run chmod 600 %s", what, path, mode.Perm(), path)
	}
	return secretFile(path, what)
}

// authorities reads whose signature is good on a certificate from a file (PEM);
// nil, for "", is whom the system trusts.
func authorities(path, what string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(content) {
		return nil, invalid("%s, %s, holds no certificate that can be read", what, path)
	}
	return roots, nil
}

// trusting is a client that takes certificates of those authorities.
func trusting(path, what string) (*http.Client, error) {
	roots, err := authorities(path, what)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

// postgresSettings are the keys of the kind postgres.
type postgresSettings struct {
	Kind string `yaml:"kind"`
	// URLFile holds the URL of the connector's account, and nothing else.
	URLFile string `yaml:"url_file"`
	// Gives is membership (the default) or login.
	Gives postgres.Gives `yaml:"gives"`
	// Log names the files of the server's log, as jsonlog or csvlog writes it.
	Log string `yaml:"log"`
}

func (s *postgresSettings) prepare(name string) (opener, error) {
	if s.Gives != postgres.Membership && s.Gives != postgres.Login {
		return nil, invalid("connectors.%s.gives is %s or %s, not %q", name, postgres.Membership, postgres.Login, s.Gives)
	}
	url, err := privateFile(s.URLFile, "connectors."+name+".url_file")
	if err != nil {
		return nil, err
	}
	options := postgres.Options{Name: name, Gives: s.Gives, URL: url, Log: s.Log, Clock: clock{}, Random: rand.Reader}
	if _, err := postgres.New(options); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		options := options
		options.Vault = targets.Vault
		return postgres.New(options)
	}, nil
}
