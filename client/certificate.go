package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign"
)

// Certificate is one that a built-in authority has issued.
type Certificate struct {
	Serial string `json:"serial"`
	// Kind is x509 or ssh.
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	IssuedAt  time.Time `json:"issued_at"`
	Until     time.Time `json:"until"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}

// ReadCertificate returns the certificate of a credential: PEM with its authority's
// after it, for SSH one line.
func (c *Client) ReadCertificate(ctx context.Context, credential string) (string, error) {
	var answer struct{ Certificate string }
	if err := c.target(ctx, http.MethodGet, "pki/credentials/"+url.PathEscape(credential)+"/certificate", nil, &answer); err != nil {
		return "", err
	}
	if answer.Certificate == "" {
		return "", countersign.Errorf(countersign.Unavailable, "unexpected-answer", "The answer about a certificate holds none.")
	}
	return answer.Certificate, nil
}

// Certificates returns up to a hundred certificates of a system, by its id, in the
// order of kinds and serial numbers, after the one that is named kind/serial; "" is
// from the beginning.
func (c *Client) Certificates(ctx context.Context, system, after string) ([]Certificate, error) {
	var answer struct{ Certificates []Certificate }
	err := c.target(ctx, http.MethodGet, "pki/"+url.PathEscape(system)+"/certificates?after="+url.QueryEscape(after), nil, &answer)
	return answer.Certificates, err
}
