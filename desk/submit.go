package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Asking is what somebody asks for. Names may be ids, or what people use:
// logins and e-mail addresses for identities, system/resource/entitlement for
// entitlements.
type Asking struct {
	// Type names the request type; "" finds the one that fits.
	Type string
	// Beneficiary is who the access is for; "" is the caller.
	Beneficiary  string
	Entitlements []string
	Reason       string
	// Duration and Until are alternatives; both zero is the type's default.
	Duration countersign.Seconds
	Until    countersign.Instant
	Answers  json.RawMessage
	Evidence []EvidenceContent
	// Route is the digest of the preview that was agreed to; "" agrees to any.
	Route countersign.Digest
}

// EvidenceContent is evidence as somebody gives it.
type EvidenceContent struct {
	Slot    string
	Content []byte
}

// Limits on what one asking can hold.
const (
	MaxReason       = 4000
	MaxEvidence     = 256 << 10
	MaxEntitlements = 20
)

// Preview is the path that an asking would take, before anything is submitted.
type Preview struct {
	Plan  policy.Plan
	Route countersign.Digest
	// Beneficiary is who the access would be for.
	Beneficiary countersign.IdentityID
	// ConsentOf is who must consent first; "" where nobody must.
	ConsentOf countersign.IdentityID
	// Effects say exactly what the connectors would do.
	Effects []string
	// Names gives the names of everybody in the preview.
	Names map[countersign.IdentityID]string
}

// judgement is a preview with what is needed to submit it.
type judgement struct {
	preview  Preview
	matter   matter
	resolver *resolved
	facts    policy.Facts
	same     map[countersign.IdentityID]string
}

