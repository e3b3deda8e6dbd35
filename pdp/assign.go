package pdp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// Order asks for one assignment.
type Order struct {
	// Intent and Attempt tell a repeated order from a new one.
	Intent     countersign.IntentID
	Attempt    int
	Credential countersign.CredentialID
	Grant      countersign.GrantID
	Subject    countersign.IdentityID
	// Action is the name of the entitlement.
	Action string
	System countersign.SystemID
	// Entitlement is what a stop can name.
	Entitlement countersign.EntitlementID
	// Resource is "system/resource".
	Resource string
	// Bounds are what it counts within, for an agent.
	Bounds []Bound
	// Until is when the assignment stops to count; 0 for never.
	Until countersign.Instant
	// NotAfter is when nothing may be written any more; 0 for no limit.
	NotAfter countersign.Instant
}

// record is the body of an item, under the credential's id. The item's Ref is
// the subject, its EndsAt the end.
type record struct {
	Intent      countersign.IntentID      `json:"intent,omitempty"`
	Attempt     int                       `json:"attempt,omitempty"`
	Grant       countersign.GrantID       `json:"grant,omitempty"`
	Subject     countersign.IdentityID    `json:"subject,omitempty"`
	Action      string                    `json:"action,omitempty"`
	System      countersign.SystemID      `json:"system,omitempty"`
	Entitlement countersign.EntitlementID `json:"entitlement,omitempty"`
	Resource    string                    `json:"resource,omitempty"`
	Bounds      []Bound                   `json:"bounds,omitempty"`
	Until       countersign.Instant       `json:"until,omitempty"`
	// RemovedAt is set for good: a late order must not assign again. A record
	// with nothing else was removed before it was assigned.
	RemovedAt countersign.Instant `json:"removed_at,omitempty"`
}

// Assign gives exactly what the order names, at once on this replica. Ordered
// again with the same content it changes nothing; with another end, unless the
// order is an older attempt, the end moves. A credential that is there with
// other content, or was removed, is a Conflict.
func (p *Point) Assign(ctx context.Context, order Order) error {
	if err := order.check(); err != nil {
		return err
	}
	defer p.write(order.Credential)()
	var current record
	err := target.Commit(ctx, p.shelf, p.clock, order.NotAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		if order.Until != 0 && order.Until <= now {
			return nil, countersign.Errorf(countersign.Invalid, "end-has-passed", "the assignment %s would have ended at %s already", order.Credential, order.Until)
		}
		item, held, err := p.load(ctx, order.Credential)
		switch {
		case countersign.KindOf(err) == countersign.NotFound:
		case err != nil:
			return nil, err
		case held.RemovedAt != 0:
			return nil, countersign.Errorf(countersign.Conflict, "removed", "the assignment %s was removed at %s and is never given again; ask for a new credential", order.Credential, held.RemovedAt)
		case !held.gives(order):
			return nil, countersign.Errorf(countersign.Conflict, "not-ours", "there is another assignment under %s, for %s on %s", order.Credential, held.Subject, held.Resource)
		case held.Until == order.Until || held.Intent == order.Intent && held.Attempt >= order.Attempt:
			current = held
			return nil, nil
		}
		current = record{
			Intent: order.Intent, Attempt: order.Attempt, Grant: order.Grant, Subject: order.Subject,
			Action: order.Action, System: order.System, Entitlement: order.Entitlement, Resource: order.Resource, Bounds: order.Bounds, Until: order.Until,
		}
		return put(order.Credential, item, current)
	})
	if err != nil {
		return err
	}
	return p.show(string(order.Credential), current)
}

// Remove takes the assignment of a credential away for good, at once on this
// replica. That it is not there is success; it can never be given afterwards.
func (p *Point) Remove(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	if _, err := target.ParseID(credential); err != nil {
		return err
	}
	defer p.write(credential)()
	var removed record
	err := target.Commit(ctx, p.shelf, p.clock, notAfter, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := p.load(ctx, credential)
		if err != nil && countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		removed = held
		if held.RemovedAt != 0 {
			return nil, nil
		}
		removed.RemovedAt = now
		return put(credential, item, removed)
	})
	if err != nil {
		return err
	}
	return p.show(string(credential), removed)
}

// Check is what the lookup of one credential found.
type Check struct {
	Decision
	// What the assignment gives; empty if there is none.
	Subject  target.ID
	Action   string
	Resource string
	Until    countersign.Instant
}

