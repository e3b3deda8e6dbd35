package house_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// approved brings a request to the moment after its approval: nothing has run.
func (w *world) approved(asking desk.Asking) (countersign.RequestID, *countersign.Grant) {
	w.t.Helper()
	id := w.submit("ana", asking)
	w.must(w.approve("max", id))
	grant, err := w.house.Store.Grant(w.ctx, w.grant(id).ID)
	w.must(err)
	return id, grant
}

// claim takes what is due for delivery, without carrying it out.
func (w *world) claim() []store.Work {
	w.t.Helper()
	works, err := w.house.Engine.Claim(w.ctx, 50)
	w.must(err)
	return works
}

var errTest = errors.New("the network is away")

// taskOf names on the target what a grant gave.
func taskOf(grant *countersign.Grant) connector.Task {
	return connector.Task{Credential: grant.Credentials[0].ID, Grant: grant.ID, Holder: grant.Holder, System: grant.System}
}

func (w *world) stored(id countersign.GrantID) *countersign.Grant {
	w.t.Helper()
	grant, err := w.house.Store.Grant(w.ctx, id)
	w.must(err)
	return grant
}

func TestARestartAfterTheDecisionAndBeforeTheConnectorRanGivesExactlyOneEffect(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		w.restart()
		w.settle()
		w.restart()
		w.settle()
		w.state(id, countersign.RequestActive)
		if effects := w.target.Effects(grant.Intent.ID); effects != 1 || w.target.Total() != 1 {
			t.Errorf("%d effects of the intent, %d in all", effects, w.target.Total())
		}
		w.verified()
	})
}

func TestAProcessThatDiedWithItsClaimLosesItWhenTheLeaseEnds(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		dead := w.claim()
		w.restart()
		w.settle()
		w.state(id, countersign.RequestFulfilling)
		w.pass(61 * time.Second)
		w.state(id, countersign.RequestActive)
		// It wakes up long after: nothing of it counts, and nothing is done twice.
		w.must(w.house.Engine.Deliver(w.ctx, dead[0]))
		w.settle()
		if live := w.grant(id); live.State != countersign.GrantLive || w.target.Total() != 1 {
			t.Errorf("the grant is %s after %d effects of %s", live.State, w.target.Total(), grant.Intent.ID)
		}
		w.verified()
	})
}

func TestAThrottledTargetIsRetriedWithBackoffAndHoldsNothingElseUp(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		first, grant := w.approved(asking())
		w.target.SetFaults(noop.Faults{Throttle: 1, ThrottleFor: 45})
		w.settle()
		w.target.SetFaults(noop.Faults{})
		work, err := w.house.Store.Work(w.ctx, string(grant.Intent.ID))
		w.must(err)
		if want := countersign.InstantOf(monday.Add(45 * time.Second)); work.DueAt != want || work.Trouble == "" {
			t.Errorf("it is tried again at %s because of %q, want %s", work.DueAt, work.Trouble, want)
		}
		other := asking()
		other.Entitlements = []string{"ledger/books/write"}
		second, _ := w.approved(other)
		w.settle()
		w.state(second, countersign.RequestActive)
		w.state(first, countersign.RequestFulfilling)
		w.pass(44 * time.Second)
		w.state(first, countersign.RequestFulfilling)
		w.pass(time.Second)
		w.state(first, countersign.RequestActive)
		w.verified()
	})
}

