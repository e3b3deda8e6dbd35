package desk

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// PlanDirectory compares an organisation's files with the directory and changes
// nothing.
func (d *Desk) PlanDirectory(ctx context.Context, caller Caller, files []directory.File) (_ directory.Difference, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return directory.Difference{}, err
	}
	defer tx.orStale(&err)
	return tx.compare(ctx, caller, files)
}

func (tx *transaction) compare(ctx context.Context, caller Caller, files []directory.File) (directory.Difference, error) {
	if holds, err := tx.holdsPower(ctx, caller.Identity, PowerAdministrator); err != nil {
		return directory.Difference{}, err
	} else if !holds {
		return directory.Difference{}, countersign.Errorf(countersign.Refused, "needs-administrator", "Directory changes take the power %q of the system %q.", PowerAdministrator, SystemName)
	}
	if caller := tx.directory.identities[caller.Identity]; caller == nil || !caller.Human() {
		return directory.Difference{}, countersign.Errorf(countersign.Refused, "needs-person", "The directory is changed by people only, whatever power a machine identity was given.")
	}
	if err := checkFiles(files); err != nil {
		return directory.Difference{}, err
	}
	wanted, problems := directory.Parse(files)
	if len(problems) > 0 {
		return directory.Difference{}, problemsError("malformed-directory", problems)
	}
	current, err := tx.desk.Store.Directory(ctx, 0)
	if err != nil {
		return directory.Difference{}, err
	}
	difference, err := directory.Compare(current, wanted, tx.occasion.Mint)
	if err != nil {
		return directory.Difference{}, err
	}
	powers, err := tx.powerChanges(ctx, difference)
	difference.Changes = append(difference.Changes, powers...)
	return difference, err
}

// powersAreAskedFor is why no file hands out a power after the house is founded.
const powersAreAskedFor = "A power of the desk is asked for like any other access; files hand it out only when the house is founded."

// powerChanges names the powers that the files give to somebody who does not hold
// them. They are never applied: powers are asked for.
func (tx *transaction) powerChanges(ctx context.Context, difference directory.Difference) ([]directory.Change, error) {
	var changes []directory.Change
	for _, power := range difference.Powers {
		entitlement := tx.directory.entitlements[power.Entitlement]
		if entitlement == nil {
			continue
		}
		grants, err := tx.desk.Store.Grants(ctx, store.GrantQuery{Entitlement: power.Entitlement, States: heldStates})
		if err != nil {
			return nil, err
		}
		for _, holder := range power.Holders {
			if slices.ContainsFunc(grants, func(grant *countersign.Grant) bool { return grant.Holder == holder }) {
				continue
			}
			changes = append(changes, directory.Change{
				Verb: directory.Modify, Noun: directory.EntitlementNoun, Name: "power " + power.Name, Standing: powersAreAskedFor,
				Fields: []directory.FieldChange{{Name: "holder", After: tx.directory.nameOf(holder)}}, Before: entitlement, After: entitlement,
			})
		}
	}
	return changes, nil
}

// problemsError puts the problems of files into one error, each on its line.
func problemsError[P fmt.Stringer](reason string, problems []P) error {
	lines := make([]string, len(problems))
	for i, problem := range problems {
		lines[i] = problem.String()
	}
	return countersign.Errorf(countersign.Invalid, reason, "%s", strings.Join(lines, "\n")).With(lines)
}

// AppliedDirectory says what an apply did and what it left.
type AppliedDirectory struct {
	Applied directory.Difference
	// Refused are the changes that take a second person.
	Refused directory.Difference
}

// ApplyDirectory applies what gives nobody standing, and leaves the rest by
// name: that takes a second person.
func (d *Desk) ApplyDirectory(ctx context.Context, caller Caller, files []directory.File) (AppliedDirectory, error) {
	var applied AppliedDirectory
	err := d.attempt(ctx, countersign.Actor(caller.Identity), func(tx *transaction) error {
		applied = AppliedDirectory{}
		difference, err := tx.compare(ctx, caller, files)
		if err != nil {
			return err
		}
		for _, change := range difference.Changes {
			if change.Standing == "" {
				applied.Applied.Changes = append(applied.Applied.Changes, change)
			} else {
				applied.Refused.Changes = append(applied.Refused.Changes, change)
			}
		}
		applied.dropMass(tx)
		applied.dropDangling()
		return tx.record(ctx, applied.Applied.Changes)
	})
	if err != nil {
		return AppliedDirectory{}, err
	}
	return applied, d.Refresh(ctx)
}

