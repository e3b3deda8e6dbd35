package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Who joins gets the packages that rules give; of who moves, what was given before
// is judged anew. Both are work of their own, one item for each identity and
// cause, so that a reorganisation is no transaction over everybody.

// The causes of a look at an identity begin with one of these. Only who has moved
// is judged anew in what was asked for. Of who has left, or of what was retired, what was
// opened while that was committed is made due: it relied on nothing that had changed, and
// nobody had seen it.
const (
	lookMoved = "moved-"
	lookRules = "rules-"
	// Its text stands in what a replica of an earlier version has made due.
	lookEnded = "left-"
)

// lookAgain is when somebody who moved is looked at once more because access was on
// its way to the target: what was judged before the move may go live after it.
const lookAgain = 10 * countersign.Minute

// LookAtIdentities looks anew at what identities hold, and at what owners owe: at
// each identity once for all causes, for a second look in one transaction would not
// see what the first one decided.
func (d *Desk) LookAtIdentities(ctx context.Context, works []store.Work) error {
	var silent []store.Work
	looks, ids := map[string][]store.Work{}, []string{}
	for _, work := range works {
		if causeOf(work) == lookSilence {
			silent = append(silent, work)
			continue
		}
		if looks[work.Ref] == nil {
			ids = append(ids, work.Ref)
		}
		looks[work.Ref] = append(looks[work.Ref], work)
	}
	err := d.together(ctx, len(silent), nil, func(tx *transaction, i int) error {
		tx.looked(silent[i], 0)
		return tx.tellOfSilence(ctx, silent[i].Ref)
	})
	return errors.Join(err, d.together(ctx, len(ids), nil, func(tx *transaction, i int) error {
		identity := tx.directory.identities[countersign.IdentityID(ids[i])]
		underWay := false
		// Who may hold nothing now keeps what is there: it is refused while that lasts,
		// and ends by itself once it is for good.
		if identity != nil && identity.ActiveAt(tx.now()) {
			var err error
			if underWay, err = tx.lookAtIdentity(ctx, identity, slices.ContainsFunc(looks[ids[i]], ofMove)); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(looks[ids[i]], ofEnded) {
			if err := tx.wakeGiven(ctx, causeOf(looks[ids[i]][0]), givenOn(ids[i])); err != nil {
				return err
			}
		}
		for _, work := range looks[ids[i]] {
			if underWay && ofMove(work) {
				again := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: tx.now().Add(lookAgain)}
				tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: again, Attempt: work.Attempt})
				continue
			}
			tx.looked(work, 0)
		}
		return nil
	}))
}

func causeOf(work store.Work) string {
	_, cause, _ := strings.Cut(work.Key, "/")
	return cause
}

func ofMove(work store.Work) bool { return strings.HasPrefix(causeOf(work), lookMoved) }

func ofEnded(work store.Work) bool { return strings.HasPrefix(causeOf(work), lookEnded) }

// lookAtEnded makes due a look at those who leave, and at those they answer for, and at
// systems and entitlements that were retired.
func (tx *transaction) lookAtEnded(leaving []countersign.IdentityID, retired []string, cause string) {
	for _, id := range tx.directory.answeredFor(leaving) {
		retired = append(retired, string(id))
	}
	for _, on := range retired {
		tx.look(on, store.IdentityWork, lookEnded+cause)
	}
}

// givenOn finds what was given to an identity, in a system or of an entitlement.
func givenOn(id string) store.GrantQuery {
	switch countersign.PrefixOf(id) {
	case "sys":
		return store.GrantQuery{System: countersign.SystemID(id)}
	case "ent":
		return store.GrantQuery{Entitlement: countersign.EntitlementID(id)}
	}
	return store.GrantQuery{Holders: []countersign.IdentityID{countersign.IdentityID(id)}}
}

// lookAtIdentity applies what rules give, and judges anew what was asked for of who
// moved. Of that, something is under way while a target was not read back with it.
func (tx *transaction) lookAtIdentity(ctx context.Context, identity *countersign.Identity, moved bool) (underWay bool, err error) {
	b, err := tx.birthrights(ctx, identity)
	if err != nil {
		return false, err
	}
	if err := tx.applyBirthrights(ctx, b); err != nil || !moved {
		return false, err
	}
	for _, grant := range b.held {
		if grant.Request == "" {
			continue
		}
		underWay = underWay || grant.State == countersign.GrantProvisioning || grant.Extending != nil || grant.Issuing()
		if grant.State != countersign.GrantLive {
			continue
		}
		verdict, err := tx.rejudge(ctx, grant)
		if err != nil {
			return false, err
		}
		if err := tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict); err != nil {
			return false, err
		}
	}
	return underWay, nil
}

