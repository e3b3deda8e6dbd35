package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
)

type taskOf = connector.Task

// laws is what the checker remembers from one look to the next. It looks as an
// outsider does: at the rows and events that storage keeps, at the target, and at
// what the decision points answer.
type laws struct {
	final   map[string]string
	version map[string]int64
	// decided, since, enforced and over are at which look a decision, a grant, a policy put
	// into force by one person, and its end, was seen first: a clock that steps back tells no order.
	decided  map[countersign.DecisionID]int
	since    map[countersign.GrantID]int
	enforced map[countersign.ProposalID]int
	over     map[countersign.ProposalID]int
	looks    int
	last     *look
	notes    int
	given    map[countersign.IntentID]int
	// owners are who answered for each machine at the last look; handed are the
	// machines that have had another since the story began.
	owners map[countersign.IdentityID]countersign.IdentityID
	handed map[countersign.IdentityID]bool
	// missing is since when somebody lacks what a rule gives; rows are the versions of
	// the directory at the last look.
	missing map[string]countersign.Instant
	rows    map[string]int64
	// lean says of policy sets whether they give the crew less.
	lean map[countersign.Digest]bool
	// told are the deadlines of overdue evidence of which it was looked at who heard.
	told map[string]countersign.Instant
	// record is the replay of all streams.
	record *record
	// hidden hides a grant from the checker, see changes what it sees, and only limits
	// it to one law; for proving that it looks.
	hidden countersign.GrantID
	see    func(*look)
	only   string
}

func newLaws() *laws {
	return &laws{final: map[string]string{}, version: map[string]int64{}, decided: map[countersign.DecisionID]int{}, since: map[countersign.GrantID]int{}, enforced: map[countersign.ProposalID]int{}, over: map[countersign.ProposalID]int{}, given: map[countersign.IntentID]int{},
		owners: map[countersign.IdentityID]countersign.IdentityID{}, handed: map[countersign.IdentityID]bool{},
		missing: map[string]countersign.Instant{}, rows: map[string]int64{}, lean: map[countersign.Digest]bool{}, record: newRecord(), told: map[string]countersign.Instant{}}
}

// look is what storage says at one moment.
type look struct {
	requests   map[countersign.RequestID]*countersign.Request
	grants     map[countersign.GrantID]*countersign.Grant
	identities map[countersign.IdentityID]*countersign.Identity
	directory  store.Directory
	holds      []*countersign.Hold
	batches    []*countersign.Batch
	proposals  []*countersign.Proposal
	findings   []*countersign.Finding
	policy     *countersign.PolicyRow
	powers     countersign.SystemID
	// names are those of entitlements, which are unique here; lean says that the
	// policy in force gives the crew less.
	names map[countersign.EntitlementID]string
	lean  bool
	now   countersign.Instant
}

func (s *story) look() *look {
	l := &look{requests: map[countersign.RequestID]*countersign.Request{}, grants: map[countersign.GrantID]*countersign.Grant{}, identities: map[countersign.IdentityID]*countersign.Identity{}, now: s.clock.instant()}
	for _, request := range s.requests() {
		l.requests[request.ID] = request
	}
	for _, grant := range s.grants() {
		if grant.ID != s.laws.hidden {
			l.grants[grant.ID] = grant
		}
	}
	var err error
	l.directory, err = s.store.Directory(s.ctx, 0)
	s.must(err)
	for _, identity := range l.directory.Identities {
		l.identities[identity.ID] = identity
	}
	l.names = map[countersign.EntitlementID]string{}
	for _, entitlement := range l.directory.Entitlements {
		l.names[entitlement.ID] = entitlement.Name
	}
	l.powers = powerSystem(l.directory)
	l.holds, err = s.store.Holds(s.ctx, false, "", 1000)
	s.must(err)
	l.findings, err = s.store.Findings(s.ctx, store.FindingQuery{All: true})
	s.must(err)
	l.batches, l.proposals = s.batches(), s.proposals(countersign.ProposalStates...)
	l.policy, err = s.store.Policy(s.ctx)
	s.must(err)
	l.lean = s.lean(l.policy.Active)
	if s.laws.see != nil {
		s.laws.see(l)
	}
	return l
}

