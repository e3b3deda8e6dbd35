package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// mark is what the comment on a credential's role says after markPrefix. A role
// without it was not made here.
type mark struct {
	connector.Mark
	// Group and Login are the roles by their immutable numbers; Login is 0 where
	// the credential is a login of its own.
	Group uint32 `json:"group"`
	Login uint32 `json:"login,omitempty"`
}

func markPrefix(credential countersign.CredentialID) string {
	return markBegin + string(credential) + " "
}

// role is the role of a credential as the server has it.
type role struct {
	oid   uint32
	name  string
	login bool
	// powers are the superuser-like attributes that it has.
	powers []string
	until  countersign.Instant
	// made is nil where the comment does not say that this credential made the role.
	made *mark
	// groups are what it is a member of, members what is a member of it; admin
	// says that one of them comes with ADMIN OPTION.
	groups, members []uint32
	groupNames      []string
	admin           bool
}

// powersOf lists the attributes of pg_roles that go beyond a membership.
const powersOf = `array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
	CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL)`

// read returns the role of the credential, nil where there is none: the one with
// its mark, which somebody may have renamed, before one that has only its name. The server
// makes whoever creates a role its member, from version 16 on; that one does not
// count as a member.
func read(ctx context.Context, q querier, credential countersign.CredentialID) (*role, error) {
	found, comment := &role{}, ""
	var until pgtype.Timestamptz
	err := q.QueryRow(ctx, `SELECT r.oid, rolname, rolcanlogin, `+powersOf+`, rolvaliduntil, coalesce(shobj_description(r.oid, 'pg_authid'), ''),
		ARRAY(SELECT roleid FROM pg_auth_members WHERE member = r.oid ORDER BY 1),
		ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = roleid WHERE member = r.oid ORDER BY 1),
		ARRAY(SELECT member FROM pg_auth_members m JOIN pg_roles u ON u.oid = member WHERE roleid = r.oid AND u.rolname <> current_user ORDER BY 1),
		EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles u ON u.oid = member WHERE admin_option AND (member = r.oid OR roleid = r.oid AND u.rolname <> current_user))
		FROM pg_roles r JOIN LATERAL (SELECT r.oid IN (SELECT objoid FROM pg_shdescription WHERE classoid = 'pg_authid'::regclass AND starts_with(description, $2))) AS m(ours) ON true
		WHERE ours OR rolname = $1 ORDER BY ours DESC, rolname = $1 DESC LIMIT 1`, string(credential), markPrefix(credential)).
		Scan(&found.oid, &found.name, &found.login, &found.powers, &until, &comment, &found.groups, &found.groupNames, &found.members, &found.admin)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	if until.Valid && until.InfinityModifier == pgtype.Finite {
		found.until = countersign.InstantOf(until.Time)
	}
	if text, ours := strings.CutPrefix(comment, markPrefix(credential)); ours {
		var made mark
		if json.Unmarshal([]byte(text), &made) == nil && countersign.CheckID("grt", string(made.Grant)) == nil {
			found.made = &made
		}
	}
	return found, nil
}

func (r *role) describe() string {
	kind := "NOLOGIN"
	if r.login {
		kind = "LOGIN"
	}
	text := fmt.Sprintf("%s %s, member of [%s], with %d members, until %s", r.name, kind, strings.Join(r.groupNames, ", "), len(r.members), r.until)
	if r.made != nil {
		text += fmt.Sprintf(", made for %s on %s for %s", r.made.Entitlement, r.made.Resource, r.made.Holder)
	}
	return text
}

// differs says in what the role is not exactly what the task asks for, or "".
func (r *role) differs(gives Gives, task connector.Task) string {
	switch {
	case r.made == nil:
		return "countersign did not make it"
	case !r.made.MadeFor(task):
		return fmt.Sprintf("it was made for %s on %s for %s, under %s", r.made.Entitlement, r.made.Resource, r.made.Holder, r.made.Grant)
	case r.name != string(task.Credential):
		return "it was renamed to " + r.name
	case len(r.powers) > 0:
		return "it was given " + strings.Join(r.powers, ", ")
	case r.login != (gives == Login):
		return "whether it can log in was changed"
	case r.until != r.made.Until:
		return "its end was changed"
	case r.admin:
		return "a membership was given ADMIN OPTION"
	case !slices.Equal(r.groups, []uint32{r.made.Group}), !slices.Equal(r.groupNames, []string{task.Entitlement}):
		return "its memberships were changed"
	case gives == Login && len(r.members) > 0, gives == Membership && !slices.Equal(r.members, []uint32{r.made.Login}):
		return "its members were changed"
	}
	return ""
}

// offer is what the task needs on the server.
type offer struct {
	group uint32
	login struct {
		oid  uint32
		name string
	}
}

