package policy

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// requestType is one loaded request type.
type requestType struct {
	name, title, description string
	path                     string
	line, column             int
	// rule is the digest of the file.
	rule     countersign.Digest
	priority int
	grants   Selector
	// rotates is nil where new access is asked for.
	rotates     *Rotation
	beneficiary []countersign.IdentityKind
	form        *form
	variables   []variable

	standard, shortest, longest countersign.Seconds
	// openPerHolder is 0 for no limit.
	openPerHolder, entitlements int
	collectWithin               string

	evidence []slot
	refuse   []refuseRule
	stages   []stage
	fulfil   []countersign.Step
	// parameters are the fields whose answers the connector is given.
	parameters []string
	terms      countersign.GrantTerms
	tests      []test
	// exceptions is how the set lets refusals be waived; nil for not at all.
	exceptions *exceptions
	// sources are the names of the set's sources of tickets.
	sources []string
	// breakGlass is nil where access waits for people.
	breakGlass *breakGlass
}

type variable struct {
	name string
	*expression
}

// slot is an evidence slot, with the ask field that names its record.
type slot struct {
	countersign.Slot
	from string
	// covers says that the record must name each entitlement among its scopes.
	covers bool
	// line is where it begins in its file.
	line int
}

type refuseRule struct {
	when, because *expression
	waivable      bool
}

const (
	defaultWithin  = "5 business days"
	maxPerRequest  = 100
	maxOpenHolders = 1000
)

// readType reads one request type file, which may name what the set holds besides
// request types. Problems stay with the source.
func readType(s *source, root *yaml.Node, set *Set) *requestType {
	m := s.mapping(root, "a request type", "request", "title", "description", "priority", "grants", "rotates", "beneficiary", "ask",
		"variables", "limits", "collect_within", "evidence", "refuse", "stages", "fulfil", "parameters", "grant",
		"break_glass", "review", "close", "tests")
	m.require("request", "title", "grants", "beneficiary", "limits", "stages", "fulfil")
	t := &requestType{
		name: m.name("request"), title: m.text("title"), description: m.text("description"), path: s.path,
		line: root.Line, column: root.Column, priority: m.number("priority", 0, -1_000_000, 1_000_000),
		entitlements: 1, collectWithin: defaultWithin, exceptions: set.exceptions, sources: set.sourceNames(),
	}
	if m.has("grants") {
		t.grants = readSelector(s, m.values["grants"])
	}
	t.beneficiary = m.kinds("beneficiary")
	t.readRotation(m)
	if m.has("collect_within") {
		t.collectWithin = m.within("collect_within")
	}
	if m.has("limits") {
		t.readLimits(s, m.values["limits"])
	}

	// The form is read before anything that names its fields.
	formSource := &source{path: s.path, lines: s.lines}
	t.form = readForm(formSource, m.values["ask"])
	s.problems = append(s.problems, formSource.problems...)

	env, provider, err := newEnvironment(variableNames)
	if err != nil {
		s.problem(root, "the language of conditions cannot be set up: %s", err)
		return t
	}
	c := &compiler{s, env, provider, map[string][]string{}, map[string][]string{}, map[string]bool{}}
	for _, field := range t.form.fields {
		provider.addAnswer(field.name, field.celType())
		if len(field.enum) > 0 {
			c.answers[field.name] = field.enum
		}
	}
	if m.has("variables") {
		t.readVariables(c, m.values["variables"])
	}
	for _, node := range m.list("evidence") {
		t.readSlot(s, node, set)
	}
	for _, node := range m.list("refuse") {
		r := s.mapping(node, "a refusal", "when", "because", "waivable")
		r.require("when", "because")
		rule := refuseRule{waivable: r.flag("waivable")}
		if r.has("when") {
			rule.when = c.compile(r.values["when"], "`when`", cel.BoolType)
		}
		if r.has("because") {
			rule.because = c.compile(r.values["because"], "`because`", cel.StringType)
		}
		t.refuse = append(t.refuse, rule)
	}
	t.readStages(c, m, set.calendarNames())
	t.readReview(c, m, set.calendarNames())
	t.readBreakGlass(m)
	t.readFulfilment(m)
	t.checkRotation(m)
	for _, node := range m.list("tests") {
		t.tests = append(t.tests, readTest(s, node, t))
	}
	return t
}