// check looks whether every law holds now; with all set also the whole record.
func (s *story) check(all bool) {
	s.target.land()
	s.laws.looks++
	l := s.look()
	s.laws.last = l
	for id := range l.grants {
		if s.laws.since[id] == 0 {
			s.laws.since[id] = s.laws.looks
		}
	}
	s.checkRows()
	s.checkTarget(l)
	s.checkAccounts(l)
	s.checkMemory(l)
	s.checkOwed(l)
	s.checkRotated(l)
	s.checkFindingsOwned(l)
	s.checkRemovals(l)
	s.checkLegacy(l)
	s.checkTasks(l)
	s.checkDeciders(l)
	s.checkClocks(l)
	s.checkWaiting(l)
	s.checkSeparation(l, false)
	s.checkFindings(l)
	s.checkUndecided(l)
	s.checkBatches(l)
	s.checkEmergency(l)
	s.checkBirthrights(l)
	s.checkExceptions(l)
	s.checkPackages(l)
	s.checkMoves(l)
	if !all {
		return
	}
	if s.settled() {
		l := s.look()
		s.checkEnds(l)
		s.checkRetired(l)
		s.checkSeparation(l, true)
		s.checkBirthrights(l)
		s.checkMoves(l)
		for _, h := range s.houses {
			s.checkStops(h)
		}
	}
	s.checkRecord()
}

// checkTarget compares what the target holds and did with what was decided.
func (s *story) checkTarget(l *look) {
	holders := map[string]countersign.GrantID{}
	for credential, task := range s.target.held {
		if why := s.unauthorised(task, false); why != "" {
			s.breaks("no access without a decision", "%s", why)
		}
		grant := l.grants[task.Grant]
		if grant == nil || grant.FindCredential(credential) == nil {
			s.breaks("no access without a decision", "the target holds %s, and no grant has it", credential)
			continue
		}
		if grant.State.Ended() {
			s.breaks("no access after its end", "the grant %s is %s, and the target holds %s", grant.ID, grant.State, credential)
		}
		if found := grant.FindCredential(credential); found.State == countersign.CredentialGone && grant.Intent == nil {
			s.breaks("no access after its end", "the credential %s is gone for the house, and the target holds it", credential)
		}
		thing := string(task.Holder) + " " + string(task.EntitlementID)
		if other := holders[thing]; other != "" && other != grant.ID {
			s.breaks("one effect", "two grants give %s: %s and %s", thing, other, grant.ID)
		}
		holders[thing] = grant.ID
	}
	for _, note := range s.target.notes[s.laws.notes:] {
		if note.gave && !note.late {
			if s.laws.given[note.task.Intent]++; s.laws.given[note.task.Intent] > 1 {
				s.breaks("one effect", "the intent %s has given twice", note.task.Intent)
			}
		}
	}
	s.laws.notes = len(s.target.notes)
}

// unauthorised says why the target should not hold this, by what is stored now; at
// the moment of the effect the intent must have been committed.
func (s *story) unauthorised(task connector.Task, effect bool) string {
	if task.Grant == s.laws.hidden {
		return fmt.Sprintf("%s belongs to no grant", task.Credential)
	}
	grant, err := s.store.Grant(s.ctx, task.Grant)
	if err != nil {
		return fmt.Sprintf("%s is not from a grant: %v", task.Credential, err)
	}
	if grant.Holder != task.Holder || grant.Entitlement != task.EntitlementID {
		return fmt.Sprintf("%s is not what the grant %s gives", task.Credential, grant.ID)
	}
	if effect && !s.committed(grant.ID, task.Intent) {
		return fmt.Sprintf("the intent %s was not committed before it was carried out", task.Intent)
	}
	if grant.Birthright != nil {
		return "" // to which rules are held when everything is looked at
	}
	request, err := s.store.Request(s.ctx, grant.Request)
	if err != nil {
		return fmt.Sprintf("the grant %s is from no request: %v", grant.ID, err)
	}
	if request.Beneficiary != grant.Holder || !slices.Contains(request.Entitlements, grant.Entitlement) {
		return fmt.Sprintf("the request %s asked for something else", request.ID)
	}
	return undecided(request)
}

