package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/policy"
)

// problem is a problem document (RFC 9457); the interface names it Problem.
type problem struct {
	Type     string           `json:"type"`
	Title    string           `json:"title"`
	Status   int              `json:"status"`
	Detail   string           `json:"detail"`
	Kind     countersign.Kind `json:"kind"`
	Reason   string           `json:"reason"`
	Field    string           `json:"field,omitempty"`
	Incident string           `json:"incident,omitempty"`
	Problems []string         `json:"problems,omitempty"`
	Refusals []policy.Refusal `json:"refusals,omitempty"`
	Preview  *Preview         `json:"preview,omitempty"`
}

const problemType = "urn:countersign:problem:"

// retryAfter is how many seconds a caller should wait before trying again, where
// nothing says it better.
const retryAfter = "5"

// statusOf gives the status of each kind of error. Three reasons have a status
// of their own in HTTP.
func statusOf(err *countersign.Error) int {
	switch err.Reason {
	case "precondition-failed":
		return http.StatusPreconditionFailed
	case "method-not-allowed":
		return http.StatusMethodNotAllowed
	case "wrong-content-type":
		return http.StatusUnsupportedMediaType
	}
	switch err.Kind {
	case countersign.Invalid:
		return http.StatusBadRequest
	case countersign.Unauthenticated:
		return http.StatusUnauthorized
	case countersign.Refused:
		return http.StatusForbidden
	case countersign.NotFound:
		return http.StatusNotFound
	case countersign.Conflict, countersign.Moved:
		return http.StatusConflict
	case countersign.TooLarge:
		return http.StatusRequestEntityTooLarge
	case countersign.TooMany:
		return http.StatusTooManyRequests
	case countersign.Unavailable:
		return http.StatusServiceUnavailable
	case countersign.Internal:
	}
	return http.StatusInternalServerError
}

var titles = map[countersign.Kind]string{
	countersign.Invalid:         "What was sent is not right",
	countersign.Unauthenticated: "Nobody known is calling",
	countersign.Refused:         "Refused",
	countersign.NotFound:        "Not found",
	countersign.Conflict:        "It does not fit the present state",
	countersign.Moved:           "The path has moved",
	countersign.TooLarge:        "Too large",
	countersign.TooMany:         "Too many",
	countersign.Unavailable:     "Not available now",
	countersign.Internal:        "A fault of ours",
}

// refuse writes any error as a problem document. What is inside a fault of ours
// goes to the log only, under the incident's number.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if begun(w) {
		// The status is out already; all that is left is to tell the log.
		a.Log.WarnContext(r.Context(), "an answer broke off", "error", err)
		return
	}
	known, document := a.known(r, err)
	document.Type, document.Title, document.Status = problemType+known.Reason, titles[known.Kind], statusOf(known)
	document.Detail, document.Kind, document.Reason, document.Field = known.Message, known.Kind, known.Reason, known.Field
	if document.Kind != countersign.Internal {
		switch detail := known.Detail.(type) {
		case []string:
			document.Problems = detail
		case []policy.Refusal:
			document.Refusals = detail
		case *desk.Preview:
			view := viewOfPreview(detail)
			document.Preview = &view
		}
	}
	switch known.Kind {
	case countersign.Unauthenticated:
		challenge := `Bearer realm="countersign"`
		if known.Reason != "token-missing" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	case countersign.TooMany, countersign.Unavailable:
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", retryAfter)
		}
	case countersign.Invalid, countersign.Refused, countersign.NotFound, countersign.Conflict, countersign.Moved, countersign.TooLarge, countersign.Internal:
	}
	w.Header().Set("Content-Type", "application/problem+json")
	writeJSON(w, document.Status, document)
}

// known returns the error as it may be shown.
func (a *api) known(r *http.Request, err error) (*countersign.Error, problem) {
	var known *countersign.Error
	var wrongParameter *InvalidParamFormatError
	var manyValues *TooManyValuesForParamError
	switch {
	case errors.As(err, &known) && known.Kind != countersign.Internal:
		return known, problem{}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return countersign.Errorf(countersign.Unavailable, "took-too-long", "This took too long and was given up; nothing more will happen. With an Idempotency-Key it is safe to send it again."), problem{}
	case errors.As(err, &wrongParameter):
		return countersign.Errorf(countersign.Invalid, "malformed-parameter", "The parameter %q does not have the form that it should have; see the interface's description.", wrongParameter.ParamName).At(wrongParameter.ParamName), problem{}
	case errors.As(err, &manyValues):
		return countersign.Errorf(countersign.Invalid, "parameter-twice", "%q stands more than once; send it once.", manyValues.ParamName).At(manyValues.ParamName), problem{}
	}
	incident := rand.Text()
	a.Log.ErrorContext(r.Context(), "a request failed by a fault of ours", "incident", incident, "request_id", r.Header.Get(requestID), "error", err)
	return countersign.Errorf(countersign.Internal, "internal", "Something went wrong on our side. It is logged as incident %s.", incident), problem{Incident: incident}
}

// writeJSON writes a JSON body; the content type is JSON unless it is set.
func writeJSON(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	// A failed write means that the caller went away; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(body)
}
