package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// PowerPolicyAuthor proposes and reviews policies.
const PowerPolicyAuthor = "policy-author"

// ProposalView is a proposal as one reader sees it: with what it would change
// today.
type ProposalView struct {
	ID      countersign.ProposalID    `json:"id"`
	Version int64                     `json:"version"`
	Kind    countersign.ProposalKind  `json:"kind"`
	State   countersign.ProposalState `json:"state"`
	By      Ref                       `json:"by"`
	At      countersign.Instant       `json:"at"`
	Reason  string                    `json:"reason"`
	Files   countersign.Digest        `json:"files"`
	// System is what a baseline is of.
	System string `json:"system,omitempty"`
	// Until is when it lapses unless a second person decides; absent once it is decided.
	Until countersign.Instant `json:"until,omitzero"`
	// EnforcedBy put it into force alone, because of Emergency.
	EnforcedBy *Ref                `json:"enforced_by,omitempty"`
	Emergency  string              `json:"emergency,omitempty"`
	DecidedBy  *Ref                `json:"decided_by,omitempty"`
	DecidedAt  countersign.Instant `json:"decided_at,omitzero"`
	Outcome    string              `json:"outcome,omitempty"`
	// Changes says line by line what publishing would change now, and Standing who
	// would gain or lose standing by it; both are empty once it is decided.
	Changes  []string `json:"changes"`
	Standing []string `json:"standing"`
	// Problems is why it cannot be published as it is.
	Problems []string `json:"problems"`
	// Shown is what a decision must name.
	Shown   countersign.Digest `json:"shown,omitempty"`
	Offered []workflow.Command `json:"offered"`
}

// proposed is what a proposal would do today.
type proposed struct {
	difference directory.Difference
	set        *policy.Set
	baseline   *baselineList
	changes    []string
	standing   []string
	problems   []string
}

// powersFor are the powers that a proposal of the kind takes, of its author and
// of its reviewer.
func powersFor(kind countersign.ProposalKind) []string {
	switch kind {
	case countersign.PolicyProposal:
		return []string{PowerPolicyAuthor, PowerAdministrator}
	case countersign.DirectoryProposal, countersign.BaselineProposal:
		return []string{PowerAdministrator}
	}
	return nil
}

// mayChange reports whether the identity is a person with a power that such a change
// takes, or answers for the system whose baseline it is.
func (tx *transaction) mayChange(who countersign.IdentityID, proposal *countersign.Proposal) bool {
	identity := tx.directory.identities[who]
	return identity != nil && identity.Human() && identity.ActiveAt(tx.now()) && (answersFor(tx.directory.systems[proposal.System], who) ||
		slices.ContainsFunc(powersFor(proposal.Kind), func(power string) bool { return tx.power(who, power) }))
}

// Propose drafts a change of the policy set or of the directory. The files are
// the whole of what should be; they are checked now, and again when a second
// person publishes them.
func (d *Desk) Propose(ctx context.Context, caller Caller, key Key, kind countersign.ProposalKind, files []directory.File, reason string) (countersign.ProposalID, error) {
	if err := checkReason(reason); err != nil {
		return "", err
	}
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		if powersFor(kind) == nil || kind == countersign.BaselineProposal {
			return "", countersign.Errorf(countersign.Invalid, "unknown-kind", "A proposal is of the kind %q or %q, not %q.", countersign.PolicyProposal, countersign.DirectoryProposal, countersign.Clip(string(kind))).At("/kind")
		}
		holds, err := tx.holdsPower(ctx, caller.Identity, powersFor(kind)...)
		if err != nil {
			return "", err
		}
		if !holds && kind == countersign.PolicyProposal {
			if holds, err = tx.holdsPower(ctx, caller.Identity, PowerEmergencyAuthor); err != nil {
				return "", err
			}
		}
		if identity := tx.directory.identities[caller.Identity]; !holds || identity == nil || !identity.Human() || !identity.ActiveAt(tx.now()) {
			return "", countersign.Errorf(countersign.Refused, "needs-power", "Proposing a change of the %s takes a person with one of the powers %v of the system %q.", kind, powersFor(kind), SystemName)
		}
		if err := checkFiles(files); err != nil {
			return "", err
		}
		content, err := countersign.Canonical(keptFiles(files))
		if err != nil {
			return "", countersign.Errorf(countersign.Invalid, "malformed-files", "The files cannot be kept: %v", err).At("/files")
		}
		would, err := tx.propose(ctx, kind, files)
		if err != nil {
			return "", err
		}
		switch {
		case len(would.problems) > 0:
			return "", countersign.Errorf(countersign.Invalid, "malformed-"+string(kind), "%s", strings.Join(would.problems, "\n")).With(would.problems)
		case len(would.changes) == 0:
			return "", countersign.Errorf(countersign.Conflict, "nothing-to-change", "The %s is what these files say already.", kind)
		}
		digest := countersign.DigestBytes(proposalDomain, content)
		tx.change.Contents = append(tx.change.Contents, store.Content{Digest: digest, Bytes: content})
		return tx.draft(ctx, kind, digest, "", reason)
	})
	return countersign.ProposalID(id), err
}

