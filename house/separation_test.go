package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// anybodyStage asks everybody who could be tempted.
const anybodyStage = `- {name: anybody, approvers: [person(ana), person(olga), person(max), person(adam), group(security)]}`

func TestNobodyApprovesForThemselves(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(anybodyStage, ""))
	for _, test := range []struct {
		who, requester, beneficiary, entitlement, because string
	}{
		{"ana", "ana", "ana", "ledger/books/read", "requester and beneficiary"},
		{"ana", "ana", "max", "ledger/books/read", "requester for somebody else"},
		{"max", "ana", "max", "ledger/books/write", "beneficiary who did not ask"},
		{"olga", "olga", "svc", "ledger/books/read", "owner of the service"},
		{"ana", "agent", "agent", "ledger/books/read", "owner of the agent"},
		{"max", "agent", "agent", "ledger/books/write", "sponsor of the agent"},
		{"ana", "agent", "otto", "ledger/books/read", "owner of the agent that asks for another"},
	} {
		t.Run(test.because, func(t *testing.T) {
			id := w.submit(test.requester, desk.Asking{Beneficiary: test.beneficiary, Entitlements: []string{test.entitlement}, Reason: "the books of the month are due"})
			request, err := w.house.Store.Request(w.ctx, id)
			w.must(err)
			if request.Consent.Missing() {
				w.must(w.house.Desk.Consent(w.ctx, desk.Caller{Identity: request.Consent.Of}, desk.Key{}, id))
			}
			view := w.state(id, countersign.RequestDeciding)
			for _, asked := range view.Stages[0].Asked {
				if asked.Person.Login == test.who {
					t.Errorf("%s is asked", test.who)
				}
			}
			for name, answer := range map[string]error{"approve": w.approve(test.who, id), "deny": w.deny(test.who, id)} {
				if reason := countersign.ReasonOf(answer); reason != "separation-of-duties" && reason != "no-such-request" {
					t.Errorf("%s: %v", name, answer)
				}
			}
			if who := w.view(id).Stages[0].Decisions; len(who) != 0 {
				t.Errorf("%v decided", who)
			}
			w.must(w.cancellation(test.requester, id)())
		})
	}
	w.verified()
}

func TestAnAdministratorApprovesNothingByBeingOne(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.refused(w.approve("adam", id), "no-such-request")
	mine := w.submit("adam", desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.refused(w.approve("adam", mine), "separation-of-duties")
	w.refused(w.approve("alma", mine), "no-such-request")
}

func TestOtherSpellingsAndSecondLoginsAreTheSamePerson(t *testing.T) {
	w := empty(t, onSQLite(t))
	w.edit("{login: ana, name: Ana Asker, email: ana@test.example, manager: max}",
		"{login: ana, name: Ana Asker, email: ANA@Test.Example, manager: max, handles: [{kind: login, value: a.asker}, {kind: oidc, namespace: 'https://issuer.test', value: Subject-1}]}",
		"{login: otto, name: Otto Other, email: otto@test.example, manager: bea}",
		"{login: otto, name: Otto Other, email: otto@test.example, manager: bea, handles: [{kind: oidc, namespace: 'https://issuer.test', value: subject-1}]}")
	w.must(w.found(policyFor(`- {name: named, approvers: [person(A.Asker), person(ANA), person(max)]}`, "")))
	w.settle()
	ana := w.as("ana").Identity
	for _, spelling := range []string{"Ana", "ANA", "ana@test.example", "ANA@TEST.EXAMPLE", "a.asker", "A.ASKER", " ana "} {
		if id, known := w.house.Desk.Resolve(spelling); !known || id != ana {
			t.Errorf("%q is %s", spelling, id)
		}
	}
	for _, beneficiary := range []string{"ANA@TEST.example", "A.Asker"} {
		id := w.submit("ana", desk.Asking{Beneficiary: beneficiary, Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
		if asked := w.view(id).Stages[0].Asked; len(asked) != 1 || asked[0].Person.Login != "max" {
			t.Errorf("it asks %v", asked)
		}
		w.refused(w.approve("a.asker", id), "separation-of-duties")
		w.must(w.cancellation("ana@test.example", id)())
	}
	// Two OIDC subjects that differ only in case are two people.
	identities, err := w.house.Store.Directory(w.ctx, 0)
	w.must(err)
	owners := map[string]countersign.IdentityID{}
	for _, identity := range identities.Identities {
		for _, handle := range identity.Handles {
			if handle.Kind == countersign.OIDC {
				owners[handle.Value] = identity.ID
			}
		}
	}
	if owners["Subject-1"] != ana || owners["subject-1"] != w.as("otto").Identity {
		t.Errorf("the subjects belong to %v", owners)
	}
	w.verified()
}

func TestOneAddressInTwoSpellingsGivenAtTheSameInstantBelongsToOne(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		before := w.directory
		for round := range 12 {
			name := string(rune('a' + round))
			apply := func(who, login, address string) func() error {
				w.directory = before
				w.edit("services:\n", "  - {login: "+login+", name: New "+login+", email: "+address+"}\nservices:\n")
				caller, files := w.as(who), w.files()
				return func() error {
					_, err := w.house.Desk.ApplyDirectory(w.ctx, caller, files)
					return err
				}
			}
			race(apply("adam", "one-"+name, "zoe-"+name+"@test.example"), apply("alma", "two-"+name, "ZOE-"+strings.ToUpper(name)+"@Test.Example"))
			known, err := w.house.Store.Directory(w.ctx, 0)
			w.must(err)
			owners := 0
			for _, identity := range known.Identities {
				for _, handle := range identity.Handles {
					if handle.Kind == countersign.Email && handle.Value == "zoe-"+name+"@test.example" {
						owners++
					}
				}
			}
			if owners != 1 {
				t.Fatalf("%d identities own the address", owners)
			}
		}
		w.verified()
	})
}

func TestAnOwnerWhoDidNotAskMustConsentAndThatIsNoApproval(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(anybodyStage, ""))
	asking := desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"}
	id := w.submit("ana", asking)
	view := w.state(id, countersign.RequestCollecting)
	if view.Consent == nil || view.Consent.Of.Login != "olga" || view.WaitsFor != "the consent of Olga Owner" {
		t.Fatalf("the consent is %+v, it waits for %q", view.Consent, view.WaitsFor)
	}
	w.refused(w.house.Desk.Consent(w.ctx, w.as("ana"), desk.Key{}, id), "not-the-owner")
	w.refused(w.approve("syd", id), "not-complete")
	w.must(w.house.Desk.Consent(w.ctx, w.as("olga"), desk.Key{}, id))
	w.must(w.house.Desk.Consent(w.ctx, w.as("olga"), desk.Key{}, id))
	view = w.state(id, countersign.RequestDeciding)
	if view.Stages[0].StillNeeded != 1 || len(view.Stages[0].Decisions) != 0 {
		t.Error("the consent counts as an approval")
	}
	w.refused(w.approve("olga", id), "separation-of-duties")
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestActive)

	own := w.submit("olga", desk.Asking{Beneficiary: "svc-b", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	if view := w.state(own, countersign.RequestDeciding); view.Consent != nil {
		t.Error("an owner who asks must consent to herself")
	}
	w.verified()
}

func TestASponsorWhoAsksCannotConsentInTheOwnersPlace(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(anybodyStage, ""))
	id := w.submit("max", desk.Asking{Beneficiary: "agent", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.state(id, countersign.RequestCollecting)
	w.refused(w.house.Desk.Consent(w.ctx, w.as("max"), desk.Key{}, id), "not-the-owner")
	w.refused(w.house.Desk.Consent(w.ctx, w.as("agent"), desk.Key{}, id), "not-the-owner")
	w.must(w.house.Desk.Consent(w.ctx, w.as("ana"), desk.Key{}, id))
	w.state(id, countersign.RequestDeciding)
}

func TestAnApproverWhoLeftBetweenDecisionAndFulfilmentStopsIt(t *testing.T) {
	for _, status := range []string{"suspended", "departed"} {
		t.Run(status, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(`- {name: security, approvers: [group(security)]}`, ""))
			id := w.submit("ana", asking())
			w.must(w.approve("sue", id))
			w.apply("{login: sue, name: Sue Security,", "{login: sue, name: Sue Security, status: "+status+",")
			w.settle()
			w.state(id, countersign.RequestFailed)
			w.tells(id, "Somebody who approved this is not active any more.")
			if w.target.Total() != 0 || w.holds(id) {
				t.Error("the target was reached")
			}
			w.verified()
		})
	}
}

