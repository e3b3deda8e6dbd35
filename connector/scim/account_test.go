package scim_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/scim/scimtest"
)

func TestAnAccountIsMadeOnceAndMadeInactiveAndNeverDeleted(t *testing.T) {
	l := newLab(t)
	task := l.account(map[string]string{"user_name": "kim@example.org", "email": "kim@example.org"})
	plan, err := l.hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, `"kim@example.org" is made for Alex Kim`) || l.server.Asked("POST") > 0 {
		t.Errorf("%q, %v", plan.Effect, err)
	}
	// The answer to a new user is lost, and so nobody knows its id.
	l.line.CutAfter("POST /v2/Users")
	l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
	l.read("while it is not settled", l.hands.VerifyGone, task, true)
	for _, item := range l.list(task) {
		if item.Holder == task.Holder && item.Entitlement == "account" && item.Credential != task.Credential {
			t.Errorf("while it is not settled it is listed as %+v", item)
		}
	}
	task.Attempt = 2
	l.ok(l.hands.Apply(t.Context(), task))
	if l.server.Asked("POST") != 1 || !l.active(task) {
		t.Errorf("%d users were made", l.server.Asked("POST"))
	}
	l.read("given", l.hands.Verify, task, true)
	user := l.server.UserOf(string(task.Holder))
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
	if has := l.server.User(user); has == nil || has["active"] != false {
		t.Errorf("the account is %v", has)
	}
	for _, item := range l.list(task) {
		if item.Principal == user {
			t.Errorf("an account that is not active is listed: %+v", item)
		}
	}
	// Asked for again, the same account becomes active.
	again := task
	again.Intent, again.Attempt, again.Credential, again.Grant = l.mint.Intent(), 1, l.mint.Credential(), l.mint.Grant()
	l.ok(l.hands.Apply(t.Context(), again))
	if l.server.UserOf(string(task.Holder)) != user || !l.active(task) {
		t.Error("another account was made, or none is active")
	}
	// Somebody makes it inactive by hand, and active again: that is in the reading.
	l.server.SetUser(user, "active", false)
	l.read("made inactive by hand", l.hands.Verify, again, false)
	l.read("made inactive by hand", l.hands.VerifyGone, again, false)
}

func TestARevokeOfWhatWasNeverGivenTouchesNobody(t *testing.T) {
	l := newLab(t)
	l.server.Set(func(b *scimtest.Behaviour) { b.NoFilter = true })
	nobodys := l.server.AddUser("of-nobody", "")
	task := l.account(map[string]string{"user_name": "kim@example.org"})
	l.ok(l.hands.Revoke(t.Context(), task))
	l.read("never given", l.hands.VerifyGone, task, false)
	if l.server.User(nobodys)["active"] != true || l.server.Asked("PATCH") > 0 {
		t.Error("somebody else's account was changed")
	}
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "never given again")
}

func TestARevokeAfterAnAccountWhoseMakingWasNotSettledFindsIt(t *testing.T) {
	l := newLab(t)
	task := l.account(map[string]string{"user_name": "kim@example.org"})
	l.line.CutAfter("POST /v2/Users")
	l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
	if l.server.UserOf(string(task.Holder)) == "" {
		t.Error("the account was deleted")
	}
}

func TestAnAccountOfSomebodyElseIsNeverAdopted(t *testing.T) {
	l := newLab(t)
	l.server.AddUser("kim@example.org", "another-client")
	task := l.account(map[string]string{"user_name": "KIM@example.org"})
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "uniqueness")
	if l.marked(task) || l.server.UserOf(string(task.Holder)) != "" {
		t.Error("the account of somebody else was adopted")
	}
	for says, change := range map[string]func(*connector.Task){
		"must ask for user_name":    func(t *connector.Task) { t.Parameters = nil },
		"already, by somebody else": func(t *connector.Task) { t.Parameters = nil; l.person(t.Holder) },
		`and not "other"`:           func(t *connector.Task) { t.Parameters["user_name"] = "other"; l.person(t.Holder) },
		"is not the account of":     func(t *connector.Task) { t.Settings["account"] = "crm/another" },
		"does not say whether": func(t *connector.Task) {
			t.Parameters = nil
			l.server.SetUser(l.person(t.Holder), "active", nil)
		},
	} {
		task := l.account(map[string]string{"user_name": "kim.2@example.org"})
		change(&task)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
	}
}

func TestAnAccountThatDoesNotSayWhetherItIsActiveDoesNotPassForGone(t *testing.T) {
	l := newLab(t)
	task := l.account(map[string]string{"user_name": "kim@example.org"})
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.SetUser(l.server.UserOf(string(task.Holder)), "active", nil)
	l.read("silent", l.hands.VerifyGone, task, true)
	l.read("silent", l.hands.Verify, task, false)
}
