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
	// Extends is the grant whose end is to be moved; "" asks for new access.
	Extends countersign.GrantID
	// Rotates is the grant that is to get another credential; "" asks for none.
	Rotates countersign.GrantID
	// Adopts is the finding whose access is to be taken over; "" for none.
	Adopts countersign.FindingID
	// Exception asks to waive what the policy lets be waived; nil for nothing.
	Exception *AskedException
	// Ticket is what it was opened from; nil for none.
	Ticket *countersign.TicketRef
	// Route is the digest of the preview that was agreed to; "" agrees to any.
	Route countersign.Digest
}

// AskedException is what somebody offers for a refusal to be waived.
type AskedException struct {
	// Control is what stands in for the rule meanwhile.
	Control string
	// Owner is who answers for it, by any of the person's names.
	Owner string
	Until countersign.Instant
}

// EvidenceContent is evidence as somebody gives it.
type EvidenceContent struct {
	Slot    string
	Content []byte
}

// Limits on what one asking can hold.
const (
	MaxReason       = 4000
	MaxEvidence     = 10 << 20
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
	set      *policy.Set
	asked    tickets
	// changed is the grant that is to be extended or rotated; nil for new access.
	changed *countersign.Grant
	// takesOver is the principal whose access is adopted; "" for new access.
	takesOver string
}