// A directory change that ends more identities at once than both the number and
// the share stops before any effect: it takes a second person.
const (
	massNumber = 5
	massShare  = 10 // one in so many of the active people
)

func (a *AppliedDirectory) dropMass(tx *transaction) {
	active, ends := 0, 0
	for _, identity := range tx.directory.identities {
		if identity.Human() && identity.ActiveAt(tx.now()) {
			active++
		}
	}
	ending := func(change directory.Change) bool {
		after, is := change.After.(*countersign.Identity)
		before, was := change.Before.(*countersign.Identity)
		return is && was && before != nil && before.ActiveAt(tx.now()) && !after.ActiveAt(tx.now())
	}
	for _, change := range a.Applied.Changes {
		if ending(change) {
			ends++
		}
	}
	if ends <= massNumber || ends*massShare <= active {
		return
	}
	var kept []directory.Change
	for _, change := range a.Applied.Changes {
		if !ending(change) {
			kept = append(kept, change)
			continue
		}
		change.Standing = fmt.Sprintf("It is one of %d that would end at once, of %d active people.", ends, active)
		a.Refused.Changes = append(a.Refused.Changes, change)
	}
	a.Applied.Changes = kept
}

// dropDangling leaves out what refers to something new that is refused.
func (a *AppliedDirectory) dropDangling() {
	missing := map[string]bool{}
	for _, change := range a.Refused.Changes {
		if change.Verb == directory.Add {
			missing[change.After.RowKey()] = true
		}
	}
	kept := a.Applied.Changes[:0]
	for _, change := range a.Applied.Changes {
		switch row := change.After.(type) {
		case *countersign.Entitlement:
			if missing[string(row.System)] {
				change.Standing = "It belongs to a new system that takes a second person."
			}
		case *countersign.Identity:
			if missing[string(row.Record)] {
				change.Standing = "It names a new system record that takes a second person."
			}
		}
		if change.Standing != "" {
			a.Refused.Changes = append(a.Refused.Changes, change)
			continue
		}
		kept = append(kept, change)
	}
	a.Applied.Changes = kept
}

// record writes directory changes as events, rows and guards, and makes due
// whatever depends on them.
func (tx *transaction) record(ctx context.Context, changes []directory.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := tx.recordRows(ctx, changes); err != nil {
		return err
	}
	var identities, leaving []countersign.IdentityID
	var systems []countersign.SystemID
	var retired []string
	for _, change := range changes {
		switch row := change.After.(type) {
		case *countersign.Identity:
			identities = append(identities, row.ID)
			if left(row, tx.now()) {
				leaving = append(leaving, row.ID)
			}
		case *countersign.System:
			systems = append(systems, row.ID)
			if row.Retired {
				retired = append(retired, row.RowKey())
			}
		case *countersign.Entitlement:
			systems = append(systems, row.System)
			if row.Retired {
				retired = append(retired, row.RowKey())
			}
		}
	}
	cause := fmt.Sprintf("directory-%d", tx.change.DirectoryRevision)
	if err := tx.dependents(ctx, cause, identities, systems); err != nil {
		return err
	}
	tx.lookAtMoved(changes, cause)
	tx.lookAtEnded(leaving, retired, cause)
	return tx.wakeRequests(ctx, cause)
}

// recordRows writes directory changes as events, rows and guards.
func (tx *transaction) recordRows(ctx context.Context, changes []directory.Change) error {
	streams := make([]countersign.Stream, 0, len(changes))
	for _, change := range changes {
		streams = append(streams, change.After.RowStream())
	}
	heads, err := tx.desk.Store.Heads(ctx, streams)
	if err != nil {
		return err
	}
	seq := map[countersign.Stream]int64{}
	for stream, head := range heads {
		seq[stream] = head.Seq
	}
	tx.change.DirectoryRevision = tx.directory.revision + 1
	for _, change := range changes {
		stream := change.After.RowStream()
		seq[stream]++
		var was int64
		if change.Before != nil {
			was = change.Before.RowVersion()
		}
		payload, err := tx.versioned(ctx, change, seq[stream])
		if err != nil {
			return err
		}
		tx.put(change.After, was)
		tx.guards[store.GuardRow(change.After.RowKey())] = store.Guard{Key: store.GuardRow(change.After.RowKey()), Version: was, Next: seq[stream]}
		tx.events = append(tx.events, countersign.Event{Stream: stream, Payload: payload})
		if row, is := change.After.(*countersign.Identity); is {
			tx.handles(change.Before, row)
			if !row.ActiveAt(tx.now()) {
				tx.stop = append(tx.stop, string(row.ID))
			}
		}
	}
	return nil
}

