package httpapi

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/countersign/countersign"
)

const requestID = "X-Request-ID"

// SampleHeader is on every answer of a house that was born from the sample.
const SampleHeader = "Countersign-Sample-House"

// observed wraps everything: a number for each request, headers that keep
// browsers from doing anything with an answer, faults that become problems, and
// one line of log. The line names the pattern of the path and no part of what
// was sent, because paths and bodies can hold names.
func (a *api) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		w := &recorder{ResponseWriter: writer}
		start := a.Clock.Now()
		number := r.Header.Get(requestID)
		if !printable(number, 128) {
			number = rand.Text()
			r.Header.Set(requestID, number)
		}
		header := w.Header()
		header.Set(requestID, number)
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		if a.Secure {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if a.Sample {
			header.Set(SampleHeader, "true")
		}
		defer func() {
			if fault := recover(); fault != nil {
				if fault == http.ErrAbortHandler {
					panic(fault)
				}
				a.refuse(w, r, countersign.Errorf(countersign.Internal, "panic", "%v\n%s", fault, debug.Stack()))
			}
			took := a.Clock.Now().Sub(start)
			if a.Answered != nil {
				a.Answered(r.Pattern, w.status, took)
			}
			line := []slog.Attr{
				slog.String("method", countersign.Clip(r.Method)), slog.String("route", r.Pattern), slog.Int("status", w.status), slog.Int64("bytes", w.bytes),
				slog.Int64("milliseconds", took.Milliseconds()), slog.String("request_id", number),
			}
			if w.caller != nil {
				line = append(line, slog.String("identity", string(w.caller.caller.Identity)), slog.String("token", string(w.caller.token.ID)))
			}
			a.Log.LogAttrs(r.Context(), slog.LevelInfo, "answered", line...)
		}()
		next.ServeHTTP(w, r)
	})
}

// recorder notes what was answered, and to whom.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	caller *session
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is below.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func begun(w http.ResponseWriter) bool {
	r, is := w.(*recorder)
	return is && r.status != 0
}

func noteCaller(w http.ResponseWriter, s *session) {
	if r, is := w.(*recorder); is {
		r.caller = s
	}
}

// printable reports whether the text is between 1 and most bytes of printable
// ASCII.
func printable(text string, most int) bool {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7e {
			return false
		}
	}
	return text != "" && len(text) <= most
}
