package httpapi_test

import (
	"net/http"
	"testing"
)

func TestWordsGoThroughTriageOverTheAPI(t *testing.T) {
	w := newWorld(t)
	var made struct {
		ID, State, Type string
		Priority        int
		ClassifiedBy    struct{ Login string } `json:"classified_by"`
		Phase           string
	}
	w.call("mina.park", "POST", "/api/v1/requests/describe", object{"text": "I have to write in the handbook.", "impact": "low", "urgency": "high"}).want(http.StatusOK, &made)
	if made.State != "triaging" || made.Phase != "triage" || made.Priority != 2 {
		t.Fatalf("it is %+v", made)
	}
	path := "/api/v1/requests/" + made.ID + "/"
	said := object{"entitlements": []string{"wiki/pages/editor"}}
	w.call("keiko.mori", "POST", path+"classify", said).refused(http.StatusNotFound, "no-such-request")
	w.call("mina.park", "POST", path+"classify", said).refused(http.StatusForbidden, "not-an-operator")
	w.call("rosa.delgado", "POST", path+"prioritise", object{"impact": "low", "urgency": "low"}).want(http.StatusOK, &made)
	var list struct{ Requests []struct{ ID string } }
	w.call("samir.nasser", "GET", "/api/v1/requests?state=triaging", nil).want(http.StatusOK, &list)
	if made.Priority != 4 || len(list.Requests) != 1 {
		t.Fatalf("it is %+v, and operators find %+v", made, list)
	}
	w.call("rosa.delgado", "POST", path+"classify", said).want(http.StatusOK, &made)
	if made.State != "deciding" || made.Type != "role-access" || made.ClassifiedBy.Login != "rosa.delgado" {
		t.Fatalf("it is %+v", made)
	}

	var other struct{ ID string }
	w.call("mina.park", "POST", "/api/v1/requests/describe", object{"text": "the handbook again"}).want(http.StatusOK, &other)
	w.call("rosa.delgado", "POST", "/api/v1/requests/"+other.ID+"/merge", object{"into": made.ID, "reason": "the same"}).want(http.StatusOK, &made)
	if made.State != "cancelled" {
		t.Errorf("the merged one is %s", made.State)
	}
	w.call("mina.park", "POST", "/api/v1/requests/describe", object{"text": "a better chair"}).want(http.StatusOK, &other)
	w.call("samir.nasser", "POST", "/api/v1/requests/"+other.ID+"/decline", object{"reason": "chairs are not access"}).want(http.StatusOK, &made)
	if made.State != "denied" {
		t.Errorf("the declined one is %s", made.State)
	}
}
