package directory

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// Mapping says what the members of a list's lines are: a member is named by its
// place, as in schemes.Application.privilegeLevel.
type Mapping struct {
	Name, Title string
	// Version is a member, or "digest": the line itself is its version.
	Version string
	// With keeps the lines that have the member; Without leaves out those where it
	// is true.
	With, Without string
	// Resource is the name of the resource where nobody says another.
	Resource string
	// Risk is a member that says low, medium or high. Instead of it, what meets a
	// condition of High is high, else of Medium is medium, and all else is low.
	Risk         string
	High, Medium []Condition
}

// Condition is met by a member that is true, that is a list with the text, that is a
// number which is large enough, or that is absent.
type Condition struct {
	member, has      string
	atLeast          float64
	compares, absent bool
}

// PlainMapping is for lists whose members are called as they are here.
func PlainMapping() Mapping {
	return Mapping{Name: "name", Title: "title", Version: "version", Risk: "risk", Resource: "catalogue"}
}

//go:embed mappings/*.yaml
var mappings embed.FS

// KnownMappings are the names of mappings for lists that many people have.
func KnownMappings() []string {
	entries, err := mappings.ReadDir("mappings")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".yaml"))
	}
	return names
}

// KnownMapping returns the mapping of that name.
func KnownMapping(name string) (Mapping, error) {
	if !slices.Contains(KnownMappings(), name) {
		return Mapping{}, countersign.Errorf(countersign.Invalid, "no-such-mapping", "there is no mapping %q; there are %s, and any file of yours%s", countersign.Clip(name), strings.Join(KnownMappings(), ", "), didYouMean(name, KnownMappings()))
	}
	content, err := mappings.ReadFile(path.Join("mappings", name+".yaml"))
	if err != nil {
		return Mapping{}, err
	}
	mapping, problems := ParseMapping(File{Path: name, Bytes: content})
	if len(problems) > 0 {
		panic(fmt.Sprint(problems))
	}
	return mapping, nil
}

// ParseMapping reads a mapping file.
func ParseMapping(file File) (Mapping, []Problem) {
	var found problems
	r := &reader{file: file.Path, problems: &found}
	m := Mapping{Resource: "catalogue"}
	if root := r.root(file.Bytes); root != nil {
		r.mapping(root, "a mapping", []string{"name", "risk"}, fields{
			"name": r.member(&m.Name), "title": r.member(&m.Title), "version": r.member(&m.Version),
			"with": r.member(&m.With), "without": r.member(&m.Without), "resource": r.word(&m.Resource),
			"risk": func(n *yaml.Node, key string, at spots) {
				if n.Kind == yaml.ScalarNode {
					r.member(&m.Risk)(n, key, at)
					return
				}
				r.mapping(n, "the risk of a mapping", nil, fields{
					"high":   r.each(func(n *yaml.Node) { m.High = append(m.High, r.condition(n)) }),
					"medium": r.each(func(n *yaml.Node) { m.Medium = append(m.Medium, r.condition(n)) }),
				})
			},
		})
	}
	if len(found.list) > 0 {
		return Mapping{}, found.sorted()
	}
	return m, nil
}

var (
	memberForm    = regexp.MustCompile(`^[^\s.,()]{1,64}(\.[^\s.,()]{1,64}){0,7}$`)
	conditionForm = regexp.MustCompile(`^(\S+)(?: (?:(>=|has) (.+)|(absent)))?$`)
)

func (r *reader) member(into *string) field {
	return r.matching(into, memberForm, "names a member of the lines, as in schemes.Application.privilegeLevel")
}

func (r *reader) condition(node *yaml.Node) Condition {
	text, ok := r.scalar(node, "a condition")
	parts := conditionForm.FindStringSubmatch(text)
	if !ok {
		return Condition{}
	}
	if parts == nil || !memberForm.MatchString(parts[1]) {
		r.problem(node, "%q is not a condition: write a member, or as in level >= 3, scopes has Write, or level absent", countersign.Clip(text))
		return Condition{}
	}
	condition := Condition{member: parts[1], absent: parts[4] != ""}
	switch parts[2] {
	case "has":
		condition.has = parts[3]
	case ">=":
		number, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			r.problem(node, "%q is not a number", countersign.Clip(parts[3]))
		}
		condition.atLeast, condition.compares = number, true
	}
	return condition
}

// find returns the member of a line; false where there is none.
func find(line map[string]any, member string) (any, bool) {
	var value any = line
	for _, name := range strings.Split(member, ".") {
		object, is := value.(map[string]any)
		if !is {
			return nil, false
		}
		if value, is = object[name]; !is {
			return nil, false
		}
	}
	return value, value != nil
}

// met judges a condition. A member that is not there meets no other; one of another
// type than the condition needs is an error.
func (c Condition) met(line map[string]any) (bool, error) {
	value, there := find(line, c.member)
	if !there || c.absent {
		return c.absent && !there, nil
	}
	switch value := value.(type) {
	case bool:
		if c.has == "" && !c.compares {
			return value, nil
		}
	case json.Number:
		if number, err := value.Float64(); err == nil && c.compares {
			return number >= c.atLeast, nil
		}
	case []any:
		if c.has != "" {
			return slices.Contains(value, any(c.has)), nil
		}
	}
	wanted := "true or false"
	if c.compares {
		wanted = "a number"
	} else if c.has != "" {
		wanted = "a list"
	}
	return false, fmt.Errorf("%q is not %s", c.member, wanted)
}
