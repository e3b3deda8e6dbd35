package desk

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/ticketing"
	"github.com/countersign/countersign/workflow"
)

// Config is what a desk is made of.
type Config struct {
	Store store.Store
	Clock connector.Clock
	// Entropy gives secret random bytes for ids and salts.
	Entropy    io.Reader
	Zones      policy.Zones
	Connectors connector.Planners
	// Source returns what answers for a source of tickets that the policy set names.
	Source func(info policy.SourceInfo) (source.Source, error)
	// TicketSystem returns what writes into the tickets of a system that the policy set
	// names.
	TicketSystem func(info policy.TicketingInfo) (ticketing.System, error)
	// Page is where people are shown a request or grant; "" for nowhere.
	Page func(id string) string
	// Document gets what lies at the address of a verifier about an artifact.
	Document func(ctx context.Context, info policy.VerifierInfo, digest string) (*source.Document, error)
	// HoldsPower reports whether the identity holds a power of the desk now, as the
	// decision point answers. While that cannot tell, it is the error of Answers, beside
	// what was known last.
	HoldsPower func(holder countersign.IdentityID, power string) (bool, error)
	// CatchUp brings HoldsPower to what storage holds now.
	CatchUp func(ctx context.Context) error
	// Answers is an error while the decision point cannot tell who holds a power. No
	// person is answered then: to say that somebody holds none would be a guess.
	Answers func() error
	// Stop makes every check refuse the holder, system, entitlement or grant from now on, and
	// returns before the answer of the command that caused it. A hold is stopped
	// apart from an end, so that lifting it ends nothing else.
	Stop func(hold bool, ids ...string)
	// Forget lifts such a stop: of a hold, or of grants that are gone.
	Forget func(hold bool, ids ...string)
	// Shared says that other processes work on the same database: what they stop is
	// followed.
	Shared bool
	// Channels name the ways by which people are told; notices are written for those
	// that exist.
	Channels []string
	// ReconcileEvery returns how often a system is read; nil or 0 for once a day.
	ReconcileEvery func(system string) countersign.Seconds
	// Replica names this process, as the holder of leases.
	Replica string
	// BornLeased lets a commit lease its new intents to this replica, which then
	// delivers them without a claim; see Newborn.
	BornLeased bool
}

// Desk is safe for use by many goroutines.
type Desk struct {
	Config

	known  atomic.Pointer[snapshot]
	active atomic.Pointer[activeSet]
	// refreshing lets one goroutine at a time read the directory.
	refreshing sync.Mutex
	// lately is what this process wrote lately, for foresight.
	lately   lately
	setsLock sync.Mutex
	sets     map[countersign.Digest]*policy.Set

	// held are the ids that a hold is in force on; holding lets one goroutine at a
	// time follow them.
	held    atomic.Pointer[map[string]bool]
	holding sync.Mutex

	// ending are the grants that another replica may have begun to end, or a commit
	// whose outcome nobody heard; unsure says that there was one.
	ending atomic.Pointer[map[string]bool]
	unsure atomic.Bool

	// unfit says why this replica must commit nothing, or is "".
	unfit atomic.Pointer[string]
	// newborn hands intents that were committed leased to this replica to its
	// engine.
	newborn chan store.Work
	// ahead counts streams whose last event is later than now; see Figures.
	ahead atomic.Int64
}

// New returns a desk over an open store. It reads the directory and the active
// policy set with its first command.
func New(config Config) *Desk {
	return &Desk{Config: config, sets: map[countersign.Digest]*policy.Set{}, newborn: make(chan store.Work, 2*mostNewborn)}
}

// Newborn is where this replica's engine finds intents that were committed
// leased to it. An item that nobody takes comes back when its lease ends.
func (d *Desk) Newborn() <-chan store.Work { return d.newborn }

// mostNewborn is how many intents wait for this replica's engine at most. Others are
// born free and claimed as they come: a lease that waits for a worker is lost time
// when it ends before there is one.
const mostNewborn = 256

// hasRoom says whether the engine can take one more newborn intent beside those of
// a transaction.
func (d *Desk) hasRoom(beside int) bool { return len(d.newborn)+beside < mostNewborn }

// SetUnfit stops this replica from committing, with a sentence that says why;
// "" makes it fit again.
func (d *Desk) SetUnfit(why string) { d.unfit.Store(&why) }

