package workflow

import "github.com/countersign/countersign"

// Events of triage.

// RequestDescribed begins a request that was described in words.
type RequestDescribed struct {
	Change RequestDescribedChange `json:"change"`
	Reason *Reason                `json:"reason"`
}

type RequestDescribedChange struct {
	Requester   countersign.IdentityID   `json:"requester"`
	Beneficiary countersign.IdentityID   `json:"beneficiary"`
	SamePerson  []countersign.IdentityID `json:"same_person"`
	Priority    int                      `json:"priority"`
	LookBy      countersign.Instant      `json:"look_by"`
}

func (RequestDescribed) EventKind() string { return "request.described@1" }

// RequestPrioritised says how urgent a description is, and by when an operator
// should look.
type RequestPrioritised struct {
	Change struct {
		Priority int                 `json:"priority"`
		LookBy   countersign.Instant `json:"look_by"`
	} `json:"change"`
}

func (RequestPrioritised) EventKind() string { return "request.prioritised@1" }

// RequestClassified says which request a description is, and by which path.
type RequestClassified struct {
	Change struct {
		By    countersign.IdentityID `json:"by"`
		Route RequestSubmittedChange `json:"route"`
	} `json:"change"`
	Reason *Reason     `json:"reason"`
	Facts  *FactsValue `json:"facts"`
}

func (RequestClassified) EventKind() string { return "request.classified@1" }

func init() {
	Registry.Register(&RequestDescribed{}, &RequestPrioritised{}, &RequestClassified{})
}

// lookWithin is how soon an operator should look, by priority from 1 on.
var lookWithin = []countersign.Seconds{4 * countersign.Hour, countersign.Day, 3 * countersign.Day, 5 * countersign.Day}

// Level is how much something matters, or how soon.
type Level string

const (
	LowLevel    Level = "low"
	MediumLevel Level = "medium"
	HighLevel   Level = "high"
)

// Levels lists every level, the lowest first.
var Levels = []Level{LowLevel, MediumLevel, HighLevel}

// PriorityOf is the usual matrix of impact and urgency: 1 where both are high, 4
// where both are low.
func PriorityOf(impact, urgency Level) (int, error) {
	weight := map[Level]int{LowLevel: 0, MediumLevel: 1, HighLevel: 2}
	i, knownImpact := weight[impact]
	u, knownUrgency := weight[urgency]
	if !knownImpact || !knownUrgency {
		return 0, countersign.Errorf(countersign.Invalid, "unknown-level", "Impact and urgency are each one of %v.", Levels)
	}
	return max(1, 4-i-u), nil
}

// DescribeRequest opens a request that is only words yet.
func DescribeRequest(occasion Occasion, requester, beneficiary countersign.IdentityID, samePerson []countersign.IdentityID, text string, priority int) (Outcome, error) {
	if blank(text) {
		return Outcome{}, countersign.Errorf(countersign.Invalid, "text-missing", "Say in your own words what you need and what for.").At("/text")
	}
	f := &folding{Occasion: occasion}
	err := f.request(occasion.Mint.Request(), &RequestDescribed{
		Change: RequestDescribedChange{
			Requester: requester, Beneficiary: beneficiary, SamePerson: samePerson, Priority: priority, LookBy: occasion.Now.Add(lookWithin[priority-1]),
		},
		Reason: &Reason{Text: text, Answers: []byte("{}")},
	})
	return f.result(), err
}

// ClassifyRequest says which request a description is. From then on it is one
// like any other: the operator grants nothing by it, and a person decides.
func ClassifyRequest(occasion Occasion, state *countersign.Request, route Route, verdict RequestVerdict) (Outcome, error) {
	if err := Allowed(RequestTransitions, state.State, Classify, verdict.Standing); err != nil {
		return Outcome{}, err
	}
	decides := false
	for _, stage := range route.Stages {
		decides = decides || stage.State == countersign.StageWaiting && !stage.Review
	}
	switch {
	case route.BreakGlass || !decides:
		return Outcome{}, countersign.Errorf(countersign.Refused, "nobody-decides", "Nobody would decide this but a rule: who needs it asks for it without triage.").At("/type")
	case route.Requester != state.Requester || route.Beneficiary != state.Beneficiary:
		return Outcome{}, countersign.Errorf(countersign.Refused, "another-beneficiary", "Triage says what is asked for, and not by whom or for whom.").At("/beneficiary")
	}
	f := &folding{Occasion: occasion, outcome: Outcome{Request: Copy(state)}}
	classified := &RequestClassified{Reason: reasonOf(route), Facts: &FactsValue{Judged: route.Facts}}
	classified.Change.By, classified.Change.Route = occasion.Actor.Identity(), submittedChange(route)
	if err := f.request(state.ID, classified); err != nil {
		return Outcome{}, err
	}
	if err := f.planned(route.Effects); err != nil {
		return Outcome{}, err
	}
	if err := f.advance(verdict); err != nil {
		return Outcome{}, err
	}
	return f.result(), checkLeads(RequestTransitions, state.State, Classify, f.outcome.Request.State)
}

// prioritise sets how urgent a description is.
func (f *folding) prioritise(priority int) error {
	prioritised := &RequestPrioritised{}
	prioritised.Change.Priority, prioritised.Change.LookBy = priority, f.Now.Add(lookWithin[priority-1])
	return f.request(f.outcome.Request.ID, prioritised)
}

// turnDown ends a description that becomes no request.
func (f *folding) turnDown(command RequestCommand) error {
	if blank(command.Reason) {
		return countersign.Errorf(countersign.Invalid, "reason-missing", "Say why: the person who asked will read it.").At("/reason")
	}
	if command.Name == Merge {
		return f.end(countersign.RequestCancelled, "merged", "Merged with "+string(command.Into)+": "+command.Reason)
	}
	return f.end(countersign.RequestDenied, "declined", command.Reason)
}
