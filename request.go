package countersign

import (
	"encoding/json"
	"slices"
)

// Phase is one of the five that the field knows; every state belongs to one.
type Phase string

const (
	Intake     Phase = "intake"
	Triage     Phase = "triage"
	Approval   Phase = "approval"
	Fulfilment Phase = "fulfilment"
	Closure    Phase = "closure"
)

// RequestState is where a request is; the transitions are in workflow's table.
type RequestState string

const (
	// RequestTriaging was described in words, and waits for an operator to say which
	// request it is.
	RequestTriaging RequestState = "triaging"
	// RequestCollecting waits for consent or evidence.
	RequestCollecting RequestState = "collecting"
	// RequestDeciding has an open stage.
	RequestDeciding RequestState = "deciding"
	// RequestFulfilling has grants that are not yet read back.
	RequestFulfilling RequestState = "fulfilling"
	// RequestActive has live access.
	RequestActive RequestState = "active"
	// RequestClosing has no access left and still owes follow-ups.
	RequestClosing   RequestState = "closing"
	RequestClosed    RequestState = "closed"
	RequestDenied    RequestState = "denied"
	RequestCancelled RequestState = "cancelled"
	// RequestExpired was never completed by those who asked.
	RequestExpired RequestState = "expired"
	// RequestFailed was approved and could not be carried out.
	RequestFailed RequestState = "failed"
)

// RequestStates lists every state in the order of the path.
var RequestStates = []RequestState{
	RequestTriaging, RequestCollecting, RequestDeciding, RequestFulfilling, RequestActive, RequestClosing,
	RequestClosed, RequestDenied, RequestCancelled, RequestExpired, RequestFailed,
}

// Phase returns the phase that the state belongs to.
func (s RequestState) Phase() Phase {
	switch s {
	case RequestTriaging:
		return Triage
	case RequestCollecting:
		return Intake
	case RequestDeciding:
		return Approval
	case RequestFulfilling, RequestActive:
		return Fulfilment
	case RequestClosing, RequestClosed, RequestDenied, RequestCancelled, RequestExpired, RequestFailed:
		return Closure
	}
	return ""
}

// Open reports whether a second asking for the same thing would be a duplicate:
// the request is neither ended nor already turned into access.
func (s RequestState) Open() bool {
	return s == RequestCollecting || s == RequestDeciding || s == RequestFulfilling
}

// Final reports whether nothing can happen to the request any more.
func (s RequestState) Final() bool {
	switch s {
	case RequestClosed, RequestDenied, RequestCancelled, RequestExpired, RequestFailed:
		return true
	case RequestTriaging, RequestCollecting, RequestDeciding, RequestFulfilling, RequestActive, RequestClosing:
	}
	return false
}

