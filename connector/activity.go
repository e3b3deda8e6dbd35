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

// LoggedUse is a LastUse whose target tells by a log. Logs begin somewhere: where this
// one has no use, LastUsed answers where it begins, for there may have been one before.
type LoggedUse interface {
	LastUse
	// LoggedUse returns the latest use that the log has, zero for none, and from when
	// on the log tells.
	LoggedUse(ctx context.Context, credential countersign.CredentialID) (used, since countersign.Instant, err error)
}

// UseSince is the latest use that the target saw, zero for none, and from when on it
// would have seen one; zero for always.
func UseSince(ctx context.Context, target LastUse, credential countersign.CredentialID) (used, since countersign.Instant, err error) {
	if logged, is := target.(LoggedUse); is {
		return logged.LoggedUse(ctx, credential)
	}
	used, err = target.LastUsed(ctx, credential)
	return used, 0, err
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
