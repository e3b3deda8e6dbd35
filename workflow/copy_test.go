package workflow_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// A copy is equal and shares nothing, whatever of a state is filled.
func TestACopyIsEqualAndSharesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		copied(t, rapid.Make[countersign.Request]().Draw(t, "request"))
		copied(t, rapid.Make[countersign.Grant]().Draw(t, "grant"))
	})
}

func copied[T any](t *rapid.T, state T) {
	made := workflow.Copy(&state)
	if !reflect.DeepEqual(*made, state) {
		t.Fatalf("the copy of\n%+v is\n%+v", state, *made)
	}
	apart(t, "", reflect.ValueOf(*made), reflect.ValueOf(state))
}

// apart fails where both hold the same memory.
func apart(t *rapid.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if !a.IsNil() && a.Pointer() == b.Pointer() && (a.Kind() != reflect.Slice || a.Cap() > 0) && a.Type().Elem().Size() > 0 {
			t.Fatalf("%s is shared", path)
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		if !a.IsNil() {
			apart(t, path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		for i := range a.NumField() {
			apart(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range a.Len() {
			apart(t, path+"[]", a.Index(i), b.Index(i))
		}
	case reflect.Map:
		for _, key := range a.MapKeys() {
			apart(t, path+"[]", a.MapIndex(key), b.MapIndex(key))
		}
	}
}
