package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/workflow"
)

// owned is what has an owner: a machine or a system.
type owned struct {
	name string
	// owner is accountable; the others answer for it beside the owner.
	owner  countersign.IdentityID
	others []countersign.IdentityID
	offer  *countersign.OwnershipOffer
}

func ownedMachine(machine *countersign.Identity) owned {
	return owned{machine.Name, machine.Owner, []countersign.IdentityID{machine.SecondOwner, machine.Sponsor}, machine.Offer}
}

func ownedSystem(system *countersign.System) owned {
	return owned{"the system " + system.Name, system.Owner, []countersign.IdentityID{system.SecondOwner}, system.Offer}
}

// OfferOwnership says who is to answer for an NHI from now on. Who answers for it
// now offers it to somebody; or somebody asks to take it over, with to empty. It
// takes effect when a second person agrees.
func (d *Desk) OfferOwnership(ctx context.Context, caller Caller, key Key, name, to, reason string) error {
	return d.changeMachine(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.Identity) (err error) {
		after.Offer, err = tx.offer(ctx, ownedMachine(after), to)
		return err
	})
}

// AcceptOwnership makes an offer effective: the new owner accepts what was
// offered, or who answers for the NHI agrees to somebody taking it over.
func (d *Desk) AcceptOwnership(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.changeMachine(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.Identity) error {
		if err := tx.accept(ctx, ownedMachine(after)); err != nil {
			return err
		}
		after.Owner, after.Offer, after.LastConfirmed, after.Silence = after.Offer.To, nil, tx.now(), nil
		if after.SecondOwner == after.Owner {
			after.SecondOwner = ""
		}
		return nil
	})
}

// ConfirmIdentity says that owner, purpose and record of an NHI are still what the
// directory says: its owner or second owner says so, with a reason.
func (d *Desk) ConfirmIdentity(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.changeMachine(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.Identity) error {
		if who := tx.occasion.Actor.Identity(); who != after.Owner && who != after.SecondOwner {
			return countersign.Errorf(countersign.Refused, "not-the-owner", "%s is confirmed by its owner or second owner.", after.Name)
		}
		after.LastConfirmed, after.Silence = tx.now(), nil
		return nil
	})
}

// ConfirmSystem is ConfirmIdentity for a system.
func (d *Desk) ConfirmSystem(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.changeSystem(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.System) error {
		if who := tx.occasion.Actor.Identity(); who != after.Owner && who != after.SecondOwner {
			return countersign.Errorf(countersign.Refused, "not-the-owner", "The system %s is confirmed by its owner or second owner.", after.Name)
		}
		after.LastConfirmed, after.Silence = tx.now(), nil
		return nil
	})
}

// OfferSystem is OfferOwnership for a system.
func (d *Desk) OfferSystem(ctx context.Context, caller Caller, key Key, name, to, reason string) error {
	return d.changeSystem(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.System) (err error) {
		after.Offer, err = tx.offer(ctx, ownedSystem(after), to)
		return err
	})
}

// AcceptSystem is AcceptOwnership for a system. Whoever its owner decides for is
// found anew by every open request.
func (d *Desk) AcceptSystem(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.changeSystem(ctx, caller, key, name, reason, func(tx *transaction, after *countersign.System) error {
		if err := tx.accept(ctx, ownedSystem(after)); err != nil {
			return err
		}
		after.Owner, after.Offer, after.LastConfirmed, after.Silence = after.Offer.To, nil, tx.now(), nil
		if after.SecondOwner == after.Owner {
			after.SecondOwner = ""
		}
		return nil
	})
}

func (d *Desk) changeMachine(ctx context.Context, caller Caller, key Key, name, reason string, change func(*transaction, *countersign.Identity) error) error {
	return d.changeIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		if before.Human() {
			return nil, countersign.Errorf(countersign.Invalid, "not-a-machine", "%s is a person, and nobody owns a person.", before.Name)
		}
		after := *before
		return &after, change(tx, &after)
	})
}

