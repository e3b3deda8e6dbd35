package directory

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign"
)

// Verb says what a change does.
type Verb string

const (
	Add    Verb = "add"
	Modify Verb = "change"
	// Remove ends a thing that the files no longer have: an identity departs, a
	// group is emptied, a system, entitlement or record is retired. Nothing is deleted.
	Remove Verb = "remove"
)

// Noun says what a change is about.
type Noun string

const (
	IdentityNoun    Noun = "identity"
	GroupNoun       Noun = "group"
	SystemNoun      Noun = "system"
	EntitlementNoun Noun = "entitlement"
	RecordNoun      Noun = "record"
)

// Change is one row of the directory that would change.
type Change struct {
	Verb   Verb
	Noun   Noun
	Name   string
	Fields []FieldChange
	// Standing says, in sentences, why the change needs a second person: whom it
	// gives approval standing or ownership, whose sign-in or access it opens or
	// lengthens. "" means that it does nothing of the kind.
	Standing string
	// Before is the stored row, nil for an addition. After is the whole row as it
	// should become; its Version, and those of memberships and nestings that
	// begin with it, are still Before's or 0: who writes the row sets them.
	Before, After countersign.Row
}

// FieldChange is one field before and after, in words; elements of lists are
// added (Before "") and removed (After "") one by one.
type FieldChange struct {
	Name   string
	Before string
	After  string
}

// Difference is what separates the stored directory from the wanted one, in an
// order in which it can be applied: identities, groups, records, systems with
// their entitlements, and last what is removed.
type Difference struct {
	Changes []Change
	// Powers are the powers that the files name, resolved. They are granted when
	// the house is founded; later on powers are asked for like any other access.
	Powers []PowerGrant
}

// PowerGrant says who is to hold an entitlement from the first day.
type PowerGrant struct {
	Entitlement countersign.EntitlementID
	Name        string
	Holders     []countersign.IdentityID
}

// String shows the difference line by line, for people.
func (d Difference) String() string {
	if len(d.Changes) == 0 {
		return "No differences.\n"
	}
	var text strings.Builder
	count, second := map[Verb]int{}, 0
	for _, change := range d.Changes {
		count[change.Verb]++
		text.WriteString(change.String())
		if change.Standing != "" {
			second++
			fmt.Fprintf(&text, "    ! needs a second person: %s\n", change.Standing)
		}
	}
	fmt.Fprintf(&text, "%d to add, %d to change, %d to remove; %d of them need a second person.\n", count[Add], count[Modify], count[Remove], second)
	return text.String()
}

// String shows one change, a line for itself and one for each field.
func (c Change) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s %s\n", c.Verb.sign(), c.Noun, c.Name)
	for _, field := range c.Fields {
		switch {
		case field.Before == "":
			fmt.Fprintf(&text, "    + %s: %s\n", field.Name, field.After)
		case field.After == "":
			fmt.Fprintf(&text, "    - %s: %s\n", field.Name, field.Before)
		default:
			fmt.Fprintf(&text, "    ~ %s: %s → %s\n", field.Name, field.Before, field.After)
		}
	}
	return text.String()
}

func (v Verb) sign() string {
	switch v {
	case Add:
		return "+"
	case Modify:
		return "~"
	case Remove:
		return "-"
	}
	return "?"
}
