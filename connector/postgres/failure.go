package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/connector"
)

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// connect opens the one connection of an operation.
func (c *Connector) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.config)
	return conn, failed(err)
}

// hangUp says good-bye to the server, and does not wait for long.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// An answer to a good-bye changes nothing.
	_ = conn.Close(ctx)
}

// The classes and codes of SQLSTATE (appendix A of PostgreSQL's manual) that say
// the same however often it is tried.
const (
	insufficientPrivilege = "42501"
	duplicateObject       = "42710"
	undefinedObject       = "42704"
	dependentObjects      = "2BP01"
)

// failed turns an error of the driver into what the engine should do. None of
// the driver's messages has the password; an unknown one counts as worth a try.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var told *pgconn.PgError
	if !errors.As(err, &told) {
		return &connector.Failure{Kind: connector.Transient, Message: "the PostgreSQL server did not answer", Cause: err}
	}
	message := fmt.Sprintf("the PostgreSQL server says: %s (SQLSTATE %s)", told.Message, told.Code)
	switch told.Code {
	case insufficientPrivilege, duplicateObject, undefinedObject, dependentObjects:
		return &connector.Failure{Kind: connector.Rejected, Message: message, Cause: err}
	}
	return &connector.Failure{Kind: connector.Transient, Message: message, Cause: err}
}

// owning says what a person has to do about a role that objects depend on. To
// whom they should go, or whether they should go away, is not ours to decide.
func owning(err error, task connector.Task, held *role) error {
	var told *pgconn.PgError
	if !errors.As(err, &told) || told.Code != dependentObjects {
		return err
	}
	name := pgx.Identifier{held.name}.Sanitize()
	return rejected("%s cannot log in any more and is a member of nothing, but it cannot be dropped, because objects on %s depend on it (%s): in each database concerned, REASSIGN OWNED BY %s TO an owner and DROP OWNED BY %s; then it goes by itself",
		held.name, task.SystemName, told.Detail, name, name)
}
