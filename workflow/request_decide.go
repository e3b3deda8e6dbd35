package workflow

import (
	"encoding/json"
	"slices"

	"github.com/countersign/countersign"
)

// Route is what the policy set said of an asking, ready to become a request.
type Route struct {
	Type         string
	Title        string
	Requester    countersign.IdentityID
	Beneficiary  countersign.IdentityID
	SamePerson   []countersign.IdentityID
	Entitlements []countersign.EntitlementID
	Reason       string
	Answers      json.RawMessage
	// Effects are what connectors say that they would do with the answers; nil where
	// they are given none.
	Effects    []string
	Duration   countersign.Seconds
	LatestEnd  countersign.Instant
	Route      countersign.Digest
	ConsentOf  countersign.IdentityID
	Evidence   []countersign.Slot
	Stages     []countersign.Stage
	Fulfil     []countersign.Step
	Terms      countersign.GrantTerms
	CollectBy  countersign.Instant
	BreakGlass bool
	Extends    countersign.GrantID
	Adopts     countersign.FindingID
	Rotates    *countersign.Rotates
	Exception  *countersign.Exception
	// Definitions are the versions of the entitlements.
	Definitions Definitions
	// Ticket is where the request comes from; nil for none.
	Ticket *countersign.TicketRef
	// Facts is the complete typed input of the judgement.
	Facts json.RawMessage
}

// RequestCommand is a command on a request, with what the actor says.
type RequestCommand struct {
	Name Command
	// Stage names the stage that a decision is about; "" where only one asks.
	Stage  string
	Reason string
	// Priority belongs to Prioritise, Into to Merge.
	Priority int
	Into     countersign.RequestID
	// Finding is in-order or not-in-order; only with Review.
	Finding countersign.Outcome
	// Duration shortens what was asked for; only with Approve.
	Duration countersign.Seconds
	// Shown is the digest of what the person was shown; only with decisions.
	Shown    countersign.Digest
	Issuer   string
	Strength string
	// Slot and Evidence belong to Attach and Fetch, Slot also to Open.
	Slot     string
	Evidence countersign.Evidence
	// Grant and GrantState belong to Progress.
	Grant      countersign.GrantID
	GrantState countersign.GrantState
	// Rotation is what became of the rotation that was approved; only with Progress.
	Rotation RotationStep
}

// RequestVerdict is what desk found out for a command on a request.
type RequestVerdict struct {
	Standing Standing
	// Refusal is why today's policy set refuses the asking; nil where it does not.
	Refusal error
	// ShownNow is the digest of what a decider would be shown now.
	ShownNow countersign.Digest
	// Rungs holds, for each stage that is open or waiting, who would be asked and
	// by when: at the present rung of its ladder, at the next one, and so on.
	Rungs map[int][]Rung
	// Systems names the system of each entitlement.
	Systems map[countersign.EntitlementID]countersign.SystemID
	// Owed are the deadlines of evidence that falls due when access is gone.
	Owed map[string]countersign.Instant
	// Told is who hears of overdue evidence, by slot.
	Told map[string][]countersign.IdentityID
	// Tell is who is told at once that the request was approved.
	Tell []countersign.IdentityID
	// Changed is the grant that the request extends or rotates.
	Changed *countersign.Grant
	// Added are stages that were skipped, or passed by a rule, and that people have to
	// decide by now; only with Tick.
	Added []int
	// Redefined are the entitlements that mean something else by now than what is asked
	// for; only with Tick.
	Redefined Definitions
	// Facts is the complete typed input of the verdict.
	Facts json.RawMessage
}

// Rung is who may decide a stage at one rung of its ladder, and by when if that
// rung is taken now.
type Rung struct {
	Asked    []countersign.Asked
	Deadline countersign.Instant
}

