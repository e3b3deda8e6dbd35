package desk

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Read models: what doors show. Times are instants, durations whole seconds.

// Ref names an identity.
type Ref struct {
	ID    countersign.IdentityID   `json:"id"`
	Name  string                   `json:"name"`
	Login string                   `json:"login,omitempty"`
	Kind  countersign.IdentityKind `json:"kind,omitempty"`
}

// EntitlementRef names an entitlement as people write it.
type EntitlementRef struct {
	ID    countersign.EntitlementID   `json:"id"`
	Name  string                      `json:"name"`
	Title string                      `json:"title,omitempty"`
	Kind  countersign.EntitlementKind `json:"kind"`
	Risk  countersign.Risk            `json:"risk"`
	// Definition is the version of what the entitlement means on its target.
	Definition string `json:"definition,omitempty"`
}

// RequestView is a request as one reader sees it.
type RequestView struct {
	ID          countersign.RequestID    `json:"id"`
	Version     int64                    `json:"version"`
	Type        string                   `json:"type"`
	Title       string                   `json:"title"`
	State       countersign.RequestState `json:"state"`
	Phase       countersign.Phase        `json:"phase"`
	Requester   Ref                      `json:"requester"`
	Beneficiary Ref                      `json:"beneficiary"`

	Entitlements []EntitlementRef `json:"entitlements"`
	Reason       string           `json:"reason"`
	Answers      json.RawMessage  `json:"answers,omitempty"`
	// Effects say what the connectors would do exactly.
	Effects   []string            `json:"effects,omitempty"`
	Duration  countersign.Seconds `json:"duration"`
	LatestEnd countersign.Instant `json:"latest_end,omitzero"`

	Consent  *ConsentView `json:"consent,omitempty"`
	Evidence []SlotView   `json:"evidence"`
	Stages   []StageView  `json:"stages"`
	Grants   []GrantView  `json:"grants"`

	PolicySet countersign.Digest `json:"policy_set"`
	Route     countersign.Digest `json:"route"`
	// Shown is what a decision must name: the digest of what is decided on.
	Shown countersign.Digest `json:"shown"`

	// BreakGlass says that the access was taken at once; Told who was told of it.
	BreakGlass bool  `json:"break_glass,omitempty"`
	Told       []Ref `json:"told,omitempty"`
	// Extends is the grant whose end the request moves.
	Extends countersign.GrantID `json:"extends,omitempty"`
	// Adopts is the finding whose access the grant takes over.
	Adopts countersign.FindingID `json:"adopts,omitempty"`
	// Rotates is the grant that gets another credential, and how long the older one
	// works beside it.
	Rotates   *countersign.Rotates `json:"rotates,omitempty"`
	Exception *ExceptionView       `json:"exception,omitempty"`
	Questions []QuestionView       `json:"questions,omitempty"`
	// Priority is 1 to 4 for what goes through triage; ClassifiedBy the operator who
	// said which request it is.
	Priority     int  `json:"priority,omitempty"`
	ClassifiedBy *Ref `json:"classified_by,omitempty"`

	SubmittedAt countersign.Instant `json:"submitted_at"`
	DecidedAt   countersign.Instant `json:"decided_at,omitzero"`
	ClosedAt    countersign.Instant `json:"closed_at,omitzero"`
	Outcome     string              `json:"outcome,omitempty"`
	// Ticket is the ticket that it was opened from.
	Ticket *TicketView `json:"ticket,omitempty"`
	// WaitsFor says in one sentence what has to happen next; "" when it ended.
	WaitsFor string `json:"waits_for,omitempty"`
	// Offered are the commands that the reader may give now.
	Offered []workflow.Command `json:"offered"`
}

// ExceptionView is what a refusal was waived for.
type ExceptionView struct {
	Waives  []countersign.Waived `json:"waives"`
	Control string               `json:"control"`
	Owner   Ref                  `json:"owner"`
	Until   countersign.Instant  `json:"until"`
}

// QuestionView is what an approver asked, with the answer once there is one.
type QuestionView struct {
	By         Ref                 `json:"by"`
	At         countersign.Instant `json:"at"`
	Text       string              `json:"text"`
	Answer     string              `json:"answer,omitempty"`
	AnsweredAt countersign.Instant `json:"answered_at,omitzero"`
}

type ConsentView struct {
	Of Ref                 `json:"of"`
	By *Ref                `json:"by,omitempty"`
	At countersign.Instant `json:"at,omitzero"`
}

