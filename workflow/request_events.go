package workflow

import (
	"encoding/json"

	"github.com/countersign/countersign"
)

// Events of a request. Each struct has one field per group of values: Change is
// what Apply reads and holds no personal data; the pointers can be erased.

// Reason holds free text that people wrote.
type Reason struct {
	Text    string          `json:"text,omitempty"`
	Answers json.RawMessage `json:"answers,omitempty"`
	// Control is what stands in for a rule that is waived.
	Control string `json:"control,omitempty"`
}

// FactsValue holds the complete typed input of a judgement.
type FactsValue struct {
	Judged json.RawMessage `json:"judged"`
}

type RequestSubmitted struct {
	Change RequestSubmittedChange `json:"change"`
	Reason *Reason                `json:"reason"`
	Facts  *FactsValue            `json:"facts"`
}

type RequestSubmittedChange struct {
	Type         string                      `json:"type"`
	Title        string                      `json:"title"`
	Requester    countersign.IdentityID      `json:"requester"`
	Beneficiary  countersign.IdentityID      `json:"beneficiary"`
	SamePerson   []countersign.IdentityID    `json:"same_person"`
	Entitlements []countersign.EntitlementID `json:"entitlements"`
	Duration     countersign.Seconds         `json:"duration"`
	LatestEnd    countersign.Instant         `json:"latest_end,omitempty"`
	Route        countersign.Digest          `json:"route"`
	ConsentOf    countersign.IdentityID      `json:"consent_of,omitempty"`
	Evidence     []countersign.Slot          `json:"evidence"`
	Stages       []countersign.Stage         `json:"stages"`
	Fulfil       []countersign.Step          `json:"fulfil"`
	Terms        countersign.GrantTerms      `json:"terms"`
	CollectBy    countersign.Instant         `json:"collect_by,omitempty"`
	BreakGlass   bool                        `json:"break_glass,omitempty"`
	Extends      countersign.GrantID         `json:"extends,omitempty"`
	Adopts       countersign.FindingID       `json:"adopts,omitempty"`
	Exception    *ExceptionChange            `json:"exception,omitempty"`
	Definitions  Definitions                 `json:"definitions,omitempty"`
	Ticket       *countersign.TicketRef      `json:"ticket,omitempty"`
}

// Definitions are versions of entitlements.
type Definitions map[countersign.EntitlementID]string

// ExceptionChange is an exception without the words that people wrote.
type ExceptionChange struct {
	Waives []countersign.Waived   `json:"waives"`
	Owner  countersign.IdentityID `json:"owner"`
	Until  countersign.Instant    `json:"until"`
}

func (RequestSubmitted) EventKind() string { return "request.submitted@1" }

// RequestAmended says what is asked for from now on, and by which path.
type RequestAmended struct {
	Change RequestAmendedChange `json:"change"`
	Reason *Reason              `json:"reason"`
	Facts  *FactsValue          `json:"facts"`
}

type RequestAmendedChange struct {
	// Voids says that what was consented to and approved counts no longer.
	Voids        bool                        `json:"voids,omitempty"`
	Entitlements []countersign.EntitlementID `json:"entitlements"`
	Duration     countersign.Seconds         `json:"duration"`
	LatestEnd    countersign.Instant         `json:"latest_end,omitempty"`
	Route        countersign.Digest          `json:"route"`
	ConsentOf    countersign.IdentityID      `json:"consent_of,omitempty"`
	Evidence     []countersign.Slot          `json:"evidence"`
	Stages       []countersign.Stage         `json:"stages"`
	CollectBy    countersign.Instant         `json:"collect_by,omitempty"`
	Exception    *ExceptionChange            `json:"exception,omitempty"`
	Definitions  Definitions                 `json:"definitions,omitempty"`
}

func (RequestAmended) EventKind() string { return "request.amended@1" }

