package pdp

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Listed is one assignment as the decision point answers by it.
type Listed struct {
	Credential countersign.CredentialID
	Subject    countersign.IdentityID
	Action     string
	// Resource is "system/resource".
	Resource string
	Until    countersign.Instant
}

// List calls found for each assignment on the system that counts now, in the order
// of their credentials: those that Evaluate answers by, once everything is there that
// was committed before the call. To read the shelf would be to read all systems for
// each of them. An item that cannot be understood gives nothing and is left out, as
// it is by Evaluate.
func (p *Point) List(ctx context.Context, system countersign.SystemID, found func(Listed) error) error {
	small, err := target.ParseID(system)
	if err != nil {
		return err
	}
	if err := p.catchUp(ctx); err != nil {
		return countersign.Errorf(countersign.Unavailable, string(Stale), "the assignments cannot be read now").Because(err)
	}
	listed := p.on(small)
	slices.SortFunc(listed, func(a, b Listed) int { return cmp.Compare(a.Credential, b.Credential) })
	for _, one := range listed {
		if err := found(one); err != nil {
			return err
		}
	}
	return nil
}

// on returns the assignments on the system that count now. Checks are answered between
// one page of the index and the next; an assignment stays in its place while it moves.
func (p *Point) on(system target.ID) (listed []Listed) {
	now := countersign.InstantOf(p.clock.Now())
	for page := 0; ; page++ {
		p.mu.RLock()
		if page >= len(p.index.pages) {
			p.mu.RUnlock()
			return listed
		}
		for i := range p.index.pages[page] {
			e := &p.index.pages[page][i]
			if e.credential == (target.ID{}) || p.index.byScope[e.scope].system != system || e.until != 0 && e.until <= now {
				continue
			}
			listed = append(listed, Listed{
				countersign.CredentialID(e.credential.String()), countersign.IdentityID(e.subject.String()), p.index.byName[e.action], p.index.byName[e.resource], e.until,
			})
		}
		p.mu.RUnlock()
	}
}

// catchUpPause is how long a transaction that holds back what others have written is
// given to end before the shelf is looked at again.
const catchUpPause = 50 * time.Millisecond

// catchUp follows the shelf until memory shows all that was committed before the
// call: until a heartbeat comes back that was written after it.
func (p *Point) catchUp(ctx context.Context) error {
	p.following.Lock()
	defer p.following.Unlock()
	for next := p.beat.version + 1; ; {
		if err := p.follow(ctx, next, false); err != nil {
			return err
		}
		awaited := !p.beat.begun.IsZero()
		if p.beat.key == "" || !awaited && p.beat.version >= next {
			return nil
		}
		if !awaited {
			continue
		}
		p.following.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(catchUpPause):
		}
		p.following.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
