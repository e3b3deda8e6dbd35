package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
)

// fakeTarget is a target that somebody else runs: it outlives every crash of the
// house, ends nothing by itself, and notes what happened to it.
type fakeTarget struct {
	clock *clock
	held  map[countersign.CredentialID]connector.Task
	ended map[countersign.CredentialID]bool
	notes []note
	// byHand is what somebody gave behind the house's back, ever what there was of it
	// at any time, and again what came back.
	byHand, ever, again map[handed]bool
	// back is what a late write brought back that had been taken away.
	back map[countersign.CredentialID]bool

	// slow, deaf, busy and rejecting count writes that take effect and then time out,
	// time out before the effect, are throttled, and are refused for good.
	slow, deaf, busy, rejecting int
	// late counts applies that time out and take effect some time after.
	late     int
	lateFor  time.Duration
	onTheWay []arrival
	// hang counts writes that wait until their deadline has passed.
	hang int
	// downUntil refuses every connection until then.
	downUntil time.Time
	// dieBefore and dieAfter stop the house before or after the effect of a write.
	dieBefore, dieAfter int
	// meanwhile happens once, while a write or a reading is under way.
	meanwhile func()
	bites     bites
	// gives is called before each effect that gives something.
	gives func(connector.Task)
	// takes is called before something is taken away that others gave.
	takes func(connector.Task)

	// deafToRevokes makes it answer that it took away what it keeps, and liar that it
	// holds nothing any more: for proving that the laws find it.
	deafToRevokes, liar bool
}

// note is one effect on the target; late says that nobody waited for it any more.
type note struct {
	gave, late bool
	task       connector.Task
}

// handed is a right that somebody has without a mark of the house.
type handed struct {
	holder                countersign.IdentityID
	system                countersign.SystemID
	resource, entitlement string
}

func handedOf(task connector.Task) handed {
	return handed{task.Holder, task.System, task.Resource, task.Entitlement}
}

// arrival is a write that is on its way to the target.
type arrival struct {
	at   time.Time
	task connector.Task
}

func newTarget(clock *clock) *fakeTarget {
	return &fakeTarget{clock: clock, gives: func(connector.Task) {}, held: map[countersign.CredentialID]connector.Task{}, ended: map[countersign.CredentialID]bool{}, byHand: map[handed]bool{}, ever: map[handed]bool{}, again: map[handed]bool{}, back: map[countersign.CredentialID]bool{}, takes: func(connector.Task) {}}
}

// heal ends every fault.
func (f *fakeTarget) heal() {
	f.slow, f.deaf, f.busy, f.rejecting, f.late, f.hang, f.dieBefore, f.dieAfter, f.meanwhile = 0, 0, 0, 0, 0, 0, 0, 0, nil
	f.downUntil = time.Time{}
}

// Describe implements connector.Connector.
func (f *fakeTarget) Describe() connector.Description {
	return connector.Description{Name: "fake", Actions: []string{"apply"}, Kind: countersign.CredentialKind, TakesOver: true, Rotates: true, Extends: true, EndsSessions: true, IdempotentRevoke: true}
}

// Plan implements connector.Connector.
func (f *fakeTarget) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	return connector.Plan{Effect: "The target holds " + task.Describe() + "."}, task.CheckRight(f.Describe())
}

// Apply implements connector.Connector.
func (f *fakeTarget) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(f.Describe()); err != nil {
		return err
	}
	f.land()
	if f.late > 0 && f.clock.Now().Before(task.Deadline.Time()) {
		f.late--
		// The connector stops to wait for it; it arrives before the lease has ended.
		lease := task.Deadline.Add(desk.Lease - desk.OperationTime - 1).Time().Sub(f.clock.Now())
		f.onTheWay = append(f.onTheWay, arrival{f.clock.real().Add(min(f.lateFor, lease)), task})
		return timeout()
	}
	return f.write(ctx, task, func() error {
		held, there := f.held[task.Credential]
		switch {
		case f.ended[task.Credential]:
			return &connector.Failure{Kind: connector.Rejected, Message: "it was taken away and is never given again"}
		case there && (held.Grant != task.Grant || held.Holder != task.Holder || held.EntitlementID != task.EntitlementID):
			return &connector.Failure{Kind: connector.Rejected, Message: "the target holds something else under this name"}
		}
		f.give(task, false)
		return nil
	})
}

// give lets the credential through, once for one intent, and never for a shorter
// time than it has.
func (f *fakeTarget) give(task connector.Task, late bool) {
	held, there := f.held[task.Credential]
	if there && held.Until >= task.Until {
		return
	}
	f.gives(task)
	f.held[task.Credential] = task
	if f.ended[task.Credential] {
		f.back[task.Credential] = true
	}
	if task.TakesOver == string(task.Holder) {
		delete(f.byHand, handedOf(task))
	}
	if there && held.Intent == task.Intent {
		return // the same effect, with the end of a later attempt
	}
	if late {
		f.bites.count(arrivesLate)
	}
	f.notes = append(f.notes, note{gave: true, late: late, task: task})
}

