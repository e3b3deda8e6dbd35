package policy

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
)

// StageRules returns every approver rule that can count for the stage now: those
// of its quorums with their `else`, and those of the rungs that were climbed.
func StageRules(stage countersign.Stage) []string {
	var rules []string
	for _, quorum := range stage.Quorums {
		rules = append(rules, quorum.Approvers...)
		rules = append(rules, quorum.Else...)
	}
	for _, rung := range climbed(stage) {
		rules = append(rules, rung.EscalateTo...)
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

func climbed(stage countersign.Stage) []countersign.Rung {
	return stage.Ladder[:max(0, min(stage.Climbed, len(stage.Ladder)))]
}

// Standing returns who may decide the stage, by what its rules find today, and
// who was found and may not. In each quorum the approvers' rules join in order,
// then each `else` rule while the people so far are fewer than needed (people
// whom earlier quorums of the stage need do not count twice); the rules of
// climbed rungs join every quorum. A person stands once in a quorum, under
// the first rule that finds them. Who is no person, not active, or excluded by
// id (with the reason as the value) does not stand.
func Standing(stage countersign.Stage, approvers map[string][]Candidate, excluded map[countersign.IdentityID]string) ([]countersign.Asked, []Excluded) {
	asked := []countersign.Asked{}
	var kept []Excluded
	keptOut := map[countersign.IdentityID]bool{}
	for i, quorum := range stage.Quorums {
		stands := map[countersign.IdentityID]int{}
		join := func(rule string) {
			for _, candidate := range approvers[rule] {
				why := unfit(candidate, excluded)
				switch {
				case why != "" && !keptOut[candidate.ID]:
					keptOut[candidate.ID] = true
					kept = append(kept, Excluded{candidate.ID, why})
				case why != "":
				default:
					one := countersign.Asked{Person: candidate.ID, Rule: rule, Quorum: i, OnBehalfOf: candidate.OnBehalfOf}
					at, already := stands[candidate.ID]
					if already && (asked[at].OnBehalfOf == "" || candidate.OnBehalfOf != "") {
						continue
					}
					// Who stands in for another counts for that one, unless a rule finds the
					// person as well.
					if already {
						asked[at] = one
					} else {
						stands[candidate.ID] = len(asked)
						asked = append(asked, one)
					}
				}
			}
		}
		for _, rule := range quorum.Approvers {
			join(rule)
		}
		_, before := Supplies(countersign.Stage{Quorums: stage.Quorums[:i]}, asked)
		for _, rule := range quorum.Else {
			_, enough := Supplies(countersign.Stage{Quorums: stage.Quorums[:i+1]}, asked)
			if seats(asked, i) < quorum.Need || before && !enough {
				join(rule)
			}
		}
		for _, rung := range climbed(stage) {
			for _, rule := range rung.EscalateTo {
				join(rule)
			}
		}
	}
	return oneSeatEach(asked), kept
}

// oneSeatEach lets everybody count for one: for themselves, where a rule finds
// them in any quorum of the stage, and otherwise for the first whom they stand in
// for. One decision never fills two places.
func oneSeatEach(asked []countersign.Asked) []countersign.Asked {
	seat := map[countersign.IdentityID]countersign.IdentityID{}
	for _, a := range asked {
		if _, chosen := seat[a.Person]; !chosen || a.OnBehalfOf == "" {
			seat[a.Person] = a.Seat()
		}
	}
	return slices.DeleteFunc(asked, func(a countersign.Asked) bool { return a.Seat() != seat[a.Person] })
}

// seats counts who is found for a quorum, whoever stands in for whom.
func seats(asked []countersign.Asked, quorum int) int {
	taken := map[countersign.IdentityID]bool{}
	for _, a := range asked {
		if a.Quorum == quorum {
			taken[a.Seat()] = true
		}
	}
	return len(taken)
}

func unfit(candidate Candidate, excluded map[countersign.IdentityID]string) string {
	why, isExcluded := excluded[candidate.ID]
	if other, kept := excluded[candidate.OnBehalfOf]; kept && !isExcluded {
		why, isExcluded = "stands in for somebody who "+other, true
	}
	switch {
	case isExcluded && why == "":
		return "kept out by separation of duties"
	case isExcluded:
		return why
	case !candidate.Human:
		return "not a person"
	case !candidate.Active:
		return "not active"
	}
	return ""
}

// Supplies says whether the people asked can meet every quorum of the stage with
// different people, and if not, which quorum they cannot meet.
func Supplies(stage countersign.Stage, asked []countersign.Asked) (missing string, ok bool) {
	m := matching{takes: map[countersign.IdentityID]int{}}
	for i, quorum := range stage.Quorums {
		var people []countersign.IdentityID
		for _, a := range asked {
			if a.Quorum == i {
				people = append(people, a.Seat())
			}
		}
		for n := range quorum.Need {
			m.seats = append(m.seats, people)
			if m.seat(len(m.seats)-1, map[countersign.IdentityID]bool{}) {
				continue
			}
			rules := enumerate(quorum.Approvers, "or")
			if len(people) >= quorum.Need {
				return fmt.Sprintf("%s must find %s whom no other quorum of the stage needs, and can find %d", rules, counted(quorum.Need, "person", "different people"), n), false
			}
			return fmt.Sprintf("%s must find %s, and can find %d", rules, counted(quorum.Need, "person", "different people"), len(people)), false
		}
	}
	return "", true
}

// matching gives each seat (one needed approval) a person of its own, moving
// others to where they also fit (augmenting paths in a bipartite graph).
type matching struct {
	seats [][]countersign.IdentityID
	takes map[countersign.IdentityID]int
}

func (m *matching) seat(i int, tried map[countersign.IdentityID]bool) bool {
	for _, person := range m.seats[i] {
		if tried[person] {
			continue
		}
		tried[person] = true
		if other, taken := m.takes[person]; !taken || m.seat(other, tried) {
			m.takes[person] = i
			return true
		}
	}
	return false
}
