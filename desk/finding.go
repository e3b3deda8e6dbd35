package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

// FindingView is one finding as a person sees it.
type FindingView struct {
	ID       countersign.FindingID    `json:"id"`
	Version  int64                    `json:"version"`
	Kind     countersign.FindingKind  `json:"kind"`
	State    countersign.FindingState `json:"state"`
	System   string                   `json:"system"`
	Text     string                   `json:"text"`
	Owner    Ref                      `json:"owner"`
	OpenedAt countersign.Instant      `json:"opened_at"`
	Deadline countersign.Instant      `json:"deadline"`
	// Overdue says that the deadline has passed while it is open.
	Overdue     bool   `json:"overdue"`
	Principal   string `json:"principal"`
	Holder      Ref    `json:"holder,omitzero"`
	Resource    string `json:"resource,omitempty"`
	Entitlement string `json:"entitlement,omitempty"`
	// AskFor is the entitlement whose grant could adopt this.
	AskFor     string                   `json:"ask_for,omitempty"`
	Credential countersign.CredentialID `json:"credential,omitempty"`
	Grant      countersign.GrantID      `json:"grant,omitempty"`
	// Removal is set once somebody asked for it to be taken away.
	Removal  *RemovalView        `json:"removal,omitempty"`
	ClosedAt countersign.Instant `json:"closed_at,omitzero"`
	// ClosedBecause says why it is closed although no list showed it to be gone.
	ClosedBecause countersign.ClosedBecause `json:"closed_because,omitempty"`
}

// FindingFilter selects findings.
type FindingFilter struct {
	System string
	All    bool
	Before countersign.FindingID
	Limit  int
}

// seesFindings says who sees what was found on a system: who answers for it,
// administrators and auditors.
func (tx *transaction) seesFindings(caller Caller, system *countersign.System) bool {
	return system.Owner == caller.Identity || system.SecondOwner == caller.Identity ||
		tx.power(caller.Identity, PowerAdministrator) || tx.power(caller.Identity, PowerAuditor)
}

// seen returns the systems whose findings the caller sees, by name; all says that
// these are all that there are.
func (tx *transaction) seen(caller Caller) (systems []*countersign.System, all bool) {
	all = true
	for _, system := range tx.directory.systems {
		if tx.seesFindings(caller, system) {
			systems = append(systems, system)
		} else {
			all = false
		}
	}
	slices.SortFunc(systems, func(a, b *countersign.System) int { return strings.Compare(a.Name, b.Name) })
	return systems, all
}

// Findings lists findings, newest first.
func (d *Desk) Findings(ctx context.Context, caller Caller, filter FindingFilter) (_ []FindingView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	query := store.FindingQuery{All: filter.All, Before: filter.Before, Limit: limitOf(filter.Limit)}
	if filter.System != "" {
		system := tx.directory.findSystem(filter.System)
		if system == nil || !tx.seesFindings(caller, system) {
			return nil, notFound("system", filter.System)
		}
		query.Systems = []countersign.SystemID{system.ID}
	} else if systems, all := tx.seen(caller); !all {
		if len(systems) == 0 {
			return []FindingView{}, nil
		}
		for _, system := range systems {
			query.Systems = append(query.Systems, system.ID)
		}
	}
	findings, err := d.Store.Findings(ctx, query)
	if err != nil {
		return nil, err
	}
	views := make([]FindingView, 0, len(findings))
	for _, finding := range findings {
		views = append(views, *tx.findingView(finding))
	}
	return views, nil
}

// Finding shows one.
func (d *Desk) Finding(ctx context.Context, caller Caller, id countersign.FindingID) (_ *FindingView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	finding, err := tx.seenFinding(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	view := tx.findingView(finding)
	if removal := finding.Removal; removal != nil && !removal.ByHand && finding.State == countersign.FindingOpen {
		work, err := d.Store.Work(ctx, store.RemovalKey(finding))
		if err != nil && countersign.KindOf(err) != countersign.NotFound {
			return nil, err
		}
		view.Removal.Trouble, view.Removal.Attempts = work.Trouble, work.Attempt
	}
	return view, nil
}

// seenFinding returns a finding that the caller may see.
func (tx *transaction) seenFinding(ctx context.Context, caller Caller, id countersign.FindingID) (*countersign.Finding, error) {
	finding, err := tx.desk.Store.Finding(ctx, id)
	if err != nil && countersign.KindOf(err) != countersign.NotFound {
		return nil, err
	}
	if err == nil {
		if system := tx.directory.systems[finding.System]; system != nil && tx.seesFindings(caller, system) {
			return finding, nil
		}
	}
	return nil, notFound("finding", string(id))
}

func (tx *transaction) findingView(f *countersign.Finding) *FindingView {
	view := &FindingView{
		ID: f.ID, Version: f.Version, Kind: f.Kind, State: f.State, System: string(f.System), Owner: tx.directory.ref(f.Owner),
		OpenedAt: f.OpenedAt, Deadline: f.Deadline, Overdue: f.State == countersign.FindingOpen && tx.now() >= f.Deadline,
		AskFor: tx.directory.askFor(f), Principal: f.Principal, Resource: f.Resource, Entitlement: f.Entitlement, Credential: f.Credential, Grant: f.Grant, ClosedAt: f.ClosedAt,
		Removal: tx.removalView(f), ClosedBecause: f.ClosedBecause,
	}
	if system := tx.directory.systems[f.System]; system != nil {
		view.System = system.Name
	}
	principal := f.Principal
	if f.Holder != "" {
		view.Holder = tx.directory.ref(f.Holder)
		principal = view.Holder.Name
		if f.Principal != string(f.Holder) {
			principal += " (" + f.Principal + ")"
		}
	}
	right := view.System
	for _, part := range []string{f.Resource, f.Entitlement} {
		if part != "" {
			right += "/" + part
		}
	}
	view.Text = findingText(f.Kind, right, principal)
	return view
}

// findingText says in words what was found.
func findingText(kind countersign.FindingKind, right, principal string) string {
	switch kind {
	case countersign.OutOfBandFinding:
		return fmt.Sprintf("%s has %s, and no live grant gives it", principal, right)
	case countersign.LostFinding:
		return fmt.Sprintf("a live grant gives %s to %s, and the target has it not", right, principal)
	case countersign.OrphanedFinding:
		return fmt.Sprintf("the account %s belongs to no active identity", principal)
	case countersign.UnownedFinding:
		return fmt.Sprintf("%s has access, and no active person answers for it", principal)
	}
	return string(kind)
}