type SlotView struct {
	Name       string                   `json:"name"`
	Title      string                   `json:"title,omitempty"`
	Kind       countersign.EvidenceKind `json:"kind"`
	Due        countersign.EvidenceDue  `json:"due"`
	VerifiedBy string                   `json:"verified_by,omitempty"`
	// Brought says that who asks brings what the verifier then checks.
	Brought bool `json:"brought,omitempty"`
	// Ticket and Record are the state that a source must report, and of which ticket;
	// Record can also be the key of a system record, or the digest of an artifact.
	Ticket   countersign.TicketState `json:"ticket,omitempty"`
	Record   string                  `json:"record,omitempty"`
	MustOpen bool                    `json:"must_open,omitempty"`
	// InPlaceOf names the evidence that this stands in for where it is not available.
	InPlaceOf string              `json:"in_place_of,omitempty"`
	Deadline  countersign.Instant `json:"deadline,omitzero"`
	Overdue   bool                `json:"overdue,omitempty"`
	Held      *EvidenceView       `json:"held,omitempty"`
	// WrittenOffBy closed the request without it.
	WrittenOffBy *Ref `json:"written_off_by,omitempty"`
}

type EvidenceView struct {
	ID       countersign.EvidenceID `json:"id"`
	Digest   countersign.Digest     `json:"digest"`
	Source   string                 `json:"source"`
	By       Ref                    `json:"by"`
	At       countersign.Instant    `json:"at"`
	Verified string                 `json:"verified,omitempty"`
	// Unavailable says that not every source could tell, and the content why.
	Unavailable bool `json:"unavailable,omitempty"`
}

type StageView struct {
	Name    string                 `json:"name"`
	Step    int                    `json:"step"`
	State   countersign.StageState `json:"state"`
	Because string                 `json:"because,omitempty"`
	// Need is how many approvals in all; StillNeeded how many are missing.
	Need        int                 `json:"need"`
	StillNeeded int                 `json:"still_needed"`
	Deadline    countersign.Instant `json:"deadline,omitzero"`
	Escalated   int                 `json:"escalated,omitempty"`
	// Review marks the review that follows the access; Overdue that its time has
	// passed; LiftedBy who agreed to lift what that blocks.
	Review   bool        `json:"review,omitempty"`
	Overdue  bool        `json:"overdue,omitempty"`
	LiftedBy []Ref       `json:"lifted_by,omitempty"`
	Asked    []AskedView `json:"asked"`
	// CanStillDecide are those asked who have not decided yet.
	CanStillDecide []Ref          `json:"can_still_decide"`
	Decisions      []DecisionView `json:"decisions"`
}

type AskedView struct {
	Person Ref    `json:"person"`
	Rule   string `json:"rule"`
	// OnBehalfOf is whom the person stands in for.
	OnBehalfOf *Ref `json:"on_behalf_of,omitempty"`
}

type DecisionView struct {
	By      Ref                 `json:"by"`
	Outcome countersign.Outcome `json:"outcome"`
	At      countersign.Instant `json:"at"`
	Rules   []string            `json:"rules"`
	// OnBehalfOf is whom the person stood in for; Opened the evidence that the person
	// had opened.
	OnBehalfOf *Ref                 `json:"on_behalf_of,omitempty"`
	Opened     []countersign.Digest `json:"opened,omitempty"`
	Reason     string               `json:"reason,omitempty"`
	Duration   countersign.Seconds  `json:"duration,omitempty"`
	Shown      countersign.Digest   `json:"shown"`
	Issuer     string               `json:"issuer"`
	Strength   string               `json:"strength"`
}

// GrantView is a grant as one reader sees it.
type GrantView struct {
	ID          countersign.GrantID    `json:"id"`
	Version     int64                  `json:"version"`
	State       countersign.GrantState `json:"state"`
	Origin      countersign.Origin     `json:"origin"`
	Request     countersign.RequestID  `json:"request,omitempty"`
	Holder      Ref                    `json:"holder"`
	Entitlement EntitlementRef         `json:"entitlement"`
	// Birthright is the rule that gave it; Lapsing why it goes, and since when.
	Birthright *countersign.Birthright `json:"birthright,omitempty"`
	Lapsing    *countersign.Lapse      `json:"lapsing,omitempty"`
	// Adopted says how the target names what a baseline took on the record.
	Adopted *countersign.Adopted `json:"adopted,omitempty"`
	// Redefined says that the entitlement means something else than what was approved.
	Redefined   *countersign.Redefinition `json:"redefined,omitempty"`
	From        countersign.Instant       `json:"from,omitzero"`
	Until       countersign.Instant       `json:"until,omitzero"`
	Credentials []CredentialView          `json:"credentials"`
	// EffectiveBy is when what the target handed out has run out, while revoked.
	EffectiveBy countersign.Instant `json:"effective_by,omitzero"`
	Ending      string              `json:"ending,omitempty"`
	EndAt       countersign.Instant `json:"end_at,omitzero"`
	GoneAt      countersign.Instant `json:"gone_at,omitzero"`
	Reminded    bool                `json:"reminded,omitempty"`
	// Assurance is on what it rests that the access is there, or is gone.
	Assurance countersign.Assurance `json:"assurance,omitempty"`
	Parked    *ParkedView           `json:"parked,omitempty"`
	// Trouble is why the last attempt to take it away did not, where one grant is shown.
	Trouble string             `json:"trouble,omitempty"`
	Offered []workflow.Command `json:"offered"`
}

