package redis_test

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/redis"
)

func (l *lab) gone(task connector.Task) {
	l.t.Helper()
	if reading, err := l.hands.VerifyGone(l.t.Context(), task); err != nil || reading.Present {
		l.t.Errorf("it is not gone: %+v, %v", reading, err)
	}
	if err := l.signIn(task).Ping(context.Background()).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		l.t.Errorf("signing in is answered by %v", err)
	}
}

func TestAChangeWhoseAnswerIsLostIsFoundDoneAtTheNextTry(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	task := l.task()
	l.line.CutAfter("\r\nsetuser\r\n$30")
	l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
	again := task
	again.Attempt = 2
	l.ok(l.hands.Apply(t.Context(), again))
	if writes := l.line.Asked("\r\nsetuser\r\n", string(task.Credential)); !l.may(task) || writes != 1 {
		t.Errorf("after %d writes it does not work", writes)
	}
	l.line.CutAfter("\r\ndeluser\r\n$30")
	l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
	// The try whose answer was lost had not written the file.
	l.Restart()
	l.gone(task)
}

func TestAServerThatIsDownForAnHourIsTriedUntilItIsBack(t *testing.T) {
	l := newLab(t, redis.ACLFile)
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

func TestARevokeClosesConnectionsThatAreOpen(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	session := l.signIn(task).Conn()
	defer session.Close()
	l.ok(session.Get(t.Context(), "orders:1").Err())
	l.ok(l.hands.Revoke(t.Context(), task))
	if err := session.Get(t.Context(), "orders:1").Err(); err == nil {
		t.Error("the open connection goes on")
	}
	l.gone(task)
}

func TestWhatWasGivenAndTakenSurvivesARestartAsItIs(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	kept, ended := l.task(), l.task()
	l.ok(l.hands.Apply(t.Context(), kept))
	l.ok(l.hands.Apply(t.Context(), ended))
	l.ok(l.hands.Revoke(t.Context(), ended))
	l.Restart()
	if reading, err := l.hands.Verify(t.Context(), kept); err != nil || !reading.Present || reading.Until != kept.Until || !l.may(kept) {
		t.Errorf("%+v, %v", reading, err)
	}
	l.gone(ended)
}

func TestAServerThatKeepsNoUsersIsGivenThemOnlyWhereThatIsSaid(t *testing.T) {
	l := newLab(t, redis.None)
	task := l.task()
	l.fails(l.connector(redis.ACLFile).Apply(t.Context(), task), connector.Rejected, "persistence: none")
	l.gone(task)
	plan, err := l.hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, "a restart loses it") {
		t.Errorf("%q, %v", plan.Effect, err)
	}
	l.ok(l.hands.Apply(t.Context(), task))
	l.Restart()
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present {
		t.Errorf("%+v, %v", reading, err)
	}
	l.ok(l.connector(redis.ACLFile).Revoke(t.Context(), task))
}

func TestWhatCannotBeGivenExactlyIsRefusedInThePlan(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	for entitlement, says := range map[string]string{
		"admin": "client|", "typo": `no command "gett"`, "all": "@all", "nowhere": `no setting "acl.invoices/nowhere"`,
	} {
		task := l.task()
		task.Entitlement = entitlement
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, says)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
	}
	for rule, says := range map[string]string{
		"nopass +get": "no rule", "+get >word": "no rule", "+get (+set)": "no rule", "reset +get": "no rule", "+get on": "no rule", "+get ~* ~a": "everything",
		"~a": "gives a command", "+get +GET": "twice", "+@nosuch": "nosuch", "+acl": "acl|", "+@connection": "client|", "+get allkeys": "no rule", "+get %RW~a": "no rule",
	} {
		task := l.task()
		task.Settings = map[string]string{"acl.invoices/reader": rule}
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, says)
	}
	task := l.task()
	task.Settings = map[string]string{"acl.invoices/reader": "+get", "colour": "red"}
	_, err := l.hands.Plan(t.Context(), task)
	l.fails(err, connector.Rejected, `no setting "colour"`)
	task = l.task()
	task.Entitlement = "writer"
	l.ok(l.hands.Apply(t.Context(), task))
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("%+v, %v", reading, err)
	}
	l.execute("acl", "setuser", account, "-acl|deluser")
	_, err = l.hands.Plan(t.Context(), l.task())
	l.fails(err, connector.Rejected, "cannot look after users")
}

