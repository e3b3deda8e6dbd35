package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
)

// story is one seed's course of events.
type story struct {
	*world
	// told is what happened, for the one who has to find out why.
	told     []string
	broken   []violation
	commands int
	// tallies count what came of each act, by its name.
	tallies map[string]tally
	// seen are the acts and faults that other stories have had, so that this one draws
	// more of what they have not.
	seen map[string]bool
	// widening are the proposals whose text gives somebody approval standing.
	widening map[countersign.ProposalID]bool
	// archive is what people gave by hand on the system without an interface.
	archive map[countersign.GrantID]bool
	// last is the command that was sent last from outside of another one.
	last *sent
	// depth counts commands that happen in the middle of another one.
	depth int
	// stale are claims whose holder did not come to deliver them.
	stale []store.Work
	// ahead is the latest time that the clock has shown.
	ahead countersign.Instant
	laws  *laws
	// patience is for how many days everything may take to come to its end.
	patience int
	// tamper changes what the checker is to find; for proving that it can.
	tamper func(*story)
}

// violation is a law that was found broken.
type violation struct{ law, what string }

func (v violation) String() string { return v.law + ": " + v.what }

func (s *story) breaks(law, format string, args ...any) {
	if s.laws.only != "" && s.laws.only != law {
		return
	}
	s.broken = append(s.broken, violation{law, fmt.Sprintf(format, args...)})
	s.tell("BROKEN %s: %s", law, fmt.Sprintf(format, args...))
}

func (s *story) tell(format string, args ...any) {
	s.told = append(s.told, s.clock.instant().String()+strings.Repeat("  ", s.depth+1)+fmt.Sprintf(format, args...))
}

func newStory(w *world) *story {
	s := &story{world: w, patience: 150, tallies: map[string]tally{}, widening: map[countersign.ProposalID]bool{}, archive: map[countersign.GrantID]bool{}}
	s.faults.answered = map[string]string{}
	s.laws = newLaws()
	s.target.gives = func(task taskOf) {
		if why := s.unauthorised(task, true); why != "" {
			s.breaks("no access without a decision", "at the moment of its effect: %s", why)
		}
	}
	s.target.takes = func(task taskOf) {
		if why := s.unremovable(task); why != "" {
			s.breaks("a removal is asked for by name", "at the moment of its effect: %s", why)
		}
	}
	return s
}

// pace is how long a story is, and how fast time passes in it.
type pace struct {
	steps int
	lasts time.Duration
	// waits are up to how long somebody waits; often is in how many of 100 steps.
	waits []time.Duration
	often int
}

const day = 24 * time.Hour

var (
	rush = pace{steps: 45, often: 60, waits: []time.Duration{time.Second, 3 * time.Second, 20 * time.Second, 61 * time.Second, 5 * time.Minute, time.Hour, 25 * time.Hour}}
	year = pace{steps: 45, often: 85, lasts: 365 * day, waits: []time.Duration{time.Hour, 30 * time.Hour, 6 * day, 20 * day, 40 * day}}
)

// run plays steps until there were so many and so much time has passed, then lets
// everything come to its end. It stops at the first law that is broken.
func (s *story) run(pace pace) []violation {
	s.prologue()
	began := s.clock.Now()
	for step := 0; step < pace.steps || s.clock.Now().Sub(began) < pace.lasts; step++ {
		s.step(pace)
		if s.tamper != nil {
			s.tamper(s)
		}
		s.check(step%30 == 29)
		if len(s.broken) > 0 {
			return s.broken
		}
	}
	s.drain()
	return s.broken
}

