package desk

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/reconcile"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// A target is read through its connector by the engine, and compared here with the
// live grants. What differs becomes a finding that a person has to look at: it ends
// nothing. A list that was cut short is no list, and says nothing of what it lacks.

const (
	// ReconcileLease is how long a claim to read a target lasts, and ListTime how long
	// a target may take to list what it holds.
	ReconcileLease = 10 * countersign.Minute
	ListTime       = 5 * countersign.Minute
	// reconcileEvery is how often a target is read where nothing else is configured.
	reconcileEvery = countersign.Day
	// findingTime is by when a finding should have been dealt with.
	findingTime = 7 * countersign.Day
	// mostFindings is how many findings of one system are open at a time; what is
	// beyond is counted.
	mostFindings = 1000
	// findingsAtOnce share a commit.
	findingsAtOnce = 100
	// grantPage is how many grants are read at a time.
	grantPage = 500
)

// reconcileKey is the key of the work that reads a system's target.
func reconcileKey(system countersign.SystemID) string { return "reconcile/" + string(system) }

// every is how often the system is read.
func (d *Desk) every(system *countersign.System) countersign.Seconds {
	if d.ReconcileEvery != nil {
		if every := d.ReconcileEvery(system.Name); every > 0 {
			return every
		}
	}
	return reconcileEvery
}

// inventory returns what lists the system's target; nil where it is looked after by
// hand.
func (d *Desk) inventory(system *countersign.System) connector.Inventory {
	hands, err := d.Connectors.Find(system.Connector)
	if err != nil || system.Retired {
		return nil
	}
	lists, _ := hands.(connector.Inventory)
	return lists
}

// Reconciling is one reading of a target.
type Reconciling struct {
	*reconcile.Comparison
	Target connector.Inventory
	Scope  connector.Scope

	work      store.Work
	system    *countersign.System
	directory *snapshot
	began     countersign.Instant
	// grants are those that had not ended when the reading began.
	grants map[countersign.GrantID]*countersign.Grant
	// unsettled are those of which this reading proves nothing.
	unsettled map[countersign.GrantID]bool
	live      map[countersign.Origin]int
	legacy    int
	expired   int
}

// PrepareReconciliation reads what the record says of the system that claimed work
// is about. Nil means that there is nothing to read any more.
func (d *Desk) PrepareReconciliation(ctx context.Context, work store.Work) (*Reconciling, error) {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return nil, err
	}
	system := tx.directory.systems[countersign.SystemID(work.Ref)]
	if system == nil || d.inventory(system) == nil {
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true})
		return nil, late(tx.commit(ctx))
	}
	r, err := tx.reading(ctx, system)
	if err == nil {
		r.work = work
	}
	return r, err
}

// reading begins a reading of a system's target with what the record says of it.
func (tx *transaction) reading(ctx context.Context, system *countersign.System) (*Reconciling, error) {
	d := tx.desk
	r := &Reconciling{
		system: system, directory: tx.directory, began: tx.now(), Target: d.inventory(system),
		grants: map[countersign.GrantID]*countersign.Grant{}, unsettled: map[countersign.GrantID]bool{}, live: map[countersign.Origin]int{},
	}
	r.Scope = connector.Scope{System: r.system.ID, SystemName: r.system.Name, Settings: r.system.Settings}
	var granted []reconcile.Granted
	query := store.GrantQuery{System: r.system.ID, States: unended, Limit: grantPage}
	for {
		page, err := d.Store.Grants(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, grant := range page {
			granted = append(granted, r.expect(grant)...)
		}
		if len(page) < grantPage {
			break
		}
		query.Before = page[len(page)-1].ID
	}
	r.Comparison = reconcile.New(standings{r.directory, r.began}, granted, r.began)
	return r, nil
}

var unended = []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive, countersign.GrantRevoking, countersign.GrantRevoked}

