package postgres_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/postgres"
)

// line is a way to the server that can be cut.
type line struct {
	*connectortest.Line
	url *url.URL
}

func (l *lab) line() line {
	l.t.Helper()
	host := l.server.Query().Get("host")
	if host == "" {
		l.t.Skip("the server of somebody else is not reached by a socket")
	}
	made := connectortest.NewLine(l.t, "unix", filepath.Join(host, ".s.PGSQL.5432"))
	way := *l.accountURL()
	way.Host, way.RawQuery = made.Address(), "sslmode=disable"
	return line{made, &way}
}

func (l *lab) fails(err error, kind connector.FailureKind, says string) {
	l.t.Helper()
	connectortest.Fails(l.t, err, kind, says, accountPassword)
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func eachGiving(t *testing.T, run func(t *testing.T, gives postgres.Gives, l *lab)) {
	for _, gives := range givings {
		t.Run(string(gives), func(t *testing.T) { run(t, gives, newLab(t, gives)) })
	}
}

func TestACommitWhoseAnswerIsLostIsFoundDoneAtTheNextTry(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		way := l.line()
		hands, task := l.connector(gives, way.url), l.task()
		l.person(task.Holder)
		way.CutAfter("commit")
		l.fails(hands.Apply(t.Context(), task), connector.Transient, "did not answer")
		again := task
		again.Attempt = 2
		l.ok(hands.Apply(t.Context(), again))
		if !l.may(gives, task) || l.writes(task) != 1 {
			t.Errorf("works %v after %d writes", l.may(gives, task), l.writes(task))
		}
		way.CutAfter("commit")
		l.fails(hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
		l.ok(hands.Revoke(t.Context(), task))
		if reading, err := hands.VerifyGone(t.Context(), task); err != nil || reading.Present {
			t.Errorf("after the second revoke: %+v, %v", reading, err)
		}
	})
}

func TestAServerThatIsDownForAnHourIsTriedUntilItIsBack(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		way := l.line()
		hands, task := l.connector(gives, way.url), l.task()
		l.person(task.Holder)
		l.ok(hands.Apply(t.Context(), task))
		way.SetDown(true)
		for range 2 {
			l.clock.Advance(time.Hour)
			task.Deadline = l.clock.Instant().Add(60)
			l.fails(hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
			if _, err := hands.VerifyGone(t.Context(), task); err == nil {
				t.Error("a server that is down reads back")
			}
		}
		way.SetDown(false)
		l.ok(hands.Revoke(t.Context(), task))
		if reading, err := hands.VerifyGone(t.Context(), task); err != nil || reading.Present || l.may(gives, task) {
			t.Errorf("%+v, %v", reading, err)
		}
	})
}

func TestWhatIsNotOfferedIsRefusedInThePlan(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		for entitlement, says := range map[string]string{
			"super": "CREATEDB", "hidden": "not offered", "pg_read_all_data": "not offered", "nowhere": "no role", l.account: "can log in",
		} {
			task := l.task()
			l.person(task.Holder)
			task.Entitlement = entitlement
			_, err := l.hands.Plan(t.Context(), task)
			l.fails(err, connector.Rejected, says)
			l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
		}
		task := l.task()
		l.person(task.Holder)
		task.Resource = "nowhere"
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, "no database")
		l.execute(l.admin, `REVOKE pg_signal_backend FROM `+l.account)
		_, err = l.hands.Plan(t.Context(), l.task())
		l.fails(err, connector.Rejected, "may not end sessions")
	})
}

func TestAChangeByHandBetweenPlanAndApplyIsSeen(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		task := l.task()
		l.person(task.Holder)
		_, err := l.hands.Plan(t.Context(), task)
		l.ok(err)
		l.execute(l.admin, `GRANT super TO auditor`)
		l.execute(l.admin, `GRANT auditor TO reader`)
		defer l.execute(l.admin, `REVOKE auditor FROM reader; REVOKE super FROM auditor`)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "CREATEDB (by the role super)")
	})
}

func TestARoleThatWasChangedByHandIsNotWhatWasAsked(t *testing.T) {
	for change, says := range map[string]string{
		`ALTER ROLE %s CREATEDB`:                       "CREATEDB",
		`GRANT auditor TO %s`:                          "memberships",
		`REVOKE reader FROM %s`:                        "memberships",
		`ALTER ROLE %s VALID UNTIL 'infinity'`:         "end was changed",
		`COMMENT ON ROLE %s IS 'mine'`:                 "did not make it",
		`GRANT reader TO %s WITH ADMIN OPTION`:         "ADMIN OPTION",
		`CREATE ROLE friend_%[1]s LOGIN IN ROLE %[1]s`: "members were changed",
		`DO $$ BEGIN EXECUTE 'ALTER ROLE %s RENAME TO moved_' || substr(md5(random()::text), 1, 20); END $$`: "was renamed to moved_",
	} {
		eachGiving(t, func(t *testing.T, _ postgres.Gives, l *lab) {
			task := l.task()
			l.person(task.Holder)
			l.ok(l.hands.Apply(t.Context(), task))
			l.execute(l.admin, strings.NewReplacer("%[1]s", string(task.Credential), "%s", string(task.Credential)).Replace(change))
			if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present || !strings.Contains(reading.How, says) {
				t.Errorf("%s: %+v, %v", change, reading, err)
			}
		})
	}
}

