package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Delivery is one operation that the engine carries out through a connector.
type Delivery struct {
	Work      store.Work
	Intent    countersign.Intent
	Connector string
	Task      connector.Task
	// Until is the end that was fixed with the claim.
	Until countersign.Instant

	request countersign.RequestID
	// finding is what access is taken away for that no grant gives; then the task names
	// no grant.
	finding countersign.FindingID
	// seen is what was looked at before the operation; nil where it does not serve to
	// report it.
	seen *looked
}

// Prepare turns a claimed intent into the task of a connector. Nil means that
// there is nothing to do any more: the intent was taken back, or what was
// approved may not be carried out today, and its end has begun.
func (d *Desk) Prepare(ctx context.Context, work store.Work) (*Delivery, error) {
	if countersign.PrefixOf(work.Ref) == "fnd" {
		return d.prepareRemoval(ctx, work)
	}
	var delivery *Delivery
	id := countersign.GrantID(work.Ref)
	err := d.attemptLooking(ctx, countersign.SystemTimer, foreseeDelivery(work), func(tx *transaction) error {
		delivery, tx.preparing = nil, work.Key
		grant, err := tx.read.Grant(ctx, id)
		if err != nil {
			return err
		}
		if grant.Parked != nil {
			return nil
		}
		if grant.Intent == nil || string(grant.Intent.ID) != work.Key {
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true})
			return nil
		}
		if grant.Intent.Operation == countersign.ExtendOperation {
			drop, err := tx.stopsExtension(ctx, grant)
			if err != nil {
				return err
			}
			if drop != "" {
				verdict := workflow.GrantVerdict{Standing: workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}, Drop: drop}
				return tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict)
			}
		}
		if grant.Intent.Operation == countersign.ApplyOperation {
			cause, why, err := tx.stopsFulfilment(ctx, grant)
			if err == nil && cause == "" && work.Attempt == 1 {
				cause, why, err = tx.adoptsNothing(ctx, grant)
			}
			if err == nil && cause == "" && grant.Issuing() {
				why, err = tx.rejected(ctx, grant.Rotating.Request)
			}
			if err != nil {
				return err
			}
			if grant.Issuing() && why != "" && (cause == "" || cause == postponed) {
				verdict := workflow.GrantVerdict{Standing: workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}, Drop: why}
				return tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict)
			}
			if cause == postponed {
				later := work
				later.DueAt, later.Reported, later.Trouble = tx.now().Add(countersign.Minute), true, why
				tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: later, Attempt: work.Attempt})
				return nil
			}
			if cause != "" {
				return tx.wake(ctx, grant, cause, why)
			}
		}
		holder := tx.directory.identities[grant.Holder]
		item, err := tx.directory.rightOf(grant.Entitlement)
		if err != nil {
			return err
		}
		delivery = &Delivery{Work: work, Intent: *grant.Intent, Connector: grant.Step.Connector, Task: d.task(holder, item, grant.Step), request: grant.Request}
		task := &delivery.Task
		if adopted := grant.Adopted; adopted != nil {
			task.Principal, task.Resource, task.Entitlement = adopted.Principal, adopted.Resource, adopted.Entitlement
		}
		// An end never waits for a policy set.
		if operation := grant.Intent.Operation; operation == countersign.ApplyOperation || operation == countersign.ExtendOperation {
			asked := grant.Request
			if grant.Issuing() {
				asked = grant.Rotating.Request
			}
			if task.Parameters, err = tx.parameters(ctx, asked); err != nil {
				return err
			}
			task.Bounds = tx.directory.bounds(grant.Terms, item)
			if task.TakesOver, err = tx.adopted(ctx, grant); err != nil {
				return err
			}
		}
		task.Intent, task.Attempt, task.Credential, task.Grant = grant.Intent.ID, work.Attempt, grant.Intent.Credential, grant.ID
		delivery.Until = workflow.ClaimedUntil(grant, work.ClaimedAt)
		onTime, err := tx.endsOnTime(ctx, grant)
		if err != nil {
			return err
		}
		if onTime && grant.Adopted == nil {
			// The target ends it by itself, too; but for the desk's own powers, whose
			// end can have to be put off.
			task.Until = delivery.Until
		}
		task.Deadline = work.ClaimedAt.Add(OperationTime)
		delivery.seen = tx.read.rows(grant)
		return nil
	})
	if err != nil {
		return nil, late(err)
	}
	return delivery, nil
}

