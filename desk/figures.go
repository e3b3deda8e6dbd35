package desk

import (
	"context"
	"maps"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// Figures are what an operator's monitoring is told of the record. They name
// nobody.
type Figures struct {
	// Backlog has every kind of work, also those of which nothing waits.
	store.Backlog
	// OldestUntold is when that came about which a channel has refused most often.
	OldestUntold countersign.Instant
	// OldestUnwritten is when that came about which a ticket system has not taken most
	// often.
	OldestUnwritten countersign.Instant
	// Powers are those of the desk, by name.
	Powers map[string]PowerFigures
	// Systems counts those that are not retired, by how sure the record can be of them.
	Systems map[SystemState]int
	// Owners counts machines and systems by how it stands with who answers for them.
	Owners map[OwnerState]int
	// Ahead counts commits to streams whose last event had a later time than the
	// commit, since this process began.
	Ahead int64
}

// PowerFigures say how many active people hold a power, and when the first of them
// loses it; 0 for never.
type PowerFigures struct {
	Holders  int
	FirstEnd countersign.Instant
}

// tolerated is how far the time of two events may lie apart that two replicas
// wrote whose clocks are both good enough to work.
const tolerated countersign.Seconds = 4

// noticeAhead counts a stream whose last event is later than now: its order is its
// sequence, and somebody has to be told that a clock was wrong.
func (d *Desk) noticeAhead(head store.Head, now countersign.Instant) {
	if head.Time > now.Add(tolerated) {
		d.ahead.Add(1)
	}
}

// Figures reads the figures of this moment: a handful of looks at what waits, and
// one at the holders of powers.
func (d *Desk) Figures(ctx context.Context) (*Figures, error) {
	now := countersign.InstantOf(d.Clock.Now())
	known, active, err := d.refresh(ctx, d.Store)
	if err != nil {
		return nil, err
	}
	figures := &Figures{Powers: map[string]PowerFigures{}, Ahead: d.ahead.Load()}
	if figures.Backlog, err = d.Store.Backlog(ctx, now); err != nil {
		return nil, err
	}
	for _, kind := range store.WorkKinds {
		for _, queues := range []map[store.WorkKind]store.Queue{figures.Due, figures.Parked} {
			if _, waits := queues[kind]; !waits {
				queues[kind] = store.Queue{}
			}
		}
	}
	if figures.Untold.Key != "" {
		key, err := parseNoticeKey(figures.Untold.Key)
		if err != nil {
			return nil, err
		}
		event, err := d.toldOf(ctx, key)
		if err != nil {
			return nil, err
		}
		figures.OldestUntold = event.Header.Time
	}
	if figures.OldestUnwritten, err = d.unwrittenSince(ctx, figures.Unwritten); err != nil {
		return nil, err
	}
	figures.Systems = map[SystemState]int{}
	for _, state := range SystemStates {
		figures.Systems[state] = 0
	}
	views, err := d.stand(ctx, slices.Collect(maps.Values(known.systems)), now)
	if err != nil {
		return nil, err
	}
	for _, view := range views {
		figures.Systems[view.State]++
	}
	figures.Owners = map[OwnerState]int{}
	for _, state := range OwnerStates {
		figures.Owners[state] = 0
	}
	for _, o := range known.ownerships(active.ownerTerms(), now) {
		figures.Owners[o.state(now)]++
	}
	system := known.systemNames[SystemName]
	for _, entitlement := range known.entitlements {
		if entitlement.System == system && !entitlement.Retired {
			figures.Powers[entitlement.Name] = PowerFigures{}
		}
	}
	live, err := d.Store.Grants(ctx, store.GrantQuery{System: system, States: []countersign.GrantState{countersign.GrantLive}})
	if err != nil {
		return nil, err
	}
	for _, grant := range live {
		entitlement, holder := known.entitlements[grant.Entitlement], known.identities[grant.Holder]
		if entitlement == nil || entitlement.Retired || holder == nil || !holder.ActiveAt(now) {
			continue
		}
		power := figures.Powers[entitlement.Name]
		power.Holders++
		power.FirstEnd = countersign.Earliest(power.FirstEnd, grant.Until)
		figures.Powers[entitlement.Name] = power
	}
	return figures, nil
}
