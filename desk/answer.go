package desk

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

// answerKey finds what the command of a call wrote.
type answerKey struct{}

type answer struct{ wrote *transaction }

// Answering returns a context for one call of somebody: when a command in it has
// written a request, Request shows in the same context what the command led to,
// and does not read again what was just written.
func Answering(ctx context.Context) context.Context {
	return context.WithValue(ctx, answerKey{}, &answer{})
}

// wrote notes a committed transaction for the answer of its call.
func wrote(ctx context.Context, tx *transaction) {
	if a, is := ctx.Value(answerKey{}).(*answer); is {
		a.wrote = tx
	}
}

// justWritten returns the request with all of its grants as the caller's command
// in this call left them, or nil where it left none or not all of them.
func justWritten(ctx context.Context, caller Caller, id countersign.RequestID) (*transaction, *countersign.Request, []*countersign.Grant) {
	a, is := ctx.Value(answerKey{}).(*answer)
	if !is || a.wrote == nil || a.wrote.occasion.Actor != countersign.Actor(caller.Identity) {
		return nil, nil, nil
	}
	tx := a.wrote
	request := tx.requests[id]
	if request == nil {
		return nil, nil, nil
	}
	var grants []*countersign.Grant
	for _, write := range tx.change.Writes {
		if grant, is := write.Row.(*countersign.Grant); is && grant.Request == id {
			grants = append(grants, grant)
		}
	}
	if len(grants) != len(request.Grants) {
		return nil, nil, nil
	}
	slices.SortFunc(grants, func(a, b *countersign.Grant) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return tx, request, grants
}
