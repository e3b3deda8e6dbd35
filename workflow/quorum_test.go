package workflow

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
)

// bruteForce seats people by trying every choice.
func bruteForce(left []int, people []person) int {
	if len(people) == 0 {
		return 0
	}
	best := bruteForce(left, people[1:])
	for _, quorum := range people[0].quorums {
		if left[quorum] > 0 {
			left[quorum]--
			best = max(best, 1+bruteForce(left, people[1:]))
			left[quorum]++
		}
	}
	return best
}

func drawPeople(t *rapid.T, quorums int) []person {
	ids := []countersign.IdentityID{"a", "b", "c", "d", "e", "f"}
	var people []person
	for _, id := range ids[:rapid.IntRange(0, len(ids)).Draw(t, "people")] {
		people = append(people, person{id, rapid.SliceOfNDistinct(rapid.IntRange(0, quorums-1), 0, quorums, rapid.ID[int]).Draw(t, "quorums of "+string(id))})
	}
	return people
}

func drawQuorums(t *rapid.T) []countersign.Quorum {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) countersign.Quorum {
		return countersign.Quorum{Approvers: []string{"group(x)"}, Need: rapid.IntRange(1, 3).Draw(t, "need")}
	}), 1, 3).Draw(t, "quorums")
}

func TestSeatingPeopleIsAMaximumMatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quorums := drawQuorums(t)
		people := drawPeople(t, len(quorums))
		left := make([]int, len(quorums))
		for i, quorum := range quorums {
			left[i] = quorum.Need
		}
		if got, want := fill(quorums, people), bruteForce(left, people); got != want {
			t.Fatalf("%d people are seated, and %d can be", got, want)
		}
	})
}

func TestWhatIsStillNeededFallsByAtMostOneWithEachPersonAndIsZeroExactlyWhenMet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quorums := drawQuorums(t)
		stage := &countersign.Stage{Quorums: quorums}
		need, _ := StillNeeded(stage)
		for _, person := range drawPeople(t, len(quorums)) {
			var standing []countersign.Asked
			for _, quorum := range person.quorums {
				standing = append(standing, countersign.Asked{Person: person.id, Rule: "group(x)", Quorum: quorum})
			}
			stage.Asked = append(stage.Asked, standing...)
			if _, who := StillNeeded(stage); len(standing) > 0 && !slices.Contains(who, person.id) {
				t.Fatalf("%s was asked and is not among %v", person.id, who)
			}
			possibleBefore := possible(stage, stage.Asked)
			stage.Decisions = append(stage.Decisions, countersign.Decision{By: person.id, Outcome: countersign.Approve, Standing: standing})
			after, who := StillNeeded(stage)
			if after < 0 || after > need || after < need-1 || slices.Contains(who, person.id) {
				t.Fatalf("it fell from %d to %d, of %v", need, after, who)
			}
			if (after == 0) != met(stage) {
				t.Fatalf("%d are needed, and the stage is met: %v", after, met(stage))
			}
			if possibleBefore != possible(stage, stage.Asked) {
				t.Fatal("an approval of somebody asked changed whether the stage can pass")
			}
			need = after
		}
	})
}

func TestOnePersonInBothGroupsNeverFillsBothSeatsAndMakesRoom(t *testing.T) {
	quorums := []countersign.Quorum{{Need: 1}, {Need: 1}}
	for _, test := range []struct {
		people []person
		want   int
	}{
		{[]person{{"both", []int{0, 1}}}, 1},
		{[]person{{"both", []int{0, 1}}, {"left", []int{0}}}, 2},
		{[]person{{"both", []int{0, 1}}, {"right", []int{1}}}, 2},
		{[]person{{"left", []int{0}}, {"left too", []int{0}}}, 1},
		{[]person{{"left", []int{0}}, {"left too", []int{0}}, {"both", []int{0, 1}}}, 2},
	} {
		if got := fill(quorums, test.people); got != test.want {
			t.Errorf("%v fill %d seats, want %d", test.people, got, test.want)
		}
	}
}
