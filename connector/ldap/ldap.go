// Package ldap is the connector for memberships in groups of an LDAP directory.
//
// It never imports desk, and reaches the vault only to remember what was revoked.
// A member is a value of a group, which has no place for a mark; so each
// credential has an entry of its own in a subtree of the connector's, written
// before the membership and deleted after it. Nobody is taken out of a group
// without such an entry. People are found by the id of the identity in one
// attribute, and remembered by their entryUUID. After Apply returns nil both were
// read back; after Revoke returns nil both are gone.
package ldap

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/connector/wire"
)

// Options are what a connector is made of.
type Options struct {
	// Name is the connector's name in the house.
	Name string
	// URL is ldaps://host, ldap://host or ldapi:///path; StartTLS goes with ldap.
	URL      string
	StartTLS bool
	// Roots are who may have signed the server's certificate; nil is whom the system
	// trusts.
	Roots *x509.CertPool
	// BindDN and Password are those of the connector's own account; with ldapi it may
	// be the one of the process.
	BindDN   string
	Password countersign.Secret
	// People, Groups and Marks are the subtrees where people and groups are looked
	// for, and where the connector's own entries stand.
	People, Groups, Marks string
	// HolderAttribute has the id of the identity on the entry of a person.
	HolderAttribute string
	// MemberAttribute is member or uniqueMember.
	MemberAttribute string
	Vault           vaulthands.Deposits
	Clock           connector.Clock
}

// Connector implements connector.Connector on a directory.
type Connector struct {
	Options
	apart connector.Apart
}

var attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// New returns the connector. It connects for each operation and never before, so
// a server that is down keeps no house from starting.
func New(options Options) (*Connector, error) {
	invalid := func(format string, args ...any) error {
		return countersign.Errorf(countersign.Invalid, "malformed-connector", "the connector %s: %s", options.Name, fmt.Sprintf(format, args...))
	}
	where, err := url.Parse(options.URL)
	switch {
	case err != nil || where.User != nil || where.Scheme != "ldaps" && where.Scheme != "ldap" && where.Scheme != "ldapi":
		return nil, invalid("url is ldaps://host, ldap://host or ldapi:///path, without an account")
	case options.StartTLS && where.Scheme != "ldap":
		return nil, invalid("start_tls goes with ldap://, not with %s://", where.Scheme)
	case options.Roots != nil && where.Scheme != "ldaps" && !options.StartTLS:
		return nil, invalid("ca_file goes with ldaps:// or start_tls: true, where there is a certificate to judge")
	case where.Scheme == "ldap" && !options.StartTLS && !wire.Loopback(where.Hostname()):
		return nil, invalid("passwords would be sent in clear: write ldaps:// or start_tls: true for a server that is not on loopback")
	case options.BindDN == "" && where.Scheme != "ldapi":
		return nil, invalid("bind_dn is missing; only ldapi:// can go without")
	case (options.BindDN == "") != (options.Password.Reveal() == ""):
		return nil, invalid("bind_dn and password_file go together")
	case !attributeName.MatchString(options.HolderAttribute):
		return nil, invalid("holder_attribute is the name of the attribute that has the id of the identity, not %q", options.HolderAttribute)
	case options.MemberAttribute != "member" && options.MemberAttribute != "uniqueMember":
		return nil, invalid("member_attribute is member or uniqueMember, not %q", options.MemberAttribute)
	}
	for _, base := range []struct{ key, dn string }{{"people", options.People}, {"groups", options.Groups}, {"marks", options.Marks}} {
		if dn, err := goldap.ParseDN(base.dn); err != nil || len(dn.RDNs) == 0 {
			return nil, invalid("%s is the DN of a subtree, as in ou=%s,dc=example,dc=org, not %q", base.key, base.key, base.dn)
		}
	}
	return &Connector{Options: options}, nil
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: c.Name, Actions: []string{"add-member"}, Kind: countersign.RoleKind,
		// A membership has no end, and who reads groups at sign-in goes on until then.
		EnforcesExpiryItself: false, EndsSessions: false,
		Rotates: true, Extends: true, IdempotentRevoke: true, TakesOver: true,
	}
}

// check refuses what can be refused without asking the server.
func (c *Connector) check(task connector.Task) error {
	if err := task.CheckRight(c.Describe()); err != nil {
		return err
	}
	for name := range task.Settings {
		return rejected("the connector %s has no settings, so it does not know %q", c.Name, name)
	}
	return nil
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	if err := c.check(task); err != nil {
		return connector.Plan{}, err
	}
	server, err := c.connect(ctx)
	if err != nil {
		return connector.Plan{}, err
	}
	defer server.hangUp()
	person, group, err := server.offered(task)
	if err != nil {
		return connector.Plan{}, err
	}
	until := ""
	if task.Until != 0 {
		until = ", until " + task.Until.String() + " at the latest"
	}
	effect := fmt.Sprintf("%s (%s, %s) becomes a member of %s, the group %s in %s of %s%s.", task.HolderName, task.Holder, person.dn, group.dn, task.Entitlement, task.Resource, task.SystemName, until)
	if err := server.free(task, person, group); err != nil {
		return connector.Plan{}, err
	}
	if task.TakesOver != "" {
		effect += " The membership that was given by hand becomes this one, and ends with it."
	}
	return connector.Plan{Effect: effect}, nil
}

