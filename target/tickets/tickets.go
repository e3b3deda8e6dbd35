// Package tickets is the built-in target for houses without a ticket system: a
// small register of incidents, changes and tasks that people open and close, and
// that others read.
//
// It keeps its own shelf, named "tickets", and never reads requests or grants; it
// imports neither desk nor auth. It writes no events: a target's events stand on
// the stream of a system, and the register belongs to none. What the desk relied
// on, the desk keeps as fetched. After Open or Close returns nil, every replica
// reads the ticket so; a closed ticket stays closed, and none is deleted.
package tickets

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that the register keeps.
const ShelfName = "tickets"

// Kind is what a ticket is about.
type Kind string

const (
	Incident Kind = "incident"
	Change   Kind = "change"
	Task     Kind = "task"
)

// kinds is the closed list, each with what its keys begin with.
var kinds = []struct {
	kind   Kind
	prefix string
}{{Incident, "INC"}, {Change, "CHG"}, {Task, "TASK"}}

// State says whether a ticket is done.
type State string

const (
	Open   State = "open"
	Closed State = "closed"
)

// Bounds on what a ticket holds, in bytes, and on a list, in tickets.
const (
	maxTitle      = 200
	maxResolution = 2000
	maxList       = 100
)

// Ticket is one ticket, as it is kept and as the endpoints answer it.
type Ticket struct {
	// Key is the prefix of the kind and a number from 1, as INC-1.
	Key        string                 `json:"key"`
	Kind       Kind                   `json:"kind"`
	Title      string                 `json:"title"`
	State      State                  `json:"state"`
	OpenedBy   countersign.IdentityID `json:"opened_by"`
	OpenedAt   countersign.Instant    `json:"opened_at"`
	ClosedBy   countersign.IdentityID `json:"closed_by,omitempty"`
	ClosedAt   countersign.Instant    `json:"closed_at,omitempty"`
	Resolution string                 `json:"resolution,omitempty"`
}

// Register is the target. Its methods may be called at once.
type Register struct {
	shelf store.Shelf
	clock interface{ Now() time.Time }
}

// New returns the register on its shelf.
func New(shelf store.Shelf, clock interface{ Now() time.Time }) *Register {
	return &Register{shelf, clock}
}

// An item stands under the prefix of its kind and the number counted down from
// highest, so that the newest of a kind comes first. Its Ref is the state.
const highest = 999_999_999

func itemKey(prefix string, number int) string {
	return fmt.Sprintf("%s-%09d", prefix, highest-number)
}

var keyForm = regexp.MustCompile(`^(INC|CHG|TASK)-([1-9][0-9]{0,8})$`)

// Open opens a ticket, with the next number of its kind.
func (r *Register) Open(ctx context.Context, by countersign.IdentityID, kind Kind, title string) (*Ticket, error) {
	prefix := ""
	for _, known := range kinds {
		if known.kind == kind {
			prefix = known.prefix
		}
	}
	if prefix == "" {
		return nil, countersign.Errorf(countersign.Invalid, "unknown-ticket-kind", "a ticket is an incident, a change or a task, not %q", countersign.Clip(string(kind))).At("/kind")
	}
	if err := checkText("/title", title, maxTitle, ""); err != nil {
		return nil, err
	}
	var opened *Ticket
	err := target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		number := 1
		newest, err := r.list(ctx, prefix, "", 1)
		if err != nil {
			return nil, err
		}
		if len(newest) == 1 {
			last, err := strconv.Atoi(newest[0].Key[len(prefix)+1:])
			if err != nil {
				return nil, err
			}
			number = last + 1
		}
		opened = &Ticket{Key: fmt.Sprintf("%s-%d", prefix, number), Kind: kind, Title: title, State: Open, OpenedBy: by, OpenedAt: now}
		return put(store.Item{Key: itemKey(prefix, number)}, opened)
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Ticket returns the ticket, or NotFound.
func (r *Register) Ticket(ctx context.Context, key string) (*Ticket, error) {
	_, ticket, err := r.load(ctx, key)
	return ticket, err
}

// Tickets returns the tickets in a state, or all for "", newest first and at most
// 100; more says that there are others.
func (r *Register) Tickets(ctx context.Context, state State) (tickets []Ticket, more bool, err error) {
	if state != "" && state != Open && state != Closed {
		return nil, false, countersign.Errorf(countersign.Invalid, "unknown-ticket-state", "a ticket is open or closed, not %q", countersign.Clip(string(state))).At("state")
	}
	tickets = []Ticket{}
	for _, known := range kinds {
		found, err := r.list(ctx, known.prefix, state, maxList+1)
		if err != nil {
			return nil, false, err
		}
		tickets = append(tickets, found...)
	}
	slices.SortStableFunc(tickets, func(a, b Ticket) int { return cmp.Compare(b.OpenedAt, a.OpenedAt) })
	if more = len(tickets) > maxList; more {
		tickets = tickets[:maxList]
	}
	return tickets, more, nil
}

// Close closes a ticket. One that is closed already is a Conflict that says by
// whom.
func (r *Register) Close(ctx context.Context, by countersign.IdentityID, key, resolution string) (*Ticket, error) {
	if err := checkText("/resolution", resolution, maxResolution, "\n"); err != nil {
		return nil, err
	}
	var closed *Ticket
	err := target.Commit(ctx, r.shelf, r.clock, 0, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, ticket, err := r.load(ctx, key)
		if err != nil {
			return nil, err
		}
		if ticket.State == Closed {
			return nil, countersign.Errorf(countersign.Conflict, "ticket-closed", "%s was closed by %s at %s already", key, ticket.ClosedBy, ticket.ClosedAt)
		}
		ticket.State, ticket.ClosedBy, ticket.ClosedAt, ticket.Resolution = Closed, by, now, resolution
		closed = ticket
		return put(item, ticket)
	})
	if err != nil {
		return nil, err
	}
	return closed, nil
}

