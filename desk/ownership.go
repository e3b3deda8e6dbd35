package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
)

// OfferOwnership says who is to answer for an NHI from now on. Who answers for it
// now offers it to somebody; or somebody asks to take it over, with to empty. It
// takes effect when a second person agrees.
func (d *Desk) OfferOwnership(ctx context.Context, caller Caller, key Key, name, to, reason string) error {
	return d.changeIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		next := tx.directory.identities[caller.Identity]
		if to != "" {
			next = tx.directory.findIdentity(to)
		}
		switch {
		case before.Human():
			return nil, countersign.Errorf(countersign.Invalid, "not-a-machine", "%s is a person, and nobody owns a person.", before.Name)
		case next == nil || !next.Human() || !next.ActiveAt(tx.now()):
			return nil, countersign.Errorf(countersign.Invalid, "not-an-active-person", "Only an active person can answer for %s.", before.Name).At("/to")
		case next.ID == before.Owner:
			return nil, countersign.Errorf(countersign.Conflict, "owns-it-already", "%s answers for %s already.", next.Name, before.Name)
		}
		if next.ID != caller.Identity {
			if err := tx.mayGiveAway(ctx, before); err != nil {
				return nil, err
			}
		}
		tx.relyOn(next)
		after := *before
		after.Offer = &countersign.OwnershipOffer{To: next.ID, By: caller.Identity, At: tx.now()}
		return &after, nil
	})
}

// AcceptOwnership makes an offer effective: the new owner accepts what was
// offered, or who answers for the NHI agrees to somebody taking it over.
func (d *Desk) AcceptOwnership(ctx context.Context, caller Caller, key Key, name, reason string) error {
	return d.changeIdentity(ctx, caller, key, name, reason, func(tx *transaction, before *countersign.Identity) (*countersign.Identity, error) {
		offer := before.Offer
		if offer == nil {
			return nil, countersign.Errorf(countersign.Conflict, "nothing-offered", "Nobody has offered %s to anybody, or asked to take it over.", before.Name)
		}
		next := tx.directory.identities[offer.To]
		switch {
		case next == nil || !next.ActiveAt(tx.now()):
			return nil, countersign.Errorf(countersign.Conflict, "not-an-active-person", "Who was to answer for %s is not active any more: offer it anew.", before.Name)
		case offer.By == caller.Identity:
			return nil, countersign.Errorf(countersign.Refused, "separation-of-duties", "You said so yourself: a second person agrees.")
		case offer.By != offer.To && caller.Identity != offer.To:
			return nil, countersign.Errorf(countersign.Refused, "not-the-new-owner", "%s accepts it, or nobody.", next.Name)
		case offer.By == offer.To:
			if err := tx.mayGiveAway(ctx, before); err != nil {
				return nil, err
			}
		}
		tx.relyOn(next)
		after := *before
		after.Owner, after.Offer, after.LastConfirmed = offer.To, nil, tx.now()
		if after.SecondOwner == after.Owner {
			after.SecondOwner = ""
		}
		return &after, nil
	})
}

// mayGiveAway refuses whoever does not answer for the NHI: its owners and sponsor,
// the manager of its owner, and administrators do.
func (tx *transaction) mayGiveAway(ctx context.Context, machine *countersign.Identity) error {
	who := tx.occasion.Actor.Identity()
	answering := []countersign.IdentityID{machine.Owner, machine.SecondOwner, machine.Sponsor}
	if owner := tx.directory.identities[machine.Owner]; owner != nil {
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
		return countersign.Errorf(countersign.Refused, "not-the-owner", "Only an owner or sponsor of %s, the manager of its owner, or an administrator can give it to somebody.", machine.Name)
	}
	tx.relyOn(caller)
	return nil
}
