package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

func waitSentence(d *snapshot, stage string, need int, who []countersign.IdentityID) string {
	return fmt.Sprintf("%d more approval(s) in the stage %q, by %s", need, stage, d.namely(who))
}

func reviewSentence(d *snapshot, stage *countersign.Stage, who []countersign.IdentityID) string {
	text := fmt.Sprintf("the review of what was done, by %s, due %s", d.namely(who), stage.Deadline)
	if stage.Overdue {
		text = "the overdue " + strings.TrimPrefix(text, "the ")
	}
	return text
}

// namely lists a few names and counts the rest.
func (d *snapshot) namely(who []countersign.IdentityID) string {
	names := make([]string, 0, 4)
	for i, id := range who {
		if i == 3 && len(who) > 4 {
			names = append(names, fmt.Sprintf("%d others", len(who)-3))
			break
		}
		names = append(names, d.nameOf(id))
	}
	return strings.Join(names, ", ")
}

// Request shows one request to somebody who may read it.
func (d *Desk) Request(ctx context.Context, caller Caller, id countersign.RequestID) (_ *RequestView, err error) {
	if tx, request, grants := justWritten(ctx, caller, id); tx != nil {
		defer tx.orStale(&err)
		s, err := tx.stand(ctx, request)
		switch {
		case err != nil:
			return nil, err
		case !s.mayRead:
			return nil, notFound("request", string(id))
		}
		view, err := tx.requestView(request, s, grants)
		if err != nil {
			return nil, err
		}
		return view, tx.showTicket(ctx, request, view)
	}
	grantsOf := store.GrantQuery{Request: id, Limit: MaxEntitlements}
	tx, err := d.beginLooking(ctx, countersign.Actor(caller.Identity), func(*transaction) store.Questions {
		return store.Questions{RequestIDs: []countersign.RequestID{id}, Grants: []store.GrantQuery{grantsOf}}
	})
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	request, s, err := tx.readable(ctx, id)
	if err != nil {
		return nil, err
	}
	grants, err := tx.read.Grants(ctx, grantsOf)
	if err != nil {
		return nil, err
	}
	view, err := tx.requestView(request, s, grants)
	if err != nil {
		return nil, err
	}
	return view, tx.showTicket(ctx, request, view)
}

// RequestLine is a request in a list.
type RequestLine struct {
	ID           countersign.RequestID    `json:"id"`
	Type         string                   `json:"type"`
	Title        string                   `json:"title"`
	State        countersign.RequestState `json:"state"`
	Phase        countersign.Phase        `json:"phase"`
	Requester    Ref                      `json:"requester"`
	Beneficiary  Ref                      `json:"beneficiary"`
	Entitlements []EntitlementRef         `json:"entitlements"`
	SubmittedAt  countersign.Instant      `json:"submitted_at"`
	Due          countersign.Instant      `json:"due,omitzero"`
	WaitsFor     string                   `json:"waits_for,omitempty"`
}

