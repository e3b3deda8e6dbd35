package cli

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/openbao"
	"github.com/countersign/countersign/house"
)

// openbaoSettings are the keys of the kind openbao.
type openbaoSettings struct {
	Kind      string        `yaml:"kind"`
	Gives     openbao.Gives `yaml:"gives"`
	Address   string        `yaml:"address"`
	Namespace string        `yaml:"namespace"`
	// CAFile holds who signed the server's certificate; "" is whom the system trusts.
	CAFile string `yaml:"ca_file"`
	// TokenFile holds the connector's token, and is read for each operation.
	TokenFile string `yaml:"token_file"`
	// TokenRole is the role of the tokens that ask for leases.
	TokenRole string `yaml:"token_role"`
	// Residual is how long tokens live that were signed in with a secret id.
	Residual string `yaml:"residual"`
}

func (s *openbaoSettings) options(name string) (openbao.Options, error) {
	options := openbao.Options{Name: name, Gives: s.Gives, Address: s.Address, Namespace: s.Namespace, TokenRole: s.TokenRole, Clock: clock{}}
	options.Token = func() (countersign.Secret, error) {
		return privateFile(s.TokenFile, "connectors."+name+".token_file")
	}
	if _, err := options.Token(); err != nil {
		return options, err
	}
	var err error
	if s.Residual != "" {
		if options.Residual, err = countersign.ParseSeconds(s.Residual); err != nil {
			return options, invalid("connectors.%s.residual: %v", name, err)
		}
	}
	client, err := trusting(s.CAFile, "connectors."+name+".ca_file")
	if err != nil {
		return options, err
	}
	// How long it waits is the connector's own to say.
	options.Transport = client.Transport
	return options, nil
}

func (s *openbaoSettings) prepare(name string) (opener, error) {
	options, err := s.options(name)
	if err != nil {
		return nil, err
	}
	if _, err := openbao.New(options); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		options := options
		options.Vault = targets.Vault
		return openbao.New(options)
	}, nil
}

// ask has the server say what the connector's token is and may.
func (s *openbaoSettings) ask(ctx context.Context, name string) error {
	options, err := s.options(name)
	if err != nil {
		return err
	}
	hands, err := openbao.New(options)
	if err != nil {
		return err
	}
	return hands.Check(ctx)
}
