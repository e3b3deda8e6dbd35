package connector

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Set holds the connectors of a house by name.
type Set map[string]Connector

// Find returns the connector with the name, or an error that says which there are.
func (s Set) Find(name string) (Connector, error) {
	if known, ok := s[name]; ok {
		return known, nil
	}
	return nil, countersign.Errorf(countersign.Invalid, "no-such-connector", "there is no connector %q; this house has %s", name, strings.Join(slices.Sorted(maps.Keys(s)), ", "))
}