func (d *Desk) checkFit() error {
	if why := d.unfit.Load(); why != nil && *why != "" {
		return countersign.Errorf(countersign.Unavailable, "replica-unfit", "This replica commits nothing now: %s.", *why)
	}
	return nil
}

// Caller is who gives a command, and how that was found out.
type Caller struct {
	Identity countersign.IdentityID
	Issuer   string
	Strength string
}

// Key makes a command safe to send twice: the same caller, route and key with
// the same body gives the same object. The zero value asks for nothing.
type Key struct {
	Route string
	Value string
	Body  countersign.Digest
	// Match refuses a version of the row that the caller did not mean; nil takes any.
	// The commit writes over that very version.
	Match func(version int64) error
}

// transaction is one attempt at one command.
type transaction struct {
	desk      *Desk
	directory *snapshot
	policy    *activeSet
	// read is storage, with what this transaction has looked at.
	read     *looked
	occasion workflow.Occasion
	guards   map[string]store.Guard
	change   store.Change
	// stale is why somebody's power could not be told in this transaction.
	stale error
	// classifies says that the actor says in triage which request this is, and decides
	// nothing of it.
	classifies bool
	// activated is the policy set that this transaction makes the active one.
	activated *policy.Set
	// match is what the version of the row must satisfy; nil where any does.
	match func(version int64) error
	// preparing is the key of the work that this transaction prepares.
	preparing string
	// reported is the key of the work whose operation is known here to have ended.
	reported string
	// events are sealed when the transaction is complete.
	events []countersign.Event
	// requests are states that this transaction has changed already.
	requests map[countersign.RequestID]*countersign.Request
	// stop lists what checks must refuse once the commit is durable.
	stop []string
	// gone lists grants that need no stop any more.
	gone []string
	born []store.Work
}

// attempt runs one command: body loads, judges, decides and fills the
// transaction. When something that it relied on changed before the commit, all
// of it is taken again.
func (d *Desk) attempt(ctx context.Context, actor countersign.Actor, body func(*transaction) error) error {
	return d.attemptLooking(ctx, actor, nil, body)
}

// attemptLooking is attempt for a command that knows before what it will ask of
// storage.
func (d *Desk) attemptLooking(ctx context.Context, actor countersign.Actor, foresee foresight, body func(*transaction) error) error {
	return d.attemptSeen(ctx, actor, nil, foresee, body)
}

// attemptSeen is attemptLooking for a command on rows that an earlier transaction
// has looked at, and that guard themselves: it looks again only where they have
// changed.
func (d *Desk) attemptSeen(ctx context.Context, actor countersign.Actor, seen *looked, foresee foresight, body func(*transaction) error) error {
	if err := d.checkFit(); err != nil {
		return err
	}
	losses := 0
	var lost error
	err := store.Again(ctx, d.Entropy, func() error {
		tx, err := d.beginSeen(ctx, actor, seen, foresee)
		if err != nil {
			return err
		}
		seen = nil
		if err := body(tx); err != nil {
			tx.orStale(&err)
			return err
		}
		err = tx.commit(ctx)
		// Of a row that changed before its guard was read, the unique place that it
		// took may tell first; what it is has a name only when it is looked at again.
		var taken *store.Duplicate
		if errors.As(err, &taken) && taken.Constraint == store.OneHandle {
			return countersign.Errorf(countersign.Conflict, "handle-taken", "A login, e-mail address or other handle in this change belongs to somebody else, or did once: handles are never given to another identity.")
		}
		if errors.As(err, &taken) && taken.Constraint != store.OneIdempotencyKey {
			return &store.Changed{Key: taken.Constraint}
		}
		// A claim that somebody else has does not come back to who waits for it.
		if tx.lostClaim(err) {
			if losses++; losses == claimTries {
				lost = err
				return nil
			}
		}
		return err
	})
	var changed *store.Changed
	if err = cmp.Or(lost, err); errors.As(err, &changed) {
		return countersign.Errorf(countersign.Conflict, "changed-meanwhile", "Something that this relies on (%s) kept changing; try again.", changed.Key).Because(changed)
	}
	return err
}

// claimTries is how often a transaction is tried whose work somebody else has claimed.
const claimTries = 3

// lostClaim says that the transaction failed for work of which it wanted a certain
// attempt.
func (tx *transaction) lostClaim(err error) bool {
	var changed *store.Changed
	return errors.As(err, &changed) && slices.ContainsFunc(tx.change.Work, func(write store.WorkWrite) bool {
		return write.Attempt != store.AnyAttempt && write.Work.Key == changed.Key
	})
}

