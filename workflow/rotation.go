package workflow

import (
	"slices"

	"github.com/countersign/countersign"
)

// RotationAsked says which grant a request rotates. It follows request.submitted.
type RotationAsked struct {
	Change countersign.Rotates `json:"change"`
}

func (RotationAsked) EventKind() string { return "request.rotation-asked@1" }

// RotationApproved begins an approved rotation: another credential is issued, and
// the present one stays as it is until that was read back.
type RotationApproved struct {
	Change RotationApprovedChange `json:"change"`
}

type RotationApprovedChange struct {
	Rotation countersign.Rotation `json:"rotation"`
	Intent   countersign.Intent   `json:"intent"`
}

func (RotationApproved) EventKind() string { return "grant.rotation-approved@1" }

// RotationDropped says that the present credential stays, and takes away what there
// may be of the new one.
type RotationDropped struct {
	Change RotationDroppedChange `json:"change"`
	Reason *Reason               `json:"reason"`
}

type RotationDroppedChange struct {
	Intent countersign.Intent `json:"intent"`
}

func (RotationDropped) EventKind() string { return "grant.rotation-dropped@1" }

func init() { Registry.Register(&RotationAsked{}, &RotationApproved{}, &RotationDropped{}) }

// RotationStep is what became of an approved rotation.
type RotationStep string

const (
	// RotationLive: the new credential was read back, beside the older ones.
	RotationLive RotationStep = "live"
	// RotationDone: the older ones were read back as gone.
	RotationDone RotationStep = "done"
	// RotationFailed: the new credential was given up, or the grant ended first.
	RotationFailed RotationStep = "failed"
	// RotationOvertaken: the grant ended after the new credential was read back.
	RotationOvertaken RotationStep = "overtaken"
)

// StepOfRotation compares a grant before and after a command; "" for nothing new.
func StepOfRotation(before, after *countersign.Grant) RotationStep {
	switch is := after.Rotating; {
	case before.Rotating == nil || is != nil && is.Live == before.Rotating.Live:
		return ""
	case is != nil:
		return RotationLive
	case before.Issuing():
		return RotationFailed
	case after.State == countersign.GrantLive:
		return RotationDone
	}
	return RotationOvertaken
}

// rotationAsked records which grant the request rotates.
func (f *folding) rotationAsked(rotates *countersign.Rotates) error {
	if rotates == nil {
		return nil
	}
	return f.request(f.outcome.Request.ID, &RotationAsked{Change: *rotates})
}

// rotateApproved has another credential issued under a live grant.
func (f *folding) rotateApproved(approved *RequestApproved, verdict RequestVerdict) error {
	r, g := f.outcome.Request, verdict.Changed
	if g == nil || g.ID != r.Rotates.Grant || g.State != countersign.GrantLive || g.Rotating != nil || g.Busy() {
		return countersign.Errorf(countersign.Conflict, "cannot-rotate-now", "The grant %s is not live, or another operation on it is under way.", r.Rotates.Grant)
	}
	approved.Change.Grants = []countersign.GrantRef{{Grant: g.ID, Entitlement: g.Entitlement, State: g.State}}
	if err := f.request(r.ID, approved); err != nil {
		return err
	}
	change := RotationApprovedChange{Intent: countersign.Intent{
		ID: f.Mint.Intent(), Operation: countersign.ApplyOperation, Credential: f.Mint.Credential(), Overlap: r.Rotates.Overlap,
	}}
	change.Rotation = countersign.Rotation{Request: r.ID, Credential: change.Intent.Credential, Duration: f.outcome.Request.Duration, LatestEnd: r.LatestEnd, Definition: r.Definitions[g.Entitlement]}
	f.outcome.Grants = append(f.outcome.Grants, Copy(g))
	return f.grant(g.ID, &RotationApproved{Change: change})
}

