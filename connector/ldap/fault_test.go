package ldap_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/connector/ldap/ldaptest"
)

func (l *lab) gone(task connector.Task) {
	l.t.Helper()
	if reading, err := l.hands.VerifyGone(l.t.Context(), task); err != nil || reading.Present {
		l.t.Errorf("it is not gone: %+v, %v", reading, err)
	}
	if l.member(groupDN(task.Entitlement), personDN(task.Holder)) {
		l.t.Error("the holder is still a member")
	}
}

func (l *lab) list(of connector.Task) []connector.Item {
	l.t.Helper()
	var items []connector.Item
	l.ok(l.hands.List(l.t.Context(), connector.Scope{System: of.System, SystemName: of.SystemName}, func(item connector.Item) error {
		items = append(items, item)
		return item.Check()
	}))
	return items
}

// modify is the name of a person as a change of a group has it, and not a mark.
func modify(task connector.Task) string {
	name := personDN(task.Holder)
	return fmt.Sprintf("\x04%c%s", len(name), name)
}

func TestAChangeWhoseAnswerIsLostIsFoundDoneAtTheNextTry(t *testing.T) {
	l := newLab(t)
	for _, cut := range []func(connector.Task) string{func(connector.Task) string { return "device" }, modify} {
		task := l.task()
		l.line.CutAfter(cut(task))
		l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
		again := task
		again.Attempt = 2
		l.ok(l.hands.Apply(t.Context(), again))
		if !l.may(task) || l.line.Asked(modify(task)) != 1 {
			t.Errorf("it does not work, after %d changes of the group", l.line.Asked(modify(task)))
		}
		l.line.CutAfter(modify(task))
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

func TestWhatIsNotThereOnceIsRefusedInThePlan(t *testing.T) {
	l := newLab(t)
	for says, change := range map[string]func(*connector.Task){
		"no entries":     func(t *connector.Task) { t.Holder = l.mint.Identity() },
		"no group":       func(t *connector.Task) { t.Entitlement = "nowhere" },
		"in ou=nowhere":  func(t *connector.Task) { t.Resource = "nowhere" },
		"no settings":    func(t *connector.Task) { t.Settings = map[string]string{"colour": "red"} },
		"cn=reader\\2cx": func(t *connector.Task) { t.Entitlement = "reader\\2cx" },
		"several entries": func(t *connector.Task) {
			l.add("uid=twin,"+people, "inetOrgPerson", "cn", "Twin", "sn", "Twin", "employeeNumber", string(t.Holder))
		},
	} {
		task := l.task()
		change(&task)
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, says)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
	}
}

func TestAMembershipThatWasGivenByHandIsNeitherGivenTwiceNorTaken(t *testing.T) {
	l := newLab(t)
	task := l.task()
	_, err := l.hands.Plan(t.Context(), task)
	l.ok(err)
	l.put(groupDN("reader"), personDN(task.Holder)) // between plan and apply
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "not touched")
	l.ok(l.hands.Revoke(t.Context(), task))
	if !l.member(groupDN("reader"), personDN(task.Holder)) {
		t.Error("what others gave was taken")
	}
}

func TestAMembershipThatWasGivenByHandIsTakenOverInOneStep(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.put(groupDN("reader"), personDN(task.Holder))
	task.TakesOver = "somebody-else"
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "and not somebody-else")
	task.TakesOver = l.person(task.Holder)
	plan, err := l.hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, "given by hand becomes this one") {
		t.Errorf("%q, %v", plan.Effect, err)
	}
	l.ok(l.hands.Apply(t.Context(), task))
	ours := 0
	for _, item := range l.list(task) {
		if item.Principal == task.TakesOver && item.Entitlement == "reader" && item.Credential == task.Credential {
			ours++
		}
	}
	if ours != 1 || !l.may(task) {
		t.Errorf("it stands %d times in the list", ours)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestAMemberWhoWasTakenOutByHandIsAlreadyGone(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.take(groupDN("reader"), personDN(task.Holder))
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present || !strings.Contains(reading.How, "no member") {
		t.Errorf("%+v, %v", reading, err)
	}
	later := task
	later.Intent, later.Until = l.mint.Intent(), task.Until.Add(countersign.Hour)
	l.fails(l.hands.Apply(t.Context(), later), connector.Rejected, "taken out of")
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestWhoeverIsRenamedIsStillTheOne(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	// The server does not follow names in groups: the old one stays in it.
	l.ok(l.admin.ModifyDN(goldap.NewModifyDNRequest(personDN(task.Holder), "uid=renamed", true, "")))
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)

	// With a server that follows them.
	task = l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.ok(l.admin.ModifyDN(goldap.NewModifyDNRequest(personDN(task.Holder), "uid=moved", true, "")))
	l.put(groupDN("reader"), "uid=moved,"+people)
	l.take(groupDN("reader"), personDN(task.Holder))
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("%+v, %v", reading, err)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	if l.member(groupDN("reader"), "uid=moved,"+people) {
		t.Error("the one who was renamed is still a member")
	}
	l.gone(task)
}

func TestANameThatBecameSomebodyElsesIsNotTaken(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.ok(l.admin.Del(goldap.NewDelRequest(personDN(task.Holder), nil)))
	l.add(personDN(task.Holder), "inetOrgPerson", "cn", "Another Kim", "sn", "Kim")
	l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "somebody else's")
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("it passes for gone: %+v, %v", reading, err)
	}
	l.take(groupDN("reader"), personDN(task.Holder))
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestTheLastMemberIsReplacedByNobody(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.take(groupDN("reader"), nobody)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
	if members := l.value(groupDN("reader"), "member"); len(members) != 1 || members[0] != marks {
		t.Errorf("the members are %v", members)
	}
	for _, item := range l.list(task) {
		if item.Principal == marks {
			t.Errorf("nobody stands in the list: %+v", item)
		}
	}
	l.ok(l.hands.Apply(t.Context(), l.task()))
}

