package workflow

import (
	"bytes"
	"slices"

	"github.com/countersign/countersign"
)

// AmendRequest changes what an undecided request asks for. What only takes away
// leaves consent and approvals as they are, as far as their stages are the same;
// everything else voids them: they were given for something else.
func AmendRequest(occasion Occasion, state *countersign.Request, route Route, verdict RequestVerdict) (Outcome, error) {
	if err := Allowed(RequestTransitions, state.State, Amend, verdict.Standing); err != nil {
		return Outcome{}, err
	}
	if route.Type != state.Type || route.Beneficiary != state.Beneficiary || route.Extends != state.Extends || route.Adopts != state.Adopts || (route.Rotates == nil) != (state.Rotates == nil) || route.Rotates != nil && *route.Rotates != *state.Rotates || route.BreakGlass != state.BreakGlass {
		return Outcome{}, countersign.Errorf(countersign.Invalid, "another-request", "Type, beneficiary and the grant that a request extends or rotates stay as they are: cancel it and ask anew.")
	}
	f := &folding{Occasion: occasion, outcome: Outcome{Request: Copy(state)}}
	change := RequestAmendedChange{
		Voids: widens(state, route), Entitlements: route.Entitlements, Duration: route.Duration, LatestEnd: route.LatestEnd, Route: route.Route,
		ConsentOf: route.ConsentOf, Evidence: route.Evidence, Stages: slices.Clone(route.Stages), CollectBy: route.CollectBy, Exception: exceptionChange(route.Exception), Definitions: route.Definitions,
	}
	if !change.Voids {
		for i := range change.Stages {
			keepStage(&change.Stages[i], state.Stages)
		}
		// Where the path has a stage now that comes before one that was reached, it is
		// taken from its beginning.
		if change.Voids = overtaken(change.Stages); change.Voids {
			change.Stages = slices.Clone(route.Stages)
		}
	}
	if err := f.request(state.ID, &RequestAmended{Change: change, Reason: reasonOf(route), Facts: &FactsValue{Judged: route.Facts}}); err != nil {
		return Outcome{}, err
	}
	if err := f.planned(route.Effects); err != nil {
		return Outcome{}, err
	}
	if err := f.advance(verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), checkLeads(RequestTransitions, state.State, Amend, f.outcome.Request.State)
}

// widens reports whether somebody who agreed to the request as it is would have
// to look again.
func widens(r *countersign.Request, route Route) bool {
	was := exceptionChange(r.Exception)
	is := exceptionChange(route.Exception)
	sameException := (was == nil) == (is == nil) &&
		(was == nil || slices.Equal(was.Waives, is.Waives) && was.Owner == is.Owner && is.Until <= was.Until && r.Exception.Control == route.Exception.Control)
	later := r.LatestEnd != 0 && (route.LatestEnd == 0 || route.LatestEnd > r.LatestEnd)
	more := slices.ContainsFunc(route.Entitlements, func(id countersign.EntitlementID) bool { return !slices.Contains(r.Entitlements, id) })
	replaced := slices.ContainsFunc(r.Evidence, func(was countersign.Slot) bool {
		return was.Held != nil && !slices.ContainsFunc(route.Evidence, func(is countersign.Slot) bool {
			return is.Name == was.Name && is.Held != nil && is.Held.Digest == was.Held.Digest
		})
	})
	return !sameException || route.ConsentOf != r.Consent.Of || later || more || replaced || route.Duration > r.Duration || route.Reason != r.Reason || !bytes.Equal(route.Answers, r.Answers)
}

// overtaken reports whether a stage waits that comes before one that was reached.
func overtaken(stages []countersign.Stage) bool {
	return slices.ContainsFunc(stages, func(waiting countersign.Stage) bool {
		return waiting.State == countersign.StageWaiting && !waiting.Review && slices.ContainsFunc(stages, func(reached countersign.Stage) bool {
			settled := reached.State == countersign.StageOpen || len(reached.Decisions) > 0
			return settled && reached.Step > waiting.Step
		})
	})
}

// keepStage carries over where a stage is whose rules are as they were.
func keepStage(stage *countersign.Stage, earlier []countersign.Stage) {
	for _, was := range earlier {
		same := was.Name == stage.Name && was.Step == stage.Step && was.Within == stage.Within && slices.Equal(was.DistinctFrom, stage.DistinctFrom) &&
			slices.EqualFunc(was.Quorums, stage.Quorums, func(a, b countersign.Quorum) bool {
				return a.Need == b.Need && slices.Equal(a.Approvers, b.Approvers) && slices.Equal(a.Else, b.Else)
			})
		byRule := was.State == countersign.StagePassed && len(was.Decisions) == 0
		if same && stage.State == countersign.StageWaiting && was.State != countersign.StageSkipped && !byRule {
			*stage = was
		}
	}
}

// reroute has people decide stages that were skipped, or passed by a rule, when the
// request was submitted: what their conditions read has changed. Where such a stage
// comes before one that was reached, the path is taken from its beginning. A change
// that would leave a stage out changes nothing: nobody is spared by it.
func (f *folding) reroute(verdict RequestVerdict) error {
	if len(verdict.Added) == 0 {
		return nil
	}
	r := f.outcome.Request
	_, voids := Reroute(r, verdict.Added)
	if err := f.request(r.ID, &RequestRerouted{RequestReroutedChange{Stages: verdict.Added, Voids: voids}}); err != nil || !voids {
		return err
	}
	return f.advance(verdict)
}

// redefine has everything decided anew that was approved for what an entitlement
// meant before.
func (f *folding) redefine(verdict RequestVerdict) error {
	if len(verdict.Redefined) == 0 {
		return nil
	}
	r := f.outcome.Request
	voids := slices.ContainsFunc(r.Stages, func(stage countersign.Stage) bool { return len(stage.Decisions) > 0 })
	if err := f.request(r.ID, &RequestRedefined{RequestRedefinedChange{Definitions: verdict.Redefined, Voids: voids}}); err != nil || !voids {
		return err
	}
	return f.advance(verdict)
}

// Redefine returns the request as it is once its entitlements mean something else.
func Redefine(request *countersign.Request, redefined Definitions) *countersign.Request {
	r := Copy(request)
	redefine(r, redefined, len(redefined) > 0)
	return r
}

func redefine(r *countersign.Request, redefined Definitions, voids bool) {
	for id, definition := range redefined {
		if r.Definitions == nil {
			r.Definitions = Definitions{}
		}
		r.Definitions[id] = definition
	}
	if voids {
		addStages(r, nil, true)
	}
}

// Reroute returns the stages of a request as they are once the added ones are to be
// decided, and whether what was decided is decided anew.
func Reroute(request *countersign.Request, added []int) (stages []countersign.Stage, voids bool) {
	r := Copy(request)
	addStages(r, added, false)
	if voids = overtaken(r.Stages); voids {
		addStages(r, added, true)
	}
	return r.Stages, voids
}

// addStages lets people decide the stages; with voids set everything that was
// decided is decided anew.
func addStages(r *countersign.Request, added []int, voids bool) {
	for index := range r.Stages {
		stage := &r.Stages[index]
		again := voids && !stage.Review && (stage.State == countersign.StageOpen || len(stage.Decisions) > 0)
		if again || slices.Contains(added, index) {
			stage.State, stage.Because, stage.Decisions, stage.Asked, stage.Climbed, stage.OpenedAt, stage.Deadline = countersign.StageWaiting, "", nil, nil, 0, 0, 0
		}
	}
}
