package sample_test

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/sample"
	"github.com/countersign/countersign/store"
)

func meridian(t *testing.T) (directory.Files, *directory.Organisation) {
	t.Helper()
	files, err := directory.ReadOrganisation(sample.Organisation())
	if err != nil {
		t.Fatal(err)
	}
	organisation, problems := directory.Parse(files.Directory)
	for _, problem := range problems {
		t.Error(problem)
	}
	if organisation == nil {
		t.FailNow()
	}
	return files, organisation
}

func TestMeridianIsWhatItsStoriesNeed(t *testing.T) {
	files, organisation := meridian(t)
	if files.Name != "Meridian" {
		t.Errorf("the organisation is called %q", files.Name)
	}
	count := map[string]int{}
	names := map[string]int{}
	status := map[string]countersign.IdentityStatus{}
	for _, identity := range organisation.Identities {
		count[string(identity.Kind)]++
		count[string(identity.Affiliation)]++
		count[string(identity.Status)]++
		status[identity.Login] = identity.Status
		if identity.Kind == countersign.Person {
			names[identity.Name]++
		}
	}
	for _, group := range organisation.Groups {
		if group.Team {
			count["team"]++
		}
		if len(group.Groups) > 0 {
			count["group of groups"]++
		}
	}
	for what, wanted := range map[string]int{
		"person": 45, "service": 6, "workload": 2, "agent": 2, "contractor": 3, "vendor": 1, "partner": 1,
		"suspended": 1, "departed": 1, "team": 8, "group of groups": 2,
	} {
		if count[what] != wanted {
			t.Errorf("%d of kind %q, expected %d", count[what], what, wanted)
		}
	}
	if len(organisation.Systems) != 18 || len(organisation.Powers) != 4 {
		t.Errorf("%d systems and %d powers", len(organisation.Systems), len(organisation.Powers))
	}
	if names["Maria Garcia"] != 2 {
		t.Error("there should be two people called Maria Garcia")
	}
	unowned := 0
	for _, identity := range organisation.Identities {
		if identity.Owner != "" && status[identity.Owner] != countersign.IdentityActive {
			unowned++
		}
	}
	if unowned != 1 {
		t.Errorf("%d machines without an active owner, expected 1", unowned)
	}
}

func TestMeridianIsWholeFromTheFirstDay(t *testing.T) {
	_, organisation := meridian(t)
	difference, err := directory.Compare(store.Directory{}, organisation, countersign.NewMint([32]byte{1}, 1_790_000_000_000))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range difference.Changes {
		if change.Verb != directory.Add {
			t.Errorf("%s %s %s into an empty house", change.Verb, change.Noun, change.Name)
		}
	}
	for _, power := range difference.Powers {
		if power.Entitlement == "" || len(power.Holders) != 2 {
			t.Errorf("the power %s resolves to %q for %d people", power.Name, power.Entitlement, len(power.Holders))
		}
	}
}
