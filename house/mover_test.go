package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const (
	staffPackage = `packages: [{name: staff, title: Staff, entitlements: [wiki/space/editor], beneficiary: [person]}]`
	staffRule    = `birthrights: [{name: employees, when: 'identity.affiliation == "employee"', package: staff, overlap: 5d}]`
)

// birthright returns the grant by which a rule gives somebody the wiki, newest
// first; nil where there never was one.
func (w *world) birthright(login string) *desk.GrantView {
	w.t.Helper()
	grants, err := w.house.Desk.Grants(w.ctx, w.as(login), desk.GrantFilter{All: true})
	w.must(err)
	for _, grant := range grants {
		if grant.Birthright != nil {
			return &grant
		}
	}
	return nil
}

func (w *world) birthrights(login string) []desk.BirthrightView {
	w.t.Helper()
	views, _, err := w.house.Desk.Birthrights(w.ctx, w.as(login), login)
	w.must(err)
	return views
}

func TestWhoJoinsGetsWhatRulesGiveAndLosesItAfterAnOverlap(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), staffPackage, staffRule)
		for _, login := range []string{"ana", "max"} {
			grant := w.birthright(login)
			if grant == nil || grant.State != countersign.GrantLive || grant.Origin != countersign.FromBirthright || grant.Birthright.Rule != "employees" || grant.Until != 0 {
				t.Fatalf("%s holds %+v", login, grant)
			}
		}
		if !mayEdit(w.house.Point).Allowed {
			t.Error("the decision point does not know of it")
		}
		if w.birthright("cora") != nil {
			t.Error("a contractor got what is for employees")
		}
		// Joining later is the same.
		w.together("services:\n", "  - {login: new, name: Nea New, email: new@test.example, manager: max}\nservices:\n")
		w.settle()
		if w.birthright("new") == nil {
			t.Error("who joined got nothing")
		}

		// Ana becomes a contractor: what the rule gave goes on for five days.
		w.together("manager: max}\n  - {login: max", "manager: max, affiliation: contractor, sponsor: otto, contract_end: 2027-06-30}\n  - {login: max")
		w.settle()
		lapsing := w.birthright("ana")
		if lapsing.Lapsing == nil || lapsing.Until.Time() != w.clock.Now().Add(5*24*time.Hour) || lapsing.State != countersign.GrantLive {
			t.Fatalf("it does not lapse after its overlap: %+v", lapsing)
		}
		// Back in time, nothing is lost; and then for good.
		w.together("affiliation: contractor, sponsor: otto, contract_end: 2027-06-30}\n  - {login: max", "affiliation: employee}\n  - {login: max")
		w.settle()
		if kept := w.birthright("ana"); kept.Lapsing != nil || kept.Until != 0 || kept.ID != lapsing.ID {
			t.Fatalf("it was not kept: %+v", kept)
		}
		w.together("affiliation: employee}\n  - {login: max", "affiliation: vendor, sponsor: otto, contract_end: 2027-06-30}\n  - {login: max")
		w.settle()
		w.pass(5*24*time.Hour + time.Second)
		if gone := w.birthright("ana"); gone.State != countersign.GrantGone || gone.Ending != `The rule "employees" does not give it any more.` {
			t.Errorf("after the overlap the grant is %+v", gone)
		}
		if mayEdit(w.house.Point).Allowed {
			t.Error("the decision point still lets her through")
		}
		w.verified()
	})
}

// People who decide that somebody keeps it decide more than the rule that lets it lapse.
func TestAnExtensionOfWhatARuleGaveLastsUntilTheEndThatWasApproved(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), editorPolicy, staffPackage, staffRule)
	w.together("manager: max}\n  - {login: max", "manager: max, affiliation: contractor, sponsor: otto, contract_end: 2027-06-30}\n  - {login: max")
	w.settle()
	lapsing := w.birthright("ana")
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Extends: lapsing.ID, Duration: 20 * countersign.Day, Reason: "the handbook is not done"})
	w.must(w.approve("max", id))
	w.settle()
	extended := w.birthright("ana")
	if extended.Lapsing != nil || extended.Until <= lapsing.Until {
		t.Fatalf("it is extended to %s, and lapsed at %s", extended.Until, lapsing.Until)
	}
	w.pass(25 * time.Hour)
	if after := w.birthright("ana"); after.Lapsing != nil || after.Until != extended.Until {
		t.Errorf("a day later it ends at %s, and was extended to %s", after.Until, extended.Until)
	}
	w.pass(20 * 24 * time.Hour)
	if gone := w.birthright("ana"); gone.State != countersign.GrantGone {
		t.Errorf("after its end it is %s", gone.State)
	}
	w.verified()
}

