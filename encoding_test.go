package countersign_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
)

// Golden vectors: these values are in chains and contracts. A test that fails
// here is a broken encoding, not a test to update.

func TestAMintGivesTheSameIdsForTheSameSeedAndTime(t *testing.T) {
	now := countersign.InstantOf(time.Date(2026, 1, 31, 9, 0, 0, 123456789, time.UTC))
	var seed [32]byte
	copy(seed[:], "countersign golden vector seed 1")
	mint := countersign.NewMint(seed, now)
	got := []string{string(mint.Request()), string(mint.Grant()), string(mint.Identity()), hexOf(mint.Salt())}
	want := []string{
		"req_01kg9mfmqvfhvsvffdrjdvn5rv",
		"grt_01kg9mfmqvfgzvrvr4sy3fxvg8",
		"idn_01kg9mfmqvfw19d4wasapyt9ad",
		"50e0203437ff08feffe557309acafa7a0e323fe285da10dd54d2f206fb19e984",
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("vector %d is %s, want %s", i, got[i], want[i])
		}
	}
}

func hexOf(salt [32]byte) string { return hex.EncodeToString(salt[:]) }

func TestIdsAreTypeIDsWithAKnownPrefix(t *testing.T) {
	// From the TypeID specification: UUID 0188bac7-4afa-78aa-bc3b-bd1eef28d881.
	if err := countersign.CheckID("req", "req_01h2xcejqtf2nbrexx3vqjhp41"); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "req_", "grt_01h2xcejqtf2nbrexx3vqjhp41", "req_01H2XCEJQTF2NBREXX3VQJHP41", "req_81h2xcejqtf2nbrexx3vqjhp41", "req_01h2xcejqtf2nbrexx3vqjhp4", strings.Repeat("x", 1000)} {
		if countersign.ReasonOf(countersign.CheckID("req", wrong)) != "malformed-id" {
			t.Errorf("%q passes for the id of a request", wrong)
		}
	}
	if countersign.KindOf(countersign.CheckID("zzz", "zzz_01h2xcejqtf2nbrexx3vqjhp41")) != countersign.Internal {
		t.Error("an unknown prefix is not named as a fault")
	}
}

func TestIdsSortByTheTimeOfTheirMaking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := countersign.Instant(rapid.Int64Range(1, 1<<45).Draw(t, "first"))
		second := first + countersign.Instant(rapid.Int64Range(1, 1<<40).Draw(t, "later by"))
		seed := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		a, b := countersign.NewMint(seed, first).Request(), countersign.NewMint(seed, second).Request()
		if a >= b {
			t.Fatalf("%s was made before %s", a, b)
		}
		if err := countersign.CheckID("req", string(a)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCanonicalBytesAreRFC8785WithOurLimits(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"members by UTF-16 code units", `{"\ufb33":1,"\ud83d\ude00":2,"1":3,"\u00f6":4,"\r":5,"":6}`, "{\"\":6,\"\\r\":5,\"1\":3,\"ö\":4,\"😀\":2,\"\ufb33\":1}"},
		{"the escapes and no others", `"\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\/<>&"`, "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/<>&\""},
		{"literals and nesting", ` { "b" : [ true , false , null , { } , [ ] ] , "a" : -0.5e0 } `, ""},
		{"integers at the edge", `[9007199254740991,-9007199254740991,0]`, "[9007199254740991,-9007199254740991,0]"},
		{"integer beyond the edge", `9007199254740992`, ""},
		{"floats", `1.0`, ""},
		{"exponents", `1e3`, ""},
		{"minus zero", `-0`, ""},
		{"a name twice", `{"a":1,"a":1}`, ""},
		{"two values", `1 2`, ""},
		{"too deep", strings.Repeat("[", 33) + strings.Repeat("]", 33), ""},
		{"deep enough", strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat("[", 32) + strings.Repeat("]", 32)},
		{"invalid UTF-8", "\"\xff\"", ""},
		{"a lone surrogate", `"\ud800"`, ""},
		{"a real replacement character", "\"\uFFFD\"", "\"\uFFFD\""},
		{"separators are not escaped", "\"\u2028\u2029\"", "\"\u2028\u2029\""},
	} {
		got, err := countersign.CanonicalJSON([]byte(c.in))
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: %s has the canonical form %s", c.name, c.in, got)
			}
			continue
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.name, got, err, c.want)
		}
	}
}

func TestCanonicalRefusesGoTextThatIsNotUTF8(t *testing.T) {
	if _, err := countersign.Canonical(map[string]string{"a": "x\xffy"}); err == nil {
		t.Error("invalid UTF-8 has canonical bytes")
	}
	got, err := countersign.Canonical(map[string]string{"a": "<\u2028>\uFFFD"})
	if err != nil || string(got) != "{\"a\":\"<\u2028>\uFFFD\"}" {
		t.Errorf("got %s (%v)", got, err)
	}
}