// keptFile is a proposed file as it is kept: text, as it was sent.
type keptFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

func keptFiles(files []directory.File) []keptFile {
	kept := make([]keptFile, len(files))
	for i, file := range files {
		kept[i] = keptFile{file.Path, string(file.Bytes)}
	}
	return kept
}

// propose finds out what files would change today.
func (tx *transaction) propose(ctx context.Context, kind countersign.ProposalKind, files []directory.File) (*proposed, error) {
	if kind == countersign.PolicyProposal {
		return tx.proposePolicy(files)
	}
	would := &proposed{}
	wanted, problems := directory.Parse(files)
	for _, problem := range problems {
		would.problems = append(would.problems, problem.String())
	}
	if len(problems) > 0 {
		return would, nil
	}
	current, err := tx.desk.Store.Directory(ctx, 0)
	if err != nil {
		return nil, err
	}
	if would.difference, err = directory.Compare(current, wanted, tx.occasion.Mint); err != nil {
		return nil, err
	}
	powers, err := tx.powerChanges(ctx, would.difference)
	if err != nil {
		return nil, err
	}
	for _, change := range powers {
		would.standing = append(would.standing, fmt.Sprintf("%s for %s is not given by this: %s", change.Name, change.Fields[0].After, powersAreAskedFor))
	}
	for _, change := range would.difference.Changes {
		would.changes = append(would.changes, strings.TrimSuffix(change.String(), "\n"))
		if change.Standing != "" {
			would.standing = append(would.standing, fmt.Sprintf("%s %s: %s", change.Noun, change.Name, change.Standing))
		}
	}
	return would, nil
}

// proposePolicy loads and tests a policy set, and compares it with the active one.
func (tx *transaction) proposePolicy(files []directory.File) (*proposed, error) {
	would := &proposed{}
	policies := make([]policy.File, len(files))
	for i, file := range files {
		policies[i] = policy.File(file)
	}
	set, problems := policy.Load(policies, tx.desk.Zones)
	for _, problem := range problems {
		would.problems = append(would.problems, problem.String())
	}
	if len(problems) > 0 {
		return would, nil
	}
	for _, result := range set.Test() {
		for _, failure := range result.Failures {
			would.problems = append(would.problems, fmt.Sprintf("%s:%d: the test %q of %s fails: %s", result.File, result.Line, result.Name, result.Type, failure))
		}
	}
	if len(set.Types()) == 0 {
		would.problems = append(would.problems, "the set has no request type: nothing could be asked for any more, the desk's own powers included")
	}
	would.problems = append(would.problems, tx.desk.checkPolicies(set, tx.directory)...)
	would.set = set
	if set.Digest() == tx.policy.digest {
		return would, nil
	}
	if tx.policy.set == nil {
		// The active set cannot be read; a good one is what mends that.
		would.changes = []string{"the whole set, because the active one cannot be read"}
		return would, nil
	}
	would.changes, would.standing = tx.directory.comparePolicies(tx.policy.set, set)
	return would, nil
}

