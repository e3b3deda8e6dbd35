package workflow

//go:generate go run ./lifecycle ../docs/lifecycle.md

import "github.com/countersign/countersign"

// Command is something that an actor wants to happen.
type Command string

// Commands on requests.
const (
	// Consent is given by the owner of an NHI who did not ask.
	Consent Command = "consent"
	// Attach fills an evidence slot.
	Attach Command = "attach"
	// Fetch fills a slot with what its source says now.
	Fetch Command = "fetch"
	// Open looks into the content of evidence, on the record.
	Open    Command = "open"
	Approve Command = "approve"
	Deny    Command = "deny"
	// Ask wants to know more before deciding; Answer tells it.
	Ask    Command = "ask"
	Answer Command = "answer"
	// Amend changes what is asked for.
	Amend  Command = "amend"
	Cancel Command = "cancel"
	// Close gives back what was granted, all of it; or closes without the evidence
	// that never came.
	Close Command = "close"
	// Review says whether what was done with the access was in order.
	Review Command = "review"
	// Classify says which request a description in words is; Prioritise how urgent.
	Classify   Command = "classify"
	Prioritise Command = "prioritise"
	// Merge ends a description that asks for what another request does; Decline one
	// that is nothing to be granted.
	Merge   Command = "merge"
	Decline Command = "decline"
	// Unblock lets somebody use break-glass again whose review is overdue; it takes
	// two people.
	Unblock Command = "unblock"
	// Tick lets time pass: deadlines, escalations, refreshed approvers.
	Tick Command = "tick"
	// Progress tells a request what became of one of its grants.
	Progress Command = "progress"
)

// Commands on grants.
const (
	// Revoke ends access because somebody says so.
	Revoke Command = "revoke"
	// Rotate adds a credential and retires the older ones after an overlap.
	Rotate Command = "rotate"
	// Retry puts parked work back to work.
	Retry Command = "retry"
	// Observe takes what was read back from the target.
	Observe Command = "observe"
	// Park stops an operation that nobody but a person can move on.
	Park Command = "park"
	// Wake lets time pass: the end, reminders, retirements, end conditions.
	Wake Command = "wake"
	// Done says that a task was done; Refuse that it cannot be.
	Done   Command = "done"
	Refuse Command = "refuse"
	// Check looks at the target after a task was done: a second person's.
	Check Command = "check"
)

// Commands on proposals.
const (
	// Publish makes what was proposed effective.
	Publish Command = "publish"
	// Enforce makes it effective at once, until a second person has looked.
	Enforce Command = "enforce"
	Reject  Command = "reject"
	// Withdraw takes a proposal back.
	Withdraw Command = "withdraw"
)

// Commands on holds.
const (
	// Lift ends a hold.
	Lift Command = "lift"
)

// Role is as what an actor stands to a request or grant, now.
type Role string

const (
	Requester   Role = "requester"
	Beneficiary Role = "beneficiary"
	// Accountable is the owner, second owner or sponsor of a beneficiary or holder.
	Accountable Role = "accountable"
	// Approver stands in a stage or review that is open and is not kept out by
	// separation of duties.
	Approver Role = "approver"
	// SystemOwner owns the system of the entitlement, or is its second owner.
	SystemOwner Role = "system-owner"
	// Fulfiller is named to carry a grant's task out; Witness to look afterwards.
	// Separation of duties keeps neither of them out.
	Fulfiller Role = "fulfiller"
	Witness   Role = "witness"
	// Administrator, Auditor and Operator hold that power of the desk.
	Administrator Role = "administrator"
	Operator      Role = "operator"
	Auditor       Role = "auditor"
	// Proposer made a proposal; Reviewer is another person who holds a power that
	// the proposal takes.
	Proposer Role = "proposer"
	Reviewer Role = "reviewer"
	// EmergencyAuthor holds the power to put a policy into force alone.
	EmergencyAuthor Role = "emergency-author"
	// Stranger is everybody else.
	Stranger Role = "stranger"
	// Timer, Delivery and Integrator are the system actors.
	Timer      Role = "system:timer"
	Delivery   Role = "system:delivery"
	Integrator Role = "system:integrator"
)

// Roles lists every role in the order of the table's columns.
var Roles = []Role{Requester, Beneficiary, Accountable, Approver, SystemOwner, Fulfiller, Witness, Administrator, Auditor, Operator, Proposer, Reviewer, EmergencyAuthor, Stranger, Timer, Delivery, Integrator}

