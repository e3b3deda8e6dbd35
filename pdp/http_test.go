package pdp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

func (l *lab) post(method, contentType, body string, header http.Header) *httptest.ResponseRecorder {
	l.t.Helper()
	mux := http.NewServeMux()
	mux.Handle(EvaluationPath, l.Evaluation(target.AuthenticatorFunc(func(r *http.Request) (countersign.IdentityID, error) {
		if r.Header.Get("Authorization") == "" {
			return "", countersign.Errorf(countersign.Unauthenticated, "no-token", "no token")
		}
		return "idn_gateway", nil
	})))
	request := httptest.NewRequest(method, EvaluationPath, strings.NewReader(body))
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, request)
	return recorder
}

var authorised = http.Header{"Authorization": {"Bearer x"}}

const question = `{"subject":{"type":"user","id":"alice"},"action":{"name":"reader"},"resource":{"type":"resource","id":"billing/invoices"}}`

// aliceReads is a lab in which the question's answer is yes.
func aliceReads(t *testing.T) *lab {
	l := newLab(t, Options{})
	l.follow()
	order := l.order()
	l.people["alice"] = order.Subject
	l.assign(order)
	return l
}

func TestTheEndpointAnswersYesAndNoWith200(t *testing.T) {
	l := aliceReads(t)
	for name, test := range map[string]struct {
		body string
		want string
	}{
		"yes":                   {question, `{"decision":true,"context":{"evaluated_at":"2026-03-02T09:00:00.000Z","freshness_ms":0,"freshness_bound_ms":5000}}`},
		"no":                    {strings.Replace(question, "reader", "writer", 1), `{"decision":false,"context":{"reason":"no-assignment","evaluated_at":"2026-03-02T09:00:00.000Z","freshness_ms":0,"freshness_bound_ms":5000}}`},
		"unknown members":       {strings.Replace(question, `{"subject"`, `{"foo":"bar","futureField":{"nested":[1.5,{}]},"subject"`, 1), `{"decision":true,`},
		"properties, a context": {strings.Replace(question, `"action":{`, `"context":{"ip":"10.0.0.1"},"action":{"properties":{"soft":true},`, 1), `{"decision":true,`},
		"an unknown spelling":   {strings.Replace(question, `"action"`, `"Subject":{"type":"user","id":"mallory"},"action"`, 1), `{"decision":true,`},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := l.post("POST", "application/json; charset=utf-8", test.body, authorised)
			if recorder.Code != http.StatusOK || recorder.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("got %d %s: %s", recorder.Code, recorder.Header().Get("Content-Type"), recorder.Body)
			}
			if got := recorder.Body.String(); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheEndpointSaysThatItIsStaleWith200(t *testing.T) {
	l := newLab(t, Options{})
	recorder := l.post("POST", "application/json", question, authorised)
	var got answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil || recorder.Code != http.StatusOK || got.Decision || got.Context.Reason != Stale || got.Context.FreshnessMS != nil {
		t.Errorf("got %d %s, %v", recorder.Code, recorder.Body, err)
	}
}

func TestTheEndpointRefusesWhatIsNoEvaluation(t *testing.T) {
	l := aliceReads(t)
	without := func(part string) string { return strings.Replace(question, part, "", 1) }
	for name, test := range map[string]struct {
		method, contentType, body string
		want                      int
	}{
		"GET":                        {"GET", "application/json", question, http.StatusMethodNotAllowed},
		"no content type":            {"POST", "", question, http.StatusBadRequest},
		"another content type":       {"POST", "text/plain", question, http.StatusBadRequest},
		"empty":                      {"POST", "application/json", "", http.StatusBadRequest},
		"blank":                      {"POST", "application/json", "  \n", http.StatusBadRequest},
		"not JSON":                   {"POST", "application/json", "{", http.StatusBadRequest},
		"trailing comma":             {"POST", "application/json", strings.Replace(question, "}}", "},}", 1), http.StatusBadRequest},
		"array":                      {"POST", "application/json", "[" + question + "]", http.StatusBadRequest},
		"null":                       {"POST", "application/json", "null", http.StatusBadRequest},
		"text":                       {"POST", "application/json", `"x"`, http.StatusBadRequest},
		"trailing garbage":           {"POST", "application/json", question + "x", http.StatusBadRequest},
		"two objects":                {"POST", "application/json", question + question, http.StatusBadRequest},
		"no subject":                 {"POST", "application/json", without(`"subject":{"type":"user","id":"alice"},`), http.StatusBadRequest},
		"no action":                  {"POST", "application/json", without(`"action":{"name":"reader"},`), http.StatusBadRequest},
		"no resource":                {"POST", "application/json", without(`,"resource":{"type":"resource","id":"billing/invoices"}`), http.StatusBadRequest},
		"subject without type":       {"POST", "application/json", without(`"type":"user",`), http.StatusBadRequest},
		"subject without id":         {"POST", "application/json", without(`,"id":"alice"`), http.StatusBadRequest},
		"action without name":        {"POST", "application/json", without(`"name":"reader"`), http.StatusBadRequest},
		"resource without type":      {"POST", "application/json", without(`"type":"resource",`), http.StatusBadRequest},
		"resource without id":        {"POST", "application/json", without(`,"id":"billing/invoices"`), http.StatusBadRequest},
		"empty id":                   {"POST", "application/json", strings.Replace(question, `"alice"`, `""`, 1), http.StatusBadRequest},
		"id is null":                 {"POST", "application/json", strings.Replace(question, `"alice"`, `null`, 1), http.StatusBadRequest},
		"subject is a text":          {"POST", "application/json", strings.Replace(question, `{"type":"user","id":"alice"}`, `"alice"`, 1), http.StatusBadRequest},
		"subject is null":            {"POST", "application/json", strings.Replace(question, `{"type":"user","id":"alice"}`, `null`, 1), http.StatusBadRequest},
		"name is a number":           {"POST", "application/json", strings.Replace(question, `"reader"`, `123`, 1), http.StatusBadRequest},
		"context is a text":          {"POST", "application/json", strings.Replace(question, `"action"`, `"context":"x","action"`, 1), http.StatusBadRequest},
		"properties are an array":    {"POST", "application/json", strings.Replace(question, `"name"`, `"properties":[],"name"`, 1), http.StatusBadRequest},
		"member twice":               {"POST", "application/json", strings.Replace(question, `"action"`, `"subject":{"type":"user","id":"bob"},"action"`, 1), http.StatusBadRequest},
		"inner member twice":         {"POST", "application/json", strings.Replace(question, `"id":"alice"`, `"id":"alice","id":"bob"`, 1), http.StatusBadRequest},
		"twice in an unknown member": {"POST", "application/json", strings.Replace(question, `"action"`, `"x":{"a":1,"a":2},"action"`, 1), http.StatusBadRequest},
		"twice by an escape":         {"POST", "application/json", strings.Replace(question, `"id":"alice"`, `"id":"alice","\u0069d":"bob"`, 1), http.StatusBadRequest},
		"another case":               {"POST", "application/json", strings.Replace(question, `"subject"`, `"Subject"`, 1), http.StatusBadRequest},
		"not UTF-8":                  {"POST", "application/json", strings.Replace(question, `alice`, "\xff", 1), http.StatusBadRequest},
		"too deep":                   {"POST", "application/json", strings.Replace(question, `"action"`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"action"`, 1), http.StatusBadRequest},
		"too large":                  {"POST", "application/json", question + strings.Repeat(" ", maxBody), http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			header := authorised.Clone()
			header.Set("X-Request-ID", "req-17")
			recorder := l.post(test.method, test.contentType, test.body, header)
			if recorder.Code != test.want || recorder.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d, want %d: %s", recorder.Code, test.want, recorder.Body)
			}
			if recorder.Header().Get("X-Request-ID") != "req-17" {
				t.Error("X-Request-ID is not echoed")
			}
		})
	}
}

func TestTheEndpointEchoesTheRequestIDAndWantsACaller(t *testing.T) {
	l := aliceReads(t)
	header := authorised.Clone()
	header.Set("X-Request-ID", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")
	if got := l.post("POST", "application/json", question, header).Header().Get("X-Request-ID"); got != header.Get("X-Request-ID") {
		t.Errorf("the request id comes back as %q", got)
	}
	if got := l.post("POST", "application/json", question, authorised).Header().Values("X-Request-ID"); len(got) != 0 {
		t.Errorf("without one, %q comes back", got)
	}
	recorder := l.post("POST", "application/json", question, nil)
	if recorder.Code != http.StatusUnauthorized || recorder.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("nobody got %d", recorder.Code)
	}
}
