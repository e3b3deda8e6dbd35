package auth_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/store/shelftest"
)

type house struct {
	*auth.Tokens
	shelf *shelftest.Shelf
	clock *connectortest.Clock
}

func newHouse() house {
	shelf, clock := shelftest.New(auth.ShelfName), connectortest.NewClock()
	return house{auth.New(shelf, clock, rand.Reader), shelf, clock}
}

// identity is a well-formed id that differs by n.
func identity(n byte) countersign.IdentityID {
	return countersign.NewMint([32]byte{n}, 1).Identity()
}

func order(who countersign.IdentityID) auth.Order {
	return auth.Order{Identity: who, Login: "laura.schmidt", Scopes: []auth.Scope{auth.Read, auth.Decide}, Duration: countersign.Hour, OperatingSystemUser: "root"}
}

func (h house) issue(t testing.TB, order auth.Order) (countersign.Secret, auth.Token) {
	t.Helper()
	text, token, err := h.Issue(t.Context(), order)
	if err != nil {
		t.Fatal(err)
	}
	return text, token
}

func wantReason(t *testing.T, err error, kind countersign.Kind, reason string) {
	t.Helper()
	if countersign.KindOf(err) != kind || countersign.ReasonOf(err) != reason {
		t.Errorf("got %s %s (%v), want %s %s", countersign.KindOf(err), countersign.ReasonOf(err), err, kind, reason)
	}
}

func TestATokenSaysWhoItsBearerIs(t *testing.T) {
	h := newHouse()
	text, issued := h.issue(t, order(identity(1)))
	seen, err := h.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if seen.ID != issued.ID || seen.Identity != identity(1) || seen.OperatingSystemUser != "root" {
		t.Errorf("the token says %+v", seen)
	}
	if seen.Issuer != auth.HostIssuer || seen.Strength != auth.HostStrength {
		t.Errorf("issuer and strength are %q and %q", seen.Issuer, seen.Strength)
	}
	if !seen.Has(auth.Decide) || seen.Has(auth.Grant) {
		t.Errorf("the scopes are %v", seen.Scopes)
	}
}

func TestATokenEndsExactlyAtItsEnd(t *testing.T) {
	h := newHouse()
	text, token := h.issue(t, order(identity(1)))
	h.clock.Advance(countersign.Hour.Duration() - 1e6)
	if _, err := h.Authenticate(t.Context(), text); err != nil {
		t.Errorf("one millisecond before its end the token is refused: %v", err)
	}
	h.clock.Advance(1e6)
	_, err := h.Authenticate(t.Context(), text)
	wantReason(t, err, countersign.Unauthenticated, "token-unknown-or-expired")
	if tokens, err := h.List(t.Context(), identity(1)); err != nil || len(tokens) != 0 {
		t.Errorf("an expired token is listed: %v, %v", tokens, err)
	}
	err = h.Revoke(t.Context(), token.ID, identity(1))
	wantReason(t, err, countersign.NotFound, "no-such-token")
}

func TestARevokedTokenNeverWorksAgain(t *testing.T) {
	h := newHouse()
	text, token := h.issue(t, order(identity(1)))
	other, _ := h.issue(t, order(identity(1)))
	if err := h.Revoke(t.Context(), token.ID, identity(1)); err != nil {
		t.Fatal(err)
	}
	_, err := h.Authenticate(t.Context(), text)
	wantReason(t, err, countersign.Unauthenticated, "token-unknown-or-expired")
	if _, err := h.Authenticate(t.Context(), other); err != nil {
		t.Errorf("the person's other token is refused, too: %v", err)
	}
}

func TestOnlyItsOwnIdentityRevokesAToken(t *testing.T) {
	h := newHouse()
	text, token := h.issue(t, order(identity(1)))
	err := h.Revoke(t.Context(), token.ID, identity(2))
	wantReason(t, err, countersign.NotFound, "no-such-token")
	if _, err := h.Authenticate(t.Context(), text); err != nil {
		t.Errorf("the token is refused although nobody revoked it: %v", err)
	}
}

