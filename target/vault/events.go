package vault

import "github.com/countersign/countersign"

// KeyIssued says that a key was made for a credential, or that its end moved.
type KeyIssued struct {
	Change KeyIssuedChange `json:"change"`
}

// KeyIssuedChange says what the key is for and until when it works.
type KeyIssuedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
	Intent     countersign.IntentID     `json:"intent"`
	Holder     countersign.IdentityID   `json:"holder"`
	Resource   string                   `json:"resource"`
	Scope      string                   `json:"scope"`
	Until      countersign.Instant      `json:"until,omitempty"`
}

// KeyRevoked says that a key was ended for good.
type KeyRevoked struct {
	Change KeyRevokedChange `json:"change"`
}

// KeyRevokedChange names the key.
type KeyRevokedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
}

// SecretRead says that the event's actor read the secret of a credential.
type SecretRead struct {
	Change SecretReadChange `json:"change"`
}

// SecretReadChange names the secret, and says whether the reading destroyed it.
type SecretReadChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Destroyed  bool                     `json:"destroyed"`
}

func (*KeyIssued) EventKind() string  { return "vault.key-issued@1" }
func (*KeyRevoked) EventKind() string { return "vault.key-revoked@1" }
func (*SecretRead) EventKind() string { return "vault.secret-read@1" }

func (r record) issued(credential countersign.CredentialID) *KeyIssued {
	return &KeyIssued{Change: KeyIssuedChange{
		Credential: credential, Grant: r.Grant, Intent: r.Intent, Holder: r.Holder,
		Resource: r.Resource, Scope: r.Scope, Until: r.Until,
	}}
}
