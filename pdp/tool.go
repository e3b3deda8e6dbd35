package pdp

import (
	"encoding/json"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// How a call of a tool is asked about, in the words of the MCP binding of AuthZEN.
const (
	// ToolType is the type of resource that a tool is.
	ToolType = "tool"
	// CallAction is the action of calling one.
	CallAction = "tools/call"
)

// People who answer for an agent, as bounds name them.
const (
	BoundOwner   = "owner"
	BoundSponsor = "sponsor"
)

// Bound makes an assignment to an agent count only while somebody who answers for
// it holds one of the rights, here and now.
type Bound struct {
	// Who is BoundOwner or BoundSponsor.
	Who   string         `json:"who"`
	Holds []BoundByRight `json:"holds"`
}

// BoundByRight is a right as assignments have it.
type BoundByRight struct {
	Action string `json:"action"`
	// Resource is "system/resource".
	Resource string `json:"resource"`
}

// bound is a Bound in its small form.
type bound struct {
	sponsor bool
	rights  []right
}

// nobody is the directory of a decision point that has none.
type nobody struct{}

func (nobody) Answering(countersign.IdentityID) (Answering, bool) { return Answering{}, false }
func (nobody) Tool(string) (string, []string, bool)               { return "", nil, false }

// caller is somebody who wants to do something, with who answers for them.
type caller struct {
	id             target.ID
	known, agent   bool
	owner, sponsor target.ID
	answered       bool
}

func (p *Point) caller(holder countersign.IdentityID, known bool) caller {
	id, err := target.ParseID(holder)
	who := caller{id: id, known: known && err == nil}
	if !who.known {
		return who
	}
	answering, agent := p.directory.Answering(holder)
	if !agent {
		return who
	}
	who.agent = true
	who.owner, err = target.ParseID(answering.Owner)
	who.answered = answering.Active && err == nil
	if answering.Sponsor != "" {
		who.sponsor, err = target.ParseID(answering.Sponsor)
		who.answered = who.answered && err == nil
	}
	return who
}

// demand is one right that has to be there.
type demand struct {
	who              caller
	action, resource string
}

// demands returns what must all be there for the evaluation; nothing for what
// nobody is ever allowed. Into is room for one.
func (p *Point) demands(evaluation Evaluation, into []demand) []demand {
	subject := p.caller(p.names.Resolve(evaluation.SubjectType, evaluation.SubjectID))
	switch {
	case evaluation.ResourceType == ResourceType:
		return append(into, demand{subject, evaluation.Action, evaluation.ResourceID})
	case evaluation.ResourceType != ToolType || evaluation.Action != CallAction:
		return nil
	}
	resource, scopes, known := p.directory.Tool(evaluation.ResourceID)
	if !known {
		return nil
	}
	if evaluation.Scope != "" {
		scopes = []string{evaluation.Scope}
	}
	callers := []caller{subject}
	if evaluation.Agent != "" {
		// In somebody's place an agent does what both may do, and nothing else.
		agent := p.caller(p.names.Resolve("identity", evaluation.Agent))
		if agent.id != subject.id || !agent.known {
			callers = append(callers, agent)
		}
	}
	for _, who := range callers {
		for _, scope := range scopes {
			into = append(into, demand{who, scope, resource})
		}
	}
	return into
}

// may judges one demand. The caller holds mu.
func (p *Point) may(who caller, action, resource string, now countersign.Instant) (*entry, Reason) {
	wanted, named := p.index.right(who.id, action, resource)
	if !who.known || !named {
		return nil, NoAssignment
	}
	return p.judge(wanted, target.ID{}, &who, now)
}

// within reports whether who answers for an agent holds, for every bound, one of
// its rights now. A bound of somebody who answers for nobody is never met.
func (p *Point) within(bounds []bound, who *caller, now countersign.Instant) bool {
	return !slices.ContainsFunc(bounds, func(b bound) bool {
		person := who.owner
		if b.sponsor {
			person = who.sponsor
		}
		return person == target.ID{} || !slices.ContainsFunc(b.rights, func(wanted right) bool {
			wanted.subject = person
			_, reason := p.judge(wanted, target.ID{}, nil, now)
			return reason == ""
		})
	})
}

// bind keeps bounds once, and returns one above their position; 0 for none.
func (x *index) bind(bounds []Bound) uint32 {
	if len(bounds) == 0 {
		return 0
	}
	// Strings and lists of them always encode.
	name, _ := json.Marshal(bounds)
	place, known := x.bounds[string(name)]
	if known {
		return place
	}
	small := make([]bound, len(bounds))
	for i, one := range bounds {
		small[i].sponsor = one.Who == BoundSponsor
		for _, held := range one.Holds {
			small[i].rights = append(small[i].rights, right{action: x.name(held.Action), resource: x.name(held.Resource)})
		}
	}
	x.byBounds = append(x.byBounds, small)
	x.bounds[string(name)] = uint32(len(x.byBounds))
	return uint32(len(x.byBounds))
}

func checkBounds(bounds []Bound) error {
	for _, one := range bounds {
		if one.Who != BoundOwner && one.Who != BoundSponsor || len(one.Holds) == 0 {
			return countersign.Errorf(countersign.Invalid, "incomplete-order", "a bound names the owner or the sponsor and what they must hold, not %q and %d rights", one.Who, len(one.Holds))
		}
	}
	return nil
}
