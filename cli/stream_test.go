package cli_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// behind starts a house that answers by the handler, and lets the command line
// reach it. It stands in where the answer of a real house has to be cut short.
func behind(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("COUNTERSIGN_SERVER", server.URL)
	t.Setenv("COUNTERSIGN_TOKEN", "a token")
}

func TestAWatchWhoseStreamTheHouseEndsSaysSo(t *testing.T) {
	var looks atomic.Int64
	behind(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/watch") {
			w.Header().Set("Content-Type", "text/event-stream")
			return
		}
		looks.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if looks.Load() > 10 {
			http.Error(w, `{}`, http.StatusTeapot)
			return
		}
		w.Write([]byte(`{"id":"req_x","state":"deciding"}`))
	})
	code, out, problems := run(t, "", "request", "watch", "req_x")
	if code != 7 || !strings.Contains(problems, "ended the stream") || looks.Load() != 2 {
		t.Errorf("exit code %d after %d looks: %s%s", code, looks.Load(), out, problems)
	}
}

func TestAListOfHoldsGoesOnAfterItsFirstPage(t *testing.T) {
	behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("cursor") == "" {
			w.Write([]byte(`{"holds":[{"id":"hld_first"}],"next":"more"}`))
			return
		}
		w.Write([]byte(`{"holds":[{"id":"hld_second"}]}`))
	})
	code, out, problems := run(t, "", "hold", "ls")
	if code != 0 || !strings.Contains(out, "hld_first") || !strings.Contains(out, "hld_second") {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
}
