package openbao_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/openbao"
	"github.com/countersign/countersign/connector/openbao/openbaotest"
	"github.com/countersign/countersign/target/vault"
)

// both runs the test for leases and for secret ids.
func both(t *testing.T, test func(l *lab)) {
	for _, gives := range []openbao.Gives{openbao.Lease, openbao.SecretID} {
		t.Run(string(gives), func(t *testing.T) { test(newLab(t, gives)) })
	}
}

func TestAnAnswerThatIsLostLeavesOneCredential(t *testing.T) {
	for gives, questions := range map[openbao.Gives][]string{
		openbao.Lease:    {"POST /v1/auth/token/create/", "GET /v1/invoices/creds/reader", "POST /v1/sys/leases/renew/"},
		openbao.SecretID: {"/role-id", "/secret-id HTTP"},
	} {
		for _, question := range questions {
			t.Run(question, func(t *testing.T) {
				l := newLab(t, gives)
				task := l.task()
				l.line.CutAfter(question)
				l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
				again := task
				again.Attempt = 2
				l.ok(l.hands.Apply(t.Context(), again))
				if leases := len(l.server.Leases()); !l.works(task) || gives == openbao.Lease && leases != 1 {
					t.Errorf("there are %d leases, and it works: %v", leases, l.works(task))
				}
				l.ok(l.hands.Revoke(t.Context(), task))
				if question == "POST /v1/auth/token/create/" {
					// Nobody knows the token whose answer was lost: it was never used, and ends by itself.
					l.clock.Advance(time.Hour)
				}
				l.gone(task)
			})
		}
	}
}

func TestWhatWasAskedForAndNeverToldIsTakenAwayByItsRevoke(t *testing.T) {
	for gives, question := range map[openbao.Gives]string{openbao.Lease: "GET /v1/invoices/creds/reader", openbao.SecretID: "/secret-id HTTP"} {
		l := newLab(t, gives)
		task := l.task()
		l.line.CutAfter(question)
		l.fails(l.hands.Apply(t.Context(), task), connector.Transient, "did not answer")
		if l.server.Given(string(task.Credential)) != 1 {
			t.Fatal("nothing was made")
		}
		l.there(task, string(task.Credential))
		if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present {
			t.Errorf("what nobody can read passes for given: %+v, %v", reading, err)
		}
		l.ok(l.hands.Revoke(t.Context(), task))
		l.gone(task)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, "revoked")
	}
}

func TestARevokeWhoseAnswerIsLostIsFoundDone(t *testing.T) {
	for gives, questions := range map[openbao.Gives][]string{openbao.Lease: {"/sys/leases/revoke/", "/auth/token/revoke-accessor"}, openbao.SecretID: {"/destroy"}} {
		for _, question := range questions {
			l := newLab(t, gives)
			task := l.task()
			l.ok(l.hands.Apply(t.Context(), task))
			l.line.CutAfter(question)
			l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "did not answer")
			l.ok(l.hands.Revoke(t.Context(), task))
			l.gone(task)
		}
	}
}

func TestAServerThatIsDownSealedOrAStandbyIsTriedUntilItIsBack(t *testing.T) {
	both(t, func(l *lab) {
		task := l.task()
		l.ok(l.hands.Apply(l.t.Context(), task))
		for says, away := range map[string]func(bool){
			"did not answer": l.line.SetDown, "sealed": l.server.SetSealed,
			"did not do it":           func(away bool) { l.server.SetStandby(map[bool]string{true: "https://127.0.0.1:1"}[away]) },
			"is not followed":         func(away bool) { l.server.SetStandby(map[bool]string{true: "http://192.0.2.1:8200"}[away]) },
			"the OpenBao server asks": l.server.SetThrottled,
		} {
			kind := connector.Transient
			if says == "the OpenBao server asks" {
				kind = connector.Throttled
			}
			if says == "did not do it" {
				says = "did not answer"
			}
			away(true)
			l.fails(l.hands.Revoke(l.t.Context(), l.later(task)), kind, says)
			if _, err := l.hands.VerifyGone(l.t.Context(), task); err == nil {
				l.t.Errorf("%s: it reads back", says)
			}
			_, err := l.hands.Plan(l.t.Context(), l.task())
			l.fails(err, kind, says)
			away(false)
		}
		l.ok(l.hands.Revoke(l.t.Context(), l.later(task)))
		l.gone(task)
	})
}

