package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/workflow"
)

// tickets are the answers of sources to one command. Each source is asked once,
// also where the command is judged again.
type tickets map[policy.TicketQuery]ticket

type ticket struct {
	fact   policy.TicketFact
	answer *source.Ticket
}

// look asks a source of the set for one ticket. That it gives no answer is a
// fact, too.
func (t tickets) look(ctx context.Context, desk *Desk, set *policy.Set, query policy.TicketQuery) (ticket, error) {
	if known, asked := t[query]; asked {
		return known, nil
	}
	answer, err := desk.lookUp(ctx, set, query.Source, query.Key)
	found := ticket{fact: policy.TicketFact{Key: query.Key}, answer: answer}
	switch kind := countersign.KindOf(err); {
	case err == nil:
		found.fact.Found, found.fact.Open = true, answer.Open
	case kind == countersign.NotFound:
	case kind == countersign.Unavailable:
		found.fact.Unreachable = err.Error()
	default:
		return ticket{}, err
	}
	t[query] = found
	return found, nil
}

// ClosedTicket returns the open ticket that the request of the grant named, once
// its source says that it is closed; "" while it is open, or where none was named.
func (d *Desk) ClosedTicket(ctx context.Context, grant *countersign.Grant) (string, error) {
	if grant.Request == "" {
		return "", nil
	}
	request, err := d.Store.Request(ctx, grant.Request)
	if err != nil {
		return "", err
	}
	pinned, err := d.policySet(ctx, request.PolicySet)
	if err != nil {
		return "", err
	}
	for _, slot := range request.Evidence {
		if slot.Ticket != countersign.TicketOpen || slot.Due != countersign.DueAtRequest || slot.Record == "" {
			continue
		}
		ticket, err := d.lookUp(ctx, pinned, slot.VerifiedBy, slot.Record)
		if err != nil {
			return "", err
		}
		if !ticket.Open {
			return slot.Record, nil
		}
	}
	return "", nil
}

// lookUp asks the source with the name.
func (d *Desk) lookUp(ctx context.Context, set *policy.Set, name, key string) (*source.Ticket, error) {
	for _, info := range set.Sources() {
		if info.Name == name {
			asked, err := d.Source(info)
			if err != nil {
				return nil, err
			}
			return asked.Ticket(ctx, key)
		}
	}
	return nil, countersign.Errorf(countersign.Internal, "unknown-source", "the policy set has no source %q", name)
}

// ticketEvidence keeps what a source said, or the word of who asks where it gave
// no answer.
func (tx *transaction) ticketEvidence(found ticket) (*countersign.Evidence, error) {
	if found.answer == nil {
		declared, err := countersign.Canonical(map[string]any{"declared": found.fact.Key, "by": tx.occasion.Actor, "at": tx.now(), "because": found.fact.Unreachable})
		if err != nil {
			return nil, err
		}
		return tx.keep(declared, countersign.DeclaredSource, "")
	}
	state := countersign.TicketClosed
	if found.answer.Open {
		state = countersign.TicketOpen
	}
	return tx.keep(found.answer.Bytes, found.answer.From, "The ticket "+found.answer.Key+" exists and is "+string(state)+".")
}

// Fetch fills an evidence slot with what its source says of the ticket now.
func (d *Desk) Fetch(ctx context.Context, caller Caller, key Key, id countersign.RequestID, slotName string) error {
	asked, done, documents := tickets{}, activity{}, map[string]*source.Document{}
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		command := workflow.RequestCommand{Name: workflow.Fetch, Slot: slotName}
		if request.State == countersign.RequestCollecting {
			if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
				return command, workflow.RequestVerdict{}, err
			}
		}
		verdict, err := tx.verdict(ctx, request, s)
		if err != nil {
			return command, verdict, err
		}
		for _, slot := range request.Evidence {
			early := slot.Due == countersign.DueAtClosure && request.State != countersign.RequestClosing
			if slot.Name == slotName && slot.Kind == countersign.ActivityEvidence && !early {
				if command.Evidence, err = tx.activityEvidence(ctx, &done, request); err != nil {
					return command, verdict, err
				}
			}
			if slot.Name == slotName && slot.Attested() && !slot.Brought && !early {
				held, err := tx.fetchAttested(ctx, slot, documents)
				if err != nil {
					return command, verdict, err
				}
				command.Evidence = *held
				continue
			}
			if slot.Name != slotName || slot.Ticket == "" || early {
				continue // the law says why
			}
			pinned, err := d.policySet(ctx, request.PolicySet)
			if err != nil {
				return command, verdict, err
			}
			found, err := asked.look(ctx, d, pinned, policy.TicketQuery{Slot: slot.Name, Source: slot.VerifiedBy, Key: slot.Record})
			if err != nil {
				return command, verdict, err
			}
			if err := checkTicket(slot, found); err != nil {
				return command, verdict, err
			}
			held, err := tx.ticketEvidence(found)
			if err != nil {
				return command, verdict, err
			}
			command.Evidence = *held
		}
		return command, verdict, nil
	})
}

// fetchAttested gets a statement from where its verifier says that it lies, once
// for a command that is judged again, and checks it.
func (tx *transaction) fetchAttested(ctx context.Context, slot countersign.Slot, fetched map[string]*source.Document) (*countersign.Evidence, error) {
	info, _, err := tx.verifier(slot)
	if err != nil {
		return nil, err
	}
	document := fetched[info.URL]
	if document == nil {
		if info.URL == "" {
			return nil, countersign.Errorf(countersign.Refused, "no-such-source", "The verifier %s has no address any more: ask anew, and bring the statement.", info.Name)
		}
		if document, err = tx.desk.Document(ctx, info, slot.Record); err != nil {
			return nil, err
		}
		fetched[info.URL] = document
	}
	return tx.attested(slot, document.Bytes, document.From)
}

// checkTicket refuses a ticket that is not as the slot needs it. Of what was
// declared before, only that it exists is asked: it may be closed by now.
func checkTicket(slot countersign.Slot, found ticket) error {
	declared := slot.Held != nil && slot.Held.Declared()
	switch {
	case found.fact.Unreachable != "":
		return countersign.Errorf(countersign.Unavailable, policy.ReasonSourceUnavailable, "The ticket %s cannot be looked up now: %s", slot.Record, found.fact.Unreachable)
	case !found.fact.Found:
		return countersign.Errorf(countersign.Refused, policy.ReasonTicketNotFound, "The source %s has no ticket %s.", slot.VerifiedBy, slot.Record)
	case !declared && found.fact.Open != (slot.Ticket == countersign.TicketOpen):
		return countersign.Errorf(countersign.Conflict, policy.ReasonTicketState, "The ticket %s is not %s yet: it has to be, before it serves as the evidence %q.", slot.Record, slot.Ticket, slot.Name)
	}
	return nil
}
