package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// GrantCommand is a command on a grant, with what the actor says.
type GrantCommand struct {
	Name   Command
	Reason string
	// Overlap is how long a rotation keeps the older credentials.
	Overlap countersign.Seconds
	// Intent is what an observation or a parking is about.
	Intent      countersign.IntentID
	Attempt     int
	Observation countersign.Observation
	// Until is the end that was fixed when the operation was claimed.
	Until countersign.Instant
	// Person must move parked work on.
	Person countersign.IdentityID
	// Assurance, Present and List are what a check of a task found, Account how the
	// holder is called on the target.
	Assurance countersign.Assurance
	Present   bool
	List      countersign.Digest
	Account   string
}

// GrantVerdict is what desk found out for a command on a grant.
type GrantVerdict struct {
	Standing Standing
	// EndCause and EndReason say why the grant ends now; "" where it does not.
	EndCause  string
	EndReason string
	// Drop says why an extension or an approved rotation that is under way cannot be
	// carried out; the earlier end, or the older credential, stands.
	Drop string
	// DeferTo puts the end off to then, where the grant may not lapse by itself.
	DeferTo countersign.Instant
	// Lapse says that the holder would not get the access any more; Keep that what
	// made it lapse is over.
	Lapse *Lapse
	Keep  bool
	// Definition is the version of the entitlement by now; nil where nobody looked.
	Definition *string
	// Flight is the claim of the grant's present intent.
	Flight Flight
	// Task opens a task for the present intent, which people carry out; Ladder says
	// who hears of it when its deadline has passed.
	Task   *TaskTerms
	Ladder *TaskTerms
	// Witnesses are asked to look at what was done.
	Witnesses []countersign.IdentityID
	// Rotates says that the connector keeps two credentials of one grant apart.
	Rotates bool
	// RotatedBy is the request type that rotations of such a grant are asked for
	// with; "" where they need no approval.
	RotatedBy string
	// Lease is how long a claim lasts, in seconds: how long an unsettled operation
	// can go on after its claim.
	Lease countersign.Seconds
}

// Lapse is why a grant ends, and by when.
type Lapse struct {
	Cause, Reason string
	Until         countersign.Instant
}

// Flight says whether an operation may be under way at the target.
type Flight struct {
	// Claimed: some process took the intent.
	Claimed bool
	// Reported: it said that its operation has ended.
	Reported bool
	// Attempt is the number of the claim.
	Attempt int
	// LeaseUntil is after the last moment in which it may write to the target.
	LeaseUntil countersign.Instant
}

// unsettled reports whether the operation could have had, or still have, an
// effect that nobody read back.
func (f Flight) unsettled() bool { return f.Claimed && !f.Reported }

// Causes of a grant's end.
const (
	CauseRevoked       = "revoked"
	CauseExpired       = "expired"
	CauseOwnerLeft     = "owner-left"
	CauseHolderLeft    = "holder-left"
	CauseSystemRetired = "system-retired"
	CauseUnused        = "unused"
	CauseRejected      = "rejected-at-fulfilment"
	CauseSponsorLeft   = "sponsor-left"
	CauseTicketClosed  = "ticket-closed"
	// CauseMoved: the holder moved, and would not get the access any more.
	CauseMoved = "moved"
	// CauseBirthrightEnded: the rule that gave it holds no more.
	CauseBirthrightEnded = "birthright-ended"
)

// UnaskedGrant is access that nobody asked for: what the house is born or recovered
// with, and what a rule gives.
type UnaskedGrant struct {
	Origin      countersign.Origin
	Holder      countersign.IdentityID
	Entitlement countersign.EntitlementID
	System      countersign.SystemID
	Step        countersign.Step
	// Duration zero is for as long as the rule holds.
	Duration   countersign.Seconds
	Terms      countersign.GrantTerms
	Birthright *countersign.Birthright
	// Definition is the version of the entitlement.
	Definition string
}

// OpenUnasked opens a grant without a request.
func OpenUnasked(occasion Occasion, unasked UnaskedGrant) (Outcome, error) {
	f := &folding{Occasion: occasion}
	err := f.grant(occasion.Mint.Grant(), &GrantOpened{GrantOpenedChange{
		Origin: unasked.Origin, Holder: unasked.Holder, Entitlement: unasked.Entitlement, System: unasked.System,
		Step: unasked.Step, Duration: unasked.Duration, Terms: unasked.Terms, Birthright: unasked.Birthright, Definition: unasked.Definition,
		Intent: countersign.Intent{ID: occasion.Mint.Intent(), Operation: countersign.ApplyOperation, Credential: occasion.Mint.Credential()},
	}})
	return f.result(), err
}

