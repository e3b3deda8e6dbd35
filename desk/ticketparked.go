package desk

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// ParkedTicket is a ticket that waits for a person: it asked for what cannot be
// asked for, or could not be written to.
type ParkedTicket struct {
	System string `json:"system"`
	ID     string `json:"id"`
	Key    string `json:"key"`
	// Request is "" for a ticket that was refused.
	Request countersign.RequestID `json:"request,omitempty"`
	// Reason says why a ticket was refused; "" for one that could not be written to.
	Reason string              `json:"reason,omitempty"`
	Why    string              `json:"why"`
	Since  countersign.Instant `json:"since"`
}

// maySeeTickets refuses who has nothing to do with them.
func (d *Desk) maySeeTickets(caller Caller, powers ...string) error {
	if held, err := d.holdsAny(caller, powers...); held || err != nil {
		return err
	}
	return countersign.Errorf(countersign.Refused, "not-entitled-to-tickets", "An operator or administrator looks after tickets that wait for a person; an auditor sees them.")
}

// ParkedTickets lists the tickets that wait for a person, the oldest first.
func (d *Desk) ParkedTickets(ctx context.Context, caller Caller) ([]ParkedTicket, error) {
	if err := d.maySeeTickets(caller, PowerOperator, PowerAdministrator, PowerAuditor); err != nil {
		return nil, err
	}
	works, err := d.Store.Parked(ctx, store.TicketWork, mostParked)
	if err != nil {
		return nil, err
	}
	parked := make([]ParkedTicket, 0, len(works))
	for _, work := range works {
		one := ParkedTicket{Why: work.Trouble, Since: work.ParkedAt}
		var ticket *countersign.TicketRef
		if countersign.PrefixOf(work.Ref) == "req" {
			request, err := d.Store.Request(ctx, countersign.RequestID(work.Ref))
			if err != nil {
				return nil, err
			}
			one.Request, ticket = request.ID, request.Ticket
		} else {
			refusal, err := d.refusalOf(ctx, work)
			if err != nil {
				return nil, err
			}
			ticket, one.Reason = &refusal.Ticket, refusal.Reason
			if one.Why == "" {
				one.Why = refusal.Because
			}
		}
		one.System, one.ID, one.Key = ticket.System, ticket.ID, ticket.Key
		parked = append(parked, one)
	}
	return parked, nil
}

// RetryTickets has everything written that was given up, and returns how much: for
// an operator or administrator, when the cause is mended. What was refused and
// written stays.
func (d *Desk) RetryTickets(ctx context.Context, caller Caller) (int64, error) {
	if err := d.maySeeTickets(caller, PowerOperator, PowerAdministrator); err != nil {
		return 0, err
	}
	works, err := d.Store.Parked(ctx, store.TicketWork, mostParked)
	if err != nil {
		return 0, err
	}
	works = slices.DeleteFunc(works, func(work store.Work) bool { return work.Trouble == "" })
	err = d.settleNotices(ctx, works, func(tx *transaction, work store.Work) store.WorkWrite {
		// It keeps its attempts: an earlier one may have written it.
		again := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: tx.now(), Attempt: work.Attempt}
		return store.WorkWrite{Work: again, Attempt: work.Attempt}
	})
	return int64(len(works)), err
}

// DismissTicket takes a ticket off the list, refused or given up: for an operator or
// administrator who has looked. Saved again, a refused one is heard again; what was
// given up stays unsaid, as in a ticket that is there no more.
func (d *Desk) DismissTicket(ctx context.Context, caller Caller, system, id string) error {
	if err := d.maySeeTickets(caller, PowerOperator, PowerAdministrator); err != nil {
		return err
	}
	ticket := countersign.TicketRef{System: system, ID: id}
	var works []store.Work
	refusal, err := d.Store.Work(ctx, refusalKey(ticket.Name()))
	switch {
	case err == nil && refusal.ParkedAt != 0:
		works = append(works, refusal)
	case err != nil && countersign.KindOf(err) != countersign.NotFound:
		return err
	}
	requests, err := d.Store.Requests(ctx, store.RequestQuery{Ticket: ticket.Name(), Limit: 1})
	if err != nil {
		return err
	}
	if len(requests) > 0 {
		parked, err := d.Store.Parked(ctx, store.TicketWork, mostParked)
		if err != nil {
			return err
		}
		works = append(works, slices.DeleteFunc(parked, func(work store.Work) bool { return work.Ref != string(requests[0].ID) })...)
	}
	if len(works) == 0 {
		return countersign.Errorf(countersign.NotFound, "no-such-parked-ticket", "No ticket %s of %s waits for anybody.", countersign.Clip(id), countersign.Clip(system))
	}
	return d.settleNotices(ctx, works, func(_ *transaction, work store.Work) store.WorkWrite {
		return store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true}
	})
}