// expect says what the target should hold for the grant.
func (r *Reconciling) expect(grant *countersign.Grant) []reconcile.Granted {
	settled := r.settled(grant)
	r.grants[grant.ID] = grant
	if !settled {
		r.unsettled[grant.ID] = true
	}
	if grant.State == countersign.GrantLive {
		r.live[grant.Origin]++
		if grant.Until != 0 && grant.Until <= r.began {
			r.expired++
		}
	}
	if grant.Origin == countersign.FromBaseline {
		r.legacy++
	}
	resource, entitlement, principal := "", "", ""
	if item, err := r.directory.rightOf(grant.Entitlement); err == nil {
		resource, entitlement = item.resource.Name, item.entitlement.Name
	}
	if adopted := grant.Adopted; adopted != nil {
		resource, entitlement, principal = adopted.Resource, adopted.Entitlement, adopted.Principal
	}
	var granted []reconcile.Granted
	for _, credential := range grant.Credentials {
		if credential.State == countersign.CredentialGone {
			continue
		}
		granted = append(granted, reconcile.Granted{
			Grant: grant.ID, Credential: credential.ID, Holder: grant.Holder, Resource: resource, Entitlement: entitlement, Principal: principal,
			Settled: settled && credential.State == countersign.CredentialLive && (credential.RetireAt == 0 || credential.RetireAt > r.settledUntil()),
		})
	}
	return granted
}

// settled says that nothing which is under way can change what the target holds for
// the grant while it is read, and that it does not end by itself meanwhile.
func (r *Reconciling) settled(grant *countersign.Grant) bool {
	return grant.State == countersign.GrantLive && grant.Intent == nil && grant.Extending == nil && grant.Step.Connector == r.system.Connector &&
		(grant.Until == 0 || grant.Until > r.settledUntil())
}

// standings implements reconcile.Directory.
type standings struct {
	*snapshot
	now countersign.Instant
}

// Find takes an id or a login: an e-mail address alone links nobody.
func (s standings) Find(principal string) countersign.IdentityID {
	if s.identities[countersign.IdentityID(principal)] != nil {
		return countersign.IdentityID(principal)
	}
	handle, err := countersign.NewHandle(countersign.Login, "", principal)
	if err != nil {
		return ""
	}
	return s.handles[handle.Key()]
}

func (s standings) Standing(id countersign.IdentityID) reconcile.Standing {
	identity := s.identities[id]
	if identity == nil || left(identity, s.now) {
		return reconcile.Standing{}
	}
	standing := reconcile.Standing{Active: true}
	if !identity.Human() {
		owner := s.identities[identity.Owner]
		standing.Unowned = owner == nil || left(owner, s.now)
	}
	return standing
}

// CompleteReconciliation takes a list that was read to its end: it adopts what a signed
// baseline says, opens and closes findings, and says when the target is read next. Who
// lost the claim leaves the rest to whoever has it now.
func (d *Desk) CompleteReconciliation(ctx context.Context, r *Reconciling) error {
	return r.unlessLost(d.completeReconciliation(ctx, r))
}

// unlessLost turns the loss of the reading's claim into silence.
func (r *Reconciling) unlessLost(err error) error {
	var changed *store.Changed
	if errors.As(err, &changed) && changed.Key == r.work.Key {
		return nil
	}
	return err
}

