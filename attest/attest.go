// Package attest checks signed statements about artifacts: in-toto statements in
// DSSE envelopes, as build systems and scanners make them.
//
// It is pure: bytes, keys, the digest that was declared and the time go in, and
// what was signed by whom comes out. Whatever it cannot read or does not know is
// refused with a reason; nothing passes because something was left out.
//
// Envelope and pre-authentication encoding are those of DSSE 1.0.2, the statement is
// that of in-toto 1.0 and 0.1.
package attest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theory/jsonpath"

	"github.com/countersign/countersign"
)

// The reasons of refusals.
const (
	ReasonMalformed        = "attestation-malformed"
	ReasonSignatureInvalid = "signature-invalid"
	ReasonSignerUnknown    = "signer-unknown"
	ReasonWrongSubject     = "wrong-subject"
	ReasonWrongPredicate   = "wrong-predicate"
	ReasonStale            = "attestation-stale"
	ReasonIncomplete       = "attestation-incomplete"
	ReasonFinds            = "attestation-finds"
)

const (
	payloadType   = "application/vnd.in-toto+json"
	maxSignatures = 16
	maxSubjects   = 10_000
	// tolerated is how far a signer's clock may be ahead.
	tolerated = 5 * countersign.Minute
)

var statementTypes = []string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}

// Key is a public key that a verifier trusts.
type Key struct {
	ID string
	// Fingerprint is the SHA-256 of its DER form.
	Fingerprint string
	verify      func(message, signature []byte) bool
}

// ParseKey reads a public key in PEM form: Ed25519, or ECDSA on P-256.
func ParseKey(id, text string) (Key, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return Key{}, fmt.Errorf("this is no public key: write one PEM block, which begins with -----BEGIN PUBLIC KEY-----")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("this is no public key: %v", err)
	}
	digest := sha256.Sum256(block.Bytes)
	key := Key{ID: id, Fingerprint: "sha256:" + hex.EncodeToString(digest[:])}
	switch public := parsed.(type) {
	case ed25519.PublicKey:
		key.verify = func(message, signature []byte) bool { return ed25519.Verify(public, message, signature) }
		return key, nil
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			key.verify = func(message, signature []byte) bool {
				hash := sha256.Sum256(message)
				return ecdsa.VerifyASN1(public, hash[:], signature)
			}
			return key, nil
		}
	}
	return Key{}, fmt.Errorf("a verifier's key is Ed25519 or ECDSA on the curve P-256")
}

// Terms are what a verifier asks of a statement.
type Terms struct {
	Keys       []Key
	Predicates []string
	// MaxAge is how old the time at Time may be; 0 asks for no time.
	MaxAge countersign.Seconds
	Time   *jsonpath.Path
	// Has are paths into the predicate that must find something, Lacks those that
	// must find nothing.
	Has, Lacks []*jsonpath.Path
}

// Result is what a statement says that passed.
type Result struct {
	// Key signed it.
	Key       Key
	Predicate string
	// At is the time that it gives; 0 where none is asked for.
	At countersign.Instant
	// Payload is the statement, as it was signed.
	Payload []byte
}

// Sentence says what was verified, for the record.
func (r Result) Sentence(subject string) string {
	text := fmt.Sprintf("Signed by the key %s (%s) about %s, as %s", r.Key.ID, r.Key.Fingerprint, subject, r.Predicate)
	if r.At != 0 {
		text += ", of " + r.At.String()
	}
	return text + "."
}

func refused(reason, format string, args ...any) error {
	return countersign.Errorf(countersign.Refused, reason, format, args...)
}

type envelope struct {
	PayloadType string `json:"payloadType"`
	Payload     string `json:"payload"`
	Signatures  []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	} `json:"signatures"`
}

type statement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// IsDigest reports whether the text is how a subject is declared: "sha256:" and 64
// hexadecimal digits in lower case.
func IsDigest(text string) bool {
	digits, is := strings.CutPrefix(text, "sha256:")
	raw, err := hex.DecodeString(digits)
	return is && err == nil && len(raw) == sha256.Size && digits == strings.ToLower(digits)
}