func TestAStandbyLeadsToTheActiveServer(t *testing.T) {
	l := newLab(t, openbao.Lease)
	standby := openbaotest.New(t, l.clock)
	standby.SetStandby("http://" + l.server.Address())
	options := l.options
	options.Address = "http://" + standby.Address()
	hands, err := openbao.New(options)
	l.ok(err)
	task := l.task()
	l.ok(hands.Apply(t.Context(), task))
	if !l.works(task) {
		t.Error("it does not work")
	}
	l.ok(hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestALeaseThatTheServerGaveUpIsNotGone(t *testing.T) {
	l := newLab(t, openbao.Lease)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	if !l.works(task) { // before the vault forgets the secret
		t.Error("it does not work")
	}
	l.server.SetBroken("invoices", "dial tcp 192.0.2.7:5432: connect: connection refused")
	l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "could not take the lease back")
	l.there(task, "there until")
	// Its end comes, and the server's six tries are used up.
	l.clock.Advance(time.Hour)
	if given := l.server.Irrevocable(); len(given) != 1 {
		t.Fatalf("irrevocable are %v", given)
	}
	l.there(task, "irrevocable: the server gave up taking it away (out of retries: failed to revoke entry: resp: (*logical.Response)(nil) err: dial tcp 192.0.2.7:5432")
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present {
		t.Errorf("it passes for what was asked: %+v, %v", reading, err)
	}
	l.fails(l.hands.Revoke(t.Context(), l.later(task)), connector.Transient, "connection refused")
	if !l.works(task) || len(l.server.Leases()) != 1 {
		t.Error("the account is gone, so this test shows nothing")
	}
	l.server.SetBroken("invoices", "")
	l.ok(l.hands.Revoke(t.Context(), l.later(task)))
	l.gone(task)
}

func TestARevokeThatIsQueuedIsNotGone(t *testing.T) {
	l := newLab(t, openbao.Lease)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.SetQueueing(true)
	l.fails(l.hands.Revoke(t.Context(), task), connector.Transient, "has the lease still")
	l.there(task, "in a queue")
	l.server.SetQueueing(false)
	l.ok(l.hands.Revoke(t.Context(), task))
	l.gone(task)
}

func TestAnotherServerThatDoesNotKnowItProvesNothing(t *testing.T) {
	both(t, func(l *lab) {
		task := l.task()
		l.ok(l.hands.Apply(l.t.Context(), task))
		moved := l.options
		moved.Namespace = "team-b"
		elsewhere, err := openbao.New(moved)
		l.ok(err)
		l.fails(elsewhere.Revoke(l.t.Context(), task), connector.Transient, "another OpenBao cluster or namespace")
		l.server.SetCluster("a3c1f0de-5f8a-4d8e-8a51-0d4dfb1f9a77")
		_, err = l.hands.VerifyGone(l.t.Context(), task)
		l.fails(err, connector.Transient, "another OpenBao cluster or namespace")
	})
}

func TestWhatIsGivenOutlivesTheConnectorsToken(t *testing.T) {
	both(t, func(l *lab) {
		task := l.task()
		l.ok(l.hands.Apply(l.t.Context(), task))
		l.server.RevokeToken(token)
		if !l.works(task) {
			l.t.Error("it ended with the connector's token")
		}
		l.fails(l.hands.Revoke(l.t.Context(), task), connector.Transient, "refuses the token")
		// The agent puts another one in its place.
		l.options.Token = func() (countersign.Secret, error) { return countersign.NewSecret("s.another"), nil }
		l.server.AddToken(openbaotest.Token{ID: "s.another", Policies: []string{"countersign", "countersign-secret-ids"}})
		hands, err := openbao.New(l.options)
		l.ok(err)
		l.ok(hands.Revoke(l.t.Context(), task))
		reading, err := hands.VerifyGone(l.t.Context(), task)
		if err != nil || reading.Present {
			l.t.Errorf("it is not gone: %+v, %v", reading, err)
		}
	})
}

func TestLessThanAskedIsRefusedAndNothingIsLeft(t *testing.T) {
	for says, change := range map[string]func(l *lab){
		"max_ttl of invoices/roles/reader is 900 s": func(l *lab) {
			l.server.SetRole("invoices", "reader", openbaotest.Role{Default: time.Minute, Longest: 15 * time.Minute})
		},
		"for 600 s, and 3600 s": func(l *lab) {
			l.server.SetRole("invoices", "reader", openbaotest.Role{Default: 10 * time.Minute, Fixed: true})
		},
		"live 1800 s at most":            func(l *lab) { l.server.SetLongest(30 * time.Minute) },
		"no lease that could be revoked": func(l *lab) { l.server.SetRole("invoices", "reader", openbaotest.Role{NoLease: true}) },
		`has no role "writer"`:           func(*lab) {},
		"may not read nowhere/creds/reader": func(l *lab) {
			l.server.SetPolicy(l.t, "countersign", strings.ReplaceAll(policies(l.t)["countersign"], "database/creds", "nowhere/creds"))
		},
		`no engine is mounted at "databases"`: func(l *lab) {
			l.server.SetPolicy(l.t, "countersign", policies(l.t)["countersign"]+"path \"databases/roles/*\" { capabilities = [\"read\"] }\n")
		},
		`"../sys" is not where an engine`:       func(*lab) {},
		`"reader/../admin" is not the name of`:  func(*lab) {},
		`the connector bao has no setting "ttl`: func(*lab) {},
	} {
		t.Run(says, func(t *testing.T) {
			l := newLab(t, openbao.Lease)
			change(l)
			task := l.task()
			switch {
			case strings.Contains(says, "writer"):
				task.Entitlement = "writer"
			case strings.Contains(says, "nowhere"):
				task.Resource = "nowhere"
			case strings.Contains(says, "databases"):
				task.Resource = "databases"
			case strings.Contains(says, "../sys"):
				task.Resource = "../sys"
			case strings.Contains(says, "../admin"):
				task.Entitlement = "reader/../admin"
			case strings.Contains(says, "setting"):
				task.Settings = map[string]string{"ttl": "1h"}
			}
			l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
			l.gone(task)
		})
	}
}

func TestARoleWhoseTokensOutliveWhatTheHouseCountsWithIsRefused(t *testing.T) {
	for says, role := range map[string]openbaotest.AppRole{
		"live up to 1260 s":              {ID: "id", TokenMaxTTL: 21 * time.Minute},
		"live up to 0 s":                 {ID: "id"},
		"set token_period=0":             {ID: "id", TokenMaxTTL: time.Minute, TokenPeriod: time.Minute},
		"without a secret id":            {ID: "id", TokenMaxTTL: time.Minute, NoSecretID: true},
		"secret_id_ttl of":               {ID: "id", TokenMaxTTL: time.Minute, SecretIDTTL: time.Minute},
		"has no role auth/invoices/role": {},
	} {
		l := newLab(t, openbao.SecretID)
		l.server.SetAppRole("invoices", "reader", role)
		task := l.task()
		_, err := l.hands.Plan(t.Context(), task)
		l.fails(err, connector.Rejected, says)
		l.fails(l.hands.Apply(t.Context(), task), connector.Rejected, says)
		if l.server.Given(string(task.Credential)) != 0 {
			t.Errorf("%s: a secret id was made", says)
		}
	}
}

func TestWhatTheConnectorCouldNotTakeBackIsNotGiven(t *testing.T) {
	both(t, func(l *lab) {
		l.server.SetPolicy(l.t, "countersign", policies(l.t)["countersign"])
		l.server.SetPolicy(l.t, "countersign-secret-ids", strings.Replace(policies(l.t)["countersign-secret-ids"], "accessor/destroy", "accessor/elsewhere", 1)+
			"path \"auth/invoices/role/+\" { capabilities = [\"read\"] }\npath \"auth/invoices/role/+/secret-id\" { capabilities = [\"update\"] }\npath \"auth/invoices/role/+/secret-id-accessor/lookup\" { capabilities = [\"update\"] }\n")
		task, says := l.task(), map[openbao.Gives]string{openbao.Lease: "may not update sys/leases/revoke/invoices/creds/reader", openbao.SecretID: "reader/secret-id-accessor/destroy"}[l.options.Gives]
		_, err := l.hands.Plan(l.t.Context(), task)
		l.fails(err, connector.Rejected, says)
		l.fails(l.hands.Apply(l.t.Context(), task), connector.Rejected, says)
		l.gone(task)
	})
}

func TestWhatWasTakenAwayByHandIsSeen(t *testing.T) {
	l := newLab(t, openbao.SecretID)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	l.server.SetAppRole("invoices", "reader", openbaotest.AppRole{})
	l.gone(task)
	l.ok(l.hands.Revoke(t.Context(), task))

	l = newLab(t, openbao.Lease)
	task = l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	held := l.works(task)
	l.server.SetQueueing(true)
	for _, lease := range l.server.Leases() {
		// Its token goes, and its own revoke waits.
		l.there(task, lease)
	}
	l.server.RevokeToken("s.fake000001")
	if reading, err := l.hands.Verify(t.Context(), task); err != nil || reading.Present || !held || !strings.Contains(reading.How, "its token was revoked") {
		t.Errorf("%+v, %v", reading, err)
	}
	l.server.SetQueueing(false)
	l.gone(task)
}

func TestALeaseIsRenewedUpToTheEndAndNoFurther(t *testing.T) {
	l := newLab(t, openbao.Lease)
	task := l.task()
	l.ok(l.hands.Apply(t.Context(), task))
	extended := l.later(task)
	extended.Intent, extended.Until = l.mint.Intent(), task.Until.Add(2*countersign.Hour)
	// Lost between the server and the vault, it is moved again.
	l.line.CutAfter("POST /v1/sys/leases/renew/")
	l.fails(l.hands.Apply(t.Context(), extended), connector.Transient, "did not answer")
	extended.Attempt = 2
	l.ok(l.hands.Apply(t.Context(), extended))
	l.clock.Advance(3*time.Hour - time.Second)
	if reading, err := l.hands.Verify(t.Context(), extended); err != nil || !reading.Present || reading.Until != extended.Until || !l.works(extended) {
		t.Errorf("%+v, %v", reading, err)
	}
	l.clock.Advance(time.Second)
	l.gone(extended)
	if given := l.server.Given(string(task.Credential)); given != 1 {
		t.Errorf("%d leases were given", given)
	}
	tooLong := l.task()
	l.ok(l.hands.Apply(t.Context(), tooLong))
	tooLong.Intent, tooLong.Until = l.mint.Intent(), tooLong.Until.Add(48*countersign.Hour)
	l.fails(l.hands.Apply(t.Context(), tooLong), connector.Rejected, "ask for a new credential")
}

// interrupted is a vault in which somebody revokes just before a secret is deposited.
type interrupted struct {
	*vault.Vault
	task connector.Task
}

func (i *interrupted) Deposit(ctx context.Context, order vault.Order, secret countersign.Secret) error {
	if err := i.Revoke(ctx, i.task.Credential, 0); err != nil {
		return err
	}
	return i.Vault.Deposit(ctx, order, secret)
}

func TestWhatIsMadeWhileItIsRevokedIsTakenAway(t *testing.T) {
	both(t, func(l *lab) {
		task := l.task()
		l.options.Vault = &interrupted{Vault: l.vault, task: task}
		late, err := openbao.New(l.options)
		l.ok(err)
		l.fails(late.Apply(l.t.Context(), task), connector.Rejected, "revoked")
		l.ok(l.hands.Revoke(l.t.Context(), task))
		l.gone(task)
		if l.server.Given(string(task.Credential)) != 1 {
			l.t.Error("nothing was made, so this test shows nothing")
		}
	})
}

// slow is a vault that answers only once the deadline of every operation has passed.
type slow struct {
	*vault.Vault
	lab *lab
}

func (s *slow) Reserve(ctx context.Context, order vault.Order) error {
	s.lab.clock.Advance(2 * time.Minute)
	return s.Vault.Reserve(ctx, order)
}

func TestNothingIsWrittenOnceTheDeadlineHasPassedWhileThePlaceWasKept(t *testing.T) {
	both(t, func(l *lab) {
		task := l.task()
		l.options.Vault = &slow{l.vault, l}
		late, err := openbao.New(l.options)
		l.ok(err)
		if err := late.Apply(l.t.Context(), task); err == nil {
			l.t.Error("an apply after the deadline reports success")
		}
		for _, write := range []string{"POST /v1/auth/token/revoke-accessor", "GET /v1/invoices/creds/", "/secret-id HTTP"} {
			if l.line.Asked(write) > 0 {
				l.t.Errorf("%s was asked after the deadline", write)
			}
		}
		l.ok(l.hands.Apply(l.t.Context(), l.later(task)))
		if !l.works(task) {
			l.t.Error("it does not work")
		}
	})
}

func TestTwoHousesProcessesAtOnceLeaveOneCredential(t *testing.T) {
	both(t, func(l *lab) {
		another, err := openbao.New(l.options)
		l.ok(err)
		task := l.task()
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				hands := l.hands
				if i%2 == 1 {
					hands = another
				}
				// One of them may be told that the other is at it; what counts is what is there.
				_ = hands.Apply(l.t.Context(), task)
			})
		}
		group.Wait()
		again := task
		again.Attempt = 2
		l.ok(l.hands.Apply(l.t.Context(), again))
		if leases := len(l.server.Leases()); !l.works(task) || leases > 1 {
			l.t.Errorf("there are %d leases, and it works: %v", leases, l.works(task))
		}
		l.ok(l.hands.Revoke(l.t.Context(), task))
		l.gone(task)
	})
}

