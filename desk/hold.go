package desk

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/faultpoint"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// HoldView is a hold as a reader sees it.
type HoldView struct {
	ID      countersign.HoldID    `json:"id"`
	Version int64                 `json:"version"`
	State   countersign.HoldState `json:"state"`
	// On is the id of what is held, Name what people call it.
	On       string              `json:"on"`
	Name     string              `json:"name"`
	By       Ref                 `json:"by"`
	At       countersign.Instant `json:"at"`
	Reason   string              `json:"reason"`
	Revoke   bool                `json:"revoke,omitempty"`
	LiftedBy *Ref                `json:"lifted_by,omitempty"`
	LiftedAt countersign.Instant `json:"lifted_at,omitzero"`
	Outcome  string              `json:"outcome,omitempty"`
	// Left counts the grants under the hold that are not yet read back as gone, up
	// to MaxCounted.
	Left    int                `json:"left"`
	Offered []workflow.Command `json:"offered"`
}

// MaxCounted is up to where a hold counts what is left.
const MaxCounted = 100_000

// held is what a hold is on, resolved.
type held struct {
	id, name string
	// owners answer for it; subject is the identity that is held, or holds it.
	owners  []countersign.IdentityID
	subject countersign.IdentityID
	query   store.GrantQuery
}

// findHeld takes the id or name of an identity, of a system or of an entitlement,
// or the id of a grant.
func (tx *transaction) findHeld(ctx context.Context, on string) (*held, error) {
	dir := tx.directory
	if countersign.PrefixOf(on) == "grt" {
		grant, err := tx.desk.Store.Grant(ctx, countersign.GrantID(on))
		if countersign.KindOf(err) == countersign.NotFound {
			return nil, notFound("grant", on)
		}
		if err != nil {
			return nil, err
		}
		found := &held{id: on, name: "the grant of " + dir.entitlementRef(grant.Entitlement).Name + " to " + dir.nameOf(grant.Holder), subject: grant.Holder}
		found.owners = dir.ownersOf(grant.System)
		return found, nil
	}
	if system := dir.findSystem(on); system != nil {
		return &held{id: string(system.ID), name: "the system " + system.Name, owners: dir.ownersOf(system.ID), query: store.GrantQuery{System: system.ID}}, nil
	}
	if entitlement := dir.findEntitlement(on); entitlement != nil {
		return &held{
			id: string(entitlement.ID), name: "the entitlement " + dir.rightName(entitlement), owners: dir.ownersOfRight(entitlement),
			query: store.GrantQuery{Entitlement: entitlement.ID},
		}, nil
	}
	identity := dir.findIdentity(on)
	if identity == nil {
		return nil, countersign.Errorf(countersign.Invalid, "nothing-to-hold", "There is no identity, system, entitlement (as system/resource/name) or grant %q.", countersign.Clip(on)).At("/on")
	}
	return &held{
		id: string(identity.ID), name: identity.Name, subject: identity.ID,
		owners: []countersign.IdentityID{identity.Owner, identity.SecondOwner, identity.Sponsor, identity.Manager},
		query:  store.GrantQuery{Holders: []countersign.IdentityID{identity.ID}},
	}, nil
}

func (d *snapshot) ownersOf(id countersign.SystemID) []countersign.IdentityID {
	if system := d.systems[id]; system != nil {
		return []countersign.IdentityID{system.Owner, system.SecondOwner}
	}
	return nil
}

// ownersOfRight are the owners of the entitlement's system and of its resource.
func (d *snapshot) ownersOfRight(entitlement *countersign.Entitlement) []countersign.IdentityID {
	owners := d.ownersOf(entitlement.System)
	if item, err := d.rightOf(entitlement.ID); err == nil {
		owners = append(owners, item.resource.Owner)
	}
	return owners
}

// standOnHold says as what the actor stands to what is held.
func (tx *transaction) standOnHold(on *held) workflow.Standing {
	who := tx.occasion.Actor.Identity()
	standing := workflow.Standing{Actor: tx.occasion.Actor}
	if slices.Contains(on.owners, who) {
		role := workflow.SystemOwner
		if countersign.PrefixOf(on.id) == "idn" {
			role = workflow.Accountable
		}
		standing.Roles = append(standing.Roles, role)
	}
	if tx.power(who, PowerAdministrator) {
		standing.Roles = append(standing.Roles, workflow.Administrator)
	}
	if tx.power(who, PowerAuditor) {
		standing.Roles = append(standing.Roles, workflow.Auditor)
	}
	if subject := tx.directory.identities[on.subject]; subject != nil && slices.Contains(subject.SamePerson(), who) {
		// Who is held, or answers for it, may stop it and never start it again.
		standing.KeptOut = "is held"
		standing.Roles = slices.DeleteFunc(standing.Roles, func(role workflow.Role) bool { return role != workflow.Auditor })
		standing.Roles = append(standing.Roles, workflow.Beneficiary)
	}
	if len(standing.Roles) == 0 {
		standing.Roles = []workflow.Role{workflow.Stranger}
	}
	return standing
}

