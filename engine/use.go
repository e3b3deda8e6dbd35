package engine

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// watched are due grants whose end depends on what others say.
type watched struct {
	works  []store.Work
	grants []*countersign.Grant
}

// apart takes the grants out that a target or a source must be asked about. One
// whose end has come needs no asking, and one that cannot be read gets none.
func (e *Engine) apart(ctx context.Context, works []store.Work) (plain []store.Work, asked watched) {
	watching := map[string]*countersign.Grant{}
	for _, grant := range e.due(ctx, works) {
		if ended := grant.Until != 0 && e.now() >= grant.Until; !ended && (grant.Terms.Has(countersign.Unused) || grant.Terms.Has(countersign.WhenTicketClosed)) {
			watching[string(grant.ID)] = grant
		}
	}
	for _, work := range works {
		if grant := watching[work.Ref]; grant != nil {
			asked.works, asked.grants = append(asked.works, work), append(asked.grants, grant)
		} else {
			plain = append(plain, work)
		}
	}
	return plain, asked
}

// due reads the grants together, and one by one where one of them cannot be read.
func (e *Engine) due(ctx context.Context, works []store.Work) []*countersign.Grant {
	var questions store.Questions
	for _, work := range works {
		questions.GrantIDs = append(questions.GrantIDs, countersign.GrantID(work.Ref))
	}
	answers, err := e.Store.Look(ctx, questions)
	if err == nil {
		return answers.GrantsByID
	}
	var grants []*countersign.Grant
	for _, id := range questions.GrantIDs {
		if grant, err := e.Store.Grant(ctx, id); err == nil {
			grants = append(grants, grant)
		}
	}
	return grants
}

// answer is what was heard of one grant.
type answer struct {
	grant countersign.GrantID
	heard func(*desk.Heard)
}

// hear asks targets and sources, all at once and for a short time. A grant of
// which nobody answers is looked at again later.
func (e *Engine) hear(ctx context.Context, grants []*countersign.Grant) map[countersign.GrantID]desk.Heard {
	ctx, cancel := context.WithTimeout(ctx, usePatience)
	defer cancel()
	asking := map[string][]*countersign.Grant{}
	var ticketed []*countersign.Grant
	for _, grant := range grants {
		if grant.Terms.Has(countersign.Unused) {
			asking[grant.Step.Connector] = append(asking[grant.Step.Connector], grant)
		}
		if grant.Terms.Has(countersign.WhenTicketClosed) {
			ticketed = append(ticketed, grant)
		}
	}
	// With room for every answer nobody who is late waits for a reader.
	answers, finished := make(chan answer, 2*len(grants)), make(chan struct{}, len(asking)+1)
	for name, grants := range asking {
		go func() {
			e.askUse(ctx, name, grants, answers)
			finished <- struct{}{}
		}()
	}
	go func() {
		e.askTickets(ctx, ticketed, answers)
		finished <- struct{}{}
	}()
	for left := len(asking) + 1; left > 0; {
		select {
		case <-ctx.Done():
			left = 0
		case <-finished:
			left--
		}
	}
	all := map[countersign.GrantID]desk.Heard{}
	for {
		select {
		case answer := <-answers:
			heard := all[answer.grant]
			answer.heard(&heard)
			all[answer.grant] = heard
		default:
			return all
		}
	}
}

// askUse asks the targets of one connector, one after the other.
func (e *Engine) askUse(ctx context.Context, name string, grants []*countersign.Grant, answers chan<- answer) {
	hands, err := e.Connectors.Find(name)
	if err != nil {
		return
	}
	target, tells := hands.(connector.LastUse)
	if !tells {
		return
	}
	for _, grant := range grants {
		var latest countersign.Instant
		known := true
		for _, credential := range grant.Credentials {
			at, err := target.LastUsed(ctx, credential.ID)
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
			answers <- answer{grant.ID, func(heard *desk.Heard) { heard.UseKnown, heard.LastUsed = true, latest }}
		}
	}
}

// askTickets asks the sources of tickets, one after the other.
func (e *Engine) askTickets(ctx context.Context, grants []*countersign.Grant, answers chan<- answer) {
	for _, grant := range grants {
		closed, err := e.Desk.ClosedTicket(ctx, grant)
		e.logged(ctx, "ticket", err)
		if ctx.Err() != nil {
			return
		}
		if err == nil && closed != "" {
			answers <- answer{grant.ID, func(heard *desk.Heard) { heard.ClosedTicket = closed }}
		}
	}
}