func TestALoginThatWasRenamedIsFoundByItsMarkAndDropped(t *testing.T) {
	l := newLab(t, postgres.Login)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	other := "other_" + string(task.Credential)
	l.execute(l.admin, `ALTER ROLE `+string(task.Credential)+` RENAME TO `+other)
	session, err := l.signIn(other, l.password(task))
	l.ok(err)
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("it passes for gone: %+v, %v", reading, err)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || reading.Present || session.Ping(t.Context()) == nil {
		t.Errorf("after the revoke: %+v, %v", reading, err)
	}
}

func TestARoleWithoutOurMarkIsNeverDropped(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		task := l.task()
		l.plant(gives, task)
		l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "not touched")
		if !l.may(gives, task) {
			t.Error("it was changed")
		}
	})
}

func TestARevokeEndsSessionsThatAreOpen(t *testing.T) {
	eachGiving(t, func(t *testing.T, gives postgres.Gives, l *lab) {
		task := l.task()
		login, password := l.person(task.Holder), "own"
		l.ok(l.hands.Apply(t.Context(), task))
		if gives == postgres.Login {
			login, password = string(task.Credential), l.password(task)
		}
		session, err := l.signIn(login, password)
		l.ok(err)
		l.execute(session, `SET ROLE reader`)
		at, err := l.hands.LastUsed(t.Context(), task.Credential)
		if inUse := err == nil && at != 0; inUse != (gives == postgres.Login) {
			t.Errorf("with an open session it was last used at %s: %v", at, err)
		}
		l.ok(l.hands.Revoke(t.Context(), task))
		if _, err := session.Exec(t.Context(), `SELECT count(*) FROM invoice`); err == nil {
			t.Error("the open session goes on")
		}
		if _, err := l.hands.LastUsed(t.Context(), task.Credential); err == nil {
			t.Error("without a session it can tell the last use")
		}
	})
}

func TestASessionOfALoginThatWasDroppedByHandIsNotGone(t *testing.T) {
	l := newLab(t, postgres.Login)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	session, err := l.signIn(string(task.Credential), l.password(task))
	l.ok(err)
	l.execute(l.admin, `DROP ROLE `+string(task.Credential))
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("it passes for gone: %+v, %v", reading, err)
	}
	l.ok(l.hands.Revoke(t.Context(), task))
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || reading.Present || session.Ping(t.Context()) == nil {
		t.Errorf("%+v, %v", reading, err)
	}
}

func TestALoginThatOwnsObjectsIsHarmlessAndAPersonIsToldWhatToDo(t *testing.T) {
	l := newLab(t, postgres.Login)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	session, err := l.signIn(string(task.Credential), l.password(task))
	l.ok(err)
	l.execute(session, `CREATE TABLE made_`+string(task.Credential)+` ()`)
	l.fails(l.hands.Revoke(t.Context(), task), connector.Rejected, "REASSIGN OWNED BY")
	if l.may(postgres.Login, task) || session.Ping(t.Context()) == nil {
		t.Error("it still works")
	}
	if reading, err := l.hands.VerifyGone(t.Context(), task); err != nil || !reading.Present {
		t.Errorf("it passes for gone: %+v, %v", reading, err)
	}
	l.execute(l.admin, `REASSIGN OWNED BY `+string(task.Credential)+` TO postgres; DROP OWNED BY `+string(task.Credential))
	l.ok(l.hands.Revoke(t.Context(), task))
}

func TestThePasswordIsRefusedAfterValidUntilByTheServerItself(t *testing.T) {
	l := newLab(t, postgres.Login)
	task := l.task()
	task.Until = l.clock.Instant().Add(4)
	l.ok(l.hands.Apply(t.Context(), task))
	password := l.password(task)
	if _, err := l.signIn(string(task.Credential), password); err != nil {
		t.Fatalf("before its end: %v", err)
	}
	// Each try takes its own time; the test's deadline bounds them.
	for {
		conn, err := l.signIn(string(task.Credential), password)
		if err != nil {
			break
		}
		l.ok(conn.Close(t.Context()))
	}
}
