package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// action is one call on one object; who gave it matters where saying the same
// again is no second decision.
type action struct {
	name, who string
	// number is the duration that is asked for, or that a decider was shown; or which
	// of two things it is about.
	number int64
}

// outcome is what the house answered: done, or the reason why not; and what a
// reader saw.
type outcome struct {
	done   bool
	reason string
	state  string
	number int64
}

// law says whether an answer is legal in a state, and what the state is afterwards.
type law[State comparable] func(state State, did action, said outcome) (legal bool, after State)

// model makes a law a model of one object. To be told that something changed
// meanwhile is legal at any time, and changes nothing.
func model[State comparable](first State, step law[State]) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, input, output any) (bool, any) {
			before, said := state.(State), output.(outcome)
			if !said.done && said.reason == "changed-meanwhile" {
				return true, before
			}
			legal, after := step(before, input.(action), said)
			return legal, after
		},
	}
}

// asking is a request as its model has it.
type asking struct {
	phase    string
	duration int64
	by       string
}

// requestLaw: whoever decides or cancels first, and was shown what is asked for now,
// ends the matter; and all others hear how it ended.
func requestLaw(state asking, did action, said outcome) (bool, asking) {
	phases := map[string]string{"fulfilling": "approved", "active": "approved"}
	late := func() bool {
		if state.phase != "approved" {
			return said.reason == "already-"+state.phase
		}
		switch did.name {
		case "cancel":
			return said.reason == "already-approved"
		case "amend":
			return said.reason == "wrong-state"
		}
		return said.reason == "already-decided"
	}
	switch did.name {
	case "read":
		phase := said.state
		if known, is := phases[phase]; is {
			phase = known
		}
		return said.done && phase == state.phase && said.number == state.duration, state
	case "amend":
		if state.phase != "deciding" {
			return !said.done && late(), state
		}
		return said.done, asking{state.phase, did.number, ""}
	case "cancel":
		switch state.phase {
		case "deciding":
			return said.done, asking{"cancelled", state.duration, did.who}
		case "cancelled":
			return said.done, state
		}
		return !said.done && late(), state
	}
	ends := map[string]string{"approve": "approved", "deny": "denied"}[did.name]
	switch {
	case state.phase == ends && state.by == did.who && did.number == state.duration:
		return said.done, state
	case state.phase != "deciding":
		return !said.done && late(), state
	case did.number != state.duration:
		return !said.done && said.reason == "shown-has-changed", state
	}
	return said.done, asking{ends, state.duration, did.who}
}

// lasting is a grant as its model has it.
type lasting struct{ ending, extending bool }

// grantLaw: a grant is revoked once; from then on nothing extends it, and nobody
// reads it as live.
func grantLaw(state lasting, did action, said outcome) (bool, lasting) {
	switch did.name {
	case "read":
		return said.done && (said.state == "live") == !state.ending, state
	case "revoke":
		if state.ending {
			return !said.done && strings.HasPrefix(said.reason, "already-"), state
		}
		return said.done, lasting{true, state.extending}
	}
	if state.ending || state.extending {
		return !said.done, state
	}
	return said.done, lasting{state.ending, true}
}

// halves is which half of a toxic combination is given; 0 for none.
type halves struct{ given int64 }

// toxicLaw: once one half is approved, the other can be neither asked for nor
// approved.
func toxicLaw(state halves, did action, said outcome) (bool, halves) {
	if state.given != 0 && state.given != did.number {
		return !said.done && said.reason == "toxic-combination", state
	}
	if did.name == "approve" {
		return said.done, halves{did.number}
	}
	return said.done, state
}

// taken is whether somebody has taken something by break-glass.
type taken bool

// emergencyLaw: it is taken once.
func emergencyLaw(state taken, _ action, said outcome) (bool, taken) {
	if state {
		return !said.done && (said.reason == "duplicate-request" || said.reason == "already-held"), state
	}
	return said.done, true
}

// standing is whether somebody is a member of the group that decides.
type standing bool

// membershipLaw: from the removal on, nothing is approved by the membership.
func membershipLaw(state standing, did action, said outcome) (bool, standing) {
	if did.name == "remove" {
		return said.done, false
	}
	if state {
		return said.done, state
	}
	return !said.done && (said.reason == "no-such-request" || said.reason == "not-an-approver"), state
}

