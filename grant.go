package countersign

// GrantState is where a grant is; the transitions are in workflow's table.
type GrantState string

const (
	// GrantProvisioning has an intent that no read-back has confirmed.
	GrantProvisioning GrantState = "provisioning"
	// GrantLive was read back from the target.
	GrantLive GrantState = "live"
	// GrantRevoking is to end: checks refuse, the target is not yet read back.
	GrantRevoking GrantState = "revoking"
	// GrantRevoked was read back as gone, and what the target handed out before
	// still runs out, or an unsettled operation asks for a second read-back.
	GrantRevoked GrantState = "revoked"
	// GrantGone is observed gone.
	GrantGone GrantState = "gone"
	// GrantFailed never became live and was observed not to be there.
	GrantFailed GrantState = "failed"
)

// GrantStates lists every state in the order of a grant's life.
var GrantStates = []GrantState{GrantProvisioning, GrantLive, GrantRevoking, GrantRevoked, GrantGone, GrantFailed}

// Ended reports whether nothing of the grant can be on the target any more.
func (s GrantState) Ended() bool { return s == GrantGone || s == GrantFailed }

// EndCondition is a typed condition that ends a grant before its time, as
// written in the policy: owner-left, system-retired, unused(30d).
type EndCondition struct {
	Kind EndConditionKind `json:"kind"`
	// Within belongs to Unused.
	Within Seconds `json:"within,omitempty"`
}

// EndConditionKind is the closed list of end conditions.
type EndConditionKind string

const (
	// OwnerLeft: the holder, or the accountable owner of an NHI, is not active.
	OwnerLeft EndConditionKind = "owner-left"
	// SystemRetired: the system or the entitlement is retired.
	SystemRetired EndConditionKind = "system-retired"
	// Unused: the target reports no use for the time given.
	Unused EndConditionKind = "unused"
	// WhenTicketClosed: the open ticket that the request named is closed at its source.
	WhenTicketClosed EndConditionKind = "ticket-closed"
)

// Origin says where a grant comes from.
type Origin string

const (
	FromRequest Origin = "request"
	FromGenesis Origin = "genesis"
	// FromRecovery is a power that was given at the host, because nobody could give
	// it any more.
	FromRecovery Origin = "recovery"
	// FromBirthright is access that a rule gives without being asked.
	FromBirthright Origin = "birthright"
	// FromBaseline is access that was on the target before anybody asked for it here.
	// Two people took it on the record; nobody approved it.
	FromBaseline Origin = "legacy"
)

// Adopted is access as its target named it when a baseline took it on the record.
// The target has no mark of ours on it: the signed baseline is the mark.
type Adopted struct {
	Baseline ProposalID `json:"baseline"`
	// Principal, Resource and Entitlement are as the target listed them; Resource is ""
	// where the target ties the right to none.
	Principal   string `json:"principal"`
	Resource    string `json:"resource,omitempty"`
	Entitlement string `json:"entitlement"`
}

// Birthright is the rule that gave access without being asked.
type Birthright struct {
	Rule    string `json:"rule"`
	Package string `json:"package"`
	// Digest is that of the rule's file.
	Digest Digest `json:"digest"`
}

// Lapse is an end that a change of the holder has set, while what went before
// still stands for a time.
type Lapse struct {
	Since Instant `json:"since"`
	// Cause is a stable name, Because a sentence.
	Cause   string `json:"cause"`
	Because string `json:"because,omitempty"`
	// Was is the end that stood before; zero for none.
	Was Instant `json:"was,omitempty"`
}

// Grant is access of one holder to one entitlement. It is the noun that ends.
type Grant struct {
	ID      GrantID    `json:"id"`
	Version int64      `json:"version"`
	State   GrantState `json:"state"`
	Origin  Origin     `json:"origin"`
	Request RequestID  `json:"request,omitempty"`
	// Requester is who asked; "" where nobody did.
	Requester IdentityID `json:"requester,omitempty"`
	// Birthright is the rule that gave it; nil for every other origin.
	Birthright *Birthright `json:"birthright,omitempty"`
	// Adopted is set for good where a baseline took the access on the record, also
	// when a request was approved for it since.
	Adopted     *Adopted      `json:"adopted,omitempty"`
	Holder      IdentityID    `json:"holder"`
	Entitlement EntitlementID `json:"entitlement"`
	System      SystemID      `json:"system"`
	Step        Step          `json:"step"`
	// Duration is how long the access lasts from its read-back on; LatestEnd is
	// the end that it may never pass.
	Duration  Seconds `json:"duration"`
	LatestEnd Instant `json:"latest_end,omitempty"`
	OpenedAt  Instant `json:"opened_at"`
	// From and Until are what the read-back confirmed.
	From  Instant    `json:"from,omitempty"`
	Until Instant    `json:"until,omitempty"`
	Terms GrantTerms `json:"terms"`

	// Definition is the version of the entitlement that was approved. Redefined is set
	// while it is another one by now.
	Definition string        `json:"definition,omitempty"`
	Redefined  *Redefinition `json:"redefined,omitempty"`

	// Lapsing is set while the access goes on that its holder would not get any more.
	Lapsing     *Lapse       `json:"lapsing,omitempty"`
	Reminded    bool         `json:"reminded,omitempty"`
	Credentials []Credential `json:"credentials"`
	// Parked is set while nobody but a person can move the intent on.
	Parked *Parked `json:"parked,omitempty"`
	// Intent is the one operation under way; Queue holds what follows, in order.
	Intent *Intent  `json:"intent,omitempty"`
	Queue  []Intent `json:"queue,omitempty"`
	// Task is what a person is to do, where people carry the intent out; Checks are
	// what second people found, in order.
	Task   *Task   `json:"task,omitempty"`
	Checks []Check `json:"checks,omitempty"`
	// Extending is set while the target is told a later end.
	Extending *Extension `json:"extending,omitempty"`
	// Rotating is set from an approved rotation on until the older credentials are
	// gone.
	Rotating *Rotation `json:"rotating,omitempty"`
	// EffectiveBy is when what the target handed out has run out, or when the
	// second read-back falls due; set while revoked.
	EffectiveBy Instant `json:"effective_by,omitempty"`
	// EndCause is a stable name for why the grant ends.
	EndCause string `json:"end_cause,omitempty"`
	// Ending says in one sentence why the grant ends, by whom and since when.
	Ending  string  `json:"ending,omitempty"`
	EndedBy Actor   `json:"ended_by,omitempty"`
	EndAt   Instant `json:"end_at,omitempty"`
	GoneAt  Instant `json:"gone_at,omitempty"`
}

