package auth

import (
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Scope is a part of what the doors offer. A token opens only what its scopes
// name; what the identity may do there is another question, which desk answers.
type Scope string

const (
	// Read looks at requests, grants, the catalogue and identities.
	Read Scope = "read"
	// Request asks for access, takes requests back, attaches evidence, and opens and
	// closes tickets.
	Request Scope = "request"
	// Decide approves, denies and consents.
	Decide Scope = "decide"
	// Grant rotates, revokes and retries.
	Grant Scope = "grant"
	// Directory plans and applies directory changes.
	Directory Scope = "directory"
	// Introspect asks whether a key works.
	Introspect Scope = "introspect"
	// Evaluate asks the decision point.
	Evaluate Scope = "evaluate"
	// Metrics reads the operator's figures from another machine.
	Metrics Scope = "metrics"
)

// Scopes is the closed list.
var Scopes = []Scope{Read, Request, Decide, Grant, Directory, Introspect, Evaluate, Metrics}

// AllScopes is the word that stands for every scope in an order.
const AllScopes = "all"

// ParseScopes reads the names of scopes; "all" stands for every one. The result
// is in the order of the closed list, without repetition.
func ParseScopes(names []string) ([]Scope, error) {
	wanted, every := map[Scope]bool{}, false
	for _, name := range names {
		switch scope := Scope(name); {
		case name == AllScopes:
			every = true
		case slices.Contains(Scopes, scope):
			wanted[scope] = true
		default:
			return nil, countersign.Errorf(countersign.Invalid, "unknown-scope", "There is no scope %q: use %s, or %s for every one.", countersign.Clip(name), list(Scopes), AllScopes).At("scopes")
		}
	}
	if every {
		return slices.Clone(Scopes), nil
	}
	if len(wanted) == 0 {
		return nil, countersign.Errorf(countersign.Invalid, "no-scope", "A token needs at least one scope: %s, or %s for every one.", list(Scopes), AllScopes).At("scopes")
	}
	var scopes []Scope
	for _, scope := range Scopes {
		if wanted[scope] {
			scopes = append(scopes, scope)
		}
	}
	return scopes, nil
}

func list(scopes []Scope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, ", ")
}
