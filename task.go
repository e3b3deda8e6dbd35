package countersign

import "slices"

// Assurance says on what it rests that access is there, or is gone.
type Assurance string

const (
	// ReadBack: a connector asked the target.
	ReadBack Assurance = "read-back"
	// Listed: somebody other than the fulfiller brought the target's list of accounts.
	Listed Assurance = "list"
	// Attested: somebody other than the fulfiller says so. The weakest.
	Attested Assurance = "attested"
)

// Task is what a person is to do on a system without an interface: carry out the
// grant's present intent. It is the intent's own, and goes with it.
type Task struct {
	Intent   IntentID `json:"intent"`
	OpenedAt Instant  `json:"opened_at"`
	// Deadline is when it escalates next; Escalated how often it did, and Told who
	// heard of it last.
	Deadline  Instant      `json:"deadline"`
	Escalated int          `json:"escalated,omitempty"`
	Told      []IdentityID `json:"told"`
	// DoneBy says that it did it; a second person has to look.
	DoneBy IdentityID `json:"done_by,omitempty"`
	DoneAt Instant    `json:"done_at,omitempty"`
}

// Check is what a second person found after a task was done.
type Check struct {
	Intent    IntentID   `json:"intent"`
	Operation Operation  `json:"operation"`
	DoneBy    IdentityID `json:"done_by"`
	By        IdentityID `json:"by"`
	At        Instant    `json:"at"`
	Assurance Assurance  `json:"assurance"`
	Present   bool       `json:"present"`
	// List is the digest of the list of accounts, kept as it was brought.
	List Digest `json:"list,omitempty"`
	// Account is how the holder was called on the target when somebody looked.
	Account string `json:"account,omitempty"`
}

// Accounts are the names under which the grant's access was given, as they were then.
func (g *Grant) Accounts() []string {
	var accounts []string
	for _, check := range g.Checks {
		if check.Operation == ApplyOperation && check.Account != "" && !slices.Contains(accounts, check.Account) {
			accounts = append(accounts, check.Account)
		}
	}
	return accounts
}

// Assurance says on what it rests that the access is there, or was; "" where nobody
// has looked yet.
func (g *Grant) Assurance() Assurance {
	if n := len(g.Checks); n > 0 && g.From != 0 {
		return g.Checks[n-1].Assurance
	}
	if g.From == 0 {
		return ""
	}
	return ReadBack
}