// Preview judges an asking and changes nothing. What the policy refuses is in
// the plan; an error is what cannot be judged at all.
func (d *Desk) Preview(ctx context.Context, caller Caller, asking Asking) (*Preview, error) {
	var judged *judgement
	asked := tickets{}
	err := d.attemptLooking(ctx, countersign.Actor(caller.Identity), asking.foresee(caller), func(tx *transaction) (err error) {
		judged, err = d.judge(ctx, tx, caller, &asking, nil, asked)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &judged.preview, nil
}

// foresee says what judging the asking will ask of storage, as far as its names
// are known.
func (a Asking) foresee(caller Caller) foresight {
	return func(tx *transaction) store.Questions {
		beneficiary := caller.Identity
		if a.Beneficiary != "" {
			found := tx.directory.findIdentity(a.Beneficiary)
			if found == nil {
				return store.Questions{}
			}
			beneficiary = found.ID
		}
		var ids []countersign.EntitlementID
		for _, name := range a.Entitlements {
			if found := tx.directory.findEntitlement(name); found != nil && len(ids) < MaxEntitlements {
				ids = append(ids, found.ID)
			}
		}
		m, err := tx.directory.matterOf(caller.Identity, beneficiary, ids)
		if err != nil {
			return store.Questions{}
		}
		return tx.directory.questionsOf(m)
	}
}

// judge takes an asking through the policy set: today's for a new request, for one
// that is amended the set that routed it. Everything that can only refuse is
// judged by today's in any case.
func (d *Desk) judge(ctx context.Context, tx *transaction, caller Caller, asking *Asking, amended *countersign.Request, asked tickets) (*judgement, error) {
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
	j := &judgement{matter: m, resolver: tx.resolver(m, ""), same: tx.directory.samePerson(m, nil, tx.now(), tx.now()), asked: asked}
	if asking.Extends != "" && asking.Rotates != "" {
		return nil, countersign.Errorf(countersign.Invalid, "extends-and-rotates", "A request extends a grant or rotates it: a rotation can give it a later end, too.").At("/rotates")
	}
	if asking.Adopts != "" && (asking.Extends != "" || asking.Rotates != "") {
		return nil, countersign.Errorf(countersign.Invalid, "adopts-and-changes", "A request adopts what was found, or changes a grant that there is: ask for one after the other.").At("/adopts")
	}
	j.resolver.rotates = asking.Rotates != ""
	if tx.classifies {
		j.same[tx.occasion.Actor.Identity()] = classified
	}
	if j.set, err = tx.policy.judging(); err != nil {
		return nil, err
	}
	var itself countersign.RequestID
	base := j.resolver.baseFacts(asking.Reason, asking.Duration, asking.Until, asking.Answers, j.same)
	for _, evidence := range asking.Evidence {
		base.Evidence = append(base.Evidence, evidence.Slot)
	}
	if amended != nil {
		itself = amended.ID
		if j.set, err = d.policySet(ctx, amended.PolicySet); err != nil {
			return nil, err
		}
	}
	if base.Exception, err = tx.exceptionFact(asking.Exception); err != nil {
		return nil, err
	}
	typeName, err := j.set.Find(asking.Type, base)
	if err != nil {
		return nil, err
	}
	j.resolver.requestType = typeName
	j.facts, err = tx.facts(ctx, j.resolver, j.set, typeName, base, itself, asked)
	if err != nil {
		return nil, err
	}
	plan, err := j.set.Judge(typeName, j.facts)
	if err != nil {
		return nil, err
	}
	if amended != nil && amended.PolicySet != tx.policy.digest {
		facts := j.facts
		if facts.Exception != nil {
			facts.Exception.Waived = plan.Waived
		}
		plan.Refusals = append(plan.Refusals, tx.policy.set.Recheck(typeName, facts)...)
	}
	if asking.Extends != "" || asking.Rotates != "" {
		if j.changed, err = tx.changed(ctx, asking, m, &plan); err != nil {
			return nil, err
		}
	}
	if asking.Adopts != "" {
		if j.takesOver, err = tx.takesOver(ctx, asking.Adopts, m); err != nil {
			return nil, err
		}
	}
	plan.Refusals = append(append(plan.Refusals, d.refuseHeld(m)...), slices.Concat(tx.refuseUnsponsored(m), tx.refuseAuthor(m))...)
	// A rotation gives nothing new, and an emergency waits for no owner.
	if !plan.BreakGlass && asking.Rotates == "" {
		plan.Refusals = append(plan.Refusals, tx.refuseUnconfirmed(m)...)
	}
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
			if strings.Contains(name, "*") {
				return matter{}, countersign.Errorf(countersign.Invalid, "wildcard", "%q is a wildcard, and there are none: name each entitlement by itself, as system/resource/entitlement.", countersign.Clip(name)).At(field)
			}
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
			if people := d.byHand(step.Connector); people != nil && d.nobodyFulfils(j, people, item, now) {
				plan.Refusals = append(plan.Refusals, policy.Refusal{Reason: "no-fulfiller", Because: fmt.Sprintf("Nobody is left who could carry this out on %s: its settings name nobody active but who asks or is to have it.", item.system.Name)})
			}
			task := d.task(j.matter.beneficiary, item, step)
			task.Parameters = j.set.Parameters(plan.Type, j.facts.Answers)
			task.Bounds = j.resolver.directory.bounds(plan.Terms, item)
			task.TakesOver = j.takesOver
			task.Until = countersign.Earliest(now.Add(plan.Duration), plan.LatestEnd)
			if plan.Rotates != nil && j.changed != nil {
				task.Until = max(task.Until, j.changed.Until)
			}
			if j.changed != nil && j.changed.Adopted != nil {
				j.preview.Effects = append(j.preview.Effects, keeps(j.changed, item, task.Until))
				continue
			}
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

// planned is what the connectors say that they would do with the answers that they
// are given, or about what they would take over or keep. Otherwise the right and its
// holder say it all.
func (j *judgement) planned() []string {
	keeps := j.changed != nil && j.changed.Adopted != nil
	if j.takesOver == "" && !keeps && j.set.Parameters(j.preview.Plan.Type, j.facts.Answers) == nil {
		return nil
	}
	return j.preview.Effects
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
func (tx *transaction) openRequests(ctx context.Context, holder countersign.IdentityID, typeName string, except countersign.RequestID) (int, error) {
	open, err := tx.read.Requests(ctx, store.RequestQuery{Holder: holder, Type: typeName, States: openStates, Limit: mostOpen})
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
	return d.submit(ctx, caller, key, asking, func(*transaction, countersign.RequestID) error { return nil })
}

// submit is Submit, with what else is written when the request is opened.
func (d *Desk) submit(ctx context.Context, caller Caller, key Key, asking Asking, beside func(*transaction, countersign.RequestID) error) (countersign.RequestID, error) {
	asked := tickets{}
	id, err := d.commandLooking(ctx, caller, key, asking.foresee(caller), func(tx *transaction) (string, error) {
		// A ticket opens one request: whoever hears of it again finds that one.
		if opened, err := tx.openedFrom(ctx, asking.Ticket); opened != "" || err != nil {
			return opened, err
		}
		judged, err := d.judge(ctx, tx, caller, &asking, nil, asked)
		if err != nil {
			return "", err
		}
		preview := judged.preview
		// The same thing asked twice is named as such, before any limit refuses it.
		if err := tx.checkDuplicate(ctx, judged); err != nil {
			return "", err
		}
		if err := refusal(preview.Plan.Refusals); err != nil {
			return "", err
		}
		if asking.Route != "" && asking.Route != preview.Route {
			return "", countersign.Errorf(countersign.Moved, "route-moved", "The path of this request is not the one that was shown to you: look at the new preview and submit with its route.").With(&preview)
		}
		id, err := d.open(ctx, tx, judged, asking)
		if err != nil {
			return "", err
		}
		return id, beside(tx, countersign.RequestID(id))
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
func (tx *transaction) checkDuplicate(ctx context.Context, j *judgement) error {
	for _, item := range j.matter.items {
		open, err := tx.read.Requests(ctx, store.RequestQuery{
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
		held, err := tx.heldElsewhere(ctx, j.matter.beneficiary.ID, item.entitlement.ID, "")
		if err != nil {
			return err
		}
		if held != nil && (j.changed == nil || held.ID != j.changed.ID) {
			return countersign.Errorf(countersign.Conflict, "already-held", "%s", j.resolver.directory.alreadyHeld(held))
		}
	}
	return nil
}

// heldElsewhere returns the grant by which the holder has the entitlement
// already, other than by the request; nil where there is none.
func (tx *transaction) heldElsewhere(ctx context.Context, holder countersign.IdentityID, entitlement countersign.EntitlementID, request countersign.RequestID) (*countersign.Grant, error) {
	held, err := tx.read.Grants(ctx, heldOf(holder, entitlement))
	if err != nil || len(held) == 0 || request != "" && held[0].Request == request {
		return nil, err
	}
	return held[0], nil
}

func (d *snapshot) alreadyHeld(grant *countersign.Grant) string {
	return fmt.Sprintf("%s holds %s already (grant %s, %s): ask for a later end of that grant, or again when it has ended.", d.nameOf(grant.Holder), d.entitlementRef(grant.Entitlement).Name, grant.ID, grant.State)
}

func (d *Desk) open(ctx context.Context, tx *transaction, j *judgement, asking Asking) (string, error) {
	route, verdict, err := tx.route(ctx, j, asking)
	if err != nil {
		return "", err
	}
	outcome, err := workflow.SubmitRequest(tx.occasion, route, verdict)
	if err != nil {
		return "", err
	}
	tx.writeRouted(j, outcome, nil)
	return string(outcome.Request.ID), nil
}

func (m matter) systems() map[countersign.EntitlementID]countersign.SystemID {
	systems := map[countersign.EntitlementID]countersign.SystemID{}
	for _, item := range m.items {
		systems[item.entitlement.ID] = item.system.ID
	}
	return systems
}
