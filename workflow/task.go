package workflow

import (
	"fmt"

	"github.com/countersign/countersign"
)

// Events of a task: what people do where a system has no interface. They stand in
// the stream of the grant whose intent the task carries out.

// TaskOpened asks people to carry the intent out.
type TaskOpened struct {
	Change struct {
		Intent    countersign.IntentID     `json:"intent"`
		Operation countersign.Operation    `json:"operation"`
		Deadline  countersign.Instant      `json:"deadline"`
		Told      []countersign.IdentityID `json:"told"`
	} `json:"change"`
}

func (TaskOpened) EventKind() string { return "grant.task-opened@1" }

// TaskEscalated says that the deadline has passed, who is told of it now, and when
// the next ones are.
type TaskEscalated struct {
	Change struct {
		Intent    countersign.IntentID     `json:"intent"`
		Escalated int                      `json:"escalated"`
		Deadline  countersign.Instant      `json:"deadline"`
		Told      []countersign.IdentityID `json:"told"`
	} `json:"change"`
}

func (TaskEscalated) EventKind() string { return "grant.task-escalated@1" }

// TaskDone says that somebody carried it out; nothing is believed of it yet.
type TaskDone struct {
	Change struct {
		Intent countersign.IntentID   `json:"intent"`
		By     countersign.IdentityID `json:"by"`
		// Asked are those who can look now.
		Asked []countersign.IdentityID `json:"asked"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (TaskDone) EventKind() string { return "grant.task-done@1" }

// TaskRefused says that it cannot be done, and who is told so.
type TaskRefused struct {
	Change struct {
		Intent countersign.IntentID     `json:"intent"`
		By     countersign.IdentityID   `json:"by"`
		Told   []countersign.IdentityID `json:"told"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (TaskRefused) EventKind() string { return "grant.task-refused@1" }

// TaskChecked says what a second person found on the target.
type TaskChecked struct {
	Change TaskCheckedChange `json:"change"`
	Reason *Reason           `json:"reason"`
	// Subject holds what can name a person.
	Subject *CheckedSubject `json:"subject"`
}

// CheckedSubject is how the holder was called on the target.
type CheckedSubject struct {
	Account string `json:"account"`
}

type TaskCheckedChange struct {
	Intent    countersign.IntentID   `json:"intent"`
	Operation countersign.Operation  `json:"operation"`
	DoneBy    countersign.IdentityID `json:"done_by"`
	By        countersign.IdentityID `json:"by"`
	Assurance countersign.Assurance  `json:"assurance"`
	Present   bool                   `json:"present"`
	List      countersign.Digest     `json:"list,omitempty"`
	// Told are those who have to do it again; nobody where it was found done.
	Told []countersign.IdentityID `json:"told,omitempty"`
}

func (TaskChecked) EventKind() string { return "grant.task-checked@1" }

func init() {
	Registry.Register(&TaskOpened{}, &TaskEscalated{}, &TaskDone{}, &TaskRefused{}, &TaskChecked{})
}

// TaskTerms are who is asked or told of a task, and by when.
type TaskTerms struct {
	Told     []countersign.IdentityID
	Deadline countersign.Instant
}

// wakeTask opens the task of an intent that people carry out, and escalates one
// whose deadline has passed: without end, since nobody else will do it.
func (f *folding) wakeTask(verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	switch {
	case g.Intent == nil || g.Parked != nil:
		return nil
	case g.Task == nil && verdict.Task != nil:
		opened := &TaskOpened{}
		opened.Change.Intent, opened.Change.Operation = g.Intent.ID, g.Intent.Operation
		opened.Change.Deadline, opened.Change.Told = verdict.Task.Deadline, verdict.Task.Told
		return f.grant(g.ID, opened)
	case g.Task != nil && verdict.Ladder != nil && f.Now >= g.Task.Deadline:
		escalated := &TaskEscalated{}
		escalated.Change.Intent, escalated.Change.Escalated = g.Intent.ID, g.Task.Escalated+1
		escalated.Change.Deadline, escalated.Change.Told = verdict.Ladder.Deadline, verdict.Ladder.Told
		return f.grant(g.ID, escalated)
	}
	return nil
}

// onTask takes what a person says of a task. The command names the task that the
// person was shown: another one by now is a conflict.
func (f *folding) onTask(command GrantCommand, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	who := f.Actor.Identity()
	switch {
	case g.Task == nil:
		return countersign.Errorf(countersign.Conflict, "no-task", "No task of this grant waits for anybody.")
	case g.Task.Intent != command.Intent:
		return countersign.Errorf(countersign.Conflict, "another-task", "This is another task by now: what is to be done is %s.", g.Task.Intent).At("/task")
	case g.Parked != nil:
		return countersign.Errorf(countersign.Conflict, "task-parked", "The task was refused and waits for an owner of the system, who puts it back to work or revokes the grant.")
	}
	if command.Name == Done {
		if g.Task.DoneBy != "" {
			return countersign.Errorf(countersign.Conflict, "task-done", "The task was done already, at %s; a second person has to look.", g.Task.DoneAt)
		}
		done := &TaskDone{Reason: given(command.Reason)}
		done.Change.Intent, done.Change.By, done.Change.Asked = g.Intent.ID, who, verdict.Witnesses
		return f.grant(g.ID, done)
	}
	if command.Name == Refuse {
		if blank(command.Reason) {
			return countersign.Errorf(countersign.Invalid, "reason-missing", "Say why the task cannot be done: somebody has to act on it.").At("/reason")
		}
		refused := &TaskRefused{Reason: given(command.Reason)}
		refused.Change.Intent, refused.Change.By, refused.Change.Told = g.Intent.ID, who, verdict.Ladder.Told
		if err := f.grant(g.ID, refused); err != nil || g.State != countersign.GrantProvisioning {
			// A removal that somebody cannot do is still owed, and goes on escalating.
			return err
		}
		command.Attempt = 1
		return f.park(command, verdict)
	}
	return f.check(command, verdict)
}

func given(text string) *Reason {
	if blank(text) {
		return nil
	}
	return &Reason{Text: text}
}

// check takes what a second person found. Only where it agrees with what was to be
// done is it the observation.
func (f *folding) check(command GrantCommand, verdict GrantVerdict) error {
	g, who := f.outcome.Grants[0], f.Actor.Identity()
	task, gives := *g.Task, g.Intent.Operation == countersign.ApplyOperation
	switch {
	case task.DoneBy == "":
		return countersign.Errorf(countersign.Conflict, "task-not-done", "The task is not done yet, so that there is nothing to look at.")
	case task.DoneBy == who:
		return countersign.Errorf(countersign.Refused, "separation-of-duties", "You did this task yourself: a second person looks.")
	}
	checked := &TaskChecked{TaskCheckedChange{
		Intent: task.Intent, Operation: g.Intent.Operation, DoneBy: task.DoneBy, By: who,
		Assurance: command.Assurance, Present: command.Present, List: command.List,
	}, given(command.Reason), nil}
	if command.Account != "" {
		checked.Subject = &CheckedSubject{command.Account}
	}
	if command.Present != gives {
		checked.Change.Told = append([]countersign.IdentityID{task.DoneBy}, task.Told...)
		return f.grant(g.ID, checked)
	}
	if err := f.grant(g.ID, checked); err != nil {
		return err
	}
	how := "a second person says so"
	if command.Assurance == countersign.Listed {
		how = fmt.Sprintf("the list of accounts %s", command.List)
	}
	command.Observation = countersign.Observation{
		ID: f.Mint.Observation(), Intent: task.Intent, Credential: g.Intent.Credential, Attempt: 1, At: f.Now, Present: command.Present,
		By: fmt.Sprintf("%s, done by %s, looked at by %s (%s): %s", g.Step.Connector, task.DoneBy, who, command.Assurance, how),
	}
	command.Until = ClaimedUntil(g, f.Now)
	return f.observe(command, verdict)
}
