package directory_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/store"
)

const today = countersign.Instant(1_795_000_000_000)

// testing.T and rapid.T share what the helpers need.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func compare(t failer, current store.Directory, text string) directory.Difference {
	t.Helper()
	organisation, problems := directory.Parse([]directory.File{{Path: "org.yaml", Bytes: []byte(text)}})
	if len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, text)
	}
	seed := [32]byte{byte(current.Revision)}
	difference, err := directory.Compare(current, organisation, countersign.NewMint(seed, today))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return difference
}

// apply stores what the changes want, as a store would: through bytes, with new
// versions for the rows and for the memberships that begin.
func apply(t failer, current store.Directory, difference directory.Difference) store.Directory {
	t.Helper()
	next := store.Directory{Revision: current.Revision + 1}
	rows := map[string]countersign.Row{}
	var order []string
	put := func(row countersign.Row) {
		if rows[row.RowKey()] == nil {
			order = append(order, row.RowKey())
		}
		rows[row.RowKey()] = row
	}
	for _, row := range current.Identities {
		put(row)
	}
	for _, row := range current.Groups {
		put(row)
	}
	for _, row := range current.Systems {
		put(row)
	}
	for _, row := range current.Entitlements {
		put(row)
	}
	for _, row := range current.Records {
		put(row)
	}
	for _, change := range difference.Changes {
		if old := rows[change.After.RowKey()]; (old != nil) != (change.Before != nil) || old != nil && change.After.RowVersion() != old.RowVersion() {
			t.Fatalf("%s %s does not follow the stored row", change.Verb, change.Name)
		}
		put(change.After)
	}
	for _, key := range order {
		switch row := rows[key].(type) {
		case *countersign.Identity:
			next.Identities = append(next.Identities, stored(t, row, func(i *countersign.Identity) { i.Version++ }))
		case *countersign.Group:
			next.Groups = append(next.Groups, stored(t, row, func(g *countersign.Group) {
				g.Version++
				for i := range g.Members {
					if g.Members[i].Version == 0 {
						g.Members[i].Version = g.Version
					}
				}
				for i := range g.Nested {
					if g.Nested[i].Version == 0 {
						g.Nested[i].Version = g.Version
					}
				}
			}))
		case *countersign.System:
			next.Systems = append(next.Systems, stored(t, row, func(s *countersign.System) { s.Version++ }))
		case *countersign.Entitlement:
			next.Entitlements = append(next.Entitlements, stored(t, row, func(e *countersign.Entitlement) { e.Version++ }))
		case *countersign.Record:
			next.Records = append(next.Records, stored(t, row, func(r *countersign.Record) { r.Version++ }))
		default:
			t.Fatalf("a row of type %T", row)
		}
	}
	return next
}

func stored[T any](t failer, row *T, write func(*T)) *T {
	t.Helper()
	data, err := json.Marshal(row)
	if err != nil {
		t.Fatalf("%v", err)
	}
	copied := new(T)
	if err := json.Unmarshal(data, copied); err != nil {
		t.Fatalf("%v", err)
	}
	write(copied)
	return copied
}

func found(t failer, text string) store.Directory {
	t.Helper()
	return apply(t, store.Directory{}, compare(t, store.Directory{}, text))
}

