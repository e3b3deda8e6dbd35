package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// reviewer gives Pia, who is in the team, access by teamPolicy, and delivers it only
// where told.
func (w *world) reviewer() (countersign.RequestID, *countersign.Grant) {
	w.t.Helper()
	asked := asking()
	asked.Beneficiary = "pia"
	id := w.submit("pia", asked)
	w.must(w.approve("bea", id))
	grant, err := w.house.Store.Grant(w.ctx, w.grant(id).ID)
	w.must(err)
	return id, grant
}

const inTeam, outOfTeam = "- {name: reviewers, members: [both, pia]}", "- {name: reviewers, members: [both]}"

// What was judged before its operation began is judged anew for who moved meanwhile.
func TestWhoMovesWhileTheTargetIsAtWorkIsJudgedAnew(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, teamPolicy)
		_, grant := w.reviewer()
		work := w.claim()[0]
		w.before(func() {
			w.together(inTeam, outOfTeam)
			_, err := w.house.Engine.Identities(w.ctx)
			w.must(err)
		})
		w.must(w.house.Engine.Deliver(w.ctx, work))
		w.settle()
		if live := w.stored(grant.ID); live.State != countersign.GrantLive {
			t.Fatalf("the grant is %+v", live)
		}
		w.pass(time.Hour)
		if moved := w.stored(grant.ID); moved.Lapsing == nil || moved.Lapsing.Cause != "moved" {
			t.Errorf("the access goes on until %s, and security was never asked", moved.Until)
		}
		w.pass(4 * 24 * time.Hour)
		if gone := w.stored(grant.ID); gone.State != countersign.GrantGone {
			t.Errorf("after the overlap it is %s", gone.State)
		}
		w.verified()
	})
}

func TestWhoMovesWhileALaterEndIsOnItsWayIsJudgedAnew(t *testing.T) {
	w := found(t, onSQLite(t), teamPolicy)
	asked := asking()
	asked.Beneficiary, asked.Duration = "pia", countersign.Day
	first := w.submit("pia", asked)
	w.must(w.approve("bea", first))
	w.settle()
	grant := w.stored(w.grant(first).ID)
	longer := extension(grant.ID, 20*countersign.Day)
	longer.Beneficiary = "pia"
	id := w.submit("pia", longer)
	w.must(w.approve("bea", id))
	work := w.claim()[0]
	w.before(func() {
		w.together(inTeam, outOfTeam)
		_, err := w.house.Engine.Identities(w.ctx)
		w.must(err)
	})
	w.must(w.house.Engine.Deliver(w.ctx, work))
	w.settle()
	w.pass(time.Hour)
	if moved := w.stored(grant.ID); moved.Lapsing == nil && moved.Until > grant.Until {
		t.Errorf("the access goes on until %s, and security was never asked", moved.Until)
	}
	w.verified()
}

func TestWhoMovesAgainKeepsWhatTheNewPlaceHasGiven(t *testing.T) {
	w := found(t, onSQLite(t), teamPolicy)
	_, grant := w.reviewer()
	w.settle()
	w.together(inTeam, outOfTeam)
	w.settle()
	if w.stored(grant.ID).Lapsing == nil {
		t.Fatal("it does not lapse")
	}
	// Security is asked for a later end, and gives it.
	longer := extension(grant.ID, 20*countersign.Day)
	longer.Beneficiary = "pia"
	id := w.submit("pia", longer)
	w.must(w.approve("bea", id))
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestClosed)
	until := w.stored(grant.ID).Until
	w.together("{login: pia, name: Pia Platform, email: pia@test.example, manager: bea}", "{login: pia, name: Pia Platform, email: pia@test.example, manager: max}")
	w.settle()
	if kept := w.stored(grant.ID); kept.Lapsing != nil || kept.Until != until {
		t.Errorf("what security gave lapses: %+v", kept.Lapsing)
	}
	w.verified()
}

