package cli

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/httpapi"
)

func TestOnlyATokenThatReadsReadsSecrets(t *testing.T) {
	h, _, err := house.Start(t.Context(), house.Place{Data: filepath.Join(t.TempDir(), "house")}, nil, house.Options{
		Clock: clock{}, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Store.Close()
	handler := doors(h, testDoors(clock{}))
	const login = "ben.adeyemi"
	identity, _ := h.Desk.Resolve(login)
	for scope, lacks := range map[string]bool{"introspect": true, "evaluate": true, "read": false} {
		token, err := issueToken(t.Context(), h, identity, login, []string{scope}, countersign.Hour)
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, "/targets/vault/secrets/crd_x/read", nil)
		request.Header.Set("Authorization", "Bearer "+token.Reveal())
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if got := strings.Contains(answer.Body.String(), "missing-scope"); got != lacks {
			t.Errorf("with the scope %s: %d %s", scope, answer.Code, answer.Body)
		}
	}
}

func TestGuessedClientSecretsCountAsFailedSignInsOfTheirAddress(t *testing.T) {
	s := newHouse(t, nil)
	options := testDoors(s.clock)
	options.limits.SignIn = httpapi.Rate{Count: 3, Per: time.Minute}
	handler := doors(s.House, options)
	guess := func(address string) int {
		request := httptest.NewRequest(http.MethodPost, "/targets/registry/token", strings.NewReader("grant_type=client_credentials"))
		request.RemoteAddr = address
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth("crd_01h455vb4pex5vsknk084sn02q", "csc_guess")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Code
	}
	for i, want := range []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests} {
		if got := guess("192.0.2.1:9"); got != want {
			t.Errorf("guess %d: %d, want %d", i+1, got, want)
		}
	}
	if got := guess("192.0.2.2:9"); got != http.StatusUnauthorized {
		t.Errorf("from elsewhere: %d", got)
	}
	s.clock.Advance(20 * time.Second)
	if err := s.House.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := guess("192.0.2.1:9"); got != http.StatusUnauthorized {
		t.Errorf("after its time: %d", got)
	}
}
