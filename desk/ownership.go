package desk

import (
	"context"
	"fmt"
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
	offer := &countersign.OwnershipOffer{To: next.ID, By: who, At: tx.now(), ToldAt: tx.now()}
	offer.Until, offer.RemindAt = tx.policy.ownerTerms().Offers().Clock(offer.At, tx.now())
	offer.Told = tx.mayAccept(thing, offer)
	return offer, nil
}

// accept checks that the actor is the second person whom an offer needs.
func (tx *transaction) accept(ctx context.Context, thing owned) error {
	offer, who := thing.offer, tx.occasion.Actor.Identity()
	if offer == nil {
		return countersign.Errorf(countersign.Conflict, "nothing-offered", "Nobody has offered %s to anybody, or asked to take it over.", thing.name)
	}
	next := tx.directory.identities[offer.To]
	switch {
	case !offer.OpenAt(tx.now()):
		return countersign.Errorf(countersign.Conflict, "offer-lapsed", "Nobody agreed by %s to %s answering for %s: offer it anew.", offer.Until, tx.directory.nameOf(offer.To), thing.name)
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

// mayAccept are those who are asked to agree to an offer: the new owner, or who answers
// for the thing that somebody asks to take over.
func (tx *transaction) mayAccept(thing owned, offer *countersign.OwnershipOffer) []countersign.IdentityID {
	people := []countersign.IdentityID{offer.To}
	if offer.By == offer.To {
		people = tx.answering(thing)
	}
	return slices.DeleteFunc(people, func(id countersign.IdentityID) bool { return id == offer.By })
}

// offered is an offer with what it is of.
type offered struct {
	ownership
	before countersign.Row
	// with is the row with another offer.
	with func(*countersign.OwnershipOffer) countersign.Row
}

// offerOf finds the offer of a machine or a system, with its owned part alone; nil where
// there is none.
func (d *snapshot) offerOf(id string) *offered {
	if machine := d.identities[countersign.IdentityID(id)]; machine != nil && machine.Offer != nil {
		return &offered{ownership{owned: ownedMachine(machine), machine: machine}, machine, func(offer *countersign.OwnershipOffer) countersign.Row {
			after := *machine
			after.Offer = offer
			return &after
		}}
	}
	if system := d.systems[countersign.SystemID(id)]; system != nil && system.Offer != nil {
		return &offered{ownership{owned: ownedSystem(system), system: system}, system, func(offer *countersign.OwnershipOffer) countersign.Row {
			after := *system
			after.Offer = offer
			return &after
		}}
	}
	return nil
}

// dueOffer reports whether something is to be done about an offer by now: each gets a
// deadline, is reminded of once, and lapses.
func dueOffer(offer *countersign.OwnershipOffer, now countersign.Instant) bool {
	return offer != nil && offer.LapsedAt == 0 && (offer.Until == 0 || now >= offer.Until || now >= offer.RemindAt && offer.ToldAt < offer.RemindAt)
}

// SweepOffers lets time pass for offers: who may accept one is reminded, and what nobody
// has accepted in time lapses.
func (d *Desk) SweepOffers(ctx context.Context) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	var due []string
	for id, machine := range tx.directory.identities {
		if dueOffer(machine.Offer, tx.now()) {
			due = append(due, string(id))
		}
	}
	for id, system := range tx.directory.systems {
		if dueOffer(system.Offer, tx.now()) {
			due = append(due, string(id))
		}
	}
	slices.Sort(due)
	return d.together(ctx, len(due), nil, func(tx *transaction, i int) error {
		if o := tx.directory.offerOf(due[i]); o != nil && dueOffer(o.offer, tx.now()) {
			return tx.tickOffer(ctx, o)
		}
		return nil
	})
}

func (tx *transaction) tickOffer(ctx context.Context, o *offered) error {
	after := *o.offer
	var why *workflow.Reason
	switch {
	case after.Until == 0:
		after.Until, after.RemindAt = tx.policy.ownerTerms().Offers().Clock(after.At, tx.now())
	case tx.now() >= after.Until:
		after.LapsedAt, after.ToldAt, after.Told = tx.now(), tx.now(), []countersign.IdentityID{after.By}
		if after.To != after.By {
			after.Told = append(after.Told, after.To)
		}
		why = &workflow.Reason{Text: "Nobody accepted by " + after.Until.String() + "."}
	default:
		after.ToldAt, after.Told = tx.now(), append(tx.mayAccept(o.owned, &after), after.By)
	}
	// Nobody's standing changes by an offer.
	if err := tx.recordRows(ctx, []directory.Change{{Verb: directory.Modify, Before: o.before, After: o.with(&after)}}); err != nil {
		return err
	}
	switch recorded := tx.events[len(tx.events)-1].Payload.(type) {
	case *workflow.IdentityRecorded:
		recorded.Reason = why
	case *workflow.SystemRecorded:
		recorded.Reason = why
	}
	return nil
}

// offerTold says who hears of an offer in the transaction that made it, reminds of it or
// lets it lapse; before is what it was.
func (tx *transaction) offerTold(offer, before *countersign.OwnershipOffer) []telling {
	if offer == nil || offer.ToldAt != tx.now() || before != nil && before.At == offer.At && before.ToldAt == offer.ToldAt {
		return nil
	}
	if offer.LapsedAt != 0 {
		return []telling{{kind: NoticeLapsed, people: offer.Told}}
	}
	return []telling{{kind: NoticeOffer, people: offer.Told}}
}

// ofOffer tells of the offer that a row was recorded with, to those whom it concerns; ""
// where there is none.
func (d *snapshot) ofOffer(payload countersign.Payload) string {
	var o ownership
	switch event := payload.(type) {
	case *workflow.IdentityRecorded:
		if machine := d.identities[event.Change.ID]; machine != nil {
			o = ownership{owned: ownedMachine(machine), machine: machine}
			o.offer = event.Change.Offer
		}
	case *workflow.SystemRecorded:
		o = ownership{owned: ownedSystem(&event.Change), system: &event.Change}
	}
	if o.offer == nil {
		return ""
	}
	what := fmt.Sprintf("%s is to answer for %s from now on", d.nameOf(o.offer.To), o.name)
	if o.offer.By == o.offer.To {
		what = fmt.Sprintf("%s asks to take over %s", d.nameOf(o.offer.To), o.name)
	}
	if o.offer.LapsedAt != 0 {
		return fmt.Sprintf("%s, and nobody agreed by %s: nothing has changed. Offer it anew: %s", what, o.offer.Until, o.command("offer"))
	}
	return fmt.Sprintf("%s, once a second person agrees: %s. It lapses at %s", what, o.command("accept"), o.offer.Until)
}
