// Package engine is the heartbeat: it claims what is due, delivers intents
// through connectors, and lets time pass for grants and requests.
//
// It holds step functions (Beat, Timers, Claim, Deliver) and the two loops of Run
// that call them; a simulator calls the steps itself. It judges nothing
// and never writes to storage but through desk. After a step returned, what it
// did is committed, and what it could not do is due again later.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/faultpoint"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/store"
)

// Config is what an engine is made of.
type Config struct {
	Desk       *desk.Desk
	Store      store.Store
	Clock      connector.Clock
	Connectors connector.Set
	Replica    string
	Log        *slog.Logger
	// Channels bring what people are told out of the house.
	Channels []notify.Channel
	// Workers is how many operations run at once; 0 means 32.
	Workers int
	// Follow keeps the decision point up to date; called at every beat.
	Follow func(ctx context.Context) error
	// Keep writes down which access was used; called after Follow, and no beat fails
	// because of it.
	Keep func(ctx context.Context) error
	// Renew takes keys on that are renewed by time; called with every sweep, and none
	// fails because of it.
	Renew func(ctx context.Context) error
	// SetUnfit stops the decision point and the desk from answering while this
	// replica's clock is off; "" lets them answer again.
	SetUnfit func(why string)
}

// Engine runs the steps.
type Engine struct {
	Config
	// sweptTo is up to when contract ends have been looked at.
	sweptTo countersign.Instant
	unfit   string
	// sound says that the last beat of Run succeeded; only then is work claimed.
	sound  atomic.Bool
	places places
	health health
}

// New returns an engine; nothing runs until a step or Run is called.
func New(config Config) *Engine {
	if config.Workers == 0 {
		config.Workers = 32
	}
	return &Engine{Config: config}
}

const (
	// batch is how many timers one step takes.
	batch = 500
	// endedTogether is how many of them share a commit: what somebody asks meanwhile
	// waits for one commit, and not for all of them.
	endedTogether = 25
	// beat is how often the loop looks without being nudged.
	beat = time.Second
	// usePatience is how long targets may take to tell when credentials were used.
	usePatience = 2 * time.Second
	// maxOffset is how far this replica's clock may be from the database's.
	maxOffset = 2 * 1000
)

func (e *Engine) now() countersign.Instant { return countersign.InstantOf(e.Clock.Now()) }

func (e *Engine) logged(ctx context.Context, step string, err error) {
	if err != nil && ctx.Err() == nil {
		e.health.failed(step)
		e.Log.ErrorContext(ctx, "an engine step failed and will be tried again", "step", step, "error", err)
	}
}

// Beat measures this replica's clock and follows what other replicas wrote. While
// the clock is off it returns an error, and nothing is claimed.
func (e *Engine) Beat(ctx context.Context) error {
	theirs, err := e.Store.Clock(ctx)
	if err != nil {
		return err
	}
	if theirs != 0 {
		e.health.offset.Store(int64(e.now() - theirs))
	}
	why := ""
	if offset := e.now() - theirs; theirs != 0 && (offset > maxOffset || offset < -maxOffset) {
		why = "its clock differs from the database's by more than two seconds"
	}
	if why != e.unfit {
		e.unfit = why
		e.SetUnfit(why)
		e.Log.WarnContext(ctx, "the replica's fitness changed", "unfit", why)
	}
	if why != "" {
		return errors.New(why)
	}
	if err := e.Desk.Refresh(ctx); err != nil {
		return err
	}
	if err := e.Follow(ctx); err != nil {
		return err
	}
	e.health.beat.Store(int64(e.now()))
	e.logged(ctx, "keeping uses", e.Keep(ctx))
	return nil
}

// Sweep makes due what depends on contracts that ended since the last sweep, what is
// to be said of owners who keep silent, what nobody has decided for too long, and once a
// day what rules give. What is due already does not wait for it.
func (e *Engine) Sweep(ctx context.Context) error {
	now := e.now()
	// After a clock that stepped back the same time is swept again.
	e.sweptTo = min(e.sweptTo, now)
	if now < e.sweptTo+60*1000 {
		return nil
	}
	if err := e.Desk.SweepContracts(ctx, e.sweptTo, now); err != nil {
		return err
	}
	const day = countersign.Instant(countersign.Day) * 1000
	if today := now - now%day; e.sweptTo < today {
		if err := e.Desk.SweepBirthrights(ctx, today); err != nil {
			return err
		}
	}
	if err := e.Desk.SweepOwners(ctx); err != nil {
		return err
	}
	if err := e.Desk.ScheduleReconciliations(ctx); err != nil {
		return err
	}
	if err := e.Desk.SweepProposals(ctx); err != nil {
		return err
	}
	if err := e.Desk.SweepOffers(ctx); err != nil {
		return err
	}
	if err := e.Desk.RemindOfHolds(ctx); err != nil {
		return err
	}
	e.logged(ctx, "renewing keys", e.Renew(ctx))
	e.sweptTo = now
	return nil
}

