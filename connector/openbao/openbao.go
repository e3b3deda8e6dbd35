// Package openbao is the connector for an OpenBao or Vault server over its HTTP
// API. It gives one of two things: a lease, which is a credential that an engine
// (as database) makes for the time of the access, or a secret id of an AppRole,
// by which a machine signs in to the server itself.
//
// It never imports desk, and reaches the house's own vault only to keep where a
// credential is, to deposit its secret, to move an end and to revoke. Each lease
// has a token of its own, and each secret id metadata, that say for which
// credential it was made; nothing without that is taken away. Where a credential
// is was written down before its secret can be read. After Apply returns nil the
// server has it until at least its end; after Revoke returns nil the server was
// asked and does not know it any more: that a revoke is queued, or was given up,
// is not enough.
package openbao

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/connector/wire"
	"github.com/countersign/countersign/target/vault"
)

// Gives is what a connector gives.
type Gives string

const (
	// Lease is a credential of an engine at <resource>/creds/<entitlement>.
	Lease Gives = "lease"
	// SecretID is one of the role <entitlement> at auth/<resource>.
	SecretID Gives = "secret-id"
)

// Vault is what the connector needs of the house's own vault.
type Vault interface {
	vaulthands.Deposits
	Reserve(ctx context.Context, order vault.Order) error
	PlaceOf(ctx context.Context, credential countersign.CredentialID) (string, error)
}

// Options are what a connector is made of.
type Options struct {
	// Name is the connector's name in the house.
	Name  string
	Gives Gives
	// Address is that of the server, as https://bao.example:8200.
	Address string
	// Namespace is where the connector's token, engines and roles are; "" is the root.
	Namespace string
	// Token returns the connector's token as it is now.
	Token func() (countersign.Secret, error)
	// TokenRole is the role of the tokens that ask for leases.
	TokenRole string
	// Residual is how long what was signed in with a secret id may go on after it, in
	// seconds; for a lease, what its engine cannot take back.
	Residual countersign.Seconds
	// Transport is how the server is reached.
	Transport http.RoundTripper
	Vault     Vault
	Clock     connector.Clock
}

// Connector implements connector.Connector on an OpenBao or Vault server.
type Connector struct {
	Options
	address *url.URL
	client  *http.Client
	hands   hands
	apart   connector.Apart
}

// hands do what differs between the two things that are given.
type hands interface {
	action() string
	// path is what gives the task's right.
	path(task connector.Task) string
	// paths are those that the connector's token must be able to write to.
	paths() []string
	// offered refuses what the server would not give exactly, and says what it would.
	offered(ctx context.Context, s *server, task connector.Task) (effect string, err error)
	// look reads back what is at the place.
	look(ctx context.Context, s *server, task connector.Task, at place) (found, error)
	// move gives what is there a later end, and says whether that can be done.
	move(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, at place, former string) (moved bool, err error)
	// give makes a new one.
	give(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, former string) error
	// take takes away what is at the place, and returns nil once it is seen to be gone.
	take(ctx context.Context, s *server, task connector.Task, at place) error
}

// found is what the server has at a place.
type found struct {
	present bool
	// ending says that the server is about to take it away, or has tried to.
	ending bool
	until  countersign.Instant
	// wrong says in what it is not what the task asks for.
	wrong string
	// how says what was asked, and what the answer was.
	how string
}

// New returns the connector, or says what is wrong with the options. It asks the
// server nothing yet.
func New(options Options) (*Connector, error) {
	address, err := readAddress(options)
	if err != nil {
		return nil, err
	}
	made := &Connector{Options: options, address: address, client: newClient(options.Transport)}
	made.address.Path = ""
	switch options.Gives {
	case Lease:
		if !roleName.MatchString(options.TokenRole) {
			return nil, wire.Malformed(options.Name, "token_role", "%q is not the name of a token role: leases are asked for by tokens of a role, as auth/token/roles/countersign", countersign.Clip(options.TokenRole))
		}
		made.hands = leases{made}
	case SecretID:
		if options.TokenRole != "" {
			return nil, wire.Malformed(options.Name, "token_role", "only leases are asked for by tokens of a role")
		}
		if options.Residual == 0 {
			return nil, wire.Malformed(options.Name, "residual", "say how long tokens may live that were signed in with a secret id, as 20m: they outlive it, and the roles' token_max_ttl must be no longer")
		}
		made.hands = secretIDs{made}
	default:
		return nil, wire.Malformed(options.Name, "gives", "it is %s or %s, not %q", Lease, SecretID, countersign.Clip(string(options.Gives)))
	}
	return made, nil
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: c.Name, Actions: []string{c.hands.action()}, Kind: countersign.CredentialKind,
		// The server ends leases and secret ids by itself, in whole seconds. What was
		// opened with them goes on: an engine makes an account, and a login a token.
		EnforcesExpiryItself: true, ExpiryGranularity: 1, EndsSessions: false,
		Rotates: true, Extends: c.Gives == Lease, IdempotentRevoke: true, Residual: c.Residual,
	}
}

