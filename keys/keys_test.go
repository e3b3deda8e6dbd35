package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func create(t *testing.T) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	file, err := Create(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return file, path
}

func TestASecretOpensAgainAfterTheFileIsReadAnew(t *testing.T) {
	file, path := create(t)
	sealed, err := Seal(file, rand.Reader, []byte("the secret"), "vault/one")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed.Box, []byte("the secret")) {
		t.Fatal("the box shows the secret")
	}
	anew, err := Open(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := Unseal(anew, sealed, "vault/one")
	if err != nil || string(secret) != "the secret" {
		t.Fatalf("got %q, %v", secret, err)
	}
}

func TestASecretDoesNotOpenElsewhereOrChanged(t *testing.T) {
	file, _ := create(t)
	sealed, err := Seal(file, rand.Reader, []byte("the secret"), "vault/one")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, sealed Sealed, context string) {
		if _, err := Unseal(file, sealed, context); countersign.ReasonOf(err) != "does-not-open" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	refused("moved to another place", sealed, "vault/two")
	changed := sealed
	changed.Box = bytes.Clone(sealed.Box)
	changed.Box[20] ^= 1
	refused("one bit changed", changed, "vault/one")
	changed.Box = sealed.Box[:5]
	refused("cut short", changed, "vault/one")
	changed = sealed
	changed.DataKey.Box = make([]byte, len(sealed.DataKey.Box))
	refused("data key destroyed", changed, "vault/one")
}

func TestAKeyFileBelongsToItsOwnerAlone(t *testing.T) {
	_, path := create(t)
	about, err := os.Stat(path)
	if err != nil || about.Mode().Perm() != 0o600 {
		t.Fatalf("the mode is %v, %v", about.Mode(), err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o666, 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, rand.Reader)
		if countersign.ReasonOf(err) != "key-file-exposed" || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
}

func TestAKeyFileIsNeverReplaced(t *testing.T) {
	_, path := create(t)
	before, _ := os.ReadFile(path)
	if _, err := Create(path, rand.Reader); countersign.ReasonOf(err) != "key-file-exists" {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("%d files are left, want the key file alone", len(left))
	}
}

func TestAMissingKeyFileIsToldFromABrokenOne(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), rand.Reader); countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestADamagedKeyFileIsRefusedWithoutShowingIt(t *testing.T) {
	_, path := create(t)
	good, _ := os.ReadFile(path)
	var content fileContent
	if err := json.Unmarshal(good, &content); err != nil {
		t.Fatal(err)
	}
	write := func(change func(*fileContent)) []byte {
		changed := fileContent{Active: content.Active, Keys: []fileKey{{ID: content.Keys[0].ID, Key: bytes.Clone(content.Keys[0].Key)}}}
		change(&changed)
		text, _ := json.Marshal(changed)
		return text
	}
	for name, damaged := range map[string][]byte{
		"empty":            nil,
		"cut short":        good[:len(good)/2],
		"twice":            append(bytes.Clone(good), good...),
		"unknown field":    bytes.Replace(good, []byte(`"active"`), []byte(`"older": "x", "active"`), 1),
		"another key":      write(func(c *fileContent) { c.Keys[0].Key[3] ^= 1 }),
		"short key":        write(func(c *fileContent) { c.Keys[0].Key = c.Keys[0].Key[:16] }),
		"same key twice":   write(func(c *fileContent) { c.Keys = append(c.Keys, c.Keys[0]) }),
		"no active key":    write(func(c *fileContent) { c.Active = "mk-0000000000000000" }),
		"no key at all":    write(func(c *fileContent) { c.Keys = nil }),
		"not a key's JSON": []byte(`["secret-text"]`),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path, rand.Reader)
			if countersign.ReasonOf(err) != "malformed-key-file" {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret-text") {
				t.Errorf("the message shows the file: %v", err)
			}
		})
	}
}

func TestAnOlderKeyStillOpensWhatItWrapped(t *testing.T) {
	first, firstPath := create(t)
	_, secondPath := create(t)
	old, err := Seal(first, rand.Reader, []byte("old"), "here")
	if err != nil {
		t.Fatal(err)
	}
	var firstContent, both fileContent
	for path, into := range map[string]*fileContent{firstPath: &firstContent, secondPath: &both} {
		text, _ := os.ReadFile(path)
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	second, err := Open(secondPath, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unseal(second, old, "here"); countersign.ReasonOf(err) != "unknown-master-key" {
		t.Errorf("a foreign key file: got %v", err)
	}
	both.Keys = append(both.Keys, firstContent.Keys...)
	text, _ := json.Marshal(both)
	if err := os.WriteFile(secondPath, text, 0o600); err != nil {
		t.Fatal(err)
	}
	rotated, err := Open(secondPath, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := Unseal(rotated, old, "here"); err != nil || string(secret) != "old" {
		t.Errorf("after rotation: got %q, %v", secret, err)
	}
	renewed, err := Seal(rotated, rand.Reader, []byte("new"), "here")
	if err != nil || renewed.DataKey.KeyID != both.Active {
		t.Errorf("new secrets are wrapped by %q, %v; want the active key", renewed.DataKey.KeyID, err)
	}
}
