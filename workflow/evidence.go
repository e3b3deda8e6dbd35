package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// attach fills a slot with what somebody brings, or with what its source says.
func (f *folding) attach(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	slot, err := slotOf(r, command.Slot)
	if err != nil {
		return err
	}
	fetched := command.Name == Fetch
	early := slot.Due == countersign.DueAtClosure && r.State != countersign.RequestClosing
	switch {
	case !fetched && slot.VerifiedBy != "" && !slot.Brought:
		return countersign.Errorf(countersign.Refused, "slot-is-verified", "The evidence %q is fetched and verified by %s; it cannot be attached.", slot.Name, slot.VerifiedBy).At("/slot")
	case fetched && (slot.VerifiedBy == "" || slot.Brought):
		return countersign.Errorf(countersign.Refused, "slot-has-no-source", "The evidence %q has no source: attach it.", slot.Name).At("/slot")
	case early:
		return countersign.Errorf(countersign.Conflict, "not-due-yet", "The evidence %q falls due when the access is gone.", slot.Name)
	case slot.InPlaceOf == "" && !fetched && !verdict.Standing.HasAny(theAskers...):
		return refuseActor(Attach, verdict.Standing)
	case slot.InPlaceOf != "" && !verdict.Standing.HasAny(Approver):
		return refuseActor(Review, verdict.Standing)
	case slot.InPlaceOf != "" && !unavailable(r, slot.InPlaceOf):
		return countersign.Errorf(countersign.Conflict, "not-owed", "The evidence %q stands in for %q where that was fetched and is not available: fetch that first.", slot.Name, slot.InPlaceOf)
	case slot.Held != nil && !slot.Held.Declared() && !slot.Held.Unavailable && (r.State != countersign.RequestCollecting || r.Consent.By != ""):
		return countersign.Errorf(countersign.Conflict, "slot-is-filled", "The evidence %q is there already, and somebody may have relied on it.", slot.Name)
	}
	attached := &EvidenceAttached{
		Change:   EvidenceAttachedChange{Slot: slot.Name, ID: command.Evidence.ID, Digest: command.Evidence.Digest, By: f.Actor.Identity(), Unavailable: command.Evidence.Unavailable, Key: command.Evidence.Key},
		Evidence: &EvidenceValue{Source: command.Evidence.Source, Verified: command.Evidence.Verified},
	}
	if err := f.request(r.ID, attached); err != nil {
		return err
	}
	switch f.outcome.Request.State {
	case countersign.RequestCollecting:
		return f.advance(verdict)
	case countersign.RequestClosing:
		return f.settleClosure("all follow-ups are done")
	case countersign.RequestTriaging, countersign.RequestDeciding, countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosed,
		countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
	}
	return nil
}

func slotOf(r *countersign.Request, name string) (*countersign.Slot, error) {
	if slot := findSlot(r, name); slot != nil {
		return slot, nil
	}
	names := make([]string, 0, len(r.Evidence))
	for _, known := range r.Evidence {
		names = append(names, known.Name)
	}
	return nil, countersign.Errorf(countersign.Invalid, "no-such-slot", "This request has no evidence slot %q; it has %v.", countersign.Clip(name), names).At("/slot")
}

// open records that somebody looks into evidence.
func (f *folding) open(command RequestCommand) error {
	r := f.outcome.Request
	slot, err := slotOf(r, command.Slot)
	if err != nil {
		return err
	}
	if slot.Held == nil {
		return countersign.Errorf(countersign.NotFound, "no-evidence-yet", "The evidence %q is not there yet.", slot.Name)
	}
	return f.request(r.ID, &EvidenceOpened{EvidenceOpenedChange{Slot: slot.Name, Digest: slot.Held.Digest, By: f.Actor.Identity()}})
}

// openedBy returns the digests of the evidence that the person has opened and
// that is still what the slots hold.
func openedBy(r *countersign.Request, who countersign.IdentityID) []countersign.Digest {
	var opened []countersign.Digest
	for _, slot := range r.Evidence {
		if slot.Held != nil && slices.ContainsFunc(r.Openings, func(o countersign.Opening) bool { return o.By == who && o.Digest == slot.Held.Digest }) {
			opened = append(opened, slot.Held.Digest)
		}
	}
	return opened
}

// unopened refuses an approval by somebody who has not opened what must be: also
// where the way that the person came by cannot show it.
func unopened(r *countersign.Request, who countersign.IdentityID) error {
	opened := openedBy(r, who)
	for _, slot := range r.Evidence {
		if slot.MustOpen && slot.Held != nil && !slices.Contains(opened, slot.Held.Digest) {
			return countersign.Errorf(countersign.Refused, "evidence-not-opened", "Open the evidence %q before you decide: this policy asks for it.", slot.Name)
		}
	}
	return nil
}

