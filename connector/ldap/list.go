package ldap

import (
	"context"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// List implements connector.Inventory: every person, and every member of every
// group, a person by the entryUUID and whatever else is a member by its name.
// Groups name members by DN only, so the people are kept for the while.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer s.hangUp()
	people := map[string]connector.Item{}
	err = s.pages(ctx, c.People, "("+c.HolderAttribute+"=*)", []string{"entryUUID", c.HolderAttribute}, func(one *goldap.Entry) error {
		item := connector.Item{Principal: one.GetAttributeValue("entryUUID")}
		if holder := one.GetAttributeValue(c.HolderAttribute); countersign.CheckID("idn", holder) == nil {
			item.Holder = countersign.IdentityID(holder)
		}
		people[nameKey(one.DN)] = item
		return found(item)
	})
	if err != nil {
		return err
	}
	all, err := s.marks(c.Marks, goldap.ScopeSingleLevel, "(objectClass="+markClass+")")
	if err != nil {
		return err
	}
	made := map[string][]*mark{}
	for _, one := range all {
		if one.made != nil {
			made[one.made.Group+"/"+one.made.Person] = append(made[one.made.Group+"/"+one.made.Person], one.made)
		}
	}
	return s.pages(ctx, c.Groups, "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))", []string{"entryUUID", c.MemberAttribute}, func(one *goldap.Entry) error {
		entitlement, resource := rdn(one.DN)
		for _, member := range one.GetAttributeValues(c.MemberAttribute) {
			if sameDN(member, c.Marks) {
				continue // nobody, in the place of the last member
			}
			item, known := people[nameKey(member)]
			if !known {
				item.Principal = member
			}
			item.Resource, item.Entitlement = resource, entitlement
			marks := made[one.GetAttributeValue("entryUUID")+"/"+item.Principal]
			if len(marks) == 0 {
				if err := found(item); err != nil {
					return err
				}
			}
			for _, by := range marks {
				if by.System != of.System {
					continue
				}
				ours := item
				ours.Credential, ours.Holder, ours.Until = by.Credential, by.Holder, by.Until
				if err := found(ours); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
