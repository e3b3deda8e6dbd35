package countersign

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// IdentityKind tells persons from the three kinds of non-human identity (NHI).
type IdentityKind string

const (
	Person   IdentityKind = "person"
	Service  IdentityKind = "service"
	Workload IdentityKind = "workload"
	Agent    IdentityKind = "agent"
)

// Affiliation says how a person belongs to the organisation.
type Affiliation string

const (
	Employee   Affiliation = "employee"
	Contractor Affiliation = "contractor"
	Vendor     Affiliation = "vendor"
	Partner    Affiliation = "partner"
)

// IdentityStatus says whether an identity can act and hold access.
type IdentityStatus string

const (
	IdentityActive IdentityStatus = "active"
	// IdentitySuspended can be lifted again.
	IdentitySuspended IdentityStatus = "suspended"
	// IdentityDeparted has left for good.
	IdentityDeparted IdentityStatus = "departed"
)

// Identity is who can hold access. Its id never changes; everything else may.
type Identity struct {
	ID      IdentityID     `json:"id"`
	Version int64          `json:"version"`
	Kind    IdentityKind   `json:"kind"`
	Status  IdentityStatus `json:"status"`
	Name    string         `json:"name"`
	Handles []Handle       `json:"handles"`
	// Environment is where an NHI runs: prod, staging, dev; "" for persons.
	Environment string `json:"environment,omitempty"`

	// SuspendedBy is who suspended the identity by a command; DepartsAt is when it
	// has left for good unless it was reactivated by then.
	SuspendedBy IdentityID `json:"suspended_by,omitempty"`
	DepartsAt   Instant    `json:"departs_at,omitempty"`

	// Persons only.
	Affiliation Affiliation `json:"affiliation,omitempty"`
	Manager     IdentityID  `json:"manager,omitempty"`
	ContractEnd Instant     `json:"contract_end,omitempty"`

	// Sponsor answers for an outsider, or for an agent beside its owner.
	Sponsor IdentityID `json:"sponsor,omitempty"`

	// Non-human identities only.
	Owner         IdentityID `json:"owner,omitempty"`
	SecondOwner   IdentityID `json:"second_owner,omitempty"`
	Purpose       string     `json:"purpose,omitempty"`
	Record        RecordID   `json:"record,omitempty"`
	LastConfirmed Instant    `json:"last_confirmed,omitempty"`
	// Offer is a change of owner that a second person has to agree to.
	Offer *OwnershipOffer `json:"offer,omitempty"`
	// ConfirmEvery is how often it is confirmed; 0 is as the policy set says.
	ConfirmEvery Seconds `json:"confirm_every,omitempty"`
	// Silence is what was said since the last confirmation; nil for nothing.
	Silence *Silence `json:"silence,omitempty"`
}

// The shortest and the longest time between two confirmations of an owner.
const (
	ShortestConfirmation = 7 * Day
	LongestConfirmation  = 1100 * Day
)

// Silence is how far the house has gone with an owner who does not confirm that he or
// she still answers for an NHI or a system, or who is not there any more.
type Silence struct {
	// Due is by when it was to be confirmed.
	Due Instant `json:"due"`
	// Lost says that the owner is not active.
	Lost bool `json:"lost,omitempty"`
	// Told are those who were told last, at At.
	Told []IdentityID `json:"told"`
	At   Instant      `json:"at"`
	// Escalated says that others than the owner were told: from NothingNewFrom on
	// nothing new is given.
	Escalated      bool    `json:"escalated,omitempty"`
	NothingNewFrom Instant `json:"nothing_new_from,omitempty"`
}

// OwnershipOffer says who is to answer for an NHI or a system from now on, and who said so:
// somebody who answers for it, or the new owner, who asks to take it over.
type OwnershipOffer struct {
	To IdentityID `json:"to"`
	By IdentityID `json:"by"`
	At Instant    `json:"at"`
	// Until is when it lapses unless a second person agrees; RemindAt is when those who
	// may are reminded. Both are zero for one that nobody has set a time yet.
	Until    Instant `json:"until,omitempty"`
	RemindAt Instant `json:"remind_at,omitempty"`
	// Told are those who were told last, at ToldAt.
	Told   []IdentityID `json:"told,omitempty"`
	ToldAt Instant      `json:"told_at,omitempty"`
	// LapsedAt is set once nobody has agreed in time.
	LapsedAt Instant `json:"lapsed_at,omitempty"`
}

// OpenAt reports whether a second person may agree to the offer at now.
func (o *OwnershipOffer) OpenAt(now Instant) bool {
	return o != nil && o.LapsedAt == 0 && (o.Until == 0 || now < o.Until)
}

// ActiveAt reports whether the identity may act and hold access at now.
func (i *Identity) ActiveAt(now Instant) bool {
	return i.Status == IdentityActive && (i.ContractEnd == 0 || now < i.ContractEnd)
}

// Human reports whether the identity is a person.
func (i *Identity) Human() bool { return i.Kind == Person }

