package policy

import (
	"fmt"

	"github.com/countersign/countersign"
)

// Rotation is what a request type says of a credential that replaces another one
// of the same grant.
type Rotation struct {
	// Overlap is how long the older one works beside it.
	Overlap countersign.Seconds `json:"overlap"`
}

func (t *requestType) readRotation(m *mapping) {
	if !m.has("rotates") {
		return
	}
	r := m.mapping(m.values["rotates"], "`rotates`", "overlap")
	r.require("overlap")
	t.rotates = &Rotation{Overlap: r.seconds("overlap")}
	if t.rotates.Overlap > longestOverlap {
		r.problem(r.values["overlap"], "`overlap` is %s, and must be at most %s", t.rotates.Overlap, longestOverlap)
	}
}

// checkRotation refuses what belongs to types that give access.
func (t *requestType) checkRotation(m *mapping) {
	if t.rotates == nil {
		return
	}
	for _, key := range []string{"grant", "break_glass", "review", "close"} {
		if m.has(key) {
			m.problem(m.keys[key], "`%s` belongs to types that give access: a rotation leaves the grant as it is, but for its credential and its end", key)
		}
	}
	if t.entitlements > 1 {
		m.problem(m.values["limits"], "a rotation is of one grant, so `entitlements` is 1")
	}
	for _, slot := range t.evidence {
		if slot.Due == countersign.DueAtClosure {
			m.problem(m.values["evidence"], "the evidence `%s` is due at-closure, and a rotation ends no access", slot.Name)
		}
	}
}

// Rotates reports whether the set has a type of the name that rotates grants.
func (s *Set) Rotates(typeName string) bool {
	t := s.find(typeName)
	return t != nil && t.rotates != nil
}

// mismatchRotation says why a type is none for what is asked for, or "".
func (t *requestType) mismatchRotation(facts Facts) string {
	switch {
	case facts.Rotates && t.rotates == nil:
		return fmt.Sprintf("`%s` gives access, and what is asked for is another credential of a grant", t.name)
	case !facts.Rotates && t.rotates != nil:
		return fmt.Sprintf("`%s` is for another credential of a live grant: name the grant that is rotated", t.name)
	}
	return ""
}