// RequestCommands and its siblings list the commands in the order of the table.
var (
	RequestCommands  = []Command{Consent, Attach, Fetch, Open, Approve, Deny, Classify, Prioritise, Merge, Decline, Ask, Answer, Amend, Cancel, Close, Review, Unblock, Tick, Progress}
	GrantCommands    = []Command{Revoke, Rotate, Retry, Done, Refuse, Check, Observe, Park, Wake}
	ProposalCommands = []Command{Publish, Enforce, Reject, Withdraw, Tick}
	HoldCommands     = []Command{Lift, Tick}
)

// Transition is one line of the law: in the state From, the roles By may give
// the command, and it leads to one of To.
type Transition[State ~string] struct {
	From    State
	Command Command
	By      []Role
	To      []State
}

var (
	theAskers  = []Role{Requester, Beneficiary, Accountable}
	theReaders = []Role{Requester, Beneficiary, Accountable, Approver, SystemOwner, Auditor}
	whoMayEnd  = []Role{Requester, Beneficiary, Accountable, SystemOwner, Administrator}
)

// RequestTransitions is the whole law of requests. What is not listed is refused.
var RequestTransitions = []Transition[countersign.RequestState]{
	{countersign.RequestTriaging, Classify, []Role{Operator}, to(countersign.RequestCollecting, countersign.RequestDeciding)},
	{countersign.RequestTriaging, Prioritise, []Role{Operator}, to(countersign.RequestTriaging)},
	{countersign.RequestTriaging, Merge, []Role{Operator}, to(countersign.RequestCancelled)},
	{countersign.RequestTriaging, Decline, []Role{Operator}, to(countersign.RequestDenied)},
	{countersign.RequestTriaging, Ask, []Role{Operator}, to(countersign.RequestTriaging)},
	{countersign.RequestTriaging, Answer, theAskers, to(countersign.RequestTriaging)},
	{countersign.RequestTriaging, Cancel, theAskers, to(countersign.RequestCancelled)},
	{countersign.RequestTriaging, Tick, []Role{Timer}, to(countersign.RequestTriaging)},

	{countersign.RequestCollecting, Consent, []Role{Accountable}, to(countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestCollecting, Attach, theAskers, to(countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestCollecting, Fetch, theAskers, to(countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestCollecting, Open, theReaders, to(countersign.RequestCollecting)},
	{countersign.RequestCollecting, Amend, []Role{Requester}, to(countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestCollecting, Cancel, theAskers, to(countersign.RequestCancelled)},
	{countersign.RequestCollecting, Tick, []Role{Timer}, to(countersign.RequestCollecting, countersign.RequestExpired)},

	{countersign.RequestDeciding, Attach, theAskers, to(countersign.RequestDeciding)},
	{countersign.RequestDeciding, Open, theReaders, to(countersign.RequestDeciding)},
	{countersign.RequestDeciding, Ask, []Role{Approver}, to(countersign.RequestDeciding)},
	{countersign.RequestDeciding, Answer, theAskers, to(countersign.RequestDeciding)},
	{countersign.RequestDeciding, Amend, []Role{Requester}, to(countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestDeciding, Approve, []Role{Approver}, to(countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestDenied)},
	{countersign.RequestDeciding, Deny, []Role{Approver}, to(countersign.RequestDenied)},
	{countersign.RequestDeciding, Cancel, theAskers, to(countersign.RequestCancelled)},
	{countersign.RequestDeciding, Tick, []Role{Timer}, to(countersign.RequestDeciding, countersign.RequestDenied)},

	{countersign.RequestFulfilling, Open, theReaders, to(countersign.RequestFulfilling)},
	{countersign.RequestFulfilling, Close, whoMayEnd, to(countersign.RequestFulfilling)},
	{countersign.RequestFulfilling, Progress, []Role{Delivery, Timer}, to(countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed, countersign.RequestFailed)},

	{countersign.RequestActive, Fetch, theAskers, to(countersign.RequestActive)},
	{countersign.RequestActive, Open, theReaders, to(countersign.RequestActive)},
	{countersign.RequestActive, Close, whoMayEnd, to(countersign.RequestActive)},
	{countersign.RequestActive, Progress, []Role{Delivery, Timer}, to(countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed)},

	{countersign.RequestClosing, Attach, append([]Role{Approver}, theAskers...), to(countersign.RequestClosing, countersign.RequestClosed)},
	{countersign.RequestClosing, Fetch, append([]Role{Approver}, theAskers...), to(countersign.RequestClosing, countersign.RequestClosed)},
	{countersign.RequestClosing, Open, theReaders, to(countersign.RequestClosing)},
	{countersign.RequestClosing, Close, []Role{SystemOwner, Administrator}, to(countersign.RequestClosed)},
	{countersign.RequestClosing, Review, []Role{Approver}, to(countersign.RequestClosing, countersign.RequestClosed)},
	{countersign.RequestClosing, Unblock, []Role{Approver, SystemOwner, Administrator}, to(countersign.RequestClosing)},
	{countersign.RequestClosing, Tick, []Role{Timer}, to(countersign.RequestClosing)},
}

// GrantTransitions is the whole law of grants. What is not listed is refused.
var GrantTransitions = []Transition[countersign.GrantState]{
	{countersign.GrantProvisioning, Revoke, whoMayEnd, to(countersign.GrantRevoking)},
	{countersign.GrantProvisioning, Retry, []Role{SystemOwner, Administrator}, to(countersign.GrantProvisioning)},
	{countersign.GrantProvisioning, Done, []Role{Fulfiller}, to(countersign.GrantProvisioning)},
	{countersign.GrantProvisioning, Refuse, []Role{Fulfiller}, to(countersign.GrantProvisioning)},
	{countersign.GrantProvisioning, Check, []Role{Witness}, to(countersign.GrantProvisioning, countersign.GrantLive)},
	{countersign.GrantProvisioning, Observe, []Role{Delivery}, to(countersign.GrantProvisioning, countersign.GrantLive)},
	{countersign.GrantProvisioning, Park, []Role{Delivery}, to(countersign.GrantProvisioning)},
	{countersign.GrantProvisioning, Wake, []Role{Timer}, to(countersign.GrantProvisioning, countersign.GrantRevoking)},

	{countersign.GrantLive, Revoke, whoMayEnd, to(countersign.GrantRevoking)},
	{countersign.GrantLive, Rotate, []Role{Requester, Beneficiary, Accountable}, to(countersign.GrantLive)},
	{countersign.GrantLive, Retry, []Role{SystemOwner, Administrator}, to(countersign.GrantLive)},
	{countersign.GrantLive, Observe, []Role{Delivery}, to(countersign.GrantLive)},
	{countersign.GrantLive, Park, []Role{Delivery}, to(countersign.GrantLive)},
	{countersign.GrantLive, Wake, []Role{Timer}, to(countersign.GrantLive, countersign.GrantRevoking)},

	{countersign.GrantRevoking, Retry, []Role{SystemOwner, Administrator}, to(countersign.GrantRevoking)},
	{countersign.GrantRevoking, Done, []Role{Fulfiller}, to(countersign.GrantRevoking)},
	{countersign.GrantRevoking, Refuse, []Role{Fulfiller}, to(countersign.GrantRevoking)},
	{countersign.GrantRevoking, Check, []Role{Witness}, to(countersign.GrantRevoking, countersign.GrantGone, countersign.GrantFailed)},
	{countersign.GrantRevoking, Wake, []Role{Timer}, to(countersign.GrantRevoking)},
	{countersign.GrantRevoking, Observe, []Role{Delivery}, to(countersign.GrantRevoking, countersign.GrantRevoked, countersign.GrantGone, countersign.GrantFailed)},

	{countersign.GrantRevoked, Observe, []Role{Delivery}, to(countersign.GrantRevoked, countersign.GrantGone, countersign.GrantFailed)},
}

// ProposalTransitions is the whole law of proposals. What is not listed is refused.
var ProposalTransitions = []Transition[countersign.ProposalState]{
	{countersign.ProposalOpen, Publish, []Role{Reviewer}, to(countersign.ProposalPublished)},
	{countersign.ProposalOpen, Reject, []Role{Reviewer}, to(countersign.ProposalRejected)},
	{countersign.ProposalOpen, Enforce, []Role{EmergencyAuthor}, to(countersign.ProposalProvisional)},
	{countersign.ProposalOpen, Withdraw, []Role{Proposer}, to(countersign.ProposalWithdrawn)},
	{countersign.ProposalOpen, Tick, []Role{Timer}, to(countersign.ProposalOpen, countersign.ProposalLapsed)},

	{countersign.ProposalProvisional, Publish, []Role{Reviewer}, to(countersign.ProposalPublished)},
	{countersign.ProposalProvisional, Reject, []Role{Reviewer}, to(countersign.ProposalRejected)},
	{countersign.ProposalProvisional, Withdraw, []Role{Proposer}, to(countersign.ProposalWithdrawn)},
	{countersign.ProposalProvisional, Tick, []Role{Timer}, to(countersign.ProposalLapsed)},
}

// HoldTransitions is the whole law of holds. What is not listed is refused.
var HoldTransitions = []Transition[countersign.HoldState]{
	{countersign.HoldActive, Lift, []Role{Accountable, SystemOwner, Administrator}, to(countersign.HoldLifted)},
	{countersign.HoldActive, Tick, []Role{Timer}, to(countersign.HoldActive)},
}

func to[State any](states ...State) []State { return states }