// changeSystem records one change of a system with its reason.
func (d *Desk) changeSystem(ctx context.Context, caller Caller, key Key, name, reason string, change func(*transaction, *countersign.System) error) error {
	return d.changeRow(ctx, caller, key, reason, func(tx *transaction) (directory.Change, error) {
		before := tx.directory.findSystem(name)
		if before == nil {
			return directory.Change{}, notFound("system", name)
		}
		after := *before
		return directory.Change{Verb: directory.Modify, Before: before, After: &after}, change(tx, &after)
	}, func(payload countersign.Payload, why *workflow.Reason) {
		if recorded, is := payload.(*workflow.SystemRecorded); is {
			recorded.Reason = why
		}
	})
}

// findSystem takes an id or a name.
func (d *snapshot) findSystem(name string) *countersign.System {
	if system := d.systems[countersign.SystemID(name)]; system != nil {
		return system
	}
	return d.systems[d.systemNames[name]]
}

// offer checks an offer of the actor: to somebody, or to the actor where to is
// empty.
func (tx *transaction) offer(ctx context.Context, thing owned, to string) (*countersign.OwnershipOffer, error) {
	who := tx.occasion.Actor.Identity()
	next := tx.directory.identities[who]
	if to != "" {
		next = tx.directory.findIdentity(to)
	}
	switch {
	case next == nil || !next.Human() || !next.ActiveAt(tx.now()):
		return nil, countersign.Errorf(countersign.Invalid, "not-an-active-person", "Only an active person can answer for %s.", thing.name).At("/to")
	case next.ID == thing.owner:
		return nil, countersign.Errorf(countersign.Conflict, "owns-it-already", "%s answers for %s already.", next.Name, thing.name)
	}
	if next.ID != who {
		if err := tx.mayGiveAway(ctx, thing); err != nil {
			return nil, err
		}
	}
	tx.relyOn(next)
	return &countersign.OwnershipOffer{To: next.ID, By: who, At: tx.now()}, nil
}

// accept checks that the actor is the second person whom an offer needs.
func (tx *transaction) accept(ctx context.Context, thing owned) error {
	offer, who := thing.offer, tx.occasion.Actor.Identity()
	if offer == nil {
		return countersign.Errorf(countersign.Conflict, "nothing-offered", "Nobody has offered %s to anybody, or asked to take it over.", thing.name)
	}
	next := tx.directory.identities[offer.To]
	switch {
	case next == nil || !next.ActiveAt(tx.now()):
		return countersign.Errorf(countersign.Conflict, "not-an-active-person", "Who was to answer for %s is not active any more: offer it anew.", thing.name)
	case offer.By == who:
		return countersign.Errorf(countersign.Refused, "separation-of-duties", "You said so yourself: a second person agrees.")
	case offer.By != offer.To && who != offer.To:
		return countersign.Errorf(countersign.Refused, "not-the-new-owner", "%s accepts it, or nobody.", next.Name)
	case offer.By == offer.To:
		if err := tx.mayGiveAway(ctx, thing); err != nil {
			return err
		}
	}
	tx.relyOn(next)
	return nil
}

// mayGiveAway refuses whoever does not answer for the thing: its owners and
// sponsor, the manager of its owner, and administrators do.
func (tx *transaction) mayGiveAway(ctx context.Context, thing owned) error {
	who := tx.occasion.Actor.Identity()
	answering := append([]countersign.IdentityID{thing.owner}, thing.others...)
	if owner := tx.directory.identities[thing.owner]; owner != nil {
		answering = append(answering, owner.Manager)
		tx.relyOn(owner)
	}
	caller := tx.directory.identities[who]
	allowed := slices.Contains(answering, who)
	if !allowed {
		var err error
		if allowed, err = tx.holdsPower(ctx, who, PowerAdministrator); err != nil {
			return err
		}
	}
	if !allowed || caller == nil || !caller.Human() || !caller.ActiveAt(tx.now()) {
		return countersign.Errorf(countersign.Refused, "not-the-owner", "Only who answers for %s, the manager of its owner, or an administrator can give it to somebody.", thing.name)
	}
	tx.relyOn(caller)
	return nil
}