// organisations draws small organisations that overlap, so that one can follow
// another: the same names mean the same things, but each may be missing.
func organisations(t *rapid.T, label string) string {
	var text strings.Builder
	flip := func(what string) bool { return rapid.Bool().Draw(t, label+what) }
	pick := func(what string, from []string) string { return rapid.SampledFrom(from).Draw(t, label+what) }
	subset := func(what string, from []string) []string {
		var chosen []string
		for _, name := range from {
			if flip(what + name) {
				chosen = append(chosen, name)
			}
		}
		return rapid.Permutation(chosen).Draw(t, label+what)
	}
	risks := []string{"low", "medium", "high"}

	people := append([]string{"p0"}, subset("people", []string{"p1", "p2", "p3"})...)
	slices.Sort(people)
	text.WriteString("people:\n")
	for i, login := range people {
		fmt.Fprintf(&text, "  - {login: %s, name: %s, status: %s", login, pick("name", []string{"Ann", "Bo"}), pick("status", []string{"active", "suspended", "departed"}))
		if i > 0 && flip("managed") {
			fmt.Fprintf(&text, ", manager: %s", pick("manager", people[:i]))
		}
		if flip("email") {
			fmt.Fprintf(&text, ", email: %s@example.org", login)
		}
		if flip("oidc") {
			fmt.Fprintf(&text, ", handles: [{kind: oidc, namespace: \"https://login.example\", value: %s}, {kind: email, value: alias.%s@example.org}]", strings.ToUpper(login), login)
		}
		if i > 0 && flip("outside") {
			fmt.Fprintf(&text, ", affiliation: vendor, sponsor: p0, contract_end: 2027-0%d-28", rapid.IntRange(1, 9).Draw(t, label+"end"))
		}
		text.WriteString("}\n")
	}
	records := subset("records", []string{"R-1", "R-2"})
	if len(records) > 0 {
		text.WriteString("records:\n")
	}
	for _, key := range records {
		fmt.Fprintf(&text, "  - {key: %s, title: T, owner: %s, scopes: [%s], retired: %v}\n", key, pick("record owner", people), strings.Join(subset("scopes", []string{"a", "b:c", "d"}), ", "), flip("retired"))
	}
	machines := subset("machines", []string{"m0", "m1"})
	if len(machines) > 0 {
		text.WriteString("agents:\n")
	}
	for _, login := range machines {
		fmt.Fprintf(&text, "  - {login: %s, name: M, owner: %s, sponsor: %s, environment: %s, purpose: %s, last_confirmed: 2026-10-01", login, pick("owner", people), pick("sponsor", people), pick("environment", []string{"prod", "dev"}), pick("purpose", []string{"this", "that"}))
		if len(records) > 0 {
			fmt.Fprintf(&text, ", record: %s", pick("record", records))
		}
		text.WriteString("}\n")
	}
	groups := append([]string{"g0"}, subset("groups", []string{"g1", "g2"})...)
	slices.Sort(groups)
	text.WriteString(pick("kind of group", []string{"groups", "teams"}) + ":\n")
	for i, name := range groups {
		fmt.Fprintf(&text, "  - {name: %s, members: [%s], groups: [%s]}\n", name, strings.Join(subset("members"+name, slices.Concat(people, machines)), ", "), strings.Join(subset("nested"+name, groups[:i]), ", "))
	}
	systems := subset("systems", []string{"s0", "s1"})
	if len(systems) > 0 {
		text.WriteString("systems:\n")
	}
	for _, name := range systems {
		fmt.Fprintf(&text, "  - name: %s\n    owner: %s\n    environment: prod\n    risk: %s\n    connector: role\n    settings: {url: %s}\n    resources:\n", name, pick("system owner", people), pick("risk", risks), pick("setting", []string{"x", "y"}))
		for _, resource := range append([]string{"r0"}, subset("resources"+name, []string{"r1"})...) {
			fmt.Fprintf(&text, "      - name: %s\n        risk: %s\n        entitlements: [", resource, pick("resource risk", risks))
			for _, right := range subset("rights"+name+resource, []string{"read", "write"}) {
				fmt.Fprintf(&text, "{name: %s, kind: role, max_duration: %dd}, ", right, rapid.IntRange(1, 3).Draw(t, label+"days"))
			}
			text.WriteString("]\n")
		}
	}
	return text.String()
}

func TestWhatWasAppliedHasNoDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		current := store.Directory{}
		for _, label := range []string{"first ", "second ", "third "} {
			text := organisations(t, label)
			before := compare(t, current, text)
			after := apply(t, current, before)
			if again := compare(t, after, text); len(again.Changes) > 0 {
				t.Fatalf("still to do after\n%s\n%s", before, again)
			}
			stale := map[string]bool{}
			for _, row := range projected(t, found(t, text), nil) {
				stale[row] = true
			}
			for _, row := range projected(t, after, compare(t, store.Directory{}, text).Changes) {
				delete(stale, row)
			}
			for row := range stale {
				t.Fatalf("what was applied lacks\n%s\nafter\n%s", row, before)
			}
			current = after
		}
	})
}

