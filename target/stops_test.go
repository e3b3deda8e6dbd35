package target

import (
	"bytes"
	"testing"

	"go.jetify.com/typeid"
	"pgregory.net/rapid"

	"github.com/countersign/countersign"
)

func TestLiftingAHoldNeverLiftsAnEnd(t *testing.T) {
	mint := countersign.NewMint([32]byte{1}, 1_790_000_000_000)
	grant, err := ParseID(mint.Grant())
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseID(mint.Grant())
	if err != nil {
		t.Fatal(err)
	}
	stops := NewStops()
	for _, step := range []struct {
		say  string
		do   func()
		want bool
	}{
		{"nothing is stopped", func() {}, false},
		{"held", func() { stops.Stop(grant, Held) }, true},
		{"held and ended", func() { stops.Stop(grant, Ended) }, true},
		{"hold lifted", func() { stops.Lift(grant, Held) }, true},
		{"hold lifted twice", func() { stops.Lift(grant, Held) }, true},
		{"forgotten", func() { stops.Lift(grant, Ended) }, false},
	} {
		step.do()
		if got := stops.Stopped(other, grant); got != step.want {
			t.Errorf("%s: stopped is %v", step.say, got)
		}
		if stops.Stopped(other) {
			t.Errorf("%s: another grant is stopped too", step.say)
		}
	}
}

func TestIDsOfDifferentNounsAreDifferent(t *testing.T) {
	mint := countersign.NewMint([32]byte{1}, 1_790_000_000_000)
	grant := string(mint.Grant())
	small, err := ParseID(countersign.GrantID(grant))
	if err != nil {
		t.Fatal(err)
	}
	credential, err := ParseID(countersign.CredentialID("crd" + grant[3:]))
	if err != nil {
		t.Fatal(err)
	}
	if small == credential {
		t.Error("a grant and a credential with the same digits are one")
	}
	for _, malformed := range []countersign.GrantID{"", "grt_", "grt_x", countersign.GrantID("req" + grant[3:]), countersign.GrantID(grant + "0")} {
		if _, err := ParseID(malformed); countersign.ReasonOf(err) != "malformed-id" {
			t.Errorf("%q: got %v", malformed, err)
		}
	}
}

// The small form is the first letter of the prefix and the UUID, exactly where
// the general parser accepts the id.
func TestIDsAreReadAsTheGeneralParserReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uuid := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")
		whole, err := typeid.FromUUIDBytesWithPrefix("idn", uuid)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(whole.String())
		if rapid.Bool().Draw(t, "damaged") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "by")
		}
		small, err := ParseID(countersign.IdentityID(text))
		known, reference := typeid.FromString(string(text))
		accepted := reference == nil && known.Prefix() == "idn"
		if accepted != (err == nil) {
			t.Fatalf("%q: got %v, the general parser says %v", text, err, reference)
		}
		if accepted && (small[0] != 'i' || !bytes.Equal(small[1:], known.UUIDBytes())) {
			t.Fatalf("%q became %x", text, small)
		}
		if accepted && small.String() != string(text) {
			t.Fatalf("%q is written as %q", text, small)
		}
	})
}
