package cli

import (
	"crypto/rand"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/house"
)

// redisSettings are the keys of the kind redis.
type redisSettings struct {
	Kind string `yaml:"kind"`
	// URLFile holds the URL of the connector's user, and nothing else.
	URLFile string `yaml:"url_file"`
	// CAFile holds who signed the server's certificate; "" is whom the system trusts.
	CAFile string `yaml:"ca_file"`
	// Persistence is aclfile (the default) or none.
	Persistence redis.Persistence `yaml:"persistence"`
}

func (s *redisSettings) prepare(name string) (opener, error) {
	if s.Persistence != redis.ACLFile && s.Persistence != redis.None {
		return nil, invalid("connectors.%s.persistence is %s or %s, not %q", name, redis.ACLFile, redis.None, s.Persistence)
	}
	url, err := privateFile(s.URLFile, "connectors."+name+".url_file")
	if err != nil {
		return nil, err
	}
	roots, err := authorities(s.CAFile, "connectors."+name+".ca_file")
	if err != nil {
		return nil, err
	}
	options := redis.Options{Name: name, URL: url, Roots: roots, Persistence: s.Persistence, Clock: clock{}, Random: rand.Reader}
	if _, err := redis.New(options); err != nil {
		return nil, err
	}
	return func(targets house.Targets) (connector.Connector, error) {
		options := options
		options.Vault = targets.Vault
		return redis.New(options)
	}, nil
}