// Hold makes every check refuse an identity, a system, an entitlement or a grant,
// before this returns. With revoke, everything under it is revoked afterwards, in batches.
func (d *Desk) Hold(ctx context.Context, caller Caller, key Key, on, reason string, revoke bool) (countersign.HoldID, error) {
	if err := checkReason(reason); err != nil {
		return "", err
	}
	id, err := d.command(toStop(ctx), caller, key, func(tx *transaction) (string, error) {
		found, err := tx.findHeld(ctx, on)
		if err != nil {
			return "", err
		}
		if !tx.standOnHold(found).HasAny(workflow.SystemOwner, workflow.Accountable, workflow.Administrator, workflow.Beneficiary) {
			return "", countersign.Errorf(countersign.Refused, "not-entitled-to-hold", "Only who is held, an owner of what is held, a manager of the person, or an administrator can put a hold.")
		}
		if revoke && countersign.PrefixOf(found.id) == "grt" {
			return "", countersign.Errorf(countersign.Invalid, "revoke-the-grant", "A single grant is revoked by itself; a hold revokes all of an identity, of a system or of an entitlement.").At("/revoke")
		}
		hold, event, err := workflow.PutHold(tx.occasion, found.id, reason, revoke)
		if err != nil {
			return "", err
		}
		tx.put(hold, 0)
		tx.events = append(tx.events, event)
		if err := tx.moveHold(ctx, found.id); err != nil {
			return "", err
		}
		if revoke {
			tx.schedule(string(hold.ID), store.HoldWork, tx.now())
		}
		return string(hold.ID), nil
	})
	if err != nil {
		return "", err
	}
	return countersign.HoldID(id), d.followHolds(context.WithoutCancel(ctx))
}

// Lift ends a hold. What was revoked under it stays revoked.
func (d *Desk) Lift(ctx context.Context, caller Caller, key Key, id countersign.HoldID, reason string) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		hold, found, err := tx.loadHold(ctx, id)
		if err != nil {
			return "", err
		}
		after, event, err := workflow.LiftHold(tx.occasion, hold, reason, tx.standOnHold(found))
		if err != nil {
			return "", err
		}
		if err := tx.refuseHeld(ctx, caller.Identity, "lift none"); err != nil {
			return "", err
		}
		tx.put(after, hold.Version)
		tx.events = append(tx.events, event)
		return string(id), tx.moveHold(ctx, found.id)
	})
	if err != nil {
		return err
	}
	return d.followHolds(context.WithoutCancel(ctx))
}

// moveHold makes everything that relied on there being a hold, or none, look
// again.
func (tx *transaction) moveHold(ctx context.Context, on string) error {
	return tx.move(ctx, store.GuardHold(on))
}

// move moves a guard on by one.
func (tx *transaction) move(ctx context.Context, key string) error {
	versions, err := tx.versions(ctx, []string{key})
	if err != nil {
		return err
	}
	tx.guards[key] = store.Guard{Key: key, Version: versions[key], Next: versions[key] + 1}
	return nil
}

// lookForHolds brings what this process knows of holds up to date, and guards
// that there are no others on the ids.
func (tx *transaction) lookForHolds(ctx context.Context, ids ...string) error {
	return tx.lookAt(ctx, ids, nil)
}

// refuseHeld refuses what somebody on whom a hold is in force does not do until it is
// lifted.
func (tx *transaction) refuseHeld(ctx context.Context, who countersign.IdentityID, what string) error {
	if err := tx.lookForHolds(ctx, string(who)); err != nil {
		return err
	}
	if tx.desk.heldNow(string(who)) {
		return countersign.Errorf(countersign.Refused, "held", "A hold is in force on you: you %s until it is lifted.", what)
	}
	return nil
}

func (tx *transaction) lookAt(ctx context.Context, held []string, more []string) error {
	keys := more
	for _, id := range held {
		keys = append(keys, store.GuardHold(id))
	}
	if err := tx.relyOnNow(ctx, keys...); err != nil {
		return err
	}
	return tx.followHolds(ctx)
}