// Preview judges an asking and changes nothing. What the policy refuses is in
// the plan; an error is what cannot be judged at all.
func (d *Desk) Preview(ctx context.Context, caller Caller, asking Asking) (*Preview, error) {
	var judged *judgement
	err := d.attempt(ctx, countersign.Actor(caller.Identity), func(tx *transaction) (err error) {
		judged, err = d.judge(ctx, tx, caller, &asking)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &judged.preview, nil
}

func (d *Desk) judge(ctx context.Context, tx *transaction, caller Caller, asking *Asking) (*judgement, error) {
	if len(asking.Answers) == 0 {
		asking.Answers = json.RawMessage("{}")
	}
	m, err := tx.resolve(caller, *asking)
	if err != nil {
		return nil, err
	}
	// The holder's guard is read before the facts that it stands for.
	if err := tx.bump(ctx, m.beneficiary.SamePerson()...); err != nil {
		return nil, err
	}
	if err := tx.lookAtMatter(ctx, m); err != nil {
		return nil, err
	}
	j := &judgement{matter: m, resolver: tx.directory.resolver(m, tx.now()), same: tx.directory.samePerson(m, nil)}
	base := j.resolver.baseFacts(asking.Reason, asking.Duration, asking.Until, asking.Answers, j.same)
	for _, evidence := range asking.Evidence {
		base.Evidence = append(base.Evidence, evidence.Slot)
	}
	set, err := tx.policy.judging()
	if err != nil {
		return nil, err
	}
	typeName, err := set.Find(asking.Type, base)
	if err != nil {
		return nil, err
	}
	j.facts, err = j.resolver.facts(set, typeName, base, func() (int, error) { return d.openRequests(ctx, m.beneficiary.ID, typeName, "") })
	if err != nil {
		return nil, err
	}
	plan, err := set.Judge(typeName, j.facts)
	if err != nil {
		return nil, err
	}
	plan.Refusals = append(plan.Refusals, d.refuseHeld(m)...)
	j.preview = Preview{Plan: plan, Beneficiary: m.beneficiary.ID, Names: map[countersign.IdentityID]string{}}
	if !m.beneficiary.Human() && m.beneficiary.Owner != m.requester.ID {
		j.preview.ConsentOf = m.beneficiary.Owner
	}
	if err := d.effects(ctx, j, tx.now()); err != nil {
		return nil, err
	}
	j.preview.Route, err = countersign.DigestOf("route", struct {
		Plan    countersign.Digest     `json:"plan"`
		Consent countersign.IdentityID `json:"consent"`
	}{plan.Route(), j.preview.ConsentOf})
	if err != nil {
		return nil, err
	}
	j.name(tx.directory)
	return j, nil
}

// name collects the names that the preview mentions.
func (j *judgement) name(dir *snapshot) {
	names := j.preview.Names
	add := func(id countersign.IdentityID) {
		if id != "" {
			names[id] = dir.nameOf(id)
		}
	}
	add(j.preview.Beneficiary)
	add(j.preview.ConsentOf)
	for _, stage := range j.preview.Plan.Stages {
		for _, asked := range stage.Standing {
			add(asked.Person)
		}
		for _, excluded := range stage.Excluded {
			add(excluded.Person)
		}
	}
}

// resolve turns the names of an asking into rows.
func (tx *transaction) resolve(caller Caller, asking Asking) (matter, error) {
	dir := tx.directory
	if _, err := tx.policy.judging(); err != nil {
		return matter{}, err
	}
	if len(asking.Reason) > MaxReason {
		return matter{}, countersign.Errorf(countersign.TooLarge, "reason-too-long", "A reason has at most %d bytes.", MaxReason).At("/reason")
	}
	if len(asking.Entitlements) == 0 || len(asking.Entitlements) > MaxEntitlements {
		return matter{}, countersign.Errorf(countersign.Invalid, "entitlements-missing", "Name between 1 and %d entitlements, each as system/resource/entitlement.", MaxEntitlements).At("/entitlements")
	}
	beneficiary := string(caller.Identity)
	if asking.Beneficiary != "" {
		beneficiary = asking.Beneficiary
	}
	identity := dir.findIdentity(beneficiary)
	if identity == nil {
		return matter{}, countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q: give an id, a login, an e-mail address or a SPIFFE id.", countersign.Clip(beneficiary)).At("/beneficiary")
	}
	ids := make([]countersign.EntitlementID, 0, len(asking.Entitlements))
	seen := map[countersign.EntitlementID]bool{}
	for i, name := range asking.Entitlements {
		field := fmt.Sprintf("/entitlements/%d", i)
		entitlement := dir.findEntitlement(name)
		if entitlement == nil || entitlement.Retired || dir.systems[entitlement.System].Retired {
			return matter{}, countersign.Errorf(countersign.Invalid, "no-such-entitlement", "There is no entitlement %q to ask for: name it as system/resource/entitlement, as the catalogue lists it.", countersign.Clip(name)).At(field)
		}
		if seen[entitlement.ID] {
			return matter{}, countersign.Errorf(countersign.Invalid, "entitlement-twice", "The entitlement %q stands twice.", name).At(field)
		}
		seen[entitlement.ID] = true
		ids = append(ids, entitlement.ID)
	}
	if field, shape := findSecret(asking); shape != "" {
		return matter{}, countersign.Errorf(countersign.Invalid, "secret-pasted", "This looks like %s. Secrets never pass the desk: take it out, and treat it as leaked if it is real.", shape).At(field)
	}
	return dir.matterOf(caller.Identity, identity.ID, ids)
}

// effects asks each connector what it would do, and refuses what it could not.
func (d *Desk) effects(ctx context.Context, j *judgement, now countersign.Instant) error {
	plan := &j.preview.Plan
	for _, item := range j.matter.items {
		for _, step := range plan.Fulfil {
			if item.system.Connector != step.Connector {
				plan.Refusals = append(plan.Refusals, policy.Refusal{Reason: "wrong-connector", Because: fmt.Sprintf("The request type %q is carried out by the connector %q, and %s is reached through %q.", plan.Type, step.Connector, item.system.Name, item.system.Connector)})
				continue
			}
			hands, err := d.Connectors.Find(step.Connector)
			if err != nil {
				return err
			}
			task := d.task(j.matter.beneficiary, item, step)
			task.Until = countersign.Earliest(now.Add(plan.Duration), plan.LatestEnd)
			effect, err := hands.Plan(ctx, task)
			var failure *connector.Failure
			switch {
			case errors.As(err, &failure) && failure.Kind == connector.Rejected:
				plan.Refusals = append(plan.Refusals, policy.Refusal{Reason: "cannot-be-carried-out", Because: failure.Message})
			case err != nil:
				return countersign.Errorf(countersign.Unavailable, "connector-unavailable", "The connector %q cannot say what it would do: %v", step.Connector, err).Because(err)
			default:
				j.preview.Effects = append(j.preview.Effects, effect.Effect)
			}
		}
	}
	return nil
}

// task names what a connector is to do, but for the ids of one operation.
func (d *Desk) task(holder *countersign.Identity, item right, step countersign.Step) connector.Task {
	return connector.Task{
		Action: step.Action, Holder: holder.ID, HolderName: holder.Name, Accountable: holder.Owner,
		System: item.system.ID, SystemName: item.system.Name, Resource: item.resource.Name,
		Entitlement: item.entitlement.Name, EntitlementID: item.entitlement.ID, Settings: item.system.Settings,
	}
}

// openRequests counts the holder's open requests of a type, one excepted.
func (d *Desk) openRequests(ctx context.Context, holder countersign.IdentityID, typeName string, except countersign.RequestID) (int, error) {
	open, err := d.Store.Requests(ctx, store.RequestQuery{Holder: holder, Type: typeName, States: openStates, Limit: 100})
	if err != nil {
		return 0, err
	}
	count := 0
	for _, request := range open {
		if request.ID != except {
			count++
		}
	}
	return count, nil
}

var openStates = []countersign.RequestState{countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling}

var heldStates = []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantLive, countersign.GrantRevoking, countersign.GrantRevoked}

// Submit opens a request and returns its id.
func (d *Desk) Submit(ctx context.Context, caller Caller, key Key, asking Asking) (countersign.RequestID, error) {
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		judged, err := d.judge(ctx, tx, caller, &asking)
		if err != nil {
			return "", err
		}
		preview := judged.preview
		// The same thing asked twice is named as such, before any limit refuses it.
		if err := d.checkDuplicate(ctx, judged); err != nil {
			return "", err
		}
		if err := refusal(preview.Plan.Refusals); err != nil {
			return "", err
		}
		if asking.Route != "" && asking.Route != preview.Route {
			return "", countersign.Errorf(countersign.Moved, "route-moved", "The path of this request is not the one that was shown to you: look at the new preview and submit with its route.").With(&preview)
		}
		return d.open(ctx, tx, judged, asking)
	})
	return countersign.RequestID(id), err
}