// DecideGrant judges a command on a grant. No events and no error means that
// there is nothing to do: it was done before, or comes too late to count.
func DecideGrant(occasion Occasion, state *countersign.Grant, command GrantCommand, verdict GrantVerdict) (Outcome, error) {
	late := state.Intent == nil || command.Intent != state.Intent.ID
	if (command.Name == Observe || command.Name == Park) && late {
		return Outcome{}, nil
	}
	if err := Allowed(GrantTransitions, state.State, command.Name, verdict.Standing); err != nil {
		return Outcome{}, err
	}
	f := &folding{Occasion: occasion, outcome: Outcome{Grants: []*countersign.Grant{Copy(state)}}}
	if err := f.onGrant(command, verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), checkLeads(GrantTransitions, state.State, command.Name, f.outcome.Grants[0].State)
}

func (f *folding) onGrant(command GrantCommand, verdict GrantVerdict) error {
	switch command.Name {
	case Revoke:
		if blank(command.Reason) {
			return countersign.Errorf(countersign.Invalid, "reason-missing", "A revocation needs a reason: it stays on the record.").At("/reason")
		}
		return f.endGrant(CauseRevoked, command.Reason, verdict)
	case Rotate:
		return f.rotate(command, verdict)
	case Retry:
		return f.retry()
	case Observe:
		return f.observe(command, verdict)
	case Park:
		return f.park(command, verdict)
	case Wake:
		return f.wake(verdict)
	case Done, Refuse, Check:
		return f.onTask(command, verdict)
	case Consent, Attach, Fetch, Open, Approve, Deny, Classify, Prioritise, Merge, Decline, Ask, Answer, Amend, Cancel, Close, Review, Unblock, Tick, Progress, Publish, Enforce, Reject, Withdraw, Lift:
	}
	return countersign.Errorf(countersign.Internal, "unknown-command", "%q is not a command on a grant", command.Name)
}

// endGrant takes away every credential that is not gone. An operation that may
// still act on the target is waited for; one that nobody settled is looked after
// a second time.
func (f *folding) endGrant(cause, reason string, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	ending := &GrantEnding{}
	ending.Change.Cause = cause
	if reason != "" {
		ending.Reason = &Reason{Text: reason}
	}
	for _, credential := range g.Credentials {
		if credential.State == countersign.CredentialGone {
			continue
		}
		intent := countersign.Intent{ID: f.Mint.Intent(), Operation: countersign.RevokeOperation, Credential: credential.ID, Again: f.again(credential, verdict)}
		if g.Intent != nil && verdict.Flight.unsettled() {
			if len(ending.Change.Intents) == 0 && verdict.Flight.LeaseUntil > f.Now {
				intent.After, intent.AfterAttempt, intent.NotBefore = g.Intent.ID, verdict.Flight.Attempt, verdict.Flight.LeaseUntil
			}
			writes := g.Intent.Operation == countersign.ApplyOperation || g.Intent.Operation == countersign.ExtendOperation
			intent.Again = intent.Again || writes && g.Intent.Credential == credential.ID
		}
		ending.Change.Intents = append(ending.Change.Intents, intent)
	}
	// What was retired before and is still to be looked at once more stays so.
	pending := g.Queue
	if g.Intent != nil {
		pending = append([]countersign.Intent{*g.Intent}, pending...)
	}
	for _, intent := range pending {
		if intent.Operation == countersign.ConfirmOperation {
			ending.Change.Intents = append(ending.Change.Intents, intent)
		}
	}
	return f.grant(g.ID, ending)
}

// again reports whether something may still be written to a credential that is taken
// away: by an operation that was given up unsettled, or by an earlier attempt than
// the one that was read back, less than a lease ago.
func (f *folding) again(credential countersign.Credential, verdict GrantVerdict) bool {
	return credential.Unsettled || credential.Retried != 0 && f.Now < credential.Retried.Add(verdict.Lease)
}