func TestWhatIsNoTokenIsRefusedByName(t *testing.T) {
	h := newHouse()
	text, _ := h.issue(t, order(identity(1)))
	good := text.Reveal()
	stranger := newHouse()
	unknown, _ := stranger.issue(t, order(identity(1)))
	for _, test := range []struct{ name, bearer, reason string }{
		{"nothing", "", "token-missing"},
		{"another word", "hunter2", "token-malformed"},
		{"one letter short", good[:len(good)-1], "token-malformed"},
		{"one letter more", good + "0", "token-malformed"},
		{"a blank behind it", good + " ", "token-malformed"},
		{"another case", strings.ToUpper(good), "token-malformed"},
		{"a typing error", typingError(good), "token-malformed"},
		{"a vault's key", "csk_" + good[4:], "token-malformed"},
		{"a token of another house", unknown.Reveal(), "token-unknown-or-expired"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := h.Authenticate(t.Context(), countersign.NewSecret(test.bearer))
			wantReason(t, err, countersign.Unauthenticated, test.reason)
		})
	}
}

func typingError(text string) string {
	changed := []byte(text)
	if changed[20] == 'x' {
		changed[20] = 'y'
	} else {
		changed[20] = 'x'
	}
	return string(changed)
}

func TestAnOrderThatTheHostMayNotGiveIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*auth.Order)
		reason string
	}{
		{"longer than an hour", func(o *auth.Order) { o.Duration++ }, "duration-not-offered"},
		{"no duration", func(o *auth.Order) { o.Duration = 0 }, "duration-not-offered"},
		{"an end in the past", func(o *auth.Order) { o.Duration = -1 }, "duration-not-offered"},
		{"nobody", func(o *auth.Order) { o.Identity = "" }, "malformed-id"},
		{"the system itself", func(o *auth.Order) { o.Identity = "system:timer" }, "malformed-id"},
		{"no scope", func(o *auth.Order) { o.Scopes = nil }, "no-scope"},
		{"an unknown scope", func(o *auth.Order) { o.Scopes = []auth.Scope{"admin"} }, "unknown-scope"},
		{"an unknown scope beside all", func(o *auth.Order) { o.Scopes = []auth.Scope{"all", "admin"} }, "unknown-scope"},
		{"no user of the host", func(o *auth.Order) { o.OperatingSystemUser = "" }, "operating-system-user-missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse()
			wrong := order(identity(1))
			test.change(&wrong)
			_, _, err := h.Issue(t.Context(), wrong)
			wantReason(t, err, countersign.Invalid, test.reason)
			if events := h.shelf.Events(countersign.StreamHouse); len(events) != 0 {
				t.Errorf("a refused order left %d events", len(events))
			}
		})
	}
}

func TestAllStandsForEveryScope(t *testing.T) {
	scopes, err := auth.ParseScopes([]string{"read", "all"})
	if err != nil || !slices.Equal(scopes, auth.Scopes) {
		t.Errorf("got %v, %v", scopes, err)
	}
	scopes, err = auth.ParseScopes([]string{"decide", "read", "decide"})
	if err != nil || !slices.Equal(scopes, []auth.Scope{auth.Read, auth.Decide}) {
		t.Errorf("got %v, %v", scopes, err)
	}
}

func TestIssuingAndRevokingAreEventsOfTheHouse(t *testing.T) {
	h := newHouse()
	_, token := h.issue(t, order(identity(1)))
	if err := h.Revoke(t.Context(), token.ID, identity(1)); err != nil {
		t.Fatal(err)
	}
	events := h.shelf.Events(countersign.StreamHouse)
	if len(events) != 2 {
		t.Fatalf("got %d events, want 2", len(events))
	}
	registry := countersign.PayloadRegistry{}.Register(&auth.TokenIssued{}, &auth.TokenRevoked{})
	first, err := registry.Decode(events[0])
	if err != nil {
		t.Fatal(err)
	}
	issued := first.(*auth.TokenIssued)
	if events[0].Header.Actor != countersign.SystemHost || issued.Change.Token != token.ID || issued.Change.ExpiresAt != token.ExpiresAt ||
		*issued.Subject != (auth.TokenIssuedSubject{OperatingSystemUser: "root", Login: "laura.schmidt"}) {
		t.Errorf("the first event is %+v by %s", issued, events[0].Header.Actor)
	}
	second, err := registry.Decode(events[1])
	if err != nil {
		t.Fatal(err)
	}
	if revoked := second.(*auth.TokenRevoked); events[1].Header.Actor != countersign.Actor(identity(1)) || revoked.Change.Token != token.ID {
		t.Errorf("the second event is %+v by %s", revoked, events[1].Header.Actor)
	}
}

