package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

const token = "cst_the-token-of-the-test"

// house answers every request in one way and keeps the last one.
type house struct {
	*client.Client
	server *httptest.Server
	last   *http.Request
	body   string
}

func answering(t *testing.T, status int, contentType, body string) *house {
	t.Helper()
	h := &house{}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h.last, h.body = r, string(sent)
		w.Header().Set("Content-Type", contentType)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(h.server.Close)
	var err error
	if h.Client, err = client.New(h.server.URL+"/", countersign.NewSecret(token)); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestARequestCarriesTheTokenAndWhatWasSet(t *testing.T) {
	h := answering(t, http.StatusCreated, "application/json", `{"id":"req_1","state":"collecting"}`)
	made, err := client.Submitted(h.SubmitRequestWithResponse(t.Context(), &client.SubmitRequestParams{IdempotencyKey: "k"}, client.Asking{Entitlements: []string{"a/b/c"}}))
	if err != nil || made.Id != "req_1" {
		t.Fatalf("got %+v, %v", made, err)
	}
	if h.last.URL.Path != "/api/v1/requests" || h.last.Header.Get("Authorization") != "Bearer "+token || h.last.Header.Get("Idempotency-Key") != "k" {
		t.Errorf("sent %s with %v", h.last.URL, h.last.Header)
	}
	if h.body != `{"entitlements":["a/b/c"]}` {
		t.Errorf("what nobody set was sent: %s", h.body)
	}
}

func TestParametersThatNobodySetAreNotSent(t *testing.T) {
	h := answering(t, http.StatusOK, "application/json", `{"requests":[]}`)
	if _, err := h.ListRequestsWithResponse(t.Context(), &client.ListRequestsParams{Inbox: true, State: []client.RequestState{"active", "closed"}}); err != nil {
		t.Fatal(err)
	}
	if h.last.URL.RawQuery != "inbox=true&state=active&state=closed" {
		t.Errorf("the query is %q", h.last.URL.RawQuery)
	}
	if _, err := h.ConsentRequestWithResponse(t.Context(), "req_1", &client.ConsentRequestParams{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Idempotency-Key", "If-Match"} {
		if _, sent := h.last.Header[name]; sent {
			t.Errorf("%s was sent empty", name)
		}
	}
}

func TestAProblemComesBackAsTheErrorThatItWas(t *testing.T) {
	const document = `{"type":"urn:countersign:problem:%s","title":"t","status":%d,"detail":"What is wrong.","kind":"%s","reason":"%s","field":"/duration"%s}`
	for _, test := range []struct {
		name         string
		status       int
		kind, reason string
		more         string
		detail       func(any) bool
	}{
		{"invalid", 400, "invalid", "unknown-key", "", nil},
		{"a precondition", 412, "conflict", "precondition-failed", "", nil},
		{"refused", 403, "refused", "refused-by-policy", `,"refusals":[{"reason":"refused-by-policy","because":"No."}]`, func(d any) bool {
			refusals, is := d.([]client.Refusal)
			return is && refusals[0].Because == "No."
		}},
		{"moved", 409, "moved", "route-moved", `,"preview":{"route":"sha256:1"}`, func(d any) bool {
			preview, is := d.(client.Preview)
			return is && preview.Route == "sha256:1"
		}},
		{"files", 400, "invalid", "malformed-directory", `,"problems":["a.yaml:1:1: x"]`, func(d any) bool {
			problems, is := d.([]string)
			return is && problems[0] == "a.yaml:1:1: x"
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := answering(t, test.status, "application/problem+json", fmt.Sprintf(document, test.reason, test.status, test.kind, test.reason, test.more))
			_, err := h.GetMeWithResponse(t.Context())
			var known *countersign.Error
			if !errors.As(err, &known) || known.Kind != countersign.Kind(test.kind) || known.Reason != test.reason || known.Message != "What is wrong." || known.Field != "/duration" {
				t.Fatalf("got %#v", err)
			}
			if test.detail != nil && !test.detail(known.Detail) || test.detail == nil && known.Detail != nil {
				t.Errorf("the detail is %#v", known.Detail)
			}
		})
	}
}

func TestWhatIsNoAnswerOfAHouseIsNamed(t *testing.T) {
	for _, test := range []struct {
		name, contentType, body string
		status                  int
		kind                    countersign.Kind
		reason                  string
	}{
		{"a proxy's page", "text/html", "<h1>Bad Gateway</h1>", 502, countersign.Unavailable, "unexpected-answer"},
		{"a broken problem", "application/problem+json", "{", 403, countersign.Refused, "unexpected-answer"},
		{"a target's problem", "application/problem+json; charset=utf-8", `{"type":"about:blank","status":410,"reason":"secret-gone","detail":"It was read."}`, 410, countersign.NotFound, "secret-gone"},
		{"a redirect", "text/plain", "", 302, countersign.Invalid, "unexpected-answer"},
		{"a fault", "text/plain", "", 500, countersign.Internal, "unexpected-answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := answering(t, test.status, test.contentType, test.body)
			_, err := h.GetMeWithResponse(t.Context())
			if countersign.KindOf(err) != test.kind || countersign.ReasonOf(err) != test.reason {
				t.Errorf("got %s %s: %v", countersign.KindOf(err), countersign.ReasonOf(err), err)
			}
			if h.last.URL.Path != "/api/v1/me" {
				t.Errorf("the client went on to %s, with the token", h.last.URL.Path)
			}
		})
	}
}

func TestAHouseThatIsAwayIsUnavailable(t *testing.T) {
	h := answering(t, http.StatusOK, "application/json", "{}")
	h.server.Close()
	_, err := h.GetMeWithResponse(t.Context())
	if countersign.ReasonOf(err) != "house-unreachable" || strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), token) {
		t.Errorf("got %v", err)
	}
}

func TestAnAddressIsCheckedBeforeATokenIsSent(t *testing.T) {
	for _, wrong := range []string{"", "access.example.com", "ftp://access.example.com", "https://user:secret@access.example.com", "https://", "https://a.example/?x=1", "https://a.example/#x"} {
		if _, err := client.New(wrong, countersign.NewSecret(token)); countersign.ReasonOf(err) != "malformed-address" {
			t.Errorf("%q gives %v", wrong, err)
		}
	}
}

func TestAWatchIsAStream(t *testing.T) {
	h := answering(t, http.StatusOK, "text/event-stream", "event: changed\ndata: {}\n\n")
	stream, err := h.Watch(t.Context(), "req_1")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	content, err := io.ReadAll(stream)
	if err != nil || !strings.HasPrefix(string(content), "event: changed") {
		t.Errorf("got %q, %v", content, err)
	}
	gone := answering(t, http.StatusNotFound, "application/problem+json", `{"kind":"not-found","reason":"no-such-request","detail":"x"}`)
	if _, err := gone.Watch(t.Context(), "req_1"); countersign.ReasonOf(err) != "no-such-request" {
		t.Errorf("got %v", err)
	}
}

func TestEvidenceIsTextWhereItIsText(t *testing.T) {
	if got := client.NewEvidence("a", []byte("grün")); got.Text != "grün" || got.Base64 != "" {
		t.Errorf("got %+v", got)
	}
	if got := client.NewEvidence("a", []byte{0xff, 0}); got.Base64 != "/wA=" || got.Text != "" {
		t.Errorf("got %+v", got)
	}
}
