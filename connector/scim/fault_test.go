package scim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/scim"
	"github.com/countersign/countersign/connector/scim/scimtest"
)

func (l *lab) gone(task connector.Task) {
	l.t.Helper()
	l.read("gone", l.hands.VerifyGone, task, false)
	if l.member(task) || l.active(task) && task.Action == "activate-account" {
		l.t.Error("the server still gives it")
	}
}

func TestAnAnswerThatIsLostIsFoundDoneAtTheNextTry(t *testing.T) {
	for name, change := range map[string]func(*scimtest.Behaviour){"PATCH": func(*scimtest.Behaviour) {}, "PUT": func(b *scimtest.Behaviour) { b.NoPatch = true }} {
		l := newLab(t)
		l.server.Set(change)
		task := l.task()
		l.line.CutAfter(name + " /v2/Groups")
		l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
		again := task
		again.Attempt = 2
		l.ok(l.hands.Apply(t.Context(), again))
		l.read("given", l.hands.Verify, task, true)
		if !l.member(task) || l.server.Asked(name) != 1 {
			t.Errorf("a member: %v, after %d writes", l.member(task), l.server.Asked(name))
		}
		l.line.CutAfter(name + " /v2/Groups")
		l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
		l.ok(l.hands.Revoke(t.Context(), task))
		l.gone(task)
	}
}

func TestAServerThatIsDownForAnHourIsTriedUntilItIsBack(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.line.SetDown(true)
	for range 2 {
		l.clock.Advance(time.Hour)
		task.Deadline = l.clock.Instant().Add(60)
		l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
		if _, err := l.hands.VerifyGone(t.Context(), task); err == nil {
			t.Error("a server that is down reads back")
		}
		if err := l.hands.List(t.Context(), connector.Scope{System: task.System}, func(connector.Item) error { return nil }); err == nil {
			t.Error("a server that is down has a list")
		}
	}
	l.line.SetDown(false)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestAServerThatIsBusySaysWhenToComeBack(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.server.Answer(http.StatusTooManyRequests, "Retry-After", "17")
	if failure := l.fails(l.hands.Apply(t.Context(), task), connector.Throttled, "429"); failure != nil && failure.After != 17 {
		t.Errorf("it waits %d seconds", failure.After)
	}
	l.server.Answer(http.StatusServiceUnavailable, "Retry-After", l.clock.Now().Add(30*time.Second).Format(http.TimeFormat))
	if failure := l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "503"); failure != nil && failure.After != 30 {
		t.Errorf("it waits %d seconds", failure.After)
	}
	// What comes after the write is no word about the write.
	l.server.Pass(5)
	l.server.Answer(http.StatusTooManyRequests, "Retry-After", "7")
	if failure := l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "not read back"); failure != nil && failure.After != 7 {
		t.Errorf("it waits %d seconds", failure.After)
	}
	if !l.member(task) {
		t.Error("the write did not come before what was refused: count anew what is let through")
	}
	l.ok(l.hands.Apply(t.Context(), task))
}

func TestWhatIsNotThereOnceIsRefusedInThePlan(t *testing.T) {
	l := newLab(t)
	for says, change := range map[string]func(*connector.Task){
		"no user on billing": func(t *connector.Task) { t.Holder = l.mint.Identity() },
		"do not say which":   func(t *connector.Task) { t.Entitlement = "nowhere" },
		"no group":           func(t *connector.Task) { t.Settings["group.invoices/reader"] = "g/nowhere" },
		"no setting":         func(t *connector.Task) { t.Settings["colour"] = "red" },
		"RESOURCE/":          func(t *connector.Task) { t.Settings["group.reader"] = "g/7" },
		"twice":              func(t *connector.Task) { t.Settings["group.invoices/second"] = l.groups["invoices/reader"] },
		`".." is not the`:    func(t *connector.Task) { t.Settings["group.invoices/reader"] = ".." },
		"takes no parameter": func(t *connector.Task) { t.Parameters = map[string]string{"user_name": "kim"} },
		"not active":         func(t *connector.Task) { l.server.SetUser(l.person(t.Holder), "active", false) },
		"several users":      func(t *connector.Task) { l.server.AddUser("twin", string(t.Holder)) },
	} {
		task := l.task()
		change(&task)
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, says)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
	}
	if l.server.Asked("PATCH") > 0 {
		t.Error("what is refused is written")
	}
}

func TestWhatWasGivenByHandIsNeitherGivenTwiceNorTaken(t *testing.T) {
	l := newLab(t)
	task := l.task()
	_, err := l.hands.Plan(t.Context(), task)
	l.ok(err)
	l.server.Put(l.groups["invoices/reader"], l.person(task.Holder)) // between plan and apply
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "not touched")
	l.ok(l.hands.Revoke(t.Context(), task))
	if !l.member(task) {
		t.Error("what others gave was taken")
	}
}

