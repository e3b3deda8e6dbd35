package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
)

// keyPolicy issues keys in the vault, rolePolicy assigns roles in the house's own
// decision point.
var (
	keyPolicy = strings.NewReplacer("request: access", "request: key", "system: ledger", "system: keys", "noop.apply", "vault.issue-key").
			Replace(policyFor(managerStage, ""))
	rolePolicy = strings.NewReplacer("request: access", "request: role", "system: ledger, kind: credential", "system: [wiki, countersign], kind: role", "noop.apply", "role.assign").
			Replace(policyFor(managerStage, ""))
)

func TestAMachineChangesNoApproverListWhateverPowerItHolds(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), rolePolicy)
	w.edit("{name: reviewers, members: [both, pia]}", "{name: reviewers, members: []}")
	_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("agent"), w.files())
	w.refused(err, "needs-administrator")
	// The agent's sponsor is Ana's manager, and is kept out.
	_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, desk.Asking{Beneficiary: "agent", Entitlements: []string{"countersign/house/administrator"}, Reason: "it would like to help with this"})
	w.refused(err, "no-approver")
	w.verified()
}

func TestAnAgentWithAPowerStillChangesNothing(t *testing.T) {
	role := strings.Replace(rolePolicy, "manager-of(requester)", "person(bea)", 1)
	w := found(t, onSQLite(t), role)
	id := w.submit("ana", desk.Asking{Beneficiary: "agent", Entitlements: []string{"countersign/house/administrator"}, Reason: "it would like to help with this"})
	w.must(w.approve("bea", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	w.edit("{name: reviewers, members: [both, pia]}", "{name: reviewers, members: []}")
	_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("agent"), w.files())
	w.refused(err, "needs-person")
	_, err = w.house.Desk.PlanDirectory(w.ctx, w.as("agent"), w.files())
	w.refused(err, "needs-person")
	w.verified()
}

func TestAMachineIsNeverAskedToApprove(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: any, approvers: [person(svc-b), person(agent), person(max)]}`, ""))
	id := w.submit("ana", asking())
	if stage := w.view(id).Stages[0]; logins(stage) != "max" {
		t.Errorf("it asks %s", logins(stage))
	}
	w.refused(w.approve("agent", id), "no-such-request")
	w.refused(w.approve("svc-b", id), "no-such-request")
}

func TestAMachineWhoseOwnerHasLeftGetsNothing(t *testing.T) {
	for _, status := range []string{"suspended", "departed"} {
		t.Run(status, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(`- {name: security, approvers: [group(security)]}`, ""), keyPolicy)
			id := w.submit("olga", desk.Asking{Beneficiary: "svc", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
			w.apply("{login: olga, name: Olga Owner,", "{login: olga, name: Olga Owner, status: "+status+",")
			w.settle()
			w.refused(w.approve("syd", id), "inactive")
			_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, desk.Asking{Beneficiary: "svc-b", Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
			w.refused(err, "unowned")
			view, err := w.house.Desk.Identity(w.ctx, "svc")
			w.must(err)
			if !view.Unowned {
				t.Error("it is not listed as unowned")
			}
			w.must(w.deny("syd", id))
			w.verified()
		})
	}
}

func TestAccessEndsWhenTheHolderOrTheOwnerLeavesAlsoWhileItIsBeingSetUp(t *testing.T) {
	terms := strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke}", "grant: {ends: revoke, ends_when: [owner-left, system-retired]}", 1)
	for _, test := range []struct{ name, beneficiary, who, old string }{
		{"the holder", "ana", "ana", "{login: ana, name: Ana Asker,"},
		{"the owner", "svc-ana", "ana", "{login: ana, name: Ana Asker,"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := found(t, onSQLite(t), terms)
			id, live := w.approved(desk.Asking{Beneficiary: test.beneficiary, Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
			w.settle()
			w.state(id, countersign.RequestActive)
			_, setUp := w.approved(desk.Asking{Beneficiary: test.beneficiary, Entitlements: []string{"ledger/books/write"}, Reason: "the books of the month are due"})
			// The connector is at work on the second one while the person leaves.
			delivery, err := w.house.Desk.Prepare(w.ctx, w.claim()[0])
			w.must(err)
			w.apply(test.old, strings.Replace(test.old, ",", ", status: departed,", 1))
			w.must(w.target.Apply(w.ctx, delivery.Task))
			w.must(w.house.Desk.Observe(w.ctx, delivery, countersign.Observation{Present: true, By: "test"}))
			w.settle()
			w.pass(61 * time.Second)
			w.pass(61 * time.Second)
			for _, grant := range []countersign.GrantID{live.ID, setUp.ID} {
				if ended := w.stored(grant); ended.State != countersign.GrantGone || w.target.Holds(ended.Credentials[0].ID) {
					t.Errorf("the grant is %s, the target holds it: %v", ended.State, w.target.Holds(ended.Credentials[0].ID))
				}
			}
			w.verified()
		})
	}
}

// What is given between the judgement of a retirement and its commit is seen by neither.
func TestWhatIsGivenWhileItIsRetiredEnds(t *testing.T) {
	terms := strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke}", "grant: {ends: revoke, ends_when: [system-retired]}", 1)
	for name, retired := range map[string]string{
		"the system":      directoryFile[strings.Index(directoryFile, "  - name: ledger\n"):strings.Index(directoryFile, "  - name: keys\n")],
		"the entitlement": "          - {name: read, kind: credential}\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := found(t, onSQLite(t), terms)
			id := w.submit("ana", asking())
			w.before(func() {
				w.must(w.approve("max", id))
				w.settle()
				w.state(id, countersign.RequestActive)
			})
			w.apply(retired, "")
			w.settle()
			w.pass(61 * time.Second)
			w.state(id, countersign.RequestClosed)
			if ended := w.stored(w.grant(id).ID); ended.EndCause != "system-retired" || w.target.Holds(ended.Credentials[0].ID) {
				t.Errorf("the grant ended because of %q, the target holds it: %v", ended.EndCause, w.target.Holds(ended.Credentials[0].ID))
			}
			w.verified()
		})
	}
}

func TestASuspensionBitesAtOnce(t *testing.T) {
	w := found(t, onSQLite(t), rolePolicy, keyPolicy)
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the pages of the month are due"})
	w.must(w.approve("max", id))
	key := w.submit("ana", desk.Asking{Entitlements: []string{"keys/api/call"}, Reason: "the books of the month are due"})
	w.must(w.approve("max", key))
	w.settle()
	evaluate := func() pdp.Decision {
		return w.house.Point.Evaluate(pdp.Evaluation{SubjectType: "identity", SubjectID: "ana", Action: "editor", ResourceType: pdp.ResourceType, ResourceID: "wiki/space"})
	}
	credential := w.grant(key).Credentials[0].ID
	secret, err := w.house.Vault.Read(w.ctx, w.as("ana").Identity, credential)
	w.must(err)
	works := func() bool {
		check, err := w.house.Vault.CheckKey(w.ctx, secret)
		w.must(err)
		return check.Active
	}
	if !evaluate().Allowed || !works() {
		t.Fatalf("access was given and is refused: %+v", evaluate())
	}
	w.apply("{login: ana, name: Ana Asker,", "{login: ana, name: Ana Asker, status: suspended,")
	if decision := evaluate(); decision.Allowed || decision.Reason != pdp.Stopped {
		t.Errorf("the decision point says %+v", decision)
	}
	if works() {
		t.Error("the key works")
	}
	w.restart()
	w.must(w.house.Engine.Beat(w.ctx))
	if evaluate().Allowed || works() {
		t.Error("after a restart access works again")
	}
	w.verified()
}

func TestARevokeIsRefusedByChecksBeforeItsAnswer(t *testing.T) {
	w := found(t, onSQLite(t), rolePolicy)
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the pages of the month are due"})
	w.must(w.approve("max", id))
	w.settle()
	question := pdp.Evaluation{SubjectType: "identity", SubjectID: "ana", Action: "editor", ResourceType: pdp.ResourceType, ResourceID: "wiki/space"}
	if !w.house.Point.Evaluate(question).Allowed {
		t.Fatal("it was given and is refused")
	}
	w.must(w.revocation("ana", w.grant(id).ID)())
	if w.house.Point.Evaluate(question).Allowed {
		t.Error("it was revoked and is allowed")
	}
	w.restart()
	if w.house.Point.Evaluate(question).Allowed {
		t.Error("after a restart it is allowed again")
	}
	w.settle()
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestRotationKeepsBothForTheOverlapAndThenOnlyTheNewOne(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keyPolicy)
	for _, right := range []string{"ledger/books/read", "keys/api/call"} {
		t.Run(right, func(t *testing.T) {
			id := w.submit("ana", desk.Asking{Entitlements: []string{right}, Reason: "the books of the month are due"})
			w.must(w.approve("max", id))
			w.refused(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, w.grant(id).ID, countersign.Hour, ""), "not-live-yet")
			w.settle()
			before := w.grant(id)
			works := func(credential desk.CredentialView) bool {
				if strings.HasPrefix(right, "ledger") {
					return w.target.Holds(credential.ID)
				}
				check, err := w.house.Vault.CheckCredential(w.ctx, credential.ID)
				w.must(err)
				return check.Active
			}
			rotate := func(overlap countersign.Seconds) error {
				return w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, before.ID, overlap, "it was printed")
			}
			w.refused(rotate(10*countersign.Day), "overlap-too-long")
			w.refused(rotate(-1), "overlap-negative")
			w.refused(w.house.Desk.Rotate(w.ctx, w.as("otto"), desk.Key{}, before.ID, 0, ""), "not-the-asker")
			w.must(rotate(2 * countersign.Hour))
			w.refused(rotate(countersign.Hour), "operation-under-way")
			w.settle()
			both := w.grant(id)
			if len(both.Credentials) != 2 || both.Until != before.Until || both.State != countersign.GrantLive || both.Credentials[1].Until != before.Until {
				t.Fatalf("after the rotation: %+v", both)
			}
			w.pass(2*time.Hour - time.Second)
			if credentials := w.grant(id).Credentials; !works(credentials[0]) || !works(credentials[1]) {
				t.Errorf("in the overlap they work: %v %v", works(credentials[0]), works(credentials[1]))
			}
			w.pass(time.Second)
			after := w.grant(id)
			if works(after.Credentials[0]) || !works(after.Credentials[1]) || after.Credentials[0].State != countersign.CredentialGone || after.State != countersign.GrantLive {
				t.Errorf("after the overlap: %+v", after)
			}
			w.must(w.revocation("ana", before.ID)())
			w.settle()
			w.state(id, countersign.RequestClosed)
			if works(after.Credentials[0]) || works(after.Credentials[1]) {
				t.Error("after the end something works")
			}
			w.verified()
		})
	}
}

func TestAnotherRotationLetsWhatIsBeingReplacedLiveNoLonger(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, grant := w.approved(asking())
	w.settle()
	rotate := func(overlap countersign.Seconds) {
		t.Helper()
		w.must(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, overlap, "it was printed"))
		w.settle()
	}
	works := func(want ...bool) {
		t.Helper()
		for i, credential := range w.grant(id).Credentials {
			if got := w.target.Holds(credential.ID); got != want[i] {
				t.Errorf("the credential %d works: %v", i+1, got)
			}
		}
	}
	rotate(2 * countersign.Hour)
	w.pass(time.Hour)
	rotate(2 * countersign.Hour)
	works(true, true, true)
	w.pass(time.Hour)
	works(false, true, true)
	// And sooner where the later overlap is shorter.
	rotate(0)
	works(false, false, false, true)
	w.verified()
}

func TestTheGrantEndsInTheMiddleOfARotation(t *testing.T) {
	for _, moment := range []string{"before the new one", "apply without an answer", "in the overlap", "new one rejected"} {
		t.Run(moment, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			id, grant := w.approved(asking())
			w.settle()
			w.must(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, countersign.Hour, ""))
			switch moment {
			case "apply without an answer":
				w.target.SetFaults(noop.Faults{TimeOut: 1})
				w.settle()
			case "in the overlap":
				w.settle()
			case "new one rejected":
				w.target.SetFaults(noop.Faults{Reject: true})
				w.settle()
				w.target.SetFaults(noop.Faults{})
				w.state(id, countersign.RequestActive)
				if w.grant(id).Parked == nil {
					t.Fatal("it is not parked")
				}
			}
			w.must(w.revocation("ana", grant.ID)())
			w.settle()
			w.pass(61 * time.Second)
			w.pass(61 * time.Second)
			w.state(id, countersign.RequestClosed)
			if w.holds(id) {
				t.Error("the target holds one of the two")
			}
			w.verified()
		})
	}
}
