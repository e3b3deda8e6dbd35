package countersign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Stream names the chain that an event belongs to: the id of a request, grant,
// identity, group, system or record, or one of the two named streams below.
type Stream string

const (
	// StreamHouse is for rare events of the house itself (genesis, tokens, keys).
	StreamHouse Stream = "house"
	// StreamPolicy is the history of the active policy set.
	StreamPolicy Stream = "policy"
)

// Actor is who caused an event: the id of an identity, or one of the system
// actors. Names live only in values.
type Actor string

const (
	SystemTimer      Actor = "system:timer"
	SystemDelivery   Actor = "system:delivery"
	SystemIntegrator Actor = "system:integrator"
	// SystemHost is the person at the host's command line (genesis, first tokens);
	// the operating-system user is named in the event.
	SystemHost Actor = "system:host"
)

// IsSystem reports whether the actor is the house itself.
func (a Actor) IsSystem() bool { return strings.HasPrefix(string(a), "system:") }

// Identity returns the identity that acts, or "" for a system actor.
func (a Actor) Identity() IdentityID {
	if a.IsSystem() {
		return ""
	}
	return IdentityID(a)
}

// ValueGroup is a part of an event's values with its own salt and commitment.
// ValueChange is what Apply reads: ids, states, numbers and digests, no
// personal data, never erased. The others can be erased one by one.
type ValueGroup string

const (
	ValueChange   ValueGroup = "change"
	ValueEvidence ValueGroup = "evidence"
	ValueFacts    ValueGroup = "facts"
	ValueReason   ValueGroup = "reason"
	ValueSubject  ValueGroup = "subject"
)

// Payload is the typed content of one kind of event at one version: a struct
// whose fields are pointers to structs (Change may be a struct), one per group,
// named after the group. EventKind returns "noun.verb@version".
type Payload interface {
	EventKind() string
}

// Event is one line of history before it is sealed into its chain.
type Event struct {
	Stream  Stream
	Payload Payload
}

// Hash is the SHA-256 of an event's header; the zero value stands before the
// first event of a stream.
type Hash [32]byte

