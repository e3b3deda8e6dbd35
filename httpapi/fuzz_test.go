package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/countersign/countersign"
)

// FuzzCursor: a cursor is refused, or leads to an id whose cursor is the same.
func FuzzCursor(f *testing.F) {
	f.Add("", "req")
	f.Add(cursorAt("req_01h2xcejqtf2nbrexx3vqjhp41"), "req")
	f.Add(cursorAt("grt_01h2xcejqtf2nbrexx3vqjhp41"), "req")
	f.Add("MTo=", "req")
	f.Add("MjpyZXFfMDFoMnhjZWpxdGYybmJyZXh4M3ZxamhwNDE", "req")
	f.Fuzz(func(t *testing.T, cursor, prefix string) {
		if _, known := countersign.Prefixes[prefix]; !known {
			return
		}
		id, err := readCursor(prefix, cursor)
		switch {
		case err != nil:
			if countersign.KindOf(err) != countersign.Invalid || countersign.ReasonOf(err) != "malformed-cursor" {
				t.Fatalf("%q: got %v", cursor, err)
			}
		case cursor == "":
			if id != "" {
				t.Fatalf("no cursor leads to %q", id)
			}
		case cursorAt(id) != cursor || countersign.CheckID(prefix, id) != nil:
			t.Fatalf("%q leads to %q, whose cursor is %q", cursor, id, cursorAt(id))
		}
	})
}

// FuzzIdempotencyKey: a key is refused by name, or is printable and taken as it is.
func FuzzIdempotencyKey(f *testing.F) {
	for _, key := range []string{"", "k1", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", "a b", "a\tb", "é", "\x7f"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/requests", nil)
		r.Header["Idempotency-Key"] = []string{key}
		_, err := checkRequest(httptest.NewRecorder(), r, route{})
		taken := key != "" && len(key) <= maxKey
		for _, letter := range []byte(key) {
			taken = taken && letter >= ' ' && letter <= '~'
		}
		if taken != (err == nil) || err != nil && countersign.ReasonOf(err) != "malformed-idempotency-key" {
			t.Fatalf("the key %q: got %v", key, err)
		}
		r.Header["Idempotency-Key"] = []string{key, key}
		if _, err := checkRequest(httptest.NewRecorder(), r, route{}); countersign.ReasonOf(err) != "malformed-idempotency-key" {
			t.Fatalf("the key %q twice: got %v", key, err)
		}
	})
}

// FuzzBody: what is taken is read by encoding/json into the same type, without
// unknown names; whatever is not, is refused as malformed.
func FuzzBody(f *testing.F) {
	for _, text := range []string{
		`{"entitlements":["wiki/pages/editor"],"reason":"I write the handbook.","duration":"10d","answers":{"purpose":"x"}}`,
		`{"reason":"a","reason":"b"}`, `{"Reason":"a"}`, `{"reasn":"a"}`, `{"reason":1}`, `[]`, `null`, `{} {}`, `{"entitlements":null}`, `{"answers":{"a":{"a":1,"a":2}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := checkJSON(text, reflect.TypeFor[Asking]())
		if err != nil {
			if countersign.KindOf(err) != countersign.Invalid {
				t.Fatalf("%q: %v is not Invalid", text, err)
			}
			return
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		var asking Asking
		if err := strict.Decode(&asking); err != nil {
			t.Fatalf("%q is taken, and encoding/json says %v", text, err)
		}
	})
}

// FuzzQuery: parameters are known ones with a value, or refused by name.
func FuzzQuery(f *testing.F) {
	for _, raw := range []string{"", "limit=5&state=active&state=closed", "limit=5&limit=6", "limt=5", "limit", "%zz", "limit=5;cursor=x"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if err := checkQuery(raw, reflect.TypeFor[ListRequestsParams]()); err != nil && countersign.KindOf(err) != countersign.Invalid {
			t.Fatalf("%q: %v is not Invalid", raw, err)
		}
	})
}
