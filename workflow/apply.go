package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// Stamp is what Apply needs of an event's header.
type Stamp struct {
	Stream    countersign.Stream
	Seq       int64
	Time      countersign.Instant
	Actor     countersign.Actor
	PolicySet countersign.Digest
}

// Registry knows the decoder of every event version of requests and grants.
var Registry = countersign.PayloadRegistry{}.Register(
	&RequestSubmitted{}, &RequestConsented{}, &EvidenceAttached{}, &StageOpened{}, &RequestDecided{},
	&StageSettled{}, &RequestApproved{}, &RequestEnded{}, &RequestProgressed{}, &EvidenceOverdue{}, &EvidenceOverdue2{},
	&RequestAmended{}, &RequestRedefined{}, &EvidenceOpened{}, &EvidenceWrittenOff{}, &RequestRerouted{}, &QuestionAsked{}, &QuestionAnswered{}, &BlockLifted{},
	&GrantOpened{}, &CredentialApplied{}, &RotationStarted{}, &CredentialRetiring{}, &GrantEnding{},
	&CredentialRevoked{}, &GrantReminded{}, &EndDeferred{}, &IntentParked{}, &IntentRetried{},
	&ExtensionStarted{}, &CredentialExtended{}, &ExtensionDropped{}, &GrantLapsing{}, &GrantKept{}, &GrantRedefined{},
)

