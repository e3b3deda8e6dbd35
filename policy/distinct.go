package policy

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
)

// judgeDistinct refuses a path whose stages must be decided by different people
// when there are not enough of them.
func (j *judgement) judgeDistinct() {
	if len(j.plan.Refusals) > 0 {
		return
	}
	for _, planned := range j.plan.Stages {
		if planned.Stage.State != countersign.StageWaiting || len(planned.Stage.DistinctFrom) == 0 {
			continue
		}
		var stages []PlannedStage
		for _, other := range j.plan.Stages {
			if other.Stage.State == countersign.StageWaiting && slices.Contains(planned.Stage.DistinctFrom, other.Stage.Name) {
				stages = append(stages, other)
			}
		}
		stages = append(stages, planned)
		if missing, ok := supplyApart(stages); !ok && !canBeDecided(stages) {
			j.refuse(Refusal{Reason: ReasonTooFewApprovers, Because: fmt.Sprintf("The stage %s must be decided by other people than %s, and there are too few: %s.",
				planned.Stage.Name, enumerate(planned.Stage.DistinctFrom, "and"), missing)})
		}
	}
}

// supplyApart says whether all the stages could be decided by different people.
func supplyApart(stages []PlannedStage) (missing string, ok bool) {
	var joint countersign.Stage
	var asked []countersign.Asked
	for _, planned := range stages {
		for _, a := range planned.Standing {
			a.Quorum += len(joint.Quorums)
			asked = append(asked, a)
		}
		joint.Quorums = append(joint.Quorums, planned.Stage.Quorums...)
	}
	return Supplies(joint, asked)
}

// canBeDecided says whether the last stage can be decided by other people than
// the ones before, which may share people where they need not differ.
func canBeDecided(stages []PlannedStage) bool {
	last := stages[len(stages)-1]
	p := path{stages: stages}
	for i, planned := range stages {
		if i < len(stages)-1 {
			if _, ok := supplyApart([]PlannedStage{planned, last}); !ok {
				return false
			}
		}
		for q, quorum := range planned.Stage.Quorums {
			var people []countersign.IdentityID
			for _, a := range planned.Standing {
				if a.Quorum == q {
					people = append(people, a.Person)
				}
			}
			for n := range quorum.Need {
				p.seats = append(p.seats, seat{stage: i, people: people, again: n > 0})
			}
		}
	}
	return p.fill(0)
}

// path gives each seat (one needed approval) of several stages a person.
type path struct {
	stages []PlannedStage
	seats  []seat
	tried  int
}

type seat struct {
	stage  int
	people []countersign.IdentityID
	// again says that the seat is of the same quorum as the one before.
	again bool
	taken int
}

// Beyond this many tries a path counts as one that can be decided. A wrong guess
// grants nothing: the stage would find too few, and be denied at its deadline.
const maxTries = 20_000

func (p *path) fill(i int) bool {
	if p.tried++; i == len(p.seats) || p.tried > maxTries {
		return true
	}
	first := 0
	if p.seats[i].again {
		first = p.seats[i-1].taken + 1
	}
	for n := first; n < len(p.seats[i].people); n++ {
		if p.seats[i].taken = n; p.fits(i) && p.fill(i+1) {
			return true
		}
	}
	return false
}

// fits says whether the person of a seat has no earlier one that excludes it.
func (p *path) fits(i int) bool {
	mine := p.seats[i]
	return !slices.ContainsFunc(p.seats[:i], func(other seat) bool {
		apart := other.stage == mine.stage || slices.Contains(p.stages[mine.stage].Stage.DistinctFrom, p.stages[other.stage].Stage.Name)
		return apart && other.people[other.taken] == mine.people[mine.taken]
	})
}
