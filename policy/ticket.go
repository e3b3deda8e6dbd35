package policy

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// SourceInfo says where tickets are looked up: in what is built in, or at an
// address that answers in JSON.
type SourceInfo struct {
	Name string `json:"name"`
	// BuiltIn is `tickets`, or "" for a source with a URL.
	BuiltIn string `json:"built_in,omitempty"`
	// URL has {key} once, in its path or query.
	URL string `json:"url,omitempty"`
	// Key is the regular expression (RE2) that a whole key matches.
	Key string `json:"key,omitempty"`
	// State, Title, OpenedBy and Assignee are paths into the answer, from `$` on.
	State string `json:"state,omitempty"`
	// Open and Closed are the states that count as such.
	Open     []string `json:"open,omitempty"`
	Closed   []string `json:"closed,omitempty"`
	Title    string   `json:"title,omitempty"`
	OpenedBy string   `json:"opened_by,omitempty"`
	Assignee string   `json:"assignee,omitempty"`
}

// Sources returns the sources of tickets, in the order of names.
func (s *Set) Sources() []SourceInfo {
	infos := slices.Clone(s.sources)
	for i := range infos {
		infos[i].Open, infos[i].Closed = slices.Clone(infos[i].Open), slices.Clone(infos[i].Closed)
	}
	return infos
}

const builtInTickets = "tickets"

func (l *loader) readSources(s *source, root *yaml.Node) {
	for _, node := range l.entries(s, root, "sources") {
		m := s.mapping(node, "a source", "name", "built_in", "url", "key", "state", "open", "closed", "title", "opened_by", "assignee")
		m.require("name")
		read := SourceInfo{Name: l.named(m, "source")}
		switch {
		case m.has("built_in") == m.has("url"):
			m.problem(node, "a source has either `built_in` or `url`")
		case m.has("built_in"):
			read.BuiltIn = word(m, "built_in", "source that is built in", []string{builtInTickets})
			for i := 0; i < len(node.Content); i += 2 {
				if key := node.Content[i]; m.has(key.Value) && key.Value != "name" && key.Value != "built_in" {
					m.problem(key, "`%s` belongs to a source with a `url`", key.Value)
				}
			}
		default:
			m.readRemote(&read)
		}
		l.set.sources = append(l.set.sources, read)
	}
}

func (m *mapping) readRemote(read *SourceInfo) {
	m.require("key", "state", "open", "closed")
	read.URL, read.Key = m.text("url"), m.text("key")
	if wrong := wrongAddress(read.URL); wrong != "" {
		m.problem(m.values["url"], "%s: write it as in https://tickets.example/api/{key}", wrong)
	}
	if _, err := regexp.Compile(read.Key); err != nil {
		m.problem(m.values["key"], "`key` is not a regular expression: %s", err)
	} else if m.has("key") && read.Key == "" {
		m.problem(m.values["key"], "`key` is empty: write what a whole key matches, as in \"[A-Z]+-[0-9]+\"")
	}
	read.State, read.Title, read.OpenedBy, read.Assignee = m.jsonPath("state"), m.jsonPath("title"), m.jsonPath("opened_by"), m.jsonPath("assignee")
	read.Open, read.Closed = m.some("open"), m.some("closed")
	if !m.has("open") || !m.has("closed") {
		return
	}
	for _, state := range m.each(m.values["closed"], "`closed`") {
		if slices.Contains(read.Open, state.Value) {
			m.problem(state, "`%s` stands under `open` too", countersign.Clip(state.Value))
		}
	}
}

const keyPlace = "{key}"

var loopback = regexp.MustCompile(`^(localhost|127(\.[0-9]{1,3}){3}|::1)$`)

// wrongAddress says what is wrong with the address of a source, or "". It quotes
// nothing: an address may hold a password by mistake.
func wrongAddress(text string) string {
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Host == "":
		return "this is not an address"
	case address.User != nil:
		return "an address holds no user and no password"
	case address.Scheme != "https" && (address.Scheme != "http" || !loopback.MatchString(address.Hostname())):
		return "an address begins with https; http is for this host alone"
	case strings.Contains(text, "#"):
		return "an address has no part after #"
	case strings.Count(text, keyPlace) != 1 || !strings.Contains(address.Path+address.RawQuery, keyPlace):
		return "`{key}` should stand once in an address, in its path or query"
	}
	return ""
}

// jsonPath reads a path into a JSON answer.
func (m *mapping) jsonPath(key string) string {
	text := m.text(key)
	if m.has(key) && !strings.HasPrefix(text, "$") && m.values[key].Kind == yaml.ScalarNode {
		m.problem(m.values[key], "`%s` is not a path into the answer: write it as in $.status", countersign.Clip(text))
	}
	return text
}
