package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target/tickets"
)

// newLedger is a house whose policies have break-glass, evidence that must be
// opened, and exceptions.
func newLedger(t *testing.T) *world {
	t.Helper()
	return worldOf(t, os.DirFS("testdata/ledger"))
}

// later moves the clock and signs everybody in again.
func (w *world) later(by time.Duration) {
	w.t.Helper()
	w.clock.Advance(by)
	w.tokens = map[string]countersign.Secret{}
	w.settle()
}

// command gives a command on a request.
func (w *world) command(login, id, command string, body any, headers ...string) *answer {
	w.t.Helper()
	return w.call(login, "POST", "/api/v1/requests/"+id+"/"+command, body, headers...)
}

// grantOnCall makes Ada eligible for the emergency role, and returns the grant.
func (w *world) grantOnCall() string {
	w.t.Helper()
	made := w.submit("ada", object{"entitlements": []string{"ledger/books/on-call"}, "reason": "It is my week."})
	w.command("bo", made.ID, "approve", object{"shown": made.Shown}).want(http.StatusOK, nil)
	w.settle()
	return w.show("ada", made.ID).Grants[0].ID
}

func (w *world) incident() (by countersign.IdentityID, key string) {
	w.t.Helper()
	by, _ = w.house.Desk.Resolve("ada")
	ticket, err := w.house.Tickets.Open(w.t.Context(), by, tickets.Incident, "The books do not balance")
	if err != nil {
		w.t.Fatal(err)
	}
	return by, ticket.Key
}

func emergencyAsking(incident string) object {
	return object{"type": "emergency", "entitlements": []string{"ledger/books/fixer"}, "reason": "The books do not balance.", "answers": object{"incident": incident}}
}

// afterwards takes the access by break-glass and gives it back.
func (w *world) afterwards(incident string) request {
	w.t.Helper()
	made := w.submit("ada", emergencyAsking(incident))
	w.settle()
	active := w.show("ada", made.ID)
	if active.State != "active" {
		w.t.Fatalf("in an emergency the request is %+v", active)
	}
	w.call("ada", "POST", "/api/v1/grants/"+active.Grants[0].ID+"/revoke", object{"reason": "repaired"}).want(http.StatusOK, nil)
	w.settle()
	return w.show("ada", made.ID)
}

type emergency struct {
	request
	BreakGlass bool `json:"break_glass"`
	Told       []struct{ Name string }
	Evidence   []struct {
		Name, Ticket, Record string
		InPlaceOf            string `json:"in_place_of"`
		Held                 *struct {
			Digest, Source string
			Unavailable    bool
		}
	}
	Stages []struct {
		Name            string
		State           string
		Review, Overdue bool
		LiftedBy        []struct{ Name string } `json:"lifted_by"`
		Decisions       []struct {
			Outcome, Reason string
			Opened          []string
		}
	}
}

