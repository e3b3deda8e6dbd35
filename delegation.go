package countersign

import "slices"

// Delegation lets somebody decide in a person's place, for a time. It gives only
// what the person stands for by a rule; what is delegated is not delegated on.
type Delegation struct {
	ID      DelegationID `json:"id"`
	Version int64        `json:"version"`
	From    IdentityID   `json:"from"`
	To      IdentityID   `json:"to"`
	Starts  Instant      `json:"starts"`
	Ends    Instant      `json:"ends"`
	// Types are the request types that it is for; none means all.
	Types  []string `json:"types,omitempty"`
	Reason string   `json:"reason"`
	// EndedAt is set when the person took it back before its end.
	EndedAt Instant `json:"ended_at,omitempty"`
}

// End is when the delegation stops to count.
func (d *Delegation) End() Instant { return Earliest(d.Ends, d.EndedAt) }

// Overlaps reports whether the delegation was in force at any time from since to
// now, both included.
func (d *Delegation) Overlaps(since, now Instant) bool { return d.Starts <= now && d.End() > since }

// Covers reports whether the delegation is for requests of the type.
func (d *Delegation) Covers(requestType string) bool {
	return len(d.Types) == 0 || slices.Contains(d.Types, requestType)
}

func (d *Delegation) RowStream() Stream { return Stream(d.ID) }
func (d *Delegation) RowKey() string    { return string(d.ID) }
func (d *Delegation) RowVersion() int64 { return d.Version }
