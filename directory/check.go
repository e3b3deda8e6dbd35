package directory

import (
	"maps"
	"slices"

	"github.com/countersign/countersign"
)

// check finds what is wrong between the things that the files describe.
func check(o *Organisation, found *problems) {
	c := checker{
		problems:   found,
		identities: map[string]*Identity{},
		groups:     map[string]*Group{},
		systems:    map[string]*System{},
		records:    map[string]*Record{},
	}
	c.index(o)
	c.references(o)
	c.managers(o)
	c.nesting(o)
	c.powers(o)
}

type checker struct {
	*problems
	identities map[string]*Identity
	groups     map[string]*Group
	systems    map[string]*System
	records    map[string]*Record
}

// index finds everything by its name, and refuses a name that two things have.
func (c *checker) index(o *Organisation) {
	handles := map[string]spot{}
	// People are named by login, e-mail address or SPIFFE id, whichever it is: one
	// text must not mean two of them.
	named := map[string]int{}
	for i := range o.Identities {
		identity := &o.Identities[i]
		if identity.Login != "" && c.identities[identity.Login] == nil {
			c.identities[identity.Login] = identity
		}
		for k, handle := range identity.Handles {
			at := identity.spots.element("handle", k)
			if first, taken := handles[handle.Key()]; taken {
				c.add(at, "the %s %q is already given at %s; a handle belongs to one identity", handle.Kind, countersign.Clip(handle.Value), first)
				continue
			}
			handles[handle.Key()] = at
			if handle.Kind == countersign.OIDC {
				continue
			}
			if countersign.PrefixOf(handle.Value) == "idn" {
				c.add(at, "the %s %q looks like the id of an identity; choose another", handle.Kind, countersign.Clip(handle.Value))
			}
			if other, taken := named[handle.Value]; taken && other != i {
				c.add(at, "%q names another identity already, as a handle of another kind", countersign.Clip(handle.Value))
				continue
			}
			named[handle.Value] = i
		}
	}
	groups, systems, records := map[string]spot{}, map[string]spot{}, map[string]spot{}
	for i := range o.Groups {
		group := &o.Groups[i]
		if c.unique(groups, "group or team", group.Name, group.spots["name"]) {
			c.groups[group.Name] = group
		}
	}
	for i := range o.Systems {
		system := &o.Systems[i]
		if c.unique(systems, "system", system.Name, system.spots["name"]) {
			c.systems[system.Name] = system
		}
		resources := map[string]spot{}
		for _, resource := range system.Resources {
			c.unique(resources, "resource of this system", resource.Name, resource.spots["name"])
			entitlements := map[string]spot{}
			for _, entitlement := range resource.Entitlements {
				c.unique(entitlements, "entitlement of this resource", entitlement.Name, entitlement.spots["name"])
				c.eligible(resource, entitlement)
			}
		}
	}
	for i := range o.Records {
		record := &o.Records[i]
		if c.unique(records, "record", record.Key, record.spots["key"]) {
			c.records[record.Key] = record
		}
	}
}

// eligible follows what an eligible assignment is for.
func (c *checker) eligible(resource Resource, entitlement Entitlement) {
	if entitlement.EligibleFor == "" {
		return
	}
	var others []string
	for _, other := range resource.Entitlements {
		if other.Name != entitlement.Name && other.EligibleFor == "" {
			others = append(others, other.Name)
		}
	}
	if !slices.Contains(others, entitlement.EligibleFor) {
		c.add(entitlement.spots["eligible_for"], "this resource has no entitlement %q that one could be eligible for%s", countersign.Clip(entitlement.EligibleFor), didYouMean(entitlement.EligibleFor, others))
	}
}

// unique notes a name, and refuses it if another thing has it.
func (c *checker) unique(seen map[string]spot, what, name string, at spot) bool {
	if name == "" {
		return false
	}
	if first, taken := seen[name]; taken {
		c.add(at, "there is another %s %q already, at %s", what, countersign.Clip(name), first)
		return false
	}
	seen[name] = at
	return true
}

