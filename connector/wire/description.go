package wire

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// Description is what a program says of itself, and what the configuration says
// of it: connector.Description without the name. Times are whole seconds.
type Description struct {
	Actions              []string                    `yaml:"actions" json:"actions"`
	Kind                 countersign.EntitlementKind `yaml:"kind" json:"kind"`
	Parameters           []string                    `yaml:"parameters" json:"parameters,omitempty"`
	ParametersOnce       bool                        `yaml:"parameters_once" json:"parameters_once"`
	Rotates              bool                        `yaml:"rotates" json:"rotates"`
	Extends              bool                        `yaml:"extends" json:"extends"`
	EnforcesExpiryItself bool                        `yaml:"enforces_expiry_itself" json:"enforces_expiry_itself"`
	EndsSessions         bool                        `yaml:"ends_sessions" json:"ends_sessions"`
	ExpiryGranularity    countersign.Seconds         `yaml:"expiry_granularity" json:"expiry_granularity"`
	IdempotentRevoke     bool                        `yaml:"idempotent_revoke" json:"idempotent_revoke"`
	Residual             countersign.Seconds         `yaml:"residual" json:"residual"`
	// TellsLastUse says that the program answers last-used.
	TellsLastUse bool `yaml:"tells_last_use" json:"tells_last_use"`
	// TellsInventory says that the program answers inventory.
	TellsInventory bool `yaml:"tells_inventory" json:"tells_inventory,omitempty"`
	// TakesOver says that apply heeds takes_over.
	TakesOver bool `yaml:"takes_over" json:"takes_over,omitempty"`
}

// traits are the members that a description may leave out; absent is no, or 0.
var traits = []string{"parameters", "parameters_once", "rotates", "extends", "enforces_expiry_itself", "ends_sessions", "expiry_granularity", "idempotent_revoke", "residual", "tells_last_use", "tells_inventory", "takes_over"}

// word is how connectors and actions are named in policies.
var word = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// field is how policies name what a form asks.
var field = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,63}$`)

// place is where a setting of the connector stands in the configuration.
func place(name, setting string) string { return "/connectors/" + name + "/" + setting }

// Malformed is the error about one setting of a connector.
func Malformed(name, setting, format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-connector", format, args...).At(place(name, setting))
}

func (d Description) check(name string) error {
	wrong := func(setting, format string, args ...any) error {
		return Malformed(name, "describe/"+setting, format, args...)
	}
	if !word.MatchString(name) {
		return countersign.Errorf(countersign.Invalid, "malformed-connector", "%q cannot name a connector in policies: write lower-case letters, digits and hyphens, as in billing-accounts", countersign.Clip(name)).At("/connectors")
	}
	if len(d.Actions) == 0 {
		return wrong("actions", "name what policies may write in fulfil after %q, as [open-account]", name+".")
	}
	for i, action := range d.Actions {
		switch {
		case !word.MatchString(action):
			return wrong(fmt.Sprintf("actions/%d", i), "%q is no action: write lower-case letters, digits and hyphens, as in open-account", countersign.Clip(action))
		case slices.Index(d.Actions, action) != i:
			return wrong(fmt.Sprintf("actions/%d", i), "%q stands twice", action)
		}
	}
	for i, name := range d.Parameters {
		switch {
		case !field.MatchString(name):
			return wrong(fmt.Sprintf("parameters/%d", i), "%q is no field of a form: write it as in csr or public_key", countersign.Clip(name))
		case slices.Index(d.Parameters, name) != i:
			return wrong(fmt.Sprintf("parameters/%d", i), "%q stands twice", name)
		}
	}
	if d.Kind != countersign.CredentialKind && d.Kind != countersign.RoleKind {
		return wrong("kind", "%q is no kind of entitlement: write %s or %s", countersign.Clip(string(d.Kind)), countersign.CredentialKind, countersign.RoleKind)
	}
	for setting, value := range map[string]countersign.Seconds{"expiry_granularity": d.ExpiryGranularity, "residual": d.Residual} {
		if value < 0 || value > 366*countersign.Day {
			return wrong(setting, "%d is no number of seconds between 0 and a year", value)
		}
	}
	return nil
}

func (d Description) of(name string) connector.Description {
	return connector.Description{
		Name: name, Actions: d.Actions, Kind: d.Kind, Parameters: d.Parameters, ParametersOnce: d.ParametersOnce, Rotates: d.Rotates, Extends: d.Extends,
		EnforcesExpiryItself: d.EnforcesExpiryItself, EndsSessions: d.EndsSessions, ExpiryGranularity: d.ExpiryGranularity,
		IdempotentRevoke: d.IdempotentRevoke, Residual: d.Residual, TakesOver: d.TakesOver,
	}
}

// differences says each setting that the program says otherwise.
func (d Description) differences(said Description) []string {
	var found []string
	for _, part := range []struct {
		setting          string
		configured, said any
	}{
		{"actions", strings.Join(d.Actions, ", "), strings.Join(said.Actions, ", ")}, {"kind", d.Kind, said.Kind},
		{"parameters", strings.Join(d.Parameters, ", "), strings.Join(said.Parameters, ", ")}, {"parameters_once", d.ParametersOnce, said.ParametersOnce},
		{"rotates", d.Rotates, said.Rotates}, {"extends", d.Extends, said.Extends},
		{"enforces_expiry_itself", d.EnforcesExpiryItself, said.EnforcesExpiryItself}, {"ends_sessions", d.EndsSessions, said.EndsSessions},
		{"expiry_granularity", int64(d.ExpiryGranularity), int64(said.ExpiryGranularity)}, {"idempotent_revoke", d.IdempotentRevoke, said.IdempotentRevoke},
		{"residual", int64(d.Residual), int64(said.Residual)}, {"tells_last_use", d.TellsLastUse, said.TellsLastUse},
		{"tells_inventory", d.TellsInventory, said.TellsInventory}, {"takes_over", d.TakesOver, said.TakesOver},
	} {
		if part.configured != part.said {
			found = append(found, fmt.Sprintf("%s is %v in the configuration, and the program says %v", part.setting, part.configured, countersign.Clip(fmt.Sprint(part.said))))
		}
	}
	return found
}
