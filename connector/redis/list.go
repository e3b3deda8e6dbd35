package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// List implements connector.Inventory: every user that can sign in, but the
// connector's own, and every one with a mark. Of what others made the rules have
// no names, so they are listed as accounts.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	server, hangUp := c.connect()
	defer hangUp()
	names, err := server.Do(ctx, "acl", "users").StringSlice()
	if err != nil {
		return failed(err)
	}
	words := vocabulary{server: server, system: of.SystemName}
	for _, name := range names {
		held, err := read(ctx, server, name)
		if err != nil {
			return err
		}
		if held == nil || name == c.config.Username {
			continue // removed since, or our own
		}
		item := connector.Item{Principal: name}
		switch {
		case held.made == nil:
			if !slices.Contains(held.flags, "on") {
				continue
			}
		case held.made.System != of.System:
			continue
		default:
			item.Credential, item.Holder, item.Until = held.made.Credential, held.made.Holder, held.made.Until
			item.Resource, item.Entitlement = held.made.Resource, held.made.Entitlement
			same := false
			if right, refused := c.rightOf(of.Settings, item.Resource, item.Entitlement); refused == nil {
				// A rule that the server does not know any more is no rule that the user has.
				var failure *connector.Failure
				if same, err = held.may(ctx, &words, right); errors.As(err, &failure) && failure.Kind == connector.Rejected {
					same = false
				} else if err != nil {
					return err
				}
			}
			if !same {
				// The mark is ours, and the right is another one by now.
				item.Entitlement = cmp.Or(countersign.Clip(held.does()), "nothing")
			}
		}
		if err := found(item); err != nil {
			return err
		}
	}
	return nil
}
