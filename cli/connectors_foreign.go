package cli

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/exec"
	"github.com/countersign/countersign/connector/webhook"
	"github.com/countersign/countersign/connector/wire"
	"github.com/countersign/countersign/house"
)

// asked is a kind of connector that can ask its target what the configuration
// claims of it.
type asked interface {
	connectorKind
	// ask returns what is not as configured, or why the target does not answer.
	ask(ctx context.Context, name string) error
}

// execSettings are the keys of the kind exec.
type execSettings struct {
	Kind          string `yaml:"kind"`
	exec.Settings `yaml:",inline"`
}

func (s *execSettings) hands(name string) (wire.Hands, error) {
	return exec.New(name, s.Settings, clock{})
}

func (s *execSettings) ask(ctx context.Context, name string) error {
	return heard(ctx)(s.hands(name))
}

func (s *execSettings) prepare(name string) (opener, error) { return opened(s.hands(name)) }

// webhookSettings are the keys of the kind webhook.
type webhookSettings struct {
	Kind             string `yaml:"kind"`
	webhook.Settings `yaml:",inline"`
}

func (s *webhookSettings) hands(name string) (wire.Hands, error) {
	secret, err := privateFile(s.SecretFile, "connectors."+name+".secret_file")
	if err != nil {
		return nil, err
	}
	return webhook.New(name, s.Settings, secret, nil, clock{})
}

func (s *webhookSettings) ask(ctx context.Context, name string) error {
	return heard(ctx)(s.hands(name))
}

func (s *webhookSettings) prepare(name string) (opener, error) { return opened(s.hands(name)) }

// opened is the opener of a connector that needs nothing of the house.
func opened(hands wire.Hands, err error) (opener, error) {
	if err != nil {
		return nil, err
	}
	return func(house.Targets) (connector.Connector, error) { return hands, nil }, nil
}

// heard asks the program behind a connector what it says of itself.
func heard(ctx context.Context) func(wire.Hands, error) error {
	return func(hands wire.Hands, err error) error {
		if err != nil {
			return err
		}
		return hands.Check(ctx)
	}
}

// askConnectors asks whatever can be asked behind a connector, and returns how that
// differs from the configuration, or why it does not answer.
func (c configuration) askConnectors(ctx context.Context) error {
	var wrong error
	for _, name := range slices.Sorted(maps.Keys(c.Connectors)) {
		if kind, is := c.Connectors[name].of.(asked); is {
			wrong = errors.Join(wrong, kind.ask(ctx, name))
		}
	}
	return wrong
}
