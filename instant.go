package countersign

import (
	"encoding/json"
	"fmt"
	"time"
)

// Instant is a moment in milliseconds since 1970-01-01T00:00:00Z; zero means
// "none". In JSON it is RFC 3339 in UTC with exactly three decimals, or "".
type Instant int64

const instantLayout = "2006-01-02T15:04:05.000Z"

// InstantOf rounds t down to the millisecond.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// Time returns the instant as a time in UTC; the zero time for "none".
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// Add returns the instant d later.
func (i Instant) Add(d Seconds) Instant { return i + Instant(d)*1000 }

func (i Instant) String() string {
	if i == 0 {
		return ""
	}
	return i.Time().Format(instantLayout)
}

func (i Instant) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads any RFC 3339 time and keeps its milliseconds.
func (i *Instant) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*i = 0
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return Errorf(Invalid, "malformed-time", "%q is not a time: write it as 2026-01-31T09:00:00Z", Clip(string(text)))
	}
	if year := t.UTC().Year(); year < 0 || year > 9999 {
		// In UTC it would have no form that can be read again.
		return Errorf(Invalid, "malformed-time", "%q is no time that can be kept", Clip(string(text)))
	}
	if *i = Instant(t.UnixMilli()); *i == 0 {
		// The one moment that means "none" is not a time that anybody means.
		return Errorf(Invalid, "malformed-time", "%q is no time that can be kept", Clip(string(text)))
	}
	return nil
}

// Earliest returns the earliest of the given instants that is not "none".
func Earliest(instants ...Instant) Instant {
	var first Instant
	for _, candidate := range instants {
		if candidate != 0 && (first == 0 || candidate < first) {
			first = candidate
		}
	}
	return first
}

// Seconds is a duration in whole seconds. In JSON it is an integer.
type Seconds int64

const (
	Minute Seconds = 60
	Hour           = 60 * Minute
	Day            = 24 * Hour
)

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// String writes the duration in the form that ParseSeconds reads: 30d, 1d12h, 90s.
func (s Seconds) String() string {
	if s == 0 {
		return "0s"
	}
	text, rest := "", s
	if rest < 0 {
		text, rest = "-", -rest
	}
	for _, unit := range []struct {
		size Seconds
		name string
	}{{Day, "d"}, {Hour, "h"}, {Minute, "m"}, {1, "s"}} {
		if n := rest / unit.size; n > 0 {
			text += fmt.Sprintf("%d%s", n, unit.name)
			rest %= unit.size
		}
	}
	return text
}

// maxSeconds is a hundred years: longer than any access, and safe to add to any instant.
const maxSeconds = 100 * 366 * Day

// ParseSeconds reads durations such as 30d, 2h, 1d12h, 45m, 90s, 2w: whole
// numbers with the units w, d, h, m, s in falling order, more than zero.
func ParseSeconds(text string) (Seconds, error) {
	malformed := Errorf(Invalid, "malformed-duration", "%q is not a duration: write a whole number with a unit, as in 30d, 8h, 1d12h or 45m", Clip(text))
	units := []struct {
		size Seconds
		name byte
	}{{7 * Day, 'w'}, {Day, 'd'}, {Hour, 'h'}, {Minute, 'm'}, {1, 's'}}
	var total, number Seconds
	digits, unit := 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= '0' && c <= '9' {
			number = number*10 + Seconds(c-'0')
			if digits++; digits > 12 {
				return 0, malformed
			}
			continue
		}
		for unit < len(units) && units[unit].name != c {
			unit++
		}
		if digits == 0 || unit == len(units) {
			return 0, malformed
		}
		total += number * units[unit].size
		number, digits, unit = 0, 0, unit+1
	}
	if digits != 0 || total <= 0 {
		return 0, malformed
	}
	if total > maxSeconds {
		return 0, Errorf(Invalid, "duration-too-long", "%q is longer than a hundred years", Clip(text))
	}
	return total, nil
}

// UnmarshalJSON reads an integer of seconds; a text such as "30d" is refused
// here, so that stored bytes have one form.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var n int64
	if err := json.Unmarshal(data, &n); err != nil {
		return Errorf(Invalid, "malformed-duration", "a duration is a whole number of seconds")
	}
	*s = Seconds(n)
	return nil
}
