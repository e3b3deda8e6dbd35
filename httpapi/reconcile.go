package httpapi

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// ListReconciliations answers how systems stand.
func (a *api) ListReconciliations(ctx context.Context, _ ListReconciliationsRequestObject) (ListReconciliationsResponseObject, error) {
	views, err := a.Desk.Reconciliations(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return ListReconciliations200JSONResponse{Reconciliations: views}, nil
}

// GetClaim answers whether every live entitlement has its request.
func (a *api) GetClaim(ctx context.Context, _ GetClaimRequestObject) (GetClaimResponseObject, error) {
	view, err := a.Desk.Claim(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return GetClaim200JSONResponse(*view), nil
}

// RunReconciliation has a target read at once.
func (a *api) RunReconciliation(ctx context.Context, request RunReconciliationRequestObject) (RunReconciliationResponseObject, error) {
	view, err := a.Desk.ReconcileNow(ctx, sessionOf(ctx).caller, request.Name)
	if err != nil {
		return nil, err
	}
	return RunReconciliation200JSONResponse(*view), nil
}

// ListFindings answers what differs.
func (a *api) ListFindings(ctx context.Context, request ListFindingsRequestObject) (ListFindingsResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	before, err := readCursor("fnd", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	filter := desk.FindingFilter{System: request.Params.System, All: request.Params.All, Before: countersign.FindingID(before), Limit: looked(limit)}
	findings, err := a.Desk.Findings(ctx, sessionOf(ctx).caller, filter)
	if err != nil {
		return nil, err
	}
	findings, next := page(findings, limit, func(finding AccessFinding) string { return string(finding.ID) })
	return ListFindings200JSONResponse{Findings: findings, Next: next}, nil
}

// GetFinding answers one of them.
func (a *api) GetFinding(ctx context.Context, request GetFindingRequestObject) (GetFindingResponseObject, error) {
	view, err := a.Desk.Finding(ctx, sessionOf(ctx).caller, countersign.FindingID(request.Id))
	if err != nil {
		return nil, err
	}
	return GetFinding200JSONResponse(*view), nil
}

// ProposeBaseline proposes to take on the record what a system held before.
func (a *api) ProposeBaseline(ctx context.Context, request ProposeBaselineRequestObject) (ProposeBaselineResponseObject, error) {
	s := sessionOf(ctx)
	id, err := a.Desk.ProposeBaseline(ctx, s.caller, s.key, request.Name, request.Body.Duration, request.Body.Reason)
	if err != nil {
		return nil, err
	}
	view, err := a.Desk.Proposal(ctx, s.caller, id)
	if err != nil {
		return nil, err
	}
	return ProposeBaseline201JSONResponse(*view), nil
}

// ListBaselinePairs answers one part of what a baseline is about.
func (a *api) ListBaselinePairs(ctx context.Context, request ListBaselinePairsRequestObject) (ListBaselinePairsResponseObject, error) {
	pairs, parts, err := a.Desk.BaselinePairs(ctx, sessionOf(ctx).caller, countersign.ProposalID(request.Id), request.Params.Part)
	if err != nil {
		return nil, err
	}
	return ListBaselinePairs200JSONResponse{Pairs: pairs, Parts: parts}, nil
}

// RemoveFound has access taken away that nobody asked for.
func (a *api) RemoveFound(ctx context.Context, request RemoveFoundRequestObject) (RemoveFoundResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.RemoveFound(ctx, s.caller, s.key, countersign.FindingID(request.Id), request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.Finding(ctx, s.caller, countersign.FindingID(request.Id))
	if err != nil {
		return nil, err
	}
	return RemoveFound200JSONResponse(*view), nil
}