// versioned sets the version of a changed row, of the memberships that begin with
// it and of their guards, and returns its event.
func (tx *transaction) versioned(ctx context.Context, change directory.Change, version int64) (countersign.Payload, error) {
	switch row := change.After.(type) {
	case *countersign.Identity:
		row.Version = version
		return workflow.NewIdentityRecorded(*row), nil
	case *countersign.Group:
		row.Version = version
		before, _ := change.Before.(*countersign.Group)
		return &workflow.GroupRecorded{Change: *row}, tx.memberships(ctx, before, row)
	case *countersign.System:
		row.Version = version
		return &workflow.SystemRecorded{Change: *row}, nil
	case *countersign.Entitlement:
		row.Version = version
		return &workflow.EntitlementRecorded{Change: *row}, nil
	case *countersign.Record:
		row.Version = version
		return &workflow.RecordRecorded{Change: *row}, nil
	case *countersign.Delegation:
		row.Version = version
		return workflow.NewDelegationRecorded(*row), tx.move(ctx, store.GuardDelegations(row.From))
	}
	return nil, countersign.Errorf(countersign.Internal, "unknown-row", "a directory has no rows of type %T", change.After)
}

// memberships moves on the guards of everybody who enters or leaves the group.
func (tx *transaction) memberships(ctx context.Context, before, after *countersign.Group) error {
	earlier := map[string]bool{}
	if before != nil {
		for _, member := range before.Members {
			earlier[store.GuardMember(after.ID, string(member.Identity))] = true
		}
		for _, nesting := range before.Nested {
			earlier[store.GuardMember(after.ID, string(nesting.Group))] = true
		}
	}
	var moved []string
	stays := func(key string, since *int64) {
		if earlier[key] {
			delete(earlier, key)
			return
		}
		*since = after.Version
		moved = append(moved, key)
	}
	for i := range after.Members {
		stays(store.GuardMember(after.ID, string(after.Members[i].Identity)), &after.Members[i].Version)
	}
	for i := range after.Nested {
		stays(store.GuardMember(after.ID, string(after.Nested[i].Group)), &after.Nested[i].Version)
	}
	moved = append(moved, sortedKeys(earlier)...)
	keys := slices.Clone(moved)
	for _, key := range moved {
		_, member, _ := strings.Cut(key, "/")
		keys = append(keys, store.GuardGroups(member))
	}
	versions, err := tx.versions(ctx, keys)
	if err != nil {
		return err
	}
	for i, key := range keys {
		next := after.Version
		if i >= len(moved) {
			next = versions[key] + 1
		}
		tx.guards[key] = store.Guard{Key: key, Version: versions[key], Next: next}
	}
	return nil
}

// handles gives and takes the names of an identity.
func (tx *transaction) handles(before countersign.Row, after *countersign.Identity) {
	gone := map[string]countersign.Handle{}
	if earlier, ok := before.(*countersign.Identity); ok && earlier != nil {
		for _, handle := range earlier.Handles {
			gone[handle.Key()] = handle
		}
	}
	for _, handle := range after.Handles {
		if _, kept := gone[handle.Key()]; kept {
			delete(gone, handle.Key())
			continue
		}
		tx.change.Handles = append(tx.change.Handles, store.HandleWrite{Handle: handle, Identity: after.ID})
	}
	for _, key := range sortedKeys(gone) {
		tx.change.Handles = append(tx.change.Handles, store.HandleWrite{Handle: gone[key], Identity: after.ID, Removed: true})
	}
}

// Genesis is what a house is born with.
type Genesis struct {
	Files directory.Files
	// Sample marks the house for ever as one of the sample organisation.
	Sample bool
	// OperatingSystemUser is who founds it at the host's command line.
	OperatingSystemUser string
}

// PowerDuration is how long the powers last that a house is born with.
const PowerDuration = 90 * countersign.Day

