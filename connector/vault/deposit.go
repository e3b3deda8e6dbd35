package vault

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/target/vault"
)

// Deposits is what a connector needs of a vault that makes logins on another
// target. The vault also remembers which credentials were revoked: a login that
// was removed leaves nothing behind that would keep a late Apply from making it
// anew.
type Deposits interface {
	Deposit(ctx context.Context, order vault.Order, secret countersign.Secret) error
	MoveEnd(ctx context.Context, order vault.Order) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (vault.Check, error)
}

const passwordBytes = 32

// NewPassword makes a password that cannot be guessed, so that a plain hash of it
// tells nothing.
func NewPassword(random io.Reader) (countersign.Secret, error) {
	var content [passwordBytes]byte
	if _, err := io.ReadFull(random, content[:]); err != nil {
		return countersign.Secret{}, fmt.Errorf("making a password: %w", err)
	}
	return countersign.NewSecret(base64.RawURLEncoding.EncodeToString(content[:])), nil
}

// CheckGiving refuses what would have ended by now, and what was revoked: it is
// never given again.
func CheckGiving(ctx context.Context, deposits interface {
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (vault.Check, error)
}, clock connector.Clock, task connector.Task) error {
	if now := countersign.InstantOf(clock.Now()); task.Until != 0 && task.Until <= now {
		return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf("the access of %s would have ended at %s already", task.Credential, task.Until)}
	}
	check, err := deposits.CheckCredential(ctx, task.Credential)
	if err != nil {
		return connector.FailureOf(err)
	}
	if check.Why == vault.Revoked {
		return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf("%s was revoked and is never given again; ask for a new credential", task.Credential)}
	}
	return nil
}
