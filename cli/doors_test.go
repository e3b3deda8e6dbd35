package cli

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/house"
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
