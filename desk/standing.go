package desk

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// The powers of the desk, entitlements of the system named SystemName on the
// resource named ResourceName.
const (
	SystemName         = "countersign"
	ResourceName       = "house"
	PowerAdministrator = "administrator"
	PowerAuditor       = "auditor"
)

// holdsPower reports whether somebody holds one of the powers in this
// transaction: the decision point says so, and so does the record, which is
// guarded until the commit.
func (tx *transaction) holdsPower(ctx context.Context, who countersign.IdentityID, powers ...string) (bool, error) {
	if err := tx.lookAt(ctx, []string{string(who)}, []string{store.GuardHolder(who)}); err != nil {
		return false, err
	}
	system := tx.directory.systemNames[SystemName]
	grants, err := tx.read.Grants(ctx, store.GrantQuery{Holders: []countersign.IdentityID{who}, System: system, States: []countersign.GrantState{countersign.GrantLive}})
	if err != nil {
		return false, err
	}
	for _, grant := range grants {
		entitlement := tx.directory.entitlements[grant.Entitlement]
		if entitlement == nil || !slices.Contains(powers, entitlement.Name) {
			continue
		}
		held := tx.power(who, entitlement.Name)
		if !held && tx.stale == nil {
			// Another replica may have carried it out a moment ago.
			if err := tx.desk.CatchUp(ctx); err != nil {
				return false, err
			}
			held = tx.power(who, entitlement.Name)
		}
		if held {
			return true, nil
		}
	}
	return false, nil
}

// rungs computes who may decide a stage today: at its present rung, and at each
// rung above it.
func rungs(tx *transaction, pinned *policy.Set, r *resolved, stages []countersign.Stage, index int, same map[countersign.IdentityID]string) ([]workflow.Rung, error) {
	stage := stages[index]
	excluded := map[countersign.IdentityID]string{}
	for id, why := range same {
		excluded[id] = why
	}
	for _, other := range stages {
		for _, name := range stage.DistinctFrom {
			if other.Name != name {
				continue
			}
			for _, decision := range other.Decisions {
				excluded[decision.By] = fmt.Sprintf("decided the stage %q, and this one needs somebody else", name)
				for _, standing := range decision.Standing {
					excluded[standing.Seat()] = excluded[decision.By]
				}
			}
			// Who may decide the open stage, with this very command, is kept out of the
			// later one that it opens.
			if who := tx.occasion.Actor.Identity(); who != "" && other.State == countersign.StageOpen {
				asked, _ := policy.Standing(other, r.answer(policy.StageRules(other)...), same)
				if slices.ContainsFunc(asked, func(a countersign.Asked) bool { return a.Person == who }) {
					excluded[who] = fmt.Sprintf("decides the stage %q, and this one needs somebody else", name)
				}
			}
		}
	}
	var all []workflow.Rung
	for climbed := stage.Climbed; climbed <= len(stage.Ladder); climbed++ {
		stage.Climbed = climbed
		within := stage.Within
		if climbed > 0 {
			within = stage.Ladder[climbed-1].Within
		}
		deadline, err := pinned.Deadline(within, stage.Calendar, tx.now())
		if err != nil {
			return nil, err
		}
		asked, _ := policy.Standing(stage, r.answer(policy.StageRules(stage)...), excluded)
		all = append(all, workflow.Rung{Asked: asked, Deadline: deadline})
	}
	return all, nil
}

// classified is what keeps an operator from deciding.
const classified = "said in triage which request this is"

