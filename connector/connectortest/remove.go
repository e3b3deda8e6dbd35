package connectortest

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// removes holds what can take away what others gave to this: it takes exactly the one
// right from the one principal, reads that back, and touches nothing of ours, nor the
// account.
func removes(s *suite) {
	remover, can := s.Connector.(connector.Remover)
	if !can {
		return
	}
	if s.ByHand == nil {
		s.Fatal("the connector takes away what others gave, and the bench gives nothing by hand: ByHand")
	}
	ours, byHand, kept := s.task(), s.task(), s.task()
	byHand.System, kept.System, kept.Holder = ours.System, ours.System, byHand.Holder
	kept.Entitlement = "auditor"
	s.apply(ours)
	taskOf := func(task connector.Task) connector.Task {
		item := s.ByHand(s.T, task)
		return connector.Task{
			Intent: s.mint.Intent(), Attempt: 1, Action: task.Action, Holder: task.Holder, HolderName: task.HolderName, System: task.System, SystemName: task.SystemName, Settings: task.Settings,
			Principal: item.Principal, Resource: item.Resource, Entitlement: item.Entitlement, Deadline: s.Clock.Instant().Add(countersign.Minute),
		}
	}
	going, staying := taskOf(byHand), taskOf(kept)
	held := func(task connector.Task) bool {
		s.Helper()
		reading, err := remover.Held(s.Context(), task)
		if err != nil {
			s.Fatalf("held: %v", err)
		}
		// The list must say the same.
		listed, err := connector.HeldByOthers(s.Context(), onlyLists{s.Connector}, task)
		if err != nil {
			s.Fatalf("list: %v", err)
		}
		if reading.Present != listed.Present {
			s.Errorf("Held says %v, and the list %v", reading.Present, listed.Present)
		}
		return reading.Present
	}
	if !held(going) || !held(staying) {
		s.Fatal("what was given by hand is not held")
	}
	late := going
	late.Deadline = s.Clock.Instant()
	if err := remover.Remove(s.Context(), late); err == nil || !held(going) {
		s.Errorf("something was taken away after the deadline: %v", err)
	}
	for range 2 {
		if err := remover.Remove(s.Context(), going); err != nil {
			s.Fatalf("remove: %v", err)
		}
		if held(going) || !held(staying) {
			s.Error("after a removal the right is there still, or more than it is gone")
		}
	}
	// The same right of ours, by its name, is not what others gave.
	mine := staying
	if list, can := s.Connector.(connector.Inventory); can {
		err := list.List(s.Context(), connector.Scope{System: ours.System, SystemName: ours.SystemName, Settings: ours.Settings}, func(item connector.Item) error {
			if item.Credential == ours.Credential {
				mine.Principal, mine.Resource, mine.Entitlement, mine.Holder = item.Principal, item.Resource, item.Entitlement, ours.Holder
			}
			return nil
		})
		if err != nil {
			s.Fatalf("list: %v", err)
		}
	}
	if mine.Principal == staying.Principal {
		s.Fatal("the list does not have what was given")
	}
	if held(mine) {
		s.Error("what is ours passes for what others gave")
	}
	if err := remover.Remove(s.Context(), mine); err != nil {
		s.Errorf("removing what is not there: %v", err)
	}
	s.expect("after a removal of what others gave", ours, true)
}

// onlyLists is a connector that is seen to list and to do nothing else besides.
type onlyLists struct{ connector.Connector }

func (l onlyLists) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return l.Connector.(connector.Inventory).List(ctx, of, found)
}
