package directory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/countersign/countersign"
)

// Bounds of a list: lines, and bytes of one.
const (
	MaxListed   = 20_000
	maxListLine = 1 << 20
)

// Listing is a list of what a target can grant, as one resource of a system.
type Listing struct {
	System, Resource string
	Kind             countersign.EntitlementKind
	Entitlements     []Entitlement
	// LeftOut counts the lines that the mapping leaves out.
	LeftOut int
}

// ReadList reads a list in JSON lines, each one entitlement. All problems are
// returned at once, with the numbers of their lines. Progress is called after every
// thousand lines; it may be nil.
func ReadList(file string, from io.Reader, mapping Mapping, kind countersign.EntitlementKind, progress func(lines int)) (*Listing, []Problem) {
	var found problems
	listing, first := &Listing{Kind: kind, Resource: mapping.Resource}, map[string]int{}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxListLine)
	number := 0
	at := func() spot { return spot{file, number, 1} }
	for lines.Scan() {
		number++
		if progress != nil && number%1000 == 0 {
			progress(number)
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if number > MaxListed {
			found.add(at(), "a list has at most %d lines: split it, and give each part a resource of its own", MaxListed)
			break
		}
		entitlement, kept, err := mapping.read(lines.Bytes())
		switch {
		case err != nil:
			found.add(at(), "%s", err)
		case !kept:
			listing.LeftOut++
		case first[entitlement.Name] != 0:
			found.add(at(), "%q stands in line %d already", countersign.Clip(entitlement.Name), first[entitlement.Name])
		default:
			first[entitlement.Name] = number
			entitlement.Kind = kind
			listing.Entitlements = append(listing.Entitlements, entitlement)
		}
		if found.full() {
			break
		}
	}
	if err := lines.Err(); err != nil {
		number++
		if errors.Is(err, bufio.ErrTooLong) {
			found.add(at(), "the line has more than %d bytes", maxListLine)
		} else {
			found.add(at(), "it cannot be read further: %s", err)
		}
	}
	if len(listing.Entitlements) == 0 && len(found.list) == 0 {
		found.add(spot{file, 1, 1}, "there is no entitlement in the list: %d line(s), of which the mapping leaves out %d", number, listing.LeftOut)
	}
	if len(found.list) > 0 {
		return nil, found.sorted()
	}
	return listing, nil
}

// read makes an entitlement of one line; false if the mapping leaves it out.
func (m Mapping) read(content []byte) (Entitlement, bool, error) {
	var e Entitlement
	var line map[string]any
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if err := decoder.Decode(&line); err != nil || line == nil || decoder.More() {
		return e, false, fmt.Errorf("this is not one JSON object: write each entitlement on a line of its own, as in {\"name\": \"reader\"}")
	}
	if m.With != "" {
		if _, there := find(line, m.With); !there {
			return e, false, nil
		}
	}
	if m.Without != "" {
		if leave, err := (Condition{member: m.Without}).met(line); err != nil || leave {
			return e, false, err
		}
	}
	var err error
	text := func(member string, needed bool) string {
		value, there := find(line, member)
		text, is := value.(string)
		switch number, isNumber := value.(json.Number); {
		case isNumber:
			text = number.String()
		case there && !is:
			err = errors.Join(err, fmt.Errorf("%q is not a text", member))
		case needed && text == "":
			err = errors.Join(err, fmt.Errorf("%q is missing, or empty", member))
		}
		return text
	}
	e.Name = text(m.Name, true)
	if e.Name != "" && (!word.MatchString(e.Name) || bytes.ContainsAny([]byte(e.Name), "*/")) {
		err = errors.Join(err, fmt.Errorf("the name %q has at most 128 bytes and no spaces, commas, brackets, slashes or stars", countersign.Clip(e.Name)))
	}
	if m.Title != "" {
		e.Title = text(m.Title, false)
	}
	switch m.Version {
	case "":
	case "digest":
		canonical, failed := json.Marshal(line)
		if failed != nil {
			return e, false, failed
		}
		e.Version = string(countersign.DigestBytes("definition", canonical))[:len("sha256:")+16]
	default:
		e.Version = text(m.Version, false)
		if e.Version != "" && !word.MatchString(e.Version) {
			err = errors.Join(err, fmt.Errorf("the version %q has at most 128 bytes and no spaces, commas or brackets", countersign.Clip(e.Version)))
		}
	}
	risk, failed := m.riskOf(line)
	e.Risk = risk
	return e, true, errors.Join(err, failed)
}

func (m Mapping) riskOf(line map[string]any) (countersign.Risk, error) {
	if m.Risk != "" {
		value, there := find(line, m.Risk)
		if !there {
			return "", nil
		}
		text, _ := value.(string)
		risks := []countersign.Risk{countersign.LowRisk, countersign.MediumRisk, countersign.HighRisk}
		if !slices.Contains(risks, countersign.Risk(text)) {
			return "", fmt.Errorf("%q is low, medium or high, unlike %q", m.Risk, countersign.Clip(fmt.Sprint(value)))
		}
		return countersign.Risk(text), nil
	}
	for _, level := range []struct {
		risk       countersign.Risk
		conditions []Condition
	}{{countersign.HighRisk, m.High}, {countersign.MediumRisk, m.Medium}} {
		for _, condition := range level.conditions {
			if met, err := condition.met(line); err != nil || met {
				return level.risk, err
			}
		}
	}
	return countersign.LowRisk, nil
}

// Catalogue writes the list as a directory file that adds its resource to its system.
// The file reads back as it was meant, or this is an error.
func (l *Listing) Catalogue(origin string) ([]byte, error) {
	var out bytes.Buffer
	// JSON texts and objects are YAML, too.
	quote := func(text string) string {
		quoted, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		return string(quoted)
	}
	fmt.Fprintf(&out, "# Written by countersign catalogue import from %s: %d entitlements.\n", quote(origin), len(l.Entitlements))
	fmt.Fprintf(&out, "catalogues:\n  - system: %s\n    resource:\n      name: %s\n      entitlements:\n", quote(l.System), quote(l.Resource))
	for _, e := range l.Entitlements {
		fmt.Fprintf(&out, "        - {name: %s, kind: %s", quote(e.Name), e.Kind)
		for _, part := range []struct{ key, text string }{{"title", e.Title}, {"risk", string(e.Risk)}, {"version", e.Version}} {
			if part.text != "" {
				fmt.Fprintf(&out, ", %s: %s", part.key, quote(part.text))
			}
		}
		out.WriteString("}\n")
	}
	if out.Len() > MaxFile {
		return nil, countersign.Errorf(countersign.TooLarge, "catalogue-too-large", "the catalogue of %d entitlements has %d bytes, and a directory file has at most %d: split the list, and give each part a resource of its own", len(l.Entitlements), out.Len(), MaxFile)
	}
	var found problems
	read := &Organisation{}
	r := &reader{file: l.Resource, problems: &found}
	if root := r.root(out.Bytes()); root != nil {
		r.organisation(root, read)
	}
	if len(found.list) > 0 {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-catalogue", "the catalogue would not be a directory file: %s", found.list[0])
	}
	return out.Bytes(), nil
}

// Risks counts the entitlements by their risk.
func (l *Listing) Risks() map[countersign.Risk]int {
	counts := map[countersign.Risk]int{}
	for _, e := range l.Entitlements {
		counts[e.Risk]++
	}
	return counts
}