// Claim leases up to limit due deliveries to this replica. A claim that is under way
// when the context ends is heard to its end: what it leased could not be given back by
// somebody who does not know of it.
func (e *Engine) Claim(ctx context.Context, limit int) ([]store.Work, error) {
	return e.Store.Claim(context.WithoutCancel(ctx), store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.DeliverWork}, Limit: limit, Lease: desk.Lease})
}

// Timers lets time pass for what is due, and returns how many items it took.
func (e *Engine) Timers(ctx context.Context) (int, error) {
	works, err := e.Store.Claim(ctx, store.Claim{
		Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.RequestWork, store.GrantWork, store.HoldWork, store.OpenWork, store.ProposalWork}, Limit: batch, Lease: desk.Lease,
	})
	if err != nil {
		return 0, err
	}
	of := map[store.WorkKind][]store.Work{}
	for _, work := range works {
		of[work.Kind] = append(of[work.Kind], work)
	}
	// What a target or a source must be asked about goes last and by itself: ends wait for no
	// target.
	plain, watched := e.apart(ctx, of[store.GrantWork])
	for some := range slices.Chunk(plain, endedTogether) {
		err = errors.Join(err, e.Desk.WakeGrants(ctx, some, nil))
	}
	err = errors.Join(
		err,
		e.Desk.TickRequests(ctx, of[store.RequestWork]),
		e.Desk.SweepHolds(ctx, of[store.HoldWork]),
		e.Desk.LookAtOpen(ctx, of[store.OpenWork]),
		e.Desk.TickProposals(ctx, of[store.ProposalWork]),
	)
	if len(watched.works) == 0 {
		return len(works), err
	}
	return len(works), errors.Join(err, e.Desk.WakeGrants(ctx, watched.works, e.hear(ctx, watched.grants)))
}

// identitiesAtOnce is how many identities one step looks at in one transaction.
const identitiesAtOnce = 20

// Identities looks anew at what the next identities hold that joined or moved, and
// at owners who keep silent, and returns how many it took. Ends do not wait for it.
func (e *Engine) Identities(ctx context.Context) (int, error) {
	works, err := e.Store.Claim(ctx, store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.IdentityWork}, Limit: identitiesAtOnce, Lease: desk.Lease})
	if err != nil {
		return 0, err
	}
	return len(works), e.Desk.LookAtIdentities(ctx, works)
}

// Reconcile reads the next target that is due and has what it lists compared with
// the record, and returns how many it took. Ends do not wait for it.
func (e *Engine) Reconcile(ctx context.Context) (int, error) {
	works, err := e.Store.Claim(ctx, store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.ReconcileWork}, Limit: 1, Lease: desk.ReconcileLease})
	if err != nil || len(works) == 0 {
		return 0, err
	}
	reading, err := e.Desk.PrepareReconciliation(ctx, works[0])
	if err != nil || reading == nil {
		return 1, err
	}
	listing, cancel := context.WithTimeout(ctx, time.Duration(desk.ListTime)*time.Second)
	defer cancel()
	if err := reading.Target.List(listing, reading.Scope, reading.Found); err != nil {
		if ctx.Err() != nil {
			return 1, nil // this process stops, which says nothing of the target
		}
		return 1, e.Desk.FailReconciliation(ctx, reading, err)
	}
	return 1, e.Desk.CompleteReconciliation(ctx, reading)
}

// Batches opens the next requests of batches, and returns how many batches it
// took. Ends do not wait for it.
func (e *Engine) Batches(ctx context.Context) (int, error) {
	works, err := e.Store.Claim(ctx, store.Claim{Now: e.now(), Owner: e.Replica, Kinds: []store.WorkKind{store.BatchWork}, Limit: 1, Lease: desk.Lease})
	if err != nil {
		return 0, err
	}
	return len(works), e.Desk.StepBatches(ctx, works)
}

