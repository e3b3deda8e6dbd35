package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// File is one file of a policy set. The path names it in problems and enters
// the digest of the set.
type File struct {
	Path  string
	Bytes []byte
}

// Problem is one reason why a policy set does not load. Line and Column count
// from 1, the column in characters.
type Problem struct {
	File    string
	Line    int
	Column  int
	Message string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

const (
	maxFileSize = 1 << 20
	maxDepth    = 32
)

// source reads one file strictly and collects what is wrong with it.
type source struct {
	path     string
	lines    []string
	problems []Problem
}

func (s *source) problemAt(line, column int, format string, args ...any) {
	s.problems = append(s.problems, Problem{s.path, max(line, 1), max(column, 1), fmt.Sprintf(format, args...)})
}

func (s *source) problem(node *yaml.Node, format string, args ...any) {
	s.problemAt(node.Line, node.Column, format, args...)
}

func sortProblems(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(problems)
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)
	// The library counts lines from 0 in the errors of its parser, and from 1 in
	// those of its scanner. These are its parser's.
	yamlParser = regexp.MustCompile(`^did not find expected (key|',' or|node content|'-' indicator|<)`)
)

// parse returns the one mapping that the file holds, or nil.
func (s *source) parse(content []byte) *yaml.Node {
	switch {
	case len(content) > maxFileSize:
		s.problemAt(1, 1, "the file has %d bytes, and a policy file has at most %d", len(content), maxFileSize)
		return nil
	case !utf8.Valid(content):
		s.problemAt(1, 1, "the file is not valid UTF-8")
		return nil
	}
	s.lines = strings.Split(string(content), "\n")
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if err == nil {
		if another := decoder.Decode(&second); another == nil {
			s.problem(&second, "a policy file holds one document")
			return nil
		} else if !errors.Is(another, io.EOF) {
			err = another
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		s.problemAt(1, 1, "the file is empty: %s", beginning())
		return nil
	case err != nil:
		line, message := 1, err.Error()
		if match := yamlLine.FindStringSubmatch(message); match != nil {
			line, _ = strconv.Atoi(match[1])
			message = match[2]
		}
		if yamlParser.MatchString(message) {
			line++
			message += " (a text with one of , ? : { } [ ] # in it may need quotes)"
		}
		s.problemAt(min(line, len(s.lines)), 1, "not YAML: %s", message)
		return nil
	}
	root := document.Content[0]
	if before := len(s.problems); !s.check(root, 0) || len(s.problems) > before {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		s.problem(root, "%s", beginning())
		return nil
	}
	return root
}

// digest names the file's content, as the rule that something was judged by.
func (s *source) digest() countersign.Digest {
	return countersign.DigestBytes("policy-file", []byte(strings.Join(s.lines, "\n")))
}

// check refuses what no policy needs and what makes YAML dangerous or
// ambiguous: anchors and aliases, tags, deep nesting, a key that stands twice.
func (s *source) check(node *yaml.Node, depth int) bool {
	if depth > maxDepth {
		s.problem(node, "nested deeper than %d", maxDepth)
		return false
	}
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		s.problem(node, "anchors and aliases are not allowed: write the value out")
		return false
	}
	if node.Style&yaml.TaggedStyle != 0 {
		s.problem(node, "the tag %s is not allowed: write the plain value", countersign.Clip(node.Tag))
		return false
	}
	if node.Kind == yaml.MappingNode {
		seen := map[string]int{}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			if key.Kind != yaml.ScalarNode {
				s.problem(key, "a key is a word")
				return false
			}
			if line, twice := seen[key.Value]; twice {
				s.problem(key, "the key `%s` stands twice, first in line %d", countersign.Clip(key.Value), line)
			}
			seen[key.Value] = key.Line
		}
	}
	for _, child := range node.Content {
		if !s.check(child, depth+1) {
			return false
		}
	}
	return true
}

// mapping is a YAML mapping whose keys are all known.
type mapping struct {
	*source
	node   *yaml.Node
	keys   map[string]*yaml.Node
	values map[string]*yaml.Node
}

// mapping reads a mapping with only the known keys; with none given, any key.
// A node of another kind gives a problem and an empty mapping.
func (s *source) mapping(node *yaml.Node, what string, known ...string) *mapping {
	m := &mapping{s, node, map[string]*yaml.Node{}, map[string]*yaml.Node{}}
	if node.Kind != yaml.MappingNode {
		s.problem(node, "%s should be a mapping of keys to values", what)
		return m
	}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if len(known) > 0 && !slices.Contains(known, key.Value) {
			s.problem(key, "%s", unknown("key", key.Value, known))
			continue
		}
		m.keys[key.Value], m.values[key.Value] = key, value
	}
	return m
}

