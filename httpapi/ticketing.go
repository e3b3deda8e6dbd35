package httpapi

import (
	"context"
	"mime"
	"net/http"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/ticketing"
)

// ticketingPath is where ticket systems send what happens to their tickets.
const ticketingPath = "POST " + Prefix + "/ticketing/{system}/events"

// hearTicket takes what a ticket system sends. Nothing of it is read before its
// signature fits, and its time: of somebody else nothing is stored.
func (a *api) hearTicket(w http.ResponseWriter, r *http.Request) {
	heard, err := a.heard(w, r)
	if countersign.KindOf(err) == countersign.Unauthenticated {
		err = a.failedSignIn(w, r, err)
	}
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, heard)
}

func (a *api) heard(w http.ResponseWriter, r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, countersign.Errorf(countersign.Invalid, "wrong-content-type", "Send the body as application/json.").At("Content-Type")
	}
	body, err := readBytes(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	system := r.PathValue("system")
	secret, configured := a.TicketSecrets[system]
	kind, err := a.Desk.TicketSystemKind(ctx, system)
	switch {
	case err != nil:
		return nil, err
	case !configured:
		return nil, countersign.Errorf(countersign.Unavailable, "no-ticketing-secret", "The ticket system %s has no secret in the configuration of this house: nothing that it sends can be checked.", system)
	}
	if err := ticketing.Check(kind, r.Header, body, secret, countersign.InstantOf(a.Clock.Now())); err != nil {
		return nil, err
	}
	return a.Desk.HearTicket(ctx, system, body)
}

// ListParkedTickets answers the tickets that wait for a person.
func (a *api) ListParkedTickets(ctx context.Context, _ ListParkedTicketsRequestObject) (ListParkedTicketsResponseObject, error) {
	tickets, err := a.Desk.ParkedTickets(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return ListParkedTickets200JSONResponse{Tickets: tickets}, nil
}

// RetryTickets makes what was given up due again.
func (a *api) RetryTickets(ctx context.Context, _ RetryTicketsRequestObject) (RetryTicketsResponseObject, error) {
	retried, err := a.Desk.RetryTickets(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return RetryTickets200JSONResponse{Retried: retried}, nil
}

// DismissTicket takes a refused ticket off the list.
func (a *api) DismissTicket(ctx context.Context, request DismissTicketRequestObject) (DismissTicketResponseObject, error) {
	if err := a.Desk.DismissTicket(ctx, sessionOf(ctx).caller, request.Body.System, request.Body.Id); err != nil {
		return nil, err
	}
	return DismissTicket204Response{}, nil
}
