package desk

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/store"
)

// Delegating is what somebody wants another to decide meanwhile.
type Delegating struct {
	// To is who stands in, by any of the person's names.
	To     string
	Starts countersign.Instant
	Ends   countersign.Instant
	// Types are the request types that it is for; none means all.
	Types  []string
	Reason string
}

// LongestDelegation bounds an absence: what lasts longer is a change of the
// directory.
const LongestDelegation = 90 * countersign.Day

// DelegationView is a delegation as a reader sees it.
type DelegationView struct {
	ID      countersign.DelegationID `json:"id"`
	Version int64                    `json:"version"`
	From    Ref                      `json:"from"`
	To      Ref                      `json:"to"`
	Starts  countersign.Instant      `json:"starts"`
	Ends    countersign.Instant      `json:"ends"`
	Types   []string                 `json:"types"`
	Reason  string                   `json:"reason"`
	InForce bool                     `json:"in_force"`
	EndedAt countersign.Instant      `json:"ended_at,omitzero"`
}

// Delegate lets somebody decide in the caller's place for a time. The record of
// each decision shows both names.
func (d *Desk) Delegate(ctx context.Context, caller Caller, key Key, asked Delegating) (countersign.DelegationID, error) {
	if err := checkReason(asked.Reason); err != nil {
		return "", err
	}
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		delegation, err := tx.delegation(ctx, caller, asked)
		if err != nil {
			return "", err
		}
		change := directory.Change{Verb: directory.Add, After: delegation}
		return string(delegation.ID), tx.record(ctx, []directory.Change{change})
	})
	if err != nil {
		return "", err
	}
	return countersign.DelegationID(id), d.Refresh(context.WithoutCancel(ctx))
}

func (tx *transaction) delegation(ctx context.Context, caller Caller, asked Delegating) (*countersign.Delegation, error) {
	invalid := func(field, reason, format string, args ...any) error {
		return countersign.Errorf(countersign.Invalid, reason, format, args...).At(field)
	}
	from, to := tx.directory.identities[caller.Identity], tx.directory.findIdentity(asked.To)
	starts := asked.Starts
	if starts == 0 {
		starts = tx.now()
	}
	switch {
	case from == nil || !from.Human():
		return nil, countersign.Errorf(countersign.Refused, "needs-person", "Only a person delegates: a machine decides nothing.")
	case to == nil:
		return nil, invalid("/to", "no-such-identity", "There is no identity %q: give an id, a login or an e-mail address.", countersign.Clip(asked.To))
	case to.ID == from.ID:
		return nil, invalid("/to", "to-oneself", "One does not stand in for oneself: name somebody else.")
	case !to.Human() || !to.ActiveAt(tx.now()):
		return nil, countersign.Errorf(countersign.Refused, "not-an-active-person", "%s is no active person: only one can stand in for you.", to.Name).At("/to")
	case asked.Ends <= tx.now() || starts < tx.now()-delegationSlack:
		return nil, invalid("/ends", "in-the-past", "A delegation begins now or later, and ends in the future.")
	case asked.Ends <= starts:
		return nil, invalid("/ends", "end-before-start", "The delegation ends at %s, which is not after its start.", asked.Ends)
	case asked.Ends > starts.Add(LongestDelegation):
		return nil, invalid("/ends", "too-long", "A delegation lasts at most %s.", LongestDelegation)
	case from.ContractEnd != 0 && asked.Ends > from.ContractEnd:
		return nil, invalid("/ends", "beyond-contract", "Your own contract ends at %s, and nobody stands in for you after it.", from.ContractEnd)
	case strings.TrimSpace(asked.Reason) == "":
		return nil, invalid("/reason", "reason-missing", "A delegation needs a reason: it stays on the record.")
	}
	if to.ID == from.Manager {
		return nil, countersign.Errorf(countersign.Refused, "decides-on-you", "%s is your manager and decides on what you ask for: somebody else has to stand in for you.", to.Name).At("/to")
	}
	// Nobody keeps somebody from deciding on their own request by naming them.
	asking, err := tx.desk.Store.Requests(ctx, store.RequestQuery{Party: from.ID, States: []countersign.RequestState{countersign.RequestDeciding}})
	if err != nil {
		return nil, err
	}
	for _, request := range asking {
		mine := request.Requester == from.ID || request.Beneficiary == from.ID || slices.Contains(request.SamePerson, from.ID)
		if mine && slices.ContainsFunc(request.Stages, func(stage countersign.Stage) bool {
			return stage.State == countersign.StageOpen && slices.ContainsFunc(stage.Asked, func(a countersign.Asked) bool { return a.Person == to.ID })
		}) {
			return nil, countersign.Errorf(countersign.Refused, "decides-on-you", "%s is asked to decide on your request %s: somebody else has to stand in for you.", to.Name, request.ID).At("/to")
		}
	}
	if err := tx.lookForHolds(ctx, string(from.ID), string(to.ID)); err != nil {
		return nil, err
	}
	if tx.desk.heldNow(string(from.ID)) || tx.desk.heldNow(string(to.ID)) {
		return nil, countersign.Errorf(countersign.Refused, "held", "A hold is in force on one of you.")
	}
	set, err := tx.policy.judging()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, info := range set.Types() {
		known = append(known, info.Name)
	}
	for _, name := range asked.Types {
		if !slices.Contains(known, name) {
			return nil, invalid("/types", "no-request-type", "There is no request type %q%s.", countersign.Clip(name), meant(name, known))
		}
	}
	tx.relyOn(from, to)
	return &countersign.Delegation{
		ID: tx.occasion.Mint.Delegation(), From: from.ID, To: to.ID, Starts: max(starts, tx.now()), Ends: asked.Ends, Types: slices.Clone(asked.Types), Reason: asked.Reason,
	}, nil
}

// delegationSlack is how far a start may lie back: the time that a command takes
// on its way.
const delegationSlack = 60_000

// EndDelegation takes a delegation back.
func (d *Desk) EndDelegation(ctx context.Context, caller Caller, key Key, id countersign.DelegationID) error {
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		before := tx.directory.delegations[caller.Identity][id]
		if before == nil {
			return "", notFound("delegation", string(id))
		}
		if before.End() <= tx.now() {
			return "", countersign.Errorf(countersign.Conflict, "already-ended", "The delegation ended at %s.", before.End())
		}
		after := *before
		after.EndedAt = tx.now()
		return string(id), tx.record(ctx, []directory.Change{{Verb: directory.Modify, Before: before, After: &after}})
	})
	if err != nil {
		return err
	}
	return d.Refresh(context.WithoutCancel(ctx))
}

// Delegations lists those from and to the caller, the newest first; an auditor
// sees all of them.
func (d *Desk) Delegations(ctx context.Context, caller Caller) (_ []DelegationView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	views := []DelegationView{}
	all := tx.power(caller.Identity, PowerAuditor)
	for _, of := range tx.directory.delegations {
		for _, delegation := range of {
			if !all && delegation.From != caller.Identity && delegation.To != caller.Identity {
				continue
			}
			views = append(views, DelegationView{
				ID: delegation.ID, Version: delegation.Version, From: tx.directory.ref(delegation.From), To: tx.directory.ref(delegation.To),
				Starts: delegation.Starts, Ends: delegation.Ends, Types: append([]string{}, delegation.Types...), Reason: delegation.Reason,
				InForce: delegation.Overlaps(tx.now(), tx.now()), EndedAt: delegation.EndedAt,
			})
		}
	}
	slices.SortFunc(views, func(a, b DelegationView) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return views, nil
}