// ApplyRequest folds one event of a request's stream into its state, which it
// takes over and returns; nil is the state before the first event. It decides
// nothing.
func ApplyRequest(r *countersign.Request, stamp Stamp, payload countersign.Payload) (*countersign.Request, error) {
	if submitted, ok := payload.(*RequestSubmitted); ok {
		return applySubmitted(stamp, submitted), nil
	}
	if described, ok := payload.(*RequestDescribed); ok {
		r := &countersign.Request{
			ID: countersign.RequestID(stamp.Stream), Version: stamp.Seq, State: countersign.RequestTriaging, Requester: described.Change.Requester,
			Beneficiary: described.Change.Beneficiary, SamePerson: described.Change.SamePerson, Entitlements: []countersign.EntitlementID{},
			PolicySet: stamp.PolicySet, Evidence: []countersign.Slot{}, Stages: []countersign.Stage{}, Fulfil: []countersign.Step{},
			Grants: []countersign.GrantRef{}, SubmittedAt: stamp.Time, Priority: described.Change.Priority, CollectBy: described.Change.LookBy,
		}
		applyWords(r, described.Reason, nil)
		return Copy(r), nil
	}
	if r == nil {
		return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "a request's stream begins with %s, not %s", RequestSubmitted{}.EventKind(), payload.EventKind())
	}
	r.Version = stamp.Seq
	switch event := payload.(type) {
	case *RequestConsented:
		r.Consent.By, r.Consent.At = event.Change.By, stamp.Time
	case *EvidenceAttached:
		slot := findSlot(r, event.Change.Slot)
		if slot == nil {
			return nil, countersign.Errorf(countersign.Internal, "unknown-slot", "request %s has no evidence slot %q", r.ID, event.Change.Slot)
		}
		slot.Held = &countersign.Evidence{ID: event.Change.ID, Digest: event.Change.Digest, By: event.Change.By, At: stamp.Time, Unavailable: event.Change.Unavailable, Key: event.Change.Key}
		if event.Evidence != nil {
			slot.Held.Source, slot.Held.Verified = event.Evidence.Source, event.Evidence.Verified
		}
	case *StageOpened:
		stage := &r.Stages[event.Change.Stage]
		if stage.State != countersign.StageOpen {
			stage.State, stage.OpenedAt = countersign.StageOpen, stamp.Time
		}
		stage.Climbed, stage.Asked, stage.Deadline = event.Change.Climbed, event.Change.Asked, event.Change.Deadline
		if stage.Review {
			stage.Overdue = stage.Overdue || event.Change.Why == WhyOverdue
		} else {
			r.State, r.CollectBy = countersign.RequestDeciding, 0
		}
	case *RequestDecided:
		decision := countersign.Decision{
			ID: event.Change.ID, By: event.Change.By, Outcome: event.Change.Outcome, At: stamp.Time,
			Standing: event.Change.Standing, Shown: event.Change.Shown, Opened: event.Change.Opened, Duration: event.Change.Duration,
			Issuer: event.Change.Issuer, Strength: event.Change.Strength,
		}
		if event.Reason != nil {
			decision.Reason = event.Reason.Text
		}
		if decision.Duration != 0 {
			r.Duration = decision.Duration
		}
		stage := &r.Stages[event.Change.Stage]
		stage.Decisions = append(stage.Decisions, decision)
	case *StageSettled:
		stage := &r.Stages[event.Change.Stage]
		stage.State, stage.Because = event.Change.State, event.Change.Because
		stage.Deadline = 0
	case *RequestApproved:
		r.State, r.DecidedAt, r.CollectBy = countersign.RequestFulfilling, stamp.Time, 0
		r.Grants, r.Told = event.Change.Grants, event.Change.Told
	case *RequestEnded:
		if r.State == countersign.RequestTriaging && stamp.Actor.Identity() != r.Requester {
			r.ClassifiedBy = stamp.Actor.Identity()
		}
		r.State, r.ClosedAt, r.CollectBy = event.Change.State, stamp.Time, 0
		if r.State == countersign.RequestDenied {
			r.DecidedAt = stamp.Time
		}
		r.Outcome = event.Change.Cause
		if event.Reason != nil {
			r.Outcome = event.Reason.Text
		}
		closeStages(r)
	case *RequestPrioritised:
		r.Priority, r.CollectBy = event.Change.Priority, event.Change.LookBy
	case *RequestClassified:
		return applyClassified(r, stamp, event), nil
	case *RequestAmended:
		applyAmended(r, event)
	case *RequestPlanned:
		if r.Effects = nil; event.Facts != nil {
			r.Effects = event.Facts.Effects
		}
	case *RotationAsked:
		rotates := event.Change
		r.Rotates = &rotates
	case *RequestRerouted:
		addStages(r, event.Change.Stages, event.Change.Voids)
	case *RequestRedefined:
		redefine(r, event.Change.Definitions, event.Change.Voids)
	case *EvidenceWrittenOff:
		for _, name := range event.Change.Slots {
			if slot := findSlot(r, name); slot != nil {
				slot.WrittenOffBy = event.Change.By
			}
		}
	case *EvidenceOpened:
		r.Openings = append(r.Openings, countersign.Opening{By: event.Change.By, At: stamp.Time, Slot: event.Change.Slot, Digest: event.Change.Digest})
	case *QuestionAsked:
		question := countersign.Question{By: event.Change.By, At: stamp.Time}
		if event.Reason != nil {
			question.Text = event.Reason.Text
		}
		r.Questions = append(r.Questions, question)
	case *QuestionAnswered:
		question := &r.Questions[len(r.Questions)-1]
		question.AnsweredBy, question.AnsweredAt = event.Change.By, stamp.Time
		if event.Reason != nil {
			question.Answer = event.Reason.Text
		}
	case *BlockLifted:
		stage := &r.Stages[event.Change.Stage]
		stage.LiftedBy = append(stage.LiftedBy, event.Change.By)
	case *RequestProgressed:
		applyProgressed(r, stamp, event.Change)
	case *EvidenceOverdue:
		if slot := findSlot(r, event.Change.Slot); slot != nil {
			slot.Overdue = true
		}
	case *EvidenceOverdue2:
		if slot := findSlot(r, event.Change.Slot); slot != nil {
			slot.Overdue, slot.Deadline = true, event.Change.Again
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a request", payload.EventKind())
	}
	return r, nil
}

func applySubmitted(stamp Stamp, event *RequestSubmitted) *countersign.Request {
	change := event.Change
	r := &countersign.Request{
		ID: countersign.RequestID(stamp.Stream), Version: stamp.Seq, Type: change.Type, Title: change.Title, State: countersign.RequestCollecting,
		Requester: change.Requester, Beneficiary: change.Beneficiary, SamePerson: change.SamePerson,
		Entitlements: change.Entitlements, Duration: change.Duration, LatestEnd: change.LatestEnd,
		PolicySet: stamp.PolicySet, Route: change.Route, Consent: countersign.Consent{Of: change.ConsentOf},
		Evidence: change.Evidence, Stages: change.Stages, Fulfil: change.Fulfil, Terms: change.Terms,
		SubmittedAt: stamp.Time, CollectBy: change.CollectBy, Grants: []countersign.GrantRef{},
		BreakGlass: change.BreakGlass, Extends: change.Extends, Adopts: change.Adopts, Definitions: change.Definitions, Ticket: change.Ticket,
	}
	applyWords(r, event.Reason, change.Exception)
	return Copy(r)
}

