// Package role is the connectors of the built-in decision point: "role" for roles,
// and "tools" for the tools that agents call, which are resources of a system each.
//
// It never imports desk, and reaches the decision point only through what a
// remote one would offer: assign, remove, evaluate. Verify and VerifyGone ask
// the evaluation, with the one credential counting, and no status column.
package role

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/target"
)

// Target is what the connector needs of a decision point.
type Target interface {
	Assign(ctx context.Context, order pdp.Order) error
	Remove(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (pdp.Check, error)
	List(ctx context.Context, system countersign.SystemID, found func(pdp.Listed) error) error
	LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error)
}

// Connector implements connector.Connector on a decision point.
type Connector struct {
	target      Target
	clock       connector.Clock
	description connector.Description
}

// New returns the connector "role" for the decision point. Freshness is how long other
// replicas may still answer from what they knew before a revoke, the bound that
// the decision point was given, in whole seconds; 0 where there are none.
func New(target Target, clock connector.Clock, freshness countersign.Seconds) *Connector {
	return of("role", "assign", target, clock, freshness)
}

// NewTools returns the connector "tools", as New.
func NewTools(target Target, clock connector.Clock, freshness countersign.Seconds) *Connector {
	return of("tools", "allow", target, clock, freshness)
}

func of(name, action string, target Target, clock connector.Clock, freshness countersign.Seconds) *Connector {
	return &Connector{target, clock, connector.Description{
		Name: name, Actions: []string{action}, Kind: countersign.RoleKind, Bounds: true,
		EnforcesExpiryItself: true, EndsSessions: true, Extends: true, IdempotentRevoke: true, Residual: freshness,
	}}
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description { return c.description }

func (c *Connector) check(task connector.Task) error {
	for name := range task.Settings {
		return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf("the connector %s has no settings, so it does not know %q", c.description.Name, name)}
	}
	return task.CheckRight(c.Describe())
}

// Plan implements connector.Connector.
func (c *Connector) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	if err := c.check(task); err != nil {
		return connector.Plan{}, err
	}
	effect := "The decision point allows " + task.Describe()
	for _, bound := range task.Bounds {
		var held []string
		for _, right := range bound.Holds {
			held = append(held, right.Entitlement+" on "+right.Resource)
		}
		effect += fmt.Sprintf(", while its %s holds %s", bound.Who, strings.Join(held, " or "))
	}
	return connector.Plan{Effect: effect + "."}, nil
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := c.check(task); err != nil {
		return err
	}
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	var bounds []pdp.Bound
	for _, bound := range task.Bounds {
		told := pdp.Bound{Who: string(bound.Who)}
		for _, right := range bound.Holds {
			told.Holds = append(told.Holds, pdp.BoundByRight{Action: right.Entitlement, Resource: right.Resource})
		}
		bounds = append(bounds, told)
	}
	return connector.FailureOf(c.target.Assign(ctx, pdp.Order{
		Intent: task.Intent, Attempt: task.Attempt, Credential: task.Credential, Grant: task.Grant, Subject: task.Holder,
		Action: task.Entitlement, System: task.System, Entitlement: task.EntitlementID, Resource: task.ResourcePath(), Bounds: bounds, Until: task.Until, NotAfter: task.Deadline,
	}))
}

// Verify implements connector.Connector. An assignment that is there and only
// stopped by the desk counts as present: a stop is not the target's doing.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	check, reading, err := c.read(ctx, task)
	if err != nil || !reading.Present {
		return reading, err
	}
	holder, err := target.ParseID(task.Holder)
	if err != nil || check.Subject != holder || check.Action != task.Entitlement || check.Resource != task.ResourcePath() {
		reading.Present = false
		reading.How += ", which is not what was asked for"
	}
	return reading, nil
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	return connector.FailureOf(c.target.Remove(ctx, task.Credential, task.Deadline))
}

// VerifyGone implements connector.Connector. An assignment that is only stopped
// is not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.read(ctx, task)
	return reading, err
}

// LastUsed implements connector.LastUse: the last yes, to the hour.
func (c *Connector) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	return c.target.LastUsed(ctx, credential)
}

// Activity implements connector.Activity.
func (c *Connector) Activity(ctx context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	return "the uses that the decision point notes, of each assignment the last one to the hour", connector.LastUseAsActivity(ctx, c.target, of, "the decision point said yes to what it allows, for the last time", found)
}

func (c *Connector) read(ctx context.Context, task connector.Task) (pdp.Check, connector.Reading, error) {
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return check, connector.Reading{}, connector.FailureOf(err)
	}
	reading := connector.Reading{
		Present: check.Allowed || check.Reason == pdp.Stopped,
		How:     fmt.Sprintf("the lookup of %s with %s alone counting: decision %v", pdp.EvaluationPath, task.Credential, check.Allowed),
	}
	if !check.Allowed {
		reading.How += fmt.Sprintf(" (%s)", check.Reason)
	}
	if reading.Present {
		reading.Until, reading.Reference = check.Until, check.Resource
		reading.How += fmt.Sprintf(", %s on %s until %s", check.Action, check.Resource, check.Until)
	}
	return check, reading, nil
}

// List implements connector.Inventory: the table of assignments, stopped ones
// included.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return c.target.List(ctx, of.System, func(held pdp.Listed) error {
		// The table names a resource by its path; one that is not of this system is told
		// as it stands there.
		return found(connector.Item{
			Principal: string(held.Subject), Holder: held.Subject, Resource: strings.TrimPrefix(held.Resource, of.SystemName+"/"), Entitlement: held.Action,
			Credential: held.Credential, Until: held.Until,
		})
	})
}
