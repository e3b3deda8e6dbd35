package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
)

func TestAnAPIKeyFromAskingToItsEnd(t *testing.T) {
	w := newWorld(t)
	var preview struct {
		Route     string
		ConsentOf struct{ Name string } `json:"consent_of"`
		Stages    []struct {
			Name  string
			Asked []struct{ Person struct{ Name string } }
		}
		Refusals []struct{ Reason string }
		Effects  []string
	}
	w.call("ben.adeyemi", "POST", "/api/v1/requests/preview", keyAsking()).want(http.StatusOK, &preview)
	if preview.ConsentOf.Name != "Laura Schmidt" || len(preview.Stages) != 2 || len(preview.Effects) != 1 || len(preview.Refusals) != 0 {
		t.Errorf("the preview is %+v", preview)
	}
	asking := keyAsking()
	asking["route"] = preview.Route
	made := w.submit("ben.adeyemi", asking)

	w.call("laura.schmidt", "POST", "/api/v1/requests/"+made.ID+"/consent", nil).want(http.StatusOK, nil)
	w.approve("ben.adeyemi", made.ID).refused(http.StatusForbidden, "separation-of-duties")
	for _, approver := range []string{"anna.kowalski", "nadia.haddad", "rahul.mehta"} {
		w.approve(approver, made.ID).want(http.StatusOK, nil)
	}
	w.settle()
	active := w.show("ben.adeyemi", made.ID)
	if active.State != "active" || len(active.Grants) != 1 || active.Grants[0].State != "live" {
		t.Fatalf("after all approvals the request is %+v", active)
	}

	// The service reads its key, once; nobody else can.
	read := "/targets/vault/secrets/" + active.Grants[0].Credentials[0].ID + "/read"
	w.call("ben.adeyemi", "POST", read, nil).want(http.StatusNotFound, nil)
	var secret struct{ Secret string }
	w.call("svc-billing", "POST", read, nil).want(http.StatusOK, &secret)
	w.call("svc-billing", "POST", read, nil).want(http.StatusGone, nil)
	works := func() bool {
		t.Helper()
		var introspection struct{ Active bool }
		form := url.Values{"token": {secret.Secret}}.Encode()
		w.call("svc-orders", "POST", "/targets/vault/introspect", form, "Content-Type", "application/x-www-form-urlencoded").want(http.StatusOK, &introspection)
		return introspection.Active
	}
	if !works() {
		t.Error("the key does not work")
	}
	grant := "/api/v1/grants/" + active.Grants[0].ID
	var rotated struct{ Credentials []struct{ State string } }
	w.call("ben.adeyemi", "POST", grant+"/rotate", object{"overlap": 3600}).want(http.StatusOK, &rotated)
	if len(rotated.Credentials) != 2 {
		t.Errorf("after a rotation there are %+v", rotated.Credentials)
	}
	w.settle()
	w.call("laura.schmidt", "POST", grant+"/revoke", object{"reason": "not needed any more"}).want(http.StatusOK, nil)
	if works() {
		t.Error("the key works after its revocation was answered")
	}
	w.settle()
	if closed := w.show("ben.adeyemi", made.ID); closed.State != "closed" {
		t.Errorf("in the end the request is %s", closed.State)
	}
	var timeline struct {
		Entries []struct{ Text string }
	}
	w.call("ben.adeyemi", "GET", "/api/v1/requests/"+made.ID+"/timeline", nil).want(http.StatusOK, &timeline)
	if len(timeline.Entries) < 10 {
		t.Errorf("the timeline has only %d entries", len(timeline.Entries))
	}
	if strings.Contains(w.log.String(), secret.Secret) || strings.Contains(w.log.String(), w.token("ben.adeyemi").Reveal()) {
		t.Error("the log holds a secret")
	}
}