// CheckCredential runs the lookup of Evaluate for the right that the credential
// gives, with that credential alone counting. It follows the shelf first, and
// is Unavailable where it could only answer stale or unfit.
func (p *Point) CheckCredential(ctx context.Context, credential countersign.CredentialID) (Check, error) {
	small, err := target.ParseID(credential)
	if err != nil {
		return Check{}, err
	}
	if err := p.CatchUp(ctx); err != nil {
		return Check{}, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	check := Check{Decision: p.decision(p.clock.Now())}
	if check.Reason != "" {
		return Check{}, countersign.Errorf(countersign.Unavailable, string(check.Reason), "the decision point cannot answer for %s now: it is %s", credential, check.Reason)
	}
	check.Reason = NoAssignment
	if e := p.index.find(small); e != nil {
		_, check.Reason = p.judge(e.right(), small, nil, check.EvaluatedAt)
		check.Subject, check.Action, check.Resource, check.Until = e.subject, p.index.byName[e.action], p.index.byName[e.resource], e.until
	}
	check.Allowed = check.Reason == ""
	return check, nil
}

// write lets one own write of the credential happen, from its look at the shelf to
// what memory shows of it; others happen beside it. It returns how that ends.
func (p *Point) write(credential countersign.CredentialID) (end func()) {
	var sum byte
	for _, b := range []byte(credential) {
		sum = sum*31 + b
	}
	one := &p.writing[int(sum)%len(p.writing)]
	p.following.RLock()
	one.Lock()
	return func() {
		one.Unlock()
		p.following.RUnlock()
	}
}

func put(credential countersign.CredentialID, item store.Item, next record) (*store.ShelfChange, error) {
	body, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	return &store.ShelfChange{Puts: []store.Item{{
		Key: string(credential), Ref: string(next.Subject), Version: item.Version + 1, EndsAt: next.Until, Body: body,
	}}}, nil
}

func (p *Point) load(ctx context.Context, credential countersign.CredentialID) (store.Item, record, error) {
	item, err := p.shelf.Item(ctx, string(credential))
	if err != nil {
		return store.Item{}, record{}, err
	}
	held, err := decode(item)
	return item, held, err
}

func decode(item store.Item) (record, error) {
	if held, plain := decodePlain(item.Body); plain {
		return held, nil
	}
	var held record
	if err := json.Unmarshal(item.Body, &held); err != nil {
		return record{}, fmt.Errorf("assignment %s: %w", item.Key, err)
	}
	return held, nil
}

// show brings memory to what the shelf holds under the key. What cannot be
// understood gives nothing.
func (p *Point) show(key string, held record) error {
	credential, err := target.ParseID(countersign.CredentialID(key))
	if err != nil {
		return err
	}
	a, err := held.assigned(credential)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || held.RemovedAt != 0 {
		p.index.remove(credential)
		return err
	}
	a.of.bounds = p.index.bind(held.Bounds)
	p.index.put(a)
	return nil
}

// assigned is the small form of what the record gives under the credential, without
// its bounds; of a removed one, nothing.
func (r record) assigned(credential target.ID) (assigned, error) {
	a := assigned{credential: credential, action: r.Action, resource: r.Resource, until: r.Until}
	if r.RemovedAt != 0 {
		return a, nil
	}
	var err error
	if a.subject, err = target.ParseID(r.Subject); err != nil {
		return a, err
	}
	if a.grant, err = target.ParseID(r.Grant); err != nil {
		return a, err
	}
	if a.of.system, err = target.ParseID(r.System); err != nil {
		return a, err
	}
	// What was assigned before stops could name entitlements has none.
	if r.Entitlement != "" {
		a.of.entitlement, err = target.ParseID(r.Entitlement)
	}
	return a, err
}

func (r record) gives(order Order) bool {
	return r.Grant == order.Grant && r.Subject == order.Subject && r.Action == order.Action &&
		r.System == order.System && r.Entitlement == order.Entitlement && r.Resource == order.Resource &&
		slices.EqualFunc(r.Bounds, order.Bounds, func(a, b Bound) bool { return a.Who == b.Who && slices.Equal(a.Holds, b.Holds) })
}

func (o Order) check() error {
	if _, err := target.ParseID(o.Credential); err != nil {
		return err
	}
	if _, err := target.ParseID(o.Grant); err != nil {
		return err
	}
	if _, err := target.ParseID(o.Subject); err != nil {
		return err
	}
	if _, err := target.ParseID(o.System); err != nil {
		return err
	}
	if _, err := target.ParseID(o.Entitlement); err != nil {
		return err
	}
	system, resource, both := strings.Cut(o.Resource, "/")
	if o.Action == "" || !both || system == "" || resource == "" {
		return countersign.Errorf(countersign.Invalid, "incomplete-order", "an assignment needs an action and a resource of the form system/resource; %s has %q and %q", o.Credential, o.Action, o.Resource)
	}
	return checkBounds(o.Bounds)
}
