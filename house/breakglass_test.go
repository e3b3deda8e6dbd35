package house_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/target/tickets"
)

// eligibilityPolicy gives eligible assignments, breakGlassPolicy the access itself.
const eligibilityPolicy = `
request: on-call
title: Eligible assignment
grants: {system: wiki, kind: role, entitlement: editor-on-call}
beneficiary: [person]
limits: {duration: {default: 90d, max: 90d}}
stages: [{name: manager, approvers: [manager-of(requester)]}]
fulfil: [role.assign]
`

const breakGlassPolicy = `
request: break-glass
title: The wiki in an emergency
grants: {system: wiki, kind: role, entitlement: editor}
beneficiary: [person]
ask: {incident: {type: string}}
limits: {duration: {default: 1h, max: 4h}}
evidence:
  - {name: incident, kind: ticket, ticket: open, due: at-request, verified_by: incidents, from: incident}
  - {name: closed-ticket, kind: ticket, ticket: closed, due: at-closure, verified_by: incidents, from: incident, within: 2 business days}
break_glass: {declared: true, tell: [group(security)]}
stages: [{name: at-once, automatic: "true"}]
fulfil: [role.assign]
review:
  reviewers: [group(platform-leads), person(ana)]
  within: 1 business day
  then: {escalate_to: [person(bea)], within: 1 business day}
`

const (
	builtInTickets = `sources: [{name: incidents, built_in: tickets}]`
	// deadTickets answer to nobody: nothing listens there.
	deadTickets = `sources: [{name: incidents, url: "http://127.0.0.1:1/{key}", key: "INC-[0-9]+", state: $.state, open: [open], closed: [closed]}]`
)

// onCall founds a house in which Ana is eligible for the wiki.
func onCall(t *testing.T, open database, source string) *world {
	w := found(t, open, eligibilityPolicy, breakGlassPolicy, source)
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor-on-call"}, Reason: "on call this quarter"})
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	return w
}

func (w *world) incident() string {
	w.t.Helper()
	ticket, err := w.house.Tickets.Open(w.ctx, w.as("otto").Identity, tickets.Incident, "The wiki shows the wrong handbook")
	w.must(err)
	return ticket.Key
}

func (w *world) resolve(key string) {
	w.t.Helper()
	_, err := w.house.Tickets.Close(w.ctx, w.as("otto").Identity, key, "the right handbook is back")
	w.must(err)
}

func emergency(key string) desk.Asking {
	return desk.Asking{Type: "break-glass", Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook is wrong", Answers: []byte(`{"incident":"` + key + `"}`)}
}

func (w *world) tryEmergency(who, key string) error {
	_, err := w.house.Desk.Submit(w.ctx, w.as(who), desk.Key{}, emergency(key))
	return err
}

func (w *world) review(who string, id countersign.RequestID, finding countersign.Outcome) error {
	return w.house.Desk.Review(w.ctx, w.as(who), desk.Key{}, id, finding, desk.Decision{Shown: w.shown(id), Reason: "I compared the pages with the ticket"})
}

func (w *world) fetch(who string, id countersign.RequestID, slot string) error {
	return w.house.Desk.Fetch(w.ctx, w.as(who), desk.Key{}, id, slot)
}

func TestBreakGlassGivesAccessAtOnceAndClosesOnlyAfterTheReviewBySomebodyElse(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := onCall(t, open, builtInTickets)
		incident := w.incident()
		id := w.submit("ana", emergency(incident))
		w.settle()
		view := w.state(id, countersign.RequestActive)
		if !view.BreakGlass || len(view.Told) != 3 {
			t.Fatalf("all three of security should have been told at once: %+v", view.Told)
		}
		if _, err := w.house.Desk.Request(w.ctx, w.as("syd"), id); err != nil {
			t.Fatalf("who was told cannot see it: %v", err)
		}
		w.refused(w.review("syd", id, countersign.InOrder), "not-due-yet")
		w.refused(w.fetch("ana", id, "closed-ticket"), "not-due-yet")

		w.pass(time.Hour)
		w.state(id, countersign.RequestClosing)
		w.refused(w.fetch("ana", id, "closed-ticket"), "ticket-in-another-state")
		w.refused(w.review("pia", id, countersign.InOrder), "evidence-missing")
		w.resolve(incident)
		w.refused(w.house.Desk.Attach(w.ctx, w.as("ana"), desk.Key{}, id, desk.EvidenceContent{Slot: "closed-ticket", Content: []byte("it is closed, really")}), "slot-is-verified")
		w.must(w.fetch("ana", id, "closed-ticket"))
		w.state(id, countersign.RequestClosing)
		w.refused(w.review("pia", id, countersign.InOrder), "evidence-missing")
		if waits := w.view(id).WaitsFor; !strings.HasSuffix(waits, "; the evidence activity is fetched for it first") {
			t.Errorf("it waits for %q", waits)
		}
		w.must(w.fetch("pia", id, "activity"))
		w.refused(w.review("pia", id, countersign.InOrder), "evidence-not-opened")
		w.opened("pia", id, "activity", "wiki/space/editor", "nothing was done with it", "looked at: the uses that the decision point notes")
		w.refused(w.fetch("pia", id, "activity"), "slot-is-filled")
		w.refused(w.attach("pia", id, "substitute", "I asked Ana"), "not-owed")
		w.refused(w.review("ana", id, countersign.InOrder), "separation-of-duties")
		w.refused(w.review("olga", id, countersign.InOrder), "no-such-request")
		said := desk.Decision{Shown: w.shown(id), Reason: "I compared the pages with the ticket"}
		for range 2 {
			w.must(w.house.Desk.Review(w.ctx, w.as("pia"), desk.Key{}, id, countersign.InOrder, said))
		}
		if closed := w.state(id, countersign.RequestClosed); closed.Outcome != "reviewed, and in order" {
			t.Fatalf("it closed as %q", closed.Outcome)
		}
		w.tells(id, "found in order")
		w.verified()
	})
}

