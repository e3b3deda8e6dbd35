package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Recovery names who is to administrate a house in which nobody can give that
// power any more.
type Recovery struct {
	// People are two different people, by any of their names.
	People              []string
	Reason              string
	OperatingSystemUser string
}

// Recover gives the power to administrate to two people, as an event of the house
// that nobody can hide. It is for the host's command line, with the house stopped;
// the grants are carried out when it runs again, and end like any other.
func (d *Desk) Recover(ctx context.Context, recovery Recovery) error {
	if err := checkReason(recovery.Reason); err != nil {
		return err
	}
	err := d.attempt(ctx, countersign.SystemHost, func(tx *transaction) error {
		power := tx.directory.entitlements[tx.directory.rights[SystemName+"/"+ResourceName+"/"+PowerAdministrator]]
		if power == nil {
			return countersign.Errorf(countersign.NotFound, "no-such-entitlement", "This house has no entitlement %s/%s/%s.", SystemName, ResourceName, PowerAdministrator)
		}
		var people []countersign.IdentityID
		for _, name := range recovery.People {
			person := tx.directory.findIdentity(name)
			switch {
			case person == nil || !person.Human() || !person.ActiveAt(tx.now()):
				return countersign.Errorf(countersign.Invalid, "not-an-active-person", "%q is no active person of this house.", countersign.Clip(name))
			case slices.Contains(people, person.ID):
				return countersign.Errorf(countersign.Invalid, "two-people", "%s stands twice: name two different people.", person.Name)
			}
			tx.relyOn(person)
			people = append(people, person.ID)
		}
		if len(people) != 2 {
			return countersign.Errorf(countersign.Invalid, "two-people", "Name exactly two people: what one changes takes the other.")
		}
		if recovery.Reason == "" {
			return countersign.Errorf(countersign.Invalid, "reason-missing", "A recovery needs a reason: it stays on the record.")
		}
		recovered := &workflow.HouseRecovered{Reason: &workflow.Reason{Text: recovery.Reason}, Subject: &workflow.Founder{OperatingSystemUser: recovery.OperatingSystemUser}}
		recovered.Change.People = people
		tx.events = append(tx.events, countersign.Event{Stream: countersign.StreamHouse, Payload: recovered})
		// Who holds it already keeps it as it is.
		holding, err := d.Store.Grants(ctx, store.GrantQuery{Holders: people, Entitlement: power.ID, States: heldStates})
		if err != nil {
			return err
		}
		for _, grant := range holding {
			if grant.State != countersign.GrantProvisioning && grant.State != countersign.GrantLive {
				return countersign.Errorf(countersign.Conflict, "already-ending", "The power of %s is just ending: let the house finish that first.", tx.directory.nameOf(grant.Holder))
			}
			people = slices.DeleteFunc(people, func(id countersign.IdentityID) bool { return id == grant.Holder })
		}
		return tx.grantPower(tx.directory, power, countersign.FromRecovery, people)
	})
	return err
}
