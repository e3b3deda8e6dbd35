package countersign

// ProposalKind says what a proposal would change.
type ProposalKind string

const (
	// PolicyProposal replaces the whole policy set.
	PolicyProposal ProposalKind = "policy"
	// DirectoryProposal makes the directory what its files say.
	DirectoryProposal ProposalKind = "directory"
	// BaselineProposal takes on the record what a system held before.
	BaselineProposal ProposalKind = "baseline"
)

// ProposalState is where a proposal is; the transitions are in workflow's table.
type ProposalState string

const (
	ProposalOpen ProposalState = "open"
	// ProposalProvisional is in force, put there by one person; it lapses unless a
	// second one publishes it.
	ProposalProvisional ProposalState = "provisional"
	ProposalPublished   ProposalState = "published"
	ProposalRejected    ProposalState = "rejected"
	ProposalWithdrawn   ProposalState = "withdrawn"
	ProposalLapsed      ProposalState = "lapsed"
)

// ProposalStates lists every state.
var ProposalStates = []ProposalState{ProposalOpen, ProposalProvisional, ProposalPublished, ProposalRejected, ProposalWithdrawn, ProposalLapsed}

// Proposal is a change of policy, directory or record that takes a second person.
type Proposal struct {
	ID      ProposalID    `json:"id"`
	Version int64         `json:"version"`
	Kind    ProposalKind  `json:"kind"`
	State   ProposalState `json:"state"`
	By      IdentityID    `json:"by"`
	At      Instant       `json:"at"`
	Reason  string        `json:"reason"`
	// Files is the digest of the proposed files, which are kept as they were sent; of a
	// baseline, that of the list that it is about.
	Files Digest `json:"files"`
	// System is what a baseline is of.
	System SystemID `json:"system,omitempty"`
	// Until is when it lapses, unless a second person has decided by then; zero for one
	// that nobody has set a time yet. RemindAt is when those who may decide are reminded,
	// zero once they were.
	Until    Instant `json:"until,omitempty"`
	RemindAt Instant `json:"remind_at,omitempty"`
	// EnforcedBy put it into force alone, because of Emergency, in the place of the
	// set Before.
	EnforcedBy IdentityID `json:"enforced_by,omitempty"`
	Emergency  string     `json:"emergency,omitempty"`
	Before     Digest     `json:"before,omitempty"`
	// DecidedBy published, rejected or withdrew it, bound to the digest of what
	// that person was shown; nobody where it lapsed.
	DecidedBy IdentityID `json:"decided_by,omitempty"`
	DecidedAt Instant    `json:"decided_at,omitempty"`
	Shown     Digest     `json:"shown,omitempty"`
	Outcome   string     `json:"outcome,omitempty"`
}

// Decided reports whether nothing can happen to the proposal any more.
func (s ProposalState) Decided() bool { return s != ProposalOpen && s != ProposalProvisional }

func (p *Proposal) RowStream() Stream { return Stream(p.ID) }
func (p *Proposal) RowKey() string    { return string(p.ID) }
func (p *Proposal) RowVersion() int64 { return p.Version }