func (t *requestType) readLimits(s *source, node *yaml.Node) {
	m := s.mapping(node, "`limits`", "duration", "open_per_holder", "entitlements")
	m.require("duration")
	t.openPerHolder = m.number("open_per_holder", 0, 1, maxOpenHolders)
	t.entitlements = m.number("entitlements", 1, 1, maxPerRequest)
	if !m.has("duration") {
		return
	}
	d := s.mapping(m.values["duration"], "`duration`", "default", "max", "min")
	d.require("default", "max")
	t.standard, t.longest, t.shortest = d.seconds("default"), d.seconds("max"), d.seconds("min")
	if t.standard > t.longest && t.longest > 0 {
		d.problem(d.values["default"], "the default duration is longer than the longest, %s", t.longest)
	}
	if t.standard < t.shortest && t.standard > 0 {
		d.problem(d.values["default"], "the default duration is shorter than the shortest, %s", t.shortest)
	}
}

func (m *mapping) seconds(key string) countersign.Seconds {
	text := m.text(key)
	if text == "" {
		return 0
	}
	seconds, err := countersign.ParseSeconds(text)
	if err != nil {
		m.problem(m.values[key], "%s", err)
	}
	return seconds
}

// within reads a time to act in, in the spelling of the file.
func (m *mapping) within(key string) string {
	text := m.text(key)
	if text == "" {
		return ""
	}
	if _, err := parseWithin(text); err != nil {
		m.problem(m.values[key], "%s", err)
	}
	return text
}

func (t *requestType) readVariables(c *compiler, node *yaml.Node) {
	m := c.mapping(node, "`variables`")
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		key := node.Content[i]
		if !fieldForm.MatchString(key.Value) || slices.Contains(reservedFields, key.Value) {
			c.problem(key, "`%s` cannot be the name of a variable: write it as in risky or data_class", countersign.Clip(key.Value))
			continue
		}
		compiled := c.compile(m.values[key.Value], "the variable `"+key.Value+"`", nil)
		if compiled == nil {
			c.broken[key.Value] = true
			continue
		}
		// A variable sees the ones before it only, so there are no cycles.
		c.provider.addVariable(key.Value, len(t.variables), compiled.of)
		if compiled.vocabulary != nil {
			c.variables[key.Value] = compiled.vocabulary
		}
		t.variables = append(t.variables, variable{key.Value, compiled})
	}
}

var evidenceKinds = []countersign.EvidenceKind{
	countersign.TicketEvidence, countersign.TextEvidence, countersign.RecordEvidence,
	countersign.ScanEvidence, countersign.AttestationEvidence, countersign.VaultEvidence,
}

var evidenceDues = []countersign.EvidenceDue{countersign.DueAtRequest, countersign.DueAtClosure}

const directoryVerifier = "directory"

func (t *requestType) readSlot(s *source, node *yaml.Node, set *Set) {
	m := s.mapping(node, "an evidence slot", "name", "title", "kind", "due", "verified_by", "from", "covers", "ticket", "must_open", "within", "escalate_to")
	m.require("name", "kind", "due")
	read := slot{line: node.Line, from: m.text("from"), covers: m.flag("covers"), Slot: countersign.Slot{
		Name: m.name("name"), Title: m.text("title"), Kind: word(m, "kind", "kind of evidence", evidenceKinds),
		Due: word(m, "due", "moment", evidenceDues), VerifiedBy: word(m, "verified_by", "verifier", slices.Concat([]string{directoryVerifier}, t.sources, set.verifierNames())),
		Ticket: word(m, "ticket", "state of a ticket", []countersign.TicketState{countersign.TicketOpen, countersign.TicketClosed}), MustOpen: m.flag("must_open"),
		Within: m.within("within"), EscalateTo: m.readRules("escalate_to"),
	}}
	if slices.ContainsFunc(t.evidence, func(other slot) bool { return other.Name == read.Name }) && read.Name != "" {
		s.problem(m.values["name"], "there are two evidence slots named `%s`", read.Name)
	}
	switch {
	case read.Due == countersign.DueAtClosure && !m.has("within"):
		s.problem(node, "evidence that is due at closure needs `within`, the time after the end of access")
	case read.Due == countersign.DueAtRequest && m.has("within"):
		s.problem(m.keys["within"], "`within` belongs to evidence that is due at-closure")
	case read.Due == countersign.DueAtRequest && m.has("escalate_to"):
		s.problem(m.keys["escalate_to"], "`escalate_to` belongs to evidence that is due at-closure")
	}
	if m.has("covers") && read.VerifiedBy != directoryVerifier {
		s.problem(m.keys["covers"], "`covers` belongs to evidence with `verified_by: directory`")
	}
	info, _, signed := set.Verifier(read.VerifiedBy)
	switch {
	case signed:
		t.readAttestedField(m, &read, info.URL == "")
	case read.VerifiedBy != "" && read.VerifiedBy != directoryVerifier:
		t.readTicketField(m, &read)
	default:
		t.readRecordField(m, &read)
	}
	t.evidence = append(t.evidence, read)
}

