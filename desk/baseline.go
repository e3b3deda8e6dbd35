package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/reconcile"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// What a system held before anybody asked here is taken on the record once, by two
// people: one proposes the list of it, the other signs exactly that list. It becomes
// grants of the origin legacy with an end, which claim no approval. Nothing is changed
// on the target.

const (
	// BaselineTime is how long adopted access lasts where nothing else is said, and
	// MaxBaselineTime the longest that can be.
	BaselineTime    = 90 * countersign.Day
	MaxBaselineTime = 180 * countersign.Day
	// baselineListTime is how long the target may take to list: somebody waits for it.
	baselineListTime = 20 * time.Second
	// baselinePart is how many pairs are kept, shown and adopted together.
	baselinePart = 500
	// baselineReminder is how long before the end holders are reminded of it.
	baselineReminder = 14 * countersign.Day
	// mostLines is how many lines the page of a baseline has of one kind.
	mostLines = 50
)

// baselineList is what a baseline is about, as it is kept.
type baselineList struct {
	System    countersign.SystemID `json:"system"`
	Connector string               `json:"connector"`
	ReadAt    countersign.Instant  `json:"read_at"`
	// List is the digest of all that the target listed.
	List     countersign.Digest  `json:"list"`
	Lasts    countersign.Seconds `json:"lasts"`
	Accounts int                 `json:"accounts"`
	Pairs    int                 `json:"pairs"`
	Ours     int                 `json:"ours"`
	Adopts   int                 `json:"adopts"`
	Holders  int                 `json:"holders"`
	Rights   map[string]int      `json:"rights"`
	Left     map[string]int      `json:"left"`
	// Parts are the digests of the pairs, each with those that are left.
	Parts []countersign.Digest `json:"parts"`
}

// BaselinePair is one pair of a baseline, as the target lists it.
type BaselinePair struct {
	Principal   string                    `json:"principal"`
	Holder      countersign.IdentityID    `json:"holder,omitempty"`
	Resource    string                    `json:"resource,omitempty"`
	Right       string                    `json:"right"`
	Entitlement countersign.EntitlementID `json:"entitlement,omitempty"`
	// Left says why it is not adopted and stays a finding; "" where it is.
	Left string `json:"left,omitempty"`
}

func (p BaselinePair) listed() [3]string { return [3]string{p.Principal, p.Resource, p.Right} }

// Why a pair is left.
const (
	leftUnknown   = "its account belongs to no identity"
	leftInactive  = "its holder has left"
	leftUnowned   = "nobody active answers for its holder"
	leftNoRight   = "the catalogue has no such entitlement"
	leftAmbiguous = "the catalogue has several entitlements of the name"
	leftHeld      = "its holder has the entitlement by another grant or account"
	leftMarked    = "it bears a mark of the house that no grant has"
	leftRemoving  = "somebody asked for its removal"
	leftReserved  = "the entitlement is for break-glass"
)

// answersFor reports whether somebody answers for the system.
func answersFor(system *countersign.System, who countersign.IdentityID) bool {
	return system != nil && (system.Owner == who || system.SecondOwner == who)
}

// ProposeBaseline has the system's target listed and proposes to take what it holds on
// the record: by who answers for the system, or an administrator.
func (d *Desk) ProposeBaseline(ctx context.Context, caller Caller, key Key, name string, lasts countersign.Seconds, reason string) (countersign.ProposalID, error) {
	if err := checkReason(reason); err != nil {
		return "", err
	}
	if lasts = cmp.Or(lasts, BaselineTime); lasts < countersign.Hour || lasts > MaxBaselineTime {
		return "", countersign.Errorf(countersign.Invalid, "malformed-duration", "What a baseline adopts lasts between 1 hour and %s, not %s.", MaxBaselineTime, lasts).At("/duration")
	}
	// What was answered is answered again, whatever has become of the baseline since.
	if object, done, err := d.Answered(ctx, caller, key); done || err != nil {
		return countersign.ProposalID(object), err
	}
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return "", err
	}
	system, err := tx.baselineOf(ctx, caller, name)
	if err != nil {
		return "", err
	}
	reading, err := tx.reading(ctx, system)
	if err != nil {
		return "", err
	}
	listing, cancel := context.WithTimeout(ctx, baselineListTime)
	defer cancel()
	if err := reading.Target.List(listing, reading.Scope, reading.Found); err != nil {
		if errors.Is(listing.Err(), context.DeadlineExceeded) {
			return "", countersign.Errorf(countersign.Unavailable, "list-too-slow", "The target of %s took more than %s to list what it holds.", name, baselineListTime)
		}
		return "", countersign.Errorf(countersign.Unavailable, "connector-unavailable", "The target of %s gave no whole list: %s", name, troubleOf(err)).Because(err)
	}
	list, parts, err := d.baselineList(ctx, reading, lasts)
	if err != nil {
		return "", err
	}
	if list.Adopts == 0 {
		return "", countersign.Errorf(countersign.Conflict, "nothing-to-adopt", "%s", cmp.Or(list.nothing(), "The target of "+system.Name+" holds nothing that no grant gives.")).With(list.leftLines())
	}
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		system, err := tx.baselineOf(ctx, caller, name)
		if err != nil {
			return "", err
		}
		if err := tx.mayBaseline(ctx, caller, system); err != nil {
			return "", err
		}
		content, err := countersign.Canonical(list)
		if err != nil {
			return "", err
		}
		digest := countersign.DigestBytes(baselineDomain, content)
		tx.change.Contents = append(parts, store.Content{Digest: digest, Bytes: content})
		return tx.draft(ctx, countersign.BaselineProposal, digest, system.ID, reason)
	})
	return countersign.ProposalID(id), err
}

