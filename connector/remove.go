package connector

import (
	"context"
	"errors"
	"fmt"
)

// Remover is what a connector offers besides that can take away what others gave. The
// desk asks for it only by name: what two people signed for, or somebody who answers
// for the system wants gone.
type Remover interface {
	// Remove takes from Task.Principal the one right that Task.Resource and
	// Task.Entitlement name, as far as it bears no mark of ours. Whatever else the
	// principal has stays, and so does its account. That it is not there is success.
	Remove(ctx context.Context, task Task) error

	// Held reads back from the target whether the principal has the right without a
	// mark of ours.
	Held(ctx context.Context, task Task) (Reading, error)
}

// HeldByOthers reads back whether Task.Principal has what others gave: by the
// connector's own look, or by its list. A connector without either cannot tell.
func HeldByOthers(ctx context.Context, hands Connector, task Task) (Reading, error) {
	if remover, can := hands.(Remover); can {
		return remover.Held(ctx, task)
	}
	lists, can := hands.(Inventory)
	if !can {
		return Reading{}, rejected("the connector %s cannot tell what others gave on %s", hands.Describe().Name, task.SystemName)
	}
	reading := Reading{How: fmt.Sprintf("the list of %s: %s is not there for %s", task.SystemName, task.Entitlement, task.Principal)}
	there := errors.New("it is there")
	err := lists.List(ctx, Scope{System: task.System, SystemName: task.SystemName, Settings: task.Settings}, func(item Item) error {
		if item.Credential == "" && item.Principal == task.Principal && item.Resource == task.Resource && item.Entitlement == task.Entitlement {
			return there
		}
		return nil
	})
	switch {
	case errors.Is(err, there):
		return Reading{Present: true, Reference: task.Principal, How: fmt.Sprintf("the list of %s: %s is there for %s", task.SystemName, task.Entitlement, task.Principal)}, nil
	case err != nil:
		return Reading{}, err
	}
	return reading, nil
}
