package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign/countersign"
)

// looksPerHeartbeat is after how many looks without a change a comment is sent,
// so that nobody between takes the connection for dead.
const looksPerHeartbeat = 15

// WatchRequest tells when a request changes.
func (a *api) WatchRequest(ctx context.Context, request WatchRequestRequestObject) (WatchRequestResponseObject, error) {
	id := countersign.RequestID(request.Id)
	// The first look says before the stream begins whether there is one.
	view, err := a.Desk.Request(ctx, sessionOf(ctx).caller, id)
	if err != nil {
		return nil, err
	}
	return &watch{api: a, ctx: ctx, id: id, first: view}, nil
}

// watch is an answer that lasts until the request is final.
type watch struct {
	api   *api
	ctx   context.Context
	id    countersign.RequestID
	first *Request
}

// changed is the data of one event.
type changed struct {
	Version int64                    `json:"version"`
	State   countersign.RequestState `json:"state"`
}

// VisitWatchRequestResponse writes the events. Each look asks anew who is
// calling and what the caller may see, so that the stream ends with the token.
func (s *watch) VisitWatchRequestResponse(w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	// The stream outlives what an answer may take. Where the deadline cannot be
	// moved there is none.
	_ = control.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	caller, view := sessionOf(s.ctx), s.first
	var told int64
	for quiet := 0; ; quiet++ {
		switch {
		case view.Version != told:
			data, err := json.Marshal(changed{view.Version, view.State})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: changed\ndata: %s\n\n", view.Version, data); err != nil {
				return err
			}
			told, quiet = view.Version, 0
		case quiet%looksPerHeartbeat == 0:
			if _, err := fmt.Fprint(w, ": nothing new\n\n"); err != nil {
				return err
			}
		}
		if err := control.Flush(); err != nil {
			return err
		}
		if view.State.Final() {
			return nil
		}
		if err := s.api.Wait(s.ctx); err != nil {
			return nil
		}
		again, err := s.api.recognise(s.ctx, caller.bearer)
		if err != nil {
			return nil
		}
		if view, err = s.api.Desk.Request(s.ctx, again.caller, s.id); err != nil {
			return err
		}
	}
}
