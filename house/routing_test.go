package house_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

func TestAnApprovedRequestBecomesAccessThatEndsByItself(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		w.state(id, countersign.RequestDeciding)
		w.must(w.approve("max", id))
		w.state(id, countersign.RequestFulfilling)
		w.settle()
		w.state(id, countersign.RequestActive)
		grant := w.grant(id)
		if !w.target.Holds(grant.Credentials[0].ID) {
			t.Fatal("the grant is live and the target holds nothing")
		}
		if want := countersign.InstantOf(monday.Add(10 * 24 * time.Hour)); grant.Until != want {
			t.Errorf("it ends at %s, want %s", grant.Until, want)
		}
		w.pass(10*24*time.Hour + time.Second)
		w.state(id, countersign.RequestClosed)
		if w.target.Holds(grant.Credentials[0].ID) {
			t.Error("the target still holds what ended")
		}
		w.verified()
	})
}

const managerThenSecurity = managerStage + `
- {name: security, approvers: [group(security)]}`

func TestTheSecondStageCannotBeDecidedWhileTheFirstIsOpen(t *testing.T) {
	for name, distinct := range map[string]string{"by anybody": "", "by somebody else": ", distinct_from: [manager]"} {
		t.Run(name, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage+"\n- {name: security, approvers: [group(security)]"+distinct+"}", ""))
			id := w.submit("ana", asking())
			w.refused(w.approve("syd", id), "stage-not-open")
			w.refused(w.deny("syd", id), "stage-not-open")
			view, err := w.house.Desk.Request(w.ctx, w.as("syd"), id)
			w.must(err)
			if len(view.Offered) != 0 {
				t.Errorf("%v is offered before the stage is open", view.Offered)
			}
			w.must(w.approve("max", id))
			w.must(w.approve("syd", id))
			w.settle()
			w.state(id, countersign.RequestActive)
			w.verified()
		})
	}
}

func TestAStageWhoseConditionIsFalseIsSkippedWithTheReasonAndTheNextOpensAtOnce(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: risk, when: 'resource.risk == "high"', approvers: [group(security)]}
- {name: manager, approvers: [manager-of(requester)]}`, ""))
	id := w.submit("ana", asking())
	view := w.state(id, countersign.RequestDeciding)
	if view.Stages[0].State != countersign.StageSkipped || view.Stages[1].State != countersign.StageOpen {
		t.Fatalf("the stages are %s and %s", view.Stages[0].State, view.Stages[1].State)
	}
	w.tells(id, `the stage "risk" is skipped: skipped: resource.risk == "high" is false`)
	w.must(w.approve("max", id))
	w.state(id, countersign.RequestFulfilling)
	high := asking()
	high.Entitlements = []string{"ledger/vaults/read"}
	other := w.view(w.submit("ana", high))
	if other.Stages[0].State != countersign.StageOpen || other.Stages[1].State != countersign.StageWaiting {
		t.Errorf("where the condition holds the stages are %s and %s", other.Stages[0].State, other.Stages[1].State)
	}
	w.verified()
}

func TestAConditionOnWhatTheRequestLacksIsANamedErrorAtSubmit(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: purpose, when: 'beneficiary.purpose == "none"', approvers: [group(security)]}
- {name: manager, approvers: [manager-of(requester)]}`, ""))
	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asking())
	w.refused(err, "missing-attribute")
	if !strings.Contains(err.Error(), "beneficiary.purpose") {
		t.Errorf("the error does not name the attribute: %v", err)
	}
	lines, err := w.house.Desk.Requests(w.ctx, w.as("aud"), desk.RequestFilter{})
	w.must(err)
	if len(lines) != 0 {
		t.Error("a request was opened nevertheless")
	}
}