// SubmitRequest opens a request. With nothing to collect its first stage opens
// in the same step; with nothing to decide it is approved at once.
func SubmitRequest(occasion Occasion, route Route, verdict RequestVerdict) (Outcome, error) {
	f := &folding{Occasion: occasion}
	submitted := &RequestSubmitted{Change: submittedChange(route), Reason: reasonOf(route), Facts: &FactsValue{Judged: route.Facts}}
	if err := f.request(occasion.Mint.Request(), submitted); err != nil {
		return Outcome{}, err
	}
	if err := f.rotationAsked(route.Rotates); err != nil {
		return Outcome{}, err
	}
	if err := f.planned(route.Effects); err != nil {
		return Outcome{}, err
	}
	if err := f.advance(verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), nil
}

func submittedChange(route Route) RequestSubmittedChange {
	return RequestSubmittedChange{
		Type: route.Type, Title: route.Title, Requester: route.Requester, Beneficiary: route.Beneficiary,
		SamePerson: route.SamePerson, Entitlements: route.Entitlements, Duration: route.Duration,
		LatestEnd: route.LatestEnd, Route: route.Route, ConsentOf: route.ConsentOf, Evidence: route.Evidence,
		Stages: route.Stages, Fulfil: route.Fulfil, Terms: route.Terms, CollectBy: route.CollectBy,
		BreakGlass: route.BreakGlass, Extends: route.Extends, Adopts: route.Adopts, Exception: exceptionChange(route.Exception), Definitions: route.Definitions, Ticket: route.Ticket,
	}
}

// reasonOf keeps the words that people wrote where they can be erased.
func reasonOf(route Route) *Reason {
	reason := &Reason{Text: route.Reason, Answers: route.Answers}
	if route.Exception != nil {
		reason.Control = route.Exception.Control
	}
	return reason
}

func exceptionChange(exception *countersign.Exception) *ExceptionChange {
	if exception == nil {
		return nil
	}
	return &ExceptionChange{Waives: exception.Waives, Owner: exception.Owner, Until: exception.Until}
}

// DecideRequest judges a command on a request. No events and no error means
// that it was done before and changes nothing.
func DecideRequest(occasion Occasion, state *countersign.Request, command RequestCommand, verdict RequestVerdict) (Outcome, error) {
	if repeated(state, command, occasion.Actor, verdict) {
		return Outcome{}, nil
	}
	if err := Allowed(RequestTransitions, state.State, command.Name, verdict.Standing); err != nil {
		return Outcome{}, err
	}
	f := &folding{Occasion: occasion, outcome: Outcome{Request: Copy(state)}}
	if err := f.onRequest(command, verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), checkLeads(RequestTransitions, state.State, command.Name, f.outcome.Request.State)
}

// repeated reports whether the actor has said exactly this already.
func repeated(r *countersign.Request, command RequestCommand, actor countersign.Actor, verdict RequestVerdict) bool {
	switch command.Name {
	case Approve, Deny, Review:
		return repeatedDecision(r, command, actor.Identity(), verdict)
	case Open:
		slot := findSlot(r, command.Slot)
		return slot != nil && slot.Held != nil && slices.Contains(openedBy(r, actor.Identity()), slot.Held.Digest)
	case Unblock:
		return slices.ContainsFunc(r.Stages, func(stage countersign.Stage) bool { return slices.Contains(stage.LiftedBy, actor.Identity()) })
	case Consent:
		return r.Consent.By != "" && r.Consent.By == actor.Identity()
	case Cancel:
		return r.State == countersign.RequestCancelled
	case Classify, Prioritise, Merge, Decline, Attach, Fetch, Ask, Answer, Amend, Close, Tick, Progress, Revoke, Rotate, Retry, Done, Refuse, Check, Observe, Park, Wake, Publish, Enforce, Reject, Withdraw, Lift:
	}
	return false
}

