// Package manual is for systems without an interface: people carry out what is
// asked, and a second person looks afterwards.
//
// It reaches no target and never imports desk. It says what would be done, and
// reads the settings of a system; the task itself is the desk's.
package manual

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// Hands are people.
type Hands struct{}

var description = connector.Description{Name: "manual", Actions: []string{"give"}, Kind: countersign.RoleKind}

// Describe implements connector.Planner.
func (Hands) Describe() connector.Description { return description }

// Plan implements connector.Planner.
func (h Hands) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(description); err != nil {
		return connector.Plan{}, err
	}
	procedure, err := h.Procedure(task.Settings)
	if err != nil {
		return connector.Plan{}, &connector.Failure{Kind: connector.Rejected, Message: task.SystemName + " cannot be reached by hand: " + err.Error()}
	}
	proof := "a list of its accounts"
	if procedure.Attested {
		proof += ", or a second person's word,"
	}
	return connector.Plan{Effect: "By hand, within " + procedure.Within.String() + ", " + procedure.Fulfiller + " gives " + task.Describe() + "; it counts once " + proof + " shows it."}, nil
}

var rule = regexp.MustCompile(`^(group|person)\([^()]+\)$`)

// settings are those of a system, in the order in which they are told.
var settings = []string{"fulfiller", "witness", "within", "column", "handle", "attested"}

// Procedure implements connector.ByHand.
func (Hands) Procedure(given map[string]string) (connector.Procedure, error) {
	wrong := func(name, right string) (connector.Procedure, error) {
		return connector.Procedure{}, countersign.Errorf(countersign.Invalid, "malformed-setting", "the setting %s is %s, not %q", name, right, countersign.Clip(given[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(settings, name) {
			return connector.Procedure{}, countersign.Errorf(countersign.Invalid, "unknown-setting", "there is no setting %q, only %s", countersign.Clip(name), strings.Join(settings, ", "))
		}
	}
	procedure := connector.Procedure{Fulfiller: given["fulfiller"], Witness: given["witness"], Column: given["column"], Within: 3 * countersign.Day, Handle: countersign.Login, Attested: true}
	if !rule.MatchString(procedure.Fulfiller) {
		return wrong("fulfiller", "who does it, as group(service-desk) or person(ana)")
	}
	if procedure.Witness != "" && !rule.MatchString(procedure.Witness) {
		return wrong("witness", "who looks afterwards, as group(service-desk) or person(ana)")
	}
	if text, set := given["within"]; set {
		within, err := countersign.ParseSeconds(text)
		if err != nil || within <= 0 || within > 90*countersign.Day {
			return wrong("within", "a duration of up to 90d, as 3d")
		}
		procedure.Within = within
	}
	switch handle := given["handle"]; handle {
	case "", "login":
	case "email":
		procedure.Handle = countersign.Email
	default:
		return wrong("handle", "login or email")
	}
	switch given["attested"] {
	case "", "yes":
	case "no":
		procedure.Attested = false
	default:
		return wrong("attested", "yes or no")
	}
	return procedure, nil
}
