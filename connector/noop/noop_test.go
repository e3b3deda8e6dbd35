package noop_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/noop"
)

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(*testing.T) *connectortest.Bench {
		clock := connectortest.NewClock()
		target := noop.New(clock, countersign.RoleKind)
		return &connectortest.Bench{
			Connector: target, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool {
				reading, err := target.Verify(t.Context(), task)
				return err == nil && reading.Present && target.Holds(task.Credential)
			},
			Plant:  func(_ *testing.T, task connector.Task) { target.Put(task) },
			Writes: func(_ *testing.T, task connector.Task) int { return target.Effects(task.Intent) },
			ByHand: func(_ *testing.T, task connector.Task) connector.Item {
				task.Grant = ""
				target.Put(task)
				return connector.Item{Principal: string(task.Holder), Resource: task.Resource, Entitlement: task.Entitlement}
			},
		}
	})
}

func task(clock *connectortest.Clock) connector.Task {
	mint := countersign.NewMint([32]byte{4}, clock.Instant())
	return connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "apply",
		Holder: mint.Identity(), System: mint.System(), SystemName: "billing", Resource: "invoices", Entitlement: "reader",
		Deadline: clock.Instant().Add(countersign.Minute),
	}
}

func TestFaultsHappenAsOftenAsTold(t *testing.T) {
	clock := connectortest.NewClock()
	target, work := noop.New(clock, countersign.RoleKind), task(clock)
	kindOf := func(err error) connector.FailureKind {
		var failure *connector.Failure
		if errors.As(err, &failure) {
			return failure.Kind
		}
		return ""
	}
	target.SetFaults(noop.Faults{Throttle: 1, ThrottleFor: 7, TimeOut: 1})
	for i, step := range []struct {
		want  connector.FailureKind
		holds bool
	}{{connector.Throttled, false}, {connector.Transient, true}, {"", true}} {
		err := target.Apply(context.Background(), work)
		if kindOf(err) != step.want || target.Holds(work.Credential) != step.holds {
			t.Errorf("write %d: got %v and holds %v, want %q and %v", i+1, err, target.Holds(work.Credential), step.want, step.holds)
		}
	}
	if target.Effects(work.Intent) != 1 || target.Total() != 1 {
		t.Errorf("%d effects of %d, want one", target.Effects(work.Intent), target.Total())
	}
	target.SetFaults(noop.Faults{Reject: true})
	if err := target.Revoke(context.Background(), work); kindOf(err) != connector.Rejected || !target.Holds(work.Credential) {
		t.Errorf("told to refuse, it says %v", err)
	}
}

func TestABlockedWriteThatWakesAfterItsDeadlineWritesNothing(t *testing.T) {
	clock := connectortest.NewClock()
	target, work := noop.New(clock, countersign.RoleKind), task(clock)
	release := make(chan struct{})
	target.SetFaults(noop.Faults{Block: release})
	done := make(chan error)
	go func() { done <- target.Apply(context.Background(), work) }()
	clock.Advance(time.Minute)
	close(release)
	if err := <-done; err == nil || target.Total() != 0 {
		t.Errorf("got %v and %d effects", err, target.Total())
	}
}
