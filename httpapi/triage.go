package httpapi

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// DescribeRequest opens a request that is only words yet.
func (a *api) DescribeRequest(ctx context.Context, request DescribeRequestRequestObject) (DescribeRequestResponseObject, error) {
	s := sessionOf(ctx)
	id, err := a.Desk.Describe(ctx, s.caller, s.key, desk.Describing{
		Text: request.Body.Text, Beneficiary: request.Body.Beneficiary, Impact: string(request.Body.Impact), Urgency: string(request.Body.Urgency),
	})
	if err != nil {
		return nil, err
	}
	view, err := a.request(ctx, string(id))
	return DescribeRequest200JSONResponse{view}, err
}

// ClassifyRequest says which request a description is.
func (a *api) ClassifyRequest(ctx context.Context, request ClassifyRequestRequestObject) (ClassifyRequestResponseObject, error) {
	duration, err := durationOf(request.Body.Duration)
	if err != nil {
		return nil, err
	}
	said := desk.Classification{Type: request.Body.Type, Entitlements: request.Body.Entitlements, Duration: duration, Answers: request.Body.Answers}
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Classify(ctx, s.caller, s.key, id, said)
	})
	return ClassifyRequest200JSONResponse{view}, err
}

// PrioritiseRequest says how urgent a description is.
func (a *api) PrioritiseRequest(ctx context.Context, request PrioritiseRequestRequestObject) (PrioritiseRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Prioritise(ctx, s.caller, s.key, id, string(request.Body.Impact), string(request.Body.Urgency))
	})
	return PrioritiseRequest200JSONResponse{view}, err
}

// MergeRequest ends a description that asks for what another request does.
func (a *api) MergeRequest(ctx context.Context, request MergeRequestRequestObject) (MergeRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Merge(ctx, s.caller, s.key, id, countersign.RequestID(request.Body.Into), request.Body.Reason)
	})
	return MergeRequest200JSONResponse{view}, err
}

// DeclineRequest ends a description that is nothing to be granted.
func (a *api) DeclineRequest(ctx context.Context, request DeclineRequestRequestObject) (DeclineRequestResponseObject, error) {
	view, err := a.onRequest(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.RequestID) error {
		return a.Desk.Decline(ctx, s.caller, s.key, id, request.Body.Reason)
	})
	return DeclineRequest200JSONResponse{view}, err
}