// foreseeDelivery says what a delivery will ask of storage: the grant and its
// request, what a judgement before the access is given reads, and what the report
// is chained to.
func foreseeDelivery(work store.Work) foresight {
	return func(tx *transaction) store.Questions {
		var questions store.Questions
		was, known := tx.desk.lately.find(work.Ref)
		if was.gives {
			questions = tx.foreseeMatter(work.Ref, store.GuardHold(work.Ref))
		}
		id := countersign.GrantID(work.Ref)
		questions.GrantIDs, questions.Works, questions.Heads = []countersign.GrantID{id}, []string{work.Key}, []countersign.Stream{countersign.Stream(id)}
		switch {
		case !known:
			questions.RequestsOf = []countersign.GrantID{id}
		case was.request != "":
			questions.RequestIDs = []countersign.RequestID{was.request}
			questions.Heads = append(questions.Heads, countersign.Stream(was.request))
		}
		return questions
	}
}

// parameters returns what the connector is given of the answers to a request, by
// the policy set that routed it; nil for what nobody asked for.
func (tx *transaction) parameters(ctx context.Context, id countersign.RequestID) (map[string]string, error) {
	if id == "" {
		return nil, nil
	}
	request, err := tx.read.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	set, err := tx.desk.policySet(ctx, request.PolicySet)
	if err != nil {
		return nil, err
	}
	return set.Parameters(request.Type, request.Answers), nil
}

// postponed says that access is not given now and may be later.
const postponed = "postponed"

// stopsFulfilment judges once more, before access is given, whether it may be.
func (tx *transaction) stopsFulfilment(ctx context.Context, grant *countersign.Grant) (cause, why string, err error) {
	if m, err := tx.directory.matterOf(grant.Holder, grant.Holder, []countersign.EntitlementID{grant.Entitlement}); err == nil {
		if err := tx.read.look(ctx, tx.directory.questionsOf(m, store.GuardHold(string(grant.ID)))); err != nil {
			return "", "", err
		}
	}
	held, err := tx.heldOn(ctx, grant)
	if err != nil {
		return "", "", err
	}
	holder := tx.directory.identities[grant.Holder]
	switch {
	case held:
		return postponed, "A hold is in force.", nil
	case holder == nil || left(holder, tx.now()):
		return workflow.CauseHolderLeft, "The holder has left.", nil
	case !holder.ActiveAt(tx.now()) && grant.State == countersign.GrantLive:
		// A suspension can be lifted, and what is live goes on then.
		return postponed, "The holder is suspended.", nil
	case !holder.ActiveAt(tx.now()):
		return workflow.CauseRejected, "The holder is not active.", nil
	case grant.LatestEnd != 0 && tx.now() >= grant.LatestEnd:
		return workflow.CauseExpired, "The latest end that was allowed has passed.", nil
	case grant.State != countersign.GrantProvisioning:
		return "", "", nil
	case grant.Birthright != nil:
		why, err = tx.stopsBirthright(ctx, grant, holder)
	case grant.Request == "":
		return "", "", nil
	default:
		why, err = tx.rejected(ctx, grant.Request)
	}
	if err != nil || why == "" {
		return "", "", err
	}
	return workflow.CauseRejected, why, nil
}

// stopsExtension judges once more, before the end is moved, whether it may be.
func (tx *transaction) stopsExtension(ctx context.Context, grant *countersign.Grant) (string, error) {
	held, err := tx.heldOn(ctx, grant)
	switch {
	case err != nil:
		return "", err
	case held:
		return "A hold is in force.", nil
	}
	return tx.rejected(ctx, grant.Extending.Request)
}

