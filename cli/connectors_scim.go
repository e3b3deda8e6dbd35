package cli

import (
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/scim"
	"github.com/countersign/countersign/house"
)

// scimSettings are the keys of the kind scim.
type scimSettings struct {
	Kind string `yaml:"kind"`
	// URL is where /Users and /Groups stand below.
	URL string `yaml:"url"`
	// TokenFile holds the bearer token, and nothing else.
	TokenFile string `yaml:"token_file"`
	// CAFile holds who signed the server's certificate; "" is whom the system trusts.
	CAFile          string `yaml:"ca_file"`
	HolderAttribute string `yaml:"holder_attribute"`
}

func (s *scimSettings) prepare(name string) (opener, error) {
	options := scim.Options{Name: name, URL: s.URL, HolderAttribute: s.HolderAttribute, Clock: clock{}}
	var err error
	if options.Token, err = privateFile(s.TokenFile, "connectors."+name+".token_file"); err != nil {
		return nil, err
	}
	if options.HTTP, err = trusting(s.CAFile, "connectors."+name+".ca_file"); err != nil {
		return nil, err
	}
	if _, err := scim.New(options); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		options := options
		options.Marks = targets.SCIM
		return scim.New(options)
	}, nil
}