func TestARepeatedSubmitIsAnsweredWithTheSameRequest(t *testing.T) {
	w := newWorld(t)
	first := w.call("mina.park", "POST", "/api/v1/requests", roleAsking(), "Idempotency-Key", "k1")
	var made, again request
	first.want(http.StatusCreated, &made)
	if got := first.Header.Get("Location"); got != "/api/v1/requests/"+made.ID {
		t.Errorf("Location is %q", got)
	}
	before := w.events()
	w.call("mina.park", "POST", "/api/v1/requests", roleAsking(), "Idempotency-Key", "k1").want(http.StatusOK, &again)
	if again.ID != made.ID || w.events() != before {
		t.Errorf("the replay gave %s, not %s; %s before, %s after", again.ID, made.ID, before, w.events())
	}
	other := roleAsking()
	other["reason"] = "Something else."
	w.call("mina.park", "POST", "/api/v1/requests", other, "Idempotency-Key", "k1").refused(http.StatusConflict, "idempotency-key-reused")
	// Another person's key of the same name is another key.
	w.call("quinn.taylor", "POST", "/api/v1/requests", roleAsking(), "Idempotency-Key", "k1").want(http.StatusCreated, nil)
}

func TestARepeatedDecisionHasOneEffect(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	path, body := "/api/v1/requests/"+made.ID+"/approve", object{"shown": made.Shown}
	w.call("keiko.mori", "POST", path, body, "Idempotency-Key", "d1", "If-Match", `"2"`).want(http.StatusOK, nil)
	before := w.events()
	// The version that the first one relied on has passed; the answer is the same.
	w.call("keiko.mori", "POST", path, body, "Idempotency-Key", "d1", "If-Match", `"2"`).want(http.StatusOK, nil)
	if w.events() != before {
		t.Errorf("the replay had an effect: %s before, %s after", before, w.events())
	}
}

func TestARouteThatMovedComesBackWithTheNewPreview(t *testing.T) {
	w := newWorld(t)
	asking := roleAsking()
	asking["route"] = "sha256:" + strings.Repeat("0", 64)
	before := w.events()
	moved := w.call("mina.park", "POST", "/api/v1/requests", asking).refused(http.StatusConflict, "route-moved")
	if moved.Kind != "moved" || moved.Preview == nil || moved.Preview.Route == "" || w.events() != before {
		t.Errorf("the problem is %+v", moved)
	}
	asking["route"] = moved.Preview.Route
	w.submit("mina.park", asking)
}

func TestAPolicyRefusalListsItsReasons(t *testing.T) {
	w := newWorld(t)
	asking := keyAsking()
	asking["duration"] = 120 * 86400
	refused := w.call("ben.adeyemi", "POST", "/api/v1/requests", asking).refused(http.StatusForbidden, "duration-not-offered")
	if len(refused.Refusals) != 1 || !strings.Contains(refused.Refusals[0].Because, "90d") {
		t.Errorf("the refusals are %+v", refused.Refusals)
	}
}

func TestAnETagGuardsACommand(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	seen := w.call("mina.park", "GET", "/api/v1/requests/"+made.ID, nil).want(http.StatusOK, nil)
	etag := seen.Header.Get("ETag")
	cancel := "/api/v1/requests/" + made.ID + "/cancel"
	before := w.events()
	for _, test := range []struct {
		match, reason string
		status        int
	}{
		{`"1"`, "precondition-failed", http.StatusPreconditionFailed},
		{`W/` + etag, "precondition-failed", http.StatusPreconditionFailed},
		{`"1", "9"`, "precondition-failed", http.StatusPreconditionFailed},
		{`2`, "malformed-etag", http.StatusBadRequest},
	} {
		w.call("mina.park", "POST", cancel, object{}, "If-Match", test.match).refused(test.status, test.reason)
	}
	if w.events() != before {
		t.Error("a refused command had an effect")
	}
	var cancelled request
	w.call("mina.park", "POST", cancel, object{"reason": "done otherwise"}, "If-Match", `"1", `+etag).want(http.StatusOK, &cancelled)
	if cancelled.State != "cancelled" {
		t.Errorf("the request is %s", cancelled.State)
	}
}

