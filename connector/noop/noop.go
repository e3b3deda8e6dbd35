// Package noop is a connector whose target is a map in memory: it carries out
// everything, counts what it did, and fails when it is told to. Tests and
// benchmarks run the engine against it.
//
// It never imports desk. It keeps the contract of package connector to the
// letter, faults aside.
package noop

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// Faults are what goes wrong. The zero value is a target that works.
type Faults struct {
	// Throttle is how many further writes are answered with Throttled.
	Throttle int
	// ThrottleFor is what those answers ask to wait.
	ThrottleFor countersign.Seconds
	// Reject refuses every write for good.
	Reject bool
	// TimeOut is how many further writes take effect and then report a timeout.
	TimeOut int
	// Block holds every write back until the channel is closed.
	Block <-chan struct{}
	// List ends every listing after its items.
	List error
}

// Connector implements connector.Connector on its own map.
type Connector struct {
	clock  connector.Clock
	traits connector.Description

	mu      sync.Mutex
	faults  Faults
	held    map[countersign.CredentialID]connector.Task
	removed map[countersign.CredentialID]bool
	effects map[countersign.IntentID]int
	total   int
}

// New returns the connector over an empty target. Its Description has the name
// "noop", the action "apply", the parameter "note" and the given kind.
func New(clock connector.Clock, kind countersign.EntitlementKind) *Connector {
	return &Connector{
		clock: clock,
		traits: connector.Description{
			Name: "noop", Actions: []string{"apply"}, Kind: kind, Parameters: []string{"note"},
			TakesOver: true, Rotates: true, EnforcesExpiryItself: true, EndsSessions: true, Extends: true, IdempotentRevoke: true,
		},
		held:    make(map[countersign.CredentialID]connector.Task),
		removed: make(map[countersign.CredentialID]bool),
		effects: make(map[countersign.IntentID]int),
	}
}

// SetFaults replaces the faults from the next write on.
func (c *Connector) SetFaults(faults Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = faults
}

// Effects returns how often an intent changed the target.
func (c *Connector) Effects(intent countersign.IntentID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.effects[intent]
}

// Total returns how often anything changed the target.
func (c *Connector) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Holds reports whether the target lets the credential through now.
func (c *Connector) Holds(credential countersign.CredentialID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(credential) != nil
}

// Note returns the note that the target was given with a credential.
func (c *Connector) Note(credential countersign.CredentialID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[credential].Parameters["note"]
}

// Put places something on the target as if somebody else had made it.
func (c *Connector) Put(task connector.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[task.Credential] = task
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description { return c.traits }

// Plan implements connector.Connector.
func (c *Connector) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(c.traits); err != nil {
		return connector.Plan{}, err
	}
	return connector.Plan{Effect: "The no-op target holds " + task.Describe() + noted(task) + "."}, nil
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.traits); err != nil {
		return err
	}
	return c.write(ctx, task, func() (bool, error) {
		if task.Until != 0 && task.Until <= countersign.InstantOf(c.clock.Now()) {
			return false, reject("the end %s has passed", task.Until)
		}
		if c.removed[task.Credential] {
			return false, reject("%s was revoked and is never given again", task.Credential)
		}
		held, there := c.held[task.Credential]
		switch {
		case there && !same(held, task):
			return false, reject("the target holds something else under %s", task.Credential)
		case there && (held.Until == task.Until || held.Intent == task.Intent && held.Attempt >= task.Attempt):
			return false, nil
		}
		if task.TakesOver != "" {
			byHand := task
			byHand.Principal = task.TakesOver
			maps.DeleteFunc(c.held, func(_ countersign.CredentialID, held connector.Task) bool { return others(held, byHand) })
		}
		c.held[task.Credential] = task
		return true, nil
	})
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	return c.write(ctx, task, func() (bool, error) {
		_, there := c.held[task.Credential]
		delete(c.held, task.Credential)
		c.removed[task.Credential] = true
		return there, nil
	})
}