func TestWorkThatKeepsFailingIsParkedWithAPersonNamedAndTheRetryCommandPutsItBack(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		w.target.SetFaults(noop.Faults{Throttle: 1000})
		parkedAfter := time.Duration(0)
		for w.stored(grant.ID).Parked == nil {
			if parkedAfter += 10 * time.Second; parkedAfter > time.Hour {
				t.Fatal("it is never parked")
			}
			w.pass(10 * time.Second)
		}
		parked := w.grant(id).Parked
		if parked.Person.Login != "otto" || !strings.Contains(parked.Why, "asks to wait") {
			t.Errorf("it is parked for %s because of %q", parked.Person.Login, parked.Why)
		}
		if waiting, err := w.house.Store.Work(w.ctx, string(w.stored(grant.ID).Intent.ID)); err != nil || waiting.ParkedAt == 0 || waiting.Attempt < 5 {
			t.Errorf("the parked work is %+v, %v", waiting, err)
		}
		w.tells(id, "Otto Other has to look")
		// It stays parked, and holds up nobody.
		w.target.SetFaults(noop.Faults{})
		w.pass(time.Hour)
		w.state(id, countersign.RequestFulfilling)
		w.refused(w.house.Desk.Retry(w.ctx, w.as("ana"), desk.Key{}, grant.ID), "not-the-system-owner")
		w.must(w.house.Desk.Retry(w.ctx, w.as("otto"), desk.Key{}, grant.ID))
		w.refused(w.house.Desk.Retry(w.ctx, w.as("otto"), desk.Key{}, grant.ID), "not-parked")
		w.settle()
		w.state(id, countersign.RequestActive)
		// The duration begins when the access is live, not when it was approved.
		if live := w.grant(id); live.Until != live.From.Add(10*countersign.Day) || live.Parked != nil {
			t.Errorf("live from %s until %s, parked %v", live.From, live.Until, live.Parked)
		}
		if w.target.Total() != 1 {
			t.Errorf("%d effects", w.target.Total())
		}
		w.verified()
	})
}

func TestWhatTheTargetRejectsIsParkedAtOnceAndCanStillBeRevoked(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, grant := w.approved(asking())
	w.target.SetFaults(noop.Faults{Reject: true})
	w.settle()
	if w.stored(grant.ID).Parked == nil {
		t.Fatal("a rejection is tried again")
	}
	w.target.SetFaults(noop.Faults{})
	w.must(w.revocation("ana", grant.ID)())
	w.settle()
	w.state(id, countersign.RequestFailed)
	if w.target.Total() != 0 {
		t.Error("the target was written to")
	}
	w.verified()
}