func TestCursorsWalkTheWholeListOnce(t *testing.T) {
	w := newWorld(t)
	var made []string
	for _, asker := range []string{"mina.park", "leo.martin", "noah.fischer", "quinn.taylor"} {
		made = append(made, w.submit(asker, roleAsking()).ID)
		w.clock.Advance(time.Second)
	}
	type page struct {
		Requests []struct{ ID string }
		Next     string
	}
	var walked []string
	path := "/api/v1/requests?limit=3"
	for path != "" {
		var p page
		w.call("wanda.jansen", "GET", path, nil).want(http.StatusOK, &p)
		for _, line := range p.Requests {
			walked = append(walked, line.ID)
		}
		path = ""
		if p.Next != "" {
			path = "/api/v1/requests?limit=3&cursor=" + url.QueryEscape(p.Next)
		}
	}
	slices.Reverse(walked)
	if !slices.Equal(walked, made) {
		t.Errorf("walked %v, made %v", walked, made)
	}
	var inbox, none page
	w.call("keiko.mori", "GET", "/api/v1/requests?inbox=true&state=deciding&state=collecting&limit=2", nil).want(http.StatusOK, &inbox)
	if len(inbox.Requests) != 2 || inbox.Next == "" {
		t.Errorf("the manager's inbox is %+v", inbox)
	}
	w.call("keiko.mori", "GET", "/api/v1/requests?type=api-key", nil).want(http.StatusOK, &none)
	if len(none.Requests) != 0 || none.Next != "" {
		t.Errorf("there is no request for a key, but %+v", none)
	}
	var grants struct {
		Grants []struct{ ID string }
		Next   string
	}
	w.call("wanda.jansen", "GET", "/api/v1/grants?system=countersign&limit=3", nil).want(http.StatusOK, &grants)
	first := grants.Grants
	next := grants.Next
	grants.Next = ""
	w.call("wanda.jansen", "GET", "/api/v1/grants?system=countersign&limit=200&cursor="+next, nil).want(http.StatusOK, &grants)
	if len(first) != 3 || len(grants.Grants) != 5 || grants.Next != "" {
		t.Errorf("of the eight powers the pages have %d and %d", len(first), len(grants.Grants))
	}
}

func TestWhatTheCallerMayNotSeeIsNotThere(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	for _, path := range []string{"", "/timeline", "/watch"} {
		w.call("peter.novak", "GET", "/api/v1/requests/"+made.ID+path, nil).refused(http.StatusNotFound, "no-such-request")
	}
	w.call("peter.novak", "POST", "/api/v1/requests/"+made.ID+"/cancel", object{}).refused(http.StatusNotFound, "no-such-request")
	w.call("peter.novak", "GET", "/api/v1/requests/req_none", nil).refused(http.StatusNotFound, "no-such-request")
}

func TestEvidenceComesAsTextOrBase64(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	path := "/api/v1/requests/" + made.ID + "/evidence"
	for _, test := range []struct {
		body   object
		reason string
		status int
	}{
		{object{"slot": "ticket"}, "evidence-content", http.StatusBadRequest},
		{object{"slot": "ticket", "text": "a", "base64": "YQ=="}, "evidence-content", http.StatusBadRequest},
		{object{"slot": "ticket", "base64": "YQ"}, "malformed-base64", http.StatusBadRequest},
		{object{"slot": "ticket", "text": "-----BEGIN RSA PRIVATE KEY-----"}, "secret-pasted", http.StatusBadRequest},
	} {
		w.call("mina.park", "POST", path, test.body).refused(test.status, test.reason)
	}
}