// Requests lists what the caller has to do with, newest first; an auditor sees
// all.
func (d *Desk) Requests(ctx context.Context, caller Caller, filter RequestFilter) ([]RequestLine, error) {
	auditor, err := d.holdsAny(caller, PowerAuditor)
	if err != nil {
		return nil, err
	}
	operator, err := d.holdsAny(caller, PowerOperator)
	if err != nil {
		return nil, err
	}
	query := requestQuery(caller, filter, auditor, operator)
	tx, err := d.beginLooking(ctx, countersign.Actor(caller.Identity), func(*transaction) store.Questions {
		return store.Questions{Requests: []store.RequestQuery{query}}
	})
	if err != nil {
		return nil, err
	}
	requests, err := tx.read.Requests(ctx, query)
	if err != nil {
		return nil, err
	}
	lines := make([]RequestLine, 0, len(requests))
	for _, request := range requests {
		line := RequestLine{
			ID: request.ID, Type: request.Type, Title: request.Title, State: request.State, Phase: request.State.Phase(),
			Requester: tx.directory.ref(request.Requester), Beneficiary: tx.directory.ref(request.Beneficiary),
			Entitlements: []EntitlementRef{}, SubmittedAt: request.SubmittedAt, Due: workflow.RequestDue(request), WaitsFor: tx.directory.waitsFor(request),
		}
		for _, id := range request.Entitlements {
			line.Entitlements = append(line.Entitlements, tx.directory.entitlementRef(id))
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// Grant shows one grant to somebody who may read it.
func (d *Desk) Grant(ctx context.Context, caller Caller, id countersign.GrantID) (_ *GrantView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	grant, err := d.Store.Grant(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound {
		return nil, notFound("grant", string(id))
	}
	if err != nil {
		return nil, err
	}
	standing, err := tx.standOnGrant(ctx, grant)
	if err != nil {
		return nil, err
	}
	if standing.HasAny(workflow.Stranger) {
		return nil, notFound("grant", string(id))
	}
	view := tx.grantView(grant, standing)
	if grant.State == countersign.GrantRevoking {
		work, err := tx.claim(ctx, grant)
		if err != nil {
			return nil, err
		}
		view.Trouble = work.Trouble
	}
	return view, nil
}

// Grants lists what the caller and the NHIs that the caller answers for hold, and
// what the caller asked for; an auditor, an administrator, or an owner of the named system sees all of it.
func (d *Desk) Grants(ctx context.Context, caller Caller, filter GrantFilter) (_ []GrantView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	dir := tx.directory
	query := store.GrantQuery{Before: filter.Before, Limit: limitOf(filter.Limit)}
	if !filter.All {
		query.States = heldStates
	}
	seesAll := tx.power(caller.Identity, PowerAuditor) || tx.power(caller.Identity, PowerAdministrator)
	if filter.System != "" {
		system := dir.systems[dir.systemNames[filter.System]]
		if system == nil {
			return nil, countersign.Errorf(countersign.Invalid, "no-such-system", "There is no system %q.", filter.System).At("system")
		}
		query.System = system.ID
		seesAll = seesAll || system.Owner == caller.Identity || system.SecondOwner == caller.Identity
	}
	mine := []countersign.IdentityID{caller.Identity}
	for id, identity := range dir.identities {
		if identity.Owner == caller.Identity || identity.SecondOwner == caller.Identity || identity.Sponsor == caller.Identity {
			mine = append(mine, id)
		}
	}
	if filter.Holder != "" {
		holder := dir.findIdentity(filter.Holder)
		if holder == nil {
			return nil, countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q.", filter.Holder).At("holder")
		}
		allowed := seesAll
		for _, id := range mine {
			allowed = allowed || id == holder.ID
		}
		if !allowed {
			return nil, countersign.Errorf(countersign.Refused, "not-yours-to-see", "You may see what you hold and what the identities hold that you answer for.").At("holder")
		}
		mine, seesAll = []countersign.IdentityID{holder.ID}, false
	}
	if !seesAll {
		query.Holders = mine
		if filter.Holder == "" {
			query.Requester = caller.Identity
		}
	}
	grants, err := d.Store.Grants(ctx, query)
	if err != nil {
		return nil, err
	}
	views := make([]GrantView, 0, len(grants))
	for _, grant := range grants {
		standing, err := tx.standOnGrant(ctx, grant)
		if err != nil {
			return nil, err
		}
		views = append(views, *tx.grantView(grant, standing))
	}
	return views, nil
}

// Catalogue is what can be asked for, and how.
type Catalogue struct {
	Types        []policy.TypeInfo `json:"types"`
	Entitlements []EntitlementRef  `json:"entitlements"`
}

// Catalogue lists the request types and entitlements of today.
func (d *Desk) Catalogue(ctx context.Context) (*Catalogue, error) {
	known, active, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	catalogue := &Catalogue{Types: []policy.TypeInfo{}, Entitlements: []EntitlementRef{}}
	if active != nil {
		set, err := active.judging()
		if err != nil {
			return nil, err
		}
		catalogue.Types = set.Types()
	}
	for _, name := range sortedKeys(known.rights) {
		item, err := known.rightOf(known.rights[name])
		if err == nil && !item.entitlement.Retired && !item.system.Retired {
			catalogue.Entitlements = append(catalogue.Entitlements, known.entitlementRef(item.entitlement.ID))
		}
	}
	return catalogue, nil
}

// IdentityView is an identity as others see it.
type IdentityView struct {
	Ref
	Status      countersign.IdentityStatus `json:"status"`
	Active      bool                       `json:"active"`
	Affiliation countersign.Affiliation    `json:"affiliation,omitempty"`
	Manager     *Ref                       `json:"manager,omitempty"`
	Owner       *Ref                       `json:"owner,omitempty"`
	SecondOwner *Ref                       `json:"second_owner,omitempty"`
	Sponsor     *Ref                       `json:"sponsor,omitempty"`
	// OfferedTo is who is to answer for it once a second person agrees, by OfferedUntil.
	OfferedTo    *Ref                `json:"offered_to,omitempty"`
	OfferedUntil countersign.Instant `json:"offered_until,omitzero"`
	Purpose      string              `json:"purpose,omitempty"`
	Environment  string              `json:"environment,omitempty"`
	Record       string              `json:"record,omitempty"`
	ContractEnd  countersign.Instant `json:"contract_end,omitzero"`
	// LastConfirmed is when the NHI's owner, purpose and record were last confirmed.
	LastConfirmed countersign.Instant `json:"last_confirmed,omitzero"`
	Groups        []string            `json:"groups"`
	// Unowned marks an NHI that nobody active answers for.
	Unowned bool `json:"unowned,omitempty"`
	// Ownership is there for an NHI.
	Ownership *OwnershipView `json:"ownership,omitempty"`
}

// Identity shows an identity by id, login, e-mail address or SPIFFE id.
func (d *Desk) Identity(ctx context.Context, name string) (*IdentityView, error) {
	known, active, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	identity := known.findIdentity(name)
	if identity == nil {
		return nil, notFound("identity", name)
	}
	return known.identityView(identity, active.ownerTerms(), countersign.InstantOf(d.Clock.Now())), nil
}

func (d *snapshot) identityView(identity *countersign.Identity, terms policy.OwnerTerms, now countersign.Instant) *IdentityView {
	groups, _ := d.groupsOf(identity.ID)
	view := &IdentityView{
		Ref: d.ref(identity.ID), Status: identity.Status, Active: identity.ActiveAt(now), Affiliation: identity.Affiliation,
		Purpose: identity.Purpose, Environment: identity.Environment, ContractEnd: identity.ContractEnd, LastConfirmed: identity.LastConfirmed,
		Groups: append([]string{}, groups...),
	}
	view.Manager, view.Owner, view.Sponsor = d.refTo(identity.Manager), d.refTo(identity.Owner), d.refTo(identity.Sponsor)
	view.SecondOwner = d.refTo(identity.SecondOwner)
	if identity.Offer.OpenAt(now) {
		view.OfferedTo, view.OfferedUntil = d.refTo(identity.Offer.To), identity.Offer.Until
	}
	if record := d.records[identity.Record]; record != nil {
		view.Record = record.Key
	}
	if !identity.Human() {
		o := d.ofMachine(identity, terms, now)
		view.Unowned, view.Ownership = o.lost, d.ownershipView(o, now)
	}
	return view
}

// SystemView is a system as others see it.
type SystemView struct {
	ID          countersign.SystemID `json:"id"`
	Version     int64                `json:"version"`
	Name        string               `json:"name"`
	Title       string               `json:"title"`
	Owner       *Ref                 `json:"owner,omitempty"`
	SecondOwner *Ref                 `json:"second_owner,omitempty"`
	// OfferedTo is who is to answer for it once a second person agrees, by OfferedUntil.
	OfferedTo    *Ref                `json:"offered_to,omitempty"`
	OfferedUntil countersign.Instant `json:"offered_until,omitzero"`
	Environment  string              `json:"environment"`
	Risk         countersign.Risk    `json:"risk"`
	Connector    string              `json:"connector"`
	Retired      bool                `json:"retired,omitempty"`
	// Unowned marks a system that nobody active answers for.
	Unowned bool `json:"unowned,omitempty"`
	// LastConfirmed is when its owner last said that he or she still answers for it.
	LastConfirmed countersign.Instant `json:"last_confirmed,omitzero"`
	// Ownership is there while the system is in use.
	Ownership    *OwnershipView   `json:"ownership,omitempty"`
	Entitlements []EntitlementRef `json:"entitlements"`
}

// System shows a system by id or name.
func (d *Desk) System(ctx context.Context, name string) (*SystemView, error) {
	known, active, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	system := known.findSystem(name)
	if system == nil {
		return nil, notFound("system", name)
	}
	view := &SystemView{
		ID: system.ID, Version: system.Version, Name: system.Name, Title: system.Title, Environment: system.Environment, Risk: system.Risk,
		Connector: system.Connector, Retired: system.Retired, Owner: known.refTo(system.Owner), SecondOwner: known.refTo(system.SecondOwner),
		LastConfirmed: system.LastConfirmed, Entitlements: []EntitlementRef{},
	}
	now := countersign.InstantOf(d.Clock.Now())
	if system.Offer.OpenAt(now) {
		view.OfferedTo, view.OfferedUntil = known.refTo(system.Offer.To), system.Offer.Until
	}
	o := known.ofSystem(system, active.ownerTerms(), now)
	view.Unowned = o.lost
	if !system.Retired {
		view.Ownership = known.ownershipView(o, now)
	}
	for _, name := range sortedKeys(known.rights) {
		if entitlement := known.entitlements[known.rights[name]]; entitlement.System == system.ID && !entitlement.Retired {
			view.Entitlements = append(view.Entitlements, known.entitlementRef(entitlement.ID))
		}
	}
	return view, nil
}

// refTo names an identity, nil for nobody.
func (d *snapshot) refTo(id countersign.IdentityID) *Ref {
	if id == "" {
		return nil
	}
	ref := d.ref(id)
	return &ref
}

// Resolve returns the id of an identity by any of its names, from what this
// replica knows: the decision point asks it for every evaluation.
func (d *Desk) Resolve(name string) (countersign.IdentityID, bool) {
	known := d.known.Load()
	if known == nil {
		return "", false
	}
	identity := known.findIdentity(name)
	if identity == nil {
		return "", false
	}
	return identity.ID, true
}

// ResolveAs is Resolve for a subject of a type: "identity" is any, "user" a
// person, and each kind of identity itself.
func (d *Desk) ResolveAs(subjectType, name string) (countersign.IdentityID, bool) {
	id, known := d.Resolve(name)
	if !known {
		return "", false
	}
	kind := d.known.Load().identities[id].Kind
	fits := subjectType == "identity" || subjectType == string(kind) || subjectType == "user" && kind == countersign.Person
	return id, fits
}

// Refresh reads what changed in directory, policy and holds since the last look.
func (d *Desk) Refresh(ctx context.Context) error {
	if _, _, err := d.refresh(ctx, d.Store); err != nil {
		return err
	}
	if err := d.followHolds(ctx); err != nil || !d.Shared && !d.unsure.Load() {
		return err
	}
	d.unsure.Store(false)
	err := d.followEnding(ctx)
	if err != nil {
		d.unsure.Store(true)
	}
	return err
}

// Active reports whether the identity may act now.
func (d *Desk) Active(ctx context.Context, id countersign.IdentityID) (bool, error) {
	known, _, err := d.refresh(ctx, d.Store)
	if err != nil {
		return false, err
	}
	identity := known.identities[id]
	return identity != nil && identity.ActiveAt(countersign.InstantOf(d.Clock.Now())), nil
}

// FirstHolders returns who was given the desk's own powers at genesis; never
// empty in a house that was founded.
func (d *Desk) FirstHolders(ctx context.Context) ([]Ref, error) {
	known, _, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	grants, err := d.Store.Grants(ctx, store.GrantQuery{System: known.systemNames[SystemName], Limit: 200})
	if err != nil {
		return nil, err
	}
	var holders []Ref
	for _, grant := range grants {
		if grant.Origin == countersign.FromGenesis {
			holders = append(holders, known.ref(grant.Holder))
		}
	}
	slices.SortFunc(holders, func(a, b Ref) int { return strings.Compare(a.Login, b.Login) })
	if len(holders) == 0 {
		return nil, countersign.Errorf(countersign.NotFound, "no-holders", "Nobody was given a power at genesis.")
	}
	return holders, nil
}
