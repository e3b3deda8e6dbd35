package httpapi

import (
	"context"

	"github.com/countersign/countersign"
)

// ListHolds answers the holds that the caller may see.
func (a *api) ListHolds(ctx context.Context, request ListHoldsRequestObject) (ListHoldsResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	before, err := readCursor("hld", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	holds, err := a.Desk.Holds(ctx, sessionOf(ctx).caller, request.Params.All, countersign.HoldID(before), looked(limit))
	if err != nil {
		return nil, err
	}
	holds, next := page(holds, limit, func(hold Hold) string { return string(hold.ID) })
	return ListHolds200JSONResponse{Holds: holds, Next: next}, nil
}

// Hold puts a hold.
func (a *api) Hold(ctx context.Context, request HoldRequestObject) (HoldResponseObject, error) {
	s := sessionOf(ctx)
	id, err := a.Desk.Hold(ctx, s.caller, s.key, request.Body.On, request.Body.Reason, request.Body.Revoke)
	if err != nil {
		return nil, err
	}
	view, err := a.Desk.HoldView(ctx, s.caller, id)
	if err != nil {
		return nil, err
	}
	return Hold201JSONResponse(*view), nil
}

// GetHold answers one hold with what is left under it.
func (a *api) GetHold(ctx context.Context, request GetHoldRequestObject) (GetHoldResponseObject, error) {
	view, err := a.Desk.HoldView(ctx, sessionOf(ctx).caller, countersign.HoldID(request.Id))
	if err != nil {
		return nil, err
	}
	return GetHold200JSONResponse{HoldJSONResponse(*view)}, nil
}

// LiftHold ends a hold.
func (a *api) LiftHold(ctx context.Context, request LiftHoldRequestObject) (LiftHoldResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.Lift(ctx, s.caller, s.key, countersign.HoldID(request.Id), request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.HoldView(ctx, s.caller, countersign.HoldID(request.Id))
	if err != nil {
		return nil, err
	}
	return LiftHold200JSONResponse{HoldJSONResponse(*view)}, nil
}