// projected returns the rows of a directory as texts without ids and versions,
// with lists in order. Resources that the wanted systems do not have are left out.
func projected(t failer, directory store.Directory, wanted []directory.Change) []string {
	t.Helper()
	resources := map[string]bool{}
	for _, change := range wanted {
		if system, ok := change.After.(*countersign.System); ok {
			for _, resource := range system.Resources {
				resources[system.Name+"/"+resource.Name] = true
			}
		}
	}
	var ids []string
	call := func(id, name string) { ids = append(ids, id, name) }
	var rows []string
	add := func(row any) {
		data, err := json.Marshal(row)
		if err != nil {
			t.Fatalf("%v", err)
		}
		rows = append(rows, strings.ReplaceAll(string(data), ":[]", ":null"))
	}
	for _, identity := range directory.Identities {
		call(string(identity.ID), identity.Handle(countersign.Login))
		slices.SortFunc(identity.Handles, func(a, b countersign.Handle) int { return strings.Compare(a.Key(), b.Key()) })
		add(stored(t, identity, func(i *countersign.Identity) { i.Version = 0 }))
	}
	for _, group := range directory.Groups {
		call(string(group.ID), group.Name)
	}
	for _, system := range directory.Systems {
		call(string(system.ID), system.Name)
		for _, resource := range system.Resources {
			call(string(resource.ID), system.Name+"/"+resource.Name)
		}
		add(stored(t, system, func(s *countersign.System) {
			s.Version = 0
			if wanted != nil {
				s.Resources = slices.DeleteFunc(s.Resources, func(r countersign.Resource) bool { return !resources[s.Name+"/"+r.Name] })
			}
			slices.SortFunc(s.Resources, func(a, b countersign.Resource) int { return strings.Compare(a.Name, b.Name) })
		}))
	}
	for _, entitlement := range directory.Entitlements {
		add(stored(t, entitlement, func(e *countersign.Entitlement) { e.ID, e.Version = "", 0 }))
	}
	for _, record := range directory.Records {
		call(string(record.ID), record.Key)
		add(stored(t, record, func(r *countersign.Record) { r.Version = 0; slices.Sort(r.Scopes) }))
	}
	names := strings.NewReplacer(ids...)
	for _, group := range directory.Groups {
		text := fmt.Sprintf("group %s %v %s", group.Name, group.Team, group.Owner)
		var inside []string
		for _, member := range group.Members {
			inside = append(inside, names.Replace(string(member.Identity)))
		}
		for _, nested := range group.Nested {
			inside = append(inside, names.Replace(string(nested.Group)))
		}
		slices.Sort(inside)
		rows = append(rows, fmt.Sprint(text, inside))
	}
	for i := range rows {
		rows[i] = names.Replace(rows[i])
	}
	return rows
}

func TestNewThingsCanNameEachOther(t *testing.T) {
	directory := found(t, base)
	ids := map[string]bool{}
	for _, identity := range directory.Identities {
		ids[string(identity.ID)] = true
		if identity.Name == "Service" && (identity.Owner == "" || !ids[string(identity.Owner)] || identity.Record != directory.Records[0].ID) {
			t.Errorf("the service is %+v", identity)
		}
	}
	if group := directory.Groups[0]; group.Nested[0].Group != directory.Groups[1].ID {
		t.Errorf("the group nests %v", group.Nested)
	}
	if right := directory.Entitlements[0]; right.System != directory.Systems[0].ID || right.Resource != directory.Systems[0].Resources[0].ID {
		t.Errorf("the entitlement is %+v", right)
	}
}

