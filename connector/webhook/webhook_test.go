package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/connector/webhook"
	"github.com/countersign/countersign/connector/wire"
)

var key = []byte("0123456789abcdef0123456789abcdef")
var secret = countersign.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(key))

var description = wire.Description{
	Actions: []string{"apply"}, Kind: countersign.RoleKind, Rotates: true, Extends: true,
	EnforcesExpiryItself: true, EndsSessions: true, IdempotentRevoke: true,
}

// receiver is the worked example: it checks the signature and carries the
// question out on its target.
func receiver(target *noop.Connector) http.Handler {
	type named struct{ ID, Name string }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || !hmac.Equal([]byte(want), []byte(r.Header.Get("webhook-signature"))) {
			http.Error(w, "the signature does not fit", http.StatusUnauthorized)
			return
		}
		var question struct {
			Operation string
			Task      struct {
				connector.Task
				Holder, System, Entitlement named
			}
		}
		if err := json.Unmarshal(body, &question); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asked := question.Task
		task := asked.Task
		task.Holder, task.HolderName = countersign.IdentityID(asked.Holder.ID), asked.Holder.Name
		task.System, task.SystemName = countersign.SystemID(asked.System.ID), asked.System.Name
		task.EntitlementID, task.Entitlement = countersign.EntitlementID(asked.Entitlement.ID), asked.Entitlement.Name
		answer := map[string]any{"answer": "done"}
		read := func(look func(context.Context, connector.Task) (connector.Reading, error)) {
			reading, _ := look(r.Context(), task)
			answer = map[string]any{"answer": "reading", "present": reading.Present, "how": reading.How}
			if reading.Present {
				answer["until"], answer["reference"] = reading.Until, reading.Reference
				answer["holder"], answer["system"], answer["resource"], answer["entitlement"] = task.Holder, task.SystemName, task.Resource, task.Entitlement
			}
		}
		switch question.Operation {
		case "describe":
			content, _ := json.Marshal(description)
			err = json.Unmarshal(content, &answer)
			answer["answer"] = "description"
		case "plan":
			answer = map[string]any{"answer": "plan", "effect": "an entry in the map"}
		case "apply":
			err = target.Apply(r.Context(), task)
		case "revoke":
			err = target.Revoke(r.Context(), task)
		case "verify":
			read(target.Verify)
		case "verify-gone":
			read(target.VerifyGone)
		}
		var failure *connector.Failure
		if errors.As(err, &failure) {
			answer = map[string]any{"answer": failure.Kind, "message": failure.Message}
			if failure.Kind != connector.Rejected {
				answer["retry_after"] = failure.After
			}
		}
		answer["protocol"] = 1
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func open(t *testing.T, handler http.Handler, clock connector.Clock) wire.Hands {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	made, err := webhook.New("remote", webhook.Settings{URL: server.URL, Describe: description}, secret, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		clock := connectortest.NewClock()
		target := noop.New(clock, countersign.RoleKind)
		made := open(t, receiver(target), clock)
		if err := made.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		return &connectortest.Bench{
			// What it is told of says nothing of an inventory; a program of exec shows that.
			CannotList: true,
			Connector:  made, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool {
				reading, err := target.Verify(t.Context(), task)
				return err == nil && reading.Present
			},
			Plant:  func(_ *testing.T, task connector.Task) { target.Put(task) },
			Writes: func(_ *testing.T, task connector.Task) int { return target.Effects(task.Intent) },
		}
	})
}

func TestWhatAStatusMeans(t *testing.T) {
	for status, want := range map[int]connector.FailureKind{429: connector.Throttled, 503: connector.Transient, 408: connector.Transient, 403: connector.Rejected, 302: connector.Rejected} {
		clock := connectortest.NewClock()
		made := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}), clock)
		mint := countersign.NewMint([32]byte{4}, clock.Instant())
		err := made.Revoke(t.Context(), connector.Task{Intent: mint.Intent(), Credential: mint.Credential(), Attempt: 1})
		var failure *connector.Failure
		if !errors.As(err, &failure) || failure.Kind != want || failure.After != 9 {
			t.Errorf("%d: got %v, want %s after 9 s", status, err, want)
		}
	}
}

func TestATimeoutAfterTheEffectIsOneEffect(t *testing.T) {
	clock := connectortest.NewClock()
	target := noop.New(clock, countersign.RoleKind)
	made := open(t, receiver(target), clock)
	mint := countersign.NewMint([32]byte{4}, clock.Instant())
	task := connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "apply",
		Holder: mint.Identity(), System: mint.System(), SystemName: "billing", Resource: "invoices", Entitlement: "reader",
	}
	target.SetFaults(noop.Faults{TimeOut: 1})
	if err := made.Apply(t.Context(), task); err == nil {
		t.Error("a timeout passes for success")
	}
	if err := made.Apply(t.Context(), task); err != nil || target.Total() != 1 {
		t.Errorf("got %v and %d effects, want one", err, target.Total())
	}
}

func TestAnAddressOrSecretThatIsNotSafeIsNamed(t *testing.T) {
	for name, test := range map[string]struct{ url, secret, setting string }{
		"in the clear": {"http://10.0.0.1/a", secret.Reveal(), "connectors/remote/url"},
		"with a user":  {"https://a:b@x.example/", secret.Reveal(), "connectors/remote/url"},
		"short secret": {"https://x.example/", "whsec_QQ==", "connectors/remote/secret_file"},
	} {
		_, err := webhook.New("remote", webhook.Settings{URL: test.url, Describe: description}, countersign.NewSecret(test.secret), nil, connectortest.NewClock())
		if err == nil || !strings.HasPrefix(err.Error(), test.setting) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAProgramIsGivenTheParametersThatItTakesAndNoOthers(t *testing.T) {
	clock := connectortest.NewClock()
	var told map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var question struct {
			Task struct {
				Parameters map[string]string `json:"parameters"`
			} `json:"task"`
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
			t.Error(err)
		}
		told = question.Task.Parameters
		_ = json.NewEncoder(w).Encode(map[string]any{"protocol": 1, "answer": "plan", "effect": "a certificate"})
	}))
	t.Cleanup(server.Close)
	takes := description
	takes.Parameters = []string{"csr"}
	made, err := webhook.New("remote", webhook.Settings{URL: server.URL, Describe: takes}, secret, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	mint := countersign.NewMint([32]byte{4}, clock.Instant())
	task := connector.Task{
		Action: "apply", Holder: mint.Identity(), System: mint.System(), SystemName: "certificates", Resource: "servers",
		Entitlement: "shop.example", Parameters: map[string]string{"csr": "-----BEGIN"},
	}
	if _, err := made.Plan(t.Context(), task); err != nil || told["csr"] != "-----BEGIN" {
		t.Errorf("the program was told %q: %v", told, err)
	}
	task.Parameters["size"] = "large"
	var failure *connector.Failure
	if _, err := made.Plan(t.Context(), task); !errors.As(err, &failure) || failure.Kind != connector.Rejected || !strings.Contains(failure.Message, `no parameter "size": it takes csr`) {
		t.Errorf("what it does not take gives %v", err)
	}
}