func (m *mapping) has(key string) bool { return m.values[key] != nil }

// require reports a key that is missing.
func (m *mapping) require(keys ...string) {
	if m.node.Kind != yaml.MappingNode {
		return
	}
	for _, key := range keys {
		if !m.has(key) {
			m.problem(m.node, "the key `%s` is missing", key)
		}
	}
}

// sentences reports a key that is missing or holds no word.
func (m *mapping) sentences(keys ...string) {
	m.require(keys...)
	for _, key := range keys {
		if node := m.values[key]; node != nil && node.Kind == yaml.ScalarNode && strings.TrimSpace(node.Value) == "" {
			m.problem(node, "`%s` is empty: write a sentence for people", key)
		}
	}
}

// some returns the texts under the key like names, and reports a list of none:
// an absent key means any, and must not be meant by mistake.
func (m *mapping) some(key string) []string {
	names := m.names(key)
	if m.has(key) && len(names) == 0 {
		m.problem(m.values[key], "`%s` names nothing", key)
	}
	return names
}

// text returns the text under the key, or "".
func (m *mapping) text(key string) string {
	if !m.has(key) {
		return ""
	}
	return m.scalar(m.values[key], "`"+key+"`")
}

// scalar returns a node's text, as it is written.
func (s *source) scalar(node *yaml.Node, what string) string {
	if node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		s.problem(node, "%s should be a text", what)
		return ""
	}
	return node.Value
}

// each returns the texts of a node that is one text or a list of them.
func (s *source) each(node *yaml.Node, what string) []*yaml.Node {
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		nodes = node.Content
	}
	var texts []*yaml.Node
	for _, item := range nodes {
		if s.scalar(item, "each entry of "+what) != "" {
			texts = append(texts, item)
		}
	}
	return texts
}

// list returns the entries of the list under the key.
func (m *mapping) list(key string) []*yaml.Node {
	node := m.values[key]
	if node == nil {
		return nil
	}
	if node.Kind != yaml.SequenceNode {
		m.problem(node, "`%s` should be a list", key)
		return nil
	}
	return node.Content
}

// names returns the texts under the key, which is one text or a list of them
// without repetition.
func (m *mapping) names(key string) []string {
	if !m.has(key) {
		return nil
	}
	var names []string
	for _, item := range m.each(m.values[key], "`"+key+"`") {
		if slices.Contains(names, item.Value) {
			m.problem(item, "`%s` stands twice", countersign.Clip(item.Value))
			continue
		}
		names = append(names, item.Value)
	}
	return names
}

// number returns the whole number under the key, or the default.
func (m *mapping) number(key string, otherwise, least, most int) int {
	node := m.values[key]
	if node == nil {
		return otherwise
	}
	n, err := strconv.Atoi(node.Value)
	if node.Kind != yaml.ScalarNode || err != nil {
		m.problem(node, "`%s` should be a whole number", key)
		return otherwise
	}
	if n < least || n > most {
		m.problem(node, "`%s` is %d, and must be from %d to %d", key, n, least, most)
		return otherwise
	}
	return n
}

// flag returns the truth value under the key; false where there is none.
func (m *mapping) flag(key string) bool {
	node := m.values[key]
	if node == nil {
		return false
	}
	if node.Kind != yaml.ScalarNode || node.Value != "true" && node.Value != "false" {
		m.problem(node, "`%s` should be true or false", key)
		return false
	}
	return node.Value == "true"
}

var kebab = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// name returns the kebab-case name under the key, or "".
func (m *mapping) name(key string) string {
	text := m.text(key)
	if text != "" && (len(text) > 64 || !kebab.MatchString(text)) {
		m.problem(m.values[key], "`%s` is not a name: write it in lower case with hyphens, as in api-key", countersign.Clip(text))
		return ""
	}
	return text
}

// word returns the text under the key if it is one of a closed list.
func word[T ~string](m *mapping, key, what string, known []T) T {
	text := m.text(key)
	if text != "" && !contains(known, text) {
		m.problem(m.values[key], "%s", unknown(what, text, words(known)))
		return ""
	}
	return T(text)
}
