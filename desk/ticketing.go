package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/ticketing"
)

// A ticket opens one request, in the name of who opened the ticket. What is done
// in the ticket afterwards decides nothing: its state can take an undecided
// request back, where the policy set says so, and nothing else.

// HeardTicket is what became of what a ticket system said.
type HeardTicket struct {
	// Outcome is opened, open-already, withdrawn, refused or ignored.
	Outcome string                `json:"outcome"`
	Request countersign.RequestID `json:"request,omitempty"`
	// Reason and Detail say why it was refused or ignored.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// TicketSystemKind returns what the ticket system of today's policy set is.
func (d *Desk) TicketSystemKind(ctx context.Context, name string) (countersign.TicketingKind, error) {
	_, active, err := d.refresh(ctx, d.Store)
	if err != nil {
		return "", err
	}
	info, err := active.ticketing(name)
	return info.Kind, err
}

func (a *activeSet) ticketing(name string) (policy.TicketingInfo, error) {
	set, err := a.judging()
	if err != nil {
		return policy.TicketingInfo{}, err
	}
	for _, info := range set.Ticketing() {
		if info.Name == name {
			return info, nil
		}
	}
	return policy.TicketingInfo{}, countersign.Errorf(countersign.NotFound, "no-such-ticket-system", "The policy set has no ticket system %q.", countersign.Clip(name))
}

// HearTicket takes what a ticket system says; its signature was checked. Said
// again, also at once, it has no second effect. What cannot be asked for is
// written into the ticket, and waits for an operator to see.
func (d *Desk) HearTicket(ctx context.Context, system string, body []byte) (*HeardTicket, error) {
	tx, err := d.begin(ctx, countersign.SystemDelivery)
	if err != nil {
		return nil, err
	}
	info, err := tx.policy.ticketing(system)
	if err != nil {
		return nil, err
	}
	event, err := ticketing.Read(info.Kind, body)
	switch {
	case err != nil:
		return nil, err
	case event == nil:
		return ignored("this is not about a ticket's beginning or state"), nil
	}
	ticket := &countersign.TicketRef{System: system, ID: event.ID, Key: event.Key}
	known, err := tx.requestOf(ctx, ticket)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return d.hearState(ctx, tx, info, event, known)
	}
	opening := openingFor(info, event)
	switch {
	case opening == nil:
		return ignored("no rule of the ticket system is about this ticket"), nil
	case slices.Contains(info.Withdrawn, event.State):
		return ignored("the ticket is withdrawn already"), nil
	}
	requester := tx.directory.account(system, event.Requester)
	if requester == nil || !requester.ActiveAt(tx.now()) {
		return d.refuseTicket(ctx, ticket, tx.unknownAccount(system, event.Requester, "opened this ticket"))
	}
	asking, err := tx.askedIn(opening, event, ticket)
	if err == nil {
		var id countersign.RequestID
		if id, err = d.Submit(ctx, inTicket(requester, system), Key{}, asking); err == nil {
			return &HeardTicket{Outcome: "opened", Request: id}, nil
		}
	}
	// Another delivery may have opened it meanwhile, and be what this one seems to
	// repeat.
	switch known, again := tx.requestOf(ctx, ticket); {
	case again != nil:
		return nil, again
	case known != nil:
		return &HeardTicket{Outcome: "open-already", Request: known.ID}, nil
	}
	return d.refuseTicket(ctx, ticket, err)
}

func ignored(why string) *HeardTicket {
	return &HeardTicket{Outcome: "ignored", Detail: "Nothing was done: " + why + "."}
}

// inTicket is somebody who gives a command in a ticket system. It is never a
// decision, so that nothing rests on how they signed in over there.
func inTicket(identity *countersign.Identity, system string) Caller {
	return Caller{Identity: identity.ID, Issuer: "ticketing/" + system, Strength: "ticket"}
}

// account returns who has the account in a ticket system, by the id that never
// changes hands; nil for nobody.
func (d *snapshot) account(system, account string) *countersign.Identity {
	handle, err := countersign.NewHandle(countersign.Ticketing, system, account)
	if err != nil {
		return nil
	}
	return d.identities[d.handles[handle.Key()]]
}

func (tx *transaction) unknownAccount(system, account, did string) error {
	return countersign.Errorf(countersign.Refused, "unmapped-account",
		"The account %q %s, and nobody who is active here has it. The directory maps an account by the handle {kind: ticketing, namespace: %s, value: %s}; once it does, save the ticket again.", countersign.Clip(account), did, system, countersign.Clip(account))
}