func TestNamesOfPeopleStandOnlyInWhatCanBeErased(t *testing.T) {
	h := newHouse()
	h.issue(t, order(identity(1)))
	for _, value := range h.shelf.Events(countersign.StreamHouse)[0].Values {
		if value.Group == countersign.ValueSubject {
			continue
		}
		for _, name := range []string{"laura", "root"} {
			if bytes.Contains(value.Bytes, []byte(name)) {
				t.Errorf("the group %s holds %q: %s", value.Group, name, value.Bytes)
			}
		}
	}
}

func TestAListHoldsTheTokensOfOneIdentity(t *testing.T) {
	h := newHouse()
	_, mine := h.issue(t, order(identity(1)))
	h.issue(t, order(identity(2)))
	tokens, err := h.List(t.Context(), identity(1))
	if err != nil || len(tokens) != 1 || tokens[0].ID != mine.ID {
		t.Errorf("got %v, %v", tokens, err)
	}
}

func TestExpiredTokensLeaveTheShelfWithTheNextOrder(t *testing.T) {
	h := newHouse()
	h.issue(t, order(identity(1)))
	h.issue(t, order(identity(2)))
	h.clock.Advance(2 * countersign.Hour.Duration())
	h.issue(t, order(identity(1)))
	items, err := h.shelf.Items(t.Context(), "", "", 10)
	if err != nil || len(items) != 2 {
		t.Errorf("the shelf holds %d items, %v; want one new and one of another identity", len(items), err)
	}
}

// The text of a token leaves once, with Issue; nothing that is kept, logged or
// said holds it, whatever is done with the token.
func TestTheTextOfATokenIsKeptNowhere(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := newHouse()
		var log bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&log, nil))
		var texts []string
		var tokens []auth.Token
		for range rapid.IntRange(1, 8).Draw(r, "steps") {
			var err error
			switch step := rapid.SampledFrom([]string{"issue", "authenticate", "mistype", "revoke", "wait"}).Draw(r, "step"); {
			case step == "issue" || len(tokens) == 0:
				var text countersign.Secret
				var token auth.Token
				text, token, err = h.Issue(t.Context(), order(identity(1)))
				texts, tokens = append(texts, text.Reveal()), append(tokens, token)
				logger.Info("issued", "text", text, "token", token, "formatted", fmt.Sprintf("%v %+v %#v", text, text, text))
			case step == "authenticate":
				_, err = h.Authenticate(t.Context(), countersign.NewSecret(rapid.SampledFrom(texts).Draw(r, "text")))
			case step == "mistype":
				wrong := typingError(rapid.SampledFrom(texts).Draw(r, "text"))
				texts = append(texts, wrong)
				_, err = h.Authenticate(t.Context(), countersign.NewSecret(wrong))
			case step == "revoke":
				err = h.Revoke(t.Context(), rapid.SampledFrom(tokens).Draw(r, "token").ID, identity(1))
			case step == "wait":
				h.clock.Advance(countersign.Hour.Duration() / 2)
			}
			logger.Info("step", "error", err)
		}
		items, err := h.shelf.Items(t.Context(), "", "", 100)
		if err != nil {
			r.Fatal(err)
		}
		kept, err := json.Marshal(struct{ Items, Tokens any }{items, tokens})
		if err != nil {
			r.Fatal(err)
		}
		for _, item := range items {
			kept = append(kept, item.Body...)
		}
		for _, event := range h.shelf.Events(countersign.StreamHouse) {
			for _, value := range event.Values {
				kept = append(kept, value.Bytes...)
			}
		}
		for _, text := range texts {
			if strings.Contains(log.String(), text[:20]) || bytes.Contains(kept, []byte(text[:20])) {
				r.Fatalf("the text of a token is kept or was logged")
			}
		}
	})
}

func TestTokensAreFoundByScannersAndDiffer(t *testing.T) {
	h := newHouse()
	seen := map[string]bool{}
	for range 200 {
		text, _ := h.issue(t, order(identity(1)))
		if !auth.LooksLikeToken(text.Reveal()) || seen[text.Reveal()] {
			t.Fatalf("a token has the wrong form or came twice")
		}
		seen[text.Reveal()] = true
	}
}

// A token of very few bits still has its full width.
func TestATokenOfZerosHasItsFullWidth(t *testing.T) {
	tokens := auth.New(shelftest.New(auth.ShelfName), connectortest.NewClock(), zeros{})
	text, _, err := tokens.Issue(t.Context(), order(identity(1)))
	if err != nil || len(text.Reveal()) != 53 || !auth.LooksLikeToken(text.Reveal()) {
		t.Errorf("got %d characters, %v", len(text.Reveal()), err)
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) { clear(into); return len(into), nil }