func TestARuleThatCannotBeJudgedNeitherGivesNorTakes(t *testing.T) {
	rule := strings.Replace(staffRule, `identity.affiliation == "employee"`, `identity.contract_end > timestamp("2026-01-01T00:00:00Z")`, 1)
	w := found(t, onSQLite(t), policyFor(managerStage, ""), staffPackage, rule)
	views, problems, err := w.house.Desk.Birthrights(w.ctx, w.as("adam"), "ana")
	w.must(err)
	if len(views) != 0 || len(problems) != 1 || !strings.Contains(problems[0], "has no identity.contract_end") {
		t.Errorf("for Ana, who has no contract, there are %v and the problems %v", views, problems)
	}
	if w.birthright("cora") == nil {
		t.Fatal("the rule gives Cora nothing")
	}
	w.together("affiliation: contractor, sponsor: otto, contract_end: 2026-11-20}", "affiliation: employee}")
	w.settle()
	if kept := w.birthright("cora"); kept.Lapsing != nil {
		t.Errorf("a rule that cannot be judged took away what it gave: %+v", kept.Lapsing)
	}
	_, _, err = w.house.Desk.Birthrights(w.ctx, w.as("syd"), "ana")
	w.refused(err, "no-such-identity")
	w.verified()
}

func TestWhatWasRevokedOfABirthrightStaysAwayUntilTheRuleChanges(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), staffPackage, staffRule)
	w.must(w.revocation("otto", w.birthright("ana").ID)())
	w.settle()
	w.pass(25 * time.Hour)
	if gone := w.birthright("ana"); gone.State != countersign.GrantGone {
		t.Fatalf("it came back: %+v", gone)
	}
	if views := w.birthrights("ana"); len(views) != 1 || views[0].Grant != "" || !strings.Contains(views[0].Refused, "revoked") {
		t.Errorf("what is not given shows as %+v", views)
	}
	w.verified()
}

func TestABirthrightDoesNotCompleteAToxicCombination(t *testing.T) {
	separation := `separation: [{name: books, title: Books and wiki, combination: [{system: wiki}, {system: ledger}], because: Who writes the handbook keeps no books.}]`
	w := found(t, onSQLite(t), policyFor(managerStage, ""), staffPackage, strings.Replace(staffRule, `identity.affiliation == "employee"`, `"reviewers" in identity.groups`, 1), separation)
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.together("- {name: reviewers, members: [both, pia]}", "- {name: reviewers, members: [both, pia, ana]}")
	w.settle()
	if got := w.birthright("ana"); got != nil {
		t.Fatalf("the rule completed the combination: %+v", got)
	}
	if views := w.birthrights("ana"); len(views) != 1 || !strings.Contains(views[0].Refused, "keeps no books") {
		t.Errorf("what is not given shows as %+v", views)
	}
	w.verified()
}

func TestNoBirthrightGivesAPowerOfTheDesk(t *testing.T) {
	w := empty(t, onSQLite(t))
	err := w.found(strings.Replace(staffPackage, "wiki/space/editor", "countersign/house/auditor", 1), staffRule, policyFor(managerStage, ""))
	w.refused(err, "malformed-organisation")
	if !strings.Contains(err.Error(), "power of the desk") {
		t.Errorf("the refusal says %v", err)
	}
}

