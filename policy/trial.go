package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// test is one of a policy's own tests: complete facts, most of them by default,
// and what is expected.
type test struct {
	name  string
	line  int
	facts Facts
	// stages, skipped and waived are nil where the test does not say.
	stages, skipped, waived []string
	refused                 string
	duration                countersign.Seconds
}

// TestResult is the outcome of one test; without failures it passed.
type TestResult struct {
	File, Type, Name string
	Line             int
	Failures         []string
}

// Test runs the tests that the policy files bring, in the order of types and files.
func (s *Set) Test() []TestResult {
	var results []TestResult
	for _, t := range s.types {
		for _, test := range t.tests {
			result := TestResult{File: t.path, Type: t.name, Name: test.name, Line: test.line}
			plan, err := s.Judge(t.name, test.facts)
			if err != nil {
				result.Failures = []string{err.Error()}
			} else {
				result.Failures = test.failures(plan)
			}
			results = append(results, result)
		}
	}
	return results
}

func (t test) failures(plan Plan) []string {
	var failures []string
	fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	var sentences []string
	for _, refusal := range plan.Refusals {
		sentences = append(sentences, refusal.Reason+": "+refusal.Because)
	}
	refusals := strings.Join(sentences, " ")
	switch {
	case t.refused == "" && refusals != "":
		fail("expected no refusal, and it was refused: %s", refusals)
	case t.refused != "" && refusals == "":
		fail("expected a refusal with `%s`, and nothing was refused", t.refused)
	case !strings.Contains(refusals, t.refused):
		fail("expected a refusal with `%s`, and it was refused otherwise: %s", t.refused, refusals)
	}
	taken, skipped := []string{}, []string{}
	for _, planned := range plan.Stages {
		if planned.Stage.State == countersign.StageSkipped {
			skipped = append(skipped, planned.Stage.Name)
		} else {
			taken = append(taken, planned.Stage.Name)
		}
	}
	if t.stages != nil && !slices.Equal(t.stages, taken) {
		fail("expected the stages [%s], and they are [%s]", strings.Join(t.stages, ", "), strings.Join(taken, ", "))
	}
	if t.skipped != nil && !slices.Equal(t.skipped, skipped) {
		fail("expected to skip [%s], and skipped are [%s]", strings.Join(t.skipped, ", "), strings.Join(skipped, ", "))
	}
	if wrong := t.waivedOtherwise(plan.Waived); wrong != "" {
		fail("%s", wrong)
	}
	if t.duration != 0 && t.duration != plan.Duration {
		fail("expected the duration %s, and it is %s", t.duration, plan.Duration)
	}
	return failures
}

// readTest reads one test and fills in what it does not name.
func readTest(s *source, node *yaml.Node, t *requestType) test {
	m := s.mapping(node, "a test", "name", "given", "expect")
	m.require("name", "expect")
	read := test{name: m.text("name"), line: node.Line}
	given := &mapping{s, node, nil, nil}
	if m.has("given") {
		given = s.mapping(m.values["given"], "`given`", "requester", "beneficiary", "resource", "entitlement", "duration",
			"until", "reason", "answers", "approvers", "records", "open_requests", "held", "owner", "sponsor", "exception", "eligible", "overdue_review", "tickets", "now")
	}
	read.facts = t.readFacts(given)
	if !m.has("expect") {
		return read
	}
	expect := s.mapping(m.values["expect"], "`expect`", "stages", "skipped", "waived", "refused", "duration")
	if len(expect.values) == 0 {
		s.problem(expect.node, "`expect` expects nothing")
	}
	var stages []string
	for _, stage := range t.stages {
		stages = append(stages, stage.template.Name)
	}
	if name := t.exceptions.stageName(); name != "" {
		stages = append(stages, name)
	}
	for key, list := range map[string]*[]string{"stages": &read.stages, "skipped": &read.skipped} {
		if !expect.has(key) {
			continue
		}
		*list = []string{}
		for _, name := range expect.list(key) {
			if !slices.Contains(stages, name.Value) {
				s.problem(name, "%s", unknown("stage", name.Value, stages))
			}
			*list = append(*list, name.Value)
		}
	}
	if expect.has("waived") {
		read.waived = []string{}
		for _, node := range expect.list("waived") {
			read.waived = append(read.waived, expect.scalar(node, "each entry of `waived`"))
		}
	}
	if read.refused = expect.text("refused"); read.refused == "false" {
		read.refused = ""
	}
	read.duration = expect.seconds("duration")
	return read
}

