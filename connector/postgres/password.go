package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/countersign/countersign"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

const (
	saltBytes = 16
	// iterations is what the server itself takes; the password is random, so that
	// more would not make it harder to guess.
	iterations = 4096
)

// newPassword makes a password and what the server keeps of it: the verifier of
// SCRAM-SHA-256 (RFC 5803, RFC 7677) as pg_authid writes it.
func newPassword(random io.Reader) (countersign.Secret, string, error) {
	password, err := vaulthands.NewPassword(random)
	if err != nil {
		return countersign.Secret{}, "", err
	}
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return countersign.Secret{}, "", fmt.Errorf("making a password: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, iterations, sha256.Size)
	if err != nil {
		return countersign.Secret{}, "", fmt.Errorf("making a password: %w", err)
	}
	code := func(what string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(what))
		return mac.Sum(nil)
	}
	stored, text := sha256.Sum256(code("Client Key")), base64.StdEncoding.EncodeToString
	return password, fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, text(salt), text(stored[:]), text(code("Server Key"))), nil
}
