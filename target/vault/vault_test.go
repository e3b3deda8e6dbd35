package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

// house is a vault with everything around it.
type house struct {
	*Vault
	t     *testing.T
	clock *connectortest.Clock
	shelf *shelftest.Shelf
	stops *target.Stops
	mint  *countersign.Mint
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseOn(t, func(shelf *shelftest.Shelf) store.Shelf { return shelf })
}

func newHouseOn(t *testing.T, wrap func(*shelftest.Shelf) store.Shelf) *house {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, clock: connectortest.NewClock(), shelf: shelftest.New(ShelfName), stops: target.NewStops()}
	h.mint = countersign.NewMint([32]byte{7}, h.clock.Instant())
	h.Vault = New(wrap(h.shelf), master, h.stops, h.clock, rand.Reader, "https://desk.example")
	return h
}

func (h *house) order() Order {
	return Order{
		Intent: h.mint.Intent(), Attempt: 1, Credential: h.mint.Credential(), Grant: h.mint.Grant(), Holder: h.mint.Identity(),
		System: h.mint.System(), Entitlement: h.mint.Entitlement(), SystemName: "billing", Resource: "invoices", Scope: "read",
		Until: h.clock.Instant().Add(countersign.Hour),
	}
}

func (h *house) issue(order Order) {
	h.t.Helper()
	if err := h.Issue(context.Background(), order); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) read(order Order) countersign.Secret {
	h.t.Helper()
	secret, err := h.Read(context.Background(), order.Holder, order.Credential)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *house) check(key countersign.Secret) Check {
	h.t.Helper()
	check, err := h.CheckKey(context.Background(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	return check
}

// kinds are the kinds of events on the order's system.
func (h *house) kinds(order Order) string {
	var kinds []string
	for _, event := range h.shelf.Events(countersign.Stream(order.System)) {
		kinds = append(kinds, event.Header.Kind)
	}
	return strings.Join(kinds, " ")
}

func mustID[T countersign.IdentityID | countersign.SystemID | countersign.EntitlementID | countersign.GrantID | countersign.CredentialID](t *testing.T, id T) target.ID {
	t.Helper()
	small, err := target.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return small
}

func TestAKeyWorksForWhatItWasOrderedFor(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	check := h.check(h.read(order))
	if !check.Active || check.Holder != order.Holder || check.Scope != "read" || check.System != order.System || check.Until != order.Until || check.Credential != order.Credential {
		t.Errorf("the key gives %+v", check)
	}
}

func TestTheSecretIsReadOnceByItsHolderAndThenDestroyed(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	ctx := context.Background()
	for _, stranger := range []countersign.IdentityID{h.mint.Identity(), ""} {
		if _, err := h.Read(ctx, stranger, order.Credential); countersign.KindOf(err) != countersign.NotFound {
			t.Errorf("a stranger got %v", err)
		}
	}
	h.read(order)
	if _, err := h.Read(ctx, order.Holder, order.Credential); countersign.ReasonOf(err) != "secret-gone" {
		t.Errorf("the second reading got %v", err)
	}
	if _, err := h.Read(ctx, h.mint.Identity(), order.Credential); countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("a stranger learns that it was read: %v", err)
	}
	item, err := h.shelf.Item(ctx, string(order.Credential))
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]any
	if err := json.Unmarshal(item.Body, &stored); err != nil {
		t.Fatal(err)
	}
	if _, kept := stored["secret"]; kept {
		t.Error("the data key is still there after the reading")
	}
	if got := h.kinds(order); got != "vault.key-issued@1 vault.secret-read@1" {
		t.Errorf("the system's stream has %s", got)
	}
	if last := h.shelf.Events(countersign.Stream(order.System))[1]; last.Header.Actor != countersign.Actor(order.Holder) {
		t.Errorf("the reading is recorded as done by %s", last.Header.Actor)
	}
}

