package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"math/big"
	"strings"

	"github.com/countersign/countersign"
)

// A token is "cst_", 32 random bytes and the CRC-32 of what stands before it,
// both in base 62 at their full width: 53 characters that secret scanners
// recognise and that a typing error does not pass.
const (
	tokenPrefix    = "cst_"
	contentBytes   = 32
	contentDigits  = 43 // 62^43 > 2^256
	checksumDigits = 6  // 62^6 > 2^32
	tokenLength    = len(tokenPrefix) + contentDigits + checksumDigits
)

func newText(random io.Reader) (countersign.Secret, error) {
	var content [contentBytes]byte
	if _, err := io.ReadFull(random, content[:]); err != nil {
		return countersign.Secret{}, countersign.Errorf(countersign.Internal, "no-entropy", "no random bytes for a token: %v", err)
	}
	text := tokenPrefix + base62(new(big.Int).SetBytes(content[:]), contentDigits)
	return countersign.NewSecret(text + checksum(text)), nil
}

// LooksLikeToken reports whether the text has the form and checksum of a token.
func LooksLikeToken(text string) bool {
	if len(text) != tokenLength || !strings.HasPrefix(text, tokenPrefix) {
		return false
	}
	split := len(text) - checksumDigits
	return checksum(text[:split]) == text[split:]
}

func checksum(text string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), checksumDigits)
}

func base62(number *big.Int, digits int) string {
	text := number.Text(62)
	return strings.Repeat("0", digits-len(text)) + text
}

// hashOf is what the shelf keeps and finds a token by. A token has 256 random
// bits, so that one pass of SHA-256 is enough, and a lookup by the hash tells
// nothing about the text by its time.
func hashOf(text countersign.Secret) string {
	sum := sha256.Sum256([]byte(text.Reveal()))
	return hex.EncodeToString(sum[:])
}