// undecided says why the request is not decided, by its stages alone.
func undecided(request *countersign.Request) string {
	switch request.State {
	case countersign.RequestTriaging, countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired:
		return fmt.Sprintf("the request %s is %s", request.ID, request.State)
	case countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed, countersign.RequestFailed:
	}
	if request.Consent.Missing() {
		return fmt.Sprintf("nobody consented to the request %s", request.ID)
	}
	for _, stage := range request.Stages {
		if stage.Review {
			continue
		}
		need, seats := 0, map[countersign.IdentityID]bool{}
		for _, quorum := range stage.Quorums {
			need += quorum.Need
		}
		for _, decision := range stage.Decisions {
			if decision.Outcome != countersign.Approve {
				return fmt.Sprintf("the stage %s of %s was denied", stage.Name, request.ID)
			}
			for _, standing := range decision.Standing {
				seats[standing.Seat()] = true
			}
		}
		switch {
		case stage.State == countersign.StageSkipped && stage.Because != "", stage.State == countersign.StagePassed && stage.Because != "" && request.BreakGlass:
		case stage.State != countersign.StagePassed || len(seats) < need || need == 0:
			return fmt.Sprintf("the stage %s of %s is %s with %d of %d approvals", stage.Name, request.ID, stage.State, len(seats), need)
		}
	}
	if request.BreakGlass && !slices.ContainsFunc(request.Stages, func(stage countersign.Stage) bool { return stage.Review }) {
		return fmt.Sprintf("the request %s took access at once, and nobody will review it", request.ID)
	}
	return ""
}

// committed reports whether an event of the grant names the intent.
func (s *story) committed(id countersign.GrantID, intent countersign.IntentID) bool {
	events, err := s.store.Events(s.ctx, countersign.Stream(id), 0, 1000)
	s.must(err)
	return slices.ContainsFunc(events, func(event countersign.SealedEvent) bool {
		return slices.ContainsFunc(event.Values, func(value countersign.Value) bool {
			return value.Group == countersign.ValueChange && strings.Contains(string(value.Bytes), `"`+string(intent)+`"`)
		})
	})
}

// checkMemory holds storage to what it said before: nothing is lost, versions only
// grow, and what has ended stays ended.
func (s *story) checkMemory(l *look) {
	seen := map[string]bool{}
	remember := func(id, state string, final bool, version int64) {
		seen[id] = true
		if was := s.laws.final[id]; was != "" && was != state {
			s.breaks("what has ended stays so", "%s was %s and is %s", id, was, state)
		}
		if final {
			s.laws.final[id] = state
		}
		if version < s.laws.version[id] {
			s.breaks("nothing is lost", "%s went back from version %d to %d", id, s.laws.version[id], version)
		}
		s.laws.version[id] = version
	}
	for _, request := range l.requests {
		remember(string(request.ID), string(request.State), request.State.Final(), request.Version)
	}
	for _, grant := range l.grants {
		remember(string(grant.ID), string(grant.State), grant.State.Ended(), grant.Version)
	}
	for _, proposal := range l.proposals {
		remember(string(proposal.ID), string(proposal.State), proposal.State.Decided(), proposal.Version)
	}
	for id := range s.laws.version {
		if !seen[id] {
			s.breaks("nothing is lost", "%s was there and is not any more", id)
		}
	}
	for key, object := range s.faults.answered {
		if prefix := countersign.PrefixOf(object); (prefix == "req" || prefix == "grt") && !seen[object] {
			s.breaks("nothing is lost", "the command %s made %s, which is not there", key, object)
		}
	}
}

