package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
)

const rotationPolicy = `
request: rotation
title: Another credential for the ledger
grants: {system: ledger, kind: credential}
rotates: {overlap: 2h}
beneficiary: [person, service, workload, agent]
limits: {duration: {default: 10d, max: 30d}}
stages:
  - {name: platform, approvers: [owner-of(resource), group(platform-leads)], within: 2 business days}
  - {name: security, approvers: [group(security), person(pia)], distinct_from: [requester, platform], within: 2 business days}
fulfil: [noop.apply]
`

func rotation(grant countersign.GrantID) desk.Asking {
	asking := asking()
	asking.Rotates, asking.Reason = grant, "it was printed"
	return asking
}

// rotating has Ana's access rotated, up to the last approval.
func rotating(t *testing.T, open database) (w *world, first, id countersign.RequestID, grant desk.GrantView) {
	t.Helper()
	w = found(t, open, policyFor(managerStage, ""), rotationPolicy)
	first, grant = w.active(managerStage)
	id = w.submit("ana", rotation(grant.ID))
	w.must(w.approve("pia", id))
	return w, first, id, grant
}

func TestAnApprovedRotationGivesTheSameGrantANewCredentialAndEndsTheOlderOneAfterTheOverlap(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), rotationPolicy)
		first, grant := w.active(managerStage)
		before := w.stored(grant.ID)

		// Nobody goes around the approval, and nobody asks twice or for another's.
		err := w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, countersign.Hour, "now")
		w.refused(err, "rotation-needs-approval")
		if !strings.Contains(err.Error(), `"rotation"`) {
			t.Errorf("the refusal does not name the request type: %v", err)
		}
		_, err = w.house.Desk.Submit(w.ctx, w.as("otto"), desk.Key{}, rotation(grant.ID))
		w.refused(err, "no-such-grant")
		plain := rotation(grant.ID)
		plain.Type = "access"
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, plain)
		w.refused(err, "wrong-request-type")
		unnamed := rotation("")
		unnamed.Type = "rotation"
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, unnamed)
		w.refused(err, "wrong-request-type")
		both := rotation(grant.ID)
		both.Extends = grant.ID
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, both)
		w.refused(err, "extends-and-rotates")
		longer := rotation(grant.ID)
		longer.Duration = 31 * countersign.Day
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, longer)
		w.refused(err, "duration-not-offered")

		w.pass(5 * 24 * time.Hour)
		id := w.submit("ana", rotation(grant.ID))
		if got := w.view(id).Rotates; got == nil || got.Grant != grant.ID || got.Overlap != 2*countersign.Hour {
			t.Fatalf("the request rotates %+v", got)
		}
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, rotation(grant.ID))
		w.refused(err, "duplicate-request")
		w.refused(w.approve("ana", id), "separation-of-duties")
		w.must(w.approve("pia", id))
		// The second stage takes a second person, although it names the first one.
		if err := w.approve("pia", id); err == nil {
			t.Fatal("one person decided both stages")
		}
		w.must(w.approve("syd", id))
		if len(w.stored(grant.ID).Credentials) != 2 || w.target.Holds(w.stored(grant.ID).Credentials[1].ID) {
			t.Fatal("the approval alone did something at the target")
		}
		w.settle()
		w.state(id, countersign.RequestActive)
		now := w.stored(grant.ID)
		old, fresh := now.Credentials[0], now.Credentials[1]
		if want := countersign.InstantOf(w.clock.Now()).Add(10 * countersign.Day); now.Until != want || fresh.Until != want || now.State != countersign.GrantLive {
			t.Fatalf("the grant ends at %s and its credential at %s, want %s", now.Until, fresh.Until, want)
		}
		if !w.target.Holds(old.ID) || !w.target.Holds(fresh.ID) {
			t.Fatal("in the overlap one of the two does not work")
		}
		_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, rotation(grant.ID))
		w.refused(err, "cannot-rotate")
		w.refused(w.house.Desk.Close(w.ctx, w.as("ana"), desk.Key{}, id, "enough"), "nothing-to-close")

		w.pass(2*time.Hour - time.Second)
		if !w.target.Holds(old.ID) {
			t.Error("the older one ended before the overlap")
		}
		w.pass(time.Second)
		if w.target.Holds(old.ID) || !w.target.Holds(fresh.ID) {
			t.Error("after the overlap the wrong one works")
		}
		w.state(id, countersign.RequestClosed)
		w.state(first, countersign.RequestActive)
		w.tells(first, "by the request "+string(id))
		w.verified()
		w.pass(6 * 24 * time.Hour) // beyond the former end
		if got := w.stored(grant.ID); got.State != countersign.GrantLive || got.Rotating != nil || before.Until >= got.Until {
			t.Errorf("past its former end the grant is %+v", got)
		}
		w.pass(5 * 24 * time.Hour)
		w.state(first, countersign.RequestClosed)
		if w.target.Holds(fresh.ID) {
			t.Error("the new one outlives its end")
		}
		w.verified()
	})
}