// write runs one effect, or the fault that stands for it.
func (c *Connector) write(ctx context.Context, task connector.Task, effect func() (changed bool, err error)) error {
	c.mu.Lock()
	block := c.faults.Block
	c.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.faults.Throttle > 0:
		c.faults.Throttle--
		return &connector.Failure{Kind: connector.Throttled, Message: "the target asks to wait", After: c.faults.ThrottleFor}
	case c.faults.Reject:
		return reject("the target was told to refuse")
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	changed, err := effect()
	if changed {
		c.effects[task.Intent]++
		c.total++
	}
	if err == nil && c.faults.TimeOut > 0 {
		c.faults.TimeOut--
		return &connector.Failure{Kind: connector.Transient, Message: "the target did not answer in time"}
	}
	return err
}

// Verify implements connector.Connector.
func (c *Connector) Verify(_ context.Context, task connector.Task) (connector.Reading, error) {
	return c.read(task, true), nil
}

// VerifyGone implements connector.Connector.
func (c *Connector) VerifyGone(_ context.Context, task connector.Task) (connector.Reading, error) {
	return c.read(task, false), nil
}

func (c *Connector) read(task connector.Task, exactly bool) connector.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.lookup(task.Credential)
	if held == nil || exactly && !same(*held, task) {
		return connector.Reading{How: fmt.Sprintf("the map of the no-op target has no such %s", task.Credential)}
	}
	return connector.Reading{
		Present: true, Until: held.Until, Reference: string(task.Credential),
		How: fmt.Sprintf("the map of the no-op target has %s: %s until %s", task.Credential, held.Describe()+noted(*held), held.Until),
	}
}

func (c *Connector) lookup(credential countersign.CredentialID) *connector.Task {
	held, there := c.held[credential]
	if !there || held.Until != 0 && countersign.InstantOf(c.clock.Now()) >= held.Until {
		return nil
	}
	return &held
}

// same reports whether both give the same right, by ids and never by display
// names of holders.
func same(a, b connector.Task) bool {
	return a.Grant == b.Grant && a.Holder == b.Holder && a.System == b.System && a.SystemName == b.SystemName &&
		a.Resource == b.Resource && a.Entitlement == b.Entitlement
}

// noted is the note that the requester gave with the task.
func noted(task connector.Task) string {
	if note := task.Parameters["note"]; note != "" {
		return fmt.Sprintf(" with the note %q", note)
	}
	return ""
}

// Remove implements connector.Remover.
func (c *Connector) Remove(ctx context.Context, task connector.Task) error {
	return c.write(ctx, task, func() (bool, error) {
		there := false
		for credential, held := range c.held {
			if others(held, task) {
				delete(c.held, credential)
				there = true
			}
		}
		return there, nil
	})
}

// Held implements connector.Remover.
func (c *Connector) Held(_ context.Context, task connector.Task) (connector.Reading, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reading := connector.Reading{Reference: task.Principal, How: fmt.Sprintf("the map of the no-op target, for %s of %s", task.Entitlement, task.Principal)}
	for credential, held := range c.held {
		reading.Present = reading.Present || others(held, task) && c.lookup(credential) != nil
	}
	return reading, nil
}

// others reports whether somebody else put there what the task names.
func others(held, task connector.Task) bool {
	return held.Grant == "" && string(held.Holder) == task.Principal && held.System == task.System && held.Resource == task.Resource && held.Entitlement == task.Entitlement
}

// List implements connector.Inventory. What was put there by others has no grant
// to its name and so no mark.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	c.mu.Lock()
	var items []connector.Item
	for credential, held := range c.held {
		if held.System != of.System || c.lookup(credential) == nil {
			continue
		}
		item := connector.Item{Principal: string(held.Holder), Holder: held.Holder, Resource: held.Resource, Entitlement: held.Entitlement, Until: held.Until}
		if held.Grant != "" {
			item.Credential = credential
		}
		items = append(items, item)
	}
	failure := c.faults.List
	c.mu.Unlock()
	for _, item := range items {
		if err := found(item); err != nil {
			return err
		}
	}
	return failure
}

func reject(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}