// The moment of tests that name none: a Monday morning.
var testNow = countersign.InstantOf(time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC))

func (t *requestType) readFacts(m *mapping) Facts {
	facts := Facts{
		Now: testNow, Rotates: t.rotates != nil, Reason: m.text("reason"), Duration: m.seconds("duration"), Until: m.instant("until"),
		OpenRequests: m.number("open_requests", 0, 0, 1_000_000), Approvers: map[string][]Candidate{},
		Records: map[string]RecordFact{}, SamePerson: map[countersign.IdentityID]string{},
	}
	if facts.Reason == "" {
		facts.Reason = "a test of the policy"
	}
	if m.has("now") {
		facts.Now = m.instant("now")
	}
	kind := countersign.Person
	if len(t.beneficiary) > 0 {
		kind = t.beneficiary[0]
	}
	facts.Requester = readParty(m, "requester", countersign.Person)
	facts.Beneficiary = readParty(m, "beneficiary", kind)
	facts.readAnswering(m)
	for _, p := range []Party{facts.Beneficiary, facts.Requester} {
		for id, why := range map[countersign.IdentityID]string{p.Owner: "the owner of " + p.Name, p.Sponsor: "the sponsor of " + p.Name} {
			if id != "" && p.Kind != countersign.Person {
				facts.SamePerson[id] = why
			}
		}
	}
	facts.SamePerson[facts.Beneficiary.ID] = "the beneficiary"
	facts.SamePerson[facts.Requester.ID] = "the requester"
	facts.Items = []Item{t.readItem(m)}
	answers := t.readAnswers(m)
	facts.Answers, _ = json.Marshal(answers)
	t.readApprovers(m, facts.Approvers)
	t.readRecords(m, facts, t.form.view(answers))
	facts.Held = readHeld(m, facts.Beneficiary)
	facts.Exception = readException(m, facts.Now)
	t.readEmergency(m, &facts)
	return facts
}

func (m *mapping) instant(key string) countersign.Instant {
	text := m.text(key)
	if text == "" {
		return 0
	}
	var instant countersign.Instant
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return countersign.InstantOf(day)
	}
	if err := instant.UnmarshalText([]byte(text)); err != nil {
		m.problem(m.values[key], "%s", err)
	}
	return instant
}

func (m *mapping) inner(key string, known ...string) *mapping {
	if !m.has(key) {
		return &mapping{m.source, m.node, nil, nil}
	}
	return m.mapping(m.values[key], "`"+key+"`", known...)
}

func (m *mapping) textOr(key, otherwise string) string {
	if m.has(key) {
		return m.text(key)
	}
	return otherwise
}