func (f *folding) onRequest(command RequestCommand, verdict RequestVerdict) error {
	switch command.Name {
	case Consent:
		if f.outcome.Request.Consent.Of == "" {
			return countersign.Errorf(countersign.Conflict, "no-consent-needed", "This request needs no consent.")
		}
		if f.Actor.Identity() == f.outcome.Request.Requester {
			return refuseActor(Consent, verdict.Standing)
		}
		consented := &RequestConsented{}
		consented.Change.By = f.Actor.Identity()
		if err := f.request(f.outcome.Request.ID, consented); err != nil {
			return err
		}
		return f.advance(verdict)
	case Attach, Fetch:
		return f.attach(command, verdict)
	case Open:
		return f.open(command)
	case Approve, Deny:
		return f.decide(command, verdict)
	case Review:
		return f.review(command, verdict)
	case Unblock:
		return f.unblock(command, verdict)
	case Prioritise:
		return f.prioritise(command.Priority)
	case Merge, Decline:
		return f.turnDown(command)
	case Ask:
		return f.ask(command)
	case Answer:
		return f.answer(command, verdict)
	case Cancel:
		return f.end(countersign.RequestCancelled, "cancelled", command.Reason)
	case Close:
		return f.close(command, verdict)
	case Tick:
		return f.tick(verdict)
	case Progress:
		return f.progress(command, verdict)
	case Classify, Amend, Revoke, Rotate, Retry, Done, Refuse, Check, Observe, Park, Wake, Publish, Enforce, Reject, Withdraw, Lift:
	}
	return countersign.Errorf(countersign.Internal, "unknown-command", "%q is not a command on a request", command.Name)
}

// complete reports whether nothing is missing before the first stage.
func complete(r *countersign.Request) bool {
	return !r.Consent.Missing() && !slices.ContainsFunc(r.Evidence, func(slot countersign.Slot) bool {
		return slot.Due == countersign.DueAtRequest && slot.Held == nil
	})
}

// advance opens what comes next: the first stages, the next ones, or fulfilment.
func (f *folding) advance(verdict RequestVerdict) error {
	if !complete(f.outcome.Request) {
		return nil
	}
	if len(f.outcome.Request.OpenStages()) > 0 {
		return nil
	}
	step, found := 0, false
	for i := range f.outcome.Request.Stages {
		stage := &f.outcome.Request.Stages[i]
		if stage.State == countersign.StageWaiting && !stage.Review && (!found || stage.Step < step) {
			step, found = stage.Step, true
		}
	}
	if !found {
		return f.approved(verdict)
	}
	for i := range f.outcome.Request.Stages {
		stage := &f.outcome.Request.Stages[i]
		if stage.State != countersign.StageWaiting || stage.Review || stage.Step != step {
			continue
		}
		if ended, err := f.askRung(i, verdict.Rungs[i], 0, WhyOpened); ended || err != nil {
			return err
		}
	}
	return nil
}

// askRung asks the first rung from the given one on that can still supply the
// stage; with none left the request is denied, because silence never grants.
func (f *folding) askRung(index int, rungs []Rung, first int, why string) (ended bool, err error) {
	stage := &f.outcome.Request.Stages[index]
	for i := first; i < len(rungs); i++ {
		if !possible(stage, rungs[i].Asked) {
			continue
		}
		if i > 0 {
			why = WhyEscalated
		}
		return false, f.request(f.outcome.Request.ID, &StageOpened{StageOpenedChange{
			Stage: index, Climbed: stage.Climbed + i, Asked: rungs[i].Asked, Deadline: rungs[i].Deadline, Why: why,
		}})
	}
	if first < len(rungs) {
		return true, f.end(countersign.RequestDenied, "no-approver", "Nobody is left who may decide the stage \""+stage.Name+"\".")
	}
	return true, f.end(countersign.RequestDenied, "deadline", "Nobody decided the stage \""+stage.Name+"\" in time.")
}

func (f *folding) end(state countersign.RequestState, cause, text string) error {
	ended := &RequestEnded{}
	ended.Change.State, ended.Change.Cause = state, cause
	if text != "" {
		ended.Reason = &Reason{Text: text}
	}
	return f.request(f.outcome.Request.ID, ended)
}