// dropRotation gives a rotation up whose credential was not read back. An operation
// that may still write it is waited for, and looked after a second time.
func (f *folding) dropRotation(why string, verdict GrantVerdict) error {
	g := f.outcome.Grants[0]
	intent := countersign.Intent{ID: f.Mint.Intent(), Operation: countersign.RevokeOperation, Credential: g.Rotating.Credential}
	if g.Intent != nil && g.Intent.Credential == intent.Credential && verdict.Flight.unsettled() {
		intent.Again = true
		if verdict.Flight.LeaseUntil > f.Now {
			intent.After, intent.AfterAttempt, intent.NotBefore = g.Intent.ID, verdict.Flight.Attempt, verdict.Flight.LeaseUntil
		}
	}
	return f.grant(g.ID, &RotationDropped{RotationDroppedChange{intent}, &Reason{Text: why}})
}

// progressRotation tells the request what became of the rotation.
func (f *folding) progressRotation(command RequestCommand) error {
	r := f.outcome.Request
	change := RequestProgressedChange{Grant: command.Grant, GrantState: command.GrantState, State: countersign.RequestClosed}
	switch command.Rotation {
	case RotationLive:
		change.State = countersign.RequestActive
	case RotationDone:
		change.Outcome = "the new credential works, and the older one is gone"
	case RotationOvertaken:
		change.Outcome = "the access ended after it had its new credential"
	case RotationFailed:
		text := "The rotation failed, and the access ended before it."
		if command.GrantState == countersign.GrantLive {
			text = "The rotation failed, and the older credential stays: " + command.Reason
		}
		return f.end(countersign.RequestFailed, "rotation-failed", text)
	}
	return f.request(r.ID, &RequestProgressed{Change: change})
}

func applyRotationApproved(g *countersign.Grant, change RotationApprovedChange) {
	rotation := change.Rotation
	g.Rotating = &rotation
	g.Credentials = append(g.Credentials, countersign.Credential{ID: rotation.Credential, State: countersign.CredentialIssuing})
	push(g, change.Intent)
}

func applyRotationDropped(g *countersign.Grant, change RotationDroppedChange) {
	dropped := g.Rotating.Credential
	pending := g.Queue
	if g.Intent != nil {
		pending = append([]countersign.Intent{*g.Intent}, pending...)
	}
	g.Rotating, g.Intent, g.Queue, g.Parked = nil, nil, nil, nil
	if credential := g.FindCredential(dropped); credential != nil {
		credential.State = countersign.CredentialRetiring
	}
	push(g, change.Intent)
	for _, intent := range pending {
		if intent.Credential != dropped {
			push(g, intent)
		}
	}
}

// applyRotated gives the grant the end of its new credential. Who approved that decided
// nothing on what makes the access lapse: a later end waits until that is taken back.
func applyRotated(g *countersign.Grant, change CredentialAppliedChange) {
	if !g.Issuing() || g.Rotating.Credential != change.Observation.Credential {
		return
	}
	g.Rotating.Live = true
	// Who approved the rotation approved what the entitlement meant by then.
	if g.Redefined != nil && g.Redefined.Definition == g.Rotating.Definition {
		g.Redefined = nil
	}
	g.Definition = g.Rotating.Definition
	switch {
	case change.Lapses:
		if lapse := g.Lapsing; lapse != nil && lapse.Was != 0 && change.Until > lapse.Was {
			lapse.Was, g.LatestEnd = change.Until, g.Rotating.LatestEnd
		}
	case g.Until != 0 && change.Until > g.Until:
		g.Until, g.LatestEnd, g.Reminded, g.Lapsing = change.Until, g.Rotating.LatestEnd, false, nil
	}
}

// settleRotation ends a rotation when none but the new credential is left.
func settleRotation(g *countersign.Grant) {
	if g.Rotating != nil && g.Rotating.Live && !slices.ContainsFunc(g.Credentials, func(credential countersign.Credential) bool {
		return credential.ID != g.Rotating.Credential && credential.State != countersign.CredentialGone
	}) {
		g.Rotating = nil
	}
}
