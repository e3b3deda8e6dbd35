// Package keys holds the master key behind one interface. What the house must
// be able to open again (data keys of secrets, the log key, keys of a CA) is
// stored under a data key of its own, which the master key wraps. The master
// key itself never enters the database.
//
// It imports the root package only. After Seal returns, nothing but the master
// key with the named id opens the result, and only in the same context: a
// ciphertext that is moved to another place does not open there.
package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"

	"github.com/countersign/countersign"
)

// Master wraps and unwraps data keys. The context says what the data key is
// for ("vault/crd_…"); it is authenticated and must be the same at Unwrap.
type Master interface {
	Wrap(dataKey []byte, context string) (Wrapped, error)
	// Unwrap returns the data key. A key id that is not there is an Unavailable
	// error with the reason "unknown-master-key"; a box that does not open is an
	// Internal error with the reason "does-not-open".
	Unwrap(wrapped Wrapped, context string) ([]byte, error)
}

// Wrapped is a data key under a master key.
type Wrapped struct {
	KeyID string `json:"key_id"`
	// Box is the nonce (12 bytes), the ciphertext and the tag of AES-256-GCM.
	Box []byte `json:"box"`
}

// Sealed is a secret under its own data key. Without DataKey, Box is noise for
// ever: destroying the data key destroys the secret.
type Sealed struct {
	DataKey Wrapped `json:"data_key"`
	// Box is the nonce (12 bytes), the ciphertext and the tag of AES-256-GCM.
	Box []byte `json:"box"`
}

const dataKeySize = 32

// Seal encrypts a secret under a new data key, wrapped by master.
func Seal(master Master, random io.Reader, secret []byte, context string) (Sealed, error) {
	dataKey := make([]byte, dataKeySize)
	defer clear(dataKey)
	if _, err := io.ReadFull(random, dataKey); err != nil {
		return Sealed{}, fmt.Errorf("making a data key: %w", err)
	}
	box, err := encrypt(random, dataKey, secret, context)
	if err != nil {
		return Sealed{}, err
	}
	wrapped, err := master.Wrap(dataKey, context)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{DataKey: wrapped, Box: box}, nil
}

// Unseal returns what was sealed in the same context.
func Unseal(master Master, sealed Sealed, context string) ([]byte, error) {
	dataKey, err := master.Unwrap(sealed.DataKey, context)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	return decrypt(dataKey, sealed.Box, context)
}

func encrypt(random io.Reader, key, plaintext []byte, context string) ([]byte, error) {
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize(), gcm.NonceSize()+len(plaintext)+gcm.Overhead())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	return gcm.Seal(nonce, nonce, plaintext, []byte(context)), nil
}

func decrypt(key, box []byte, context string) ([]byte, error) {
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	doesNotOpen := countersign.Errorf(countersign.Internal, "does-not-open", "the ciphertext for %s does not open: it was changed, or belongs elsewhere", context)
	if len(box) < gcm.NonceSize() {
		return nil, doesNotOpen
	}
	plaintext, err := gcm.Open(nil, box[:gcm.NonceSize()], box[gcm.NonceSize():], []byte(context))
	if err != nil {
		return nil, doesNotOpen.Because(err)
	}
	return plaintext, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