func TestAKeyThatMayBeKeptIsReadAgainUntilItEnds(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	order.KeepUntilEnd = true
	h.issue(order)
	first, second := h.read(order), h.read(order)
	if first.Reveal() != second.Reveal() {
		t.Error("two readings gave two keys")
	}
	h.clock.Advance(time.Hour)
	if _, err := h.Read(context.Background(), order.Holder, order.Credential); countersign.ReasonOf(err) != "secret-gone" {
		t.Errorf("after the end: %v", err)
	}
}

func TestOfTwoReadersAtOnceOneGetsTheSecret(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	results := make([]error, 8)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() { _, results[i] = h.Read(context.Background(), order.Holder, order.Credential) })
	}
	group.Wait()
	got := 0
	for _, err := range results {
		if err == nil {
			got++
		} else if countersign.ReasonOf(err) != "secret-gone" {
			t.Errorf("a loser got %v", err)
		}
	}
	if got != 1 {
		t.Errorf("%d readers got the secret, want 1", got)
	}
}

func TestTheKeyIsNeverStoredInClear(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	item, err := h.shelf.Item(context.Background(), string(order.Credential))
	if err != nil {
		t.Fatal(err)
	}
	key := h.read(order).Reveal()
	everything := append([]byte(item.Ref), item.Body...)
	for _, event := range h.shelf.Events(countersign.Stream(order.System)) {
		for _, value := range event.Values {
			everything = append(everything, value.Bytes...)
		}
	}
	if bytes.Contains(everything, []byte(key)) || bytes.Contains(everything, []byte(key[len(keyPrefix):20])) {
		t.Error("the key stands in what is stored")
	}
}

func TestAKeyIsRefusedAfterItsEndByTimeAlone(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	key := h.read(order)
	h.clock.Advance(time.Hour - time.Millisecond)
	if !h.check(key).Active {
		t.Error("refused before its end")
	}
	h.clock.Advance(time.Millisecond)
	if check := h.check(key); check.Active || check.Why != Expired {
		t.Errorf("at its end the check gives %+v", check)
	}
}

func TestAKeyIsIssuedOnceHoweverOftenItIsOrdered(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	var group sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		group.Go(func() { results[i] = h.Issue(context.Background(), order) })
	}
	group.Wait()
	if err := errors.Join(results...); err != nil {
		t.Fatal(err)
	}
	key := h.read(order)
	h.issue(order)
	if !h.check(key).Active || h.kinds(order) != "vault.key-issued@1 vault.secret-read@1" {
		t.Errorf("after a late repetition the events are %s", h.kinds(order))
	}
}

func TestAnEndMovesOnlyForwardsInAttempts(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	key := h.read(order)
	later := order
	later.Attempt, later.Until = 2, order.Until.Add(countersign.Hour)
	h.issue(later)
	if got := h.check(key).Until; got != later.Until {
		t.Errorf("the second attempt's end is %s, want %s", got, later.Until)
	}
	h.issue(order) // the first attempt, late
	if got := h.check(key).Until; got != later.Until {
		t.Errorf("a late first attempt set the end to %s", got)
	}
	shorter := order
	shorter.Intent = h.mint.Intent()
	h.issue(shorter)
	if got := h.check(key).Until; got != order.Until {
		t.Errorf("a new intent asked for %s and got %s", order.Until, got)
	}
}

func TestAnotherKeyUnderTheSameNameIsNeverAdopted(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	for name, change := range map[string]func(*Order){
		"holder": func(o *Order) { o.Holder = h.mint.Identity() },
		"grant":  func(o *Order) { o.Grant = h.mint.Grant() },
		"scope":  func(o *Order) { o.Scope = "admin" },
		"system": func(o *Order) { o.System = h.mint.System() },
	} {
		other := order
		change(&other)
		if err := h.Issue(context.Background(), other); countersign.ReasonOf(err) != "not-ours" {
			t.Errorf("another %s: got %v", name, err)
		}
	}
	if check := h.check(h.read(order)); check.Holder != order.Holder || check.Scope != "read" {
		t.Errorf("the key now gives %+v", check)
	}
}

