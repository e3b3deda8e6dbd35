package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/countersign/countersign"
)

func malformed(format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-body", format, args...)
}

// checkJSON refuses what encoding/json would let pass when it reads the text
// into the type: unknown and missing keys, keys in another case or twice, null,
// deep nesting, and what follows the one value.
func checkJSON(text []byte, into reflect.Type) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	c := checker{decoder, text}
	if err := c.value(into, "", 0); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return malformed("Something follows after the JSON object.")
	}
	return nil
}

type checker struct {
	decoder *json.Decoder
	text    []byte
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value checks the next value for the type; nil is any type.
func (c checker) value(into reflect.Type, at string, depth int) error {
	token, err := c.token(at)
	if err != nil {
		return err
	}
	if into != nil && into.Kind() == reflect.Pointer {
		into = into.Elem()
	}
	if into == rawType {
		into = nil
	}
	if opening, nested := token.(json.Delim); nested {
		if depth == maxDepth {
			return malformed("The body is nested deeper than %d levels.", maxDepth).At(at)
		}
		if opening == '{' {
			return c.object(into, at, depth+1)
		}
		return c.array(into, at, depth+1)
	}
	return checkScalar(token, into, at)
}

func (c checker) array(into reflect.Type, at string, depth int) error {
	var element reflect.Type
	if into != nil {
		if into.Kind() != reflect.Slice {
			return wrongType(at, "a list", into)
		}
		element = into.Elem()
	}
	for i := 0; c.decoder.More(); i++ {
		if err := c.value(element, fmt.Sprintf("%s/%d", at, i), depth); err != nil {
			return err
		}
	}
	return c.closing()
}

func (c checker) object(into reflect.Type, at string, depth int) error {
	var keys map[string]key
	if into != nil {
		if into.Kind() != reflect.Struct {
			return wrongType(at, "an object", into)
		}
		keys = keysOf(into)
	}
	seen := map[string]bool{}
	for c.decoder.More() {
		token, err := c.token(at)
		if err != nil {
			return err
		}
		name, _ := token.(string)
		here := at + "/" + pointer(name)
		known, is := keys[name]
		switch {
		case seen[name]:
			return countersign.Errorf(countersign.Invalid, "key-twice", "The key %q stands twice in one object.", countersign.Clip(name)).At(here)
		case into != nil && !is:
			return countersign.Errorf(countersign.Invalid, "unknown-key", "There is no key %q here%s", countersign.Clip(name), hint(name, sortedKeys(keys))).At(here)
		}
		seen[name] = true
		if err := c.value(known.into, here, depth); err != nil {
			return err
		}
	}
	if err := c.closing(); err != nil {
		return err
	}
	for _, name := range sortedKeys(keys) {
		if keys[name].required && !seen[name] {
			return countersign.Errorf(countersign.Invalid, "missing-key", "The key %q is missing.", name).At(at + "/" + name)
		}
	}
	return nil
}

func (c checker) closing() error {
	_, err := c.token("")
	return err
}

// token reads the next token. Half of a surrogate pair is refused: encoding/json
// would put U+FFFD in its place, so that something else would be kept than was
// sent. As in canonical bytes, U+FFFD itself stands as it is or not at all.
func (c checker) token(at string) (json.Token, error) {
	start := c.decoder.InputOffset()
	token, err := c.decoder.Token()
	if err != nil {
		return nil, notJSON(c.decoder.InputOffset(), err)
	}
	if text, is := token.(string); is {
		if wanted := strings.Count(text, "\uFFFD"); wanted != bytes.Count(c.text[start:c.decoder.InputOffset()], []byte("\uFFFD")) {
			return nil, malformed("This text has an escape that stands for no character.").At(at)
		}
	}
	return token, nil
}

// checkScalar checks a value that is neither object nor list.
func checkScalar(token json.Token, into reflect.Type, at string) error {
	if into == nil {
		return nil
	}
	if token == nil {
		return malformed("This is null: leave the key out instead.").At(at)
	}
	switch value := token.(type) {
	case string:
		if reader := reflect.New(into); reader.Type().Implements(textType) {
			err := reader.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(value))
			var known *countersign.Error
			if errors.As(err, &known) {
				return known.At(at)
			}
			return err
		}
		if into.Kind() == reflect.String {
			return nil
		}
	case bool:
		if into.Kind() == reflect.Bool {
			return nil
		}
	case json.Number:
		if into.Kind() == reflect.Int64 && !reflect.PointerTo(into).Implements(textType) {
			if _, err := value.Int64(); err == nil {
				return nil
			}
		}
	}
	return wrongType(at, "", into)
}

// wrongType says what should stand at the place; given is what stands there.
func wrongType(at, given string, wanted reflect.Type) error {
	want := "an object"
	switch {
	case reflect.PointerTo(wanted).Implements(textType), wanted.Kind() == reflect.String:
		want = "a text"
	case wanted.Kind() == reflect.Slice:
		want = "a list"
	case wanted.Kind() == reflect.Int64:
		want = "a whole number"
	case wanted.Kind() == reflect.Bool:
		want = "true or false"
	}
	if given != "" {
		given = ", not " + given
	}
	return malformed("This must be %s%s.", want, given).At(at)
}

func notJSON(offset int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("The body ends before the JSON object does.")
	}
	return malformed("The body is not JSON: near byte %d, %v.", offset, err)
}

// key is what a type says about one key of an object.
type key struct {
	into     reflect.Type
	required bool
}

func keysOf(object reflect.Type) map[string]key {
	keys := map[string]key{}
	for field := range object.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys[name] = key{field.Type, !strings.Contains(options, "omitempty")}
	}
	return keys
}

// pointer escapes a key for a JSON pointer (RFC 6901).
func pointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(countersign.Clip(name))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hint ends a sentence about an unknown word with what would be right.
func hint(word string, known []string) string {
	if len(known) == 0 {
		return "; there are none."
	}
	if near := countersign.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; there are " + strings.Join(known, ", ") + "."
}
