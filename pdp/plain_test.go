package pdp

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
)

// What is read as plain is what the general decoder reads, also where it was damaged;
// and nearly all that is written is plain.
func TestPlainRecordsAreReadAsTheGeneralDecoderReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[ -~]{0,12}`), rapid.String())
		wrote := record{
			Intent: countersign.IntentID(name.Draw(t, "intent")), Attempt: rapid.IntRange(0, 20).Draw(t, "attempt"), Grant: countersign.GrantID(name.Draw(t, "grant")),
			Subject: countersign.IdentityID(name.Draw(t, "subject")), Action: name.Draw(t, "action"), System: countersign.SystemID(name.Draw(t, "system")),
			Entitlement: countersign.EntitlementID(name.Draw(t, "entitlement")), Resource: name.Draw(t, "resource"),
			Until: countersign.Instant(rapid.Int64Range(0, 4_000_000_000_000).Draw(t, "until")),
		}
		if rapid.IntRange(0, 9).Draw(t, "removed") == 0 {
			wrote.RemovedAt = 1_790_000_000_000
		}
		body, err := json.Marshal(wrote)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "damaged") {
			body[rapid.IntRange(0, len(body)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "by")
		}
		if rapid.IntRange(0, 9).Draw(t, "cut off") == 0 {
			body = body[:rapid.IntRange(0, len(body)).Draw(t, "after")]
		}
		held, plain := decodePlain(body)
		if !plain {
			return
		}
		var want record
		if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(held, want) {
			t.Fatalf("%s is read as %+v, by the general decoder as %+v (%v)", body, held, want, err)
		}
	})
	if body := written(t); !isPlain(body) {
		t.Errorf("what is written is not plain: %s", body)
	}
}

// written is the record of an order as the shelf keeps it.
func written(t testing.TB) []byte {
	t.Helper()
	l := newLab(t, Options{})
	order := l.order()
	l.assign(order)
	item, err := l.shelf.Item(context.Background(), string(order.Credential))
	if err != nil {
		t.Fatal(err)
	}
	return item.Body
}

func isPlain(body []byte) bool {
	_, plain := decodePlain(body)
	return plain
}

func BenchmarkDecode(b *testing.B) {
	body := written(b)
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			if !isPlain(body) {
				b.Fatal("not plain")
			}
		}
	})
	b.Run("general", func(b *testing.B) {
		for b.Loop() {
			var held record
			if err := json.Unmarshal(body, &held); err != nil {
				b.Fatal(err)
			}
		}
	})
}
