package connector

import (
	"context"
	"strings"
	"unicode"

	"github.com/countersign/countersign"
)

// Inventory is what a connector offers besides whose target can list what it
// holds.
type Inventory interface {
	// List calls found for each account and each access that the target holds for
	// the system, made by whomever, in any order and as the target is read: never
	// from what the connector remembers. It keeps no list of its own, so that a
	// large target takes no more memory than a small one.
	//
	// It returns nil only when all of it was listed. After an error, which may be
	// found's own, nothing follows from what was not listed.
	List(ctx context.Context, of Scope, found func(Item) error) error
}

// Scope is the system that is listed.
type Scope struct {
	System     countersign.SystemID
	SystemName string
	Settings   map[string]string
}

// Item is one account, or one access of an account, as the target has it.
type Item struct {
	// Principal is how the target names who holds it: by an id that never changes
	// hands, where the target has one.
	Principal string `json:"principal"`
	// Holder is whose it is, where the target itself has that written; "" otherwise.
	Holder countersign.IdentityID `json:"holder,omitempty"`
	// Resource and Entitlement are the names of the right. Both are "" for an account
	// that is listed for itself; Resource alone is where the right is not tied to one.
	Resource    string `json:"resource,omitempty"`
	Entitlement string `json:"entitlement,omitempty"`
	// Credential is the mark that the connector set when it made this; "" where there
	// is none, and so somebody else made it.
	Credential countersign.CredentialID `json:"credential,omitempty"`
	// Unmarkable says that the target has no place for a mark: this may be ours.
	Unmarkable bool `json:"unmarkable,omitempty"`
	// Until is the end that the target enforces, LastUsed the latest use that it
	// knows of; 0 where there is none or it does not tell.
	Until    countersign.Instant `json:"until,omitempty"`
	LastUsed countersign.Instant `json:"last_used,omitempty"`
}

// maxItemText is how many bytes one name in an item may have.
const maxItemText = 512

// Check refuses an item that says too little, or what no name is.
func (i Item) Check() error {
	for _, named := range []struct{ what, text string }{{"principal", i.Principal}, {"resource", i.Resource}, {"entitlement", i.Entitlement}} {
		if len(named.text) > maxItemText || strings.ContainsFunc(named.text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			return rejected("the %s of what was listed must be one line of at most %d bytes, not %q", named.what, maxItemText, countersign.Clip(named.text))
		}
	}
	switch {
	case i.Principal == "":
		return rejected("what was listed names no principal")
	case i.Entitlement == "" && i.Resource != "":
		return rejected("what was listed for %q has the resource %q and no entitlement", countersign.Clip(i.Principal), countersign.Clip(i.Resource))
	case i.Unmarkable && i.Credential != "":
		return rejected("what was listed for %q has a mark, and is said to have no place for one", countersign.Clip(i.Principal))
	}
	if i.Holder != "" {
		if err := countersign.CheckID("idn", string(i.Holder)); err != nil {
			return rejected("the holder of what was listed for %q is none: %v", countersign.Clip(i.Principal), err)
		}
	}
	if i.Credential != "" {
		if err := countersign.CheckID("crd", string(i.Credential)); err != nil {
			return rejected("the mark of what was listed for %q is none: %v", countersign.Clip(i.Principal), err)
		}
	}
	return nil
}