func TestAFileIsUploadedAsItIs(t *testing.T) {
	w := newWorld(t)
	made := w.submit("hanna.virtanen", object{"type": "privileged-role", "entitlements": []string{"deploy/orders/deployer"}, "reason": "The rollout of Thursday.",
		"answers": object{"work": "Roll out the release of Thursday.", "ticket": "CHG-17"}})
	path := "/api/v1/requests/" + made.ID + "/evidence/closed-ticket"
	raw := []string{"Content-Type", "application/octet-stream"}
	w.call("hanna.virtanen", "PUT", path, "{}").refused(http.StatusUnsupportedMediaType, "wrong-content-type")
	w.call("hanna.virtanen", "PUT", path, "a file", append(raw, "Content-Encoding", "gzip")...).refused(http.StatusUnsupportedMediaType, "wrong-content-type")
	w.call("hanna.virtanen", "PUT", path, strings.Repeat("x", desk.MaxEvidence+1), raw...).refused(http.StatusRequestEntityTooLarge, "body-too-large")
	w.call("hanna.virtanen", "PUT", path, "", raw...).refused(http.StatusRequestEntityTooLarge, "evidence-size")
	w.call("peter.novak", "PUT", path, "a file", raw...).refused(http.StatusNotFound, "no-such-request")
	w.call("hanna.virtanen", "PUT", path, "a file", raw...).refused(http.StatusConflict, "not-due-yet")
	// More than a JSON body may have, and still refused for its time alone.
	large := strings.Repeat("line of the report\n", 400_000)
	w.call("hanna.virtanen", "PUT", path, large, raw...).refused(http.StatusConflict, "not-due-yet")

	for _, decision := range [][2]string{{"david.kim", "manager"}, {"jonas.weber", "owner"}, {"nadia.haddad", "control"}, {"priya.raman", "control"}} {
		body := object{"stage": decision[1], "shown": w.show("wanda.jansen", made.ID).Shown}
		w.call(decision[0], "POST", "/api/v1/requests/"+made.ID+"/approve", body).want(http.StatusOK, nil)
	}
	w.settle()
	w.call("hanna.virtanen", "POST", "/api/v1/requests/"+made.ID+"/close", object{"reason": "The rollout is done."}).want(http.StatusOK, nil)
	w.settle()
	if state := w.show("hanna.virtanen", made.ID).State; state != "closing" {
		t.Fatalf("the request is %s", state)
	}
	w.call("hanna.virtanen", "PUT", path, large, append(raw, "Idempotency-Key", "u1")...).want(http.StatusOK, nil)
	w.call("hanna.virtanen", "PUT", path, large, append(raw, "Idempotency-Key", "u1")...).want(http.StatusOK, nil)
	w.call("hanna.virtanen", "PUT", path, "another", append(raw, "Idempotency-Key", "u1")...).refused(http.StatusConflict, "idempotency-key-reused")
	if state := w.show("hanna.virtanen", made.ID).State; state != "closed" {
		t.Errorf("with the file the request is %s", state)
	}
}

func TestTheCallerSeesWhoTheyAreAndEndsTheirTokens(t *testing.T) {
	w := newWorld(t)
	var me struct {
		Identity struct{ Login string }
		Token    struct{ Strength string }
		Powers   []string
	}
	w.call("mara.lindqvist", "GET", "/api/v1/me", nil).want(http.StatusOK, &me)
	if me.Identity.Login != "mara.lindqvist" || me.Token.Strength != auth.HostStrength || !slices.Equal(me.Powers, []string{"administrator"}) {
		t.Errorf("me is %+v", me)
	}
	_, other := w.issue("mara.lindqvist", auth.Read)
	w.call("ben.adeyemi", "DELETE", "/api/v1/tokens/"+string(other.ID), nil).refused(http.StatusNotFound, "no-such-token")
	var list struct{ Tokens []struct{ ID string } }
	w.call("mara.lindqvist", "GET", "/api/v1/tokens", nil).want(http.StatusOK, &list)
	if len(list.Tokens) != 2 {
		t.Errorf("the tokens are %+v", list.Tokens)
	}
	for _, token := range list.Tokens {
		w.call("mara.lindqvist", "DELETE", "/api/v1/tokens/"+token.ID, nil)
	}
	w.call("mara.lindqvist", "GET", "/api/v1/me", nil).refused(http.StatusUnauthorized, "token-unknown-or-expired")
}

