package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theory/jsonpath"

	"github.com/countersign/countersign"
)

var (
	now    = countersign.InstantOf(time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	digest = "sha256:" + strings.Repeat("ab", 32)
)

const predicateType = "https://in-toto.io/attestation/vulns/v0.1"

// pemOf returns a public key as files hold it.
func pemOf(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func statementAbout(hex, predicate string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"%s"}}],"predicateType":"%s","predicate":%s}`, hex, predicateType, predicate)
}

// seal signs a statement. The pre-authentication encoding is written out as the
// specification has it, and not by what is tested.
func seal(t *testing.T, signer crypto.Signer, keyID, payload string) []byte {
	t.Helper()
	message := []byte("DSSEv1 28 application/vnd.in-toto+json " + fmt.Sprint(len(payload)) + " " + payload)
	var signature []byte
	var err error
	switch key := signer.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, message)
	case *ecdsa.PrivateKey:
		hash := sha256.Sum256(message)
		signature, err = ecdsa.SignASN1(rand.Reader, key, hash[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := json.Marshal(map[string]any{
		"payloadType": payloadType, "payload": base64.StdEncoding.EncodeToString([]byte(payload)),
		"signatures": []any{map[string]string{"keyid": keyID, "sig": base64.StdEncoding.EncodeToString(signature)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestAStatementCountsWhereItIsSignedFreshAboutTheArtifactAndFindsNothing(t *testing.T) {
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	terms := Terms{
		Predicates: []string{predicateType}, MaxAge: 7 * countersign.Day, Time: jsonpath.MustParse("$.metadata.scanFinishedOn"),
		Has: []*jsonpath.Path{jsonpath.MustParse("$.scanner.result")}, Lacks: []*jsonpath.Path{jsonpath.MustParse(`$.scanner.result[?@.severity == "critical"]`)},
	}
	for id, public := range map[string]any{"ci": edwards.Public(), "scanner": curve.Public()} {
		key, err := ParseKey(id, pemOf(t, public))
		if err != nil {
			t.Fatal(err)
		}
		terms.Keys = append(terms.Keys, key)
	}
	hex := strings.TrimPrefix(digest, "sha256:")
	scan := func(at, severity string) string {
		return fmt.Sprintf(`{"scanner":{"result":[{"id":"CVE-1","severity":"%s"}]},"metadata":{"scanFinishedOn":"%s"}}`, severity, at)
	}
	good := statementAbout(hex, scan("2026-11-01T08:00:00Z", "low"))
	for name, content := range map[string][]byte{
		"Ed25519":               seal(t, edwards, "ci", good),
		"ECDSA":                 seal(t, curve, "", good),
		"a wrong hint":          seal(t, edwards, "scanner", good),
		"the older statement":   seal(t, edwards, "", strings.Replace(good, "Statement/v1", "Statement/v0.1", 1)),
		"the last moment":       seal(t, edwards, "", statementAbout(hex, scan("2026-10-26T09:00:00Z", "low"))),
		"a clock that is ahead": seal(t, edwards, "", statementAbout(hex, scan("2026-11-02T10:01:00+01:00", "low"))),
	} {
		result, err := Verify(content, terms, digest, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := result.Sentence(digest); !strings.Contains(text, result.Key.Fingerprint) || !strings.Contains(text, digest) || result.At == 0 || len(result.Payload) == 0 {
			t.Errorf("%s: it says %q", name, text)
		}
	}

	// Of what is signed, each byte counts, and so does the type of the payload.
	sealed := seal(t, edwards, "ci", good)
	changed := func(old, new string) []byte {
		return []byte(strings.Replace(string(sealed), base64.StdEncoding.EncodeToString([]byte(good)), base64.StdEncoding.EncodeToString([]byte(strings.Replace(good, old, new, 1))), 1))
	}
	for name, refused := range map[string]struct {
		content []byte
		reason  string
	}{
		"a changed payload":        {changed("low", "none"), ReasonSignatureInvalid},
		"a changed subject":        {changed("abab", "abac"), ReasonSignatureInvalid},
		"somebody else's key":      {seal(t, stranger, "", good), ReasonSignerUnknown},
		"and its name":             {seal(t, stranger, "ci", good), ReasonSignatureInvalid},
		"no signature":             {[]byte(strings.Replace(string(sealed), `"signatures":[{`, `"signatures":[],"x":[{`, 1)), ReasonMalformed},
		"another payload type":     {[]byte(strings.Replace(string(sealed), payloadType, "application/json", 1)), ReasonMalformed},
		"no envelope":              {[]byte(good), ReasonMalformed},
		"no JSON":                  {[]byte("%PDF-1.7"), ReasonMalformed},
		"nothing":                  {nil, ReasonMalformed},
		"no base64":                {[]byte(`{"payloadType":"` + payloadType + `","payload":"*","signatures":[{"sig":""}]}`), ReasonMalformed},
		"no statement":             {seal(t, edwards, "", `{"_type":"x"}`), ReasonMalformed},
		"about something else":     {seal(t, edwards, "", statementAbout(strings.Repeat("cd", 32), scan("2026-11-01T08:00:00Z", "low"))), ReasonWrongSubject},
		"about nothing":            {seal(t, edwards, "", strings.Replace(good, `"sha256"`, `"sha512"`, 1)), ReasonWrongSubject},
		"another predicate":        {seal(t, edwards, "", strings.Replace(good, "vulns/v0.1", "vulns/v0.2", 1)), ReasonWrongPredicate},
		"too old":                  {seal(t, edwards, "", statementAbout(hex, scan("2026-10-26T08:59:59Z", "low"))), ReasonStale},
		"of tomorrow":              {seal(t, edwards, "", statementAbout(hex, scan("2026-11-03T08:00:00Z", "low"))), ReasonStale},
		"of no time":               {seal(t, edwards, "", statementAbout(hex, `{"scanner":{"result":[]}}`)), ReasonIncomplete},
		"of a time in words":       {seal(t, edwards, "", statementAbout(hex, scan("yesterday", "low"))), ReasonIncomplete},
		"what it should have":      {seal(t, edwards, "", statementAbout(hex, `{"results":[{"severity":"critical"}],"metadata":{"scanFinishedOn":"2026-11-01T08:00:00Z"}}`)), ReasonIncomplete},
		"something critical":       {seal(t, edwards, "", statementAbout(hex, scan("2026-11-01T08:00:00Z", "critical"))), ReasonFinds},
		"no predicate":             {seal(t, edwards, "", strings.Replace(good, `"predicate":`, `"other":`, 1)), ReasonMalformed},
		"a payload that is no one": {seal(t, edwards, "", `[]`), ReasonMalformed},
	} {
		if _, err := Verify(refused.content, terms, digest, now); countersign.ReasonOf(err) != refused.reason || countersign.KindOf(err) != countersign.Refused {
			t.Errorf("%s: %v, want %s", name, err, refused.reason)
		}
	}
	for _, subject := range []string{"", "ab", "sha256:ab", "sha512:" + hex, strings.ToUpper(digest), digest + "ab"} {
		if _, err := Verify(sealed, terms, subject, now); countersign.ReasonOf(err) != ReasonWrongSubject {
			t.Errorf("the subject %q: %v", subject, err)
		}
	}
	if _, err := Verify(sealed, Terms{Predicates: terms.Predicates}, digest, now); countersign.ReasonOf(err) != ReasonSignerUnknown {
		t.Errorf("without a key: %v", err)
	}
}

func TestAKeyIsOneOfTwoKinds(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	good := pemOf(t, public)
	for name, text := range map[string]string{
		"P-384": pemOf(t, curve.Public()), "RSA": pemOf(t, long.Public()), "nothing": "", "two": good + good, "words": "the key of the pipeline",
		"a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"garbage":       string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if _, err := ParseKey("x", text); err == nil {
			t.Errorf("%s passes for a key", name)
		}
	}
	if _, err := ParseKey("x", good); err != nil {
		t.Error(err)
	}
}

// Nothing that anybody sends stops the house.
func FuzzVerify(f *testing.F) {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(public)
	key, err := ParseKey("ci", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"ci","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := Verify(content, Terms{Keys: []Key{key}}, digest, now); err == nil {
			t.Error("an unsigned statement counts")
		}
	})
}