// rejected says why an approved request may not be carried out today, or "".
func (tx *transaction) rejected(ctx context.Context, id countersign.RequestID) (string, error) {
	request, err := tx.read.Request(ctx, id)
	if err != nil {
		return "", err
	}
	for _, stage := range request.Stages {
		for _, decision := range stage.Decisions {
			people := []countersign.IdentityID{decision.By}
			for _, standing := range decision.Standing {
				people = append(people, standing.Seat())
			}
			for _, id := range people {
				if approver := tx.directory.identities[id]; approver == nil || !approver.ActiveAt(tx.now()) {
					return "Somebody who approved this is not active any more.", nil
				}
			}
		}
	}
	m, err := tx.directory.matterOf(request.Requester, request.Beneficiary, request.Entitlements)
	if err != nil {
		return "", err
	}
	same := tx.directory.onePerson(m, request.SamePerson)
	if request.KeptOutDecider(same) != "" {
		return "Somebody who approved this counts by now as one person with who asked or is to have it.", nil
	}
	r := tx.resolver(m, request.Type)
	for id := range tx.directory.redefined(request) {
		return fmt.Sprintf("%s means something else by now than what was approved.", tx.directory.entitlementRef(id).Name), nil
	}
	if added, err := tx.newStages(ctx, request, r); err != nil {
		return "", err
	} else if len(added) > 0 {
		return neverAsked(request, added), nil
	}
	_, refusals, err := tx.recheck(ctx, request, r, same)
	if err != nil || len(refusals) == 0 {
		return "", err
	}
	return refusals[0].Because, nil
}

// wake ends a grant for a cause that desk found.
func (tx *transaction) wake(ctx context.Context, grant *countersign.Grant, cause, why string) error {
	verdict := workflow.GrantVerdict{
		Standing: workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}},
		EndCause: cause, EndReason: why,
	}
	return tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict)
}

// Observe records what was read back after an operation. A report that comes
// too late to count changes nothing; when a newer operation waited for it, that
// one starts at once.
func (d *Desk) Observe(ctx context.Context, delivery *Delivery, observation countersign.Observation) error {
	if delivery.finding != "" {
		return d.observeRemoval(ctx, delivery, observation)
	}
	seen := delivery.seen
	err := d.attemptSeen(ctx, countersign.SystemDelivery, seen, delivery.foresee, func(tx *transaction) error {
		old := seen != nil
		seen = nil
		grant, err := tx.read.Grant(ctx, delivery.Task.Grant)
		if err != nil {
			return err
		}
		if grant.Intent == nil || grant.Intent.ID != delivery.Intent.ID {
			tx.release(grant, delivery)
			return nil
		}
		observation.ID = tx.occasion.Mint.Observation()
		observation.Intent, observation.Attempt, observation.Credential = delivery.Intent.ID, delivery.Work.Attempt, delivery.Intent.Credential
		observation.At = tx.now()
		command := workflow.GrantCommand{
			Name: workflow.Observe, Intent: delivery.Intent.ID, Attempt: delivery.Work.Attempt, Observation: observation, Until: delivery.Until,
		}
		standing := workflow.Standing{Actor: countersign.SystemDelivery, Roles: []workflow.Role{workflow.Delivery}}
		err = tx.decideGrant(ctx, grant, command, workflow.GrantVerdict{Standing: standing})
		if old && !tx.written(string(grant.ID)) {
			// What nothing guards is not told by what was seen before the operation.
			return &store.Changed{Key: string(grant.ID)}
		}
		if err != nil {
			return err
		}
		// A late duplicate loses here: only the last claim may settle an intent.
		tx.guardClaim(delivery.Work)
		return nil
	})
	return late(err)
}

// foresee says what a report of the delivery will ask of storage.
func (d *Delivery) foresee(*transaction) store.Questions {
	questions := store.Questions{
		GrantIDs: []countersign.GrantID{d.Task.Grant}, Works: []string{string(d.Intent.ID)}, Heads: []countersign.Stream{countersign.Stream(d.Task.Grant)},
	}
	if d.request != "" {
		questions.RequestIDs = []countersign.RequestID{d.request}
		questions.Heads = append(questions.Heads, countersign.Stream(d.request))
	}
	return questions
}

