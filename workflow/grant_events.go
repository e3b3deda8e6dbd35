package workflow

import "github.com/countersign/countersign"

// Events of a grant.

type GrantOpened struct {
	Change GrantOpenedChange `json:"change"`
}

type GrantOpenedChange struct {
	Origin      countersign.Origin        `json:"origin"`
	Request     countersign.RequestID     `json:"request,omitempty"`
	Requester   countersign.IdentityID    `json:"requester,omitempty"`
	Holder      countersign.IdentityID    `json:"holder"`
	Entitlement countersign.EntitlementID `json:"entitlement"`
	System      countersign.SystemID      `json:"system"`
	Step        countersign.Step          `json:"step"`
	Duration    countersign.Seconds       `json:"duration"`
	LatestEnd   countersign.Instant       `json:"latest_end,omitempty"`
	Terms       countersign.GrantTerms    `json:"terms"`
	Intent      countersign.Intent        `json:"intent"`
	Birthright  *countersign.Birthright   `json:"birthright,omitempty"`
	Definition  string                    `json:"definition,omitempty"`
}

func (GrantOpened) EventKind() string { return "grant.opened@1" }

// CredentialApplied says that a credential was read back from the target.
type CredentialApplied struct {
	Change CredentialAppliedChange `json:"change"`
}

type CredentialAppliedChange struct {
	Observation countersign.Observation `json:"observation"`
	// Until is the end of the credential and, for the first one, of the grant.
	Until countersign.Instant `json:"until"`
	// RetireOthersAt is when the older credentials end, after a rotation.
	RetireOthersAt countersign.Instant `json:"retire_others_at,omitempty"`
	// NoLater says that this lets none of them live longer than an earlier rotation
	// did. Events from before it do not say so, and are replayed as they were.
	NoLater bool `json:"no_later,omitempty"`
	// Lapses says that the access was to lapse, and still does: the end that comes with
	// the credential counts once the lapse is taken back. Before this was said, a
	// rotation took it back.
	Lapses bool `json:"lapses,omitempty"`
}

func (CredentialApplied) EventKind() string { return "grant.credential-applied@1" }

type RotationStarted struct {
	Change struct {
		Intent countersign.Intent `json:"intent"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (RotationStarted) EventKind() string { return "grant.rotation-started@1" }

// ExtensionStarted has the target told a later end, credential by credential.
type ExtensionStarted struct {
	Change struct {
		Extension countersign.Extension `json:"extension"`
		Intents   []countersign.Intent  `json:"intents"`
	} `json:"change"`
}

func (ExtensionStarted) EventKind() string { return "grant.extension-started@1" }

// CredentialExtended says that a credential was read back with a later end.
type CredentialExtended struct {
	Change struct {
		Observation countersign.Observation `json:"observation"`
		Until       countersign.Instant     `json:"until"`
	} `json:"change"`
}

func (CredentialExtended) EventKind() string { return "grant.credential-extended@1" }

// ExtensionDropped says that the earlier end stands.
type ExtensionDropped struct {
	Change struct {
		// Unsettled is the credential whose operation nobody read back: it may still
		// be given the later end.
		Unsettled countersign.CredentialID `json:"unsettled,omitempty"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (ExtensionDropped) EventKind() string { return "grant.extension-dropped@1" }

// CredentialRetiring begins the end of one credential of a grant that goes on.
type CredentialRetiring struct {
	Change struct {
		Intent countersign.Intent `json:"intent"`
	} `json:"change"`
}

func (CredentialRetiring) EventKind() string { return "grant.credential-retiring@1" }

// GrantEnding begins the end of the grant: from this event on, checks refuse.
type GrantEnding struct {
	Change struct {
		// Cause is a stable name: "revoked", "expired", "owner-left",
		// "system-retired", "unused", "holder-left".
		Cause   string               `json:"cause"`
		Intents []countersign.Intent `json:"intents"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (GrantEnding) EventKind() string { return "grant.ending@1" }

// CredentialRevoked says that a credential was read back as not there.
type CredentialRevoked struct {
	Change CredentialRevokedChange `json:"change"`
}

type CredentialRevokedChange struct {
	Observation countersign.Observation `json:"observation"`
	// State is the grant's after this.
	State countersign.GrantState `json:"state"`
	// EffectiveBy is set with the state revoked.
	EffectiveBy countersign.Instant `json:"effective_by,omitempty"`
	// Confirm reads back once more, where an operation was left unsettled or
	// something handed out must run out first.
	Confirm *countersign.Intent `json:"confirm,omitempty"`
}

func (CredentialRevoked) EventKind() string { return "grant.credential-revoked@1" }

// GrantLapsing says that the holder would not get the access any more, and when it
// ends unless that changes.
type GrantLapsing struct {
	Change GrantLapsingChange `json:"change"`
	Reason *Reason            `json:"reason"`
}

type GrantLapsingChange struct {
	Until countersign.Instant `json:"until"`
	// Cause is "moved" or "birthright-ended".
	Cause string `json:"cause"`
}

func (GrantLapsing) EventKind() string { return "grant.lapsing@1" }

// GrantKept takes a lapse back: the end is what it was before.
type GrantKept struct {
	Change struct{} `json:"change"`
}

func (GrantKept) EventKind() string { return "grant.kept@1" }

// GrantRedefined says that the entitlement means something else by now than what was
// approved, or the same again.
type GrantRedefined struct {
	Change struct {
		Definition string `json:"definition"`
	} `json:"change"`
}

func (GrantRedefined) EventKind() string { return "grant.redefined@1" }

type GrantReminded struct {
	Change struct {
		Ends countersign.Instant `json:"ends"`
	} `json:"change"`
}

func (GrantReminded) EventKind() string { return "grant.reminded@1" }

// EndDeferred puts off the end of one of the last two holders of a power of the
// desk: without them nobody could give it to anybody again.
type EndDeferred struct {
	Change struct {
		Until countersign.Instant `json:"until"`
	} `json:"change"`
}

func (EndDeferred) EventKind() string { return "grant.end-deferred@1" }

// IntentParked names the person who must move an operation on.
type IntentParked struct {
	Change struct {
		Intent  countersign.IntentID   `json:"intent"`
		Attempt int                    `json:"attempt"`
		Person  countersign.IdentityID `json:"person"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (IntentParked) EventKind() string { return "grant.intent-parked@1" }

type IntentRetried struct {
	Change struct {
		Intent countersign.IntentID `json:"intent"`
	} `json:"change"`
}

func (IntentRetried) EventKind() string { return "grant.intent-retried@1" }
