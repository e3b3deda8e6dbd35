// Package pdp is the decision point: it answers "may S do A on R now?" from the
// assignments that it holds, in memory and on its shelf. It is also a target:
// the connectors "role" and "tools" write the assignments, and nobody else does.
//
// It never reads requests or grants and never imports the desk; the desk pushes
// stops to it, which can only refuse. After Assign returns nil the right is
// given here until its end, after Remove it is not; other replicas say the same
// once they have followed, and refuse when they cannot show that they have.
package pdp

import (
	"sync"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that the decision point keeps.
const ShelfName = "assignment"

// DefaultFreshness is how old the last successful look at the shelf may be.
const DefaultFreshness = 5 * time.Second

// Resolver turns a subject as enforcement points name it into an identity. The
// subject's id is the identity's own id or one of its handles.
type Resolver interface {
	Resolve(subjectType, subjectID string) (countersign.IdentityID, bool)
}

// Directory is what the decision point asks of the directory beside names, as it
// is now: an agent holds no more than who answers for it.
type Directory interface {
	// Answering returns who answers for the holder, if it is an agent.
	Answering(holder countersign.IdentityID) (answering Answering, agent bool)
	// Tool returns where the tool of that name stands, as "system/resource", and the
	// names of its entitlements. A name that two systems have is not known.
	Tool(name string) (resource string, scopes []string, known bool)
}

// Answering is who answers for an agent.
type Answering struct {
	Owner, Sponsor countersign.IdentityID
	// Active says that the owner is there and active, and the sponsor, where one is
	// named, as well.
	Active bool
}

// Options are what a decision point can be told. The zero value is good for one
// process on its own database.
type Options struct {
	// Freshness bounds the age of what decisions rely on; 0 is DefaultFreshness.
	Freshness time.Duration
	// Replica is this process's name where several share a database: it then
	// proves its freshness by reading back a heartbeat that it wrote. A database
	// that holds back changes (a long transaction on PostgreSQL) holds back the
	// heartbeat too, so that the replica refuses instead of trusting old answers.
	Replica string
	// Directory is asked about agents and tools; without one there are none.
	Directory Directory
}

// Point is the decision point. Its methods may be called at once.
type Point struct {
	shelf     store.Shelf
	stops     *target.Stops
	names     Resolver
	directory Directory
	clock     interface{ Now() time.Time }
	freshness time.Duration

	// following keeps what is followed apart from own writes, which hold it to read.
	// Otherwise a page that was read before an own removal could bring the removed
	// assignment back. Own writes of one credential follow each other by writing.
	following sync.RWMutex
	writing   [64]sync.Mutex
	position  int64
	beat      heartbeat

	// looks lets checks that come together share one look at the shelf.
	looks struct {
		sync.Mutex
		next *look
	}

	uses uses

	mu      sync.RWMutex
	index   *index
	freshAt time.Time // when memory was last known to be as new as the shelf
}

// New returns a decision point that refuses everything until its first Follow.
func New(shelf store.Shelf, stops *target.Stops, names Resolver, clock interface{ Now() time.Time }, options Options) *Point {
	if options.Freshness == 0 {
		options.Freshness = DefaultFreshness
	}
	point := &Point{shelf: shelf, stops: stops, names: names, directory: options.Directory, clock: clock, freshness: options.Freshness, index: newIndex()}
	if point.directory == nil {
		point.directory = nobody{}
	}
	if options.Replica != "" {
		point.beat.key = beatPrefix + options.Replica
	}
	return point
}

// Reason is why a decision is false.
type Reason string

const (
	// NoAssignment: nothing gives the subject this right.
	NoAssignment Reason = "no-assignment"
	// Ended: what gave it has ended.
	Ended Reason = "ended"
	// Stopped: it is assigned, and a hold or an end under way refuses it.
	Stopped Reason = "stopped"
	// Unaccountable: it is assigned to an agent, and its owner, or its sponsor, is
	// not there or not active.
	Unaccountable Reason = "unaccountable"
	// OutOfBounds: it is assigned, and who answers for the agent does not hold now
	// what this access is bounded by.
	OutOfBounds Reason = "out-of-bounds"
	// Stale: this replica cannot show that it knows the present assignments.
	Stale Reason = "stale"
	// Unfit: this replica's clock is off, so that it cannot judge ends.
	Unfit Reason = "unfit"
)

// Evaluation is the question, in the words of AuthZEN.
type Evaluation struct {
	SubjectType, SubjectID string
	// Action is the name of an entitlement.
	Action string
	// ResourceType is "resource", and ResourceID "system/resource"; or it is "tool",
	// and ResourceID the name of a tool, or "system/tool".
	ResourceType, ResourceID string
	// Scope narrows a call of a tool to one of its entitlements; "" is a call that may
	// do whatever the tool can do.
	Scope string
	// Agent is who calls the tool in the place of the subject; "" for the subject
	// itself.
	Agent string
}

// ResourceType is the type of resource that assignments are about.
const ResourceType = "resource"

// Decision is the answer.
type Decision struct {
	Allowed bool
	// Reason is set when Allowed is false.
	Reason      Reason
	EvaluatedAt countersign.Instant
	// FreshAt is when memory was last known to be as new as the shelf; 0 for never.
	FreshAt countersign.Instant
	// Age is EvaluatedAt less FreshAt; Bound is what it may be at most.
	Age, Bound time.Duration
}

// Evaluate answers one question. An unknown subject has no assignment.
func (p *Point) Evaluate(evaluation Evaluation) Decision {
	var room [1]demand
	demands := p.demands(evaluation, room[:0])
	now := p.clock.Now()
	p.mu.RLock()
	defer p.mu.RUnlock()
	decision := p.decision(now)
	if decision.Reason == "" {
		decision.Reason = NoAssignment
		var giving [4]*entry
		found := giving[:0]
		for _, one := range demands {
			e, reason := p.may(one.who, one.action, one.resource, decision.EvaluatedAt)
			if decision.Reason = reason; reason != "" {
				break
			}
			found = append(found, e)
		}
		if decision.Reason == "" {
			for _, e := range found {
				p.uses.note(e, decision.EvaluatedAt)
			}
		}
	}
	decision.Allowed = decision.Reason == ""
	return decision
}

// Freshness returns the age of what decisions rely on now, and what it may be at
// most. Before the first look at the shelf the age is one that no bound allows.
func (p *Point) Freshness() (age, bound time.Duration) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.clock.Now().Sub(p.freshAt), p.freshness
}