func TestARevokeIsNeverParkedAndIsRetriedWithoutEnd(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, grant := w.approved(asking())
	w.settle()
	for _, faults := range []noop.Faults{{Reject: true}, {Throttle: 1 << 20}} {
		w.target.SetFaults(faults)
		if w.stored(grant.ID).State == countersign.GrantLive {
			w.must(w.revocation("ana", grant.ID)())
		}
		for range 100 {
			w.pass(5 * time.Minute)
		}
		ending := w.stored(grant.ID)
		if ending.State != countersign.GrantRevoking || ending.Parked != nil || !w.holds(id) {
			t.Fatalf("it is %s, parked %v", ending.State, ending.Parked)
		}
	}
	work, err := w.house.Store.Work(w.ctx, string(w.stored(grant.ID).Intent.ID))
	w.must(err)
	if work.Attempt < 150 || work.ParkedAt != 0 {
		t.Errorf("after a day and a half it was tried %d times", work.Attempt)
	}
	w.target.SetFaults(noop.Faults{})
	w.pass(5 * time.Minute)
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestAlreadyThereAndNotThereAnyMoreAreSuccessesAfterTheReadBack(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, grant := w.approved(asking())
	credential := grant.Credentials[0].ID
	w.target.SetFaults(noop.Faults{TimeOut: 1})
	w.settle()
	if !w.target.Holds(credential) || w.stored(grant.ID).State != countersign.GrantProvisioning {
		t.Fatal("an apply without a read-back counts")
	}
	w.pass(5 * time.Second)
	live := w.grant(id)
	if live.State != countersign.GrantLive || live.From != countersign.InstantOf(w.clock.Now()) {
		t.Fatalf("it is %s since %s", live.State, live.From)
	}
	// Somebody took it away on the target itself.
	w.must(w.target.Revoke(w.ctx, taskOf(w.stored(grant.ID))))
	w.must(w.revocation("ana", grant.ID)())
	w.settle()
	// What the first attempt wrote could still arrive: there is a second look.
	if again := w.stored(grant.ID); again.State != countersign.GrantRevoked {
		t.Fatalf("it is %s", again.State)
	}
	w.pass(60 * time.Second)
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestARevokeAfterAnApplyWithoutAnObservationWaitsForTheLeaseAndLooksTwice(t *testing.T) {
	for _, later := range []string{"revoked at once", "after a throttled second attempt"} {
		t.Run(later, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			id, grant := w.approved(asking())
			w.target.SetFaults(noop.Faults{TimeOut: 1})
			w.settle()
			leaseEnd := monday.Add(60 * time.Second)
			if later != "revoked at once" {
				// That the second attempt did nothing says nothing of the first.
				w.target.SetFaults(noop.Faults{Throttle: 1, ThrottleFor: 600})
				w.pass(4 * time.Second)
				leaseEnd = w.clock.Now().Add(60 * time.Second)
			}
			w.target.SetFaults(noop.Faults{})
			w.must(w.revocation("ana", grant.ID)())
			w.settle()
			if state := w.stored(grant.ID).State; state != countersign.GrantRevoking || !w.holds(id) {
				t.Fatalf("the successor did not wait: %s", state)
			}
			w.pass(leaseEnd.Sub(w.clock.Now()) - time.Second)
			if w.stored(grant.ID).State != countersign.GrantRevoking {
				t.Fatal("the successor did not wait for the end of the lease")
			}
			w.pass(time.Second)
			once := w.stored(grant.ID)
			if once.State != countersign.GrantRevoked || once.EffectiveBy != countersign.InstantOf(w.clock.Now()).Add(60) || w.holds(id) {
				t.Fatalf("after the first read-back it is %s, effective by %s", once.State, once.EffectiveBy)
			}
			// The write that was on its way arrives after all.
			late := taskOf(once)
			w.target.Put(late)
			w.pass(60 * time.Second)
			if again := w.stored(grant.ID); again.State != countersign.GrantRevoked || w.holds(id) {
				t.Fatalf("what came back was not taken away and looked after again: %s", again.State)
			}
			w.pass(60 * time.Second)
			if gone := w.stored(grant.ID); gone.State != countersign.GrantFailed {
				t.Errorf("it is %s", gone.State)
			}
			w.state(id, countersign.RequestFailed)
			w.verified()
		})
	}
}

func TestARevokeDuringAnApplyUnderWayEndsWithNothingOnTheTarget(t *testing.T) {
	for name, finishes := range map[string]bool{"that finishes": true, "that sleeps beyond its deadline": false} {
		t.Run(name, func(t *testing.T) { revokeDuringApply(t, finishes) })
	}
}

func revokeDuringApply(t *testing.T, finishes bool) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		release := make(chan struct{})
		w.target.SetFaults(noop.Faults{Block: release})
		works := w.claim()
		done := make(chan error)
		go func() { done <- w.house.Engine.Deliver(w.ctx, works[0]) }()
		w.must(w.revocation("ana", grant.ID)())
		w.settle()
		if w.stored(grant.ID).State != countersign.GrantRevoking {
			t.Fatal("it did not wait for the apply under way")
		}
		if !finishes {
			// It sleeps beyond its deadline and wakes after the successor was there.
			w.move(61 * time.Second)
			w.target.SetFaults(noop.Faults{})
			w.settle()
		}
		close(release)
		w.must(<-done)
		w.target.SetFaults(noop.Faults{})
		w.settle()
		if state := w.stored(grant.ID).State; state == countersign.GrantGone || state == countersign.GrantFailed || state == countersign.GrantLive {
			t.Errorf("it is %s after one read-back", state)
		}
		w.pass(61 * time.Second)
		w.pass(61 * time.Second)
		w.state(id, countersign.RequestFailed)
		if w.holds(id) {
			t.Error("the target holds what was revoked")
		}
		w.verified()
	})
}