func TestAGroupThatWasMadeAnewIsNotTheOne(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.ok(l.admin.Del(goldap.NewDelRequest(groupDN("reader"), nil)))
	l.add(groupDN("reader"), "groupOfNames", "member", personDN(task.Holder))
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present || !strings.Contains(reading.How, "made anew") {
		t.Errorf("%+v, %v", reading, err)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	if !l.member(groupDN("reader"), personDN(task.Holder)) {
		t.Error("what others gave in the new group was taken")
	}
}

func TestAnEntryWithoutOurMarkIsNotTouched(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.plant(task)
	l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "not touched")
	l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "nothing is touched")
	if !l.may(task) {
		t.Error("it was changed")
	}
}

func TestOnASocketTheAccountIsThatOfTheProcessAndMayNotDoMoreThanItWasGiven(t *testing.T) {
	l := newLab(t)
	hands, err := ldap.New(ldap.Options{
		Name: "local", URL: "ldapi://" + l.server.Socket, People: people, Groups: groups, Marks: marks,
		HolderAttribute: "employeeNumber", MemberAttribute: "member", Vault: l.vault, Clock: l.clock,
	})
	l.ok(err)
	task := l.task()
	plan, err := hands.Plan(t.Context(), task)
	if err != nil || !strings.Contains(plan.Effect, personDN(task.Holder)) {
		t.Errorf("%q, %v", plan.Effect, err)
	}
	l.fails(hands.Apply(t.Context(), task), connector.Rejected, "Insufficient Access Rights")
	l.gone(task)
}

func TestTheServersCertificateIsJudgedByTheFileOfTheConnector(t *testing.T) {
	l := newLab(t)
	for _, way := range []struct {
		url      string
		startTLS bool
	}{{l.server.Secure, false}, {l.server.Plain, true}} {
		task := l.task()
		for _, roots := range []*x509.CertPool{x509.NewCertPool(), nil, l.server.Roots} {
			options := l.hands.Options
			options.URL, options.StartTLS, options.Roots = way.url, way.startTLS, roots
			hands, err := ldap.New(options)
			l.ok(err)
			if err := hands.Apply(t.Context(), task); roots == l.server.Roots {
				l.ok(err)
				l.ok(hands.Revoke(t.Context(), task))
			} else {
				l.fails(err, connector.Transient, "certificate signed by unknown authority")
			}
		}
		l.gone(task)
	}
	elsewhere := l.hands.Options
	elsewhere.URL, elsewhere.Roots = strings.Replace(l.server.Secure, "127.0.0.1", "localhost", 1), l.server.Roots
	hands, err := ldap.New(elsewhere)
	l.ok(err)
	_, err = hands.Plan(t.Context(), l.task())
	l.fails(err, connector.Transient, "localhost")
}

func TestWhatTheAccountIsNotShownDoesNotPassForGone(t *testing.T) {
	l := newLab(t)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.add("ou=hidden,"+ldaptest.Suffix, "organizationalUnit")
	for _, hide := range []func(*ldap.Options){
		func(o *ldap.Options) { o.Marks = "ou=hidden," + ldaptest.Suffix },
		func(o *ldap.Options) { o.Groups = "ou=hidden," + ldaptest.Suffix },
	} {
		options := l.hands.Options
		hide(&options)
		hands, err := ldap.New(options)
		l.ok(err)
		l.fails(hands.Revoke(t.Context(), task), connector.Rejected, "no entry ou=hidden")
		if err := hands.List(t.Context(), connector.Scope{System: task.System}, func(connector.Item) error { return nil }); err == nil {
			t.Error("what is hidden has a list")
		}
		if reading, err := hands.VerifyGone(t.Context(), task); err == nil && !reading.Present {
			t.Errorf("it passes for gone: %+v", reading)
		}
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}
