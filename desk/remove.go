package desk

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Access that nobody asked for is taken away because somebody who answers for the
// system names it. It waits for no approval, is tried without end, and its finding
// closes with what was read back.

// RemoveFound asks for the access of a finding to be taken away from its target.
func (d *Desk) RemoveFound(ctx context.Context, caller Caller, key Key, id countersign.FindingID, reason string) error {
	if err := checkReason(reason); err != nil {
		return err
	}
	if strings.TrimSpace(reason) == "" {
		return countersign.Errorf(countersign.Invalid, "reason-missing", "A removal needs a reason: it stays on the record.").At("/reason")
	}
	_, err := d.command(toStop(ctx), caller, key, func(tx *transaction) (string, error) {
		finding, err := tx.seenFinding(ctx, caller, id)
		if err != nil {
			return "", err
		}
		system := tx.directory.systems[finding.System]
		if !answersFor(system, caller.Identity) && !tx.power(caller.Identity, PowerAdministrator) {
			return "", countersign.Errorf(countersign.Refused, "not-the-owner", "Only who answers for %s, or an administrator, has access there taken away.", system.Name)
		}
		if tx.match != nil {
			if err := tx.match(finding.Version); err != nil {
				return "", err
			}
		}
		if err := refuseRemoval(finding); err != nil {
			return "", err
		}
		asked := &workflow.RemovalAsked{Reason: &workflow.Reason{Text: reason}}
		asked.Change.By, asked.Change.Intent = caller.Identity, tx.occasion.Mint.Intent()
		asked.Change.ByHand = finding.Credential == "" && !d.removes(system.Connector)
		asked.Change.Told = []countersign.IdentityID{system.Owner, system.SecondOwner}
		if err := tx.finding(finding, id, asked); err != nil {
			return "", err
		}
		if !asked.Change.ByHand {
			after := &countersign.Finding{ID: id, Removal: &countersign.Removal{At: tx.now()}}
			work := store.Work{Key: store.RemovalKey(after), Kind: store.DeliverWork, Ref: string(id), DueAt: tx.now()}
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: store.AnyAttempt})
		}
		return string(id), nil
	})
	return err
}

// refuseRemoval says why nothing can be taken away for a finding.
func refuseRemoval(finding *countersign.Finding) error {
	switch {
	case finding.State != countersign.FindingOpen:
		return countersign.Errorf(countersign.Conflict, "finding-closed", "The finding %s is closed already.", finding.ID)
	case finding.Removal != nil:
		return countersign.Errorf(countersign.Conflict, "removal-asked", "Its removal was asked for at %s already.", finding.Removal.At)
	case finding.Grant != "":
		return countersign.Errorf(countersign.Conflict, "revoke-the-grant", "It bears the mark of the grant %s: revoke that, and what bears its mark goes with it.", finding.Grant)
	}
	switch finding.Kind {
	case countersign.OutOfBandFinding:
		return nil
	case countersign.OrphanedFinding:
		return countersign.Errorf(countersign.Conflict, "nothing-to-remove", "This is about an account, and accounts of others are never deleted: what it may do is a finding of its own.")
	case countersign.LostFinding, countersign.UnownedFinding:
	}
	return countersign.Errorf(countersign.Conflict, "nothing-to-remove", "The finding %s is not about access that nobody asked for.", finding.ID)
}