func TestARotationWhoseCredentialIsRejectedFailsAndLeavesTheOlderOne(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, first, id, grant := rotating(t, open)
		w.must(w.approve("syd", id))
		w.target.SetFaults(noop.Faults{Reject: true})
		w.settle()
		if got := w.state(id, countersign.RequestFailed); !strings.Contains(got.Outcome, "the older credential stays: ") || !strings.Contains(got.Outcome, "told to refuse") {
			t.Errorf("the request says %q", got.Outcome)
		}
		w.target.SetFaults(noop.Faults{})
		w.pass(10 * time.Minute)
		now := w.stored(grant.ID)
		if now.State != countersign.GrantLive || now.Until != grant.Until || now.Intent != nil || now.Parked != nil || now.Rotating != nil {
			t.Fatalf("the grant is %+v", now)
		}
		if now.Credentials[0].State != countersign.CredentialLive || now.Credentials[0].RetireAt != 0 || now.Credentials[1].State != countersign.CredentialGone {
			t.Fatalf("its credentials are %+v", now.Credentials)
		}
		// It can be asked for again.
		again := w.submit("ana", rotation(grant.ID))
		w.must(w.approve("pia", again))
		w.must(w.approve("syd", again))
		w.settle()
		w.state(again, countersign.RequestActive)
		w.state(first, countersign.RequestActive)
		w.verified()
	})
}

// What timed out may have had its effect: it is taken away, and looked at twice.
func TestARotationThatNeverComesThroughIsGivenUpAndNothingOfItStays(t *testing.T) {
	w, first, id, grant := rotating(t, onSQLite(t))
	w.must(w.approve("syd", id))
	w.target.SetFaults(noop.Faults{TimeOut: 100})
	w.settle()
	for range 12 {
		w.pass(5 * time.Minute)
	}
	w.state(id, countersign.RequestFailed)
	w.target.SetFaults(noop.Faults{})
	w.pass(20 * time.Minute)
	now := w.stored(grant.ID)
	if now.State != countersign.GrantLive || now.Credentials[1].State != countersign.CredentialGone || w.target.Holds(now.Credentials[1].ID) || !w.target.Holds(now.Credentials[0].ID) {
		t.Fatalf("the grant is %+v", now)
	}
	w.state(first, countersign.RequestActive)
	w.verified()
}

func TestADeniedOrCancelledRotationLeavesAllAsItWas(t *testing.T) {
	for name, end := range map[string]func(w *world, id countersign.RequestID) error{
		"denied":    func(w *world, id countersign.RequestID) error { return w.denial("syd", id)() },
		"cancelled": func(w *world, id countersign.RequestID) error { return w.cancellation("ana", id)() },
	} {
		t.Run(name, func(t *testing.T) {
			w, _, id, grant := rotating(t, onSQLite(t))
			before := w.stored(grant.ID)
			w.must(end(w, id))
			w.settle()
			if now := w.stored(grant.ID); now.Version != before.Version {
				t.Errorf("the grant was changed: %+v", now)
			}
			w.verified()
		})
	}
}