// stand says as what the actor stands to a request.
func (tx *transaction) stand(ctx context.Context, request *countersign.Request) (*stance, error) {
	dir := tx.directory
	m, err := dir.matterOf(request.Requester, request.Beneficiary, request.Entitlements)
	if err != nil {
		return nil, err
	}
	s := &stance{matter: m, resolver: tx.resolver(m, request.Type), same: dir.samePerson(m, request.SamePerson, request.SubmittedAt, tx.until(request)), rungs: map[int][]workflow.Rung{}}
	if request.ClassifiedBy != "" {
		s.same[request.ClassifiedBy] = classified
	}
	for index := range request.Stages {
		// A review is looked at once it is open, and not before.
		if state := request.Stages[index].State; state == countersign.StageOpen || state == countersign.StageWaiting && !request.Stages[index].Review {
			pinned, err := tx.desk.policySet(ctx, request.PolicySet)
			if err != nil && countersign.KindOf(err) != countersign.Unavailable {
				// Nobody can decide by a set that cannot be read; to cancel needs none,
				// and the deadline passes all the same.
				continue
			}
			if err != nil {
				return nil, err
			}
			if s.rungs[index], err = rungs(tx, pinned, s.resolver, request.Stages, index, s.same); err != nil {
				return nil, err
			}
		}
	}
	s.standing = workflow.Standing{Actor: tx.occasion.Actor, Roles: tx.roles(m, tx.occasion.Actor)}
	who := tx.occasion.Actor.Identity()
	held, asked := who != "" && tx.desk.heldNow(string(who)), false
	for index, stage := range request.Stages {
		if who == "" || len(s.rungs[index]) == 0 {
			continue
		}
		for _, one := range s.rungs[index][0].Asked {
			if one.Person != who {
				continue
			}
			asked = true
			switch {
			case held:
			case stage.State == countersign.StageOpen:
				s.standing.Roles = append(s.standing.Roles, workflow.Approver)
			case s.standing.LaterStage == "":
				s.standing.LaterStage = stage.Name
			}
			break
		}
	}
	if why, kept := s.same[who]; kept {
		s.standing.KeptOut = why
	} else if held {
		s.standing.KeptOut = "is under a hold"
	}
	_, same := dir.onePerson(m, request.SamePerson)[who]
	s.mayRead = same || who != "" && request.ClassifiedBy == who ||
		dir.standsIn(m, who, request.Type, request.SubmittedAt, tx.now()) ||
		request.State == countersign.RequestTriaging && s.standing.HasAny(workflow.Operator) ||
		s.standing.HasAny(workflow.Requester, workflow.Beneficiary, workflow.Accountable, workflow.Approver, workflow.SystemOwner, workflow.Auditor) ||
		asked || tookPart(request, who) || slices.Contains(request.Told, who) ||
		request.Exception != nil && request.Exception.Owner == who
	return s, nil
}

// until is up to when delegations count for the request: who asked keeps no
// reviewer out by delegating to them afterwards.
func (tx *transaction) until(request *countersign.Request) countersign.Instant {
	if request.DecidedAt != 0 {
		return request.DecidedAt - 1
	}
	return tx.now()
}

// stance is what an actor is to a request, with what that was found out from.
type stance struct {
	standing workflow.Standing
	matter   matter
	resolver *resolved
	same     map[countersign.IdentityID]string
	rungs    map[int][]workflow.Rung
	mayRead  bool
}

// tookPart reports whether the person decided in the request, or was asked to
// until others settled it: who comes too late is told so.
func tookPart(request *countersign.Request, who countersign.IdentityID) bool {
	for _, stage := range request.Stages {
		if stage.State != countersign.StageOpen && slices.ContainsFunc(stage.Asked, func(a countersign.Asked) bool { return a.Person == who }) {
			return true
		}
		for _, decision := range stage.Decisions {
			if decision.By == who {
				return true
			}
		}
	}
	return false
}

// roles says as what the actor stands to a matter, decisions aside.
func (tx *transaction) roles(m matter, actor countersign.Actor) []workflow.Role {
	if actor.IsSystem() {
		// The system actors are roles of their own, under the same names.
		return []workflow.Role{workflow.Role(actor)}
	}
	who := actor.Identity()
	var roles []workflow.Role
	if m.requester.ID == who {
		roles = append(roles, workflow.Requester)
	}
	if m.beneficiary.ID == who {
		roles = append(roles, workflow.Beneficiary)
	}
	if who == m.beneficiary.Owner || who == m.beneficiary.SecondOwner || who == m.beneficiary.Sponsor {
		roles = append(roles, workflow.Accountable)
	}
	for _, item := range m.items {
		if who == item.system.Owner || who == item.system.SecondOwner || who == item.resource.Owner {
			roles = append(roles, workflow.SystemOwner)
			break
		}
	}
	if tx.power(who, PowerAdministrator) {
		roles = append(roles, workflow.Administrator)
	}
	if tx.power(who, PowerAuditor) {
		roles = append(roles, workflow.Auditor)
	}
	if len(roles) == 0 {
		roles = []workflow.Role{workflow.Stranger}
	}
	// An operator sorts what waits in triage, and is a stranger to everything else.
	if tx.power(who, PowerOperator) {
		roles = append(roles, workflow.Operator)
	}
	return roles
}

// isPower reports whether a grant is a power of the desk itself.
func (d *snapshot) isPower(grant *countersign.Grant) bool {
	return grant.System == d.systemNames[SystemName]
}

// common returns who stands so for every item, or "".
func (m matter) common(of func(right) countersign.IdentityID) countersign.IdentityID {
	who := of(m.items[0])
	for _, item := range m.items[1:] {
		if of(item) != who {
			return ""
		}
	}
	return who
}
