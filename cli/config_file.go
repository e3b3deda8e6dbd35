package cli

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// settingsReader reads one YAML file into a struct, strictly, and collects every
// mistake with its place.
type settingsReader struct {
	file     string
	problems []string
}

func (r *settingsReader) problem(line, column int, format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf("%s:%d:%d: ", r.file, line, column)+fmt.Sprintf(format, args...))
}

func (r *settingsReader) at(node *yaml.Node, format string, args ...any) {
	r.problem(node.Line, node.Column, format, args...)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// readSettings reads the content of a file; an empty one sets nothing.
func readSettings(file string, content []byte, into any) error {
	r := &settingsReader{file: file}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if err == nil {
		r.read(document.Content[0], reflect.ValueOf(into).Elem(), "")
		if err = decoder.Decode(&second); err == nil {
			r.at(&second, "the file holds one document; remove the --- and what follows")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		line, message := 1, strings.TrimPrefix(err.Error(), "yaml: ")
		if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
			line, _ = strconv.Atoi(found[1])
			message = strings.TrimPrefix(err.Error(), found[0])
		}
		r.problem(line, 1, "this is not YAML: %s", message)
	}
	if len(r.problems) == 0 {
		return nil
	}
	return invalid("%s", strings.Join(r.problems, "\n"))
}

// read takes one value; name is the way to it, as limits.submit.
func (r *settingsReader) read(node *yaml.Node, into reflect.Value, name string) {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		r.at(node, "anchors and aliases are not read; write the value out")
	case node.ShortTag() == "!!null":
		r.at(node, "%s has no value; leave the key out instead", what(name))
	case into.Addr().Type().Implements(reflect.TypeFor[yaml.Unmarshaler]()):
		if err := into.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(node); err != nil {
			r.at(node, "%s: %v", name, err)
		}
	case into.Addr().Type().Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		if node.Kind != yaml.ScalarNode {
			r.at(node, "%s is one value", what(name))
		} else if err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(node.Value)); err != nil {
			r.at(node, "%s: %v", name, err)
		}
	case into.Kind() == reflect.String:
		if node.ShortTag() != "!!str" {
			r.at(node, "%s is a text; put it in quotes where YAML reads something else", what(name))
			return
		}
		into.SetString(node.Value)
	case node.Kind != yaml.MappingNode:
		r.at(node, "%s is a mapping of keys to values", what(name))
	default:
		r.mapping(node, into, name)
	}
}

func (r *settingsReader) mapping(node *yaml.Node, into reflect.Value, name string) {
	known := map[string]reflect.Value{}
	var names []string
	if into.Kind() == reflect.Struct {
		for field, value := range into.Fields() {
			key := field.Tag.Get("yaml")
			known[key] = value
			names = append(names, key)
		}
	} else {
		into.Set(reflect.MakeMap(into.Type()))
	}
	var seen []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		full := strings.TrimPrefix(name+"."+key.Value, ".")
		field, is := known[key.Value]
		switch {
		case slices.Contains(seen, key.Value):
			r.at(key, "%q stands twice", countersign.Clip(key.Value))
		case key.ShortTag() != "!!str" || into.Kind() == reflect.Struct && !is:
			r.at(key, "%q is not a key of %s%s", countersign.Clip(key.Value), what(name), rightWord(key.Value, names))
		case into.Kind() == reflect.Map:
			element := reflect.New(into.Type().Elem()).Elem()
			r.read(value, element, full)
			into.SetMapIndex(reflect.ValueOf(key.Value), element)
		default:
			r.read(value, field, full)
		}
		seen = append(seen, key.Value)
	}
}

func what(name string) string {
	if name == "" {
		return "the file"
	}
	return name
}

func rightWord(word string, names []string) string {
	if near := countersign.Nearest(word, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 {
		return "; its keys are texts"
	}
	return "; the keys are " + strings.Join(names, ", ")
}
