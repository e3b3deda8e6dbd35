package engine

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
)

// unusedGrants are due grants that end when they go unused.
type unusedGrants struct {
	works  []store.Work
	grants []*countersign.Grant
}

// apart takes the grants out that a target must be asked about. One whose end has
// come needs no asking.
func (e *Engine) apart(ctx context.Context, works []store.Work) (plain []store.Work, unused unusedGrants) {
	for _, work := range works {
		grant, err := e.Store.Grant(ctx, countersign.GrantID(work.Ref))
		if ended := err == nil && grant.Until != 0 && e.now() >= grant.Until; err == nil && !ended && endsUnused(grant) {
			unused.works, unused.grants = append(unused.works, work), append(unused.grants, grant)
			continue
		}
		plain = append(plain, work)
	}
	return plain, unused
}

func endsUnused(grant *countersign.Grant) bool {
	for _, condition := range grant.Terms.EndsWhen {
		if condition.Kind == countersign.Unused {
			return true
		}
	}
	return false
}

type use struct {
	grant countersign.GrantID
	at    countersign.Instant
}

// lastUsed asks the targets, all at once and for a short time. A grant whose
// target does not answer is missing and is looked at again later.
func (e *Engine) lastUsed(ctx context.Context, grants []*countersign.Grant) map[countersign.GrantID]countersign.Instant {
	ctx, cancel := context.WithTimeout(ctx, usePatience)
	defer cancel()
	asking := map[string][]*countersign.Grant{}
	for _, grant := range grants {
		asking[grant.Step.Connector] = append(asking[grant.Step.Connector], grant)
	}
	// With room for every answer nobody who is late waits for a reader.
	answers, finished := make(chan use, len(grants)), make(chan struct{}, len(asking))
	for name, grants := range asking {
		go func() {
			e.ask(ctx, name, grants, answers)
			finished <- struct{}{}
		}()
	}
	used := map[countersign.GrantID]countersign.Instant{}
	for left := len(asking); left > 0; {
		select {
		case <-ctx.Done():
			left = 0
		case <-finished:
			left--
		}
	}
	for {
		select {
		case answer := <-answers:
			used[answer.grant] = answer.at
		default:
			return used
		}
	}
}

// ask asks the targets of one connector, one after the other.
func (e *Engine) ask(ctx context.Context, name string, grants []*countersign.Grant, answers chan<- use) {
	hands, err := e.Connectors.Find(name)
	if err != nil {
		return
	}
	activity, tells := hands.(connector.Activity)
	if !tells {
		return
	}
	for _, grant := range grants {
		var latest countersign.Instant
		known := true
		for _, credential := range grant.Credentials {
			at, err := activity.LastUsed(ctx, credential.ID)
			if err != nil {
				e.logged(ctx, "last used", err)
				known = false
			}
			latest = max(latest, at)
		}
		if ctx.Err() != nil {
			return
		}
		if known {
			answers <- use{grant.ID, latest}
		}
	}
}
