package registry_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/registry"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/registry"
	"github.com/countersign/countersign/target/vault"
)

// directory answers for every holder until everybody has left.
type directory struct{ left bool }

func (d *directory) Accountable(countersign.IdentityID) bool { return !d.left }

// scene is a registry beside a vault, and holders who read their secrets once.
type scene struct {
	clock     *connectortest.Clock
	shelf     store.Shelf
	stops     *target.Stops
	directory *directory
	registry  *registry.Registry
	vault     *vault.Vault
	secrets   map[countersign.CredentialID]countersign.Secret
}

func newScene(t *testing.T) *scene {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{
		clock: connectortest.NewClock(), shelf: shelftest.New(registry.ShelfName), stops: target.NewStops(), directory: &directory{},
		secrets: map[countersign.CredentialID]countersign.Secret{},
	}
	s.registry = registry.New(s.shelf, master, s.stops, s.directory, s.clock, rand.Reader, "https://desk.example")
	s.vault = vault.New(shelftest.New(vault.ShelfName), master, s.stops, s.clock, rand.Reader, "https://desk.example")
	return s
}

func (s *scene) hands() *hands.Connector { return hands.New(s.registry, s.vault, s.clock) }

func (s *scene) serve(request *http.Request) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	for path, handler := range s.registry.Public(func(*http.Request) {}) {
		mux.Handle(path, handler)
	}
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, request)
	return recorder
}

// token signs the account in as its holder's program does; "" where it is refused.
func (s *scene) token(t *testing.T, task connector.Task) string {
	t.Helper()
	secret, read := s.secrets[task.Credential]
	if !read {
		var err error
		if secret, err = s.vault.Read(t.Context(), task.Holder, task.Credential); err != nil {
			return ""
		}
		s.secrets[task.Credential] = secret
	}
	request := httptest.NewRequest("POST", registry.TokenPath, strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(string(task.Credential), secret.Reveal())
	recorder := s.serve(request)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || (recorder.Code == http.StatusOK) != (answer.Token != "") {
		t.Fatalf("the token endpoint answers %d %s", recorder.Code, recorder.Body)
	}
	return answer.Token
}

// works verifies a token as a resource server does: signature, issuer, audience,
// time, and scope.
func (s *scene) works(t *testing.T, task connector.Task) bool {
	t.Helper()
	text := s.token(t, task)
	if text == "" {
		return false
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.serve(httptest.NewRequest("GET", registry.KeysPath, nil)).Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	var about struct {
		Client string `json:"client_id"`
		Scope  string `json:"scope"`
	}
	if err := parsed.Claims(set, &claims, &about); err != nil {
		t.Fatal(err)
	}
	expected := jwt.Expected{Issuer: "https://desk.example/targets/registry", Subject: string(task.Holder), AnyAudience: jwt.Audience{task.SystemName}, Time: s.clock.Now()}
	return claims.ValidateWithLeeway(expected, 0) == nil && about.Scope == task.Entitlement && about.Client == string(task.Credential)
}

func (s *scene) bench() *connectortest.Bench {
	return &connectortest.Bench{
		Connector: s.hands(), Clock: s.clock, Works: s.works,
		Plant: func(t *testing.T, task connector.Task) {
			secret, err := s.registry.Create(t.Context(), registry.Order{
				Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System, SystemName: task.SystemName,
				Entitlement: task.EntitlementID, Resource: task.Resource, Scope: task.Entitlement, Until: task.Until,
			})
			if err != nil {
				t.Fatal(err)
			}
			s.secrets[task.Credential] = secret
		},
		// Handing the secret over is one write more, and belongs to the first.
		Writes: func(t *testing.T, task connector.Task) int {
			item, err := s.shelf.Item(t.Context(), string(task.Credential))
			if countersign.KindOf(err) == countersign.NotFound {
				return 0
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(item.Body), `"secret"`) {
				item.Version--
			}
			return int(item.Version)
		},
	}
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench { return newScene(t).bench() })
}

func TestAnAccountThatTheDeskStopsIsNotGone(t *testing.T) {
	s := newScene(t)
	connectortest.RunStopped(t, s.hands(), s.clock, s.stops)
}

func newTask(s *scene) connector.Task {
	mint, now := countersign.NewMint([32]byte{7}, s.clock.Instant()), s.clock.Instant()
	return connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "create-account",
		Holder: mint.Identity(), HolderName: "Alex Kim", System: mint.System(), SystemName: "events", Resource: "topics",
		Entitlement: "orders:read", EntitlementID: mint.Entitlement(), Until: now.Add(countersign.Hour), Deadline: now.Add(countersign.Minute),
	}
}