func TestPoliciesThatCouldRouteWronglyDoNotLoad(t *testing.T) {
	other := strings.Replace(policyFor(managerStage, ""), "request: access", "request: other", 1)
	for _, test := range []struct {
		name, says string
		policies   []string
	}{
		{"a condition that is no boolean", "`when`", []string{policyFor(`- {name: a, when: 'resource.name', approvers: [manager-of(requester)]}`, "")}},
		{"minimum zero", "need", []string{policyFor(`- {name: a, approvers: [group(security)], need: 0}`, "")}},
		{"a negative minimum", "need", []string{policyFor(`- {name: a, approvers: [group(security)], need: -1}`, "")}},
		{"more than one manager", "can never be decided", []string{policyFor(`- {name: a, approvers: [manager-of(requester)], need: 2}`, "")}},
		{"more than the ladder of else can supply", "can never be decided", []string{policyFor(`- {name: a, approvers: [manager-of(requester)], else: [person(bea)], need: 3}`, "")}},
		{"two quorums over one person", "can never be decided", []string{policyFor(`- {name: a, quorum: [{approvers: [person(max)]}, {approvers: [person(MAX)]}]}`, "")}},
		{"two files for one request", "could match the same request", []string{policyFor(managerStage, ""), other}},
		{"a misspelt key", "did you mean `approvers`", []string{policyFor(`- {name: a, aprovers: [manager-of(requester)]}`, "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := empty(t, onSQLite(t))
			err := w.found(test.policies...)
			w.refused(err, "malformed-policy")
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "policies/") {
				t.Errorf("the error does not say %q and where: %v", test.says, err)
			}
			if _, err := w.house.Store.House(w.ctx); countersign.KindOf(err) != countersign.NotFound {
				t.Errorf("a house was founded: %v", err)
			}
		})
	}
}

func TestOfTwoFilesForOneRequestTheOneWithThePriorityRoutes(t *testing.T) {
	other := strings.Replace(policyFor(`- {name: security, approvers: [group(security)]}`, ""), "request: access", "request: other\npriority: 5", 1)
	w := found(t, onSQLite(t), policyFor(managerStage, ""), other)
	if view := w.view(w.submit("ana", asking())); view.Type != "other" || view.Stages[0].Name != "security" {
		t.Errorf("it was routed by %s", view.Type)
	}
	named := asking()
	named.Type = "access"
	if view := w.view(w.submit("ana", named)); view.Type != "access" {
		t.Errorf("the named type was not taken but %s", view.Type)
	}
}

func TestAnApproverRuleThatFindsNobodyFollowsItsElseAndIsAnErrorWithoutOne(t *testing.T) {
	nomad := desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"}
	t.Run("else", func(t *testing.T) {
		w := found(t, onSQLite(t), policyFor(`- {name: manager, approvers: [manager-of(requester)], else: [group(nobody), second-owner-of(resource), group(security)]}`, ""))
		view := w.view(w.submit("nomad", nomad))
		if asked := view.Stages[0].Asked; len(asked) != 1 || asked[0].Person.Login != "pit" || asked[0].Rule != "second-owner-of(resource)" {
			t.Errorf("it asks %v", asked)
		}
	})
	t.Run("no else", func(t *testing.T) {
		w := found(t, onSQLite(t), policyFor(managerStage, ""))
		_, err := w.house.Desk.Submit(w.ctx, w.as("nomad"), desk.Key{}, nomad)
		w.refused(err, "no-approver")
		if !strings.Contains(err.Error(), "manager-of(requester)") || !strings.Contains(err.Error(), "stage manager") {
			t.Errorf("the error does not name stage and rule: %v", err)
		}
	})
	t.Run("one person by two rules and two spellings", func(t *testing.T) {
		w := found(t, onSQLite(t), policyFor(`- {name: manager, approvers: [manager-of(requester), person(MAX)], else: [group(security)], need: 2}`, ""))
		view := w.view(w.submit("ana", asking()))
		var logins []string
		for _, asked := range view.Stages[0].Asked {
			logins = append(logins, asked.Person.Login)
		}
		slices.Sort(logins)
		if !slices.Equal(logins, []string{"max", "sam", "sue", "syd"}) {
			t.Errorf("it asks %v", logins)
		}
		w.must(w.approve("max", view.ID))
		if view := w.state(view.ID, countersign.RequestDeciding); view.Stages[0].StillNeeded != 1 {
			t.Errorf("after one person %d are still needed", view.Stages[0].StillNeeded)
		}
	})
}

const sideBySide = `
- together:
    - {name: owner, approvers: [owner-of(resource)]}
    - {name: risk, approvers: [group(security)]}
- {name: last, approvers: [person(bea)]}`