func TestATokenIsCheckedForWhatItLacksAndWhatIsTooMuch(t *testing.T) {
	both(t, func(l *lab) {
		l.ok(l.hands.Check(l.t.Context()))
		l.server.SetPolicy(l.t, "more", "path \"sys/policies/acl/*\" { capabilities = [\"create\", \"update\"] }\n"+
			"path \"auth/token/lookup-self\" { capabilities = [\"read\"] }\npath \"sys/capabilities-self\" { capabilities = [\"update\"] }\n")
		fine := map[openbao.Gives]string{openbao.Lease: "countersign", openbao.SecretID: "countersign-secret-ids"}[l.options.Gives]
		for says, held := range map[string]openbaotest.Token{
			"root token":                               {Policies: []string{"root"}},
			"may write sys/policies/acl/countersign":   {Policies: []string{fine, "more"}, Period: time.Hour, Renewable: true},
			"is a batch token":                         {Policies: []string{fine}, Expires: l.clock.Now().Add(time.Hour), Batch: true},
			"cannot be renewed":                        {Policies: []string{fine}, Expires: l.clock.Now().Add(time.Hour)},
			"may not update auth/token/create/":        {Policies: []string{"more"}, Period: time.Hour, Renewable: true},
			"looking up the token: the OpenBao server": {Policies: []string{"nothing"}},
		} {
			if l.options.Gives == openbao.SecretID && strings.Contains(says, "may not update") {
				continue
			}
			held.ID = token
			l.server.AddToken(held)
			if err := l.hands.Check(l.t.Context()); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), token) {
				l.t.Errorf("got %v, want %q", err, says)
			}
		}
		l.server.SetSealed(true)
		if err := l.hands.Check(l.t.Context()); err == nil || !strings.Contains(err.Error(), "unseal it") {
			l.t.Errorf("a sealed server: %v", err)
		}
	})
}

func TestOptionsThatWouldSendTheTokenInClearOrMissSomethingAreRefused(t *testing.T) {
	good := openbao.Options{Name: "bao", Gives: openbao.Lease, Address: "https://bao.example:8200", TokenRole: "countersign"}
	if _, err := openbao.New(good); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*openbao.Options){
		"in clear":             func(o *openbao.Options) { o.Address = "http://bao.example:8200" },
		"not the address":      func(o *openbao.Options) { o.Address = "bao.example:8200" },
		"https://bao.example:": func(o *openbao.Options) { o.Address = "https://bao.example:8200/v1" },
		"token role":           func(o *openbao.Options) { o.TokenRole = "" },
		"only leases":          func(o *openbao.Options) { o.Gives = openbao.SecretID },
		"how long tokens":      func(o *openbao.Options) { o.Gives, o.TokenRole = openbao.SecretID, "" },
		"lease or secret-id":   func(o *openbao.Options) { o.Gives = "all" },
	} {
		options := good
		change(&options)
		if _, err := openbao.New(options); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