// lookAtMatter guards what a judgement reads of a matter beside its rows: which
// holds there are, which groups both sides are in or are not in, and who stands in
// for them.
func (tx *transaction) lookAtMatter(ctx context.Context, m matter) error {
	held, groups := tx.directory.guardsOf(m)
	return tx.lookAt(ctx, held, groups)
}

// guardsOf returns on what a matter's holds would be, and the guards of the groups
// and delegations of both sides.
func (d *snapshot) guardsOf(m matter) (held, groups []string) {
	held = []string{string(m.requester.ID), string(m.beneficiary.ID)}
	for _, item := range m.items {
		held = append(held, string(item.system.ID), string(item.entitlement.ID))
	}
	for _, side := range []*countersign.Identity{m.requester, m.beneficiary} {
		groups = append(groups, store.GuardGroups(string(side.ID)))
		for _, group := range d.groupsAbove(side.ID) {
			groups = append(groups, store.GuardGroups(string(group)))
		}
		// Of an agent the owner's groups are judged, too.
		for _, id := range d.answering(side) {
			groups = append(groups, store.GuardGroups(string(id)))
			for _, group := range d.groupsAbove(id) {
				groups = append(groups, store.GuardGroups(string(group)))
			}
		}
	}
	for _, side := range []*countersign.Identity{m.requester, m.beneficiary} {
		for _, id := range side.SamePerson() {
			groups = append(groups, store.GuardDelegations(id))
		}
	}
	return held, groups
}

func (tx *transaction) loadHold(ctx context.Context, id countersign.HoldID) (*countersign.Hold, *held, error) {
	hold, err := tx.desk.Store.Hold(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound {
		err = notFound("hold", string(id))
	}
	if err != nil {
		return nil, nil, err
	}
	found, err := tx.findHeld(ctx, hold.On)
	return hold, found, err
}

// followHolds brings what this process refuses up to the holds in force: those
// that it put itself, and those of other replicas.
func (d *Desk) followHolds(ctx context.Context) error {
	d.holding.Lock()
	defer d.holding.Unlock()
	now := map[string]bool{}
	var before countersign.HoldID
	for {
		holds, err := d.Store.Holds(ctx, false, before, holdPage)
		if err != nil {
			return err
		}
		for _, hold := range holds {
			now[hold.On] = true
		}
		if len(holds) < holdPage {
			break
		}
		before = holds[len(holds)-1].ID
	}
	d.follow(&d.held, true, now)
	return nil
}

// followEnding makes this process refuse the grants that any replica has begun to
// end, from the beat after the commit on: the connector that takes them away may
// come much later.
func (d *Desk) followEnding(ctx context.Context) error {
	d.holding.Lock()
	defer d.holding.Unlock()
	now := map[string]bool{}
	query := store.GrantQuery{States: []countersign.GrantState{countersign.GrantRevoking, countersign.GrantRevoked}, Limit: 5000}
	for {
		ids, err := d.Store.GrantIDs(ctx, query)
		if err != nil {
			return err
		}
		for _, id := range ids {
			now[string(id)] = true
		}
		if len(ids) < query.Limit {
			break
		}
		query.Before = ids[len(ids)-1]
	}
	d.follow(&d.ending, false, now)
	return nil
}

// follow stops what is new among the ids since the last look, and forgets what is
// there no longer.
func (d *Desk) follow(seen *atomic.Pointer[map[string]bool], held bool, now map[string]bool) {
	var earlier map[string]bool
	if last := seen.Load(); last != nil {
		earlier = *last
	}
	for id := range now {
		if !earlier[id] {
			d.Stop(held, id)
		}
	}
	seen.Store(&now)
	for id := range earlier {
		if !now[id] {
			d.Forget(held, id)
		}
	}
}

// heldNow reports whether a hold is in force on the id.
func (d *Desk) heldNow(on string) bool {
	holds := d.held.Load()
	return holds != nil && (*holds)[on]
}

// refuseHeld says which hold keeps something from being asked for or approved.
func (d *Desk) refuseHeld(m matter) []policy.Refusal {
	var refusals []policy.Refusal
	refuse := func(on, name string) {
		if d.heldNow(on) {
			refusals = append(refusals, policy.Refusal{Reason: "held", Because: fmt.Sprintf("A hold is in force on %s.", name)})
		}
	}
	refuse(string(m.requester.ID), m.requester.Name)
	if m.beneficiary.ID != m.requester.ID {
		refuse(string(m.beneficiary.ID), m.beneficiary.Name)
	}
	for _, item := range m.items {
		refuse(string(item.system.ID), "the system "+item.system.Name)
		refuse(string(item.entitlement.ID), "the entitlement "+item.system.Name+"/"+item.resource.Name+"/"+item.entitlement.Name)
	}
	return refusals
}

// sweptAtOnce is how many grants one step of a sweep revokes.
const sweptAtOnce = 100

// SweepHolds revokes the next grants under holds that ask for it.
func (d *Desk) SweepHolds(ctx context.Context, works []store.Work) error {
	return d.together(ctx, len(works), nil, func(tx *transaction, i int) error {
		hold, found, err := tx.loadHold(ctx, countersign.HoldID(works[i].Ref))
		if err != nil {
			return err
		}
		// Read again under its guard: one that is lifted before this commits is looked
		// at anew.
		if err := tx.relyOnNow(ctx, store.GuardHold(hold.On)); err != nil {
			return err
		}
		if hold, err = d.Store.Hold(ctx, hold.ID); err != nil {
			return err
		}
		if hold.State() != countersign.HoldActive {
			// It was lifted before the sweep came this far; what is left stays.
			tx.looked(works[i], 0)
			return nil
		}
		query := found.query
		query.States, query.Limit = []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive}, sweptAtOnce
		grants, err := d.Store.Grants(ctx, query)
		if err != nil {
			return err
		}
		var ids []countersign.GrantID
		for _, grant := range grants {
			ids = append(ids, grant.ID)
		}
		if err := tx.read.look(ctx, store.Questions{RequestsOf: ids}); err != nil {
			return err
		}
		for _, grant := range grants {
			if tx.written(string(grant.ID)) {
				continue
			}
			faultpoint.Reach(faultpoint.InSweep)
			if err := tx.wake(ctx, grant, workflow.CauseRevoked, "Everything under the hold "+string(hold.ID)+" is revoked: "+hold.Reason); err != nil {
				return err
			}
		}
		var due countersign.Instant
		if len(grants) == sweptAtOnce {
			due = tx.now()
		}
		tx.looked(works[i], due)
		return nil
	})
}