// Apply implements connector.Connector. The mark is written first, and only where
// the membership is not there: a membership beside a mark is ours.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	if err := c.check(task); err != nil {
		return err
	}
	defer c.apart.Alone(string(task.Holder))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := vaulthands.CheckGiving(ctx, c.Vault, c.Clock, task); err != nil {
		return err
	}
	server, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer server.hangUp()
	person, group, err := server.offered(task)
	if err != nil {
		return err
	}
	held, err := server.readMark(task.Credential)
	if err != nil {
		return err
	}
	made := mark{Mark: connector.MarkOf(task), Credential: task.Credential, Group: group.uuid, Person: person.uuid, Member: person.dn}
	switch {
	case held == nil:
		if err := server.free(task, person, group); err != nil {
			return err
		}
		if err := server.write(ctx, task, made.add(c.Marks)); err != nil {
			return err
		}
	case held.differs(task, person, group) != "":
		return rejected("there is an entry %s on %s already, which is not touched: %s", held.dn, task.SystemName, held.differs(task, person, group))
	case !group.has(person.dn) && held.made.Intent != task.Intent:
		return rejected("%s was taken out of %s by hand, and is not put back under the same credential", person.dn, group.dn)
	case !held.made.Stays(task):
		moved := *held.made
		moved.Mark = moved.Moved(task)
		if err := server.write(ctx, task, moved.move(held.dn)); err != nil {
			return err
		}
	}
	if !group.has(person.dn) {
		err := server.write(ctx, task, join(group.dn, c.MemberAttribute, person.dn))
		if goldap.IsErrorWithCode(err, goldap.LDAPResultAttributeOrValueExists) && held == nil {
			if err := server.write(ctx, task, goldap.NewDelRequest(markDN(task.Credential, c.Marks), nil)); err != nil {
				return err
			}
			return rejected("somebody else made %s a member of %s at the same moment: it was not given twice", person.dn, group.dn)
		}
		if err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultAttributeOrValueExists) {
			return err
		}
	}
	reading, err := server.verify(task)
	if err == nil && !reading.Present {
		return &connector.Failure{Kind: connector.Transient, Message: "what was written does not read back: " + reading.How}
	}
	return err
}

// Verify implements connector.Connector: the mark, and the group's members.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	server, err := c.connect(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	defer server.hangUp()
	return server.verify(task)
}

// VerifyGone implements connector.Connector. As long as the mark is there the
// membership may be. What others gave beside is no credential of ours.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	server, err := c.connect(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	defer server.hangUp()
	_, reading, err := server.lookUp(task)
	return reading, err
}

// Revoke implements connector.Connector. The mark goes last, so that what is left
// can be tried again.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := countersign.CheckID("crd", string(task.Credential)); err != nil {
		return rejected("the task is incomplete: %v", err)
	}
	defer c.apart.Alone(string(task.Holder))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := c.Vault.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	server, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer server.hangUp()
	held, err := server.readMark(task.Credential)
	if err != nil || held == nil {
		return err
	}
	if held.made == nil {
		return rejected("the entry %s on %s does not say that countersign made it, so nothing is touched: look who made it, and delete it by hand", held.dn, task.SystemName)
	}
	others, err := server.marksOn(held.made.Group, held.made.Person)
	if err != nil {
		return err
	}
	if len(others) <= 1 {
		if err := server.leave(ctx, task, held.made); err != nil {
			return err
		}
	}
	err = server.write(ctx, task, goldap.NewDelRequest(held.dn, nil))
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
		return nil
	}
	return err
}

// leave takes the person out of the group. Where that person's name has become
// somebody else's, the membership is that one's by now, and somebody has to look.
func (s *session) leave(ctx context.Context, task connector.Task, made *mark) error {
	group, err := s.byUUID(s.of.Groups, made.Group)
	if err != nil {
		return err
	}
	if group == nil {
		return s.sees(s.of.Groups) // a group that was deleted has no members
	}
	person, err := s.byUUID(s.of.People, made.Person)
	if err != nil {
		return err
	}
	names := []string{made.Member}
	if person != nil && !sameDN(person.dn, made.Member) {
		names = append(names, person.dn)
	}
	for _, name := range names {
		if !group.has(name) {
			continue
		}
		there, err := s.entry(name)
		if err != nil {
			return err
		}
		if there != nil && there.uuid != made.Person {
			return rejected("%s is a member of %s, and the name has become somebody else's (entryUUID %s): take it out by hand", name, group.dn, there.uuid)
		}
		err = s.write(ctx, task, part(group, s.of.MemberAttribute, name, s.of.Marks))
		// 16: it is gone already.
		if err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchAttribute) {
			return err
		}
		if group, err = s.byUUID(s.of.Groups, made.Group); err != nil || group == nil {
			return err
		}
		if group.has(name) {
			return &connector.Failure{Kind: connector.Transient, Message: name + " reads back as a member of " + group.dn}
		}
	}
	return nil
}

// sameDN compares names as the directory does for the usual attributes.
func sameDN(one, other string) bool { return nameKey(one) == nameKey(other) }

func nameKey(name string) string {
	dn, err := goldap.ParseDN(name)
	if err != nil {
		return strings.ToLower(name)
	}
	return strings.ToLower(dn.String())
}
