package countersign

// TicketingKind is what a ticket system is: how it signs what it sends, and what
// its interface looks like.
type TicketingKind string

const (
	ServiceNow TicketingKind = "servicenow"
	Jira       TicketingKind = "jira"
)

// TicketingKinds is the closed list.
var TicketingKinds = []TicketingKind{ServiceNow, Jira}

// TicketRef names a ticket of a ticket system that the policy set names.
type TicketRef struct {
	System string `json:"system"`
	// ID never changes; Key is what people call the ticket.
	ID  string `json:"id"`
	Key string `json:"key"`
}

// Name returns the one spelling of the ticket in the house; "" for none. A request
// keeps it for ever, so a ticket opens one.
func (t *TicketRef) Name() string {
	if t == nil {
		return ""
	}
	return t.System + "/" + t.ID
}
