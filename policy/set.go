package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// Set is a loaded policy set: request types and calendars. It never changes.
type Set struct {
	bytes     []byte
	digest    countersign.Digest
	types     []*requestType
	calendars map[string]*calendar
}

// content is the kept form of a set.
type content struct {
	Files []contentFile `json:"files"`
}

type contentFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

// Load reads a whole policy set and reports everything that is wrong with it, in
// the order of file, line and column. With any problem there is no set. Zones
// finds the time zones that calendars name; nil knows UTC only.
func Load(files []File, zones Zones) (*Set, []Problem) {
	if zones == nil {
		zones = func(name string) (*time.Location, error) {
			return nil, countersign.Errorf(countersign.NotFound, "unknown-time-zone", "no time zones are known")
		}
	}
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	set := &Set{calendars: map[string]*calendar{defaultCalendar: plainCalendar()}}
	loader := loader{set: set, zones: zones, places: map[string]Problem{}}
	kept := content{Files: []contentFile{}}
	for i, file := range files {
		s := &source{path: file.Path}
		switch {
		case file.Path == "" || !utf8.ValidString(file.Path):
			s.problemAt(1, 1, "a policy file needs a path in valid UTF-8")
		case i > 0 && files[i-1].Path == file.Path:
			s.problemAt(1, 1, "the file is given twice")
		default:
			if root := s.parse(file.Bytes); root != nil {
				loader.add(s, root)
			}
		}
		loader.sources = append(loader.sources, s)
		kept.Files = append(kept.Files, contentFile{file.Path, string(file.Bytes)})
	}
	problems := loader.finish()
	if len(problems) > 0 {
		return nil, sortProblems(problems)
	}
	var err error
	if set.bytes, err = countersign.Canonical(kept); err != nil {
		return nil, []Problem{{File: "policies", Line: 1, Column: 1, Message: err.Error()}}
	}
	set.digest = countersign.DigestBytes("policy-set", set.bytes)
	slices.SortFunc(set.types, func(a, b *requestType) int { return cmp.Compare(a.name, b.name) })
	return set, nil
}

// loader collects the files of a set. Calendars are read before request types,
// whatever the names of their files, because stages name them.
type loader struct {
	set     *Set
	zones   Zones
	sources []*source
	pending []pendingType
	// places says where each calendar was read.
	places map[string]Problem
}

type pendingType struct {
	*source
	root *yaml.Node
}

func (l *loader) add(s *source, root *yaml.Node) {
	keys := s.mapping(root, "the file")
	switch {
	case keys.has("request"):
		l.pending = append(l.pending, pendingType{s, root})
	case keys.has("calendars"):
		l.readCalendars(s, root)
	default:
		wrong := root
		message := "the file should begin with `request:` or `calendars:`"
		if len(root.Content) > 0 {
			wrong = root.Content[0]
			if near := countersign.Nearest(wrong.Value, []string{"request", "calendars"}); near != "" {
				message = unknown("key", wrong.Value, []string{near})
			}
		}
		s.problem(wrong, "%s", message)
	}
}

func (l *loader) readCalendars(s *source, root *yaml.Node) {
	file := s.mapping(root, "the file", "calendars")
	calendars := s.mapping(file.values["calendars"], "`calendars`")
	for name, node := range calendars.values {
		key := calendars.keys[name]
		if !kebab.MatchString(name) {
			s.problem(key, "`%s` is not a name: write it in lower case with hyphens, as in follow-the-sun", countersign.Clip(name))
			continue
		}
		if other, twice := l.places[name]; twice {
			s.problem(key, "the calendar `%s` is given twice, first in %s:%d", name, other.File, other.Line)
			continue
		}
		l.places[name] = Problem{File: s.path, Line: key.Line}
		l.set.calendars[name] = readCalendar(s, node, l.zones)
	}
}

func (l *loader) finish() []Problem {
	names := l.set.calendarNames()
	byName := map[string]*requestType{}
	for _, p := range l.pending {
		t := readType(p.source, p.root, names)
		t.rule = countersign.DigestBytes("policy-file", []byte(strings.Join(p.lines, "\n")))
		if other := byName[t.name]; other != nil {
			p.problem(p.root.Content[1], "the request type `%s` is given twice, first in %s:%d", t.name, other.path, other.line)
		}
		for _, other := range l.set.types {
			if t.name != other.name && t.priority == other.priority && t.overlaps(other) {
				p.problem(p.root, "`%s` and `%s` (%s) could match the same request: give them different priorities, so that the higher one is chosen", t.name, other.name, other.path)
			}
		}
		if t.name != "" && byName[t.name] == nil {
			byName[t.name] = t
			l.set.types = append(l.set.types, t)
		}
	}
	var problems []Problem
	for _, s := range l.sources {
		problems = append(problems, s.problems...)
	}
	return problems
}

// Digest names the whole set: DigestBytes("policy-set") of its kept form.
func (s *Set) Digest() countersign.Digest { return s.digest }

// Bytes returns the kept form of the set: the canonical JSON of all files, in
// the order of their paths. Parse reads it back into a set of the same digest.
func (s *Set) Bytes() []byte { return bytes.Clone(s.bytes) }

// Files returns the files of the set, in the order of their paths.
func (s *Set) Files() []File {
	var kept content
	if err := json.Unmarshal(s.bytes, &kept); err != nil {
		panic("policy: a loaded set that cannot be read: " + err.Error())
	}
	files := make([]File, len(kept.Files))
	for i, file := range kept.Files {
		files[i] = File{file.Path, []byte(file.Content)}
	}
	return files
}

// Parse reads the kept form of a set. Bytes that are not canonical, or that hold
// a set that does not load, are an error.
func Parse(data []byte, zones Zones) (*Set, error) {
	malformed := func(cause error) error {
		return countersign.Errorf(countersign.Invalid, "malformed-policy-set", "these bytes are no policy set: %s", cause).Because(cause)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var kept content
	if err := decoder.Decode(&kept); err != nil {
		return nil, malformed(err)
	}
	var files []File
	for _, file := range kept.Files {
		files = append(files, File{file.Path, []byte(file.Content)})
	}
	set, problems := Load(files, zones)
	if len(problems) > 0 {
		return nil, malformed(fmt.Errorf("%s", problems[0])).(*countersign.Error).With(problems)
	}
	if !bytes.Equal(set.bytes, data) {
		return nil, malformed(fmt.Errorf("they are not in canonical form"))
	}
	return set, nil
}

func (s *Set) find(name string) *requestType {
	for _, t := range s.types {
		if t.name == name {
			return t
		}
	}
	return nil
}