// anaMoves gives Ana another manager.
func (w *world) anaMoves(from, to string) {
	const ana = "{login: ana, name: Ana Asker, email: ana@test.example, manager: "
	w.together(ana+from+"}", ana+to+"}")
	w.settle()
}

func TestWhoMovesKeepsBothHalvesWhileAnExceptionLasts(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, toxic, exceptionsFile)
	_, first := w.active(managerStage)
	except := func(asked desk.Asking, days int) countersign.RequestID {
		t.Helper()
		asked.Exception = &desk.AskedException{Control: "otto reads the log of the interface each evening", Owner: "otto", Until: w.in(days)}
		id := w.submit("ana", asked)
		for _, who := range []string{"bea", "syd", "sam"} {
			w.must(w.approve(who, id))
		}
		w.settle()
		return id
	}
	second := w.grant(except(call("ana"), 2))
	lapses := func(when string) {
		t.Helper()
		for _, id := range []countersign.GrantID{first.ID, second.ID} {
			if grant := w.stored(id); grant.State != countersign.GrantLive || grant.Lapsing != nil {
				t.Errorf("%s %s is %s and lapses: %+v", when, id, grant.State, grant.Lapsing)
			}
		}
	}
	w.anaMoves("max", "otto")
	lapses("under the exception")
	// A later end comes with a later exception.
	longer := call("ana")
	longer.Extends, longer.Duration = second.ID, 5*countersign.Day
	except(longer, 5)
	w.pass(3 * 24 * time.Hour)
	w.anaMoves("otto", "max")
	lapses("under the second exception")
	w.pass(2 * 24 * time.Hour)
	if gone := w.stored(second.ID); gone.State != countersign.GrantGone {
		t.Errorf("it outlives its exception: %s", gone.State)
	}
	w.verified()
}

func TestNobodyApprovesAnExceptionWhoseOwnerHasLeft(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, toxic, exceptionsFile)
	w.active(managerStage)
	asked := call("ana")
	asked.Exception = &desk.AskedException{Control: "otto reads the log of the interface each evening", Owner: "nomad", Until: w.in(5)}
	id := w.submit("ana", asked)
	w.must(w.approve("bea", id))
	w.must(w.approve("syd", id))
	w.apply("{login: nomad, name: Nomad Nomanager,", "{login: nomad, name: Nomad Nomanager, status: departed,")
	w.refused(w.approve("sam", id), "no-exception-owner")
	w.verified()
}

func TestWhatWasRevokedOfABirthrightDoesNotComeBackAfterItWasAskedFor(t *testing.T) {
	w := found(t, onSQLite(t), editorPolicy, staffPackage, staffRule)
	given := w.birthright("ana")
	w.must(w.revocation("otto", given.ID)())
	w.pass(time.Hour)
	asked := w.editor()
	w.must(w.revocation("ana", w.grant(asked).ID)())
	w.settle()
	w.pass(25 * time.Hour)
	if again := w.birthright("ana"); again.ID != given.ID {
		t.Errorf("the rule gave it again: %+v", again)
	}
	if views := w.birthrights("ana"); len(views) != 1 || !strings.Contains(views[0].Refused, "revoked") {
		t.Errorf("what is not given shows as %+v", views)
	}
	w.verified()
}

// Two moves before the engine looks are one look: what the first one decided is not
// decided again upon what was stored before.
func TestWhoMovesTwiceBeforeTheEngineLooksIsJudgedOnce(t *testing.T) {
	w := found(t, onSQLite(t), teamPolicy)
	_, grant := w.reviewer()
	w.settle()
	w.together(inTeam, outOfTeam)
	w.together("{login: pia, name: Pia Platform, email: pia@test.example, manager: bea}", "{login: pia, name: Pia Platform, email: pia@test.example, manager: max}")
	w.settle()
	if moved := w.stored(grant.ID); moved.Lapsing == nil || moved.Lapsing.Was == moved.Until {
		t.Errorf("the grant lapses at %s: %+v", moved.Until, moved.Lapsing)
	}
	w.verified()
}
