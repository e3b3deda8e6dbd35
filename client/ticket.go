package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/countersign/countersign"
)

// Ticket is a ticket of the built-in register. By whom are ids of identities;
// what was not yet done is empty.
type Ticket struct {
	Key        string    `json:"key"`
	Kind       string    `json:"kind"`
	Title      string    `json:"title"`
	State      string    `json:"state"`
	OpenedBy   string    `json:"opened_by"`
	OpenedAt   time.Time `json:"opened_at"`
	ClosedBy   string    `json:"closed_by,omitempty"`
	ClosedAt   time.Time `json:"closed_at,omitzero"`
	Resolution string    `json:"resolution,omitempty"`
}

const ticketsPath = "tickets/tickets"

// OpenTicket opens a ticket: an incident, a change or a task.
func (c *Client) OpenTicket(ctx context.Context, kind, title string) (*Ticket, error) {
	return c.ticket(ctx, http.MethodPost, ticketsPath, map[string]string{"kind": kind, "title": title})
}

// Ticket returns a ticket by its key, as INC-1.
func (c *Client) Ticket(ctx context.Context, key string) (*Ticket, error) {
	return c.ticket(ctx, http.MethodGet, ticketsPath+"/"+url.PathEscape(key), nil)
}

// CloseTicket closes a ticket and says how it ended.
func (c *Client) CloseTicket(ctx context.Context, key, resolution string) (*Ticket, error) {
	return c.ticket(ctx, http.MethodPost, ticketsPath+"/"+url.PathEscape(key)+"/close", map[string]string{"resolution": resolution})
}

// Tickets returns the newest tickets that are open or closed, or both for "";
// more says that there are older ones.
func (c *Client) Tickets(ctx context.Context, state string) (tickets []Ticket, more bool, err error) {
	path := ticketsPath
	if state != "" {
		path += "?state=" + url.QueryEscape(state)
	}
	var answer struct {
		Tickets []Ticket
		More    bool
	}
	err = c.target(ctx, http.MethodGet, path, nil, &answer)
	return answer.Tickets, answer.More, err
}

// ticket calls an endpoint that answers with one ticket.
func (c *Client) ticket(ctx context.Context, method, path string, send any) (*Ticket, error) {
	var ticket Ticket
	if err := c.target(ctx, method, path, send, &ticket); err != nil {
		return nil, err
	}
	if ticket.Key == "" {
		return nil, countersign.Errorf(countersign.Unavailable, "unexpected-answer", "The answer about a ticket holds none.")
	}
	return &ticket, nil
}
