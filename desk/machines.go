package desk

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
)

// MachineFlag is something about a non-human identity that somebody should look at.
type MachineFlag string

const (
	// MachineUnowned has nobody active who answers for it; MachineOwnerLeft had
	// somebody, who has left for good.
	MachineUnowned   MachineFlag = "unowned"
	MachineOwnerLeft MachineFlag = "owner-left"
	// MachineOverdue is not confirmed in time.
	MachineOverdue   MachineFlag = "overdue"
	MachineNoPurpose MachineFlag = "no-purpose"
	MachineNoRecord  MachineFlag = "no-record"
	// MachineNeverUsed has access that its target never saw used, for unusedAfter.
	MachineNeverUsed MachineFlag = "never-used"
	// MachineLongLived has a credential that is older than longLived.
	MachineLongLived MachineFlag = "long-lived"
)

// MachineFlags is the closed list.
var MachineFlags = []MachineFlag{MachineUnowned, MachineOwnerLeft, MachineOverdue, MachineNoPurpose, MachineNoRecord, MachineNeverUsed, MachineLongLived}

const (
	// unusedAfter is how long access may go unused before the list says so.
	unusedAfter = 30 * countersign.Day
	// longLived is how old a credential may be before the list says so.
	longLived = 90 * countersign.Day
	// machinesAtOnce is how many are looked at together, machinesLooked how many for
	// one page.
	machinesAtOnce = 50
	machinesLooked = 500
	// usePatience is how long targets may take to tell of the use of a page.
	usePatience = 3 * time.Second
)

// MachineFilter chooses from the list of non-human identities.
type MachineFilter struct {
	Owner string
	Kind  countersign.IdentityKind
	// Flag asks for those that have it; "" for all.
	Flag  MachineFlag
	After countersign.IdentityID
	Limit int
}

// MachineView is a non-human identity with all that it answers: who owns it, what
// for, since when, what it holds, until when, and when it was last used.
type MachineView struct {
	Identity   IdentityView        `json:"identity"`
	RecordedAt countersign.Instant `json:"recorded_at"`
	// Holds is what it holds now.
	Holds []MachineGrant `json:"holds"`
	// LastUsed is the latest use that any target tells of.
	LastUsed countersign.Instant `json:"last_used,omitzero"`
	Flags    []MachineFlag       `json:"flags"`
}

// MachineGrant is access of a machine.
type MachineGrant struct {
	Grant       countersign.GrantID    `json:"grant"`
	State       countersign.GrantState `json:"state"`
	Entitlement EntitlementRef         `json:"entitlement"`
	Origin      countersign.Origin     `json:"origin"`
	From        countersign.Instant    `json:"from,omitzero"`
	Until       countersign.Instant    `json:"until,omitzero"`
	Credentials []MachineCredential    `json:"credentials"`
	// UseKnown says that the target tells of use, LastUsed of which; none where it is
	// not set.
	UseKnown bool                `json:"use_known"`
	LastUsed countersign.Instant `json:"last_used,omitzero"`
}

// MachineCredential is one credential, with its age.
type MachineCredential struct {
	ID    countersign.CredentialID `json:"id"`
	From  countersign.Instant      `json:"from"`
	Until countersign.Instant      `json:"until,omitzero"`
	Age   countersign.Seconds      `json:"age_seconds"`
}

// Machines lists non-human identities in the order in which they were recorded:
// all for auditors and administrators, and otherwise those that the caller, or
// somebody whose manager the caller is, answers for. Next is where to go on; "" at
// the end. A page may be shorter than the limit and still have one.
func (d *Desk) Machines(ctx context.Context, caller Caller, filter MachineFilter) (views []MachineView, next countersign.IdentityID, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, "", err
	}
	defer tx.orStale(&err)
	machines, err := tx.machines(caller, filter)
	if err != nil {
		return nil, "", err
	}
	asking, cancel := context.WithTimeout(ctx, usePatience)
	defer cancel()
	views = []MachineView{}
	for limit, looked := limitOf(filter.Limit), 0; looked < machinesLooked && len(machines) > 0; {
		some := machines[:min(machinesAtOnce, len(machines))]
		described, err := tx.describeMachines(ctx, asking, some)
		if err != nil {
			return nil, "", err
		}
		for i, view := range described {
			if filter.Flag != "" && !slices.Contains(view.Flags, filter.Flag) {
				continue
			}
			if views = append(views, view); len(views) == limit {
				if i+1 < len(machines) {
					next = some[i].ID
				}
				return views, next, nil
			}
		}
		machines, looked, next = machines[len(some):], looked+len(some), some[len(some)-1].ID
	}
	if len(machines) == 0 {
		next = ""
	}
	return views, next, nil
}

