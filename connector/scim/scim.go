// Package scim is the connector for accounts and memberships in groups of a server
// that speaks SCIM 2.0 (RFC 7643, RFC 7644).
//
// It never imports desk. Users and groups are named by their SCIM id: a group by
// the settings of the system, a user by the id of the identity in one attribute.
// A membership is a value of a group and an active account a flag, and neither has
// a place for a mark; so the mark of each credential lies on the house's own shelf,
// written before the access and kept after it. Nothing is taken away without one.
// After Apply returns nil the server was read back; after Revoke returns nil, too.
// An account is never deleted, only made inactive.
package scim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
	"github.com/countersign/countersign/store"
)

// Options are what a connector is made of.
type Options struct {
	// Name is the connector's name in the house.
	Name string
	// URL is where /Users and /Groups stand below: https, or http on loopback.
	URL string
	// Token is sent as a bearer token.
	Token countersign.Secret
	// HTTP reaches the server; it says whom it trusts and how long it waits. Redirects
	// are never followed.
	HTTP *http.Client
	// HolderAttribute has the id of the identity on a user: externalId, another
	// attribute, or one of an extension after its URN and a colon.
	HolderAttribute string
	// Marks is the shelf with the name ShelfName.
	Marks store.Shelf
	Clock connector.Clock
}

// Connector implements connector.Connector on a SCIM server.
type Connector struct {
	Options
	client http.Client
	// Holders keeps changes of one holder apart, things those of one user or group,
	// whose versions would pass each other; a holder is taken before a thing.
	holders, things connector.Apart
}

const externalID = "externalId"

var attributeName = regexp.MustCompile(`^(urn:[A-Za-z0-9:._-]+:)?[A-Za-z][A-Za-z0-9_-]*$`)

// New returns the connector. It asks nothing yet, so a server that is down keeps no
// house from starting.
func New(options Options) (*Connector, error) {
	invalid := func(format string, args ...any) error {
		return countersign.Errorf(countersign.Invalid, "malformed-connector", "the connector %s: %s", options.Name, fmt.Sprintf(format, args...))
	}
	// What is wrong with the address is told without it: it may hold a secret.
	where, err := url.Parse(options.URL)
	switch {
	case err != nil || where.Hostname() == "" || where.User != nil || where.RawQuery != "" || where.Fragment != "":
		return nil, invalid("url is the address below which /Users and /Groups stand, as https://host/scim/v2, without a user, a query and a fragment")
	case where.Scheme != "https" && !(where.Scheme == "http" && wire.Loopback(where.Hostname())):
		return nil, invalid("url must begin with https://, because the token would be sent in clear; http:// is for this host alone")
	case strings.ContainsFunc(options.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) || options.Token.Reveal() == "":
		return nil, invalid("token_file holds no bearer token: write one line of printable characters into it")
	case !attributeName.MatchString(options.HolderAttribute):
		return nil, invalid("holder_attribute is externalId or the attribute that has the id of the identity, as in urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber, not %q", options.HolderAttribute)
	}
	options.URL = strings.TrimRight(options.URL, "/")
	c := &Connector{Options: options}
	if options.HTTP != nil {
		c.client = *options.HTTP
	}
	c.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// What a connector does.
const (
	addMember       = "add-member"
	activateAccount = "activate-account"
)

// What activateAccount takes of the form, for an account that is to be made.
const (
	userNameParameter = "user_name"
	emailParameter    = "email"
)

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: c.Name, Actions: []string{addMember, activateAccount}, Kind: countersign.RoleKind,
		Parameters: []string{userNameParameter, emailParameter},
		// SCIM knows no ends, and says nothing of sessions.
		EnforcesExpiryItself: false, EndsSessions: false,
		Rotates: true, Extends: true, IdempotentRevoke: true, TakesOver: true,
	}
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	of, err := c.right(task)
	if err != nil {
		return connector.Plan{}, err
	}
	s, err := c.begin(ctx)
	if err != nil {
		return connector.Plan{}, err
	}
	now, err := s.offered(ctx, task, of)
	if err != nil {
		return connector.Plan{}, err
	}
	if err := s.free(ctx, task, of, now); err != nil {
		return connector.Plan{}, err
	}
	effect := now.effect(task, of)
	if task.Until != 0 {
		effect += ", until " + task.Until.String() + " at the latest"
	}
	effect += ". What is open when it ends goes on until the application looks again."
	if task.TakesOver != "" {
		effect += " What was given by hand becomes this, and ends with it."
	}
	return connector.Plan{Effect: effect}, nil
}