// RequestRerouted says that people have to decide stages that were skipped before.
type RequestRerouted struct {
	Change RequestReroutedChange `json:"change"`
}

type RequestReroutedChange struct {
	Stages []int `json:"stages"`
	// Voids says that what was approved is decided anew.
	Voids bool `json:"voids,omitempty"`
}

func (RequestRerouted) EventKind() string { return "request.rerouted@1" }

// RequestRedefined says that entitlements which are asked for mean something else
// by now.
type RequestRedefined struct {
	Change RequestRedefinedChange `json:"change"`
}

type RequestRedefinedChange struct {
	Definitions Definitions `json:"definitions"`
	// Voids says that what was approved is decided anew.
	Voids bool `json:"voids,omitempty"`
}

func (RequestRedefined) EventKind() string { return "request.redefined@1" }

type RequestConsented struct {
	Change struct {
		By countersign.IdentityID `json:"by"`
	} `json:"change"`
}

func (RequestConsented) EventKind() string { return "request.consented@1" }

type EvidenceAttached struct {
	Change   EvidenceAttachedChange `json:"change"`
	Evidence *EvidenceValue         `json:"evidence"`
}

type EvidenceAttachedChange struct {
	Slot   string                 `json:"slot"`
	ID     countersign.EvidenceID `json:"id"`
	Digest countersign.Digest     `json:"digest"`
	By     countersign.IdentityID `json:"by"`
	// Key is the fingerprint of the key that signed it.
	Key string `json:"key,omitempty"`
	// Unavailable says that not every source could tell, so that what stands in for it
	// is owed.
	Unavailable bool `json:"unavailable,omitempty"`
}

type EvidenceValue struct {
	Source   string `json:"source"`
	Verified string `json:"verified,omitempty"`
}

func (EvidenceAttached) EventKind() string { return "request.evidence-attached@1" }

// EvidenceWrittenOff says that the request closes without evidence that never came.
type EvidenceWrittenOff struct {
	Change EvidenceWrittenOffChange `json:"change"`
	Reason *Reason                  `json:"reason"`
}

type EvidenceWrittenOffChange struct {
	Slots []string               `json:"slots"`
	By    countersign.IdentityID `json:"by"`
}

func (EvidenceWrittenOff) EventKind() string { return "request.evidence-written-off@1" }

// EvidenceOpened says that somebody looked into the content of evidence.
type EvidenceOpened struct {
	Change EvidenceOpenedChange `json:"change"`
}

type EvidenceOpenedChange struct {
	Slot   string                 `json:"slot"`
	Digest countersign.Digest     `json:"digest"`
	By     countersign.IdentityID `json:"by"`
}

func (EvidenceOpened) EventKind() string { return "request.evidence-opened@1" }

// QuestionAsked wants to know more; QuestionAnswered tells it. Both have their
// words in the reason.
type QuestionAsked struct {
	Change QuestionChange `json:"change"`
	Reason *Reason        `json:"reason"`
}

func (QuestionAsked) EventKind() string { return "request.question-asked@1" }

type QuestionAnswered struct {
	Change QuestionChange `json:"change"`
	Reason *Reason        `json:"reason"`
}

func (QuestionAnswered) EventKind() string { return "request.question-answered@1" }

type QuestionChange struct {
	By countersign.IdentityID `json:"by"`
}

// BlockLifted says that one of the two people agrees that somebody may use
// break-glass again, although the review is overdue.
type BlockLifted struct {
	Change BlockLiftedChange `json:"change"`
	Reason *Reason           `json:"reason"`
}

type BlockLiftedChange struct {
	Stage int                    `json:"stage"`
	By    countersign.IdentityID `json:"by"`
}

func (BlockLifted) EventKind() string { return "request.block-lifted@1" }

// StageOpened says who is asked to decide a stage, and by when. It is written
// again when the approvers change or the stage climbs its ladder.
type StageOpened struct {
	Change StageOpenedChange `json:"change"`
}

