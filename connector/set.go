package connector

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Set holds the connectors of a house by name.
type Set map[string]Connector

// Planners holds everything that access is carried out by, people among it.
type Planners map[string]Planner

// Find returns the connector with the name, or an error that says which there are.
func (s Set) Find(name string) (Connector, error) { return find(s, name) }

// Find returns the planner with the name, or an error that says which there are.
func (p Planners) Find(name string) (Planner, error) { return find(p, name) }

// With returns the set's connectors and those that are no connectors.
func (s Set) With(others ...Planner) Planners {
	all := Planners{}
	for name, hands := range s {
		all[name] = hands
	}
	for _, other := range others {
		all[other.Describe().Name] = other
	}
	return all
}

func find[T any](all map[string]T, name string) (T, error) {
	if known, ok := all[name]; ok {
		return known, nil
	}
	var none T
	return none, countersign.Errorf(countersign.Invalid, "no-such-connector", "there is no connector %q; this house has %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
}