// approved opens the grants. Nothing of it is access yet: each grant begins with
// an intent, and is live once it was read back.
func (f *folding) approved(verdict RequestVerdict) error {
	r := f.outcome.Request
	approved := &RequestApproved{}
	approved.Change.Told = verdict.Tell
	if r.Extends != "" {
		return f.extend(approved, verdict)
	}
	if r.Rotates != nil {
		return f.rotateApproved(approved, verdict)
	}
	var opened []*GrantOpened
	for _, entitlement := range r.Entitlements {
		system, known := verdict.Systems[entitlement]
		if !known {
			return countersign.Errorf(countersign.Internal, "unknown-system", "the verdict does not name the system of %s", entitlement)
		}
		approved.Change.Grants = append(approved.Change.Grants, countersign.GrantRef{Grant: f.Mint.Grant(), Entitlement: entitlement, State: countersign.GrantProvisioning})
		opened = append(opened, &GrantOpened{GrantOpenedChange{
			Origin: countersign.FromRequest, Request: r.ID, Requester: r.Requester, Holder: r.Beneficiary, Entitlement: entitlement, System: system,
			Step: r.Fulfil[0], Duration: r.Duration, LatestEnd: r.LatestEnd, Terms: r.Terms, Definition: r.Definitions[entitlement],
			Intent: countersign.Intent{ID: f.Mint.Intent(), Operation: countersign.ApplyOperation, Credential: f.Mint.Credential()},
		}})
	}
	if err := f.request(r.ID, approved); err != nil {
		return err
	}
	for i, event := range opened {
		if err := f.grant(approved.Change.Grants[i].Grant, event); err != nil {
			return err
		}
	}
	return nil
}

// extend has the end of a live grant moved. The earlier end stands until the
// target was read back with the later one.
func (f *folding) extend(approved *RequestApproved, verdict RequestVerdict) error {
	r, g := f.outcome.Request, verdict.Changed
	if g == nil || g.ID != r.Extends || g.State != countersign.GrantLive || g.Extending != nil || g.Issuing() || g.Busy() {
		return countersign.Errorf(countersign.Conflict, "cannot-extend-now", "The grant %s is not live, or another operation on it is under way.", r.Extends)
	}
	approved.Change.Grants = []countersign.GrantRef{{Grant: g.ID, Entitlement: g.Entitlement, State: g.State}}
	if err := f.request(r.ID, approved); err != nil {
		return err
	}
	started := &ExtensionStarted{}
	started.Change.Extension = countersign.Extension{Request: r.ID, Duration: f.outcome.Request.Duration, LatestEnd: r.LatestEnd, Definition: r.Definitions[g.Entitlement]}
	if g.Request == "" {
		started.Change.Extension.Requester = r.Requester
	}
	for _, credential := range g.Credentials {
		if credential.State == countersign.CredentialLive && credential.RetireAt == 0 {
			started.Change.Intents = append(started.Change.Intents, countersign.Intent{ID: f.Mint.Intent(), Operation: countersign.ExtendOperation, Credential: credential.ID})
		}
	}
	f.outcome.Grants = append(f.outcome.Grants, Copy(g))
	return f.grant(g.ID, started)
}

