package policy

import "github.com/countersign/countersign"

// Plan is a judgement: what the set says about one asking, given the facts.
// With refusals the rest may be incomplete; nothing is submitted then.
type Plan struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	// Rule is the digest of the request type's file.
	Rule     countersign.Digest `json:"rule"`
	Refusals []Refusal          `json:"refusals,omitempty"`
	// Waived are the refusals that the exception lifts, if its stage approves it.
	Waived []Refusal `json:"waived,omitempty"`

	// Duration is how long the access will last from its read-back on, after all
	// limits; LatestEnd is the end that no limit allows to pass, 0 for none.
	Duration  countersign.Seconds `json:"duration"`
	LatestEnd countersign.Instant `json:"latest_end,omitempty"`
	// Limits explains each limit that took part, the strictest first.
	Limits []Limit `json:"limits,omitempty"`

	// CollectWithin is how long consent and evidence may be missing, counted by
	// the set's default calendar.
	CollectWithin string `json:"collect_within"`

	Evidence []countersign.Slot     `json:"evidence,omitempty"`
	Stages   []PlannedStage         `json:"stages"`
	Fulfil   []countersign.Step     `json:"fulfil"`
	Terms    countersign.GrantTerms `json:"terms"`
	// Rotates is nil where new access is asked for.
	Rotates *Rotation `json:"rotates,omitempty"`
	// BreakGlass says that the access is taken at once, and reviewed afterwards; Tell
	// are the rules that find who is told.
	BreakGlass bool     `json:"break_glass,omitempty"`
	Tell       []string `json:"tell,omitempty"`
}

// Refusal is one reason why the asking cannot be submitted, or an approved one
// not be carried out.
type Refusal struct {
	// Reason is one of the stable names below.
	Reason string `json:"reason"`
	// Rule is the text of the policy's condition, for its own refusals, or the name
	// of the separation rule.
	Rule string `json:"rule,omitempty"`
	// Because is the sentence for the person who asked.
	Because string `json:"because"`
	// Field is what it is about, as a JSON pointer into the asking; may be "".
	Field string `json:"field,omitempty"`
	// Waivable says that the policy lets an exception lift the refusal.
	Waivable bool `json:"waivable,omitempty"`
}

// Limit is one limit on the duration or end, and where it comes from.
type Limit struct {
	Source   string              `json:"source"`
	Duration countersign.Seconds `json:"duration,omitempty"`
	End      countersign.Instant `json:"end,omitempty"`
}

// PlannedStage is a stage as it would be taken.
type PlannedStage struct {
	// Stage has its state set to waiting, or to skipped with the reason, or to
	// passed where a rule and not a person approves.
	Stage countersign.Stage `json:"stage"`
	// Standing is who could decide the stage, after Else and without everyone
	// whom separation of duties excludes.
	Standing []countersign.Asked `json:"standing"`
	// Excluded says who was found by a rule and may not decide, and why: kept out
	// by separation of duties, not active, or not a person.
	Excluded []Excluded `json:"excluded,omitempty"`
}

// Excluded is somebody whom a rule found and who may not decide.
type Excluded struct {
	Person  countersign.IdentityID `json:"person"`
	Because string                 `json:"because"`
}

// The reasons of refusals.
const (
	ReasonInactive          = "inactive"
	ReasonUnowned           = "unowned"
	ReasonTooManyItems      = "too-many-entitlements"
	ReasonTooManyOpen       = "too-many-open"
	ReasonInvalidAnswer     = "invalid-answer"
	ReasonRecordNotFound    = "record-not-found"
	ReasonRecordRetired     = "record-retired"
	ReasonRecordOfAnother   = "record-names-another-owner"
	ReasonRecordTooNarrow   = "record-does-not-cover"
	ReasonEndAndDuration    = "end-and-duration"
	ReasonEndInThePast      = "end-in-the-past"
	ReasonNotOffered        = "duration-not-offered"
	ReasonContractEnded     = "contract-ended"
	ReasonRefusedByPolicy   = "refused-by-policy"
	ReasonMissingAttribute  = "missing-attribute"
	ReasonConditionFailed   = "condition-failed"
	ReasonNoApprover        = "no-approver"
	ReasonTooFewApprovers   = "too-few-approvers"
	ReasonNoRequestType     = "no-request-type"
	ReasonWrongRequestType  = "wrong-request-type"
	ReasonNothingIsAskedFor = "no-entitlement"
	ReasonIncompleteFacts   = "incomplete-facts"

	ReasonToxicCombination = "toxic-combination"
	ReasonOutOfBounds      = "out-of-bounds"
	ReasonNoExceptions     = "no-exceptions"
	ReasonNothingToWaive   = "nothing-to-waive"
	ReasonNoControl        = "no-control"
	ReasonNoExceptionOwner = "no-exception-owner"
	ReasonExceptionEnd     = "exception-end-not-offered"

	ReasonNotEligible       = "not-eligible"
	ReasonNotForOthers      = "not-for-others"
	ReasonReviewOverdue     = "review-overdue"
	ReasonTicketNotFound    = "ticket-not-found"
	ReasonTicketState       = "ticket-in-another-state"
	ReasonSourceUnavailable = "source-unavailable"
)

// Route names the path that a plan gives: the type and its rule, the duration,
// what is waived, and each stage with its state, rules, quorums and the people
// who stand. The latest end and the limits are no part of it.
func (p Plan) Route() countersign.Digest {
	type routeStage struct {
		Name         string                 `json:"name"`
		Step         int                    `json:"step"`
		State        countersign.StageState `json:"state"`
		Quorums      []countersign.Quorum   `json:"quorums"`
		DistinctFrom []string               `json:"distinct_from"`
		Standing     []countersign.Asked    `json:"standing"`
	}
	type routeWaived struct {
		Reason string `json:"reason"`
		Rule   string `json:"rule"`
	}
	var waived []routeWaived
	for _, refusal := range p.Waived {
		waived = append(waived, routeWaived{refusal.Reason, refusal.Rule})
	}
	stages := make([]routeStage, len(p.Stages))
	for i, planned := range p.Stages {
		stage := planned.Stage
		stages[i] = routeStage{stage.Name, stage.Step, stage.State, stage.Quorums, stage.DistinctFrom, planned.Standing}
	}
	// Every text of a route was read from valid UTF-8, so it has canonical bytes;
	// were that ever wrong, the empty digest equals no route that was shown.
	route, _ := countersign.DigestOf("route", struct {
		Type     string              `json:"type"`
		Rule     countersign.Digest  `json:"rule"`
		Duration countersign.Seconds `json:"duration"`
		Stages   []routeStage        `json:"stages"`
		Waived   []routeWaived       `json:"waived,omitempty"`
	}{p.Type, p.Rule, p.Duration, stages, waived})
	return route
}
