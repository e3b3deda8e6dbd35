package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// command runs a command of a caller under its key and returns the id of the
// object that it made or changed. A command that was answered before under the
// same key is not run again.
func (d *Desk) command(ctx context.Context, caller Caller, key Key, body func(*transaction) (object string, err error)) (string, error) {
	return d.commandLooking(ctx, caller, key, nil, body)
}

// commandLooking is command for one that knows before what it will ask of storage.
func (d *Desk) commandLooking(ctx context.Context, caller Caller, key Key, foresee foresight, body func(*transaction) (object string, err error)) (string, error) {
	if key.Value != "" {
		object, done, err := d.answered(ctx, caller, key)
		if done || err != nil {
			return object, err
		}
	}
	var object string
	err := d.attemptLooking(ctx, countersign.Actor(caller.Identity), foresee, func(tx *transaction) error {
		var err error
		tx.match = key.Match
		if object, err = body(tx); err != nil {
			return err
		}
		if key.Value != "" {
			tx.change.Idempotency = &store.Idempotency{
				Caller: string(caller.Identity), Route: key.Route, Key: key.Value, Body: key.Body, Object: object, At: tx.now(),
			}
		}
		return nil
	})
	if err != nil && key.Value != "" {
		// The same command may have been answered while this one was at it.
		if earlier, done, again := d.answered(ctx, caller, key); done || countersign.ReasonOf(again) == keyReused {
			return earlier, again
		}
	}
	return object, err
}

const keyReused = "idempotency-key-reused"

// answered returns what an earlier command under the same key led to.
func (d *Desk) answered(ctx context.Context, caller Caller, key Key) (object string, done bool, err error) {
	kept, err := d.Store.Idempotency(ctx, string(caller.Identity), key.Route, key.Value)
	switch {
	case countersign.KindOf(err) == countersign.NotFound:
		return "", false, nil
	case err != nil:
		return "", false, err
	case kept.At < countersign.InstantOf(d.Clock.Now()).Add(-store.KeepAnswers):
		return "", false, nil
	case kept.Body != key.Body:
		return "", false, countersign.Errorf(countersign.Conflict, keyReused, "The Idempotency-Key %q was used with another body before; a new command needs a new key.", key.Value).At("Idempotency-Key")
	}
	return kept.Object, true, d.stopEnding(ctx, kept.Object)
}

// stopEnding makes checks refuse a grant whose end has begun, as the command that
// began it did where it ran. What is answered again may have been committed by
// another replica, or by a commit whose outcome this one did not hear.
func (d *Desk) stopEnding(ctx context.Context, object string) error {
	if countersign.PrefixOf(object) != "grt" {
		return nil
	}
	grant, err := d.Store.Grant(ctx, countersign.GrantID(object))
	if err == nil && (grant.State == countersign.GrantRevoking || grant.State == countersign.GrantRevoked) {
		d.Stop(false, object)
	}
	return err
}
