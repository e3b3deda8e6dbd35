package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
)

var someRules = []string{"manager-of(requester)", "second-owner-of(resource)", "group(platform-leads)", "group(security)"}

func drawApprovers(t *rapid.T) (map[string][]Candidate, map[countersign.IdentityID]string) {
	everybody := []Candidate{}
	for i := range 6 {
		everybody = append(everybody, Candidate{ID: countersign.IdentityID(fmt.Sprintf("idn_%d", i)), Name: fmt.Sprint(i),
			Active: rapid.IntRange(0, 3).Draw(t, "active") > 0, Human: rapid.IntRange(0, 3).Draw(t, "human") > 0})
	}
	approvers := map[string][]Candidate{}
	for _, rule := range someRules {
		approvers[rule] = rapid.SliceOfN(rapid.SampledFrom(everybody), 0, 4).Draw(t, rule)
	}
	excluded := map[countersign.IdentityID]string{}
	for _, person := range rapid.SliceOfN(rapid.SampledFrom(everybody), 0, 3).Draw(t, "excluded") {
		excluded[person.ID] = "the requester"
	}
	return approvers, excluded
}

func TestNobodyStandsWhoIsExcludedInactiveOrNoPerson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		approvers, excluded := drawApprovers(t)
		rule := rapid.SampledFrom(someRules)
		var stage countersign.Stage
		for range rapid.IntRange(1, 3).Draw(t, "quorums") {
			stage.Quorums = append(stage.Quorums, countersign.Quorum{
				Approvers: rapid.SliceOfN(rule, 1, 2).Draw(t, "approvers"), Else: rapid.SliceOfN(rule, 0, 2).Draw(t, "else"), Need: rapid.IntRange(1, 3).Draw(t, "need"),
			})
		}
		stage.Ladder = []countersign.Rung{{EscalateTo: []string{"group(security)"}}}
		stage.Climbed = rapid.IntRange(0, 1).Draw(t, "climbed")
		asked, kept := Standing(stage, approvers, excluded)
		fit := map[countersign.IdentityID]bool{}
		for _, list := range approvers {
			for _, c := range list {
				fit[c.ID] = c.Active && c.Human && excluded[c.ID] == ""
			}
		}
		seen := map[[2]any]bool{}
		for _, a := range asked {
			if !fit[a.Person] {
				t.Fatalf("%s stands and may not", a.Person)
			}
			if key := [2]any{a.Person, a.Quorum}; seen[key] {
				t.Fatalf("%s stands twice in quorum %d", a.Person, a.Quorum)
			} else {
				seen[key] = true
			}
			if !slices.Contains(StageRules(stage), a.Rule) {
				t.Fatalf("%s stands by %s, which the stage does not have", a.Person, a.Rule)
			}
		}
		for _, e := range kept {
			if fit[e.Person] || e.Because == "" {
				t.Fatalf("%s is kept out because %q", e.Person, e.Because)
			}
		}
		if _, ok := Supplies(stage, asked); ok != bruteForce(stage, asked, 0, 0, map[countersign.IdentityID]bool{}) {
			t.Fatalf("Supplies says %v of %v for %v", ok, asked, stage.Quorums)
		}
	})
}

// bruteForce tries every choice of different people.
func bruteForce(stage countersign.Stage, asked []countersign.Asked, quorum, have int, used map[countersign.IdentityID]bool) bool {
	if quorum == len(stage.Quorums) {
		return true
	}
	if have == stage.Quorums[quorum].Need {
		return bruteForce(stage, asked, quorum+1, 0, used)
	}
	for _, a := range asked {
		if a.Quorum == quorum && !used[a.Person] {
			used[a.Person] = true
			if bruteForce(stage, asked, quorum, have+1, used) {
				return true
			}
			delete(used, a.Person)
		}
	}
	return false
}

func TestTheSameFactsGiveTheSamePlan(t *testing.T) {
	set := sample(t)
	again, err := Parse(set.Bytes(), time.LoadLocation)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := facts()
		f.Approvers, f.SamePerson = drawApprovers(t)
		f.Items[0].Resource.Risk = rapid.SampledFrom(risks).Draw(t, "risk")
		f.Beneficiary.Environment = rapid.SampledFrom([]string{"prod", "dev", ""}).Draw(t, "environment")
		f.Answers = json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"purpose":"long enough to be read","consumer":"SR-1042"}`, `7`, string(facts().Answers)}).Draw(t, "answers"))
		f.Duration = countersign.Seconds(rapid.Int64Range(-10, 100*int64(countersign.Day)).Draw(t, "duration"))
		first, err := set.Judge("api-key", f)
		if err != nil {
			t.Fatal(err)
		}
		// The facts are kept as JSON and judged again by the set that was kept.
		data, _ := json.Marshal(f)
		var kept Facts
		if err := json.Unmarshal(data, &kept); err != nil {
			t.Fatal(err)
		}
		second, err := again.Judge("api-key", kept)
		if err != nil || !reflect.DeepEqual(first, second) || first.Route() != second.Route() {
			t.Fatalf("judged again: %v\n%+v\n%+v", err, first, second)
		}
	})
}

func TestClimbedRungsJoinEveryQuorum(t *testing.T) {
	stage := countersign.Stage{
		Quorums: []countersign.Quorum{{Approvers: []string{"manager-of(requester)"}, Else: []string{"group(platform-leads)"}, Need: 1}},
		Ladder:  []countersign.Rung{{EscalateTo: []string{"owner-of(resource)"}}, {EscalateTo: []string{"group(security)"}}},
	}
	approvers := facts().Approvers
	for climbed, want := range [][]countersign.IdentityID{{"idn_mara"}, {"idn_mara", "idn_otto"}, {"idn_mara", "idn_otto", "idn_sara", "idn_simon"}} {
		stage.Climbed = climbed
		asked, _ := Standing(stage, approvers, nil)
		var standing []countersign.IdentityID
		for _, a := range asked {
			standing = append(standing, a.Person)
		}
		if !slices.Equal(standing, want) {
			t.Errorf("after %d rungs %v stand, want %v", climbed, standing, want)
		}
		if rules := len(StageRules(stage)); rules != 2+climbed {
			t.Errorf("after %d rungs %d rules count", climbed, rules)
		}
	}
}
