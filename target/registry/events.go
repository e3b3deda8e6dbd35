package registry

import "github.com/countersign/countersign"

// SigningKeyMade says that the key of tokens was made, when the event's system
// needed it first.
type SigningKeyMade struct {
	Change SigningKeyMadeChange `json:"change"`
}

// SigningKeyMadeChange names the key by its thumbprint (RFC 7638).
type SigningKeyMadeChange struct {
	Key string `json:"key"`
}

// SigningKeyPublished says that verifiers can read the next key of tokens, and from
// when on it signs.
type SigningKeyPublished struct {
	Change SigningKeyPublishedChange `json:"change"`
	// Subject is nil where the house renewed the key by itself.
	Subject *SigningKeySubject `json:"subject,omitempty"`
}

// SigningKeyPublishedChange names the key by its thumbprint.
type SigningKeyPublishedChange struct {
	Key       string              `json:"key"`
	SignsFrom countersign.Instant `json:"signs_from"`
}

// SigningKeySubject names who sat at the host.
type SigningKeySubject struct {
	OperatingSystemUser string `json:"operating_system_user"`
}

// SigningKeyRetired says that a key signs no more and that its secret is destroyed.
type SigningKeyRetired struct {
	Change SigningKeyRetiredChange `json:"change"`
}

// SigningKeyRetiredChange names the key and its successor, and says until when tokens
// of the former can be verified.
type SigningKeyRetiredChange struct {
	Key            string              `json:"key"`
	Successor      string              `json:"successor"`
	PublishedUntil countersign.Instant `json:"published_until"`
}

// AccountCreated says that an account was made for a credential, or that its end
// moved.
type AccountCreated struct {
	Change AccountCreatedChange `json:"change"`
}

// AccountCreatedChange says what the account is for and until when it works.
type AccountCreatedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
	Intent     countersign.IntentID     `json:"intent"`
	Holder     countersign.IdentityID   `json:"holder"`
	Resource   string                   `json:"resource"`
	Scope      string                   `json:"scope"`
	Until      countersign.Instant      `json:"until,omitempty"`
}

// AccountRevoked says that an account was ended for good.
type AccountRevoked struct {
	Change AccountRevokedChange `json:"change"`
}

// AccountRevokedChange names the account.
type AccountRevokedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
}

func (*SigningKeyMade) EventKind() string      { return "registry.signing-key-made@1" }
func (*SigningKeyPublished) EventKind() string { return "registry.signing-key-published@1" }
func (*SigningKeyRetired) EventKind() string   { return "registry.signing-key-retired@1" }
func (*AccountCreated) EventKind() string      { return "registry.account-created@1" }
func (*AccountRevoked) EventKind() string      { return "registry.account-revoked@1" }

func (a account) created(credential countersign.CredentialID) *AccountCreated {
	return &AccountCreated{AccountCreatedChange{
		Credential: credential, Grant: a.Grant, Intent: a.Intent, Holder: a.Holder, Resource: a.Resource, Scope: a.Scope, Until: a.Until,
	}}
}
