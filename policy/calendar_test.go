package policy

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
)

func calendarSet(t *testing.T) *Set {
	return load(t, File{"calendars.yaml", []byte(`calendars:
  default: {timezone: Europe/Berlin, days: [mon, tue, wed, thu, fri], from: "09:00", to: "17:00", holidays: [2026-12-25, 2026-12-28]}
  new-york: {timezone: America/New_York, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00"}
  never: {timezone: UTC, days: [mon], from: "09:00", to: "10:00"}
`)})
}

func TestBusinessTimeFollowsTheCalendar(t *testing.T) {
	set := calendarSet(t)
	for name, c := range map[string]struct{ within, calendar, from, want string }{
		"two days later at the same time":      {"2 business days", "", "2026-03-02T10:30:00Z", "2026-03-04T10:30:00Z"},
		"over a weekend":                       {"2 business days", "", "2026-03-05T10:30:00Z", "2026-03-09T10:30:00Z"},
		"from a Saturday":                      {"1 business day", "", "2026-03-07T10:30:00Z", "2026-03-10T08:00:00Z"},
		"before opening":                       {"1 business day", "", "2026-03-02T05:00:00Z", "2026-03-03T08:00:00Z"},
		"at opening":                           {"1 business day", "", "2026-03-02T08:00:00Z", "2026-03-03T08:00:00Z"},
		"at closing":                           {"1 business day", "", "2026-03-02T16:00:00Z", "2026-03-04T08:00:00Z"},
		"a millisecond before closing":         {"1 business day", "", "2026-03-02T15:59:59.999Z", "2026-03-03T15:59:59.999Z"},
		"over holidays and the weekend":        {"1 business day", "default", "2026-12-24T10:00:00Z", "2026-12-29T10:00:00Z"},
		"from a holiday":                       {"1 business day", "", "2026-12-25T10:00:00Z", "2026-12-30T08:00:00Z"},
		"clocks go forward: same wall time":    {"1 business day", "", "2026-03-27T09:00:00Z", "2026-03-30T08:00:00Z"},
		"clocks go back: same wall time":       {"1 business day", "", "2026-10-23T08:00:00Z", "2026-10-26T09:00:00Z"},
		"hours within a day":                   {"4 business hours", "", "2026-03-02T09:00:00Z", "2026-03-02T13:00:00Z"},
		"hours up to closing":                  {"8 business hours", "", "2026-03-02T08:00:00Z", "2026-03-02T16:00:00Z"},
		"hours over night":                     {"4 business hours", "", "2026-03-02T14:00:00Z", "2026-03-03T10:00:00Z"},
		"hours over a weekend and the clock":   {"10 business hours", "", "2026-03-27T14:00:00Z", "2026-03-30T15:00:00Z"},
		"hours from the night":                 {"1 business hour", "", "2026-03-02T22:00:00Z", "2026-03-03T09:00:00Z"},
		"hours on a day of 23 hours":           {"24 business hours", "new-york", "2026-03-08T05:00:00Z", "2026-03-09T05:00:00Z"},
		"hours on a day of 25 hours":           {"25 business hours", "new-york", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		"a wall time that the clock skips":     {"1 business day", "new-york", "2026-03-07T07:30:00Z", "2026-03-08T07:30:00Z"},
		"a wall time that comes twice":         {"1 business day", "new-york", "2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z"},
		"plain days know no weekend":           {"3d", "", "2026-03-06T10:30:00Z", "2026-03-09T10:30:00Z"},
		"plain hours":                          {"8h", "", "2026-03-06T22:00:00Z", "2026-03-07T06:00:00Z"},
		"plain days over the clock: 24 h each": {"1d", "", "2026-03-28T10:00:00Z", "2026-03-29T10:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := set.Deadline(c.within, c.calendar, mustInstant(c.from))
			if err != nil || got != mustInstant(c.want) {
				t.Errorf("%s from %s is %s (%v), want %s", c.within, c.from, got, err, c.want)
			}
		})
	}
}

func TestADeadlineIsNeverBeforeItsBeginningAndGrowsWithTime(t *testing.T) {
	set := calendarSet(t)
	start := mustInstant("2026-03-01T00:00:00Z")
	for _, within := range []string{"1 business day", "3 business hours", "3 business days"} {
		last := countersign.Instant(0)
		for i := range 24 * 4 * 60 {
			from := start.Add(countersign.Seconds(i) * 15 * countersign.Minute)
			deadline, err := set.Deadline(within, "", from)
			if err != nil || deadline <= from || deadline < last {
				t.Fatalf("%s from %s is %s (%v), after %s", within, from, deadline, err, last)
			}
			last = deadline
		}
	}
}

func TestADeadlineThatCannotBeCountedIsAnError(t *testing.T) {
	set := calendarSet(t)
	for _, c := range [][2]string{{"soon", ""}, {"0 business days", ""}, {"1001 business days", ""}, {"", ""}, {"1 business day", "defualt"}} {
		if got, err := set.Deadline(c[0], c[1], monday); countersign.KindOf(err) != countersign.Invalid {
			t.Errorf("%q by %q is %s, %v", c[0], c[1], got, err)
		}
	}
}

func TestWithoutCalendarsTheWeekIsPlain(t *testing.T) {
	set := load(t, File{"p.yaml", []byte(rightFile)})
	got, err := set.Deadline("1 business day", "", mustInstant("2026-03-06T16:59:00Z"))
	if err != nil || got != mustInstant("2026-03-09T16:59:00Z") {
		t.Errorf("the deadline is %s, %v", got, err)
	}
	if _, problems := Load([]File{{"c.yaml", []byte("calendars: {default: {timezone: Local, days: [mon], from: \"09:00\", to: \"17:00\"}}")}}, time.LoadLocation); len(problems) != 1 {
		t.Errorf("the time zone of the machine is a time zone: %v", problems)
	}
}