// checkDeciders finds people who decided for themselves, or for what they answer
// for. Who takes a machine over in the step in which he or she decided may have done
// so afterwards.
func (s *story) checkDeciders(l *look) {
	moved := map[countersign.IdentityID]bool{}
	for id, identity := range l.identities {
		was, known := s.laws.owners[id]
		moved[id] = known && was != identity.Owner
		s.laws.handed[id] = s.laws.handed[id] || moved[id]
		s.laws.owners[id] = identity.Owner
	}
	changed := func(id string, version int64) bool { return s.laws.rows[id] != version }
	defer func() {
		for _, identity := range l.identities {
			s.laws.rows[string(identity.ID)] = identity.Version
		}
		for _, group := range l.directory.Groups {
			s.laws.rows[string(group.ID)] = group.Version
		}
	}()
	for _, request := range l.requests {
		kept := append([]countersign.IdentityID{request.Requester, request.Beneficiary}, request.SamePerson...)
		for _, id := range []countersign.IdentityID{request.Requester, request.Beneficiary} {
			if !moved[id] {
				kept = append(kept, l.identities[id].SamePerson()...)
			}
		}
		for _, stage := range request.Stages {
			for _, decision := range stage.Decisions {
				if s.laws.decided[decision.ID] != 0 {
					continue
				}
				s.laws.decided[decision.ID] = s.laws.looks
				s.checkStanding(l, request, decision, changed)
				if !l.identities[decision.By].Human() || slices.Contains(kept, decision.By) {
					s.breaks("nobody decides for themselves", "%s decided on the request %s of %s for %s", decision.By, request.ID, request.Requester, request.Beneficiary)
				}
				if request.ClassifiedBy == decision.By {
					s.breaks("who sorts decides nothing", "%s said which request %s is, and decided it", decision.By, request.ID)
				}
				for _, standing := range decision.Standing {
					if slices.Contains(kept, standing.Seat()) {
						s.breaks("nobody decides for themselves", "%s decided on the request %s in the place of %s", decision.By, request.ID, standing.Seat())
					}
				}
			}
		}
	}
}

// checkClocks finds what waits for nobody or for no time.
func (s *story) checkClocks(l *look) {
	for _, request := range l.requests {
		due, waits := request.CollectBy, ""
		for _, index := range request.OpenStages() {
			stage := request.Stages[index]
			due = countersign.Earliest(due, stage.Deadline)
			if stage.Deadline == 0 || stage.Review && len(stage.Asked) == 0 {
				waits = fmt.Sprintf("its stage %s is open until %s and asks %d people", stage.Name, stage.Deadline, len(stage.Asked))
			}
		}
		slot := owed(request)
		switch request.State {
		case countersign.RequestTriaging, countersign.RequestCollecting, countersign.RequestDeciding:
			if due == 0 {
				waits = "it has no clock"
			}
		case countersign.RequestClosing:
			if slot == nil && len(request.OpenStages()) == 0 {
				waits = "it waits for nothing"
			}
			if slot != nil && slot.Deadline == 0 && len(request.OpenStages()) == 0 {
				// What a review looks at has the review's.
				waits = "its evidence has no deadline"
			}
			for _, slot := range request.Evidence {
				if slot.Held == nil {
					due = countersign.Earliest(due, slot.Deadline)
				}
			}
		case countersign.RequestFulfilling, countersign.RequestActive:
			due = 0
			if request.Extends == "" && !slices.ContainsFunc(request.Grants, func(ref countersign.GrantRef) bool {
				return l.grants[ref.Grant] != nil && !l.grants[ref.Grant].State.Ended()
			}) {
				waits = "none of its grants is there any more"
			}
		case countersign.RequestClosed, countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired, countersign.RequestFailed:
			continue
		}
		if waits != "" {
			s.breaks("an owner and a clock", "the request %s is %s: %s", request.ID, request.State, waits)
		}
		s.wakes(string(request.ID), due)
	}
	for _, grant := range l.grants {
		s.checkClockOf(grant)
	}
}