func TestStagesSideBySideMustAllPassAndADenialInOneClosesTheOthers(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(sideBySide, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("syd", id))
	if view := w.state(id, countersign.RequestDeciding); view.Stages[0].State != countersign.StageOpen || view.Stages[2].State != countersign.StageWaiting {
		t.Fatalf("after one of two the stages are %+v", view.Stages)
	}
	w.must(w.approve("otto", id))
	w.must(w.approve("bea", id))
	w.settle()
	w.state(id, countersign.RequestActive)

	again := asking()
	again.Entitlements = []string{"ledger/books/write"}
	id = w.submit("ana", again)
	w.must(w.deny("otto", id))
	view := w.state(id, countersign.RequestDenied)
	if view.Stages[0].State != countersign.StageDenied || view.Stages[1].State != countersign.StageClosed || view.Stages[1].Because == "" || view.Stages[2].State != countersign.StageClosed {
		t.Errorf("after the denial the stages are %+v", view.Stages)
	}
	w.refused(w.approve("syd", id), "already-denied")
	w.verified()
}

func TestSiblingStagesDecidedAtTheSameInstantLoseNoDecision(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(sideBySide, ""))
		for round := range 16 {
			id := w.submit("ana", asking())
			if round%2 == 0 {
				for _, err := range race(w.approval("otto", id), w.approval("syd", id)) {
					w.must(err)
				}
				if view := w.state(id, countersign.RequestDeciding); view.Stages[2].State != countersign.StageOpen {
					t.Fatalf("both passed and the last stage is %s", view.Stages[2].State)
				}
				w.must(w.deny("bea", id))
			} else {
				answers := race(w.approval("otto", id), w.denial("syd", id))
				if reason := countersign.ReasonOf(answers[0]); answers[1] != nil || answers[0] != nil && reason != "already-denied" {
					t.Fatalf("round %d: the approval says %v and the denial %v", round, answers[0], answers[1])
				}
				if view := w.view(id); view.Stages[0].State == countersign.StageOpen || view.Stages[0].State == countersign.StageWaiting {
					t.Fatalf("the sibling is %s", view.Stages[0].State)
				}
			}
			w.settle()
			w.state(id, countersign.RequestDenied)
		}
		if w.target.Total() != 0 {
			t.Errorf("%d effects on the target of requests that were all denied", w.target.Total())
		}
		w.verified()
	})
}

func TestThePreviewIsThePathThatIsTakenAndSubmitSaysWhatMoved(t *testing.T) {
	stages := `
- {name: risk, when: 'resource.risk == "high"', approvers: [group(security)], need: 2}
- {name: manager, approvers: [manager-of(requester)], else: [second-owner-of(resource)]}
- together:
    - {name: owner, approvers: [owner-of(resource)]}
    - {name: leads, approvers: [group(platform-leads)], need: 2, distinct_from: [manager]}`
	w := found(t, onSQLite(t), policyFor(stages, ""))
	for _, entitlement := range []string{"ledger/books/read", "ledger/vaults/read"} {
		asking := desk.Asking{Beneficiary: "ana", Entitlements: []string{entitlement}, Reason: "the books of the month are due"}
		preview, err := w.house.Desk.Preview(w.ctx, w.as("ana"), asking)
		w.must(err)
		asking.Route = preview.Route
		id := w.submit("ana", asking)
		for range 5 {
			request, err := w.house.Store.Request(w.ctx, id)
			w.must(err)
			for i, planned := range preview.Plan.Stages {
				stage := request.Stages[i]
				if stage.Name != planned.Stage.Name || stage.Step != planned.Stage.Step || (stage.State == countersign.StageSkipped) != (planned.Stage.State == countersign.StageSkipped) {
					t.Fatalf("stage %d is %s (%s), the preview said %s (%s)", i, stage.Name, stage.State, planned.Stage.Name, planned.Stage.State)
				}
				if stage.State == countersign.StageOpen && !slices.Equal(stage.Asked, planned.Standing) {
					t.Fatalf("the stage %s asks %v, the preview said %v", stage.Name, stage.Asked, planned.Standing)
				}
			}
			for _, index := range request.OpenStages() {
				who := request.Stages[index].Asked
				caller := desk.Caller{Identity: who[len(request.Stages[index].Decisions)].Person, Issuer: "test", Strength: "test"}
				w.must(w.house.Desk.Approve(w.ctx, caller, desk.Key{}, id, desk.Decision{Shown: w.shown(id), Stage: request.Stages[index].Name}))
			}
		}
		w.settle()
		w.state(id, countersign.RequestActive)
	}

	agreed := desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"}
	preview, err := w.house.Desk.Preview(w.ctx, w.as("olga"), agreed)
	w.must(err)
	agreed.Route = preview.Route
	w.together("{login: olga, name: Olga Owner, email: olga@test.example, manager: max}", "{login: olga, name: Olga Owner, email: olga@test.example}")
	_, err = w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, agreed)
	w.refused(err, "route-moved")
	var moved *countersign.Error
	errors.As(err, &moved)
	fresh, is := moved.Detail.(*desk.Preview)
	if moved.Kind != countersign.Moved || !is || fresh.Route == preview.Route || fresh.Plan.Stages[1].Standing[0].Rule != "second-owner-of(resource)" {
		t.Fatalf("the answer does not show the new path: %+v", moved)
	}
	agreed.Route = fresh.Route
	w.submit("olga", agreed)
	w.verified()
}