// check refuses what can be refused without asking the server.
func (c *Connector) check(task connector.Task) (vaulthands.Reading, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return vaulthands.Reading{}, err
	}
	if !mountName.MatchString(task.Resource) {
		return vaulthands.Reading{}, rejected("the resource %q is not where an engine or auth method of %s is mounted, as database", countersign.Clip(task.Resource), task.SystemName)
	}
	if !roleName.MatchString(task.Entitlement) {
		return vaulthands.Reading{}, rejected("the entitlement %q is not the name of a role, as invoices-reader", countersign.Clip(task.Entitlement))
	}
	return vaulthands.ReadingOf(c.Name, task)
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	how, err := c.check(task)
	if err != nil {
		return connector.Plan{}, err
	}
	s, err := c.connect()
	if err != nil {
		return connector.Plan{}, err
	}
	effect, err := c.hands.offered(ctx, s, task)
	if err != nil {
		return connector.Plan{}, err
	}
	until := ""
	if task.Until != 0 {
		until = ", until " + task.Until.String() + " at the latest"
	}
	return connector.Plan{Effect: fmt.Sprintf("%s gives %s%s. Its secret lies in the vault of the house; %s.", effect, task.Describe(), until, how.Describe())}, nil
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
	if task.Until == 0 {
		return rejected("what the server %s gives has an end, and the access of %s has none", task.SystemName, task.HolderName)
	}
	defer c.apart.Alone(string(task.Credential))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := vaulthands.CheckGiving(ctx, c.Vault, c.Clock, task); err != nil {
		return err
	}
	s, err := c.connect()
	if err != nil {
		return err
	}
	at, former, err := c.readPlace(ctx, task.Credential)
	if err != nil {
		return err
	}
	if at != nil {
		done, err := c.takeUp(ctx, s, task, how, *at, former)
		if done || err != nil {
			return err
		}
	}
	if _, err := c.hands.offered(ctx, s, task); err != nil {
		return err
	}
	return c.hands.give(ctx, s, task, how, former)
}

// takeUp is done if what is there is or becomes what the task asks for. Whatever
// else a former try has left is taken away: nobody was handed its secret, or the
// server has lost it.
func (c *Connector) takeUp(ctx context.Context, s *server, task connector.Task, how vaulthands.Reading, at place, former string) (done bool, err error) {
	if !at.MadeFor(task) {
		return false, rejected("%s was made for %s on %s for %s, under %s, and is not touched", task.Credential, at.Entitlement, at.Resource, at.Holder, at.Grant)
	}
	if err := s.sameServer(ctx, at); err != nil {
		return false, err
	}
	if at.Handed {
		there, err := c.hands.look(ctx, s, task, at)
		switch {
		case err != nil:
			return false, err
		case there.present && there.ending:
			return false, transient("%s: it is not given again before it is gone", there.how)
		case there.present && there.wrong != "":
			return false, rejected("%s, which is not touched: %s", there.how, there.wrong)
		case there.present && at.Stays(task):
			return true, nil
		case there.present:
			if moved, err := c.hands.move(ctx, s, task, how, at, former); moved || err != nil {
				return moved, err
			}
		}
	}
	return false, c.hands.take(ctx, s, task, at)
}

// Verify implements connector.Connector.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	there, reading, err := c.lookUp(ctx, task)
	if there.present && there.wrong != "" {
		reading.Present = false
		reading.How += ", which is not what was asked for: " + there.wrong
	}
	return reading, err
}

// VerifyGone implements connector.Connector. What the server has not taken away
// yet, or gave up taking away, is not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.lookUp(ctx, task)
	return reading, err
}

func (c *Connector) lookUp(ctx context.Context, task connector.Task) (found, connector.Reading, error) {
	at, _, err := c.readPlace(ctx, task.Credential)
	if err != nil {
		return found{}, connector.Reading{}, err
	}
	if at == nil {
		return found{}, connector.Reading{How: fmt.Sprintf("the vault's note of where %s is: the server was never asked for it", task.Credential)}, nil
	}
	s, err := c.connect()
	if err != nil {
		return found{}, connector.Reading{}, err
	}
	if err := s.sameServer(ctx, *at); err != nil {
		return found{}, connector.Reading{}, err
	}
	there, err := c.hands.look(ctx, s, task, *at)
	if err != nil {
		return found{}, connector.Reading{}, err
	}
	reading := connector.Reading{Present: there.present, How: fmt.Sprintf("%s: %s", task.Credential, there.how)}
	if there.present {
		reading.Until, reading.Reference = there.until, string(task.Credential)
		switch {
		case there.wrong != "":
		case at.Path != c.hands.path(task) || !at.MadeFor(task):
			there.wrong = fmt.Sprintf("it is of %s, and was made for %s on %s for %s", at.Path, at.Entitlement, at.Resource, at.Holder)
		case !at.Handed:
			there.wrong = "its secret was not deposited"
		case there.ending:
			there.wrong = "the server is taking it away"
		}
	}
	return there, reading, nil
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := countersign.CheckID("crd", string(task.Credential)); err != nil {
		return rejected("the task is incomplete: %v", err)
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	// From here on no late Apply can write a place down.
	if err := c.Vault.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	defer c.apart.Alone(string(task.Credential))()
	at, _, err := c.readPlace(ctx, task.Credential)
	if at == nil || err != nil {
		return err
	}
	s, err := c.connect()
	if err != nil {
		return err
	}
	if err := s.sameServer(ctx, *at); err != nil {
		return err
	}
	return c.hands.take(ctx, s, task, *at)
}
