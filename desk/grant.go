package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Revoke ends a grant because somebody says so: checks refuse when this returns,
// and the target is read back afterwards.
func (d *Desk) Revoke(ctx context.Context, caller Caller, key Key, id countersign.GrantID, reason string) error {
	return d.onGrant(toStop(ctx), caller, key, id, workflow.GrantCommand{Name: workflow.Revoke, Reason: reason})
}

// Rotate adds a credential to a grant and ends the older ones after the overlap,
// in seconds.
func (d *Desk) Rotate(ctx context.Context, caller Caller, key Key, id countersign.GrantID, overlap countersign.Seconds, reason string) error {
	return d.onGrant(ctx, caller, key, id, workflow.GrantCommand{Name: workflow.Rotate, Overlap: overlap, Reason: reason})
}

// Retry puts a parked operation back to work.
func (d *Desk) Retry(ctx context.Context, caller Caller, key Key, id countersign.GrantID) error {
	return d.onGrant(ctx, caller, key, id, workflow.GrantCommand{Name: workflow.Retry})
}

// onGrant runs one command of a person on a grant.
func (d *Desk) onGrant(ctx context.Context, caller Caller, key Key, id countersign.GrantID, command workflow.GrantCommand) error {
	if err := checkReason(command.Reason); err != nil {
		return err
	}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		grant, err := d.Store.Grant(ctx, id)
		if countersign.KindOf(err) == countersign.NotFound {
			return "", notFound("grant", string(id))
		}
		if err != nil {
			return "", err
		}
		standing, err := tx.standOnGrant(ctx, grant)
		if err != nil {
			return "", err
		}
		if !standing.HasAny(workflow.Requester, workflow.Beneficiary, workflow.Accountable, workflow.SystemOwner, workflow.Administrator, workflow.Auditor) {
			return "", notFound("grant", string(id))
		}
		if tx.match != nil {
			if err := tx.match(grant.Version); err != nil {
				return "", err
			}
		}
		if command.Name != workflow.Revoke {
			if err := tx.checkHolder(ctx, grant); err != nil {
				return "", err
			}
		}
		verdict := workflow.GrantVerdict{Standing: standing}
		if command.Name == workflow.Rotate {
			if verdict.RotatedBy, err = tx.rotatedBy(grant); err != nil {
				return "", err
			}
			tx.relyOnPolicy()
			if verdict.RotatedBy == "" && d.needsAnswers(grant) {
				return "", countersign.Errorf(countersign.Refused, "rotation-needs-answers", "The connector %q makes each credential from something new that its holder sends, which this command does not bring: it takes a request.", grant.Step.Connector)
			}
		}
		return string(id), tx.decideGrant(ctx, grant, command, verdict)
	})
	return err
}

// needsAnswers reports whether another credential of the grant could not be made
// from the answers that the first one was made from.
func (d *Desk) needsAnswers(grant *countersign.Grant) bool {
	hands, err := d.Connectors.Find(grant.Step.Connector)
	return err == nil && hands.Describe().ParametersOnce
}

// checkHolder refuses what would give more to a holder who may hold nothing.
func (tx *transaction) checkHolder(ctx context.Context, grant *countersign.Grant) error {
	holder := tx.directory.identities[grant.Holder]
	if holder == nil || !holder.ActiveAt(tx.now()) {
		return countersign.Errorf(countersign.Refused, "inactive", "The holder of this grant is not active.")
	}
	tx.relyOn(holder)
	if !holder.Human() {
		owner := tx.directory.identities[holder.Owner]
		if owner == nil || !owner.ActiveAt(tx.now()) {
			return countersign.Errorf(countersign.Refused, "unowned", "Nobody active answers for %s: it gets nothing until somebody does.", holder.Name)
		}
		tx.relyOn(owner)
	}
	held, err := tx.heldOn(ctx, grant)
	if err == nil && held {
		err = countersign.Errorf(countersign.Refused, "held", "A hold is in force on the holder, the system, the entitlement or the grant.")
	}
	return err
}

// heldOn reports whether a hold is in force on the grant, its holder, its system
// or its entitlement.
func (tx *transaction) heldOn(ctx context.Context, grant *countersign.Grant) (bool, error) {
	ids := []string{string(grant.ID), string(grant.Holder), string(grant.System), string(grant.Entitlement)}
	if err := tx.lookForHolds(ctx, ids...); err != nil {
		return false, err
	}
	return slices.ContainsFunc(ids, tx.desk.heldNow), nil
}