func (r *Register) load(ctx context.Context, key string) (store.Item, *Ticket, error) {
	parts := keyForm.FindStringSubmatch(key)
	if parts == nil {
		return store.Item{}, nil, countersign.Errorf(countersign.Invalid, "malformed-ticket-key", "%q is not the key of a ticket: it is INC, CHG or TASK, a hyphen and a number, as INC-1", countersign.Clip(key))
	}
	number, err := strconv.Atoi(parts[2])
	if err != nil {
		return store.Item{}, nil, err
	}
	item, err := r.shelf.Item(ctx, itemKey(parts[1], number))
	if countersign.KindOf(err) == countersign.NotFound {
		return store.Item{}, nil, countersign.Errorf(countersign.NotFound, "no-such-ticket", "there is no ticket %s", key)
	}
	if err != nil {
		return store.Item{}, nil, err
	}
	ticket, err := decode(item)
	return item, &ticket, err
}

// list returns up to limit tickets of a kind and state, newest first.
func (r *Register) list(ctx context.Context, prefix string, state State, limit int) ([]Ticket, error) {
	items, err := r.shelf.Items(ctx, string(state), prefix+"-", limit)
	if err != nil {
		return nil, err
	}
	var tickets []Ticket
	for _, item := range items {
		if !strings.HasPrefix(item.Key, prefix+"-") {
			break
		}
		ticket, err := decode(item)
		if err != nil {
			return nil, err
		}
		tickets = append(tickets, ticket)
	}
	return tickets, nil
}

func put(item store.Item, ticket *Ticket) (*store.ShelfChange, error) {
	body, err := json.Marshal(ticket)
	if err != nil {
		return nil, err
	}
	item.Version++
	item.Ref, item.Body = string(ticket.State), body
	return &store.ShelfChange{Puts: []store.Item{item}}, nil
}

func decode(item store.Item) (ticket Ticket, err error) {
	if err = json.Unmarshal(item.Body, &ticket); err != nil {
		err = fmt.Errorf("tickets item %s: %w", item.Key, err)
	}
	return ticket, err
}

// checkText wants text of up to most bytes, without control characters but those
// that are allowed.
func checkText(field, text string, most int, allowed string) error {
	unfit := func(letter rune) bool { return unicode.IsControl(letter) && !strings.ContainsRune(allowed, letter) }
	if strings.TrimSpace(text) == "" || len(text) > most || !utf8.ValidString(text) || strings.ContainsFunc(text, unfit) {
		return countersign.Errorf(countersign.Invalid, "malformed-ticket", "a text of 1 to %d bytes without control characters belongs here", most).At(field)
	}
	if shape := countersign.SecretShape(text); shape != "" {
		return countersign.Errorf(countersign.Invalid, "secret-pasted", "This looks like %s. Take it out, and treat it as leaked if it is real.", shape).At(field)
	}
	return nil
}
