package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// bites count how often each fault happened to the house. What is armed may never
// come to it: it is healed first, or nothing is written meanwhile.
type bites map[string]int

func (b bites) count(fault string) {
	if b != nil {
		b[fault]++
	}
}

func (b bites) String() string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(b)) {
		text = append(text, fmt.Sprintf("%s %d", name, b[name]))
	}
	return "faults that happened: " + strings.Join(text, ", ")
}

// What goes wrong, as it is counted.
const (
	answerLost      = "the target's answer is lost"
	writeLost       = "a write to the target is lost"
	throttled       = "the target asks to wait"
	rejected        = "the target refuses for good"
	arrivesLate     = "a write arrives late"
	hangs           = "an operation hangs until its deadline"
	targetDown      = "the target is down"
	diesAtTarget    = "death before a write to the target"
	diesAfterTarget = "death after a write to the target"
	diesAtCommit    = "death before a commit"
	diesAfterCommit = "death after a commit"
	commitRefused   = "a commit fails"
	commitLost      = "a commit's answer is lost"
	diskFull        = "the disk is full"
	stepsBack       = "a commit at a time that was before"
	midCommand      = "something between judgement and commit"
	midOperation    = "something in the middle of an operation"
	midReading      = "something in the middle of a reading"
	deliveredLate   = "a late or second delivery"
)

// fault is one thing that goes wrong. arm lets it happen to what comes next; those
// without are drawn by the steps of a story.
type fault struct {
	weight int
	name   string
	arm    func(*story)
}

var allFaults = []fault{
	{2, answerLost, func(s *story) { s.target.slow = 1 + s.rng.IntN(3) }},
	{1, writeLost, func(s *story) { s.target.deaf = 1 + s.rng.IntN(3) }},
	{1, throttled, func(s *story) { s.target.busy = 1 + s.rng.IntN(4) }},
	{1, rejected, func(s *story) { s.target.rejecting = 1 }},
	{2, arrivesLate, func(s *story) {
		s.target.late, s.target.lateFor = 1+s.rng.IntN(2), time.Duration(1+s.rng.IntN(58))*time.Second
	}},
	{1, hangs, func(s *story) { s.target.hang = 1 }},
	{1, targetDown, func(s *story) {
		s.target.downUntil = s.clock.Now().Add(time.Duration(1+s.rng.IntN(3600*24)) * time.Second)
	}},
	{1, diesAtTarget, func(s *story) { s.target.dieBefore = 1 }},
	{1, diesAfterTarget, func(s *story) { s.target.dieAfter = 1 }},
	{1, diesAtCommit, func(s *story) { s.faults.dieBefore = 1 + s.rng.IntN(4) }},
	{1, diesAfterCommit, func(s *story) { s.faults.dieAfter = 1 + s.rng.IntN(4) }},
	{1, commitRefused, func(s *story) { s.faults.refuse = 1 + s.rng.IntN(4) }},
	{1, commitLost, func(s *story) { s.faults.lose = 1 + s.rng.IntN(4) }},
	{1, diskFull, func(s *story) { s.fillDisk(true) }},
	{1, stepsBack, func(s *story) {
		s.clock.offset -= pick(s, 2*time.Second, 10*time.Minute, 3*time.Hour)
		s.tell("the clock stepped back")
	}},
	{0, midCommand, nil}, {0, midOperation, nil}, {0, midReading, nil}, {0, deliveredLate, nil},
}

// arm draws something that will go wrong, more often what has not in this story.
func (s *story) arm() {
	if s.tallies["retry"].accepted == 0 && !s.seen["retry"] && s.chance(25) {
		s.target.rejecting = 1
		return
	}
	total, missing := 0, []fault{}
	for _, one := range allFaults {
		if total += one.weight; one.arm != nil && s.bites[one.name] == 0 && !s.seen[one.name] {
			missing = append(missing, one)
		}
	}
	if len(missing) > 0 && s.chance(50) {
		pick(s, missing...).arm(s)
		return
	}
	at := s.rng.IntN(total)
	for _, one := range allFaults {
		if at -= one.weight; at < 0 {
			one.arm(s)
			return
		}
	}
}
