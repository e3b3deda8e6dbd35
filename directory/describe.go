package directory

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign"
)

// attribute is one field of a row in words. The fields of a row together say all
// that can differ between two versions of it. An element is one of a list,
// whose order says nothing.
type attribute struct {
	name, text string
	element    bool
}

// fieldChanges pairs what was with what is to be; "" stands for nothing.
func fieldChanges(before, after []attribute) []FieldChange {
	var changes []FieldChange
	old, was, is := map[string]string{}, map[attribute]bool{}, map[attribute]bool{}
	for _, a := range before {
		if was[a] = true; !a.element {
			old[a.name] = a.text
		}
	}
	for _, a := range after {
		is[a] = true
		switch {
		case a.element && !was[a]:
			changes = append(changes, FieldChange{Name: a.name, After: a.text})
		case !a.element && old[a.name] != a.text:
			changes = append(changes, FieldChange{Name: a.name, Before: old[a.name], After: a.text})
		}
	}
	for _, a := range before {
		if a.element && !is[a] {
			changes = append(changes, FieldChange{Name: a.name, Before: a.text})
		}
	}
	return changes
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return strconv.Quote(text)
}

func day(i countersign.Instant) string {
	if i == 0 {
		return ""
	}
	if t := i.Time(); t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return i.String()
}

// lastDay names the last day of a contract whose end is a midnight.
func lastDay(end countersign.Instant) string {
	if end%(1000*countersign.Instant(countersign.Day)) == 0 {
		return day(end.Add(-countersign.Day))
	}
	return end.String()
}

func interval(s countersign.Seconds) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (c *comparison) describeIdentity(i *countersign.Identity) []attribute {
	if i == nil {
		return nil
	}
	contractEnd := ""
	if i.ContractEnd != 0 {
		contractEnd = lastDay(i.ContractEnd)
	}
	fields := []attribute{
		{name: "kind", text: string(i.Kind)},
		{name: "status", text: string(i.Status)},
		{name: "name", text: quoted(i.Name)},
		{name: "login", text: i.Handle(countersign.Login)},
		{name: "email", text: i.Handle(countersign.Email)},
		{name: "environment", text: i.Environment},
		{name: "affiliation", text: string(i.Affiliation)},
		{name: "manager", text: c.names[string(i.Manager)]},
		{name: "contract end", text: contractEnd},
		{name: "sponsor", text: c.names[string(i.Sponsor)]},
		{name: "owner", text: c.names[string(i.Owner)]},
		{name: "second owner", text: c.names[string(i.SecondOwner)]},
		{name: "purpose", text: quoted(i.Purpose)},
		{name: "record", text: c.names[string(i.Record)]},
		{name: "last confirmed", text: day(i.LastConfirmed)},
		{name: "confirm every", text: interval(i.ConfirmEvery)},
	}
	for _, handle := range i.Handles {
		named := handle.Kind == countersign.Login || handle.Kind == countersign.Email
		if !named || handle.Value != i.Handle(handle.Kind) {
			fields = append(fields, attribute{"handle", handleText(handle), true})
		}
	}
	return fields
}

func handleText(h countersign.Handle) string {
	return strings.Join(strings.Fields(string(h.Kind)+" "+h.Namespace+" "+h.Value), " ")
}

func (c *comparison) describeGroup(g *countersign.Group) []attribute {
	if g == nil {
		return nil
	}
	fields := []attribute{
		{name: "team", text: yes(g.Team)},
		{name: "owner", text: c.names[string(g.Owner)]},
	}
	for _, member := range g.Members {
		fields = append(fields, attribute{"member", c.names[string(member.Identity)], true})
	}
	for _, nested := range g.Nested {
		fields = append(fields, attribute{"nested group", c.names[string(nested.Group)], true})
	}
	return fields
}

func (c *comparison) describeRecord(r *countersign.Record) []attribute {
	if r == nil {
		return nil
	}
	fields := []attribute{
		{name: "title", text: quoted(r.Title)},
		{name: "owner", text: c.names[string(r.Owner)]},
		{name: "environment", text: r.Environment},
		{name: "retired", text: yes(r.Retired)},
	}
	for _, scope := range r.Scopes {
		fields = append(fields, attribute{"scope", scope, true})
	}
	return fields
}

func (c *comparison) describeSystem(s *countersign.System) []attribute {
	if s == nil {
		return nil
	}
	fields := []attribute{
		{name: "title", text: quoted(s.Title)},
		{name: "owner", text: c.names[string(s.Owner)]},
		{name: "second owner", text: c.names[string(s.SecondOwner)]},
		{name: "environment", text: s.Environment},
		{name: "risk", text: string(s.Risk)},
		{name: "connector", text: s.Connector},
		{name: "last confirmed", text: day(s.LastConfirmed)},
		{name: "confirm every", text: interval(s.ConfirmEvery)},
		{name: "retired", text: yes(s.Retired)},
	}
	for _, key := range slices.Sorted(maps.Keys(s.Settings)) {
		fields = append(fields, attribute{"setting", key + "=" + strconv.Quote(s.Settings[key]), true})
	}
	for _, resource := range s.Resources {
		text := resource.Name
		for _, part := range []string{quoted(resource.Title), string(resource.Risk), c.names[string(resource.Owner)]} {
			if part == "" {
				part = "-"
			}
			text += " " + part
		}
		fields = append(fields, attribute{"resource", text, true})
	}
	return fields
}

func describeEntitlement(e *countersign.Entitlement) []attribute {
	if e == nil {
		return nil
	}
	return []attribute{
		{name: "title", text: quoted(e.Title)},
		{name: "kind", text: string(e.Kind)},
		{name: "risk", text: string(e.Risk)},
		{name: "max duration", text: interval(e.MaxDuration)},
		{name: "eligible for", text: e.EligibleFor},
		{name: "version", text: e.Definition},
		{name: "retired", text: yes(e.Retired)},
	}
}
