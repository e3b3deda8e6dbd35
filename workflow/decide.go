package workflow

import (
	"github.com/countersign/countersign"
)

// Outcome is what a decision causes: the events in order, and the states that
// they lead to.
type Outcome struct {
	// Request and Grants are the states after the events; nil where untouched.
	Request *countersign.Request
	Grants  []*countersign.Grant
	Events  []countersign.Event
}

// Occasion is what every decision has in common.
type Occasion struct {
	Actor countersign.Actor
	Now   countersign.Instant
	// PolicySet is the digest of the active policy set.
	PolicySet countersign.Digest
	Mint      *countersign.Mint
}

// folding collects events and applies each at once, so that a decision always
// sees the state that its own events made.
type folding struct {
	Occasion
	outcome Outcome
}

func (f *folding) stamp(stream countersign.Stream, version int64) Stamp {
	return Stamp{Stream: stream, Seq: version + 1, Time: f.Now, Actor: f.Actor, PolicySet: f.PolicySet}
}

// request appends an event of the request.
func (f *folding) request(id countersign.RequestID, payload countersign.Payload) error {
	stream := countersign.Stream(id)
	var version int64
	if f.outcome.Request != nil {
		version = f.outcome.Request.Version
	}
	after, err := ApplyRequest(f.outcome.Request, f.stamp(stream, version), payload)
	if err != nil {
		return err
	}
	f.outcome.Request = after
	f.outcome.Events = append(f.outcome.Events, countersign.Event{Stream: stream, Payload: payload})
	return nil
}

// grant appends an event of a grant; before is its state, nil for a new one.
func (f *folding) grant(id countersign.GrantID, payload countersign.Payload) error {
	stream := countersign.Stream(id)
	index := -1
	for i, grant := range f.outcome.Grants {
		if grant.ID == id {
			index = i
		}
	}
	var before *countersign.Grant
	var version int64
	if index >= 0 {
		before = f.outcome.Grants[index]
		version = before.Version
	}
	after, err := ApplyGrant(before, f.stamp(stream, version), payload)
	if err != nil {
		return err
	}
	if index >= 0 {
		f.outcome.Grants[index] = after
	} else {
		f.outcome.Grants = append(f.outcome.Grants, after)
	}
	f.outcome.Events = append(f.outcome.Events, countersign.Event{Stream: stream, Payload: payload})
	return nil
}

// result returns what was collected; with no events there is no new state.
func (f *folding) result() Outcome {
	if len(f.outcome.Events) == 0 {
		return Outcome{}
	}
	return f.outcome
}