// page is what a person decides on: the proposed files, and what they change.
func (p *proposed) page(proposal *countersign.Proposal) (countersign.Digest, error) {
	return countersign.DigestOf("proposal-page", struct {
		Proposal countersign.ProposalID `json:"proposal"`
		Files    countersign.Digest     `json:"files"`
		Changes  []string               `json:"changes"`
		Standing []string               `json:"standing"`
	}{proposal.ID, proposal.Files, p.changes, p.standing})
}

// standOnProposal says as what the actor stands to a proposal; who may not even
// read it is told that there is none.
func (tx *transaction) standOnProposal(proposal *countersign.Proposal) (workflow.Standing, error) {
	who := tx.occasion.Actor.Identity()
	standing := workflow.Standing{Actor: tx.occasion.Actor}
	switch {
	case who == proposal.By, who == proposal.EnforcedBy:
		standing.Roles = append(standing.Roles, workflow.Proposer)
	case tx.mayChange(who, proposal):
		standing.Roles = append(standing.Roles, workflow.Reviewer)
	}
	if tx.power(who, PowerAuditor) {
		standing.Roles = append(standing.Roles, workflow.Auditor)
	}
	if tx.power(who, PowerEmergencyAuthor) && proposal.State == countersign.ProposalOpen {
		standing.Roles = append(standing.Roles, workflow.EmergencyAuthor)
	}
	if len(standing.Roles) == 0 {
		return standing, notFound("proposal", string(proposal.ID))
	}
	return standing, nil
}

