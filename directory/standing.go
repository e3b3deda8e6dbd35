package directory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign"
)

// What follows says in sentences why a change needs a second person. Taking
// something away from somebody gives nobody anything, with one exception: who
// no longer answers for a non-human identity no longer counts as one person
// with it, and could approve for it from then on. Nor does a rule that finds
// nobody any more stop there: the next one is asked. How a system that exists is
// reached, and where it or a non-human identity runs, decides who can read keys
// and which refusals apply.

func (c *comparison) identityStanding(before, after *countersign.Identity) []string {
	name := c.names[string(after.ID)]
	old := countersign.Identity{}
	var sentences []string
	if before != nil {
		old = *before
		if old.Status != countersign.IdentityActive && after.Status == countersign.IdentityActive {
			sentences = append(sentences, fmt.Sprintf("%s becomes active again.", name))
		}
		for _, handle := range after.Handles {
			if !slices.ContainsFunc(old.Handles, func(h countersign.Handle) bool { return h.Key() == handle.Key() }) {
				does := "sign in as"
				if handle.Kind == countersign.Ticketing {
					does = "ask in the name of"
				}
				sentences = append(sentences, fmt.Sprintf("Somebody could %s %s by the new handle %s.", does, name, handleText(handle)))
			}
		}
		if !after.Human() && old.Environment != after.Environment {
			sentences = append(sentences, fmt.Sprintf("The environment of %s changes, and other rules apply to what it asks for.", name))
		}
		if old.ContractEnd != 0 && (after.ContractEnd == 0 || after.ContractEnd > old.ContractEnd) {
			sentences = append(sentences, fmt.Sprintf("The contract of %s ends later, and access can last as long.", name))
		}
		sentences = confirmStanding(sentences, name, old.LastConfirmed, after.LastConfirmed, old.ConfirmEvery, after.ConfirmEvery)
	}
	roles := []struct {
		role          string
		before, after countersign.IdentityID
	}{
		{"manager", old.Manager, after.Manager},
		{"sponsor", old.Sponsor, after.Sponsor},
		{"owner", old.Owner, after.Owner},
		{"second owner", old.SecondOwner, after.SecondOwner},
	}
	for _, role := range roles {
		sentences = c.named(sentences, role.before, role.after, role.role, name)
	}
	if old.Manager != "" && after.Manager == "" && after.Status == countersign.IdentityActive {
		sentences = append(sentences, fmt.Sprintf("%s has no manager any more, and other rules find who approves.", name))
	}
	for _, id := range old.SamePerson() {
		if id != "" && !slices.Contains(after.SamePerson(), id) {
			sentences = append(sentences, fmt.Sprintf("%s no longer answers for %s, and could approve for it.", c.names[string(id)], name))
		}
	}
	return sentences
}

// confirmStanding tells what spares an owner a confirmation: without it nothing new
// would be given one day.
func confirmStanding(sentences []string, name string, before, after countersign.Instant, oldEvery, every countersign.Seconds) []string {
	if after > before {
		sentences = append(sentences, fmt.Sprintf("%s counts as confirmed on %s, whoever said so.", name, day(after)))
	}
	if every != oldEvery {
		sentences = append(sentences, fmt.Sprintf("The owner of %s confirms in other intervals.", name))
	}
	return sentences
}

// named adds a sentence if somebody else than before gets a role on a thing.
func (c *comparison) named(sentences []string, before, after countersign.IdentityID, role, thing string) []string {
	if after == "" || after == before {
		return sentences
	}
	return append(sentences, fmt.Sprintf("%s becomes the %s of %s.", c.names[string(after)], role, thing))
}

func (c *comparison) groupStanding(before, after *countersign.Group) []string {
	old := countersign.Group{}
	if before != nil {
		old = *before
	}
	sentences := c.named(nil, old.Owner, after.Owner, "owner", "the group "+after.Name)
	for _, member := range after.Members {
		if !slices.ContainsFunc(old.Members, func(m countersign.Member) bool { return m.Identity == member.Identity }) {
			sentences = append(sentences, fmt.Sprintf("%s becomes a member of %s.", c.names[string(member.Identity)], after.Name))
		}
	}
	for _, nested := range after.Nested {
		if !slices.ContainsFunc(old.Nested, func(n countersign.Nesting) bool { return n.Group == nested.Group }) {
			sentences = append(sentences, fmt.Sprintf("Everybody in %s becomes a member of %s.", c.names[string(nested.Group)], after.Name))
		}
	}
	return sentences
}

