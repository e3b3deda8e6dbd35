package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// BackUp puts on the record that the house is being copied, and returns when.
// The copy is taken afterwards, and holds this event, too.
func (d *Desk) BackUp(ctx context.Context, operatingSystemUser string) (countersign.Instant, error) {
	var at countersign.Instant
	err := d.attempt(ctx, countersign.SystemHost, func(tx *transaction) error {
		at = tx.now()
		tx.events = append(tx.events, countersign.Event{Stream: countersign.StreamHouse, Payload: &workflow.HouseBackedUp{Subject: &workflow.Founder{OperatingSystemUser: operatingSystemUser}}})
		return nil
	})
	return at, err
}

// Restoration says which copy a house was made anew from.
type Restoration struct {
	// TakenAt is when the copy was taken.
	TakenAt countersign.Instant
	// Archive is the digest that names it.
	Archive             countersign.Digest
	OperatingSystemUser string
}

// Restored puts on the record that the house was made anew from a copy, and
// returns how many operations it parked. For what was approved and not yet read
// back when the copy was taken may have been given since, and have ended: only a
// person can say whether it is still to be given. What takes access away goes on
// by itself. It is for the host's command line, before the house runs.
func (d *Desk) Restored(ctx context.Context, restoration Restoration) (parked int, err error) {
	for _, state := range []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive} {
		var before countersign.GrantID
		for {
			grants, err := d.Store.Grants(ctx, store.GrantQuery{States: []countersign.GrantState{state}, Before: before, Limit: 500})
			if err != nil {
				return parked, err
			}
			if len(grants) == 0 {
				break
			}
			for _, grant := range grants {
				before = grant.ID
				if grant.Intent == nil || !gives(grant.Intent.Operation) || grant.Parked != nil {
					continue
				}
				if err := d.parkRestored(ctx, grant, restoration.TakenAt); err != nil {
					return parked, err
				}
				parked++
			}
		}
	}
	return parked, d.attempt(ctx, countersign.SystemHost, func(tx *transaction) error {
		restored := &workflow.HouseRestored{Subject: &workflow.Founder{OperatingSystemUser: restoration.OperatingSystemUser}}
		restored.Change.TakenAt, restored.Change.Archive = restoration.TakenAt, restoration.Archive
		tx.events = append(tx.events, countersign.Event{Stream: countersign.StreamHouse, Payload: restored})
		return nil
	})
}

// parkRestored leaves the operation under way to the owner of its system.
func (d *Desk) parkRestored(ctx context.Context, grant *countersign.Grant, takenAt countersign.Instant) error {
	return d.attempt(ctx, countersign.SystemDelivery, func(tx *transaction) error {
		work, err := d.Store.Work(ctx, string(grant.Intent.ID))
		if err != nil {
			return err
		}
		why := "The house was restored from a copy of " + takenAt.String() + ", when this was under way. Look at the target: retry it if it is still to be given, or revoke it."
		return tx.park(ctx, grant, work, why, "")
	})
}

// gives says that an operation gives access, or a longer one.
func gives(operation countersign.Operation) bool {
	return operation == countersign.ApplyOperation || operation == countersign.ExtendOperation
}

// park leaves the operation under way to the owner of its system, who retries it
// or revokes the grant. A rotation that was approved is dropped where drop says why:
// the older credential works.
func (tx *transaction) park(ctx context.Context, grant *countersign.Grant, work store.Work, why, drop string) error {
	command := workflow.GrantCommand{Name: workflow.Park, Intent: grant.Intent.ID, Attempt: work.Attempt, Reason: why, Person: tx.directory.systems[grant.System].Owner}
	standing := workflow.Standing{Actor: countersign.SystemDelivery, Roles: []workflow.Role{workflow.Delivery}}
	if err := tx.decideGrant(ctx, grant, command, workflow.GrantVerdict{Standing: standing, Drop: drop}); err != nil || drop != "" && grant.Issuing() {
		return err
	}
	parked := work
	parked.ParkedAt, parked.Trouble = tx.now(), why
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: parked, Attempt: work.Attempt})
	return nil
}
