package postgres

import (
	"cmp"
	"context"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// LastUsed implements connector.LastUse. A login with an open session is in use now;
// of the others the server's log tells, where the house can read it. Of a
// membership nothing is known: the log names the login, and not by which right it
// acted.
func (c *Connector) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	used, since, err := c.LoggedUse(ctx, credential)
	return cmp.Or(used, since), err
}

// LoggedUse implements connector.LoggedUse.
func (c *Connector) LoggedUse(ctx context.Context, credential countersign.CredentialID) (used, since countersign.Instant, err error) {
	if c.Gives != Login {
		return 0, 0, countersign.Errorf(countersign.Unavailable, "use-not-known", "PostgreSQL cannot tell when the membership %s was last used", credential)
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer hangUp(conn)
	var open bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1)`, string(credential)).Scan(&open); err != nil {
		return 0, 0, failed(err)
	}
	switch {
	case open:
		return countersign.InstantOf(c.Clock.Now()), 0, nil
	case c.log == nil:
		return 0, 0, countersign.Errorf(countersign.Unavailable, "use-not-known", "the server's log is not read here, so nobody can tell when %s was last used", credential)
	}
	how, err := c.logging(ctx, conn)
	if err != nil {
		return 0, 0, err
	}
	return c.log.lastUsed(ctx, how, c, credential)
}

// Activity implements connector.Activity: the lines of the credential's own login.
// For a membership they are those of the person's login while it lasted, by whatever
// right it acted.
func (c *Connector) Activity(ctx context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	if c.log == nil {
		return "", countersign.Errorf(countersign.Unavailable, "use-not-known", "the log of the server of %s is not read here", c.Name)
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer hangUp(conn)
	how, err := c.logging(ctx, conn)
	if err != nil {
		return "", err
	}
	role, whose := string(of.Credential), ""
	if c.Gives == Membership {
		var person offer
		if err := c.person(ctx, conn, connector.Task{Holder: of.Holder, HolderName: "the holder", SystemName: c.Name}, &person); err != nil {
			return "", err
		}
		role, whose = person.login.name, ", and of all that this login did meanwhile, also by other rights"
	}
	source := fmt.Sprintf("the lines of the role %s in %s%s; the server logs connections, and of statements now: %s", role, c.log.files, whose, how.statements)
	return source, c.log.activity(ctx, how, role, of.From.Time().Add(how.ahead), of.To.Time().Add(how.ahead), c.Gives == Membership, found)
}