// readRecordField settles which answer names the record that the directory
// verifies.
func (t *requestType) readRecordField(m *mapping, read *slot) {
	if m.has("ticket") {
		m.problem(m.keys["ticket"], "`ticket` belongs to evidence that a source verifies")
	}
	if read.VerifiedBy == "" {
		if m.has("from") {
			m.problem(m.keys["from"], "`from` belongs to evidence with `verified_by`")
		}
		return
	}
	if read.Kind != countersign.RecordEvidence {
		m.problem(m.values["verified_by"], "the directory verifies evidence of the kind `record` only")
		return
	}
	var keys []string
	for _, field := range t.form.fields {
		if field.format == recordFormat && field.kind == "string" {
			keys = append(keys, field.name)
		}
	}
	switch {
	case m.has("from") && !slices.Contains(keys, read.from):
		m.problem(m.values["from"], "%s", unknown("field with the format system-record", read.from, keys))
	case !m.has("from") && len(keys) == 1:
		read.from = keys[0]
	case !m.has("from") && len(keys) == 0:
		m.problem(m.node, "no field of `ask` has the format `system-record`, so there is no record to verify")
	case !m.has("from"):
		m.problem(m.node, "several fields of `ask` name a record: say which with `from`, %s", enumerate(keys, "or"))
	}
}

var stepForm = regexp.MustCompile(`^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]*$`)

var endConditions = []countersign.EndConditionKind{countersign.OwnerLeft, countersign.SystemRetired, countersign.WhenTicketClosed, countersign.Unused}

// readFulfilment reads how the request is carried out and how its access ends.
func (t *requestType) readFulfilment(m *mapping) {
	for _, node := range m.list("fulfil") {
		text := m.scalar(node, "a step")
		connector, action, _ := strings.Cut(text, ".")
		if text != "" && !stepForm.MatchString(text) {
			m.problem(node, "`%s` is not a step: write it as connector.action, as in vault.issue-key", countersign.Clip(text))
		}
		t.fulfil = append(t.fulfil, countersign.Step{Connector: connector, Action: action})
	}
	if node := m.values["fulfil"]; node != nil && node.Kind == yaml.SequenceNode && len(t.fulfil) != 1 {
		m.problem(node, "`fulfil` has %s, and a request is carried out by exactly one today", counted(len(t.fulfil), "step", "steps"))
	}
	t.readParameters(m)
	if m.has("grant") {
		g := m.mapping(m.values["grant"], "`grant`", "ends", "remind", "ends_when", "overlap", "bounded_by")
		word(g, "ends", "way to end", []string{"revoke"})
		t.terms.Remind = g.seconds("remind")
		if t.terms.Overlap = g.seconds("overlap"); t.terms.Overlap > longestOverlap {
			g.problem(g.values["overlap"], "`overlap` is %s, and must be at most %s", t.terms.Overlap, longestOverlap)
		}
		t.readBounds(g)
		for _, node := range g.list("ends_when") {
			if condition, ok := readEnd(g, node); ok {
				if condition.Kind == countersign.WhenTicketClosed && !t.asksFor(countersign.DueAtRequest, countersign.TicketOpen) {
					g.problem(node, "`ticket-closed` needs the ticket: evidence with `kind: ticket, ticket: open, due: at-request`, verified by a source")
				}
				t.terms.EndsWhen = append(t.terms.EndsWhen, condition)
			}
		}
	}
	if m.has("close") {
		c := m.mapping(m.values["close"], "`close`", "when")
		c.require("when")
		for _, node := range c.list("when") {
			if node.Value != "gone" {
				c.problem(node, "%s", unknown("condition", node.Value, []string{"gone"}))
			}
		}
	}
}

func readEnd(m *mapping, node *yaml.Node) (countersign.EndCondition, bool) {
	text := m.scalar(node, "an end condition")
	name, argument, hasArgument := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	if !contains(endConditions, name) {
		m.problem(node, "%s", unknown("end condition", name, words(endConditions)))
		return countersign.EndCondition{}, false
	}
	condition := countersign.EndCondition{Kind: countersign.EndConditionKind(name)}
	if (condition.Kind == countersign.Unused) != hasArgument {
		m.problem(node, "write it as `owner-left`, `system-retired`, `ticket-closed` or `unused(30d)`")
		return condition, false
	}
	if hasArgument {
		var err error
		if condition.Within, err = countersign.ParseSeconds(argument); err != nil {
			m.problem(node, "%s", err)
		}
	}
	return condition, true
}