func (s *story) checkClockOf(grant *countersign.Grant) {
	if grant.LatestEnd != 0 && grant.Until > grant.LatestEnd {
		s.breaks("ends", "the grant %s lasts until %s, beyond its latest end %s", grant.ID, grant.Until, grant.LatestEnd)
	}
	switch grant.State {
	case countersign.GrantGone, countersign.GrantFailed:
		return
	case countersign.GrantLive:
		if grant.Until == 0 && grant.Birthright == nil {
			s.breaks("an owner and a clock", "the grant %s has no end", grant.ID)
		}
		due := grant.Until
		for _, credential := range grant.Credentials {
			if credential.State == countersign.CredentialLive {
				due = countersign.Earliest(due, credential.RetireAt)
			}
		}
		s.wakes(string(grant.ID), due)
	case countersign.GrantProvisioning, countersign.GrantRevoking, countersign.GrantRevoked:
		if grant.Intent == nil {
			s.breaks("an owner and a clock", "the grant %s is %s, and nothing is under way", grant.ID, grant.State)
		}
	}
	if grant.State == countersign.GrantProvisioning {
		s.wakes(string(grant.ID), grant.LatestEnd)
	}
	if grant.Intent == nil || grant.Step.Connector == "manual" {
		return // what people carry out is held to its task
	}
	gives := grant.Intent.Operation == countersign.ApplyOperation || grant.Intent.Operation == countersign.ExtendOperation
	work, err := s.store.Work(s.ctx, string(grant.Intent.ID))
	switch {
	case err != nil:
		s.breaks("an owner and a clock", "the intent %s of the grant %s is nobody's work: %v", grant.Intent.ID, grant.ID, err)
	case work.ParkedAt != 0 && (!gives || grant.Parked == nil || grant.Parked.Person == ""):
		s.breaks("an owner and a clock", "the %s of the grant %s is parked, and names nobody", grant.Intent.Operation, grant.ID)
	}
}

// wakes checks that something is going to look at the row when it is due.
func (s *story) wakes(id string, due countersign.Instant) {
	if due == 0 {
		return
	}
	work, err := s.store.Work(s.ctx, id)
	if err != nil {
		s.breaks("an owner and a clock", "%s is due %s, and nothing wakes it: %v", id, due, err)
	} else if work.ParkedAt != 0 || work.DueAt > max(due, work.LeaseUntil) {
		s.breaks("an owner and a clock", "%s is due %s, and is looked at %s", id, due, work.DueAt)
	}
}

// checkWaiting finds what waits for a second person without a time, and what one decided
// after it.
func (s *story) checkWaiting(l *look) {
	for _, proposal := range l.proposals {
		switch proposal.State {
		case countersign.ProposalOpen, countersign.ProposalProvisional:
			if proposal.Until == 0 {
				s.breaks("an owner and a clock", "the proposal %s is %s until it is decided", proposal.ID, proposal.State)
			}
			s.wakes(string(proposal.ID), countersign.Earliest(proposal.Until, proposal.RemindAt))
		case countersign.ProposalPublished:
			if proposal.DecidedAt >= proposal.Until {
				s.breaks("nobody decides what has lapsed", "the proposal %s was published at %s, and waited until %s", proposal.ID, proposal.DecidedAt, proposal.Until)
			}
		case countersign.ProposalRejected, countersign.ProposalWithdrawn, countersign.ProposalLapsed:
		}
	}
	for what, offer := range offersIn(l.directory) {
		if offer.Until == 0 {
			s.breaks("an owner and a clock", "%s is offered to %s until somebody accepts", what, offer.To)
		}
	}
}

