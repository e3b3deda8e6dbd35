package desk

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
)

// snapshot is what this replica knows of identities, groups, systems and
// records: whole, in memory, never changed once published. It may be behind;
// the guards of a commit find that out.
type snapshot struct {
	revision     int64
	identities   map[countersign.IdentityID]*countersign.Identity
	handles      map[string]countersign.IdentityID
	groups       map[countersign.GroupID]*countersign.Group
	groupNames   map[string]countersign.GroupID
	systems      map[countersign.SystemID]*countersign.System
	systemNames  map[string]countersign.SystemID
	entitlements map[countersign.EntitlementID]*countersign.Entitlement
	rights       map[string]countersign.EntitlementID
	records      map[countersign.RecordID]*countersign.Record
	recordKeys   map[string]countersign.RecordID
	// tools are by their name, and by system/name.
	tools map[string]tool
	// delegations are by whom they are from.
	delegations map[countersign.IdentityID]map[countersign.DelegationID]*countersign.Delegation
	// memberOf and nestedIn lead upwards: to the groups that directly hold an
	// identity, or a group.
	memberOf map[countersign.IdentityID][]countersign.GroupID
	nestedIn map[countersign.GroupID][]countersign.GroupID
}

// activeSet is the policy set in force, with the version of its guard. One that
// cannot be read says why in broken: nothing is judged by it, and nothing that
// ends waits for it.
type activeSet struct {
	version int64
	digest  countersign.Digest
	set     *policy.Set
	broken  error
	// emergency says who put the set into force alone; nil where two people did.
	emergency *countersign.EmergencyPolicy
}

// judging returns the active set, or why nothing can be judged.
func (a *activeSet) judging() (*policy.Set, error) {
	switch {
	case a == nil:
		return nil, countersign.Errorf(countersign.Unavailable, "no-policy", "This house has no active policy set yet.")
	case a.broken != nil:
		return nil, countersign.Errorf(countersign.Unavailable, "broken-policy", "The active policy set cannot be read, and nothing can be asked for or decided: %v.", a.broken).Because(a.broken)
	}
	return a.set, nil
}

// refresh returns the directory and the policy set as of now: one small read
// says whether what is in memory is still the latest.
func (d *Desk) refresh(ctx context.Context, read store.Reader) (*snapshot, *activeSet, error) {
	versions, err := read.Guards(ctx, []string{store.GuardDirectory, store.GuardPolicy})
	if err != nil {
		return nil, nil, err
	}
	known, active := d.known.Load(), d.active.Load()
	current := known != nil && known.revision >= versions[store.GuardDirectory]
	if current && (versions[store.GuardPolicy] == 0 || active != nil && active.version >= versions[store.GuardPolicy]) {
		return known, active, nil
	}
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	known, active = d.known.Load(), d.active.Load()
	if known == nil || known.revision < versions[store.GuardDirectory] {
		var since int64
		if known != nil {
			since = known.revision
		}
		delta, err := d.Store.Directory(ctx, since)
		if err != nil {
			return nil, nil, err
		}
		known = known.with(delta)
		d.known.Store(known)
		d.stopInactive(delta.Identities)
	}
	if versions[store.GuardPolicy] > 0 && (active == nil || active.version < versions[store.GuardPolicy]) {
		row, err := d.Store.Policy(ctx)
		if err != nil {
			return nil, nil, err
		}
		// A set that is damaged or missing keeps nothing from ending.
		set, err := d.policySet(ctx, row.Active)
		if countersign.KindOf(err) == countersign.Unavailable {
			return nil, nil, err
		}
		active = &activeSet{version: row.Version, digest: row.Active, set: set, broken: err, emergency: row.Emergency}
		d.active.Store(active)
	}
	return known, active, nil
}

// stopInactive makes checks refuse identities that may hold nothing now, and lets
// those through again that may.
func (d *Desk) stopInactive(identities []*countersign.Identity) {
	now := countersign.InstantOf(d.Clock.Now())
	for _, identity := range identities {
		if identity.ActiveAt(now) {
			d.Forget(false, string(identity.ID))
		} else {
			d.Stop(false, string(identity.ID))
		}
	}
}