func TestAStepThatARuleApprovedSaysSoWithTheRuleAndItsDigest(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: trusted, automatic: 'entitlement.name == "read"', approvers: [group(security)]}`, ""))
	id := w.submit("ana", asking())
	view := w.state(id, countersign.RequestFulfilling)
	because := view.Stages[0].Because
	if view.Stages[0].State != countersign.StagePassed || !strings.Contains(because, `entitlement.name == "read"`) || !strings.Contains(because, "sha256:") || len(view.Stages[0].Decisions) != 0 {
		t.Errorf("the stage is %s because %q", view.Stages[0].State, because)
	}
	w.tells(id, because)
	w.settle()
	w.state(id, countersign.RequestActive)
	write := asking()
	write.Entitlements = []string{"ledger/books/write"}
	w.state(w.submit("ana", write), countersign.RequestDeciding)
	w.verified()
}

// riskPolicy asks security only where the risk is high, and the manager in any case.
func riskPolicy(order string) string {
	manager := `- {name: manager, approvers: [manager-of(requester)], within: 2 business days}`
	security := `- {name: security, when: resource.risk == "high", approvers: [group(security)], within: 2 business days}`
	if order == "security first" {
		manager, security = security, manager
	}
	return policyFor(manager+"\n"+security, "")
}

func TestALaterChangeOfWhatAConditionReadsAddsTheStage(t *testing.T) {
	const low, high = "environment: prod\n    risk: medium\n    connector: noop", "environment: prod\n    risk: high\n    connector: noop"
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, riskPolicy("manager first"))
		id := w.submit("ana", asking())
		// An approval that was judged before the change is judged again with it.
		w.before(func() { w.together(low, high) })
		w.refused(w.approve("max", id), "path-has-changed")
		w.settle()
		w.tells(id, "these stages decide, too: security")
		w.must(w.approve("max", id))
		w.state(id, countersign.RequestDeciding)
		w.must(w.approve("syd", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		w.verified()
	})
	w := found(t, onSQLite(t), strings.Replace(riskPolicy("security first"), "manager-of(requester)], within", "manager-of(requester)], need: 1, within", 1))
	id := w.submit("ana", asking())
	w.together(low, high)
	w.settle()
	// The stage that was open comes second now, and what was decided is decided anew.
	w.refused(w.approve("max", id), "stage-not-open")
	w.tells(id, "decided anew")
	w.must(w.approve("syd", id))
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestAChangeThatWouldSpareAStageSparesNobody(t *testing.T) {
	const low, high = "environment: prod\n    risk: medium\n    connector: noop", "environment: prod\n    risk: high\n    connector: noop"
	w := found(t, onSQLite(t), riskPolicy("manager first"))
	w.together(low, high)
	w.settle()
	id := w.submit("ana", asking())
	w.together(high, low)
	w.settle()
	w.must(w.approve("max", id))
	w.state(id, countersign.RequestDeciding)
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.verified()
}