// tick lets deadlines pass and keeps the asked people up to date.
func (f *folding) tick(verdict RequestVerdict) error {
	r := f.outcome.Request
	switch r.State {
	case countersign.RequestCollecting, countersign.RequestDeciding:
		if err := f.redefine(verdict); err != nil {
			return err
		}
		if err := f.reroute(verdict); err != nil {
			return err
		}
	case countersign.RequestTriaging, countersign.RequestClosing, countersign.RequestFulfilling, countersign.RequestActive,
		countersign.RequestClosed, countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
	}
	switch r = f.outcome.Request; r.State {
	case countersign.RequestTriaging:
		// Nobody looked in time: it becomes more urgent, and never lapses.
		if f.Now >= r.CollectBy {
			return f.prioritise(max(1, r.Priority-1))
		}
	case countersign.RequestCollecting:
		if r.CollectBy != 0 && f.Now >= r.CollectBy {
			return f.end(countersign.RequestExpired, "not-completed", "Consent or evidence was still missing when the time for it had passed.")
		}
	case countersign.RequestDeciding:
		for _, index := range r.OpenStages() {
			stage := &f.outcome.Request.Stages[index]
			rungs := verdict.Rungs[index]
			first := 0
			if f.Now >= stage.Deadline {
				first = 1
			} else if len(rungs) == 0 {
				continue
			} else if possible(stage, rungs[0].Asked) {
				if slices.Equal(stage.Asked, rungs[0].Asked) {
					continue
				}
				rungs = slices.Clone(rungs)
				rungs[0].Deadline = stage.Deadline
			}
			if ended, err := f.askRung(index, rungs, first, WhyApproversChanged); ended || err != nil {
				return err
			}
		}
	case countersign.RequestClosing:
		for _, slot := range slices.Clone(r.Evidence) {
			if slot.Deadline != 0 && slot.Held == nil && f.Now >= slot.Deadline {
				overdue := &EvidenceOverdue2{}
				overdue.Change.Slot, overdue.Change.Told, overdue.Change.Again = slot.Name, verdict.Told[slot.Name], f.Now.Add(evidenceAgain)
				if err := f.request(r.ID, overdue); err != nil {
					return err
				}
			}
		}
		return f.tickReviews(verdict)
	case countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosed, countersign.RequestDenied,
		countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
	}
	return nil
}

// progress takes what became of one grant.
func (f *folding) progress(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	if r.Extends != "" {
		return f.progressExtension(command)
	}
	if r.Rotates != nil {
		return f.progressRotation(command)
	}
	ended, failed, waiting, live := 0, 0, 0, 0
	known := false
	for _, ref := range r.Grants {
		state := ref.State
		if ref.Grant == command.Grant {
			known = true
			if state == command.GrantState {
				return nil
			}
			state = command.GrantState
		}
		switch {
		case state == countersign.GrantProvisioning:
			waiting++
		case state == countersign.GrantLive:
			live++
		case state.Ended():
			ended++
			if state == countersign.GrantFailed {
				failed++
			}
		}
	}
	if !known {
		return countersign.Errorf(countersign.Internal, "unknown-grant", "%s is not a grant of %s", command.Grant, r.ID)
	}
	change := RequestProgressedChange{Grant: command.Grant, GrantState: command.GrantState, State: r.State}
	switch {
	case failed == len(r.Grants):
		change.State, change.Outcome = countersign.RequestFailed, "it was approved and could not be carried out"
	case ended == len(r.Grants):
		change.State, change.Owed = countersign.RequestClosing, verdict.Owed
	case waiting == 0 && live > 0:
		change.State = countersign.RequestActive
	}
	reviewed := slices.ContainsFunc(r.Stages, func(stage countersign.Stage) bool { return stage.Review })
	declared := slices.ContainsFunc(r.Evidence, func(slot countersign.Slot) bool { return slot.Held != nil && slot.Held.Declared() })
	if change.State == countersign.RequestClosing && len(change.Owed) == 0 && !reviewed && !declared {
		change.State, change.Outcome = countersign.RequestClosed, "the access is gone"
	}
	closing := change.State == countersign.RequestClosing && r.State != countersign.RequestClosing
	if err := f.request(r.ID, &RequestProgressed{Change: change}); err != nil || !closing {
		return err
	}
	return f.openReviews(verdict)
}

// progressExtension ends the request for a later end: it was reached, or the
// access ended before.
func (f *folding) progressExtension(command RequestCommand) error {
	r := f.outcome.Request
	change := RequestProgressedChange{Grant: command.Grant, GrantState: command.GrantState, State: countersign.RequestClosed, Outcome: "the access has its later end"}
	if command.GrantState != countersign.GrantLive || command.Reason != "" {
		change.State, change.Outcome = countersign.RequestFailed, "the end could not be moved, and the earlier one stands"
	}
	return f.request(r.ID, &RequestProgressed{Change: change})
}