func TestAnOlderFileTakesNoConfirmationBack(t *testing.T) {
	text := strings.NewReplacer("environment: dev", "environment: dev, last_confirmed: 2026-03-01", "risk: medium, connector", "risk: medium, last_confirmed: 2026-03-01, connector").Replace(base)
	current := found(t, text)
	silence := &countersign.Silence{Escalated: true}
	later := countersign.InstantOf(time.Date(2026, 10, 5, 8, 0, 0, 0, time.UTC))
	confirm := func(at countersign.Instant) {
		for _, identity := range current.Identities {
			if identity.Name == "Service" {
				identity.LastConfirmed, identity.Silence = at, silence
			}
		}
		current.Systems[0].LastConfirmed, current.Systems[0].Silence = at, silence
	}
	confirm(later)
	for name, file := range map[string]string{"older": text, "without": base} {
		if difference := compare(t, current, file); len(difference.Changes) > 0 {
			t.Errorf("%s: the file changes\n%s", name, difference)
		}
	}
	// Another field changes, and the confirmation stays, with what was said since.
	difference := compare(t, current, strings.NewReplacer("purpose: Billing", "purpose: Invoices", "title: Orders database", "title: Orders").Replace(text))
	if len(difference.Changes) != 2 {
		t.Fatalf("it changes\n%s", difference)
	}
	for _, change := range difference.Changes {
		switch after := change.After.(type) {
		case *countersign.Identity:
			if after.LastConfirmed != later || after.Silence != silence {
				t.Errorf("the machine is confirmed %s, with %v", after.LastConfirmed, after.Silence)
			}
		case *countersign.System:
			if after.LastConfirmed != later || after.Silence != silence {
				t.Errorf("the system is confirmed %s, with %v", after.LastConfirmed, after.Silence)
			}
		}
	}
	// A later date counts, and so does another owner: what was said was said to the one before.
	for _, change := range compare(t, current, strings.NewReplacer("2026-03-01", "2026-11-01").Replace(text)).Changes {
		if after, is := change.After.(*countersign.Identity); is && (after.LastConfirmed <= later || after.Silence != nil) {
			t.Errorf("a later date leaves %s and %v", after.LastConfirmed, after.Silence)
		}
	}
	for _, change := range compare(t, current, strings.Replace(text, "owner: jonas, second_owner: quinn", "owner: mara, second_owner: quinn", 1)).Changes {
		if after, is := change.After.(*countersign.Identity); is && (after.LastConfirmed != later || after.Silence != nil) {
			t.Errorf("another owner leaves %s and %v", after.LastConfirmed, after.Silence)
		}
	}
}

func TestMembershipsKeepTheirBeginning(t *testing.T) {
	current := found(t, base)
	difference := compare(t, current, strings.Replace(base, "members: [mara, jonas]", "members: [mara, quinn, jonas]", 1))
	group := difference.Changes[0].After.(*countersign.Group)
	var versions []int64
	for _, member := range group.Members {
		versions = append(versions, member.Version)
	}
	if !slices.Equal(versions, []int64{1, 0, 1}) {
		t.Errorf("memberships began at %v", versions)
	}
}

func TestWhatIsMissingEndsAndIsNotDeleted(t *testing.T) {
	current := found(t, base)
	difference := compare(t, current, "people:\n  - {login: mara, name: Mara, email: mara@example.org}\n")
	var told []string
	for _, change := range difference.Changes {
		if change.Standing != "" {
			t.Errorf("the end of %s gives standing: %s", change.Name, change.Standing)
		}
		told = append(told, fmt.Sprintf("%s %s %s", change.Verb, change.Noun, change.Name))
	}
	wanted := []string{
		"remove identity jonas", "remove identity quinn", "remove identity helper", "remove identity svc",
		"remove group all", "remove group security",
		"remove record SR-1",
		"remove entitlement db/orders/read", "remove system db",
	}
	if !slices.Equal(told, wanted) {
		t.Errorf("told %q", told)
	}
	after := apply(t, current, difference)
	for _, identity := range after.Identities {
		if name := identity.Handle(countersign.Login); name != "mara" && identity.Status != countersign.IdentityDeparted {
			t.Errorf("%s is %s", name, identity.Status)
		}
	}
	if len(after.Groups[0].Members)+len(after.Groups[0].Nested) != 0 || !after.Systems[0].Retired || !after.Entitlements[0].Retired || !after.Records[0].Retired {
		t.Error("something that is missing from the files goes on")
	}
}