func TestTheCatalogueAndItsPeopleCanBeRead(t *testing.T) {
	w := newWorld(t)
	var catalogue struct {
		Types        []struct{ Name string }
		Entitlements []struct{ Name string }
	}
	w.call("mina.park", "GET", "/api/v1/catalogue", nil).want(http.StatusOK, &catalogue)
	if len(catalogue.Types) < 3 || len(catalogue.Entitlements) < 10 {
		t.Errorf("the catalogue has %d types and %d entitlements", len(catalogue.Types), len(catalogue.Entitlements))
	}
	var identity struct{ Name string }
	spiffe := url.PathEscape("spiffe://meridian.example/data/nightly-export")
	w.call("mina.park", "GET", "/api/v1/identities/"+spiffe, nil).want(http.StatusOK, &identity)
	if identity.Name != "Nightly export" {
		t.Errorf("the identity is %+v", identity)
	}
	w.call("mina.park", "GET", "/api/v1/identities/nobody", nil).refused(http.StatusNotFound, "no-such-identity")
	var house struct{ Sample bool }
	if answered := w.call("mina.park", "GET", "/api/v1/house", nil).want(http.StatusOK, &house); !house.Sample || answered.Header.Get("Countersign-Sample-House") != "true" {
		t.Error("a house of the sample does not say so")
	}
}

func TestDirectoryFilesAreComparedAndAppliedInPart(t *testing.T) {
	w := newWorld(t)
	broken := object{"files": []object{{"path": "directory/people.yaml", "content": "peeple: []\n"}}}
	w.call("mina.park", "POST", "/api/v1/directory/plan", broken).refused(http.StatusForbidden, "needs-administrator")
	wrong := w.call("mara.lindqvist", "POST", "/api/v1/directory/plan", broken).refused(http.StatusBadRequest, "malformed-directory")
	if len(wrong.Problems) == 0 || !strings.HasPrefix(wrong.Problems[0], "directory/people.yaml:1:") {
		t.Errorf("the problems are %v", wrong.Problems)
	}
	files := organisationFiles(t)
	type difference struct {
		Changes []struct{ Name, Standing string }
	}
	var none, some difference
	w.call("mara.lindqvist", "POST", "/api/v1/directory/plan", object{"files": files}).want(http.StatusOK, &none)
	if len(none.Changes) != 0 {
		t.Errorf("the files that the house was founded with differ: %+v", none)
	}
	for _, file := range files {
		text := file["content"].(string)
		text = strings.Replace(text, "title: Wiki\n", "title: Wiki of everybody\n", 1)
		text = strings.Replace(text, "xavier.dubois@meridian.example\n    manager: ines.carvalho", "xavier.dubois@meridian.example\n    manager: yara.costa", 1)
		file["content"] = text
	}
	w.call("mara.lindqvist", "POST", "/api/v1/directory/plan", object{"files": files}).want(http.StatusOK, &some)
	if len(some.Changes) != 2 {
		t.Fatalf("the plan is %+v", some)
	}
	var applied struct{ Applied, Refused difference }
	w.call("mara.lindqvist", "POST", "/api/v1/directory/apply", object{"files": files}).want(http.StatusOK, &applied)
	if len(applied.Applied.Changes) != 1 || len(applied.Refused.Changes) != 1 || applied.Refused.Changes[0].Standing == "" {
		t.Errorf("applied is %+v", applied)
	}
}

// A decision names how its giver was recognised.
func TestADecisionRecordsTheTokensStrength(t *testing.T) {
	w := newWorld(t)
	made := w.submit("mina.park", roleAsking())
	w.call("keiko.mori", "POST", "/api/v1/requests/"+made.ID+"/deny", object{"shown": made.Shown, "reason": "Not now."}).want(http.StatusOK, nil)
	var denied struct {
		Stages []struct {
			Decisions []struct{ Issuer, Strength string }
		}
	}
	w.call("mina.park", "GET", "/api/v1/requests/"+made.ID, nil).want(http.StatusOK, &denied)
	decisions, err := json.Marshal(denied.Stages)
	if err != nil || len(denied.Stages) == 0 || denied.Stages[0].Decisions[0].Issuer != auth.HostIssuer || denied.Stages[0].Decisions[0].Strength != auth.HostStrength {
		t.Errorf("the decisions are %s, %v", decisions, err)
	}
}
