package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/desk"
)

func TestAMachineChangesItsOwnerByTwoPeople(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		offer := func(who, to string) error {
			return w.house.Desk.OfferOwnership(w.ctx, w.as(who), desk.Key{}, "svc", to, "she changes the team")
		}
		accept := func(who string) error {
			return w.house.Desk.AcceptOwnership(w.ctx, w.as(who), desk.Key{}, "svc", "I take it")
		}
		owner := func() string {
			view, err := w.house.Desk.Identity(w.ctx, "svc")
			w.must(err)
			return view.Owner.Login
		}
		w.refused(accept("pit"), "nothing-offered")
		w.refused(offer("syd", "pit"), "not-the-owner")
		w.refused(offer("olga", "agent"), "not-an-active-person")
		w.refused(offer("olga", "olga"), "owns-it-already")
		w.must(offer("olga", "pit"))
		w.refused(accept("olga"), "separation-of-duties")
		w.refused(accept("adam"), "not-the-new-owner")
		if owner() != "olga" {
			t.Fatal("an offer alone changed the owner")
		}
		w.must(accept("pit"))
		if owner() != "pit" {
			t.Fatalf("%s owns it", owner())
		}
		// Who takes over needs somebody who answers for it.
		w.must(offer("otto", ""))
		w.refused(accept("otto"), "separation-of-duties")
		w.refused(accept("syd"), "not-the-owner")
		w.must(accept("bea"))
		if owner() != "otto" {
			t.Fatalf("%s owns it", owner())
		}
		w.verified()
	})
}

func TestASystemChangesItsOwnerByTwoPeople(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(`- {name: owner, approvers: [owner-of(resource)], within: 2 business days}`, ""))
		id := w.submit("ana", asking())
		offer := func(who, to string) error {
			return w.house.Desk.OfferSystem(w.ctx, w.as(who), desk.Key{}, "ledger", to, "he changes the team")
		}
		accept := func(who string) error {
			return w.house.Desk.AcceptSystem(w.ctx, w.as(who), desk.Key{}, "ledger", "I take it")
		}
		w.refused(accept("syd"), "nothing-offered")
		w.refused(offer("ana", "syd"), "not-the-owner")
		w.refused(offer("otto", "svc"), "not-an-active-person")
		w.must(offer("otto", "syd"))
		w.refused(accept("otto"), "separation-of-duties")
		w.refused(w.approve("syd", id), "no-such-request")
		// The open request asks the new owner from the same commit on, and no longer
		// the old one.
		w.must(accept("syd"))
		w.settle()
		w.refused(w.house.Desk.Approve(w.ctx, w.as("otto"), desk.Key{}, id, desk.Decision{}), "no-such-request")
		w.must(w.approve("syd", id))
		view, err := w.house.Desk.System(w.ctx, "ledger")
		w.must(err)
		if view.Owner.Login != "syd" || view.OfferedTo != nil || view.SecondOwner.Login != "pit" {
			t.Errorf("the system shows %+v", view)
		}
		w.verified()
	})
}

func TestAnUnownedMachineIsTakenOver(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.apply("{login: olga, name: Olga Owner, email: olga@test.example, manager: max}", "{login: olga, name: Olga Owner, email: olga@test.example, manager: max, status: departed}")
	asked := asking()
	asked.Beneficiary = "svc"
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asked)
	w.refused(err, "unowned")
	w.must(w.house.Desk.OfferOwnership(w.ctx, w.as("ana"), desk.Key{}, "svc", "", "nobody answers for it"))
	w.must(w.house.Desk.AcceptOwnership(w.ctx, w.as("max"), desk.Key{}, "svc", "Olga left, and Ana knows it"))
	w.submit("ana", asked)
	w.verified()
}

func TestAMachineThatNobodyConfirmsGetsNothingNew(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), keysPolicy+`
refuse:
  - when: '!has(beneficiary.last_confirmed) || now - beneficiary.last_confirmed > duration("4320h")'
    because: '"Nobody has confirmed " + beneficiary.name + " for half a year."'
`)
		ask := func() error {
			_, err := w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, call("svc"))
			return err
		}
		w.move(300 * 24 * time.Hour)
		w.refused(ask(), "refused-by-policy")
		confirm := func(who string) error {
			return w.house.Desk.ConfirmIdentity(w.ctx, w.as(who), desk.Key{}, "svc", "it still sends the invoices")
		}
		w.refused(confirm("ana"), "not-the-owner")
		w.refused(ask(), "refused-by-policy")
		w.must(confirm("olga"))
		w.must(ask())
		w.verified()
	})
}