type CredentialView struct {
	ID        countersign.CredentialID    `json:"id"`
	State     countersign.CredentialState `json:"state"`
	From      countersign.Instant         `json:"from,omitzero"`
	Until     countersign.Instant         `json:"until,omitzero"`
	RetireAt  countersign.Instant         `json:"retire_at,omitzero"`
	Reference string                      `json:"reference,omitempty"`
}

func (d *snapshot) ref(id countersign.IdentityID) Ref {
	ref := Ref{ID: id, Name: d.nameOf(id)}
	if identity := d.identities[id]; identity != nil {
		ref.Login, ref.Kind = identity.Handle(countersign.Login), identity.Kind
	}
	return ref
}

func (d *snapshot) refs(ids []countersign.IdentityID) []Ref {
	var refs []Ref
	for _, id := range ids {
		refs = append(refs, d.ref(id))
	}
	return refs
}

// behalf names whom the person stands in for; nil for nobody.
func (d *snapshot) behalf(asked countersign.Asked) *Ref {
	if asked.OnBehalfOf == "" {
		return nil
	}
	ref := d.ref(asked.OnBehalfOf)
	return &ref
}

func (d *snapshot) entitlementRef(id countersign.EntitlementID) EntitlementRef {
	ref := EntitlementRef{ID: id, Name: string(id)}
	if item, err := d.rightOf(id); err == nil {
		ref = EntitlementRef{ID: id, Name: d.rightName(item.entitlement), Title: item.entitlement.Title, Kind: item.entitlement.Kind, Risk: item.risk(), Definition: item.entitlement.Definition}
	}
	return ref
}

// requestView shows a request to somebody who may read it.
func (tx *transaction) requestView(request *countersign.Request, s *stance, grants []*countersign.Grant) (*RequestView, error) {
	dir := tx.directory
	view := &RequestView{
		ID: request.ID, Version: request.Version, Type: request.Type, Title: request.Title, State: request.State, Phase: request.State.Phase(),
		Requester: dir.ref(request.Requester), Beneficiary: dir.ref(request.Beneficiary),
		Reason: request.Reason, Answers: request.Answers, Effects: request.Effects, Duration: request.Duration, LatestEnd: request.LatestEnd,
		PolicySet: request.PolicySet, Route: request.Route, SubmittedAt: request.SubmittedAt, DecidedAt: request.DecidedAt,
		ClosedAt: request.ClosedAt, Outcome: request.Outcome,
		BreakGlass: request.BreakGlass, Extends: request.Extends, Adopts: request.Adopts, Rotates: request.Rotates,
		Entitlements: []EntitlementRef{}, Evidence: []SlotView{}, Stages: []StageView{}, Grants: []GrantView{}, Offered: []workflow.Command{},
	}
	view.Told, view.Priority = dir.refs(request.Told), request.Priority
	if request.ClassifiedBy != "" {
		operator := dir.ref(request.ClassifiedBy)
		view.ClassifiedBy = &operator
	}
	if exception := request.Exception; exception != nil {
		view.Exception = &ExceptionView{Waives: exception.Waives, Control: exception.Control, Owner: dir.ref(exception.Owner), Until: exception.Until}
	}
	for _, question := range request.Questions {
		view.Questions = append(view.Questions, QuestionView{By: dir.ref(question.By), At: question.At, Text: question.Text, Answer: question.Answer, AnsweredAt: question.AnsweredAt})
	}
	var err error
	if view.Shown, err = dir.pageOf(request); err != nil {
		return nil, err
	}
	for _, id := range request.Entitlements {
		view.Entitlements = append(view.Entitlements, dir.entitlementRef(id))
	}
	if request.Consent.Of != "" {
		view.Consent = &ConsentView{Of: dir.ref(request.Consent.Of), At: request.Consent.At}
		if request.Consent.By != "" {
			by := dir.ref(request.Consent.By)
			view.Consent.By = &by
		}
	}
	for _, slot := range request.Evidence {
		view.Evidence = append(view.Evidence, dir.slotView(slot))
	}
	for i := range request.Stages {
		view.Stages = append(view.Stages, dir.stageView(&request.Stages[i]))
	}
	for _, grant := range grants {
		view.Grants = append(view.Grants, *tx.grantView(grant, s.standing))
	}
	view.Offered = append(view.Offered, workflow.Offered(workflow.RequestTransitions, request.State, s.standing)...)
	view.WaitsFor = dir.waitsFor(request)
	return view, nil
}

