package httpapi_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// anyJSON draws values of all sorts, strange ones among them.
func anyJSON(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		most := 7
		if depth == 0 {
			most = 5
		}
		switch rapid.IntRange(0, most).Draw(t, "sort") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.SampledFrom([]json.Number{"0", "-1", "1", "86400", "2592000", "9007199254740993", "9223372036854775807", "1e3", "0.5", "-0", "1e400"}).Draw(t, "number")
		case 3:
			return rapid.SampledFrom([]string{"", "x", "\x00", "\u202e", "SR-1042", "wiki/pages/editor", "payments-api/payments/payments:read", "svc-billing",
				"mina.park", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "-1-01-01T00:00:00Z", "sha256:", "role-access", "api-key", "\ufffd"}).Draw(t, "text")
		case 4, 5:
			return rapid.StringN(0, 12, 40).Draw(t, "any text")
		case 6:
			return rapid.SliceOfN(anyJSON(depth-1), 0, 3).Draw(t, "list")
		default:
			return rapid.MapOfN(rapid.SampledFrom([]string{"purpose", "consumer", "slot", "text", "base64", "x", ""}), anyJSON(depth-1), 0, 3).Draw(t, "object")
		}
	})
}

// Whatever is sent, the answer is never a fault of ours.
func TestNothingThatIsSentMakesAFaultOfOurs(t *testing.T) {
	w := newWorld(t)
	w.token("mina.park")
	rapid.Check(t, func(r *rapid.T) {
		body := map[string]any{}
		for _, key := range []string{"type", "beneficiary", "entitlements", "reason", "duration", "until", "answers", "evidence", "route"} {
			switch {
			case rapid.IntRange(0, 2).Draw(r, key) > 0:
			case key == "entitlements":
				body[key] = rapid.SliceOfN(rapid.SampledFrom([]string{"wiki/pages/editor", "payments-api/payments/payments:read", "x", ""}), 0, 3).Draw(r, "entitlements")
			case key == "answers":
				body[key] = rapid.MapOfN(rapid.SampledFrom([]string{"purpose", "consumer", "x", "\ufffd"}), anyJSON(2), 0, 3).Draw(r, "answers")
			default:
				body[key] = anyJSON(2).Draw(r, "value")
			}
		}
		if rapid.Bool().Draw(r, "sensible") {
			body["entitlements"] = []string{"wiki/pages/editor"}
		}
		path := rapid.SampledFrom([]string{"/api/v1/requests/preview", "/api/v1/requests"}).Draw(r, "path")
		if got := w.call("mina.park", "POST", path, body); got.Status >= 500 {
			r.Fatalf("%d %s", got.Status, got.Body)
		}
	})
}