// CredentialState is where one credential of a grant is.
type CredentialState string

const (
	CredentialIssuing  CredentialState = "issuing"
	CredentialLive     CredentialState = "live"
	CredentialRetiring CredentialState = "retiring"
	CredentialGone     CredentialState = "gone"
)

// Credential is one thing on the target that carries the grant's access.
// Rotation adds one under the same grant and retires the old one.
type Credential struct {
	ID    CredentialID    `json:"id"`
	State CredentialState `json:"state"`
	From  Instant         `json:"from,omitempty"`
	Until Instant         `json:"until,omitempty"`
	// RetireAt ends the credential before its grant, after a rotation's overlap.
	RetireAt Instant `json:"retire_at,omitempty"`
	// Reference is where the holder finds it; never the secret.
	Reference string `json:"reference,omitempty"`
	// Unsettled asks for a second look once it is taken away: an operation on it was
	// given up that nobody had read back.
	Unsettled bool `json:"unsettled,omitempty"`
	// Retried is when an operation on it was read back that took more than one attempt.
	Retried Instant `json:"retried,omitempty"`
}

// Operation is what an intent tells a connector to do.
type Operation string

const (
	ApplyOperation  Operation = "apply"
	RevokeOperation Operation = "revoke"
	// ExtendOperation gives a credential that is there a later end.
	ExtendOperation Operation = "extend"
	// ConfirmOperation reads back once more that nothing is there.
	ConfirmOperation Operation = "confirm-gone"
)

// Extension is a later end that was approved. It is the grant's when the target
// was read back with it; until then the earlier one stands.
type Extension struct {
	Request RequestID `json:"request"`
	// Duration counts from the claim of the operation; LatestEnd limits it.
	Duration  Seconds `json:"duration"`
	LatestEnd Instant `json:"latest_end,omitempty"`
	// Definition is the version of the entitlement that it was approved for.
	Definition string `json:"definition,omitempty"`
	// Requester is who asked, where nobody had asked for the grant before.
	Requester IdentityID `json:"requester,omitempty"`
}

// Redefinition says since when an entitlement means something else than what was
// approved.
type Redefinition struct {
	Since      Instant `json:"since"`
	Definition string  `json:"definition"`
}

// Parked says since when an intent waits for a person, for whom, and why.
type Parked struct {
	Since  Instant    `json:"since"`
	Person IdentityID `json:"person"`
	Why    string     `json:"why,omitempty"`
}

// Intent is what a connector is about to be told about one credential. It is
// committed before anything happens; its id is the idempotency key.
type Intent struct {
	ID         IntentID     `json:"id"`
	Operation  Operation    `json:"operation"`
	Credential CredentialID `json:"credential"`
	// NotBefore holds an intent back while the earlier operation After may still
	// act on the target; when that one reports that it has ended, it starts at once.
	NotBefore Instant  `json:"not_before,omitempty"`
	After     IntentID `json:"after,omitempty"`
	// AfterAttempt is the claim of After that may still act.
	AfterAttempt int `json:"after_attempt,omitempty"`
	// Again asks a revoke for a second read-back, because After was left unsettled.
	Again bool `json:"again,omitempty"`
	// Overlap is how long a rotation keeps the older credentials after this
	// one is live.
	Overlap Seconds `json:"overlap,omitempty"`
}

// Observation is what was read back from a target after an operation.
type Observation struct {
	ID         ObservationID `json:"id"`
	Intent     IntentID      `json:"intent"`
	Credential CredentialID  `json:"credential"`
	// Attempt is which claim of the intent it answers.
	Attempt int     `json:"attempt"`
	At      Instant `json:"at"`
	// Present says whether the target holds the credential, with exactly the
	// asked right.
	Present bool `json:"present"`
	// Until is the end that the target itself enforces.
	Until     Instant `json:"until,omitempty"`
	Reference string  `json:"reference,omitempty"`
	// Residual is how long after a revoke what was handed out can still work.
	Residual Seconds `json:"residual,omitempty"`
	// By names the connector and how it looked.
	By string `json:"by"`
}

// EndingSince returns when the end began that the target was not yet read back for;
// zero where there is none.
func (g *Grant) EndingSince() Instant {
	if g.State != GrantRevoking {
		return 0
	}
	return g.EndAt
}

// Means returns the version of the entitlement that the grant is known to be by now.
func (g *Grant) Means() string {
	if g.Redefined != nil {
		return g.Redefined.Definition
	}
	return g.Definition
}

// Busy reports whether an operation is under way that acts on the target, and does
// not only look once more.
func (g *Grant) Busy() bool { return g.Intent != nil && g.Intent.Operation != ConfirmOperation }

// FindCredential returns the credential with the id, or nil.
func (g *Grant) FindCredential(id CredentialID) *Credential {
	for i := range g.Credentials {
		if g.Credentials[i].ID == id {
			return &g.Credentials[i]
		}
	}
	return nil
}