func (f *folding) rotate(command GrantCommand, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	switch {
	case !verdict.Rotates:
		return countersign.Errorf(countersign.Refused, "cannot-rotate", "The connector %q has nothing to rotate: the access carries no credential of its own.", g.Step.Connector)
	case verdict.RotatedBy != "":
		return countersign.Errorf(countersign.Refused, "rotation-needs-approval", "Another credential for this grant takes an approval: ask for it with the request type %q, as in countersign request rotate %s.", verdict.RotatedBy, g.ID)
	case g.Busy() || g.Rotating != nil:
		return countersign.Errorf(countersign.Conflict, "operation-under-way", "Another operation on this grant is under way; rotate when it is done.")
	case command.Overlap < 0:
		return countersign.Errorf(countersign.Invalid, "overlap-negative", "The overlap must be zero or more.").At("/overlap")
	case g.Until != 0 && f.Now.Add(command.Overlap) >= g.Until:
		return countersign.Errorf(countersign.Invalid, "overlap-too-long", "The overlap must end before the grant does, at %s.", g.Until).At("/overlap")
	}
	started := &RotationStarted{}
	started.Change.Intent = countersign.Intent{
		ID: f.Mint.Intent(), Operation: countersign.ApplyOperation, Credential: f.Mint.Credential(), Overlap: command.Overlap,
	}
	if command.Reason != "" {
		started.Reason = &Reason{Text: command.Reason}
	}
	return f.grant(g.ID, started)
}

func (f *folding) retry() error {
	g := f.outcome.Grants[0]
	if g.Parked == nil {
		return countersign.Errorf(countersign.Conflict, "not-parked", "Nothing of this grant is parked; the house is working on it.")
	}
	retried := &IntentRetried{}
	retried.Change.Intent = g.Intent.ID
	return f.grant(g.ID, retried)
}

func (f *folding) park(command GrantCommand, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	if g.Parked != nil {
		return nil
	}
	if g.Intent.Operation != countersign.ApplyOperation && g.Intent.Operation != countersign.ExtendOperation {
		return countersign.Errorf(countersign.Refused, "revokes-never-park", "A revoke is retried without end.")
	}
	if verdict.Drop != "" && g.Issuing() {
		// The older credential works: whoever wants another one asks anew.
		return f.dropRotation(verdict.Drop, verdict)
	}
	parked := &IntentParked{Reason: &Reason{Text: command.Reason}}
	parked.Change.Intent, parked.Change.Attempt, parked.Change.Person = command.Intent, command.Attempt, command.Person
	return f.grant(g.ID, parked)
}

// observe takes what was read back. Only what confirms the operation comes here;
// a read-back that does not is a reason to try again.
func (f *folding) observe(command GrantCommand, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	observation := command.Observation
	switch g.Intent.Operation {
	case countersign.ApplyOperation:
		if !observation.Present {
			return countersign.Errorf(countersign.Internal, "not-confirmed", "the target does not hold what was asked")
		}
		// A target that keeps a credential longer than it was told does not make the
		// access longer: the house ends it itself.
		change := CredentialAppliedChange{Observation: observation, Until: countersign.Earliest(command.Until, observation.Until)}
		if g.State == countersign.GrantLive {
			change.RetireOthersAt, change.NoLater, change.Lapses = f.Now.Add(g.Intent.Overlap), true, g.Lapsing != nil
		}
		return f.grant(g.ID, &CredentialApplied{Change: change})
	case countersign.ExtendOperation:
		if !observation.Present {
			return countersign.Errorf(countersign.Internal, "not-confirmed", "the target does not hold what was asked")
		}
		extended := &CredentialExtended{}
		extended.Change.Observation, extended.Change.Until = observation, countersign.Earliest(command.Until, observation.Until)
		return f.grant(g.ID, extended)
	case countersign.RevokeOperation, countersign.ConfirmOperation:
		if observation.Present {
			return countersign.Errorf(countersign.Internal, "not-confirmed", "the target still holds the credential")
		}
		return f.observeGone(observation, verdict)
	}
	return countersign.Errorf(countersign.Internal, "unknown-operation", "%q is not an operation", g.Intent.Operation)
}

func (f *folding) observeGone(observation countersign.Observation, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	change := CredentialRevokedChange{Observation: observation, State: g.State}
	wait := observation.Residual
	if g.Intent.Again && wait < verdict.Lease {
		wait = verdict.Lease
	}
	if wait > 0 {
		change.Confirm = &countersign.Intent{
			ID: f.Mint.Intent(), Operation: countersign.ConfirmOperation, Credential: observation.Credential, NotBefore: f.Now.Add(wait),
		}
	}
	if g.State != countersign.GrantLive {
		change.State, change.EffectiveBy = stateAfter(g, change.Confirm)
	}
	return f.grant(g.ID, &CredentialRevoked{Change: change})
}