func TestBreakGlassFromTheEmergencyToItsReview(t *testing.T) {
	w := newLedger(t)
	by, incident := w.incident()
	var preview struct {
		BreakGlass bool `json:"break_glass"`
		Tell       []string
		Refusals   []struct{ Reason string }
	}
	w.call("ada", "POST", "/api/v1/requests/preview", emergencyAsking(incident)).want(http.StatusOK, &preview)
	if !preview.BreakGlass || len(preview.Tell) != 1 || len(preview.Refusals) != 1 || preview.Refusals[0].Reason != "not-eligible" {
		t.Errorf("before the assignment the preview is %+v", preview)
	}
	w.grantOnCall()
	made := w.afterwards(incident)
	var closing emergency
	w.call("cleo", "GET", "/api/v1/requests/"+made.ID, nil).want(http.StatusOK, &closing)
	if !closing.BreakGlass || len(closing.Told) != 2 || closing.Evidence[1].Ticket != "closed" || closing.Evidence[1].Record != incident || !closing.Stages[1].Review {
		t.Errorf("after the access the request is %+v", closing)
	}
	finding := func(finding, shown string) object {
		return object{"finding": finding, "reason": "Looked at the books and the log.", "shown": shown}
	}
	w.command("cleo", made.ID, "review", finding("in-order", closing.Shown)).refused(http.StatusConflict, "evidence-missing")
	w.command("ada", made.ID, "evidence/report/fetch", nil).refused(http.StatusConflict, "ticket-in-another-state")
	if got := w.command("ada", made.ID, "evidence/bill/fetch", nil).refused(http.StatusBadRequest, "no-such-slot"); got.Field != "slot" {
		t.Errorf("the field is %q", got.Field)
	}
	if _, err := w.house.Tickets.Close(t.Context(), by, incident, "Two lines were swapped"); err != nil {
		t.Fatal(err)
	}
	w.command("ada", made.ID, "evidence/report/fetch", nil, "Idempotency-Key", "f1").want(http.StatusOK, &closing)
	before := w.events()
	w.command("ada", made.ID, "evidence/report/fetch", nil, "Idempotency-Key", "f1").want(http.StatusOK, nil)
	if w.events() != before {
		t.Error("a fetch under the same key had an effect")
	}
	var opened struct{ Slot, Digest, Text, Base64 string }
	w.command("cleo", made.ID, "evidence/report/open", nil).want(http.StatusOK, &opened)
	if opened.Slot != "report" || opened.Digest != closing.Evidence[1].Held.Digest || !strings.Contains(opened.Text, "Two lines were swapped") || opened.Base64 != "" {
		t.Errorf("opened is %+v of %+v", opened, closing.Evidence[1].Held)
	}

	w.command("cleo", made.ID, "review", finding("in-order", w.show("cleo", made.ID).Shown)).refused(http.StatusConflict, "evidence-missing")
	w.command("cleo", made.ID, "evidence/activity/fetch", nil).want(http.StatusOK, &closing)
	if told := closing.Evidence[2]; told.Name != "activity" || told.Held == nil || told.Held.Unavailable || closing.Evidence[3].InPlaceOf != "activity" {
		t.Errorf("the evidence is %+v", closing.Evidence)
	}
	w.command("cleo", made.ID, "evidence/activity/open", nil).want(http.StatusOK, nil)
	w.command("cleo", made.ID, "evidence", object{"slot": "substitute", "text": "I asked Ada."}).refused(http.StatusConflict, "not-owed")
	shown := w.show("cleo", made.ID).Shown
	w.command("ada", made.ID, "review", finding("in-order", shown)).refused(http.StatusForbidden, "separation-of-duties")
	if got := w.command("cleo", made.ID, "review", finding("fine", shown)).refused(http.StatusBadRequest, "finding-missing"); got.Field != "/finding" {
		t.Errorf("the field is %q", got.Field)
	}
	w.command("cleo", made.ID, "review", finding("in-order", "sha256:x")).refused(http.StatusConflict, "shown-has-changed")
	w.command("cleo", made.ID, "review", finding("in-order", shown), "If-Match", `"1"`).refused(http.StatusPreconditionFailed, "precondition-failed")
	var closed emergency
	w.command("cleo", made.ID, "review", finding("in-order", shown), "Idempotency-Key", "r1").want(http.StatusOK, &closed)
	w.command("cleo", made.ID, "review", finding("in-order", shown), "Idempotency-Key", "r1").want(http.StatusOK, nil)
	if decisions := closed.Stages[1].Decisions; closed.State != "closed" || len(decisions) != 1 || decisions[0].Outcome != "in-order" || len(decisions[0].Opened) != 2 {
		t.Errorf("after the review the request is %+v", closed)
	}
	// What has ended can still be read, and takes no more history.
	before = w.events()
	w.command("dana", made.ID, "evidence/report/open", nil).want(http.StatusOK, nil)
	if w.events() != before {
		t.Error("an opening after the end had an effect")
	}
}

func TestAnOverdueReviewBlocksUntilTwoPeopleLiftIt(t *testing.T) {
	w := newLedger(t)
	w.grantOnCall()
	_, incident := w.incident()
	made := w.afterwards(incident)
	reason := object{"reason": "The books have to be repaired again tonight."}
	w.command("cleo", made.ID, "unblock", reason).refused(http.StatusConflict, "nothing-blocked")
	w.later(25 * time.Hour)
	w.call("ada", "POST", "/api/v1/requests", emergencyAsking(incident)).refused(http.StatusForbidden, "review-overdue")
	w.command("ada", made.ID, "unblock", reason).refused(http.StatusForbidden, "separation-of-duties")
	w.command("cleo", made.ID, "unblock", object{}).refused(http.StatusBadRequest, "missing-key")
	var blocked emergency
	w.command("cleo", made.ID, "unblock", reason).want(http.StatusOK, &blocked)
	if !blocked.Stages[1].Overdue || len(blocked.Stages[1].LiftedBy) != 1 {
		t.Errorf("after one voice the review is %+v", blocked.Stages[1])
	}
	w.call("ada", "POST", "/api/v1/requests", emergencyAsking(incident)).refused(http.StatusForbidden, "review-overdue")
	w.command("emil", made.ID, "unblock", reason).want(http.StatusOK, nil)
	w.submit("ada", emergencyAsking(incident))
}