func (h Hash) String() string {
	if h == (Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*h = Hash{}
		return nil
	}
	if len(text) != 64 {
		return fmt.Errorf("a hash is 64 hexadecimal digits, not %d", len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Header is what an event's hash covers. It holds no personal data.
type Header struct {
	Stream Stream `json:"stream"`
	// Seq counts from 1 within the stream.
	Seq int64 `json:"seq"`
	// Prev is the hash of the event before it in the stream.
	Prev Hash `json:"prev"`
	// Kind is "noun.verb@version".
	Kind      string  `json:"kind"`
	Time      Instant `json:"time"`
	Actor     Actor   `json:"actor"`
	PolicySet Digest  `json:"policy_set,omitempty"`
	// DirectoryRevision is the directory as the desk knew it; recorded, not guarded.
	DirectoryRevision int64 `json:"directory_revision,omitempty"`
	// Commitments holds SHA-256(salt ‖ bytes) for each group of values.
	Commitments map[ValueGroup]Hash `json:"commitments"`
}

// Canonical returns the canonical bytes of the header, as Canonical of anything
// does. There are several headers to each commit, and each is written twice: where
// its fields are what they should be, they are put down in their order.
func (h Header) Canonical() ([]byte, error) {
	plain := plainText(string(h.Stream)) && plainText(h.Kind) && plainText(string(h.Actor)) && plainText(string(h.PolicySet)) &&
		h.Seq >= 0 && h.Seq <= maxInteger && h.DirectoryRevision >= 0 && h.DirectoryRevision <= maxInteger && h.Commitments != nil
	for group := range h.Commitments {
		plain = plain && plainText(string(group))
	}
	at, err := h.Time.MarshalText()
	if !plain || err != nil {
		return Canonical(h)
	}
	out := make([]byte, 0, 512+96*len(h.Commitments))
	text := func(name, value string) {
		out = append(append(append(append(out, name...), '"'), value...), '"')
	}
	text(`{"actor":`, string(h.Actor))
	out = append(out, `,"commitments":{`...)
	for i, group := range slices.Sorted(maps.Keys(h.Commitments)) {
		if i > 0 {
			out = append(out, ',')
		}
		text("", string(group))
		text(":", h.Commitments[group].String())
	}
	out = append(out, '}')
	if h.DirectoryRevision != 0 {
		out = strconv.AppendInt(append(out, `,"directory_revision":`...), h.DirectoryRevision, 10)
	}
	text(`,"kind":`, h.Kind)
	if h.PolicySet != "" {
		text(`,"policy_set":`, string(h.PolicySet))
	}
	text(`,"prev":`, h.Prev.String())
	out = strconv.AppendInt(append(out, `,"seq":`...), h.Seq, 10)
	text(`,"stream":`, string(h.Stream))
	text(`,"time":`, string(at))
	return append(out, '}'), nil
}

// plainText reports whether the text is its own form in JSON: printable ASCII
// without quotes and backslashes.
func plainText(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// Hash returns SHA-256("countersign/event/v1\n" ‖ canonical header).
func (h Header) Hash() (Hash, error) {
	data, err := h.Canonical()
	if err != nil {
		return Hash{}, err
	}
	sum := sha256.New()
	sum.Write([]byte("countersign/event/v1\n"))
	sum.Write(data)
	return Hash(sum.Sum(nil)), nil
}

// Value is one group of an event's values: canonical bytes under a salt.
type Value struct {
	Group ValueGroup
	Salt  [32]byte
	Bytes []byte
}

// Commitment returns SHA-256(salt ‖ bytes).
func (v Value) Commitment() Hash {
	sum := sha256.New()
	sum.Write(v.Salt[:])
	sum.Write(v.Bytes)
	return Hash(sum.Sum(nil))
}

// SealedEvent is an event in its chain: header, hash, and the values that were
// not erased, in the order of their groups.
type SealedEvent struct {
	Header Header
	Hash   Hash
	Values []Value
}

// EncodePayload returns the canonical bytes of each group that the payload
// fills, in the order of the groups' names.
func EncodePayload(payload Payload) ([]Value, error) {
	content := reflect.Indirect(reflect.ValueOf(payload))
	values := make([]Value, 0, content.NumField())
	for i := range content.NumField() {
		name, _, _ := strings.Cut(content.Type().Field(i).Tag.Get("json"), ",")
		data, err := Canonical(content.Field(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", payload.EventKind(), err)
		}
		if !bytes.Equal(data, []byte("null")) {
			values = append(values, Value{Group: ValueGroup(name), Bytes: data})
		}
	}
	slices.SortFunc(values, func(a, b Value) int { return strings.Compare(string(a.Group), string(b.Group)) })
	return values, nil
}

// DecodePayload fills a new payload of the kind from the values at hand; groups
// that were erased stay nil. Unknown fields are refused: an event of a released
// version has a decoder of that version.
func DecodePayload(payload Payload, values []Value) error {
	groups := make(map[ValueGroup]json.RawMessage, len(values))
	for _, value := range values {
		groups[value.Group] = value.Bytes
	}
	data, err := json.Marshal(groups)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(payload); err != nil {
		return fmt.Errorf("%s: %w", payload.EventKind(), err)
	}
	return nil
}

// PayloadRegistry knows the decoder of every released event version.
type PayloadRegistry map[string]reflect.Type

// Register adds payload types, given as pointers to structs.
func (r PayloadRegistry) Register(payloads ...Payload) PayloadRegistry {
	for _, payload := range payloads {
		kind := payload.EventKind()
		if _, twice := r[kind]; twice {
			panic("countersign: event kind " + kind + " is registered twice")
		}
		r[kind] = reflect.TypeOf(payload).Elem()
	}
	return r
}

// Decode returns the typed payload of a sealed event. An unknown kind is an
// error that names it: replay must stop, not skip.
func (r PayloadRegistry) Decode(event SealedEvent) (Payload, error) {
	known, ok := r[event.Header.Kind]
	if !ok {
		return nil, Errorf(Internal, "unknown-event-kind", "stream %s, event %d has the kind %q, which this version does not know", event.Header.Stream, event.Header.Seq, event.Header.Kind)
	}
	payload := reflect.New(known).Interface().(Payload)
	if err := DecodePayload(payload, event.Values); err != nil {
		return nil, fmt.Errorf("stream %s, event %d: %w", event.Header.Stream, event.Header.Seq, err)
	}
	return payload, nil
}