// stateAfter says where the grant stands once its present intent is settled.
func stateAfter(g *countersign.Grant, confirm *countersign.Intent) (countersign.GrantState, countersign.Instant) {
	remaining := g.Queue
	if confirm != nil {
		remaining = append(remaining[:len(remaining):len(remaining)], *confirm)
	}
	var effectiveBy countersign.Instant
	for _, intent := range remaining {
		if intent.Operation != countersign.ConfirmOperation {
			return countersign.GrantRevoking, 0
		}
		effectiveBy = max(effectiveBy, intent.NotBefore)
	}
	switch {
	case len(remaining) > 0:
		return countersign.GrantRevoked, effectiveBy
	case g.From == 0:
		return countersign.GrantFailed, 0
	default:
		return countersign.GrantGone, 0
	}
}

// wake does what the time asks for: the end first, then retirements, then the
// reminder.
func (f *folding) wake(verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	switch {
	case g.State == countersign.GrantRevoking:
		return f.wakeTask(verdict)
	case verdict.EndCause != "":
		return f.endGrant(verdict.EndCause, verdict.EndReason, verdict)
	case verdict.Drop != "" && (g.Extending != nil || g.Issuing()):
		return f.drop(verdict.Drop, verdict)
	case g.Until != 0 && f.Now >= g.Until && verdict.DeferTo != 0:
		deferred := &EndDeferred{}
		deferred.Change.Until = verdict.DeferTo
		return f.grant(g.ID, deferred)
	case g.Until != 0 && f.Now >= g.Until && g.Lapsing != nil:
		return f.endGrant(g.Lapsing.Cause, g.Lapsing.Because, verdict)
	case g.Until != 0 && f.Now >= g.Until:
		return f.endGrant(CauseExpired, "", verdict)
	case g.State == countersign.GrantProvisioning && g.LatestEnd != 0 && f.Now >= g.LatestEnd:
		return f.endGrant(CauseExpired, "The latest end that was allowed passed before the access could be set up.", verdict)
	}
	if definition := verdict.Definition; definition != nil && *definition != g.Means() {
		redefined := &GrantRedefined{}
		redefined.Change.Definition = *definition
		if err := f.grant(g.ID, redefined); err != nil {
			return err
		}
	}
	if err := f.lapse(verdict); err != nil {
		return err
	}
	if err := f.wakeTask(verdict); err != nil {
		return err
	}
	for _, credential := range slices.Clone(f.outcome.Grants[0].Credentials) {
		if credential.State == countersign.CredentialLive && credential.RetireAt != 0 && f.Now >= credential.RetireAt {
			if now := f.outcome.Grants[0]; now.Parked != nil && (now.Extending != nil || now.Issuing()) {
				// What takes away waits for nothing that a person has to move on.
				if err := f.drop("It was parked, and an older credential has to go.", verdict); err != nil {
					return err
				}
			}
			retiring := &CredentialRetiring{}
			retiring.Change.Intent = countersign.Intent{ID: f.Mint.Intent(), Operation: countersign.RevokeOperation, Credential: credential.ID, Again: f.again(credential, verdict)}
			if err := f.grant(g.ID, retiring); err != nil {
				return err
			}
		}
	}
	g = f.outcome.Grants[0]
	if remindAt := remindAt(g); remindAt != 0 && f.Now >= remindAt {
		reminded := &GrantReminded{}
		reminded.Change.Ends = g.Until
		return f.grant(g.ID, reminded)
	}
	return nil
}

// lapse sets the end of access that its holder would not get any more, or takes
// that back. A later end that is under way is dropped: it was approved for what
// the holder was.
func (f *folding) lapse(verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	switch lapse := verdict.Lapse; {
	case verdict.Keep && g.Lapsing != nil:
		return f.grant(g.ID, &GrantKept{})
	case lapse == nil || g.Lapsing != nil || g.State != countersign.GrantLive || g.Until != 0 && g.Until <= lapse.Until:
		return nil
	case g.Extending != nil || g.Issuing():
		if err := f.drop(lapse.Reason, verdict); err != nil {
			return err
		}
	}
	return f.grant(g.ID, &GrantLapsing{Change: GrantLapsingChange{Until: verdict.Lapse.Until, Cause: verdict.Lapse.Cause}, Reason: &Reason{Text: verdict.Lapse.Reason}})
}

// drop gives an extension or rotation up that is under way. What its operation may have done is
// looked for when the credential is taken away.
func (f *folding) drop(why string, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	if g.Issuing() {
		return f.dropRotation(why, verdict)
	}
	dropped := &ExtensionDropped{Reason: &Reason{Text: why}}
	if g.Intent != nil && g.Intent.Operation == countersign.ExtendOperation && verdict.Flight.unsettled() {
		dropped.Change.Unsettled = g.Intent.Credential
	}
	return f.grant(g.ID, dropped)
}
