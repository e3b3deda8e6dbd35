package house_test

import (
	"crypto/rand"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/pdp"
)

// replica opens one more process over the same database and key file.
func (w *world) replica(name string) *house.House {
	w.t.Helper()
	opened, err := house.Open(w.ctx, house.Options{
		Store: movedStore{w.database.open(), w}, Master: w.master, Clock: w.clock, Entropy: rand.Reader, Replica: name, Shared: true,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Issuer: "http://countersign.test",
		Connectors: connector.Set{"noop": w.target}, DeliverByClaim: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { opened.Store.Close() })
	return opened
}

const editorPolicy = `
request: role
title: A role
grants: {system: any, kind: role}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}}
stages:
  - {name: manager, approvers: [manager-of(requester)]}
fulfil: [role.assign]
grant: {ends: revoke}
close: {when: [gone]}
`

func mayEdit(point *pdp.Point) pdp.Decision {
	return point.Evaluate(pdp.Evaluation{SubjectType: "identity", SubjectID: "ana@test.example", Action: "editor", ResourceType: "resource", ResourceID: "wiki/space"})
}

func TestAnotherReplicaFollowsAssignmentsAndRefusesWhenItCannotShowThatItIsFresh(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	one, other := w.replica("one"), w.replica("other")
	follow := func(h *house.House) {
		t.Helper()
		// A heartbeat is read back by the look after the one that wrote it.
		for range 2 {
			w.must(h.Engine.Beat(w.ctx))
		}
	}
	follow(other)
	if decision := mayEdit(other.Point); decision.Allowed || decision.Reason != pdp.NoAssignment {
		t.Fatalf("before anything was given, the other replica says %+v", decision)
	}

	w.house = one
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook"})
	w.must(w.approve("max", id))
	w.settle()
	if !mayEdit(one.Point).Allowed {
		t.Fatalf("the replica that gave it says %+v", mayEdit(one.Point))
	}
	follow(other)
	if decision := mayEdit(other.Point); !decision.Allowed {
		t.Fatalf("once it has followed, the other replica says %+v", decision)
	}

	w.must(one.Desk.Revoke(w.ctx, w.as("ana"), desk.Key{}, w.grant(id).ID, "done with it"))
	if decision := mayEdit(one.Point); decision.Allowed || decision.Reason != pdp.Stopped {
		t.Errorf("when the revoke is answered, the replica that took it says %+v", decision)
	}
	w.settle()
	follow(other)
	if decision := mayEdit(other.Point); decision.Allowed {
		t.Errorf("once it has followed, the other replica says %+v", decision)
	}
	// What another replica could still allow in its freshness bound has to run out
	// before the grant counts as gone.
	w.state(id, countersign.RequestActive)
	w.pass(6 * time.Second)
	w.state(id, countersign.RequestClosed)

	follow(other)
	w.clock.move(pdp.DefaultFreshness + time.Second)
	if decision := mayEdit(other.Point); decision.Allowed || decision.Reason != pdp.Stale {
		t.Errorf("without having followed for longer than the bound, it says %+v", decision)
	}
	w.verified()
}

func TestAReplicaThatCannotTellWhoHoldsAPowerTellsNobodyThatTheyHoldNone(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook"})
	other := w.replica("other")
	caller := w.as("aud")
	w.clock.move(pdp.DefaultFreshness + time.Second)
	_, err := other.Desk.Request(w.ctx, caller, id)
	w.refused(err, "replica-stale")
	w.refused(other.Desk.Suspend(w.ctx, w.as("adam"), desk.Key{}, "ana", "lost her laptop", false), "replica-stale")
	w.refused(other.Ready(w.ctx), "replica-stale")
	_, err = other.Desk.Powers(caller.Identity)
	w.refused(err, "replica-stale")
	// What another replica has stopped meanwhile is not known to the targets here either.
	for _, check := range []func(countersign.CredentialID) error{
		func(id countersign.CredentialID) error { _, err := other.Vault.CheckCredential(w.ctx, id); return err },
		func(id countersign.CredentialID) error {
			_, err := other.Registry.CheckCredential(w.ctx, id)
			return err
		},
		func(id countersign.CredentialID) error { _, err := other.PKI.CheckCredential(w.ctx, id); return err },
	} {
		w.refused(check("crd_01m6dqs9m0fr7v1nacm8wrmren"), "replica-stale")
	}
	// What takes access away waits for none of it, where it needs no power.
	_, err = other.Desk.Hold(w.ctx, w.as("otto"), desk.Key{}, "wiki", "something is wrong here", false)
	w.must(err)
	_, err = other.Desk.Hold(w.ctx, w.as("adam"), desk.Key{}, "wiki", "something is wrong here", false)
	w.refused(err, "replica-stale")
	for range 2 {
		w.must(other.Engine.Beat(w.ctx))
	}
	w.must(other.Ready(w.ctx))
	_, err = other.Desk.Request(w.ctx, caller, id)
	w.must(err)
}

func TestAPowerThatAnotherReplicaHasJustGivenIsKnownToTheCommandThatNeedsIt(t *testing.T) {
	w := found(t, onPostgres(t), editorPolicy)
	w.edit("{login: adam, name: Adam Admin, email: adam@test.example, manager: bea}", "{login: adam, name: Adam Admin, email: adam@test.example, manager: bea, status: departed}",
		"administrator: [adam, alma]", "administrator: [bea, alma]")
	_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	w.settle()
	other := w.replica("other")
	w.must(w.house.Desk.Recover(w.ctx, desk.Recovery{People: []string{"bea", "alma"}, Reason: "Adam left", OperatingSystemUser: "root"}))
	w.settle()
	if powers, err := other.Desk.Powers(w.as("bea").Identity); err != nil || len(powers) != 0 {
		t.Fatalf("before it has followed, the other replica knows the powers %v, %v", powers, err)
	}
	w.must(other.Desk.Suspend(w.ctx, w.as("bea"), desk.Key{}, "ana", "lost her laptop", false))
	// Who is held has no power, however new the replica's knowledge is.
	_, err = w.hold("alma", "bea", false)
	w.must(err)
	w.refused(other.Desk.Suspend(w.ctx, w.as("bea"), desk.Key{}, "olga", "lost her laptop", false), "not-entitled-to-suspend")
	w.verified()
}

// A decision point that is stale for one moment, and was fresh before it and is again
// after it, has not said that somebody holds no power.
func TestWhoCouldNotBeToldToHoldAPowerIsToldThat(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, grant := w.approved(asking())
	w.settle()
	known := w.house.Desk.HoldsPower
	moment := func() {
		w.house.Desk.HoldsPower = func(holder countersign.IdentityID, power string) (bool, error) {
			w.house.Desk.HoldsPower = known
			return false, countersign.Errorf(countersign.Unavailable, "replica-stale", "stale for one moment")
		}
	}
	moment()
	_, err := w.hold("adam", "ana", false)
	w.refused(err, "replica-stale")
	moment()
	_, err = w.house.Desk.Request(w.ctx, w.as("aud"), grant.Request)
	w.refused(err, "replica-stale")
	moment()
	_, err = w.house.Desk.Grants(w.ctx, w.as("aud"), desk.GrantFilter{})
	w.refused(err, "replica-stale")
	moment()
	w.refused(w.house.Desk.Revoke(w.ctx, w.as("adam"), desk.Key{}, grant.ID, "lost her laptop"), "replica-stale")
	_, err = w.hold("adam", "ana", false)
	w.must(err)
}
