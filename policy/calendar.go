package policy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// Zones finds a time zone by its name in the IANA database. Zone data is read
// from outside, so the caller brings it.
type Zones func(name string) (*time.Location, error)

// calendar says when the organisation works.
type calendar struct {
	zone *time.Location
	days [7]bool
	// from and to are minutes after midnight, from before to.
	from, to int
	// holidays are dates as 2026-12-25.
	holidays map[string]bool
}

const defaultCalendar = "default"

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// plainCalendar counts where the set brings no calendar of its own.
func plainCalendar() *calendar {
	return &calendar{zone: time.UTC, days: [7]bool{false, true, true, true, true, true, false}, from: 9 * 60, to: 17 * 60}
}

func readCalendar(s *source, node *yaml.Node, zones Zones) *calendar {
	m := s.mapping(node, "a calendar", "timezone", "days", "from", "to", "holidays")
	m.require("timezone", "days", "from", "to")
	c := &calendar{zone: time.UTC, from: clock(m, "from"), to: clock(m, "to"), holidays: map[string]bool{}}
	if name := m.text("timezone"); name != "" && name != "UTC" {
		zone, err := zones(name)
		if err != nil || name == "Local" {
			m.problem(m.values["timezone"], "unknown time zone `%s`: write it as in Europe/Berlin", countersign.Clip(name))
		} else {
			c.zone = zone
		}
	}
	if m.has("days") {
		for _, day := range s.each(m.values["days"], "`days`") {
			if i := slices.Index(weekdays, day.Value); i >= 0 {
				c.days[i] = true
			} else {
				s.problem(day, "%s", unknown("day", day.Value, weekdays))
			}
		}
		if c.days == [7]bool{} {
			s.problem(m.values["days"], "a calendar needs at least one working day")
		}
	}
	if m.has("from") && m.has("to") && c.from >= c.to {
		s.problem(m.values["to"], "the working day ends before it begins: `to` must be later than `from`")
	}
	if m.has("holidays") {
		for _, day := range s.each(m.values["holidays"], "`holidays`") {
			if _, err := time.Parse(time.DateOnly, day.Value); err != nil {
				s.problem(day, "`%s` is not a date: write it as 2026-12-25", countersign.Clip(day.Value))
			}
			c.holidays[day.Value] = true
		}
	}
	return c
}

