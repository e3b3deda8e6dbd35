package workflow

import (
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// Standing is as what an actor stands to one request or grant, now. Desk fills
// it from the directory, the desk's powers and the policy set that routed the
// request.
type Standing struct {
	Actor countersign.Actor
	Roles []Role
	// KeptOut says what keeps the actor from deciding by separation of duties, as
	// "asked for it"; "" where nothing does.
	KeptOut string
	// LaterStage names a waiting stage that the actor could decide once it opens.
	LaterStage string
}

// HasAny reports whether the actor stands in one of the roles.
func (s Standing) HasAny(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(role Role) bool { return slices.Contains(s.Roles, role) })
}

// Allowed is the one answer to "may this actor do this here": nil, or a refusal
// with a reason. Decide asks it, and so does every page that offers a button.
func Allowed[State ~string](table []Transition[State], state State, command Command, standing Standing) error {
	known := false
	for i := range table {
		line := &table[i]
		if line.Command != command {
			continue
		}
		known = true
		if line.From == state {
			if standing.HasAny(line.By...) {
				return nil
			}
			return refuseActor(command, standing)
		}
	}
	if !known {
		return countersign.Errorf(countersign.Internal, "unknown-command", "there is no command %q here", command)
	}
	return refuseState(command, string(state))
}

// Offered returns the commands that the actor may give in the state, in the
// order of the table.
func Offered[State ~string](table []Transition[State], state State, standing Standing) []Command {
	var offered []Command
	for _, line := range table {
		if line.From == state && standing.HasAny(line.By...) {
			offered = append(offered, line.Command)
		}
	}
	return offered
}

// checkLeads holds Decide to the table: a decision that led anywhere else is a
// fault of ours, and nothing of it is committed.
func checkLeads[State ~string](table []Transition[State], from State, command Command, to State) error {
	for i := range table {
		if line := &table[i]; line.From == from && line.Command == command && slices.Contains(line.To, to) {
			return nil
		}
	}
	return countersign.Errorf(countersign.Internal, "unlawful-transition", "%s led from %s to %s, which the table does not know", command, from, to)
}

// blank reports whether a reason says nothing.
func blank(reason string) bool { return strings.TrimSpace(reason) == "" }