// The domains of the digests of what is kept as bytes.
const (
	policySetDomain = "policy-set"
	evidenceDomain  = "evidence"
	proposalDomain  = "proposal"
	baselineDomain  = "baseline"
)

// policySet returns a set that was ever active, compiled once.
func (d *Desk) policySet(ctx context.Context, digest countersign.Digest) (*policy.Set, error) {
	d.setsLock.Lock()
	defer d.setsLock.Unlock()
	if set, known := d.sets[digest]; known {
		return set, nil
	}
	kept, err := d.Store.PolicySet(ctx, digest)
	if err != nil {
		return nil, err
	}
	if countersign.DigestBytes(policySetDomain, kept) != digest {
		return nil, countersign.Errorf(countersign.Internal, "malformed-policy-set", "the policy set that is kept under %s has another digest: it was changed behind the house's back", digest)
	}
	set, err := policy.Parse(kept, d.Zones)
	if err != nil {
		return nil, err
	}
	d.sets[digest] = set
	return set, nil
}

// with returns the directory with what changed put in; the receiver may be nil.
func (d *snapshot) with(delta store.Directory) *snapshot {
	next := &snapshot{
		revision:   delta.Revision,
		identities: map[countersign.IdentityID]*countersign.Identity{}, groups: map[countersign.GroupID]*countersign.Group{},
		systems: map[countersign.SystemID]*countersign.System{}, entitlements: map[countersign.EntitlementID]*countersign.Entitlement{},
		records: map[countersign.RecordID]*countersign.Record{}, delegations: map[countersign.IdentityID]map[countersign.DelegationID]*countersign.Delegation{},
	}
	if d != nil {
		for id, identity := range d.identities {
			next.identities[id] = identity
		}
		for id, group := range d.groups {
			next.groups[id] = group
		}
		for id, system := range d.systems {
			next.systems[id] = system
		}
		for id, entitlement := range d.entitlements {
			next.entitlements[id] = entitlement
		}
		for id, record := range d.records {
			next.records[id] = record
		}
		for from, all := range d.delegations {
			next.delegations[from] = maps.Clone(all)
		}
	}
	for _, identity := range delta.Identities {
		next.identities[identity.ID] = identity
	}
	for _, group := range delta.Groups {
		next.groups[group.ID] = group
	}
	for _, system := range delta.Systems {
		next.systems[system.ID] = system
	}
	for _, entitlement := range delta.Entitlements {
		next.entitlements[entitlement.ID] = entitlement
	}
	for _, record := range delta.Records {
		next.records[record.ID] = record
	}
	for _, delegation := range delta.Delegations {
		if next.delegations[delegation.From] == nil {
			next.delegations[delegation.From] = map[countersign.DelegationID]*countersign.Delegation{}
		}
		next.delegations[delegation.From][delegation.ID] = delegation
	}
	next.index()
	return next
}

func (d *snapshot) index() {
	d.handles = map[string]countersign.IdentityID{}
	d.groupNames, d.systemNames = map[string]countersign.GroupID{}, map[string]countersign.SystemID{}
	d.rights, d.recordKeys = map[string]countersign.EntitlementID{}, map[string]countersign.RecordID{}
	d.memberOf, d.nestedIn = map[countersign.IdentityID][]countersign.GroupID{}, map[countersign.GroupID][]countersign.GroupID{}
	for id, identity := range d.identities {
		for _, handle := range identity.Handles {
			d.handles[handle.Key()] = id
		}
	}
	for id, group := range d.groups {
		d.groupNames[group.Name] = id
		for _, member := range group.Members {
			d.memberOf[member.Identity] = append(d.memberOf[member.Identity], id)
		}
		for _, nested := range group.Nested {
			d.nestedIn[nested.Group] = append(d.nestedIn[nested.Group], id)
		}
	}
	for id, system := range d.systems {
		d.systemNames[system.Name] = id
	}
	for id, entitlement := range d.entitlements {
		d.rights[d.rightName(entitlement)] = id
	}
	d.tools = d.findTools()
	for id, record := range d.records {
		d.recordKeys[record.Key] = id
	}
}

