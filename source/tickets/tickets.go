// Package tickets is the source for the built-in register of tickets.
//
// It reaches the register only through what a remote one would offer: reading a
// ticket by its key. What it keeps as fetched are the bytes that the register's
// own endpoint answers.
package tickets

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/source"
	"github.com/countersign/countersign/target/tickets"
)

// Name is what answers of this source say that they are from.
const Name = "built-in tickets"

// Target is what the source needs of a register.
type Target interface {
	Ticket(ctx context.Context, key string) (*tickets.Ticket, error)
}

// Source implements source.Source on a register.
type Source struct{ target Target }

// New returns the source for the register.
func New(target Target) *Source { return &Source{target} }

// Ticket implements source.Source. Names are ids of identities; the register
// assigns tickets to nobody.
func (s *Source) Ticket(ctx context.Context, key string) (*source.Ticket, error) {
	ticket, err := s.target.Ticket(ctx, key)
	switch kind := countersign.KindOf(err); {
	case err == nil:
	case kind == countersign.Invalid:
		return nil, source.Malformed(Name, key, "it is INC, CHG or TASK, a hyphen and a number, as INC-1")
	case kind == countersign.NotFound:
		return nil, source.Missing(Name, key)
	default:
		return nil, source.Unavailable(Name, "the register cannot be read").Because(err)
	}
	var answer bytes.Buffer
	if err := json.NewEncoder(&answer).Encode(ticket); err != nil {
		return nil, source.Unavailable(Name, "the ticket cannot be written").Because(err)
	}
	return &source.Ticket{
		Key: ticket.Key, Title: ticket.Title, Open: ticket.State == tickets.Open, State: string(ticket.State),
		OpenedBy: string(ticket.OpenedBy), Bytes: answer.Bytes(), From: Name,
	}, nil
}