func (tx *transaction) now() countersign.Instant { return tx.occasion.Now }

// rely adds a guard that only checks.
func (tx *transaction) rely(key string, version int64) {
	if _, known := tx.guards[key]; !known {
		tx.guards[key] = store.Guard{Key: key, Version: version}
	}
}

// relyOn guards directory rows that the verdict read.
func (tx *transaction) relyOn(rows ...countersign.Row) {
	for _, row := range rows {
		tx.rely(store.GuardRow(row.RowKey()), row.RowVersion())
	}
}

// relyOnPolicy guards the active policy set.
func (tx *transaction) relyOnPolicy() { tx.rely(store.GuardPolicy, tx.policy.version) }

// bump moves the holders' guards on: whatever else is being decided for one of
// them must look again.
func (tx *transaction) bump(ctx context.Context, holders ...countersign.IdentityID) error {
	keys := make([]string, len(holders))
	for i, holder := range holders {
		keys[i] = store.GuardHolder(holder)
	}
	versions, err := tx.versions(ctx, keys)
	if err != nil {
		return err
	}
	for _, key := range keys {
		tx.guards[key] = store.Guard{Key: key, Version: versions[key], Next: versions[key] + 1}
	}
	return nil
}

// versions reads guards of what this transaction is about to look at. A directory
// that has moved on since the transaction began is looked at anew: what is read
// now would be newer than what is judged by.
func (tx *transaction) versions(ctx context.Context, keys []string) (map[string]int64, error) {
	versions, err := tx.read.Guards(ctx, append(slices.Clone(keys), store.GuardDirectory))
	if err == nil && versions[store.GuardDirectory] > tx.directory.revision {
		err = &store.Changed{Key: store.GuardDirectory}
	}
	return versions, err
}

// relyOnNow guards keys by their versions of this moment; what they stand for is
// to be read afterwards.
func (tx *transaction) relyOnNow(ctx context.Context, keys ...string) error {
	versions, err := tx.versions(ctx, keys)
	if err != nil {
		return err
	}
	for _, key := range keys {
		tx.rely(key, versions[key])
	}
	return nil
}

// write adds what a decision caused: rows over the versions that were read,
// sealed events, and the work that follows from the new states. The states
// before the decision are given, nil where there was none.
func (tx *transaction) write(outcome workflow.Outcome, request *countersign.Request, grants ...*countersign.Grant) {
	if outcome.Request != nil {
		var was int64
		var read countersign.Row
		if request != nil {
			was, read = request.Version, request
		}
		tx.change.Writes = put(tx.change.Writes, store.Write{Was: was, Row: outcome.Request, Before: read})
		tx.requests[outcome.Request.ID] = outcome.Request
		tx.schedule(string(outcome.Request.ID), store.RequestWork, workflow.RequestDue(outcome.Request))
	}
	for _, grant := range outcome.Grants {
		var before *countersign.Grant
		for _, candidate := range grants {
			if candidate != nil && candidate.ID == grant.ID {
				before = candidate
			}
		}
		tx.writeGrant(grant, before)
	}
	tx.events = append(tx.events, outcome.Events...)
}

// writeGrant stores a grant with its timer and the delivery of its present
// intent, and takes back the delivery of an intent that no longer counts.
func (tx *transaction) writeGrant(grant, before *countersign.Grant) {
	var was int64
	var earlier countersign.IntentID
	if before != nil {
		was = before.Version
		if before.Intent != nil {
			earlier = before.Intent.ID
		}
	}
	tx.put(grant, was)
	tx.schedule(string(grant.ID), store.GrantWork, workflow.GrantDue(grant, 0, 0, 0))
	var present countersign.IntentID
	if grant.Intent != nil {
		present = grant.Intent.ID
	}
	if earlier != "" && earlier != present {
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: store.Work{Key: string(earlier), Kind: store.DeliverWork}, Attempt: store.AnyAttempt, Delete: true})
	}
	if present != "" && tx.desk.byHand(grant.Step.Connector) != nil {
		if grant.Task == nil && grant.Parked == nil {
			tx.look(string(grant.ID), store.GrantWork, "task-"+string(present))
		}
	} else if present != "" && present != earlier {
		work := store.Work{Key: string(present), Kind: store.DeliverWork, Ref: string(grant.ID), DueAt: max(tx.now(), grant.Intent.NotBefore)}
		if tx.desk.BornLeased && work.DueAt == tx.now() && tx.desk.hasRoom(len(tx.born)) {
			work.Attempt, work.ClaimedAt, work.LeasedBy = 1, tx.now(), tx.desk.Replica
			work.LeaseUntil = tx.now().Add(Lease)
			work.DueAt = work.LeaseUntil
			tx.born = append(tx.born, work)
		}
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: store.AnyAttempt})
	}
	switch grant.State {
	case countersign.GrantProvisioning, countersign.GrantLive:
	case countersign.GrantRevoking, countersign.GrantRevoked:
		tx.stop = append(tx.stop, string(grant.ID))
	case countersign.GrantGone, countersign.GrantFailed:
		tx.gone = append(tx.gone, string(grant.ID))
	}
}