func TestARevokedKeyNeverComesBack(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	key := h.read(order)
	ctx := context.Background()
	for range 2 {
		if err := h.Revoke(ctx, order.Credential, 0); err != nil {
			t.Fatal(err)
		}
	}
	if check := h.check(key); check.Active || check.Why != Revoked {
		t.Errorf("after the revoke the check gives %+v", check)
	}
	if err := h.Issue(ctx, order); countersign.ReasonOf(err) != "revoked" {
		t.Errorf("issuing again got %v", err)
	}
	if got := h.kinds(order); got != "vault.key-issued@1 vault.secret-read@1 vault.key-revoked@1" {
		t.Errorf("the events are %s", got)
	}
}

func TestAnUnreadSecretIsDestroyedByTheRevoke(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	h.issue(order)
	if err := h.Revoke(context.Background(), order.Credential, 0); err != nil {
		t.Fatal(err)
	}
	if _, held, err := h.load(context.Background(), order.Credential); err != nil || held.Secret != nil {
		t.Errorf("the ciphertext is still there: %v, %v", held.Secret, err)
	}
}

func TestAnOrderThatComesAfterItsRevokeMakesNoKey(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	if err := h.Revoke(context.Background(), order.Credential, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Issue(context.Background(), order); countersign.ReasonOf(err) != "revoked" {
		t.Errorf("got %v", err)
	}
	if check, err := h.CheckCredential(context.Background(), order.Credential); err != nil || check.Active {
		t.Errorf("the check gives %+v, %v", check, err)
	}
}

func TestEndingOneOfTwoKeysLeavesTheOther(t *testing.T) {
	h := newHouse(t)
	first := h.order()
	second := first
	second.Credential, second.Intent = h.mint.Credential(), h.mint.Intent()
	h.issue(first)
	h.issue(second)
	firstKey, secondKey := h.read(first), h.read(second)
	if firstKey.Reveal() == secondKey.Reveal() {
		t.Fatal("a rotation gave the same key")
	}
	if err := h.Revoke(context.Background(), first.Credential, 0); err != nil {
		t.Fatal(err)
	}
	if h.check(firstKey).Active || !h.check(secondKey).Active {
		t.Error("the revoke of one key did not end exactly that one")
	}
}

func TestAStopRefusesTheKeyAndItsReading(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	order.KeepUntilEnd = true
	h.issue(order)
	key := h.read(order)
	for name, id := range map[string]target.ID{
		"holder": mustID(t, order.Holder), "system": mustID(t, order.System), "entitlement": mustID(t, order.Entitlement),
		"grant": mustID(t, order.Grant), "credential": mustID(t, order.Credential),
	} {
		t.Run(name, func(t *testing.T) {
			h.stops.Stop(id, target.Held)
			h.stops.Stop(id, target.Ended)
			h.stops.Lift(id, target.Held)
			if check := h.check(key); check.Active || check.Why != Stopped {
				t.Errorf("while stopped: %+v", check)
			}
			if _, err := h.Read(context.Background(), order.Holder, order.Credential); countersign.ReasonOf(err) != "stopped" {
				t.Errorf("reading while stopped: %v", err)
			}
			h.stops.Lift(id, target.Ended)
			if !h.check(key).Active {
				t.Error("still refused after both causes were lifted")
			}
		})
	}
}

func TestAVaultThatCannotTrustItsClockOrItsMemoryAnswersNothing(t *testing.T) {
	for name, spoil := range map[string]func(*target.Stops){
		"clock": func(stops *target.Stops) { stops.SetUnfit("the clock is 3 s off") },
		"memory": func(stops *target.Stops) {
			stops.Rely(func() error { return countersign.Errorf(countersign.Unavailable, "replica-stale", "old") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			read, unread := h.order(), h.order()
			h.issue(read)
			h.issue(unread)
			key := h.read(read)
			spoil(h.stops)
			if check, err := h.CheckKey(t.Context(), key); check.Active || countersign.KindOf(err) != countersign.Unavailable {
				t.Errorf("a key is answered with %+v, %v", check, err)
			}
			if _, err := h.CheckCredential(t.Context(), read.Credential); countersign.KindOf(err) != countersign.Unavailable {
				t.Errorf("it is read back: %v", err)
			}
			if _, err := h.Read(t.Context(), unread.Holder, unread.Credential); countersign.KindOf(err) != countersign.Unavailable {
				t.Errorf("a secret is handed out: %v", err)
			}
		})
	}
}

func TestNothingIsWrittenAfterTheDeadline(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	order.NotAfter = h.clock.Instant()
	if err := h.Issue(context.Background(), order); countersign.ReasonOf(err) != "deadline-passed" {
		t.Errorf("got %v", err)
	}
	if _, err := h.shelf.Item(context.Background(), string(order.Credential)); countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("something was written: %v", err)
	}
}

// busyStream lets somebody else append to the stream between Head and Commit,
// for the given number of times.
type busyStream struct {
	*shelftest.Shelf
	times int
}

func (b *busyStream) Commit(ctx context.Context, change store.ShelfChange) error {
	if b.times > 0 {
		b.times--
		return &store.Changed{Key: "the stream"}
	}
	return b.Shelf.Commit(ctx, change)
}

func TestAWriteIsTriedAgainWhenOthersWroteToTheStream(t *testing.T) {
	for _, test := range []struct {
		times int
		want  string
	}{{11, ""}, {12, "busy"}} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouseOn(t, func(shelf *shelftest.Shelf) store.Shelf { return &busyStream{shelf, test.times} })
			if err := h.Issue(context.Background(), h.order()); countersign.ReasonOf(err) != test.want {
				t.Errorf("after %d others: got %v, want %q", test.times, err, test.want)
			}
		})
	}
}

