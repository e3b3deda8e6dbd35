package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
)

// Who answers for a machine or a system says from time to time that it is still so.
// Who keeps silent is reminded; then others are told, and have a time to see to it;
// then nothing new is given. Nothing that is there ends by it.

// OwnerState says how it stands with who answers for a machine or a system.
type OwnerState string

const (
	OwnerConfirmed OwnerState = "confirmed"
	// OwnerDue is confirmed for now; the owner is reminded.
	OwnerDue OwnerState = "due"
	// OwnerOverdue gets new access for now; others are told.
	OwnerOverdue OwnerState = "overdue"
	// OwnerSilent gets nothing new.
	OwnerSilent OwnerState = "silent"
	// OwnerLost has an owner who is not active, whoever else answers for it.
	OwnerLost OwnerState = "lost"
)

// OwnerStates is the closed list.
var OwnerStates = []OwnerState{OwnerConfirmed, OwnerDue, OwnerOverdue, OwnerSilent, OwnerLost}

// lookSilence begins the cause of a look at what an owner owes.
const lookSilence = "silence"

// ownership is how it stands with who answers for a machine or a system at now.
type ownership struct {
	owned
	// machine or system, the other is nil.
	machine *countersign.Identity
	system  *countersign.System
	silence *countersign.Silence
	// since is the last confirmation, or when it was recorded.
	since     countersign.Instant
	confirmed bool
	due       countersign.Instant
	lost      bool
	remindAt  countersign.Instant
	grace     countersign.Seconds
}

// ownerTerms are those of the set in force; of no set, where it cannot be read.
func (a *activeSet) ownerTerms() policy.OwnerTerms {
	if set, err := a.judging(); err == nil {
		return set.Owners()
	}
	return policy.StandardOwnerTerms()
}

func (d *snapshot) ofMachine(machine *countersign.Identity, terms policy.OwnerTerms, now countersign.Instant) ownership {
	o := ownership{owned: ownedMachine(machine), machine: machine, silence: machine.Silence}
	return d.ownership(o, machine.LastConfirmed, string(machine.ID), terms.OfMachine(machine.Kind, machine.ConfirmEvery), terms, now)
}

func (d *snapshot) ofSystem(system *countersign.System, terms policy.OwnerTerms, now countersign.Instant) ownership {
	o := ownership{owned: ownedSystem(system), system: system, silence: system.Silence}
	return d.ownership(o, system.LastConfirmed, string(system.ID), terms.OfSystem(system.Risk, system.ConfirmEvery), terms, now)
}

func (d *snapshot) ownership(o ownership, confirmed countersign.Instant, id string, every countersign.Seconds, terms policy.OwnerTerms, now countersign.Instant) ownership {
	// A date in the future would spare an owner for as long as somebody likes.
	o.since, o.confirmed = confirmed, confirmed != 0 && confirmed <= now
	if !o.confirmed {
		o.since = countersign.TimeOfID(id)
	}
	o.due = o.since.Add(every)
	o.remindAt, o.grace = o.due.Add(-terms.Remind), terms.Grace
	owner := d.identities[o.owner]
	o.lost = owner == nil || !owner.ActiveAt(now)
	return o
}

func (o ownership) state(now countersign.Instant) OwnerState {
	switch {
	case o.lost:
		return OwnerLost
	case o.refuses(now):
		return OwnerSilent
	case now >= o.due:
		return OwnerOverdue
	case now >= o.remindAt:
		return OwnerDue
	}
	return OwnerConfirmed
}

// refuses reports whether nothing new is given: only after others than the owner
// were told, and had their time.
func (o ownership) refuses(now countersign.Instant) bool {
	return (o.lost || now >= o.due) && o.silence != nil && o.silence.Escalated && now >= o.silence.NothingNewFrom
}