// Verify checks an envelope about the subject, a digest as "sha256:…", at now. Any
// one good signature counts: the keys are all trusted alike.
func Verify(content []byte, terms Terms, subject string, now countersign.Instant) (Result, error) {
	if !IsDigest(subject) {
		return Result{}, refused(ReasonWrongSubject, "%q is not the digest of an artifact: it should be sha256: and 64 hexadecimal digits.", countersign.Clip(subject))
	}
	payload, key, err := opened(content, terms.Keys)
	if err != nil {
		return Result{}, err
	}
	// From here on the bytes are a signer's whom the verifier trusts.
	var said statement
	if err := json.Unmarshal(payload, &said); err != nil || !slices.Contains(statementTypes, said.Type) {
		return Result{}, refused(ReasonMalformed, "What is signed is no in-toto statement: its _type should be %s.", statementTypes[0])
	}
	if len(said.Subject) > maxSubjects || !about(said, strings.TrimPrefix(subject, "sha256:")) {
		return Result{}, refused(ReasonWrongSubject, "The statement is about something else than %s.", subject)
	}
	if !slices.Contains(terms.Predicates, said.PredicateType) {
		return Result{}, refused(ReasonWrongPredicate, "The statement is a %q, and this verifier takes %q.", countersign.Clip(said.PredicateType), terms.Predicates)
	}
	var predicate any
	if err := json.Unmarshal(said.Predicate, &predicate); err != nil {
		return Result{}, refused(ReasonMalformed, "The statement has no predicate.")
	}
	result := Result{Key: key, Predicate: said.PredicateType, Payload: payload}
	if result.At, err = terms.timeOf(predicate, now); err != nil {
		return Result{}, err
	}
	for _, path := range terms.Has {
		if len(path.Select(predicate)) == 0 {
			return Result{}, refused(ReasonIncomplete, "The statement has nothing at %s, and this verifier asks for it.", path)
		}
	}
	for _, path := range terms.Lacks {
		if found := path.Select(predicate); len(found) > 0 {
			return Result{}, refused(ReasonFinds, "The statement finds %d at %s, and this verifier takes none.", len(found), path)
		}
	}
	return result, nil
}

// opened returns what the envelope holds, and whose signature counts.
func opened(content []byte, keys []Key) ([]byte, Key, error) {
	var sealed envelope
	if err := json.Unmarshal(content, &sealed); err != nil || len(sealed.Signatures) == 0 || len(sealed.Signatures) > maxSignatures {
		return nil, Key{}, refused(ReasonMalformed, "This is no DSSE envelope: it should be a JSON object with payloadType, payload and 1 to %d signatures.", maxSignatures)
	}
	if sealed.PayloadType != payloadType {
		return nil, Key{}, refused(ReasonMalformed, "The envelope holds %q, and not %s.", countersign.Clip(sealed.PayloadType), payloadType)
	}
	payload, err := decode64(sealed.Payload)
	if err != nil {
		return nil, Key{}, refused(ReasonMalformed, "The payload of the envelope is not in base64.")
	}
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(sealed.PayloadType), sealed.PayloadType, len(payload), payload)
	named := ""
	for _, one := range sealed.Signatures {
		signature, err := decode64(one.Sig)
		if err != nil {
			return nil, Key{}, refused(ReasonMalformed, "A signature of the envelope is not in base64.")
		}
		for _, key := range keys {
			if key.verify(message, signature) {
				return payload, key, nil
			}
			if one.KeyID == key.ID || "sha256:"+one.KeyID == key.Fingerprint || one.KeyID == key.Fingerprint {
				named = key.ID
			}
		}
	}
	if named != "" {
		return nil, Key{}, refused(ReasonSignatureInvalid, "The envelope names the key %s, and the signature is not by it: it was changed after signing, or signed by somebody else.", named)
	}
	return nil, Key{}, refused(ReasonSignerUnknown, "No signature of the envelope is by a key of this verifier.")
}

// decode64 takes both alphabets, as DSSE says.
func decode64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "-_") {
		return base64.URLEncoding.DecodeString(text)
	}
	return base64.StdEncoding.DecodeString(text)
}

func about(said statement, digits string) bool {
	for _, subject := range said.Subject {
		if subject.Digest["sha256"] == digits {
			return true
		}
	}
	return false
}

func (t Terms) timeOf(predicate any, now countersign.Instant) (countersign.Instant, error) {
	if t.MaxAge == 0 {
		return 0, nil
	}
	found := t.Time.Select(predicate)
	if len(found) != 1 {
		return 0, refused(ReasonIncomplete, "The statement has %d times at %s, and this verifier asks for one.", len(found), t.Time)
	}
	text, _ := found[0].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, refused(ReasonIncomplete, "What stands at %s is no time as 2026-11-27T09:00:00Z.", t.Time)
	}
	said := countersign.InstantOf(at)
	switch {
	case said > now.Add(tolerated):
		return 0, refused(ReasonStale, "The statement is of %s, which is yet to come.", said)
	case now > said.Add(t.MaxAge):
		return 0, refused(ReasonStale, "The statement is of %s, and this verifier takes none that is older than %s.", said, t.MaxAge)
	}
	return said, nil
}