// standOnGrant says as what the actor stands to a grant.
func (tx *transaction) standOnGrant(ctx context.Context, grant *countersign.Grant) (workflow.Standing, error) {
	standing := workflow.Standing{Actor: tx.occasion.Actor}
	requester := grant.Holder
	if grant.Requester != "" {
		requester = grant.Requester
	}
	m, err := tx.directory.matterOf(requester, grant.Holder, []countersign.EntitlementID{grant.Entitlement})
	if err != nil {
		return standing, err
	}
	standing.Roles = tx.roles(m, tx.occasion.Actor)
	return standing, nil
}

// decideGrant judges a command on a grant and writes what it causes, on the
// grant and on the request that it belongs to. It carries the guard of the
// grant's own row, and of the claim of its operation.
func (tx *transaction) decideGrant(ctx context.Context, grant *countersign.Grant, command workflow.GrantCommand, verdict workflow.GrantVerdict) error {
	verdict.Lease = Lease
	hands, err := tx.desk.Connectors.Find(grant.Step.Connector)
	if err == nil {
		verdict.Rotates = hands.Describe().Rotates && grant.Adopted == nil
	}
	claimed, err := tx.claim(ctx, grant)
	if err != nil {
		return err
	}
	switch {
	case claimed.Key != tx.preparing:
		verdict.Flight = workflow.Flight{Claimed: claimed.Attempt > 0, Reported: claimed.Reported || claimed.Key == tx.reported && claimed.Key != "", Attempt: claimed.Attempt, LeaseUntil: claimed.LeaseUntil}
	case claimed.Attempt > 1:
		// What this very transaction prepares has not begun; of an earlier attempt
		// nobody can tell any more whether it was settled.
		verdict.Flight = workflow.Flight{Claimed: true, Attempt: claimed.Attempt - 1}
	}
	outcome, err := workflow.DecideGrant(tx.occasion, grant, command, verdict)
	if err != nil || len(outcome.Events) == 0 {
		return err
	}
	tx.write(outcome, nil, grant)
	tx.guardClaim(claimed)
	after := outcome.Grants[0]
	if grant.Extending != nil && after.Extending == nil {
		progress := workflow.RequestCommand{Name: workflow.Progress, Grant: grant.ID, GrantState: after.State}
		if command.Name != workflow.Observe {
			progress.Reason = "the extension was dropped"
		}
		if err := tx.progressChange(ctx, grant.Extending.Request, progress); err != nil {
			return err
		}
	}
	if step := workflow.StepOfRotation(grant, after); step != "" {
		progress := workflow.RequestCommand{Name: workflow.Progress, Grant: grant.ID, GrantState: after.State, Rotation: step}
		for _, event := range outcome.Events {
			if dropped, ok := event.Payload.(*workflow.RotationDropped); ok {
				progress.Reason = dropped.Reason.Text
			}
		}
		if err := tx.progressChange(ctx, grant.Rotating.Request, progress); err != nil {
			return err
		}
	}
	if command.Name == workflow.Retry && claimed.Key != "" {
		// The count of attempts goes on, so that a late report of an old one loses.
		work := claimed
		work.DueAt, work.ParkedAt, work.Trouble = tx.now(), 0, ""
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: claimed.Attempt})
	}
	if after.State == grant.State {
		return nil
	}
	assigned := tx.directory.entitlements[grant.Entitlement]
	if tx.directory.isPower(grant) || assigned != nil && assigned.EligibleFor != "" {
		// Whoever acts by this power or eligible assignment looks again.
		if err := tx.bump(ctx, grant.Holder); err != nil {
			return err
		}
	}
	if grant.Request == "" {
		return nil
	}
	return tx.progress(ctx, after)
}

// claim returns the work item of the grant's present operation, zero if there is
// none.
func (tx *transaction) claim(ctx context.Context, grant *countersign.Grant) (store.Work, error) {
	if grant.Intent == nil {
		return store.Work{}, nil
	}
	work, err := tx.read.Work(ctx, string(grant.Intent.ID))
	if countersign.KindOf(err) == countersign.NotFound {
		return store.Work{}, nil
	}
	return work, err
}

