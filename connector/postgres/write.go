package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

// change runs do in a transaction that holds the credential's lock, and commits
// before the deadline or not at all: the server itself ends a transaction that
// stands still for as long as the operation had left.
func (c *Connector) change(ctx context.Context, task connector.Task, do func(tx pgx.Tx) error) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return failed(err)
	}
	// After a commit there is nothing left to undo, and hanging up undoes the rest.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	left := int64(0)
	if task.Deadline != 0 {
		left = max(int64(task.Deadline-countersign.InstantOf(c.Clock.Now())), 1)
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = %d; SET LOCAL statement_timeout = %d", left, left)); err != nil {
		return failed(err)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('countersign ' || $1::text, 0))`, string(task.Credential)); err != nil {
		return failed(err)
	}
	if err := do(tx); err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	return failed(tx.Commit(ctx))
}

// create makes the role, its comment and its memberships, and deposits the
// password. The server is given a verifier: neither its log nor its memory ever
// has the password.
func (c *Connector) create(ctx context.Context, tx pgx.Tx, task connector.Task, how vaulthands.Reading, found *offer) error {
	name := pgx.Identifier{string(task.Credential)}.Sanitize()
	attributes, password := "NOLOGIN", countersign.Secret{}
	if c.Gives == Login {
		var verifier string
		var err error
		if password, verifier, err = newPassword(c.Random); err != nil {
			return err
		}
		attributes = "LOGIN PASSWORD " + quoted(verifier)
	}
	made := mark{Mark: connector.MarkOf(task), Group: found.group, Login: found.login.oid}
	statements := []string{
		"CREATE ROLE " + name + " INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS " + attributes + " VALID UNTIL " + validUntil(task.Until),
		commentOn(task.Credential, made),
		"GRANT " + pgx.Identifier{task.Entitlement}.Sanitize() + " TO " + name,
	}
	if c.Gives == Membership {
		statements = append(statements, "GRANT "+name+" TO "+pgx.Identifier{found.login.name}.Sanitize())
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return failed(err)
		}
	}
	if c.Gives == Membership {
		return takeOver(ctx, tx, task, found)
	}
	return connector.FailureOf(c.Vault.Deposit(ctx, vaulthands.OrderOf(task, how), password))
}

// takeOver takes away the membership that was given by hand, in the transaction
// that gives the new one, so that access is at no time lost or there twice.
func takeOver(ctx context.Context, tx pgx.Tx, task connector.Task, found *offer) error {
	switch task.TakesOver {
	case "":
		return nil
	case found.login.name:
	default:
		return rejected("the login of %s is %s, and not %s", task.HolderName, found.login.name, task.TakesOver)
	}
	if _, err := tx.Exec(ctx, "REVOKE "+pgx.Identifier{task.Entitlement}.Sanitize()+" FROM "+pgx.Identifier{found.login.name}.Sanitize()); err != nil {
		return failed(err)
	}
	// From version 16 on, what another grantor gave stays, and that is only a warning.
	var stays bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_auth_members WHERE roleid = $1 AND member = $2)`, found.group, found.login.oid).Scan(&stays); err != nil {
		return failed(err)
	}
	if stays {
		return rejected("the membership of %s in %s was given by somebody whose grants the connector's account cannot take back: REVOKE it as that role", found.login.name, task.Entitlement)
	}
	return nil
}

// move gives a role that is there the task's end, unless the task is an older
// attempt or changes nothing.
func (c *Connector) move(ctx context.Context, tx pgx.Tx, task connector.Task, how vaulthands.Reading, held *role) error {
	if wrong := held.differs(c.Gives, task); wrong != "" {
		return rejected("there is a role %s on %s already, which is not touched: %s", held.name, task.SystemName, wrong)
	}
	made := *held.made
	if made.Stays(task) {
		return nil
	}
	made.Mark = made.Moved(task)
	for _, statement := range []string{
		"ALTER ROLE " + pgx.Identifier{held.name}.Sanitize() + " VALID UNTIL " + validUntil(task.Until),
		commentOn(task.Credential, made),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return failed(err)
		}
	}
	if c.Gives == Membership {
		return nil
	}
	return connector.FailureOf(c.Vault.MoveEnd(ctx, vaulthands.OrderOf(task, how)))
}