// late turns the loss of a race for a claim into silence: somebody else has
// settled the work, or will.
func late(err error) error {
	var changed *store.Changed
	if errors.As(err, &changed) {
		return nil
	}
	return err
}

// release starts the operation that waited for this one to end.
func (tx *transaction) release(grant *countersign.Grant, delivery *Delivery) {
	if grant.Intent == nil || grant.Intent.After != delivery.Intent.ID || grant.Intent.AfterAttempt != delivery.Work.Attempt {
		return
	}
	tx.change.Work = append(tx.change.Work, store.WorkWrite{
		Work: store.Work{Key: string(grant.Intent.ID), Kind: store.DeliverWork, Ref: string(grant.ID), DueAt: tx.now()}, Attempt: 0,
	})
}

// Release undoes a first claim whose operation its holder has not begun. A
// later claim keeps its number and its lease: an earlier one may still be at work.
func (d *Desk) Release(ctx context.Context, work store.Work) error {
	tx, err := d.begin(ctx, countersign.SystemDelivery)
	if err != nil {
		return err
	}
	if work.Attempt != 1 {
		return nil
	}
	// A moment later, so that what waits for a busy target does not come first
	// again and again.
	fresh := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: tx.now().Add(firstBackoff)}
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: fresh, Attempt: work.Attempt})
	return late(tx.commit(ctx))
}

// Bounds of retrying, in seconds and attempts.
const (
	firstBackoff = 2 * countersign.Seconds(1)
	maxBackoff   = 5 * countersign.Minute
	// parkAfter is how many failed attempts an apply may take before a person is
	// named: some nine minutes of waiting, and the time that the attempts took.
	parkAfter = 9
)

func backoff(attempt int) countersign.Seconds {
	wait := firstBackoff
	for i := 1; i < attempt && wait < maxBackoff; i++ {
		wait *= 2
	}
	return min(wait, maxBackoff)
}

// troubleOf is a connector's error as it may stay on the record: short, and
// without what looks like a secret.
func troubleOf(cause error) string {
	const most = 500
	text := cause.Error()
	if shape := countersign.SecretShape(text); shape != "" {
		return "the connector's message is not kept, because it looks like " + shape
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Fail records that an operation did not end in what was asked. It is tried
// again after a while; an apply that the target rejects, or that failed too
// often, is parked with the system's owner named. A revoke is tried for ever.
func (d *Desk) Fail(ctx context.Context, delivery *Delivery, cause error) error {
	var failure *connector.Failure
	kind, after := connector.Transient, countersign.Seconds(0)
	if errors.As(cause, &failure) {
		kind, after = failure.Kind, failure.After
	}
	err := d.attempt(ctx, countersign.SystemDelivery, func(tx *transaction) error {
		if delivery.finding != "" {
			tx.tryAgain(delivery.Work, cause, after)
			return nil
		}
		grant, err := d.Store.Grant(ctx, delivery.Task.Grant)
		if err != nil {
			return err
		}
		if grant.Intent == nil || grant.Intent.ID != delivery.Intent.ID {
			// After a transient failure something may still be on its way.
			if kind != connector.Transient {
				tx.release(grant, delivery)
			}
			return nil
		}
		work := delivery.Work
		work.Trouble = troubleOf(cause)
		// After a transient failure the effect may have happened, or may still; and a
		// later attempt knows nothing of what an earlier one left.
		work.Reported = kind != connector.Transient && work.Attempt == 1
		work.DueAt = tx.now().Add(max(backoff(work.Attempt), after))
		if gives(delivery.Intent.Operation) && (kind == connector.Rejected || work.Attempt >= parkAfter) {
			if work.Reported {
				tx.reported = work.Key
			}
			return tx.park(ctx, grant, work, work.Trouble, work.Trouble)
		}
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt})
		return nil
	})
	return late(err)
}