// Owed returns the first slot that the request cannot close without, or nil.
func Owed(r *countersign.Request) *countersign.Slot {
	for i, slot := range r.Evidence {
		if slot.InPlaceOf != "" && !unavailable(r, slot.InPlaceOf) {
			continue
		}
		if slot.Due == countersign.DueAtClosure && slot.Held == nil && slot.WrittenOffBy == "" || slot.Held != nil && slot.Held.Declared() {
			return &r.Evidence[i]
		}
	}
	return nil
}

// unavailable reports whether the evidence was asked for and could not be had.
func unavailable(r *countersign.Request, name string) bool {
	slot := findSlot(r, name)
	return slot != nil && slot.Held != nil && slot.Held.Unavailable
}

// settleClosure closes the request once nothing is owed any more.
func (f *folding) settleClosure(outcome string) error {
	r := f.outcome.Request
	open := slices.ContainsFunc(r.Stages, func(stage countersign.Stage) bool {
		return stage.Review && (stage.State == countersign.StageWaiting || stage.State == countersign.StageOpen)
	})
	if open || Owed(r) != nil {
		return nil
	}
	return f.request(r.ID, &RequestProgressed{RequestProgressedChange{State: countersign.RequestClosed, Outcome: outcome}})
}

// close closes the request without evidence that never came. What still gives
// access is ended first, grant by grant, and closes by itself. It is no review,
// and nobody writes off what is owed for their own access.
func (f *folding) close(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	if blank(command.Reason) {
		return countersign.Errorf(countersign.Invalid, "reason-missing", "Closing needs a reason: it stays on the record.").At("/reason")
	}
	if r.State != countersign.RequestClosing {
		return nil
	}
	if verdict.Standing.KeptOut != "" {
		return refuseActor(Close, verdict.Standing)
	}
	if slices.ContainsFunc(r.Stages, func(stage countersign.Stage) bool { return stage.Review }) {
		return countersign.Errorf(countersign.Refused, "needs-review", "Access that was taken by break-glass is closed by its review, and by nothing else.")
	}
	var missing []string
	for _, slot := range r.Evidence {
		switch {
		case slot.Due != countersign.DueAtClosure || slot.Held != nil:
		case !slot.Overdue && f.Now < slot.Deadline:
			return countersign.Errorf(countersign.Conflict, "not-overdue", "The evidence %q has time until %s.", slot.Name, slot.Deadline)
		default:
			missing = append(missing, slot.Name)
		}
	}
	written := &EvidenceWrittenOff{Change: EvidenceWrittenOffChange{Slots: missing, By: f.Actor.Identity()}, Reason: &Reason{Text: command.Reason}}
	if err := f.request(r.ID, written); err != nil {
		return err
	}
	return f.settleClosure("closed by hand, without all evidence")
}

// mostQuestions bounds how often the time to decide begins anew.
const mostQuestions = 10

// ask puts a question to who asked. The time to decide goes on.
func (f *folding) ask(command RequestCommand) error {
	r := f.outcome.Request
	if blank(command.Reason) {
		return countersign.Errorf(countersign.Invalid, "question-missing", "Say what you want to know.").At("/reason")
	}
	if len(r.Questions) >= mostQuestions {
		return countersign.Errorf(countersign.Conflict, "too-many-questions", "%d questions were asked already: decide, or deny and say what is missing.", mostQuestions)
	}
	if openQuestion(r) {
		return countersign.Errorf(countersign.Conflict, "question-is-open", "Another question is not answered yet.")
	}
	return f.request(r.ID, &QuestionAsked{Change: QuestionChange{By: f.Actor.Identity()}, Reason: &Reason{Text: command.Reason}})
}

func openQuestion(r *countersign.Request) bool {
	return slices.ContainsFunc(r.Questions, func(q countersign.Question) bool { return q.AnsweredAt == 0 })
}

// answer tells what an approver wanted to know, and gives everybody the whole
// time again to decide.
func (f *folding) answer(command RequestCommand, verdict RequestVerdict) error {
	r := f.outcome.Request
	if !openQuestion(r) {
		return countersign.Errorf(countersign.Conflict, "no-question", "Nobody has asked anything that is not answered.")
	}
	if blank(command.Reason) {
		return countersign.Errorf(countersign.Invalid, "answer-missing", "The answer says nothing.").At("/reason")
	}
	if err := f.request(r.ID, &QuestionAnswered{Change: QuestionChange{By: f.Actor.Identity()}, Reason: &Reason{Text: command.Reason}}); err != nil {
		return err
	}
	for _, index := range r.OpenStages() {
		stage, rungs := &f.outcome.Request.Stages[index], verdict.Rungs[index]
		if len(rungs) == 0 || f.Now >= stage.Deadline || !possible(stage, rungs[0].Asked) {
			continue // what the deadline brings stays as it was
		}
		if err := f.request(r.ID, &StageOpened{StageOpenedChange{
			Stage: index, Climbed: stage.Climbed, Asked: rungs[0].Asked, Deadline: rungs[0].Deadline, Why: WhyAnswered,
		}}); err != nil {
			return err
		}
	}
	return nil
}
