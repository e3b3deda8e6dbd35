package registry

import (
	"crypto/rand"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

// counting is a master key that counts what it is asked for.
type counting struct {
	keys.Master
	unwrapped atomic.Int32
}

func (c *counting) Unwrap(wrapped keys.Wrapped, context string) ([]byte, error) {
	c.unwrapped.Add(1)
	return c.Master.Unwrap(wrapped, context)
}

func TestTheSigningKeyIsUnwrappedOnceForAllTokens(t *testing.T) {
	l := newLab(t)
	asked := &counting{Master: l.master}
	l.master = asked
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if recorder, _ := l.ask(true, grantType()); recorder.Code != 200 {
				t.Errorf("got %d", recorder.Code)
			}
		})
	}
	all.Wait()
	if count := asked.unwrapped.Load(); count != 1 {
		t.Errorf("it was unwrapped %d times", count)
	}
}

// published are the ids of the keys that verifiers read now, sorted.
func (l *lab) published() []string {
	l.Helper()
	recorder, _ := l.send(httptest.NewRequest("GET", KeysPath, nil))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(recorder.Body.Bytes(), &set); err != nil {
		l.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		if !key.IsPublic() {
			l.Fatalf("the key %s is published with its secret", key.KeyID)
		}
		ids = append(ids, key.KeyID)
	}
	slices.Sort(ids)
	return ids
}

// signs is the id of the key that the account's next token names.
func (l *lab) signs() string {
	l.Helper()
	recorder, answer := l.ask(true, grantType())
	if recorder.Code != 200 {
		l.Fatalf("got %d %v", recorder.Code, answer)
	}
	parsed, err := jwt.ParseSigned(answer["access_token"].(string), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		l.Fatal(err)
	}
	return parsed.Headers[0].KeyID
}

func (l *lab) renew() {
	l.Helper()
	if err := l.Renew(l.Context()); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) pass(seconds countersign.Seconds) { l.clock.now = l.now().Add(seconds).Time() }

