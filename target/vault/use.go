package vault

import (
	"context"
	"sync"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// useGrain is how exactly the last use of a key is kept, in seconds: a write for
// every check would make checks as dear as commands.
const useGrain = countersign.Hour

// uses remembers which uses this process has looked after already.
type uses struct {
	lock    sync.Mutex
	written map[countersign.CredentialID]countersign.Instant
}

// usePrefix begins the keys of items that keep a last use.
const usePrefix = "used/"

func useKey(credential countersign.CredentialID) string { return usePrefix + string(credential) }

// noteUse keeps that a key was used at an instant, at most once an hour, also
// where several processes check it.
func (v *Vault) noteUse(ctx context.Context, credential countersign.CredentialID, at countersign.Instant) error {
	v.uses.lock.Lock()
	last, known := v.uses.written[credential]
	v.uses.lock.Unlock()
	if known && at < last.Add(useGrain) {
		return nil
	}
	err := target.Commit(ctx, v.shelf, v.clock, 0, func(countersign.Instant) (*store.ShelfChange, error) {
		item, err := v.shelf.Item(ctx, useKey(credential))
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
	v.uses.lock.Lock()
	defer v.uses.lock.Unlock()
	v.uses.written[credential] = at
	return nil
}

// LastUsed returns the last time that the key was shown and found active, to the
// hour; zero for none.
func (v *Vault) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	item, err := v.shelf.Item(ctx, useKey(credential))
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
