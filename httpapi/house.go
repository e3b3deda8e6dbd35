package httpapi

import (
	"context"

	"github.com/countersign/countersign"
)

// GetHouse answers what house this is.
func (a *api) GetHouse(ctx context.Context, _ GetHouseRequestObject) (GetHouseResponseObject, error) {
	house, err := a.Desk.House(ctx)
	if err != nil {
		return nil, err
	}
	return GetHouse200JSONResponse{Name: house.Name, Founded: house.Founded, Sample: house.Sample}, nil
}

// GetMe answers who is calling, with what token and powers.
func (a *api) GetMe(ctx context.Context, _ GetMeRequestObject) (GetMeResponseObject, error) {
	s := sessionOf(ctx)
	identity, err := a.Desk.Identity(ctx, string(s.caller.Identity))
	if err != nil {
		return nil, err
	}
	powers, err := a.Desk.Powers(s.caller.Identity)
	if err != nil {
		return nil, err
	}
	return GetMe200JSONResponse{Identity: *identity, Token: s.token, Powers: powers}, nil
}

// GetCatalogue answers what can be asked for.
func (a *api) GetCatalogue(ctx context.Context, _ GetCatalogueRequestObject) (GetCatalogueResponseObject, error) {
	catalogue, err := a.Desk.Catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return GetCatalogue200JSONResponse(*catalogue), nil
}

// GetIdentity answers who somebody is.
func (a *api) GetIdentity(ctx context.Context, request GetIdentityRequestObject) (GetIdentityResponseObject, error) {
	identity, err := a.Desk.Identity(ctx, request.Name)
	if err != nil {
		return nil, err
	}
	return GetIdentity200JSONResponse(*identity), nil
}

// ListTokens answers which tokens of the caller work.
func (a *api) ListTokens(ctx context.Context, _ ListTokensRequestObject) (ListTokensResponseObject, error) {
	tokens, err := a.Tokens.List(ctx, sessionOf(ctx).caller.Identity)
	if err != nil {
		return nil, err
	}
	return ListTokens200JSONResponse{Tokens: tokens}, nil
}

// RevokeToken ends a token of the caller.
func (a *api) RevokeToken(ctx context.Context, request RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	if err := a.Tokens.Revoke(ctx, countersign.TokenID(request.Id), sessionOf(ctx).caller.Identity); err != nil {
		return nil, err
	}
	return RevokeToken204Response{}, nil
}
