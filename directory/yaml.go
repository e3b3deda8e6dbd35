package directory

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

const (
	// MaxFile is the largest file that is read, in bytes.
	MaxFile  = 1 << 20
	maxDepth = 32
)

// reader turns one file into typed values and collects what is wrong with it.
type reader struct {
	file     string
	problems *problems
}

func (r *reader) spot(node *yaml.Node) spot { return spot{r.file, node.Line, node.Column} }

func (r *reader) problem(node *yaml.Node, format string, args ...any) {
	r.problems.add(r.spot(node), format, args...)
}

// parserLine finds the line in an error of the YAML parser.
var parserLine = regexp.MustCompile(`^yaml: line (\d+): `)

// root returns the one document of a file, or nil where there is none.
func (r *reader) root(content []byte) *yaml.Node {
	if len(content) > MaxFile {
		r.problems.add(spot{r.file, 1, 1}, "the file has %d bytes; %d are allowed", len(content), MaxFile)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if !r.plain(&document, 0) {
			return nil
		}
		if err = decoder.Decode(&second); err == nil {
			r.problem(&second, "a file holds one document; remove the --- and what follows")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		at, message := spot{r.file, 1, 1}, strings.TrimPrefix(err.Error(), "yaml: ")
		if found := parserLine.FindStringSubmatch(err.Error()); found != nil {
			at.line, _ = strconv.Atoi(found[1])
			message = strings.TrimPrefix(err.Error(), found[0])
		}
		r.problems.add(at, "this is not YAML: %s", message)
		return nil
	}
	if len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

// plain refuses what a reader of the file could overlook: references to other
// places, and nesting that no organisation needs.
func (r *reader) plain(node *yaml.Node, depth int) bool {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.problem(node, "anchors and aliases are not read; write the value out")
		return false
	}
	if depth > maxDepth {
		r.problem(node, "nested deeper than %d", maxDepth)
		return false
	}
	for _, child := range node.Content {
		if !r.plain(child, depth+1) {
			return false
		}
	}
	return true
}

// field reads the value of one key.
type field func(node *yaml.Node, key string, at spots)

type fields map[string]field

// mapping reads a mapping whose keys are exactly the given ones, and returns
// where they stand. What is how a person calls the thing, as in "a person".
func (r *reader) mapping(node *yaml.Node, what string, required []string, known fields) spots {
	at := spots{"": r.spot(node)}
	if node.ShortTag() != "!!map" {
		r.problem(node, "%s is a mapping of keys to values", what)
		return at
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, ok := known[key.Value]
		_, twice := at[key.Value]
		switch {
		case key.ShortTag() != "!!str" || !ok:
			keys := slices.Sorted(maps.Keys(known))
			hint := didYouMean(key.Value, keys)
			if hint == "" {
				hint = "; the keys are " + strings.Join(keys, ", ")
			}
			r.problem(key, "%q is not a key of %s%s", countersign.Clip(key.Value), what, hint)
		case twice:
			r.problem(key, "the key %q stands twice", key.Value)
		default:
			at[key.Value] = r.spot(value)
			read(value, key.Value, at)
		}
	}
	for _, key := range required {
		if _, ok := at[key]; !ok {
			r.problem(node, "%s needs the key %q", what, key)
		}
	}
	return at
}

// each reads a list, element by element.
func (r *reader) each(read func(node *yaml.Node)) field {
	return func(node *yaml.Node, key string, at spots) {
		if node.ShortTag() != "!!seq" {
			r.problem(node, "%q is a list", key)
			return
		}
		for i, element := range node.Content {
			if r.problems.full() {
				return
			}
			at[elementKey(key, i)] = r.spot(element)
			read(element)
		}
	}
}

// scalar returns the text of a node, if it is one line of text that can be
// shown to people as it is.
func (r *reader) scalar(node *yaml.Node, key string) (string, bool) {
	if node.ShortTag() != "!!str" {
		r.problem(node, "%q is a text; write numbers, dates and the like in quotes", key)
		return "", false
	}
	if strings.TrimSpace(node.Value) == "" || len(node.Value) > 1000 {
		r.problem(node, "%q has between 1 and 1000 bytes", key)
		return "", false
	}
	// Direction marks can make a name look like another one.
	if strings.ContainsFunc(node.Value, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }) {
		r.problem(node, "%q is one line without control characters", key)
		return "", false
	}
	return node.Value, true
}

func (r *reader) line(into *string) field {
	return func(node *yaml.Node, key string, _ spots) { *into, _ = r.scalar(node, key) }
}

var (
	slug = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	word = regexp.MustCompile(`^[^\s,()]{1,128}$`)
)

// slug reads a name that policies use: group, system or connector.
func (r *reader) slug(into *string) field {
	return r.matching(into, slug, "has lower-case letters, digits, dots, hyphens and underscores, at most 64")
}

