package house_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/target/registry"
)

// accountPolicy asks for a record that covers the scope, and the system's owner.
const accountPolicy = `
request: service-account
title: Service account
grants: {system: gateway, kind: credential}
beneficiary: [service]
ask:
  record: {type: string, format: system-record}
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 5}
evidence:
  - {name: system-record, kind: record, due: at-request, verified_by: directory, from: record, covers: true}
stages:
  - {name: system-owner, approvers: [owner-of(resource)], distinct_from: [requester, beneficiary], within: 2 business days}
fulfil: [registry.create-account]
grant: {ends: revoke}
close: {when: [gone]}
`

// withGateway adds a system whose accounts stand in the registry.
func withGateway(t *testing.T, open database) *world {
	t.Helper()
	w := empty(t, open)
	w.edit("records:\n", `  - name: gateway
    title: Gateway
    owner: otto
    environment: prod
    risk: low
    connector: registry
    resources: [{name: routes, title: Routes, entitlements: [{name: read, kind: credential}, {name: write, kind: credential}, {name: drop, kind: credential}]}]
records:
`)
	w.must(w.found(accountPolicy))
	w.settle()
	return w
}

func askingAccount(scope string) desk.Asking {
	return desk.Asking{
		Beneficiary: "svc", Entitlements: []string{"gateway/routes/" + scope}, Reason: "invoices follow the orders", Answers: json.RawMessage(`{"record":"SR-1"}`),
	}
}