func TestBreakGlassIsRefusedWithoutEligibilityIncidentOrForSomebodyElse(t *testing.T) {
	w := onCall(t, onSQLite(t), builtInTickets)
	incident := w.incident()
	for _, who := range []string{"otto", "adam"} {
		w.refused(w.tryEmergency(who, incident), "not-eligible")
	}
	w.refused(w.tryEmergency("ana", "INC-77"), "ticket-not-found")
	w.refused(w.tryEmergency("ana", "the wiki is down"), "malformed-ticket-key")
	for other, asking := range map[string]desk.Asking{"otto": emergency(incident)} {
		asking.Beneficiary = "ana"
		_, err := w.house.Desk.Submit(w.ctx, w.as(other), desk.Key{}, asking)
		w.refused(err, "not-for-others")
	}
	w.resolve(incident)
	w.refused(w.tryEmergency("ana", incident), "ticket-in-another-state")
	again := w.incident()
	_, err := w.hold("adam", "ana", false)
	w.must(err)
	w.refused(w.tryEmergency("ana", again), "held")
}

func TestWhatIsTakenByBreakGlassIsNotRotatedByRequest(t *testing.T) {
	w := empty(t, onSQLite(t))
	w.directory = strings.Replace(w.directory, "- {name: brief,", "- {name: read-on-call, kind: credential, eligible_for: read}\n          - {name: brief,", 1)
	books := strings.NewReplacer("system: wiki, kind: role, entitlement: editor", "system: ledger, kind: credential, entitlement: read", "role.assign", "noop.apply",
		"beneficiary:", "priority: 20\nbeneficiary:").Replace(breakGlassPolicy)
	w.must(w.found(policyFor(managerStage, ""), rotationPolicy, books, builtInTickets))
	w.settle()
	assigned := asking()
	assigned.Entitlements = []string{"ledger/books/read-on-call"}
	w.must(w.approve("max", w.submit("ana", assigned)))
	w.settle()
	taken := emergency(w.incident())
	taken.Entitlements = asking().Entitlements
	id := w.submit("ana", taken)
	w.settle()
	w.state(id, countersign.RequestActive)
	grant := w.grant(id)

	_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, rotation(grant.ID))
	w.refused(err, "cannot-rotate")
	if !strings.Contains(err.Error(), "break-glass") {
		t.Errorf("the refusal does not say why: %v", err)
	}
	// Nor does its holder get around the request.
	w.refused(w.house.Desk.Rotate(w.ctx, w.as("ana"), desk.Key{}, grant.ID, 0, "it was printed"), "rotation-needs-approval")
	if kept := w.stored(grant.ID); kept.Rotating != nil || len(kept.Credentials) != 1 {
		t.Errorf("something was rotated: %+v", kept)
	}
}

func TestAnEligibleAssignmentThatEndedGivesNothingAnyMore(t *testing.T) {
	w := onCall(t, onSQLite(t), builtInTickets)
	incident := w.incident()
	w.pass(90 * 24 * time.Hour)
	w.refused(w.tryEmergency("ana", incident), "not-eligible")
}

