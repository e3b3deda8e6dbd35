package desk

import (
	"cmp"
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// crew is who may do something for a task of a grant, now.
type crew struct {
	matter    matter
	procedure connector.Procedure
	resolver  *resolved
	// keptOut says why; ladder are those who act where nobody else takes access away.
	keptOut                       map[countersign.IdentityID]string
	fulfillers, witnesses, ladder []countersign.IdentityID
	owners, administrators        []countersign.IdentityID
}

// crewOf finds them. Settings that cannot be read leave the owners: taking away
// waits for no settings.
func (tx *transaction) crewOf(ctx context.Context, grant *countersign.Grant, hands connector.ByHand) (*crew, error) {
	m, err := tx.directory.matterOf(cmp.Or(grant.Requester, grant.Holder), grant.Holder, []countersign.EntitlementID{grant.Entitlement})
	if err != nil {
		return nil, err
	}
	c := &crew{matter: m, resolver: tx.resolver(m, ""), keptOut: tx.directory.onePerson(m, nil)}
	near := tx.directory.onePerson(m, nil)
	unreadable := false
	if grant.Request != "" {
		request, err := tx.load(ctx, grant.Request)
		if kind := countersign.KindOf(err); kind == countersign.Internal || kind == countersign.NotFound {
			// A request that cannot be read keeps no access from ending. Nobody gives it:
			// who decided, and may not, is not known.
			unreadable, request = true, &countersign.Request{}
		} else if err != nil {
			return nil, err
		}
		near = tx.directory.onePerson(m, request.SamePerson)
		// Nobody keeps others from taking access away by having them stand in.
		until := tx.now()
		if grant.State == countersign.GrantRevoking {
			until = tx.until(request)
		}
		c.keptOut = tx.directory.samePerson(m, request.SamePerson, request.SubmittedAt, until)
		if request.ClassifiedBy != "" {
			c.keptOut[request.ClassifiedBy] = classified
		}
		for _, stage := range request.Stages {
			for _, decision := range stage.Decisions {
				for _, id := range append([]countersign.IdentityID{decision.By}, seats(decision)...) {
					if c.keptOut[id] == "" {
						c.keptOut[id] = "decided on the request"
					}
				}
			}
		}
	}
	procedure, settingsErr := hands.Procedure(m.items[0].system.Settings)
	if settingsErr != nil {
		procedure = connector.Procedure{Within: countersign.Day, Handle: countersign.Login, Attested: true}
	}
	c.procedure = procedure
	for _, id := range []countersign.IdentityID{m.items[0].system.Owner, m.items[0].system.SecondOwner} {
		if id != "" {
			c.owners = append(c.owners, id)
		}
	}
	if c.administrators, err = tx.holdersOf(ctx, PowerAdministrator); err != nil {
		return nil, err
	}
	named := tx.found(c.resolver, procedure.Fulfiller)
	c.fulfillers = tx.fit(named, c.keptOut)
	witnesses := tx.found(c.resolver, procedure.Witness)
	if procedure.Witness == "" {
		witnesses = slices.Concat(named, c.owners)
	}
	c.witnesses = tx.fit(witnesses, c.keptOut)
	// Who approved gives nobody anything by taking it away.
	c.ladder = tx.fit(slices.Concat(c.owners, c.administrators), near)
	if grant.State == countersign.GrantRevoking {
		c.witnesses = unique(slices.Concat(c.witnesses, c.ladder))
		if len(c.fulfillers) == 0 || grant.Task != nil && grant.Task.Escalated > 0 {
			c.fulfillers = unique(slices.Concat(c.fulfillers, c.ladder))
		}
	}
	if unreadable && grant.State != countersign.GrantRevoking {
		c.fulfillers, c.witnesses = nil, nil
	}
	if grant.Task != nil && grant.Task.DoneBy != "" {
		c.witnesses = slices.DeleteFunc(c.witnesses, func(id countersign.IdentityID) bool {
			return tx.directory.standIns(id, grant.Task.DoneBy, grant.Task.DoneAt, tx.now())
		})
	}
	return c, nil
}

// relyOnPeople guards who stands in for whom around a task, and the power of the
// actor where it counts.
func (c *crew) relyOnPeople(ctx context.Context, tx *transaction, grant *countersign.Grant, who countersign.IdentityID) error {
	people := append(slices.Concat(c.matter.requester.SamePerson(), c.matter.beneficiary.SamePerson()), who)
	if grant.Task != nil && grant.Task.DoneBy != "" {
		people = append(people, grant.Task.DoneBy)
	}
	var keys []string
	for _, id := range unique(people) {
		keys = append(keys, store.GuardDelegations(id))
	}
	if slices.Contains(c.administrators, who) {
		keys = append(keys, store.GuardHolder(who))
	}
	return tx.relyOnNow(ctx, keys...)
}

func seats(decision countersign.Decision) []countersign.IdentityID {
	var all []countersign.IdentityID
	for _, standing := range decision.Standing {
		all = append(all, standing.Seat())
	}
	return all
}

// standIns reports whether two people are one, or one stood in for the other at any
// time from since to now.
func (d *snapshot) standIns(a, b countersign.IdentityID, since, now countersign.Instant) bool {
	if a == b {
		return true
	}
	for _, pair := range [][2]countersign.IdentityID{{a, b}, {b, a}} {
		for _, delegation := range d.delegations[pair[0]] {
			if delegation.To == pair[1] && delegation.Overlaps(since, now) {
				return true
			}
		}
	}
	return false
}

func unique(ids []countersign.IdentityID) []countersign.IdentityID {
	var all []countersign.IdentityID
	for _, id := range ids {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// found answers a rule, without those who stand in for others.
func (tx *transaction) found(r *resolved, rule string) []countersign.IdentityID {
	var all []countersign.IdentityID
	for _, candidate := range r.answer(rule)[rule] {
		if candidate.OnBehalfOf == "" {
			all = append(all, candidate.ID)
		}
	}
	return all
}

// fit leaves the people who can act now and are not kept out, each once.
func (tx *transaction) fit(ids []countersign.IdentityID, keptOut map[countersign.IdentityID]string) []countersign.IdentityID {
	return slices.DeleteFunc(unique(ids), func(id countersign.IdentityID) bool {
		identity := tx.directory.identities[id]
		return identity == nil || !identity.Human() || !identity.ActiveAt(tx.now()) || keptOut[id] != "" || tx.desk.heldNow(string(id))
	})
}

// escalation says who hears of an overdue task: an owner first, and administrators,
// too, from the second time on or where there is no owner.
func (c *crew) escalation(tx *transaction, grant *countersign.Grant) *workflow.TaskTerms {
	told := tx.fit(c.owners, nil)
	if len(told) == 0 || grant.Task != nil && grant.Task.Escalated > 0 {
		told = unique(slices.Concat(told, c.administrators))
	}
	return &workflow.TaskTerms{Told: told, Deadline: tx.now().Add(c.procedure.Within)}
}
