package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

func TestTheDurationStartsWhenAccessIsLiveAndTheStrictestLimitWins(t *testing.T) {
	for _, test := range []struct {
		name, holder, right string
		duration            countersign.Seconds
		want                countersign.Seconds
	}{
		{"what was asked for", "ana", "read", 3 * countersign.Day, 3 * countersign.Day},
		{"by default", "ana", "read", 0, 10 * countersign.Day},
		{"the entitlement's own limit", "ana", "brief", 3 * countersign.Day, 2 * countersign.Day},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			id := w.submit("ana", desk.Asking{Beneficiary: test.holder, Entitlements: []string{"ledger/books/" + test.right}, Duration: test.duration, Reason: "the books of the month are due"})
			w.pass(5 * time.Hour)
			w.must(w.approve("max", id))
			w.target.SetFaults(noop.Faults{Throttle: 1, ThrottleFor: 3600})
			w.settle()
			w.pass(time.Hour)
			live := w.grant(id)
			if live.From != countersign.InstantOf(w.clock.Now()) || live.Until != live.From.Add(test.want) {
				t.Errorf("live from %s until %s, want %s of access", live.From, live.Until, test.want)
			}
			w.verified()
		})
	}
	t.Run("the holder's contract", func(t *testing.T) {
		w := found(t, onSQLite(t), policyFor(managerStage, ""))
		id := w.submit("cora", desk.Asking{Entitlements: []string{"ledger/books/read"}, Duration: 30 * countersign.Day, Reason: "the books of the month are due"})
		w.must(w.approve("max", id))
		w.settle()
		end := countersign.InstantOf(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
		if live := w.grant(id); live.Until != end {
			t.Errorf("it ends at %s, and the contract at %s", live.Until, end)
		}
		w.clock.now = end.Time()
		w.settle()
		w.state(id, countersign.RequestClosed)
		_, err := w.house.Desk.Submit(w.ctx, w.as("cora"), desk.Key{}, desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
		w.refused(err, "inactive")
		w.verified()
	})
}

func TestTheEndIsFixedAtTheClaimAndUntilIsWhatWasReadBack(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, grant := w.approved(asking())
	claimed := w.claim()[0]
	delivery, err := w.house.Desk.Prepare(w.ctx, claimed)
	w.must(err)
	w.move(20 * time.Second)
	if want := claimed.ClaimedAt.Add(10 * countersign.Day); delivery.Task.Until != want {
		t.Fatalf("the target is told %s, want %s", delivery.Task.Until, want)
	}
	readBack := delivery.Task.Until.Add(-countersign.Hour)
	w.must(w.house.Desk.Observe(w.ctx, delivery, countersign.Observation{Present: true, Until: readBack, By: "test"}))
	if live := w.stored(grant.ID); live.Until != readBack {
		t.Errorf("until is %s, and %s was read back", live.Until, readBack)
	}
}

func TestATargetThatKeepsACredentialLongerDoesNotMakeTheAccessLonger(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	_, grant := w.approved(asking())
	delivery, err := w.house.Desk.Prepare(w.ctx, w.claim()[0])
	w.must(err)
	w.must(w.house.Desk.Observe(w.ctx, delivery, countersign.Observation{Present: true, Until: delivery.Task.Until.Add(countersign.Day), By: "test"}))
	if live := w.stored(grant.ID); live.Until != delivery.Task.Until {
		t.Errorf("until is %s, and %s was approved", live.Until, delivery.Task.Until)
	}
}

func TestDurationsThatAreNotOfferedAreRefusedSayingWhichAre(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	in := func(by time.Duration) countersign.Instant { return countersign.InstantOf(monday.Add(by)) }
	for _, test := range []struct {
		name, reason, says string
		duration           countersign.Seconds
		until              countersign.Instant
	}{
		{"an end in the past", "end-in-the-past", "", 0, in(-time.Second)},
		{"an end now", "end-in-the-past", "", 0, in(0)},
		{"both", "end-and-duration", "", countersign.Hour, in(time.Hour)},
		{"too long", "duration-not-offered", "30d", 31 * countersign.Day, 0},
		{"an end too far", "duration-not-offered", "30d", 0, in(31 * 24 * time.Hour)},
		{"negative", "duration-not-offered", "", -1, 0},
	} {
		wanted := asking()
		wanted.Duration, wanted.Until = test.duration, test.until
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, wanted)
		if countersign.ReasonOf(err) != test.reason || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v (%s), want %s that says %q", test.name, err, countersign.ReasonOf(err), test.reason, test.says)
		}
	}
	until := asking()
	until.Until = in(5 * 24 * time.Hour)
	id := w.submit("ana", until)
	w.pass(24 * time.Hour)
	w.must(w.approve("max", id))
	w.settle()
	if live := w.grant(id); live.Until != until.Until {
		t.Errorf("asked for until %s, and it ends at %s", until.Until, live.Until)
	}
}