// references follows every name to the thing that it names.
func (c *checker) references(o *Organisation) {
	for i := range o.Identities {
		identity := &o.Identities[i]
		at := identity.spots
		c.person(identity.Manager, at["manager"], "manager")
		c.person(identity.Sponsor, at["sponsor"], "sponsor")
		c.owners(identity.Owner, identity.SecondOwner, at)
		if identity.Record != "" && c.records[identity.Record] == nil && !c.full() {
			c.add(at["record"], "there is no record %q%s", countersign.Clip(identity.Record), didYouMean(identity.Record, names(c.records)))
		}
		if identity.Login != "" && identity.Sponsor == identity.Login {
			c.add(at["sponsor"], "%s cannot be the sponsor of himself or herself", countersign.Clip(identity.Login))
		}
	}
	for i := range o.Groups {
		group := &o.Groups[i]
		c.person(group.Owner, group.spots["owner"], "owner")
		for k, member := range group.Members {
			c.identity(member, group.spots.element("members", k))
		}
		for k, nested := range group.Groups {
			if nested != "" && c.groups[nested] == nil && !c.full() {
				c.add(group.spots.element("groups", k), "there is no group %q%s", countersign.Clip(nested), didYouMean(nested, names(c.groups)))
			}
		}
	}
	for i := range o.Systems {
		system := &o.Systems[i]
		c.owners(system.Owner, system.SecondOwner, system.spots)
		for k := range system.Resources {
			c.person(system.Resources[k].Owner, system.Resources[k].spots["owner"], "owner")
		}
	}
	for i := range o.Records {
		c.person(o.Records[i].Owner, o.Records[i].spots["owner"], "owner")
	}
}

func (c *checker) owners(owner, second string, at spots) {
	c.person(owner, at["owner"], "owner")
	c.person(second, at["second_owner"], "second owner")
	if second != "" && second == owner {
		c.add(at["second_owner"], "%s is the owner already; the second owner is somebody else", countersign.Clip(second))
	}
}

// identity returns the identity with the login; "" is no reference.
func (c *checker) identity(login string, at spot) *Identity {
	if login == "" {
		return nil
	}
	identity := c.identities[login]
	if identity == nil && !c.full() {
		c.add(at, "there is no identity with the login %q%s", countersign.Clip(login), didYouMean(login, names(c.identities)))
	}
	return identity
}

func (c *checker) person(login string, at spot, role string) {
	if identity := c.identity(login, at); identity != nil && identity.Kind != countersign.Person {
		c.add(at, "%s is a %s; the %s must be a person", countersign.Clip(login), identity.Kind, role)
	}
}

func names[T any](known map[string]*T) []string { return slices.Collect(maps.Keys(known)) }

// managers refuses a person who comes back to himself by going up.
func (c *checker) managers(o *Organisation) {
	seen := map[string]int{}
	for i := range o.Identities {
		for at := &o.Identities[i]; at != nil && at.Manager != "" && at.Login != ""; at = c.identities[at.Manager] {
			if seen[at.Login] == i+1 {
				c.add(at.spots["manager"], "%s manages himself or herself, over the manager %s", countersign.Clip(at.Login), countersign.Clip(at.Manager))
				break
			}
			if seen[at.Login] != 0 {
				break
			}
			seen[at.Login] = i + 1
		}
	}
}

// nesting refuses a group that is inside itself.
func (c *checker) nesting(o *Organisation) {
	const open, closed = 1, 2
	state := map[string]int{}
	var visit func(group *Group)
	visit = func(group *Group) {
		state[group.Name] = open
		for k, name := range group.Groups {
			nested := c.groups[name]
			switch {
			case nested == nil || state[name] == closed:
			case state[name] == open:
				c.add(group.spots.element("groups", k), "the group %s would be inside itself, over %s", countersign.Clip(name), countersign.Clip(group.Name))
			default:
				visit(nested)
			}
		}
		state[group.Name] = closed
	}
	for i := range o.Groups {
		if group := &o.Groups[i]; group.Name != "" && state[group.Name] == 0 {
			visit(group)
		}
	}
}

// powers refuses a power that could not work with two people from the first day.
func (c *checker) powers(o *Organisation) {
	holders := map[string]map[string]bool{}
	last := map[string]spot{}
	for _, power := range o.Powers {
		if holders[power.Name] == nil {
			holders[power.Name] = map[string]bool{}
		}
		last[power.Name] = power.spots[power.Name]
		for k, login := range power.Holders {
			at := power.spots.element(power.Name, k)
			identity := c.identity(login, at)
			switch {
			case identity == nil:
			case identity.Kind != countersign.Person:
				c.add(at, "%s is a %s; a power is held by people", countersign.Clip(login), identity.Kind)
			case identity.Status != countersign.IdentityActive:
				c.add(at, "%s is %s; a power is held by active people", countersign.Clip(login), identity.Status)
			default:
				holders[power.Name][login] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		if len(holders[name]) < 2 {
			c.add(last[name], "the power %s needs at least two active people", name)
		}
		if !c.grantable(name) {
			c.add(last[name], "the power %s needs an entitlement %q of kind role on the resource %q of the system %q", name, name, HouseResource, HouseSystem)
		}
	}
}

func (c *checker) grantable(power string) bool {
	system := c.systems[HouseSystem]
	if system == nil {
		return false
	}
	for _, resource := range system.Resources {
		for _, entitlement := range resource.Entitlements {
			if resource.Name == HouseResource && entitlement.Name == power && entitlement.Kind == countersign.RoleKind {
				return true
			}
		}
	}
	return false
}
