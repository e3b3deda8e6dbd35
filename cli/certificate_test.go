package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a self-signed certificate of the name and its key.
func writePair(t *testing.T, folder, name string, expires time.Time) (certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: expires,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: signed}, "tls.key": {Type: "PRIVATE KEY", Bytes: sealed}} {
		if err := os.WriteFile(filepath.Join(folder, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
}

func (c *certificate) name(t *testing.T) string {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.Subject.CommonName
}

func TestChangedTLSFilesAreTakenOverAndBrokenOnesAreNot(t *testing.T) {
	folder := t.TempDir()
	expires := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	certificateFile, keyFile := writePair(t, folder, "first", expires)
	var log bytes.Buffer
	c, err := openCertificate(certificateFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.name(t); got != "first" || !c.end().Equal(expires) {
		t.Fatalf("the certificate is of %s and ends at %s", got, c.end())
	}
	// A new pair is seen when it is time to look again, and not before.
	later := expires.Add(time.Hour)
	writePair(t, folder, "second", later)
	if err := os.Chtimes(certificateFile, later, later); err != nil {
		t.Fatal(err)
	}
	if got := c.name(t); got != "first" {
		t.Errorf("each connection looks at the files: %s", got)
	}
	c.lookedAt = time.Time{}
	if got := c.name(t); got != "second" || !c.end().Equal(later) {
		t.Errorf("after a change the certificate is of %s and ends at %s", got, c.end())
	}
	// A signal reads them at once; a pair that cannot be used changes nothing.
	writePair(t, folder, "third", later)
	c.reload()
	if got := c.name(t); got != "third" {
		t.Errorf("after a signal the certificate is of %s", got)
	}
	if err := os.WriteFile(keyFile, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.reload()
	if got := c.name(t); got != "third" || !strings.Contains(log.String(), "the earlier ones stay") {
		t.Errorf("after a broken file the certificate is of %s, and the log says %s", got, &log)
	}
}
