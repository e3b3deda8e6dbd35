package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// birthrights are what rules give an identity today, beside what it holds.
type birthrights struct {
	identity *countersign.Identity
	// set is nil where no policy can be read: nothing is given then, and nothing
	// taken away.
	set      *policy.Set
	wanted   []birthright
	problems []policy.BirthrightProblem
	held     []*countersign.Grant
}

// birthright is one entitlement that a rule gives.
type birthright struct {
	item right
	rule countersign.Birthright
	// refused says why it is not given; "" where nothing is in the way.
	refused string
}

// birthrights finds out what rules give an identity, and guards what that relies
// on.
func (tx *transaction) birthrights(ctx context.Context, identity *countersign.Identity) (*birthrights, error) {
	b := &birthrights{identity: identity}
	// The guards are read before what they stand for.
	var holders []string
	for _, id := range identity.SamePerson() {
		holders = append(holders, store.GuardHolder(id))
	}
	if err := tx.relyOnNow(ctx, holders...); err != nil {
		return nil, err
	}
	set, err := tx.policy.judging()
	if err == nil {
		b.set = set
		tx.relyOnPolicy()
	}
	m := matter{requester: identity, beneficiary: identity}
	var due []policy.BirthrightDue
	if b.set != nil {
		due, b.problems = b.set.Birthright(tx.directory.party(identity, tx.now()), tx.now())
	}
	for _, one := range due {
		info, err := b.set.Package(one.Package)
		if err != nil {
			return nil, err
		}
		for _, name := range info.Entitlements {
			entitlement := tx.directory.findEntitlement(name)
			if entitlement == nil {
				continue // the check of the set names it
			}
			item, err := tx.directory.rightOf(entitlement.ID)
			if err != nil {
				return nil, err
			}
			if b.want(entitlement.ID) != nil {
				continue
			}
			m.items = append(m.items, item)
			b.wanted = append(b.wanted, birthright{item: item, rule: countersign.Birthright{Rule: one.Rule, Package: one.Package, Digest: one.Digest}})
		}
	}
	if err := tx.lookAtMatter(ctx, m); err != nil {
		return nil, err
	}
	tx.resolver(m, "").relyOnMatter(tx)
	if b.held, err = tx.desk.Store.Grants(ctx, store.GrantQuery{Holders: []countersign.IdentityID{identity.ID}, States: heldStates}); err != nil {
		return nil, err
	}
	for i := range b.wanted {
		if b.holds(b.wanted[i].item.entitlement.ID) == nil {
			if b.wanted[i].refused, err = tx.refuseBirthright(ctx, b, b.wanted[i]); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *birthrights) want(id countersign.EntitlementID) *birthright {
	for i := range b.wanted {
		if b.wanted[i].item.entitlement.ID == id {
			return &b.wanted[i]
		}
	}
	return nil
}

func (b *birthrights) holds(id countersign.EntitlementID) *countersign.Grant {
	for _, grant := range b.held {
		if grant.Entitlement == id {
			return grant
		}
	}
	return nil
}

// unjudged says why the rule cannot be judged; "" where it was.
func (b *birthrights) unjudged(rule string) string {
	for _, problem := range b.problems {
		if problem.Rule == rule {
			return problem.Because
		}
	}
	return ""
}

// applyBirthrights gives what is due and is not there, and lets lapse what a rule
// gave that holds no more.
func (tx *transaction) applyBirthrights(ctx context.Context, b *birthrights) error {
	if b.set == nil {
		return nil
	}
	for _, grant := range b.held {
		if grant.Birthright == nil || grant.State != countersign.GrantLive {
			continue
		}
		verdict := tx.byTimer()
		switch {
		case b.want(grant.Entitlement) != nil:
			verdict.Keep = grant.Lapsing != nil && grant.Lapsing.Cause == workflow.CauseBirthrightEnded
		case b.unjudged(grant.Birthright.Rule) != "":
			continue
		default:
			// What people have approved since is theirs to keep until the end that they saw.
			if extended, err := tx.extended(ctx, grant); err != nil {
				return err
			} else if extended {
				continue
			}
			verdict.Lapse = &workflow.Lapse{
				Cause: workflow.CauseBirthrightEnded, Reason: fmt.Sprintf("The rule %q does not give it any more.", grant.Birthright.Rule),
				Until: tx.now().Add(b.overlap(grant.Birthright.Rule)),
			}
		}
		if err := tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict); err != nil {
			return err
		}
	}
	for _, one := range b.wanted {
		if one.refused != "" || b.holds(one.item.entitlement.ID) != nil {
			continue
		}
		step, err := tx.desk.firstStep(one.item.system)
		if err != nil {
			return err
		}
		rule := one.rule
		outcome, err := workflow.OpenUnasked(tx.occasion, workflow.UnaskedGrant{
			Origin: countersign.FromBirthright, Holder: b.identity.ID, Entitlement: one.item.entitlement.ID, System: one.item.system.ID, Step: step,
			Duration: one.item.entitlement.MaxDuration, Birthright: &rule, Definition: one.item.entitlement.Definition,
			Terms: countersign.GrantTerms{EndsWhen: []countersign.EndCondition{{Kind: countersign.OwnerLeft}, {Kind: countersign.SystemRetired}}},
		})
		if err != nil {
			return err
		}
		tx.write(outcome, nil)
		// Whatever else is being decided for one of them must look again.
		for _, id := range b.identity.SamePerson() {
			guard := tx.guards[store.GuardHolder(id)]
			guard.Next = guard.Version + 1
			tx.guards[guard.Key] = guard
		}
	}
	return nil
}

// overlap is how long a rule lets access go on when it holds no more.
func (b *birthrights) overlap(rule string) countersign.Seconds {
	for _, info := range b.set.Birthrights() {
		if info.Name == rule {
			return info.Overlap
		}
	}
	return policy.DefaultOverlap
}

// firstStep is how a connector gives what nobody described further.
func (d *Desk) firstStep(system *countersign.System) (countersign.Step, error) {
	hands, err := d.Connectors.Find(system.Connector)
	if err != nil {
		return countersign.Step{}, err
	}
	description := hands.Describe()
	return countersign.Step{Connector: description.Name, Action: description.Actions[0]}, nil
}

// refuseBirthright says why a rule's access is not given to somebody whom the rule
// names; "" where nothing is in the way. What can only refuse refuses here, too.
func (tx *transaction) refuseBirthright(ctx context.Context, b *birthrights, one birthright) (string, error) {
	item := one.item
	switch {
	case item.system.ID == tx.directory.systemNames[SystemName]:
		return "Powers of the desk are asked for, and never given by a rule.", nil
	case item.entitlement.Retired || item.system.Retired:
		return "It is retired.", nil
	case !b.identity.Human() && tx.directory.party(b.identity, tx.now()).Owner == "":
		return "Nobody active answers for " + b.identity.Name + ".", nil
	}
	m := matter{requester: b.identity, beneficiary: b.identity, items: []right{item}}
	if refused := slices.Concat(tx.desk.refuseHeld(m), tx.refuseUnsponsored(m), tx.refuseUnconfirmed(m)); len(refused) > 0 {
		return refused[0].Because, nil
	}
	held, err := tx.heldBySame(ctx, b.identity, "")
	if err != nil {
		return "", err
	}
	for _, other := range b.wanted {
		if other.item.entitlement.ID != item.entitlement.ID && other.refused == "" {
			held = append(held, policy.HeldItem{Item: other.item.item(), Holder: b.identity.ID, HolderName: b.identity.Name})
		}
	}
	if toxic := b.set.Toxic([]policy.Item{item.item()}, held); len(toxic) > 0 {
		return toxic[0].Because, nil
	}
	earlier, err := tx.desk.Store.Grants(ctx, store.GrantQuery{Holders: []countersign.IdentityID{b.identity.ID}, Entitlement: item.entitlement.ID})
	if err != nil {
		return "", err
	}
	// What was asked for since does not count.
	if i := slices.IndexFunc(earlier, func(grant *countersign.Grant) bool { return grant.Birthright != nil }); i >= 0 && *earlier[i].Birthright == one.rule && earlier[i].EndCause == workflow.CauseRevoked {
		// What was revoked comes back by the same rule only once the rule changes.
		return fmt.Sprintf("It was revoked at %s: ask for it.", earlier[i].EndAt), nil
	}
	return tx.cannotBeCarriedOut(ctx, b.identity, item)
}

// cannotBeCarriedOut says why a connector could not give the item.
func (tx *transaction) cannotBeCarriedOut(ctx context.Context, holder *countersign.Identity, item right) (string, error) {
	step, err := tx.desk.firstStep(item.system)
	if err != nil {
		return "There is no connector " + item.system.Connector + ".", nil
	}
	hands, err := tx.desk.Connectors.Find(step.Connector)
	if err != nil {
		return "", err
	}
	_, err = hands.Plan(ctx, tx.desk.task(holder, item, step))
	var failure *connector.Failure
	if errors.As(err, &failure) && failure.Kind == connector.Rejected {
		return failure.Message, nil
	}
	// What cannot be planned now is tried, and retried, as its operation.
	return "", nil
}

// stopsBirthright judges once more, before access is given that nobody asked for,
// whether the rule still gives it; "" where it does.
func (tx *transaction) stopsBirthright(ctx context.Context, grant *countersign.Grant, holder *countersign.Identity) (string, error) {
	b, err := tx.birthrights(ctx, holder)
	if err != nil {
		return "", err
	}
	one := b.want(grant.Entitlement)
	switch {
	case b.set == nil:
		return "", nil
	case one == nil:
		return "The rule does not give it any more.", nil
	}
	// What is judged is itself among what is held.
	b.held = slices.DeleteFunc(b.held, func(other *countersign.Grant) bool { return other.ID == grant.ID })
	return tx.refuseBirthright(ctx, b, *one)
}

// refuseUnsponsored refuses to give anything to whom a sponsor answers for who is
// not active.
func (tx *transaction) refuseUnsponsored(m matter) []policy.Refusal {
	id := m.beneficiary.Sponsor
	if id == "" {
		return nil
	}
	sponsor := tx.directory.identities[id]
	if sponsor != nil && sponsor.ActiveAt(tx.now()) {
		return nil
	}
	return []policy.Refusal{{Reason: "sponsor-inactive", Because: fmt.Sprintf("%s, who sponsors %s, is not active: somebody else has to, first.", tx.directory.nameOf(id), m.beneficiary.Name)}}
}

// lookAtRules makes due a look at everybody whom birthrights could name, where a
// set has such rules.
func (tx *transaction) lookAtRules(cause string, sets ...*policy.Set) {
	if !slices.ContainsFunc(sets, func(set *policy.Set) bool { return set != nil && len(set.Birthrights()) > 0 }) {
		return
	}
	for id, identity := range tx.directory.identities {
		if identity.ActiveAt(tx.now()) {
			tx.look(string(id), store.IdentityWork, lookRules+cause)
		}
	}
}

// SweepBirthrights makes due a look at everybody, once a day: what a rule says can
// depend on the time.
func (d *Desk) SweepBirthrights(ctx context.Context, day countersign.Instant) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	if tx.policy == nil || tx.policy.set == nil {
		return nil
	}
	tx.lookAtRules("day-"+day.String(), tx.policy.set)
	return late(tx.commit(ctx))
}

