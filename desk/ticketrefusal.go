package desk

import (
	"context"
	"encoding/json"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// A ticket that asks for what cannot be asked for is no request, and so no event.
// It is an item of work: first to be written into the ticket, then parked until
// somebody looks, or the ticket opens a request after all.

// ticketRefusal is why a ticket does not do what somebody wanted by it.
type ticketRefusal struct {
	Ticket  countersign.TicketRef `json:"ticket"`
	Reason  string                `json:"reason"`
	Because string                `json:"because"`
}

func refusalKey(ticket string) string  { return "ticket/" + ticket }
func guardTicket(ticket string) string { return "ticket:" + ticket }

// refuseTicket keeps why a ticket was refused, to be written into it. What was
// refused for the same reason before is not written again. What is nobody's fault
// is an error: the ticket system is to send it again.
func (d *Desk) refuseTicket(ctx context.Context, ticket *countersign.TicketRef, cause error) (*HeardTicket, error) {
	switch countersign.KindOf(cause) {
	case countersign.Unavailable, countersign.Internal, countersign.Unauthenticated, countersign.TooMany:
		return nil, cause
	case countersign.Conflict:
		if countersign.ReasonOf(cause) == "changed-meanwhile" {
			return nil, cause
		}
	case countersign.Invalid, countersign.Refused, countersign.NotFound, countersign.Moved, countersign.TooLarge:
	}
	refusal := ticketRefusal{Ticket: *ticket, Reason: countersign.ReasonOf(cause), Because: cause.Error()}
	content, err := countersign.Canonical(refusal)
	if err != nil {
		return nil, err
	}
	digest := countersign.DigestBytes("ticket-refusal", content)
	key := refusalKey(ticket.Name())
	err = d.attempt(ctx, countersign.SystemDelivery, func(tx *transaction) error {
		if err := tx.move(ctx, guardTicket(ticket.Name())); err != nil {
			return err
		}
		before, err := tx.read.Work(ctx, key)
		switch {
		case err == nil && before.Ref == string(digest):
			return nil
		case err != nil && countersign.KindOf(err) != countersign.NotFound:
			return err
		}
		tx.change.Contents = append(tx.change.Contents, store.Content{Digest: digest, Bytes: content})
		tx.change.Work = append(tx.change.Work, store.WorkWrite{
			Work: store.Work{Key: key, Kind: store.TicketWork, Ref: string(digest), DueAt: tx.now()}, Attempt: store.AnyAttempt,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &HeardTicket{Outcome: "refused", Reason: refusal.Reason, Detail: refusal.Because}, nil
}

// refusalOf reads why a ticket was refused.
func (d *Desk) refusalOf(ctx context.Context, work store.Work) (*ticketRefusal, error) {
	content, err := d.Store.Content(ctx, countersign.Digest(work.Ref))
	if err != nil {
		return nil, err
	}
	refusal := new(ticketRefusal)
	return refusal, json.Unmarshal(content, refusal)
}
