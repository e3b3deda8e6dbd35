package httpapi_test

import (
	"net/http"
	"testing"
)

// Meridian's agent over HTTP: what it asks for, what it may call, and what it is not
// offered.
func TestAnAgentAsksForToolsAndIsAnsweredForEachCall(t *testing.T) {
	w := newWorld(t)
	asking := func(entitlements ...string) object {
		return object{"entitlements": entitlements, "reason": "it sorts what came in", "answers": object{"task": "Sort the tickets of the weekend"}}
	}
	w.call("agent-triage", "POST", "/api/v1/requests", asking("tools/*/read")).refused(http.StatusBadRequest, "wildcard")
	w.call("agent-triage", "POST", "/api/v1/requests", asking("tools/tickets/read")).refused(http.StatusForbidden, "out-of-bounds")
	made := w.submit("agent-triage", asking("tools/search-articles/read"))
	w.call("samir.nasser", "POST", "/api/v1/requests/"+made.ID+"/consent", nil).want(http.StatusOK, nil)
	w.approve("rosa.delgado", made.ID).refused(http.StatusForbidden, "separation-of-duties")
	w.approve("ines.carvalho", made.ID).want(http.StatusOK, nil)
	w.settle()

	type decision struct {
		Decision bool
		Context  struct{ Reason string }
	}
	call := func(tool string, properties object) (answered decision) {
		t.Helper()
		w.call("svc-checkout", "POST", "/access/v1/evaluation", object{
			"subject": object{"type": "identity", "id": "agent-triage"}, "action": object{"name": "tools/call", "properties": properties},
			"resource": object{"type": "tool", "id": tool}, "context": object{"agent": "agent-triage"},
		}).want(http.StatusOK, &answered)
		return answered
	}
	if answered := call("search-articles", object{}); !answered.Decision {
		t.Errorf("the call that was granted: %+v", answered)
	}
	if answered := call("search-articles", object{"scope": "write"}); answered.Decision || answered.Context.Reason != "no-assignment" {
		t.Errorf("another scope: %+v", answered)
	}
	if answered := call("tickets", object{}); answered.Decision || answered.Context.Reason != "no-assignment" {
		t.Errorf("another tool: %+v", answered)
	}
	w.call("svc-checkout", "POST", "/access/v1/evaluation", object{
		"subject": object{"type": "identity", "id": "agent-triage"}, "action": object{"name": "tools/call", "properties": object{"scope": 7}},
		"resource": object{"type": "tool", "id": "tickets"},
	}).want(http.StatusBadRequest, nil)

	w.call("mara.lindqvist", "POST", "/api/v1/holds", object{"on": "rosa.delgado", "reason": "her laptop was stolen"}).want(http.StatusCreated, nil)
	if answered := call("search-articles", object{}); answered.Decision || answered.Context.Reason != "stopped" {
		t.Errorf("the sponsor is under a hold: %+v", answered)
	}
	var types struct {
		Types []struct {
			Name  string
			Terms struct {
				BoundedBy []struct {
					Who   string
					Holds []string
				} `json:"bounded_by"`
			}
		}
	}
	w.call("mina.park", "GET", "/api/v1/catalogue", nil).want(http.StatusOK, &types)
	for _, one := range types.Types {
		if one.Name == "agent-tools" && (len(one.Terms.BoundedBy) != 1 || one.Terms.BoundedBy[0].Who != "sponsor" || len(one.Terms.BoundedBy[0].Holds) != 2) {
			t.Errorf("the catalogue shows the bounds as %+v", one.Terms)
		}
	}
}
