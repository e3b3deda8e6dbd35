// Package connectortest is the suite that every connector passes: it knows the
// faults of connectors in the field and asks for each that it is not there.
package connectortest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/target"
)

// Bench is one connector on one fresh target.
type Bench struct {
	Connector connector.Connector
	Clock     *Clock
	// Works asks the target as the credential's user would, not by Verify,
	// whether the task's credential gives the task's right now.
	Works func(t *testing.T, task connector.Task) bool
	// Plant puts on the target, under the task's credential, something that the
	// task did not make, by the target's own means.
	Plant func(t *testing.T, task connector.Task)
	// Writes counts how often the target was changed under the task's credential.
	Writes func(t *testing.T, task connector.Task) int
	// CannotList says that the target cannot list what it holds: the connector is no
	// Inventory.
	CannotList bool
	// ByHand gives the task's right to its holder by the target's own means, without a
	// mark, as an Item lists it. It is needed of a connector that is a Remover.
	ByHand func(t *testing.T, task connector.Task) connector.Item
}

// Harness makes a bench for each case.
type Harness func(t *testing.T) *Bench

// suite is a bench with what the cases need.
type suite struct {
	*testing.T
	*Bench
	mint *countersign.Mint
}

// Run holds a connector to the contract.
func Run(t *testing.T, harness Harness) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"DescribesItself", describes},
		{"APlanSaysWhatAndChangesNothing", plans},
		{"AnApplyGivesExactlyWhatWasAsked", applies},
		{"HoldersWithOneDisplayNameAreTwo", holders},
		{"WhatIsNotOneKnownRightIsRejected", rejects},
		{"WhatOthersMadeIsNeverAdopted", adopts},
		{"ARevokeTakesOnlyItsOwnCredential", revokesOwn},
		{"ARevokeTwiceIsSuccess", revokesTwice},
		{"AnApplyAfterItsRevokeGivesNothing", appliesLate},
		{"AnIntentTwiceIsOneEffect", appliesTwice},
		{"DuplicatesAtOnceAreOneEffect", duplicates},
		{"ALaterAttemptMovesTheEndAndALateOneDoesNot", moves},
		{"AnEndIsEnforcedByTimeAlone", expires},
		{"NothingIsWrittenAfterTheDeadline", deadlines},
		{"NothingIsWrittenAfterACancel", cancels},
		{"AListHasWhatIsThereAndWhoMadeIt", lists},
		{"WhatOthersGaveIsTakenAwayAloneAndByName", removes},
	} {
		t.Run(test.name, func(t *testing.T) {
			bench := harness(t)
			test.run(&suite{t, bench, countersign.NewMint([32]byte{9}, bench.Clock.Instant())})
		})
	}
}

