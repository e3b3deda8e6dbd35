package house_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// hears lets whatever is gathered be told by now.
func (w *world) hears() {
	w.t.Helper()
	w.pass(15 * time.Minute)
	w.tell()
}

// count is how often the person was told something of the kind.
func (l *listener) count(name, kind string) int {
	count := 0
	for _, heard := range l.kinds(name) {
		if heard == kind {
			count++
		}
	}
	return count
}

func TestAProposalThatNobodyDecidesIsRemindedOfAndLapses(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		made := countersign.InstantOf(w.clock.Now())
		changed := strings.Replace(directoryFile, "{name: nobody, members: []}", "{name: nobody, members: [otto]}", 1)
		id, err := w.propose("adam", countersign.DirectoryProposal, changed)
		w.must(err)
		if view := w.proposal("alma", id); view.State != countersign.ProposalOpen || view.Until != made.Add(30*countersign.Day) {
			t.Fatalf("the second person is shown %+v", view)
		}
		w.hears()
		if said := ear.heardOf("Alma Admin", desk.NoticeProposal); !strings.Contains(said, "lapses at 2026-12-02") || len(ear.heard) != 1 {
			t.Fatalf("who may decide was told %q, and in all %+v", said, ear.heard)
		}
		w.pass(23 * aDay)
		w.hears()
		if ear.count("Alma Admin", desk.NoticeProposal) != 2 || ear.count("Adam Admin", desk.NoticeProposal) != 1 {
			t.Fatalf("the reminder told %+v", ear.heard)
		}
		w.restart()
		w.pass(7*aDay - 2*time.Hour)
		if state := w.proposal("alma", id).State; state != countersign.ProposalOpen {
			t.Fatalf("before its time it is %s", state)
		}
		w.pass(2 * time.Hour)
		w.hears()
		view := w.proposal("alma", id)
		if view.State != countersign.ProposalLapsed || view.DecidedBy != nil || view.DecidedAt == 0 || view.Until != 0 || !strings.Contains(view.Outcome, "Nobody decided by 2026-12-02") || len(view.Offered) != 0 {
			t.Fatalf("after its time it is %+v", view)
		}
		w.refused(w.publish("alma", id), "already-lapsed")
		if !slices.Equal(ear.kinds("Adam Admin"), []string{desk.NoticeProposal, desk.NoticeLapsed}) || ear.count("Alma Admin", desk.NoticeProposal) != 2 {
			t.Errorf("told were %+v", ear.heard)
		}
		// The same files are proposed anew, and decided in time.
		again, err := w.propose("adam", countersign.DirectoryProposal, changed)
		w.must(err)
		w.must(w.publish("alma", again))
		w.pass(60 * aDay)
		w.hears()
		if state := w.proposal("alma", again).State; state != countersign.ProposalPublished || ear.count("Adam Admin", desk.NoticeLapsed) != 1 {
			t.Errorf("what was published is %s, and told were %v", state, ear.kinds("Adam Admin"))
		}
		w.verified()
	})
}

// Time decides, and not whether the timer has come yet.
func TestAProposalIsNotPublishedAfterItsTime(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), "proposals: {within: 2d, remind: 1d}")
	id, err := w.propose("adam", countersign.DirectoryProposal, strings.Replace(directoryFile, "{name: nobody, members: []}", "{name: nobody, members: [otto]}", 1))
	w.must(err)
	w.move(2 * aDay)
	w.refused(w.publish("alma", id), "already-lapsed")
	w.settle()
	if state := w.proposal("alma", id).State; state != countersign.ProposalLapsed {
		t.Errorf("it is %s", state)
	}
	w.verified()
}

// An emergency policy has its own time, whatever was left of the proposal's.
func TestAnEmergencyKeepsItsOwnTime(t *testing.T) {
	w := emergencies(t, onSQLite(t))
	id, err := w.propose("ana", countersign.PolicyProposal, w.policies(strings.Replace(emergencyStage, "2 business days", "4 business days", 1))...)
	w.must(err)
	w.must(w.enforce("ana", id, "nobody could approve anything"))
	now := countersign.InstantOf(w.clock.Now())
	if view := w.proposal("alma", id); view.Until != now.Add(desk.EmergencyTime) {
		t.Errorf("it lapses at %s", view.Until)
	}
	w.pass(time.Duration(desk.EmergencyTime) * time.Second)
	if state := w.proposal("alma", id).State; state != countersign.ProposalLapsed {
		t.Errorf("it is %s", state)
	}
	w.verified()
}

