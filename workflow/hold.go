package workflow

import "github.com/countersign/countersign"

// Events of a hold.

type HoldPut struct {
	Change HoldPutChange `json:"change"`
	Reason *Reason       `json:"reason"`
}

type HoldPutChange struct {
	On     string                 `json:"on"`
	By     countersign.IdentityID `json:"by"`
	Revoke bool                   `json:"revoke,omitempty"`
}

func (HoldPut) EventKind() string { return "hold.put@1" }

type HoldLifted struct {
	Change HoldLiftedChange `json:"change"`
	Reason *Reason          `json:"reason"`
}

type HoldLiftedChange struct {
	By countersign.IdentityID `json:"by"`
}

func (HoldLifted) EventKind() string { return "hold.lifted@1" }

// HoldReminded says that a hold is in force for long. Time never lifts one: that would
// let access back by silence.
type HoldReminded struct {
	Change HoldRemindedChange `json:"change"`
}

type HoldRemindedChange struct {
	Since countersign.Instant      `json:"since"`
	Told  []countersign.IdentityID `json:"told"`
}

func (HoldReminded) EventKind() string { return "hold.reminded@1" }

func init() { Registry.Register(&HoldPut{}, &HoldLifted{}, &HoldReminded{}) }

// ApplyHold folds one event of a hold's stream into its state, which it takes
// over and returns; nil is the state before the first event.
func ApplyHold(h *countersign.Hold, stamp Stamp, payload countersign.Payload) (*countersign.Hold, error) {
	switch event := payload.(type) {
	case *HoldPut:
		h = &countersign.Hold{
			ID: countersign.HoldID(stamp.Stream), On: event.Change.On, By: event.Change.By, At: stamp.Time, Revoke: event.Change.Revoke,
		}
		if event.Reason != nil {
			h.Reason = event.Reason.Text
		}
	case *HoldReminded:
		if h == nil {
			return nil, holdWithoutBeginning()
		}
		h.RemindedAt = stamp.Time
	case *HoldLifted:
		if h == nil {
			return nil, holdWithoutBeginning()
		}
		h.LiftedBy, h.LiftedAt = event.Change.By, stamp.Time
		if event.Reason != nil {
			h.Outcome = event.Reason.Text
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a hold", payload.EventKind())
	}
	h.Version = stamp.Seq
	return h, nil
}

func holdWithoutBeginning() error {
	return countersign.Errorf(countersign.Internal, "stream-without-beginning", "a hold's stream begins with %s", HoldPut{}.EventKind())
}

// PutHold opens a hold on the id of an identity, a system or a grant.
func PutHold(occasion Occasion, on, reason string, revoke bool) (*countersign.Hold, countersign.Event, error) {
	if blank(reason) {
		return nil, countersign.Event{}, countersign.Errorf(countersign.Invalid, "reason-missing", "A hold needs a reason: it stays on the record.").At("/reason")
	}
	id := occasion.Mint.Hold()
	put := &HoldPut{Change: HoldPutChange{On: on, By: occasion.Actor.Identity(), Revoke: revoke}, Reason: &Reason{Text: reason}}
	stamp := Stamp{Stream: countersign.Stream(id), Seq: 1, Time: occasion.Now, Actor: occasion.Actor}
	after, err := ApplyHold(nil, stamp, put)
	return after, countersign.Event{Stream: stamp.Stream, Payload: put}, err
}

// LiftHold judges the lifting of a hold.
func LiftHold(occasion Occasion, state *countersign.Hold, reason string, standing Standing) (*countersign.Hold, countersign.Event, error) {
	if err := Allowed(HoldTransitions, state.State(), Lift, standing); err != nil {
		return nil, countersign.Event{}, err
	}
	if blank(reason) {
		return nil, countersign.Event{}, countersign.Errorf(countersign.Invalid, "reason-missing", "Lifting a hold needs a reason: it stays on the record.").At("/reason")
	}
	lifted := &HoldLifted{Change: HoldLiftedChange{By: occasion.Actor.Identity()}, Reason: &Reason{Text: reason}}
	stamp := Stamp{Stream: countersign.Stream(state.ID), Seq: state.Version + 1, Time: occasion.Now, Actor: occasion.Actor}
	after, err := ApplyHold(Copy(state), stamp, lifted)
	return after, countersign.Event{Stream: stamp.Stream, Payload: lifted}, err
}

// HoldReminder is how long a hold is in force until somebody is asked whether it still
// has to be, again and again.
const HoldReminder = 7 * countersign.Day

// HoldDue returns when somebody is asked next about a hold in force.
func HoldDue(h *countersign.Hold) countersign.Instant {
	return max(h.At, h.RemindedAt).Add(HoldReminder)
}

// TickHold lets time pass for a hold: those who put it and can lift it are told that it
// is there. A nil hold without an error means that there is nothing to do yet.
func TickHold(occasion Occasion, state *countersign.Hold, told []countersign.IdentityID, standing Standing) (*countersign.Hold, countersign.Event, error) {
	if err := Allowed(HoldTransitions, state.State(), Tick, standing); err != nil {
		return nil, countersign.Event{}, err
	}
	if occasion.Now < HoldDue(state) {
		return nil, countersign.Event{}, nil
	}
	reminded := &HoldReminded{Change: HoldRemindedChange{Since: state.At, Told: told}}
	stamp := Stamp{Stream: countersign.Stream(state.ID), Seq: state.Version + 1, Time: occasion.Now, Actor: occasion.Actor}
	after, err := ApplyHold(Copy(state), stamp, reminded)
	return after, countersign.Event{Stream: stamp.Stream, Payload: reminded}, err
}