// Allowed answers for an identity whose id is known, at the time of the caller's
// transaction: what the desk asks about the powers of its own users. While this
// replica may give no answer but a refusal it says so with the error of Answers, of
// the same moment; what it knew last stands beside it, and lets nobody through.
func (p *Point) Allowed(holder countersign.IdentityID, action, resource string, now countersign.Instant) (bool, error) {
	who := p.caller(holder, true)
	p.mu.RLock()
	defer p.mu.RUnlock()
	err := p.unanswered()
	e, reason := p.may(who, action, resource, now)
	if reason == "" && err == nil {
		p.uses.note(e, now)
	}
	return reason == "", err
}

// Answers is an error while this replica may give no answer but a refusal.
func (p *Point) Answers() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.unanswered()
}

// unanswered is Answers for a caller that holds mu.
func (p *Point) unanswered() error {
	reason := p.decision(p.clock.Now()).Reason
	if reason == "" {
		return nil
	}
	if reason == Unfit {
		return p.stops.Fit()
	}
	return stale()
}

// stale is what is answered while this replica cannot tell.
func stale() *countersign.Error {
	return countersign.Errorf(countersign.Unavailable, "replica-stale", "This replica cannot show that what it knows of access is fresh: try again, or ask another one.")
}

// decision begins an answer: it has a reason already if this replica may not
// give any other. The caller holds mu.
func (p *Point) decision(now time.Time) Decision {
	decision := Decision{
		EvaluatedAt: countersign.InstantOf(now), FreshAt: countersign.InstantOf(p.freshAt),
		Age: now.Sub(p.freshAt), Bound: p.freshness,
	}
	switch {
	case p.stops.Fit() != nil:
		decision.Reason = Unfit
	// A clock that stepped back far proves nothing about freshness either.
	case p.freshAt.IsZero() || decision.Age > p.freshness || decision.Age < -p.freshness:
		decision.Reason = Stale
	}
	return decision
}

// judge is the one lookup behind every answer: it returns "" if an assignment
// gives the right now, and which, else the reason that is nearest to a yes. Ends
// are compared here. With credential set, only that one counts, and who answers for
// the holder does not: the target is asked what it holds. The caller holds mu.
func (p *Point) judge(wanted right, credential target.ID, who *caller, now countersign.Instant) (*entry, Reason) {
	reason := NoAssignment
	for e := range p.index.each(wanted) {
		of := p.index.byScope[e.scope]
		switch {
		case credential != target.ID{} && e.credential != credential:
		case e.until != 0 && now >= e.until:
			if reason == NoAssignment {
				reason = Ended
			}
		case p.stops.Stopped(e.subject, of.system, of.entitlement, e.grant, e.credential):
			reason = Stopped
		case who != nil && who.agent && !who.answered:
			reason = Unaccountable
		case who != nil && who.agent && p.stops.Stopped(who.owner, who.sponsor):
			reason = Stopped
		case who != nil && of.bounds != 0 && !p.within(p.index.byBounds[of.bounds-1], who, now):
			reason = OutOfBounds
		default:
			return e, ""
		}
	}
	return nil, reason
}
