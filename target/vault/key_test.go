package vault

import (
	"bytes"
	"crypto/rand"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAKeyIsRecognisableAndSurvivesNoTypingError(t *testing.T) {
	key, err := newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	if !regexp.MustCompile(`^csk_[a-z2-7]{58}$`).MatchString(text) || !LooksLikeKey(text) {
		t.Fatalf("%d characters, recognised %v", len(text), LooksLikeKey(text))
	}
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		letter := letters[rapid.IntRange(0, len(letters)-1).Draw(t, "letter")]
		changed := text[:at] + string(letter) + text[at+1:]
		if changed != text && LooksLikeKey(changed) {
			t.Fatalf("with %q at %d it still passes", letter, at)
		}
	})
	for _, other := range []string{"", "csk_", strings.ToUpper(text), text + "a", text[:len(text)-1], " " + text} {
		if LooksLikeKey(other) {
			t.Errorf("%q passes", other)
		}
	}
}

func TestAKeyTakesAllOfItsRandomness(t *testing.T) {
	if _, err := newKey(bytes.NewReader(make([]byte, keyBytes-1))); err == nil {
		t.Error("a key was made of 31 bytes")
	}
}
