package workflow

import "github.com/countersign/countersign"

// Events of a proposal.

type ProposalDrafted struct {
	Change ProposalDraftedChange `json:"change"`
	Reason *Reason               `json:"reason"`
}

type ProposalDraftedChange struct {
	Kind  countersign.ProposalKind `json:"kind"`
	By    countersign.IdentityID   `json:"by"`
	Files countersign.Digest       `json:"files"`
	// System is what a baseline is of.
	System countersign.SystemID `json:"system,omitempty"`
}

func (ProposalDrafted) EventKind() string { return "proposal.drafted@1" }

type ProposalDecided struct {
	Change ProposalDecidedChange `json:"change"`
	Reason *Reason               `json:"reason"`
}

type ProposalDecidedChange struct {
	State countersign.ProposalState `json:"state"`
	By    countersign.IdentityID    `json:"by"`
	// Shown is the digest of what the person was shown; "" for a withdrawal.
	Shown countersign.Digest `json:"shown,omitempty"`
}

func (ProposalDecided) EventKind() string { return "proposal.decided@1" }

// ProposalEnforced says that one person has put a proposal into force.
type ProposalEnforced struct {
	Change ProposalEnforcedChange `json:"change"`
	Reason *Reason                `json:"reason"`
}

type ProposalEnforcedChange struct {
	By    countersign.IdentityID `json:"by"`
	Shown countersign.Digest     `json:"shown"`
	// Before is the policy set that comes back at Until, unless somebody confirms.
	Before countersign.Digest  `json:"before"`
	Until  countersign.Instant `json:"until"`
	// Told are the people who can confirm or reject it, told at once.
	Told []countersign.IdentityID `json:"told"`
}

func (ProposalEnforced) EventKind() string { return "proposal.enforced@1" }

// ProposalDeadlineSet says by when a second person has to decide: with the draft, or
// for one from before there were deadlines.
type ProposalDeadlineSet struct {
	Change ProposalClock `json:"change"`
}

func (ProposalDeadlineSet) EventKind() string { return "proposal.deadline-set@1" }

// ProposalClock is until when a proposal waits for a second person.
type ProposalClock struct {
	Until countersign.Instant `json:"until"`
	// RemindAt is when those who may decide are reminded; Told are who they are now.
	RemindAt countersign.Instant      `json:"remind_at"`
	Told     []countersign.IdentityID `json:"told"`
}

// ProposalReminded says that the time to decide will soon be over.
type ProposalReminded struct {
	Change ProposalRemindedChange `json:"change"`
}

type ProposalRemindedChange struct {
	Until countersign.Instant      `json:"until"`
	Told  []countersign.IdentityID `json:"told"`
}

func (ProposalReminded) EventKind() string { return "proposal.reminded@1" }

// ProposalLapsed says that nobody has decided in time.
type ProposalLapsed struct {
	Change ProposalLapsedChange `json:"change"`
	Reason *Reason              `json:"reason"`
}

type ProposalLapsedChange struct {
	Until countersign.Instant `json:"until"`
}

func (ProposalLapsed) EventKind() string { return "proposal.lapsed@1" }

func init() {
	Registry.Register(&ProposalDrafted{}, &ProposalDecided{}, &ProposalEnforced{}, &ProposalDeadlineSet{}, &ProposalReminded{}, &ProposalLapsed{})
}

