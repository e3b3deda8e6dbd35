package workflow

import (
	"strings"

	"github.com/countersign/countersign"
)

// Events of what the house knows: identities, groups, systems, entitlements,
// system records, the policy set, and the house itself. Each carries the whole
// new state; what can name a person stands in the group that can be erased.

type IdentityRecorded struct {
	Change  countersign.Identity `json:"change"`
	Subject *IdentitySubject     `json:"subject"`
	// Reason is there where a person said why.
	Reason *Reason `json:"reason"`
}

// IdentitySubject is what names or describes the identity.
type IdentitySubject struct {
	Name    string               `json:"name"`
	Handles []countersign.Handle `json:"handles"`
	Purpose string               `json:"purpose,omitempty"`
}

func (IdentityRecorded) EventKind() string { return "identity.recorded@1" }

// NewIdentityRecorded splits an identity into its groups of values.
func NewIdentityRecorded(identity countersign.Identity) *IdentityRecorded {
	subject := &IdentitySubject{Name: identity.Name, Handles: identity.Handles, Purpose: identity.Purpose}
	identity.Name, identity.Handles, identity.Purpose = "", []countersign.Handle{}, ""
	return &IdentityRecorded{Change: identity, Subject: subject}
}

type GroupRecorded struct {
	Change countersign.Group `json:"change"`
}

func (GroupRecorded) EventKind() string { return "group.recorded@1" }

type SystemRecorded struct {
	Change countersign.System `json:"change"`
	// Reason is there where a person said why.
	Reason *Reason `json:"reason"`
}

func (SystemRecorded) EventKind() string { return "system.recorded@1" }

type EntitlementRecorded struct {
	Change countersign.Entitlement `json:"change"`
}

func (EntitlementRecorded) EventKind() string { return "entitlement.recorded@1" }

type RecordRecorded struct {
	Change countersign.Record `json:"change"`
}

func (RecordRecorded) EventKind() string { return "system-record.recorded@1" }

// DelegationRecorded carries the whole delegation but for its reason.
type DelegationRecorded struct {
	Change countersign.Delegation `json:"change"`
	Reason *Reason                `json:"reason"`
}

func (DelegationRecorded) EventKind() string { return "delegation.recorded@1" }

// NewDelegationRecorded splits a delegation into its groups of values.
func NewDelegationRecorded(delegation countersign.Delegation) *DelegationRecorded {
	reason := &Reason{Text: delegation.Reason}
	delegation.Reason = ""
	return &DelegationRecorded{Change: delegation, Reason: reason}
}

type PolicyActivated struct {
	Change struct {
		Set countersign.Digest `json:"set"`
		// Emergency is set where one person has put it into force alone.
		Emergency *countersign.EmergencyPolicy `json:"emergency,omitempty"`
	} `json:"change"`
}

func (PolicyActivated) EventKind() string { return "policy.activated@1" }

type HouseFounded struct {
	Change struct {
		Name   string `json:"name"`
		Sample bool   `json:"sample"`
	} `json:"change"`
	// Subject names the operating-system user who founded the house.
	Subject *Founder `json:"subject"`
}

// Founder is the person at the host's command line.
type Founder struct {
	OperatingSystemUser string `json:"operating_system_user"`
}

func (HouseFounded) EventKind() string { return "house.founded@1" }

// HouseRecovered says that the power to administrate was given at the host.
type HouseRecovered struct {
	Change struct {
		People []countersign.IdentityID `json:"people"`
	} `json:"change"`
	Reason *Reason `json:"reason"`
	// Subject names the operating-system user who did it.
	Subject *Founder `json:"subject"`
}

func (HouseRecovered) EventKind() string { return "house.recovered@1" }

// HouseBackedUp says that the house is copied at the host. It comes before the
// copy, so that no copy is taken that nobody hears of, and each tells of itself.
type HouseBackedUp struct {
	// Subject names the operating-system user who did it.
	Subject *Founder `json:"subject"`
}

func (HouseBackedUp) EventKind() string { return "house.backed-up@1" }