func (d *snapshot) slotView(slot countersign.Slot) SlotView {
	view := SlotView{
		Name: slot.Name, Title: slot.Title, Kind: slot.Kind, Due: slot.Due, VerifiedBy: slot.VerifiedBy, Ticket: slot.Ticket, Record: slot.Record,
		Brought: slot.Brought, MustOpen: slot.MustOpen, InPlaceOf: slot.InPlaceOf, Deadline: slot.Deadline, Overdue: slot.Overdue, WrittenOffBy: d.refTo(slot.WrittenOffBy),
	}
	if slot.Held != nil {
		view.Held = &EvidenceView{ID: slot.Held.ID, Digest: slot.Held.Digest, Source: slot.Held.Source, By: d.ref(slot.Held.By), At: slot.Held.At, Verified: slot.Held.Verified, Unavailable: slot.Held.Unavailable}
	}
	return view
}

func (d *snapshot) stageView(stage *countersign.Stage) StageView {
	view := StageView{
		Name: stage.Name, Step: stage.Step, State: stage.State, Because: stage.Because, Deadline: stage.Deadline, Escalated: stage.Climbed,
		Asked: []AskedView{}, CanStillDecide: []Ref{}, Decisions: []DecisionView{},
		Review: stage.Review, Overdue: stage.Overdue, LiftedBy: d.refs(stage.LiftedBy),
	}
	for _, quorum := range stage.Quorums {
		view.Need += quorum.Need
	}
	for _, asked := range stage.Asked {
		view.Asked = append(view.Asked, AskedView{Person: d.ref(asked.Person), Rule: d.readable(asked.Rule), OnBehalfOf: d.behalf(asked)})
	}
	if stage.State == countersign.StageOpen {
		var who []countersign.IdentityID
		view.StillNeeded, who = workflow.StillNeeded(stage)
		for _, id := range who {
			view.CanStillDecide = append(view.CanStillDecide, d.ref(id))
		}
	}
	for _, decision := range stage.Decisions {
		one := DecisionView{
			By: d.ref(decision.By), Outcome: decision.Outcome, At: decision.At, Reason: decision.Reason, Duration: decision.Duration,
			Shown: decision.Shown, Opened: decision.Opened, Issuer: decision.Issuer, Strength: decision.Strength,
		}
		for _, standing := range decision.Standing {
			if one.OnBehalfOf == nil {
				one.OnBehalfOf = d.behalf(standing)
			}
			one.Rules = append(one.Rules, d.readable(standing.Rule))
		}
		view.Decisions = append(view.Decisions, one)
	}
	return view
}

func (tx *transaction) grantView(grant *countersign.Grant, standing workflow.Standing) *GrantView {
	dir := tx.directory
	view := &GrantView{
		ID: grant.ID, Version: grant.Version, State: grant.State, Origin: grant.Origin, Request: grant.Request, Birthright: grant.Birthright, Adopted: grant.Adopted, Lapsing: grant.Lapsing, Redefined: grant.Redefined,
		Holder: dir.ref(grant.Holder), Entitlement: dir.entitlementRef(grant.Entitlement), From: grant.From, Until: grant.Until,
		EffectiveBy: grant.EffectiveBy, Ending: grant.Ending, EndAt: grant.EndAt, GoneAt: grant.GoneAt, Reminded: grant.Reminded,
		Credentials: []CredentialView{}, Offered: []workflow.Command{},
	}
	for _, credential := range grant.Credentials {
		view.Credentials = append(view.Credentials, CredentialView{
			ID: credential.ID, State: credential.State, From: credential.From, Until: credential.Until, RetireAt: credential.RetireAt, Reference: credential.Reference,
		})
	}
	view.Assurance = grant.Assurance()
	if grant.Parked != nil {
		view.Parked = &ParkedView{Since: grant.Parked.Since, Person: dir.ref(grant.Parked.Person), Why: grant.Parked.Why}
	}
	for _, command := range workflow.Offered(workflow.GrantTransitions, grant.State, standing) {
		if command == workflow.Rotate {
			hands, err := tx.desk.Connectors.Find(grant.Step.Connector)
			if err != nil || !hands.Describe().Rotates || grant.Adopted != nil || tx.desk.needsAnswers(grant) {
				continue
			}
			if by, err := tx.rotatedBy(grant); by != "" || err != nil {
				continue
			}
		}
		if command == workflow.Done || command == workflow.Refuse || command == workflow.Check {
			// They stand with the task.
			continue
		}
		if command != workflow.Retry || grant.Parked != nil {
			view.Offered = append(view.Offered, command)
		}
	}
	return view
}