func refusal(refusals []policy.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	sentences := make([]string, len(refusals))
	for i, one := range refusals {
		sentences[i] = one.Because
	}
	kind := countersign.Refused
	if strings.HasPrefix(refusals[0].Reason, "invalid-") {
		kind = countersign.Invalid
	}
	return countersign.Errorf(kind, refusals[0].Reason, "%s", strings.Join(sentences, " ")).At(refusals[0].Field).With(refusals)
}

// checkDuplicate names the request or grant that makes this one needless. The
// unique indexes decide when two come at once.
func (d *Desk) checkDuplicate(ctx context.Context, j *judgement) error {
	for _, item := range j.matter.items {
		open, err := d.Store.Requests(ctx, store.RequestQuery{
			Holder: j.matter.beneficiary.ID, Entitlement: item.entitlement.ID, Type: j.preview.Plan.Type, States: openStates, Limit: 1,
		})
		if err != nil {
			return err
		}
		if len(open) > 0 {
			// Which one it is, is for those to know who have to do with it.
			which, asker := "", j.matter.requester.ID
			if open[0].Requester == asker || slices.Contains(open[0].SamePerson, asker) {
				which = " (" + string(open[0].ID) + ")"
			}
			return countersign.Errorf(countersign.Conflict, "duplicate-request", "There is an open request for the same holder, entitlement and type already%s.", which)
		}
		held, err := d.heldElsewhere(ctx, j.matter.beneficiary.ID, item.entitlement.ID, "")
		if err != nil {
			return err
		}
		if held != nil {
			return countersign.Errorf(countersign.Conflict, "already-held", "%s", j.resolver.directory.alreadyHeld(held))
		}
	}
	return nil
}

// heldElsewhere returns the grant by which the holder has the entitlement
// already, other than by the request; nil where there is none.
func (d *Desk) heldElsewhere(ctx context.Context, holder countersign.IdentityID, entitlement countersign.EntitlementID, request countersign.RequestID) (*countersign.Grant, error) {
	held, err := d.Store.Grants(ctx, store.GrantQuery{Holders: []countersign.IdentityID{holder}, Entitlement: entitlement, States: heldStates, Limit: 1})
	if err != nil || len(held) == 0 || request != "" && held[0].Request == request {
		return nil, err
	}
	return held[0], nil
}

func (d *snapshot) alreadyHeld(grant *countersign.Grant) string {
	return fmt.Sprintf("%s holds %s already (grant %s, %s): ask again when that has ended.", d.nameOf(grant.Holder), d.entitlementRef(grant.Entitlement).Name, grant.ID, grant.State)
}