// byTimer begins the verdict of something that only time asks for.
func (tx *transaction) byTimer() workflow.GrantVerdict {
	return workflow.GrantVerdict{Standing: workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}}
}

// rejudge says whether the holder would get today what a request gave: nothing
// refuses it that looks at who the holder is, and no stage would have to decide
// that did not. What cannot be judged changes nothing.
func (tx *transaction) rejudge(ctx context.Context, grant *countersign.Grant) (workflow.GrantVerdict, error) {
	verdict := tx.byTimer()
	grounds, err := tx.grounds(ctx, grant)
	if err != nil {
		return verdict, err
	}
	request := lastOf(grounds)
	m, err := tx.directory.matterOf(request.Requester, request.Beneficiary, request.Entitlements)
	if err != nil {
		return verdict, err
	}
	if err := tx.lookAtMatter(ctx, m); err != nil {
		return verdict, err
	}
	resolver := tx.resolver(m, request.Type)
	same := tx.directory.samePerson(m, request.SamePerson, request.SubmittedAt, tx.until(request))
	_, refusals, err := tx.recheck(ctx, request, resolver, same)
	if countersign.KindOf(err) == countersign.Unavailable {
		return verdict, nil
	}
	if err != nil {
		return verdict, err
	}
	tx.relyOnPolicy()
	resolver.relyOnMatter(tx)
	refusals = slices.DeleteFunc(refusals, func(refusal policy.Refusal) bool {
		return refusal.Reason != policy.ReasonRefusedByPolicy && refusal.Reason != policy.ReasonToxicCombination || tx.waives(grounds, refusal)
	})
	if refusals, err = tx.waivedElsewhere(ctx, grant, m.beneficiary, refusals); err != nil {
		return verdict, err
	}
	added, err := tx.newStages(ctx, request, resolver)
	if err != nil {
		return verdict, err
	}
	why := ""
	switch {
	case len(refusals) > 0:
		why = refusals[0].Because
	case len(added) > 0:
		why = neverAsked(request, added)
	}
	if why == "" {
		verdict.Keep = grant.Lapsing != nil && grant.Lapsing.Cause == workflow.CauseMoved
		return verdict, nil
	}
	overlap := grant.Terms.Overlap
	if overlap == 0 {
		overlap = policy.DefaultOverlap
	}
	verdict.Lapse = &workflow.Lapse{Cause: workflow.CauseMoved, Reason: why, Until: tx.now().Add(overlap)}
	return verdict, nil
}

// grounds are the requests that the access goes back to, newest first: those that
// gave it a later end or another credential, and the one that gave it.
func (tx *transaction) grounds(ctx context.Context, grant *countersign.Grant) ([]*countersign.Request, error) {
	first, err := tx.load(ctx, grant.Request)
	if err != nil {
		return nil, err
	}
	changed, err := tx.changesOf(ctx, grant)
	return append(changed, first), err
}

// changesOf are the requests that gave the grant a later end or another credential,
// newest first.
func (tx *transaction) changesOf(ctx context.Context, grant *countersign.Grant) ([]*countersign.Request, error) {
	requests, err := tx.desk.Store.Requests(ctx, store.RequestQuery{
		Holder: grant.Holder, Entitlement: grant.Entitlement,
		States: []countersign.RequestState{countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed},
	})
	return slices.DeleteFunc(requests, func(request *countersign.Request) bool { return request.Changes() != grant.ID }), err
}

// extended reports whether people have approved a later end of the grant.
func (tx *transaction) extended(ctx context.Context, grant *countersign.Grant) (bool, error) {
	changed, err := tx.changesOf(ctx, grant)
	return slices.ContainsFunc(changed, func(request *countersign.Request) bool { return request.Rotates == nil }), err
}

// lastOf returns the request by which people decided last on the access itself: a
// rotation is asked for by a type of its own.
func lastOf(grounds []*countersign.Request) *countersign.Request {
	return grounds[slices.IndexFunc(grounds, func(request *countersign.Request) bool { return request.Rotates == nil })]
}

// waives reports whether one of the requests has an exception from the refusal, and
// still has it.
func (tx *transaction) waives(requests []*countersign.Request, refusal policy.Refusal) bool {
	return refusal.Waivable && slices.ContainsFunc(requests, func(request *countersign.Request) bool {
		exception := request.Exception
		return exception != nil && exception.Until > tx.now() && slices.Contains(exception.Waives, countersign.Waived{Reason: refusal.Reason, Rule: refusal.Rule})
	})
}

