package auth

import "github.com/countersign/countersign"

// TokenIssued says that a token was made, for whom, for what and until when.
type TokenIssued struct {
	Change  TokenIssuedChange   `json:"change"`
	Subject *TokenIssuedSubject `json:"subject"`
}

// TokenIssuedChange holds no personal data.
type TokenIssuedChange struct {
	Token     countersign.TokenID    `json:"token"`
	Identity  countersign.IdentityID `json:"identity"`
	Scopes    []Scope                `json:"scopes"`
	ExpiresAt countersign.Instant    `json:"expires_at"`
	Issuer    string                 `json:"issuer"`
	Strength  string                 `json:"strength"`
}

// TokenIssuedSubject names who sat at the host, and the person that the token is for.
type TokenIssuedSubject struct {
	OperatingSystemUser string `json:"operating_system_user"`
	Login               string `json:"login,omitempty"`
}

// TokenRevoked says that a token was ended before its time.
type TokenRevoked struct {
	Change TokenRevokedChange `json:"change"`
}

// TokenRevokedChange names the token.
type TokenRevokedChange struct {
	Token    countersign.TokenID    `json:"token"`
	Identity countersign.IdentityID `json:"identity"`
}

func (*TokenIssued) EventKind() string  { return "auth.token-issued@1" }
func (*TokenRevoked) EventKind() string { return "auth.token-revoked@1" }