func (d *Desk) open(ctx context.Context, tx *transaction, j *judgement, asking Asking) (string, error) {
	plan := j.preview.Plan
	facts, err := countersign.Canonical(j.facts)
	if err != nil {
		return "", countersign.Errorf(countersign.Invalid, "not-representable", "The answers cannot be kept: %v.", err).At("/answers")
	}
	collectBy, err := tx.policy.set.Deadline(plan.CollectWithin, "", tx.now())
	if err != nil {
		return "", err
	}
	route := workflow.Route{
		Type: plan.Type, Title: plan.Title, Requester: j.matter.requester.ID, Beneficiary: j.matter.beneficiary.ID,
		SamePerson: sortedIDs(j.same), Reason: asking.Reason, Answers: asking.Answers, Duration: plan.Duration, LatestEnd: plan.LatestEnd,
		Route: j.preview.Route, ConsentOf: j.preview.ConsentOf, Fulfil: plan.Fulfil, Terms: plan.Terms, CollectBy: collectBy, Facts: facts,
	}
	for _, item := range j.matter.items {
		route.Entitlements = append(route.Entitlements, item.entitlement.ID)
	}
	if route.Evidence, err = tx.fillSlots(j, asking); err != nil {
		return "", err
	}
	for _, planned := range plan.Stages {
		route.Stages = append(route.Stages, tx.directory.impersonal(planned.Stage))
	}
	for i := range route.Evidence {
		route.Evidence[i].EscalateTo = tx.directory.impersonalRules(route.Evidence[i].EscalateTo)
	}
	verdict := workflow.RequestVerdict{Systems: j.matter.systems(), Rungs: map[int][]workflow.Rung{}}
	for index, stage := range route.Stages {
		if stage.State == countersign.StageWaiting {
			if verdict.Rungs[index], err = rungs(tx, tx.policy.set, j.resolver, route.Stages, index, j.same); err != nil {
				return "", err
			}
		}
	}
	outcome, err := workflow.SubmitRequest(tx.occasion, route, verdict)
	if err != nil {
		return "", err
	}
	j.resolver.relyOnMatter(tx)
	for _, stage := range outcome.Request.Stages {
		for _, asked := range stage.Asked {
			j.resolver.relyOn(tx, asked.Rule, asked.Person)
		}
	}
	tx.relyOnPolicy()
	tx.write(outcome, nil)
	return string(outcome.Request.ID), nil
}

func (m matter) systems() map[countersign.EntitlementID]countersign.SystemID {
	systems := map[countersign.EntitlementID]countersign.SystemID{}
	for _, item := range m.items {
		systems[item.entitlement.ID] = item.system.ID
	}
	return systems
}

// fillSlots puts evidence into the slots that the asking brought or that the
// directory verifies.
func (tx *transaction) fillSlots(j *judgement, asking Asking) ([]countersign.Slot, error) {
	slots := append([]countersign.Slot{}, j.preview.Plan.Evidence...)
	given := map[string][]byte{}
	for _, evidence := range asking.Evidence {
		given[evidence.Slot] = evidence.Content
	}
	for i := range slots {
		slot := &slots[i]
		content, has := given[slot.Name]
		delete(given, slot.Name)
		switch {
		case slot.VerifiedBy != "" && has:
			return nil, countersign.Errorf(countersign.Refused, "slot-is-verified", "The evidence %q is fetched and verified by %s; it cannot be attached.", slot.Name, slot.VerifiedBy).At("/evidence")
		case slot.VerifiedBy == "directory":
			held, err := tx.recordEvidence(j.facts.Records[slot.Record])
			if err != nil {
				return nil, err
			}
			slot.Held = held
		case has && slot.Due == countersign.DueAtClosure:
			return nil, countersign.Errorf(countersign.Invalid, "not-due-yet", "The evidence %q falls due when the access is gone.", slot.Name).At("/evidence")
		case has:
			held, err := tx.keep(content, "upload", "")
			if err != nil {
				return nil, err
			}
			slot.Held = held
		}
	}
	for name := range given {
		return nil, countersign.Errorf(countersign.Invalid, "no-such-slot", "This request type has no evidence slot %q.", name).At("/evidence")
	}
	return slots, nil
}

// recordEvidence keeps a system record exactly as the directory holds it.
func (tx *transaction) recordEvidence(fact policy.RecordFact) (*countersign.Evidence, error) {
	record := tx.directory.records[tx.directory.recordKeys[fact.Key]]
	if record == nil {
		return nil, nil
	}
	content, err := countersign.Canonical(record)
	if err != nil {
		return nil, err
	}
	tx.relyOn(record)
	return tx.keep(content, "directory, record "+fact.Key, "The record exists, is not retired, and names the accountable owner.")
}

// keep stores evidence under its digest.
func (tx *transaction) keep(content []byte, source, verified string) (*countersign.Evidence, error) {
	if len(content) == 0 || len(content) > MaxEvidence {
		return nil, countersign.Errorf(countersign.TooLarge, "evidence-size", "Evidence has between 1 and %d bytes.", MaxEvidence).At("/evidence")
	}
	if shape := secretShape(string(content)); shape != "" {
		return nil, countersign.Errorf(countersign.Invalid, "secret-pasted", "This evidence looks like %s. Secrets never pass the desk.", shape).At("/evidence")
	}
	digest := countersign.DigestBytes(evidenceDomain, content)
	tx.change.Contents = append(tx.change.Contents, store.Content{Digest: digest, Bytes: content})
	return &countersign.Evidence{
		ID: tx.occasion.Mint.Evidence(), Digest: digest, Source: source, Verified: verified,
		By: tx.occasion.Actor.Identity(), At: tx.now(),
	}, nil
}
