package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/house"
)

func TestTicketsFromTheCommandLine(t *testing.T) {
	h, _, err := house.Start(t.Context(), house.Place{Data: filepath.Join(t.TempDir(), "house")}, nil, house.Options{
		Clock: clock{}, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Store.Close()
	server := httptest.NewServer(doors(h, clock{}, slog.New(slog.DiscardHandler), true, new(atomic.Bool)))
	defer server.Close()
	as := func(login, scope string, code int, args ...string) string {
		t.Helper()
		identity, known := h.Desk.Resolve(login)
		if !known {
			t.Fatalf("there is no %s", login)
		}
		token, err := issueToken(t.Context(), h, identity, login, []string{scope}, countersign.Hour)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("COUNTERSIGN_TOKEN", token.Reveal())
		var out bytes.Buffer
		if got := Main(append(args, "--server", server.URL), strings.NewReader(""), &out, &out); got != code {
			t.Errorf("%v as %s exits with %d, want %d: %s", args, login, got, code, &out)
		}
		return out.String()
	}
	says := func(out string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
	}
	const person, machine = "ben.adeyemi", "svc-billing"
	says(as(person, "all", 0, "ticket", "ls"), "Nothing.")
	says(as(person, "all", 0, "ticket", "open", "incident", "--title", "Ledger is down"), "INC-1  incident: open", "Ledger is down", "opened by Ben Adeyemi, ")
	says(as(person, "all", 0, "ticket", "open", "change", "--title", "Move it"), "CHG-1")
	says(as(machine, "read", 0, "ticket", "show", "INC-1"), "INC-1  incident: open")
	says(as(machine, "all", exitRefused, "ticket", "open", "incident", "--title", "x"), "only people")
	says(as(machine, "all", exitRefused, "ticket", "close", "INC-1", "--resolution", "x"), "only people")
	says(as(person, "read", exitRefused, "ticket", "open", "incident", "--title", "x"), `lacks the scope "request"`)
	says(as(person, "read", exitRefused, "ticket", "close", "INC-1", "--resolution", "x"), `lacks the scope "request"`)
	says(as(person, "request", exitRefused, "ticket", "show", "INC-1"), `lacks the scope "read"`)
	says(as(person, "all", 0, "ticket", "close", "INC-1", "--resolution", "Restarted"), "INC-1  incident: closed", "closed by Ben Adeyemi, ", ": Restarted")
	says(as(person, "all", exitConflict, "ticket", "close", "INC-1", "--resolution", "Again"), "was closed by idn_")
	says(as(person, "all", exitNotFound, "ticket", "show", "INC-2"), "no ticket INC-2")
	says(as(person, "all", exitInvalid, "ticket", "show", "inc/1"), "not the key of a ticket")
	says(as(person, "all", exitInvalid, "ticket", "open", "problem", "--title", "x"), "kind: a ticket is an incident, a change or a task")
	says(as(person, "all", exitInvalid, "ticket", "open", "incident"), "title")
	if out := as(person, "all", 0, "ticket", "ls"); strings.Contains(out, "INC-1") || !strings.Contains(out, "CHG-1") {
		t.Errorf("open are:\n%s", out)
	}
	says(as(person, "all", 0, "ticket", "ls", "--all"), "CHG-1", "INC-1", "closed")
	var shown struct {
		Key, State string
		OpenedBy   string `json:"opened_by"`
	}
	if err := json.Unmarshal([]byte(as(person, "all", 0, "ticket", "show", "INC-1", "--json")), &shown); err != nil || shown.State != "closed" || !strings.HasPrefix(shown.OpenedBy, "idn_") {
		t.Errorf("got %+v, %v", shown, err)
	}
}