// Request is one asking, from intake to closure.
type Request struct {
	ID      RequestID    `json:"id"`
	Version int64        `json:"version"`
	Type    string       `json:"type"`
	Title   string       `json:"title"`
	State   RequestState `json:"state"`

	Requester   IdentityID `json:"requester"`
	Beneficiary IdentityID `json:"beneficiary"`
	// SamePerson is the union of the same-person sets of requester and
	// beneficiary at submit, sorted.
	SamePerson   []IdentityID    `json:"same_person"`
	Entitlements []EntitlementID `json:"entitlements"`
	Reason       string          `json:"reason"`
	// Duration is what was asked for, or less where an approver shortened it.
	Duration Seconds `json:"duration"`
	// LatestEnd is the end that no limit allows to pass; zero means none.
	LatestEnd Instant         `json:"latest_end,omitempty"`
	Answers   json.RawMessage `json:"answers"`
	// Effects say what the connectors would do exactly with the answers that they are
	// given, as they said when it was submitted or last amended.
	Effects []string `json:"effects,omitempty"`

	// PolicySet is the digest of the whole set that routed the request; Route is
	// the digest of the path that it gave.
	PolicySet Digest `json:"policy_set"`
	Route     Digest `json:"route"`

	Consent  Consent `json:"consent"`
	Evidence []Slot  `json:"evidence"`
	Stages   []Stage `json:"stages"`
	Fulfil   []Step  `json:"fulfil"`
	// Definitions are the versions of the entitlements that are asked for, where they
	// have one.
	Definitions map[EntitlementID]string `json:"definitions,omitempty"`
	Terms       GrantTerms               `json:"terms"`
	Grants      []GrantRef               `json:"grants"`

	// BreakGlass says that the access was taken at once, in an emergency, and that a
	// review is owed for it.
	BreakGlass bool `json:"break_glass,omitempty"`
	// Told are the people who were told at once when it was approved, sorted.
	Told []IdentityID `json:"told,omitempty"`
	// Extends is the grant whose end the request moves; "" for new access.
	Extends GrantID `json:"extends,omitempty"`
	// Adopts is the finding whose access the grant takes over; "" for none.
	Adopts FindingID `json:"adopts,omitempty"`
	// Rotates is the grant that is to get another credential; nil for new access.
	Rotates *Rotates `json:"rotates,omitempty"`
	// Exception is what a refusal was waived for; nil where nothing was.
	Exception *Exception `json:"exception,omitempty"`
	// Ticket is the ticket that the request was opened from; nil for none.
	Ticket *TicketRef `json:"ticket,omitempty"`
	// Priority is 1 (most urgent) to 4, for what goes through triage; ClassifiedBy is
	// the operator who said which request it is, or that it is none, and decides
	// nothing of it.
	Priority     int        `json:"priority,omitempty"`
	ClassifiedBy IdentityID `json:"classified_by,omitempty"`
	// Questions are what approvers asked before they decided, with the answers.
	Questions []Question `json:"questions,omitempty"`
	// Openings say who has looked into which evidence.
	Openings []Opening `json:"openings,omitempty"`

	SubmittedAt Instant `json:"submitted_at"`
	DecidedAt   Instant `json:"decided_at,omitempty"`
	ClosedAt    Instant `json:"closed_at,omitempty"`
	// CollectBy ends the request if consent or evidence is still missing then; in
	// triage it is when an operator should have looked.
	CollectBy Instant `json:"collect_by,omitempty"`
	// Outcome says in one sentence why the request ended as it did.
	Outcome string `json:"outcome,omitempty"`
}

// Overdue reports whether something that is owed after the access, evidence or the
// review, was not done in its time and still is not.
func (r *Request) Overdue() bool {
	slot := func(s Slot) bool { return s.Overdue && s.Held == nil }
	review := func(s Stage) bool { return s.Review && s.Overdue && s.State == StageOpen }
	return !r.State.Final() && (slices.ContainsFunc(r.Evidence, slot) || slices.ContainsFunc(r.Stages, review))
}

// Consent is what an NHI's owner gives who did not ask. It is no approval.
type Consent struct {
	// Of is whose consent is needed; "" where none is.
	Of IdentityID `json:"of,omitempty"`
	By IdentityID `json:"by,omitempty"`
	At Instant    `json:"at,omitempty"`
}

// Missing reports whether consent is needed and not given.
func (c Consent) Missing() bool { return c.Of != "" && c.By == "" }

// Exception is a refusal that was waived: who answers for it, what stands in for
// the rule meanwhile, and until when.
type Exception struct {
	Waives  []Waived   `json:"waives"`
	Control string     `json:"control"`
	Owner   IdentityID `json:"owner"`
	Until   Instant    `json:"until"`
}

// Waived names a refusal as the policy does.
type Waived struct {
	Reason string `json:"reason"`
	Rule   string `json:"rule,omitempty"`
}

