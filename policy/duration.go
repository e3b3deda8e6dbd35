package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
)

// offered says which durations the type offers.
func (t *requestType) offered() string {
	if t.shortest > 0 {
		return fmt.Sprintf("durations from %s to %s are offered", t.shortest, t.longest)
	}
	return fmt.Sprintf("durations up to %s are offered", t.longest)
}

// duration is what is asked for, or the type's default.
func (t *requestType) duration(facts Facts) countersign.Seconds {
	switch {
	case facts.Until != 0:
		return countersign.Seconds((facts.Until - facts.Now) / 1000)
	case facts.Duration != 0:
		return facts.Duration
	}
	return t.standard
}

// judgeDuration fills the plan's duration, latest end and limits, and refuses
// what is not offered. At a recheck, an approver may have shortened the duration
// below what can be asked for, so only the longest is judged.
func (j *judgement) judgeDuration() {
	t, facts, plan := j.kind, j.facts, &j.plan
	asked := t.duration(facts)
	switch {
	case facts.Until != 0 && facts.Duration != 0 && !j.recheck:
		j.refuse(Refusal{Reason: ReasonEndAndDuration, Field: "/until", Because: "Both an end and a duration are given: give one of them."})
	case facts.Until != 0 && facts.Until <= facts.Now:
		j.refuse(Refusal{Reason: ReasonEndInThePast, Field: "/until", Because: fmt.Sprintf("The end %s is in the past: it is %s now.", facts.Until, facts.Now)})
	case asked > t.longest, asked <= 0, asked < t.shortest && !j.recheck:
		field := "/duration"
		if facts.Until != 0 {
			field = "/until"
		}
		j.refuse(Refusal{Reason: ReasonNotOffered, Field: field, Because: fmt.Sprintf("The duration %s is not offered by %s: %s.", asked, t.title, t.offered())})
	}
	limits := []Limit{{Source: "the longest duration of " + t.name, Duration: t.longest}}
	plan.Duration = asked
	for _, item := range facts.Items {
		if most := item.Entitlement.MaxDuration; most > 0 {
			limits = append(limits, Limit{Source: fmt.Sprintf("the longest duration of %s on %s", item.Entitlement.Name, item.Resource.System), Duration: most})
			plan.Duration = min(plan.Duration, most)
		}
	}
	if facts.Until != 0 {
		limits = append(limits, Limit{Source: "the end that was asked for", End: facts.Until})
	}
	for i, p := range []Party{facts.Beneficiary, facts.Requester} {
		outsider := p.Affiliation != "" && p.Affiliation != countersign.Employee
		if p.ContractEnd == 0 || i > 0 && (!outsider || p.ID == facts.Beneficiary.ID) {
			continue
		}
		limits = append(limits, Limit{Source: "the end of the contract of " + p.Name, End: p.ContractEnd})
		if p.ContractEnd <= facts.Now {
			j.refuse(Refusal{Reason: ReasonContractEnded, Because: fmt.Sprintf("The contract of %s ended at %s.", p.Name, p.ContractEnd)})
		}
	}
	for _, p := range facts.Answering {
		if p.ContractEnd == 0 {
			continue
		}
		limits = append(limits, Limit{Source: fmt.Sprintf("the end of the contract of %s, who answers for %s", p.Name, facts.Beneficiary.Name), End: p.ContractEnd})
		if p.ContractEnd <= facts.Now {
			j.refuse(Refusal{Reason: ReasonContractEnded, Because: fmt.Sprintf("The contract of %s, who answers for %s, ended at %s.", p.Name, facts.Beneficiary.Name, p.ContractEnd)})
		}
	}
	j.limit(limits...)
}

// limit adds limits to the plan, the strictest first, and moves its latest end.
func (j *judgement) limit(limits ...Limit) {
	end := func(limit Limit) countersign.Instant {
		if limit.End != 0 {
			return limit.End
		}
		return j.facts.Now.Add(limit.Duration)
	}
	plan := &j.plan
	plan.Limits = append(plan.Limits, limits...)
	slices.SortStableFunc(plan.Limits, func(a, b Limit) int { return cmp.Compare(end(a), end(b)) })
	for _, limit := range limits {
		plan.LatestEnd = countersign.Earliest(plan.LatestEnd, limit.End)
	}
}
