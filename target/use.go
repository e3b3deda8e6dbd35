package target

import (
	"context"
	"sync"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// useGrain is how exactly the last use of a credential is kept, in seconds: a write
// for every check would make checks as dear as commands.
const useGrain = countersign.Hour

// UsePrefix begins the keys of items that keep a last use.
const UsePrefix = "used/"

// Uses keeps when credentials were last used, to the hour, as items of the
// target's own shelf. Its methods may be called at once.
type Uses struct {
	shelf store.Shelf
	clock interface{ Now() time.Time }
	lock  sync.Mutex
	// written remembers which uses this process has looked after already.
	written map[countersign.CredentialID]countersign.Instant
}

// NewUses returns the uses that the shelf keeps.
func NewUses(shelf store.Shelf, clock interface{ Now() time.Time }) *Uses {
	return &Uses{shelf: shelf, clock: clock, written: map[countersign.CredentialID]countersign.Instant{}}
}

func useKey(credential countersign.CredentialID) string { return UsePrefix + string(credential) }

// Note keeps that a credential was used at an instant, at most once an hour, also
// where several processes check it.
func (u *Uses) Note(ctx context.Context, credential countersign.CredentialID, at countersign.Instant) error {
	u.lock.Lock()
	last, known := u.written[credential]
	u.lock.Unlock()
	if known && at < last.Add(useGrain) {
		return nil
	}
	err := Commit(ctx, u.shelf, u.clock, 0, func(countersign.Instant) (*store.ShelfChange, error) {
		item, err := u.shelf.Item(ctx, useKey(credential))
		if err != nil && countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		if err == nil {
			var noted countersign.Instant
			if err := noted.UnmarshalText(item.Body); err != nil || at < noted.Add(useGrain) {
				return nil, err
			}
		}
		body, err := at.MarshalText()
		if err != nil {
			return nil, err
		}
		return &store.ShelfChange{Puts: []store.Item{{Key: useKey(credential), Version: item.Version + 1, Body: body}}}, nil
	})
	if err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.written[credential] = at
	return nil
}

// Last returns the last use of the credential that was noted, to the hour; zero
// for none.
func (u *Uses) Last(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	item, err := u.shelf.Item(ctx, useKey(credential))
	if countersign.KindOf(err) == countersign.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var at countersign.Instant
	err = at.UnmarshalText(item.Body)
	return at, err
}
