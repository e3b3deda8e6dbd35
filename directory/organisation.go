package directory

import "github.com/countersign/countersign"

// The powers of the desk are the entitlements of this resource of this system.
const (
	HouseSystem   = "countersign"
	HouseResource = "house"
)

// PowerNames is the closed list of powers that files can hand out at genesis.
var PowerNames = []string{"administrator", "auditor", "operator", "policy-author"}

// Organisation is what the files of a directory folder say, in their order.
// Things name each other: identities by their login in its one form, groups and
// systems by name, records by key.
type Organisation struct {
	Identities []Identity
	Groups     []Group
	Systems    []System
	// Catalogues are part of their systems once the files are read.
	Catalogues []Catalogue
	Records    []Record
	Powers     []Power
}

// Identity is a person, service, workload or agent; the fields are those of
// countersign.Identity. Handles begin with the login.
type Identity struct {
	Login         string
	Kind          countersign.IdentityKind
	Status        countersign.IdentityStatus
	Name          string
	Handles       []countersign.Handle
	Environment   string
	Affiliation   countersign.Affiliation
	Manager       string
	ContractEnd   countersign.Instant
	Sponsor       string
	Owner         string
	SecondOwner   string
	Purpose       string
	Record        string
	LastConfirmed countersign.Instant
	ConfirmEvery  countersign.Seconds

	spots spots
}

// Group is a group or, with Team set, a team.
type Group struct {
	Name    string
	Team    bool
	Owner   string
	Members []string
	Groups  []string

	spots spots
}

// System is a target with its resources.
type System struct {
	Name        string
	Title       string
	Owner       string
	SecondOwner string
	Environment string
	Risk        countersign.Risk
	Connector   string
	Settings    map[string]string
	Resources   []Resource
	// LastConfirmed and ConfirmEvery are as for a machine.
	LastConfirmed countersign.Instant
	ConfirmEvery  countersign.Seconds

	spots spots
}

// Resource is a thing in a system, with the rights on it.
type Resource struct {
	Name         string
	Title        string
	Risk         countersign.Risk
	Owner        string
	Entitlements []Entitlement

	spots spots
}

// Entitlement is a right on a resource.
type Entitlement struct {
	Name        string
	Title       string
	Kind        countersign.EntitlementKind
	Risk        countersign.Risk
	MaxDuration countersign.Seconds
	// EligibleFor names the entitlement of the same resource that holders may take
	// by break-glass.
	EligibleFor string
	// Version is that of the definition on the target.
	Version string

	spots spots
}

// Catalogue adds a resource with its entitlements to a system of another file.
type Catalogue struct {
	System   string
	Resource Resource

	spots spots
}

// Record is a system record.
type Record struct {
	Key         string
	Title       string
	Owner       string
	Environment string
	Scopes      []string
	Retired     bool

	spots spots
}

// Power says who holds one of the desk's own powers when the house is founded.
type Power struct {
	Name    string
	Holders []string

	spots spots
}
