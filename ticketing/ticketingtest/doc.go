// Package ticketingtest has fakes of the interfaces of ServiceNow and Jira that
// ticketing uses, for tests, and signs what those systems send.
//
// They are fakes: made after the public documentation of both, and never compared
// with a real instance. They keep what was written, and fail when they are told to.
package ticketingtest

import (
	"net/http"
	"strings"
	"sync"
)

// Fault is what a fake does instead of what it should.
type Fault string

const (
	// Down answers 503.
	Down Fault = "down"
	// LostAnswer does what was asked and breaks the connection.
	LostAnswer Fault = "lost answer"
	// Unauthorised answers 401, as after a password has run out.
	Unauthorised Fault = "unauthorised"
	// TooMany answers 429, with a time to wait.
	TooMany Fault = "too many"
	// Forbidden answers 403.
	Forbidden Fault = "forbidden"
)

// RetryAfter is what TooMany asks for, in seconds.
const RetryAfter = "90"

// faults are those that a fake was told.
type faults struct {
	lock sync.Mutex
	// once counts how often the fault is still to come; below 0 always.
	left  int
	fault Fault
}

// Break lets the next writes fail so often; below 0 every call, until Mend.
func (f *faults) Break(fault Fault, times int) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.fault, f.left = fault, times
}

// Mend ends a fault.
func (f *faults) Mend() { f.Break("", 0) }

// due takes the fault for one call.
func (f *faults) due(r *http.Request) Fault {
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case f.left < 0:
		return f.fault
	case f.left == 0 || r.Method == http.MethodGet:
		return ""
	}
	f.left--
	return f.fault
}

// guarded answers faults, and lets nobody in without the credential.
func (f *faults) guarded(credential string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := f.due(r)
		if r.Header.Get("Authorization") != credential {
			fault = Unauthorised
		}
		switch fault {
		case Down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case Unauthorised:
			w.WriteHeader(http.StatusUnauthorized)
		case Forbidden:
			w.WriteHeader(http.StatusForbidden)
		case TooMany:
			w.Header().Set("Retry-After", RetryAfter)
			w.WriteHeader(http.StatusTooManyRequests)
		case LostAnswer:
			next.ServeHTTP(&silent{}, r)
			panic(http.ErrAbortHandler)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// silent takes an answer that nobody gets.
type silent struct{ header http.Header }

func (s *silent) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(int)             {}

// Count returns in how many of the comments a text stands.
func Count(comments []string, text string) int {
	count := 0
	for _, comment := range comments {
		if strings.Contains(comment, text) {
			count++
		}
	}
	return count
}
