package countersign

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"go.jetify.com/typeid"
)

// Ids are TypeIDs: a prefix that names the noun, an underscore, and a UUIDv7 in
// 26 characters of Crockford's base 32. They sort by the time of their making.
// Source: the TypeID specification, version 0.3.
type (
	IdentityID       string
	GroupID          string
	SystemID         string
	ResourceID       string
	EntitlementID    string
	RecordID         string
	RequestID        string
	DecisionID       string
	EvidenceID       string
	GrantID          string
	CredentialID     string
	IntentID         string
	ObservationID    string
	TokenID          string
	ProposalID       string
	HoldID           string
	DelegationID     string
	BatchID          string
	FindingID        string
	ReconciliationID string
)

// Prefixes is the one table of id prefixes. An entry is never changed or reused.
var Prefixes = map[string]string{
	"idn": "identity",
	"grp": "group",
	"sys": "system",
	"res": "resource",
	"ent": "entitlement",
	"rec": "system record",
	"req": "request",
	"dec": "decision",
	"evd": "evidence",
	"grt": "grant",
	"crd": "credential",
	"int": "intent",
	"obs": "observation",
	"tok": "token",
	"prp": "proposal",
	"hld": "hold",
	"dlg": "delegation",
	"bat": "batch",
	"fnd": "finding",
	"rcn": "reconciliation",
}

// CheckID reports whether s is a well-formed id with the given prefix.
func CheckID(prefix, s string) error {
	name, known := Prefixes[prefix]
	if !known {
		return Errorf(Internal, "unknown-prefix", "no noun has the id prefix %q", prefix)
	}
	parsed, err := typeid.FromString(s)
	if err != nil || parsed.Prefix() != prefix {
		return Errorf(Invalid, "malformed-id", "%q is not the id of a %s: it should look like %s_ followed by 26 characters", Clip(s), name, prefix)
	}
	return nil
}

// PrefixOf returns what stands before the underscore of an id, or "".
func PrefixOf(id string) string {
	prefix, _, found := strings.Cut(id, "_")
	if !found {
		return ""
	}
	return prefix
}

// TimeOfID returns when an id was made, by the clock of who made it; 0 where the
// text is no id.
func TimeOfID(id string) Instant {
	parsed, err := typeid.FromString(id)
	if err != nil {
		return 0
	}
	bytes := parsed.UUIDBytes()
	var milliseconds uint64
	for _, b := range bytes[:6] {
		milliseconds = milliseconds<<8 | uint64(b)
	}
	return Instant(milliseconds)
}

// Mint hands out the ids and salts of one command, in order. It is a value
// that the caller fills: the same seed and time give the same ids, so that a
// decision can be replayed and a simulation repeated. The seed must be 32
// secret random bytes wherever salts protect personal data.
type Mint struct {
	seed    [32]byte
	now     Instant
	counter uint64
}

// NewMint returns a mint whose ids carry the time now.
func NewMint(seed [32]byte, now Instant) *Mint {
	return &Mint{seed: seed, now: now}
}

// block is SHA-256 in counter mode under the secret seed: knowing one output
// (an opened salt) tells nothing about the others.
func (m *Mint) block() [32]byte {
	const domain = "countersign/mint/v1\n"
	var input [len(domain) + 32 + 8]byte
	copy(input[:], domain)
	copy(input[len(domain):], m.seed[:])
	binary.BigEndian.PutUint64(input[len(domain)+32:], m.counter)
	m.counter++
	return sha256.Sum256(input[:])
}

// Salt returns 32 bytes for a commitment.
func (m *Mint) Salt() [32]byte { return m.block() }

// newID makes a UUIDv7 (RFC 9562, section 5.7) out of the mint's time and the
// next block, and renders it as a TypeID.
func (m *Mint) newID(prefix string) string {
	random := m.block()
	var uuid [16]byte
	copy(uuid[6:], random[:10])
	milliseconds := uint64(m.now)
	for i := range 6 {
		uuid[i] = byte(milliseconds >> (40 - 8*i))
	}
	uuid[6] = uuid[6]&0x0f | 0x70
	uuid[8] = uuid[8]&0x3f | 0x80
	id, err := typeid.FromUUIDBytesWithPrefix(prefix, uuid[:])
	if err != nil {
		panic(fmt.Sprintf("countersign: %q is not a valid id prefix: %v", prefix, err))
	}
	return id.String()
}

func (m *Mint) Identity() IdentityID             { return IdentityID(m.newID("idn")) }
func (m *Mint) Group() GroupID                   { return GroupID(m.newID("grp")) }
func (m *Mint) System() SystemID                 { return SystemID(m.newID("sys")) }
func (m *Mint) Resource() ResourceID             { return ResourceID(m.newID("res")) }
func (m *Mint) Entitlement() EntitlementID       { return EntitlementID(m.newID("ent")) }
func (m *Mint) Record() RecordID                 { return RecordID(m.newID("rec")) }
func (m *Mint) Request() RequestID               { return RequestID(m.newID("req")) }
func (m *Mint) Decision() DecisionID             { return DecisionID(m.newID("dec")) }
func (m *Mint) Evidence() EvidenceID             { return EvidenceID(m.newID("evd")) }
func (m *Mint) Grant() GrantID                   { return GrantID(m.newID("grt")) }
func (m *Mint) Credential() CredentialID         { return CredentialID(m.newID("crd")) }
func (m *Mint) Intent() IntentID                 { return IntentID(m.newID("int")) }
func (m *Mint) Observation() ObservationID       { return ObservationID(m.newID("obs")) }
func (m *Mint) Token() TokenID                   { return TokenID(m.newID("tok")) }
func (m *Mint) Proposal() ProposalID             { return ProposalID(m.newID("prp")) }
func (m *Mint) Batch() BatchID                   { return BatchID(m.newID("bat")) }
func (m *Mint) Delegation() DelegationID         { return DelegationID(m.newID("dlg")) }
func (m *Mint) Finding() FindingID               { return FindingID(m.newID("fnd")) }
func (m *Mint) Reconciliation() ReconciliationID { return ReconciliationID(m.newID("rcn")) }
func (m *Mint) Hold() HoldID                     { return HoldID(m.newID("hld")) }