// put stores a row over the version that was read; a second state of the same
// row in one transaction replaces the first.
func (tx *transaction) put(row countersign.Row, was int64) {
	tx.change.Writes = put(tx.change.Writes, store.Write{Was: was, Row: row})
}

func put(writes []store.Write, write store.Write) []store.Write {
	for i := range writes {
		if writes[i].Row.RowKey() == write.Row.RowKey() {
			writes[i].Row = write.Row
			return writes
		}
	}
	return append(writes, write)
}

// schedule sets the next timer of a request or grant; due zero removes it.
func (tx *transaction) schedule(key string, kind store.WorkKind, due countersign.Instant) {
	write := store.WorkWrite{
		Work: store.Work{Key: key, Kind: kind, Ref: key, DueAt: due}, Attempt: store.AnyAttempt, Delete: due == 0,
	}
	for i := range tx.change.Work {
		if tx.change.Work[i].Work.Key == key {
			tx.change.Work[i] = write
			return
		}
	}
	tx.change.Work = append(tx.change.Work, write)
}

// look makes a request or grant due at once, beside its own timer: what happens
// to the thing itself moves that timer, and must not put off a look for a cause
// from outside. Each cause has a name of its own.
func (tx *transaction) look(id string, kind store.WorkKind, cause string) {
	tx.change.Work = append(tx.change.Work, store.WorkWrite{
		Work: store.Work{Key: id + "/" + cause, Kind: kind, Ref: id, DueAt: tx.now()}, Attempt: store.AnyAttempt,
	})
}

// looked settles a claimed timer of a request or grant: a look is done; its own
// timer goes on to due where nothing else moved it since the claim.
func (tx *transaction) looked(work store.Work, due countersign.Instant) {
	if work.Key != work.Ref {
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true})
		return
	}
	if tx.written(work.Ref) {
		return
	}
	next := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: due}
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: next, Attempt: work.Attempt, Delete: due == 0})
}

// written reports whether this transaction changes the row.
func (tx *transaction) written(key string) bool {
	return slices.ContainsFunc(tx.change.Writes, func(write store.Write) bool { return write.Row.RowKey() == key })
}

// load returns a request as this transaction leaves it.
func (tx *transaction) load(ctx context.Context, id countersign.RequestID) (*countersign.Request, error) {
	if request := tx.requests[id]; request != nil {
		return request, nil
	}
	return tx.read.Request(ctx, id)
}

// commit writes the transaction and makes its effects known in this process.
func (tx *transaction) commit(ctx context.Context) error {
	if err := tx.seal(ctx); err != nil {
		return err
	}
	tx.notify()
	tx.writeTickets()
	tx.change.Now = tx.now()
	for _, guard := range tx.guards {
		tx.change.Guards = append(tx.change.Guards, guard)
	}
	if len(tx.change.Events) == 0 && len(tx.change.Writes) == 0 && len(tx.change.Work) == 0 && tx.change.Idempotency == nil {
		return nil
	}
	if err := tx.desk.Store.Commit(ctx, tx.change); err != nil {
		var changed *store.Changed
		var taken *store.Duplicate
		if len(tx.stop) > 0 && !errors.As(err, &changed) && !errors.As(err, &taken) {
			tx.desk.unsure.Store(true)
		}
		return err
	}
	wrote(ctx, tx)
	tx.desk.lately.note(tx.change.Writes)
	if len(tx.stop) > 0 {
		tx.desk.Stop(false, tx.stop...)
	}
	if len(tx.gone) > 0 {
		tx.desk.Forget(false, tx.gone...)
	}
	for _, work := range tx.born {
		select {
		case tx.desk.newborn <- work:
		default: // the engine is busy; the item is claimed when its lease ends
		}
	}
	return nil
}
