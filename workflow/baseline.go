package workflow

import "github.com/countersign/countersign"

// GrantAdopted begins a grant of access that was on the target before: a baseline of
// the system took it on the record. It is live by what was listed, and claims no
// approval.
type GrantAdopted struct {
	Change GrantAdoptedChange `json:"change"`
	// Subject holds what can name a person.
	Subject *AdoptedSubject `json:"subject"`
}

type GrantAdoptedChange struct {
	Baseline countersign.ProposalID `json:"baseline"`
	// List is the digest of the later list in which it was there still.
	List        countersign.Digest        `json:"list"`
	Holder      countersign.IdentityID    `json:"holder"`
	Entitlement countersign.EntitlementID `json:"entitlement"`
	System      countersign.SystemID      `json:"system"`
	Step        countersign.Step          `json:"step"`
	Credential  countersign.CredentialID  `json:"credential"`
	From        countersign.Instant       `json:"from"`
	Until       countersign.Instant       `json:"until"`
	Terms       countersign.GrantTerms    `json:"terms"`
	Definition  string                    `json:"definition,omitempty"`
	// Resource and Right are as the target lists them.
	Resource string `json:"resource,omitempty"`
	Right    string `json:"right"`
}

// AdoptedSubject is how the target names who holds it.
type AdoptedSubject struct {
	Principal string `json:"principal"`
}

func (GrantAdopted) EventKind() string { return "grant.adopted@1" }

func init() { Registry.Register(&GrantAdopted{}) }

// Adopt begins the grant of one pair of a signed baseline.
func Adopt(occasion Occasion, change GrantAdoptedChange, principal string) (Outcome, error) {
	f := &folding{Occasion: occasion}
	change.Credential = occasion.Mint.Credential()
	err := f.grant(occasion.Mint.Grant(), &GrantAdopted{change, &AdoptedSubject{principal}})
	return f.result(), err
}

func applyAdopted(stamp Stamp, event *GrantAdopted) *countersign.Grant {
	c := event.Change
	g := &countersign.Grant{
		ID: countersign.GrantID(stamp.Stream), Version: stamp.Seq, State: countersign.GrantLive, Origin: countersign.FromBaseline,
		Holder: c.Holder, Entitlement: c.Entitlement, System: c.System, Step: c.Step, Duration: countersign.Seconds((c.Until - c.From) / 1000),
		OpenedAt: stamp.Time, From: c.From, Until: c.Until, Terms: c.Terms, Definition: c.Definition,
		Adopted:     &countersign.Adopted{Baseline: c.Baseline, Resource: c.Resource, Entitlement: c.Right},
		Credentials: []countersign.Credential{{ID: c.Credential, State: countersign.CredentialLive, From: c.From, Until: c.Until}},
	}
	if event.Subject != nil {
		g.Adopted.Principal = event.Subject.Principal
	}
	return Copy(g)
}

// convert makes of adopted access what a request was approved for: it is on the same
// place of the target, and taken away as before.
func convert(g *countersign.Grant, approved *countersign.Extension) {
	if g.Origin != countersign.FromBaseline {
		return
	}
	g.Origin, g.Request, g.Requester = countersign.FromRequest, approved.Request, approved.Requester
}
