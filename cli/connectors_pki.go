package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/acme"
	"github.com/countersign/countersign/connector/exec"
	"github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/house"
)

// deploySettings say what is done with a certificate once it is signed.
type deploySettings struct {
	// Deploy is the program that takes it to where it is used.
	Deploy *exec.Program `yaml:"deploy"`
	// Probe is where it must be seen then.
	Probe string `yaml:"probe"`
	// ProbeWithin is how long it may take to be seen.
	ProbeWithin string `yaml:"probe_within"`
}

func (s deploySettings) options(name string) (pki.Options, error) {
	options := pki.Options{Name: name, Probe: s.Probe}
	if s.ProbeWithin != "" {
		within, err := countersign.ParseSeconds(s.ProbeWithin)
		if err != nil {
			return options, invalid("connectors.%s.probe_within: %v", name, err)
		}
		options.Within = time.Duration(within) * time.Second
	}
	if s.Deploy != nil {
		var err error
		if options.Deploy, err = exec.NewCarrier(name+"/deploy", *s.Deploy); err != nil {
			return options, err
		}
	}
	return options, nil
}

// pkiSettings are the keys of the kind pki, whose certificates the built-in
// authority signs.
type pkiSettings struct {
	Kind           string `yaml:"kind"`
	deploySettings `yaml:",inline"`
}

func (s *pkiSettings) prepare(name string) (opener, error) {
	options, err := s.options(name)
	if err != nil {
		return nil, err
	}
	if _, err := pki.New(nil, options, clock{}); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		return pki.New(targets.PKI, options, clock{})
	}, nil
}

// acmeSettings are the keys of the kind acme, whose certificates an authority
// elsewhere signs.
type acmeSettings struct {
	Kind           string `yaml:"kind"`
	deploySettings `yaml:",inline"`
	// Directory is the authority's address.
	Directory string `yaml:"directory"`
	// AccountKeyFile holds the private key of the account there, PEM.
	AccountKeyFile string `yaml:"account_key_file"`
	// CAFile holds who signed the authority's own TLS certificate; "" is whom the
	// system trusts.
	CAFile string `yaml:"ca_file"`
	// Contact are addresses of whom the authority tells, as mailto:pki@example.org.
	Contact []string `yaml:"contact"`
	// Residual is how long verifiers may go by what they know of a revoked one.
	Residual string `yaml:"residual"`
}

// standardResidual is how long lists of the large public authorities are good for.
const standardResidual = 7 * countersign.Day

func (s *acmeSettings) prepare(name string) (opener, error) {
	deploying, err := s.options(name)
	if err != nil {
		return nil, err
	}
	options := acme.Options{Options: deploying, Directory: s.Directory, Contact: s.Contact, Residual: standardResidual}
	if address, err := url.Parse(s.Directory); err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil {
		return nil, invalid("connectors.%s.directory %q is not the https address of an ACME directory", name, s.Directory)
	}
	for _, contact := range s.Contact {
		if !strings.HasPrefix(contact, "mailto:") {
			return nil, invalid("connectors.%s.contact: write %q as mailto:pki@example.org", name, countersign.Clip(contact))
		}
	}
	if s.Residual != "" {
		if options.Residual, err = countersign.ParseSeconds(s.Residual); err != nil {
			return nil, invalid("connectors.%s.residual: %v", name, err)
		}
	}
	if options.Account, err = signingKey(s.AccountKeyFile, "connectors."+name+".account_key_file"); err != nil {
		return nil, err
	}
	if options.HTTP, err = trusting(s.CAFile, "connectors."+name+".ca_file"); err != nil {
		return nil, err
	}
	if _, err := acme.New(nil, options, clock{}); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		return acme.New(targets.PKI, options, clock{})
	}, nil
}

// signingKey reads a private key (PEM) from a file that only its owner can read.
func signingKey(path, what string) (crypto.Signer, error) {
	content, err := privateFile(path, what)
	if err != nil {
		return nil, err
	}
	unreadable := invalid("%s, %s, holds no private key for ECDSA or RSA in PEM: make one by openssl ecparam -name prime256v1 -genkey -noout", what, path)
	block, _ := pem.Decode([]byte(content.Reveal()))
	if block == nil {
		return nil, unreadable
	}
	var key any
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, unreadable
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		return key, nil
	}
	return nil, unreadable
}