// HouseRestored says that the house was made anew out of a copy: what was
// committed after TakenAt is not known to it.
type HouseRestored struct {
	Change struct {
		TakenAt countersign.Instant `json:"taken_at"`
		// Archive is the digest of the archive's manifest.
		Archive countersign.Digest `json:"archive"`
	} `json:"change"`
	// Subject names the operating-system user who did it.
	Subject *Founder `json:"subject"`
}

func (HouseRestored) EventKind() string { return "house.restored@1" }

func init() {
	Registry.Register(&HouseRecovered{}, &HouseBackedUp{}, &HouseRestored{}, &IdentityRecorded{}, &GroupRecorded{}, &SystemRecorded{}, &EntitlementRecorded{},
		&RecordRecorded{}, &DelegationRecorded{}, &PolicyActivated{}, &HouseFounded{})
}

// Replay folds one stream after the other into rows.
type Replay struct {
	// Rows are the rows of the stream at hand, by key.
	Rows map[string]countersign.Row
}

// NewReplay begins a stream.
func NewReplay() *Replay { return &Replay{Rows: map[string]countersign.Row{}} }

// Apply folds the next event of the stream. Events of targets and side rooms,
// whose kinds begin with a room's name, touch no row.
func (p *Replay) Apply(header countersign.Header, payload countersign.Payload) error {
	stamp := Stamp{Stream: header.Stream, Seq: header.Seq, Time: header.Time, Actor: header.Actor, PolicySet: header.PolicySet}
	switch event := payload.(type) {
	case *IdentityRecorded:
		identity := event.Change
		if event.Subject != nil {
			identity.Name, identity.Handles, identity.Purpose = event.Subject.Name, event.Subject.Handles, event.Subject.Purpose
		}
		p.put(&identity)
	case *GroupRecorded:
		p.put(&event.Change)
	case *SystemRecorded:
		p.put(&event.Change)
	case *EntitlementRecorded:
		p.put(&event.Change)
	case *RecordRecorded:
		p.put(&event.Change)
	case *DelegationRecorded:
		delegation := event.Change
		if event.Reason != nil {
			delegation.Reason = event.Reason.Text
		}
		p.put(&delegation)
	case *PolicyActivated:
		p.put(&countersign.PolicyRow{Version: header.Seq, Active: event.Change.Set, ActivatedAt: header.Time, Emergency: event.Change.Emergency})
	case *HouseFounded:
		p.put(&countersign.House{Version: header.Seq, Name: event.Change.Name, Founded: header.Time, Sample: event.Change.Sample})
	case *HouseRecovered, *HouseBackedUp, *HouseRestored:
		// No row follows from them; the grants that a recovery opens have streams of
		// their own.
	default:
		key := string(header.Stream)
		if strings.HasPrefix(payload.EventKind(), "request.") {
			before, _ := p.Rows[key].(*countersign.Request)
			after, err := ApplyRequest(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		if strings.HasPrefix(payload.EventKind(), "batch.") {
			before, _ := p.Rows[key].(*countersign.Batch)
			after, err := ApplyBatch(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		if strings.HasPrefix(payload.EventKind(), "hold.") {
			before, _ := p.Rows[key].(*countersign.Hold)
			after, err := ApplyHold(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		if strings.HasPrefix(payload.EventKind(), "proposal.") {
			before, _ := p.Rows[key].(*countersign.Proposal)
			after, err := ApplyProposal(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		if strings.HasPrefix(payload.EventKind(), "finding.") {
			before, _ := p.Rows[key].(*countersign.Finding)
			after, err := ApplyFinding(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		if strings.HasPrefix(payload.EventKind(), "reconciliation.") {
			before, _ := p.Rows[key].(*countersign.Reconciliation)
			after, err := ApplyReconciliation(before, stamp, payload)
			if err != nil {
				return err
			}
			p.put(after)
			return nil
		}
		before, _ := p.Rows[key].(*countersign.Grant)
		after, err := ApplyGrant(before, stamp, payload)
		if err != nil {
			return err
		}
		p.put(after)
	}
	return nil
}

func (p *Replay) put(row countersign.Row) { p.Rows[row.RowKey()] = row }