// prologue makes people eligible for break-glass.
func (s *story) prologue() {
	for _, duty := range []struct {
		entitlement string
		logins      []string
	}{{"wiki/space/editor-on-call", []string{"ana", "cora", "otto"}}, {"countersign/house/policy-on-call", []string{"olga", "otto", "syd"}}} {
		for _, who := range duty.logins {
			id, err := s.houses[0].Desk.Submit(s.ctx, s.as(who), desk.Key{}, desk.Asking{Entitlements: []string{duty.entitlement}, Reason: "on call this quarter"})
			s.must(err)
			request, err := s.store.Request(s.ctx, id)
			s.must(err)
			manager := desk.Caller{Identity: request.Stages[0].Asked[0].Person}
			view, err := s.houses[0].Desk.Request(s.ctx, manager, id)
			s.must(err)
			s.must(s.houses[0].Desk.Approve(s.ctx, manager, desk.Key{}, id, desk.Decision{Shown: view.Shown}))
		}
	}
	s.settled()
	if s.tamper != nil {
		// There is something to tamper with, whatever the seed draws.
		s.given("ana", "ledger/books/read")
	}
}

// step is a few acts, with what goes wrong around it, and then the engines.
func (s *story) step(pace pace) {
	if s.chance(25) {
		s.arm()
	}
	switch s.rng.IntN(8) {
	case 0, 1:
		s.faults.meanwhile = s.inBetween
	case 2:
		s.target.meanwhile = s.inBetween
	}
	// A replica that has not beaten refuses nearly everything, which is soon seen.
	if s.chance(93) {
		for _, h := range s.houses {
			_, _ = s.surviving(func() error { return h.Engine.Beat(s.ctx) })
		}
	}
	if s.chance(20) {
		_, _ = s.surviving(func() error { s.confirmSystems(); return nil })
	}
	if s.chance(85) {
		var err error
		died := false
		for range 1 + s.rng.IntN(4) {
			if err, died = s.surviving(s.draw); died || countersign.KindOf(err) == countersign.Unavailable {
				break
			}
		}
		s.depth = 0
		if died {
			s.tell("the process died, and started again")
		}
		if (died || countersign.KindOf(err) == countersign.Unavailable) && s.last != nil && s.chance(70) {
			s.again()
		}
	}
	s.last = nil
	if s.chance(pace.often) {
		s.pass(time.Duration(1 + s.rng.Int64N(int64(pick(s, pace.waits...)))))
	}
	s.engines()
}

// again sends the last command once more, after its outcome was not known.
func (s *story) again() {
	s.healed()
	err, _ := s.surviving(func() error { return s.send(s.last) })
	s.tell("sent again: %v", err)
}

// inBetween happens in the middle of a command or of an operation.
func (s *story) inBetween() {
	if s.depth > 0 {
		return
	}
	s.depth++
	defer func() { s.depth-- }()
	if s.chance(30) {
		s.tell("meanwhile the other engine works: %v", pick(s, s.houses...).Settle(s.ctx))
		return
	}
	_ = s.draw()
}

// pass lets time go by; what was on its way to the target arrives.
func (s *story) pass(by time.Duration) {
	time.Sleep(by)
	synctest.Wait()
	s.target.land()
	s.ahead = max(s.ahead, s.clock.instant())
}

// engines lets some of what is due be done, by one engine or by both.
func (s *story) engines() {
	s.depth = 0
	works := func(what string, run func(h *house.House) error) {
		h := pick(s, s.houses...)
		err, died := s.surviving(func() error { return run(h) })
		if err != nil || died {
			s.tell("%s: %v, died: %v", what, err, died)
		}
		s.checkAnswer(err)
	}
	switch s.rng.IntN(10) {
	case 0:
		works("a claim that nobody delivers", func(h *house.House) error {
			claimed, err := h.Engine.Claim(s.ctx, 2)
			s.stale = append(s.stale, claimed...)
			return err
		})
	case 1:
		for _, work := range s.stale {
			s.bites.count(deliveredLate)
			works("a late or second delivery", func(h *house.House) error { return h.Engine.Deliver(s.ctx, work) })
		}
		if s.chance(50) {
			s.stale = nil
		}
	case 2:
		works("timers alone", func(h *house.House) error { _, err := h.Engine.Timers(s.ctx); return err })
	case 3:
	default:
		if s.chance(50) {
			s.healed()
		}
		works("the engine", func(h *house.House) error { return h.Settle(s.ctx) })
	}
	if s.chance(30) {
		works("a reading of the targets", s.readTargets)
	}
}

