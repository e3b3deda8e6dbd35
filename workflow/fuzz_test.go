package workflow_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// FuzzEvent reads arbitrary bytes as the values of an event of any released
// version: there is an error, or a payload whose bytes are read as the same
// payload; and replay takes it or refuses it. What reads a history that somebody
// wrote over must never panic.
func FuzzEvent(f *testing.F) {
	golden, err := os.ReadFile("testdata/events.txt")
	if err != nil {
		f.Fatal(err)
	}
	// Every line of the golden file, old versions included, together with the
	// change of its event.
	changes := map[string]string{}
	for line := range strings.Lines(string(golden)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		group, content, _ := strings.Cut(rest, " ")
		if group == string(countersign.ValueChange) {
			changes[kind] = content
		}
	}
	for line := range strings.Lines(string(golden)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		group, content, _ := strings.Cut(rest, " ")
		f.Add(kind, changes[kind], group, content)
	}
	f.Fuzz(func(t *testing.T, kind, change, group, content string) {
		event := countersign.SealedEvent{Header: countersign.Header{Stream: "req_01h2xcejqtf2nbrexx3vqjhp41", Seq: 1, Kind: kind, Time: 1769850000123, Actor: countersign.SystemHost}}
		event.Values = append(event.Values, countersign.Value{Group: countersign.ValueChange, Bytes: []byte(change)})
		if group != string(countersign.ValueChange) {
			event.Values = append(event.Values, countersign.Value{Group: countersign.ValueGroup(group), Bytes: []byte(content)})
		}
		payload, err := workflow.Registry.Decode(event)
		if err != nil {
			return
		}
		values, err := countersign.EncodePayload(payload)
		if err != nil {
			// What no canonical form has, a number beyond 2^53 say, was never written.
			return
		}
		event.Values = values
		again, err := workflow.Registry.Decode(event)
		if err != nil {
			t.Fatalf("%s is not read back: %v", kind, err)
		}
		twice, err := countersign.EncodePayload(again)
		if err != nil || !reflect.DeepEqual(values, twice) {
			t.Fatalf("%s is written as\n%s\nand then as\n%s", kind, values, twice)
		}
		replay := workflow.NewReplay()
		for range 2 {
			if err := replay.Apply(event.Header, payload); err != nil && err.Error() == "" {
				t.Fatal("an error without words")
			}
			event.Header.Seq++
		}
	})
}