// machines are those that the caller sees and the filter may want, by their ids.
func (tx *transaction) machines(caller Caller, filter MachineFilter) ([]*countersign.Identity, error) {
	if filter.Flag != "" && !slices.Contains(MachineFlags, filter.Flag) {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-parameter", "%q is no flag: use one of %q.", countersign.Clip(string(filter.Flag)), MachineFlags).At("flag")
	}
	if machines := []countersign.IdentityKind{countersign.Service, countersign.Workload, countersign.Agent}; filter.Kind != "" && !slices.Contains(machines, filter.Kind) {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-parameter", "%q is no kind of machine: use one of %q.", countersign.Clip(string(filter.Kind)), machines).At("kind")
	}
	var owner *countersign.Identity
	if filter.Owner != "" {
		if owner = tx.directory.findIdentity(filter.Owner); owner == nil {
			return nil, countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q.", countersign.Clip(filter.Owner)).At("owner")
		}
	}
	all := tx.power(caller.Identity, PowerAdministrator) || tx.power(caller.Identity, PowerAuditor)
	var found []*countersign.Identity
	for _, machine := range tx.directory.identities {
		answering := []countersign.IdentityID{machine.Owner, machine.SecondOwner, machine.Sponsor}
		switch {
		case machine.Human() || machine.Status == countersign.IdentityDeparted || machine.ID <= filter.After:
		case filter.Kind != "" && machine.Kind != filter.Kind:
		case owner != nil && !slices.Contains(answering, owner.ID):
		case all || slices.ContainsFunc(answering, func(id countersign.IdentityID) bool {
			person := tx.directory.identities[id]
			return id == caller.Identity || person != nil && person.Manager == caller.Identity
		}):
			found = append(found, machine)
		}
	}
	slices.SortFunc(found, func(a, b *countersign.Identity) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

// describeMachines reads what machines hold, and asks targets when it was used, as
// long as there is time for that.
func (tx *transaction) describeMachines(ctx, asking context.Context, machines []*countersign.Identity) ([]MachineView, error) {
	ids := make([]countersign.IdentityID, len(machines))
	for i, machine := range machines {
		ids[i] = machine.ID
	}
	grants, err := tx.desk.Store.Grants(ctx, store.GrantQuery{Holders: ids, States: heldStates})
	if err != nil {
		return nil, err
	}
	held := map[countersign.IdentityID][]*countersign.Grant{}
	for _, grant := range grants {
		held[grant.Holder] = append(held[grant.Holder], grant)
	}
	views := make([]MachineView, len(machines))
	for i, machine := range machines {
		view := MachineView{
			Identity: *tx.directory.identityView(machine, tx.policy.ownerTerms(), tx.now()), RecordedAt: countersign.TimeOfID(string(machine.ID)), Holds: []MachineGrant{},
		}
		for _, grant := range held[machine.ID] {
			one := tx.machineGrant(asking, grant)
			view.Holds = append(view.Holds, one)
			view.LastUsed = max(view.LastUsed, one.LastUsed)
		}
		view.Flags = tx.flagsOf(machine, view)
		views[i] = view
	}
	return views, ctx.Err()
}

func (tx *transaction) machineGrant(ctx context.Context, grant *countersign.Grant) MachineGrant {
	one := MachineGrant{
		Grant: grant.ID, State: grant.State, Entitlement: tx.directory.entitlementRef(grant.Entitlement), Origin: grant.Origin,
		From: grant.From, Until: grant.Until, Credentials: []MachineCredential{},
	}
	var tells connector.LastUse
	if hands, err := tx.desk.Connectors.Find(grant.Step.Connector); err == nil {
		tells, one.UseKnown = hands.(connector.LastUse)
	}
	for _, credential := range grant.Credentials {
		if credential.State == countersign.CredentialGone || credential.From == 0 {
			continue
		}
		one.Credentials = append(one.Credentials, MachineCredential{credential.ID, credential.From, credential.Until, countersign.Seconds(tx.now()-credential.From) / 1000})
		if !one.UseKnown {
			continue
		}
		used, since, err := connector.UseSince(ctx, tells, credential.ID)
		// A target that does not answer says nothing of use, and neither does a log that
		// began later and has none.
		one.UseKnown = err == nil && (used != 0 || since <= credential.From)
		one.LastUsed = max(one.LastUsed, used)
	}
	one.UseKnown = one.UseKnown && len(one.Credentials) > 0
	return one
}

func (tx *transaction) flagsOf(machine *countersign.Identity, view MachineView) []MachineFlag {
	raised := map[MachineFlag]bool{
		MachineUnowned: view.Identity.Unowned, MachineNoPurpose: machine.Purpose == "", MachineNoRecord: view.Identity.Record == "",
		MachineOverdue: view.Identity.Ownership.State == OwnerOverdue || view.Identity.Ownership.State == OwnerSilent,
	}
	if owner := tx.directory.identities[machine.Owner]; owner != nil {
		raised[MachineOwnerLeft] = left(owner, tx.now())
	}
	for _, grant := range view.Holds {
		if grant.UseKnown && grant.LastUsed == 0 && grant.From != 0 && tx.now() >= grant.From.Add(unusedAfter) {
			raised[MachineNeverUsed] = true
		}
		for _, credential := range grant.Credentials {
			raised[MachineLongLived] = raised[MachineLongLived] || credential.Age > longLived
		}
	}
	flags := []MachineFlag{}
	for _, flag := range MachineFlags {
		if raised[flag] {
			flags = append(flags, flag)
		}
	}
	return flags
}