// applyClassified makes a description the request that it is, with its history.
func applyClassified(r *countersign.Request, stamp Stamp, event *RequestClassified) *countersign.Request {
	after := applySubmitted(stamp, &RequestSubmitted{Change: event.Change.Route, Reason: event.Reason})
	after.SubmittedAt, after.Priority, after.Questions, after.ClassifiedBy = r.SubmittedAt, r.Priority, r.Questions, event.Change.By
	return after
}

// applyWords takes over what people wrote, as far as it is still there.
func applyWords(r *countersign.Request, reason *Reason, exception *ExceptionChange) {
	r.Exception = nil
	if exception != nil {
		r.Exception = &countersign.Exception{Waives: exception.Waives, Owner: exception.Owner, Until: exception.Until}
	}
	if reason == nil {
		return
	}
	r.Reason, r.Answers = reason.Text, reason.Answers
	if r.Exception != nil {
		r.Exception.Control = reason.Control
	}
}

func applyAmended(r *countersign.Request, event *RequestAmended) {
	change := event.Change
	if change.Voids || r.Consent.Of != change.ConsentOf {
		r.Consent = countersign.Consent{Of: change.ConsentOf}
	}
	r.Entitlements, r.Duration, r.LatestEnd, r.Route = change.Entitlements, change.Duration, change.LatestEnd, change.Route
	r.Evidence, r.Stages, r.CollectBy = Copy(&change).Evidence, Copy(&change).Stages, change.CollectBy
	r.Definitions = change.Definitions
	applyWords(r, event.Reason, change.Exception)
	r.State = countersign.RequestCollecting
	if len(r.OpenStages()) > 0 {
		r.State, r.CollectBy = countersign.RequestDeciding, 0
	}
}

func applyProgressed(r *countersign.Request, stamp Stamp, change RequestProgressedChange) {
	for i := range r.Grants {
		if r.Grants[i].Grant == change.Grant {
			r.Grants[i].State = change.GrantState
		}
	}
	for i := range r.Evidence {
		if deadline := change.Owed[r.Evidence[i].Name]; deadline != 0 {
			r.Evidence[i].Deadline = deadline
		}
	}
	r.State = change.State
	if change.Outcome != "" {
		r.Outcome = change.Outcome
	}
	if r.State.Final() {
		r.ClosedAt = stamp.Time
	}
}

// closeStages marks what was still to be decided when the request ended.
func closeStages(r *countersign.Request) {
	for i := range r.Stages {
		stage := &r.Stages[i]
		if stage.State == countersign.StageOpen || stage.State == countersign.StageWaiting {
			stage.State, stage.Deadline = countersign.StageClosed, 0
			stage.Because = "the request ended as " + string(r.State)
		}
	}
}

func findSlot(r *countersign.Request, name string) *countersign.Slot {
	for i := range r.Evidence {
		if r.Evidence[i].Name == name {
			return &r.Evidence[i]
		}
	}
	return nil
}

