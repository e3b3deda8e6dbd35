package desk

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// answering returns the owner and the sponsor of an agent; nobody for others.
func (d *snapshot) answering(identity *countersign.Identity) []countersign.IdentityID {
	if identity.Kind != countersign.Agent {
		return nil
	}
	people := []countersign.IdentityID{identity.Owner}
	if identity.Sponsor != "" && identity.Sponsor != identity.Owner {
		people = append(people, identity.Sponsor)
	}
	return people
}

// Answering returns who answers for a holder that is an agent, and whether the owner
// and the sponsor, where one is named, are active now: as Resolve, from what this
// replica knows.
func (d *Desk) Answering(holder countersign.IdentityID) (owner, sponsor countersign.IdentityID, active, agent bool) {
	known := d.known.Load()
	if known == nil {
		return "", "", false, true
	}
	identity := known.identities[holder]
	if identity == nil || identity.Kind != countersign.Agent {
		return "", "", false, false
	}
	now := countersign.InstantOf(d.Clock.Now())
	people := known.answering(identity)
	active = !slices.ContainsFunc(people, func(id countersign.IdentityID) bool {
		person := known.identities[id]
		return person == nil || !person.ActiveAt(now)
	})
	return identity.Owner, identity.Sponsor, active, true
}

// Accountable reports whether the holder may act now: it is active, and where it is
// no person, its owner is, too. It is as Resolve, from what this replica knows.
func (d *Desk) Accountable(holder countersign.IdentityID) bool {
	known := d.known.Load()
	if known == nil {
		return false
	}
	identity, now := known.identities[holder], countersign.InstantOf(d.Clock.Now())
	if identity == nil || !identity.ActiveAt(now) {
		return false
	}
	owner := known.identities[identity.Owner]
	return identity.Human() || owner != nil && owner.ActiveAt(now)
}

// bounds are what access to the item counts within. A right that is not there any
// more is held by nobody.
func (d *snapshot) bounds(terms countersign.GrantTerms, item right) []connector.Bound {
	var bounds []connector.Bound
	for _, bound := range terms.BoundedBy {
		if !bound.Covers(item.resource.Name) {
			continue
		}
		told := connector.Bound{Who: bound.Who}
		for _, name := range bound.Holds {
			right := connector.BoundRight{Entitlement: name, Resource: name}
			if held := d.findEntitlement(name); held != nil {
				if item, err := d.rightOf(held.ID); err == nil {
					right = connector.BoundRight{Entitlement: held.Name, Resource: item.system.Name + "/" + item.resource.Name}
				}
			}
			told.Holds = append(told.Holds, right)
		}
		bounds = append(bounds, told)
	}
	return bounds
}

// checkBound looks for an entitlement that bounds others, which its connector must
// be able to tell at each use.
func (d *snapshot) checkBound(name string, connectors connector.Planners) string {
	entitlement := d.findEntitlement(name)
	if entitlement == nil {
		return fmt.Sprintf("there is no entitlement %q%s", name, meant(name, sortedKeys(d.rights)))
	}
	hands, err := connectors.Find(d.systems[entitlement.System].Connector)
	if err != nil {
		return err.Error()
	}
	if !hands.Describe().Bounds {
		return fmt.Sprintf("who holds %s is known to the connector %q alone, and not at the decision point", name, hands.Describe().Name)
	}
	return ""
}

// ToolConnector is the connector of systems whose resources are tools.
const ToolConnector = "tools"

// tool is a resource that agents call.
type tool struct {
	// resource is "system/resource"; "" where two systems have a tool of the name.
	resource string
	// scopes are the names of its entitlements, in order.
	scopes []string
}

func (d *snapshot) findTools() map[string]tool {
	scopes := map[countersign.ResourceID][]string{}
	for _, entitlement := range d.entitlements {
		if !entitlement.Retired {
			scopes[entitlement.Resource] = append(scopes[entitlement.Resource], entitlement.Name)
		}
	}
	tools := map[string]tool{}
	for _, system := range d.systems {
		if system.Connector != ToolConnector || system.Retired {
			continue
		}
		for _, resource := range system.Resources {
			if len(scopes[resource.ID]) == 0 {
				continue
			}
			slices.Sort(scopes[resource.ID])
			one := tool{system.Name + "/" + resource.Name, scopes[resource.ID]}
			tools[one.resource] = one
			if _, twice := tools[resource.Name]; twice {
				one = tool{}
			}
			tools[resource.Name] = one
		}
	}
	return tools
}

// Tool returns where the tool of that name stands, as "system/resource", and the
// names of its entitlements: as Resolve, from what this replica knows.
func (d *Desk) Tool(name string) (resource string, scopes []string, known bool) {
	directory := d.known.Load()
	if directory == nil {
		return "", nil, false
	}
	found := directory.tools[name]
	return found.resource, found.scopes, found.resource != ""
}