// HoldView shows one hold to whoever may put or lift one there, and to auditors.
func (d *Desk) HoldView(ctx context.Context, caller Caller, id countersign.HoldID) (_ *HoldView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	hold, found, err := tx.loadHold(ctx, id)
	if err != nil {
		return nil, err
	}
	standing := tx.standOnHold(found)
	if standing.HasAny(workflow.Stranger) && hold.By != caller.Identity {
		return nil, notFound("hold", string(id))
	}
	view := tx.holdView(hold, found, standing)
	if countersign.PrefixOf(found.id) == "grt" {
		return view, nil
	}
	query := found.query
	query.States, query.Limit = heldStates, MaxCounted
	view.Left, err = d.Store.CountGrants(ctx, query)
	return view, err
}

func (tx *transaction) holdView(hold *countersign.Hold, found *held, standing workflow.Standing) *HoldView {
	view := &HoldView{
		ID: hold.ID, Version: hold.Version, State: hold.State(), On: hold.On, Name: found.name, By: tx.directory.ref(hold.By), At: hold.At,
		Reason: hold.Reason, Revoke: hold.Revoke, LiftedAt: hold.LiftedAt, Outcome: hold.Outcome, Offered: []workflow.Command{},
	}
	if hold.LiftedBy != "" {
		lifter := tx.directory.ref(hold.LiftedBy)
		view.LiftedBy = &lifter
	}
	view.Offered = append(view.Offered, workflow.Offered(workflow.HoldTransitions, hold.State(), standing)...)
	return view
}

// Holds lists the holds that the caller may see, newest first; with all set also
// those that were lifted.
func (d *Desk) Holds(ctx context.Context, caller Caller, all bool, before countersign.HoldID, limit int) (_ []HoldView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	holds, err := d.Store.Holds(ctx, all, before, limitOf(limit))
	if err != nil {
		return nil, err
	}
	views := []HoldView{}
	for _, hold := range holds {
		found, err := tx.findHeld(ctx, hold.On)
		if err != nil {
			return nil, err
		}
		standing := tx.standOnHold(found)
		if !standing.HasAny(workflow.Stranger) || hold.By == caller.Identity {
			views = append(views, *tx.holdView(hold, found, standing))
		}
	}
	return views, nil
}