// owed is what somebody has to be told by now; nil for nothing.
func (o ownership) owed(now countersign.Instant) *countersign.Silence {
	said := o.silence
	if said == nil {
		said = &countersign.Silence{}
	}
	switch {
	case o.lost || now >= o.due:
		if said.Escalated && said.Lost == o.lost {
			return nil
		}
		return &countersign.Silence{Due: o.due, Lost: o.lost, At: now, Escalated: true, NothingNewFrom: now.Add(o.grace)}
	case now >= o.remindAt && (said.Due != o.due || said.Lost):
		return &countersign.Silence{Due: o.due, At: now}
	}
	return nil
}

// command is how the owner or the second owner confirms.
func (o ownership) command(verb string) string {
	if o.system != nil {
		return "countersign system " + verb + " " + o.system.Name
	}
	return "countersign identity " + verb + " " + o.machine.Handle(countersign.Login)
}

// SweepOwners makes due a look at every machine and system of which somebody has to
// be told that its owner keeps silent, or is lost.
func (d *Desk) SweepOwners(ctx context.Context) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	for _, o := range tx.directory.ownerships(tx.policy.ownerTerms(), tx.now()) {
		if o.owed(tx.now()) != nil {
			tx.look(o.key(), store.IdentityWork, lookSilence)
		}
	}
	if len(tx.change.Work) == 0 {
		return nil
	}
	return late(tx.commit(ctx))
}

func (o ownership) key() string {
	if o.system != nil {
		return string(o.system.ID)
	}
	return string(o.machine.ID)
}

// ownerships are those of all machines that may act and systems in use, in the order
// of their ids.
func (d *snapshot) ownerships(terms policy.OwnerTerms, now countersign.Instant) []ownership {
	var all []ownership
	for _, identity := range d.identities {
		if !identity.Human() && identity.ActiveAt(now) {
			all = append(all, d.ofMachine(identity, terms, now))
		}
	}
	for _, system := range d.systems {
		if !system.Retired {
			all = append(all, d.ofSystem(system, terms, now))
		}
	}
	slices.SortFunc(all, func(a, b ownership) int { return strings.Compare(a.key(), b.key()) })
	return all
}

// tellOfSilence records whom the house tells of an owner who does not confirm: the
// owner before it is time, and then who else answers for it and the owner's manager;
// administrators, where there is nobody else.
func (tx *transaction) tellOfSilence(ctx context.Context, id string) error {
	terms := tx.policy.ownerTerms()
	var o ownership
	if machine := tx.directory.identities[countersign.IdentityID(id)]; machine != nil && !machine.Human() && machine.ActiveAt(tx.now()) {
		o = tx.directory.ofMachine(machine, terms, tx.now())
	} else if system := tx.directory.systems[countersign.SystemID(id)]; system != nil && !system.Retired {
		o = tx.directory.ofSystem(system, terms, tx.now())
	} else {
		return nil
	}
	silence := o.owed(tx.now())
	if silence == nil {
		return nil
	}
	silence.Told = tx.toldOfSilence(o, silence.Escalated)
	var change directory.Change
	if o.system != nil {
		after := *o.system
		after.Silence = silence
		change = directory.Change{Verb: directory.Modify, Before: o.system, After: &after}
	} else {
		after := *o.machine
		after.Silence = silence
		change = directory.Change{Verb: directory.Modify, Before: o.machine, After: &after}
	}
	// Nobody's standing changes by what the house has said.
	return tx.recordRows(ctx, []directory.Change{change})
}

func (tx *transaction) toldOfSilence(o ownership, escalated bool) []countersign.IdentityID {
	if escalated {
		return tx.answering(o.owned)
	}
	if owner := tx.directory.identities[o.owner]; owner != nil && owner.ActiveAt(tx.now()) {
		return []countersign.IdentityID{o.owner}
	}
	return []countersign.IdentityID{}
}

