package httpapi

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// standardOverlap is what the interface promises where nobody says otherwise.
const standardOverlap = countersign.Day

// ListGrants answers what the caller may see of live and past access.
func (a *api) ListGrants(ctx context.Context, request ListGrantsRequestObject) (ListGrantsResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	before, err := readCursor("grt", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	grants, err := a.Desk.Grants(ctx, sessionOf(ctx).caller, desk.GrantFilter{
		Holder: request.Params.Holder, System: request.Params.System, All: request.Params.All, Before: countersign.GrantID(before), Limit: looked(limit),
	})
	if err != nil {
		return nil, err
	}
	grants, next := page(grants, limit, func(grant Grant) string { return string(grant.ID) })
	return ListGrants200JSONResponse{Grants: grants, Next: next}, nil
}

// GetGrant answers one grant.
func (a *api) GetGrant(ctx context.Context, request GetGrantRequestObject) (GetGrantResponseObject, error) {
	view, err := a.grant(ctx, request.Id)
	return GetGrant200JSONResponse{view}, err
}

// RotateGrant adds a credential and ends the older ones after the overlap.
func (a *api) RotateGrant(ctx context.Context, request RotateGrantRequestObject) (RotateGrantResponseObject, error) {
	overlap := standardOverlap
	if asked := request.Body.Overlap; asked != nil {
		if *asked > longestDuration {
			return nil, countersign.Errorf(countersign.Invalid, "overlap-too-long", "The overlap must end before the grant does.").At("/overlap")
		}
		overlap = countersign.Seconds(*asked)
	}
	view, err := a.onGrant(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.GrantID) error {
		return a.Desk.Rotate(ctx, s.caller, s.key, id, overlap, request.Body.Reason)
	})
	return RotateGrant200JSONResponse{view}, err
}

// RevokeGrant ends a grant.
func (a *api) RevokeGrant(ctx context.Context, request RevokeGrantRequestObject) (RevokeGrantResponseObject, error) {
	view, err := a.onGrant(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.GrantID) error {
		return a.Desk.Revoke(ctx, s.caller, s.key, id, request.Body.Reason)
	})
	return RevokeGrant200JSONResponse{view}, err
}

// RetryGrant puts a parked operation back to work.
func (a *api) RetryGrant(ctx context.Context, request RetryGrantRequestObject) (RetryGrantResponseObject, error) {
	view, err := a.onGrant(ctx, request.Id, request.Params.IfMatch, func(s *session, id countersign.GrantID) error {
		return a.Desk.Retry(ctx, s.caller, s.key, id)
	})
	return RetryGrant200JSONResponse{view}, err
}

// onGrant gives one command on a grant, unless it was answered before under its
// key, and shows what came of it.
func (a *api) onGrant(ctx context.Context, id, match string, command func(*session, countersign.GrantID) error) (GrantJSONResponse, error) {
	err := a.once(ctx, match, func(s *session) error { return command(s, countersign.GrantID(id)) })
	if err != nil {
		return GrantJSONResponse{}, err
	}
	return a.grant(ctx, id)
}

func (a *api) grant(ctx context.Context, id string) (GrantJSONResponse, error) {
	view, err := a.Desk.Grant(ctx, sessionOf(ctx).caller, countersign.GrantID(id))
	if err != nil {
		return GrantJSONResponse{}, err
	}
	return GrantJSONResponse{Body: *view, Headers: GrantResponseHeaders{ETag: etagOf(view.Version)}}, nil
}
