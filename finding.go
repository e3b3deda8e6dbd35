package countersign

// FindingKind says what a comparison of a target with the record found.
type FindingKind string

const (
	// OutOfBandFinding is access on the target that no live grant gives.
	OutOfBandFinding FindingKind = "out-of-band"
	// LostFinding is access of a live grant that the target has not.
	LostFinding FindingKind = "lost"
	// OrphanedFinding is an account on the target that belongs to no active identity.
	OrphanedFinding FindingKind = "orphaned"
	// UnownedFinding is access of a non-human identity that no active person answers for.
	UnownedFinding FindingKind = "unowned"
)

// FindingKinds lists every kind.
var FindingKinds = []FindingKind{OutOfBandFinding, LostFinding, OrphanedFinding, UnownedFinding}

// FindingState is where a finding is.
type FindingState string

const (
	FindingOpen FindingState = "open"
	// FindingClosed was not seen any more when the target was read again, was taken
	// away, or cannot be seen any more.
	FindingClosed FindingState = "closed"
)

// ClosedBecause says why a finding is closed that the target may still show; "" where
// a later list did not show it.
type ClosedBecause string

const (
	// ClosedRemoved was taken away, and the target was read back.
	ClosedRemoved ClosedBecause = "removed"
	// ClosedRetired is of a system that is retired.
	ClosedRetired ClosedBecause = "system-retired"
	// ClosedUnlisted is of a system whose connector does not list it any more.
	ClosedUnlisted ClosedBecause = "not-listed-any-more"
)

// Removal is access of a finding that somebody has asked to be taken away.
type Removal struct {
	By     IdentityID `json:"by"`
	At     Instant    `json:"at"`
	Reason string     `json:"reason,omitempty"`
	// Intent is the idempotency key of what the connector is told.
	Intent IntentID `json:"intent,omitempty"`
	// ByHand says that the connector cannot: people do it on the target.
	ByHand bool `json:"by_hand,omitempty"`
	// ReadBack is what was read from the target once it was gone.
	ReadBack string `json:"read_back,omitempty"`
}

// Finding is one difference between a target and the record, which a person has
// to look at. It ends nothing by itself, and closes by observation: by the next list,
// or when access was taken away that somebody asked to be.
type Finding struct {
	ID      FindingID    `json:"id"`
	Version int64        `json:"version"`
	Kind    FindingKind  `json:"kind"`
	State   FindingState `json:"state"`
	System  SystemID     `json:"system"`
	// Owner is who answered for the system when it was opened; Deadline is by when.
	Owner    IdentityID `json:"owner"`
	OpenedAt Instant    `json:"opened_at"`
	Deadline Instant    `json:"deadline"`
	// Principal is how the target names who holds it; Holder whose it is, where
	// that is known.
	Principal   string       `json:"principal"`
	Holder      IdentityID   `json:"holder,omitempty"`
	Resource    string       `json:"resource,omitempty"`
	Entitlement string       `json:"entitlement,omitempty"`
	Credential  CredentialID `json:"credential,omitempty"`
	// Grant is the live one that lost its access, or whose mark stands on something
	// that it does not give.
	Grant         GrantID       `json:"grant,omitempty"`
	Removal       *Removal      `json:"removal,omitempty"`
	ClosedAt      Instant       `json:"closed_at,omitempty"`
	ClosedBecause ClosedBecause `json:"closed_because,omitempty"`
}

// Reconciliation is how the comparison of one system with the record stands.
type Reconciliation struct {
	ID      ReconciliationID `json:"id"`
	Version int64            `json:"version"`
	System  SystemID         `json:"system"`
	// ReadAt is when the last list began that was read to its end; 0 for never.
	ReadAt Instant `json:"read_at,omitempty"`
	// FailingSince is set while the target does not give a whole list, Trouble why.
	FailingSince Instant `json:"failing_since,omitempty"`
	Trouble      string  `json:"trouble,omitempty"`
	// Last is what the last whole list led to.
	Last *Comparison `json:"last,omitempty"`
	// Baseline is the first list of the system that two people signed.
	Baseline *Baseline `json:"baseline,omitempty"`
}

// Baseline is how far what a system held before is taken on the record. It says of
// nothing that it was approved.
type Baseline struct {
	Proposal ProposalID `json:"proposal"`
	// List is the digest of what was signed, with every pair in it.
	List       Digest     `json:"list"`
	ProposedBy IdentityID `json:"proposed_by"`
	SignedBy   IdentityID `json:"signed_by"`
	SignedAt   Instant    `json:"signed_at"`
	// Until is the end of what is adopted, unless a request was approved for it.
	Until Instant `json:"until"`
	// Pairs are to be adopted, in Parts; Done of the parts are.
	Pairs int `json:"pairs"`
	Parts int `json:"parts"`
	Done  int `json:"done"`
	// Adopted became grants; Left were not there any more, or are nobody's by now.
	Adopted int `json:"adopted"`
	Left    int `json:"left"`
}

// Pending reports whether some of it is still to be adopted.
func (b *Baseline) Pending() bool { return b != nil && b.Done < b.Parts }

// Comparison is what came of one list that was read to its end.
type Comparison struct {
	// List is the digest of everything that was listed, whatever its order.
	List Digest `json:"list"`
	// Accounts and Pairs count what the target holds; Ours are the pairs that a live
	// grant gives, Unsettled those that were on their way and are judged next time.
	Accounts  int `json:"accounts"`
	Pairs     int `json:"pairs"`
	Ours      int `json:"ours"`
	Unsettled int `json:"unsettled"`
	// Legacy counts what a baseline adopted and has neither ended since nor been
	// approved.
	Legacy int `json:"legacy,omitempty"`
	// Live are the live grants by origin; Expired are those whose end has passed.
	Live    []OriginCount `json:"live"`
	Expired int           `json:"expired"`
	// Differences are all that there were, by kind; Opened and Closed the findings
	// that this list opened and closed. Beyond is how many have no finding of their
	// own, because there were too many at once.
	Differences []KindCount `json:"differences"`
	Opened      int         `json:"opened"`
	Closed      int         `json:"closed"`
	Beyond      int         `json:"beyond"`
}

// OriginCount counts live grants of one origin.
type OriginCount struct {
	Origin Origin `json:"origin"`
	Count  int    `json:"count"`
}

// KindCount counts differences of one kind.
type KindCount struct {
	Kind  FindingKind `json:"kind"`
	Count int         `json:"count"`
}

// Of returns the number of differences of a kind.
func (c *Comparison) Of(kind FindingKind) int {
	for _, count := range c.Differences {
		if count.Kind == kind {
			return count.Count
		}
	}
	return 0
}

func (f *Finding) RowStream() Stream        { return Stream(f.ID) }
func (f *Finding) RowKey() string           { return string(f.ID) }
func (f *Finding) RowVersion() int64        { return f.Version }
func (r *Reconciliation) RowStream() Stream { return Stream(r.ID) }
func (r *Reconciliation) RowKey() string    { return string(r.ID) }
func (r *Reconciliation) RowVersion() int64 { return r.Version }
