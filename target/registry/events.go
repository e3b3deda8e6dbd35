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

func (*SigningKeyMade) EventKind() string { return "registry.signing-key-made@1" }
func (*AccountCreated) EventKind() string { return "registry.account-created@1" }
func (*AccountRevoked) EventKind() string { return "registry.account-revoked@1" }

func (a account) created(credential countersign.CredentialID) *AccountCreated {
	return &AccountCreated{AccountCreatedChange{
		Credential: credential, Grant: a.Grant, Intent: a.Intent, Holder: a.Holder, Resource: a.Resource, Scope: a.Scope, Until: a.Until,
	}}
}
