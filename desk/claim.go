package desk

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign"
)

// SystemState is how sure the record can be of a system.
type SystemState string

const (
	// SystemCurrent was read to the end within its interval.
	SystemCurrent SystemState = "current"
	// SystemLate was read, and longer ago than its interval.
	SystemLate SystemState = "late"
	// SystemNeverRead can be read and never was.
	SystemNeverRead SystemState = "never"
	// SystemManual has no connector that can list.
	SystemManual SystemState = "manual"
)

// SystemStates lists every state.
var SystemStates = []SystemState{SystemCurrent, SystemLate, SystemNeverRead, SystemManual}

// ReconciliationView is how one system stands.
type ReconciliationView struct {
	System    string              `json:"system"`
	Connector string              `json:"connector"`
	State     SystemState         `json:"state"`
	Every     countersign.Seconds `json:"every,omitempty"`
	ReadAt    countersign.Instant `json:"read_at,omitzero"`
	// FailingSince is set while the target gives no whole list; Trouble says why.
	FailingSince countersign.Instant     `json:"failing_since,omitzero"`
	Trouble      string                  `json:"trouble,omitempty"`
	Last         *countersign.Comparison `json:"last,omitempty"`
	// Baseline is what of the system was taken on the record without an approval.
	Baseline *countersign.Baseline `json:"baseline,omitempty"`
}

// Reconciliations lists the systems that the caller may see findings of, by name.
func (d *Desk) Reconciliations(ctx context.Context, caller Caller) (_ []ReconciliationView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	systems, _ := tx.seen(caller)
	return d.stand(ctx, systems, tx.now())
}

// stand says how systems stand that are not retired.
func (d *Desk) stand(ctx context.Context, systems []*countersign.System, now countersign.Instant) ([]ReconciliationView, error) {
	all, err := d.Store.Reconciliations(ctx)
	if err != nil {
		return nil, err
	}
	of := map[countersign.SystemID]*countersign.Reconciliation{}
	for _, one := range all {
		of[one.System] = one
	}
	views := []ReconciliationView{}
	for _, system := range systems {
		if system.Retired {
			continue
		}
		view := ReconciliationView{System: system.Name, Connector: system.Connector, State: SystemNeverRead, Every: d.every(system)}
		if one := of[system.ID]; one != nil {
			view.ReadAt, view.FailingSince, view.Trouble, view.Last, view.Baseline = one.ReadAt, one.FailingSince, one.Trouble, one.Last, one.Baseline
		}
		switch {
		case d.inventory(system) == nil:
			view.State, view.Every = SystemManual, 0
		case view.ReadAt == 0:
		// A quarter more is what reading it takes, and waiting for a turn.
		case now > view.ReadAt.Add(view.Every+max(countersign.Minute, view.Every/4)):
			view.State = SystemLate
		default:
			view.State = SystemCurrent
		}
		views = append(views, view)
	}
	return views, nil
}

// Verdict is what can be said of the claim.
type Verdict string

const (
	Holds       Verdict = "holds"
	DoesNotHold Verdict = "does-not-hold"
	NotProven   Verdict = "not-proven"
)

// TheClaim is what Claim judges.
const TheClaim = "Every live entitlement has exactly one approved, unexpired request."

// ClaimView is the claim with what it rests on.
type ClaimView struct {
	Claim   string  `json:"claim"`
	Verdict Verdict `json:"verdict"`
	// Because are the reasons why it does not hold, or is not proven.
	Because []string `json:"because"`
	// Systems are all that are not retired; Connected can be read, Manual cannot.
	Systems   int `json:"systems"`
	Connected int `json:"connected"`
	Manual    int `json:"manual"`
	Current   int `json:"current"`
	Late      int `json:"late"`
	NeverRead int `json:"never_read"`
	// Pairs were seen on the targets that are current; Ours are those of them that a
	// live grant gives.
	Pairs     int                       `json:"pairs"`
	Ours      int                       `json:"ours"`
	Unsettled int                       `json:"unsettled"`
	Live      []countersign.OriginCount `json:"live"`
	Expired   int                       `json:"expired"`
	// Legacy counts what baselines of current systems adopted, and how much of it has
	// neither ended nor been approved since; it counts as approved nowhere.
	Legacy LegacyCount `json:"legacy"`
	// Differences are those of the last lists of current systems, by kind.
	Differences []countersign.KindCount `json:"differences"`
	JudgedAt    countersign.Instant     `json:"judged_at"`
}