var clockForm = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])$`)

// clock reads a time of the day, 00:00 to 24:00, in minutes.
func clock(m *mapping, key string) int {
	text := m.text(key)
	if text == "" {
		return 0
	}
	match := clockForm.FindStringSubmatch(text)
	if match == nil || strings.HasPrefix(text, "24:") && text != "24:00" {
		m.problem(m.values[key], "`%s` is not a time of the day: write it as \"09:00\"", countersign.Clip(text))
		return 0
	}
	hours, _ := strconv.Atoi(match[1])
	minutes, _ := strconv.Atoi(match[2])
	return hours*60 + minutes
}

// at is the instant of a time of the day in the calendar's zone.
func (c *calendar) at(day time.Time, minutes int) time.Time {
	return c.wall(day, time.Duration(minutes)*time.Minute)
}

// wall is the moment at which the calendar's clocks show a time on a day: the
// first one where they show it twice, and where they skip it the moment that is
// as long after midnight. (time.Date does not say which it takes.)
func (c *calendar) wall(day time.Time, sinceMidnight time.Duration) time.Time {
	asUTC := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC).Add(sinceMidnight)
	offsetAt := func(t time.Time) time.Duration {
		_, offset := t.In(c.zone).Zone()
		return time.Duration(offset) * time.Second
	}
	before := asUTC.Add(-offsetAt(asUTC.Add(-24 * time.Hour)))
	after := asUTC.Add(-offsetAt(asUTC.Add(24 * time.Hour)))
	if before.Add(offsetAt(before)).Equal(asUTC) || !after.Add(offsetAt(after)).Equal(asUTC) {
		return before.In(c.zone)
	}
	return after.In(c.zone)
}

func (c *calendar) working(day time.Time) bool {
	return c.days[day.Weekday()] && !c.holidays[day.Format(time.DateOnly)]
}

// next returns the day after, at noon: an hour that every day of every zone has.
func (c *calendar) next(day time.Time) time.Time {
	return c.wall(time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, time.UTC), 12*time.Hour)
}

// nextWorking returns the first working day after the given one, or false if
// the holidays leave none within ten years.
func (c *calendar) nextWorking(day time.Time) (time.Time, bool) {
	for range 3660 {
		if day = c.next(day); c.working(day) {
			return day, true
		}
	}
	return time.Time{}, false
}

// begin returns t, or the next opening if t is outside of working time.
func (c *calendar) begin(t time.Time) (time.Time, bool) {
	t = t.In(c.zone)
	if c.working(t) {
		if opening := c.at(t, c.from); t.Before(opening) {
			return opening, true
		}
		if t.Before(c.at(t, c.to)) {
			return t, true
		}
	}
	day, found := c.nextWorking(t)
	return c.at(day, c.from), found
}

// addDays returns the same time of the working day, n working days later.
func (c *calendar) addDays(t time.Time, n int) (time.Time, bool) {
	t, found := c.begin(t)
	day := t
	for ; n > 0 && found; n-- {
		day, found = c.nextWorking(day)
	}
	sinceMidnight := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	return c.wall(day, sinceMidnight), found
}

// addHours returns the moment after n hours of working time.
func (c *calendar) addHours(t time.Time, n int) (time.Time, bool) {
	left := time.Duration(n) * time.Hour
	t, found := c.begin(t)
	for found {
		available := c.at(t, c.to).Sub(t)
		if left <= available {
			return t.Add(left), true
		}
		left -= available
		var day time.Time
		day, found = c.nextWorking(t)
		t = c.at(day, c.from)
	}
	return t, false
}

// within is a length of time as policies write it.
type within struct {
	days, hours int
	plain       countersign.Seconds
}

var businessForm = regexp.MustCompile(`^([0-9]{1,4}) +business +(day|hour)s?$`)

const maxBusinessUnits = 1000

func parseWithin(text string) (within, *countersign.Error) {
	if match := businessForm.FindStringSubmatch(text); match != nil {
		n, _ := strconv.Atoi(match[1])
		if n < 1 || n > maxBusinessUnits {
			return within{}, countersign.Errorf(countersign.Invalid, "malformed-duration", "`%s` must be from 1 to %d", countersign.Clip(text), maxBusinessUnits)
		}
		if match[2] == "day" {
			return within{days: n}, nil
		}
		return within{hours: n}, nil
	}
	seconds, err := countersign.ParseSeconds(text)
	if err != nil {
		return within{}, countersign.Errorf(countersign.Invalid, "malformed-duration",
			"`%s` is not a time to act in: write it as in `2 business days`, `4 business hours`, `3d` or `8h`", countersign.Clip(text))
	}
	return within{plain: seconds}, nil
}

// Deadline returns the moment at which a time to act ends that began at from.
// Within is "2 business days" (the same time of the working day two working days
// later; a start outside of working time counts from the next opening), "4
// business hours" (working hours only), or plain time such as "3d". Calendar
// names one of the set's calendars; "" is the default one.
func (s *Set) Deadline(within, calendar string, from countersign.Instant) (countersign.Instant, error) {
	length, problem := parseWithin(within)
	if problem != nil {
		return 0, problem
	}
	if calendar == "" {
		calendar = defaultCalendar
	}
	c := s.calendars[calendar]
	if c == nil {
		return 0, countersign.Errorf(countersign.Invalid, "unknown-calendar", "%s", unknown("calendar", calendar, s.calendarNames()))
	}
	end, found := from.Time(), true
	switch {
	case length.days > 0:
		end, found = c.addDays(end, length.days)
	case length.hours > 0:
		end, found = c.addHours(end, length.hours)
	default:
		return from.Add(length.plain), nil
	}
	if !found {
		return 0, countersign.Errorf(countersign.Invalid, "calendar-without-days", "the calendar `%s` has no working day within ten years of %s", calendar, from)
	}
	return countersign.InstantOf(end), nil
}

func (s *Set) calendarNames() []string {
	names := make([]string, 0, len(s.calendars))
	for name := range s.calendars {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