// asBefore writes rows as the version before did that knew no deadlines.
func (w *world) asBefore(revision int64, write store.Write, actor countersign.Actor, payload countersign.Payload) {
	w.t.Helper()
	now, stream := countersign.InstantOf(w.clock.Now()), write.Row.RowStream()
	heads, err := w.house.Store.Heads(w.ctx, []countersign.Stream{stream})
	w.must(err)
	sealed, err := audit.Seal(heads[stream].Seq, heads[stream].Hash, audit.Stamp{Time: now, Actor: actor, DirectoryRevision: revision},
		countersign.NewMint([32]byte{1}, now), countersign.Event{Stream: stream, Payload: payload})
	w.must(err)
	change := store.Change{Now: now, Writes: []store.Write{write}, Events: []countersign.SealedEvent{sealed}}
	if write.Was != 0 {
		change.DirectoryRevision = revision + 1
		change.Guards = []store.Guard{{Key: store.GuardRow(write.Row.RowKey()), Version: write.Was, Next: sealed.Header.Seq}}
	}
	w.must(w.house.Store.Commit(w.ctx, change))
}

func TestWhatIsFromBeforeThereWereDeadlinesGetsOneAtFirstLook(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		adam := w.as("adam").Identity
		model, err := w.propose("adam", countersign.DirectoryProposal, strings.Replace(directoryFile, "{name: nobody, members: []}", "{name: nobody, members: [otto]}", 1))
		w.must(err)
		w.must(w.house.Desk.Withdraw(w.ctx, w.as("adam"), desk.Key{}, model, "it is only a model"))
		w.move(15 * time.Minute)
		w.tell()
		kept, err := w.house.Store.Proposal(w.ctx, model)
		w.must(err)
		draft := func() countersign.ProposalID {
			now := countersign.InstantOf(w.clock.Now())
			id := countersign.NewMint([32]byte{2}, now).Proposal()
			drafted := &workflow.ProposalDrafted{Change: workflow.ProposalDraftedChange{Kind: kept.Kind, By: adam, Files: kept.Files}, Reason: &workflow.Reason{Text: "from before"}}
			row, err := workflow.ApplyProposal(nil, workflow.Stamp{Stream: countersign.Stream(id), Seq: 1, Time: now, Actor: countersign.Actor(adam)}, drafted)
			w.must(err)
			w.asBefore(0, store.Write{Row: row}, countersign.Actor(adam), drafted)
			return id
		}
		// Nobody lets time pass: the house is the version before.
		old, oldMade := draft(), countersign.InstantOf(w.clock.Now())
		w.move(40 * aDay)
		young, youngMade := draft(), countersign.InstantOf(w.clock.Now())
		w.must(w.house.Desk.OfferOwnership(w.ctx, w.as("olga"), desk.Key{}, "svc", "pit", "she changes the team"))
		known, err := w.house.Store.Directory(w.ctx, 0)
		w.must(err)
		for _, machine := range known.Identities {
			if machine.Offer != nil {
				after := *machine
				after.Offer = &countersign.OwnershipOffer{To: machine.Offer.To, By: machine.Offer.By, At: machine.Offer.At}
				recorded := workflow.NewIdentityRecorded(after)
				after.Version = machine.Version + 1
				recorded.Change.Version = after.Version
				w.asBefore(known.Revision, store.Write{Was: machine.Version, Row: &after}, countersign.Actor(machine.Offer.By), recorded)
			}
		}
		w.move(10 * aDay)
		ear.heard = nil
		w.restart()
		w.settle()

		now := countersign.InstantOf(w.clock.Now())
		for name, c := range map[string]struct {
			id    countersign.ProposalID
			until countersign.Instant
		}{
			"one that is old enough to have lapsed": {old, now.Add(7 * countersign.Day)},
			"one that is younger":                   {young, youngMade.Add(30 * countersign.Day)},
		} {
			if view := w.proposal("alma", c.id); view.State != countersign.ProposalOpen || view.Until != c.until {
				t.Errorf("%s is %s until %s, want %s", name, view.State, view.Until, c.until)
			}
		}
		view, err := w.house.Desk.Identity(w.ctx, "svc")
		w.must(err)
		if view.OfferedTo == nil || view.OfferedTo.Login != "pit" || view.OfferedUntil != youngMade.Add(30*countersign.Day) {
			t.Errorf("the offer is to %v until %s", view.OfferedTo, view.OfferedUntil)
		}
		w.hears()
		if said := ear.heardOf("Alma Admin", desk.NoticeProposal); strings.Count(said, "\n") != 3 {
			t.Errorf("she is told of both, and reminded of the old one: %q (made at %s)", said, oldMade)
		}
		w.pass(7 * aDay)
		if state := w.proposal("alma", old).State; state != countersign.ProposalLapsed {
			t.Errorf("the old one is %s", state)
		}
		w.pass(13 * aDay)
		w.pass(time.Minute)
		if state := w.proposal("alma", young).State; state != countersign.ProposalLapsed {
			t.Errorf("the younger one is %s", state)
		}
		w.refused(w.house.Desk.AcceptOwnership(w.ctx, w.as("pit"), desk.Key{}, "svc", "I take it"), "offer-lapsed")
		w.verified()
	})
}

