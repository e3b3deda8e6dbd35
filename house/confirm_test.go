package house_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const aDay = 24 * time.Hour

// confirmMachine confirms a machine, as somebody.
func (w *world) confirmMachine(who, machine string) error {
	return w.house.Desk.ConfirmIdentity(w.ctx, w.as(who), desk.Key{}, machine, "it still sends the invoices")
}

// heardOf returns the lines of a kind that the person was told; "" for none.
func (l *listener) heardOf(name, kind string) string {
	said := ""
	for _, message := range l.heard {
		for _, line := range message.Lines {
			if message.To.Name == name && line.Kind == kind {
				said += line.Text + "\n"
			}
		}
	}
	return said
}

func (w *world) ownership(machine string) *desk.OwnershipView {
	w.t.Helper()
	view, err := w.house.Desk.Identity(w.ctx, machine)
	w.must(err)
	return view.Ownership
}

func TestAnOwnerWhoKeepsSilentIsRemindedThenOthersAreToldThenNothingNewIsGiven(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		ask := func(right string) (countersign.RequestID, error) {
			asked := asking()
			asked.Beneficiary, asked.Entitlements, asked.Duration = "svc", []string{"ledger/books/" + right}, 25*countersign.Day
			return w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, asked)
		}
		state := func(want desk.OwnerState) {
			t.Helper()
			if view := w.ownership("svc"); view.State != want {
				t.Fatalf("at %s it is %+v, want %s", w.clock.Now(), view, want)
			}
		}
		at := func(when string) {
			t.Helper()
			then, err := time.Parse(time.DateOnly, when)
			w.must(err)
			w.pass(then.Add(9 * time.Hour).Sub(w.clock.Now()))
			w.pass(time.Hour)
			w.tell()
		}
		// It was confirmed on 2026-10-01, and is to be by 2027-03-30.
		state(desk.OwnerConfirmed)
		at("2027-03-10")
		if len(ear.kinds("Olga Owner")) != 0 {
			t.Fatalf("told too early: %v", ear.heard)
		}
		at("2027-03-17")
		state(desk.OwnerDue)
		if said := ear.heardOf("Olga Owner", desk.NoticeConfirm); !strings.Contains(said, "confirm by 2027-03-30") || !strings.Contains(said, "countersign identity confirm svc") {
			t.Fatalf("the owner was told %q", said)
		}
		if kinds := ear.kinds("Max Manager"); len(kinds) != 0 {
			t.Fatalf("the manager was told already: %v", kinds)
		}
		at("2027-03-18")
		if kinds := ear.kinds("Olga Owner"); !slices.Equal(kinds, []string{desk.NoticeConfirm, desk.NoticeConfirm}) {
			t.Fatalf("she answers for two machines, and is told once of each: %v", kinds)
		}

		at("2027-03-31")
		state(desk.OwnerOverdue)
		for _, name := range []string{"Olga Owner", "Max Manager"} {
			if said := ear.heardOf(name, desk.NoticeOwnerSilent); !strings.Contains(said, "From 2027-04-14") || !strings.Contains(said, "Olga Owner has not confirmed Service") {
				t.Fatalf("%s was told %q", name, said)
			}
		}
		// Up to then everything goes on.
		id, err := ask("read")
		w.must(err)
		w.must(w.approve("max", id))
		w.settle()
		at("2027-04-13")
		waiting, err := ask("write")
		w.must(err)

		at("2027-04-14")
		state(desk.OwnerSilent)
		_, err = ask("brief")
		w.refused(err, "owner-silent")
		if text := err.Error(); !strings.Contains(text, "2026-10-01") || !strings.Contains(text, "Olga Owner") || !strings.Contains(text, "countersign identity confirm svc") {
			t.Errorf("the refusal does not say who must do what: %s", text)
		}
		w.refused(w.approve("max", waiting), "owner-silent")
		// What is there stays, and can be rotated and taken away.
		grant := w.grant(id)
		if grant.State != countersign.GrantLive || !w.holds(id) {
			t.Fatalf("silence ended %s access", grant.State)
		}
		w.must(w.house.Desk.Rotate(w.ctx, w.as("olga"), desk.Key{}, grant.ID, countersign.Day, "it is time"))
		w.settle()
		w.restart()
		_, err = ask("brief")
		w.refused(err, "owner-silent")

		w.refused(w.confirmMachine("max", "svc"), "not-the-owner")
		w.must(w.confirmMachine("olga", "svc"))
		state(desk.OwnerConfirmed)
		_, err = ask("brief")
		w.must(err)
		w.must(w.approve("max", waiting))
		w.must(w.revocation("olga", grant.ID)())
		w.verified()
	})
}