func TestUnderAHoldNoRuleGivesAnything(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), staffPackage, strings.Replace(staffRule, `identity.affiliation == "employee"`, `"reviewers" in identity.groups`, 1))
	hold, err := w.hold("adam", "wiki/space/editor", false)
	w.must(err)
	w.together("- {name: reviewers, members: [both, pia]}", "- {name: reviewers, members: [both, pia, ana]}")
	w.settle()
	if w.birthright("ana") != nil {
		t.Fatal("a rule gave what is held")
	}
	w.must(w.lift("adam", hold))
	w.pass(25 * time.Hour)
	if w.birthright("ana") == nil {
		t.Error("a day after it was lifted the rule gives nothing")
	}
	w.verified()
}

// teamPolicy is for those who work in reviewers, and keeps access for three days
// when they leave it.
var teamPolicy = strings.Replace(policyFor(managerStage+"\n- {name: security, when: '!(\"reviewers\" in beneficiary.groups)', approvers: [group(security)], within: 2 business days}", `
refuse:
  - when: beneficiary.affiliation == "vendor"
    because: '"Vendors keep no books."'
`), "grant: {ends: revoke}", "grant: {ends: revoke, overlap: 3d}", 1)

func TestWhoMovesKeepsForAWhileWhatTheNewPlaceWouldNotGive(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, teamPolicy)
		asked := asking()
		asked.Beneficiary = "pia"
		id := w.submit("pia", asked)
		w.must(w.approve("bea", id))
		w.settle()
		before := w.grant(id)
		if before.State != countersign.GrantLive {
			t.Fatalf("the grant is %+v", before)
		}
		// Another manager changes nothing that the policy asks about.
		w.together("{login: pia, name: Pia Platform, email: pia@test.example, manager: bea}", "{login: pia, name: Pia Platform, email: pia@test.example, manager: max}")
		w.settle()
		if w.grant(id).Lapsing != nil {
			t.Fatalf("it lapses: %+v", w.grant(id).Lapsing)
		}
		// Outside of the team, security would have had to approve.
		w.together("- {name: reviewers, members: [both, pia]}", "- {name: reviewers, members: [both]}")
		w.settle()
		moved := w.grant(id)
		if moved.Lapsing == nil || moved.Lapsing.Cause != "moved" || !strings.Contains(moved.Lapsing.Because, "security") || moved.Until.Time() != w.clock.Now().Add(3*24*time.Hour) {
			t.Fatalf("the grant is %+v, lapsing %+v", moved, moved.Lapsing)
		}
		w.tells(id, "the access lapses at")
		// Back in the team in time.
		w.together("- {name: reviewers, members: [both]}", "- {name: reviewers, members: [both, pia]}")
		w.settle()
		if kept := w.grant(id); kept.Lapsing != nil || kept.Until != before.Until {
			t.Fatalf("it was not kept as it was: %+v", kept)
		}
		// What today's policy refuses lapses, too.
		w.together("{login: pia, name: Pia Platform, email: pia@test.example, manager: max}", "{login: pia, name: Pia Platform, email: pia@test.example, manager: max, affiliation: vendor, sponsor: otto, contract_end: 2027-06-30}")
		w.settle()
		if again := w.grant(id); again.Lapsing == nil || again.Lapsing.Because != "Vendors keep no books." {
			t.Fatalf("the grant is %+v", again)
		}
		w.pass(3*24*time.Hour + time.Second)
		if gone := w.grant(id); gone.State != countersign.GrantGone || gone.Ending != "Vendors keep no books." {
			t.Errorf("after the overlap the grant is %+v", gone)
		}
		w.state(id, countersign.RequestClosed)
		w.verified()
	})
}

func TestALostSponsorEndsWhatDependsOnIt(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	asked := asking()
	asked.Beneficiary = "cora"
	id := w.submit("cora", asked)
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.apply("{login: otto, name: Otto Other, email: otto@test.example, manager: bea}", "{login: otto, name: Otto Other, email: otto@test.example, manager: bea, status: departed}")
	w.settle()
	if gone := w.grant(id); gone.State != countersign.GrantGone || gone.Ending != "The sponsor of the holder has left." {
		t.Errorf("the grant is %+v", gone)
	}
	_, err := w.house.Desk.Submit(w.ctx, w.as("cora"), desk.Key{}, asked)
	w.refused(err, "sponsor-inactive")
	w.verified()
}
