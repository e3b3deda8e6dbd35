// Package source asks what a ticket says: a built-in register or a house's own
// ticket system, over HTTP.
//
// It imports the root package only and keeps nothing: who asks keeps the bytes
// as they were fetched. A source is asked once for each question and never
// believed beyond what it says: an answer that its settings do not foresee is no
// answer.
package source

import (
	"context"

	"github.com/countersign/countersign"
)

// Ticket is what a source said of one key.
type Ticket struct {
	Key   string
	Title string
	// Open tells an open ticket from a closed one; State is the source's own word
	// for it.
	Open  bool
	State string
	// OpenedBy and Assignee are the source's own names; "" where unknown.
	OpenedBy string
	Assignee string
	// Bytes is the answer exactly as it was fetched, at most 256 KiB; From says
	// where it came from, without credentials.
	Bytes []byte
	From  string
}

// Source answers questions about tickets. A key that is not of its form is an
// Invalid error (reason "malformed-ticket-key"); one that it does not know is
// NotFound ("no-such-ticket"). A source that cannot be reached, takes too long
// or answers nonsense is Unavailable ("source-unavailable"), and the sentence
// says which source and why, without secrets.
type Source interface {
	Ticket(ctx context.Context, key string) (*Ticket, error)
}

// Malformed is the error for a key that no ticket of the source can have; form
// says what one looks like.
func Malformed(source, key, form string) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-ticket-key", "%q is not the key of a ticket in the source %s: %s.", countersign.Clip(key), source, form)
}

// Missing is the error for a key that the source does not know.
func Missing(source, key string) *countersign.Error {
	return countersign.Errorf(countersign.NotFound, "no-such-ticket", "The source %s has no ticket %s.", source, countersign.Clip(key))
}

// Unavailable is the error for a source that gives no answer to rely on.
func Unavailable(source, why string) *countersign.Error {
	return countersign.Errorf(countersign.Unavailable, "source-unavailable", "The source %s gives no answer to rely on: %s.", source, why)
}