// ownersFile has systems of medium risk confirmed every thirty days.
const ownersFile = `owners: {confirm_every: 365d, risks: {medium: 30d}, kinds: {agent: 90d}, remind: 7d, grace: 7d}`

func TestASystemWhoseOwnerKeepsSilentOrIsLostGivesNothingNew(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(`- {name: manager, approvers: [manager-of(requester)], within: 60 business days}`, ""), ownersFile)
		ask := func(right string) (countersign.RequestID, error) {
			asked := asking()
			asked.Entitlements = []string{"ledger/" + right}
			return w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, asked)
		}
		confirm := func(who string) error {
			return w.house.Desk.ConfirmSystem(w.ctx, w.as(who), desk.Key{}, "ledger", "it is still ours")
		}
		passed := func(days int) {
			w.pass(time.Duration(days) * aDay)
			w.pass(time.Hour)
			w.tell()
		}
		id, err := ask("books/read")
		w.must(err)
		passed(24)
		if ear.heardOf("Otto Other", desk.NoticeConfirm) == "" || ear.heardOf("Pit Platform", desk.NoticeConfirm) != "" {
			t.Fatalf("told: %v", ear.heard)
		}
		passed(7)
		for _, name := range []string{"Otto Other", "Pit Platform", "Bea Boss"} {
			if !strings.Contains(ear.heardOf(name, desk.NoticeOwnerSilent), "countersign system confirm ledger") {
				t.Fatalf("%s was not told: %v", name, ear.heard)
			}
		}
		_, err = ask("books/write")
		w.must(err)
		passed(7)
		_, err = ask("vaults/read")
		w.refused(err, "owner-silent")
		if !strings.Contains(err.Error(), "Otto Other or Pit Platform") {
			t.Errorf("the refusal says %v", err)
		}
		// An auditor sees it, and it is no system of another risk.
		view, err := w.house.Desk.System(w.ctx, "ledger")
		w.must(err)
		if view.Ownership.State != desk.OwnerSilent || len(view.Ownership.Told) != 3 {
			t.Errorf("the system shows %+v", view.Ownership)
		}
		if view, err = w.house.Desk.System(w.ctx, "wiki"); err != nil || view.Ownership.State != desk.OwnerConfirmed {
			t.Errorf("the wiki shows %+v (%v)", view.Ownership, err)
		}
		w.refused(confirm("ana"), "not-the-owner")
		w.must(confirm("pit"))
		w.must(w.approve("max", id))

		// The owner leaves: the others are told at once, and have their week.
		w.apply("{login: otto, name: Otto Other, email: otto@test.example, manager: bea}", "{login: otto, name: Otto Other, email: otto@test.example, manager: bea, status: departed}")
		passed(1)
		if said := ear.heardOf("Pit Platform", desk.NoticeOwnerSilent); !strings.Contains(said, "countersign system offer ledger") {
			t.Fatalf("the second owner was told %q", said)
		}
		_, err = ask("books/brief")
		w.must(err)
		passed(7)
		w.must(confirm("pit"))
		passed(1) // who confirms does not become the owner
		_, err = ask("vaults/read")
		w.must(err)
		passed(7)
		asked := asking()
		asked.Beneficiary, asked.Entitlements = "max", []string{"ledger/books/read"}
		_, err = w.house.Desk.Submit(w.ctx, w.as("max"), desk.Key{}, asked)
		w.refused(err, "owner-silent")
		if !strings.Contains(err.Error(), "somebody takes it over") {
			t.Errorf("the refusal says %v", err)
		}
		w.must(w.house.Desk.OfferSystem(w.ctx, w.as("pit"), desk.Key{}, "ledger", "", "it is mine by now"))
		w.must(w.house.Desk.AcceptSystem(w.ctx, w.as("bea"), desk.Key{}, "ledger", "Pit knows it"))
		_, err = w.house.Desk.Submit(w.ctx, w.as("max"), desk.Key{}, asked)
		w.must(err)
		w.verified()
	})
}

