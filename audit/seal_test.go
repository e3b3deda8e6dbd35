package audit_test

import (
	"bytes"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
)

type opened struct {
	Change  openedChange   `json:"change"`
	Reason  *openedReason  `json:"reason,omitempty"`
	Subject *openedSubject `json:"subject"`
}
type openedChange struct {
	Title string `json:"title"`
}
type openedReason struct {
	Text string `json:"text"`
}
type openedSubject struct {
	Name string `json:"name"`
}

func (*opened) EventKind() string { return "door.opened@1" }

type astray struct {
	Elsewhere string `json:"elsewhere"`
}

func (*astray) EventKind() string { return "door.astray@1" }

const noon = countersign.Instant(1_790_000_000_000)

func seal(t *testing.T, seq int64, prev countersign.Hash, payload countersign.Payload) countersign.SealedEvent {
	t.Helper()
	mint := countersign.NewMint([32]byte{1}, noon)
	sealed, err := audit.Seal(seq, prev, audit.Stamp{Time: noon, Actor: countersign.SystemTimer}, mint, countersign.Event{Stream: countersign.StreamHouse, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestAnEventCommitsToEachGroupThatItFills(t *testing.T) {
	sealed := seal(t, 0, countersign.Hash{}, &opened{Change: openedChange{"front"}, Reason: &openedReason{"delivery"}})
	if len(sealed.Values) != 2 || len(sealed.Header.Commitments) != 2 {
		t.Fatalf("values %d and commitments %d, want the two filled groups", len(sealed.Values), len(sealed.Header.Commitments))
	}
	for _, value := range sealed.Values {
		if sealed.Header.Commitments[value.Group] != value.Commitment() {
			t.Errorf("the commitment of %s does not open with its value", value.Group)
		}
	}
	if bytes.Equal(sealed.Values[0].Salt[:], sealed.Values[1].Salt[:]) {
		t.Error("two groups share a salt")
	}
	if string(sealed.Values[1].Bytes) != `{"text":"delivery"}` {
		t.Errorf("reason is %s", sealed.Values[1].Bytes)
	}
}

func TestAnEventIsLinkedToTheOneBefore(t *testing.T) {
	first := seal(t, 0, countersign.Hash{}, &opened{})
	second := seal(t, first.Header.Seq, first.Hash, &opened{})
	if first.Header.Seq != 1 || second.Header.Seq != 2 || second.Header.Prev != first.Hash {
		t.Errorf("events %d and %d, the second after %s, want 1 and 2 after %s", first.Header.Seq, second.Header.Seq, second.Header.Prev, first.Hash)
	}
	again, err := second.Header.Hash()
	if err != nil || again != second.Hash {
		t.Errorf("the hash %s does not follow from the header: %s, %v", second.Hash, again, err)
	}
}

func TestAnEventThatCannotBeProvedIsNotSealed(t *testing.T) {
	house := countersign.Event{Stream: countersign.StreamHouse, Payload: &opened{}}
	stamp := audit.Stamp{Time: noon, Actor: countersign.SystemTimer}
	for name, refused := range map[string]struct {
		seq   int64
		prev  countersign.Hash
		stamp audit.Stamp
		event countersign.Event
		want  string
	}{
		"later event without a hash before it": {seq: 3, stamp: stamp, event: house, want: "broken-chain"},
		"first event with a hash before it":    {prev: countersign.Hash{1}, stamp: stamp, event: house, want: "broken-chain"},
		"no time":                              {stamp: audit.Stamp{Actor: countersign.SystemTimer}, event: house, want: "incomplete-event"},
		"no actor":                             {stamp: audit.Stamp{Time: noon}, event: house, want: "incomplete-event"},
		"no stream":                            {stamp: stamp, event: countersign.Event{Payload: &opened{}}, want: "incomplete-event"},
		"value outside of the groups":          {stamp: stamp, event: countersign.Event{Stream: "house", Payload: &astray{}}, want: "unknown-value-group"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := audit.Seal(refused.seq, refused.prev, refused.stamp, countersign.NewMint([32]byte{}, noon), refused.event)
			if countersign.ReasonOf(err) != refused.want {
				t.Errorf("got %v, want %s", err, refused.want)
			}
		})
	}
}