func TestWhatEndsOrHoldsTheGrantWinsOverARotation(t *testing.T) {
	revoke := func(w *world, grant countersign.GrantID) error { return w.revocation("ana", grant)() }
	hold := func(w *world, _ countersign.GrantID) error { _, err := w.hold("adam", "ana", false); return err }
	expire := func(w *world, _ countersign.GrantID) error { w.move(11 * 24 * time.Hour); return nil }
	for name, c := range map[string]struct {
		undecided, overlap bool
		meanwhile          func(*world, countersign.GrantID) error
		state              countersign.RequestState
		live               bool
	}{
		"revoked before the last approval": {undecided: true, meanwhile: revoke, state: countersign.RequestDeciding},
		"revoked before it is carried out": {meanwhile: revoke, state: countersign.RequestFailed},
		"held before it is carried out":    {meanwhile: hold, state: countersign.RequestFailed, live: true},
		"expired before it is carried out": {meanwhile: expire, state: countersign.RequestFailed},
		"revoked in the overlap":           {overlap: true, meanwhile: revoke, state: countersign.RequestClosed},
		"an approver left in the meantime": {meanwhile: func(w *world, _ countersign.GrantID) error {
			w.apply("manager: bea}\n  - {login: sam", "manager: bea, status: departed}\n  - {login: sam")
			return nil
		}, state: countersign.RequestFailed, live: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, id, grant := rotating(t, onSQLite(t))
			if !c.undecided {
				w.must(w.approve("syd", id))
			}
			if c.overlap {
				w.settle()
				w.state(id, countersign.RequestActive)
			}
			w.must(c.meanwhile(w, grant.ID))
			if c.undecided {
				w.settle()
				w.refused(w.approve("syd", id), "cannot-rotate-now")
			}
			w.settle()
			w.state(id, c.state)
			w.pass(10 * time.Minute)
			now := w.stored(grant.ID)
			if live := now.State == countersign.GrantLive; live != c.live {
				t.Fatalf("the grant is %s", now.State)
			}
			if w.target.Holds(now.Credentials[0].ID) != c.live || len(now.Credentials) > 1 && w.target.Holds(now.Credentials[1].ID) {
				t.Errorf("at the target: %+v", now.Credentials)
			}
			w.verified()
		})
	}
}

func TestTheReminderOffersTheRotation(t *testing.T) {
	for _, rotates := range []bool{true, false} {
		ear := &listener{}
		policies := []string{strings.Replace(policyFor(managerStage, ""), "{ends: revoke}", "{ends: revoke, remind: 2d}", 1)}
		if rotates {
			policies = append(policies, rotationPolicy)
		}
		w := listening(t, onSQLite(t), ear, policies...)
		_, grant := w.active(managerStage)
		w.pass(8*24*time.Hour + time.Hour)
		w.pass(time.Hour)
		w.tell()
		var text string
		for _, message := range ear.heard {
			for _, line := range message.Lines {
				if line.Kind == desk.NoticeReminder {
					text = line.Text
				}
			}
		}
		if text == "" || strings.Contains(text, "countersign request rotate "+string(grant.ID)) != rotates {
			t.Errorf("rotated by request: %t, and the reminder says %q", rotates, text)
		}
	}
}

func TestARotationThatIsAmendedVoidsWhatWasApprovedAndStaysTheSameGrants(t *testing.T) {
	w, _, id, grant := rotating(t, onSQLite(t))
	change := rotation(grant.ID)
	change.Rotates, change.Duration = "", 20*countersign.Day
	w.must(w.house.Desk.Amend(w.ctx, w.as("ana"), desk.Key{}, id, change))
	if got := w.view(id); got.Rotates == nil || got.Rotates.Grant != grant.ID || got.Duration != 20*countersign.Day {
		t.Fatalf("the request is %+v", got)
	}
	if err := w.approve("syd", id); countersign.ReasonOf(err) != "stage-not-open" {
		t.Fatalf("what was approved for ten days stands for twenty: %v", err)
	}
	w.must(w.approve("pia", id))
	w.must(w.approve("syd", id))
	w.settle()
	if want := countersign.InstantOf(w.clock.Now()).Add(20 * countersign.Day); w.stored(grant.ID).Until != want {
		t.Errorf("the grant ends at %s, want %s", w.stored(grant.ID).Until, want)
	}
	w.verified()
}