func TestWhereNobodyElseAnswersAdministratorsAreTold(t *testing.T) {
	ear := &listener{}
	w := listening(t, onSQLite(t), ear, policyFor(managerStage, ""))
	w.apply("{login: bea, name: Bea Boss, email: bea@test.example}", "{login: bea, name: Bea Boss, email: bea@test.example, status: suspended}")
	w.pass(2 * time.Minute)
	w.pass(time.Hour)
	w.tell()
	for _, name := range []string{"Adam Admin", "Alma Admin"} {
		if !strings.Contains(ear.heardOf(name, desk.NoticeOwnerSilent), "countersign system offer countersign") {
			t.Errorf("%s was not told: %v", name, ear.heard)
		}
	}
	// Whoever is back is no lost owner, and nobody is told anything more.
	before := len(ear.heard)
	w.together("status: suspended}", "status: active}")
	w.pass(time.Hour)
	w.tell()
	if view, err := w.house.Desk.System(w.ctx, "countersign"); err != nil || view.Ownership.State != desk.OwnerConfirmed || len(ear.heard) != before+1 || ear.count("Alma Admin", desk.NoticeProposal) != 1 {
		t.Errorf("the system shows %+v (%v), and %d were told beside of the proposal", view.Ownership, err, len(ear.heard)-before-1)
	}
	w.verified()
}

func TestAFileAloneSparesNoOwnerAConfirmation(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.pass(200 * aDay)
	w.pass(15 * aDay)
	w.must(w.confirmMachine("olga", "svc"))
	confirmed := w.ownership("svc").Since
	// The file still has the date of long ago: applying it for something else takes
	// nothing back.
	w.apply("sends the invoices of the month", "sends the invoices of the week")
	if view := w.ownership("svc"); view.Since != confirmed || view.State != desk.OwnerConfirmed {
		t.Fatalf("an older file left %+v", view)
	}
	w.edit(`record: SR-1, environment: staging, last_confirmed: 2026-10-01`, `record: SR-1, environment: staging, last_confirmed: 2099-10-01`)
	applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	if len(applied.Refused.Changes) != 1 || w.ownership("svc-b").State != desk.OwnerSilent {
		t.Fatalf("one person alone confirmed a machine by a file: %+v", applied)
	}
	// With a second person it is written, and a date to come still counts for nothing.
	id, err := w.house.Desk.Propose(w.ctx, w.as("adam"), desk.Key{}, countersign.DirectoryProposal, w.files(), "the register says so")
	w.must(err)
	page, err := w.house.Desk.Proposal(w.ctx, w.as("alma"), id)
	w.must(err)
	w.must(w.house.Desk.Publish(w.ctx, w.as("alma"), desk.Key{}, id, desk.ProposalDecision{Shown: page.Shown}))
	w.pass(time.Hour)
	if state := w.ownership("svc-b").State; state == desk.OwnerConfirmed || state == desk.OwnerDue {
		t.Errorf("a date in the future makes it %s", state)
	}
	w.verified()
}

func TestAnEmergencyWaitsForNoOwnerAndALostOneIsToldOfAnew(t *testing.T) {
	ear := &listener{}
	w := listening(t, onSQLite(t), ear, eligibilityPolicy, breakGlassPolicy, builtInTickets, "owners: {risks: {low: 30d}, remind: 7d, grace: 7d}")
	assigned := desk.Asking{Entitlements: []string{"wiki/space/editor-on-call"}, Reason: "on call this quarter"}
	id := w.submit("ana", assigned)
	w.must(w.approve("max", id))
	w.settle()
	w.pass(31 * aDay)
	w.pass(8 * aDay)
	_, err := w.house.Desk.Submit(w.ctx, w.as("max"), desk.Key{}, assigned)
	w.refused(err, "owner-silent")
	taken := w.submit("ana", emergency(w.incident()))
	w.settle()
	w.state(taken, countersign.RequestActive)

	// The owner who kept silent leaves: others hear that somebody has to take it over,
	// and from when on nothing new is given is said anew.
	w.apply("{login: otto, name: Otto Other, email: otto@test.example, manager: bea}", "{login: otto, name: Otto Other, email: otto@test.example, manager: bea, status: departed}")
	w.pass(2 * time.Minute)
	w.pass(time.Hour)
	w.tell()
	if said := ear.heardOf("Bea Boss", desk.NoticeOwnerSilent); !strings.Contains(said, "countersign system offer wiki") {
		t.Errorf("the manager heard %q", said)
	}
	w.verified()
}
