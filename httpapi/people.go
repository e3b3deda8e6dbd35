package httpapi

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// SuspendIdentity makes every check refuse an identity.
func (a *api) SuspendIdentity(ctx context.Context, request SuspendIdentityRequestObject) (SuspendIdentityResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.Suspend(ctx, s.caller, s.key, request.Name, request.Body.Reason, request.Body.Leaver); err != nil {
		return nil, err
	}
	view, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return SuspendIdentity200JSONResponse{IdentityJSONResponse(*view)}, nil
}

// ReactivateIdentity takes a suspension back.
func (a *api) ReactivateIdentity(ctx context.Context, request ReactivateIdentityRequestObject) (ReactivateIdentityResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.Reactivate(ctx, s.caller, s.key, request.Name, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return ReactivateIdentity200JSONResponse{IdentityJSONResponse(*view)}, nil
}

// OfferIdentity offers a machine to another owner, or asks to take it over.
func (a *api) OfferIdentity(ctx context.Context, request OfferIdentityRequestObject) (OfferIdentityResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.OfferOwnership(ctx, s.caller, s.key, request.Name, request.Body.To, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return OfferIdentity200JSONResponse{IdentityJSONResponse(*view)}, nil
}

// AcceptIdentity makes an offer effective.
func (a *api) AcceptIdentity(ctx context.Context, request AcceptIdentityRequestObject) (AcceptIdentityResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.AcceptOwnership(ctx, s.caller, s.key, request.Name, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return AcceptIdentity200JSONResponse{IdentityJSONResponse(*view)}, nil
}

// ConfirmIdentity says that owner, purpose and record of a machine still hold.
func (a *api) ConfirmIdentity(ctx context.Context, request ConfirmIdentityRequestObject) (ConfirmIdentityResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.ConfirmIdentity(ctx, s.caller, s.key, request.Name, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return ConfirmIdentity200JSONResponse{IdentityJSONResponse(*view)}, nil
}

// ListMachines answers what non-human identities there are.
func (a *api) ListMachines(ctx context.Context, request ListMachinesRequestObject) (ListMachinesResponseObject, error) {
	limit, err := pageSize(request.Params.Limit)
	if err != nil {
		return nil, err
	}
	after, err := readCursor("idn", request.Params.Cursor)
	if err != nil {
		return nil, err
	}
	machines, next, err := a.Desk.Machines(ctx, sessionOf(ctx).caller, desk.MachineFilter{
		Owner: request.Params.Owner, Kind: countersign.IdentityKind(request.Params.Kind), Flag: desk.MachineFlag(request.Params.Flag),
		After: countersign.IdentityID(after), Limit: limit,
	})
	if err != nil {
		return nil, err
	}
	answer := ListMachines200JSONResponse{Machines: machines}
	if next != "" {
		answer.Next = cursorAt(string(next))
	}
	return answer, nil
}

// ListBirthrights answers what rules give an identity.
func (a *api) ListBirthrights(ctx context.Context, request ListBirthrightsRequestObject) (ListBirthrightsResponseObject, error) {
	views, problems, err := a.Desk.Birthrights(ctx, sessionOf(ctx).caller, request.Name)
	return ListBirthrights200JSONResponse{Birthrights: views, Problems: problems}, err
}

// GetSystem answers one system.
func (a *api) GetSystem(ctx context.Context, request GetSystemRequestObject) (GetSystemResponseObject, error) {
	view, err := a.system(ctx, request.Name)
	return GetSystem200JSONResponse{view}, err
}

// OfferSystem offers a system to another owner, or asks to take it over.
func (a *api) OfferSystem(ctx context.Context, request OfferSystemRequestObject) (OfferSystemResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.OfferSystem(ctx, s.caller, s.key, request.Name, request.Body.To, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.system(ctx, request.Name)
	return OfferSystem200JSONResponse{view}, err
}

// AcceptSystem makes an offer effective.
func (a *api) AcceptSystem(ctx context.Context, request AcceptSystemRequestObject) (AcceptSystemResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.AcceptSystem(ctx, s.caller, s.key, request.Name, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.system(ctx, request.Name)
	return AcceptSystem200JSONResponse{view}, err
}

// ConfirmSystem says that a system still has the right owner.
func (a *api) ConfirmSystem(ctx context.Context, request ConfirmSystemRequestObject) (ConfirmSystemResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.ConfirmSystem(ctx, s.caller, s.key, request.Name, request.Body.Reason); err != nil {
		return nil, err
	}
	view, err := a.system(ctx, request.Name)
	return ConfirmSystem200JSONResponse{view}, err
}

func (a *api) system(ctx context.Context, name string) (SystemJSONResponse, error) {
	view, err := a.Desk.System(ctx, name)
	if err != nil {
		return SystemJSONResponse{}, err
	}
	return SystemJSONResponse(*view), nil
}

// ListDelegations answers who stands in for whom.
func (a *api) ListDelegations(ctx context.Context, _ ListDelegationsRequestObject) (ListDelegationsResponseObject, error) {
	list, err := a.delegations(ctx)
	return ListDelegations200JSONResponse(DelegationList(list)), err
}

// Delegate lets somebody decide in the caller's place.
func (a *api) Delegate(ctx context.Context, request DelegateRequestObject) (DelegateResponseObject, error) {
	s := sessionOf(ctx)
	if _, err := a.Desk.Delegate(ctx, s.caller, s.key, desk.Delegating{
		To: request.Body.To, Starts: request.Body.Starts, Ends: request.Body.Ends, Types: request.Body.Types, Reason: request.Body.Reason,
	}); err != nil {
		return nil, err
	}
	list, err := a.delegations(ctx)
	return Delegate200JSONResponse{list}, err
}

// EndDelegation takes a delegation back.
func (a *api) EndDelegation(ctx context.Context, request EndDelegationRequestObject) (EndDelegationResponseObject, error) {
	s := sessionOf(ctx)
	if err := a.Desk.EndDelegation(ctx, s.caller, s.key, countersign.DelegationID(request.Id)); err != nil {
		return nil, err
	}
	list, err := a.delegations(ctx)
	return EndDelegation200JSONResponse{list}, err
}

func (a *api) delegations(ctx context.Context) (DelegationListJSONResponse, error) {
	views, err := a.Desk.Delegations(ctx, sessionOf(ctx).caller)
	return DelegationListJSONResponse{Delegations: views}, err
}

// SubmitMany opens a batch.
func (a *api) SubmitMany(ctx context.Context, request SubmitManyRequestObject) (SubmitManyResponseObject, error) {
	s := sessionOf(ctx)
	duration, err := durationOf(request.Body.Duration)
	if err != nil {
		return nil, err
	}
	id, err := a.Desk.SubmitMany(ctx, s.caller, s.key, desk.ManyAsking{
		Beneficiaries: request.Body.Beneficiaries, Entitlements: request.Body.Entitlements, Package: request.Body.Package,
		Reason: request.Body.Reason, Duration: duration, Answers: request.Body.Answers,
	})
	if err != nil {
		return nil, err
	}
	view, err := a.Desk.Batch(ctx, s.caller, id)
	if err != nil {
		return nil, err
	}
	return SubmitMany202JSONResponse{BatchJSONResponse(*view)}, nil
}

// GetBatch answers what became of each item.
func (a *api) GetBatch(ctx context.Context, request GetBatchRequestObject) (GetBatchResponseObject, error) {
	view, err := a.Desk.Batch(ctx, sessionOf(ctx).caller, countersign.BatchID(request.Id))
	if err != nil {
		return nil, err
	}
	return GetBatch200JSONResponse{BatchJSONResponse(*view)}, nil
}