func TestAnOverdueReviewBlocksThatPersonOnThatSystemUntilTwoPeopleLiftIt(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := onCall(t, open, builtInTickets)
		id := w.submit("ana", emergency(w.incident()))
		w.settle()
		w.pass(time.Hour)
		w.state(id, countersign.RequestClosing)
		second := w.incident()
		unblock := func(who string) error {
			return w.house.Desk.Unblock(w.ctx, w.as(who), desk.Key{}, id, "the wiki burns again")
		}
		w.refused(unblock("pia"), "nothing-blocked")

		// The instant at which the time has passed counts, whether or not a timer ran.
		w.move(25 * time.Hour)
		w.refused(w.tryEmergency("ana", second), "review-overdue")
		w.settle()
		review := w.view(id).Stages[1]
		asked := map[string]bool{}
		for _, one := range review.Asked {
			asked[one.Person.Login] = true
		}
		if !review.Overdue || !asked["bea"] || !asked["pia"] || asked["ana"] {
			t.Fatalf("the review is %+v", review)
		}
		w.refused(w.tryEmergency("ana", second), "review-overdue")
		w.refused(unblock("ana"), "separation-of-duties")
		w.refused(unblock("aud"), "not-entitled-to-unblock")
		w.must(unblock("pia"))
		w.must(unblock("pia"))
		w.refused(w.tryEmergency("ana", second), "review-overdue")
		w.must(unblock("otto"))
		w.must(w.tryEmergency("ana", second))
		// It is asked for on and on: nobody forgets it.
		for range 3 {
			w.pass(4 * 24 * time.Hour)
		}
		if waits := w.state(id, countersign.RequestClosing).WaitsFor; waits == "" {
			t.Fatal("nobody is named who owes the review")
		}
		w.verified()
	})
}

func TestADeclaredIncidentServesWhileTheSourceCannotBeReached(t *testing.T) {
	w := onCall(t, onSQLite(t), deadTickets)
	id := w.submit("ana", emergency("INC-1"))
	w.settle()
	w.state(id, countersign.RequestActive)
	if held := w.view(id).Evidence[0].Held; held == nil || held.Source != countersign.DeclaredSource || held.Verified != "" {
		t.Fatalf("the evidence is %+v", held)
	}
	w.refused(w.fetch("ana", id, "incident"), "source-unavailable")
	w.pass(time.Hour)
	w.state(id, countersign.RequestClosing)
	w.refused(w.review("pia", id, countersign.InOrder), "evidence-missing")
	w.verified()
}

func TestTwoEmergenciesAtTheSameInstantAreOne(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := onCall(t, open, builtInTickets)
		incident := w.incident()
		try := func() error { return w.tryEmergency("ana", incident) }
		taken := 0
		for _, err := range race(try, try, try, try) {
			if err == nil {
				taken++
			} else if reason := countersign.ReasonOf(err); reason != "duplicate-request" && reason != "already-held" && reason != "changed-meanwhile" {
				t.Errorf("one was answered with %v", err)
			}
		}
		if taken != 1 {
			t.Fatalf("%d were taken", taken)
		}
	})
}

func TestWhoNeedsNoReviewerFindsNoWayAroundIt(t *testing.T) {
	// A type without review, or one that waits for people, is no break-glass type.
	for name, policies := range map[string][2]string{
		"no review": {"review:\n  reviewers: [group(platform-leads), person(ana)]\n  within: 1 business day\n  then: {escalate_to: [person(bea)], within: 1 business day}\n", ""},
		"people":    {`automatic: "true"`, "approvers: [person(bea)]"},
		"denied":    {"within: 1 business day}\n", "within: 1 business day, then: deny}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := empty(t, onSQLite(t))
			err := w.found(replaceOnce(t, breakGlassPolicy, policies[0], policies[1]), builtInTickets)
			w.refused(err, "malformed-policy")
		})
	}
}

func TestASourceThatCouldNotBeAskedIsRefusedWithTheSetThatNamesIt(t *testing.T) {
	anywhere := replaceOnce(t, deadTickets, "$.state", "$..state")
	w := empty(t, onSQLite(t))
	err := w.found(breakGlassPolicy, anywhere)
	w.refused(err, "malformed-organisation")
	if !strings.Contains(err.Error(), "source incidents: ") || !strings.Contains(err.Error(), "step by step") {
		t.Errorf("the refusal says %v", err)
	}
	w = onCall(t, onSQLite(t), deadTickets)
	_, err = w.propose("adam", countersign.PolicyProposal, eligibilityPolicy, breakGlassPolicy, anywhere)
	w.refused(err, "malformed-policy")
}

func replaceOnce(t *testing.T, text, old, with string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q stands %d times", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, with, 1)
}