type StageOpenedChange struct {
	Stage    int                 `json:"stage"`
	Climbed  int                 `json:"climbed"`
	Asked    []countersign.Asked `json:"asked"`
	Deadline countersign.Instant `json:"deadline"`
	// Why is one of the constants below.
	Why string `json:"why"`
}

// Why a stage asks (again).
const (
	WhyOpened           = "opened"
	WhyEscalated        = "escalated"
	WhyApproversChanged = "approvers-changed"
	// WhyAnswered begins the time to decide anew, after a question was answered.
	WhyAnswered = "answered"
	// WhyOverdue asks for a review again whose time has passed.
	WhyOverdue = "overdue"
)

func (StageOpened) EventKind() string { return "request.stage-opened@1" }

type RequestDecided struct {
	Change RequestDecidedChange `json:"change"`
	Reason *Reason              `json:"reason"`
	Facts  *FactsValue          `json:"facts"`
}

type RequestDecidedChange struct {
	Stage    int                    `json:"stage"`
	ID       countersign.DecisionID `json:"id"`
	By       countersign.IdentityID `json:"by"`
	Outcome  countersign.Outcome    `json:"outcome"`
	Standing []countersign.Asked    `json:"standing"`
	Shown    countersign.Digest     `json:"shown"`
	Opened   []countersign.Digest   `json:"opened,omitempty"`
	Duration countersign.Seconds    `json:"duration,omitempty"`
	Issuer   string                 `json:"issuer"`
	Strength string                 `json:"strength"`
}

func (RequestDecided) EventKind() string { return "request.decided@1" }

type StageSettled struct {
	Change struct {
		Stage   int                    `json:"stage"`
		State   countersign.StageState `json:"state"`
		Because string                 `json:"because,omitempty"`
	} `json:"change"`
}

func (StageSettled) EventKind() string { return "request.stage-settled@1" }

type RequestApproved struct {
	Change struct {
		Grants []countersign.GrantRef `json:"grants"`
		// Told are the people who are told at once.
		Told []countersign.IdentityID `json:"told,omitempty"`
	} `json:"change"`
}

func (RequestApproved) EventKind() string { return "request.approved@1" }

// RequestEnded is the end of a request that never became access.
type RequestEnded struct {
	Change struct {
		// State is denied, cancelled or expired.
		State countersign.RequestState `json:"state"`
		// Cause is a stable name, as "decision", "deadline", "no-approver".
		Cause string `json:"cause"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (RequestEnded) EventKind() string { return "request.ended@1" }

// RequestProgressed says what became of a grant, and where that leaves the
// request.
type RequestProgressed struct {
	Change RequestProgressedChange `json:"change"`
}

type RequestProgressedChange struct {
	Grant      countersign.GrantID      `json:"grant,omitempty"`
	GrantState countersign.GrantState   `json:"grant_state,omitempty"`
	State      countersign.RequestState `json:"state"`
	Outcome    string                   `json:"outcome,omitempty"`
	// Owed sets the deadlines of evidence that falls due with this step, by slot.
	Owed map[string]countersign.Instant `json:"owed,omitempty"`
}

func (RequestProgressed) EventKind() string { return "request.progressed@1" }

type EvidenceOverdue struct {
	Change struct {
		Slot string                   `json:"slot"`
		Told []countersign.IdentityID `json:"told"`
	} `json:"change"`
}

func (EvidenceOverdue) EventKind() string { return "request.evidence-overdue@1" }

// EvidenceOverdue2 is told again, at Again, while the evidence is owed.
type EvidenceOverdue2 struct {
	Change struct {
		Slot  string                   `json:"slot"`
		Told  []countersign.IdentityID `json:"told"`
		Again countersign.Instant      `json:"again"`
	} `json:"change"`
}

func (EvidenceOverdue2) EventKind() string { return "request.evidence-overdue@2" }