// loadProposal returns a proposal with what it would do today.
func (tx *transaction) loadProposal(ctx context.Context, id countersign.ProposalID) (*countersign.Proposal, workflow.Standing, *proposed, error) {
	proposal, err := tx.desk.Store.Proposal(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound {
		err = notFound("proposal", string(id))
	}
	if err != nil {
		return nil, workflow.Standing{}, nil, err
	}
	standing, err := tx.standOnProposal(proposal)
	if err != nil {
		return nil, standing, nil, err
	}
	if proposal.State.Decided() {
		return proposal, standing, &proposed{}, nil
	}
	content, err := tx.desk.Store.Content(ctx, proposal.Files)
	if err != nil {
		return nil, standing, nil, err
	}
	if proposal.Kind == countersign.BaselineProposal {
		would, err := tx.proposeBaseline(ctx, proposal, content)
		return proposal, standing, would, err
	}
	if countersign.DigestBytes(proposalDomain, content) != proposal.Files {
		return nil, standing, nil, countersign.Errorf(countersign.Internal, "damaged-proposal", "the files that are kept for %s have another digest: they were changed behind the house's back", id)
	}
	var kept []keptFile
	if err := json.Unmarshal(content, &kept); err != nil {
		return nil, standing, nil, err
	}
	files := make([]directory.File, len(kept))
	for i, file := range kept {
		files[i] = directory.File{Path: file.Path, Bytes: []byte(file.Content)}
	}
	would, err := tx.propose(ctx, proposal.Kind, files)
	if err != nil || proposal.State != countersign.ProposalProvisional {
		return proposal, standing, would, err
	}
	// It is in force: what it changes is what it changed.
	before, err := tx.desk.policySet(ctx, proposal.Before)
	if err == nil && would.set != nil {
		would.changes, would.standing = tx.directory.comparePolicies(before, would.set)
	}
	return proposal, standing, would, err
}

// ProposalDecision is what somebody says about a proposal.
type ProposalDecision struct {
	Reason string
	// Shown is the digest of what the person was shown.
	Shown countersign.Digest
}

// Publish makes a proposal effective, by a second person.
func (d *Desk) Publish(ctx context.Context, caller Caller, key Key, id countersign.ProposalID, decision ProposalDecision) error {
	return d.onProposal(ctx, caller, key, id, workflow.Publish, decision)
}

// Reject ends a proposal without effect, by a second person.
func (d *Desk) Reject(ctx context.Context, caller Caller, key Key, id countersign.ProposalID, decision ProposalDecision) error {
	return d.onProposal(ctx, caller, key, id, workflow.Reject, decision)
}

// Withdraw takes a proposal back, by who made it.
func (d *Desk) Withdraw(ctx context.Context, caller Caller, key Key, id countersign.ProposalID, reason string) error {
	return d.onProposal(ctx, caller, key, id, workflow.Withdraw, ProposalDecision{Reason: reason})
}

func (d *Desk) onProposal(ctx context.Context, caller Caller, key Key, id countersign.ProposalID, name workflow.Command, decision ProposalDecision) error {
	if err := checkReason(decision.Reason); err != nil {
		return err
	}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		proposal, standing, would, err := tx.loadProposal(ctx, id)
		if err != nil {
			return "", err
		}
		// What the decision point says of a power, the record says too, and is guarded.
		baseline := proposal.Kind == countersign.BaselineProposal
		if system := tx.directory.systems[proposal.System]; baseline && system != nil && standing.HasAny(workflow.Reviewer) {
			if err := tx.mayBaseline(ctx, caller, system); err != nil {
				return "", err
			}
		} else if needed := map[workflow.Command][]string{workflow.Publish: powersFor(proposal.Kind), workflow.Reject: powersFor(proposal.Kind), workflow.Enforce: {PowerEmergencyAuthor}}[name]; needed != nil && standing.HasAny(workflow.Reviewer, workflow.EmergencyAuthor) {
			holds, err := tx.holdsPower(ctx, caller.Identity, needed...)
			if err != nil {
				return "", err
			}
			if !holds {
				standing.Roles = []workflow.Role{workflow.Stranger}
			}
		}
		if name == workflow.Enforce && baseline {
			return "", countersign.Errorf(countersign.Refused, "takes-two-people", "A baseline is signed by a second person, and never put into force by one.")
		}
		command := workflow.ProposalCommand{Name: name, Reason: decision.Reason, Shown: decision.Shown}
		if name == workflow.Enforce && standing.HasAny(workflow.EmergencyAuthor) {
			if err := tx.enforce(ctx, proposal, would, &command); err != nil {
				return "", err
			}
		}
		if name == workflow.Publish && proposal.State == countersign.ProposalOpen && proposal.Kind == countersign.PolicyProposal && tx.policy.emergency != nil {
			return "", countersign.Errorf(countersign.Conflict, "emergency-in-force", "The emergency change %s is in force: it is confirmed or rejected first.", tx.policy.emergency.Proposal)
		}
		if command.ShownNow, err = would.page(proposal); err != nil {
			return "", err
		}
		after, event, err := workflow.DecideProposal(tx.occasion, proposal, command, standing)
		if err != nil {
			return "", err
		}
		tx.put(after, proposal.Version)
		tx.events = append(tx.events, event)
		tx.schedule(string(id), store.ProposalWork, workflow.ProposalDue(after))
		if name != workflow.Publish && name != workflow.Enforce {
			if proposal.State == countersign.ProposalProvisional {
				return string(id), tx.endEmergency(ctx, proposal)
			}
			return string(id), nil
		}
		tx.relyOn(tx.directory.identities[caller.Identity])
		var emergency *countersign.EmergencyPolicy
		if name == workflow.Enforce {
			emergency = &countersign.EmergencyPolicy{Proposal: id, By: caller.Identity}
		}
		if baseline {
			if err := would.publishable(); err != nil {
				return "", err
			}
			return string(id), tx.signBaseline(ctx, caller, proposal, would.baseline)
		}
		return string(id), tx.publish(ctx, would, emergency)
	})
	if err != nil {
		return err
	}
	return d.Refresh(ctx)
}

// publishable refuses what has problems.
func (p *proposed) publishable() error {
	if len(p.problems) == 0 {
		return nil
	}
	return countersign.Errorf(countersign.Conflict, "cannot-be-published", "This cannot be published as things stand:\n%s", strings.Join(p.problems, "\n")).With(p.problems)
}