func TestCanonicalBytesAreAFixedPoint(t *testing.T) {
	value := rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.String()))
	rapid.Check(t, func(t *rapid.T) {
		once, err := countersign.Canonical(value.Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		twice, err := countersign.CanonicalJSON(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s becomes %s (%v)", once, twice, err)
		}
	})
}

func TestInstantsHaveOneFormInUTCWithMilliseconds(t *testing.T) {
	at := countersign.InstantOf(time.Date(2026, 1, 31, 10, 0, 0, 5_999_999, time.FixedZone("", 3600)))
	data, err := json.Marshal(map[string]any{"at": at, "none": countersign.Instant(0), "for": countersign.Seconds(90)})
	if err != nil || string(data) != `{"at":"2026-01-31T09:00:00.005Z","for":90,"none":""}` {
		t.Errorf("got %s (%v)", data, err)
	}
	var back struct{ At, None countersign.Instant }
	if err := json.Unmarshal(data, &back); err != nil || back.At != at || back.None != 0 {
		t.Errorf("read back %v (%v)", back, err)
	}
	if err := json.Unmarshal([]byte(`{"At":"yesterday"}`), &back); countersign.ReasonOf(err) != "malformed-time" {
		t.Errorf("yesterday is a time: %v", err)
	}
}

func TestDurationsAreWholeNumbersWithUnitsInFallingOrder(t *testing.T) {
	for text, want := range map[string]countersign.Seconds{"30d": 30 * countersign.Day, "1d12h": 36 * countersign.Hour, "45m": 45 * countersign.Minute, "90s": 90, "2w": 14 * countersign.Day} {
		if got, err := countersign.ParseSeconds(text); err != nil || got != want {
			t.Errorf("%s is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, wrong := range []string{"", "30", "d", "0d", "1h1d", "1d1d", "-1d", "1.5h", " 1d", "1y", "99999999999999999999d", "9999999d", "1️d"} {
		if _, err := countersign.ParseSeconds(wrong); countersign.KindOf(err) != countersign.Invalid {
			t.Errorf("%q passes for a duration (%v)", wrong, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		seconds := countersign.Seconds(rapid.Int64Range(1, int64(100*366*countersign.Day)).Draw(t, "seconds"))
		if back, err := countersign.ParseSeconds(seconds.String()); err != nil || back != seconds {
			t.Fatalf("%s reads back as %d (%v)", seconds, back, err)
		}
	})
}

func TestTheSamePersonInAnotherSpellingHasOneHandle(t *testing.T) {
	key := func(kind countersign.HandleKind, namespace, value string) string {
		handle, err := countersign.NewHandle(kind, namespace, value)
		if err != nil {
			t.Fatalf("%s %q: %v", kind, value, err)
		}
		return handle.Key()
	}
	for _, pair := range [][2]string{
		{"Mara.Lindqvist@Meridian.example", "mara.lindqvist@meridian.example"},
		{"ﬁona@meridian.example", "FIONA@meridian.example"},
		{"straße@meridian.example", "STRASSE@meridian.example"},
		{"ｍara@meridian.example", "mara@meridian.example"},
	} {
		if key(countersign.Email, "", pair[0]) != key(countersign.Email, "", pair[1]) {
			t.Errorf("%q and %q are two people", pair[0], pair[1])
		}
	}
	if key(countersign.OIDC, "https://issuer.example", "abc") == key(countersign.OIDC, "https://issuer.example", "ABC") {
		t.Error("two OIDC subjects that differ only in case are one person")
	}
	if key(countersign.SPIFFE, "", "spiffe://Prod.Example/Billing") != key(countersign.SPIFFE, "", "spiffe://prod.example/Billing") {
		t.Error("the trust domain's case matters")
	}
	if key(countersign.SPIFFE, "", "spiffe://prod.example/Billing") == key(countersign.SPIFFE, "", "spiffe://prod.example/billing") {
		t.Error("the path's case does not matter")
	}
	for _, wrong := range []struct{ kind, namespace, value string }{
		{"login", "", ""}, {"login", "", "  "}, {"login", "ns", "mara"}, {"email", "", "mara"}, {"email", "", "@x"}, {"email", "", "a@b@c"},
		{"oidc", "", "abc"}, {"spiffe", "", "http://x/y"}, {"spiffe", "", "spiffe://"}, {"phone", "", "1"}, {"login", "", "a\nb"}, {"login", "", "\xff"},
	} {
		if _, err := countersign.NewHandle(countersign.HandleKind(wrong.kind), wrong.namespace, wrong.value); countersign.ReasonOf(err) != "malformed-handle" {
			t.Errorf("%v passes for a handle", wrong)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		login := rapid.String().Draw(t, "login")
		once, err := countersign.NewHandle(countersign.Login, "", login)
		if err != nil {
			t.Skip("not a login")
		}
		twice, err := countersign.NewHandle(countersign.Login, "", once.Value)
		if err != nil || twice != once {
			t.Fatalf("%q becomes %q and then %q (%v)", login, once.Value, twice.Value, err)
		}
	})
}

func TestAnEventsHashIsThatOfItsCanonicalHeader(t *testing.T) {
	header := countersign.Header{
		Stream: "req_01h2xcejqtf2nbrexx3vqjhp41", Seq: 2, Prev: countersign.Hash{1, 2, 3}, Kind: "request.decided@1",
		Time: 1769850000123, Actor: "idn_01h2xcejqtf2nbrexx3vqjhp41", PolicySet: "sha256:aa", DirectoryRevision: 7,
		Commitments: map[countersign.ValueGroup]countersign.Hash{countersign.ValueReason: {9}, countersign.ValueChange: {8}},
	}
	data, err := countersign.Canonical(header)
	if err != nil {
		t.Fatal(err)
	}
	const zeros = "00000000000000000000000000000000000000000000000000000000000000"
	want := `{"actor":"idn_01h2xcejqtf2nbrexx3vqjhp41","commitments":{"change":"08` + zeros + `","reason":"09` + zeros + `"},"directory_revision":7,"kind":"request.decided@1","policy_set":"sha256:aa","prev":"010203` + zeros[:58] + `","seq":2,"stream":"req_01h2xcejqtf2nbrexx3vqjhp41","time":"2026-01-31T09:00:00.123Z"}`
	if string(data) != want {
		t.Errorf("canonical header\n got %s\nwant %s", data, want)
	}
	hash, err := header.Hash()
	if err != nil || hash.String() != "be7fa7d8642fa6f51c78fc921a9ba931035d0050b1c2937e843d29f99b5e9d8a" {
		t.Errorf("hash %s (%v)", hash, err)
	}
}

// What is put down in order is what the general way gives, also where a field is
// none that we write.
func TestAHeaderHasTheBytesOfAnythingCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,12}`), rapid.String())
		number := rapid.OneOf(rapid.Int64Range(0, 9), rapid.Int64())
		header := countersign.Header{
			Stream: countersign.Stream(text.Draw(t, "stream")), Seq: number.Draw(t, "seq"), Kind: text.Draw(t, "kind"),
			Time: countersign.Instant(rapid.OneOf(rapid.Int64Range(0, 1<<42), rapid.Int64()).Draw(t, "time")), Actor: countersign.Actor(text.Draw(t, "actor")),
			PolicySet: countersign.Digest(text.Draw(t, "policy set")), DirectoryRevision: number.Draw(t, "revision"),
		}
		if rapid.Bool().Draw(t, "first") {
			header.Prev = countersign.Hash{1, 2}
		}
		for _, group := range rapid.SliceOfN(text, 0, 3).Draw(t, "groups") {
			if header.Commitments == nil {
				header.Commitments = map[countersign.ValueGroup]countersign.Hash{}
			}
			header.Commitments[countersign.ValueGroup(group)] = countersign.Hash{byte(len(group))}
		}
		want, wantErr := countersign.Canonical(header)
		got, err := header.Canonical()
		if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
			t.Fatalf("got %s, %v\nwant %s, %v", got, err, want, wantErr)
		}
	})
}

func TestAValueIsCommittedToWithItsSalt(t *testing.T) {
	value := countersign.Value{Group: countersign.ValueReason, Salt: [32]byte{1}, Bytes: []byte(`{"text":"because"}`)}
	if got := value.Commitment().String(); got != "23bcccf7c5f705edc4b6c512888554bfe77e09de3e8042fae1f1927ff49945dc" {
		t.Errorf("commitment %s", got)
	}
	other := value
	other.Salt[31] = 1
	if value.Commitment() == other.Commitment() {
		t.Error("the salt does not matter")
	}
}

func TestDigestsOfDifferentThingsDiffer(t *testing.T) {
	if countersign.DigestBytes("evidence", []byte("x")) == countersign.DigestBytes("policy-set", []byte("x")) {
		t.Error("one digest passes for another")
	}
	if got := countersign.DigestBytes("evidence", []byte("x")); got != "sha256:a0fe6f8a2ae0a4dc1d18ca6525b70721e6583f629cd84898c09569d571cff718" {
		t.Errorf("digest %s", got)
	}
}

func TestASecretPrintsRedactedEverywhere(t *testing.T) {
	secret := countersign.NewSecret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret)
	data, _ := json.Marshal(map[string]any{"secret": secret})
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %q", secret, secret, secret, secret, secret), log.String(), string(data)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the secret shows in %s", text)
		}
	}
	if secret.Reveal() != "hunter2" {
		t.Error("the secret is lost")
	}
}