// ApplyProposal folds one event of a proposal's stream into its state, which it
// takes over and returns; nil is the state before the first event.
func ApplyProposal(p *countersign.Proposal, stamp Stamp, payload countersign.Payload) (*countersign.Proposal, error) {
	switch event := payload.(type) {
	case *ProposalDrafted:
		p = &countersign.Proposal{
			ID: countersign.ProposalID(stamp.Stream), Kind: event.Change.Kind, State: countersign.ProposalOpen,
			By: event.Change.By, At: stamp.Time, Files: event.Change.Files, System: event.Change.System,
		}
		if event.Reason != nil {
			p.Reason = event.Reason.Text
		}
	case *ProposalEnforced:
		if p == nil {
			return nil, proposalWithoutBeginning()
		}
		p.State, p.EnforcedBy, p.Shown, p.Before, p.Until = countersign.ProposalProvisional, event.Change.By, event.Change.Shown, event.Change.Before, event.Change.Until
		p.RemindAt = 0
		if event.Reason != nil {
			p.Emergency = event.Reason.Text
		}
	case *ProposalDecided:
		if p == nil {
			return nil, proposalWithoutBeginning()
		}
		p.State, p.DecidedBy, p.DecidedAt, p.Shown = event.Change.State, event.Change.By, stamp.Time, event.Change.Shown
		if event.Reason != nil {
			p.Outcome = event.Reason.Text
		}
	case *ProposalDeadlineSet:
		if p == nil {
			return nil, proposalWithoutBeginning()
		}
		p.Until, p.RemindAt = event.Change.Until, event.Change.RemindAt
	case *ProposalReminded:
		if p == nil {
			return nil, proposalWithoutBeginning()
		}
		p.RemindAt = 0
	case *ProposalLapsed:
		if p == nil {
			return nil, proposalWithoutBeginning()
		}
		p.State, p.DecidedAt = countersign.ProposalLapsed, stamp.Time
		if event.Reason != nil {
			p.Outcome = event.Reason.Text
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a proposal", payload.EventKind())
	}
	p.Version = stamp.Seq
	return p, nil
}

func proposalWithoutBeginning() error {
	return countersign.Errorf(countersign.Internal, "stream-without-beginning", "a proposal's stream begins with %s", ProposalDrafted{}.EventKind())
}

// ProposalCommand is a command on a proposal, with what the actor says.
type ProposalCommand struct {
	Name   Command
	Reason string
	// Shown is what the actor was shown, ShownNow what it would be now; only with
	// Publish and Reject.
	Shown, ShownNow countersign.Digest
	// Before, Until and Told belong to Enforce.
	Before countersign.Digest
	Until  countersign.Instant
	Told   []countersign.IdentityID
	// Clock belongs to Tick: what it is for a proposal without one, and who may decide.
	Clock ProposalClock
}

// DraftProposal opens a proposal that waits until its clock has run out; system is what
// a baseline is of.
func DraftProposal(occasion Occasion, kind countersign.ProposalKind, files countersign.Digest, system countersign.SystemID, reason string, clock ProposalClock) (*countersign.Proposal, []countersign.Event, error) {
	if blank(reason) {
		return nil, nil, countersign.Errorf(countersign.Invalid, "reason-missing", "A proposal needs a reason: the second person will read it.").At("/reason")
	}
	id := occasion.Mint.Proposal()
	draft, drafted, err := proposalEvent(occasion, nil, id, &ProposalDrafted{
		Change: ProposalDraftedChange{Kind: kind, By: occasion.Actor.Identity(), Files: files, System: system}, Reason: &Reason{Text: reason},
	})
	if err != nil {
		return nil, nil, err
	}
	proposal, timed, err := proposalEvent(occasion, draft, id, &ProposalDeadlineSet{Change: clock})
	return proposal, []countersign.Event{drafted, timed}, err
}

// DecideProposal judges a command on a proposal. A nil proposal without an error
// means that there is nothing to do yet.
func DecideProposal(occasion Occasion, state *countersign.Proposal, command ProposalCommand, standing Standing) (*countersign.Proposal, countersign.Event, error) {
	none := countersign.Event{}
	if err := Allowed(ProposalTransitions, state.State, command.Name, standing); err != nil {
		return nil, none, err
	}
	if command.Name == Tick {
		return tickProposal(occasion, state, command.Clock)
	}
	if (command.Name == Publish || command.Name == Enforce) && state.Until != 0 && occasion.Now >= state.Until {
		return nil, none, countersign.Errorf(countersign.Conflict, "already-lapsed", "It is too late to %s: a second person had to decide by %s, and it lapses. Propose it anew.", command.Name, state.Until)
	}
	if command.Name != Withdraw && (command.Shown == "" || command.Shown != command.ShownNow) {
		return nil, none, countersign.Errorf(countersign.Conflict, "shown-has-changed", "What this would change is not what you were shown: look at it again, then decide.").At("/shown")
	}
	if command.Name == Reject && blank(command.Reason) {
		return nil, none, countersign.Errorf(countersign.Invalid, "reason-missing", "A rejection needs a reason: who proposed it will read it.").At("/reason")
	}
	if command.Name == Enforce {
		if blank(command.Reason) {
			return nil, none, countersign.Errorf(countersign.Invalid, "reason-missing", "Say what the emergency is: whoever confirms it will read it.").At("/reason")
		}
		return proposalEvent(occasion, Copy(state), state.ID, &ProposalEnforced{
			Change: ProposalEnforcedChange{By: occasion.Actor.Identity(), Shown: command.Shown, Before: command.Before, Until: command.Until, Told: command.Told},
			Reason: &Reason{Text: command.Reason},
		})
	}
	decided := &ProposalDecided{Change: ProposalDecidedChange{By: occasion.Actor.Identity(), Shown: command.Shown}}
	for _, line := range ProposalTransitions {
		if line.From == state.State && line.Command == command.Name {
			decided.Change.State = line.To[0]
		}
	}
	if command.Reason != "" {
		decided.Reason = &Reason{Text: command.Reason}
	}
	return proposalEvent(occasion, Copy(state), state.ID, decided)
}

// tickProposal lets time pass: who may decide is reminded, and what nobody has decided
// by its time lapses. Silence publishes nothing.
func tickProposal(occasion Occasion, state *countersign.Proposal, clock ProposalClock) (*countersign.Proposal, countersign.Event, error) {
	var payload countersign.Payload
	switch {
	case state.Until == 0:
		payload = &ProposalDeadlineSet{Change: clock}
	case occasion.Now >= state.Until:
		payload = &ProposalLapsed{Change: ProposalLapsedChange{Until: state.Until}, Reason: &Reason{Text: "Nobody decided by " + state.Until.String() + "."}}
	case state.RemindAt != 0 && occasion.Now >= state.RemindAt:
		payload = &ProposalReminded{Change: ProposalRemindedChange{Until: state.Until, Told: clock.Told}}
	default:
		return nil, countersign.Event{}, nil
	}
	after, event, err := proposalEvent(occasion, Copy(state), state.ID, payload)
	if err == nil {
		err = checkLeads(ProposalTransitions, state.State, Tick, after.State)
	}
	return after, event, err
}

func proposalEvent(occasion Occasion, before *countersign.Proposal, id countersign.ProposalID, payload countersign.Payload) (*countersign.Proposal, countersign.Event, error) {
	stamp := Stamp{Stream: countersign.Stream(id), Seq: 1, Time: occasion.Now, Actor: occasion.Actor, PolicySet: occasion.PolicySet}
	if before != nil {
		stamp.Seq = before.Version + 1
	}
	after, err := ApplyProposal(before, stamp, payload)
	return after, countersign.Event{Stream: stamp.Stream, Payload: payload}, err
}