// publish carries a proposal out in the transaction that decides it.
func (tx *transaction) publish(ctx context.Context, would *proposed, emergency *countersign.EmergencyPolicy) error {
	if err := would.publishable(); err != nil {
		return err
	}
	if would.set == nil {
		return tx.record(ctx, would.difference.Changes)
	}
	return tx.activate(ctx, would.set, emergency)
}

// activate makes a policy set the active one. Whoever waits for an approval is
// looked at anew.
func (tx *transaction) activate(ctx context.Context, set *policy.Set, emergency *countersign.EmergencyPolicy) error {
	var was int64
	sets := []*policy.Set{set}
	if tx.policy != nil {
		was, sets = tx.policy.version, append(sets, tx.policy.set)
	}
	tx.lookAtRules(fmt.Sprintf("policy-%d", was+1), sets...)
	tx.activated = set
	activated := &workflow.PolicyActivated{}
	activated.Change.Set, activated.Change.Emergency = set.Digest(), emergency
	tx.put(&countersign.PolicyRow{Version: was + 1, Active: set.Digest(), ActivatedAt: tx.now(), Emergency: emergency}, was)
	tx.events = append(tx.events, countersign.Event{Stream: countersign.StreamPolicy, Payload: activated})
	tx.change.PolicySets = append(tx.change.PolicySets, store.Content{Digest: set.Digest(), Bytes: set.Bytes()})
	tx.guards[store.GuardPolicy] = store.Guard{Key: store.GuardPolicy, Version: was, Next: was + 1}
	return tx.wakeRequests(ctx, fmt.Sprintf("policy-%d", was+1))
}

// Proposal shows one proposal.
func (d *Desk) Proposal(ctx context.Context, caller Caller, id countersign.ProposalID) (_ *ProposalView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	proposal, standing, would, err := tx.loadProposal(ctx, id)
	if err != nil {
		return nil, err
	}
	view := tx.proposalView(proposal, standing)
	view.Changes = append(view.Changes, would.changes...)
	view.Standing = append(view.Standing, would.standing...)
	view.Problems = append(view.Problems, would.problems...)
	if !proposal.State.Decided() {
		view.Shown, err = would.page(proposal)
	}
	return view, err
}

func (tx *transaction) proposalView(proposal *countersign.Proposal, standing workflow.Standing) *ProposalView {
	view := &ProposalView{
		ID: proposal.ID, Version: proposal.Version, Kind: proposal.Kind, State: proposal.State, By: tx.directory.ref(proposal.By),
		At: proposal.At, Reason: proposal.Reason, Files: proposal.Files, DecidedAt: proposal.DecidedAt, Outcome: proposal.Outcome,
		Changes: []string{}, Standing: []string{}, Problems: []string{}, Offered: []workflow.Command{},
	}
	if system := tx.directory.systems[proposal.System]; system != nil {
		view.System = system.Name
	}
	view.DecidedBy, view.EnforcedBy, view.Emergency = tx.directory.refTo(proposal.DecidedBy), tx.directory.refTo(proposal.EnforcedBy), proposal.Emergency
	if !proposal.State.Decided() {
		view.Until = proposal.Until
	}
	view.Offered = append(view.Offered, workflow.Offered(workflow.ProposalTransitions, proposal.State, standing)...)
	return view
}

// ProposalFilter selects proposals for a list.
type ProposalFilter struct {
	States []countersign.ProposalState
	Before countersign.ProposalID
	Limit  int
}

// Proposals lists what the caller may see, newest first, without what each would
// change.
func (d *Desk) Proposals(ctx context.Context, caller Caller, filter ProposalFilter) (_ []ProposalView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	proposals, err := d.Store.Proposals(ctx, filter.States, filter.Before, limitOf(filter.Limit))
	if err != nil {
		return nil, err
	}
	views := []ProposalView{}
	for _, proposal := range proposals {
		if standing, err := tx.standOnProposal(proposal); err == nil {
			views = append(views, *tx.proposalView(proposal, standing))
		}
	}
	return views, nil
}