// SamePerson returns who counts as one person with the identity for separation
// of duties: itself, and for an NHI its owner and sponsor; sorted.
func (i *Identity) SamePerson() []IdentityID {
	set := []IdentityID{i.ID}
	if !i.Human() {
		for _, other := range []IdentityID{i.Owner, i.Sponsor} {
			if other != "" {
				set = append(set, other)
			}
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// Handle returns the value of the first handle of the kind, or "".
func (i *Identity) Handle(kind HandleKind) string {
	for _, handle := range i.Handles {
		if handle.Kind == kind {
			return handle.Value
		}
	}
	return ""
}

// HandleKind is the closed list of how identities are named elsewhere.
type HandleKind string

const (
	Login  HandleKind = "login"
	Email  HandleKind = "email"
	OIDC   HandleKind = "oidc"
	SPIFFE HandleKind = "spiffe"
	// Ticketing is an account in a ticket system, by the id that it never changes.
	Ticketing HandleKind = "ticketing"
)

// Handle is a name of an identity. Two handles are the same name exactly when
// their Keys are equal. For OIDC the namespace is the issuer and the value the
// subject; for an account in a ticket system the namespace is the name of that
// system. The other kinds have no namespace.
type Handle struct {
	Kind      HandleKind `json:"kind"`
	Namespace string     `json:"namespace,omitempty"`
	Value     string     `json:"value"`
}

// Key returns the one spelling under which the handle is unique in the house.
func (h Handle) Key() string {
	return string(h.Kind) + "\n" + h.Namespace + "\n" + h.Value
}

// NewHandle brings a handle into its one form: login and e-mail NFKC and case
// folded, a SPIFFE id with its trust domain in lower case and its path as it is,
// an OIDC issuer and subject byte for byte, and so an account in a ticket system.
func NewHandle(kind HandleKind, namespace, value string) (Handle, error) {
	handle := Handle{Kind: kind, Namespace: namespace, Value: value}
	if !utf8.ValidString(value) || !utf8.ValidString(namespace) {
		return Handle{}, Errorf(Invalid, "malformed-handle", "a handle must be valid UTF-8")
	}
	if value == "" || len(value) > 320 || strings.ContainsAny(value+namespace, "\n\x00") {
		return Handle{}, Errorf(Invalid, "malformed-handle", "the %s handle %q must have between 1 and 320 bytes on one line", kind, Clip(value))
	}
	if kind != OIDC && kind != Ticketing && namespace != "" {
		return Handle{}, Errorf(Invalid, "malformed-handle", "a %s handle has no namespace", kind)
	}
	switch kind {
	case Login, Email:
		// Folding can undo normal form, so normalise on both sides of it.
		handle.Value = strings.TrimSpace(norm.NFKC.String(strings.Map(foldCherokee, cases.Fold().String(norm.NFKC.String(value)))))
		if kind == Email && (strings.Count(handle.Value, "@") != 1 || strings.HasPrefix(handle.Value, "@") || strings.HasSuffix(handle.Value, "@")) {
			return Handle{}, Errorf(Invalid, "malformed-handle", "%q is not an e-mail address", Clip(value))
		}
		if handle.Value == "" {
			return Handle{}, Errorf(Invalid, "malformed-handle", "a %s handle must not be blank", kind)
		}
	case OIDC:
		if namespace == "" {
			return Handle{}, Errorf(Invalid, "malformed-handle", "an oidc handle needs its issuer as namespace")
		}
	case Ticketing:
		if namespace == "" {
			return Handle{}, Errorf(Invalid, "malformed-handle", "a ticketing handle needs the name of its ticket system as namespace")
		}
	case SPIFFE:
		parsed, err := url.Parse(value)
		if err != nil || !strings.EqualFold(parsed.Scheme, "spiffe") || parsed.Host == "" {
			return Handle{}, Errorf(Invalid, "malformed-handle", "%q is not a SPIFFE id: it should look like spiffe://trust.domain/path", Clip(value))
		}
		_, rest, _ := strings.Cut(value, "://")
		domain, path, hasPath := strings.Cut(rest, "/")
		handle.Value = "spiffe://" + strings.ToLower(domain)
		if hasPath {
			handle.Value += "/" + path
		}
	default:
		return Handle{}, Errorf(Invalid, "malformed-handle", "%q is not a kind of handle: use login, email, oidc, spiffe or ticketing", Clip(string(kind)))
	}
	return handle, nil
}

// foldCherokee completes the case folding of the library, which turns the two
// cases of Cherokee letters into each other instead of into one. CaseFolding.txt
// of Unicode folds them to the upper case.
func foldCherokee(r rune) rune {
	switch {
	case r >= 0xab70 && r <= 0xabbf:
		return r - 0xab70 + 0x13a0
	case r >= 0x13f8 && r <= 0x13fd:
		return r - 8
	}
	return r
}

// Group is a set of identities, given by direct members and by groups nested
// in it. A team is a group that persons belong to by their work.
type Group struct {
	ID      GroupID `json:"id"`
	Version int64   `json:"version"`
	Name    string  `json:"name"`
	// Team marks the groups that the organisation calls teams.
	Team    bool       `json:"team,omitempty"`
	Owner   IdentityID `json:"owner,omitempty"`
	Members []Member   `json:"members"`
	Nested  []Nesting  `json:"nested"`
}

// Member is one direct membership; Version is the group's version at which it
// began, which a guard on the membership expects.
type Member struct {
	Identity IdentityID `json:"identity"`
	Version  int64      `json:"version"`
}

// Nesting is one group inside another; all its members belong to both.
type Nesting struct {
	Group   GroupID `json:"group"`
	Version int64   `json:"version"`
}

// Record is a system record (a line of a register of applications or services)
// that evidence can be checked against: it names an owner and the allowed scopes.
type Record struct {
	ID      RecordID `json:"id"`
	Version int64    `json:"version"`
	// Key is the record's own number, as in "SR-1042".
	Key         string     `json:"key"`
	Title       string     `json:"title"`
	Owner       IdentityID `json:"owner"`
	Environment string     `json:"environment,omitempty"`
	Scopes      []string   `json:"scopes"`
	Retired     bool       `json:"retired,omitempty"`
}
