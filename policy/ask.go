package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/countersign/countersign"
)

// form is what a request type asks for.
type form struct {
	fields []field
	// text is the JSON Schema of the answers, canonical.
	text   json.RawMessage
	schema *jsonschema.Schema
}

// field is one thing asked for.
type field struct {
	name     string
	kind     string
	format   string
	optional bool
	// standard is used where the answer is absent; nil for none.
	standard any
	enum     []string
	// minLength and minimum let a policy's own tests answer what they leave out.
	minLength        int
	minimum, maximum int64
}

const recordFormat = "system-record"

var (
	fieldForm  = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,63}$`)
	recordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

	fieldTypes   = []string{"string", "integer", "boolean", "array"}
	fieldFormats = []string{recordFormat, "date", "email", "uri"}
	// reservedFields cannot follow a dot in CEL.
	reservedFields = []string{"true", "false", "null", "in"}
)

// keysOf lists the schema keys that belong to each type beside the common ones.
var keysOf = map[string][]string{
	"string":  {"minLength", "maxLength", "pattern", "enum", "format"},
	"integer": {"minimum", "maximum"},
	"boolean": nil,
	"array":   {"items", "maxItems"},
}

var fieldKeys = []string{"type", "title", "description", "minLength", "maxLength", "pattern", "enum", "minimum", "maximum", "items", "maxItems", "default", "format", "optional"}

func readForm(s *source, node *yaml.Node) *form {
	f := &form{}
	properties, required := map[string]any{}, []string{}
	if node != nil {
		m := s.mapping(node, "`ask`")
		for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
			key := node.Content[i]
			if !fieldForm.MatchString(key.Value) || slices.Contains(reservedFields, key.Value) {
				s.problem(key, "`%s` cannot be the name of a field: write it as in purpose or data_class", countersign.Clip(key.Value))
				continue
			}
			read, schema := readField(s, key.Value, m.values[key.Value])
			f.fields = append(f.fields, read)
			properties[key.Value] = schema
			if !read.optional && read.standard == nil {
				required = append(required, key.Value)
			}
		}
	}
	if len(s.problems) > 0 {
		return f
	}
	document := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"properties": properties, "required": required, "additionalProperties": false,
	}
	var err error
	if f.text, err = countersign.Canonical(document); err == nil {
		f.schema, err = compileSchema(f.text)
	}
	if err != nil {
		s.problem(node, "`ask` is no usable JSON Schema: %s", err)
		return f
	}
	for _, field := range f.fields {
		if field.standard == nil {
			continue
		}
		if wrong := f.check(map[string]any{field.name: field.standard}, field.name); len(wrong) > 0 {
			s.problem(node, "the default of `%s` is no valid answer: %s", field.name, wrong[0].Because)
		}
	}
	return f
}

func compileSchema(text []byte) (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.RegisterFormat(&jsonschema.Format{Name: recordFormat, Validate: func(value any) error {
		if key, isText := value.(string); isText && !recordForm.MatchString(key) {
			return errors.New("not the key of a system record")
		}
		return nil
	}})
	// An absolute name, because a relative one would be resolved by the process's folder.
	const name = "urn:countersign:ask"
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
}

func readField(s *source, name string, node *yaml.Node) (field, map[string]any) {
	m := s.mapping(node, "the field `"+name+"`", fieldKeys...)
	m.require("type")
	f := field{name: name, kind: word(m, "type", "type", fieldTypes), optional: m.flag("optional")}
	schema := m.schema(&f)
	if node := m.values["default"]; node != nil && f.kind != "" {
		f.standard = m.answer(node, f.kind)
		schema["default"] = f.standard
	}
	return f, schema
}

// schema reads what belongs to the field's type.
func (m *mapping) schema(f *field) map[string]any {
	schema := map[string]any{"type": f.kind}
	for _, key := range []string{"title", "description"} {
		if m.has(key) {
			schema[key] = m.text(key)
		}
	}
	if f.kind == "" {
		return schema
	}
	for _, key := range []string{"minLength", "maxLength", "pattern", "enum", "format", "minimum", "maximum", "items", "maxItems"} {
		if !m.has(key) {
			continue
		}
		if !slices.Contains(keysOf[f.kind], key) {
			m.problem(m.keys[key], "`%s` does not belong to the type %s", key, f.kind)
			continue
		}
		switch key {
		case "minLength", "maxLength", "maxItems":
			schema[key] = m.number(key, 0, 0, 1<<20)
		case "minimum", "maximum":
			schema[key] = m.number(key, 0, -(1 << 53), 1<<53)
		case "pattern":
			pattern := m.text(key)
			if _, err := regexp.Compile(pattern); err != nil {
				m.problem(m.values[key], "`pattern` is not a regular expression: %s", err)
			}
			schema[key] = pattern
		case "format":
			f.format = word(m, key, key, fieldFormats)
			schema[key] = f.format
		case "enum":
			if f.enum = m.names(key); len(f.enum) == 0 {
				m.problem(m.values[key], "`enum` names no value")
			}
			schema[key] = f.enum
		case "items":
			items := m.mapping(m.values[key], "`items`", "type", "title", "description", "minLength", "maxLength", "pattern", "enum", "format")
			items.require("type")
			entry := field{kind: word(items, "type", "type", []string{"string"})}
			schema[key] = items.schema(&entry)
			f.enum = entry.enum
		}
	}
	if f.kind == "array" && !m.has("items") {
		schema["items"] = map[string]any{"type": "string"}
	}
	f.minLength = m.number("minLength", 0, 0, 1<<20)
	f.minimum = int64(m.number("minimum", 0, -(1 << 53), 1<<53))
	f.maximum = int64(m.number("maximum", 1<<53, -(1 << 53), 1<<53))
	return schema
}

// answer reads an answer that a policy file gives, for a field of the kind.
func (s *source) answer(node *yaml.Node, kind string) any {
	var value any
	wanted := map[string]string{"string": "a text", "integer": "a whole number", "boolean": "true or false", "array": "a list of texts"}[kind]
	var err error
	switch {
	case kind == "array" && node.Kind == yaml.SequenceNode:
		list := []any{}
		for _, item := range s.each(node, "the list") {
			list = append(list, item.Value)
		}
		return list
	case node.Kind != yaml.ScalarNode || kind == "array":
		err = errors.New("another kind of value")
	case kind == "string":
		return node.Value
	case kind == "integer":
		var n int64
		err = node.Decode(&n)
		value = json.Number(fmt.Sprint(n))
	case kind == "boolean":
		var b bool
		err = node.Decode(&b)
		value = b
	}
	if err != nil {
		s.problem(node, "this should be %s", wanted)
		return nil
	}
	return value
}

// celType is the type of the field's answer in conditions.
func (f field) celType() *cel.Type {
	switch f.kind {
	case "integer":
		return cel.IntType
	case "boolean":
		return cel.BoolType
	case "array":
		return cel.ListType(cel.StringType)
	}
	return cel.StringType
}

// decode returns the answers as JSON values; an absent text is no answers.
func (f *form) decode(text json.RawMessage) (map[string]any, *Refusal) {
	if len(text) == 0 {
		return map[string]any{}, nil
	}
	canonical, err := countersign.CanonicalJSON(text)
	if err != nil {
		return map[string]any{}, &Refusal{Reason: "invalid-answer", Field: "/answers", Because: "The answers cannot be read: " + err.Error() + "."}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(canonical))
	answers, isObject := value.(map[string]any)
	if err != nil || !isObject {
		return map[string]any{}, &Refusal{Reason: "invalid-answer", Field: "/answers", Because: "The answers must be a JSON object with one member for each field."}
	}
	return answers, nil
}

// view makes the answers what conditions see: typed, with defaults. An answer of
// a wrong type is left out, and reading it is an error.
func (f *form) view(answers map[string]any) *answerFields {
	view := &answerFields{map[string]any{}}
	for _, field := range f.fields {
		answer, given := answers[field.name]
		if !given {
			answer = field.standard
		}
		switch answer := answer.(type) {
		case string:
			if field.kind == "string" {
				view.values[field.name] = answer
			}
		case bool:
			if field.kind == "boolean" {
				view.values[field.name] = answer
			}
		case json.Number:
			if n, err := answer.Int64(); err == nil && field.kind == "integer" {
				view.values[field.name] = n
			}
		case []any:
			texts := make([]string, 0, len(answer))
			for _, item := range answer {
				if text, isText := item.(string); isText {
					texts = append(texts, text)
				}
			}
			if field.kind == "array" && len(texts) == len(answer) {
				view.values[field.name] = texts
			}
		}
	}
	return view
}

// check returns what is wrong with the answers; with only given, what is wrong
// with that field.
func (f *form) check(answers map[string]any, only string) []Refusal {
	err := f.schema.Validate(answers)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	var refusals []Refusal
	f.explain(invalid, &refusals)
	slices.SortFunc(refusals, func(a, b Refusal) int {
		return strings.Compare(a.Field+a.Because, b.Field+b.Because)
	})
	if only != "" {
		refusals = slices.DeleteFunc(refusals, func(r Refusal) bool { return r.Field != "/answers/"+only })
	}
	return refusals
}

func (f *form) explain(invalid *jsonschema.ValidationError, refusals *[]Refusal) {
	for _, cause := range invalid.Causes {
		f.explain(cause, refusals)
	}
	if len(invalid.Causes) > 0 {
		return
	}
	pointer, name := "/answers", "The answers"
	for i, part := range invalid.InstanceLocation {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
		if i == 0 {
			name = "`" + countersign.Clip(part) + "`"
		}
	}
	if len(invalid.InstanceLocation) > 1 {
		name = "Each entry of " + name
	}
	refuse := func(field, format string, args ...any) {
		*refusals = append(*refusals, Refusal{Reason: "invalid-answer", Field: field, Because: fmt.Sprintf(format, args...)})
	}
	switch wrong := invalid.ErrorKind.(type) {
	case *kind.Required:
		for _, field := range wrong.Missing {
			refuse(pointer+"/"+field, "`%s` is missing: it must be answered.", field)
		}
	case *kind.AdditionalProperties:
		for _, field := range wrong.Properties {
			refuse(pointer+"/"+countersign.Clip(field), "There is no field for this: %s", unknown("answer", field, f.names()))
		}
	case *kind.Type:
		refuse(pointer, "%s must be of the type %s, not %s.", name, strings.Join(wrong.Want, " or "), wrong.Got)
	case *kind.MinLength:
		refuse(pointer, "%s must have at least %s; it has %d.", name, counted(wrong.Want, "character", "characters"), wrong.Got)
	case *kind.MaxLength:
		refuse(pointer, "%s must have at most %s; it has %d.", name, counted(wrong.Want, "character", "characters"), wrong.Got)
	case *kind.MaxItems:
		refuse(pointer, "%s must have at most %s; it has %d.", name, counted(wrong.Want, "entry", "entries"), wrong.Got)
	case *kind.Pattern:
		refuse(pointer, "%s must match the pattern %s.", name, wrong.Want)
	case *kind.Enum:
		var allowed []string
		for _, value := range wrong.Want {
			allowed = append(allowed, fmt.Sprint(value))
		}
		refuse(pointer, "%s has an %s", name, unknown("value", fmt.Sprint(wrong.Got), allowed))
	case *kind.Minimum:
		refuse(pointer, "%s must be at least %s; it is %s.", name, whole(wrong.Want), whole(wrong.Got))
	case *kind.Maximum:
		refuse(pointer, "%s must be at most %s; it is %s.", name, whole(wrong.Want), whole(wrong.Got))
	case *kind.Format:
		refuse(pointer, "%s must be %s.", name, map[string]string{
			recordFormat: "the key of a system record, as in SR-1042", "date": "a date, as in 2026-01-31",
			"email": "an e-mail address", "uri": "an address, as in https://example.org/page",
		}[wrong.Want])
	default:
		refuse(pointer, "%s: %s.", name, invalid.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
	}
}

func whole(n *big.Rat) string { return n.RatString() }

func (f *form) names() []string {
	names := make([]string, len(f.fields))
	for i, field := range f.fields {
		names[i] = field.name
	}
	return names
}

func (f *form) find(name string) (field, bool) {
	for _, field := range f.fields {
		if field.name == name {
			return field, true
		}
	}
	return field{}, false
}
