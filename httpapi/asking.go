package httpapi

import (
	"encoding/base64"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// read turns what was sent into what desk is asked.
func (asking *Asking) read() (desk.Asking, error) {
	duration, err := durationOf(asking.Duration)
	read := desk.Asking{
		Type: asking.Type, Beneficiary: asking.Beneficiary, Entitlements: asking.Entitlements, Reason: asking.Reason,
		Duration: duration, Until: asking.Until, Answers: asking.Answers, Route: countersign.Digest(asking.Route),
	}
	if err != nil {
		return read, err
	}
	for i, one := range asking.Evidence {
		evidence, err := one.read(fmt.Sprintf("/evidence/%d", i))
		if err != nil {
			return read, err
		}
		read.Evidence = append(read.Evidence, evidence)
	}
	return read, nil
}

// longestDuration is a hundred years: no access lasts longer, and times stay
// numbers.
const longestDuration = int64(100 * 366 * countersign.Day)

// durationOf reads a duration that may be left out, but not be nothing or less.
func durationOf(seconds *int64) (countersign.Seconds, error) {
	switch {
	case seconds == nil:
		return 0, nil
	case *seconds < 1:
		return 0, countersign.Errorf(countersign.Invalid, "malformed-duration", "A duration is a whole number of seconds, at least 1; it is %d here.", *seconds).At("/duration")
	}
	if *seconds > longestDuration {
		return 0, countersign.Errorf(countersign.Invalid, "malformed-duration", "A duration is at most a hundred years.").At("/duration")
	}
	return countersign.Seconds(*seconds), nil
}

// read returns the bytes of evidence, which stands at the place.
func (evidence *EvidenceContent) read(at string) (desk.EvidenceContent, error) {
	read := desk.EvidenceContent{Slot: evidence.Slot, Content: []byte(evidence.Text)}
	if (evidence.Text == "") == (evidence.Base64 == "") {
		return read, countersign.Errorf(countersign.Invalid, "evidence-content", "Give the content of the evidence as one of text and base64.").At(at)
	}
	if evidence.Base64 != "" {
		content, err := base64.StdEncoding.Strict().DecodeString(evidence.Base64)
		if err != nil {
			return read, countersign.Errorf(countersign.Invalid, "malformed-base64", "This is not base64 with padding.").At(at + "/base64")
		}
		read.Content = content
	}
	return read, nil
}
