package desk

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
)

// matter is what a request is about, resolved: who asks, for whom, for what.
type matter struct {
	requester, beneficiary *countersign.Identity
	items                  []right
}

// right is one entitlement with its system and resource.
type right struct {
	entitlement *countersign.Entitlement
	system      *countersign.System
	resource    *countersign.Resource
}

// party describes an identity to a policy.
func (d *snapshot) party(identity *countersign.Identity, now countersign.Instant) policy.Party {
	groups, teams := d.groupsOf(identity.ID)
	party := policy.Party{
		ID: identity.ID, Kind: identity.Kind, Name: identity.Name, Active: identity.ActiveAt(now),
		Affiliation: identity.Affiliation, Environment: identity.Environment, Teams: teams, Groups: groups,
		ContractEnd: identity.ContractEnd, LastConfirmed: identity.LastConfirmed, Sponsor: identity.Sponsor, Purpose: identity.Purpose,
	}
	// An owner who is not there any more does not count: the NHI is unowned.
	if owner := d.identities[identity.Owner]; owner != nil && owner.ActiveAt(now) {
		party.Owner = owner.ID
	}
	if record := d.records[identity.Record]; record != nil {
		party.Record = record.Key
	}
	return party
}

func (r right) risk() countersign.Risk {
	switch {
	case r.entitlement.Risk != "":
		return r.entitlement.Risk
	case r.resource.Risk != "":
		return r.resource.Risk
	default:
		return r.system.Risk
	}
}

func (r right) item() policy.Item {
	resourceRisk := r.system.Risk
	if r.resource.Risk != "" {
		resourceRisk = r.resource.Risk
	}
	return policy.Item{
		Entitlement: policy.EntitlementFact{ID: r.entitlement.ID, Name: r.entitlement.Name, Kind: r.entitlement.Kind, Risk: r.risk(), MaxDuration: r.entitlement.MaxDuration},
		Resource:    policy.ResourceFact{Name: r.resource.Name, System: r.system.Name, Connector: r.system.Connector, Environment: r.system.Environment, Risk: resourceRisk},
	}
}

// rightOf resolves an entitlement.
func (d *snapshot) rightOf(id countersign.EntitlementID) (right, error) {
	entitlement := d.entitlements[id]
	if entitlement == nil {
		return right{}, countersign.Errorf(countersign.NotFound, "no-such-entitlement", "There is no entitlement %q.", id)
	}
	system := d.systems[entitlement.System]
	if system == nil || system.FindResource(entitlement.Resource) == nil {
		return right{}, countersign.Errorf(countersign.Internal, "dangling-entitlement", "the entitlement %s has no system or resource", id)
	}
	return right{entitlement, system, system.FindResource(entitlement.Resource)}, nil
}

func (d *snapshot) matterOf(requester, beneficiary countersign.IdentityID, entitlements []countersign.EntitlementID) (matter, error) {
	m := matter{requester: d.identities[requester], beneficiary: d.identities[beneficiary]}
	if m.requester == nil || m.beneficiary == nil {
		return matter{}, countersign.Errorf(countersign.NotFound, "no-such-identity", "There is no identity %q or %q.", requester, beneficiary)
	}
	for _, id := range entitlements {
		item, err := d.rightOf(id)
		if err != nil {
			return matter{}, err
		}
		m.items = append(m.items, item)
	}
	return m, nil
}

// samePerson says who counts as the requester or the beneficiary, and why.
// Everyone who did so at submit counts on, and so does whoever stood in for one
// of them at any time from since to now.
func (d *snapshot) samePerson(m matter, atSubmit []countersign.IdentityID, since, now countersign.Instant) map[countersign.IdentityID]string {
	kept := d.onePerson(m, atSubmit)
	for _, side := range []*countersign.Identity{m.requester, m.beneficiary} {
		for _, id := range side.SamePerson() {
			for _, delegation := range d.delegations[id] {
				if _, already := kept[delegation.To]; !already && delegation.Overlaps(since, now) {
					kept[delegation.To] = "stands in for " + d.nameOf(id)
				}
			}
		}
	}
	return kept
}

// standsIn reports whether somebody stood in for either side, for requests of the
// type, at any time from since to now.
func (d *snapshot) standsIn(m matter, who countersign.IdentityID, requestType string, since, now countersign.Instant) bool {
	for _, side := range []*countersign.Identity{m.requester, m.beneficiary} {
		for _, id := range side.SamePerson() {
			for _, delegation := range d.delegations[id] {
				if delegation.To == who && delegation.Covers(requestType) && delegation.Overlaps(since, now) {
					return true
				}
			}
		}
	}
	return false
}