// requestOf returns the request that the ticket opened, or nil.
func (tx *transaction) requestOf(ctx context.Context, ticket *countersign.TicketRef) (*countersign.Request, error) {
	found, err := tx.read.Requests(ctx, store.RequestQuery{Ticket: ticket.Name(), Limit: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// openedFrom returns the id of the request that the ticket opened; "" for none. If
// it opens one in this transaction, what was refused before waits for nobody.
func (tx *transaction) openedFrom(ctx context.Context, ticket *countersign.TicketRef) (string, error) {
	if ticket == nil {
		return "", nil
	}
	known, err := tx.requestOf(ctx, ticket)
	switch {
	case err != nil:
		return "", err
	case known != nil:
		return string(known.ID), nil
	}
	if err := tx.move(ctx, guardTicket(ticket.Name())); err != nil {
		return "", err
	}
	tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: store.Work{Key: refusalKey(ticket.Name()), Kind: store.TicketWork}, Attempt: store.AnyAttempt, Delete: true})
	return "", nil
}

// hearState hears of the state of a ticket that opened a request.
func (d *Desk) hearState(ctx context.Context, tx *transaction, info policy.TicketingInfo, event *ticketing.Event, request *countersign.Request) (*HeardTicket, error) {
	if !undecided(request) || !event.Moved || !slices.Contains(info.Withdrawn, event.State) {
		return &HeardTicket{Outcome: "open-already", Request: request.ID}, nil
	}
	by := tx.directory.account(info.Name, event.By)
	if by == nil || !by.ActiveAt(tx.now()) {
		return d.refuseTicket(ctx, request.Ticket, tx.unknownAccount(info.Name, event.By, "withdrew this ticket"))
	}
	err := d.Cancel(ctx, inTicket(by, info.Name), Key{}, request.ID, fmt.Sprintf("The ticket %s was set to %s.", event.Key, event.State))
	if err == nil {
		return &HeardTicket{Outcome: "withdrawn", Request: request.ID}, nil
	}
	// Somebody may have decided meanwhile: then this came too late, and nothing is
	// wrong with the ticket.
	switch now, again := d.Store.Request(ctx, request.ID); {
	case again != nil:
		return nil, again
	case !undecided(now):
		return &HeardTicket{Outcome: "open-already", Request: request.ID}, nil
	}
	return d.refuseTicket(ctx, request.Ticket, err)
}

// undecided reports whether a ticket can still take its request back.
func undecided(request *countersign.Request) bool {
	return request.State == countersign.RequestCollecting || request.State == countersign.RequestDeciding
}

// openingFor returns the first rule that is about the ticket, or nil.
func openingFor(info policy.TicketingInfo, event *ticketing.Event) *policy.OpeningInfo {
	for i := range info.Opens {
		fits := true
		for path, words := range info.Opens[i].When {
			fits = fits && slices.ContainsFunc(event.Values(path), func(value any) bool { return slices.Contains(words, ticketing.TextOf(value)) })
		}
		if fits {
			return &info.Opens[i]
		}
	}
	return nil
}

// askedIn is what the ticket asks for.
func (tx *transaction) askedIn(opening *policy.OpeningInfo, event *ticketing.Event, ticket *countersign.TicketRef) (Asking, error) {
	asking := Asking{Type: opening.Request, Beneficiary: saidIn(event, opening.Beneficiary), Reason: saidIn(event, opening.Reason), Ticket: ticket}
	if opening.Beneficiary != "" && asking.Beneficiary == "" {
		return asking, countersign.Errorf(countersign.Invalid, "no-beneficiary", "The ticket does not say who the access is for.")
	}
	if found := tx.directory.account(ticket.System, asking.Beneficiary); found != nil {
		asking.Beneficiary = string(found.ID)
	}
	for _, name := range opening.Entitlements {
		for _, value := range valuesIn(event, name) {
			asking.Entitlements = append(asking.Entitlements, ticketing.TextOf(value))
		}
	}
	var err error
	if duration := saidIn(event, opening.Duration); duration != "" {
		if asking.Duration, err = countersign.ParseSeconds(duration); err != nil {
			return asking, err
		}
	}
	answers := map[string][]any{}
	for name, said := range opening.Answers {
		answers[name] = valuesIn(event, said)
	}
	asking.Answers, err = tx.policy.set.AnswersFrom(opening.Request, answers)
	return asking, err
}

// valuesIn returns what a text of the policy set stands for: what is at its path,
// or the text.
func valuesIn(event *ticketing.Event, text string) []any {
	if strings.HasPrefix(text, "$") {
		return event.Values(text)
	}
	return []any{text}
}

// saidIn is valuesIn as one text.
func saidIn(event *ticketing.Event, text string) string {
	if text == "" {
		return ""
	}
	var said []string
	for _, value := range valuesIn(event, text) {
		if one := ticketing.TextOf(value); one != "" {
			said = append(said, one)
		}
	}
	return strings.Join(said, "\n")
}
