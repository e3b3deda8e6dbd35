package httpapi

import "context"

// ListParkedNotices answers what people could not be told.
func (a *api) ListParkedNotices(ctx context.Context, _ ListParkedNoticesRequestObject) (ListParkedNoticesResponseObject, error) {
	notices, err := a.Desk.ParkedNotices(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return ListParkedNotices200JSONResponse{Notices: notices}, nil
}

// RetryNotices makes them due again.
func (a *api) RetryNotices(ctx context.Context, _ RetryNoticesRequestObject) (RetryNoticesResponseObject, error) {
	retried, err := a.Desk.RetryNotices(ctx, sessionOf(ctx).caller)
	if err != nil {
		return nil, err
	}
	return RetryNotices200JSONResponse{Retried: retried}, nil
}