func TestAnApproverMayShortenAndNeverLengthen(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(twoOfSecurity, ""))
	id := w.submit("ana", asking())
	decide := func(who string, duration countersign.Seconds) error {
		return w.house.Desk.Approve(w.ctx, w.as(who), desk.Key{}, id, desk.Decision{Shown: w.shown(id), Duration: duration})
	}
	w.refused(decide("syd", 11*countersign.Day), "duration-longer")
	w.refused(decide("syd", -1), "duration-longer")
	earlier := w.approval("sam", id)
	w.must(decide("syd", 2*countersign.Day))
	// The page that Sam looked at says more than what is granted now.
	if err := earlier(); err != nil {
		w.refused(err, "shown-has-changed")
		w.must(w.approve("sam", id))
	}
	w.settle()
	if live := w.grant(id); live.Until != live.From.Add(2*countersign.Day) {
		t.Errorf("it lasts until %s", live.Until)
	}
	w.verified()
}

func TestTimersOfACancelledRequestDieWithIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(`- {name: manager, approvers: [manager-of(requester)], within: 1h, then: {escalate_to: [person(bea)], within: 1h, then: deny}}`, ""))
		for range rounds / 3 {
			id := w.submit("ana", asking())
			w.move(time.Hour)
			answers := race(w.cancellation("ana", id), func() error { _, err := w.house.Engine.Timers(w.ctx); return err })
			for _, err := range answers {
				w.must(err)
			}
			version := w.state(id, countersign.RequestCancelled).Version
			w.pass(5 * time.Hour)
			w.pass(5 * time.Hour)
			if view := w.state(id, countersign.RequestCancelled); view.Version != version {
				t.Fatal("something happened to a cancelled request")
			}
			if _, err := w.house.Store.Work(w.ctx, string(id)); countersign.KindOf(err) != countersign.NotFound {
				t.Fatalf("its timer is still there: %v", err)
			}
		}
		w.verified()
	})
}

func TestAClockThatStepsBackCausesNoSecondEffectAndNoOpenEnd(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		short := asking()
		short.Duration = 2 * countersign.Hour
		id, grant := w.approved(short)
		w.settle()
		// The end is claimed, and the clock steps back before anybody judges it.
		w.move(2 * time.Hour)
		works, err := w.house.Store.Claim(w.ctx, store.Claim{Now: grant.OpenedAt.Add(2 * countersign.Hour), Owner: "test", Kinds: []store.WorkKind{store.GrantWork}, Limit: 10, Lease: desk.Lease})
		w.must(err)
		if len(works) != 1 {
			t.Fatalf("%d timers are due", len(works))
		}
		w.move(-10 * time.Minute)
		w.must(w.house.Desk.WakeGrants(w.ctx, works, nil))
		w.settle()
		w.state(id, countersign.RequestActive)
		effects := w.target.Total()
		w.pass(-time.Hour)
		w.pass(30 * time.Minute)
		if w.target.Total() != effects {
			t.Error("a second effect")
		}
		w.pass(40*time.Minute - time.Second)
		w.state(id, countersign.RequestActive)
		w.pass(time.Second)
		w.state(id, countersign.RequestClosed)
		if w.holds(id) {
			t.Error("an open end")
		}
		// What ended stays ended while the clock says that it has not begun.
		w.pass(-3 * time.Hour)
		w.state(id, countersign.RequestClosed)
		if w.target.Total() != 2 {
			t.Errorf("%d effects", w.target.Total())
		}
		w.verified()
	})
}

