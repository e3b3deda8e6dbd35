package pki

import "github.com/countersign/countersign"

// AuthorityMade says that an authority was made for the event's system.
type AuthorityMade struct {
	Change AuthorityMadeChange `json:"change"`
}

// AuthorityMadeChange names its key by fingerprint.
type AuthorityMadeChange struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key"`
}

// CertificateIssued says that a certificate was signed for a credential.
type CertificateIssued struct {
	Change CertificateIssuedChange `json:"change"`
}

// CertificateIssuedChange says what is certified, and until when.
type CertificateIssuedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
	Intent     countersign.IntentID     `json:"intent"`
	Holder     countersign.IdentityID   `json:"holder"`
	Resource   string                   `json:"resource"`
	Name       string                   `json:"name"`
	Kind       Kind                     `json:"kind"`
	Serial     string                   `json:"serial"`
	Key        string                   `json:"key"`
	Until      countersign.Instant      `json:"until"`
}

// CertificateRevoked says that a certificate is on the lists for good.
type CertificateRevoked struct {
	Change CertificateRevokedChange `json:"change"`
}

// CertificateRevokedChange names the certificate.
type CertificateRevokedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Grant      countersign.GrantID      `json:"grant"`
	Serial     string                   `json:"serial"`
}

// CertificateDeployed says that a certificate was seen where it is used.
type CertificateDeployed struct {
	Change CertificateDeployedChange `json:"change"`
}

// CertificateDeployedChange names the certificate.
type CertificateDeployedChange struct {
	Credential countersign.CredentialID `json:"credential"`
	Serial     string                   `json:"serial"`
}

// DeploymentUndone says that a certificate was not seen where it is used, that what
// was there before was put back, and that the certificate is revoked.
type DeploymentUndone struct {
	Change CertificateRevokedChange `json:"change"`
}

func (*CertificateDeployed) EventKind() string { return "pki.certificate-deployed@1" }
func (*DeploymentUndone) EventKind() string    { return "pki.deployment-undone@1" }
func (*AuthorityMade) EventKind() string       { return "pki.authority-made@1" }
func (*CertificateIssued) EventKind() string   { return "pki.certificate-issued@1" }
func (*CertificateRevoked) EventKind() string  { return "pki.certificate-revoked@1" }
