package countersign

import "encoding/json"

// Batch is one asking for many: each item becomes a request of its own, or a
// refusal of its own.
type Batch struct {
	ID      BatchID    `json:"id"`
	Version int64      `json:"version"`
	By      IdentityID `json:"by"`
	At      Instant    `json:"at"`
	Reason  string     `json:"reason"`
	// Package is the name of the access package that was asked for; "" where the
	// entitlements were named.
	Package  string          `json:"package,omitempty"`
	Duration Seconds         `json:"duration,omitempty"`
	Answers  json.RawMessage `json:"answers"`
	Items    []BatchItem     `json:"items"`
}

// BatchItem is one entitlement for one beneficiary, and what became of it.
type BatchItem struct {
	Beneficiary IdentityID    `json:"beneficiary"`
	Entitlement EntitlementID `json:"entitlement"`
	Request     RequestID     `json:"request,omitempty"`
	// Refused is the stable reason of a refusal, Because its sentence.
	Refused string `json:"refused,omitempty"`
	Because string `json:"because,omitempty"`
}

// Done reports whether the item has its result.
func (i BatchItem) Done() bool { return i.Request != "" || i.Refused != "" }

func (b *Batch) RowStream() Stream { return Stream(b.ID) }
func (b *Batch) RowKey() string    { return string(b.ID) }
func (b *Batch) RowVersion() int64 { return b.Version }
