package httpapi

import (
	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// viewOfPreview shows a preview with the names of its people.
func viewOfPreview(preview *desk.Preview) Preview {
	plan := preview.Plan
	ref := func(id countersign.IdentityID) Ref { return Ref{ID: id, Name: preview.Names[id]} }
	view := Preview{
		Type: plan.Type, Title: plan.Title, Route: preview.Route, Rule: plan.Rule, Beneficiary: ref(preview.Beneficiary),
		Duration: plan.Duration, LatestEnd: plan.LatestEnd, CollectWithin: plan.CollectWithin,
		Refusals: append([]Refusal{}, plan.Refusals...), Limits: append([]DurationLimit{}, plan.Limits...),
		Evidence: append([]Slot{}, plan.Evidence...), Stages: []PlannedStage{}, Effects: append([]string{}, preview.Effects...),
		Waived: plan.Waived, BreakGlass: plan.BreakGlass, Tell: plan.Tell,
	}
	if preview.ConsentOf != "" {
		view.ConsentOf = ref(preview.ConsentOf)
	}
	for _, planned := range plan.Stages {
		stage := PlannedStage{
			Name: planned.Stage.Name, Step: planned.Stage.Step, State: planned.Stage.State, Because: planned.Stage.Because,
			Within: planned.Stage.Within, Asked: []Asked{}, Excluded: []Excluded{},
		}
		for _, quorum := range planned.Stage.Quorums {
			stage.Need += quorum.Need
		}
		for _, asked := range planned.Standing {
			stage.Asked = append(stage.Asked, Asked{Person: ref(asked.Person), Rule: asked.Rule})
		}
		for _, excluded := range planned.Excluded {
			stage.Excluded = append(stage.Excluded, Excluded{Person: ref(excluded.Person), Because: excluded.Because})
		}
		view.Stages = append(view.Stages, stage)
	}
	return view
}