func TestALateDuplicateReportLoses(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id, grant := w.approved(asking())
		first := w.claim()
		slow, err := w.house.Desk.Prepare(w.ctx, first[0])
		w.must(err)
		w.move(61 * time.Second)
		second := w.claim()
		fast, err := w.house.Desk.Prepare(w.ctx, second[0])
		w.must(err)
		seen := countersign.Observation{Present: true, By: "test"}
		// The old claim's report comes while the new one is at work: it counts no more.
		w.must(w.house.Desk.Observe(w.ctx, slow, seen))
		if state := w.stored(grant.ID).State; state != countersign.GrantProvisioning {
			t.Fatalf("the report of a lost claim made it %s", state)
		}
		tries := 0
		var try func()
		try = func() { tries++; w.before(try) }
		w.before(try)
		w.must(w.house.Desk.Fail(w.ctx, slow, errTest))
		w.between.Store(nil)
		if tries != 3 {
			t.Errorf("a lost claim was tried %d times: it does not come back", tries)
		}
		work, err := w.house.Store.Work(w.ctx, second[0].Key)
		w.must(err)
		if work.Attempt != 2 || work.Trouble != "" || work.DueAt != second[0].DueAt {
			t.Errorf("a lost claim's failure moved the work: %+v", work)
		}
		w.must(w.house.Desk.Observe(w.ctx, fast, seen))
		live := w.grant(id)
		if live.State != countersign.GrantLive || live.Until != second[0].ClaimedAt.Add(10*countersign.Day) {
			t.Errorf("it is %s until %s", live.State, live.Until)
		}
		version := live.Version
		w.must(w.house.Desk.Observe(w.ctx, fast, seen))
		w.must(w.house.Desk.Observe(w.ctx, slow, seen))
		if again := w.grant(id); again.Version != version {
			t.Error("a report that was sent twice counts twice")
		}
		w.verified()
	})
}

func TestTwoReportsOfOneOperationAtTheSameInstantCountOnce(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		for range rounds / 3 {
			id, grant := w.approved(asking())
			delivery, err := w.house.Desk.Prepare(w.ctx, w.claim()[0])
			w.must(err)
			w.must(w.target.Apply(w.ctx, delivery.Task))
			report := func() error {
				return w.house.Desk.Observe(w.ctx, delivery, countersign.Observation{Present: true, By: "test"})
			}
			revoke := w.revocation("ana", grant.ID)
			answers := race(report, report, revoke)
			for _, err := range answers {
				w.must(err)
			}
			w.settle()
			w.pass(61 * time.Second)
			w.pass(61 * time.Second)
			if w.holds(id) || !w.stored(grant.ID).State.Ended() {
				t.Fatalf("the grant is %s, the target holds it: %v", w.stored(grant.ID).State, w.holds(id))
			}
		}
		w.verified()
	})
}

func TestAnUndoneWakeOfOneGrantDoesNotHoldUpTheOthers(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	first, _ := w.approved(asking())
	other := asking()
	other.Entitlements = []string{"ledger/books/write"}
	second, _ := w.approved(other)
	w.settle()
	w.move(10*24*time.Hour + time.Second)
	broken := store.Work{Key: "grt_00000000000000000000000000", Ref: "grt_00000000000000000000000000", Kind: store.GrantWork}
	works := []store.Work{broken}
	for _, id := range []countersign.RequestID{first, second} {
		work, err := w.house.Store.Work(w.ctx, string(w.grant(id).ID))
		w.must(err)
		works = append(works, work)
	}
	if err := w.house.Desk.WakeGrants(w.ctx, works, nil); err == nil {
		t.Error("the broken one is not reported")
	}
	for _, id := range []countersign.RequestID{first, second} {
		if state := w.grant(id).State; state != countersign.GrantRevoking {
			t.Errorf("the other one is %s", state)
		}
	}
}
