package pdp

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

const usePrefix = "used/"

// useGrain is how exactly the last use of an assignment is kept, in seconds: a
// yes costs no more than a look at the hour that was noted last.
const useGrain = countersign.Hour

// keptAtOnce is how many uses one step writes down.
const keptAtOnce = 200

// uses are the uses that are noted and not written down yet.
type uses struct {
	lock  sync.Mutex
	noted map[target.ID]countersign.Instant
}

// note keeps that the assignment gave a yes, once an hour. The caller holds the
// lock of the index at least to read.
func (u *uses) note(e *entry, at countersign.Instant) {
	hour := uint32(at.Time().Unix() / int64(useGrain))
	if atomic.LoadUint32(&e.used) == hour {
		return
	}
	atomic.StoreUint32(&e.used, hour)
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.noted == nil {
		u.noted = map[target.ID]countersign.Instant{}
	}
	u.noted[e.credential] = max(u.noted[e.credential], at)
}

func useKey(credential target.ID) string { return usePrefix + hex.EncodeToString(credential[:]) }

// KeepUses writes down the next uses that were noted, apart from every answer. What
// cannot be written is tried again with the next ones.
func (p *Point) KeepUses(ctx context.Context) error {
	p.uses.lock.Lock()
	next := make(map[target.ID]countersign.Instant, min(len(p.uses.noted), keptAtOnce))
	for credential, at := range p.uses.noted {
		if len(next) == keptAtOnce {
			break
		}
		next[credential] = at
	}
	p.uses.lock.Unlock()
	if len(next) == 0 {
		return nil
	}
	change := store.ShelfChange{Now: countersign.InstantOf(p.clock.Now())}
	for credential, at := range next {
		item, noted, err := p.noted(ctx, credential)
		if err != nil {
			return err
		}
		if at < noted.Add(useGrain) {
			continue
		}
		body, err := at.MarshalText()
		if err != nil {
			return err
		}
		change.Puts = append(change.Puts, store.Item{Key: useKey(credential), Version: item.Version + 1, Body: body})
	}
	if len(change.Puts) > 0 {
		err := p.shelf.Commit(ctx, change)
		var changed *store.Changed
		if errors.As(err, &changed) {
			// Another replica noted one of them at the same moment.
			return nil
		}
		if err != nil {
			return err
		}
	}
	p.uses.lock.Lock()
	defer p.uses.lock.Unlock()
	for credential, at := range next {
		if p.uses.noted[credential] == at {
			delete(p.uses.noted, credential)
		}
	}
	return nil
}

// noted returns the use that is written down; zero for none.
func (p *Point) noted(ctx context.Context, credential target.ID) (store.Item, countersign.Instant, error) {
	item, err := p.shelf.Item(ctx, useKey(credential))
	if countersign.KindOf(err) == countersign.NotFound {
		return store.Item{}, 0, nil
	}
	if err != nil {
		return store.Item{}, 0, err
	}
	var at countersign.Instant
	err = at.UnmarshalText(item.Body)
	return item, at, err
}

// LastUsed returns the last time that the assignment gave a yes, to the hour; zero
// for none.
func (p *Point) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	small, err := target.ParseID(credential)
	if err != nil {
		return 0, err
	}
	_, written, err := p.noted(ctx, small)
	if err != nil {
		return 0, err
	}
	p.uses.lock.Lock()
	defer p.uses.lock.Unlock()
	return max(written, p.uses.noted[small]), nil
}

func isUse(key string) bool { return strings.HasPrefix(key, usePrefix) }