// offered looks for the group role, the database and the person's login, and
// refuses what could not be given exactly, or not be taken away. What is offered
// is what the account was given WITH ADMIN OPTION; up to version 15 CREATEROLE
// would be enough for the server, and is not enough here.
func (c *Connector) offered(ctx context.Context, q querier, task connector.Task) (*offer, error) {
	var account string
	var able, ends bool
	err := q.QueryRow(ctx, `SELECT current_user, rolcreaterole OR rolsuper, rolsuper OR pg_has_role('pg_signal_backend', 'usage') FROM pg_roles WHERE rolname = current_user`).
		Scan(&account, &able, &ends)
	switch {
	case err != nil:
		return nil, failed(err)
	case !able:
		return nil, rejected("the account %s of the connector %s may not make roles: it needs CREATEROLE", account, c.Name)
	case !ends:
		return nil, rejected("the account %s of the connector %s may not end sessions, so what it gives could not be taken back: GRANT pg_signal_backend TO %s", account, c.Name, pgx.Identifier{account}.Sanitize())
	}
	var found offer
	var login, admin bool
	err = q.QueryRow(ctx, `SELECT r.oid, rolcanlogin, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION') FROM pg_roles r WHERE rolname = $1`, task.Entitlement).
		Scan(&found.group, &login, &admin)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, rejected("there is no role %q on %s", task.Entitlement, task.SystemName)
	case err != nil:
		return nil, failed(err)
	case login:
		return nil, rejected("the role %q of %s can log in: a group role that is offered is NOLOGIN", task.Entitlement, task.SystemName)
	case !admin || strings.HasPrefix(task.Entitlement, "pg_"):
		return nil, rejected("the role %q of %s is not offered: only roles that the account %s was given WITH ADMIN OPTION are, and none of the server's own", task.Entitlement, task.SystemName, account)
	}
	if err := c.harmless(ctx, q, task, found.group); err != nil {
		return nil, err
	}
	var connects bool
	err = q.QueryRow(ctx, `SELECT has_database_privilege($1::oid, oid, 'CONNECT') FROM pg_database WHERE datname = $2 AND datallowconn`, found.group, task.Resource).Scan(&connects)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, rejected("there is no database %q on %s that one can connect to", task.Resource, task.SystemName)
	case err != nil:
		return nil, failed(err)
	case !connects:
		return nil, rejected("the role %q of %s may not connect to the database %q", task.Entitlement, task.SystemName, task.Resource)
	}
	if c.Gives == Membership {
		return &found, c.person(ctx, q, task, &found)
	}
	return &found, nil
}

// harmless refuses a group role that is, or leads by memberships to, one with
// superuser-like attributes or one of the server's own that act beyond tables.
func (c *Connector) harmless(ctx context.Context, q querier, task connector.Task, group uint32) error {
	var name string
	var powers []string
	err := q.QueryRow(ctx, `WITH RECURSIVE reached(oid) AS (SELECT $1::oid UNION SELECT roleid FROM pg_auth_members JOIN reached ON member = reached.oid)
		SELECT rolname, `+powersOf+` FROM reached JOIN pg_roles USING (oid)
		WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR rolname LIKE 'pg\_%' ORDER BY oid = $1 DESC, rolname LIMIT 1`, group).Scan(&name, &powers)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return failed(err)
	case len(powers) == 0:
		return rejected("the role %q of %s leads to the server's own role %s, which is more than access to a database", task.Entitlement, task.SystemName, name)
	}
	return rejected("the role %q of %s gives %s (by the role %s), which is never given", task.Entitlement, task.SystemName, strings.Join(powers, ", "), name)
}

// person finds the login role that carries the holder's id in its comment: ids
// never change hands, and names do.
func (c *Connector) person(ctx context.Context, q querier, task connector.Task, found *offer) error {
	rows, err := q.Query(ctx, `SELECT oid, rolname, rolsuper FROM pg_roles WHERE rolcanlogin AND shobj_description(oid, 'pg_authid') ~ ('\mcountersign holder ' || $1::text || '\M') LIMIT 2`, string(task.Holder))
	if err != nil {
		return failed(err)
	}
	logins := 0
	var super bool
	if _, err := pgx.ForEachRow(rows, []any{&found.login.oid, &found.login.name, &super}, func() error { logins++; return nil }); err != nil {
		return failed(err)
	}
	switch {
	case logins == 0:
		return rejected("no login role on %s belongs to %s: COMMENT ON ROLE … IS 'countersign holder %s' says which one does", task.SystemName, task.HolderName, task.Holder)
	case logins > 1:
		return rejected("several login roles on %s say that they belong to %s (%s)", task.SystemName, task.HolderName, task.Holder)
	case super:
		return rejected("the login %s of %s is a superuser, to whom nothing can be given and from whom nothing can be taken", found.login.name, task.HolderName)
	}
	return nil
}
