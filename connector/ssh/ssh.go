// Package ssh is the connector for logins over SSH: user certificates of the
// built-in SSH authority, short and for one principal, that hosts with OpenSSH take
// in place of keys.
//
// It never imports desk, and reaches the authority only through what a remote one
// would offer. A host ends a login by the certificate's own end, and before it by
// the list of revoked ones that it fetched last; sessions that are open go on.
package ssh

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/pki"
	target "github.com/countersign/countersign/target/pki"
)

// Target is what the connector needs of an authority.
type Target interface {
	Check(ctx context.Context, order target.Order) (target.Asked, error)
	Issue(ctx context.Context, order target.Order) error
	List(ctx context.Context, kind target.Kind, system countersign.SystemID, found func(target.Listed) error) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (target.Check, error)
	// AuthorityKey is the authority's public key, as hosts keep it.
	AuthorityKey(ctx context.Context, system countersign.SystemID) ([]byte, error)
}

// Connector implements connector.Connector on an authority.
type Connector struct {
	target Target
	clock  connector.Clock
	// log is nil where the house can read none.
	log *Log
}

// New returns the connector for the authority; log is nil where the house can read
// none of the hosts.
func New(target Target, clock connector.Clock, log *Log) *Connector {
	return &Connector{target, clock, log}
}

const (
	// The answer of the form that is signed.
	keyParameter = "public_key"
	// longestSetting is the setting of a system for the longest life of a certificate.
	longestSetting = "longest"
	standardLife   = countersign.Day
)

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: "ssh", Actions: []string{"certify"}, Kind: countersign.CredentialKind, Parameters: []string{keyParameter}, ParametersOnce: true,
		// Hosts fetch the list of revoked certificates themselves, and are bound to do so
		// this often.
		Rotates: true, EnforcesExpiryItself: true, ExpiryGranularity: 1, IdempotentRevoke: true, Residual: target.KRLInterval,
	}
}

func (c *Connector) orderOf(task connector.Task) (target.Order, error) {
	longest := standardLife
	for setting, value := range task.Settings {
		if setting != longestSetting {
			return target.Order{}, rejected("the connector ssh has no setting %q: it has %q", setting, longestSetting)
		}
		var err error
		if longest, err = countersign.ParseSeconds(value); err != nil || longest <= 0 {
			return target.Order{}, rejected("the setting %q of the connector ssh is a duration as 8h, not %q", longestSetting, value)
		}
	}
	return pki.OrderOf(task, target.SSH, keyParameter, target.Limits{Longest: longest}), nil
}

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return connector.Plan{}, err
	}
	order, err := c.orderOf(task)
	if err != nil {
		return connector.Plan{}, err
	}
	asked, err := c.target.Check(ctx, order)
	if err != nil {
		return connector.Plan{}, pki.InWords(err)
	}
	life := countersign.Seconds(task.Until.Time().Sub(c.clock.Now()).Round(time.Second) / time.Second)
	return connector.Plan{Effect: fmt.Sprintf("A login by SSH certificate as the principal %s (%s, for %s at most, key %s) gives %s; sessions that are open at its end go on.",
		target.Principal(order.SystemName, order.Resource, order.Name), asked.Words(), life, asked.Fingerprint(), task.Describe())}, nil
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	order, err := c.orderOf(task)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	if err := c.target.Issue(ctx, order); err != nil {
		return pki.InWords(err)
	}
	return nil
}

// Verify implements connector.Connector. A certificate that is only stopped by the
// desk counts as present: a stop is not the target's doing.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	check, reading, err := c.read(ctx, task)
	if reading.Present && (check.Kind != target.SSH || check.Holder != task.Holder || check.System != task.System || check.SystemName != task.SystemName ||
		check.Resource != task.Resource || check.Name != task.Entitlement) {
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

// VerifyGone implements connector.Connector. A certificate that is only stopped is
// not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.read(ctx, task)
	return reading, err
}

// List implements connector.Inventory.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return c.target.List(ctx, target.SSH, of.System, func(listed target.Listed) error {
		return found(connector.Item{
			Principal: string(listed.Holder), Holder: listed.Holder, Resource: listed.Resource, Entitlement: listed.Name, Credential: listed.Credential, Until: listed.Until,
		})
	})
}

func (c *Connector) read(ctx context.Context, task connector.Task) (target.Check, connector.Reading, error) {
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return check, connector.Reading{}, connector.FailureOf(err)
	}
	return check, pki.ReadingOf(check, task), nil
}