// ApplyGrant folds one event of a grant's stream into its state, which it takes
// over and returns; nil is the state before the first event. It decides nothing.
func ApplyGrant(g *countersign.Grant, stamp Stamp, payload countersign.Payload) (*countersign.Grant, error) {
	if opened, ok := payload.(*GrantOpened); ok {
		return applyOpened(stamp, opened.Change), nil
	}
	if adopted, ok := payload.(*GrantAdopted); ok {
		return applyAdopted(stamp, adopted), nil
	}
	if g == nil {
		return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "a grant's stream begins with %s, not %s", GrantOpened{}.EventKind(), payload.EventKind())
	}
	g.Version = stamp.Seq
	switch event := payload.(type) {
	case *CredentialApplied:
		applyCredential(g, stamp, event.Change)
	case *RotationStarted:
		g.Credentials = append(g.Credentials, countersign.Credential{ID: event.Change.Intent.Credential, State: countersign.CredentialIssuing})
		push(g, event.Change.Intent)
	case *RotationApproved:
		applyRotationApproved(g, event.Change)
	case *RotationDropped:
		applyRotationDropped(g, event.Change)
	case *ExtensionStarted:
		extension := event.Change.Extension
		g.Extending = &extension
		for _, intent := range event.Change.Intents {
			push(g, intent)
		}
	case *CredentialExtended:
		applyExtended(g, event.Change.Observation, event.Change.Until)
	case *ExtensionDropped:
		if credential := g.FindCredential(event.Change.Unsettled); credential != nil {
			credential.Unsettled = true
		}
		dropExtension(g)
	case *CredentialRetiring:
		if credential := g.FindCredential(event.Change.Intent.Credential); credential != nil {
			credential.State = countersign.CredentialRetiring
		}
		push(g, event.Change.Intent)
	case *GrantEnding:
		g.State, g.EndAt, g.EndedBy = countersign.GrantRevoking, stamp.Time, stamp.Actor
		g.EndCause, g.Ending = event.Change.Cause, event.Change.Cause
		if event.Reason != nil && event.Reason.Text != "" {
			g.Ending = event.Reason.Text
		}
		g.Intent, g.Queue, g.Parked, g.Extending, g.Rotating, g.Task = nil, nil, nil, nil, nil, nil
		for _, intent := range event.Change.Intents {
			push(g, intent)
			if credential := g.FindCredential(intent.Credential); credential != nil && credential.State != countersign.CredentialGone {
				credential.State = countersign.CredentialRetiring
			}
		}
	case *CredentialRevoked:
		applyRevoked(g, stamp, event.Change)
	case *GrantLapsing:
		g.Lapsing = &countersign.Lapse{Since: stamp.Time, Cause: event.Change.Cause, Was: g.Until}
		if event.Reason != nil {
			g.Lapsing.Because = event.Reason.Text
		}
		g.Until = event.Change.Until
	case *GrantKept:
		g.Until, g.Lapsing = g.Lapsing.Was, nil
	case *GrantReminded:
		g.Reminded = true
	case *GrantRedefined:
		if g.Redefined = nil; event.Change.Definition != g.Definition {
			g.Redefined = &countersign.Redefinition{Since: stamp.Time, Definition: event.Change.Definition}
		}
	case *EndDeferred:
		g.Until = event.Change.Until
	case *IntentParked:
		g.Parked = &countersign.Parked{Since: stamp.Time, Person: event.Change.Person}
		if event.Reason != nil {
			g.Parked.Why = event.Reason.Text
		}
	case *IntentRetried:
		// A task begins anew, with a deadline of its own.
		g.Parked, g.Task = nil, nil
	case *TaskOpened:
		g.Task = &countersign.Task{Intent: event.Change.Intent, OpenedAt: stamp.Time, Deadline: event.Change.Deadline, Told: event.Change.Told}
	case *TaskEscalated:
		g.Task.Deadline, g.Task.Told, g.Task.Escalated = event.Change.Deadline, event.Change.Told, event.Change.Escalated
	case *TaskDone:
		g.Task.DoneBy, g.Task.DoneAt = event.Change.By, stamp.Time
	case *TaskRefused:
		g.Task.DoneBy, g.Task.DoneAt, g.Task.Told = "", 0, event.Change.Told
	case *TaskChecked:
		check := countersign.Check{
			Intent: event.Change.Intent, Operation: event.Change.Operation, DoneBy: event.Change.DoneBy, By: event.Change.By, At: stamp.Time,
			Assurance: event.Change.Assurance, Present: event.Change.Present, List: event.Change.List,
		}
		if event.Subject != nil {
			check.Account = event.Subject.Account
		}
		g.Checks = append(g.Checks, check)
		// What was not found done is to be done again; a check that agrees is followed
		// by the observation, which ends the task.
		g.Task.DoneBy, g.Task.DoneAt = "", 0
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a grant", payload.EventKind())
	}
	return g, nil
}

func applyOpened(stamp Stamp, change GrantOpenedChange) *countersign.Grant {
	g := &countersign.Grant{
		ID: countersign.GrantID(stamp.Stream), Version: stamp.Seq, State: countersign.GrantProvisioning, Origin: change.Origin, Request: change.Request, Requester: change.Requester,
		Holder: change.Holder, Entitlement: change.Entitlement, System: change.System, Step: change.Step,
		Duration: change.Duration, LatestEnd: change.LatestEnd, Terms: change.Terms, OpenedAt: stamp.Time, Birthright: change.Birthright, Definition: change.Definition,
		Credentials: []countersign.Credential{{ID: change.Intent.Credential, State: countersign.CredentialIssuing}},
	}
	push(g, change.Intent)
	return Copy(g)
}

