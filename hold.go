package countersign

// Hold is a stop put at once on everything of a holder, on a system, on one of its
// entitlements, or on one grant: checks refuse from its commit on. It takes nothing away by itself.
type Hold struct {
	ID      HoldID `json:"id"`
	Version int64  `json:"version"`
	// On is the id of an identity, a system, an entitlement or a grant.
	On     string     `json:"on"`
	By     IdentityID `json:"by"`
	At     Instant    `json:"at"`
	Reason string     `json:"reason"`
	// Revoke says that everything under the hold is to be revoked as well, in
	// batches.
	Revoke bool `json:"revoke,omitempty"`
	// RemindedAt is when it was last asked whether it still has to be; 0 for never.
	RemindedAt Instant `json:"reminded_at,omitempty"`

	LiftedBy IdentityID `json:"lifted_by,omitempty"`
	LiftedAt Instant    `json:"lifted_at,omitempty"`
	// Outcome is why it was lifted.
	Outcome string `json:"outcome,omitempty"`
}

// HoldState is where a hold is.
type HoldState string

const (
	HoldActive HoldState = "active"
	HoldLifted HoldState = "lifted"
)

// HoldStates lists every state.
var HoldStates = []HoldState{HoldActive, HoldLifted}

// State returns whether the hold is in force.
func (h *Hold) State() HoldState {
	if h.LiftedAt != 0 {
		return HoldLifted
	}
	return HoldActive
}

func (h *Hold) RowStream() Stream { return Stream(h.ID) }
func (h *Hold) RowKey() string    { return string(h.ID) }
func (h *Hold) RowVersion() int64 { return h.Version }