// BirthrightView is one entitlement that a rule gives somebody.
type BirthrightView struct {
	Rule        string         `json:"rule"`
	Package     string         `json:"package"`
	Entitlement EntitlementRef `json:"entitlement"`
	// Grant is by which it is held; "" where it is not.
	Grant countersign.GrantID `json:"grant,omitempty"`
	// Refused says why it is not given.
	Refused string `json:"refused,omitempty"`
}

// Birthrights shows what rules give an identity today, and names the rules that
// cannot be judged for it: to itself, to who answers for it, its manager,
// administrators and auditors.
func (d *Desk) Birthrights(ctx context.Context, caller Caller, name string) (views []BirthrightView, problems []string, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, nil, err
	}
	defer tx.orStale(&err)
	identity := tx.directory.findIdentity(name)
	readers := []countersign.IdentityID{}
	if identity != nil {
		readers = append(readers, identity.ID, identity.Manager, identity.Owner, identity.SecondOwner, identity.Sponsor)
	}
	if identity == nil || !slices.Contains(readers, caller.Identity) && !tx.power(caller.Identity, PowerAdministrator) && !tx.power(caller.Identity, PowerAuditor) {
		return nil, nil, notFound("identity", name)
	}
	b, err := tx.birthrights(ctx, identity)
	if err != nil {
		return nil, nil, err
	}
	views, problems = []BirthrightView{}, []string{}
	for _, one := range b.wanted {
		view := BirthrightView{Rule: one.rule.Rule, Package: one.rule.Package, Entitlement: tx.directory.entitlementRef(one.item.entitlement.ID), Refused: one.refused}
		if grant := b.holds(one.item.entitlement.ID); grant != nil {
			view.Grant = grant.ID
		}
		views = append(views, view)
	}
	for _, problem := range b.problems {
		problems = append(problems, problem.Because)
	}
	return views, problems, nil
}
