package cli

import (
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/exec"
	"github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/house"
)

// pkiSettings are the keys of the kind pki: what is done with a certificate once
// the built-in authority has signed it.
type pkiSettings struct {
	Kind string `yaml:"kind"`
	// Deploy is the program that takes it to where it is used.
	Deploy *exec.Program `yaml:"deploy"`
	// Probe is where it must be seen then.
	Probe string `yaml:"probe"`
	// ProbeWithin is how long it may take to be seen.
	ProbeWithin string `yaml:"probe_within"`
}

func (s *pkiSettings) prepare(name string) (opener, error) {
	options := pki.Options{Name: name, Probe: s.Probe}
	if s.ProbeWithin != "" {
		within, err := countersign.ParseSeconds(s.ProbeWithin)
		if err != nil {
			return nil, invalid("connectors.%s.probe_within: %v", name, err)
		}
		options.Within = time.Duration(within) * time.Second
	}
	if s.Deploy != nil {
		var err error
		if options.Deploy, err = exec.NewCarrier(name+"/deploy", *s.Deploy); err != nil {
			return nil, err
		}
	}
	if _, err := pki.New(nil, options, clock{}); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		return pki.New(targets.PKI, options, clock{})
	}, nil
}