func TestWhatIsGivenByHandAtTheSameMomentIsNotTakenForOurs(t *testing.T) {
	for _, write := range []string{http.MethodPatch, http.MethodPut} {
		l := newLab(t)
		l.server.Set(func(b *scimtest.Behaviour) { b.NoPatch = write == http.MethodPut })
		task := l.task()
		l.server.Before(write, func() { l.server.Put(l.groups["invoices/reader"], l.person(task.Holder)) })
		l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "at the same moment")
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "not touched")
		l.ok(l.hands.Revoke(t.Context(), task))
		if !l.member(task) {
			t.Error("what others gave was taken")
		}
	}
}

func TestWhatOthersChangeAtTheSameMomentStays(t *testing.T) {
	for _, write := range []string{http.MethodPatch, http.MethodPut} {
		l := newLab(t)
		l.server.Set(func(b *scimtest.Behaviour) { b.NoPatch = write == http.MethodPut })
		task, other := l.task(), l.task()
		l.ok(l.hands.Apply(t.Context(), task))
		l.server.Before(write, func() { l.server.Put(l.groups["invoices/reader"], l.person(other.Holder)) })
		l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "at the same moment")
		l.ok(l.hands.Revoke(t.Context(), task))
		l.gone(task)
		if !l.member(other) {
			t.Error("what somebody else gave meanwhile is lost")
		}
	}
}

func TestAServerThatCouldUndoWhatOthersDoIsNotWrittenTo(t *testing.T) {
	l := newLab(t)
	l.server.Set(func(b *scimtest.Behaviour) { b.NoPatch, b.NoVersions = true, true })
	task := l.task()
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "can neither PATCH nor compare versions")
	if l.marked(task) || l.server.Asked("PUT") > 0 {
		t.Error("something was written")
	}
}

func TestAPutKeepsWhatTheServerHasBesides(t *testing.T) {
	l := newLab(t)
	l.server.Set(func(b *scimtest.Behaviour) { b.NoPatch = true })
	task := l.account(nil)
	user := l.person(task.Holder)
	l.server.SetUser(user, "active", false)
	l.server.SetUser(user, "title", "Tester")
	l.ok(l.hands.Apply(t.Context(), task))
	if has := l.server.User(user); has["title"] != "Tester" || has["active"] != true || has["externalId"] != string(task.Holder) {
		t.Errorf("the user is %v now", has)
	}
}

func TestWhatWasGivenByHandIsTakenOverInOneStep(t *testing.T) {
	l := newLab(t)
	account := l.account(nil)
	for _, task := range []connector.Task{l.task(), account} {
		user := l.person(task.Holder)
		if task.Action == "add-member" {
			l.server.Put(l.groups["invoices/reader"], user)
		}
		task.TakesOver = "somebody-else"
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "and not somebody-else")
		task.TakesOver = user
		plan, err := l.hands.Plan(t.Context(), task)
		if err != nil || !strings.Contains(plan.Effect, "given by hand becomes this") {
			t.Errorf("%q, %v", plan.Effect, err)
		}
		l.ok(l.hands.Apply(t.Context(), task))
		ours := 0
		for _, item := range l.list(task) {
			if item.Principal == user && item.Entitlement == task.Entitlement {
				if item.Credential != task.Credential || item.Resource != task.Resource {
					t.Errorf("the list has %+v", item)
				}
				ours++
			}
		}
		if ours != 1 {
			t.Errorf("it stands %d times in the list", ours)
		}
		l.ok(l.hands.Revoke(t.Context(), task))
		l.gone(task)
	}
}