// baselineOf finds a system that a baseline can be made of, as things stand.
func (tx *transaction) baselineOf(ctx context.Context, caller Caller, name string) (*countersign.System, error) {
	system, err := tx.reconcilable(caller, name)
	if err != nil {
		return nil, err
	}
	if problem, err := tx.refuseBaseline(ctx, system); err != nil || problem != nil {
		return nil, cmp.Or(err, problem)
	}
	return system, nil
}

// refuseBaseline says why nothing can be adopted on the system; nil where it can.
func (tx *transaction) refuseBaseline(ctx context.Context, system *countersign.System) (problem, err error) {
	before, err := tx.reconciliationOf(ctx, system.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case system.Name == SystemName:
		return countersign.Errorf(countersign.Refused, "desk-powers", "The powers of the desk are asked for, and never adopted."), nil
	case before == nil || before.ReadAt == 0:
		return countersign.Errorf(countersign.Conflict, "never-read", "%s was never read to the end yet: see countersign reconcile ls.", system.Name), nil
	case before.Baseline != nil:
		b := before.Baseline
		return countersign.Errorf(countersign.Conflict, "baseline-signed", "%s has its baseline, the only one: %s signed it at %s (%s). What was given by hand since is adopted by a request, or removed: see countersign finding ls.",
			system.Name, tx.directory.nameOf(b.SignedBy), b.SignedAt, b.Proposal), nil
	}
	return nil, nil
}

// mayBaseline refuses who neither answers for the system nor is an administrator, in
// this transaction.
func (tx *transaction) mayBaseline(ctx context.Context, caller Caller, system *countersign.System) error {
	identity := tx.directory.identities[caller.Identity]
	if identity == nil || !identity.Human() || !identity.ActiveAt(tx.now()) {
		return countersign.Errorf(countersign.Refused, "needs-person", "A baseline is proposed and signed by people.")
	}
	tx.relyOn(identity, system)
	if answersFor(system, caller.Identity) {
		return nil
	}
	holds, err := tx.holdsPower(ctx, caller.Identity, powersFor(countersign.BaselineProposal)...)
	if err == nil && !holds {
		err = countersign.Errorf(countersign.Refused, "not-the-owner", "Only who answers for %s, or an administrator, proposes and signs its baseline.", system.Name)
	}
	return err
}

