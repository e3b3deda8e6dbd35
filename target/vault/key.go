package vault

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/countersign/countersign"
)

// A key is "csk_", 32 random bytes and a CRC-32 over both, in lower-case
// base 32 without padding: 62 characters that secret scanners recognise, and
// that a typing error does not pass.
const keyPrefix = "csk_"

const keyBytes = 32

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newKey(random io.Reader) (countersign.Secret, error) {
	content := make([]byte, keyBytes, keyBytes+4)
	if _, err := io.ReadFull(random, content); err != nil {
		return countersign.Secret{}, fmt.Errorf("making a key: %w", err)
	}
	return countersign.NewSecret(keyPrefix + keyEncoding.EncodeToString(binary.BigEndian.AppendUint32(content, checksum(content)))), nil
}

// LooksLikeKey reports whether the text has the form and checksum of a key.
func LooksLikeKey(text string) bool {
	encoded, found := strings.CutPrefix(text, keyPrefix)
	if !found || len(encoded) != keyEncoding.EncodedLen(keyBytes+4) {
		return false
	}
	content, err := keyEncoding.DecodeString(encoded)
	// Encoding again refuses a second spelling in the unused bits of the end.
	if err != nil || keyEncoding.EncodeToString(content) != encoded {
		return false
	}
	return binary.BigEndian.Uint32(content[keyBytes:]) == checksum(content[:keyBytes])
}

func checksum(content []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(keyPrefix)), crc32.IEEETable, content)
}

func hashOf(key countersign.Secret) string {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return hex.EncodeToString(sum[:])
}
