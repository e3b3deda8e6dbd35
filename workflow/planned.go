package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// RequestPlanned says what connectors would do with the answers that they are
// given, as they said it when the request was submitted or amended.
type RequestPlanned struct {
	Change RequestPlannedChange `json:"change"`
	Facts  *PlannedValue        `json:"facts"`
}

// RequestPlannedChange keeps the digest, also when the words are erased.
type RequestPlannedChange struct {
	Effects countersign.Digest `json:"effects"`
}

// PlannedValue holds the words, which name people.
type PlannedValue struct {
	Effects []string `json:"effects"`
}

func (RequestPlanned) EventKind() string { return "request.planned@1" }

func init() { Registry.Register(&RequestPlanned{}) }

// planned records the effects where they are other than they were.
func (f *folding) planned(effects []string) error {
	r := f.outcome.Request
	if slices.Equal(effects, r.Effects) {
		return nil
	}
	digest, err := countersign.DigestOf("effects", effects)
	if err != nil {
		return err
	}
	return f.request(r.ID, &RequestPlanned{RequestPlannedChange{digest}, &PlannedValue{effects}})
}