// Apply implements connector.Connector. The mark is written first, and only where
// the access is not there: access beside a mark is ours.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	of, err := c.right(task)
	if err != nil {
		return err
	}
	if now := countersign.InstantOf(c.Clock.Now()); task.Until != 0 && task.Until <= now {
		return rejected("the access of %s would have ended at %s already", task.Credential, task.Until)
	}
	defer c.holders.Alone(string(task.Holder))()
	defer c.things.Alone(of.thing(task.Holder))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	held, err := c.readMark(ctx, task.Credential)
	if err != nil {
		return err
	}
	if held != nil && held.RevokedAt != 0 {
		return rejected("%s was revoked and is never given again; ask for a new credential", task.Credential)
	}
	s, err := c.begin(ctx)
	if err != nil {
		return err
	}
	now, err := s.offered(ctx, task, of)
	if err != nil {
		return err
	}
	switch {
	case held == nil:
		if err := s.free(ctx, task, of, now); err != nil {
			return err
		}
	case held.differs(task, of, now) != "":
		return rejected("there is a mark of %s for %s already, and nothing is touched: %s", task.Credential, task.SystemName, held.differs(task, of, now))
	case !now.gives && held.Intent != task.Intent:
		return rejected("%s was taken from %s by hand, and is not given back under the same credential", of, task.HolderName)
	}
	if held == nil || !held.Stays(task) || held.User != now.id {
		if err := c.writeMark(ctx, task, of, now.id); err != nil {
			return err
		}
	}
	if !now.gives {
		made, err := s.give(ctx, task, of, now)
		if err != nil {
			// Where surely nothing happened, nothing may be taken for ours that somebody
			// gives before the next try.
			if nothingHappened(err) && held == nil {
				err = errors.Join(err, c.removeMark(ctx, task))
			}
			return err
		}
		if now.user == nil {
			if err := c.writeMark(ctx, task, of, made); err != nil {
				return err
			}
		}
	}
	reading, err := s.verify(ctx, task, of)
	if err == nil && !reading.Present {
		err = transient("what was written does not read back: %s", reading.How)
	}
	return unsettled(err)
}

// Verify implements connector.Connector: the mark, and what the server answers.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	of, err := c.right(task)
	if err != nil {
		return connector.Reading{}, err
	}
	s, err := c.begin(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	return s.verify(ctx, task, of)
}

// VerifyGone implements connector.Connector. Also for a credential that was revoked
// the server is read: access that is there again may be a write of ours that came
// late. What another credential of ours gives is no sign of this one.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	held, err := c.readMark(ctx, task.Credential)
	if err != nil {
		return connector.Reading{}, err
	}
	if held == nil || held.Grant == "" {
		return connector.Reading{How: fmt.Sprintf("countersign has given nothing under %s on %s", task.Credential, c.Name)}, nil
	}
	s, err := c.begin(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	now, err := s.given(ctx, held)
	if err != nil {
		return connector.Reading{}, err
	}
	reading := connector.Reading{
		Present: now.works, Until: held.Until, Reference: held.reference(),
		How: fmt.Sprintf("what was given under %s to %s (%s on %s), and %s", task.Credential, held.Holder, held.Entitlement, held.Resource, now.how),
	}
	if reading.Present && held.RevokedAt != 0 {
		others, err := c.others(ctx, task.Credential, held)
		if err != nil {
			return connector.Reading{}, err
		}
		if others > 0 {
			reading.Present = false
			reading.How += ", which another credential of the holder gives"
		}
	}
	return reading, nil
}

// Revoke implements connector.Connector. First the credential is marked as revoked,
// which is kept for good; then the access is taken away, unless another credential
// of ours gives the same.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := countersign.CheckID("crd", string(task.Credential)); err != nil {
		return rejected("the task is incomplete: %v", err)
	}
	defer c.holders.Alone(string(task.Holder))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	held, err := c.revokeMark(ctx, task)
	if err != nil || held.Grant == "" {
		return err
	}
	others, err := c.others(ctx, task.Credential, held)
	if err != nil || others > 0 {
		return err
	}
	of := right{group: held.Group}
	defer c.things.Alone(of.thing(held.Holder))()
	s, err := c.begin(ctx)
	if err != nil {
		return err
	}
	now, err := s.given(ctx, held)
	if err != nil || now.user == nil && now.group == nil {
		return err // an account or a group that was deleted gives nothing
	}
	took := s.set(ctx, task, of, now, false)
	var failure *connector.Failure
	if errors.As(took, &failure) && failure.Kind != connector.Rejected {
		return took
	}
	after, err := s.given(ctx, held)
	switch {
	case err != nil:
		return unsettled(err)
	case after.works && took != nil:
		return took
	case after.works:
		return transient("what was taken away reads back as there: %s", after.how)
	}
	return nil // a server that refuses to take what is not there has taken it
}
