package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign/countersign"
)

// File is a master key in a file that only its owner can read. It may hold
// older keys beside the active one, so that what they wrapped still opens.
type File struct {
	active string
	keys   map[string][]byte
	random io.Reader
}

// fileContent is the file's form: JSON, keys in base 64.
type fileContent struct {
	Active string    `json:"active"`
	Keys   []fileKey `json:"keys"`
}

type fileKey struct {
	// ID follows from the key, so that a damaged key is found when it is read.
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

const masterKeySize = 32

func idOf(key []byte) string {
	sum := sha256.Sum256(append([]byte("countersign/master-key-id/v1\n"), key...))
	return "mk-" + hex.EncodeToString(sum[:8])
}

// Create writes a new file with one key, mode 0600, and opens it. A file that
// is there already is never touched: Create then returns a Conflict. When it
// returns nil the file is on the disk.
func Create(path string, random io.Reader) (*File, error) {
	key := make([]byte, masterKeySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("making a master key: %w", err)
	}
	id := idOf(key)
	content, err := json.MarshalIndent(fileContent{Active: id, Keys: []fileKey{{ID: id, Key: key}}}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, append(content, '\n')); err != nil {
		return nil, err
	}
	return Open(path, random)
}

// writeNew puts the whole file in place in one step, so that a crash leaves
// either no key file or a good one.
func writeNew(path string, content []byte) error {
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, ".key-*")
	if err != nil {
		return fmt.Errorf("creating the key file %s: %w", path, err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(0o600), temporary.Sync(), temporary.Close())
	if err != nil {
		return fmt.Errorf("writing the key file %s: %w", path, err)
	}
	if err := os.Link(temporary.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return countersign.Errorf(countersign.Conflict, "key-file-exists", "the key file %s exists already; it is never replaced", path)
		}
		return fmt.Errorf("creating the key file %s: %w", path, err)
	}
	directory, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("creating the key file %s: %w", path, err)
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Open reads a key file. One that is not there is NotFound; one that others
// than its owner can read or write is refused.
func Open(path string, random io.Reader) (*File, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, countersign.Errorf(countersign.NotFound, "no-key-file", "there is no key file at %s", path).Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the key file: %w", err)
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the key file %s: %w", path, err)
	}
	if !about.Mode().IsRegular() {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-key-file", "%s is not a file, so it cannot be the key file", path)
	}
	if mode := about.Mode().Perm(); mode != 0o600 && mode != 0o400 {
		return nil, countersign.Errorf(countersign.Refused, "key-file-exposed",
			"the key file %s has the mode %04o; only its owner may read it: run chmod 600 %s, and make a new key if somebody else may have read it", path, mode, path)
	}
	content, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the key file %s: %w", path, err)
	}
	opened, err := parse(content)
	if err != nil {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-key-file", "the key file %s is damaged: %v; take it from a backup", path, err)
	}
	opened.random = random
	return opened, nil
}

// parse never repeats the content in an error: it would be a key.
func parse(content []byte) (*File, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var read fileContent
	if err := decoder.Decode(&read); err != nil {
		return nil, errors.New("it is not the JSON of a key file")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after the end of its JSON")
	}
	file := &File{active: read.Active, keys: make(map[string][]byte, len(read.Keys))}
	for i, key := range read.Keys {
		if len(key.Key) != masterKeySize {
			return nil, fmt.Errorf("key %d has %d bytes instead of %d", i+1, len(key.Key), masterKeySize)
		}
		if key.ID != idOf(key.Key) {
			return nil, fmt.Errorf("the id of key %d does not follow from the key", i+1)
		}
		if _, twice := file.keys[key.ID]; twice {
			return nil, fmt.Errorf("key %d stands there twice", i+1)
		}
		file.keys[key.ID] = key.Key
	}
	if _, there := file.keys[file.active]; !there {
		return nil, errors.New("its active key is not among its keys")
	}
	return file, nil
}

// Holds reports whether the file has the key with the id.
func (f *File) Holds(id string) bool { return f.keys[id] != nil }

// Wrap implements Master with the active key.
func (f *File) Wrap(dataKey []byte, context string) (Wrapped, error) {
	box, err := encrypt(f.random, f.keys[f.active], dataKey, context)
	if err != nil {
		return Wrapped{}, err
	}
	return Wrapped{KeyID: f.active, Box: box}, nil
}

// Unwrap implements Master with whichever key of the file wrapped.
func (f *File) Unwrap(wrapped Wrapped, context string) ([]byte, error) {
	key, there := f.keys[wrapped.KeyID]
	if !there {
		return nil, countersign.Errorf(countersign.Unavailable, "unknown-master-key", "the secret for %s is wrapped by the master key %q, which the key file does not hold", context, wrapped.KeyID)
	}
	return decrypt(key, wrapped.Box, context)
}
