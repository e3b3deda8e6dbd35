package httpapi

import (
	"context"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// ListProposals answers the proposals that the caller may see.
func (a *api) ListProposals(ctx context.Context, request ListProposalsRequestObject) (ListProposalsResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	for _, state := range request.Params.State {
		if !slices.Contains(countersign.ProposalStates, state) {
			return nil, countersign.Errorf(countersign.Invalid, "malformed-parameter", "There is no proposal state %q; there are %v.", countersign.Clip(string(state)), countersign.ProposalStates).At("state")
		}
	}
	before, err := readCursor("prp", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	proposals, err := a.Desk.Proposals(ctx, sessionOf(ctx).caller, desk.ProposalFilter{
		States: request.Params.State, Before: countersign.ProposalID(before), Limit: looked(limit),
	})
	if err != nil {
		return nil, err
	}
	proposals, next := page(proposals, limit, func(proposal Proposal) string { return string(proposal.ID) })
	return ListProposals200JSONResponse{Proposals: proposals, Next: next}, nil
}

// Propose drafts a change.
func (a *api) Propose(ctx context.Context, request ProposeRequestObject) (ProposeResponseObject, error) {
	s := sessionOf(ctx)
	files := (&DirectoryFiles{Files: request.Body.Files}).read()
	id, err := a.Desk.Propose(ctx, s.caller, s.key, request.Body.Kind, files, request.Body.Reason)
	if err != nil {
		return nil, err
	}
	view, err := a.Desk.Proposal(ctx, s.caller, id)
	if err != nil {
		return nil, err
	}
	return Propose201JSONResponse(*view), nil
}

// GetProposal answers one proposal with what it would change now.
func (a *api) GetProposal(ctx context.Context, request GetProposalRequestObject) (GetProposalResponseObject, error) {
	view, err := a.proposal(ctx, request.Id)
	return GetProposal200JSONResponse{view}, err
}

// EnforceProposal puts a policy into force at once.
func (a *api) EnforceProposal(ctx context.Context, request EnforceProposalRequestObject) (EnforceProposalResponseObject, error) {
	s := sessionOf(ctx)
	err := a.Desk.Enforce(ctx, s.caller, s.key, countersign.ProposalID(request.Id), desk.ProposalDecision{
		Shown: countersign.Digest(request.Body.Shown), Reason: request.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	view, err := a.proposal(ctx, request.Id)
	return EnforceProposal200JSONResponse{view}, err
}

// PublishProposal makes a proposal effective.
func (a *api) PublishProposal(ctx context.Context, request PublishProposalRequestObject) (PublishProposalResponseObject, error) {
	s := sessionOf(ctx)
	err := a.Desk.Publish(ctx, s.caller, s.key, countersign.ProposalID(request.Id), desk.ProposalDecision{
		Shown: countersign.Digest(request.Body.Shown), Reason: request.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	view, err := a.proposal(ctx, request.Id)
	return PublishProposal200JSONResponse{view}, err
}

// RejectProposal ends a proposal without effect.
func (a *api) RejectProposal(ctx context.Context, request RejectProposalRequestObject) (RejectProposalResponseObject, error) {
	s := sessionOf(ctx)
	err := a.Desk.Reject(ctx, s.caller, s.key, countersign.ProposalID(request.Id), desk.ProposalDecision{
		Shown: countersign.Digest(request.Body.Shown), Reason: request.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	view, err := a.proposal(ctx, request.Id)
	return RejectProposal200JSONResponse{view}, err
}

// WithdrawProposal takes a proposal back.
func (a *api) WithdrawProposal(ctx context.Context, request WithdrawProposalRequestObject) (WithdrawProposalResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.Withdraw(ctx, s.caller, s.key, countersign.ProposalID(request.Id), request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.proposal(ctx, request.Id)
	return WithdrawProposal200JSONResponse{view}, err
}

func (a *api) proposal(ctx context.Context, id string) (ProposalJSONResponse, error) {
	view, err := a.Desk.Proposal(ctx, sessionOf(ctx).caller, countersign.ProposalID(id))
	if err != nil {
		return ProposalJSONResponse{}, err
	}
	return ProposalJSONResponse(*view), nil
}