func TestALookThatFindsNothingDoesNotPutTheEndOff(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	short := asking()
	short.Duration = 30 * countersign.Minute
	id, _ := w.approved(short)
	w.settle()
	// A change of the holder makes everybody look, a few minutes before the end.
	w.pass(25 * time.Minute)
	w.apply("{login: ana, name: Ana Asker,", "{login: ana, name: Ana B. Asker,")
	w.settle()
	w.state(id, countersign.RequestActive)
	w.pass(5 * time.Minute)
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestExpiryWorksWithABrokenPolicyAndWithNobodyWhoCouldApprove(t *testing.T) {
	database := onSQLite(t)
	w := found(t, database, policyFor(managerStage, "evidence: [{name: ticket, kind: ticket, due: at-closure, within: 2 business days}]"))
	id, grant := w.approved(asking())
	revoked := desk.Asking{Beneficiary: "ana", Entitlements: []string{"ledger/books/write"}, Reason: "the books of the month are due"}
	second, other := w.approved(revoked)
	w.settle()
	w.state(id, countersign.RequestActive)
	// Everybody who could approve anything is suspended, and the set is unreadable.
	w.edit("{login: max, name: Max Manager,", "{login: max, name: Max Manager, status: suspended,",
		"{login: syd, name: Syd Security,", "{login: syd, name: Syd Security, status: suspended,")
	_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	w.harm(`UPDATE policy_set SET bytes = CAST('{"files":[{"path":"a.yaml","content":"request: x\nnonsense: y\n"}]}' AS BLOB)`)
	w.restart()
	_, err = w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.refused(err, "broken-policy")
	w.must(w.revocation("ana", other.ID)())
	w.settle()
	if state := w.stored(other.ID).State; state != countersign.GrantGone {
		t.Errorf("the revoked one is %s", state)
	}
	w.pass(10*24*time.Hour + time.Second)
	if state := w.stored(grant.ID).State; state != countersign.GrantGone || w.target.Holds(grant.Credentials[0].ID) {
		t.Errorf("the expired one is %s", state)
	}
	for _, id := range []countersign.RequestID{id, second} {
		request, err := w.house.Store.Request(w.ctx, id)
		w.must(err)
		if request.State != countersign.RequestClosing {
			t.Errorf("the request is %s", request.State)
		}
	}
	// Nothing of the record is wrong but the set that was made unreadable.
	if found := w.findings(); len(found) != 1 || !strings.HasPrefix(found[0], "policy-set") {
		t.Errorf("the record: %v", found)
	}
}

func TestADeadlineEscalatesThenDeniesAndSilenceNeverGrants(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: manager, approvers: [manager-of(requester)], within: 1h, then: {escalate_to: [person(bea)], within: 2h, then: {escalate_to: [group(security)], within: 3h, then: deny}}}`, ""))
	id := w.submit("ana", asking())
	for _, step := range []struct {
		after time.Duration
		asked string
	}{{0, "max"}, {time.Hour, "max bea"}, {2 * time.Hour, "max bea syd sam sue"}} {
		w.pass(step.after)
		if stage := w.state(id, countersign.RequestDeciding).Stages[0]; logins(stage) != step.asked {
			t.Fatalf("after %s it asks %s, want %s", step.after, logins(stage), step.asked)
		}
	}
	w.tells(id, "escalated")
	w.pass(3*time.Hour - time.Second)
	w.state(id, countersign.RequestDeciding)
	w.pass(time.Second)
	view := w.state(id, countersign.RequestDenied)
	if !strings.Contains(view.Outcome, "Nobody decided the stage \"manager\" in time") || len(view.Grants) != 0 {
		t.Errorf("it ended as %q", view.Outcome)
	}
	w.refused(w.approve("bea", id), "already-denied")
	w.verified()
}

func TestAnApprovalAtTheInstantOfTheDeadlineAndTheDeadlineAreOneOutcome(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(`- {name: manager, approvers: [manager-of(requester)], within: 1h}`, ""))
		for range rounds / 2 {
			id := w.submit("ana", asking())
			w.move(time.Hour)
			answers := race(w.approval("max", id), func() error { _, err := w.house.Engine.Timers(w.ctx); return err })
			w.must(answers[1])
			w.settle()
			if answers[0] == nil {
				w.state(id, countersign.RequestActive)
			} else {
				w.refused(answers[0], "already-denied")
				w.state(id, countersign.RequestDenied)
			}
			w.ended(id)
		}
		w.verified()
	})
}

func TestApproversEmptiedLaterFollowTheLadderAndThenDenyWithTheReason(t *testing.T) {
	ladder := `- {name: leads, approvers: [group(reviewers)], within: 2 business days, then: {escalate_to: [person(bea)], within: 1h, then: deny}}`
	w := found(t, onSQLite(t), policyFor(ladder, ""))
	id := w.submit("ana", asking())
	w.apply("{name: reviewers, members: [both, pia]}", "{name: reviewers, members: []}")
	w.settle()
	if stage := w.state(id, countersign.RequestDeciding).Stages[0]; logins(stage) != "bea" || stage.Escalated != 1 || stage.Deadline != countersign.InstantOf(monday.Add(time.Hour)) {
		t.Fatalf("it asks %s until %s", logins(stage), stage.Deadline)
	}
	w.apply("{login: bea, name: Bea Boss,", "{login: bea, name: Bea Boss, status: suspended,")
	w.settle()
	view := w.state(id, countersign.RequestDenied)
	if !strings.Contains(view.Outcome, "Nobody is left who may decide the stage \"leads\"") {
		t.Errorf("it ended as %q", view.Outcome)
	}
	w.verified()
}

func TestWhatIsNeverCompletedExpires(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "collect_within: 2h\nevidence: [{name: ticket, kind: ticket, due: at-request}]"))
	id := w.submit("ana", asking())
	w.pass(2*time.Hour - time.Second)
	w.state(id, countersign.RequestCollecting)
	w.pass(time.Second)
	w.state(id, countersign.RequestExpired)
	err := w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "ticket", Content: []byte("OPS-1")})
	w.refused(err, "already-expired")
	w.submit("ana", asking())
	w.verified()
}

func TestOverdueEvidenceIsToldToOwnersWhereNobodyElseIsLeft(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "evidence: [{name: ticket, kind: ticket, due: at-closure, within: 4h, escalate_to: [person(ana)]}]"))
	id, grant := w.approved(asking())
	w.settle()
	w.must(w.revocation("ana", grant.ID)())
	w.settle()
	w.must(w.house.Desk.Suspend(w.ctx, w.as("adam"), desk.Key{}, "ana", "on the way out", false))
	w.pass(4 * time.Hour)
	w.tells(id, `the follow-up "ticket" is overdue; told: Otto Other, Pit Platform;`)
	for _, who := range []string{"otto", "pit"} {
		w.must(w.house.Desk.Suspend(w.ctx, w.as("adam"), desk.Key{}, who, "on the way out", false))
	}
	w.pass(7 * 24 * time.Hour)
	w.tells(id, `the follow-up "ticket" is overdue; told: A`)
	w.tells(id, "Adam Admin")
	w.verified()
}

func TestClosureEvidenceKeepsTheRequestClosingUntilItIsThere(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, "evidence: [{name: ticket, kind: ticket, due: at-closure, within: 4h, escalate_to: [group(security), person(ana)]}]"))
	early := asking()
	early.Evidence = []desk.EvidenceContent{{Slot: "ticket", Content: []byte("OPS-1")}}
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, early)
	w.refused(err, "not-due-yet")
	attach := func(id countersign.RequestID, slot string) error {
		return w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: slot, Content: []byte("OPS-1 closed")})
	}
	id, grant := w.approved(asking())
	w.settle()
	w.refused(attach(id, "ticket"), "wrong-state")
	w.must(w.revocation("ana", grant.ID)())
	w.settle()
	view := w.state(id, countersign.RequestClosing)
	if view.Evidence[0].Deadline != countersign.InstantOf(monday.Add(4*time.Hour)) || view.WaitsFor == "" {
		t.Errorf("it is due %s and waits for %q", view.Evidence[0].Deadline, view.WaitsFor)
	}
	w.pass(4 * time.Hour)
	if view := w.state(id, countersign.RequestClosing); !view.Evidence[0].Overdue {
		t.Error("it is not overdue")
	}
	w.tells(id, `the follow-up "ticket" is overdue`)
	version := w.view(id).Version
	w.pass(24 * time.Hour)
	if w.view(id).Version != version {
		t.Error("it is told more than once")
	}
	w.pass(6*24*time.Hour - time.Second)
	if w.view(id).Version != version {
		t.Error("it is told again before a week is over")
	}
	w.pass(time.Second)
	if view := w.view(id); view.Version == version || view.Evidence[0].Deadline != countersign.InstantOf(monday.Add(4*time.Hour+14*24*time.Hour)) || !view.Evidence[0].Overdue {
		t.Errorf("nobody is told again: %+v", view.Evidence[0])
	}
	w.refused(attach(id, "tikcet"), "no-such-slot")
	w.must(attach(id, "ticket"))
	w.state(id, countersign.RequestClosed)
	w.verified()
}
