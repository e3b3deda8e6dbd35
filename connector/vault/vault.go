// Package vault is the connector for API keys in the built-in vault.
//
// It never imports desk, and reaches the vault only through what a remote one
// would offer: order, revoke, check. It never sees a key; Verify and VerifyGone
// go through the vault's introspection lookup and through no status column.
package vault

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/target/vault"
)

// Target is what the connector needs of a vault.
type Target interface {
	Issue(ctx context.Context, order vault.Order) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (vault.Check, error)
	LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error)
	List(ctx context.Context, system countersign.SystemID, found func(vault.Listed) error) error
}

// Connector implements connector.Connector on a vault.
type Connector struct {
	target Target
	clock  connector.Clock
}

// New returns the connector for the vault.
func New(target Target, clock connector.Clock) *Connector { return &Connector{target, clock} }

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: "vault", Actions: []string{"issue-key"}, Kind: countersign.CredentialKind,
		Rotates: true, EnforcesExpiryItself: true,
		// Every use of a key is a check, so nothing stays open after a revoke; ends
		// are compared to the millisecond, which is finer than a second.
		EndsSessions: true, Extends: true, IdempotentRevoke: true,
	}
}

// The settings of a system: how often a secret can be read, and by whom. A
// machine that has no credential yet cannot sign in to read its first one; there
// the person who answers for it does, once.
const (
	readSetting      = "read"
	readOnce         = "once"
	readUntilTheEnd  = "until-end"
	readBySetting    = "read_by"
	readByHolder     = "holder"
	readByOwner      = "owner"
	introspectionHow = "the introspection lookup of the vault, by the stored hash of " // and the credential
)

// Reading is what the settings of a system say of how its secrets are read. It
// holds for every connector that deposits secrets in the vault.
type Reading struct {
	keep   bool
	reader countersign.IdentityID
}

// ReadingOf reads the settings of a task for the connector that is named.
func ReadingOf(name string, task connector.Task) (Reading, error) {
	closed := map[string][]string{readSetting: {readOnce, readUntilTheEnd}, readBySetting: {readByHolder, readByOwner}}
	for setting, value := range task.Settings {
		values, known := closed[setting]
		switch {
		case !known:
			return Reading{}, rejected("the connector %s has no setting %q: it has %q and %q", name, setting, readSetting, readBySetting)
		case !slices.Contains(values, value):
			return Reading{}, rejected("the setting %q of the connector %s is one of %v, not %q", setting, name, values, value)
		}
	}
	how := Reading{keep: task.Settings[readSetting] == readUntilTheEnd}
	if task.Settings[readBySetting] == readByOwner {
		if how.reader = task.Accountable; how.reader == "" {
			return Reading{}, rejected("nobody answers for %s, and the owner of the holder is to read the key of this system", task.HolderName)
		}
	}
	return how, nil
}

// Describe says who can read the secret and how often, as "only the holder can
// read it, once".
func (r Reading) Describe() string {
	who, often := "the holder", "once"
	if r.reader != "" {
		who = "the owner of the holder"
	}
	if r.keep {
		often = "until it ends"
	}
	return fmt.Sprintf("only %s can read it, %s", who, often)
}

// OrderOf is the task in the words of the vault.
func OrderOf(task connector.Task, how Reading) vault.Order {
	return vault.Order{
		Intent: task.Intent, Attempt: task.Attempt, Credential: task.Credential, Grant: task.Grant, Holder: task.Holder,
		System: task.System, SystemName: task.SystemName, Entitlement: task.EntitlementID, Resource: task.Resource, Scope: task.Entitlement, Reader: how.reader,
		Until: task.Until, KeepUntilEnd: how.keep, NotAfter: task.Deadline,
	}
}

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// Plan implements connector.Connector.
func (c *Connector) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return connector.Plan{}, err
	}
	how, err := ReadingOf(c.Describe().Name, task)
	if err != nil {
		return connector.Plan{}, err
	}
	return connector.Plan{Effect: fmt.Sprintf("A new key in the vault gives %s; %s.", task.Describe(), how.Describe())}, nil
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	how, err := ReadingOf(c.Describe().Name, task)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	return connector.FailureOf(c.target.Issue(ctx, OrderOf(task, how)))
}

// Verify implements connector.Connector. A key that is there and only stopped by
// the desk counts as present: a stop is not the target's doing.
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
	return connector.FailureOf(c.target.Revoke(ctx, task.Credential, task.Deadline))
}

// VerifyGone implements connector.Connector. A key that is only stopped is not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.read(ctx, task)
	return reading, err
}

func (c *Connector) read(ctx context.Context, task connector.Task) (vault.Check, connector.Reading, error) {
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return check, connector.Reading{}, connector.FailureOf(err)
	}
	reading := connector.Reading{
		Present: check.Active || check.Why == vault.Stopped,
		How:     fmt.Sprintf("%s%s: active %v", introspectionHow, task.Credential, check.Active),
	}
	if !check.Active {
		reading.How += fmt.Sprintf(" (%s)", check.Why)
	}
	if reading.Present {
		reading.Until, reading.Reference = check.Until, string(check.Credential)
		reading.How += fmt.Sprintf(", %s on %s/%s for %s until %s", check.Scope, check.SystemName, check.Resource, check.Holder, check.Until)
	}
	return check, reading, nil
}

// LastUsed implements connector.LastUse: the last introspection, to the hour.
func (c *Connector) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	return c.target.LastUsed(ctx, credential)
}

// Activity implements connector.Activity.
func (c *Connector) Activity(ctx context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	return "the uses that the vault notes, of each key the last one to the hour", connector.LastUseAsActivity(ctx, c.target, of, "the key was shown and found active, for the last time", found)
}

// List implements connector.Inventory: every secret that works, stopped ones
// included.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return c.target.List(ctx, of.System, func(held vault.Listed) error {
		return found(connector.Item{
			Principal: string(held.Holder), Holder: held.Holder, Resource: held.Resource, Entitlement: held.Scope,
			Credential: held.Credential, Until: held.Until, LastUsed: held.LastUsed,
		})
	})
}
