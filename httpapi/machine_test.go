package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// Outside of a sample house this is the only way in for a machine.
func TestAMachineSignsInWithAKeyThatWasAskedForAndOnlyItsOwnerReadsIt(t *testing.T) {
	w := newWorld(t)
	made := w.submit("laura.schmidt", object{
		"beneficiary": "svc-billing", "entitlements": []string{"countersign-api/api/request"}, "reason": "it fetches its own keys",
		"duration": 30 * 86400, "answers": object{"purpose": "Reads its keys from the vault each night"},
	})
	w.approve("anna.kowalski", made.ID).want(http.StatusOK, nil)
	w.settle()
	grant := w.show("laura.schmidt", made.ID).Grants[0]
	read := "/targets/vault/secrets/" + grant.Credentials[0].ID + "/read"
	w.call("svc-billing", "POST", read, nil).want(http.StatusNotFound, nil)
	w.call("anna.kowalski", "POST", read, nil).want(http.StatusNotFound, nil)
	var secret struct{ Secret string }
	w.call("laura.schmidt", "POST", read, nil).want(http.StatusOK, &secret)

	w.tokens["the machine"] = countersign.NewSecret(secret.Secret)
	var me struct {
		Identity struct{ Login string }
		Token    struct {
			Scopes []string
			Issuer string
		}
	}
	w.call("the machine", "GET", "/api/v1/me", nil).want(http.StatusOK, &me)
	if me.Identity.Login != "svc-billing" || me.Token.Issuer != "vault" || len(me.Token.Scopes) != 2 {
		t.Errorf("the machine is %+v", me)
	}
	w.call("the machine", "GET", "/api/v1/requests", nil).want(http.StatusOK, nil)
	w.approveAs("the machine", made.ID).refused(http.StatusForbidden, "missing-scope")

	w.clock.Advance(30*24*time.Hour + time.Second)
	w.settle()
	w.call("the machine", "GET", "/api/v1/me", nil).refused(http.StatusUnauthorized, "token-unknown-or-expired")
}

func TestAKeyForAnotherSystemDoesNotOpenTheHouse(t *testing.T) {
	w := newWorld(t)
	made := w.submit("ben.adeyemi", keyAsking())
	w.call("laura.schmidt", "POST", "/api/v1/requests/"+made.ID+"/consent", nil).want(http.StatusOK, nil)
	for _, approver := range []string{"anna.kowalski", "nadia.haddad", "rahul.mehta"} {
		w.approve(approver, made.ID).want(http.StatusOK, nil)
	}
	w.settle()
	grant := w.show("ben.adeyemi", made.ID).Grants[0]
	var secret struct{ Secret string }
	w.call("svc-billing", "POST", "/targets/vault/secrets/"+grant.Credentials[0].ID+"/read", nil).want(http.StatusOK, &secret)
	w.tokens["the key"] = countersign.NewSecret(secret.Secret)
	w.call("the key", "GET", "/api/v1/me", nil).refused(http.StatusUnauthorized, "token-unknown-or-expired")
}

// approveAs sends a decision without looking at the request first.
func (w *world) approveAs(login, id string) *answer {
	w.t.Helper()
	return w.call(login, "POST", "/api/v1/requests/"+id+"/approve", object{"shown": "sha256:x"})
}