// land lets writes arrive whose time has come.
func (f *fakeTarget) land() {
	kept := f.onTheWay[:0]
	for _, write := range f.onTheWay {
		if write.at.After(f.clock.real()) {
			kept = append(kept, write)
			continue
		}
		f.give(write.task, true)
	}
	f.onTheWay = kept
}

// Revoke implements connector.Connector.
func (f *fakeTarget) Revoke(ctx context.Context, task connector.Task) error {
	return f.write(ctx, task, func() error {
		f.ended[task.Credential] = true
		if _, there := f.held[task.Credential]; there && !f.deafToRevokes {
			delete(f.held, task.Credential)
			f.notes = append(f.notes, note{task: task})
		}
		return nil
	})
}

// write runs one effect, or the fault that stands for it.
func (f *fakeTarget) write(ctx context.Context, task connector.Task, effect func() error) error {
	count := func(counter *int, fault string) bool {
		if *counter == 0 {
			return false
		}
		*counter--
		f.bites.count(fault)
		return true
	}
	if happen := f.meanwhile; happen != nil {
		f.meanwhile = nil
		f.bites.count(midOperation)
		happen()
	}
	f.land()
	switch {
	case f.down(), count(&f.deaf, writeLost):
		return timeout()
	case count(&f.busy, throttled):
		return &connector.Failure{Kind: connector.Throttled, Message: "the target asks to wait", After: 45}
	case count(&f.rejecting, rejected):
		return &connector.Failure{Kind: connector.Rejected, Message: "the target was told to refuse"}
	case count(&f.hang, hangs):
		<-ctx.Done()
	}
	if next(&f.dieBefore) {
		f.bites.count(diesAtTarget)
		panic(stopped{})
	}
	if err := task.CheckDeadline(ctx, f.clock); err != nil {
		return err
	}
	err := effect()
	if next(&f.dieAfter) {
		f.bites.count(diesAfterTarget)
		panic(stopped{})
	}
	if err == nil && count(&f.slow, answerLost) {
		return timeout()
	}
	return err
}

// down reports, to somebody who wants something, whether it is.
func (f *fakeTarget) down() bool {
	is := f.clock.Now().Before(f.downUntil)
	if is {
		f.bites.count(targetDown)
	}
	return is
}

func timeout() error {
	return &connector.Failure{Kind: connector.Transient, Message: "the target did not answer in time"}
}

// List implements connector.Inventory, and lets something happen in the middle.
func (f *fakeTarget) List(_ context.Context, of connector.Scope, found func(connector.Item) error) error {
	f.land()
	half := len(f.held) / 2
	for i, credential := range slices.Sorted(maps.Keys(f.held)) {
		if happen := f.meanwhile; happen != nil && i == half {
			f.meanwhile = nil
			f.bites.count(midReading)
			happen()
		}
		held, there := f.held[credential]
		if !there || held.System != of.System {
			continue
		}
		item := connector.Item{Principal: string(held.Holder), Holder: held.Holder, Resource: held.Resource, Entitlement: held.Entitlement, Credential: credential}
		if err := found(item); err != nil {
			return err
		}
	}
	for _, by := range f.handedOut() {
		item := connector.Item{Principal: string(by.holder), Holder: by.holder, Resource: by.resource, Entitlement: by.entitlement}
		if by.system != of.System {
			continue
		}
		if err := found(item); err != nil {
			return err
		}
	}
	if f.down() {
		return timeout()
	}
	return nil
}

// handedOut lists what was given by hand, in one order.
func (f *fakeTarget) handedOut() []handed {
	return slices.SortedFunc(maps.Keys(f.byHand), func(a, b handed) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

// Verify implements connector.Connector.
func (f *fakeTarget) Verify(_ context.Context, task connector.Task) (connector.Reading, error) {
	return f.read(task)
}

// VerifyGone implements connector.Connector.
func (f *fakeTarget) VerifyGone(_ context.Context, task connector.Task) (connector.Reading, error) {
	if f.liar {
		return connector.Reading{How: "the target says so"}, nil
	}
	return f.read(task)
}

func (f *fakeTarget) read(task connector.Task) (connector.Reading, error) {
	if f.down() {
		return connector.Reading{}, timeout()
	}
	f.land()
	held, there := f.held[task.Credential]
	if !there {
		return connector.Reading{How: "the target has nothing under this name"}, nil
	}
	return connector.Reading{Present: true, Until: held.Until, Reference: string(task.Credential), How: fmt.Sprintf("the target has it until %s", held.Until)}, nil
}