func TestAnOfferThatNobodyAcceptsIsRemindedOfAndLapses(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""), "owners: {accept_within: 20d, remind: 5d}")
		made := countersign.InstantOf(w.clock.Now())
		accept := func() error {
			return w.house.Desk.AcceptOwnership(w.ctx, w.as("pit"), desk.Key{}, "svc", "I take it")
		}
		w.must(w.house.Desk.OfferOwnership(w.ctx, w.as("olga"), desk.Key{}, "svc", "pit", "she changes the team"))
		w.must(w.house.Desk.OfferSystem(w.ctx, w.as("syd"), desk.Key{}, "ledger", "", "he works on it every day"))
		// What else is recorded of the machine tells nobody of the offer again.
		w.must(w.confirmMachine("olga", "svc"))
		w.hears()
		if said := ear.heardOf("Pit Platform", desk.NoticeOffer); !strings.Contains(said, "Pit Platform is to answer for Service A") || !strings.Contains(said, "countersign identity accept svc") ||
			!strings.Contains(said, "Syd Security asks to take over the system ledger") {
			t.Fatalf("the new owner, and second owner of the other thing, was told %q", said)
		}
		if ear.count("Pit Platform", desk.NoticeOffer) != 2 || ear.count("Otto Other", desk.NoticeOffer) != 1 || ear.count("Olga Owner", desk.NoticeOffer)+ear.count("Syd Security", desk.NoticeOffer) != 0 {
			t.Fatalf("told were %+v", ear.heard)
		}
		w.pass(14 * aDay)
		w.pass(aDay)
		w.hears()
		if ear.count("Pit Platform", desk.NoticeOffer) != 4 || ear.count("Olga Owner", desk.NoticeOffer) != 1 || ear.count("Syd Security", desk.NoticeOffer) != 1 {
			t.Fatalf("the reminder told %+v", ear.heard)
		}
		w.restart()
		// Time decides, and not whether somebody has looked yet.
		w.move(made.Add(20 * countersign.Day).Time().Sub(w.clock.Now()))
		w.refused(accept(), "offer-lapsed")
		if view, err := w.house.Desk.Identity(w.ctx, "svc"); err != nil || view.OfferedTo != nil {
			t.Errorf("it is still offered: %+v, %v", view, err)
		}
		w.settle()
		w.hears()
		for _, name := range []string{"Pit Platform", "Olga Owner", "Syd Security"} {
			if ear.count(name, desk.NoticeLapsed) != 1 {
				t.Errorf("%s was told %v", name, ear.kinds(name))
			}
		}
		if said := ear.heardOf("Olga Owner", desk.NoticeLapsed); !strings.Contains(said, "nobody agreed by 2026-11-22") || !strings.Contains(said, "countersign identity offer svc") {
			t.Errorf("who offered it was told %q", said)
		}
		w.refused(accept(), "offer-lapsed")
		w.pass(aDay)
		w.hears()
		if ear.count("Olga Owner", desk.NoticeLapsed) != 1 {
			t.Error("it lapsed twice")
		}
		// Offered anew, it is accepted.
		w.must(w.house.Desk.OfferOwnership(w.ctx, w.as("olga"), desk.Key{}, "svc", "pit", "now in earnest"))
		w.must(accept())
		w.pass(40 * aDay)
		if view, err := w.house.Desk.Identity(w.ctx, "svc"); err != nil || view.Owner.Login != "pit" {
			t.Errorf("the machine shows %+v, %v", view, err)
		}
		w.verified()
	})
}

