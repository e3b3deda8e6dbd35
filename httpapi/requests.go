package httpapi

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// PreviewRequest answers which path an asking would take.
func (a *api) PreviewRequest(ctx context.Context, request PreviewRequestRequestObject) (PreviewRequestResponseObject, error) {
	asking, err := request.Body.read()
	if err != nil {
		return nil, err
	}
	preview, err := a.Desk.Preview(ctx, sessionOf(ctx).caller, asking)
	if err != nil {
		return nil, err
	}
	return PreviewRequest200JSONResponse(viewOfPreview(preview)), nil
}

// SubmitRequest opens a request.
func (a *api) SubmitRequest(ctx context.Context, request SubmitRequestRequestObject) (SubmitRequestResponseObject, error) {
	s := sessionOf(ctx)
	asking, err := request.Body.read()
	if err != nil {
		return nil, err
	}
	earlier, replay, err := a.Desk.Answered(ctx, s.caller, s.key)
	if err != nil {
		return nil, err
	}
	id := countersign.RequestID(earlier)
	if !replay {
		if id, err = a.Desk.Submit(ctx, s.caller, s.key, asking); err != nil {
			return nil, err
		}
	}
	view, err := a.Desk.Request(ctx, s.caller, id)
	if err != nil {
		return nil, err
	}
	location, etag := Prefix+"/requests/"+string(id), etagOf(view.Version)
	if replay {
		return SubmitRequest200JSONResponse{Body: *view, Headers: SubmitRequest200ResponseHeaders{ETag: etag, Location: location}}, nil
	}
	return SubmitRequest201JSONResponse{Body: *view, Headers: SubmitRequest201ResponseHeaders{ETag: etag, Location: location}}, nil
}

// ListRequests answers what the caller has to do with.
func (a *api) ListRequests(ctx context.Context, request ListRequestsRequestObject) (ListRequestsResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	before, err := readCursor("req", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	for _, state := range request.Params.State {
		if !slices.Contains(countersign.RequestStates, state) {
			return nil, countersign.Errorf(countersign.Invalid, "malformed-parameter", "There is no request state %q%s", countersign.Clip(string(state)), hint(string(state), requestStates())).At("state")
		}
	}
	lines, err := a.Desk.Requests(ctx, sessionOf(ctx).caller, desk.RequestFilter{
		Inbox: request.Params.Inbox, Exceptions: request.Params.Exceptions, States: request.Params.State, Type: request.Params.Type, Before: countersign.RequestID(before), Limit: looked(limit),
	})
	if err != nil {
		return nil, err
	}
	lines, next := page(lines, limit, func(line RequestLine) string { return string(line.ID) })
	return ListRequests200JSONResponse{Requests: lines, Next: next}, nil
}

func requestStates() []string {
	names := make([]string, len(countersign.RequestStates))
	for i, state := range countersign.RequestStates {
		names[i] = string(state)
	}
	return names
}

// GetRequest answers one request.
func (a *api) GetRequest(ctx context.Context, request GetRequestRequestObject) (GetRequestResponseObject, error) {
	view, err := a.request(ctx, request.Id)
	return GetRequest200JSONResponse{view}, err
}

// GetTimeline answers what happened to a request.
func (a *api) GetTimeline(ctx context.Context, request GetTimelineRequestObject) (GetTimelineResponseObject, error) {
	entries, err := a.Desk.Timeline(ctx, sessionOf(ctx).caller, countersign.RequestID(request.Id))
	if err != nil {
		return nil, err
	}
	return GetTimeline200JSONResponse{Entries: entries}, nil
}

// ConsentRequest takes the consent of the beneficiary's owner.
func (a *api) ConsentRequest(ctx context.Context, request ConsentRequestRequestObject) (ConsentRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Consent(ctx, s.caller, s.key, id)
	})
	return ConsentRequest200JSONResponse{view}, err
}