// checkUndecided finds access by a request that ended without a decision for it, and
// what was merged with nothing.
func (s *story) checkUndecided(l *look) {
	for _, grant := range l.grants {
		request := l.requests[grant.Request]
		if request == nil {
			continue
		}
		switch request.State {
		case countersign.RequestTriaging, countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestDenied, countersign.RequestCancelled, countersign.RequestExpired:
			s.breaks("what was turned down gives nothing", "the request %s is %s (%s), and the grant %s is %s", request.ID, request.State, request.Outcome, grant.ID, grant.State)
		case countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed, countersign.RequestFailed:
		}
	}
	for _, request := range l.requests {
		seen := map[countersign.RequestID]bool{}
		for at := request; at != nil; at = mergedInto(l, at) {
			if seen[at.ID] {
				s.breaks("what is merged goes on", "the request %s was merged with others that were merged with it", request.ID)
				break
			}
			seen[at.ID] = true
			if into := mergedInto(l, at); into != nil && into.Beneficiary != at.Beneficiary {
				s.breaks("what is merged goes on", "the request %s was merged with %s, which is for somebody else", at.ID, into.ID)
			}
		}
	}
}

// mergedInto is the request that goes on for one that was merged; nil for none.
func mergedInto(l *look, request *countersign.Request) *countersign.Request {
	into, merged := strings.CutPrefix(request.Outcome, "Merged with ")
	if !merged {
		return nil
	}
	id, _, _ := strings.Cut(into, ":")
	return l.requests[countersign.RequestID(id)]
}

// checkBatches compares what a batch says with the requests that came of it, which
// its reason names.
func (s *story) checkBatches(l *look) {
	for _, batch := range l.batches {
		for _, request := range l.requests {
			if request.Reason != batch.Reason {
				continue
			}
			named := slices.ContainsFunc(batch.Items, func(item countersign.BatchItem) bool {
				return item.Beneficiary == request.Beneficiary && slices.Equal(request.Entitlements, []countersign.EntitlementID{item.Entitlement}) && item.Request == request.ID
			})
			if !named || request.Requester != batch.By {
				s.breaks("what a batch refuses is not there", "the request %s for %s came of the batch %s, which does not name it", request.ID, request.Beneficiary, batch.ID)
			}
		}
		for i, item := range batch.Items {
			if item.Request != "" && (item.Refused != "" || l.requests[item.Request] == nil) {
				s.breaks("what a batch refuses is not there", "the item %d of the batch %s opened %s and was refused %q", i, batch.ID, item.Request, item.Refused)
			}
		}
	}
}

// checkEmergency holds what one person put into force to its bounds: it gives nobody
// standing, it ends, and its author decides nothing meanwhile.
func (s *story) checkEmergency(l *look) {
	for _, proposal := range l.proposals {
		if proposal.EnforcedBy == "" {
			continue
		}
		if s.widening[proposal.ID] {
			s.breaks("an emergency policy is bounded", "%s put %s into force, which lets Ana decide", proposal.EnforcedBy, proposal.ID)
		}
		inForce := l.policy.Emergency != nil && l.policy.Emergency.Proposal == proposal.ID
		if provisional := proposal.State == countersign.ProposalProvisional; provisional != inForce {
			s.breaks("an emergency policy is bounded", "the proposal %s is %s, and what it put into force is there: %v", proposal.ID, proposal.State, inForce)
		}
		if s.laws.enforced[proposal.ID] == 0 {
			s.laws.enforced[proposal.ID] = s.laws.looks
		}
		from, until := proposal.Until.Add(-desk.EmergencyTime), proposal.Until
		if proposal.State != countersign.ProposalProvisional {
			until = countersign.Earliest(until, proposal.DecidedAt)
			if s.laws.over[proposal.ID] == 0 {
				s.laws.over[proposal.ID] = s.laws.looks
			}
		} else {
			s.wakes(string(proposal.ID), proposal.Until)
		}
		for _, request := range l.requests {
			for _, stage := range request.Stages {
				for _, decision := range stage.Decisions {
					seen, over := s.laws.decided[decision.ID], s.laws.over[proposal.ID]
					if decision.By == proposal.EnforcedBy && decision.At > from && decision.At < until && seen >= s.laws.enforced[proposal.ID] && (over == 0 || seen < over || seen == over && s.ahead <= l.now) {
						s.breaks("an emergency policy is bounded", "%s put %s into force alone, and decided the request %s", decision.By, proposal.ID, request.ID)
					}
				}
			}
		}
	}
}