// token exchanges client credentials; it returns the token or the error's code and
// description.
func (w *world) token(client countersign.CredentialID, secret countersign.Secret) (token, refusal string) {
	w.t.Helper()
	request := httptest.NewRequest("POST", registry.TokenPath, strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(string(client), secret.Reveal())
	recorder := httptest.NewRecorder()
	w.house.Registry.Public(func(*http.Request) {})[registry.TokenPath].ServeHTTP(recorder, request)
	var answer struct {
		Token       string `json:"access_token"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	w.must(json.Unmarshal(recorder.Body.Bytes(), &answer))
	if (recorder.Code == http.StatusOK) != (answer.Token != "") {
		w.t.Fatalf("the token endpoint answers %d %s", recorder.Code, recorder.Body)
	}
	return answer.Token, strings.TrimSpace(answer.Code + " " + answer.Description)
}

// gets checks that the account gets a token, or is refused with the words.
func (w *world) gets(client countersign.CredentialID, secret countersign.Secret, refused string) {
	w.t.Helper()
	token, refusal := w.token(client, secret)
	if (token != "") != (refused == "") || !strings.Contains(refusal, refused) {
		w.t.Fatalf("the token endpoint says %q, want %q", refusal, refused)
	}
}

// account takes a request for an account to its end and returns its credentials.
func (w *world) account() (countersign.RequestID, countersign.CredentialID, countersign.Secret) {
	w.t.Helper()
	id := w.submit("olga", askingAccount("read"))
	w.must(w.approve("otto", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	credential := w.grant(id).Credentials[0].ID
	secret, err := w.house.Vault.Read(w.ctx, w.as("svc").Identity, credential)
	w.must(err)
	w.gets(credential, secret, "")
	return id, credential, secret
}

func TestAServiceAccountIsAskedForWithAnOwnerAndARecordThatAllowsIt(t *testing.T) {
	w := withGateway(t, onSQLite(t))
	submit := func(who string, asked desk.Asking) error {
		_, err := w.house.Desk.Submit(w.ctx, w.as(who), desk.Key{}, asked)
		return err
	}
	w.refused(submit("ana", askingAccount("drop")), "record-does-not-cover")
	unknown := askingAccount("read")
	unknown.Answers = json.RawMessage(`{"record":"SR-9"}`)
	w.refused(submit("ana", unknown), "record-not-found")
	other := askingAccount("read")
	other.Answers = json.RawMessage(`{"record":"SR-2"}`)
	w.refused(submit("ana", other), "record-names-another-owner")
	w.apply("{login: olga, name: Olga Owner, email: olga@test.example, manager: max}", "{login: olga, name: Olga Owner, email: olga@test.example, manager: max, status: departed}")
	w.refused(submit("ana", askingAccount("read")), "unowned")
	w.verified()
}

func TestAServiceAccountWhoseOwnerLeavesIsSuspendedUntilSomebodyTakesItOver(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := withGateway(t, open)
		id, credential, secret := w.account()
		// Before the engine has done anything.
		w.apply("{login: olga, name: Olga Owner, email: olga@test.example, manager: max}", "{login: olga, name: Olga Owner, email: olga@test.example, manager: max, status: departed}")
		w.gets(credential, secret, "invalid_client this account is suspended: nobody active answers")
		view, err := w.house.Desk.Identity(w.ctx, "svc")
		w.must(err)
		if !view.Unowned {
			t.Error("it is not listed as unowned")
		}
		w.settle()
		w.restart()
		w.pass(time.Hour)
		w.gets(credential, secret, "invalid_client this account is suspended: nobody active answers")
		w.state(id, countersign.RequestActive)
		w.must(w.house.Desk.OfferOwnership(w.ctx, w.as("ana"), desk.Key{}, "svc", "", "nobody answers for it"))
		w.gets(credential, secret, "nobody active answers")
		w.must(w.house.Desk.AcceptOwnership(w.ctx, w.as("max"), desk.Key{}, "svc", "Olga left, and Ana knows it"))
		w.gets(credential, secret, "")
		w.settle()
		w.state(id, countersign.RequestActive)
		w.gets(credential, secret, "")
		w.verified()
	})
}

func TestAnEndedServiceAccountIsGoneOnceItsTokensHaveRunOut(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := withGateway(t, open)
		id, credential, secret := w.account()
		hold, err := w.house.Desk.Hold(w.ctx, w.as("olga"), desk.Key{}, "svc", "something is odd", false)
		w.must(err)
		w.gets(credential, secret, "invalid_client this account is under a hold")
		w.must(w.house.Desk.Lift(w.ctx, w.as("adam"), desk.Key{}, hold, "it was a drill"))
		w.gets(credential, secret, "")
		w.must(w.revocation("otto", w.grant(id).ID)())
		// Before the connector has run.
		w.gets(credential, secret, "invalid_client")
		w.settle()
		if state := w.grant(id).State; state != countersign.GrantRevoked {
			t.Fatalf("with tokens out, the grant is %s", state)
		}
		w.pass(registry.TokenLife.Duration())
		if state := w.grant(id).State; state != countersign.GrantGone {
			t.Fatalf("after the last token, the grant is %s", state)
		}
		w.state(id, countersign.RequestClosed)
		w.gets(credential, secret, "invalid_client this account has ended")
		w.verified()
	})
}

func TestAServiceAccountIsRotatedWithAnOverlap(t *testing.T) {
	w := withGateway(t, onSQLite(t))
	id, credential, secret := w.account()
	w.must(w.house.Desk.Rotate(w.ctx, w.as("olga"), desk.Key{}, w.grant(id).ID, countersign.Day, "it was shown in a meeting"))
	w.settle()
	var next countersign.CredentialID
	for _, one := range w.grant(id).Credentials {
		if one.ID != credential {
			next = one.ID
		}
	}
	fresh, err := w.house.Vault.Read(w.ctx, w.as("svc").Identity, next)
	w.must(err)
	w.gets(credential, secret, "")
	w.gets(next, fresh, "")
	w.pass(25 * time.Hour)
	w.gets(credential, secret, "invalid_client this account has ended")
	w.gets(next, fresh, "")
	w.verified()
}

func TestTheHouseRenewsTheKeyThatSignsTokensByItself(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := withGateway(t, open)
		w.account()
		published := func() (ids []string) {
			recorder := httptest.NewRecorder()
			w.house.Registry.Public(func(*http.Request) {})[registry.KeysPath].ServeHTTP(recorder, httptest.NewRequest("GET", registry.KeysPath, nil))
			var set struct {
				Keys []struct {
					ID string `json:"kid"`
				} `json:"keys"`
			}
			w.must(json.Unmarshal(recorder.Body.Bytes(), &set))
			for _, key := range set.Keys {
				ids = append(ids, key.ID)
			}
			return ids
		}
		first := published()
		w.pass(registry.KeyAge.Duration())
		both := published()
		if len(first) != 1 || len(both) != 2 || both[0] != first[0] {
			t.Fatalf("published are %v, and once the key is old %v", first, both)
		}
		// Each sweep takes one step: the next key takes over, and later its predecessor goes.
		w.pass((registry.KeysLife + registry.TokenLife).Duration())
		w.pass(time.Hour)
		if last := published(); len(last) != 1 || last[0] != both[1] {
			t.Errorf("published are %v at last, want the second of %v", last, both)
		}
		w.verified()
	})
}