// LegacyCount is what baselines adopted, and what became of it.
type LegacyCount struct {
	Adopted   int `json:"adopted"`
	Left      int `json:"left"`
	WorkedOff int `json:"worked_off"`
}

// Claim judges whether every live entitlement has exactly one approved, unexpired
// request, with its denominator: for auditors and administrators.
func (d *Desk) Claim(ctx context.Context, caller Caller) (_ *ClaimView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	if !tx.power(caller.Identity, PowerAdministrator) && !tx.power(caller.Identity, PowerAuditor) {
		return nil, countersign.Errorf(countersign.Refused, "not-entitled-to-claim", "Only an auditor or an administrator sees what is proven of all systems.")
	}
	systems, _ := tx.seen(caller)
	views, err := d.stand(ctx, systems, tx.now())
	if err != nil {
		return nil, err
	}
	return judgeClaim(views, tx.now()), nil
}

func judgeClaim(views []ReconciliationView, now countersign.Instant) *ClaimView {
	claim := &ClaimView{Claim: TheClaim, JudgedAt: now, Because: []string{}, Live: []countersign.OriginCount{}, Differences: []countersign.KindCount{}}
	live, kinds := map[countersign.Origin]int{}, map[countersign.FindingKind]int{}
	var refuted, unproven []string
	for _, view := range views {
		claim.Systems++
		switch view.State {
		case SystemManual:
			claim.Manual++
			unproven = append(unproven, fmt.Sprintf("%s is looked after by hand", view.System))
			continue
		case SystemNeverRead:
			claim.Connected++
			claim.NeverRead++
			unproven = append(unproven, fmt.Sprintf("%s was never read", view.System))
			continue
		case SystemLate:
			claim.Connected++
			claim.Late++
			unproven = append(unproven, fmt.Sprintf("%s was last read at %s, which is past its interval", view.System, view.ReadAt))
			continue
		case SystemCurrent:
		}
		claim.Connected++
		claim.Current++
		claim.Pairs += view.Last.Pairs
		claim.Ours += view.Last.Ours
		claim.Unsettled += view.Last.Unsettled
		claim.Expired += view.Last.Expired
		claim.Legacy.Left += view.Last.Legacy
		if view.Baseline != nil {
			claim.Legacy.Adopted += view.Baseline.Adopted
		}
		if view.Baseline.Pending() {
			unproven = append(unproven, fmt.Sprintf("the baseline of %s is not adopted whole yet", view.System))
		}
		for _, count := range view.Last.Live {
			live[count.Origin] += count.Count
		}
		for _, count := range view.Last.Differences {
			kinds[count.Kind] += count.Count
		}
		if n := view.Last.Of(countersign.OutOfBandFinding); n > 0 {
			refuted = append(refuted, fmt.Sprintf("%s holds %d pair(s) that no live grant gives", view.System, n))
		}
	}
	claim.Legacy.WorkedOff = claim.Legacy.Adopted - claim.Legacy.Left
	for _, origin := range slices.Sorted(maps.Keys(live)) {
		claim.Live = append(claim.Live, countersign.OriginCount{Origin: origin, Count: live[origin]})
		switch origin {
		case countersign.FromRequest:
		case countersign.FromBaseline:
			refuted = append(refuted, fmt.Sprintf("%d live grant(s) are legacy, which a baseline adopted and nobody approved", live[origin]))
		case countersign.FromGenesis, countersign.FromRecovery, countersign.FromBirthright:
			refuted = append(refuted, fmt.Sprintf("%d live grant(s) come from %s and not from a request", live[origin], origin))
		}
	}
	if claim.Expired > 0 {
		refuted = append(refuted, fmt.Sprintf("%d live grant(s) are past their end", claim.Expired))
	}
	for _, kind := range countersign.FindingKinds {
		if kinds[kind] > 0 {
			claim.Differences = append(claim.Differences, countersign.KindCount{Kind: kind, Count: kinds[kind]})
		}
	}
	if claim.Unsettled > 0 {
		unproven = append(unproven, fmt.Sprintf("%d pair(s) were on their way and are judged with the next list", claim.Unsettled))
	}
	switch {
	case len(refuted) > 0:
		claim.Verdict = DoesNotHold
	case len(unproven) > 0 || claim.Systems == 0:
		claim.Verdict = NotProven
	default:
		claim.Verdict = Holds
	}
	claim.Because = append(append(claim.Because, refuted...), unproven...)
	return claim
}