func TestAnAccountThatNobodyAnswersForGetsNoTokenAndIsNotGone(t *testing.T) {
	s := newScene(t)
	task := newTask(s)
	if err := s.hands().Apply(t.Context(), task); err != nil || !s.works(t, task) {
		t.Fatalf("it does not work: %v", err)
	}
	s.directory.left = true
	if s.token(t, task) != "" {
		t.Error("an account that nobody answers for gets a token")
	}
	for _, read := range []func() (connector.Reading, error){
		func() (connector.Reading, error) { return s.hands().Verify(t.Context(), task) },
		func() (connector.Reading, error) { return s.hands().VerifyGone(t.Context(), task) },
	} {
		if reading, err := read(); err != nil || !reading.Present || !strings.Contains(reading.How, "unowned") {
			t.Errorf("it reads back as %+v, %v", reading, err)
		}
	}
	s.directory.left = false
	if !s.works(t, task) {
		t.Error("it does not work again, with an owner")
	}
	if used, err := s.hands().LastUsed(t.Context(), task.Credential); err != nil || used != s.clock.Instant() {
		t.Errorf("it was last used at %s, %v", used, err)
	}
}

// killed is a vault that takes a secret and whose answer is lost.
type killed struct{ *vault.Vault }

func (k killed) DepositOnce(ctx context.Context, order vault.Order, secret countersign.Secret) error {
	if err := k.Vault.DepositOnce(ctx, order, secret); err != nil {
		return err
	}
	return countersign.Errorf(countersign.Unavailable, "lost", "the answer was lost")
}

func TestAnApplyThatWasCutOffBetweenRegistryAndVaultGoesOnWithTheSameSecret(t *testing.T) {
	s := newScene(t)
	task := newTask(s)
	if err := hands.New(s.registry, killed{s.vault}, s.clock).Apply(t.Context(), task); err == nil {
		t.Fatal("it was not cut off")
	}
	task.Attempt, task.Until = 2, task.Until.Add(countersign.Minute)
	if err := s.hands().Apply(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	if !s.works(t, task) {
		t.Error("what the vault holds is not the account's secret")
	}
	if _, err := s.vault.Read(t.Context(), task.Holder, task.Credential); countersign.ReasonOf(err) != "secret-gone" {
		t.Errorf("the secret is read twice: %v", err)
	}
}

// overtaken is a vault that another process reaches first.
type overtaken struct {
	*vault.Vault
	first func()
}

func (o overtaken) DepositOnce(ctx context.Context, order vault.Order, secret countersign.Secret) error {
	o.first()
	return o.Vault.DepositOnce(ctx, order, secret)
}

func TestTwoProcessesWithTheSameLateIntentDepositOneSecretThatIsReadOnce(t *testing.T) {
	for name, attempt := range map[string]int{"the same attempt": 1, "a later attempt": 2} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			task := newTask(s)
			late := hands.New(s.registry, overtaken{s.vault, func() {
				other := task
				other.Attempt = attempt
				if err := s.hands().Apply(t.Context(), other); err != nil || !s.works(t, task) {
					t.Fatalf("the process that comes first: %v", err)
				}
			}}, s.clock)
			if err := late.Apply(t.Context(), task); err != nil {
				t.Fatalf("the late process: %v", err)
			}
			if _, err := s.vault.Read(t.Context(), task.Holder, task.Credential); countersign.ReasonOf(err) != "secret-gone" {
				t.Errorf("the secret is read twice: %v", err)
			}
			if !s.works(t, task) {
				t.Error("what was read does not work")
			}
		})
	}
}

func TestAScopeThatNoTokenCanCarryIsRejected(t *testing.T) {
	s := newScene(t)
	for scope, good := range map[string]bool{"orders:read": true, "read orders": false, "lesen-ü": false, `a"b`: false} {
		task := newTask(s)
		task.Entitlement = scope
		if _, err := s.hands().Plan(t.Context(), task); (err == nil) != good {
			t.Errorf("%q: %v", scope, err)
		}
	}
}
