package scim

import (
	"context"
	"encoding/json"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// access is a right of a user: by the SCIM ids of both, "" for the account itself.
type access struct{ group, user string }

type marked struct {
	credential countersign.CredentialID
	*mark
}

// List implements connector.Inventory: every user that is not inactive, and every
// member of every group. Groups name members by id only, so whose the users are is
// kept for the while, and so is what is marked.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	groups, account, err := rights(of.Settings)
	if err != nil {
		return err
	}
	began := countersign.InstantOf(c.Clock.Now())
	made := map[access][]marked{}
	note := func(at access, credential countersign.CredentialID, held *mark) {
		if held.Connector == c.Name && held.Grant != "" && (held.RevokedAt == 0 || held.RevokedAt >= began) {
			made[at] = append(made[at], marked{credential, held})
		}
	}
	err = c.each(ctx, "", func(credential countersign.CredentialID, held *mark) {
		note(access{held.Group, held.User}, credential, held)
	})
	if err != nil {
		return err
	}
	// show lists one access: once for each credential that gives it on this system, or
	// once for whoever else gave it. What has no mark may have got one meanwhile, or one
	// that does not know the id of the account yet.
	show := func(item connector.Item, at access) error {
		if len(made[at]) == 0 && item.Holder != "" {
			like := mark{Mark: connector.Mark{Holder: item.Holder}, Connector: c.Name, Group: at.group}
			err := c.each(ctx, like.ref(), func(credential countersign.CredentialID, held *mark) {
				if held.User == at.user || held.User == "" {
					note(at, credential, held)
				}
			})
			if err != nil {
				return err
			}
		}
		if len(made[at]) == 0 {
			return found(item)
		}
		for _, by := range made[at] {
			if by.System != of.System {
				continue
			}
			ours := item
			ours.Credential, ours.Holder, ours.Resource, ours.Entitlement = by.credential, by.Holder, by.Resource, by.Entitlement
			if err := found(ours); err != nil {
				return err
			}
		}
		return nil
	}
	holders := map[string]countersign.IdentityID{}
	err = c.pages(ctx, "/Users", "", func(raw json.RawMessage) error {
		var one user
		if err := json.Unmarshal(raw, &one); err != nil {
			return transient("the SCIM server lists a user that cannot be read: %v", err)
		}
		holders[one.ID] = c.holderOf(raw)
		if one.Active != nil && !*one.Active {
			return nil
		}
		item := connector.Item{Principal: one.ID, Holder: holders[one.ID]}
		if err := found(item); err != nil || account[1] == "" {
			return err
		}
		item.Resource, item.Entitlement = account[0], account[1]
		return show(item, access{user: one.ID})
	})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = c.pages(ctx, "/Groups", "", func(raw json.RawMessage) error {
		one := &group{}
		if err := json.Unmarshal(raw, one); err != nil {
			return transient("the SCIM server lists a group that cannot be read: %v", err)
		}
		seen[one.ID] = true
		if one.Members == nil {
			// A list may leave members out; a group for itself does not.
			alone, err := c.group(ctx, one.ID)
			if err != nil || alone == nil || alone.Members == nil {
				return err
			}
			one = alone
		}
		named, known := groups[one.ID]
		if !known {
			named = [2]string{"", one.DisplayName}
			if named[1] == "" {
				named[1] = one.ID
			}
		}
		for _, member := range *one.Members {
			item := connector.Item{Principal: member.Value, Holder: holders[member.Value], Resource: named[0], Entitlement: named[1]}
			if err := show(item, access{one.ID, member.Value}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range groups {
		if seen[id] {
			continue
		}
		hidden, err := c.group(ctx, id)
		if err != nil {
			return err
		}
		if hidden != nil {
			return transient("the SCIM server does not list the group %s, which is there: let the token of the connector %s see it", id, c.Name)
		}
	}
	return nil
}