// Revoke implements connector.Connector. First, in one transaction, the role can
// do nothing any more; then the sessions that it could have opened are ended; only
// then is it dropped. As long as it is there, what is left can be tried again.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := countersign.CheckID("crd", string(task.Credential)); err != nil {
		return rejected("the task is incomplete: %v", err)
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := c.Vault.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	var held *role
	err := c.change(ctx, task, func(tx pgx.Tx) (err error) {
		if held, err = owned(ctx, tx, task); err != nil || held == nil {
			return err
		}
		return c.disarm(ctx, tx, held)
	})
	if err != nil {
		return err
	}
	if held != nil {
		if err := c.endSessions(ctx, task, held); err != nil {
			return err
		}
		err = c.change(ctx, task, func(tx pgx.Tx) error {
			still, err := owned(ctx, tx, task)
			if err != nil || still == nil {
				return err
			}
			_, err = tx.Exec(ctx, "DROP ROLE "+pgx.Identifier{still.name}.Sanitize())
			return owning(failed(err), task, still)
		})
		if err != nil {
			return err
		}
	}
	if c.Gives == Membership {
		return nil
	}
	// Who was just signing in when the role was dropped, or was left behind by
	// somebody who dropped it by hand.
	return c.endAll(ctx, task, orphanSessions)
}

// owned returns the role of the credential, nil where there is none; one without
// our mark is Rejected.
func owned(ctx context.Context, tx pgx.Tx, task connector.Task) (*role, error) {
	held, err := read(ctx, tx, task.Credential)
	if err == nil && held != nil && held.made == nil {
		return nil, rejected("the role %s on %s does not say that countersign made it for this credential, so it is not touched: look who made it, and drop it by hand", held.name, task.SystemName)
	}
	return held, err
}

// disarm leaves the role without login, groups and members.
func (c *Connector) disarm(ctx context.Context, tx pgx.Tx, held *role) error {
	name := pgx.Identifier{held.name}.Sanitize()
	statements := []string{"ALTER ROLE " + name + " NOLOGIN"}
	for _, group := range held.groupNames {
		statements = append(statements, "REVOKE "+pgx.Identifier{group}.Sanitize()+" FROM "+name)
	}
	rows, err := tx.Query(ctx, `SELECT rolname::text FROM pg_roles WHERE oid = ANY ($1)`, held.members)
	if err != nil {
		return failed(err)
	}
	members, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return failed(err)
	}
	for _, member := range members {
		statements = append(statements, "REVOKE "+name+" FROM "+pgx.Identifier{member}.Sanitize())
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return failed(err)
		}
	}
	return nil
}

// endSessions ends what was open when the role was disarmed. Of a person all
// sessions of the login are ended: one that did SET ROLE keeps what it took, and
// the server does not say which did. A login of its own has to have none left; a
// person may come back at once, with what else is theirs.
func (c *Connector) endSessions(ctx context.Context, task connector.Task, held *role) error {
	if c.Gives == Login {
		return c.endAll(ctx, task, func(ctx context.Context, q querier) ([]int32, error) {
			return sessions(ctx, q, `usesysid = $1`, held.oid)
		})
	}
	return c.endOnce(ctx, task, held.made.Login)
}

// endOnce ends the sessions that a login has open now.
func (c *Connector) endOnce(ctx context.Context, task connector.Task, login uint32) error {
	var first []int32
	return c.endAll(ctx, task, func(ctx context.Context, q querier) (pids []int32, err error) {
		if first == nil {
			first, err = sessions(ctx, q, `usesysid = $1`, login)
			return first, err
		}
		return sessions(ctx, q, `usesysid = $1 AND pid = ANY ($2)`, login, first)
	})
}

// endAll ends the sessions that look finds until it finds none.
func (c *Connector) endAll(ctx context.Context, task connector.Task, look func(context.Context, querier) ([]int32, error)) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	for {
		if err := task.CheckDeadline(ctx, c.Clock); err != nil {
			return err
		}
		pids, err := look(ctx, conn)
		if err != nil || len(pids) == 0 {
			return err
		}
		if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid, $2) FROM unnest($1::int[]) AS pid`, pids, sessionPatience.Milliseconds()); err != nil {
			return failed(err)
		}
	}
}

// sessionPatience is how long the server waits for a session to end before the
// next look.
const sessionPatience = 5 * time.Second

// orphanSessions are sessions whose role was dropped. Nobody holds such access,
// and the server does not say whose it was.
func orphanSessions(ctx context.Context, q querier) ([]int32, error) {
	return sessions(ctx, q, `usesysid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = usesysid)`)
}

func sessions(ctx context.Context, q querier, where string, args ...any) ([]int32, error) {
	rows, err := q.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND `+where, args...)
	if err != nil {
		return nil, failed(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	return pids, failed(err)
}

func commentOn(credential countersign.CredentialID, made mark) string {
	text, err := json.Marshal(made)
	if err != nil {
		// A struct of strings and numbers always marshals.
		panic("postgres: " + err.Error())
	}
	return "COMMENT ON ROLE " + pgx.Identifier{string(credential)}.Sanitize() + " IS " + quoted(markPrefix(credential)+string(text))
}

func validUntil(end countersign.Instant) string {
	if end == 0 {
		return "'infinity'"
	}
	return quoted(end.String())
}

// quoted is a literal; standard_conforming_strings is on for every session of ours.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
