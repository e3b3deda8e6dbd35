// Package storetest proves that a store keeps the promises of package store,
// races included. Each implementation runs it against its databases.
//
// It imports the root package and the contract, and knows no database.
package storetest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Open returns a store on a new, empty database, and a function that closes it
// and opens the same database again. Open closes what is open when t ends.
type Open func(t *testing.T) (opened store.Store, reopen func() store.Store)

// Run runs every test of the suite, each on a database of its own.
func Run(t *testing.T, open Open) {
	for _, group := range [][]story{commitStories, raceStories, queryStories, lookStories, historyStories, workStories, shelfStories} {
		for _, story := range group {
			t.Run(story.name, func(t *testing.T) {
				opened, reopen := open(t)
				story.tell(&house{T: t, Store: opened, reopen: reopen})
			})
		}
	}
}

type story struct {
	name string
	tell func(h *house)
}

// noon is when the stories begin.
const noon countersign.Instant = 1_772_020_800_000

// house is a store under test, with what makes its contents.
type house struct {
	*testing.T
	store.Store
	reopen func() store.Store
	minted countersign.Instant
}

// mint makes ids that sort after all that it made before.
func (h *house) mint() *countersign.Mint {
	h.minted++
	return countersign.NewMint([32]byte{1}, noon+h.minted)
}

var background = context.Background()

// commit writes the change and ends the test where that fails.
func (h *house) commit(change store.Change) {
	h.Helper()
	if change.Now == 0 {
		change.Now = noon
	}
	if err := h.Commit(background, change); err != nil {
		h.Fatalf("commit: %v", err)
	}
}

// changed expects the commit to find the key changed.
func (h *house) changed(key string, change store.Change) {
	h.Helper()
	h.expectChanged(key, h.Commit(background, change))
}

func (h *house) expectChanged(key string, err error) {
	h.Helper()
	var changed *store.Changed
	if !errors.As(err, &changed) || changed.Key != key {
		h.Fatalf("got the error %v, want that %s has changed", err, key)
	}
}

// duplicate expects the commit to break a constraint.
func (h *house) duplicate(constraint string, change store.Change) {
	h.Helper()
	err := h.Commit(background, change)
	var duplicate *store.Duplicate
	if !errors.As(err, &duplicate) || duplicate.Constraint != constraint {
		h.Fatalf("got the error %v, want the duplicate %s", err, constraint)
	}
}

// must returns what a read gave, or ends the test: must(read())(h).
func must[T any](value T, err error) func(h *house) T {
	return func(h *house) T {
		h.Helper()
		if err != nil {
			h.Fatal(err)
		}
		return value
	}
}

// absent expects a read to find nothing.
func (h *house) absent(err error) {
	h.Helper()
	if countersign.KindOf(err) != countersign.NotFound {
		h.Fatalf("got the error %v, want one of the kind not-found", err)
	}
}

// same compares two values by their canonical bytes.
func (h *house) same(got, want any) {
	h.Helper()
	if left, right := h.canonical(got), h.canonical(want); left != right {
		h.Fatalf("got  %s\nwant %s", left, right)
	}
}

func (h *house) canonical(value any) string {
	h.Helper()
	text, err := countersign.Canonical(value)
	if err != nil {
		h.Fatal(err)
	}
	return string(text)
}

// request is a new request of one entitlement.
func (h *house) request(holder countersign.IdentityID, entitlements ...countersign.EntitlementID) *countersign.Request {
	return &countersign.Request{
		ID: h.mint().Request(), Version: 1, Type: "api-key", Title: "API key for a service",
		State: countersign.RequestDeciding, Requester: holder, Beneficiary: holder,
		SamePerson: []countersign.IdentityID{holder}, Entitlements: entitlements,
		Reason: "to send invoices — \"today\"", Duration: countersign.Day, Answers: []byte(`{"purpose":"billing"}`),
		SubmittedAt: noon,
	}
}

func (h *house) grant(holder countersign.IdentityID, entitlement countersign.EntitlementID) *countersign.Grant {
	return &countersign.Grant{
		ID: h.mint().Grant(), Version: 1, State: countersign.GrantLive, Origin: countersign.FromGenesis,
		Holder: holder, Entitlement: entitlement, System: h.mint().System(), Duration: countersign.Hour,
	}
}

func (h *house) person(name string) *countersign.Identity {
	return &countersign.Identity{ID: h.mint().Identity(), Version: 1, Kind: countersign.Person, Status: countersign.IdentityActive, Name: name}
}

// event seals the event that follows the head of a stream.
func (h *house) event(stream countersign.Stream, head store.Head, kind string) countersign.SealedEvent {
	h.Helper()
	mint := h.mint()
	values := []countersign.Value{
		{Group: countersign.ValueChange, Salt: mint.Salt(), Bytes: []byte(`{"n":` + strconv.FormatInt(head.Seq, 10) + `}`)},
		{Group: countersign.ValueReason, Salt: mint.Salt(), Bytes: []byte(`{"text":"because"}`)},
	}
	header := countersign.Header{
		Stream: stream, Seq: head.Seq + 1, Prev: head.Hash, Kind: kind, Time: noon.Add(countersign.Seconds(head.Seq)),
		Actor: countersign.SystemTimer, Commitments: map[countersign.ValueGroup]countersign.Hash{},
	}
	for _, value := range values {
		header.Commitments[value.Group] = value.Commitment()
	}
	hash, err := header.Hash()
	if err != nil {
		h.Fatal(err)
	}
	return countersign.SealedEvent{Header: header, Hash: hash, Values: values}
}

func headOf(event countersign.SealedEvent) store.Head {
	return store.Head{Seq: event.Header.Seq, Hash: event.Hash, Time: event.Header.Time}
}

// ids lists the keys of rows in one line.
func ids[R countersign.Row](rows []R) string {
	var keys []string
	for _, row := range rows {
		keys = append(keys, row.RowKey())
	}
	return strings.Join(keys, " ")
}

func write(was int64, row countersign.Row) store.Write { return store.Write{Was: was, Row: row} }

// writes makes inserts of rows.
func writes(rows ...countersign.Row) []store.Write {
	var all []store.Write
	for _, row := range rows {
		all = append(all, write(0, row))
	}
	return all
}
