package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/pdp"
)

// toolPolicy gives tools to agents, within what their sponsor holds in the wiki.
var toolPolicy = strings.NewReplacer(
	"request: access", "request: tools", "system: ledger, kind: credential", "system: tools, kind: role", "noop.apply", "tools.allow",
	"[person, service, workload, agent]", "[agent]", "open_per_holder: 5", "open_per_holder: 5, entitlements: 5",
	"grant: {ends: revoke}", "grant: {ends: revoke, ends_when: [unused(2d)], bounded_by: [{who: sponsor, resource: [edit], holds: [wiki/space/editor]}]}",
).Replace(policyFor(`- {name: sponsor, approvers: [manager-of(sponsor)]}`, `
refuse:
  - {when: 'has(beneficiary.affiliation) && beneficiary.affiliation == "vendor"', because: '"Vendors have no tools."'}
`))

const toolSystem = `
  - name: tools
    title: Tools
    owner: otto
    environment: prod
    risk: low
    connector: tools
    resources:
      - {name: search, entitlements: [{name: read, kind: role}]}
      - {name: edit, entitlements: [{name: read, kind: role}, {name: write, kind: role}]}
      - {name: delete, entitlements: [{name: write, kind: role}]}
records:
`

// foundTools opens a house in which the agent of Ana can have tools. Its sponsor
// Max edits the wiki.
func foundTools(t *testing.T, open database, edits []string, policies ...string) (w *world, editor countersign.GrantID) {
	t.Helper()
	w = empty(t, open)
	w.edit("\nrecords:\n", toolSystem)
	w.edit(edits...)
	w.must(w.found(append(policies, rolePolicy, policyFor(managerStage, ""))...))
	w.settle()
	id := w.submit("max", desk.Asking{Entitlements: []string{"wiki/space/editor"}, Reason: "the pages of the month are due"})
	w.must(w.approve("bea", id))
	w.settle()
	return w, w.grant(id).ID
}

func toolAsking(tools ...string) desk.Asking {
	return desk.Asking{Entitlements: tools, Reason: "customers have questions about the pages"}
}

// allowed has the agent ask for tools, and everybody agree.
func (w *world) allowed(tools ...string) countersign.RequestID {
	w.t.Helper()
	id := w.submit("agent", toolAsking(tools...))
	w.must(w.house.Desk.Consent(w.ctx, w.as("ana"), desk.Key{}, id))
	w.must(w.approve("bea", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	return id
}

// calls wants the decision point to answer a call of the agent with the reason, ""
// for a yes.
func (w *world) calls(say, tool, scope string, want pdp.Reason) {
	w.t.Helper()
	got := w.house.Point.Evaluate(pdp.Evaluation{
		SubjectType: "agent", SubjectID: "agent", Action: pdp.CallAction, ResourceType: pdp.ToolType, ResourceID: tool, Scope: scope,
	})
	if got.Reason != want || got.Allowed != (want == "") {
		w.t.Errorf("%s: a call of %s (%q) is allowed: %v, because %q; want %q", say, tool, scope, got.Allowed, got.Reason, want)
	}
}

func TestAnAgentMakesExactlyTheCallsThatWereGranted(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, _ := foundTools(t, open, nil, toolPolicy)
		_, err := w.house.Desk.Submit(w.ctx, w.as("agent"), desk.Key{}, toolAsking("tools/*/read"))
		w.refused(err, "wildcard")
		id := w.allowed("tools/search/read", "tools/edit/read")
		w.calls("granted", "search", "", "")
		w.calls("granted, named with its system", "tools/search", "read", "")
		w.calls("the scope that was granted", "edit", "read", "")
		w.calls("a scope that was not", "edit", "write", pdp.NoAssignment)
		w.calls("whatever the tool can do", "edit", "", pdp.NoAssignment)
		w.calls("a tool outside of the grant", "delete", "", pdp.NoAssignment)
		w.calls("every tool", "*", "", pdp.NoAssignment)
		w.calls("no tool", "space", "editor", pdp.NoAssignment)
		w.calls("a scope that is none", "search", "editor", pdp.NoAssignment)
		w.restart()
		w.calls("after a restart", "search", "", "")
		w.move(10*24*time.Hour - time.Second)
		w.calls("before the end", "search", "", "")
		w.move(time.Second)
		w.calls("after the end", "search", "", pdp.Ended)
		w.settle()
		w.state(id, countersign.RequestClosed)
		w.calls("after it was taken away", "search", "", pdp.NoAssignment)
		w.verified()
	})
}