func TestAnExceptionSaysWhatItWaives(t *testing.T) {
	w := newLedger(t)
	asking := object{"entitlements": []string{"ledger/books/reader"}, "reason": "The audit of the year.", "evidence": []object{{"slot": "plan", "text": "All of May"}}}
	w.call("fay", "POST", "/api/v1/requests", asking).refused(http.StatusForbidden, "refused-by-policy")
	exception := object{"control": "Emil looks at each query", "owner": "emil", "until": w.clock.Now().Add(7 * 24 * time.Hour).Format(time.RFC3339)}
	for _, test := range []struct {
		key           string
		value         any
		status        int
		reason, field string
	}{
		{"control", nil, http.StatusBadRequest, "missing-key", "/exception/control"},
		{"control", "None", http.StatusForbidden, "no-control", "/exception/control"},
		{"owner", "nobody", http.StatusBadRequest, "no-such-identity", "/exception/owner"},
		{"until", "soon", http.StatusBadRequest, "malformed-time", "/exception/until"},
		{"untill", "x", http.StatusBadRequest, "unknown-key", "/exception/untill"},
	} {
		wrong := object{}
		for key, value := range exception {
			wrong[key] = value
		}
		if wrong[test.key] = test.value; test.value == nil {
			delete(wrong, test.key)
		}
		asking["exception"] = wrong
		if got := w.call("fay", "POST", "/api/v1/requests", asking).refused(test.status, test.reason); got.Field != test.field {
			t.Errorf("%s %v: the field is %q", test.key, test.value, got.Field)
		}
	}
	asking["exception"] = exception
	var preview struct {
		Waived   []struct{ Reason string }
		Refusals []struct{ Reason string }
	}
	w.call("fay", "POST", "/api/v1/requests/preview", asking).want(http.StatusOK, &preview)
	if len(preview.Waived) != 1 || len(preview.Refusals) != 0 {
		t.Errorf("the preview is %+v", preview)
	}
	var made struct {
		Exception struct {
			Control string
			Owner   struct{ Name string }
			Waives  []struct{ Reason string }
		}
		Stages []struct{ Name string }
	}
	w.call("fay", "POST", "/api/v1/requests", asking).want(http.StatusCreated, &made)
	if made.Exception.Owner.Name != "Emil Falk" || len(made.Exception.Waives) != 1 || len(made.Stages) != 2 || made.Stages[1].Name != "exception" {
		t.Errorf("the request is %+v", made)
	}
}

func TestEvidenceThatMustBeOpenedIsOpenedBeforeAnApproval(t *testing.T) {
	w := newLedger(t)
	content := []byte("All of May\x1b[2J")
	made := w.submit("ada", object{
		"entitlements": []string{"ledger/books/reader"}, "reason": "The audit of the year.",
		"evidence": []object{{"slot": "plan", "base64": base64.StdEncoding.EncodeToString(content)}},
	})
	shown := object{"shown": made.Shown}
	w.command("cleo", made.ID, "approve", shown).refused(http.StatusForbidden, "evidence-not-opened")
	w.command("fay", made.ID, "evidence/plan/open", nil).refused(http.StatusNotFound, "no-such-request")
	if got := w.command("cleo", made.ID, "evidence/plam/open", nil).refused(http.StatusBadRequest, "no-such-slot"); got.Field != "slot" {
		t.Errorf("the field is %q", got.Field)
	}
	var opened struct{ Text, Base64, Digest string }
	w.command("cleo", made.ID, "evidence/plan/open", nil, "Idempotency-Key", "o1").want(http.StatusOK, &opened)
	w.command("cleo", made.ID, "evidence/plan/open", nil, "Idempotency-Key", "o1").want(http.StatusOK, &opened)
	if got, err := base64.StdEncoding.DecodeString(opened.Base64); err != nil || string(got) != string(content) || opened.Text != "" {
		t.Errorf("what could control a terminal came as %+v, %v", opened, err)
	}
	var approved emergency
	w.command("cleo", made.ID, "approve", shown).want(http.StatusOK, &approved)
	if got := approved.Stages[0].Decisions[0].Opened; len(got) != 1 || got[0] != opened.Digest {
		t.Errorf("opened are %v", got)
	}
}

func TestALaterEndIsAskedForAndTheGrantStays(t *testing.T) {
	w := newLedger(t)
	grant := w.grantOnCall()
	until := func() (until time.Time) {
		t.Helper()
		var shown struct{ Until time.Time }
		w.call("ada", "GET", "/api/v1/grants/"+grant, nil).want(http.StatusOK, &shown)
		return shown.Until
	}
	before := until()
	asking := object{"entitlements": []string{"ledger/books/on-call"}, "reason": "It is my week again.", "duration": 10 * 86400, "extends": grant}
	if got := w.call("ada", "POST", "/api/v1/requests", asking).refused(http.StatusForbidden, "cannot-extend"); got.Field != "/extends" {
		t.Errorf("the field is %q", got.Field)
	}
	asking["duration"] = 60 * 86400
	w.call("ada", "POST", "/api/v1/requests", object{"entitlements": asking["entitlements"], "reason": "x"}).refused(http.StatusConflict, "already-held")
	var made struct{ ID, Shown, Extends string }
	w.call("ada", "POST", "/api/v1/requests", asking).want(http.StatusCreated, &made)
	if made.Extends != grant {
		t.Errorf("the request extends %q", made.Extends)
	}
	w.command("bo", made.ID, "approve", object{"shown": made.Shown}).want(http.StatusOK, nil)
	w.settle()
	if after := until(); !after.After(before) {
		t.Errorf("the end was %s and is %s", before, after)
	}
}
