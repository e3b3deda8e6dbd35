package httpapi

import (
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// read turns what was sent into what desk is asked.
func (asking *Asking) read() (desk.Asking, error) {
	amendable := Amendment{
		Entitlements: asking.Entitlements, Reason: asking.Reason, Duration: asking.Duration, Until: asking.Until,
		Answers: asking.Answers, Evidence: asking.Evidence, Exception: asking.Exception,
	}
	read, err := amendable.read()
	read.Type, read.Beneficiary, read.Route = asking.Type, asking.Beneficiary, countersign.Digest(asking.Route)
	read.Extends, read.Rotates = countersign.GrantID(asking.Extends), countersign.GrantID(asking.Rotates)
	read.Adopts = countersign.FindingID(asking.Adopts)
	return read, err
}

// read turns what was sent into an asking without what stays as it is.
func (amendment *Amendment) read() (desk.Asking, error) {
	duration, err := durationOf(amendment.Duration)
	read := desk.Asking{
		Entitlements: amendment.Entitlements, Reason: amendment.Reason, Duration: duration, Until: amendment.Until, Answers: amendment.Answers,
	}
	if err != nil {
		return read, err
	}
	if exception := amendment.Exception; exception != nil {
		read.Exception = &desk.AskedException{Control: exception.Control, Owner: exception.Owner, Until: exception.Until}
	}
	for i, one := range amendment.Evidence {
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