func TestInSomebodysPlaceAnAgentDoesWhatBothMayDo(t *testing.T) {
	w, _ := foundTools(t, onSQLite(t), nil, toolPolicy, strings.NewReplacer("request: tools", "request: own-tools", "[agent]", "[person]", "manager-of(sponsor)", "person(otto)").Replace(strings.Split(toolPolicy, "grant:")[0]))
	w.allowed("tools/search/read", "tools/edit/read")
	may := func(subject, agent, tool string) bool {
		return w.house.Point.Evaluate(pdp.Evaluation{
			SubjectType: "identity", SubjectID: subject, Action: pdp.CallAction, ResourceType: pdp.ToolType, ResourceID: tool, Scope: "read", Agent: agent,
		}).Allowed
	}
	if !may("agent", "agent", "search") || may("ana", "agent", "search") || may("ana", "", "search") || may("agent", "nobody", "search") {
		t.Error("an agent acts for itself, and for nobody who may not")
	}
	id := w.submit("ana", toolAsking("tools/search/read", "tools/delete/write"))
	w.must(w.approve("otto", id))
	w.settle()
	if !may("ana", "agent", "search") || !may("ana", "", "search") || may("ana", "svc", "search") || may("ana", "agent", "edit") {
		t.Error("an agent acts for Ana where both may")
	}
	delete := pdp.Evaluation{SubjectType: "user", SubjectID: "ana", Action: pdp.CallAction, ResourceType: pdp.ToolType, ResourceID: "delete"}
	if !w.house.Point.Evaluate(delete).Allowed {
		t.Error("Ana herself may delete")
	}
	if delete.Agent = "agent"; w.house.Point.Evaluate(delete).Allowed {
		t.Error("through Ana the agent has a tool that it was not given")
	}
}

// What who answers for an agent loses, the agent loses with the same answer: no
// sweep has run, and no connector.
func TestAnAgentNeverHoldsMoreThanWhoAnswersForIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, editor := foundTools(t, open, nil, toolPolicy)
		w.allowed("tools/search/read", "tools/edit/read", "tools/edit/write")
		both := func(say string, search, edit pdp.Reason) {
			t.Helper()
			w.calls(say, "search", "", search)
			w.calls(say, "edit", "", edit)
		}
		both("at first", "", "")
		for _, who := range []string{"ana", "max"} {
			hold, err := w.house.Desk.Hold(w.ctx, w.as("adam"), desk.Key{}, who, "the laptop is gone", false)
			w.must(err)
			both("a hold on "+who, pdp.Stopped, pdp.Stopped)
			w.must(w.house.Desk.Lift(w.ctx, w.as("alma"), desk.Key{}, hold, "it was found"))
			both("the hold on "+who+" lifted", "", "")
		}
		w.must(w.revocation("otto", editor)())
		both("the sponsor's role is revoked", "", pdp.OutOfBounds)
		w.restart()
		both("after a restart, the sponsor's role is revoked", "", pdp.OutOfBounds)
		w.settle()
		both("the sponsor's role is gone", "", pdp.OutOfBounds)
		w.apply("{login: max, name: Max Manager,", "{login: max, name: Max Manager, status: departed,")
		both("the sponsor has left", pdp.Unaccountable, pdp.Unaccountable)
		w.verified()
	})
}

