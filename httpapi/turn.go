package httpapi

import (
	"context"
	"net/http"
)

// readsOfProcessor is how many reads are worked out at the same time for each
// processor: while one computes, another waits for the database.
const readsOfProcessor = 2

// inTurn lets reads take turns. Without it, as many as there are readers would stand in
// the queues for processors and database connections, and a command, a suspension say,
// behind all of them at each of its steps. What is written to a caller, who may be
// slow, takes no turn, and neither does a command.
func (a *api) inTurn(work StrictHandlerFunc, _ string) StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		if r.Method != http.MethodGet {
			return work(ctx, w, r, request)
		}
		select {
		case a.turns <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-a.turns }()
		return work(ctx, w, r, request)
	}
}
