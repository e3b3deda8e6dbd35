package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/workflow"
)

// LeaverTime is how long the suspension of somebody who leaves can be taken back.
// After it the person has left for good, and what the person held ends.
const LeaverTime = 30 * countersign.Day

// Suspend makes every check refuse an identity, before this returns. Nothing is
// taken away by it; with leaver, all of it is after LeaverTime.
func (d *Desk) Suspend(ctx context.Context, caller Caller, key Key, name, reason string, leaver bool) error {
	return d.onIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		switch {
		case before.Status == countersign.IdentityDeparted:
			return nil, countersign.Errorf(countersign.Conflict, "already-departed", "%s has left already.", before.Name)
		case before.Status == countersign.IdentitySuspended && (before.DepartsAt != 0 || !leaver):
			return nil, countersign.Errorf(countersign.Conflict, "already-suspended", "%s is suspended already.", before.Name)
		}
		after := *before
		// A suspension that is there already stays whose it is.
		if before.Status != countersign.IdentitySuspended {
			after.Status, after.SuspendedBy = countersign.IdentitySuspended, caller.Identity
		}
		if leaver {
			after.DepartsAt = tx.now().Add(LeaverTime)
		}
		return &after, nil
	})
}

// Reactivate takes back a suspension that was put by a command, by somebody else
// than who put it.
func (d *Desk) Reactivate(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.onIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		switch {
		case before.Status != countersign.IdentitySuspended || left(before, tx.now()):
			return nil, countersign.Errorf(countersign.Conflict, "not-suspended", "%s is not suspended, or can be reactivated no longer.", before.Name)
		case before.SuspendedBy == "":
			return nil, countersign.Errorf(countersign.Refused, "suspended-by-directory", "%s was suspended by a directory change: another one, by two people, takes it back.", before.Name)
		case before.SuspendedBy == caller.Identity:
			return nil, countersign.Errorf(countersign.Refused, "separation-of-duties", "You suspended %s yourself: somebody else looks before it is taken back.", before.Name)
		}
		after := *before
		after.Status, after.SuspendedBy, after.DepartsAt = countersign.IdentityActive, "", 0
		return &after, nil
	})
}

// onIdentity changes one identity, as its manager, owner, sponsor, or an
// administrator.
func (d *Desk) onIdentity(ctx context.Context, caller Caller, key Key, name, reason string, change func(*transaction, *countersign.Identity) (*countersign.Identity, error)) error {
	return d.changeIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		who := tx.directory.identities[caller.Identity]
		allowed := slices.Contains([]countersign.IdentityID{before.Manager, before.Owner, before.SecondOwner, before.Sponsor}, caller.Identity)
		if !allowed {
			var err error
			if allowed, err = tx.holdsPower(ctx, caller.Identity, PowerAdministrator); err != nil {
				return nil, err
			}
		}
		if !allowed || who == nil || !who.Human() || slices.Contains(before.SamePerson(), caller.Identity) && before.Human() {
			return nil, countersign.Errorf(countersign.Refused, "not-entitled-to-suspend", "Only the manager of a person, who answers for a machine, or an administrator can suspend or reactivate; nobody does so for himself or herself.")
		}
		tx.relyOn(who)
		return change(tx, before)
	})
}

// changeIdentity records one change of an identity with its reason.
func (d *Desk) changeIdentity(ctx context.Context, caller Caller, key Key, name, reason string, change func(*transaction, *countersign.Identity) (*countersign.Identity, error)) error {
	return d.changeRow(ctx, caller, key, reason, func(tx *transaction) (directory.Change, error) {
		before := tx.directory.findIdentity(name)
		if before == nil {
			return directory.Change{}, notFound("identity", name)
		}
		after, err := change(tx, before)
		return directory.Change{Verb: directory.Modify, Before: before, After: after}, err
	}, func(payload countersign.Payload, why *workflow.Reason) {
		if recorded, is := payload.(*workflow.IdentityRecorded); is {
			recorded.Reason = why
		}
	})
}

// changeRow records one change of a row of the directory. The reason, which is
// needed, stays with its event, where because puts it.
func (d *Desk) changeRow(ctx context.Context, caller Caller, key Key, reason string, change func(*transaction) (directory.Change, error), because func(countersign.Payload, *workflow.Reason)) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		if reason == "" {
			return "", countersign.Errorf(countersign.Invalid, "reason-missing", "This needs a reason: it stays on the record.").At("/reason")
		}
		changed, err := change(tx)
		if err != nil {
			return "", err
		}
		if err := tx.record(ctx, []directory.Change{changed}); err != nil {
			return "", err
		}
		for _, event := range tx.events {
			because(event.Payload, &workflow.Reason{Text: reason})
		}
		return changed.After.RowKey(), nil
	})
	if err != nil {
		return err
	}
	return d.Refresh(context.WithoutCancel(ctx))
}