func TestAMalformedOrderIsRefused(t *testing.T) {
	h := newHouse(t)
	for name, change := range map[string]func(*Order){
		"credential": func(o *Order) { o.Credential = "crd_x" },
		"grant":      func(o *Order) { o.Grant = "" },
		"holder":     func(o *Order) { o.Holder = "alice" },
		"system":     func(o *Order) { o.System = "billing" },
		"scope":      func(o *Order) { o.Scope = "" },
		"resource":   func(o *Order) { o.Resource = "" },
		"end":        func(o *Order) { o.Until = h.clock.Instant() },
	} {
		order := h.order()
		change(&order)
		if err := h.Issue(context.Background(), order); countersign.KindOf(err) != countersign.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAUseIsWrittenOnceAnHourByAllThatCheckTheKey(t *testing.T) {
	h := newHouse(t)
	order := h.order()
	order.Until = h.clock.Instant().Add(countersign.Day)
	h.issue(order)
	key, ctx := h.read(order), context.Background()
	if _, err := h.CheckCredential(ctx, order.Credential); err != nil {
		t.Fatal(err)
	}
	if at, err := h.LastUsed(ctx, order.Credential); at != 0 || err != nil {
		t.Errorf("a look that shows no key is a use at %s: %v", at, err)
	}
	first := h.clock.Instant()
	h.check(key)
	for range 2 {
		h.clock.Advance(29 * time.Minute)
		h.check(key)
		another := New(h.shelf, h.master, h.stops, h.clock, rand.Reader, "https://desk.example")
		if _, err := another.CheckKey(ctx, key); err != nil {
			t.Fatal(err)
		}
		if at, err := h.LastUsed(ctx, order.Credential); at != first || err != nil {
			t.Errorf("within the hour the last use is written again, as %s: %v", at, err)
		}
	}
	h.clock.Advance(2 * time.Minute)
	h.check(key)
	if at, err := h.LastUsed(ctx, order.Credential); at != h.clock.Instant() || err != nil {
		t.Errorf("the last use is %s: %v", at, err)
	}
	h.stops.Stop(mustID(t, order.Holder), target.Held)
	h.clock.Advance(2 * time.Hour)
	h.check(key)
	if at, _ := h.LastUsed(ctx, order.Credential); at == h.clock.Instant() {
		t.Error("a refused key was used")
	}
}

func TestASecretMadeElsewhereIsReadByTheSameRulesAndIsNoKey(t *testing.T) {
	h := newHouse(t)
	order, ctx := h.order(), context.Background()
	// It has even the form of a key.
	secret, err := newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Deposit(ctx, order, countersign.Secret{}); countersign.KindOf(err) != countersign.Invalid {
		t.Errorf("nothing was deposited: %v", err)
	}
	if err := h.Deposit(ctx, order, secret); err != nil {
		t.Fatal(err)
	}
	if h.check(secret).Active {
		t.Error("a deposited secret passes introspection")
	}
	item, err := h.shelf.Item(ctx, string(order.Credential))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(item.Body, []byte(secret.Reveal())) || item.Ref != "" {
		t.Error("the secret, or something that follows from it, is stored in clear")
	}
	if _, err := h.Read(ctx, h.mint.Identity(), order.Credential); countersign.KindOf(err) != countersign.NotFound {
		t.Errorf("a stranger got %v", err)
	}
	if got := h.read(order); got.Reveal() != secret.Reveal() {
		t.Error("another secret comes out")
	}
	if _, err := h.Read(ctx, order.Holder, order.Credential); countersign.ReasonOf(err) != "secret-gone" {
		t.Errorf("the second reading got %v", err)
	}
	if got := h.kinds(order); got != "vault.key-issued@1 vault.secret-read@1" {
		t.Errorf("the events are %s", got)
	}
	other := order
	other.Holder = h.mint.Identity()
	if err := h.Deposit(ctx, other, secret); countersign.ReasonOf(err) != "not-ours" {
		t.Errorf("another holder's secret: %v", err)
	}
}

func TestASecretThatIsDepositedAgainTakesThePlaceOfTheFormerOne(t *testing.T) {
	h := newHouse(t)
	order, ctx := h.order(), context.Background()
	for _, content := range []string{"first", "second"} {
		if err := h.Deposit(ctx, order, countersign.NewSecret(content)); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.read(order).Reveal(); got != "second" {
		t.Errorf("read %q", got)
	}
}

func TestTheEndOfADepositedSecretMovesAndARevokedOneIsNeverDepositedAgain(t *testing.T) {
	h := newHouse(t)
	order, ctx := h.order(), context.Background()
	if err := h.MoveEnd(ctx, order); countersign.ReasonOf(err) != "no-such-secret" {
		t.Errorf("the end of nothing was moved: %v", err)
	}
	if err := h.Deposit(ctx, order, countersign.NewSecret("content")); err != nil {
		t.Fatal(err)
	}
	later := order
	later.Attempt, later.Until = 2, order.Until.Add(countersign.Hour)
	for _, step := range []Order{later, order} {
		if err := h.MoveEnd(ctx, step); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.Advance(90 * time.Minute)
	h.read(later)
	for _, credential := range []countersign.CredentialID{order.Credential, h.mint.Credential()} {
		if err := h.Revoke(ctx, credential, 0); err != nil {
			t.Fatal(err)
		}
		if check, err := h.CheckCredential(ctx, credential); err != nil || check.Why != Revoked {
			t.Errorf("it is remembered as %+v, %v", check, err)
		}
		revoked := later
		revoked.Credential = credential
		if err := h.Deposit(ctx, revoked, countersign.NewSecret("content")); countersign.ReasonOf(err) != "revoked" {
			t.Errorf("deposited after its revoke: %v", err)
		}
	}
}
