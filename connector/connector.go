// Package connector is the hands of the house: what carries access out on a
// target and reads back what is there. One folder per target.
//
// A connector never imports desk: hands do not decide. It reaches a built-in
// target only through what a remote one would offer. After Apply returns nil
// the target holds what was asked or will show in Verify that it does not; only
// what Verify and VerifyGone read counts.
package connector

import (
	"context"
	"time"

	"github.com/countersign/countersign"
)

// Connector carries operations out on one kind of target. All operations are
// idempotent in Task.Intent, may be called twice at once by a late duplicate,
// and stop before the next write to the target once Task.Deadline has passed.
type Connector interface {
	Planner

	// Apply gives exactly what the task names, or returns an error. That it is
	// there already, made by this credential, is success; made by anything else,
	// it is Rejected: a connector never adopts.
	Apply(ctx context.Context, task Task) error

	// Verify reads back from the target whether it holds what the task names.
	Verify(ctx context.Context, task Task) (Reading, error)

	// Revoke takes away what Apply gave for the task's credential, and only
	// that. That it is not there any more is success.
	Revoke(ctx context.Context, task Task) error

	// VerifyGone reads back from the target whether the credential still works.
	VerifyGone(ctx context.Context, task Task) (Reading, error)
}

// Planner is what the desk asks of whatever carries access out: a connector, or
// people.
type Planner interface {
	Describe() Description

	// Plan says in one sentence what Apply would do, and refuses (Rejected) what
	// it could not do exactly. It changes nothing.
	Plan(ctx context.Context, task Task) (Plan, error)
}

// ByHand is a planner whose tasks people carry out: the engine is never asked to.
type ByHand interface {
	Planner
	// Procedure reads the settings of a system, or says what is wrong with them.
	Procedure(settings map[string]string) (Procedure, error)
}

// Procedure is how people carry out what is asked on one system.
type Procedure struct {
	// Fulfiller and Witness are rules, as group(desk) or person(ana): who does it and
	// who looks afterwards. Without Witness another fulfiller looks, or an owner.
	Fulfiller, Witness string
	// Within is how long a task waits before it escalates.
	Within countersign.Seconds
	// Column names the column of a CSV list with the holder's Handle; "" is a list
	// with one name a line.
	Column string
	Handle countersign.HandleKind
	// Attested says that a second person's word is taken where there is no list.
	Attested bool
}

// Description says what a connector can do and how its target behaves.
type Description struct {
	Name string
	// Actions are what policies may name in fulfil, as in "issue-key".
	Actions []string
	// Kind is the kind of entitlement that it carries out.
	Kind countersign.EntitlementKind
	// Parameters are what it takes of the answers to the form of a request.
	Parameters []string
	// ParametersOnce says that no two credentials are made from the same parameters,
	// so that a rotation needs new ones.
	ParametersOnce bool
	// Bounds says that its target gives an answer for every use, and within Task.Bounds.
	Bounds bool
	// TakesOver says that Apply can put what it gives in the place of the same access
	// that somebody gave by hand, in one step; see Task.TakesOver.
	TakesOver bool
	// Rotates says that one grant may have two credentials at a time.
	Rotates bool
	// Extends says that Apply gives a credential that is there a later Until, under a
	// new intent.
	Extends bool
	// EnforcesExpiryItself says that the target refuses after Until by itself.
	EnforcesExpiryItself bool
	// EndsSessions says that a revoke ends what is open on the target.
	EndsSessions bool
	// ExpiryGranularity is the precision of the target's own ends, in seconds.
	ExpiryGranularity countersign.Seconds
	// IdempotentRevoke says that revoking twice is not an error on the target.
	IdempotentRevoke bool
	// Residual is how long what the target handed out works after a revoke.
	Residual countersign.Seconds
}

// Task is what a connector is told.
type Task struct {
	// Intent is the idempotency key; Attempt is the claim that runs.
	Intent  countersign.IntentID
	Attempt int
	// Credential is the immutable name of what is made and taken away.
	Credential countersign.CredentialID
	Grant      countersign.GrantID
	Action     string
	Holder     countersign.IdentityID
	HolderName string
	// Accountable is the person who answers for a holder that is no person.
	Accountable countersign.IdentityID
	System      countersign.SystemID
	SystemName  string
	Resource    string
	// Entitlement is the entitlement's name on the target.
	Entitlement   string
	EntitlementID countersign.EntitlementID
	Settings      map[string]string
	// Parameters are what the requester answered to the fields of the form that the
	// policy gives to the connector.
	Parameters map[string]string
	// Bounds are what the access counts within; each of them must be met.
	Bounds []Bound
	// TakesOver is the principal, as an Item names it, from whom Apply takes away the
	// same right that somebody gave by hand; "" for nobody.
	TakesOver string
	// Principal names, as an Item does, who holds what others gave: Resource and
	// Entitlement are then as the Item has them, too. It is set for Remover alone.
	Principal string
	// Until is the absolute end of the credential; the target is told it.
	Until countersign.Instant
	// Deadline is when the operation must not write to the target any more.
	Deadline countersign.Instant
}

// Bound makes access count only while somebody who answers for the holder holds one
// of the rights, at each use.
type Bound struct {
	Who   countersign.Answering
	Holds []BoundRight
}

// BoundRight is a right on a system whose connector can bound, by its names there.
type BoundRight struct {
	Entitlement string
	// Resource is "system/resource".
	Resource string
}

// Clock tells the time. Connectors, targets and the engine get it as an
// argument; the real one lives in the command line alone.
type Clock interface{ Now() time.Time }

// CheckDeadline refuses once the task's deadline has passed. A process that was
// stopped and woke up finds here that its time is over, whatever its timers say.
func (t Task) CheckDeadline(ctx context.Context, clock Clock) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.Deadline != 0 && countersign.InstantOf(clock.Now()) >= t.Deadline {
		return &Failure{Kind: Transient, Message: "the operation's deadline has passed; nothing further was written"}
	}
	return nil
}

// Plan is the exact effect that an approver is shown.
type Plan struct {
	Effect string
}

// Reading is what the target answered.
type Reading struct {
	// Present says whether the credential works, with exactly the asked right.
	Present bool
	// Until is the end that the target enforces; 0 if it enforces none.
	Until countersign.Instant
	// Reference is where the holder finds the credential; never the secret.
	Reference string
	// How says how it was looked at, as "POST /targets/vault/introspect".
	How string
}

// FailureKind says what the engine should do about a failure.
type FailureKind string

const (
	// Transient: try again with backoff. The effect may have happened.
	Transient FailureKind = "transient"
	// Throttled: try again after the given time. Nothing happened.
	Throttled FailureKind = "throttled"
	// Rejected: the target will never do this; a person must look. Nothing happened.
	Rejected FailureKind = "rejected"
)

// Failure is a connector's error. Any other error counts as Transient.
type Failure struct {
	Kind    FailureKind
	Message string
	// After is how long the target asked to wait.
	After countersign.Seconds
	Cause error
}

func (f *Failure) Error() string {
	if f.Cause != nil {
		return f.Message + ": " + f.Cause.Error()
	}
	return f.Message
}

func (f *Failure) Unwrap() error { return f.Cause }
