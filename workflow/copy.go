package workflow

import (
	"fmt"
	"reflect"
)

// Copy returns a deep copy of a state. Apply takes its argument over; copy what
// must stay as it was.
func Copy[T any](from *T) *T {
	copied := new(T)
	*copied = *from
	own(reflect.ValueOf(copied).Elem())
	return copied
}

// own replaces what the value shares with the one that it was assigned from by
// copies. A state is plain data: numbers, texts, structs, pointers, lists, maps.
func own(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			copied := reflect.New(value.Type().Elem())
			copied.Elem().Set(value.Elem())
			own(copied.Elem())
			value.Set(copied)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			own(value.Field(i))
		}
	case reflect.Slice:
		if value.IsNil() {
			return
		}
		copied := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		reflect.Copy(copied, value)
		value.Set(copied)
		ownEach(copied)
	case reflect.Array:
		ownEach(value)
	case reflect.Map:
		if value.IsNil() {
			return
		}
		copied := reflect.MakeMapWithSize(value.Type(), value.Len())
		for _, key := range value.MapKeys() {
			member := reflect.New(value.Type().Elem()).Elem()
			member.Set(value.MapIndex(key))
			own(member)
			copied.SetMapIndex(key, member)
		}
		value.Set(copied)
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		panic(fmt.Sprintf("workflow: a state that holds a %s cannot be copied", value.Type()))
	default:
	}
}

func ownEach(list reflect.Value) {
	switch list.Type().Elem().Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map, reflect.Interface:
		for i := range list.Len() {
			own(list.Index(i))
		}
	default:
	}
}