// waivedElsewhere drops toxic combinations that are there by an exception which was
// asked for with another of their halves.
func (tx *transaction) waivedElsewhere(ctx context.Context, grant *countersign.Grant, holder *countersign.Identity, refusals []policy.Refusal) ([]policy.Refusal, error) {
	toxic := func(refusal policy.Refusal) bool {
		return refusal.Reason == policy.ReasonToxicCombination && refusal.Waivable
	}
	if !slices.ContainsFunc(refusals, toxic) {
		return refusals, nil
	}
	held, err := tx.heldBySame(ctx, holder, grant.Request)
	if err != nil {
		return nil, err
	}
	for _, item := range held {
		other, err := tx.desk.Store.Grant(ctx, item.Grant)
		if err != nil {
			return nil, err
		}
		if other.ID == grant.ID || other.Request == "" {
			continue
		}
		grounds, err := tx.grounds(ctx, other)
		if err != nil {
			return nil, err
		}
		refusals = slices.DeleteFunc(refusals, func(refusal policy.Refusal) bool { return toxic(refusal) && tx.waives(grounds, refusal) })
	}
	return refusals, nil
}

func neverAsked(request *countersign.Request, added []int) string {
	return fmt.Sprintf("The stage %q would have to approve it now, and was never asked.", request.Stages[added[0]].Name)
}

// newStages returns the stages that the set which routed the request asks to decide
// today, and that people neither decide nor decided: the path has changed with what
// its conditions read. What cannot be judged adds nothing.
func (tx *transaction) newStages(ctx context.Context, request *countersign.Request, r *resolved) ([]int, error) {
	if request.BreakGlass {
		return nil, nil
	}
	pinned, err := tx.desk.policySet(ctx, request.PolicySet)
	if countersign.KindOf(err) == countersign.Unavailable {
		return nil, err
	}
	if err != nil {
		return nil, nil
	}
	r.rotates = request.Rotates != nil
	// That time goes by is no change of what was asked.
	facts := r.baseFacts(request.Reason, request.Duration, 0, request.Answers, nil)
	facts.Now = request.SubmittedAt
	path := pinned.Path(request.Type, facts)
	var added []int
	for index, stage := range request.Stages {
		if slices.Contains(path, stage.Name) && !policy.Decided(stage) {
			added = append(added, index)
		}
	}
	return added, nil
}

// lookAtMoved makes due a look at everybody whom directory changes move, or whom a
// rule could give something else now.
func (tx *transaction) lookAtMoved(changes []directory.Change, cause string) {
	looks := map[countersign.IdentityID]string{}
	for _, change := range changes {
		switch after := change.After.(type) {
		case *countersign.Identity:
			before, _ := change.Before.(*countersign.Identity)
			switch {
			case moved(before, after):
				looks[after.ID] = lookMoved
			case looks[after.ID] == "":
				looks[after.ID] = lookRules
			}
		case *countersign.Group:
			before, _ := change.Before.(*countersign.Group)
			for _, id := range tx.directory.membersMoved(before, after) {
				looks[id] = lookMoved
			}
		}
	}
	// An agent is judged by what its owner is, too.
	for id, identity := range tx.directory.identities {
		if identity.Kind == countersign.Agent && looks[identity.Owner] == lookMoved {
			looks[id] = lookMoved
		}
	}
	rules := tx.rules() != nil && len(tx.rules().Birthrights()) > 0
	for id, kind := range looks {
		if kind == lookRules && !rules {
			continue
		}
		tx.look(string(id), store.IdentityWork, kind+cause)
	}
}

// rules is the policy set that is in force once this transaction commits; nil where
// none can be read.
func (tx *transaction) rules() *policy.Set {
	switch {
	case tx.activated != nil:
		return tx.activated
	case tx.policy != nil:
		return tx.policy.set
	}
	return nil
}

// moved reports whether an identity is another to policies than it was. Whoever is
// reactivated may have moved meanwhile.
func moved(before, after *countersign.Identity) bool {
	return before != nil && (before.Manager != after.Manager || before.Affiliation != after.Affiliation || before.Sponsor != after.Sponsor ||
		before.Environment != after.Environment || before.Owner != after.Owner || before.Status != after.Status)
}

// membersMoved returns who enters or leaves a group with its change, by groups
// nested in it, too.
func (d *snapshot) membersMoved(before, after *countersign.Group) []countersign.IdentityID {
	if before == nil {
		before = &countersign.Group{}
	}
	var ids []countersign.IdentityID
	for _, pair := range [][2]*countersign.Group{{before, after}, {after, before}} {
		for _, member := range pair[0].Members {
			if !slices.ContainsFunc(pair[1].Members, func(other countersign.Member) bool { return other.Identity == member.Identity }) {
				ids = append(ids, member.Identity)
			}
		}
		for _, nesting := range pair[0].Nested {
			if !slices.ContainsFunc(pair[1].Nested, func(other countersign.Nesting) bool { return other.Group == nesting.Group }) {
				for _, path := range d.membersOf(nesting.Group) {
					ids = append(ids, path.identity)
				}
			}
		}
	}
	return ids
}