// Question is what an approver asks before deciding.
type Question struct {
	By     IdentityID `json:"by"`
	At     Instant    `json:"at"`
	Text   string     `json:"text"`
	Answer string     `json:"answer,omitempty"`
	// AnsweredAt is zero while the question is open.
	AnsweredBy IdentityID `json:"answered_by,omitempty"`
	AnsweredAt Instant    `json:"answered_at,omitempty"`
}

// StageState is where a stage is.
type StageState string

const (
	StageWaiting StageState = "waiting"
	StageOpen    StageState = "open"
	StagePassed  StageState = "passed"
	StageSkipped StageState = "skipped"
	StageDenied  StageState = "denied"
	// StageClosed was open or waiting when the request ended otherwise.
	StageClosed StageState = "closed"
)

// Stage is one step of approval.
type Stage struct {
	Name string `json:"name"`
	// Step orders stages; stages with the same step stand side by side.
	Step  int        `json:"step"`
	State StageState `json:"state"`
	// Because says why the stage was skipped or closed, or by which rule it passed
	// without a person.
	Because string   `json:"because,omitempty"`
	Quorums []Quorum `json:"quorums"`
	// DistinctFrom names earlier stages whose approvers may not decide here.
	DistinctFrom []string `json:"distinct_from,omitempty"`
	// Within is the time to decide, as written in the policy ("2 business days").
	Within string `json:"within,omitempty"`
	// Calendar names the calendar that business time is counted by; "" for the
	// set's default. The rungs of the ladder use the same.
	Calendar string `json:"calendar,omitempty"`
	Ladder   []Rung `json:"ladder,omitempty"`
	// Climbed is how many rungs of the ladder have been taken.
	Climbed   int        `json:"climbed,omitempty"`
	OpenedAt  Instant    `json:"opened_at,omitempty"`
	Deadline  Instant    `json:"deadline,omitempty"`
	Asked     []Asked    `json:"asked,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"`
	// Review marks the review that follows the access. It opens when the access is
	// gone, and what its deadline brings is no denial.
	Review bool `json:"review,omitempty"`
	// Overdue says that a deadline of the review has passed: until it is done, the
	// person takes nothing more by break-glass on the same system, unless two people
	// have lifted that.
	Overdue  bool         `json:"overdue,omitempty"`
	LiftedBy []IdentityID `json:"lifted_by,omitempty"`
}

// Lifters is how many people lift what an overdue review blocks.
const Lifters = 2

// Blocks reports whether the stage is a review whose deadline has passed at now
// and that still keeps the person from break-glass.
func (s *Stage) Blocks(now Instant) bool {
	late := s.Overdue || s.Deadline != 0 && now >= s.Deadline
	return s.Review && s.State == StageOpen && late && len(s.LiftedBy) < Lifters
}

// Quorum says that Need different people out of a set must approve. Several
// quorums of one stage need different people among each other too.
type Quorum struct {
	// Approvers are approver rules, as "manager-of(requester)".
	Approvers []string `json:"approvers"`
	// Else are further rules, tried in order when Approvers find nobody who may.
	Else []string `json:"else,omitempty"`
	Need int      `json:"need"`
}

// Rung is one step of what happens when a deadline passes.
type Rung struct {
	// EscalateTo are approver rules that are asked from then on; empty on the
	// last rung, which denies.
	EscalateTo []string `json:"escalate_to,omitempty"`
	Within     string   `json:"within,omitempty"`
}

// Asked is a person who can decide a stage, and the rule that says so.
type Asked struct {
	Person IdentityID `json:"person"`
	Rule   string     `json:"rule"`
	// Quorum is the index of the quorum that the person counts for.
	Quorum int `json:"quorum"`
	// OnBehalfOf is whom the person stands in for by a delegation; "" for nobody.
	OnBehalfOf IdentityID `json:"on_behalf_of,omitempty"`
}

// Seat is who counts: a person and whoever stands in for that person are one.
func (a Asked) Seat() IdentityID {
	if a.OnBehalfOf != "" {
		return a.OnBehalfOf
	}
	return a.Person
}