// rightName writes an entitlement as system/resource/name.
func (d *snapshot) rightName(entitlement *countersign.Entitlement) string {
	system := d.systems[entitlement.System]
	if system == nil {
		return string(entitlement.ID)
	}
	resource := system.FindResource(entitlement.Resource)
	if resource == nil {
		return string(entitlement.ID)
	}
	return system.Name + "/" + resource.Name + "/" + entitlement.Name
}

// nameOf returns an identity's name for a sentence, or its id.
func (d *snapshot) nameOf(id countersign.IdentityID) string {
	if identity := d.identities[id]; identity != nil && identity.Name != "" {
		return identity.Name
	}
	return string(id)
}

// findIdentity takes an id, a login, an e-mail address or a SPIFFE id.
func (d *snapshot) findIdentity(name string) *countersign.Identity {
	if identity := d.identities[countersign.IdentityID(name)]; identity != nil {
		return identity
	}
	for _, kind := range []countersign.HandleKind{countersign.Login, countersign.Email, countersign.SPIFFE} {
		handle, err := countersign.NewHandle(kind, "", name)
		if err != nil {
			continue
		}
		if id, known := d.handles[handle.Key()]; known {
			return d.identities[id]
		}
	}
	return nil
}

// findEntitlement takes an id or system/resource/name.
func (d *snapshot) findEntitlement(name string) *countersign.Entitlement {
	if entitlement := d.entitlements[countersign.EntitlementID(name)]; entitlement != nil {
		return entitlement
	}
	return d.entitlements[d.rights[name]]
}

// groupsOf returns the names of all groups that hold the identity, nested
// included, and of those that are teams; sorted.
func (d *snapshot) groupsOf(id countersign.IdentityID) (groups, teams []string) {
	for _, above := range d.groupsAbove(id) {
		group := d.groups[above]
		groups = append(groups, group.Name)
		if group.Team {
			teams = append(teams, group.Name)
		}
	}
	slices.Sort(groups)
	slices.Sort(teams)
	return groups, teams
}

// groupsAbove returns every group that holds the identity, nested included.
func (d *snapshot) groupsAbove(id countersign.IdentityID) []countersign.GroupID {
	seen := map[countersign.GroupID]bool{}
	queue := slices.Clone(d.memberOf[id])
	var above []countersign.GroupID
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		above = append(above, next)
		queue = append(queue, d.nestedIn[next]...)
	}
	return above
}

// path is a chain of memberships from a group down to an identity.
type path struct {
	identity countersign.IdentityID
	names    []string
	guards   []store.Guard
}

// membersOf returns everybody in the group, direct members first, with the
// shortest path that leads to each.
func (d *snapshot) membersOf(group countersign.GroupID) []path {
	type level struct {
		group  *countersign.Group
		names  []string
		guards []store.Guard
	}
	var members []path
	seenGroup, seen := map[countersign.GroupID]bool{group: true}, map[countersign.IdentityID]bool{}
	start := d.groups[group]
	if start == nil {
		return nil
	}
	queue := []level{{group: start, names: []string{start.Name}}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, member := range at.group.Members {
			if seen[member.Identity] {
				continue
			}
			seen[member.Identity] = true
			guard := store.Guard{Key: store.GuardMember(at.group.ID, string(member.Identity)), Version: member.Version}
			members = append(members, path{member.Identity, at.names, append(slices.Clone(at.guards), guard)})
		}
		for _, nesting := range at.group.Nested {
			nested := d.groups[nesting.Group]
			if nested == nil || seenGroup[nesting.Group] {
				continue
			}
			seenGroup[nesting.Group] = true
			guard := store.Guard{Key: store.GuardMember(at.group.ID, string(nesting.Group)), Version: nesting.Version}
			queue = append(queue, level{nested, append(slices.Clone(at.names), nested.Name), append(slices.Clone(at.guards), guard)})
		}
	}
	return members
}

// splitRule takes "manager-of(requester)" apart.
func splitRule(rule string) (function, argument string) {
	function, rest, _ := strings.Cut(rule, "(")
	return function, strings.TrimSuffix(rest, ")")
}
