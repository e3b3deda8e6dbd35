package workflow

import "github.com/countersign/countersign"

// Events of findings and of reconciliations. A finding is opened and closed by
// what was read from a target, and by nobody's command.

type FindingOpened struct {
	Change FindingOpenedChange `json:"change"`
	// Subject holds what can name a person.
	Subject *FindingSubject `json:"subject"`
}

type FindingOpenedChange struct {
	Kind        countersign.FindingKind  `json:"kind"`
	System      countersign.SystemID     `json:"system"`
	Owner       countersign.IdentityID   `json:"owner"`
	Deadline    countersign.Instant      `json:"deadline"`
	Holder      countersign.IdentityID   `json:"holder,omitempty"`
	Resource    string                   `json:"resource,omitempty"`
	Entitlement string                   `json:"entitlement,omitempty"`
	Credential  countersign.CredentialID `json:"credential,omitempty"`
	Grant       countersign.GrantID      `json:"grant,omitempty"`
	// List is the digest of the list that it was found in.
	List countersign.Digest `json:"list"`
}

type FindingSubject struct {
	Principal string `json:"principal"`
}

func (FindingOpened) EventKind() string { return "finding.opened@1" }

// FindingClosed says that a later list does not show it any more.
type FindingClosed struct {
	Change struct {
		List countersign.Digest `json:"list"`
	} `json:"change"`
}

func (FindingClosed) EventKind() string { return "finding.closed@1" }

// ReconciliationCompleted says that a list was read to its end and compared.
type ReconciliationCompleted struct {
	Change struct {
		System countersign.SystemID   `json:"system"`
		ReadAt countersign.Instant    `json:"read_at"`
		Owner  countersign.IdentityID `json:"owner"`
		countersign.Comparison
	} `json:"change"`
}

func (ReconciliationCompleted) EventKind() string { return "reconciliation.completed@1" }

// ReconciliationFailed says that a target did not give a whole list. It is written
// once, however often the target is asked again.
type ReconciliationFailed struct {
	Change struct {
		System countersign.SystemID   `json:"system"`
		Owner  countersign.IdentityID `json:"owner"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (ReconciliationFailed) EventKind() string { return "reconciliation.failed@1" }

func init() {
	Registry.Register(&FindingOpened{}, &FindingClosed{}, &ReconciliationCompleted{}, &ReconciliationFailed{})
}

// ApplyFinding folds one event of a finding's stream into its state, which it takes
// over and returns; nil is the state before the first event.
func ApplyFinding(f *countersign.Finding, stamp Stamp, payload countersign.Payload) (*countersign.Finding, error) {
	switch event := payload.(type) {
	case *FindingOpened:
		c := event.Change
		f = &countersign.Finding{
			ID: countersign.FindingID(stamp.Stream), Kind: c.Kind, State: countersign.FindingOpen, System: c.System, Owner: c.Owner,
			OpenedAt: stamp.Time, Deadline: c.Deadline, Holder: c.Holder, Resource: c.Resource, Entitlement: c.Entitlement,
			Credential: c.Credential, Grant: c.Grant,
		}
		if event.Subject != nil {
			f.Principal = event.Subject.Principal
		}
	case *FindingClosed:
		if f == nil {
			return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "a finding's stream begins with %s", FindingOpened{}.EventKind())
		}
		f.State, f.ClosedAt = countersign.FindingClosed, stamp.Time
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a finding", payload.EventKind())
	}
	f.Version = stamp.Seq
	return f, nil
}

// ApplyReconciliation is ApplyFinding for the stream of a reconciliation, which can
// begin with either of its events.
func ApplyReconciliation(r *countersign.Reconciliation, stamp Stamp, payload countersign.Payload) (*countersign.Reconciliation, error) {
	if r == nil {
		r = &countersign.Reconciliation{ID: countersign.ReconciliationID(stamp.Stream)}
	}
	switch event := payload.(type) {
	case *ReconciliationCompleted:
		r.System, r.ReadAt, r.FailingSince, r.Trouble = event.Change.System, event.Change.ReadAt, 0, ""
		r.Last = Copy(&event.Change.Comparison)
	case *ReconciliationFailed:
		r.System, r.FailingSince = event.Change.System, stamp.Time
		if event.Reason != nil {
			r.Trouble = event.Reason.Text
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a reconciliation", payload.EventKind())
	}
	r.Version = stamp.Seq
	return r, nil
}