// prepareRemoval turns claimed work into the task of a connector. Nil means that
// there is nothing to take away any more.
func (d *Desk) prepareRemoval(ctx context.Context, work store.Work) (*Delivery, error) {
	var delivery *Delivery
	err := d.attempt(ctx, countersign.SystemTimer, func(tx *transaction) error {
		delivery = nil
		finding, err := tx.read.Finding(ctx, countersign.FindingID(work.Ref))
		if err != nil {
			return err
		}
		if finding.State != countersign.FindingOpen || finding.Removal == nil {
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true})
			return nil
		}
		system := tx.directory.systems[finding.System]
		delivery = &Delivery{
			Work: work, Connector: system.Connector, finding: finding.ID,
			Intent: countersign.Intent{ID: finding.Removal.Intent, Operation: countersign.RevokeOperation, Credential: finding.Credential},
			Task: connector.Task{
				Intent: finding.Removal.Intent, Attempt: work.Attempt, Credential: finding.Credential, Holder: finding.Holder, HolderName: tx.directory.nameOf(finding.Holder),
				System: system.ID, SystemName: system.Name, Resource: finding.Resource, Entitlement: finding.Entitlement, Settings: system.Settings,
				Deadline: work.ClaimedAt.Add(OperationTime),
			},
		}
		if finding.Credential == "" {
			delivery.Task.Principal = finding.Principal
		}
		if step, err := d.firstStep(system); err == nil {
			delivery.Task.Action = step.Action
		}
		return nil
	})
	if err != nil {
		return nil, late(err)
	}
	return delivery, nil
}

// observeRemoval closes a finding with what was read back.
func (d *Desk) observeRemoval(ctx context.Context, delivery *Delivery, observation countersign.Observation) error {
	return late(d.attempt(ctx, countersign.SystemDelivery, func(tx *transaction) error {
		finding, err := tx.read.Finding(ctx, delivery.finding)
		if err != nil {
			return err
		}
		tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: delivery.Work, Attempt: delivery.Work.Attempt, Delete: true})
		if finding.State != countersign.FindingOpen {
			return nil
		}
		removed := &workflow.FindingRemoved{Facts: &workflow.ReadBack{By: observation.By}}
		if observation.Residual > 0 {
			removed.Facts.By += fmt.Sprintf("; what it handed out works until %s", tx.now().Add(observation.Residual))
		}
		removed.Change.Attempt = delivery.Work.Attempt
		return tx.finding(finding, finding.ID, removed)
	}))
}

// tryAgain puts an operation off that did not end in what was asked.
func (tx *transaction) tryAgain(work store.Work, cause error, after countersign.Seconds) {
	work.Trouble = troubleOf(cause)
	work.Reported = false
	work.DueAt = tx.now().Add(max(backoff(work.Attempt), after))
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: work.Attempt})
}

// RemovalView is what somebody asked to be taken away.
type RemovalView struct {
	By     Ref                 `json:"by"`
	At     countersign.Instant `json:"at"`
	Reason string              `json:"reason"`
	// ByHand says that the connector cannot: people do it on the target.
	ByHand bool `json:"by_hand"`
	// ReadBack is what was read from the target; Trouble what went wrong last, and
	// Attempts how often it was tried, while it is not gone.
	ReadBack string `json:"read_back,omitempty"`
	Trouble  string `json:"trouble,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
}

func (tx *transaction) removalView(finding *countersign.Finding) *RemovalView {
	removal := finding.Removal
	if removal == nil {
		return nil
	}
	return &RemovalView{By: tx.directory.ref(removal.By), At: removal.At, Reason: removal.Reason, ByHand: removal.ByHand, ReadBack: removal.ReadBack}
}

// closeUnlisted closes the findings of systems that no list will ever show again.
func (d *Desk) closeUnlisted(ctx context.Context, tx *transaction) error {
	because := map[countersign.SystemID]countersign.ClosedBecause{}
	query := store.FindingQuery{Limit: findingsAtOnce}
	for id, system := range tx.directory.systems {
		switch {
		case system.Retired:
			because[id] = countersign.ClosedRetired
		case d.inventory(system) == nil:
			because[id] = countersign.ClosedUnlisted
		default:
			continue
		}
		query.Systems = append(query.Systems, id)
	}
	for len(query.Systems) > 0 {
		open, err := d.Store.Findings(ctx, query)
		if err != nil || len(open) == 0 {
			return err
		}
		query.Before = open[len(open)-1].ID
		err = d.together(ctx, len(open), nil, func(tx *transaction, i int) error {
			closed := &workflow.FindingClosed{}
			closed.Change.Because = because[open[i].System]
			return tx.closeFinding(ctx, open[i].ID, closed)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
