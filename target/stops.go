// Package target holds what the targets that we ship have in common: the stops
// that the desk pushes to them, and how they refuse over HTTP. Each target is a
// folder of its own (the decision point is package pdp).
//
// A target keeps its own tables through a store.Shelf and never reads requests
// or grants: one that read our record would confirm us to ourselves. It never
// imports the desk or auth. After a Stop returns, no check that begins later
// lets the stopped thing through.
package target

import (
	"encoding/binary"
	"sync"

	"github.com/countersign/countersign"
)

// ID is the id of a holder, system, entitlement, grant or credential in 16 bytes and the
// first letter of its prefix: small enough to be kept a million times.
type ID [17]byte

// ParseID brings the id of an identity, system, entitlement, grant or credential into its
// small form. It stands in every decision, where the general parser of TypeIDs
// would take half of the time.
func ParseID[T countersign.IdentityID | countersign.SystemID | countersign.EntitlementID | countersign.GrantID | countersign.CredentialID](id T) (ID, error) {
	text := string(id)
	if len(text) != len("idn_")+suffix || text[4] > '7' {
		return ID{}, malformed(text)
	}
	var small ID
	if prefixes[text[0]] != text[:4] {
		return ID{}, malformed(text)
	}
	small[0] = text[0]
	var high, low uint64
	for i := 4; i < len(text); i++ {
		value := digits[text[i]]
		if value == noDigit {
			return ID{}, malformed(text)
		}
		high = high<<5 | low>>59
		low = low<<5 | uint64(value)
	}
	binary.BigEndian.PutUint64(small[1:9], high)
	binary.BigEndian.PutUint64(small[9:17], low)
	return small, nil
}

// String is the id that ParseID was given; "" for none.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	high, low := binary.BigEndian.Uint64(id[1:9]), binary.BigEndian.Uint64(id[9:17])
	var text [4 + suffix]byte
	copy(text[:], prefixes[id[0]])
	for i := len(text) - 1; i >= 4; i-- {
		text[i] = alphabet[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return string(text[:])
}

// prefixes are those of the ids that have a small form, by their first letters.
var prefixes = [256]string{'i': "idn_", 's': "sys_", 'e': "ent_", 'g': "grt_", 'c': "crd_"}

// suffix is how many characters of five bits a UUID of 128 bits has.
const suffix = 26

// alphabet is Crockford's base 32 as TypeIDs write it.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const noDigit = 0xff

// digits are the values of the characters of the alphabet.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = noDigit
	}
	for value, digit := range []byte(alphabet) {
		values[digit] = byte(value)
	}
	return values
}()

func malformed(id string) error {
	if len(id) > 64 {
		id = id[:64] + "…"
	}
	return countersign.Errorf(countersign.Invalid, "malformed-id", "%q is not the id of an identity, system, entitlement, grant or credential", id)
}

// Cause says why something is stopped. Each cause is lifted on its own: lifting
// a hold never lifts an end.
type Cause uint8

const (
	// Held: a person put a stop, and may lift it.
	Held Cause = 1 << iota
	// Ended: the access is to go; lifted only to forget it once it is gone.
	Ended
)

// Stops is what checks refuse although the target still holds it. It is in
// memory only: the desk pushes to it before the command's answer leaves, and
// fills it again at start. It can refuse, and never allow.
type Stops struct {
	mu     sync.RWMutex
	causes map[ID]Cause
	unfit  string
	fresh  func() error
}

// NewStops returns an empty list.
func NewStops() *Stops { return &Stops{causes: make(map[ID]Cause)} }

// Stop refuses the holder, system, entitlement, grant or credential from now on.
func (s *Stops) Stop(id ID, cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.causes[id] |= cause
}

// Lift takes one cause away. What is not stopped for that cause stays as it is.
func (s *Stops) Lift(id ID, cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.causes[id] &^ cause; left != 0 {
		s.causes[id] = left
	} else {
		delete(s.causes, id)
	}
}

// Stopped reports whether any of the ids is stopped.
func (s *Stops) Stopped(ids ...ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.causes) == 0 {
		return false
	}
	for _, id := range ids {
		if s.causes[id] != 0 {
			return true
		}
	}
	return false
}

// SetUnfit makes every check refuse, with a sentence that says why, until it is
// set to "": a replica whose clock is off cannot judge an end.
func (s *Stops) SetUnfit(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfit = why
}

// Rely makes checks of all targets an error while fresh returns one: what other
// replicas stopped meanwhile is not in this memory.
func (s *Stops) Rely(fresh func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = fresh
}

// Answers is an error while no check may be answered: neither with yes nor with what a
// reader would take for gone.
func (s *Stops) Answers() error {
	if err := s.Fit(); err != nil {
		return err
	}
	s.mu.RLock()
	fresh := s.fresh
	s.mu.RUnlock()
	if fresh == nil {
		return nil
	}
	return fresh()
}

// Fit is an error that says why every check refuses, or nil.
func (s *Stops) Fit() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.unfit == "" {
		return nil
	}
	return countersign.Errorf(countersign.Unavailable, "replica-unfit", "This replica answers nothing now: %s.", s.unfit)
}
