package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connector"
)

// others are the memberships through which a login, or somebody who was put into a
// credential's role by hand, has a group role without a mark of ours; $3 begins every
// mark. They are what List shows without one.
const others = `SELECT DISTINCT r.rolname::text, CASE WHEN r.rolname = $2 THEN '' ELSE coalesce(shobj_description(r.oid, 'pg_authid'), '') END, p.oid
	FROM pg_auth_members a JOIN pg_roles p ON p.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
	WHERE p.rolname = $1 AND p.rolname <> current_user AND (
		r.rolname = $2 AND p.rolcanlogin AND NOT starts_with(coalesce(shobj_description(p.oid, 'pg_authid'), ''), $3)
		OR NOT r.rolcanlogin AND starts_with(coalesce(shobj_description(r.oid, 'pg_authid'), ''), $3)
			AND EXISTS (SELECT FROM pg_auth_members b JOIN pg_roles g ON g.oid = b.roleid WHERE b.member = r.oid AND g.rolname = $2))`

// byOthers returns the names of the roles that the principal is in by others.
func byOthers(ctx context.Context, q querier, task connector.Task) ([]string, error) {
	if task.Principal == "" || task.Resource != "" {
		// What others gave is tied to no database, and never listed with one.
		return nil, nil
	}
	rows, err := q.Query(ctx, others, task.Principal, task.Entitlement, markBegin)
	if err != nil {
		return nil, failed(err)
	}
	var roles []string
	var name, comment string
	var member uint32
	_, err = pgx.ForEachRow(rows, []any{&name, &comment, &member}, func() error {
		if text, marked := strings.CutPrefix(comment, markBegin); marked {
			if credential, made := readMark(text); credential == "" || made.System != task.System || made.Login == 0 || made.Login == member {
				return nil // ours, or of another system
			}
		}
		roles = append(roles, name)
		return nil
	})
	return roles, failed(err)
}

// Remove implements connector.Remover. The membership is taken back, and the login
// stays, with what else it has; its open sessions are ended, because one that did SET
// ROLE keeps what it took.
func (c *Connector) Remove(ctx context.Context, task connector.Task) error {
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	var login uint32
	err := c.change(ctx, task, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT oid FROM pg_roles WHERE rolname = $1 AND rolname <> current_user`, task.Principal).Scan(&login)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // the account is gone, and what it had with it
		}
		if err != nil {
			return failed(err)
		}
		roles, err := byOthers(ctx, tx, task)
		if err != nil {
			return err
		}
		for _, role := range roles {
			if _, err := tx.Exec(ctx, "REVOKE "+pgx.Identifier{role}.Sanitize()+" FROM "+pgx.Identifier{task.Principal}.Sanitize()); err != nil {
				return failed(err)
			}
		}
		// From version 16 on, what another grantor gave stays, and that is only a warning.
		if roles, err = byOthers(ctx, tx, task); err == nil && len(roles) > 0 {
			err = rejected("the membership of %s in %s was given by somebody whose grants the connector's account cannot take back: REVOKE it as that role", task.Principal, strings.Join(roles, ", "))
		}
		return err
	})
	if err != nil || login == 0 {
		return err
	}
	return c.endOnce(ctx, task, login)
}

// Held implements connector.Remover.
func (c *Connector) Held(ctx context.Context, task connector.Task) (connector.Reading, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return connector.Reading{}, err
	}
	defer hangUp(conn)
	roles, err := byOthers(ctx, conn, task)
	if err != nil {
		return connector.Reading{}, err
	}
	reading := connector.Reading{Present: len(roles) > 0, Reference: "membership of " + task.Principal, How: fmt.Sprintf("pg_auth_members for %s in %s", task.Principal, task.Entitlement)}
	if !reading.Present {
		reading.How += ": none that others gave"
	}
	return reading, nil
}
