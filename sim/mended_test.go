package sim

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
)

// What follows was found by a seed, and is here in its shortest form.

// inBubble founds a house in simulated time.
func inBubble(t *testing.T, alone bool, run func(s *story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(newWorld(t, 1, alone, time.Now))
		run(s)
		s.check(true)
		s.report(t, 1)
	})
}

// given brings access to be live, and returns its grant.
func (s *story) given(who, entitlement string) *countersign.Grant {
	s.t.Helper()
	id, err := s.houses[0].Desk.Submit(s.ctx, s.as(who), desk.Key{}, desk.Asking{Entitlements: []string{entitlement}, Reason: "the books of the month are due"})
	s.must(err)
	view, err := s.houses[0].Desk.Request(s.ctx, s.as("max"), id)
	s.must(err)
	s.must(s.houses[0].Desk.Approve(s.ctx, s.as("max"), desk.Key{}, id, desk.Decision{Shown: view.Shown}))
	if !s.settled() {
		s.t.Fatal("the engine does not come to rest")
	}
	return s.grantOf(id)
}

func (s *story) grantOf(id countersign.RequestID) *countersign.Grant {
	s.t.Helper()
	grants, err := s.store.Grants(s.ctx, store.GrantQuery{Request: id})
	s.must(err)
	if len(grants) != 1 {
		s.t.Fatalf("there are %d grants", len(grants))
	}
	return grants[0]
}

// letsThrough reports whether the decision point of a replica allows it now; one that
// cannot tell does not.
func letsThrough(h *house.House, holder countersign.IdentityID, action, resource string, now countersign.Instant) bool {
	allowed, err := h.Point.Allowed(holder, action, resource, now)
	return err == nil && allowed
}

func TestARevocationWhoseCommitWasNotConfirmedStopsBeforeItIsAnswered(t *testing.T) {
	inBubble(t, false, func(s *story) {
		for _, retryAt := range []int{0, 1} {
			grant := s.given("ana", "wiki/space/reader")
			allowed := func(replica int) bool {
				return letsThrough(s.houses[replica], grant.Holder, "reader", "wiki/space", s.clock.instant())
			}
			if !allowed(0) || !allowed(1) {
				t.Fatal("she may not read")
			}
			// The first answer gets lost with the connection; the command is sent again.
			key := desk.Key{Route: "revoke", Value: string(grant.ID), Body: "sha256:same"}
			s.faults.lose = 1
			_ = s.houses[0].Desk.Revoke(s.ctx, s.as("otto"), key, grant.ID, "not needed any more")
			s.must(s.houses[retryAt].Desk.Revoke(s.ctx, s.as("otto"), key, grant.ID, "not needed any more"))
			if allowed(retryAt) {
				t.Errorf("the revocation was answered by replica %d, whose check still lets her through", retryAt)
			}
			// What the other replica still answers by runs out.
			s.settled()
			s.pass(10 * time.Second)
			s.settled()
		}
	})
}

func TestAHouseThatDidNotHearOfItsCommitRefusesFromTheNextBeatOn(t *testing.T) {
	inBubble(t, true, func(s *story) {
		grant := s.given("ana", "wiki/space/reader")
		s.faults.lose = 1
		if err := s.houses[0].Desk.Revoke(s.ctx, s.as("otto"), desk.Key{}, grant.ID, "not needed any more"); countersign.KindOf(err) != countersign.Unavailable {
			t.Fatalf("the answer is %v", err)
		}
		s.must(s.houses[0].Engine.Beat(s.ctx))
		if letsThrough(s.houses[0], grant.Holder, "reader", "wiki/space", s.clock.instant()) {
			t.Error("the check lets her through")
		}
	})
}

func TestAnOperationThatHangsAfterTheClockSteppedBackIsReported(t *testing.T) {
	inBubble(t, true, func(s *story) {
		grant := s.given("ana", "ledger/books/read")
		s.must(s.houses[0].Desk.Revoke(s.ctx, s.as("otto"), desk.Key{}, grant.ID, "not needed any more"))
		works, err := s.houses[0].Engine.Claim(s.ctx, 1)
		s.must(err)
		s.clock.offset -= time.Hour
		s.target.hang = 1
		s.must(s.houses[0].Engine.Deliver(s.ctx, works[0]))
		work, err := s.store.Work(s.ctx, works[0].Key)
		s.must(err)
		if work.Trouble == "" {
			t.Errorf("nobody was told what became of %+v", work)
		}
	})
}

// A write that was on its way when the connector stopped waiting for it arrives after
// a second attempt was read back, and after what that one gave was taken away.
func TestAWriteOfAnEarlierAttemptThatArrivesAfterTheRevokeIsFound(t *testing.T) {
	inBubble(t, true, func(s *story) {
		s.target.late, s.target.lateFor = 1, 50*time.Second
		grant := s.given("ana", "ledger/books/read")
		s.pass(4 * time.Second)
		s.settled()
		if grant = s.grantOf(grant.Request); grant.State != countersign.GrantLive {
			t.Fatal("the second attempt gave nothing")
		}
		s.must(s.houses[0].Desk.Revoke(s.ctx, s.as("otto"), desk.Key{}, grant.ID, "not needed any more"))
		s.settled()
		for range 4 {
			s.pass(40 * time.Second)
			s.settled()
			s.check(true)
		}
		if after := s.grantOf(grant.Request); !after.State.Ended() || len(s.target.held) != 0 {
			t.Errorf("it is %s, and the target holds %d", after.State, len(s.target.held))
		}
	})
}

// A burst of ends on a busy machine took longer than the freshness bound, and the
// replica refused everybody meanwhile.
func TestAReplicaShowsThatItIsFreshHoweverLongEndsTake(t *testing.T) {
	inBubble(t, false, func(s *story) {
		grant := s.given("ana", "wiki/space/reader")
		s.faults.slow = time.Minute
		running, stop := context.WithCancel(s.ctx)
		var engine sync.WaitGroup
		engine.Go(func() { s.houses[0].Run(running) })
		time.Sleep(30 * time.Second)
		if !letsThrough(s.houses[0], grant.Holder, "reader", "wiki/space", s.clock.instant()) {
			t.Errorf("she may not read: %v", s.houses[0].Point.Answers())
		}
		stop()
		engine.Wait()
		s.faults.slow = 0
	})
}

// What a rule gave between the judgement of a departure and its commit was seen by
// neither, and went on.
func TestWhatARuleGivesWhileItsHolderLeavesEnds(t *testing.T) {
	inBubble(t, false, func(s *story) {
		s.settled()
		files := s.files.clone()
		files.joined, files.crew = append(files.joined, "joy"), append(files.crew, "joy")
		s.must(s.applyFiles(files))
		files = s.files.clone()
		files.departed = append(files.departed, "joy")
		s.faults.meanwhile = func() { s.must(s.houses[1].Settle(s.ctx)) }
		s.must(s.applyFiles(files))
		joy := s.as("joy").Identity
		held := func() int { return len(s.look().grantsHeld(joy)) }
		if held() == 0 {
			t.Fatal("nothing was given meanwhile")
		}
		s.settled()
		s.pass(61 * time.Second)
		s.settled()
		if still := held(); still != 0 {
			t.Errorf("%d grants go on", still)
		}
	})
}

func (l *look) grantsHeld(who countersign.IdentityID) (held []*countersign.Grant) {
	for _, grant := range l.grants {
		if grant.Holder == who && !grant.State.Ended() {
			held = append(held, grant)
		}
	}
	return held
}