// longLived is a lab whose account lives for a year.
func longLived(t *testing.T) *lab {
	l := newLab(t)
	l.order.Attempt, l.order.Until = 2, l.now().Add(365*countersign.Day)
	if _, err := l.Create(t.Context(), l.order); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestASigningKeyIsPublishedBeforeItSignsAndUntilItsLastTokenIsOver(t *testing.T) {
	l := longLived(t)
	l.renew()
	if keys := l.published(); len(keys) != 0 {
		t.Fatalf("before the first token there are the keys %v", keys)
	}
	first := l.signs()
	l.pass(KeyAge - 1)
	l.renew()
	if keys := l.published(); !slices.Equal(keys, []string{first}) {
		t.Fatalf("before its time it is renewed: %v", keys)
	}

	// What a verifier reads just before the next key is there serves it until that signs.
	read := l.published()
	l.pass(1)
	l.renew()
	l.renew()
	both := l.published()
	if len(both) != 2 || !slices.Contains(both, first) {
		t.Fatalf("published are %v", both)
	}
	l.pass(KeysLife)
	if key := l.signs(); !slices.Contains(read, key) {
		t.Errorf("after %s it signs with %s, which who read the keys before does not know", KeysLife, key)
	}
	// The next key takes over at its time, whether anything was written or not.
	l.pass(TokenLife)
	second := l.signs()
	if second == first || !slices.Contains(both, second) {
		t.Errorf("it signs with %s", second)
	}
	if l.unsealed.key != second {
		t.Errorf("the process keeps %s unwrapped", l.unsealed.key)
	}
	l.renew()
	if item, _ := l.shelf.Item(t.Context(), signingKeyItem); strings.Count(string(item.Body), `"secret"`) != 1 {
		t.Errorf("the secret of the retired key is not destroyed: %s", item.Body)
	}
	// The last token of the first key was signed a moment before the second took over.
	l.pass(TokenLife)
	l.renew()
	if keys := l.published(); !slices.Equal(keys, both) {
		t.Errorf("while its last token works, published are %v", keys)
	}
	l.pass(leeway)
	if keys := l.published(); !slices.Equal(keys, []string{second}) {
		t.Errorf("after its last token, published are %v", keys)
	}
	l.renew()
	if item, _ := l.shelf.Item(t.Context(), signingKeyItem); strings.Contains(string(item.Body), first) || l.signs() != second {
		t.Errorf("the retired key is still there: %s", item.Body)
	}

	var kinds []string
	for _, event := range l.shelf.(*shelftest.Shelf).Events(countersign.StreamHouse) {
		kinds = append(kinds, event.Header.Kind)
	}
	if !slices.Equal(kinds, []string{"registry.signing-key-published@1", "registry.signing-key-retired@1"}) {
		t.Errorf("the house's stream has %v", kinds)
	}
}

func TestOfManyProcessesThatRenewTheKeyOneWins(t *testing.T) {
	l := longLived(t)
	first := l.signs()
	together := func() {
		var all sync.WaitGroup
		for range 8 {
			other := New(l.shelf, l.master, l.stops, l.owned, l.clock, rand.Reader, "https://desk.example")
			all.Go(func() {
				if err := other.Renew(t.Context()); err != nil && countersign.ReasonOf(err) != "busy" {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	l.pass(KeyAge)
	together()
	both := l.published()
	if len(both) != 2 {
		t.Fatalf("published are %v", both)
	}
	l.pass(publishedAhead)
	together()
	if second := l.signs(); second == first || !slices.Contains(both, second) || !slices.Equal(l.published(), both) {
		t.Errorf("it signs with %s, and published are %v", second, l.published())
	}
	if count := len(l.shelf.(*shelftest.Shelf).Events(countersign.StreamHouse)); count != 2 {
		t.Errorf("there are %d events", count)
	}
}

func TestTheHostRotatesTheKeyBeforeItsTimeAndOnceAtATime(t *testing.T) {
	l := longLived(t)
	if _, err := l.Rotate(t.Context(), "root"); countersign.ReasonOf(err) != "no-signing-key" {
		t.Errorf("without a key: %v", err)
	}
	first := l.signs()
	from, err := l.Rotate(t.Context(), "root")
	if err != nil || from != l.now().Add(publishedAhead) {
		t.Fatalf("it signs from %s, %v", from, err)
	}
	if _, err := l.Rotate(t.Context(), "root"); countersign.ReasonOf(err) != "key-being-rotated" {
		t.Errorf("twice: %v", err)
	}
	l.pass(publishedAhead - 1)
	if l.signs() != first {
		t.Error("it signs too early")
	}
	l.pass(1)
	if l.signs() == first {
		t.Error("it does not sign in time")
	}
	// Its age counts from when it signs.
	l.renew()
	l.pass(KeyAge - 1)
	l.renew()
	if keys := l.published(); len(keys) != 1 {
		t.Errorf("before its time it is renewed: %v", keys)
	}
	l.pass(1)
	l.renew()
	if keys := l.published(); len(keys) != 2 {
		t.Errorf("at its time it is not renewed: %v", keys)
	}
}

// A key that an earlier version made has nothing but itself.
func TestAKeyOfAnEarlierVersionIsRenewed(t *testing.T) {
	l := longLived(t)
	made, err := l.newKey(l.now())
	if err != nil {
		t.Fatal(err)
	}
	put, err := target.Next(store.Item{Key: signingKeyItem}, struct {
		Public jose.JSONWebKey     `json:"public"`
		Secret keys.Sealed         `json:"secret"`
		MadeAt countersign.Instant `json:"made_at"`
	}{made.Public, made.Secret, made.MadeAt})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.shelf.Commit(t.Context(), store.ShelfChange{Now: l.now(), Puts: []store.Item{put}}); err != nil {
		t.Fatal(err)
	}
	if l.signs() != made.Public.KeyID {
		t.Fatal("it does not sign")
	}
	l.pass(KeyAge)
	l.renew()
	l.pass(publishedAhead)
	if l.signs() == made.Public.KeyID {
		t.Error("it is not renewed")
	}
}