// baselineList says of each pair that no grant gives whether it can be adopted.
func (d *Desk) baselineList(ctx context.Context, r *Reconciling, lasts countersign.Seconds) (*baselineList, []store.Content, error) {
	list := &baselineList{
		System: r.system.ID, Connector: r.system.Connector, ReadAt: r.began, Lasts: lasts, Rights: map[string]int{}, Left: map[string]int{},
	}
	list.Accounts, list.Pairs, list.Ours, _ = r.Counts()
	differences, err := d.confirmed(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	removing, err := d.removing(ctx, r.system.ID)
	if err != nil {
		return nil, nil, err
	}
	match := r.matching(removing)
	holders := map[countersign.IdentityID]bool{}
	var pairs []BaselinePair
	for _, difference := range differences {
		if difference.Kind != countersign.OutOfBandFinding {
			continue
		}
		pair := match.pair(difference)
		if pair.Left != "" {
			list.Left[pair.Left]++
		} else {
			list.Adopts++
			list.Rights[r.directory.entitlementRef(pair.Entitlement).Name]++
			holders[pair.Holder] = true
		}
		pairs = append(pairs, pair)
	}
	list.Holders, list.List = len(holders), r.List()
	var parts []store.Content
	for some := range slices.Chunk(pairs, baselinePart) {
		content, err := countersign.Canonical(some)
		if err != nil {
			return nil, nil, err
		}
		digest := countersign.DigestBytes(baselineDomain, content)
		list.Parts, parts = append(list.Parts, digest), append(parts, store.Content{Digest: digest, Bytes: content})
	}
	return list, parts, nil
}

// removing are the accesses whose removal somebody asked for.
func (d *Desk) removing(ctx context.Context, system countersign.SystemID) (map[[3]string]bool, error) {
	open, err := d.Store.Findings(ctx, store.FindingQuery{Systems: []countersign.SystemID{system}})
	if err != nil {
		return nil, err
	}
	removing := map[[3]string]bool{}
	for _, finding := range open {
		if finding.Removal != nil {
			removing[[3]string{finding.Principal, finding.Resource, finding.Entitlement}] = true
		}
	}
	return removing, nil
}

// matching finds the entitlements of what a target lists.
type matching struct {
	*Reconciling
	// rights are the system's entitlements by resource and name, and by name alone
	// under the resource ""; "" where there are several.
	rights   map[[2]string]countersign.EntitlementID
	taken    map[heldPair]bool
	removing map[[3]string]bool
}

// heldPair is a holder with an entitlement.
type heldPair struct {
	holder      countersign.IdentityID
	entitlement countersign.EntitlementID
}

func (r *Reconciling) matching(removing map[[3]string]bool) *matching {
	m := &matching{Reconciling: r, rights: map[[2]string]countersign.EntitlementID{}, taken: map[heldPair]bool{}, removing: removing}
	for id := range r.directory.entitlements {
		item, err := r.directory.rightOf(id)
		if err != nil || item.system.ID != r.system.ID || item.entitlement.Retired {
			continue
		}
		m.rights[[2]string{item.resource.Name, item.entitlement.Name}] = id
		alone := [2]string{"", item.entitlement.Name}
		if _, several := m.rights[alone]; several {
			id = ""
		}
		m.rights[alone] = id
	}
	for _, grant := range r.grants {
		m.taken[heldPair{grant.Holder, grant.Entitlement}] = true
	}
	return m
}

// pair says of one difference whether it can be adopted, and takes its place.
func (m *matching) pair(difference reconcile.Difference) BaselinePair {
	pair := BaselinePair{Principal: difference.Principal, Holder: difference.Holder, Resource: difference.Resource, Right: difference.Entitlement}
	var known bool
	pair.Entitlement, known = m.rights[[2]string{pair.Resource, pair.Right}]
	pair.Left = standings{m.directory, m.began}.leftBecause(pair)
	switch {
	case pair.Left != "":
	case difference.Credential != "":
		pair.Left = leftMarked
	case m.removing[pair.listed()]:
		pair.Left = leftRemoving
	case !known:
		pair.Left = leftNoRight
	case pair.Entitlement == "":
		pair.Left = leftAmbiguous
	case m.directory.entitlements[pair.Entitlement].EligibleFor != "":
		pair.Left = leftReserved
	case m.taken[heldPair{pair.Holder, pair.Entitlement}]:
		pair.Left = leftHeld
	default:
		m.taken[heldPair{pair.Holder, pair.Entitlement}] = true
	}
	if pair.Left != "" {
		pair.Entitlement = ""
	}
	return pair
}

// leftBecause says why nobody can hold the pair by a grant now.
func (s standings) leftBecause(pair BaselinePair) string {
	standing := s.Standing(pair.Holder)
	switch {
	case pair.Holder == "":
		return leftUnknown
	case !standing.Active:
		return leftInactive
	case standing.Unowned:
		return leftUnowned
	}
	return ""
}

func (l *baselineList) nothing() string {
	if len(l.Left) == 0 {
		return ""
	}
	return "Nothing of what the target holds can be adopted: account and entitlement of each pair must be known here."
}

func (l *baselineList) leftLines() []string {
	lines := []string{}
	for _, why := range slices.Sorted(maps.Keys(l.Left)) {
		lines = append(lines, fmt.Sprintf("leaves %d pair(s) as findings: %s", l.Left[why], why))
	}
	return lines
}

// lines tell what signing the list would do.
func (l *baselineList) lines(system *countersign.System, removes bool) []string {
	lines := []string{
		fmt.Sprintf("%s was read at %s: %d account(s) and %d pair(s), of which live grants give %d; the list is %s", system.Name, l.ReadAt, l.Accounts, l.Pairs, l.Ours, l.List),
		fmt.Sprintf("adopts %d pair(s) of %d holder(s) as legacy, for %s from the signature on; nobody approved them, and only a request with its approval makes them longer", l.Adopts, l.Holders, l.Lasts),
	}
	lines = append(lines, l.leftLines()...)
	rights := slices.Sorted(maps.Keys(l.Rights))
	for i, name := range rights {
		if i == mostLines {
			lines = append(lines, fmt.Sprintf("and %d more entitlements", len(rights)-mostLines))
			break
		}
		lines = append(lines, fmt.Sprintf("%s: %d holder(s)", name, l.Rights[name]))
	}
	if !removes {
		lines = append(lines, fmt.Sprintf("the connector %q cannot take away what others gave: each end waits for people who do it on the target, and is seen by the next look", l.Connector))
	}
	return lines
}

// removes reports whether the connector can take away what others gave.
func (d *Desk) removes(name string) bool {
	hands, err := d.Connectors.Find(name)
	if err != nil {
		return false
	}
	_, can := hands.(connector.Remover)
	return can
}

// proposeBaseline finds out what signing a kept list would do today.
func (tx *transaction) proposeBaseline(ctx context.Context, proposal *countersign.Proposal, content []byte) (*proposed, error) {
	list := &baselineList{}
	if err := json.Unmarshal(content, list); err != nil {
		return nil, err
	}
	would := &proposed{baseline: list}
	system := tx.directory.systems[proposal.System]
	if system == nil || tx.desk.inventory(system) == nil || system.Connector != list.Connector {
		would.problems = []string{"The system is retired, or is reached by a connector that did not make this list."}
		return would, nil
	}
	problem, err := tx.refuseBaseline(ctx, system)
	if err != nil {
		return nil, err
	}
	if problem != nil {
		would.problems = []string{problem.Error()}
	}
	would.changes = list.lines(system, tx.desk.removes(system.Connector))
	return would, nil
}

// signBaseline puts a baseline in force: what it lists is adopted by the next reading
// of the target, as far as it is still there.
func (tx *transaction) signBaseline(ctx context.Context, caller Caller, proposal *countersign.Proposal, list *baselineList) error {
	before, err := tx.reconciliationOf(ctx, proposal.System)
	if err != nil {
		return err
	}
	signed := &workflow.BaselineSigned{Change: workflow.BaselineSignedChange{
		System: proposal.System, Proposal: proposal.ID, List: proposal.Files, ProposedBy: proposal.By, SignedBy: caller.Identity,
		Until: tx.now().Add(list.Lasts), Pairs: list.Adopts, Parts: len(list.Parts),
	}}
	if err := tx.reconciled(before, signed); err != nil {
		return err
	}
	return tx.readNow(ctx, proposal.System)
}

// BaselinePairs shows one part of what a baseline lists, from 0 on, and how many parts
// there are: to whoever sees the proposal.
func (d *Desk) BaselinePairs(ctx context.Context, caller Caller, id countersign.ProposalID, part int) (_ []BaselinePair, _ int, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, 0, err
	}
	defer tx.orStale(&err)
	proposal, err := d.Store.Proposal(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound {
		return nil, 0, notFound("proposal", string(id))
	}
	if err != nil {
		return nil, 0, err
	}
	if _, err := tx.standOnProposal(proposal); err != nil {
		return nil, 0, err
	}
	if proposal.Kind != countersign.BaselineProposal {
		return nil, 0, countersign.Errorf(countersign.Conflict, "no-baseline", "The proposal %s is no baseline of a system.", id)
	}
	list, err := d.keptBaseline(ctx, proposal.Files)
	if err != nil {
		return nil, 0, err
	}
	if part < 0 || part >= len(list.Parts) {
		return []BaselinePair{}, len(list.Parts), nil
	}
	pairs, err := d.keptPairs(ctx, list.Parts[part])
	return pairs, len(list.Parts), err
}

func (d *Desk) keptBaseline(ctx context.Context, digest countersign.Digest) (*baselineList, error) {
	list := &baselineList{}
	return list, d.kept(ctx, digest, list)
}

func (d *Desk) keptPairs(ctx context.Context, digest countersign.Digest) ([]BaselinePair, error) {
	var pairs []BaselinePair
	err := d.kept(ctx, digest, &pairs)
	return pairs, err
}

func (d *Desk) kept(ctx context.Context, digest countersign.Digest, into any) error {
	content, err := d.Store.Content(ctx, digest)
	if err != nil {
		return err
	}
	if countersign.DigestBytes(baselineDomain, content) != digest {
		return countersign.Errorf(countersign.Internal, "damaged-baseline", "what is kept under %s has another digest: it was changed behind the house's back", digest)
	}
	return json.Unmarshal(content, into)
}