// ApproveRequest takes an approval.
func (a *api) ApproveRequest(ctx context.Context, request ApproveRequestRequestObject) (ApproveRequestResponseObject, error) {
	duration, err := durationOf(request.Body.Duration)
	if err != nil {
		return nil, err
	}
	decision := desk.Decision{Stage: request.Body.Stage, Reason: request.Body.Reason, Duration: duration, Shown: countersign.Digest(request.Body.Shown)}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Approve(ctx, s.caller, s.key, id, decision)
	})
	return ApproveRequest200JSONResponse{view}, err
}

// DenyRequest takes a denial.
func (a *api) DenyRequest(ctx context.Context, request DenyRequestRequestObject) (DenyRequestResponseObject, error) {
	decision := desk.Decision{Stage: request.Body.Stage, Reason: request.Body.Reason, Shown: countersign.Digest(request.Body.Shown)}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Deny(ctx, s.caller, s.key, id, decision)
	})
	return DenyRequest200JSONResponse{view}, err
}

// CancelRequest takes a request back.
func (a *api) CancelRequest(ctx context.Context, request CancelRequestRequestObject) (CancelRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Cancel(ctx, s.caller, s.key, id, request.Body.Reason)
	})
	return CancelRequest200JSONResponse{view}, err
}

// CloseRequest gives back what was granted, or closes without what never came.
func (a *api) CloseRequest(ctx context.Context, request CloseRequestRequestObject) (CloseRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Close(ctx, s.caller, s.key, id, request.Body.Reason)
	})
	return CloseRequest200JSONResponse{view}, err
}

// AmendRequest changes what an undecided request asks for.
func (a *api) AmendRequest(ctx context.Context, request AmendRequestRequestObject) (AmendRequestResponseObject, error) {
	asking, err := request.Body.read()
	if err != nil {
		return nil, err
	}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Amend(ctx, s.caller, s.key, id, asking)
	})
	return AmendRequest200JSONResponse{view}, err
}

// AskRequest puts an approver's question.
func (a *api) AskRequest(ctx context.Context, request AskRequestRequestObject) (AskRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return placed(a.Desk.Ask(ctx, s.caller, s.key, id, request.Body.Question), "/reason", "/question")
	})
	return AskRequest200JSONResponse{view}, err
}

// AnswerRequest answers the open question.
func (a *api) AnswerRequest(ctx context.Context, request AnswerRequestRequestObject) (AnswerRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return placed(a.Desk.Answer(ctx, s.caller, s.key, id, request.Body.Answer), "/reason", "/answer")
	})
	return AnswerRequest200JSONResponse{view}, err
}

// ReviewRequest takes the finding of a review.
func (a *api) ReviewRequest(ctx context.Context, request ReviewRequestRequestObject) (ReviewRequestResponseObject, error) {
	decision := desk.Decision{Reason: request.Body.Reason, Shown: countersign.Digest(request.Body.Shown)}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Review(ctx, s.caller, s.key, id, request.Body.Finding, decision)
	})
	return ReviewRequest200JSONResponse{view}, err
}

// UnblockRequest takes one voice for lifting what an overdue review blocks.
func (a *api) UnblockRequest(ctx context.Context, request UnblockRequestRequestObject) (UnblockRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Unblock(ctx, s.caller, s.key, id, request.Body.Reason)
	})
	return UnblockRequest200JSONResponse{view}, err
}

// onRequest gives one command on a request, unless it was answered before under
// its key, and shows what came of it.
func (a *api) onRequest(ctx context.Context, id, match string, command func(*session, countersign.RequestID) error) (RequestJSONResponse, error) {
	err := a.once(ctx, match, func(s *session) error { return command(s, countersign.RequestID(id)) })
	if err != nil {
		return RequestJSONResponse{}, err
	}
	return a.request(ctx, id)
}

func (a *api) request(ctx context.Context, id string) (RequestJSONResponse, error) {
	view, err := a.Desk.Request(ctx, sessionOf(ctx).caller, countersign.RequestID(id))
	if err != nil {
		return RequestJSONResponse{}, err
	}
	return RequestJSONResponse{Body: *view, Headers: RequestResponseHeaders{ETag: etagOf(view.Version)}}, nil
}