func readParty(given *mapping, role string, kind countersign.IdentityKind) Party {
	m := given.inner(role, "name", "kind", "active", "affiliation", "environment", "teams", "groups", "contract_end", "last_confirmed", "owner", "sponsor", "purpose", "record")
	name := m.textOr("name", role)
	p := Party{
		ID: countersign.IdentityID(name), Name: name, Kind: kind, Active: !m.has("active") || m.flag("active"),
		Teams: m.names("teams"), Groups: m.names("groups"), ContractEnd: m.instant("contract_end"), LastConfirmed: m.instant("last_confirmed"),
		Sponsor: countersign.IdentityID(m.text("sponsor")), Purpose: m.text("purpose"), Record: m.text("record"),
	}
	if m.has("kind") {
		p.Kind = word(m, "kind", "kind", identityKinds)
	}
	if p.Kind == countersign.Person {
		p.Affiliation = countersign.Employee
	} else {
		p.Owner, p.Environment = "owner", "dev"
	}
	if m.has("affiliation") {
		p.Affiliation = word(m, "affiliation", "affiliation", affiliations)
	}
	p.Owner = countersign.IdentityID(m.textOr("owner", string(p.Owner)))
	p.Environment = m.textOr("environment", p.Environment)
	return p
}

func (t *requestType) readItem(given *mapping) Item {
	first := func(list []string, otherwise string) string {
		if len(list) > 0 {
			return list[0]
		}
		return otherwise
	}
	r := given.inner("resource", "name", "system", "environment", "risk", "connector")
	item := Item{
		Resource: ResourceFact{
			Name: r.textOr("name", first(t.grants.Resources, "resource")), System: r.textOr("system", first(t.grants.Systems, "system")),
			Environment: r.textOr("environment", "dev"), Risk: countersign.LowRisk,
		},
	}
	if len(t.fulfil) > 0 {
		item.Resource.Connector = t.fulfil[0].Connector
	}
	item.Resource.Connector = r.textOr("connector", item.Resource.Connector)
	if r.has("risk") {
		item.Resource.Risk = word(r, "risk", "risk", risks)
	}
	e := given.inner("entitlement", "name", "kind", "risk", "max_duration")
	name := e.textOr("name", first(t.grants.Entitlements, "entitlement"))
	item.Entitlement = EntitlementFact{ID: countersign.EntitlementID(name), Name: name, Kind: t.grants.Kind, Risk: item.Resource.Risk, MaxDuration: e.seconds("max_duration")}
	if e.has("kind") {
		item.Entitlement.Kind = word(e, "kind", "kind of entitlement", entitlementKinds)
	}
	if e.has("risk") {
		item.Entitlement.Risk = word(e, "risk", "risk", risks)
	}
	return item
}

// readAnswers returns the answers that the test gives, and for the other fields
// that must be answered the simplest answer of their type.
func (t *requestType) readAnswers(given *mapping) map[string]any {
	answers := map[string]any{}
	for _, field := range t.form.fields {
		if field.optional || field.standard != nil {
			continue
		}
		switch {
		case field.kind == "integer":
			answers[field.name] = json.Number(fmt.Sprint(field.minimum))
		case field.kind == "boolean":
			answers[field.name] = false
		case field.kind == "array":
			answers[field.name] = []any{}
		case len(field.enum) > 0:
			answers[field.name] = field.enum[0]
		case field.format != "":
			answers[field.name] = map[string]string{recordFormat: "SR-1", "date": "2026-01-31", "email": "someone@example.org", "uri": "https://example.org/"}[field.format]
		case slices.ContainsFunc(t.evidence, func(s slot) bool { return s.from == field.name && s.Attested() }):
			answers[field.name] = "sha256:" + strings.Repeat("0", 64)
		default:
			answers[field.name] = strings.Repeat("x", max(1, field.minLength))
		}
	}
	m := given.inner("answers")
	for name, node := range m.values {
		if field, known := t.form.find(name); known {
			answers[name] = m.answer(node, field.kind)
		} else {
			m.problem(m.keys[name], "%s", unknown("answer", name, t.form.names()))
		}
	}
	return answers
}

