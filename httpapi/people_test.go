package httpapi_test

import (
	"net/http"
	"testing"
	"time"
)

func TestADelegationIsPutListedAndTakenBack(t *testing.T) {
	w := newWorld(t)
	draft := object{"to": "nadia.haddad", "ends": w.clock.Now().Add(72 * time.Hour).UTC().Format(time.RFC3339), "reason": "on holiday"}
	type list struct {
		Delegations []struct {
			ID      string
			To      struct{ Login string }
			InForce bool `json:"in_force"`
		}
	}
	var mine list
	w.call("anna.kowalski", "POST", "/api/v1/delegations", draft).want(http.StatusOK, &mine)
	if len(mine.Delegations) != 1 || mine.Delegations[0].To.Login != "nadia.haddad" || !mine.Delegations[0].InForce {
		t.Fatalf("the list is %+v", mine)
	}
	draft["to"] = "anna.kowalski"
	w.call("anna.kowalski", "POST", "/api/v1/delegations", draft).refused(http.StatusBadRequest, "to-oneself")
	end := "/api/v1/delegations/" + mine.Delegations[0].ID + "/end"
	w.call("nadia.haddad", "POST", end, nil).refused(http.StatusNotFound, "no-such-delegation")
	w.call("anna.kowalski", "POST", end, nil).want(http.StatusOK, &mine)
	w.call("anna.kowalski", "POST", end, nil).refused(http.StatusConflict, "already-ended")
	var others list
	w.call("mina.park", "GET", "/api/v1/delegations", nil).want(http.StatusOK, &others)
	if mine.Delegations[0].InForce || len(others.Delegations) != 0 {
		t.Errorf("after its end: %+v, and another sees %+v", mine, others)
	}
}

func TestAPersonIsSuspendedAndReactivatedByDifferentPeople(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/identities/mina.park/"
	var mina struct{ Status string }
	w.call("ben.adeyemi", "POST", path+"suspend", object{"reason": "she leaves"}).refused(http.StatusForbidden, "not-entitled-to-suspend")
	w.call("keiko.mori", "POST", path+"suspend", object{"reason": "she leaves", "leaver": true}).want(http.StatusOK, &mina)
	if mina.Status != "suspended" {
		t.Fatalf("she is %s", mina.Status)
	}
	w.call("keiko.mori", "POST", path+"reactivate", object{"reason": "she stays"}).refused(http.StatusForbidden, "separation-of-duties")
	w.call("mara.lindqvist", "POST", path+"reactivate", object{"reason": "she stays"}).want(http.StatusOK, &mina)
	if mina.Status != "active" {
		t.Fatalf("she is %s", mina.Status)
	}
}

func TestMachinesAreListedWithWhoAnswersForThem(t *testing.T) {
	w := newWorld(t)
	var page struct {
		Machines []struct {
			Identity struct {
				Login     string
				Ownership struct{ State string }
			}
			Flags []string
		}
		Next string
	}
	w.call("laura.schmidt", "GET", "/api/v1/machines?limit=1", nil).want(http.StatusOK, &page)
	if len(page.Machines) != 1 || page.Machines[0].Identity.Login != "svc-billing" || page.Machines[0].Identity.Ownership.State == "" || page.Machines[0].Flags == nil {
		t.Errorf("her machines are %+v", page)
	}
	w.call("laura.schmidt", "GET", "/api/v1/machines?flag=unknown", nil).refused(http.StatusBadRequest, "malformed-parameter")
	w.call("laura.schmidt", "GET", "/api/v1/machines?cursor=x", nil).refused(http.StatusBadRequest, "malformed-cursor")
	w.call("laura.schmidt", "POST", "/api/v1/systems/wiki/confirm", object{"reason": "it is ours"}).refused(http.StatusForbidden, "not-the-owner")
	var wiki struct {
		Owner         struct{ Login string }
		LastConfirmed string `json:"last_confirmed"`
		Ownership     struct{ State string }
	}
	w.call("laura.schmidt", "GET", "/api/v1/systems/wiki", nil).want(http.StatusOK, &wiki)
	w.call(wiki.Owner.Login, "POST", "/api/v1/systems/wiki/confirm", object{"reason": "it is ours"}).want(http.StatusOK, &wiki)
	if wiki.LastConfirmed == "" || wiki.Ownership.State != "confirmed" {
		t.Errorf("the wiki is %+v", wiki)
	}
}

func TestAMachineIsOfferedAndAccepted(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/identities/svc-billing/"
	var billing struct {
		Owner     struct{ Login string }
		OfferedTo struct{ Login string } `json:"offered_to"`
	}
	w.call("laura.schmidt", "POST", path+"offer", object{"to": "peter.novak", "reason": "I change the team"}).want(http.StatusOK, &billing)
	if billing.Owner.Login != "laura.schmidt" || billing.OfferedTo.Login != "peter.novak" {
		t.Fatalf("it is %+v", billing)
	}
	w.call("laura.schmidt", "POST", path+"accept", object{"reason": "so it is"}).refused(http.StatusForbidden, "separation-of-duties")
	w.call("peter.novak", "POST", path+"accept", object{"reason": "I take it"}).want(http.StatusOK, &billing)
	if billing.Owner.Login != "peter.novak" {
		t.Errorf("it is %+v", billing)
	}
}

func TestAPackageForManyIsAskedForAtOnce(t *testing.T) {
	w := newWorld(t)
	var batch struct {
		ID              string
		Done            bool
		Opened, Refused int
		Items           []struct{ Request, Because string }
	}
	asking := object{"beneficiaries": []string{"mina.park", "leo.martin", "quinn.taylor"}, "entitlements": []string{"wiki/pages/editor"}, "reason": "they write the handbook"}
	w.call("keiko.mori", "POST", "/api/v1/batches", asking, "Idempotency-Key", "many").want(http.StatusAccepted, &batch)
	first := batch.ID
	w.call("keiko.mori", "POST", "/api/v1/batches", asking, "Idempotency-Key", "many").want(http.StatusAccepted, &batch)
	if batch.ID != first {
		t.Fatal("the same asking became two batches")
	}
	w.settle()
	w.call("keiko.mori", "GET", "/api/v1/batches/"+batch.ID, nil).want(http.StatusOK, &batch)
	if !batch.Done || batch.Opened != 3 || len(batch.Items) != 3 {
		t.Errorf("the batch is %+v", batch)
	}
	w.call("ben.adeyemi", "GET", "/api/v1/batches/"+batch.ID, nil).refused(http.StatusNotFound, "no-such-batch")
	asking["beneficiaries"] = []string{"mina.prak"}
	w.call("keiko.mori", "POST", "/api/v1/batches", asking).refused(http.StatusBadRequest, "no-such-identity")
}

func TestAHoldThatRevokesIsTakenAsSuch(t *testing.T) {
	w := newWorld(t)
	var hold struct{ Revoke bool }
	w.call("mara.lindqvist", "POST", "/api/v1/holds", object{"on": "wiki", "reason": "it burns", "revoke": true}).want(http.StatusCreated, &hold)
	if !hold.Revoke {
		t.Error("the revoke is lost")
	}
	w.call("mara.lindqvist", "POST", "/api/v1/holds", object{"on": "wiki", "reason": "it burns", "revoke": "yes"}).refused(http.StatusBadRequest, "malformed-body")
}