// Outcome is what a decision says.
type Outcome string

const (
	Approve Outcome = "approve"
	Deny    Outcome = "deny"
	// InOrder and NotInOrder are what a review finds.
	InOrder    Outcome = "in-order"
	NotInOrder Outcome = "not-in-order"
)

// Decision is one approve or deny by one person.
type Decision struct {
	ID      DecisionID `json:"id"`
	By      IdentityID `json:"by"`
	Outcome Outcome    `json:"outcome"`
	At      Instant    `json:"at"`
	// Rules are the approver rules by which the person stood, with the quorums
	// that they count for.
	Standing []Asked `json:"standing"`
	// Shown is the digest of exactly what the person was shown.
	Shown Digest `json:"shown"`
	// Opened are the digests of the evidence that the person had opened by then.
	Opened []Digest `json:"opened,omitempty"`
	Reason string   `json:"reason,omitempty"`
	// Duration is set where the approver shortened it.
	Duration Seconds `json:"duration,omitempty"`
	// Issuer and Strength say how the person was authenticated.
	Issuer   string `json:"issuer"`
	Strength string `json:"strength"`
}

// Step is one operation of a connector that fulfils a request.
type Step struct {
	Connector string `json:"connector"`
	Action    string `json:"action"`
}

func (s Step) String() string { return s.Connector + "." + s.Action }

// GrantTerms are what a policy says of the grants of a request.
type GrantTerms struct {
	// Remind is how long before the end the holder is reminded; zero means never.
	Remind   Seconds        `json:"remind,omitempty"`
	EndsWhen []EndCondition `json:"ends_when,omitempty"`
	// Overlap is how long the access is kept once it would not be given any more,
	// because its holder moved; zero leaves it to the house.
	Overlap Seconds `json:"overlap,omitempty"`
	// BoundedBy is what an agent's access counts within.
	BoundedBy []Bound `json:"bounded_by,omitempty"`
}

// Answering says how somebody answers for an agent.
type Answering string

const (
	AnsweringOwner   Answering = "owner"
	AnsweringSponsor Answering = "sponsor"
)

// Bound makes access count only while somebody who answers for the agent holds one
// of the entitlements.
type Bound struct {
	Who Answering `json:"who"`
	// Holds are written as system/resource/entitlement.
	Holds []string `json:"holds"`
	// Resources are the names of the resources whose access is bounded; none is all.
	Resources []string `json:"resources,omitempty"`
}

// Covers reports whether access to the resource is bounded.
func (b Bound) Covers(resource string) bool {
	return len(b.Resources) == 0 || slices.Contains(b.Resources, resource)
}

// Has reports whether a condition of the kind ends the access.
func (t GrantTerms) Has(kind EndConditionKind) bool {
	return slices.ContainsFunc(t.EndsWhen, func(condition EndCondition) bool { return condition.Kind == kind })
}

// GrantRef ties a request to one of its grants.
type GrantRef struct {
	Grant       GrantID       `json:"grant"`
	Entitlement EntitlementID `json:"entitlement"`
	State       GrantState    `json:"state"`
}

// KeptOutDecider returns somebody who approved and is in the set of those who may
// not decide, or "".
func (r *Request) KeptOutDecider(keptOut map[IdentityID]string) IdentityID {
	for i := range r.Stages {
		for _, decision := range r.Stages[i].Decisions {
			if decision.Outcome != Approve {
				continue
			}
			if _, kept := keptOut[decision.By]; kept {
				return decision.By
			}
			for _, standing := range decision.Standing {
				if _, kept := keptOut[standing.Seat()]; kept {
					return standing.Seat()
				}
			}
		}
	}
	return ""
}

// OpenStages returns the indexes of the open stages.
func (r *Request) OpenStages() []int {
	var open []int
	for i := range r.Stages {
		if r.Stages[i].State == StageOpen {
			open = append(open, i)
		}
	}
	return open
}
