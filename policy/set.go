package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// Set is a loaded policy set: request types, calendars and what counts for the
// whole set. It never changes.
type Set struct {
	bytes       []byte
	digest      countersign.Digest
	types       []*requestType
	calendars   map[string]*calendar
	separations []SeparationInfo
	// exceptions is nil where nothing can be waived.
	exceptions  *exceptions
	packages    []PackageInfo
	birthrights []*birthright
	sources     []SourceInfo
	owners      OwnerTerms
	proposals   WaitingTerms
	ticketing   []TicketingInfo
	verifiers   []verifier
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
	set := &Set{calendars: map[string]*calendar{defaultCalendar: plainCalendar()}, owners: standardOwnerTerms, proposals: standardProposalTerms}
	loader := loader{set: set, zones: zones, pending: map[string][]pendingFile{}, byName: map[string]*requestType{}, places: map[string]Problem{}}
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
	set.sort()
	return set, nil
}

// sort puts everything that has a name in the order of names.
func (s *Set) sort() {
	slices.SortFunc(s.types, func(a, b *requestType) int { return cmp.Compare(a.name, b.name) })
	slices.SortFunc(s.separations, func(a, b SeparationInfo) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.packages, func(a, b PackageInfo) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.birthrights, func(a, b *birthright) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.ticketing, func(a, b TicketingInfo) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.verifiers, func(a, b verifier) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.sources, func(a, b SourceInfo) int { return cmp.Compare(a.Name, b.Name) })
}

// loader collects the files of a set.
type loader struct {
	set     *Set
	zones   Zones
	sources []*source
	// pending holds the files by the key that they begin with.
	pending map[string][]pendingFile
	byName  map[string]*requestType
	// places says where each thing with a name of its own was read.
	places map[string]Problem
}

type pendingFile struct {
	*source
	root *yaml.Node
}

// fileKinds are what a file can begin with, in the words of problems.
var fileKinds = []string{"request", "calendars", "separation", "exceptions", "packages", "birthrights", "sources", "verifiers", "owners", "proposals", "ticketing"}

func beginning() string { return "the file should begin with " + enumerate(fileKinds, "or") }

func (l *loader) add(s *source, root *yaml.Node) {
	keys := s.mapping(root, "the file")
	for _, kind := range fileKinds {
		if keys.has(kind) {
			l.pending[kind] = append(l.pending[kind], pendingFile{s, root})
			return
		}
	}
	wrong, message := root, beginning()
	if len(root.Content) > 0 {
		wrong = root.Content[0]
		if near := countersign.Nearest(wrong.Value, fileKinds); near != "" {
			message = unknown("key", wrong.Value, []string{near})
		}
	}
	s.problem(wrong, "%s", message)
}

// entries returns the list that a file of the kind holds.
func (l *loader) entries(s *source, root *yaml.Node, kind string) []*yaml.Node {
	return s.mapping(root, "the file", kind).list(kind)
}

// named reads the name of something that the set holds once under it; "" where
// it has none, or one that is taken.
func (l *loader) named(m *mapping, what string) string {
	name := m.name("name")
	if name == "" || !l.first(m.source, m.values["name"], what, name) {
		return ""
	}
	return name
}

// first reports a name that stands twice, and keeps the place of the first.
func (l *loader) first(s *source, node *yaml.Node, what, name string) bool {
	key := what + " " + name
	if other, twice := l.places[key]; twice {
		s.problem(node, "the %s `%s` is given twice, first in %s:%d", what, name, other.File, other.Line)
		return false
	}
	l.places[key] = Problem{File: s.path, Line: node.Line}
	return true
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
		if l.first(s, key, "calendar", name) {
			l.set.calendars[name] = readCalendar(s, node, l.zones)
		}
	}
}

func (l *loader) readRequestType(s *source, root *yaml.Node) {
	t := readType(s, root, l.set)
	t.rule = s.digest()
	if other := l.byName[t.name]; other != nil {
		s.problem(root.Content[1], "the request type `%s` is given twice, first in %s:%d", t.name, other.path, other.line)
	}
	for _, other := range l.set.types {
		if t.name != other.name && t.priority == other.priority && t.overlaps(other) {
			s.problem(root, "`%s` and `%s` (%s) could match the same request: give them different priorities, so that the higher one is chosen", t.name, other.name, other.path)
		}
	}
	if t.name != "" && l.byName[t.name] == nil {
		l.byName[t.name] = t
		l.set.types = append(l.set.types, t)
	}
}

// finish reads the files, whatever their names, so that what is named comes
// before what names it: stages name calendars and keep clear of the exception
// stage, birthrights name packages, ticket systems name request types.
func (l *loader) finish() []Problem {
	for _, kind := range []struct {
		key  string
		read func(s *source, root *yaml.Node)
	}{
		{"calendars", l.readCalendars},
		{"separation", l.readSeparations},
		{"exceptions", l.readExceptions},
		{"packages", l.readPackages},
		{"birthrights", l.readBirthrights},
		{"sources", l.readSources},
		{"verifiers", l.readVerifiers},
		{"owners", l.readOwners},
		{"proposals", l.readProposals},
		{"request", l.readRequestType},
		{"ticketing", l.readTicketing},
	} {
		for _, file := range l.pending[kind.key] {
			kind.read(file.source, file.root)
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