// checkEnds is for engines at rest: what has ended by its time is ending.
func (s *story) checkEnds(l *look) {
	const sweep = 61 * 1000
	for _, proposal := range l.proposals {
		if work, err := s.store.Work(s.ctx, string(proposal.ID)); err == nil && work.LeaseUntil > l.now {
			continue
		}
		if proposal.State == countersign.ProposalProvisional && proposal.Until <= l.now {
			s.breaks("an emergency policy is bounded", "the proposal %s is in force at %s, put there by one person until %s", proposal.ID, l.now, proposal.Until)
		}
		if proposal.State == countersign.ProposalOpen && proposal.Until <= l.now {
			s.breaks("ends", "the proposal %s is open at %s, and waits until %s", proposal.ID, l.now, proposal.Until)
		}
	}
	for what, offer := range offersIn(l.directory) {
		if offer.LapsedAt == 0 && offer.Until <= l.now-sweep {
			s.breaks("ends", "%s is offered to %s at %s, until %s", what, offer.To, l.now, offer.Until)
		}
	}
	for _, grant := range l.grants {
		if grant.State != countersign.GrantLive || grant.System == l.powers {
			continue
		}
		holder := l.identities[grant.Holder]
		left := holder.Status == countersign.IdentityDeparted || holder.ContractEnd != 0 && holder.ContractEnd <= l.now-sweep ||
			holder.Status == countersign.IdentitySuspended && holder.DepartsAt != 0 && holder.DepartsAt <= l.now-sweep
		if work, err := s.store.Work(s.ctx, string(grant.ID)); err == nil && work.LeaseUntil > l.now {
			continue // whoever claimed it did not come to it; it comes back
		}
		if left || grant.Until != 0 && grant.Until <= l.now {
			s.breaks("ends", "the grant %s is live at %s until %s, its holder has left: %v", grant.ID, l.now, grant.Until, left)
		}
	}
}

// checkStops holds a decision point to what storage says of the roles on the wiki:
// what a hold, a suspension or an end refuses is refused from the commit on.
func (s *story) checkStops(h *house.House) {
	l := s.look()
	lives := map[string]bool{}
	for _, grant := range l.grants {
		stopped := !l.identities[grant.Holder].ActiveAt(l.now) || slices.ContainsFunc(l.holds, func(hold *countersign.Hold) bool {
			return slices.Contains([]string{string(grant.ID), string(grant.Holder), string(grant.System)}, hold.On)
		})
		if given := grant.State == countersign.GrantLive || grant.State == countersign.GrantProvisioning; given && !stopped {
			lives[string(grant.Holder)+" "+string(grant.Entitlement)] = true
		}
	}
	for _, entitlement := range l.directory.Entitlements {
		for id := range l.identities {
			if !lives[string(id)+" "+string(entitlement.ID)] && letsThrough(h, id, entitlement.Name, "wiki/space", l.now) {
				s.breaks("checks refuse", "%s may be %s of the wiki, and nothing gives it now", id, entitlement.Name)
			}
		}
	}
	s.checkMachineStops(h, l, lives)
}

// checkRecord replays every stream.
func (s *story) checkRecord() {
	found, err := desk.Verify(context.Background(), s.store, func(int64) {})
	s.must(err)
	for _, finding := range found.Findings {
		s.breaks("every row is the replay of its stream", "%s", finding)
		for _, grant := range s.grants() {
			if strings.Contains(finding, string(grant.ID)) {
				s.tellHistory(grant)
			}
		}
	}
}

// tellHistory tells a row and what its stream says of it.
func (s *story) tellHistory(grant *countersign.Grant) {
	row, err := countersign.Canonical(grant)
	s.must(err)
	s.tell("the row is %s", row)
	events, err := s.store.Events(s.ctx, countersign.Stream(grant.ID), 0, 1000)
	s.must(err)
	for _, event := range events {
		for _, value := range event.Values {
			s.tell("its event: %s %s", value.Group, value.Bytes)
		}
	}
}
