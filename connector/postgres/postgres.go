// Package postgres is the connector for roles of a PostgreSQL server, from
// version 14 on. It gives one of two things: membership of a person's login role
// in a group role, or a login of its own in a group role, whose password lies
// sealed in the vault.
//
// It never imports desk, and reaches the vault only to deposit, to move an end
// and to revoke. Each credential is one role with the credential's id as its
// name, made together with a comment that says so; nothing without that comment
// is changed or dropped. After Apply returns nil the role is committed with
// exactly one membership, and no superuser-like attribute; after Revoke returns
// nil the role is dropped, and no session that it could have opened is left.
package postgres

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

// Gives is what a connector gives.
type Gives string

const (
	// Membership puts a person's login role into a group role, with the credential's
	// role in between: PostgreSQL keeps no mark on a membership, and what was given
	// by hand beside it stays.
	Membership Gives = "membership"
	// Login makes a role that logs in with a password of its own.
	Login Gives = "login"
)

// Options are what a connector is made of.
type Options struct {
	// Name is the connector's name in the house.
	Name  string
	Gives Gives
	// URL is that of the connector's own account on the server.
	URL   countersign.Secret
	Vault vaulthands.Deposits
	// Log names the files of the server's log that the house can read, as
	// /var/log/postgresql/*.json; "" for none.
	Log   string
	Clock connector.Clock
	// Random is cryptographically strong and safe for many callers at once.
	Random io.Reader
}

// Connector implements connector.Connector on a PostgreSQL server.
type Connector struct {
	Options
	config *pgx.ConnConfig
	// log is nil where none can be read.
	log *serverLog
}

// New returns the connector. It connects for each operation and never before, so
// a server that is down keeps no house from starting.
func New(options Options) (*Connector, error) {
	config, err := pgx.ParseConfig(options.URL.Reveal())
	if err != nil {
		// The parser's own message repeats parts of the URL.
		return nil, countersign.Errorf(countersign.Invalid, "malformed-url", "the URL of the connector %s is not one of a PostgreSQL server: write postgres://account:password@host/database", options.Name)
	}
	config.RuntimeParams["application_name"] = "countersign"
	config.RuntimeParams["standard_conforming_strings"] = "on"
	made := &Connector{Options: options, config: config}
	if options.Log != "" {
		if made.log, err = openLog(options.Log); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	description := connector.Description{
		Name: c.Name, Actions: []string{"add-member"}, Kind: countersign.RoleKind,
		// VALID UNTIL refuses a password after its end, and a session that is open
		// goes on; for a membership it means nothing. So no end is the server's own.
		EnforcesExpiryItself: false,
		EndsSessions:         true, Extends: true, IdempotentRevoke: true, TakesOver: c.Gives == Membership,
	}
	if c.Gives == Login {
		description.Actions, description.Kind, description.Rotates = []string{"create-login"}, countersign.CredentialKind, true
	}
	return description
}

// check refuses what can be refused without asking the server.
func (c *Connector) check(task connector.Task) (vaulthands.Reading, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return vaulthands.Reading{}, err
	}
	if c.Gives == Login {
		return vaulthands.ReadingOf(c.Name, task)
	}
	for name := range task.Settings {
		return vaulthands.Reading{}, rejected("the connector %s has no settings, so it does not know %q", c.Name, name)
	}
	return vaulthands.Reading{}, nil
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	how, err := c.check(task)
	if err != nil {
		return connector.Plan{}, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return connector.Plan{}, err
	}
	defer hangUp(conn)
	offered, err := c.offered(ctx, conn, task)
	if err != nil {
		return connector.Plan{}, err
	}
	until := ""
	if task.Until != 0 {
		until = ", until " + task.Until.String() + " at the latest"
	}
	if c.Gives == Login {
		return connector.Plan{Effect: fmt.Sprintf("A new login in the role %s in database %s of %s, for %s (%s)%s. Its password lies in the vault; %s.",
			task.Entitlement, task.Resource, task.SystemName, task.HolderName, task.Holder, until, how.Describe())}, nil
	}
	effect := fmt.Sprintf("The role %s in database %s of %s, for the login %s of %s (%s)%s. When it ends, every open session of that login is closed.",
		task.Entitlement, task.Resource, task.SystemName, offered.login.name, task.HolderName, task.Holder, until)
	if task.TakesOver != "" {
		if task.TakesOver != offered.login.name {
			return connector.Plan{}, rejected("the login of %s is %s, and not %s", task.HolderName, offered.login.name, task.TakesOver)
		}
		effect += " It takes the place of the membership in the same role that was given to that login by hand, which is taken away."
	}
	return connector.Plan{Effect: effect}, nil
}

// Apply implements connector.Connector. All of it is one transaction on the
// server, and the password is deposited before it commits: what was committed can
// be read, and what was deposited without a commit is replaced at the next try.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	how, err := c.check(task)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	return c.change(ctx, task, func(tx pgx.Tx) error {
		if err := vaulthands.CheckGiving(ctx, c.Vault, c.Clock, task); err != nil {
			return err
		}
		offered, err := c.offered(ctx, tx, task)
		if err != nil {
			return err
		}
		held, err := read(ctx, tx, task.Credential)
		if err != nil {
			return err
		}
		if held != nil {
			return c.move(ctx, tx, task, how, held)
		}
		return c.create(ctx, tx, task, how, offered)
	})
}

// Verify implements connector.Connector: the role, its attributes and all of its
// memberships as the server's catalogue has them.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	held, reading, err := c.lookUp(ctx, task)
	if held != nil {
		if wrong := held.differs(c.Gives, task); wrong != "" {
			reading.Present = false
			reading.How += ", which is not what was asked for: " + wrong
		}
	}
	return reading, err
}

// VerifyGone implements connector.Connector. A role that cannot log in any more
// is not gone; neither is a login whose role was dropped while a session of it
// goes on.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.lookUp(ctx, task)
	return reading, err
}

func (c *Connector) lookUp(ctx context.Context, task connector.Task) (*role, connector.Reading, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, connector.Reading{}, err
	}
	defer hangUp(conn)
	held, err := read(ctx, conn, task.Credential)
	if err != nil {
		return nil, connector.Reading{}, err
	}
	reading := connector.Reading{How: fmt.Sprintf("pg_roles and pg_auth_members for the role %s", task.Credential)}
	if held == nil {
		reading.How += ": no such role"
		if c.Gives == Membership {
			return nil, reading, nil
		}
		orphans, err := orphanSessions(ctx, conn)
		if err != nil {
			return nil, connector.Reading{}, err
		}
		if len(orphans) > 0 {
			reading.Present = true
			reading.How += fmt.Sprintf("; but pg_stat_activity has open sessions of dropped roles, with the process ids %v", orphans)
			return nil, reading, nil
		}
		reading.How += ", and pg_stat_activity has no session of a dropped role"
		return nil, reading, nil
	}
	reading.Present, reading.Until, reading.Reference = true, held.until, string(task.Credential)
	if c.Gives == Membership {
		reading.Reference = "membership of " + held.name
	}
	reading.How += ": " + held.describe()
	return held, reading, nil
}
