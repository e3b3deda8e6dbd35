// Package registry is the connector for service accounts of the built-in registry.
//
// It never imports desk, and reaches the registry only through what a remote one
// would offer: create, revoke, check. The client secret goes from there into the
// vault, where its holder reads it by the rules of the system's settings; Verify
// and VerifyGone go through the lookup of the token endpoint.
package registry

import (
	"context"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/faultpoint"
	"github.com/countersign/countersign/target/registry"
	"github.com/countersign/countersign/target/vault"
)

// Target is what the connector needs of a registry.
type Target interface {
	Create(ctx context.Context, order registry.Order) (countersign.Secret, error)
	HandedOver(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (registry.Check, error)
	LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error)
	List(ctx context.Context, system countersign.SystemID, found func(registry.Listed) error) error
}

// Vault is what the connector needs of a vault.
type Vault interface {
	DepositOnce(ctx context.Context, order vault.Order, secret countersign.Secret) error
	MoveEnd(ctx context.Context, order vault.Order) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
}

// Connector implements connector.Connector on a registry.
type Connector struct {
	target Target
	vault  Vault
	clock  connector.Clock
}

// New returns the connector for the registry.
func New(target Target, vault Vault, clock connector.Clock) *Connector {
	return &Connector{target: target, vault: vault, clock: clock}
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: "registry", Actions: []string{"create-account"}, Kind: countersign.CredentialKind,
		// No token outlives its account's end, in the whole seconds of tokens. After a
		// revoke, those that are out work on for their minutes.
		Rotates: true, Extends: true, EnforcesExpiryItself: true, ExpiryGranularity: 1, IdempotentRevoke: true, Residual: registry.TokenLife,
	}
}

func (c *Connector) check(task connector.Task) (vaulthands.Reading, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return vaulthands.Reading{}, err
	}
	if err := registry.CheckScope(task.Entitlement); err != nil {
		return vaulthands.Reading{}, connector.FailureOf(err)
	}
	return vaulthands.ReadingOf(c.Describe().Name, task)
}

// Plan implements connector.Connector.
func (c *Connector) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	how, err := c.check(task)
	if err != nil {
		return connector.Plan{}, err
	}
	return connector.Plan{Effect: fmt.Sprintf("A new service account gives %s, by tokens of %s. Its client secret lies in the vault; %s.", task.Describe(), registry.TokenLife, how.Describe())}, nil
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	how, err := c.check(task)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	secret, err := c.target.Create(ctx, registry.Order{
		Intent: task.Intent, Attempt: task.Attempt, Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System, SystemName: task.SystemName,
		Entitlement: task.EntitlementID, Resource: task.Resource, Scope: task.Entitlement, Until: task.Until, NotAfter: task.Deadline,
	})
	if err != nil {
		return connector.FailureOf(err)
	}
	order := vaulthands.OrderOf(task, how)
	if secret.Reveal() == "" {
		return connector.FailureOf(c.vault.MoveEnd(ctx, order))
	}
	faultpoint.Reach(faultpoint.AfterAccount)
	// An account has one secret for its life, so a late duplicate, also one in another
	// process, finds it in the vault and deposits nothing.
	if err := c.vault.DepositOnce(ctx, order, secret); err != nil {
		return connector.FailureOf(err)
	}
	faultpoint.Reach(faultpoint.AfterDeposit)
	return connector.FailureOf(c.target.HandedOver(ctx, task.Credential, task.Deadline))
}

// Verify implements connector.Connector. An account that is there and only
// suspended counts as present: that is not the target's doing.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	check, reading, err := c.read(ctx, task)
	if reading.Present && (check.Holder != task.Holder || check.System != task.System || check.SystemName != task.SystemName ||
		check.Resource != task.Resource || check.Scope != task.Entitlement) {
		reading.Present = false
		reading.How += ", which is not what was asked for"
	}
	return reading, err
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	if err := c.target.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	return connector.FailureOf(c.vault.Revoke(ctx, task.Credential, task.Deadline))
}

// VerifyGone implements connector.Connector. An account that is only suspended is
// not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.read(ctx, task)
	return reading, err
}

func (c *Connector) read(ctx context.Context, task connector.Task) (registry.Check, connector.Reading, error) {
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return check, connector.Reading{}, connector.FailureOf(err)
	}
	reading := connector.Reading{How: fmt.Sprintf("the lookup of the registry's token endpoint, by the client id %s: %s", task.Credential, check.State)}
	switch check.State {
	case registry.Active, registry.Stopped, registry.Unowned:
		reading.Present, reading.Until, reading.Reference = true, check.Until, string(task.Credential)
		reading.How += fmt.Sprintf(", %s on %s/%s for %s until %s", check.Scope, check.SystemName, check.Resource, check.Holder, check.Until)
	case registry.Unknown, registry.Revoked, registry.Ended:
	}
	return check, reading, nil
}

// LastUsed implements connector.LastUse: the last token, to the hour.
func (c *Connector) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	return c.target.LastUsed(ctx, credential)
}

// Activity implements connector.Activity.
func (c *Connector) Activity(ctx context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	return "the uses that the registry notes, of each account the last one to the hour", connector.LastUseAsActivity(ctx, c.target, of, "the account got a token, for the last time", found)
}

// List implements connector.Inventory: every account that has not ended, suspended
// ones included.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return c.target.List(ctx, of.System, func(held registry.Listed) error {
		return found(connector.Item{
			Principal: string(held.Holder), Holder: held.Holder, Resource: held.Resource, Entitlement: held.Scope,
			Credential: held.Credential, Until: held.Until, LastUsed: held.LastUsed,
		})
	})
}
