package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTicketsFromTheCommandLine(t *testing.T) {
	as := newHouse(t, nil).as
	const person, machine = "ben.adeyemi", "svc-billing"
	says(t, as(person, "all", 0, "ticket", "ls"), "Nothing.")
	says(t, as(person, "all", 0, "ticket", "open", "incident", "--title", "Ledger is down"), "INC-1  incident: open", "Ledger is down", "opened by Ben Adeyemi, ")
	says(t, as(person, "all", 0, "ticket", "open", "change", "--title", "Move it"), "CHG-1")
	says(t, as(machine, "read", 0, "ticket", "show", "INC-1"), "INC-1  incident: open")
	says(t, as(machine, "all", exitRefused, "ticket", "open", "incident", "--title", "x"), "only people")
	says(t, as(machine, "all", exitRefused, "ticket", "close", "INC-1", "--resolution", "x"), "only people")
	says(t, as(person, "read", exitRefused, "ticket", "open", "incident", "--title", "x"), `lacks the scope "request"`)
	says(t, as(person, "read", exitRefused, "ticket", "close", "INC-1", "--resolution", "x"), `lacks the scope "request"`)
	says(t, as(person, "request", exitRefused, "ticket", "show", "INC-1"), `lacks the scope "read"`)
	says(t, as(person, "all", 0, "ticket", "close", "INC-1", "--resolution", "Restarted"), "INC-1  incident: closed", "closed by Ben Adeyemi, ", ": Restarted")
	says(t, as(person, "all", exitConflict, "ticket", "close", "INC-1", "--resolution", "Again"), "was closed by idn_")
	says(t, as(person, "all", exitNotFound, "ticket", "show", "INC-2"), "no ticket INC-2")
	says(t, as(person, "all", exitInvalid, "ticket", "show", "inc/1"), "not the key of a ticket")
	says(t, as(person, "all", exitInvalid, "ticket", "open", "problem", "--title", "x"), "kind: a ticket is an incident, a change or a task")
	says(t, as(person, "all", exitInvalid, "ticket", "open", "incident"), "title")
	if out := as(person, "all", 0, "ticket", "ls"); strings.Contains(out, "INC-1") || !strings.Contains(out, "CHG-1") {
		t.Errorf("open are:\n%s", out)
	}
	says(t, as(person, "all", 0, "ticket", "ls", "--all"), "CHG-1", "INC-1", "closed")
	var shown struct {
		Key, State string
		OpenedBy   string `json:"opened_by"`
	}
	if err := json.Unmarshal([]byte(as(person, "all", 0, "ticket", "show", "INC-1", "--json")), &shown); err != nil || shown.State != "closed" || !strings.HasPrefix(shown.OpenedBy, "idn_") {
		t.Errorf("got %+v, %v", shown, err)
	}
}