// Found makes an empty database a house: its organisation, its policy set, and
// the first holders of its powers, in one transaction. A database that has a
// house already is refused.
func (d *Desk) Found(ctx context.Context, genesis Genesis) error {
	if _, err := d.Store.House(ctx); err == nil {
		return countersign.Errorf(countersign.Conflict, "founded-already", "This database holds a house already; its organisation is changed through it, not by files.")
	} else if countersign.KindOf(err) != countersign.NotFound {
		return err
	}
	wanted, problems := directory.Parse(genesis.Files.Directory)
	if len(problems) > 0 {
		return problemsError("malformed-directory", problems)
	}
	policies := make([]policy.File, len(genesis.Files.Policies))
	for i, file := range genesis.Files.Policies {
		policies[i] = policy.File(file)
	}
	set, wrong := policy.Load(policies, d.Zones)
	if len(wrong) > 0 {
		return problemsError("malformed-policy", wrong)
	}
	for _, result := range set.Test() {
		if len(result.Failures) > 0 {
			return countersign.Errorf(countersign.Invalid, "policy-test-failed", "%s:%d: the test %q of %s fails: %s", result.File, result.Line, result.Name, result.Type, strings.Join(result.Failures, "; "))
		}
	}
	if !hasPower(wanted, PowerAdministrator) {
		return countersign.Errorf(countersign.Invalid, "no-administrator", "The directory files name no administrators: under `powers:`, give `administrator` two people, or nobody could ever change the directory.")
	}
	tx, err := d.begin(ctx, countersign.SystemHost)
	if err != nil {
		return err
	}
	difference, err := directory.Compare(store.Directory{}, wanted, tx.occasion.Mint)
	if err != nil {
		return err
	}
	tx.occasion.PolicySet = set.Digest()
	founded := &workflow.HouseFounded{Subject: &workflow.Founder{OperatingSystemUser: genesis.OperatingSystemUser}}
	founded.Change.Name, founded.Change.Sample = genesis.Files.Name, genesis.Sample
	tx.put(&countersign.House{Version: 1, Name: genesis.Files.Name, Founded: tx.now(), Sample: genesis.Sample}, 0)
	tx.events = append(tx.events, countersign.Event{Stream: countersign.StreamHouse, Payload: founded})
	if err := tx.activate(ctx, set, nil); err != nil {
		return err
	}
	if problems := d.checkPolicies(set, worldOf(difference)); len(problems) > 0 {
		return countersign.Errorf(countersign.Invalid, "malformed-organisation", "%s", strings.Join(problems, "\n")).With(problems)
	}
	if err := tx.record(ctx, difference.Changes); err != nil {
		return err
	}
	if err := tx.grantPowers(difference); err != nil {
		return err
	}
	if err := tx.commit(ctx); err != nil {
		return err
	}
	return d.Refresh(ctx)
}

func hasPower(organisation *directory.Organisation, name string) bool {
	return slices.ContainsFunc(organisation.Powers, func(power directory.Power) bool { return power.Name == name })
}

// grantPowers opens the grants of the first holders of powers. They are carried
// out and read back like any other.
func (tx *transaction) grantPowers(difference directory.Difference) error {
	known := worldOf(difference)
	for _, power := range difference.Powers {
		if err := tx.grantPower(known, known.entitlements[power.Entitlement], countersign.FromGenesis, power.Holders); err != nil {
			return err
		}
	}
	return nil
}

// grantPower opens grants of a power that nobody asked for.
func (tx *transaction) grantPower(known *snapshot, power *countersign.Entitlement, origin countersign.Origin, holders []countersign.IdentityID) error {
	step, err := tx.desk.firstStep(known.systems[power.System])
	if err != nil {
		return err
	}
	for _, holder := range holders {
		outcome, err := workflow.OpenUnasked(tx.occasion, workflow.UnaskedGrant{
			Origin: origin, Holder: holder, Entitlement: power.ID, Definition: power.Definition, System: power.System, Step: step, Duration: PowerDuration,
		})
		if err != nil {
			return err
		}
		tx.write(outcome, nil)
	}
	return nil
}

// Start makes this replica refuse what is ending or may hold nothing, before it
// answers its first check.
func (d *Desk) Start(ctx context.Context) error {
	if err := d.Refresh(ctx); err != nil {
		return err
	}
	if known := d.known.Load(); known != nil {
		d.stopInactive(slices.Collect(maps.Values(known.identities)))
	}
	return d.followEnding(ctx)
}
