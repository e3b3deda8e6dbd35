package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// ScheduleReconciliations makes every system due that can be read and never was, and
// closes what was found on those that cannot be read any more.
func (d *Desk) ScheduleReconciliations(ctx context.Context) error {
	tx, err := d.begin(ctx, countersign.SystemTimer)
	if err != nil {
		return err
	}
	if err := d.closeUnlisted(ctx, tx); err != nil {
		return err
	}
	var keys []string
	of := map[string]countersign.SystemID{}
	for id, system := range tx.directory.systems {
		if d.inventory(system) != nil {
			key := reconcileKey(id)
			keys, of[key] = append(keys, key), id
		}
	}
	slices.Sort(keys)
	for some := range slices.Chunk(keys, grantPage) {
		answers, err := d.Store.Look(ctx, store.Questions{Works: some})
		if err != nil {
			return err
		}
		for _, work := range answers.Works {
			delete(of, work.Key)
		}
	}
	for _, key := range keys {
		if id, missing := of[key]; missing {
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: store.Work{Key: key, Kind: store.ReconcileWork, Ref: string(id), DueAt: tx.now()}, Attempt: store.AnyAttempt})
		}
	}
	return late(tx.commit(ctx))
}

// ReconcileNow makes a system due at once: for who answers for it, and for
// administrators. While it is being read nothing changes.
func (d *Desk) ReconcileNow(ctx context.Context, caller Caller, name string) (*ReconciliationView, error) {
	var view *ReconciliationView
	err := d.attempt(ctx, countersign.Actor(caller.Identity), func(tx *transaction) error {
		system, err := tx.reconcilable(caller, name)
		if err != nil {
			return err
		}
		views, err := d.stand(ctx, []*countersign.System{system}, tx.now())
		if err != nil {
			return err
		}
		view = &views[0]
		return tx.readNow(ctx, system.ID)
	})
	return view, err
}

// reconcilable finds a system that the caller may have read.
func (tx *transaction) reconcilable(caller Caller, name string) (*countersign.System, error) {
	system := tx.directory.findSystem(name)
	if system == nil || !tx.seesFindings(caller, system) {
		return nil, notFound("system", name)
	}
	if system.Owner != caller.Identity && system.SecondOwner != caller.Identity && !tx.power(caller.Identity, PowerAdministrator) {
		return nil, countersign.Errorf(countersign.Refused, "not-the-owner", "Only who answers for %s, or an administrator, has it read at once.", system.Name)
	}
	if tx.desk.inventory(system) == nil {
		return nil, countersign.Errorf(countersign.Conflict, "no-inventory", "The connector %q of %s cannot list what its target holds: this system is looked after by hand.", system.Connector, system.Name)
	}
	return system, nil
}

// overdueSince counts the findings whose time has passed after from and not after to,
// and which stay open.
func overdueSince(from, to countersign.Instant, open, closing []*countersign.Finding) int {
	count := 0
	for _, finding := range open {
		if finding.Deadline > from && finding.Deadline <= to && !slices.Contains(closing, finding) {
			count++
		}
	}
	return count
}
