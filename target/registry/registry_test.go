package registry

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

type moved struct{ now time.Time }

func (m *moved) Now() time.Time { return m.now }

type owned struct{ left bool }

func (o *owned) Accountable(countersign.IdentityID) bool { return !o.left }

// lab is a registry with one account.
type lab struct {
	*testing.T
	*Registry
	clock  *moved
	owned  *owned
	order  Order
	secret string
	// wrong counts the requests whose secret was wrong.
	wrong int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, clock: &moved{time.Date(2026, 11, 2, 9, 0, 0, 500_000_000, time.UTC)}, owned: &owned{}}
	l.Registry = New(shelftest.New(ShelfName), master, target.NewStops(), l.owned, l.clock, rand.Reader, "https://desk.example")
	mint := countersign.NewMint([32]byte{1}, l.now())
	l.order = Order{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Holder: mint.Identity(), System: mint.System(), SystemName: "events",
		Entitlement: mint.Entitlement(), Resource: "topics", Scope: "orders:read", Until: l.now().Add(countersign.Hour),
	}
	secret, err := l.Create(t.Context(), l.order)
	if err != nil {
		t.Fatal(err)
	}
	l.secret = secret.Reveal()
	return l
}

// ask is one request to the token endpoint; basic adds the credentials in the
// header.
func (l *lab) ask(basic bool, form url.Values) (*httptest.ResponseRecorder, map[string]any) {
	l.Helper()
	request := httptest.NewRequest("POST", TokenPath, strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		request.SetBasicAuth(string(l.order.Credential), l.secret)
	}
	return l.send(request)
}

func (l *lab) send(request *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	l.Helper()
	recorder := httptest.NewRecorder()
	mux := http.NewServeMux()
	for path, handler := range l.Public(func(*http.Request) { l.wrong++ }) {
		mux.Handle(path, handler)
	}
	mux.ServeHTTP(recorder, request)
	var answer map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		l.Fatalf("the answer is %d %q", recorder.Code, recorder.Body)
	}
	cached := "no-store"
	if keys, is := answer["keys"].([]any); is && len(keys) > 0 {
		cached = "public, max-age=3600"
	}
	if got := recorder.Header().Get("Cache-Control"); got != cached {
		l.Errorf("the answer %d may be cached: %q", recorder.Code, got)
	}
	return recorder, answer
}

func grantType(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}

