package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/connector"
)

// maxPages bounds a listing of a program that never comes to an end.
const maxPages = 10_000

// scope is the system that is listed, and After where to go on; "" begins.
type scope struct {
	System   named             `json:"system"`
	Settings map[string]string `json:"settings"`
	After    string            `json:"after"`
}

// List implements connector.Inventory, a page at a time.
func (h listing) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	asked := scope{System: named{string(of.System), of.SystemName}, Settings: of.Settings}
	if asked.Settings == nil {
		asked.Settings = map[string]string{}
	}
	for range maxPages {
		said, err := h.put(ctx, question{Operation: inventory, Scope: &asked})
		if err != nil {
			return err
		}
		for i, item := range said.Items {
			if err := item.Check(); err != nil {
				return h.unsettled(inventory, fmt.Errorf("item %d: %w", i, err))
			}
			if err := found(item); err != nil {
				return err
			}
		}
		switch {
		case said.Next == "":
			return nil
		case said.Next == asked.After:
			return h.unsettled(inventory, errors.New(`the member "next" is the one that was asked for`))
		}
		asked.After = said.Next
	}
	return h.unsettled(inventory, fmt.Errorf("the listing did not come to an end within %d pages", maxPages))
}
