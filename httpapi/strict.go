package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

// Bounds on what a caller may send: bytes of body, bytes of a file as it is, levels
// of nesting, bytes of an Idempotency-Key.
const (
	maxBody  = 1 << 20
	maxFile  = desk.MaxEvidence
	maxDepth = 32
	maxKey   = 200
)

// strict reads what was sent once, and refuses everything that the operation
// would otherwise pass over. The generated code then reads the same bytes again.
func (a *api) strict(route route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := checkRequest(w, r, route)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		s := sessionOf(r.Context())
		s.key = desk.Key{Route: r.Method + " " + r.URL.Path, Value: r.Header.Get("Idempotency-Key"), Body: countersign.DigestBytes("idempotency", body)}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !route.endless {
			ctx, cancel := context.WithTimeout(desk.Answering(r.Context()), requestTime)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

func checkRequest(w http.ResponseWriter, r *http.Request, route route) ([]byte, error) {
	if err := checkQuery(r.URL.RawQuery, route.query); err != nil {
		return nil, err
	}
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 1 || len(keys) == 1 && !printable(keys[0], maxKey) {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-idempotency-key", "An Idempotency-Key stands once and has between 1 and %d printable ASCII characters.", maxKey).At("Idempotency-Key")
	}
	if route.upload {
		return readFile(w, r)
	}
	return readBody(w, r, route.body)
}

// readFile reads a file that is sent as it is.
func readFile(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	encoding := r.Header.Get("Content-Encoding")
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/octet-stream" || encoding != "" && encoding != "identity" {
		return nil, countersign.Errorf(countersign.Invalid, "wrong-content-type", "Send the file as application/octet-stream, as it is; it was sent as %q.", countersign.Clip(r.Header.Get("Content-Type")+" "+encoding)).At("Content-Type")
	}
	return readBytes(w, r, maxFile)
}

func readBytes(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, countersign.Errorf(countersign.TooLarge, "body-too-large", "A body has at most %d bytes here.", most)
	case err != nil:
		return nil, countersign.Errorf(countersign.Invalid, "body-broken-off", "The body could not be read to its end.").Because(err)
	}
	return body, nil
}

// readBody reads and checks the body for the type; nil expects none.
func readBody(w http.ResponseWriter, r *http.Request, into reflect.Type) ([]byte, error) {
	body, err := readBytes(w, r, maxBody)
	switch {
	case err != nil:
		return nil, err
	case into == nil && len(body) > 0:
		return nil, countersign.Errorf(countersign.Invalid, "body-not-expected", "This operation reads no body; send none.")
	case into == nil:
		return nil, nil
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, named := parameters["charset"]
	encoding := r.Header.Get("Content-Encoding")
	if err != nil || media != "application/json" || named && !strings.EqualFold(charset, "utf-8") || encoding != "" && encoding != "identity" {
		return nil, countersign.Errorf(countersign.Invalid, "wrong-content-type", "Send the body as application/json in UTF-8, not compressed; it was sent as %q.", countersign.Clip(r.Header.Get("Content-Type")+" "+encoding)).At("Content-Type")
	}
	if !utf8.Valid(body) {
		return nil, malformed("The body is not valid UTF-8.")
	}
	return body, checkJSON(body, into)
}

// checkQuery refuses parameters that the operation does not have, that have no
// value, or that stand twice without being a list.
func checkQuery(raw string, parameters reflect.Type) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return countersign.Errorf(countersign.Invalid, "malformed-query", "What stands after the question mark is not a query: percent signs and separators must be escaped.")
	}
	lists := map[string]bool{}
	if parameters != nil {
		for field := range parameters.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("form"), ",")
			lists[name] = field.Type.Kind() == reflect.Slice
		}
	}
	for _, name := range sortedKeys(values) {
		list, known := lists[name]
		switch {
		case !known:
			return countersign.Errorf(countersign.Invalid, "unknown-parameter", "There is no parameter %q here%s", countersign.Clip(name), hint(name, sortedKeys(lists))).At(countersign.Clip(name))
		case slices.Contains(values[name], ""):
			return countersign.Errorf(countersign.Invalid, "malformed-parameter", "The parameter %q has no value; leave it out instead.", name).At(name)
		case len(values[name]) > 1 && !list:
			return countersign.Errorf(countersign.Invalid, "parameter-twice", "The parameter %q stands more than once; send it once.", name).At(name)
		}
	}
	return nil
}