// guardClaim makes taking back an operation depend on its claim being what the
// verdict saw: a claim in between asks for another look.
func (tx *transaction) guardClaim(claimed store.Work) {
	for i := range tx.change.Work {
		if write := &tx.change.Work[i]; write.Delete && claimed.Key != "" && write.Work.Key == claimed.Key {
			write.Attempt = claimed.Attempt
		}
	}
}

// progress tells the request what became of its grant, in the same commit.
func (tx *transaction) progress(ctx context.Context, grant *countersign.Grant) error {
	request, err := tx.load(ctx, grant.Request)
	if countersign.KindOf(err) == countersign.Internal || countersign.KindOf(err) == countersign.NotFound {
		// A request that cannot be read keeps no access from ending.
		tx.look(string(grant.Request), store.RequestWork, "grant-"+string(grant.ID))
		return nil
	}
	if err != nil || request.State.Final() {
		return err
	}
	verdict := workflow.RequestVerdict{Standing: workflow.Standing{Actor: countersign.SystemDelivery, Roles: []workflow.Role{workflow.Delivery}}}
	verdict.Owed = tx.owed(ctx, request)
	verdict.Rungs = tx.reviewRungs(ctx, request)
	outcome, err := workflow.DecideRequest(tx.occasion, request, workflow.RequestCommand{Name: workflow.Progress, Grant: grant.ID, GrantState: grant.State}, verdict)
	if err != nil || len(outcome.Events) == 0 {
		return err
	}
	tx.write(outcome, request)
	return nil
}

// progressChange tells a request for a later end or another credential what became
// of it.
func (tx *transaction) progressChange(ctx context.Context, id countersign.RequestID, progress workflow.RequestCommand) error {
	request, err := tx.load(ctx, id)
	if kind := countersign.KindOf(err); kind == countersign.Internal || kind == countersign.NotFound {
		// A request that cannot be read keeps no access from ending.
		return nil
	}
	if err != nil || request.State.Final() {
		return err
	}
	verdict := workflow.RequestVerdict{Standing: workflow.Standing{Actor: countersign.SystemDelivery, Roles: []workflow.Role{workflow.Delivery}}}
	outcome, err := workflow.DecideRequest(tx.occasion, request, progress, verdict)
	if err != nil || len(outcome.Events) == 0 {
		return err
	}
	tx.write(outcome, request)
	return nil
}

// reviewRungs says who would do the reviews that open when the access is gone. An
// end waits for none of it: what cannot be found out now is asked again later.
func (tx *transaction) reviewRungs(ctx context.Context, request *countersign.Request) map[int][]workflow.Rung {
	found := map[int][]workflow.Rung{}
	for index := range request.Stages {
		if stage := &request.Stages[index]; !stage.Review || stage.State != countersign.StageWaiting {
			continue
		}
		m, err := tx.directory.matterOf(request.Requester, request.Beneficiary, request.Entitlements)
		if err != nil {
			continue
		}
		pinned, err := tx.desk.policySet(ctx, request.PolicySet)
		if err != nil {
			continue
		}
		if asked, err := rungs(tx, pinned, tx.resolver(m, request.Type), request.Stages, index, tx.directory.samePerson(m, request.SamePerson, request.SubmittedAt, tx.until(request))); err == nil {
			found[index] = asked
		}
	}
	return found
}

// owed gives the deadlines of evidence that falls due when the access is gone.
func (tx *transaction) owed(ctx context.Context, request *countersign.Request) map[string]countersign.Instant {
	owed := map[string]countersign.Instant{}
	for _, slot := range request.Evidence {
		if slot.Due != countersign.DueAtClosure || slot.Held != nil || slot.Within == "" {
			// Without a time of its own it is owed in that of the review.
			continue
		}
		// An end is not held up by a set that cannot be read: then it is owed at once.
		owed[slot.Name] = tx.now()
		pinned, err := tx.desk.policySet(ctx, request.PolicySet)
		if err == nil {
			if deadline, err := pinned.Deadline(slot.Within, "", tx.now()); err == nil {
				owed[slot.Name] = deadline
			}
		}
	}
	return owed
}