// word reads a name that a target or register gave.
func (r *reader) word(into *string) field {
	return r.matching(into, word, "has at most 128 bytes and no spaces, commas or brackets")
}

func (r *reader) matching(into *string, form *regexp.Regexp, rule string) field {
	return func(node *yaml.Node, key string, _ spots) {
		text, ok := r.scalar(node, key)
		if ok && !form.MatchString(text) {
			r.problem(node, "%q %s, unlike %q", key, rule, countersign.Clip(text))
			return
		}
		*into = text
	}
}

// words reads a list of names, each at most once.
func (r *reader) words(into *[]string, one func(into *string) field) field {
	return func(node *yaml.Node, key string, at spots) {
		seen := map[string]bool{}
		r.each(func(element *yaml.Node) {
			var name string
			one(&name)(element, key, at)
			if seen[name] {
				r.problem(element, "%q stands twice in %q", countersign.Clip(name), key)
			}
			seen[name] = name != ""
			*into = append(*into, name)
		})(node, key, at)
	}
}

// login reads the login of an identity, or a reference to one, in its one form.
func (r *reader) login(into *string) field {
	return func(node *yaml.Node, key string, at spots) {
		var text string
		r.word(&text)(node, key, at)
		if text == "" {
			return
		}
		handle, err := countersign.NewHandle(countersign.Login, "", text)
		if err != nil {
			r.problem(node, "%s", err)
			return
		}
		*into = handle.Value
	}
}

func choice[T ~string](r *reader, into *T, allowed ...T) field {
	return func(node *yaml.Node, key string, _ spots) {
		text, ok := r.scalar(node, key)
		if !ok {
			return
		}
		if slices.Contains(allowed, T(text)) {
			*into = T(text)
			return
		}
		words := make([]string, len(allowed))
		for i := range allowed {
			words[i] = string(allowed[i])
		}
		hint := didYouMean(text, words)
		if hint == "" {
			hint = "; it is one of " + strings.Join(words, ", ")
		}
		r.problem(node, "%q is no value of %q%s", countersign.Clip(text), key, hint)
	}
}

func (r *reader) environment(into *string) field { return choice(r, into, "prod", "staging", "dev") }

func (r *reader) risk(into *countersign.Risk) field {
	return choice(r, into, countersign.LowRisk, countersign.MediumRisk, countersign.HighRisk)
}

// date reads a day; into gets the beginning of that day plus the given time, in UTC.
func (r *reader) date(into *countersign.Instant, plus countersign.Seconds) field {
	return func(node *yaml.Node, key string, _ spots) {
		day, err := time.Parse(time.DateOnly, node.Value)
		if node.Kind != yaml.ScalarNode || err != nil || day.Year() < 1971 {
			r.problem(node, "%q is a day, written as 2027-03-31", key)
			return
		}
		*into = countersign.InstantOf(day).Add(plus)
	}
}

func (r *reader) duration(into *countersign.Seconds) field {
	return func(node *yaml.Node, key string, _ spots) {
		text, ok := r.scalar(node, key)
		if !ok {
			return
		}
		var err error
		if *into, err = countersign.ParseSeconds(text); err != nil {
			r.problem(node, "%s", err)
		}
	}
}

// interval is a time between two confirmations of an owner.
func (r *reader) interval(into *countersign.Seconds) field {
	read := r.duration(into)
	return func(node *yaml.Node, key string, at spots) {
		before := len(r.problems.list)
		if read(node, key, at); len(r.problems.list) == before && (*into < countersign.ShortestConfirmation || *into > countersign.LongestConfirmation) {
			r.problem(node, "%q is %s, and must be from %s to %s", key, *into, countersign.ShortestConfirmation, countersign.LongestConfirmation)
		}
	}
}

func (r *reader) flag(into *bool) field {
	return func(node *yaml.Node, key string, _ spots) {
		if node.ShortTag() != "!!bool" {
			r.problem(node, "%q is true or false", key)
			return
		}
		*into = node.Value == "true" || node.Value == "True" || node.Value == "TRUE"
	}
}

func (r *reader) settings(into *map[string]string) field {
	return func(node *yaml.Node, key string, _ spots) {
		if node.ShortTag() != "!!map" {
			r.problem(node, "%q is a mapping of keys to texts", key)
			return
		}
		*into = map[string]string{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			name, okName := r.scalar(node.Content[i], "a key of "+key)
			value, okValue := r.scalar(node.Content[i+1], key)
			if _, twice := (*into)[name]; twice {
				r.problem(node.Content[i], "the key %q stands twice", countersign.Clip(name))
			}
			if okName && okValue {
				(*into)[name] = value
			}
		}
	}
}
