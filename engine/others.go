package engine

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/faultpoint"
)

// byHandAgain is how long the house waits before it looks again whether people took
// away what its connector cannot: looking reads the whole target.
const byHandAgain = countersign.Hour

// carryOutOnOthers does an operation on access that others gave: it bears no mark of
// ours, so the target is told nothing but to take it away. A later end is kept here
// alone, once the target was seen to hold the access still.
func carryOutOnOthers(ctx context.Context, hands connector.Connector, delivery *desk.Delivery) (countersign.Observation, error) {
	task, description := delivery.Task, hands.Describe()
	gives := delivery.Intent.Operation == countersign.ApplyOperation || delivery.Intent.Operation == countersign.ExtendOperation
	remover, can := hands.(connector.Remover)
	if !gives && can {
		if err := remover.Remove(ctx, task); err != nil {
			return countersign.Observation{}, err
		}
		faultpoint.Reach(faultpoint.AfterRevoke)
	}
	reading, err := connector.HeldByOthers(ctx, hands, task)
	switch {
	case err != nil:
		return countersign.Observation{}, err
	case gives && !reading.Present:
		return countersign.Observation{}, &connector.Failure{Kind: connector.Rejected, Message: "the target does not hold any more what is to be kept: " + reading.How}
	case !gives && reading.Present && !can:
		return countersign.Observation{}, &connector.Failure{
			Kind: connector.Rejected, After: byHandAgain,
			Message: "the connector " + description.Name + " cannot take away what others gave: take " + task.Entitlement + " from " + task.Principal + " on " + task.SystemName + " by hand",
		}
	case !gives && reading.Present:
		return countersign.Observation{}, &connector.Failure{Kind: connector.Transient, Message: "the read-back shows that the access is still there"}
	}
	observation := countersign.Observation{Present: reading.Present, Reference: reading.Reference, By: description.Name + ", " + reading.How}
	if delivery.Intent.Operation == countersign.RevokeOperation {
		observation.Residual = description.Residual
	}
	return observation, nil
}