// Retired entitlements, old grants and history go on naming the resource.
func TestAResourceThatIsMissingStaysWithoutRights(t *testing.T) {
	current := found(t, base)
	text := base[:strings.Index(base, "     resources:")] + "     resources: [{name: log}]}\n"
	after := apply(t, current, compare(t, current, text))
	if resource := after.Systems[0].FindResource(current.Systems[0].Resources[0].ID); resource == nil || resource.Name != "orders" {
		t.Errorf("the resources are %v", after.Systems[0].Resources)
	}
	if !after.Entitlements[0].Retired {
		t.Error("the right on it can still be asked for")
	}
	again := apply(t, after, compare(t, after, base))
	if again.Entitlements[0].ID != current.Entitlements[0].ID || again.Entitlements[0].Retired {
		t.Errorf("the right that comes back is %+v", again.Entitlements[0])
	}
}

func TestIdentitiesAreRecognisedByAnyHandle(t *testing.T) {
	current := found(t, base)
	difference := compare(t, current, strings.ReplaceAll(base, "login: mara,", "login: mara, handles: [{kind: login, value: mara.new}],"))
	if len(difference.Changes) != 1 || difference.Changes[0].Verb != directory.Modify {
		t.Fatalf("a second login gives\n%s", difference)
	}
	renamed := strings.NewReplacer("login: mara,", "login: mara.new,", "manager: mara,", "manager: mara.new,", "sponsor: mara", "sponsor: mara.new",
		"owner: mara", "owner: mara.new", "[mara, jonas]", "[mara.new, jonas]").Replace(base)
	difference = compare(t, current, renamed)
	if len(difference.Changes) != 1 || difference.Changes[0].Verb != directory.Modify || difference.Changes[0].After.RowKey() != string(current.Identities[0].ID) {
		t.Fatalf("another login of the person with the e-mail address gives\n%s", difference)
	}
}

func TestNobodyBecomesSomebodyElse(t *testing.T) {
	current := found(t, base)
	for name, test := range map[string]struct{ old, new string }{
		"an address moves to another person": {"{login: jonas,", "{login: jonas, email: mara@example.org,"},
		"one person is split in two":         {"{login: mara, name: Mara, email: mara@example.org}", "{login: mara, name: Mara}\n  - {login: mara2, name: Mara, email: mara@example.org}"},
		"a service becomes a person":         {"services:\n", "workloads:\n"},
		"a role becomes a key":               {"{name: read, kind: role,", "{name: read, kind: credential,"},
	} {
		text := strings.Replace(base, test.old, test.new, 1)
		if name == "an address moves to another person" {
			text = strings.Replace(text, ", email: mara@example.org}", "}", 1)
		}
		organisation := parse(t, text)
		_, err := directory.Compare(current, organisation, countersign.NewMint([32]byte{9}, today))
		if countersign.KindOf(err) != countersign.Conflict || countersign.ReasonOf(err) != "directory-conflict" || !strings.Contains(err.Error(), "people.yaml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheDifferenceIsReadable(t *testing.T) {
	current := found(t, base)
	if none := compare(t, current, base).String(); none != "No differences.\n" {
		t.Errorf("without differences: %q", none)
	}
	text := strings.NewReplacer(
		"members: [mara, jonas]", "members: [jonas, quinn]",
		"title: Orders database", "title: Orders",
		"prod, risk: medium", "prod, risk: low",
		"groups:\n", "groups:\n  - {name: fresh, owner: jonas}\n",
	).Replace(base)
	text = strings.Replace(text, "  - {name: security", "  - {name: security-2", 1)
	text = strings.Replace(text, "groups: [security]", "groups: [security-2]", 1)
	wanted := `+ group fresh
    + owner: jonas
    ! needs a second person: jonas becomes the owner of the group fresh.
~ group all
    + nested group: security-2
    - nested group: security
    ! needs a second person: Everybody in security-2 becomes a member of all.
+ group security-2
    + member: jonas
    + member: quinn
    ! needs a second person: jonas becomes a member of security-2. quinn becomes a member of security-2.
~ system db
    ~ title: "Orders database" → "Orders"
    ~ risk: medium → low
    ! needs a second person: The risk of db falls from medium to low, and fewer people may be asked.
- group security
    - member: mara
    - member: jonas
2 to add, 2 to change, 1 to remove; 4 of them need a second person.
`
	if told := compare(t, current, text).String(); told != wanted {
		t.Errorf("the difference reads\n%s", told)
	}
}
