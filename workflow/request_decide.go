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
	Duration     countersign.Seconds
	LatestEnd    countersign.Instant
	Route        countersign.Digest
	ConsentOf    countersign.IdentityID
	Evidence     []countersign.Slot
	Stages       []countersign.Stage
	Fulfil       []countersign.Step
	Terms        countersign.GrantTerms
	CollectBy    countersign.Instant
	// Facts is the complete typed input of the judgement.
	Facts json.RawMessage
}

// RequestCommand is a command on a request, with what the actor says.
type RequestCommand struct {
	Name Command
	// Stage names the stage that a decision is about; "" where only one asks.
	Stage  string
	Reason string
	// Duration shortens what was asked for; only with Approve.
	Duration countersign.Seconds
	// Shown is the digest of what the person was shown; only with decisions.
	Shown    countersign.Digest
	Issuer   string
	Strength string
	// Slot and Evidence belong to Attach.
	Slot     string
	Evidence countersign.Evidence
	// Grant and GrantState belong to Progress.
	Grant      countersign.GrantID
	GrantState countersign.GrantState
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
	submitted := &RequestSubmitted{
		Change: RequestSubmittedChange{
			Type: route.Type, Title: route.Title, Requester: route.Requester, Beneficiary: route.Beneficiary,
			SamePerson: route.SamePerson, Entitlements: route.Entitlements, Duration: route.Duration,
			LatestEnd: route.LatestEnd, Route: route.Route, ConsentOf: route.ConsentOf, Evidence: route.Evidence,
			Stages: route.Stages, Fulfil: route.Fulfil, Terms: route.Terms, CollectBy: route.CollectBy,
		},
		Reason: &Reason{Text: route.Reason, Answers: route.Answers},
		Facts:  &FactsValue{Judged: route.Facts},
	}
	if err := f.request(occasion.Mint.Request(), submitted); err != nil {
		return Outcome{}, err
	}
	if err := f.advance(verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), nil
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
	case Approve, Deny:
		return repeatedDecision(r, command, actor.Identity(), verdict)
	case Consent:
		return r.Consent.By != "" && r.Consent.By == actor.Identity()
	case Cancel:
		return r.State == countersign.RequestCancelled
	case Attach, Tick, Progress, Revoke, Rotate, Retry, Observe, Park, Wake, Publish, Reject, Withdraw, Lift:
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
	case Attach:
		return f.attach(command, verdict)
	case Approve, Deny:
		return f.decide(command, verdict)
	case Cancel:
		return f.end(countersign.RequestCancelled, "cancelled", command.Reason)
	case Tick:
		return f.tick(verdict)
	case Progress:
		return f.progress(command, verdict)
	case Revoke, Rotate, Retry, Observe, Park, Wake, Publish, Reject, Withdraw, Lift:
	}
	return countersign.Errorf(countersign.Internal, "unknown-command", "%q is not a command on a request", command.Name)
}