func TestAHoldIsRemindedOfEachWeekAndNeverEndsByItself(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		id, err := w.house.Desk.Hold(w.ctx, w.as("adam"), desk.Key{}, "ledger", "somebody copies the books", false)
		w.must(err)
		// An open hold and a lifted one beside it: nobody hears of the lifted one.
		other, err := w.house.Desk.Hold(w.ctx, w.as("adam"), desk.Key{}, "wiki", "by mistake", false)
		w.must(err)
		w.must(w.house.Desk.Lift(w.ctx, w.as("adam"), desk.Key{}, other, "it was the other one"))
		w.pass(6 * aDay)
		w.hears()
		if len(ear.heard) != 0 {
			t.Fatalf("told too early: %+v", ear.heard)
		}
		told := func(want map[string]int) {
			t.Helper()
			w.hears()
			for name, count := range want {
				if ear.count(name, desk.NoticeHold) != count {
					t.Errorf("%s was told %d times, want %d", name, ear.count(name, desk.NoticeHold), count)
				}
			}
		}
		w.pass(aDay)
		told(map[string]int{"Adam Admin": 1, "Otto Other": 1, "Pit Platform": 1, "Alma Admin": 0})
		if said := ear.heardOf("Otto Other", desk.NoticeHold); !strings.Contains(said, "in force since 2026-11-02") {
			t.Errorf("an owner was told %q", said)
		}
		w.restart()
		w.pass(7 * aDay)
		told(map[string]int{"Adam Admin": 2, "Otto Other": 2, "Alma Admin": 1})
		view, err := w.house.Desk.HoldView(w.ctx, w.as("adam"), id)
		w.must(err)
		if view.State != countersign.HoldActive {
			t.Fatalf("the hold is %s", view.State)
		}
		w.must(w.house.Desk.Lift(w.ctx, w.as("otto"), desk.Key{}, id, "it was a backup"))
		w.pass(30 * aDay)
		told(map[string]int{"Adam Admin": 2, "Otto Other": 2, "Alma Admin": 1})
		w.verified()
	})
}

func TestAFindingThatNobodyDealsWithIsToldToAdministratorsOnce(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		planted := w.plant("syd")
		w.move(time.Second)
		other := w.plant("sam")
		w.read()
		w.expectOpen("two were given by hand", "out-of-band sam books/write", "out-of-band syd books/write")
		w.pass(6 * aDay)
		w.read()
		w.hears()
		w.must(w.target.Revoke(w.ctx, other))
		if ear.count("Adam Admin", desk.NoticeFindingsOverdue)+ear.count("Otto Other", desk.NoticeFindingsOverdue) != 0 {
			t.Fatalf("told too early: %+v", ear.heard)
		}
		for range 4 {
			w.pass(aDay)
			w.read()
		}
		w.hears()
		for _, name := range []string{"Adam Admin", "Alma Admin", "Otto Other", "Pit Platform"} {
			if said := ear.heardOf(name, desk.NoticeFindingsOverdue); ear.count(name, desk.NoticeFindingsOverdue) != 1 || !strings.Contains(said, "; 1 finding(s) are overdue") {
				t.Errorf("%s was told %q", name, said)
			}
		}
		w.must(w.target.Revoke(w.ctx, planted))
		w.reread("ledger")
		w.expectOpen("it was taken away")
		w.verified()
	})
}
