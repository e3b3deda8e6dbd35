package connector

import (
	"context"

	"github.com/countersign/countersign"
)

// LastUse is what a connector offers besides whose target can tell when a
// credential was last used.
type LastUse interface {
	// LastUsed returns the latest use of the credential that the target knows of,
	// zero for none. Where a use after it cannot be told from none, it is an error.
	LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error)
}

// Activity is what a connector offers besides whose target can tell what was done
// with a credential.
type Activity interface {
	// Activity calls found for each thing that was done with the credential, and
	// nothing that was done with another one, oldest first, and says where it looked.
	// An error says why the target cannot tell, or not all of it.
	Activity(ctx context.Context, of Use, found func(Act) error) (source string, err error)
}

// Use is the access of which one asks what was done with it.
type Use struct {
	Credential countersign.CredentialID
	Holder     countersign.IdentityID
	// From is when it was first told to the target, To when it was read back as gone.
	From, To countersign.Instant
}

// Act is one thing that was done, in one line.
type Act struct {
	At   countersign.Instant
	What string
}

// LastUseAsActivity is the activity of a target that notes the last use of each
// credential and nothing else, and whose every use is the same act.
func LastUseAsActivity(ctx context.Context, target LastUse, of Use, what string, found func(Act) error) error {
	at, err := target.LastUsed(ctx, of.Credential)
	if err != nil || at == 0 {
		return err
	}
	return found(Act{At: at, What: what})
}
