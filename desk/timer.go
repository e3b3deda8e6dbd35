package desk

import (
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Heard is what others say of a grant.
type Heard struct {
	// LastUsed is the latest use that the target reports, zero for none; UseKnown
	// says that it could tell.
	LastUsed countersign.Instant
	UseKnown bool
	// ClosedTicket is the ticket on which the access depends, once its source says
	// that it is closed.
	ClosedTicket string
}

// WakeGrants lets time pass for grants: ends, retirements, reminders. all is what
// was heard of those whose end depends on others. They are judged one by one and
// committed together; when something moved meanwhile, each goes alone, and one
// that lost comes back with the next claim.
func (d *Desk) WakeGrants(ctx context.Context, works []store.Work, all map[countersign.GrantID]Heard) error {
	return d.together(ctx, len(works), func(from, to int) store.Questions {
		var ids []countersign.GrantID
		for _, work := range works[from:to] {
			ids = append(ids, countersign.GrantID(work.Ref))
		}
		return store.Questions{GrantIDs: ids, RequestsOf: ids}
	}, func(tx *transaction, i int) error {
		grant, err := tx.read.Grant(ctx, countersign.GrantID(works[i].Ref))
		if err != nil {
			return err
		}
		heard := all[grant.ID]
		if !tx.written(works[i].Ref) {
			if err := tx.wakeGrant(ctx, grant, heard); err != nil {
				return err
			}
		}
		tx.looked(works[i], workflow.GrantDue(grant, heard.LastUsed, tx.now().Add(usageInterval), tx.now().Add(workflow.TicketInterval)))
		return nil
	})
}

// usageInterval is how often a target is asked for the use of a grant that may
// have gone unused for too long.
const usageInterval = countersign.Hour

func (tx *transaction) wakeGrant(ctx context.Context, grant *countersign.Grant, heard Heard) error {
	hands := tx.desk.byHand(grant.Step.Connector)
	if hands != nil && grant.State == countersign.GrantRevoking {
		return tx.wakeTask(ctx, grant, hands, workflow.GrantVerdict{})
	}
	if grant.State != countersign.GrantProvisioning && grant.State != countersign.GrantLive {
		return nil
	}
	cause, why := tx.directory.endCause(grant, tx.now())
	if cause == "" && heard.ClosedTicket != "" {
		cause, why = workflow.CauseTicketClosed, "The ticket "+heard.ClosedTicket+" is closed."
	}
	if cause == "" && heard.UseKnown {
		if unusedAt := workflow.UnusedAt(grant, heard.LastUsed); unusedAt != 0 && tx.now() >= unusedAt {
			cause, why = workflow.CauseUnused, "The target reports no use for as long as the terms allow."
		}
	}
	verdict := workflow.GrantVerdict{
		Standing: workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}, EndCause: cause, EndReason: why,
	}
	// An end relies on nothing but its own row.
	ends := cause != "" || grant.Until != 0 && tx.now() >= grant.Until
	if entitlement := tx.directory.entitlements[grant.Entitlement]; entitlement != nil && !ends {
		verdict.Definition = &entitlement.Definition
		if entitlement.Definition != grant.Means() {
			tx.relyOn(entitlement)
		}
	}
	if cause == "" && grant.Until != 0 && tx.now() >= grant.Until {
		last, err := tx.amongTheLast(ctx, grant)
		if err != nil {
			return err
		}
		if last {
			verdict.DeferTo = tx.now().Add(deferral)
		}
	}
	if hands != nil && grant.State == countersign.GrantProvisioning {
		return tx.wakeTask(ctx, grant, hands, verdict)
	}
	return tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict)
}

// deferral is for how long the end of one of the last two holders of a power is
// put off, each time on the record.
const deferral = countersign.Day

// amongTheLast reports whether the grant is a power of the desk that at most one
// other active person holds, and that must not be without holders.
func (tx *transaction) amongTheLast(ctx context.Context, grant *countersign.Grant) (bool, error) {
	if onTime, err := tx.endsOnTime(ctx, grant); err != nil || onTime {
		return false, err
	}
	holders, err := tx.desk.Store.Grants(ctx, store.GrantQuery{Entitlement: grant.Entitlement, States: []countersign.GrantState{countersign.GrantLive}})
	if err != nil {
		return false, err
	}
	others := 0
	for _, other := range holders {
		identity := tx.directory.identities[other.Holder]
		if other.Holder != grant.Holder && identity != nil && identity.ActiveAt(tx.now()) && !tx.written(string(other.ID)) {
			others++
		}
	}
	return others < 2, nil
}

