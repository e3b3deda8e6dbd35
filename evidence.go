package countersign

// EvidenceKind is the closed list of what a slot can hold.
type EvidenceKind string

const (
	TicketEvidence      EvidenceKind = "ticket"
	TextEvidence        EvidenceKind = "text"
	RecordEvidence      EvidenceKind = "record"
	ScanEvidence        EvidenceKind = "scan-report"
	AttestationEvidence EvidenceKind = "attestation"
	VaultEvidence       EvidenceKind = "vault-reference"
	// ActivityEvidence is what the targets tell of what was done with the access.
	ActivityEvidence EvidenceKind = "activity"
)

// EvidenceDue says when a slot must be filled.
type EvidenceDue string

const (
	// DueAtRequest: before the first stage opens.
	DueAtRequest EvidenceDue = "at-request"
	// DueAtClosure: after the access is gone, as a follow-up.
	DueAtClosure EvidenceDue = "at-closure"
)

// TicketState is what a source can report of a ticket.
type TicketState string

const (
	TicketOpen   TicketState = "open"
	TicketClosed TicketState = "closed"
)

// Slot is a named place for evidence.
type Slot struct {
	Name  string       `json:"name"`
	Title string       `json:"title,omitempty"`
	Kind  EvidenceKind `json:"kind"`
	Due   EvidenceDue  `json:"due"`
	// VerifiedBy names the verifier ("directory"), or "" for evidence kept as given.
	VerifiedBy string `json:"verified_by,omitempty"`
	// Record is the key of the system record or ticket, or the digest of the artifact,
	// that the answers name, for evidence that is verified.
	Record string `json:"record,omitempty"`
	// Ticket is the state that a source must report of the ticket.
	Ticket TicketState `json:"ticket,omitempty"`
	// Brought says that who asks brings what the verifier then checks.
	Brought bool `json:"brought,omitempty"`
	// MustOpen says that nobody approves without having opened the content.
	MustOpen bool `json:"must_open,omitempty"`
	// Within is the time after the end of access in which a slot due at closure
	// must be filled, as written in the policy.
	Within string `json:"within,omitempty"`
	// Deadline is set when the slot falls due; Overdue once it has passed, and from then
	// on it is when people are told again.
	Deadline Instant `json:"deadline,omitempty"`
	Overdue  bool    `json:"overdue,omitempty"`
	// EscalateTo is who is told when the slot is overdue.
	EscalateTo []string  `json:"escalate_to,omitempty"`
	Held       *Evidence `json:"held,omitempty"`
	// InPlaceOf names the evidence that this stands in for: it is owed only where that
	// was asked for and is not available, and who reviews brings it.
	InPlaceOf string `json:"in_place_of,omitempty"`
	// WrittenOffBy closed the request without it.
	WrittenOffBy IdentityID `json:"written_off_by,omitempty"`
}

// Attested reports whether a verifier's statement about an artifact fills the slot.
func (s *Slot) Attested() bool {
	return s.VerifiedBy != "" && (s.Kind == ScanEvidence || s.Kind == AttestationEvidence)
}

// Evidence is what fills a slot. Its content is kept as fetched, by digest.
type Evidence struct {
	ID     EvidenceID `json:"id"`
	Digest Digest     `json:"digest"`
	// Source says where the content came from: "upload", a verifier's source, or
	// DeclaredSource.
	Source string     `json:"source"`
	By     IdentityID `json:"by"`
	At     Instant    `json:"at"`
	// Verified says what the verifier confirmed; "" where nothing was verified.
	Verified string `json:"verified,omitempty"`
	// Key is the fingerprint of the key that signed it, where a verifier trusts one.
	Key string `json:"key,omitempty"`
	// Unavailable says that not every source could tell, and the content why. It may be
	// fetched again.
	Unavailable bool `json:"unavailable,omitempty"`
}

// DeclaredSource marks evidence that is only the word of who asked, because its
// source could not be reached; it is fetched before the request can close.
const DeclaredSource = "declared"

// Declared reports whether the evidence still waits for its source.
func (e *Evidence) Declared() bool { return e.Source == DeclaredSource }

// Opening is one look of one person into the content of evidence.
type Opening struct {
	By     IdentityID `json:"by"`
	At     Instant    `json:"at"`
	Slot   string     `json:"slot"`
	Digest Digest     `json:"digest"`
}