func TestASuspendedOwnerOrSponsorSuspendsTheAgent(t *testing.T) {
	for _, person := range []string{"{login: ana, name: Ana Asker,", "{login: max, name: Max Manager,"} {
		w, _ := foundTools(t, onSQLite(t), nil, toolPolicy)
		w.allowed("tools/search/read")
		w.apply(person, strings.Replace(person, ",", ", status: suspended,", 1))
		w.calls("suspended: "+person, "search", "", pdp.Unaccountable)
		w.restart()
		w.calls("after a restart, suspended: "+person, "search", "", pdp.Unaccountable)
	}
}

func TestWhatWouldRefuseTheOwnerRefusesTheAgentAlsoAfterItWasApproved(t *testing.T) {
	w, _ := foundTools(t, onSQLite(t), []string{"ana@test.example, manager: max}", "ana@test.example, manager: max, affiliation: contractor, sponsor: otto, contract_end: 2026-11-05}"}, toolPolicy)
	id := w.submit("agent", toolAsking("tools/search/read"))
	w.must(w.house.Desk.Consent(w.ctx, w.as("ana"), desk.Key{}, id))
	w.apply("affiliation: contractor, sponsor: otto, contract_end: 2026-11-05", "affiliation: vendor, sponsor: otto, contract_end: 2026-11-05")
	err := w.approve("bea", id)
	w.refused(err, "refused-by-policy")
	if !strings.Contains(err.Error(), "This would refuse Ana Asker, the owner of Agent Smith") {
		t.Errorf("it says %v", err)
	}
	w.apply("affiliation: vendor, sponsor: otto, contract_end: 2026-11-05", "affiliation: contractor, sponsor: otto, contract_end: 2026-11-05")
	w.must(w.approve("bea", id))
	w.settle()
	if until := w.grant(id).Until; until != countersign.InstantOf(time.Date(2026, 11, 6, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("it lasts until %s, and the contract of the owner does not", until)
	}
	w.calls("while the owner works here", "search", "", "")
	w.move(4 * 24 * time.Hour)
	w.calls("after the contract of the owner", "search", "", pdp.Ended)
	_, err = w.house.Desk.Submit(w.ctx, w.as("agent"), desk.Key{}, toolAsking("tools/delete/write"))
	w.refused(err, "unowned")
}

// The owner leaves a group that the agent itself is still in.
func TestWhatAnOwnerWouldNotGetAnyMoreLapsesForTheAgent(t *testing.T) {
	cleared := strings.Replace(toolPolicy, `'has(beneficiary.affiliation) && beneficiary.affiliation == "vendor"'`, `'!("reviewers" in beneficiary.groups)'`, 1)
	w, _ := foundTools(t, onSQLite(t), []string{"{name: reviewers, members: [both, pia]}", "{name: reviewers, members: [both, pia, ana, agent]}"}, cleared)
	id := w.allowed("tools/search/read")
	w.settle()
	if w.grant(id).Lapsing != nil {
		t.Fatal("it lapses from the beginning")
	}
	w.apply("members: [both, pia, ana, agent]", "members: [both, pia, agent]")
	w.settle()
	if grant := w.grant(id); grant.Lapsing == nil || !strings.Contains(grant.Lapsing.Because, "the owner of Agent Smith") {
		t.Errorf("the grant is %+v", grant.Lapsing)
	}
	_, err := w.house.Desk.Submit(w.ctx, w.as("agent"), desk.Key{}, toolAsking("tools/delete/write"))
	w.refused(err, "refused-by-policy")
	w.verified()
}

func TestAnAgentAsksWithinBoundsOnly(t *testing.T) {
	w, editor := foundTools(t, onSQLite(t), nil, toolPolicy)
	waiting := w.submit("agent", toolAsking("tools/edit/read"))
	w.must(w.house.Desk.Consent(w.ctx, w.as("ana"), desk.Key{}, waiting))
	w.must(w.revocation("otto", editor)())
	w.settle()
	w.refused(w.approve("bea", waiting), "out-of-bounds")
	_, err := w.house.Desk.Submit(w.ctx, w.as("agent"), desk.Key{}, toolAsking("tools/edit/write"))
	w.refused(err, "out-of-bounds")
	w.allowed("tools/search/read")
	w.verified()
}

func TestABoundThatNobodyCanTellIsNoPolicy(t *testing.T) {
	for text, wrong := range map[string]string{
		"wiki/space/editr":  `there is no entitlement "wiki/space/editr"; did you mean "wiki/space/editor"?`,
		"ledger/books/read": `who holds ledger/books/read is known to the connector "noop" alone`,
	} {
		w := empty(t, onSQLite(t))
		w.edit("\nrecords:\n", toolSystem)
		if err := w.found(strings.Replace(toolPolicy, "wiki/space/editor", text, 1)); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// By group, by name, by owning, by delegation, by power: an agent decides nothing.
func TestAnAgentApprovesNothingWhateverItIs(t *testing.T) {
	w := empty(t, onSQLite(t))
	w.edit("\nrecords:\n", toolSystem)
	w.edit("members: [pia, pit, both]", "members: [pia, pit, both, agent]")
	w.must(w.found(policyFor(`- {name: any, approvers: [group(platform-leads), person(agent), owner-of(resource)]}`, ""), strings.Replace(rolePolicy, "manager-of(requester)", "person(bea)", 1)))
	w.settle()
	power := w.submit("ana", desk.Asking{Beneficiary: "agent", Entitlements: []string{"countersign/house/administrator"}, Reason: "it would like to help with this"})
	w.must(w.approve("bea", power))
	w.settle()
	id := w.submit("ana", asking())
	if stage := w.view(id).Stages[0]; strings.Contains(logins(stage), "agent") || !strings.Contains(logins(stage), "pit") {
		t.Errorf("it asks %s", logins(stage))
	}
	w.refused(w.approve("agent", id), "no-such-request")
	_, err := w.delegate("pit", "agent", nil)
	w.refused(err, "not-an-active-person")
	w.edit("owner: otto\n    second_owner: pit", "owner: agent\n    second_owner: pit")
	_, err = w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	if err == nil || !strings.Contains(err.Error(), "person") {
		t.Errorf("an agent owns a system: %v", err)
	}
	if w.view(id).State != countersign.RequestDeciding {
		t.Error("something was decided")
	}
	w.verified()
}

func TestAToolThatIsNotCalledGoesAndOneThatIsCalledStays(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, _ := foundTools(t, open, nil, toolPolicy)
		used, idle := w.allowed("tools/search/read"), w.allowed("tools/delete/write")
		for range 3 {
			w.pass(23 * time.Hour)
			w.calls("daily", "search", "", "")
		}
		w.state(used, countersign.RequestActive)
		w.state(idle, countersign.RequestClosed)
		if gone := w.grant(idle); !strings.Contains(gone.Ending, "no use") {
			t.Errorf("the idle one ended because: %s", gone.Ending)
		}
		credential := w.grant(used).Credentials[0].ID
		last, err := w.house.Point.LastUsed(w.ctx, credential)
		w.must(err)
		w.settle()
		w.restart()
		if kept, err := w.house.Point.LastUsed(w.ctx, credential); err != nil || kept != last || kept != countersign.InstantOf(w.clock.Now()) {
			t.Errorf("the last use was %s, and after a restart it is %s: %v", last, kept, err)
		}
		w.verified()
	})
}

func TestACallWithoutAScopeNeedsAllThatTheToolCanDo(t *testing.T) {
	w, _ := foundTools(t, onSQLite(t), nil, toolPolicy)
	w.allowed("tools/search/read")
	w.calls("while the tool can do one thing", "search", "", "")
	w.apply("{name: search, entitlements: [{name: read, kind: role}]}", "{name: search, entitlements: [{name: read, kind: role}, {name: write, kind: role}]}")
	w.calls("once it can do more", "search", "", pdp.NoAssignment)
	w.calls("the scope that was granted", "search", "read", "")
}