func (d *Desk) completeReconciliation(ctx context.Context, r *Reconciling) error {
	differences, err := d.confirmed(ctx, r)
	if err != nil {
		return err
	}
	adopted, differences, err := d.adoptBaseline(ctx, r, differences)
	if err != nil {
		return err
	}
	open, err := d.Store.Findings(ctx, store.FindingQuery{Systems: []countersign.SystemID{r.system.ID}})
	if err != nil {
		return err
	}
	known := make(map[reconcile.Key]bool, len(open))
	for _, finding := range open {
		known[reconcile.KeyOf(finding)] = true
	}
	result := countersign.Comparison{List: r.List(), Live: []countersign.OriginCount{}, Differences: []countersign.KindCount{}, Expired: r.expired}
	result.Accounts, result.Pairs, result.Ours, result.Unsettled = r.Counts()
	result.Ours, result.Legacy = result.Ours+adopted, r.legacy+adopted
	if adopted > 0 {
		r.live[countersign.FromBaseline] += adopted
	}
	for _, origin := range slices.Sorted(maps.Keys(r.live)) {
		result.Live = append(result.Live, countersign.OriginCount{Origin: origin, Count: r.live[origin]})
	}
	seen, kinds := map[reconcile.Key]bool{}, map[countersign.FindingKind]int{}
	var opening []reconcile.Difference
	for _, difference := range differences {
		key := difference.Key()
		seen[key] = true
		kinds[difference.Kind]++
		if !known[key] {
			opening = append(opening, difference)
		}
	}
	for _, kind := range countersign.FindingKinds {
		if kinds[kind] > 0 {
			result.Differences = append(result.Differences, countersign.KindCount{Kind: kind, Count: kinds[kind]})
		}
	}
	var closing []*countersign.Finding
	for _, finding := range open {
		// Of a grant that is on its way this list proves nothing.
		if !seen[reconcile.KeyOf(finding)] && !r.unsettled[finding.Grant] {
			closing = append(closing, finding)
		}
	}
	room := max(0, mostFindings-len(open)+len(closing))
	result.Beyond = max(0, len(opening)-room)
	opening = opening[:len(opening)-result.Beyond]
	result.Opened, result.Closed = len(opening), len(closing)
	for some := range slices.Chunk(closing, findingsAtOnce) {
		if err := d.commitReading(ctx, r, func(tx *transaction) error {
			for _, finding := range some {
				closed := &workflow.FindingClosed{}
				closed.Change.List = result.List
				if err := tx.closeFinding(ctx, finding.ID, closed); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(opening, findingsAtOnce) {
		if err := d.commitReading(ctx, r, func(tx *transaction) error {
			for _, difference := range some {
				if err := tx.finding(nil, tx.occasion.Mint.Finding(), r.opened(difference, result.List, tx.now())); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return d.commitReading(ctx, r, func(tx *transaction) error {
		completed := &workflow.ReconciliationCompleted{}
		completed.Change.System, completed.Change.ReadAt, completed.Change.Owner, completed.Change.Comparison = r.system.ID, r.began, r.owner(), result
		next := store.Work{Key: r.work.Key, Kind: store.ReconcileWork, Ref: r.work.Ref, DueAt: r.began.Add(d.every(r.system))}
		before, err := tx.reconciliationOf(ctx, r.system.ID)
		if err != nil {
			return err
		}
		if before != nil {
			completed.Change.Overdue = overdueSince(before.ReadAt, r.began, open, closing)
		}
		if before != nil && before.Baseline.Pending() {
			// It was signed while the target was read.
			next.DueAt = tx.now()
		}
		return tx.reconciliation(r, before, completed, next)
	})
}

// commitReading runs one part of what a list led to. Each part stands for itself:
// what a process that died did not get to is found by the next list. A claim that was
// lost meanwhile loses with its next part, and what it began anew lasts from here on.
func (d *Desk) commitReading(ctx context.Context, r *Reconciling, body func(*transaction) error) error {
	work := r.work
	err := d.attempt(ctx, countersign.SystemTimer, func(tx *transaction) error {
		if err := body(tx); err != nil {
			return err
		}
		if !slices.ContainsFunc(tx.change.Work, func(write store.WorkWrite) bool { return write.Work.Key == work.Key }) {
			work.LeaseUntil = tx.now().Add(ReconcileLease)
			work.DueAt = work.LeaseUntil
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt})
		}
		return nil
	})
	r.work = work
	return err
}

// confirmed takes a second look at the record for what the list could differ from
// only because something happened while it was read.
func (d *Desk) confirmed(ctx context.Context, r *Reconciling) ([]reconcile.Difference, error) {
	var confirmed []reconcile.Difference
	for _, difference := range r.Differences() {
		if difference.Grant != "" {
			now, err := d.Store.Grant(ctx, difference.Grant)
			if err != nil {
				return nil, err
			}
			if now.Version != r.grants[difference.Grant].Version {
				r.unsettled[difference.Grant] = true
				continue
			}
		}
		if difference.Unmarkable && difference.Holder != "" {
			given, err := d.givenMeanwhile(ctx, r, difference)
			if err != nil {
				return nil, err
			}
			if given {
				continue
			}
		}
		confirmed = append(confirmed, difference)
	}
	return confirmed, nil
}

// givenMeanwhile reports whether a grant by now gives what no grant did.
func (d *Desk) givenMeanwhile(ctx context.Context, r *Reconciling, difference reconcile.Difference) (bool, error) {
	entitlement := r.directory.findEntitlement(r.system.Name + "/" + difference.Resource + "/" + difference.Entitlement)
	if entitlement == nil {
		return false, nil
	}
	ids, err := d.Store.GrantIDs(ctx, store.GrantQuery{Holders: []countersign.IdentityID{difference.Holder}, Entitlement: entitlement.ID, States: unended, Limit: 1})
	return len(ids) > 0, err
}

// settledUntil is when whatever the list says has been read for sure.
func (r *Reconciling) settledUntil() countersign.Instant {
	return r.began.Add(ListTime + countersign.Minute)
}

// owner is who answers for the system now, as far as somebody does.
func (r *Reconciling) owner() countersign.IdentityID {
	for _, id := range []countersign.IdentityID{r.system.Owner, r.system.SecondOwner} {
		if identity := r.directory.identities[id]; identity != nil && identity.ActiveAt(r.began) {
			return id
		}
	}
	return r.system.Owner
}

func (r *Reconciling) opened(difference reconcile.Difference, list countersign.Digest, now countersign.Instant) *workflow.FindingOpened {
	return &workflow.FindingOpened{
		Change: workflow.FindingOpenedChange{
			Kind: difference.Kind, System: r.system.ID, Owner: r.owner(), Deadline: now.Add(findingTime), Holder: difference.Holder,
			Resource: difference.Resource, Entitlement: difference.Entitlement, Credential: difference.Credential, Grant: difference.Grant, List: list,
		},
		Subject: &workflow.FindingSubject{Principal: difference.Principal},
	}
}

// closeFinding closes a finding unless it is closed by now.
func (tx *transaction) closeFinding(ctx context.Context, id countersign.FindingID, closed *workflow.FindingClosed) error {
	finding, err := tx.read.Finding(ctx, id)
	if err != nil || finding.State != countersign.FindingOpen {
		return err
	}
	if finding.Removal != nil && !finding.Removal.ByHand {
		if closed.Change.Because != "" {
			// No list showed it gone: what is being taken away goes on until it is.
			return nil
		}
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: store.Work{Key: store.RemovalKey(finding), Kind: store.DeliverWork}, Attempt: store.AnyAttempt, Delete: true})
	}
	return tx.finding(finding, id, closed)
}

// finding writes one event of a finding.
func (tx *transaction) finding(before *countersign.Finding, id countersign.FindingID, payload countersign.Payload) error {
	var was int64
	if before != nil {
		was, before = before.Version, workflow.Copy(before)
	}
	stream := countersign.Stream(id)
	after, err := workflow.ApplyFinding(before, workflow.Stamp{Stream: stream, Seq: was + 1, Time: tx.now(), Actor: tx.occasion.Actor}, payload)
	if err != nil {
		return err
	}
	tx.put(after, was)
	tx.events = append(tx.events, countersign.Event{Stream: stream, Payload: payload})
	return nil
}

// FailReconciliation puts off the reading of a target that did not give a whole
// list. That it began to fail is an event; that it goes on is not.
func (d *Desk) FailReconciliation(ctx context.Context, r *Reconciling, cause error) error {
	// It stands in a table: one line.
	trouble := strings.Join(strings.Fields(troubleOf(cause)), " ")
	return r.unlessLost(d.commitReading(ctx, r, func(tx *transaction) error {
		next := r.work
		next.DueAt, next.Reported, next.Trouble = tx.now().Add(max(countersign.Minute, backoff(r.work.Attempt))), true, trouble
		before, err := tx.reconciliationOf(ctx, r.system.ID)
		if err != nil {
			return err
		}
		if before != nil && before.FailingSince != 0 {
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: next, Attempt: r.work.Attempt})
			return nil
		}
		failed := &workflow.ReconciliationFailed{Reason: &workflow.Reason{Text: trouble}}
		failed.Change.System, failed.Change.Owner = r.system.ID, r.owner()
		return tx.reconciliation(r, before, failed, next)
	}))
}

// reconciliation writes one event of a system's reconciliation, with its next work.
// A claim that was lost meanwhile loses here.
func (tx *transaction) reconciliation(r *Reconciling, before *countersign.Reconciliation, payload countersign.Payload, next store.Work) error {
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: next, Attempt: r.work.Attempt})
	return tx.reconciled(before, payload)
}

// reconciled writes one event of a system's reconciliation.
func (tx *transaction) reconciled(before *countersign.Reconciliation, payload countersign.Payload) error {
	id, was := tx.occasion.Mint.Reconciliation(), int64(0)
	if before != nil {
		id, was, before = before.ID, before.Version, workflow.Copy(before)
	}
	stream := countersign.Stream(id)
	after, err := workflow.ApplyReconciliation(before, workflow.Stamp{Stream: stream, Seq: was + 1, Time: tx.now(), Actor: tx.occasion.Actor}, payload)
	if err != nil {
		return err
	}
	tx.put(after, was)
	tx.events = append(tx.events, countersign.Event{Stream: stream, Payload: payload})
	return nil
}

// reconciliationOf returns how the system stands, nil where it was never read.
func (tx *transaction) reconciliationOf(ctx context.Context, system countersign.SystemID) (*countersign.Reconciliation, error) {
	all, err := tx.desk.Store.Reconciliations(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if one.System == system {
			return one, nil
		}
	}
	return nil, nil
}
