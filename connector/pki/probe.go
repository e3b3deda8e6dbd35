package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/target/pki"
)

// handshakeTime bounds one look.
const handshakeTime = 5 * time.Second

func (c *Connector) address(name string) string {
	return strings.ReplaceAll(c.options.Probe, "{name}", name)
}

// probe reports whether a TLS handshake with the address shows exactly the
// certificate that was looked up, valid for its name under its authority. The error
// says why not.
func (c *Connector) probe(ctx context.Context, task connector.Task, check pki.Check) (bool, error) {
	// The authority that signed it is what is trusted here: that it is ours, or the one
	// that was ordered from, the register says.
	roots := x509.NewCertPool()
	for _, der := range check.Issuers {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return false, err
		}
		roots.AddCert(issuer)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	dialler := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{
		ServerName: task.Entitlement, MinVersion: tls.VersionTLS12,
		// What is shown is compared with the one certificate below, and verified for the
		// house's time and authority: a stranger's chain would say nothing here.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			shown := state.PeerCertificates[0]
			if !bytes.Equal(shown.Raw, check.Certificate) {
				return fmt.Errorf("it shows the serial number %x and not %s", shown.SerialNumber, check.Serial)
			}
			_, err := shown.Verify(x509.VerifyOptions{DNSName: task.Entitlement, Roots: roots, CurrentTime: c.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}}
	connection, err := dialler.DialContext(ctx, "tcp", c.address(task.Entitlement))
	if err != nil {
		// A server that wants a certificate of ours has shown its own already.
		var alert tls.AlertError
		if errors.As(err, &alert) {
			err = fmt.Errorf("the server ends the handshake: %w", err)
		}
		return false, err
	}
	return true, connection.Close()
}
