package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// openReviews asks for the reviews that follow the access. Somebody is named
// whatever the directory says by then: the last rung stands if none is enough.
func (f *folding) openReviews(verdict RequestVerdict) error {
	for index := range f.outcome.Request.Stages {
		stage := &f.outcome.Request.Stages[index]
		if !stage.Review || stage.State != countersign.StageWaiting {
			continue
		}
		if err := f.askReview(index, verdict.Rungs[index], 0, WhyOpened); err != nil {
			return err
		}
	}
	return nil
}

// reviewAgain is after how long a review is asked for again where no policy can
// be read that says so.
const reviewAgain = countersign.Day

// evidenceAgain is after how long people are told again of evidence that is overdue.
const evidenceAgain = 7 * countersign.Day

// askReview asks the first rung from the given one on that can do the review, or
// the last.
func (f *folding) askReview(index int, rungs []Rung, first int, why string) error {
	stage := &f.outcome.Request.Stages[index]
	opened := StageOpenedChange{Stage: index, Climbed: stage.Climbed, Asked: stage.Asked, Deadline: f.Now.Add(reviewAgain), Why: why}
	for i, rung := range rungs {
		opened.Climbed, opened.Asked, opened.Deadline = stage.Climbed+i, rung.Asked, rung.Deadline
		if i >= first && possible(stage, rung.Asked) {
			break
		}
	}
	return f.request(f.outcome.Request.ID, &StageOpened{opened})
}

// tickReviews asks the next rung for a review whose time has passed, and goes on
// asking the last: a review never lapses. Reviewers who came or went are
// followed.
func (f *folding) tickReviews(verdict RequestVerdict) error {
	for _, index := range f.outcome.Request.OpenStages() {
		stage, rungs := &f.outcome.Request.Stages[index], verdict.Rungs[index]
		switch {
		case f.Now >= stage.Deadline:
			if err := f.askReview(index, rungs, 1, WhyOverdue); err != nil {
				return err
			}
		case len(rungs) > 0 && !slices.Equal(stage.Asked, rungs[0].Asked):
			rungs = slices.Clone(rungs)
			rungs[0].Deadline = stage.Deadline
			if err := f.askReview(index, rungs, 0, WhyApproversChanged); err != nil {
				return err
			}
		}
	}
	return nil
}

// review takes what one person found of what was done with the access. It comes
// after all evidence that is owed.
func (f *folding) review(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	index, standing, err := stageFor(r, command, f.Actor.Identity(), verdict)
	if err != nil {
		return err
	}
	owed := Owed(r)
	if slot := owed; slot != nil && command.Finding != countersign.NotInOrder {
		return countersign.Errorf(countersign.Conflict, "evidence-missing", "The review needs the evidence %q first.", slot.Name)
	}
	switch {
	case command.Shown == "" || command.Shown != verdict.ShownNow:
		return shownHasChanged()
	case command.Finding != countersign.InOrder && command.Finding != countersign.NotInOrder:
		return countersign.Errorf(countersign.Invalid, "finding-missing", "A review finds %q or %q.", countersign.InOrder, countersign.NotInOrder).At("/finding")
	case blank(command.Reason):
		return countersign.Errorf(countersign.Invalid, "reason-missing", "Say in a sentence what you looked at and found: it stays on the record.").At("/reason")
	}
	if err := unopened(r, f.Actor.Identity()); err != nil {
		return err
	}
	decided := &RequestDecided{
		Change: RequestDecidedChange{
			Stage: index, ID: f.Mint.Decision(), By: f.Actor.Identity(), Outcome: command.Finding, Standing: standing, Shown: command.Shown,
			Opened: openedBy(r, f.Actor.Identity()), Issuer: command.Issuer, Strength: command.Strength,
		},
		Reason: &Reason{Text: command.Reason}, Facts: &FactsValue{Judged: verdict.Facts},
	}
	if err := f.request(r.ID, decided); err != nil {
		return err
	}
	if command.Finding == countersign.NotInOrder {
		if err := f.settleStage(index, countersign.StageDenied); err != nil {
			return err
		}
		outcome := "the review found that not everything was in order"
		if owed != nil {
			outcome += "; the evidence " + owed.Name + " never came"
		}
		return f.request(r.ID, &RequestProgressed{RequestProgressedChange{State: countersign.RequestClosed, Outcome: outcome}})
	}
	if !met(&f.outcome.Request.Stages[index]) {
		return nil
	}
	if err := f.settleStage(index, countersign.StagePassed); err != nil {
		return err
	}
	return f.settleClosure("reviewed, and in order")
}

// unblock lets somebody use break-glass again before an overdue review is done,
// once two people have said so.
func (f *folding) unblock(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	if verdict.Standing.KeptOut != "" {
		return refuseActor(Unblock, verdict.Standing)
	}
	if blank(command.Reason) {
		return countersign.Errorf(countersign.Invalid, "reason-missing", "Lifting a block needs a reason: it stays on the record.").At("/reason")
	}
	for index := range r.Stages {
		if r.Stages[index].Blocks(f.Now) {
			mine := standingIn(r, index, f.Actor.Identity(), verdict)
			if !verdict.Standing.HasAny(SystemOwner, Administrator) && !slices.ContainsFunc(mine, func(a countersign.Asked) bool { return a.OnBehalfOf == "" }) {
				return countersign.Errorf(countersign.Refused, "not-entitled-to-unblock", "Two people lift what an overdue review blocks, and nobody stands in for one of them.")
			}
			return f.request(r.ID, &BlockLifted{Change: BlockLiftedChange{Stage: index, By: f.Actor.Identity()}, Reason: &Reason{Text: command.Reason}})
		}
	}
	return countersign.Errorf(countersign.Conflict, "nothing-blocked", "No overdue review of this request blocks anything.")
}
