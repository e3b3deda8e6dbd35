package workflow

import "github.com/countersign/countersign"

// Events of findings and of reconciliations. A finding is opened and closed by
// what was read from a target. That access is to be taken away is asked by a person.

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

// FindingClosed says that a later list does not show it any more, or why no list can.
type FindingClosed struct {
	Change struct {
		List countersign.Digest `json:"list"`
		// Because is set where no list was read, and List is "".
		Because countersign.ClosedBecause `json:"because,omitempty"`
	} `json:"change"`
}

func (FindingClosed) EventKind() string { return "finding.closed@1" }

// RemovalAsked says that somebody wants access taken away that nobody asked for.
type RemovalAsked struct {
	Change struct {
		By     countersign.IdentityID `json:"by"`
		Intent countersign.IntentID   `json:"intent"`
		// ByHand says that the connector cannot do it.
		ByHand bool `json:"by_hand,omitempty"`
		// Told are who answers for the system.
		Told []countersign.IdentityID `json:"told,omitempty"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
}

func (RemovalAsked) EventKind() string { return "finding.removal-asked@1" }

// FindingRemoved says that it was taken away, and what was read back.
type FindingRemoved struct {
	Change struct {
		Attempt int `json:"attempt"`
	} `json:"change"`
	// Facts hold what the connector says, which can name the account.
	Facts *ReadBack `json:"facts"`
}

// ReadBack is what a connector read from its target, in its words.
type ReadBack struct {
	By string `json:"by"`
}

func (FindingRemoved) EventKind() string { return "finding.removed@1" }

// BaselineSigned says that a second person signed the list of what a system held.
type BaselineSigned struct {
	Change BaselineSignedChange `json:"change"`
}

type BaselineSignedChange struct {
	System     countersign.SystemID   `json:"system"`
	Proposal   countersign.ProposalID `json:"proposal"`
	List       countersign.Digest     `json:"list"`
	ProposedBy countersign.IdentityID `json:"proposed_by"`
	SignedBy   countersign.IdentityID `json:"signed_by"`
	Until      countersign.Instant    `json:"until"`
	Pairs      int                    `json:"pairs"`
	Parts      int                    `json:"parts"`
}

func (BaselineSigned) EventKind() string { return "reconciliation.baseline-signed@1" }

// BaselineAdopted says what became of the next part of the list, in the commit that
// opens its grants.
type BaselineAdopted struct {
	Change struct {
		Part    int `json:"part"`
		Adopted int `json:"adopted"`
		Left    int `json:"left"`
	} `json:"change"`
}

func (BaselineAdopted) EventKind() string { return "reconciliation.baseline-adopted@1" }

// ReconciliationCompleted says that a list was read to its end and compared.
type ReconciliationCompleted struct {
	Change struct {
		System countersign.SystemID   `json:"system"`
		ReadAt countersign.Instant    `json:"read_at"`
		Owner  countersign.IdentityID `json:"owner"`
		// Overdue counts the findings whose time has passed since the list before.
		Overdue int `json:"overdue,omitempty"`
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
	Registry.Register(&FindingOpened{}, &FindingClosed{}, &RemovalAsked{}, &FindingRemoved{},
		&ReconciliationCompleted{}, &ReconciliationFailed{}, &BaselineSigned{}, &BaselineAdopted{})
}

// ApplyFinding folds one event of a finding's stream into its state, which it takes
// over and returns; nil is the state before the first event.
func ApplyFinding(f *countersign.Finding, stamp Stamp, payload countersign.Payload) (*countersign.Finding, error) {
	if _, opens := payload.(*FindingOpened); !opens && f == nil {
		return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "a finding's stream begins with %s", FindingOpened{}.EventKind())
	}
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
		f.State, f.ClosedAt, f.ClosedBecause = countersign.FindingClosed, stamp.Time, event.Change.Because
	case *RemovalAsked:
		f.Removal = &countersign.Removal{By: event.Change.By, At: stamp.Time, Intent: event.Change.Intent, ByHand: event.Change.ByHand}
		if event.Reason != nil {
			f.Removal.Reason = event.Reason.Text
		}
	case *FindingRemoved:
		f.State, f.ClosedAt, f.ClosedBecause = countersign.FindingClosed, stamp.Time, countersign.ClosedRemoved
		if f.Removal != nil && event.Facts != nil {
			f.Removal.ReadBack = event.Facts.By
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a finding", payload.EventKind())
	}
	f.Version = stamp.Seq
	return f, nil
}

// ApplyReconciliation is ApplyFinding for the stream of a reconciliation, which can
// begin with any of its events but the adoption of what was signed.
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
	case *BaselineSigned:
		c := event.Change
		r.System = c.System
		r.Baseline = &countersign.Baseline{
			Proposal: c.Proposal, List: c.List, ProposedBy: c.ProposedBy, SignedBy: c.SignedBy, SignedAt: stamp.Time, Until: c.Until, Pairs: c.Pairs, Parts: c.Parts,
		}
	case *BaselineAdopted:
		if r.Baseline == nil {
			return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "nothing is adopted before %s", BaselineSigned{}.EventKind())
		}
		r.Baseline.Done, r.Baseline.Adopted, r.Baseline.Left = event.Change.Part+1, r.Baseline.Adopted+event.Change.Adopted, r.Baseline.Left+event.Change.Left
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a reconciliation", payload.EventKind())
	}
	r.Version = stamp.Seq
	return r, nil
}