// refuseActor says why the actor may not give a command that the state allows.
func refuseActor(command Command, standing Standing) error {
	if standing.Actor.IsSystem() {
		return countersign.Errorf(countersign.Refused, "not-for-the-system", "%s may not %s: that takes a person", standing.Actor, command)
	}
	switch command {
	case Approve, Deny:
		switch {
		case standing.KeptOut != "":
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not decide this request: separation of duties keeps out whoever %s.", standing.KeptOut)
		case standing.LaterStage != "":
			return countersign.Errorf(countersign.Refused, "stage-not-open", "The stage %q, which you may decide, is not open yet: an earlier stage comes first.", standing.LaterStage)
		}
		return countersign.Errorf(countersign.Refused, "not-an-approver", "No open stage of this request asks you to decide.")
	case Classify, Prioritise, Merge, Decline:
		return countersign.Errorf(countersign.Refused, "not-an-operator", "Triage takes the power %q of the desk.", Operator)
	case Review, Ask:
		if standing.KeptOut != "" {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not %s here: separation of duties keeps out whoever %s.", command, standing.KeptOut)
		}
		return countersign.Errorf(countersign.Refused, "not-an-approver", "No open stage or review of this request asks you.")
	case Unblock:
		if standing.KeptOut != "" {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not lift what your own overdue review blocks: two other people do.")
		}
		return countersign.Errorf(countersign.Refused, "not-entitled-to-unblock", "Only a reviewer, an owner of the system or an administrator can lift what an overdue review blocks; it takes two of them.")
	case Close:
		if standing.KeptOut != "" {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not close this without its evidence: separation of duties keeps out whoever %s.", standing.KeptOut)
		}
		return countersign.Errorf(countersign.Refused, "not-entitled-to-close", "Only who may revoke the access can close a request; without evidence that is owed, only an owner of the system or an administrator.")
	case Consent:
		return countersign.Errorf(countersign.Refused, "not-the-owner", "Only an owner or sponsor of the beneficiary who did not ask can consent.")
	case Tick, Progress, Observe, Park, Wake:
		return countersign.Errorf(countersign.Refused, "only-the-system", "%s is not for people: the house does it by itself.", command)
	case Retry:
		return countersign.Errorf(countersign.Refused, "not-the-system-owner", "Only an owner of the system or an administrator can put parked work back to work.")
	case Amend:
		return countersign.Errorf(countersign.Refused, "not-the-asker", "Only who asked can amend what is asked for.")
	case Open:
		return countersign.Errorf(countersign.Refused, "not-a-reader", "Only who has to do with this request, and auditors, can open its evidence.")
	case Attach, Fetch, Answer, Cancel, Rotate:
		return countersign.Errorf(countersign.Refused, "not-the-asker", "Only who asked, who benefits, or an owner of the beneficiary can %s.", command)
	case Publish, Reject:
		if standing.HasAny(Proposer) {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You proposed this yourself, or answer for who did: a second person decides it.")
		}
		return countersign.Errorf(countersign.Refused, "not-a-reviewer", "To %s this takes a person with a power over what it changes.", command)
	case Enforce:
		return countersign.Errorf(countersign.Refused, "not-an-emergency-author", "To put this into force alone takes the power emergency-policy-author of the desk, which is taken by break-glass.")
	case Done, Refuse, Check:
		if standing.KeptOut != "" {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not do this: separation of duties keeps out whoever %s.", standing.KeptOut)
		}
		if command == Check {
			return countersign.Errorf(countersign.Refused, "not-a-witness", "Only a second person whom the system's settings name, or an owner of the system, can look at what was done.")
		}
		return countersign.Errorf(countersign.Refused, "not-the-fulfiller", "Only whom the system's settings name as fulfiller can do this task.")
	case Lift:
		if standing.KeptOut != "" {
			return countersign.Errorf(countersign.Refused, "separation-of-duties", "The hold is on yourself, or on what you answer for: somebody else lifts it.")
		}
		return countersign.Errorf(countersign.Refused, "not-entitled-to-lift", "Only an owner of what is held or an administrator can lift a hold.")
	case Withdraw:
		return countersign.Errorf(countersign.Refused, "not-the-proposer", "Only who proposed it can withdraw it.")
	case Revoke:
		return countersign.Errorf(countersign.Refused, "not-entitled-to-revoke", "Only who asked, the holder, an owner of the holder or of the system, or an administrator can revoke.")
	}
	return countersign.Errorf(countersign.Refused, "not-allowed", "You may not %s here.", command)
}

// refuseState says why the state excludes the command, and what would be right.
func refuseState(command Command, state string) error {
	decided := slices.Contains(countersign.ProposalStates, countersign.ProposalState(state)) && countersign.ProposalState(state).Decided()
	final := countersign.RequestState(state).Final() || countersign.GrantState(state).Ended() || decided || state == string(countersign.HoldLifted)
	switch {
	case final:
		return countersign.Errorf(countersign.Conflict, "already-"+state, "It is too late to %s: this ended as %q.", command, state)
	case command == Cancel:
		return countersign.Errorf(countersign.Conflict, "already-approved", "It is too late to cancel: the request was approved. Revoke its grant instead.")
	case command == Review:
		return countersign.Errorf(countersign.Conflict, "not-due-yet", "There is nothing to review yet: the review opens when the access is gone.")
	case command == Approve || command == Deny:
		if state == string(countersign.RequestCollecting) {
			return countersign.Errorf(countersign.Conflict, "not-complete", "No stage is open yet: consent or evidence is still missing.")
		}
		return countersign.Errorf(countersign.Conflict, "already-decided", "It is too late to %s: the request is already approved and is %q.", command, state)
	case command == Revoke:
		return countersign.Errorf(countersign.Conflict, "already-ending", "The grant is already being revoked.")
	case command == Done || command == Refuse || command == Check:
		return countersign.Errorf(countersign.Conflict, "no-task", "There is no task here: the grant is %q.", state)
	case command == Rotate && state == string(countersign.GrantProvisioning):
		return countersign.Errorf(countersign.Conflict, "not-live-yet", "There is nothing to rotate yet: the access is still being set up.")
	}
	return countersign.Errorf(countersign.Conflict, "wrong-state", "One cannot %s while it is %q.", command, state)
}
