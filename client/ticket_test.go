package client_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestTicketsAreSentAndReadAsTheRegisterHasThem(t *testing.T) {
	const ticket = `{"key":"INC-1","kind":"incident","title":"t","state":"open","opened_by":"idn_1","opened_at":"2026-01-31T09:00:00.000Z"}`
	h := answering(t, http.StatusCreated, "application/json", ticket)
	opened, err := h.OpenTicket(t.Context(), "incident", "t")
	if err != nil || opened.Key != "INC-1" || opened.OpenedAt.IsZero() || !opened.ClosedAt.IsZero() {
		t.Fatalf("got %+v, %v", opened, err)
	}
	if h.last.URL.Path != "/targets/tickets/tickets" || h.body != `{"kind":"incident","title":"t"}` ||
		h.last.Header.Get("Content-Type") != "application/json" || h.last.Header.Get("Authorization") != "Bearer "+token {
		t.Errorf("sent %s to %s with %v", h.body, h.last.URL, h.last.Header)
	}
	if _, err := h.CloseTicket(t.Context(), "../INC", "r"); err != nil || h.last.URL.EscapedPath() != "/targets/tickets/tickets/..%2FINC/close" || h.body != `{"resolution":"r"}` {
		t.Errorf("sent %s to %s: %v", h.body, h.last.URL, err)
	}
	if _, err := h.Ticket(t.Context(), "INC-1"); err != nil || h.last.Method != http.MethodGet || h.body != "" || h.last.Header.Get("Content-Type") != "" {
		t.Errorf("sent %s %q: %v", h.last.Method, h.body, err)
	}
	h = answering(t, http.StatusOK, "application/json", `{"tickets":[`+ticket+`],"more":true}`)
	if found, more, err := h.Tickets(t.Context(), "open"); err != nil || len(found) != 1 || !more || h.last.URL.RawQuery != "state=open" {
		t.Errorf("got %v, more %v, %v from %s", found, more, err, h.last.URL)
	}
	if _, err := h.Ticket(t.Context(), "INC-1"); countersign.ReasonOf(err) != "unexpected-answer" {
		t.Errorf("an answer without a ticket: %v", err)
	}
	h = answering(t, http.StatusOK, "text/html", "<html>")
	if _, err := h.Ticket(t.Context(), "INC-1"); countersign.KindOf(err) != countersign.Unavailable || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("an answer that is none: %v", err)
	}
}
