package directory

import (
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Compare says what would have to change in the stored directory (the whole of
// it) for it to be as wanted. Identities are recognised by any handle, the
// others by name or key; ids of new things come from mint, in the order of the
// files. An organisation that would turn one identity into another, or change
// the kind of a thing, is a Conflict that names every place.
func Compare(current store.Directory, wanted *Organisation, mint *countersign.Mint) (Difference, error) {
	c := &comparison{wanted: wanted, mint: mint, names: map[string]string{}}
	c.index(current)
	c.resolveIdentities()
	c.resolveOthers()
	if len(c.conflicts) > 0 {
		return Difference{}, countersign.Errorf(countersign.Conflict, "directory-conflict", "the files cannot follow the stored directory: %s", strings.Join(c.conflicts, "; "))
	}
	c.identityChanges(current)
	c.groupChanges(current)
	c.recordChanges(current)
	c.systemChanges(current)
	return Difference{Changes: append(c.changes, c.removals...), Powers: c.powers()}, nil
}

// comparison is the state of one Compare: first every wanted thing gets its id,
// then the rows are built, so that new things can name each other.
type comparison struct {
	wanted *Organisation
	mint   *countersign.Mint

	byHandle     map[string]*countersign.Identity
	oldIdentity  map[countersign.IdentityID]*countersign.Identity
	oldGroup     map[string]*countersign.Group
	oldSystem    map[string]*countersign.System
	oldRecord    map[string]*countersign.Record
	oldRight     map[right]*countersign.Entitlement
	identities   map[string]countersign.IdentityID
	groups       map[string]countersign.GroupID
	records      map[string]countersign.RecordID
	rights       map[string]countersign.EntitlementID // of the house, by power
	keptIdentity map[countersign.IdentityID]bool

	// names says how people call what has an id.
	names     map[string]string
	conflicts []string
	changes   []Change
	removals  []Change
}

// right names an entitlement within the house.
type right struct {
	resource countersign.ResourceID
	name     string
}

func (c *comparison) index(current store.Directory) {
	c.byHandle = map[string]*countersign.Identity{}
	c.oldIdentity = map[countersign.IdentityID]*countersign.Identity{}
	for _, identity := range current.Identities {
		c.oldIdentity[identity.ID] = identity
		c.names[string(identity.ID)] = labelOf(identity)
		for _, handle := range identity.Handles {
			c.byHandle[handle.Key()] = identity
		}
	}
	c.oldGroup = map[string]*countersign.Group{}
	for _, group := range current.Groups {
		c.oldGroup[group.Name] = group
		c.names[string(group.ID)] = group.Name
	}
	c.oldSystem = map[string]*countersign.System{}
	for _, system := range current.Systems {
		c.oldSystem[system.Name] = system
		c.names[string(system.ID)] = system.Name
		for _, resource := range system.Resources {
			c.names[string(resource.ID)] = resource.Name
		}
	}
	c.oldRecord = map[string]*countersign.Record{}
	for _, record := range current.Records {
		c.oldRecord[record.Key] = record
		c.names[string(record.ID)] = record.Key
	}
	c.oldRight = map[right]*countersign.Entitlement{}
	for _, entitlement := range current.Entitlements {
		c.oldRight[right{entitlement.Resource, entitlement.Name}] = entitlement
	}
}

// labelOf is how an identity is called in changes: its login, if it has one.
func labelOf(identity *countersign.Identity) string {
	if login := identity.Handle(countersign.Login); login != "" {
		return login
	}
	return identity.Name
}

func (c *comparison) conflict(at spot, sentence string) {
	c.conflicts = append(c.conflicts, at.String()+": "+sentence)
}

// resolveIdentities finds the stored identity behind each wanted one. A handle
// is never reassigned, so handles of two stored identities in one wanted
// identity, and handles of one stored identity in two wanted ones, are conflicts.
func (c *comparison) resolveIdentities() {
	c.identities = map[string]countersign.IdentityID{}
	c.keptIdentity = map[countersign.IdentityID]bool{}
	for i := range c.wanted.Identities {
		wanted := &c.wanted.Identities[i]
		at := wanted.spots["login"]
		var old *countersign.Identity
		for k, handle := range wanted.Handles {
			owner := c.byHandle[handle.Key()]
			switch {
			case owner == nil || owner == old:
			case old != nil:
				c.conflict(wanted.spots.element("handle", k), "the "+string(handle.Kind)+" "+handle.Value+" belongs to "+c.names[string(owner.ID)]+", and "+wanted.Login+" is "+c.names[string(old.ID)]+"; a handle is never given to somebody else")
			default:
				old = owner
			}
		}
		if old == nil {
			id := c.mint.Identity()
			c.identities[wanted.Login], c.names[string(id)] = id, wanted.Login
			continue
		}
		if c.keptIdentity[old.ID] {
			c.conflict(at, wanted.Login+" and another identity of the files are both "+c.names[string(old.ID)]+" by their handles")
		}
		if old.Kind != wanted.Kind {
			c.conflict(at, wanted.Login+" is a "+string(old.Kind)+" and cannot become a "+string(wanted.Kind)+"; give the new one a login of its own")
		}
		c.keptIdentity[old.ID] = true
		c.identities[wanted.Login], c.names[string(old.ID)] = old.ID, wanted.Login
	}
}

func (c *comparison) resolveOthers() {
	c.groups = map[string]countersign.GroupID{}
	for _, group := range c.wanted.Groups {
		if old := c.oldGroup[group.Name]; old != nil {
			c.groups[group.Name] = old.ID
			continue
		}
		id := c.mint.Group()
		c.groups[group.Name], c.names[string(id)] = id, group.Name
	}
	c.records = map[string]countersign.RecordID{}
	for _, record := range c.wanted.Records {
		if old := c.oldRecord[record.Key]; old != nil {
			c.records[record.Key] = old.ID
			continue
		}
		id := c.mint.Record()
		c.records[record.Key], c.names[string(id)] = id, record.Key
	}
	for i := range c.wanted.Systems {
		c.checkKinds(&c.wanted.Systems[i])
	}
}

// checkKinds refuses an entitlement that would mean something else to those who
// hold it.
func (c *comparison) checkKinds(system *System) {
	old := c.oldSystem[system.Name]
	if old == nil {
		return
	}
	for _, resource := range system.Resources {
		for _, entitlement := range resource.Entitlements {
			stored := c.oldRight[right{resourceID(old, resource.Name), entitlement.Name}]
			if stored != nil && stored.Kind != entitlement.Kind {
				c.conflict(entitlement.spots["kind"], "the entitlement "+entitlement.Name+" is of kind "+string(stored.Kind)+" and stays so; give the new one another name")
			}
		}
	}
}

// resourceID returns the id of the system's resource with the name, or "".
func resourceID(system *countersign.System, name string) countersign.ResourceID {
	for _, resource := range system.Resources {
		if resource.Name == name {
			return resource.ID
		}
	}
	return ""
}

func (c *comparison) identityChanges(current store.Directory) {
	for _, wanted := range c.wanted.Identities {
		after := &countersign.Identity{
			ID:            c.identities[wanted.Login],
			Kind:          wanted.Kind,
			Status:        wanted.Status,
			Name:          wanted.Name,
			Handles:       slices.Clone(wanted.Handles),
			Environment:   wanted.Environment,
			Affiliation:   wanted.Affiliation,
			Manager:       c.identities[wanted.Manager],
			ContractEnd:   wanted.ContractEnd,
			Sponsor:       c.identities[wanted.Sponsor],
			Owner:         c.identities[wanted.Owner],
			SecondOwner:   c.identities[wanted.SecondOwner],
			Purpose:       wanted.Purpose,
			Record:        c.records[wanted.Record],
			LastConfirmed: wanted.LastConfirmed,
			ConfirmEvery:  wanted.ConfirmEvery,
		}
		change := Change{Noun: IdentityNoun, Name: wanted.Login, After: after}
		before := c.oldIdentity[after.ID]
		if before != nil {
			after.Version, change.Before = before.Version, before
			after.Offer = before.Offer
			after.LastConfirmed, after.Silence = confirmed(before.LastConfirmed, after.LastConfirmed, before.Silence, before.Owner == after.Owner)
			if after.Status == countersign.IdentitySuspended {
				after.SuspendedBy, after.DepartsAt = before.SuspendedBy, before.DepartsAt
			}
		}
		c.note(change, c.describeIdentity(before), c.describeIdentity(after), c.identityStanding(before, after))
	}
	for _, old := range current.Identities {
		if c.keptIdentity[old.ID] || old.Status == countersign.IdentityDeparted {
			continue
		}
		after := *old
		after.Status = countersign.IdentityDeparted
		c.remove(Change{Noun: IdentityNoun, Name: c.names[string(old.ID)], Before: old, After: &after}, c.describeIdentity(old), c.describeIdentity(&after))
	}
}

// confirmed merges what the house knows of an owner's confirmations with what files
// say. Files say what was so when they were written: an older one takes no
// confirmation back. Silence ends with a later confirmation, and with the owner.
func confirmed(stored, wanted countersign.Instant, silence *countersign.Silence, sameOwner bool) (countersign.Instant, *countersign.Silence) {
	if wanted > stored || !sameOwner {
		silence = nil
	}
	return max(stored, wanted), silence
}

func (c *comparison) groupChanges(current store.Directory) {
	for _, wanted := range c.wanted.Groups {
		before := c.oldGroup[wanted.Name]
		after := &countersign.Group{ID: c.groups[wanted.Name], Name: wanted.Name, Team: wanted.Team, Owner: c.identities[wanted.Owner]}
		change := Change{Noun: GroupNoun, Name: wanted.Name, After: after}
		since := map[string]int64{}
		if before != nil {
			after.Version, change.Before = before.Version, before
			for _, member := range before.Members {
				since[string(member.Identity)] = member.Version
			}
			for _, nested := range before.Nested {
				since[string(nested.Group)] = nested.Version
			}
		}
		for _, login := range wanted.Members {
			id := c.identities[login]
			after.Members = append(after.Members, countersign.Member{Identity: id, Version: since[string(id)]})
		}
		for _, name := range wanted.Groups {
			id := c.groups[name]
			after.Nested = append(after.Nested, countersign.Nesting{Group: id, Version: since[string(id)]})
		}
		c.note(change, c.describeGroup(before), c.describeGroup(after), c.groupStanding(before, after))
	}
	for _, old := range current.Groups {
		if _, kept := c.groups[old.Name]; kept || len(old.Members)+len(old.Nested) == 0 {
			continue
		}
		after := *old
		after.Members, after.Nested = nil, nil
		c.remove(Change{Noun: GroupNoun, Name: old.Name, Before: old, After: &after}, c.describeGroup(old), c.describeGroup(&after))
	}
}

func (c *comparison) recordChanges(current store.Directory) {
	for _, wanted := range c.wanted.Records {
		before := c.oldRecord[wanted.Key]
		after := &countersign.Record{
			ID:          c.records[wanted.Key],
			Key:         wanted.Key,
			Title:       wanted.Title,
			Owner:       c.identities[wanted.Owner],
			Environment: wanted.Environment,
			Scopes:      slices.Clone(wanted.Scopes),
			Retired:     wanted.Retired,
		}
		change := Change{Noun: RecordNoun, Name: wanted.Key, After: after}
		if before != nil {
			after.Version, change.Before = before.Version, before
		}
		c.note(change, c.describeRecord(before), c.describeRecord(after), c.recordStanding(before, after))
	}
	for _, old := range current.Records {
		if _, kept := c.records[old.Key]; kept || old.Retired {
			continue
		}
		after := *old
		after.Retired = true
		c.remove(Change{Noun: RecordNoun, Name: old.Key, Before: old, After: &after}, c.describeRecord(old), c.describeRecord(&after))
	}
}

// note keeps a change if any field says something else than before.
func (c *comparison) note(change Change, before, after []attribute, standing []string) {
	change.Verb = Modify
	if change.Before == nil {
		change.Verb = Add
	}
	change.Fields = fieldChanges(before, after)
	if change.Verb == Modify && len(change.Fields) == 0 {
		return
	}
	change.Standing = strings.Join(standing, " ")
	c.changes = append(c.changes, change)
}

// remove keeps the end of a thing; that gives nobody anything.
func (c *comparison) remove(change Change, before, after []attribute) {
	change.Verb = Remove
	change.Fields = fieldChanges(before, after)
	c.removals = append(c.removals, change)
}

// powers resolves the powers, one entry for each name.
func (c *comparison) powers() []PowerGrant {
	var grants []PowerGrant
	for _, power := range c.wanted.Powers {
		i := slices.IndexFunc(grants, func(g PowerGrant) bool { return g.Name == power.Name })
		if i < 0 {
			i = len(grants)
			grants = append(grants, PowerGrant{Entitlement: c.rights[power.Name], Name: power.Name})
		}
		for _, login := range power.Holders {
			if id := c.identities[login]; !slices.Contains(grants[i].Holders, id) {
				grants[i].Holders = append(grants[i].Holders, id)
			}
		}
	}
	return grants
}
