package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// ParkedView is an operation that waits for a person.
type ParkedView struct {
	Since  countersign.Instant `json:"since"`
	Person Ref                 `json:"person"`
	Why    string              `json:"why"`
}

// ParkedNotice is something that somebody should have been told, and that was
// given up.
type ParkedNotice struct {
	Channel  string              `json:"channel"`
	Kind     string              `json:"kind"`
	To       Ref                 `json:"to"`
	About    string              `json:"about"`
	Since    countersign.Instant `json:"since"`
	Attempts int64               `json:"attempts"`
	// Why is what the channel answered last.
	Why string `json:"why"`
}

// mostParked is how many parked notices are shown, and revived, at once.
const mostParked = 500

// ParkedNotices lists the notices that were given up, the oldest first: for an
// administrator or auditor.
func (d *Desk) ParkedNotices(ctx context.Context, caller Caller) ([]ParkedNotice, error) {
	if held, err := d.holdsAny(caller, PowerAdministrator, PowerAuditor); err != nil {
		return nil, err
	} else if !held {
		return nil, countersign.Errorf(countersign.Refused, "not-entitled-to-notices", "Only an administrator or an auditor sees what others could not be told.")
	}
	known, _, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	works, err := d.Store.Parked(ctx, store.NoticeWork, mostParked)
	if err != nil {
		return nil, err
	}
	notices := make([]ParkedNotice, 0, len(works))
	for _, work := range works {
		key, err := parseNoticeKey(work.Key)
		if err != nil {
			return nil, err
		}
		notices = append(notices, ParkedNotice{
			Channel: key.channel, Kind: key.kind, To: known.ref(key.person), About: string(key.stream), Since: work.ParkedAt, Attempts: int64(work.Attempt), Why: work.Trouble,
		})
	}
	return notices, nil
}

// RetryNotices makes notices that were given up due again, the oldest first, and
// returns how many: for an administrator, when the channel is repaired.
func (d *Desk) RetryNotices(ctx context.Context, caller Caller) (int64, error) {
	if held, err := d.holdsAny(caller, PowerAdministrator); err != nil {
		return 0, err
	} else if !held {
		return 0, countersign.Errorf(countersign.Refused, "not-entitled-to-notices", "Only an administrator has notices sent that were given up.")
	}
	works, err := d.Store.Parked(ctx, store.NoticeWork, mostParked)
	if err != nil {
		return 0, err
	}
	err = d.settleNotices(ctx, works, func(tx *transaction, work store.Work) store.WorkWrite {
		fresh := store.Work{Key: work.Key, Kind: work.Kind, Ref: work.Ref, DueAt: tx.now()}
		return store.WorkWrite{Work: fresh, Attempt: work.Attempt}
	})
	return int64(len(works)), err
}
