// Package ticketing speaks to the ticket systems that people have: it checks and
// reads what they send, and writes into their tickets what became of a request.
//
// It imports the nouns, and how sources read JSON; never the desk, the store or a
// door: it is told what to write and asks nobody. It keeps nothing and reads no
// clock. What stands in a ticket is only ever read as what somebody asks for: that
// a ticket was approved over there is no event here.
//
// After a Write without an error the ticket has the comment once. After one with
// an error it may have it: written again with Again set, it is looked for first.
package ticketing

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"

	"github.com/theory/jsonpath"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/source"
)

// Note is what is written into a ticket at once.
type Note struct {
	Ticket countersign.TicketRef
	// Lines are paragraphs of plain text.
	Lines []string
	// Link is where the request is shown; "" for nowhere.
	Link string
	// Mark ends the comment, and is found in no other. It has letters, digits and
	// hyphens.
	Mark string
	// State is what the ticket is set to; "" leaves it as it is.
	State string
	// Again says that an attempt before this one may have written it.
	Again bool
}

// System is a ticket system that can be written to. It is safe for many callers
// at once.
type System interface {
	// Write brings one note into its ticket, or returns an error. One of the kind
	// Unavailable may pass by itself, and says how long to wait in After; any other is
	// about this ticket and takes a person. A state that the ticket cannot be set to
	// is no error: the comment says so.
	Write(ctx context.Context, note Note) error
}

// Settings say where a ticket system is. They are part of the policy set and hold
// no secret.
type Settings struct {
	Name string
	Kind countersign.TicketingKind
	// URL has no path and no slash at its end.
	URL string
	// Journal is the field of a ServiceNow record that is written to.
	Journal string
}

// New returns the ticket system. The credential is sent as the Authorization
// header. A nil client is one of its own; redirects are followed with neither.
func New(settings Settings, credential countersign.Secret, hands *http.Client) (System, error) {
	c := &client{name: settings.Name, url: settings.URL, credential: credential}
	if hands != nil {
		c.hands = *hands
	}
	// The answer of another address would be another system's.
	c.hands.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	switch settings.Kind {
	case countersign.ServiceNow:
		return &serviceNow{client: c, journal: settings.Journal}, nil
	case countersign.Jira:
		return &jira{client: c}, nil
	}
	return nil, countersign.Errorf(countersign.Invalid, "unknown-ticketing-kind", "%q is not a kind of ticket system: use %s or %s", countersign.Clip(string(settings.Kind)), countersign.ServiceNow, countersign.Jira)
}

// Event is what a ticket system says of one ticket.
type Event struct {
	// ID never changes; Key is what people call the ticket.
	ID, Key string
	State   string
	// Moved says that it is about a change of the state.
	Moved bool
	// Requester is the account that opened the ticket, By the one that caused this
	// event; "" where the system does not say. Both are ids that never change.
	Requester, By string

	content any
}

// paths are where a kind of system says what is the same for all its tickets.
type paths struct{ id, key, state, requester, by, event string }

var (
	known = map[countersign.TicketingKind]paths{
		countersign.ServiceNow: {"$.sys_id", "$.number", "$.state", "$.opened_by", "$.updated_by", "$.event"},
		// The creator of an issue cannot be changed, as its reporter can.
		countersign.Jira: {"$.issue.id", "$.issue.key", "$.issue.fields.status.name", "$.issue.fields.creator.accountId", "$.user.accountId", "$.webhookEvent"},
	}
	// An id stands in addresses, keys and queries.
	goodID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Read reads a body whose signature was checked. Keys that nothing here asks for
// are let be: the form is the other side's. Nil means that it is about something
// else than a ticket or its state, as a comment is.
func Read(kind countersign.TicketingKind, body []byte) (*Event, error) {
	content, err := source.Decode(body)
	if err != nil {
		return nil, malformed("%v", err)
	}
	where, event := known[kind], &Event{content: content}
	switch what := event.text(where.event); kind {
	case countersign.ServiceNow:
		if what != "created" && what != "state-changed" {
			return nil, nil
		}
		event.Moved = what == "state-changed"
	case countersign.Jira:
		if what != "jira:issue_created" && what != "jira:issue_updated" {
			return nil, nil
		}
		event.Moved = slices.Contains(event.Values(`$.changelog.items[*].field`), any("status"))
	}
	event.ID, event.Key, event.State = event.text(where.id), event.text(where.key), event.text(where.state)
	event.Requester, event.By = event.text(where.requester), event.text(where.by)
	if !goodID.MatchString(event.ID) || !goodID.MatchString(event.Key) {
		return nil, malformed("the ticket has no id at %s, or no key at %s: each has 1 to 64 letters, digits, hyphens and underscores", where.id, where.key)
	}
	return event, nil
}

func malformed(format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-ticket-event", "This is not what a ticket system says of a ticket: "+format+".", args...)
}

// Values returns what stands at a path (RFC 9535) of the event.
func (e *Event) Values(path string) []any {
	parsed, err := jsonpath.Parse(path)
	if err != nil {
		return nil // a policy set with it does not load
	}
	return parsed.Select(e.content)
}

// text returns the one text or number at a path; "" for anything else.
func (e *Event) text(path string) string {
	if found := e.Values(path); len(found) == 1 {
		return TextOf(found[0])
	}
	return ""
}

// TextOf returns a text or a number as it is written; "" for anything else.
func TextOf(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	return ""
}

// later is an error that says when to try again.
type later struct {
	error
	after countersign.Seconds
}

func (l later) Unwrap() error { return l.error }

// After returns how long the ticket system asked to be left alone; 0 where it did
// not say.
func After(err error) countersign.Seconds {
	var known later
	if errors.As(err, &known) {
		return known.after
	}
	return 0
}
