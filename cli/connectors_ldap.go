package cli

import (
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/house"
)

// ldapSettings are the keys of the kind ldap.
type ldapSettings struct {
	Kind     string `yaml:"kind"`
	URL      string `yaml:"url"`
	StartTLS bool   `yaml:"start_tls"`
	// CAFile holds who signed the server's certificate; "" is whom the system trusts.
	CAFile string `yaml:"ca_file"`
	// BindDN is the connector's account, whose password is all that PasswordFile holds.
	BindDN       string `yaml:"bind_dn"`
	PasswordFile string `yaml:"password_file"`
	// People, Groups and Marks are the DNs of subtrees.
	People          string `yaml:"people"`
	Groups          string `yaml:"groups"`
	Marks           string `yaml:"marks"`
	HolderAttribute string `yaml:"holder_attribute"`
	MemberAttribute string `yaml:"member_attribute"`
}

func (s *ldapSettings) prepare(name string) (opener, error) {
	options := ldap.Options{
		Name: name, URL: s.URL, StartTLS: s.StartTLS, BindDN: s.BindDN, People: s.People, Groups: s.Groups, Marks: s.Marks,
		HolderAttribute: s.HolderAttribute, MemberAttribute: s.MemberAttribute, Clock: clock{},
	}
	var err error
	if options.Roots, err = authorities(s.CAFile, "connectors."+name+".ca_file"); err != nil {
		return nil, err
	}
	if s.BindDN != "" || s.PasswordFile != "" {
		if options.Password, err = privateFile(s.PasswordFile, "connectors."+name+".password_file"); err != nil {
			return nil, err
		}
	}
	if _, err := ldap.New(options); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		options := options
		options.Vault = targets.Vault
		return ldap.New(options)
	}, nil
}