func applyCredential(g *countersign.Grant, stamp Stamp, change CredentialAppliedChange) {
	if credential := g.FindCredential(change.Observation.Credential); credential != nil {
		credential.State, credential.From, credential.Until = countersign.CredentialLive, stamp.Time, change.Until
		credential.Reference = change.Observation.Reference
		noteAttempts(credential, change.Observation)
	}
	if g.State == countersign.GrantProvisioning {
		g.State, g.From, g.Until = countersign.GrantLive, stamp.Time, change.Until
	}
	if change.RetireOthersAt != 0 {
		for i := range g.Credentials {
			credential := &g.Credentials[i]
			if credential.ID != change.Observation.Credential && credential.State == countersign.CredentialLive {
				retire := change.RetireOthersAt
				if change.NoLater || g.Issuing() {
					retire = countersign.Earliest(retire, credential.RetireAt)
				}
				// What an approved rotation replaces ends no later than it would have.
				if g.Issuing() {
					retire = countersign.Earliest(retire, credential.Until)
				}
				credential.RetireAt = retire
			}
		}
	}
	applyRotated(g, change)
	g.Parked = nil
	next(g)
}

func noteAttempts(credential *countersign.Credential, observation countersign.Observation) {
	if observation.Attempt > 1 {
		credential.Retried = observation.At
	}
}

// applyExtended moves the end of a credential and, with the last one, of the
// grant.
func applyExtended(g *countersign.Grant, observation countersign.Observation, until countersign.Instant) {
	if credential := g.FindCredential(observation.Credential); credential != nil {
		credential.Until = until
		noteAttempts(credential, observation)
	}
	g.Parked = nil
	next(g)
	if g.Intent != nil && g.Intent.Operation == countersign.ExtendOperation || g.Extending == nil {
		return
	}
	// Who approved the later end approved what the entitlement meant by then.
	if g.Redefined != nil && g.Redefined.Definition == g.Extending.Definition {
		g.Redefined = nil
	}
	g.Definition = g.Extending.Definition
	convert(g, g.Extending)
	g.Until, g.LatestEnd, g.Extending, g.Reminded, g.Lapsing = until, g.Extending.LatestEnd, nil, false, nil
}

// dropExtension takes back what was to move the end; what waits behind it goes on.
func dropExtension(g *countersign.Grant) {
	pending := g.Queue
	if g.Intent != nil {
		pending = append([]countersign.Intent{*g.Intent}, pending...)
	}
	g.Extending, g.Intent, g.Queue, g.Parked = nil, nil, nil, nil
	for _, intent := range pending {
		if intent.Operation != countersign.ExtendOperation {
			push(g, intent)
		}
	}
}

func applyRevoked(g *countersign.Grant, stamp Stamp, change CredentialRevokedChange) {
	if credential := g.FindCredential(change.Observation.Credential); credential != nil {
		credential.State, credential.RetireAt = countersign.CredentialGone, 0
	}
	settleRotation(g)
	next(g)
	if change.Confirm != nil {
		push(g, *change.Confirm)
	}
	g.State, g.EffectiveBy = change.State, change.EffectiveBy
	if g.State.Ended() {
		g.GoneAt = stamp.Time
	}
}

// push puts an intent to work, or behind those that are: a grant's intents are
// serial. What only looks once more, when its time has come, lets what acts go
// first.
func push(g *countersign.Grant, intent countersign.Intent) {
	if g.Intent == nil {
		g.Intent = &intent
		return
	}
	pending := append([]countersign.Intent{*g.Intent}, g.Queue...)
	place := len(pending)
	if intent.Operation != countersign.ConfirmOperation {
		if looks := slices.IndexFunc(pending, func(other countersign.Intent) bool { return other.Operation == countersign.ConfirmOperation }); looks >= 0 {
			place = looks
		}
	}
	pending = slices.Insert(pending, place, intent)
	g.Intent, g.Queue = &pending[0], pending[1:]
}

func next(g *countersign.Grant) {
	g.Intent, g.Task = nil, nil
	if len(g.Queue) > 0 {
		g.Intent = &g.Queue[0]
		g.Queue = g.Queue[1:]
	}
	if len(g.Queue) == 0 {
		g.Queue = nil
	}
}