func TestAfterARestoreARotationUnderWayIsParkedAndGoesOnWhenItsOwnerSaysSo(t *testing.T) {
	w, _, id, grant := rotating(t, onSQLite(t))
	w.must(w.approve("syd", id))
	parked, err := w.house.Desk.Restored(w.ctx, desk.Restoration{TakenAt: countersign.InstantOf(w.clock.Now()), OperatingSystemUser: "root"})
	w.must(err)
	w.settle()
	if now := w.stored(grant.ID); parked != 1 || now.Parked == nil || w.target.Holds(now.Credentials[1].ID) {
		t.Fatalf("%d are parked, and the grant is %+v", parked, now)
	}
	w.must(w.house.Desk.Retry(w.ctx, w.as("otto"), desk.Key{}, grant.ID))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}

// A rotation that timed out after its effect and is stopped by a hold leaves nothing
// at the target: the new credential is taken away, and looked for a second time.
func TestARotationThatIsStoppedAfterItsEffectIsTakenBack(t *testing.T) {
	w, first, id, grant := rotating(t, onSQLite(t))
	w.must(w.approve("syd", id))
	w.target.SetFaults(noop.Faults{TimeOut: 1})
	w.settle()
	w.target.SetFaults(noop.Faults{})
	fresh := w.stored(grant.ID).Credentials[1].ID
	if w.state(id, countersign.RequestFulfilling); !w.target.Holds(fresh) {
		t.Fatal("there was no effect")
	}
	hold, err := w.hold("adam", "ledger", false)
	w.must(err)
	w.pass(10 * time.Second)
	if got := w.state(id, countersign.RequestFailed); !strings.Contains(got.Outcome, "A hold is in force.") {
		t.Errorf("the request says %q", got.Outcome)
	}
	if now := w.stored(grant.ID); w.target.Holds(fresh) || now.Intent == nil || now.Intent.Operation != countersign.ConfirmOperation {
		t.Errorf("the target holds the new one: %t, and the intent is %+v", w.target.Holds(fresh), now.Intent)
	}
	w.pass(2 * time.Minute)
	w.must(w.lift("alma", hold))
	if now := w.stored(grant.ID); now.State != countersign.GrantLive || now.Intent != nil || !w.target.Holds(now.Credentials[0].ID) {
		t.Errorf("the grant is %+v", now)
	}
	w.state(first, countersign.RequestActive)
	w.verified()
}

func TestTheLastApprovalOfARotationAndARevokeAtTheSameInstantLeaveNothingAtTheTarget(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, _, id, grant := rotating(t, open)
		answers := race(w.approval("syd", id), w.revocation("ana", grant.ID))
		w.must(answers[1])
		if answers[0] != nil {
			w.refused(answers[0], "cannot-rotate-now")
		}
		w.settle()
		w.pass(2 * time.Minute)
		now := w.stored(grant.ID)
		for _, credential := range now.Credentials {
			if w.target.Holds(credential.ID) {
				t.Errorf("the target holds %s", credential.ID)
			}
		}
		if now.State != countersign.GrantGone {
			t.Errorf("the grant is %s", now.State)
		}
		w.verified()
	})
}

func TestAKeyOfTheVaultIsRotatedByRequestAndBothWorkInTheOverlap(t *testing.T) {
	toVault := strings.NewReplacer("system: ledger", "system: keys", "noop.apply", "vault.issue-key")
	w := found(t, onSQLite(t), toVault.Replace(policyFor(managerStage, "")), toVault.Replace(rotationPolicy))
	key := desk.Asking{Beneficiary: "svc-ana", Entitlements: []string{"keys/api/call"}, Reason: "calls the interface"}
	first := w.submit("ana", key)
	w.must(w.approve("max", first))
	w.settle()
	grant := w.grant(first)
	works := func(index int) bool {
		t.Helper()
		check, err := w.house.Vault.CheckCredential(w.ctx, w.stored(grant.ID).Credentials[index].ID)
		w.must(err)
		return check.Active
	}
	key.Rotates = grant.ID
	id := w.submit("ana", key)
	w.must(w.approve("pia", id))
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	if !works(0) || !works(1) {
		t.Errorf("in the overlap they work: %t %t", works(0), works(1))
	}
	w.pass(2 * time.Hour)
	if works(0) || !works(1) {
		t.Errorf("after the overlap they work: %t %t", works(0), works(1))
	}
	w.state(id, countersign.RequestClosed)
	w.verified()
}