func TestWhatPolicyRefusesTodayIsNeitherApprovedNorCarriedOut(t *testing.T) {
	refuse := "refuse: [{when: 'beneficiary.purpose == \"sends nothing any more\"', because: '\"not for nothing\"'}]\n"
	policy := strings.Replace(policyFor(anybodyStage, refuse), "beneficiary: [person, service, workload, agent]", "beneficiary: [service]", 1)
	w := found(t, onSQLite(t), policy)
	open := w.submit("olga", desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	decided := w.submit("olga", desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/write"}, Reason: "the books of the month are due"})
	w.must(w.approve("syd", decided))
	w.apply("sends the invoices of the month", "sends nothing any more")
	w.refused(w.approve("syd", open), "refused-by-policy")
	w.settle()
	w.pass(2 * time.Minute)
	w.pass(2 * time.Minute)
	w.state(decided, countersign.RequestFailed)
	w.tells(decided, "not for nothing")
	if w.target.Total() != 0 {
		t.Error("the target was reached")
	}
	w.must(w.deny("syd", open))
	w.verified()
}

func TestStagesThatMustDifferAreNotDecidedByOnePerson(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`
- {name: first, approvers: [group(platform-leads)]}
- {name: second, approvers: [group(reviewers)], distinct_from: [first]}`, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("both", id))
	if stage := w.view(id).Stages[1]; logins(stage) != "pia" {
		t.Errorf("the second stage asks %s", logins(stage))
	}
	w.refused(w.approve("both", id), "not-an-approver")
	w.must(w.approve("pia", id))
	w.state(id, countersign.RequestFulfilling)
	w.verified()
}

func TestOfTwoTypesForOneThingTheSecondApprovalIsANamedConflict(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		other := strings.Replace(policyFor(managerStage, ""), "request: access", "request: other\npriority: 5", 1)
		w := found(t, open, policyFor(managerStage, ""), other)
		for range 15 {
			var ids []countersign.RequestID
			for _, name := range []string{"access", "other"} {
				one := asking()
				one.Type = name
				ids = append(ids, w.submit("ana", one))
			}
			won := 0
			for _, err := range race(w.approval("max", ids[0]), w.approval("max", ids[1])) {
				if err == nil {
					won++
				} else {
					w.refused(err, "already-held")
				}
			}
			if won != 1 {
				t.Fatalf("%d of two approvals for one holder and thing counted", won)
			}
			w.settle()
			for _, id := range ids {
				if view := w.view(id); view.State == countersign.RequestActive {
					w.must(w.revocation("ana", view.Grants[0].ID)())
				} else {
					w.must(w.cancellation("ana", id)())
				}
			}
			w.settle()
			if w.holds(ids[0]) || w.holds(ids[1]) {
				t.Fatal("the target still holds something")
			}
		}
		w.verified()
	})
}