// RunStopped holds a connector of a target that the desk stops to this: a stop is
// no proof that the access is gone, and neither is a target that cannot judge.
func RunStopped(t *testing.T, hands connector.Connector, clock *Clock, stops *target.Stops) {
	s := &suite{t, &Bench{Connector: hands, Clock: clock}, countersign.NewMint([32]byte{5}, clock.Instant())}
	task := s.task()
	if err := hands.Apply(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	grant, err := target.ParseID(task.Grant)
	if err != nil {
		t.Fatal(err)
	}
	stops.Stop(grant, target.Ended)
	if reading, err := hands.VerifyGone(t.Context(), task); err != nil || !reading.Present || !strings.Contains(reading.How, "stopped") {
		t.Errorf("our own stop passes for the target's answer: %+v, %v", reading, err)
	}
	stops.SetUnfit("the clock is 3 s off")
	if reading, err := hands.VerifyGone(t.Context(), task); err == nil {
		t.Errorf("a target that cannot judge ends answers %+v", reading)
	}
}

func (s *suite) task() connector.Task {
	return NewTask(s.mint, s.Clock.Instant(), s.Connector.Describe().Actions[0])
}

// next is the task of a later operation on the same credential.
func (s *suite) next(task connector.Task) connector.Task {
	task.Intent, task.Attempt = s.mint.Intent(), 1
	task.Deadline = s.Clock.Instant().Add(countersign.Minute)
	return task
}

func (s *suite) apply(task connector.Task) {
	s.Helper()
	if err := s.Connector.Apply(s.Context(), task); err != nil {
		s.Fatalf("apply: %v", err)
	}
}

func (s *suite) revoke(task connector.Task) {
	s.Helper()
	if err := s.Connector.Revoke(s.Context(), s.next(task)); err != nil {
		s.Fatalf("revoke: %v", err)
	}
}

// expect wants both read-backs and the target itself to agree.
func (s *suite) expect(say string, task connector.Task, present bool) connector.Reading {
	s.Helper()
	reading, err := s.Connector.Verify(s.Context(), task)
	if err != nil {
		s.Fatalf("%s: verify: %v", say, err)
	}
	gone, err := s.Connector.VerifyGone(s.Context(), task)
	if err != nil {
		s.Fatalf("%s: verify gone: %v", say, err)
	}
	works := s.Works(s.T, task)
	if reading.Present != present || gone.Present != present || works != present {
		s.Errorf("%s: Verify says %v, VerifyGone %v, the target %v; want %v", say, reading.Present, gone.Present, works, present)
	}
	for _, how := range []string{reading.How, gone.How} {
		if !strings.Contains(how, string(task.Credential)) {
			s.Errorf("%s: %q does not say what was looked at, so it proves nothing", say, how)
		}
	}
	return reading
}

func (s *suite) wantFailure(say string, err error, want connector.FailureKind) {
	s.Helper()
	var failure *connector.Failure
	if !errors.As(err, &failure) || failure.Kind != want {
		s.Errorf("%s: got %v, want %s", say, err, want)
	}
}

func describes(s *suite) {
	description := s.Connector.Describe()
	if description.Name == "" || len(description.Actions) == 0 {
		s.Errorf("the description %+v has no name or no action", description)
	}
	if description.Kind != countersign.CredentialKind && description.Kind != countersign.RoleKind {
		s.Errorf("%q is not a kind of entitlement", description.Kind)
	}
}

func plans(s *suite) {
	task := s.task()
	plan, err := s.Connector.Plan(s.Context(), task)
	if err != nil {
		s.Fatal(err)
	}
	for _, part := range []string{task.Entitlement, task.SystemName, task.Resource, string(task.Holder)} {
		if !strings.Contains(plan.Effect, part) {
			s.Errorf("the plan %q does not name %s", plan.Effect, part)
		}
	}
	s.expect("planned", task, false)
	if writes := s.Writes(s.T, task); writes != 0 {
		s.Errorf("planning wrote %d times", writes)
	}
}

func applies(s *suite) {
	task := s.task()
	s.expect("before the apply", task, false)
	s.apply(task)
	reading := s.expect("after the apply", task, true)
	if reading.Until != task.Until || reading.Reference == "" {
		s.Errorf("it ends at %s and is found at %q; want %s and a place", reading.Until, reading.Reference, task.Until)
	}
	for name, change := range map[string]func(*connector.Task){
		"entitlement": func(t *connector.Task) { t.Entitlement = "admin" },
		"resource":    func(t *connector.Task) { t.Resource = "ledger" },
		"holder":      func(t *connector.Task) { t.Holder = s.mint.Identity() },
	} {
		other := task
		change(&other)
		if reading, err := s.Connector.Verify(s.Context(), other); err != nil || reading.Present {
			s.Errorf("another %s reads back as present: %+v, %v", name, reading, err)
		}
	}
}

func holders(s *suite) {
	first, second := s.task(), s.task()
	s.apply(first)
	s.expect("the namesake", second, false)
	s.apply(second)
	s.revoke(first)
	s.expect("the one who was revoked", first, false)
	s.expect("the namesake", second, true)
}

func rejects(s *suite) {
	for name, change := range map[string]func(*connector.Task){
		"no entitlement":       func(t *connector.Task) { t.Entitlement = "" },
		"every entitlement":    func(t *connector.Task) { t.Entitlement = "*" },
		"blank entitlement":    func(t *connector.Task) { t.Entitlement = " " },
		"look-alike":           func(t *connector.Task) { t.Entitlement = "admin " },
		"no resource":          func(t *connector.Task) { t.Resource = "" },
		"every resource":       func(t *connector.Task) { t.Resource = "inv*" },
		"no system":            func(t *connector.Task) { t.SystemName = "" },
		"no holder":            func(t *connector.Task) { t.Holder = "" },
		"holder by name":       func(t *connector.Task) { t.Holder = "Alex Kim" },
		"unknown action":       func(t *connector.Task) { t.Action = "own-everything" },
		"no action":            func(t *connector.Task) { t.Action = "" },
		"ambiguous system":     func(t *connector.Task) { t.SystemName, t.Resource = "billing/invoices", "all" },
		"unprintable resource": func(t *connector.Task) { t.Resource = "invoices\x00" },
	} {
		task := s.task()
		change(&task)
		_, err := s.Connector.Plan(s.Context(), task)
		s.wantFailure(name+", planned", err, connector.Rejected)
		s.wantFailure(name+", applied", s.Connector.Apply(s.Context(), task), connector.Rejected)
		if writes := s.Writes(s.T, task); writes != 0 {
			s.Errorf("%s: written %d times", name, writes)
		}
	}
	task := s.task()
	task.Until = s.Clock.Instant()
	s.wantFailure("an end that has passed", s.Connector.Apply(s.Context(), task), connector.Rejected)
	s.expect("an end that has passed", task, false)
}

func adopts(s *suite) {
	task := s.task()
	planted := task
	planted.Grant, planted.Holder, planted.Entitlement = s.mint.Grant(), s.mint.Identity(), "auditor"
	s.Plant(s.T, planted)
	s.wantFailure("another thing is there", s.Connector.Apply(s.Context(), task), connector.Rejected)
	if s.Works(s.T, task) || !s.Works(s.T, planted) {
		s.Error("what was there was changed")
	}
	if reading, err := s.Connector.Verify(s.Context(), task); err != nil || reading.Present {
		s.Errorf("another thing passes for what was asked: %+v, %v", reading, err)
	}
	if reading, err := s.Connector.VerifyGone(s.Context(), task); err != nil || !reading.Present {
		s.Errorf("the credential works, and reads back as gone: %+v, %v", reading, err)
	}
}

func revokesOwn(s *suite) {
	old := s.task()
	renewed := s.next(old)
	renewed.Credential = s.mint.Credential()
	s.apply(old)
	s.apply(renewed)
	s.expect("the old one in the overlap", old, true)
	s.expect("the new one in the overlap", renewed, true)
	s.revoke(old)
	s.expect("the old one", old, false)
	s.expect("the new one", renewed, true)
	s.revoke(renewed)
	s.expect("the new one, revoked", renewed, false)
}

func revokesTwice(s *suite) {
	task := s.task()
	s.apply(task)
	s.revoke(task)
	s.revoke(task)
	s.expect("revoked twice", task, false)
	never := s.task()
	s.revoke(never)
	s.expect("never applied", never, false)
}

func appliesLate(s *suite) {
	applied, never := s.task(), s.task()
	s.apply(applied)
	for _, task := range []connector.Task{applied, never} {
		s.revoke(task)
		s.wantFailure("an apply after its revoke", s.Connector.Apply(s.Context(), task), connector.Rejected)
		s.expect("an apply after its revoke", task, false)
	}
}

func appliesTwice(s *suite) {
	task := s.task()
	s.apply(task)
	s.apply(task)
	again := task
	again.Attempt = 2
	s.apply(again)
	s.expect("applied again and again", task, true)
	if writes := s.Writes(s.T, task); writes != 1 {
		s.Errorf("written %d times, want once", writes)
	}
}

func duplicates(s *suite) {
	task := s.task()
	results := make([]error, 6)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() { results[i] = s.Connector.Apply(s.Context(), task) })
	}
	group.Wait()
	if err := errors.Join(results...); err != nil {
		s.Errorf("a duplicate failed: %v", err)
	}
	s.expect("applied at once", task, true)
	if writes := s.Writes(s.T, task); writes != 1 {
		s.Errorf("written %d times, want once", writes)
	}
}