// endsOnTime reports whether the grant ends when it should, whoever else has the
// same: what is no power does, and a power that was taken by break-glass, and what
// only makes somebody eligible for one.
func (tx *transaction) endsOnTime(ctx context.Context, grant *countersign.Grant) (bool, error) {
	if !tx.directory.isPower(grant) {
		return true, nil
	}
	if power := tx.directory.entitlements[grant.Entitlement]; power != nil && power.EligibleFor != "" {
		return true, nil
	}
	if grant.Request == "" {
		return false, nil
	}
	request, err := tx.load(ctx, grant.Request)
	if kind := countersign.KindOf(err); kind == countersign.Internal || kind == countersign.NotFound {
		// A request that cannot be read keeps no access from ending.
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return request.BreakGlass, nil
}

// endCause says whether one of the grant's conditions has come true.
func (d *snapshot) endCause(grant *countersign.Grant, now countersign.Instant) (cause, why string) {
	holder := d.identities[grant.Holder]
	if holder == nil || left(holder, now) {
		return workflow.CauseHolderLeft, "The holder has left."
	}
	if sponsor := d.identities[holder.Sponsor]; holder.Sponsor != "" && (sponsor == nil || left(sponsor, now)) {
		return workflow.CauseSponsorLeft, "The sponsor of the holder has left."
	}
	for _, condition := range grant.Terms.EndsWhen {
		switch condition.Kind {
		case countersign.OwnerLeft:
			if owner := d.identities[holder.Owner]; !holder.Human() && (owner == nil || left(owner, now)) {
				return workflow.CauseOwnerLeft, "The accountable owner of the holder has left."
			}
		case countersign.SystemRetired:
			item, err := d.rightOf(grant.Entitlement)
			if err != nil || item.entitlement.Retired || item.system.Retired {
				return workflow.CauseSystemRetired, "The system or the entitlement is retired."
			}
		case countersign.WhenTicketClosed, countersign.Unused:
		}
	}
	return "", ""
}

// left reports whether the identity has left for good; a suspension can be
// lifted again and only makes checks refuse.
func left(identity *countersign.Identity, now countersign.Instant) bool {
	return identity.Status == countersign.IdentityDeparted || identity.ContractEnd != 0 && now >= identity.ContractEnd ||
		identity.Status == countersign.IdentitySuspended && identity.DepartsAt != 0 && now >= identity.DepartsAt
}

// TickRequests lets time pass for requests: deadlines, escalations, approvers
// who came or went.
func (d *Desk) TickRequests(ctx context.Context, works []store.Work) error {
	return d.together(ctx, len(works), func(from, to int) store.Questions {
		var ids []countersign.RequestID
		for _, work := range works[from:to] {
			ids = append(ids, countersign.RequestID(work.Ref))
		}
		return store.Questions{RequestIDs: ids}
	}, func(tx *transaction, i int) error {
		request, err := tx.load(ctx, countersign.RequestID(works[i].Ref))
		if err != nil {
			return err
		}
		if request.State == countersign.RequestTriaging || request.State == countersign.RequestCollecting || request.State == countersign.RequestDeciding || request.State == countersign.RequestClosing {
			s, err := tx.stand(ctx, request)
			if err != nil {
				return err
			}
			s.standing.Roles = []workflow.Role{workflow.Timer}
			verdict := workflow.RequestVerdict{Standing: s.standing, Rungs: s.rungs, Systems: s.matter.systems(), Told: tx.told(request, s)}
			if request.State == countersign.RequestCollecting || request.State == countersign.RequestDeciding {
				if err := tx.reroute(ctx, request, s, &verdict); err != nil {
					return err
				}
			}
			outcome, err := workflow.DecideRequest(tx.occasion, request, workflow.RequestCommand{Name: workflow.Tick}, verdict)
			if err != nil {
				return err
			}
			if len(outcome.Events) > 0 {
				tx.write(outcome, request)
			}
		}
		tx.looked(works[i], workflow.RequestDue(request))
		return nil
	})
}

// reroute finds the stages that people have to decide by now, and who decides them.
func (tx *transaction) reroute(ctx context.Context, request *countersign.Request, s *stance, verdict *workflow.RequestVerdict) error {
	var err error
	verdict.Redefined = tx.directory.redefined(request)
	if verdict.Added, err = tx.newStages(ctx, request, s.resolver); err != nil || len(verdict.Added)+len(verdict.Redefined) == 0 {
		return err
	}
	pinned, err := tx.desk.policySet(ctx, request.PolicySet)
	if err != nil {
		return err
	}
	stages, _ := workflow.Reroute(workflow.Redefine(request, verdict.Redefined), verdict.Added)
	for index, stage := range stages {
		if stage.State != countersign.StageWaiting || stage.Review {
			continue
		}
		if verdict.Rungs[index], err = rungs(tx, pinned, s.resolver, stages, index, s.same); err != nil {
			return err
		}
	}
	return nil
}

// told finds who hears of overdue evidence. Where neither they nor those who asked are
// there any more, it is who answers for the systems, or administrators: somebody has to
// bring it, or to close the request without.
func (tx *transaction) told(request *countersign.Request, s *stance) map[string][]countersign.IdentityID {
	told := map[string][]countersign.IdentityID{}
	askers := tx.fit([]countersign.IdentityID{request.Requester, request.Beneficiary, request.Consent.Of}, nil)
	for _, slot := range request.Evidence {
		var named []countersign.IdentityID
		for _, rule := range slot.EscalateTo {
			for _, candidate := range s.resolver.answer(rule)[rule] {
				if candidate.Active && candidate.Human {
					named = append(named, candidate.ID)
				}
			}
		}
		if len(named) == 0 && len(askers) == 0 {
			for _, item := range s.matter.items {
				named = append(named, item.system.Owner, item.system.SecondOwner)
			}
			if named = tx.fit(named, nil); len(named) == 0 {
				named = tx.withPower(PowerAdministrator)
			}
		}
		told[slot.Name] = named
	}
	return told
}

// together runs body for every index in one transaction, and one by one when
// that one meets something that changed. What a range of them will ask of storage
// may be foreseen.
func (d *Desk) together(ctx context.Context, count int, foresee func(from, to int) store.Questions, body func(tx *transaction, i int) error) error {
	if count == 0 {
		return nil
	}
	if err := d.checkFit(); err != nil {
		return err
	}
	once := func(from, to int) error {
		tx, err := d.beginLooking(ctx, countersign.SystemTimer, func(*transaction) store.Questions {
			if foresee == nil {
				return store.Questions{}
			}
			return foresee(from, to)
		})
		if err != nil {
			return err
		}
		for i := from; i < to; i++ {
			if err := body(tx, i); err != nil {
				return err
			}
		}
		return tx.commit(ctx)
	}
	err := once(0, count)
	if err == nil || count == 1 {
		return late(err)
	}
	var failed error
	for i := range count {
		if err := late(once(i, i+1)); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// SweepContracts makes due whatever depends on an identity whose contract, or whose
// time to be reactivated in, ended after from and not after to.
func (d *Desk) SweepContracts(ctx context.Context, from, to countersign.Instant) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	var ended []countersign.IdentityID
	for id, identity := range tx.directory.identities {
		contract := identity.ContractEnd > from && identity.ContractEnd <= to
		departs := identity.Status == countersign.IdentitySuspended && identity.DepartsAt > from && identity.DepartsAt <= to
		if contract || departs {
			ended = append(ended, id)
			tx.stop = append(tx.stop, string(id))
		}
	}
	if len(ended) == 0 {
		return nil
	}
	cause := "contract-" + to.String()
	if err := tx.dependents(ctx, cause, ended, nil); err != nil {
		return err
	}
	tx.lookAtEnded(ended, nil, cause)
	for _, id := range ended {
		asking, err := d.Store.Requests(ctx, store.RequestQuery{AwaitingDecisionOf: id})
		if err != nil {
			return err
		}
		for _, request := range asking {
			tx.look(string(request.ID), store.RequestWork, cause+"-"+string(id))
		}
	}
	d.Stop(false, tx.stop...)
	return late(tx.commit(ctx))
}

// dependents makes due the grants that depend on identities or on systems: their
// own, and those of the identities that they own or sponsor.
func (tx *transaction) dependents(ctx context.Context, cause string, identities []countersign.IdentityID, systems []countersign.SystemID) error {
	holders := tx.directory.answeredFor(identities)
	var queries []store.GrantQuery
	if len(holders) > 0 {
		queries = append(queries, store.GrantQuery{Holders: holders})
	}
	for _, system := range systems {
		queries = append(queries, store.GrantQuery{System: system})
	}
	return tx.wakeGiven(ctx, cause, queries...)
}

// answeredFor are the identities themselves, and those that they own or sponsor.
func (d *snapshot) answeredFor(identities []countersign.IdentityID) []countersign.IdentityID {
	if len(identities) == 0 {
		return nil
	}
	touched := map[countersign.IdentityID]bool{}
	for _, id := range identities {
		touched[id] = true
	}
	holders := slices.Clone(identities)
	for id, identity := range d.identities {
		if !touched[id] && (touched[identity.Owner] || touched[identity.Sponsor]) {
			holders = append(holders, id)
		}
	}
	return holders
}

// wakeGiven makes due the grants of the queries that give something, or are about to.
func (tx *transaction) wakeGiven(ctx context.Context, cause string, queries ...store.GrantQuery) error {
	seen := map[string]bool{}
	for _, query := range queries {
		query.States = []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive}
		query.Limit = 500
		for {
			grants, err := tx.desk.Store.Grants(ctx, query)
			if err != nil {
				return err
			}
			for _, grant := range grants {
				if look := string(grant.ID) + "/" + cause; !seen[look] {
					seen[look] = true
					tx.look(string(grant.ID), store.GrantWork, cause)
				}
			}
			if len(grants) < query.Limit {
				break
			}
			query.Before = grants[len(grants)-1].ID
		}
	}
	return nil
}
