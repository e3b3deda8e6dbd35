package desk

import (
	"context"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/reconcile"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// A signed baseline is adopted part by part, by whoever reads the target next: each
// part is one commit with what became of it, so that a reader that died is followed by
// one that goes on where it stopped. Only what was signed and is still there is
// adopted; whatever else the target holds stays a finding.

// adoptBaseline adopts what is still to be of a signed baseline, and returns how much
// it was, and what differs without that.
func (d *Desk) adoptBaseline(ctx context.Context, r *Reconciling, differences []reconcile.Difference) (int, []reconcile.Difference, error) {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return 0, nil, err
	}
	before, err := tx.reconciliationOf(ctx, r.system.ID)
	if err != nil || before == nil || !before.Baseline.Pending() {
		return 0, differences, err
	}
	list, err := d.keptBaseline(ctx, before.Baseline.List)
	if err != nil {
		return 0, nil, err
	}
	there := make(map[[3]string]int, len(differences))
	for i, difference := range differences {
		if difference.Kind == countersign.OutOfBandFinding && difference.Credential == "" {
			there[[3]string{difference.Principal, difference.Resource, difference.Entitlement}] = i
		}
	}
	adopted, gone, seen := 0, map[int]bool{}, r.List()
	for part := before.Baseline.Done; part < len(list.Parts); part++ {
		pairs, err := d.keptPairs(ctx, list.Parts[part])
		if err != nil {
			return 0, nil, err
		}
		var now []int
		err = d.commitReading(ctx, r, func(tx *transaction) error {
			now, err = tx.adoptPart(ctx, r, seen, part, pairs, differences, there)
			return err
		})
		if err != nil {
			return 0, nil, err
		}
		for _, i := range now {
			gone[i] = true
		}
		adopted += len(now)
	}
	rest := make([]reconcile.Difference, 0, len(differences)-len(gone))
	for i, difference := range differences {
		if !gone[i] {
			rest = append(rest, difference)
		}
	}
	return adopted, rest, nil
}

// adoptPart opens the grants of one part, and says what became of it.
func (tx *transaction) adoptPart(ctx context.Context, r *Reconciling, list countersign.Digest, part int, pairs []BaselinePair, differences []reconcile.Difference, there map[[3]string]int) ([]int, error) {
	before, err := tx.reconciliationOf(ctx, r.system.ID)
	if err != nil {
		return nil, err
	}
	step, err := tx.desk.firstStep(r.system)
	if err != nil {
		return nil, err
	}
	open, left := make([]BaselinePair, 0, len(pairs)), 0
	var holders []countersign.IdentityID
	seen := map[countersign.IdentityID]bool{}
	for _, pair := range pairs {
		if pair.Left != "" {
			continue
		}
		if i, still := there[pair.listed()]; !still || differences[i].Holder != pair.Holder {
			left++
			continue
		}
		open = append(open, pair)
		if holder := tx.directory.identities[pair.Holder]; holder != nil {
			for _, id := range holder.SamePerson() {
				if !seen[id] {
					seen[id] = true
					holders = append(holders, id)
				}
			}
		}
	}
	taken := map[heldPair]bool{}
	if len(holders) > 0 {
		// Whatever else is being decided for one of them must look again.
		if err := tx.bump(ctx, holders...); err != nil {
			return nil, err
		}
		if taken, err = tx.takenBy(ctx, r.system.ID, holders); err != nil {
			return nil, err
		}
	}
	removing, err := tx.desk.removing(ctx, r.system.ID)
	if err != nil {
		return nil, err
	}
	// The target may have taken long to list: who left meanwhile gets nothing.
	standing := standings{tx.directory, tx.now()}
	var adopted []int
	for _, pair := range open {
		item, err := tx.directory.rightOf(pair.Entitlement)
		held := heldPair{pair.Holder, pair.Entitlement}
		if err != nil || item.entitlement.Retired || item.entitlement.EligibleFor != "" || item.system.Retired || item.system.ID != r.system.ID || taken[held] || removing[pair.listed()] || standing.leftBecause(pair) != "" {
			left++
			continue
		}
		taken[held] = true
		holder := tx.directory.identities[pair.Holder]
		tx.relyOn(holder, item.entitlement, item.system)
		if !holder.Human() {
			tx.relyOn(tx.directory.identities[holder.Owner])
		}
		baseline := before.Baseline
		until := baseline.Until
		if most := item.entitlement.MaxDuration; most != 0 {
			until = countersign.Earliest(until, baseline.SignedAt.Add(most))
		}
		outcome, err := workflow.Adopt(tx.occasion, workflow.GrantAdoptedChange{
			Baseline: baseline.Proposal, List: list, Holder: pair.Holder, Entitlement: pair.Entitlement, System: r.system.ID, Step: step,
			From: baseline.SignedAt, Until: until, Definition: item.entitlement.Definition, Resource: pair.Resource, Right: pair.Right,
			Terms: countersign.GrantTerms{Remind: baselineReminder, EndsWhen: []countersign.EndCondition{{Kind: countersign.OwnerLeft}, {Kind: countersign.SystemRetired}}},
		}, pair.Principal)
		if err != nil {
			return nil, err
		}
		tx.write(outcome, nil)
		adopted = append(adopted, there[pair.listed()])
	}
	progressed := &workflow.BaselineAdopted{}
	progressed.Change.Part, progressed.Change.Adopted, progressed.Change.Left = part, len(adopted), left
	return adopted, tx.reconciled(before, progressed)
}

// takenBy are the entitlements of the system that grants of the holders give, or may
// still give.
func (tx *transaction) takenBy(ctx context.Context, system countersign.SystemID, holders []countersign.IdentityID) (map[heldPair]bool, error) {
	taken := map[heldPair]bool{}
	query := store.GrantQuery{System: system, Holders: holders, States: unended, Limit: grantPage}
	for {
		grants, err := tx.read.Grants(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, grant := range grants {
			taken[heldPair{grant.Holder, grant.Entitlement}] = true
		}
		if len(grants) < grantPage {
			return taken, nil
		}
		query.Before = grants[len(grants)-1].ID
	}
}

// keeps says what approving a later end of adopted access does.
func keeps(grant *countersign.Grant, item right, until countersign.Instant) string {
	before := "Nobody approved it before: a baseline of the system took it on the record."
	if grant.Request != "" {
		before = "It was given by hand once, and a request was approved for it since."
	}
	return fmt.Sprintf("The access %s of %s on %s stays as it is on the target, until %s at the latest. %s", item.entitlement.Name, grant.Adopted.Principal, item.system.Name, until, before)
}

// readNow makes a system due at once, unless it is being read.
func (tx *transaction) readNow(ctx context.Context, system countersign.SystemID) error {
	work, err := tx.desk.Store.Work(ctx, reconcileKey(system))
	attempt := work.Attempt
	switch {
	case countersign.KindOf(err) == countersign.NotFound:
		work = store.Work{Key: reconcileKey(system), Kind: store.ReconcileWork, Ref: string(system)}
		attempt = store.AnyAttempt
	case err != nil:
		return err
	case work.LeaseUntil > tx.now() && !work.Reported:
		return nil
	}
	work.DueAt = tx.now()
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: attempt})
	return nil
}