// waitsFor says what has to happen next.
func (d *snapshot) waitsFor(request *countersign.Request) string {
	switch request.State {
	case countersign.RequestTriaging:
		if last := len(request.Questions) - 1; last >= 0 && request.Questions[last].AnsweredAt == 0 {
			return "an answer to " + d.nameOf(request.Questions[last].By)
		}
		return fmt.Sprintf("an operator to say which request this is, by %s", request.CollectBy)
	case countersign.RequestCollecting:
		if request.Consent.Missing() {
			return "the consent of " + d.nameOf(request.Consent.Of)
		}
		for _, slot := range request.Evidence {
			if slot.Due == countersign.DueAtRequest && slot.Held == nil {
				return "the evidence " + slot.Name
			}
		}
	case countersign.RequestDeciding:
		if open := request.OpenStages(); len(open) > 0 {
			index := open[0]
			if last := len(request.Questions) - 1; last >= 0 && request.Questions[last].AnsweredAt == 0 {
				return "an answer to " + d.nameOf(request.Questions[last].By)
			}
			need, who := workflow.StillNeeded(&request.Stages[index])
			return waitSentence(d, request.Stages[index].Name, need, who)
		}
	case countersign.RequestFulfilling:
		return "the target to be set up and read back"
	case countersign.RequestActive:
		if request.Rotates != nil {
			return "the older credential to be gone, after the overlap"
		}
		return "the end of the access"
	case countersign.RequestClosing:
		first := ""
		switch slot := workflow.Owed(request); {
		case slot == nil:
		case slot.Held != nil:
			return "the source of the evidence " + slot.Name + ", which is only declared so far"
		case slot.InPlaceOf != "":
			first = "; " + slot.InPlaceOf + " not available, so who reviews brings the evidence " + slot.Name + " in its place"
		case slot.Deadline == 0:
			first = "; the evidence " + slot.Name + " is fetched for it first"
		default:
			return followUpSentence(slot)
		}
		if open := request.OpenStages(); len(open) > 0 {
			_, who := workflow.StillNeeded(&request.Stages[open[0]])
			return reviewSentence(d, &request.Stages[open[0]], who) + first
		}
	case countersign.RequestClosed, countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
	}
	return ""
}

// GrantFilter selects grants for a list.
type GrantFilter struct {
	Holder string
	System string
	All    bool
	Before countersign.GrantID
	Limit  int
}

// RequestFilter selects requests for a list.
type RequestFilter struct {
	// Inbox asks for what waits for the caller.
	Inbox bool
	// Exceptions asks for the register of exceptions: requests for which a refusal
	// was waived, of those that go on where no states are named.
	Exceptions bool
	States     []countersign.RequestState
	Type       string
	Before     countersign.RequestID
	Limit      int
}

func limitOf(limit int) int {
	if limit <= 0 || limit > 200 {
		return 50
	}
	return limit
}

func requestQuery(caller Caller, filter RequestFilter, auditor, operator bool) store.RequestQuery {
	query := store.RequestQuery{Excepted: filter.Exceptions, States: filter.States, Type: filter.Type, Before: filter.Before, Limit: limitOf(filter.Limit)}
	if filter.Exceptions && len(filter.States) == 0 {
		query.States = slices.DeleteFunc(slices.Clone(countersign.RequestStates), countersign.RequestState.Final)
	}
	switch {
	case filter.Inbox:
		query.AwaitingDecisionOf = caller.Identity
	case operator && slices.Equal(filter.States, []countersign.RequestState{countersign.RequestTriaging}):
		// What waits in triage is every operator's.
	case !auditor:
		query.Party = caller.Identity
	}
	return query
}