func TestATokenSaysWhoseItIsForWhatAndIsVerifiedWithThePublishedKey(t *testing.T) {
	l := newLab(t)
	if _, keys := l.send(httptest.NewRequest("GET", KeysPath, nil)); len(keys["keys"].([]any)) != 0 {
		t.Errorf("before the first token there are the keys %v", keys)
	}
	recorder, answer := l.ask(true, grantType("scope", "orders:read"))
	if recorder.Code != 200 || answer["token_type"] != "Bearer" || answer["expires_in"] != 300.0 || answer["scope"] != "orders:read" {
		t.Fatalf("got %d %v", recorder.Code, answer)
	}
	recorder, answer = l.ask(false, grantType("client_id", string(l.order.Credential), "client_secret", l.secret, "scope", ""))
	if recorder.Code != 200 {
		t.Fatalf("with the credentials in the body: %d %v", recorder.Code, answer)
	}
	_, described := l.send(httptest.NewRequest("GET", MetadataPath, nil))
	issuer, _ := described["issuer"].(string)
	// RFC 8414: the metadata stand at a place that the issuer gives, and name it.
	if address, err := url.Parse(issuer); err != nil || "/.well-known/oauth-authorization-server"+address.Path != MetadataPath || described["token_endpoint"] != "https://desk.example"+TokenPath {
		t.Errorf("the metadata say %v", described)
	}
	keysAt, err := url.Parse(described["jwks_uri"].(string))
	if err != nil {
		t.Fatal(err)
	}
	published, content := l.send(httptest.NewRequest("GET", keysAt.Path, nil))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(published.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 || !set.Keys[0].IsPublic() || !set.Keys[0].Valid() {
		t.Fatalf("the keys are %v, %v", content, err)
	}
	parsed, err := jwt.ParseSigned(answer["access_token"].(string), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || parsed.Headers[0].KeyID != set.Keys[0].KeyID || parsed.Headers[0].ExtraHeaders["typ"] != "at+jwt" {
		t.Fatalf("the token is %+v, %v", parsed, err)
	}
	var got claims
	if err := parsed.Claims(set, &got); err != nil {
		t.Fatal(err)
	}
	if got.Issuer != issuer || got.Subject != string(l.order.Holder) || got.ClientID != string(l.order.Credential) || got.Scope != "orders:read" ||
		!got.Audience.Contains("events") || got.ID == "" || got.Expiry.Time().Sub(got.IssuedAt.Time()) != 5*time.Minute {
		t.Errorf("it says %+v", got)
	}
}

func TestNoTokenOutlivesItsAccount(t *testing.T) {
	l := newLab(t)
	l.clock.now = l.clock.now.Add(time.Hour - 90*time.Second)
	if _, answer := l.ask(true, grantType()); answer["expires_in"] != 90.0 {
		t.Errorf("ninety seconds before the end: %v", answer)
	}
	l.clock.now = l.clock.now.Add(90*time.Second - time.Millisecond)
	if recorder, answer := l.ask(true, grantType()); recorder.Code != 401 || answer["error"] != invalidClient {
		t.Errorf("a millisecond before the end: %v", answer)
	}
}

func TestWhatIsWrongIsAnsweredAsTheStandardSays(t *testing.T) {
	l := newLab(t)
	id := string(l.order.Credential)
	for name, c := range map[string]struct {
		basic  bool
		form   url.Values
		status int
		code   string
	}{
		"no credentials":         {false, grantType(), 401, invalidClient},
		"no secret":              {false, grantType("client_id", id), 401, invalidClient},
		"a wrong secret":         {false, grantType("client_id", id, "client_secret", l.secret+"x"), 401, invalidClient},
		"an empty secret":        {false, grantType("client_id", id, "client_secret", ""), 401, invalidClient},
		"an unknown client":      {false, grantType("client_id", "crd_01h455vb4pex5vsknk084sn02q", "client_secret", l.secret), 401, invalidClient},
		"an unknown name":        {false, grantType("client_id", "signing-key", "client_secret", l.secret), 401, invalidClient},
		"credentials twice":      {true, grantType("client_id", id, "client_secret", l.secret), 400, invalidRequest},
		"another client id":      {true, grantType("client_id", "crd_01h455vb4pex5vsknk084sn02q"), 400, invalidRequest},
		"no grant type":          {true, url.Values{}, 400, invalidRequest},
		"another grant type":     {true, url.Values{"grant_type": {"password"}}, 400, unsupportedGrantType},
		"a parameter twice":      {true, grantType("scope", "orders:read", "scope", "orders:read"), 400, invalidRequest},
		"a wider scope":          {true, grantType("scope", "orders:read payments:read"), 400, invalidScope},
		"another scope":          {true, grantType("scope", "orders:write"), 400, invalidScope},
		"a body that is too big": {true, grantType("scope", strings.Repeat("x", maxBody)), 400, invalidRequest},
	} {
		recorder, answer := l.ask(c.basic, c.form)
		challenged := strings.HasPrefix(recorder.Header().Get("WWW-Authenticate"), "Basic ")
		guessed := strings.HasPrefix(name, "a wrong") || strings.HasPrefix(name, "an unknown")
		if guessed != (l.wrong == 1) {
			t.Errorf("%s: counts as %d wrong secrets", name, l.wrong)
		}
		l.wrong = 0
		if recorder.Code != c.status || answer["error"] != c.code || challenged != (c.status == 401) || strings.Contains(recorder.Body.String(), l.secret) {
			t.Errorf("%s: got %d %v", name, recorder.Code, answer)
		}
	}
	for _, request := range []*http.Request{
		httptest.NewRequest("POST", TokenPath, strings.NewReader(`{"grant_type":"client_credentials"}`)), httptest.NewRequest("POST", TokenPath, nil),
	} {
		if recorder, answer := l.send(request); recorder.Code != 400 || answer["error"] != invalidRequest {
			t.Errorf("no form: got %d %v", recorder.Code, answer)
		}
	}
	if recorder, _ := l.send(httptest.NewRequest("GET", TokenPath, nil)); recorder.Code != 405 || recorder.Header().Get("Allow") != "POST" {
		t.Errorf("GET: got %d", recorder.Code)
	}
	bearer := httptest.NewRequest("POST", TokenPath, strings.NewReader(grantType().Encode()))
	bearer.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	bearer.Header.Set("Authorization", "Bearer something")
	if recorder, answer := l.send(bearer); recorder.Code != 401 || answer["error"] != invalidClient {
		t.Errorf("a bearer token: got %d %v", recorder.Code, answer)
	}
}

func TestAStopRefusesTheTokenFromThatMomentOn(t *testing.T) {
	for name, stop := range map[string]func(l *lab) error{
		"holder":      func(l *lab) error { return stopped(l, l.order.Holder) },
		"system":      func(l *lab) error { return stopped(l, l.order.System) },
		"entitlement": func(l *lab) error { return stopped(l, l.order.Entitlement) },
		"grant":       func(l *lab) error { return stopped(l, l.order.Grant) },
		"credential":  func(l *lab) error { return stopped(l, l.order.Credential) },
		"unowned":     func(l *lab) error { l.owned.left = true; return nil },
		"revoked":     func(l *lab) error { return l.Revoke(l.Context(), l.order.Credential, 0) },
	} {
		l := newLab(t)
		if recorder, answer := l.ask(true, grantType()); recorder.Code != 200 {
			t.Fatalf("%s: before, got %v", name, answer)
		}
		if err := stop(l); err != nil {
			t.Fatal(err)
		}
		if recorder, answer := l.ask(true, grantType()); recorder.Code != 401 || answer["error"] != invalidClient {
			t.Errorf("%s: got %d %v", name, recorder.Code, answer)
		}
		if l.wrong != 0 {
			t.Errorf("%s: the right secret counts as wrong", name)
		}
	}
	l := newLab(t)
	l.stops.SetUnfit("the clock is off")
	if recorder, answer := l.ask(true, grantType()); recorder.Code != 503 || answer["access_token"] != nil {
		t.Errorf("with the clock off: got %d %v", recorder.Code, answer)
	}
}

func stopped[T countersign.IdentityID | countersign.SystemID | countersign.EntitlementID | countersign.GrantID | countersign.CredentialID](l *lab, id T) error {
	small, err := target.ParseID(id)
	l.stops.Stop(small, target.Held)
	return err
}

func TestTheSecretAndTheSigningKeyAreNowhereInTheClear(t *testing.T) {
	l := newLab(t)
	l.ask(true, grantType())
	clear := func(item store.Item) bool {
		return strings.Contains(string(item.Body), l.secret) || strings.Contains(string(item.Body), `"d":`)
	}
	items, err := l.shelf.Items(t.Context(), "", "", 100)
	if err != nil || len(items) < 3 {
		t.Fatalf("there are %d items, %v", len(items), err)
	}
	for _, item := range items {
		if clear(item) {
			t.Errorf("the item %s has it: %s", item.Key, item.Body)
		}
	}
	if err := l.HandedOver(t.Context(), l.order.Credential, 0); err != nil {
		t.Fatal(err)
	}
	if again, err := l.Create(t.Context(), l.order); err != nil || again.Reveal() != "" {
		t.Errorf("the secret is given after it was handed over: %v", err)
	}
	if recorder, _ := l.ask(true, grantType()); recorder.Code != 200 {
		t.Errorf("after that it does not work: %d", recorder.Code)
	}
}
