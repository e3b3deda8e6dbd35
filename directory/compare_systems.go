package directory

import (
	"maps"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// systemChanges compares systems, each followed by its entitlements.
func (c *comparison) systemChanges(current store.Directory) {
	c.rights = map[string]countersign.EntitlementID{}
	oldByID := map[countersign.SystemID]*countersign.System{}
	for _, system := range current.Systems {
		oldByID[system.ID] = system
	}
	keptSystem := map[countersign.SystemID]bool{}
	keptRight := map[countersign.EntitlementID]bool{}
	for _, wanted := range c.wanted.Systems {
		before := c.oldSystem[wanted.Name]
		after := c.system(wanted, before)
		keptSystem[after.ID] = true
		change := Change{Noun: SystemNoun, Name: wanted.Name, After: after}
		if before != nil {
			change.Before = before
		}
		c.note(change, c.describeSystem(before), c.describeSystem(after), c.systemStanding(before, after))
		for _, resource := range wanted.Resources {
			for _, entitlement := range resource.Entitlements {
				keptRight[c.entitlementChange(before, after, resource.Name, entitlement)] = true
			}
		}
	}
	for _, old := range current.Entitlements {
		if keptRight[old.ID] || old.Retired {
			continue
		}
		after := *old
		after.Retired = true
		name := c.names[string(old.System)] + "/" + c.names[string(old.Resource)] + "/" + old.Name
		c.remove(Change{Noun: EntitlementNoun, Name: name, Before: old, After: &after}, describeEntitlement(old), describeEntitlement(&after))
	}
	for _, old := range current.Systems {
		if keptSystem[old.ID] || old.Retired {
			continue
		}
		after := *old
		after.Retired = true
		c.remove(Change{Noun: SystemNoun, Name: old.Name, Before: old, After: &after}, c.describeSystem(old), c.describeSystem(&after))
	}
}

// system builds the row of a wanted system. A resource that the files no longer
// have stays: retired entitlements, grants and history name it.
func (c *comparison) system(wanted System, before *countersign.System) *countersign.System {
	after := &countersign.System{
		Name:        wanted.Name,
		Title:       wanted.Title,
		Owner:       c.identities[wanted.Owner],
		SecondOwner: c.identities[wanted.SecondOwner],
		Environment: wanted.Environment,
		Risk:        wanted.Risk,
		Connector:   wanted.Connector,
		Settings:    maps.Clone(wanted.Settings),

		LastConfirmed: wanted.LastConfirmed,
		ConfirmEvery:  wanted.ConfirmEvery,
	}
	if before == nil {
		after.ID = c.mint.System()
		c.names[string(after.ID)] = after.Name
	} else {
		after.ID, after.Version, after.Offer = before.ID, before.Version, before.Offer
		after.LastConfirmed, after.Silence = confirmed(before.LastConfirmed, after.LastConfirmed, before.Silence, before.Owner == after.Owner)
	}
	kept := map[countersign.ResourceID]bool{}
	for _, resource := range wanted.Resources {
		row := countersign.Resource{Name: resource.Name, Title: resource.Title, Risk: resource.Risk, Owner: c.identities[resource.Owner]}
		if before != nil {
			row.ID = resourceID(before, resource.Name)
		}
		if row.ID == "" {
			row.ID = c.mint.Resource()
			c.names[string(row.ID)] = row.Name
		}
		kept[row.ID] = true
		after.Resources = append(after.Resources, row)
	}
	if before != nil {
		for _, resource := range before.Resources {
			if !kept[resource.ID] {
				after.Resources = append(after.Resources, resource)
			}
		}
	}
	return after
}

// entitlementChange compares one entitlement and returns its id.
func (c *comparison) entitlementChange(oldSystem, system *countersign.System, resource string, wanted Entitlement) countersign.EntitlementID {
	after := &countersign.Entitlement{
		System:      system.ID,
		Resource:    resourceID(system, resource),
		Name:        wanted.Name,
		Title:       wanted.Title,
		Kind:        wanted.Kind,
		Risk:        wanted.Risk,
		MaxDuration: wanted.MaxDuration,
		EligibleFor: wanted.EligibleFor,
		Definition:  wanted.Version,
	}
	change := Change{Noun: EntitlementNoun, Name: system.Name + "/" + resource + "/" + wanted.Name, After: after}
	before := c.oldRight[right{after.Resource, wanted.Name}]
	if before != nil {
		after.ID, after.Version, change.Before = before.ID, before.Version, before
	} else {
		after.ID = c.mint.Entitlement()
	}
	if system.Name == HouseSystem && resource == HouseResource {
		c.rights[wanted.Name] = after.ID
	}
	c.note(change, describeEntitlement(before), describeEntitlement(after), entitlementStanding(oldSystem, before, system, after))
	return after.ID
}