// answering are the active people who can speak for a thing: its owner, who else answers
// for it and the owner's manager; administrators, where there is nobody but the owner.
func (tx *transaction) answering(thing owned) []countersign.IdentityID {
	found := []countersign.IdentityID{}
	add := func(people ...countersign.IdentityID) {
		for _, id := range people {
			if person := tx.directory.identities[id]; person != nil && person.ActiveAt(tx.now()) && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
	}
	add(thing.owner)
	owners := len(found)
	add(thing.others...)
	if owner := tx.directory.identities[thing.owner]; owner != nil {
		add(owner.Manager)
	}
	if len(found) == owners {
		add(tx.withPower(PowerAdministrator)...)
	}
	return found
}

// refuseUnconfirmed refuses what is new for a machine, or on a system, whose owner
// has kept silent for too long. A machine whose owner is lost gets nothing anyway.
func (tx *transaction) refuseUnconfirmed(m matter) []policy.Refusal {
	terms, now := tx.policy.ownerTerms(), tx.now()
	var refusals []policy.Refusal
	refuse := func(o ownership) {
		if o.refuses(now) {
			refusals = append(refusals, policy.Refusal{Reason: "owner-silent", Because: tx.directory.silentText(o)})
		}
	}
	if m.beneficiary != nil && !m.beneficiary.Human() {
		refuse(tx.directory.ofMachine(m.beneficiary, terms, now))
	}
	var seen []countersign.SystemID
	for _, item := range m.items {
		if !slices.Contains(seen, item.system.ID) {
			seen = append(seen, item.system.ID)
			refuse(tx.directory.ofSystem(item.system, terms, now))
		}
	}
	return refusals
}

// silentText says why nothing new is given, and who must do what.
func (d *snapshot) silentText(o ownership) string {
	if o.lost {
		return fmt.Sprintf("%s, who answers for %s, is not active, and nothing new is given until somebody takes it over: %s, and a second person accepts.", d.nameOf(o.owner), o.name, o.command("offer"))
	}
	who := d.nameOf(o.owner)
	if second := o.others[0]; second != "" {
		who += " or " + d.nameOf(second)
	}
	return fmt.Sprintf("Nobody has confirmed %s since %s, and nothing new is given until %s does: %s", o.name, o.since.Time().Format("2006-01-02"), who, o.command("confirm"))
}

// silenceSentence tells an owner, or those who hear of his or her silence, what to do.
func (d *snapshot) silenceSentence(o ownership, said *countersign.Silence) string {
	switch {
	case said == nil:
		return ""
	case said.Lost:
		return fmt.Sprintf("%s, who answers for %s, is not active. Somebody takes it over: %s, and a second person accepts. From %s on nothing new is given", d.nameOf(o.owner), o.name, o.command("offer"), said.NothingNewFrom)
	case said.Escalated:
		return fmt.Sprintf("%s has not confirmed %s by %s. From %s on nothing new is given until the owner or the second owner does: %s", d.nameOf(o.owner), o.name, said.Due, said.NothingNewFrom, o.command("confirm"))
	}
	return fmt.Sprintf("confirm by %s that owner and purpose of %s still hold: %s", said.Due, o.name, o.command("confirm"))
}

// OwnershipView is how it stands with who answers for a machine or a system.
type OwnershipView struct {
	State OwnerState `json:"state"`
	// Since is the last confirmation or, where there is none, when it was recorded.
	Since countersign.Instant `json:"since"`
	// Due is by when it is to be confirmed.
	Due countersign.Instant `json:"due"`
	// Told are those who were told last of an owner who keeps silent or is lost.
	Told           []Ref               `json:"told,omitempty"`
	ToldAt         countersign.Instant `json:"told_at,omitzero"`
	NothingNewFrom countersign.Instant `json:"nothing_new_from,omitzero"`
}

func (d *snapshot) ownershipView(o ownership, now countersign.Instant) *OwnershipView {
	view := &OwnershipView{State: o.state(now), Since: o.since, Due: o.due}
	if said := o.silence; said != nil && view.State != OwnerConfirmed {
		view.Told, view.ToldAt, view.NothingNewFrom = d.refs(said.Told), said.At, said.NothingNewFrom
	}
	return view
}