func moves(s *suite) {
	first := s.task()
	second := first
	second.Attempt, second.Until = 2, first.Until.Add(countersign.Minute)
	s.apply(first)
	s.apply(second)
	if got := s.expect("the second attempt", second, true).Until; got != second.Until {
		s.Errorf("it ends at %s, want %s", got, second.Until)
	}
	s.apply(first)
	if got := s.expect("the first attempt, late", second, true).Until; got != second.Until {
		s.Errorf("a late attempt set the end to %s", got)
	}
}

func expires(s *suite) {
	if !s.Connector.Describe().EnforcesExpiryItself {
		s.Skip("the target says that it does not enforce ends")
	}
	task := s.task()
	s.apply(task)
	s.Clock.Advance(time.Hour - s.Connector.Describe().ExpiryGranularity.Duration() - time.Millisecond)
	s.expect("before its end", task, true)
	s.Clock.Advance(s.Connector.Describe().ExpiryGranularity.Duration() + time.Millisecond)
	s.expect("at its end", task, false)
}

func deadlines(s *suite) {
	late, live := s.task(), s.task()
	s.apply(live)
	s.Clock.Advance(time.Minute)
	s.wantFailure("a late apply", s.Connector.Apply(s.Context(), late), connector.Transient)
	s.expect("a late apply", late, false)
	if writes := s.Writes(s.T, late); writes != 0 {
		s.Errorf("a late apply wrote %d times", writes)
	}
	s.wantFailure("a late revoke", s.Connector.Revoke(s.Context(), live), connector.Transient)
	s.expect("a late revoke", live, true)
}

func cancels(s *suite) {
	task, live := s.task(), s.task()
	s.apply(live)
	cancelled, cancel := context.WithCancel(s.Context())
	cancel()
	if err := s.Connector.Apply(cancelled, task); err == nil {
		s.Error("an apply after a cancel reports success")
	}
	s.expect("an apply after a cancel", task, false)
	if err := s.Connector.Revoke(cancelled, live); err == nil {
		s.Error("a revoke after a cancel reports success")
	}
	s.expect("a revoke after a cancel", live, true)
}
