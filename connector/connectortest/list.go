package connectortest

import (
	"errors"
	"slices"

	"github.com/countersign/countersign/connector"
)

// lists holds what can list to this: each credential of ours stands in the list of
// its own system with its mark and exactly its right until it is revoked, and what
// cuts a list short is told.
func lists(s *suite) {
	inventory, can := s.Connector.(connector.Inventory)
	switch {
	case !can && s.CannotList:
		return
	case !can:
		s.Fatal("the connector cannot list what its target holds, and the bench does not say so: CannotList")
	case s.CannotList:
		s.Fatal("the bench says that the target cannot list, and the connector does")
	}
	listed := func(of connector.Task) []connector.Item {
		s.Helper()
		var items []connector.Item
		err := inventory.List(s.Context(), connector.Scope{System: of.System, SystemName: of.SystemName, Settings: of.Settings}, func(item connector.Item) error {
			if err := item.Check(); err != nil {
				s.Error(err)
			}
			if item.Entitlement != "" {
				items = append(items, item)
			}
			return nil
		})
		if err != nil {
			s.Fatalf("list: %v", err)
		}
		return items
	}
	ours := func(task connector.Task) []connector.Item {
		s.Helper()
		return slices.DeleteFunc(listed(task), func(item connector.Item) bool { return item.Credential != task.Credential })
	}
	first, second, elsewhere := s.task(), s.task(), s.task()
	second.System, second.Entitlement = first.System, "auditor"
	elsewhere.SystemName = "ledger"
	for _, task := range []connector.Task{first, second, elsewhere} {
		s.apply(task)
	}
	for _, task := range []connector.Task{first, second} {
		found := ours(task)
		if len(found) != 1 || found[0].Holder != task.Holder || found[0].Resource != task.Resource || found[0].Entitlement != task.Entitlement ||
			s.Connector.Describe().EnforcesExpiryItself && found[0].Until != task.Until {
			s.Errorf("the list has %+v of ours, want one item with the mark and right of %s", found, task.Describe())
		}
	}
	for _, item := range listed(first) {
		if item.Credential == elsewhere.Credential {
			s.Errorf("the list of one system has what was given on another: %+v", item)
		}
	}
	enough := errors.New("enough")
	if err := inventory.List(s.Context(), connector.Scope{System: first.System, SystemName: first.SystemName}, func(connector.Item) error { return enough }); !errors.Is(err, enough) {
		s.Errorf("a list that was cut short returns %v", err)
	}
	s.revoke(first)
	if found := ours(first); len(found) > 0 {
		s.Errorf("the list still has what was revoked: %+v", found)
	}
	if len(ours(second)) != 1 {
		s.Error("the list lost what was not revoked")
	}
}