// legal fails the test unless there is an order in which the answers are lawful.
func legal(t *testing.T, model porcupine.Model, history []porcupine.Operation) {
	t.Helper()
	if porcupine.CheckOperationsTimeout(model, history, time.Minute) == porcupine.Ok {
		return
	}
	var lines []string
	for _, did := range history {
		lines = append(lines, fmt.Sprintf("%12d–%12d client %d: %+v → %+v", did.Call, did.Return, did.ClientId, did.Input, did.Output))
	}
	t.Errorf("no order makes these answers lawful:\n%s", strings.Join(lines, "\n"))
}

// sequence is a history in which each call comes after the answer to the one before.
func sequence(calls ...any) []porcupine.Operation {
	var history []porcupine.Operation
	for i := 0; i < len(calls); i += 2 {
		history = append(history, porcupine.Operation{ClientId: i / 2, Input: calls[i], Output: calls[i+1], Call: int64(2 * i), Return: int64(2*i + 1)})
	}
	return history
}

func TestEachModelTakesALawfulHistoryAndRefusesAWrongOne(t *testing.T) {
	did, refused := outcome{done: true}, func(reason string) outcome { return outcome{reason: reason} }
	request, grant := model(asking{"deciding", 10, ""}, requestLaw), model(lasting{}, grantLaw)
	approve, deny, cancel, amend := action{"approve", "max", 10}, action{"deny", "syd", 10}, action{"cancel", "ana", 0}, action{"amend", "ana", 5}
	first, second := action{"approve", "max", 1}, action{"approve", "syd", 2}
	remove := action{"remove", "adam", 0}
	overlapping := sequence(approve, refused("already-denied"), deny, did)
	overlapping[0].Return = 10
	for name, test := range map[string]struct {
		model porcupine.Model
		right []porcupine.Operation
		wrong []porcupine.Operation
	}{
		"approve and deny both count":        {request, sequence(approve, did, deny, refused("already-decided"), approve, did), sequence(approve, did, deny, did)},
		"what is approved is cancelled":      {request, sequence(cancel, did, approve, refused("already-cancelled")), sequence(approve, did, cancel, did)},
		"approved on what was amended":       {request, sequence(amend, did, approve, refused("shown-has-changed")), sequence(amend, did, approve, did)},
		"approved and read as undecided":     {request, sequence(approve, did, action{name: "read"}, outcome{true, "", "active", 10}), sequence(approve, did, action{name: "read"}, outcome{true, "", "deciding", 10})},
		"denied before it could be":          {request, overlapping, sequence(approve, refused("already-denied"), deny, did)},
		"a conflict that nobody caused":      {request, sequence(approve, refused("changed-meanwhile"), approve, did), sequence(approve, refused("already-denied"), approve, did)},
		"revoked and extended":               {grant, sequence(action{name: "extend"}, did, action{name: "revoke"}, did), sequence(action{name: "revoke"}, did, action{name: "extend"}, did)},
		"revoked and live":                   {grant, sequence(action{name: "revoke"}, did, action{name: "read"}, outcome{done: true, state: "revoking"}), sequence(action{name: "revoke"}, did, action{name: "read"}, outcome{done: true, state: "live"})},
		"both halves":                        {model(halves{}, toxicLaw), sequence(first, did, second, refused("toxic-combination")), sequence(first, did, second, did)},
		"a half refused for nothing":         {model(halves{}, toxicLaw), sequence(action{"submit", "ana", 2}, did, first, did), sequence(first, refused("toxic-combination"))},
		"taken twice":                        {model(taken(false), emergencyLaw), sequence(action{}, did, action{}, refused("duplicate-request")), sequence(action{}, did, action{}, did)},
		"approved by somebody who was taken": {model(standing(true), membershipLaw), sequence(first, did, remove, did, second, refused("no-such-request")), sequence(remove, did, first, did)},
	} {
		t.Run(name, func(t *testing.T) {
			legal(t, test.model, test.right)
			if porcupine.CheckOperations(test.model, test.wrong) {
				t.Error("the wrong history is taken for lawful")
			}
		})
	}
}