// recordStanding counts a record that comes back into use as a new one.
func (c *comparison) recordStanding(before, after *countersign.Record) []string {
	old := countersign.Record{}
	if before != nil && !(before.Retired && !after.Retired) {
		old = *before
	}
	sentences := c.named(nil, old.Owner, after.Owner, "owner", "the record "+after.Key)
	for _, scope := range after.Scopes {
		if before != nil && !slices.Contains(old.Scopes, scope) {
			sentences = append(sentences, fmt.Sprintf("The record %s allows the scope %s.", after.Key, scope))
		}
	}
	return sentences
}

// systemStanding counts a system that comes back into use as a new one.
func (c *comparison) systemStanding(before, after *countersign.System) []string {
	old := countersign.System{}
	if before != nil && !before.Retired {
		old = *before
	}
	sentences := c.named(nil, old.Owner, after.Owner, "owner", after.Name)
	sentences = c.named(sentences, old.SecondOwner, after.SecondOwner, "second owner", after.Name)
	if lower(old.Risk, after.Risk) {
		sentences = append(sentences, riskSentence(after.Name, old.Risk, after.Risk))
	}
	if before != nil {
		if before.Connector != after.Connector || !maps.Equal(before.Settings, after.Settings) {
			sentences = append(sentences, fmt.Sprintf("Access to %s is carried out in another way, and others could read its keys.", after.Name))
		}
		if before.Environment != after.Environment {
			sentences = append(sentences, fmt.Sprintf("The environment of %s changes, and other rules apply to access to it.", after.Name))
		}
		sentences = confirmStanding(sentences, after.Name, before.LastConfirmed, after.LastConfirmed, before.ConfirmEvery, after.ConfirmEvery)
	}
	for _, resource := range after.Resources {
		thing := after.Name + "/" + resource.Name
		was := old.FindResource(resource.ID)
		if was == nil {
			sentences = c.named(sentences, "", resource.Owner, "owner", thing)
			continue
		}
		// A resource without owner or risk of its own has those of its system,
		// whose change was told above.
		if was.Owner != resource.Owner {
			sentences = c.named(sentences, firstOf(was.Owner, old.Owner), firstOf(resource.Owner, after.Owner), "owner", thing)
		}
		if from, to := firstOf(was.Risk, old.Risk), firstOf(resource.Risk, after.Risk); was.Risk != resource.Risk && lower(from, to) {
			sentences = append(sentences, riskSentence(thing, from, to))
		}
	}
	return sentences
}

// entitlementStanding finds what weakens the way to an entitlement that exists;
// the risk of its resource and system is theirs to report.
func entitlementStanding(oldSystem *countersign.System, before *countersign.Entitlement, system *countersign.System, after *countersign.Entitlement) []string {
	if before == nil {
		if after.EligibleFor != "" {
			return []string{fmt.Sprintf("Whoever holds %s may take %s by break-glass.", after.Name, after.EligibleFor)}
		}
		return nil
	}
	var sentences []string
	from := firstOf(before.Risk, resourceRisk(oldSystem, before.Resource))
	to := firstOf(after.Risk, resourceRisk(system, after.Resource))
	if before.Risk != after.Risk && lower(from, to) {
		sentences = append(sentences, riskSentence(after.Name, from, to))
	}
	if before.MaxDuration != 0 && (after.MaxDuration == 0 || after.MaxDuration > before.MaxDuration) {
		sentences = append(sentences, fmt.Sprintf("Access by %s can last longer.", after.Name))
	}
	if after.EligibleFor != "" && before.EligibleFor != after.EligibleFor {
		sentences = append(sentences, fmt.Sprintf("Whoever holds %s may take %s by break-glass.", after.Name, after.EligibleFor))
	}
	return sentences
}

func resourceRisk(system *countersign.System, id countersign.ResourceID) countersign.Risk {
	if resource := system.FindResource(id); resource != nil {
		return firstOf(resource.Risk, system.Risk)
	}
	return system.Risk
}

func riskSentence(thing string, from, to countersign.Risk) string {
	return fmt.Sprintf("The risk of %s falls from %s to %s, and fewer people may be asked.", thing, from, to)
}

// lower reports whether to is a lower risk than from; "" is none at all.
func lower(from, to countersign.Risk) bool {
	scale := []countersign.Risk{countersign.LowRisk, countersign.MediumRisk, countersign.HighRisk}
	return from != "" && slices.Index(scale, to) < slices.Index(scale, from)
}

// firstOf returns the first value that is set.
func firstOf[T ~string](values ...T) T {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