func TestWhatWasTakenByHandIsAlreadyGone(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.Take(l.groups["invoices/reader"], l.person(task.Holder))
	if how := l.read("taken by hand", l.hands.Verify, task, false); !strings.Contains(how, "is no member") {
		t.Error(how)
	}
	later := task
	later.Intent, later.Until = l.mint.Intent(), task.Until.Add(countersign.Hour)
	l.fails(l.hands.Apply(t.Context(), later), connector.Rejected, "taken from")
	// The server refuses to take what is not there; that is no failure.
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestAWriteThatComesAfterItsRevokeIsSeenAndTakenAway(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.ok(l.hands.Revoke(t.Context(), task))
	l.server.Put(l.groups["invoices/reader"], l.person(task.Holder))
	l.read("a late write", l.hands.VerifyGone, task, true)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestWhoeverIsRenamedIsStillTheOneAndANamesakeIsNot(t *testing.T) {
	l := newLab(t)
	task, namesake := l.task(), l.task()
	user := l.person(task.Holder)
	l.ok(l.hands.Apply(t.Context(), task))
	name := l.server.User(user)["userName"]
	l.server.SetUser(user, "userName", "renamed")
	l.server.SetUser(l.person(namesake.Holder), "userName", name)
	l.read("renamed", l.hands.Verify, task, true)
	l.read("the namesake", l.hands.Verify, namesake, false)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestAUserOrGroupThatWasMadeAnewIsNotTheOne(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.Delete(l.person(task.Holder))
	l.person(task.Holder)
	if how := l.read("a new user", l.hands.Verify, task, false); !strings.Contains(how, "made anew") {
		t.Error(how)
	}
	anew := task
	anew.Intent, anew.Credential, anew.Grant = l.mint.Intent(), l.mint.Credential(), l.mint.Grant()
	l.ok(l.hands.Apply(t.Context(), anew))
	l.ok(l.hands.Revoke(t.Context(), anew))
	l.gone(anew) // what the former user was given is no reason to leave it
	task = l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.Delete(l.groups["invoices/reader"])
	l.ok(l.hands.Revoke(t.Context(), task))
	l.read("a group that was deleted", l.hands.VerifyGone, task, false)
}

func TestHoldersAreFoundByAnAttributeOfAnExtension(t *testing.T) {
	l := newLab(t)
	const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	task := l.task()
	user := l.server.AddUser("employee", "of-the-identity-provider")
	l.server.SetUser(l.person(task.Holder), "externalId", "another")
	l.server.SetUser(user, enterprise, map[string]any{"employeeNumber": string(task.Holder)})
	hands := l.connector(func(o *scim.Options) { o.HolderAttribute = enterprise + ":employeeNumber" })
	l.ok(hands.Apply(t.Context(), task))
	if !l.server.Member(l.groups["invoices/reader"], user) {
		t.Error("the one with the number is no member")
	}
	account := l.account(map[string]string{"user_name": "kim"})
	l.fails(hands.Apply(t.Context(), account), connector.Rejected, "it writes no "+enterprise)
}

func TestWhatIsNoScimServerDoesNotPassForGone(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/ServiceProviderConfig") {
			l.server.Handler().ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(half.Close)
	for _, address := range []string{elsewhere.URL, half.URL + "/v2"} {
		hands := l.connector(func(o *scim.Options) { o.URL = address })
		l.fails(hands.Revoke(t.Context(), task), connector.Transient, "no SCIM server")
		if reading, err := hands.VerifyGone(t.Context(), task); err == nil && !reading.Present {
			t.Errorf("it passes for gone: %+v", reading)
		}
		if err := hands.List(t.Context(), connector.Scope{System: task.System}, func(connector.Item) error { return nil }); err == nil {
			t.Error("it has a list")
		}
	}
	wrong := l.connector(func(o *scim.Options) { o.Token = countersign.NewSecret("wrong-token") })
	err := wrong.Revoke(t.Context(), task)
	l.fails(err, connector.Transient, "does not take the token")
	if strings.Contains(err.Error(), "wrong-token") {
		t.Errorf("the token stands in %v", err)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestTheServersCertificateIsJudgedByTheFileOfTheConnector(t *testing.T) {
	l := newLab(t)
	secure := httptest.NewUnstartedServer(l.server.Handler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the client that hangs up
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	task := l.task()
	for _, trusts := range []*x509.CertPool{roots, x509.NewCertPool()} {
		hands := l.connector(func(o *scim.Options) {
			o.URL, o.HTTP = secure.URL+"/v2", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusts, MinVersion: tls.VersionTLS12}}}
		})
		if err := hands.Apply(context.Background(), task); (err == nil) != (trusts == roots) {
			t.Errorf("trusting its authority %v: %v", trusts == roots, err)
		}
	}
}

func TestNothingIsWrittenOnceTheDeadlineHasPassedWhileTheServerWasRead(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	writes := l.server.Asked("PATCH")
	l.server.Before(http.MethodGet, func() { l.clock.Advance(2 * time.Minute) })
	l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "deadline has passed")
	if l.server.Asked("PATCH") != writes || !l.member(task) {
		t.Error("it was written")
	}
}

func TestAnAnswerAboutSomebodyElseIsNone(t *testing.T) {
	l := newLab(t)
	task, account := l.task(), l.account(nil)
	l.server.SetUser(l.person(account.Holder), "active", false)
	for _, one := range []connector.Task{task, account} {
		l.ok(l.hands.Apply(t.Context(), one))
	}
	other := l.server.AddUser("other", "")
	l.server.SetUser(other, "active", false)
	crossed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for begin, id := range map[string]string{"/v2/Groups/": l.groups["ledger/reader"], "/v2/Users/": other} {
			if strings.HasPrefix(r.URL.Path, begin) {
				r.URL.Path = begin + id
			}
		}
		l.server.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(crossed.Close)
	hands := l.connector(func(o *scim.Options) { o.URL = crossed.URL + "/v2" })
	for _, one := range []connector.Task{task, account} {
		_, err := hands.VerifyGone(t.Context(), one)
		l.fails(err, connector.Transient, "answers")
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	l := newLab(t)
	l.server.Answer(http.StatusTemporaryRedirect, "Location", l.server.URL+"/elsewhere")
	l.fails(l.hands.Apply(t.Context(), l.task()), connector.Rejected, "not followed")
}
