package countersign

// Risk is the closed scale of what misuse of a thing could cost.
type Risk string

const (
	LowRisk    Risk = "low"
	MediumRisk Risk = "medium"
	HighRisk   Risk = "high"
)

// System is a target: something that access is given on, through one connector.
type System struct {
	ID          SystemID   `json:"id"`
	Version     int64      `json:"version"`
	Name        string     `json:"name"`
	Title       string     `json:"title"`
	Owner       IdentityID `json:"owner"`
	SecondOwner IdentityID `json:"second_owner,omitempty"`
	Environment string     `json:"environment"`
	Risk        Risk       `json:"risk"`
	// Connector names the connector that carries access out on this system.
	Connector string `json:"connector"`
	// Settings are the connector's settings for this system; never secrets.
	Settings  map[string]string `json:"settings,omitempty"`
	Resources []Resource        `json:"resources"`
	Retired   bool              `json:"retired,omitempty"`
	// Offer is a change of owner that a second person has to agree to.
	Offer *OwnershipOffer `json:"offer,omitempty"`
	// LastConfirmed, ConfirmEvery and Silence are as for an NHI.
	LastConfirmed Instant  `json:"last_confirmed,omitempty"`
	ConfirmEvery  Seconds  `json:"confirm_every,omitempty"`
	Silence       *Silence `json:"silence,omitempty"`
}

// Resource is a thing in a system.
type Resource struct {
	ID    ResourceID `json:"id"`
	Name  string     `json:"name"`
	Title string     `json:"title,omitempty"`
	// Risk and Owner replace the system's where they are set.
	Risk  Risk       `json:"risk,omitempty"`
	Owner IdentityID `json:"owner,omitempty"`
}

// EntitlementKind says what holding the entitlement means on the target.
type EntitlementKind string

const (
	// CredentialKind is access by holding a secret or key.
	CredentialKind EntitlementKind = "credential"
	// RoleKind is access by being assigned.
	RoleKind EntitlementKind = "role"
)

// Entitlement is a named right on a resource of a system.
type Entitlement struct {
	ID       EntitlementID   `json:"id"`
	Version  int64           `json:"version"`
	System   SystemID        `json:"system"`
	Resource ResourceID      `json:"resource"`
	Name     string          `json:"name"`
	Title    string          `json:"title,omitempty"`
	Kind     EntitlementKind `json:"kind"`
	// Risk replaces the resource's where it is set.
	Risk Risk `json:"risk,omitempty"`
	// MaxDuration is a limit of the target on any grant; zero means none.
	MaxDuration Seconds `json:"max_duration,omitempty"`
	// EligibleFor makes the right an eligible assignment: whoever holds it may take
	// the named entitlement of the same resource by break-glass.
	EligibleFor string `json:"eligible_for,omitempty"`
	// Definition is the version of what the entitlement means on its target, as that
	// counts it; "" where nobody says.
	Definition string `json:"definition,omitempty"`
	Retired    bool   `json:"retired,omitempty"`
}

// FindResource returns the resource with the id, or nil.
func (s *System) FindResource(id ResourceID) *Resource {
	for i := range s.Resources {
		if s.Resources[i].ID == id {
			return &s.Resources[i]
		}
	}
	return nil
}
