package connector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign"
)

// CheckRight refuses (Rejected) a task that does not name exactly one right for
// one holder, or an action that the connector does not have. It is what Plan
// needs: the ids of what will be made are not known yet.
func (t Task) CheckRight(description Description) error {
	if !slices.Contains(description.Actions, t.Action) {
		return rejected("the connector %s has no action %q: it has %s", description.Name, t.Action, strings.Join(description.Actions, ", "))
	}
	for name := range t.Parameters {
		if !slices.Contains(description.Parameters, name) {
			return rejected("the connector %s takes no parameter %q: it takes %s", description.Name, name, cmp.Or(strings.Join(description.Parameters, ", "), "none"))
		}
	}
	if len(t.Bounds) > 0 && !description.Bounds {
		return rejected("the connector %s cannot bound access by what somebody else holds", description.Name)
	}
	if t.TakesOver != "" && !description.TakesOver {
		return rejected("the connector %s cannot take over what others gave", description.Name)
	}
	if err := countersign.CheckID("idn", string(t.Holder)); err != nil {
		return rejected("the holder must be named by id: %v", err)
	}
	if err := countersign.CheckID("sys", string(t.System)); err != nil {
		return rejected("the system must be named by id: %v", err)
	}
	for _, named := range []struct{ what, name string }{
		{"system", t.SystemName}, {"resource", t.Resource}, {"entitlement", t.Entitlement},
	} {
		if named.name == "" {
			return rejected("the task names no %s", named.what)
		}
		// A wildcard would be more than one right; a blank, another name that looks
		// the same.
		if strings.ContainsFunc(named.name, func(r rune) bool { return r == '*' || !unicode.IsGraphic(r) }) || strings.TrimSpace(named.name) != named.name {
			return rejected("%q is not the name of one %s", named.name, named.what)
		}
	}
	if strings.Contains(t.SystemName, "/") {
		return rejected("the system name %q contains a slash, so that system/resource would be ambiguous", t.SystemName)
	}
	return nil
}

// CheckComplete is CheckRight, and that the ids that Apply needs are there.
func (t Task) CheckComplete(description Description) error {
	if err := t.CheckRight(description); err != nil {
		return err
	}
	for _, id := range []struct{ prefix, value string }{
		{"crd", string(t.Credential)}, {"grt", string(t.Grant)}, {"int", string(t.Intent)},
	} {
		if err := countersign.CheckID(id.prefix, id.value); err != nil {
			return rejected("the task is incomplete: %v", err)
		}
	}
	return nil
}

// ResourcePath is "system/resource".
func (t Task) ResourcePath() string { return t.SystemName + "/" + t.Resource }

// Describe says the right in words: "reader on billing/invoices for svc-billing (idn_…)".
func (t Task) Describe() string {
	return fmt.Sprintf("%s on %s for %s (%s)", t.Entitlement, t.ResourcePath(), t.HolderName, t.Holder)
}

func rejected(format string, args ...any) *Failure {
	return &Failure{Kind: Rejected, Message: fmt.Sprintf(format, args...)}
}

// FailureOf turns a target's error into what the engine should do about it: a
// target that says invalid, conflict or refused will say so again; anything else
// is worth another try.
func FailureOf(err error) error {
	switch countersign.KindOf(err) {
	case "":
		return nil
	case countersign.Invalid, countersign.Conflict, countersign.Refused, countersign.TooLarge:
		return &Failure{Kind: Rejected, Message: "the target refuses", Cause: err}
	case countersign.Unauthenticated, countersign.NotFound, countersign.Moved, countersign.TooMany, countersign.Unavailable, countersign.Internal:
	}
	return &Failure{Kind: Transient, Message: "the target did not answer", Cause: err}
}