func (f *folding) attach(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	slot := findSlot(r, command.Slot)
	if slot == nil {
		names := make([]string, 0, len(r.Evidence))
		for _, known := range r.Evidence {
			names = append(names, known.Name)
		}
		return countersign.Errorf(countersign.Invalid, "no-such-slot", "This request has no evidence slot %q; it has %v.", command.Slot, names).At("/slot")
	}
	early := slot.Due == countersign.DueAtClosure && r.State != countersign.RequestClosing
	switch {
	case slot.VerifiedBy != "":
		return countersign.Errorf(countersign.Refused, "slot-is-verified", "The evidence %q is fetched and verified by %s; it cannot be attached.", slot.Name, slot.VerifiedBy).At("/slot")
	case early:
		return countersign.Errorf(countersign.Conflict, "not-due-yet", "The evidence %q falls due when the access is gone.", slot.Name)
	case slot.Held != nil && (r.State != countersign.RequestCollecting || r.Consent.By != ""):
		return countersign.Errorf(countersign.Conflict, "slot-is-filled", "The evidence %q is there already, and somebody may have relied on it.", slot.Name)
	}
	attached := &EvidenceAttached{
		Change:   EvidenceAttachedChange{Slot: slot.Name, ID: command.Evidence.ID, Digest: command.Evidence.Digest, By: f.Actor.Identity()},
		Evidence: &EvidenceValue{Source: command.Evidence.Source, Verified: command.Evidence.Verified},
	}
	if err := f.request(r.ID, attached); err != nil {
		return err
	}
	if f.outcome.Request.State == countersign.RequestCollecting {
		return f.advance(verdict)
	}
	if f.outcome.Request.State == countersign.RequestClosing {
		return f.settleClosure("all follow-ups are done")
	}
	return nil
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
		if stage.State == countersign.StageWaiting && (!found || stage.Step < step) {
			step, found = stage.Step, true
		}
	}
	if !found {
		return f.approved(verdict)
	}
	for i := range f.outcome.Request.Stages {
		stage := &f.outcome.Request.Stages[i]
		if stage.State != countersign.StageWaiting || stage.Step != step {
			continue
		}
		if ended, err := f.ask(i, verdict.Rungs[i], 0, WhyOpened); ended || err != nil {
			return err
		}
	}
	return nil
}

// ask asks the first rung from the given one on that can still supply the
// stage; with none left the request is denied, because silence never grants.
func (f *folding) ask(index int, rungs []Rung, first int, why string) (ended bool, err error) {
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
	var opened []*GrantOpened
	for _, entitlement := range r.Entitlements {
		system, known := verdict.Systems[entitlement]
		if !known {
			return countersign.Errorf(countersign.Internal, "unknown-system", "the verdict does not name the system of %s", entitlement)
		}
		approved.Change.Grants = append(approved.Change.Grants, countersign.GrantRef{Grant: f.Mint.Grant(), Entitlement: entitlement, State: countersign.GrantProvisioning})
		opened = append(opened, &GrantOpened{GrantOpenedChange{
			Origin: countersign.FromRequest, Request: r.ID, Requester: r.Requester, Holder: r.Beneficiary, Entitlement: entitlement, System: system,
			Step: r.Fulfil[0], Duration: r.Duration, LatestEnd: r.LatestEnd, Terms: r.Terms,
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

// tick lets deadlines pass and keeps the asked people up to date.
func (f *folding) tick(verdict RequestVerdict) error {
	r := f.outcome.Request
	switch r.State {
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
			if ended, err := f.ask(index, rungs, first, WhyApproversChanged); ended || err != nil {
				return err
			}
		}
	case countersign.RequestClosing:
		for _, slot := range slices.Clone(r.Evidence) {
			if slot.Deadline != 0 && slot.Held == nil && !slot.Overdue && f.Now >= slot.Deadline {
				overdue := &EvidenceOverdue{}
				overdue.Change.Slot, overdue.Change.Told = slot.Name, verdict.Told[slot.Name]
				if err := f.request(r.ID, overdue); err != nil {
					return err
				}
			}
		}
	case countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosed, countersign.RequestDenied,
		countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
	}
	return nil
}

// progress takes what became of one grant.
func (f *folding) progress(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
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
	if change.State == countersign.RequestClosing && len(change.Owed) == 0 {
		change.State, change.Outcome = countersign.RequestClosed, "the access is gone"
	}
	return f.request(r.ID, &RequestProgressed{Change: change})
}

// settleClosure closes the request once nothing is owed any more.
func (f *folding) settleClosure(outcome string) error {
	r := f.outcome.Request
	for _, slot := range r.Evidence {
		if slot.Due == countersign.DueAtClosure && slot.Held == nil {
			return nil
		}
	}
	return f.request(r.ID, &RequestProgressed{RequestProgressedChange{State: countersign.RequestClosed, Outcome: outcome}})
}
