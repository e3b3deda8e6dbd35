package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// person is somebody who counts, or could count, for some of a stage's quorums;
// whoever stands in for somebody counts as that one.
type person struct {
	id      countersign.IdentityID
	quorums []int
}

// met reports whether the approvals of a stage fill every quorum, each with
// different people.
func met(stage *countersign.Stage) bool {
	return fill(stage.Quorums, approvals(stage)) == seats(stage.Quorums)
}

// possible reports whether the stage can still pass: the approvals so far, with
// everybody who may decide today and has not.
func possible(stage *countersign.Stage, asked []countersign.Asked) bool {
	people := approvals(stage)
	for _, other := range asked {
		if decisionBy(stage, other.Person) == nil {
			people = addSeat(people, other)
		}
	}
	return fill(stage.Quorums, people) == seats(stage.Quorums)
}

// approvals returns who approved, with the quorums that each stood for then.
func approvals(stage *countersign.Stage) []person {
	var people []person
	for _, decision := range stage.Decisions {
		if decision.Outcome == countersign.Approve || decision.Outcome == countersign.InOrder {
			for _, standing := range decision.Standing {
				people = addSeat(people, standing)
			}
		}
	}
	return people
}

func addSeat(people []person, asked countersign.Asked) []person {
	for i := range people {
		if people[i].id == asked.Seat() {
			people[i].quorums = append(people[i].quorums, asked.Quorum)
			return people
		}
	}
	return append(people, person{asked.Seat(), []int{asked.Quorum}})
}

func seats(quorums []countersign.Quorum) int {
	total := 0
	for _, quorum := range quorums {
		total += quorum.Need
	}
	return total
}

// fill seats as many different people as it can: a bipartite matching by
// augmenting paths, so that somebody who counts for two groups never fills both
// and never takes the seat that only another one's absence would leave empty.
func fill(quorums []countersign.Quorum, people []person) int {
	var seatQuorum []int
	for i, quorum := range quorums {
		for range quorum.Need {
			seatQuorum = append(seatQuorum, i)
		}
	}
	taken := make([]int, len(seatQuorum))
	for i := range taken {
		taken[i] = -1
	}
	var place func(who int, tried []bool) bool
	place = func(who int, tried []bool) bool {
		for seat, quorum := range seatQuorum {
			if tried[seat] || !slices.Contains(people[who].quorums, quorum) {
				continue
			}
			tried[seat] = true
			if taken[seat] < 0 || place(taken[seat], tried) {
				taken[seat] = who
				return true
			}
		}
		return false
	}
	filled := 0
	for who := range people {
		if place(who, make([]bool, len(seatQuorum))) {
			filled++
		}
	}
	return filled
}

// decisionBy returns the person's decision in the stage, or nil.
func decisionBy(stage *countersign.Stage, id countersign.IdentityID) *countersign.Decision {
	for i := range stage.Decisions {
		if stage.Decisions[i].By == id {
			return &stage.Decisions[i]
		}
	}
	return nil
}

// seatTaken reports whether the one for whom the person stands in has decided, or
// somebody else in that place.
func seatTaken(stage *countersign.Stage, asked countersign.Asked) bool {
	return asked.OnBehalfOf != "" && slices.ContainsFunc(stage.Decisions, func(d countersign.Decision) bool {
		return d.By == asked.OnBehalfOf || d.By != asked.Person && slices.ContainsFunc(d.Standing, func(a countersign.Asked) bool { return a.OnBehalfOf == asked.OnBehalfOf })
	})
}

// StillNeeded returns how many further approvals the stage needs, and who could
// give them of those asked.
func StillNeeded(stage *countersign.Stage) (need int, who []countersign.IdentityID) {
	need = seats(stage.Quorums) - fill(stage.Quorums, approvals(stage))
	for _, asked := range stage.Asked {
		if decisionBy(stage, asked.Person) == nil && !seatTaken(stage, asked) && !slices.Contains(who, asked.Person) {
			who = append(who, asked.Person)
		}
	}
	return need, who
}
