package workflow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// Every released version of an event keeps its bytes: what is in a chain must be
// read for ten years. A kind that changes its form is a new version; its old
// lines in the golden file stay, with their decoder.
func TestEveryEventVersionKeepsItsBytes(t *testing.T) {
	var out strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(workflow.Registry)) {
		payload := reflect.New(workflow.Registry[kind])
		fill(payload.Elem(), kind, 0)
		values, err := countersign.EncodePayload(payload.Interface().(countersign.Payload))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, value := range values {
			fmt.Fprintf(&out, "%s %s %s\n", kind, value.Group, value.Bytes)
		}
	}
	const golden = "testdata/events.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("events are not what they were.\n got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestEveryEventIsReadBackAsItWasWritten(t *testing.T) {
	for kind, of := range workflow.Registry {
		payload := reflect.New(of)
		fill(payload.Elem(), kind, 0)
		written := payload.Interface().(countersign.Payload)
		values, err := countersign.EncodePayload(written)
		if err != nil {
			t.Fatal(err)
		}
		event := countersign.SealedEvent{Header: countersign.Header{Kind: kind}, Values: values}
		read, err := workflow.Registry.Decode(event)
		if err != nil || !reflect.DeepEqual(read, written) {
			t.Errorf("%s: read back %+v (%v), wrote %+v", kind, read, err, written)
		}
		// With everything erased that can be, the event is still read.
		event.Values = slices.DeleteFunc(slices.Clone(values), func(value countersign.Value) bool { return value.Group != countersign.ValueChange })
		if _, err := workflow.Registry.Decode(event); err != nil {
			t.Errorf("%s: not read after an erasure: %v", kind, err)
		}
	}
}

func TestAnUnknownKindStopsReplayByName(t *testing.T) {
	_, err := workflow.Registry.Decode(countersign.SealedEvent{Header: countersign.Header{Stream: "req_x", Seq: 3, Kind: "request.teleported@1"}})
	if countersign.ReasonOf(err) != "unknown-event-kind" || !strings.Contains(err.Error(), "request.teleported@1") {
		t.Errorf("the answer is %v", err)
	}
}

// fill sets every field to something that follows from its name, so that the
// bytes are the same each time.
func fill(value reflect.Value, name string, depth int) {
	switch value.Kind() {
	case reflect.String:
		value.SetString(strings.ToLower(name))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int64:
		if value.Type() == reflect.TypeFor[countersign.Instant]() {
			value.SetInt(1769850000123)
			return
		}
		value.SetInt(int64(len(name)))
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), name, depth)
	case reflect.Slice:
		if value.Type() == reflect.TypeFor[json.RawMessage]() {
			value.Set(reflect.ValueOf(json.RawMessage(`{"a":1}`)))
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), name, depth+1)
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(key, name, depth+1)
		fill(element, name, depth+1)
		value.SetMapIndex(key, element)
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			fill(value.Field(i), field.Name, depth+1)
		}
	}
}