func (s *story) readTargets(h *house.House) error {
	for {
		if read, err := h.Engine.Reconcile(s.ctx); read == 0 || err != nil {
			return err
		}
	}
}

// checkAnswer holds the engine to the faults that were drawn: nothing else stops it.
func (s *story) checkAnswer(err error) {
	if err != nil && countersign.KindOf(err) != countersign.Unavailable {
		s.breaks("answers", "the engine says %v", err)
	}
}

// healed ends the faults of database and disk.
func (s *story) healed() {
	if s.faults.full {
		s.fillDisk(false)
	}
	s.faults.clear()
}

// settled brings both engines to rest with all faults of the database ended, and
// reports whether they came there.
func (s *story) settled() bool {
	s.healed()
	for range 2 {
		for _, h := range s.houses {
			err, died := s.surviving(func() error { return h.Settle(s.ctx) })
			if died {
				return s.settled()
			}
			s.checkAnswer(err)
			if err != nil {
				return false
			}
		}
	}
	return true
}

// drain heals everything, lets people do what they owe, and waits: in the end
// nothing is open.
func (s *story) drain() {
	s.target.heal()
	s.tell("everything is healed")
	for passed := range s.patience {
		if !s.settled() {
			s.breaks("nothing is open for ever", "the engines do not work although nothing is wrong")
		}
		if passed == 1 {
			s.checkAnswer(s.readTargets(s.houses[0]))
			s.checkFound(s.look())
		}
		s.check(false)
		if len(s.broken) > 0 {
			return
		}
		s.checkGiven(s.laws.last)
		open := s.open()
		if len(open) == 0 {
			s.check(true)
			return
		}
		s.duties()
		// What is left after days waits for longer than days.
		s.pass(time.Duration(1+passed/10) * 26 * time.Hour)
	}
	s.check(true)
	for _, what := range s.open() {
		s.breaks("nothing is open for ever", "%s", what)
	}
}

// duties are what people are asked for by the house.
func (s *story) duties() {
	s.confirmSystems()
	holds, err := s.store.Holds(s.ctx, false, "", 100)
	s.must(err)
	for _, hold := range holds {
		for _, who := range []string{"adam", "alma"} {
			_ = s.liftOne(hold, who)
		}
	}
	s.taskDuties()
	for _, grant := range s.grants() {
		if grant.Parked != nil {
			err := s.retryOn(grant)
			s.checkAnswer(onlyUnavailable(err))
			// What may not be tried again, as where its holder is suspended, is given up.
			if countersign.KindOf(err) == countersign.Refused {
				s.checkAnswer(onlyUnavailable(s.revokeOn(grant)))
			}
		}
	}
	for _, request := range s.requests() {
		if request.State == countersign.RequestTriaging {
			_ = s.declineOne(request, pick(s, "oda", "odo"))
		}
		if request.State != countersign.RequestClosing {
			continue
		}
		if owed(request) != nil {
			for _, who := range s.mayAttach(request) {
				_ = s.attachTo(request, who)
			}
		}
		if reviewable(request) {
			_ = s.reviewOn(request)
		}
	}
}

// onlyUnavailable drops refusals, which are lawful answers.
func onlyUnavailable(err error) error {
	if countersign.KindOf(err) == countersign.Refused || countersign.KindOf(err) == countersign.Conflict {
		return nil
	}
	return err
}

// mayAttach lists who asked, who benefits, and who answers for the beneficiary.
func (s *story) mayAttach(request *countersign.Request) []countersign.IdentityID {
	return append([]countersign.IdentityID{request.Requester, request.Beneficiary}, request.SamePerson...)
}