// onePerson is samePerson without delegations.
func (d *snapshot) onePerson(m matter, atSubmit []countersign.IdentityID) map[countersign.IdentityID]string {
	kept := map[countersign.IdentityID]string{}
	for _, id := range atSubmit {
		kept[id] = "answered for the requester or the beneficiary when this was asked"
	}
	for _, side := range []struct {
		identity *countersign.Identity
		role     string
	}{{m.beneficiary, "is to have the access"}, {m.requester, "asked for it"}} {
		for _, id := range side.identity.SamePerson() {
			kept[id] = "answers for " + side.identity.Name
		}
		kept[side.identity.ID] = side.role
	}
	return kept
}

func sortedIDs(set map[countersign.IdentityID]string) []countersign.IdentityID {
	ids := make([]countersign.IdentityID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// candidates answers one approver rule: who it finds, with the path to each. A
// request for several entitlements needs somebody who owns them all.
func (d *snapshot) candidates(rule string, m matter) []path {
	function, argument := splitRule(rule)
	one := func(id countersign.IdentityID) []path {
		if d.identities[id] == nil {
			return nil
		}
		return []path{{identity: id}}
	}
	side := m.requester
	if argument == "beneficiary" {
		side = m.beneficiary
	}
	switch function {
	case "manager-of":
		if argument == "sponsor" {
			if sponsor := d.identities[m.beneficiary.Sponsor]; sponsor != nil {
				return one(sponsor.Manager)
			}
			return nil
		}
		// For an NHI it is the manager of the person who answers for it.
		if !side.Human() {
			if owner := d.identities[side.Owner]; owner != nil {
				side = owner
			}
		}
		return one(side.Manager)
	case "owner-of":
		if argument == "beneficiary" {
			return one(side.Owner)
		}
		return one(m.common(func(r right) countersign.IdentityID {
			if r.resource.Owner != "" {
				return r.resource.Owner
			}
			return r.system.Owner
		}))
	case "second-owner-of":
		if argument == "beneficiary" {
			return one(side.SecondOwner)
		}
		return one(m.common(func(r right) countersign.IdentityID { return r.system.SecondOwner }))
	case "group":
		return d.membersOf(d.groupNames[argument])
	case "person":
		if identity := d.findIdentity(argument); identity != nil {
			return one(identity.ID)
		}
	}
	return nil
}

// impersonal writes the rules of a stage without names: what goes into the part
// of an event that is never erased names people by id.
func (d *snapshot) impersonal(stage countersign.Stage) countersign.Stage {
	stage.Quorums, stage.Ladder = slices.Clone(stage.Quorums), slices.Clone(stage.Ladder)
	for i := range stage.Quorums {
		stage.Quorums[i].Approvers = d.impersonalRules(stage.Quorums[i].Approvers)
		stage.Quorums[i].Else = d.impersonalRules(stage.Quorums[i].Else)
	}
	for i := range stage.Ladder {
		stage.Ladder[i].EscalateTo = d.impersonalRules(stage.Ladder[i].EscalateTo)
	}
	return stage
}

func (d *snapshot) impersonalRules(rules []string) []string {
	rules = slices.Clone(rules)
	for i, rule := range rules {
		if function, argument := splitRule(rule); function == "person" {
			if identity := d.findIdentity(argument); identity != nil {
				rules[i] = "person(" + string(identity.ID) + ")"
			}
		}
	}
	return rules
}

// readable writes a rule as people wrote it.
func (d *snapshot) readable(rule string) string {
	if function, argument := splitRule(rule); function == "person" {
		if identity := d.identities[countersign.IdentityID(argument)]; identity != nil {
			return "person(" + identity.Handle(countersign.Login) + ")"
		}
	}
	return rule
}

// resolved is the answer to approver rules, with what it relied on.
type resolved struct {
	directory *snapshot
	matter    matter
	now       countersign.Instant
	// requestType is what delegations have to cover.
	requestType string
	// rotates says that what is asked for is another credential of a live grant.
	rotates bool
	// held reports a hold: nobody decides in the place of somebody under one.
	held    func(on string) bool
	answers map[string][]policy.Candidate
	paths   map[string][]path
	// records are the system records that a judgement read.
	records []*countersign.Record
}

func (d *snapshot) resolver(m matter, now countersign.Instant, requestType string) *resolved {
	return &resolved{directory: d, matter: m, now: now, requestType: requestType, answers: map[string][]policy.Candidate{}, paths: map[string][]path{}}
}

// resolver is that of the directory, with what this process knows of holds.
func (tx *transaction) resolver(m matter, requestType string) *resolved {
	r := tx.directory.resolver(m, tx.now(), requestType)
	r.held = tx.desk.heldNow
	return r
}

// answer looks the rules up, each once.
func (r *resolved) answer(rules ...string) map[string][]policy.Candidate {
	for _, rule := range rules {
		if _, known := r.answers[rule]; known {
			continue
		}
		paths := r.directory.candidates(rule, r.matter)
		found := make([]policy.Candidate, 0, len(paths))
		for _, path := range paths {
			identity := r.directory.identities[path.identity]
			if identity == nil {
				continue
			}
			found = append(found, policy.Candidate{ID: identity.ID, Name: identity.Name, Active: identity.ActiveAt(r.now), Human: identity.Human(), Path: path.names})
		}
		for _, path := range paths {
			for _, delegate := range r.delegates(path) {
				identity := r.directory.identities[delegate.identity]
				found = append(found, policy.Candidate{
					ID: identity.ID, Name: identity.Name, Active: identity.ActiveAt(r.now), Human: identity.Human(), Path: delegate.names, OnBehalfOf: path.identity,
				})
				paths = append(paths, delegate)
			}
		}
		r.answers[rule], r.paths[rule] = found, paths
	}
	return r.answers
}

// delegates returns who stands in now for whom a path leads to, with the guards of
// both people and of the delegation.
func (r *resolved) delegates(to path) []path {
	from := r.directory.identities[to.identity]
	if from == nil || !from.ActiveAt(r.now) || r.held != nil && r.held(string(from.ID)) {
		return nil
	}
	var found []path
	delegations := r.directory.delegations[from.ID]
	for _, id := range slices.Sorted(maps.Keys(delegations)) {
		delegation := delegations[id]
		known := slices.ContainsFunc(found, func(p path) bool { return p.identity == delegation.To })
		if !known && delegation.Overlaps(r.now, r.now) && delegation.Covers(r.requestType) && r.directory.identities[delegation.To] != nil {
			guards := append(slices.Clone(to.guards), store.Guard{Key: store.GuardRow(string(id)), Version: delegation.Version}, store.Guard{Key: store.GuardRow(string(from.ID)), Version: from.Version})
			found = append(found, path{delegation.To, append(slices.Clone(to.names), from.Name), guards})
		}
	}
	return found
}

// relyOn guards the rows by which the rule found the person: the person, the
// memberships on the path, or the row that names the manager or owner.
func (r *resolved) relyOn(tx *transaction, rule string, person countersign.IdentityID) {
	for _, path := range r.paths[rule] {
		if path.identity == person {
			for _, guard := range path.guards {
				tx.rely(guard.Key, guard.Version)
			}
		}
	}
	if identity := r.directory.identities[person]; identity != nil {
		tx.relyOn(identity)
	}
	r.relyOnMatter(tx)
}

// relyOnMatter guards everything that the request is about.
func (r *resolved) relyOnMatter(tx *transaction) {
	for _, side := range []*countersign.Identity{r.matter.requester, r.matter.beneficiary} {
		tx.relyOn(side)
		for _, id := range []countersign.IdentityID{side.Owner, side.Sponsor} {
			if answering := r.directory.identities[id]; answering != nil {
				tx.relyOn(answering)
			}
		}
	}
	for _, item := range r.matter.items {
		tx.relyOn(item.entitlement, item.system)
	}
	for _, record := range r.records {
		tx.relyOn(record)
	}
}

// facts answers what the policy set needs for a judgement. Sources are asked only
// where tickets are wanted; except is the request that is judged, if it is there
// already.
func (tx *transaction) facts(ctx context.Context, r *resolved, set *policy.Set, typeName string, base policy.Facts, except countersign.RequestID, asked tickets) (policy.Facts, error) {
	queries, err := set.Needs(typeName, base)
	if err != nil {
		return policy.Facts{}, err
	}
	base.Approvers, base.Records = map[string][]policy.Candidate{}, map[string]policy.RecordFact{}
	for _, query := range queries {
		switch {
		case query.Approvers != "":
			base.Approvers[query.Approvers] = r.answer(query.Approvers)[query.Approvers]
		case query.Record != "":
			base.Records[query.Record] = r.record(query.Record)
		case query.OpenRequests:
			base.OpenRequests, err = tx.openRequests(ctx, r.matter.beneficiary.ID, typeName, except)
		case query.Held:
			base.Held, err = tx.heldBySame(ctx, r.matter.beneficiary, except)
		case query.Eligible:
			if base.Eligible, err = tx.eligible(ctx, r.matter); err == nil {
				base.OverdueReviews, err = tx.overdueReviews(ctx, r.matter.beneficiary.ID)
			}
		case query.Ticket != policy.TicketQuery{} && asked != nil:
			var found ticket
			if found, err = asked.look(ctx, tx.desk, set, query.Ticket); err == nil {
				if base.Tickets == nil {
					base.Tickets = map[string]policy.TicketFact{}
				}
				base.Tickets[query.Ticket.Slot] = found.fact
			}
		}
		if err != nil {
			return policy.Facts{}, err
		}
	}
	return base, nil
}

// heldBySame returns what everybody holds who counts as one person with the
// holder: a person with the machines that the person answers for, a machine with
// whoever answers for it and with their other machines.
func (tx *transaction) heldBySame(ctx context.Context, holder *countersign.Identity, except countersign.RequestID) ([]policy.HeldItem, error) {
	people := holder.SamePerson()
	holders := map[countersign.IdentityID]bool{}
	for _, id := range people {
		holders[id] = true
	}
	for id, identity := range tx.directory.identities {
		if slices.ContainsFunc(identity.SamePerson(), func(other countersign.IdentityID) bool { return slices.Contains(people, other) }) {
			holders[id] = true
		}
	}
	grants, err := tx.read.Grants(ctx, store.GrantQuery{Holders: slices.Sorted(maps.Keys(holders)), States: heldStates})
	if err != nil {
		return nil, err
	}
	var held []policy.HeldItem
	for _, grant := range grants {
		if except != "" && grant.Request == except {
			continue
		}
		item, err := tx.directory.rightOf(grant.Entitlement)
		if err != nil {
			return nil, err
		}
		held = append(held, policy.HeldItem{Item: item.item(), Holder: grant.Holder, HolderName: tx.directory.nameOf(grant.Holder), Grant: grant.ID, Live: grant.State == countersign.GrantLive})
	}
	return held, nil
}

// eligible returns which of the items the beneficiary may take by break-glass:
// those that a live grant of an eligible assignment is for, with no hold on it.
func (tx *transaction) eligible(ctx context.Context, m matter) ([]countersign.EntitlementID, error) {
	grants, err := tx.read.Grants(ctx, store.GrantQuery{Holders: []countersign.IdentityID{m.beneficiary.ID}, States: []countersign.GrantState{countersign.GrantLive}})
	if err != nil {
		return nil, err
	}
	var eligible []countersign.EntitlementID
	for _, grant := range grants {
		assigned := tx.directory.entitlements[grant.Entitlement]
		if assigned == nil || assigned.EligibleFor == "" || assigned.Retired || grant.Until != 0 && tx.now() >= grant.Until || tx.desk.heldNow(string(grant.ID)) || tx.desk.heldNow(string(grant.Entitlement)) {
			continue
		}
		for _, item := range m.items {
			if item.entitlement.Resource == assigned.Resource && item.entitlement.Name == assigned.EligibleFor {
				tx.relyOn(assigned)
				eligible = append(eligible, item.entitlement.ID)
			}
		}
	}
	return eligible, nil
}

// overdueReviews returns the reviews of the person's earlier break-glass access
// whose time has passed, and that two people have not set aside.
func (tx *transaction) overdueReviews(ctx context.Context, who countersign.IdentityID) ([]policy.OverdueReview, error) {
	closing, err := tx.read.Requests(ctx, store.RequestQuery{Holder: who, States: []countersign.RequestState{countersign.RequestClosing}})
	if err != nil {
		return nil, err
	}
	var overdue []policy.OverdueReview
	for _, request := range closing {
		if !request.BreakGlass || !slices.ContainsFunc(request.Stages, func(stage countersign.Stage) bool { return stage.Blocks(tx.now()) }) {
			continue
		}
		one := policy.OverdueReview{Request: request.ID}
		for _, id := range request.Entitlements {
			if item, err := tx.directory.rightOf(id); err == nil && !slices.Contains(one.Systems, item.system.Name) {
				one.Systems = append(one.Systems, item.system.Name)
			}
		}
		overdue = append(overdue, one)
	}
	return overdue, nil
}

func (r *resolved) record(key string) policy.RecordFact {
	record := r.directory.records[r.directory.recordKeys[key]]
	if record == nil {
		return policy.RecordFact{Key: key}
	}
	r.records = append(r.records, record)
	return policy.RecordFact{Key: key, Found: true, Owner: record.Owner, Environment: record.Environment, Scopes: record.Scopes, Retired: record.Retired}
}

// baseFacts are the facts that need no policy to be known.
func (r *resolved) baseFacts(reason string, duration countersign.Seconds, until countersign.Instant, answers json.RawMessage, same map[countersign.IdentityID]string) policy.Facts {
	facts := policy.Facts{
		Rotates: r.rotates, Now: r.now, Requester: r.directory.party(r.matter.requester, r.now), Beneficiary: r.directory.party(r.matter.beneficiary, r.now),
		Reason: reason, Duration: duration, Until: until, Answers: answers, SamePerson: same,
	}
	for _, id := range r.directory.answering(r.matter.beneficiary) {
		if person := r.directory.identities[id]; person != nil {
			facts.Answering = append(facts.Answering, r.directory.party(person, r.now))
		}
	}
	for _, item := range r.matter.items {
		facts.Items = append(facts.Items, item.item())
	}
	return facts
}
