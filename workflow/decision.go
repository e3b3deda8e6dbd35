package workflow

import "github.com/countersign/countersign"

// decide takes one approve or deny of one person in one stage.
func (f *folding) decide(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	index, standing, err := stageFor(r, command, f.Actor.Identity(), verdict)
	if err != nil {
		return err
	}
	if command.Shown == "" || command.Shown != verdict.ShownNow {
		return shownHasChanged()
	}
	if command.Name == Approve && verdict.Refusal != nil {
		return verdict.Refusal
	}
	if command.Name == Approve {
		if err := unopened(r, f.Actor.Identity()); err != nil {
			return err
		}
	}
	if command.Name == Deny && command.Reason == "" {
		return countersign.Errorf(countersign.Invalid, "reason-missing", "A denial needs a reason: the person who asked will read it.").At("/reason")
	}
	if command.Duration != 0 && (command.Name != Approve || command.Duration < 0 || command.Duration > r.Duration) {
		return countersign.Errorf(countersign.Refused, "duration-longer", "An approver may shorten what was asked for (%s), never lengthen it.", r.Duration).At("/duration")
	}
	shortened := command.Duration
	if shortened == r.Duration {
		shortened = 0
	}
	decided := &RequestDecided{
		Change: RequestDecidedChange{
			Stage: index, ID: f.Mint.Decision(), By: f.Actor.Identity(), Outcome: countersign.Outcome(command.Name),
			Standing: standing, Shown: command.Shown,
			Opened: openedBy(r, f.Actor.Identity()), Duration: shortened, Issuer: command.Issuer, Strength: command.Strength,
		},
		Facts: &FactsValue{Judged: verdict.Facts},
	}
	if command.Reason != "" {
		decided.Reason = &Reason{Text: command.Reason}
	}
	if err := f.request(r.ID, decided); err != nil {
		return err
	}
	if command.Name == Deny {
		if err := f.settleStage(index, countersign.StageDenied); err != nil {
			return err
		}
		return f.end(countersign.RequestDenied, "decision", command.Reason)
	}
	if !met(&f.outcome.Request.Stages[index]) {
		return nil
	}
	if err := f.settleStage(index, countersign.StagePassed); err != nil {
		return err
	}
	return f.advance(verdict)
}

func shownHasChanged() error {
	return countersign.Errorf(countersign.Conflict, "shown-has-changed", "What you decided on is not what the request says now: look at it again, then decide.").At("/shown")
}

func (f *folding) settleStage(index int, state countersign.StageState) error {
	settled := &StageSettled{}
	settled.Change.Stage, settled.Change.State = index, state
	return f.request(f.outcome.Request.ID, settled)
}

// stageFor finds the one open stage that the decision is about.
func stageFor(r *countersign.Request, command RequestCommand, who countersign.IdentityID, verdict RequestVerdict) (int, []countersign.Asked, error) {
	found, decided := -1, ""
	var standing []countersign.Asked
	for _, index := range r.OpenStages() {
		stage := &r.Stages[index]
		if command.Stage != "" && stage.Name != command.Stage {
			continue
		}
		if decisionBy(stage, who) != nil {
			decided = stage.Name
			continue
		}
		mine := standingIn(r, index, who, verdict)
		if len(mine) == 0 {
			continue
		}
		if found >= 0 {
			return 0, nil, countersign.Errorf(countersign.Invalid, "which-stage", "Two open stages ask you (%q and %q): name the one that you decide.", r.Stages[found].Name, stage.Name).At("/stage")
		}
		found, standing = index, mine
	}
	if found < 0 && decided != "" {
		return 0, nil, countersign.Errorf(countersign.Conflict, "decided-already", "You decided the stage %q already; a decision is not taken back, but whoever asked can cancel.", decided)
	}
	if found < 0 {
		return 0, nil, refuseActor(command.Name, Standing{Actor: countersign.Actor(who), LaterStage: verdict.Standing.LaterStage})
	}
	return found, standing, nil
}

// repeatedDecision reports whether the person decided so before: in the stage
// that is named, or else on the very page that was shown. A page is about one
// step, so where another stage of that step still asks the person, it is a new
// decision.
func repeatedDecision(r *countersign.Request, command RequestCommand, who countersign.IdentityID, verdict RequestVerdict) bool {
	for i := range r.Stages {
		earlier := decisionBy(&r.Stages[i], who)
		if earlier == nil || string(earlier.Outcome) != string(command.Name) && earlier.Outcome != command.Finding || command.Stage != "" && command.Stage != r.Stages[i].Name {
			continue
		}
		asked := undecided(r, who, verdict)
		if command.Stage != "" || earlier.Shown == command.Shown && (asked < 0 || r.Stages[asked].Step != r.Stages[i].Step) {
			return true
		}
	}
	return false
}

// undecided returns the first open stage that asks the person, who has not
// decided it yet; -1 if there is none.
func undecided(r *countersign.Request, who countersign.IdentityID, verdict RequestVerdict) int {
	for _, index := range r.OpenStages() {
		if decisionBy(&r.Stages[index], who) == nil && len(standingIn(r, index, who, verdict)) > 0 {
			return index
		}
	}
	return -1
}

// standingIn returns as what the person may decide the stage now.
func standingIn(r *countersign.Request, index int, who countersign.IdentityID, verdict RequestVerdict) []countersign.Asked {
	var mine []countersign.Asked
	if rungs := verdict.Rungs[index]; len(rungs) > 0 {
		for _, asked := range rungs[0].Asked {
			if asked.Person == who && !seatTaken(&r.Stages[index], asked) {
				mine = append(mine, asked)
			}
		}
	}
	return mine
}