// Deliver carries one claimed intent out and reports what the target answered.
// An operation that has begun is brought to its end and reported also when the
// context ends; one that has not is given back.
func (e *Engine) Deliver(ctx context.Context, work store.Work) error {
	faultpoint.Reach(faultpoint.AfterClaim)
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(desk.Lease)*time.Second)
	defer cancel()
	delivery, err := e.Desk.Prepare(ctx, work)
	if err != nil && ctx.Err() != nil {
		return e.giveBack(lasting, work)
	}
	if err != nil || delivery == nil {
		return err
	}
	hands, err := e.Connectors.Find(delivery.Connector)
	if err != nil {
		return e.Desk.Fail(lasting, delivery, &connector.Failure{Kind: connector.Rejected, Message: err.Error()})
	}
	leave, entered := e.places.enter(ctx, delivery, e.Workers)
	if !entered {
		return e.giveBack(lasting, work)
	}
	defer leave()
	// What waited until its time is nearly over would fail without having run.
	if e.now() >= work.ClaimedAt.Add(desk.OperationTime/2) {
		return e.giveBack(lasting, work)
	}
	// A clock that stepped back gives no operation more time than that: what it did
	// has to be reported within the lease.
	remaining := min(delivery.Task.Deadline.Time().Sub(e.Clock.Now()), time.Duration(desk.OperationTime)*time.Second)
	operation, cancel := context.WithTimeout(lasting, remaining)
	defer cancel()
	observation, err := carryOut(operation, hands, delivery)
	e.health.carriedOut(delivery, err)
	if err != nil {
		return e.Desk.Fail(lasting, delivery, err)
	}
	faultpoint.Reach(faultpoint.BeforeObserve)
	if err := e.Desk.Observe(lasting, delivery, observation); err != nil {
		return err
	}
	faultpoint.Reach(faultpoint.AfterObserve)
	return nil
}

// giveBack makes an item due again that was leased and not begun. A later
// attempt waits for the end of its lease instead: to release it would say that
// no operation is under way, and that of an earlier attempt may be.
func (e *Engine) giveBack(ctx context.Context, work store.Work) error {
	if work.Attempt > 1 {
		return nil
	}
	return e.Desk.Release(ctx, work)
}

// carryOut does the operation and reads back from the target. Only the read-back
// counts.
func carryOut(ctx context.Context, hands connector.Connector, delivery *desk.Delivery) (countersign.Observation, error) {
	task, description := delivery.Task, hands.Describe()
	if task.Principal != "" {
		return carryOutOnOthers(ctx, hands, delivery)
	}
	observed := func(reading connector.Reading) countersign.Observation {
		return countersign.Observation{Present: reading.Present, Until: reading.Until, Reference: reading.Reference, By: description.Name + ", " + reading.How}
	}
	switch delivery.Intent.Operation {
	case countersign.ApplyOperation, countersign.ExtendOperation:
		faultpoint.Reach(faultpoint.BeforeApply)
		if err := hands.Apply(ctx, task); err != nil {
			return countersign.Observation{}, err
		}
		faultpoint.Reach(faultpoint.AfterApply)
		reading, err := hands.Verify(ctx, task)
		if err != nil {
			return countersign.Observation{}, err
		}
		if !reading.Present {
			return countersign.Observation{}, &connector.Failure{Kind: connector.Transient, Message: "the read-back shows that the target does not hold what was asked"}
		}
		if delivery.Intent.Operation == countersign.ExtendOperation && reading.Until != 0 && reading.Until < task.Until {
			return countersign.Observation{}, &connector.Failure{Kind: connector.Transient, Message: "the read-back shows the earlier end"}
		}
		return observed(reading), nil
	case countersign.RevokeOperation, countersign.ConfirmOperation:
		reappeared := false
		if delivery.Intent.Operation == countersign.ConfirmOperation {
			before, err := hands.VerifyGone(ctx, task)
			if err != nil {
				return countersign.Observation{}, err
			}
			reappeared = before.Present
		}
		if err := hands.Revoke(ctx, task); err != nil {
			return countersign.Observation{}, err
		}
		faultpoint.Reach(faultpoint.AfterRevoke)
		reading, err := hands.VerifyGone(ctx, task)
		if err != nil {
			return countersign.Observation{}, err
		}
		if reading.Present {
			return countersign.Observation{}, &connector.Failure{Kind: connector.Transient, Message: "the read-back shows that the credential still works"}
		}
		observation := observed(reading)
		switch {
		case reappeared:
			// A late write brought it back: look once more, one lease later.
			observation.Residual = desk.Lease
		case delivery.Intent.Operation == countersign.RevokeOperation:
			observation.Residual = description.Residual
		}
		return observation, nil
	}
	return countersign.Observation{}, &connector.Failure{Kind: connector.Rejected, Message: "unknown operation " + string(delivery.Intent.Operation)}
}