func TestAUserThatWasChangedByHandIsNotWhatWasAsked(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	for change, says := range map[string]string{
		"+set": "it may", "~more": "it may", "&news": "it may", "(+get ~more)": "it may", ">word": "password was changed", "nopass": "sign in was changed",
		"off": "sign in was changed", "clearselectors": "did not make it",
	} {
		task := l.task()
		l.ok(l.hands.Apply(t.Context(), task))
		l.execute("acl", "setuser", string(task.Credential), change)
		if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present || !strings.Contains(reading.How, says) {
			t.Errorf("%s: %+v, %v", change, reading, err)
		}
		if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || !reading.Present {
			t.Errorf("%s: %+v, %v", change, reading, err)
		}
		later := task
		later.Intent, later.Until = l.mint.Intent(), task.Until.Add(countersign.Hour)
		l.fails(l.hands.Apply(t.Context(), later), connector.Rejected, "not touched")
		if change == "clearselectors" {
			l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "not touched")
			continue
		}
		l.ok(l.hands.Revoke(t.Context(), task))
		l.gone(task)
	}
}

func TestTheMarkGivesNothing(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	for _, command := range [][]any{{"get", "countersign:made:"}, {"set", "countersign:made:", "x"}} {
		answer, err := l.Admin.Do(t.Context(), append([]any{"acl", "dryrun", string(task.Credential)}, command...)...).Text()
		if err != nil || answer == "OK" {
			t.Errorf("%v: %s, %v", command, answer, err)
		}
	}
	// Somebody who copies it onto a user of theirs makes that user no one of ours.
	selectors, err := l.Admin.Do(t.Context(), "acl", "list").StringSlice()
	l.ok(err)
	for _, line := range selectors {
		if strings.Contains(line, string(task.Credential)) {
			_, copied, _ := strings.Cut(line, "(")
			l.execute("acl", "setuser", "mallory", "on", ">word", "("+copied)
		}
	}
	accounts := map[string]connector.Item{}
	l.ok(l.hands.List(t.Context(), connector.Scope{System: task.System, Settings: settings}, func(item connector.Item) error {
		accounts[item.Principal] = item
		return item.Check()
	}))
	if len(accounts) != 3 || accounts["mallory"].Credential != "" || accounts[string(task.Credential)].Holder != task.Holder || accounts["root"].Entitlement != "" {
		t.Errorf("the list is %+v", accounts)
	}
	l.execute("acl", "setuser", string(task.Credential), "+set")
	l.ok(l.hands.List(t.Context(), connector.Scope{System: task.System, Settings: settings}, func(item connector.Item) error {
		if item.Credential == task.Credential && item.Entitlement == "reader" {
			t.Errorf("what was changed by hand passes for what was given: %+v", item)
		}
		return item.Check()
	}))
}

func TestAUserMadeByHandBetweenPlanAndApplyIsNotAdopted(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	task := l.task()
	_, err := l.hands.Plan(t.Context(), task)
	l.ok(err)
	l.plant(task)
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "not touched")
	l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "not touched")
	if !l.may(task) {
		t.Error("it was changed")
	}
}

func TestTheServersCertificateIsJudgedByTheFileOfTheConnector(t *testing.T) {
	l := newLab(t, redis.ACLFile)
	way := url.URL{Scheme: "rediss", User: url.UserPassword(account, accountPassword), Host: l.Secure}
	task := l.task()
	for _, roots := range []*x509.CertPool{x509.NewCertPool(), nil, l.Roots} {
		options := l.hands.Options
		options.URL, options.Roots = countersign.NewSecret(way.String()), roots
		hands, err := redis.New(options)
		l.ok(err)
		if err := hands.Apply(t.Context(), task); roots != l.Roots {
			l.fails(err, connector.Transient, "certificate signed by unknown authority")
			continue
		}
		l.ok(err)
		if !l.may(task) {
			t.Error("what was given does not work")
		}
		l.ok(hands.Revoke(t.Context(), task))
		if l.may(task) {
			t.Error("what was taken works")
		}
	}
}