// open lists what is not at its end, but for the powers of the desk itself, whose
// last holders cannot lapse.
func (s *story) open() []string {
	var open []string
	for _, request := range s.requests() {
		if !request.State.Final() {
			open = append(open, fmt.Sprintf("the request %s of type %s is %s", request.ID, request.Type, request.State))
		}
	}
	for _, grant := range s.grants() {
		if !grant.State.Ended() && (grant.Request != "" || grant.Adopted != nil) {
			open = append(open, fmt.Sprintf("the grant %s is %s", grant.ID, grant.State))
		}
	}
	for credential, task := range s.target.held {
		if grant, err := s.store.Grant(s.ctx, task.Grant); err == nil && grant.Birthright != nil && grant.State == countersign.GrantLive {
			continue // it has no end but that of its rule
		}
		open = append(open, fmt.Sprintf("the target holds %s", credential))
	}
	for _, account := range s.accounts(s.look()) {
		open = append(open, fmt.Sprintf("the registry has the account %s", account.Credential))
	}
	findings, err := s.store.Findings(s.ctx, store.FindingQuery{})
	s.must(err)
	for _, finding := range findings {
		if finding.Removal != nil {
			open = append(open, fmt.Sprintf("the removal of the finding %s is under way", finding.ID))
		}
	}
	for _, batch := range s.batches() {
		if slices.ContainsFunc(batch.Items, func(item countersign.BatchItem) bool { return !item.Done() }) {
			open = append(open, fmt.Sprintf("the batch %s has items without a result", batch.ID))
		}
	}
	for _, proposal := range s.proposals(countersign.ProposalProvisional) {
		open = append(open, fmt.Sprintf("the policy %s is in force, put there by one person", proposal.ID))
	}
	for _, proposal := range s.proposals(countersign.ProposalOpen) {
		open = append(open, fmt.Sprintf("the proposal %s waits for a second person", proposal.ID))
	}
	for what, offer := range s.offers() {
		if offer.LapsedAt == 0 {
			open = append(open, fmt.Sprintf("the offer of %s to %s waits for a second person", what, offer.To))
		}
	}
	slices.Sort(open)
	return open
}

// offers are those of machines and systems, by their ids.
func (s *story) offers() map[string]*countersign.OwnershipOffer {
	directory, err := s.store.Directory(s.ctx, 0)
	s.must(err)
	return offersIn(directory)
}

func offersIn(directory store.Directory) map[string]*countersign.OwnershipOffer {
	offers := map[string]*countersign.OwnershipOffer{}
	for _, machine := range directory.Identities {
		if machine.Offer != nil {
			offers[string(machine.ID)] = machine.Offer
		}
	}
	for _, system := range directory.Systems {
		if system.Offer != nil {
			offers[string(system.ID)] = system.Offer
		}
	}
	return offers
}

func (s *story) requests() []*countersign.Request {
	all, err := s.store.Requests(s.ctx, store.RequestQuery{})
	s.must(err)
	return all
}

func (s *story) grants() []*countersign.Grant {
	all, err := s.store.Grants(s.ctx, store.GrantQuery{})
	s.must(err)
	return all
}

// batches are those whose command was answered.
func (s *story) batches() []*countersign.Batch {
	var all []*countersign.Batch
	for _, object := range s.faults.answered {
		if countersign.PrefixOf(object) == "bat" {
			batch, err := s.store.Batch(s.ctx, countersign.BatchID(object))
			s.must(err)
			all = append(all, batch)
		}
	}
	slices.SortFunc(all, func(a, b *countersign.Batch) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

func (s *story) proposals(states ...countersign.ProposalState) []*countersign.Proposal {
	all, err := s.store.Proposals(s.ctx, states, "", 1000)
	s.must(err)
	return all
}

// powerSystem is the system whose grants are powers of the desk.
func powerSystem(directory store.Directory) countersign.SystemID {
	for _, system := range directory.Systems {
		if system.Name == desk.SystemName {
			return system.ID
		}
	}
	return ""
}