// readApprovers gives each rule of the type's stages, and of the exception stage,
// the people that the test names, or two people who are called after the rule.
func (t *requestType) readApprovers(given *mapping, approvers map[string][]Candidate) {
	var rules []string
	stages := slices.Clone(t.stages)
	if t.breakGlass != nil {
		stages = append(stages, stage{template: countersign.Stage{Quorums: []countersign.Quorum{{Approvers: t.breakGlass.tell}}}})
	}
	if t.exceptions != nil {
		stages = append(stages, t.exceptions.stage)
	}
	for _, stage := range stages {
		for _, rule := range StageRules(stage.template) {
			rules = append(rules, rule)
			approvers[rule] = nil
			for _, name := range []string{rule + " 1", rule + " 2"} {
				approvers[rule] = append(approvers[rule], Candidate{ID: countersign.IdentityID(name), Name: name, Active: true, Human: true})
			}
		}
	}
	m := given.inner("approvers")
	for text, node := range m.values {
		rule, wrong := parseRule(text)
		if wrong == "" && !slices.Contains(rules, rule) {
			wrong = unknown("rule of this type", rule, rules)
		}
		if wrong != "" {
			m.problem(m.keys[text], "%s", wrong)
			continue
		}
		approvers[rule] = []Candidate{}
		for _, person := range m.each(node, "the people of a rule") {
			approvers[rule] = append(approvers[rule], Candidate{ID: countersign.IdentityID(person.Value), Name: person.Value, Active: true, Human: true})
		}
	}
}

// readRecords gives each record that an answer names the facts of the test, or
// those of a record that confirms the beneficiary.
func (t *requestType) readRecords(given *mapping, facts Facts, answers *answerFields) {
	for _, key := range t.recordKeys(answers) {
		record := RecordFact{Key: key.key, Found: true, Owner: facts.Beneficiary.Owner}
		for _, item := range facts.Items {
			record.Scopes = append(record.Scopes, item.Entitlement.Name)
		}
		facts.Records[key.key] = record
	}
	m := given.inner("records")
	for key, node := range m.values {
		r := m.mapping(node, "a record", "found", "owner", "environment", "scopes", "retired")
		facts.Records[key] = RecordFact{
			Key: key, Found: !r.has("found") || r.flag("found"), Owner: countersign.IdentityID(r.textOr("owner", string(facts.Beneficiary.Owner))),
			Environment: r.text("environment"), Scopes: r.names("scopes"), Retired: r.flag("retired"),
		}
	}
}

// readEmergency says whether the beneficiary is eligible, whether a review of an
// earlier use is overdue, and how the tickets are that answers name; where the
// test is silent, all is as it should be.
func (t *requestType) readEmergency(given *mapping, facts *Facts) {
	if t.breakGlass != nil && !given.has("requester") {
		facts.Requester = facts.Beneficiary
	}
	if !given.has("eligible") || given.flag("eligible") {
		for _, item := range facts.Items {
			facts.Eligible = append(facts.Eligible, item.Entitlement.ID)
		}
	}
	if given.flag("overdue_review") {
		facts.OverdueReviews = []OverdueReview{{Request: "an earlier request", Systems: []string{facts.Items[0].Resource.System}}}
	}
	facts.Tickets = map[string]TicketFact{}
	m := given.inner("tickets")
	for _, slot := range t.evidence {
		if slot.Ticket != "" {
			facts.Tickets[slot.Name] = TicketFact{Found: true, Open: slot.Ticket == countersign.TicketOpen}
		}
	}
	for name, node := range m.values {
		if _, known := facts.Tickets[name]; !known {
			m.problem(m.keys[name], "%s", unknown("evidence that a source verifies", name, slices.Sorted(maps.Keys(facts.Tickets))))
			continue
		}
		switch state := m.scalar(node, "the state of a ticket"); state {
		case "open", "closed":
			facts.Tickets[name] = TicketFact{Found: true, Open: state == "open"}
		case "missing":
			facts.Tickets[name] = TicketFact{}
		case "unreachable":
			facts.Tickets[name] = TicketFact{Unreachable: "the source does not answer."}
		default:
			m.problem(node, "%s", unknown("state of a ticket", state, []string{"open", "closed", "missing", "unreachable"}))
		}
	}
}
