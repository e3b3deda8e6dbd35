package policy

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/theory/jsonpath"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// TicketingInfo is a ticket system whose tickets open requests, and hear what
// becomes of them.
type TicketingInfo struct {
	Name string                    `json:"name"`
	Kind countersign.TicketingKind `json:"kind"`
	// URL is where it is, without a path.
	URL string `json:"url"`
	// Journal is the field of a ServiceNow record that is written to.
	Journal string `json:"journal,omitempty"`
	// Withdrawn are the states of a ticket that take an undecided request back.
	Withdrawn []string `json:"withdrawn,omitempty"`
	// States are what a ticket is set to, by the state that its request has reached.
	States map[countersign.RequestState]string `json:"states,omitempty"`
	Opens  []OpeningInfo                       `json:"opens"`
}

// OpeningInfo says which tickets open which request. A text that begins with `$`
// is a path (RFC 9535) into what the ticket system sends; any other stands for
// itself.
type OpeningInfo struct {
	Request string `json:"request"`
	// When are the words that must stand at paths; all of them must.
	When map[string][]string `json:"when,omitempty"`
	// Beneficiary is "" for who opened the ticket.
	Beneficiary  string   `json:"beneficiary,omitempty"`
	Entitlements []string `json:"entitlements"`
	Reason       string   `json:"reason"`
	// Duration is "" for what the request type offers without being asked.
	Duration string            `json:"duration,omitempty"`
	Answers  map[string]string `json:"answers,omitempty"`
}

// Ticketing returns the ticket systems, in the order of names.
func (s *Set) Ticketing() []TicketingInfo { return slices.Clone(s.ticketing) }

var (
	// quoted are the names and texts of a path in its normal form.
	quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	// journals are the fields of a ServiceNow record that keep what is written to them.
	journals = []string{"comments", "work_notes"}
	// reached are the states that a ticket can be told of.
	reached = slices.DeleteFunc(slices.Clone(countersign.RequestStates), func(state countersign.RequestState) bool { return state == countersign.RequestTriaging })
)

func (l *loader) readTicketing(s *source, root *yaml.Node) {
	for _, node := range l.entries(s, root, "ticketing") {
		m := s.mapping(node, "a ticket system", "name", "kind", "url", "journal", "withdrawn", "states", "opens")
		m.require("name", "kind", "url", "opens")
		read := TicketingInfo{
			Name: l.named(m, "ticket system"), Kind: word(m, "kind", "kind of ticket system", countersign.TicketingKinds),
			URL: m.text("url"), Journal: word(m, "journal", "journal", journals), Withdrawn: m.some("withdrawn"), States: map[countersign.RequestState]string{},
		}
		if wrong := wrongBase(read.URL); wrong != "" && m.has("url") {
			m.problem(m.values["url"], "%s: write it as in https://example.service-now.com", wrong)
		}
		switch {
		case m.has("journal") && read.Kind != countersign.ServiceNow:
			m.problem(m.keys["journal"], "`journal` belongs to the kind `%s`", countersign.ServiceNow)
		case read.Journal == "" && read.Kind == countersign.ServiceNow:
			read.Journal = journals[0]
		}
		if m.has("states") {
			states := s.mapping(m.values["states"], "`states`", words(reached)...)
			for state := range states.values {
				read.States[countersign.RequestState(state)] = states.text(state)
			}
		}
		for _, opening := range m.list("opens") {
			read.Opens = append(read.Opens, l.readOpening(s, opening))
		}
		if m.has("opens") && len(read.Opens) == 0 {
			m.problem(m.values["opens"], "`opens` names nothing")
		}
		l.set.ticketing = append(l.set.ticketing, read)
	}
}

func (l *loader) readOpening(s *source, node *yaml.Node) OpeningInfo {
	m := s.mapping(node, "what a ticket opens", "request", "when", "beneficiary", "entitlements", "reason", "duration", "answers")
	m.require("request", "entitlements", "reason")
	read := OpeningInfo{
		Request: m.text("request"), Beneficiary: m.ticketText("beneficiary"), Entitlements: m.some("entitlements"),
		Reason: m.ticketText("reason"), Duration: m.ticketText("duration"), When: map[string][]string{}, Answers: map[string]string{},
	}
	if m.has("entitlements") {
		for _, text := range m.each(m.values["entitlements"], "`entitlements`") {
			s.ticketPath(text)
		}
	}
	if _, err := countersign.ParseSeconds(read.Duration); read.Duration != "" && !isPath(read.Duration) && err != nil {
		m.problem(m.values["duration"], "%v", err)
	}
	if m.has("when") {
		when := s.mapping(m.values["when"], "`when`")
		for path := range when.values {
			if !isPath(path) {
				m.problem(when.keys[path], "`%s` is not a path into what the ticket system sends: write it as in $.issue.fields.project.key", countersign.Clip(path))
				continue
			}
			s.ticketPath(when.keys[path])
			read.When[path] = when.some(path)
		}
	}
	t := l.set.find(read.Request)
	if t == nil {
		if m.has("request") {
			m.problem(m.values["request"], "%s", unknown("request type", read.Request, l.set.typeNames()))
		}
		return read
	}
	if t.breakGlass != nil {
		m.problem(m.values["request"], "`%s` is break-glass: nobody decides before the access is there, and a ticket is no person who answers for that", read.Request)
	}
	if m.has("answers") {
		answers := s.mapping(m.values["answers"], "`answers`")
		for name := range answers.values {
			if _, known := t.form.find(name); !known {
				m.problem(answers.keys[name], "%s", unknown("field of `ask`", name, t.form.names()))
				continue
			}
			read.Answers[name] = answers.ticketText(name)
		}
	}
	return read
}

func (s *Set) typeNames() []string {
	names := make([]string, len(s.types))
	for i, t := range s.types {
		names[i] = t.name
	}
	return names
}

func isPath(text string) bool { return strings.HasPrefix(text, "$") }

// ticketText reads a text that may be a path.
func (m *mapping) ticketText(key string) string {
	if m.has(key) {
		m.ticketPath(m.values[key])
	}
	return m.text(key)
}

// ticketPath reports a path that cannot be followed.
func (s *source) ticketPath(node *yaml.Node) {
	if !isPath(node.Value) {
		return
	}
	path, err := jsonpath.Parse(node.Value)
	if err != nil {
		s.problem(node, "`%s` is not a JSON path (RFC 9535): %s", countersign.Clip(node.Value), strings.TrimPrefix(err.Error(), "jsonpath: "))
		return
	}
	// Also in a filter, which would look everywhere for each value that it passes.
	if strings.Contains(quoted.ReplaceAllString(path.String(), ""), "..") {
		s.problem(node, "`..` looks everywhere in what is sent; give the way to the value step by step")
	}
}

// wrongBase says what is wrong with the address of a ticket system, or "". It
// quotes nothing.
func wrongBase(text string) string {
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Host == "":
		return "this is not an address"
	case address.User != nil:
		return "an address holds no user and no password"
	case address.Scheme != "https" && (address.Scheme != "http" || !loopback.MatchString(address.Hostname())):
		return "an address begins with https; http is for this host alone"
	case address.Path != "" || strings.ContainsAny(text, "?#"):
		return "the address of a ticket system ends with its host"
	}
	return ""
}

// AnswersFrom returns answers to the form of the request type from what stands in
// a ticket, by field: ticket systems write numbers and truth values as texts, too.
// What is empty is not answered; what does not fit is left to the form.
func (s *Set) AnswersFrom(typeName string, values map[string][]any) (json.RawMessage, error) {
	t, answers := s.find(typeName), map[string]any{}
	for name, found := range values {
		field, known := t.form.find(name)
		found = slices.DeleteFunc(slices.Clone(found), func(value any) bool { return value == nil || value == "" })
		switch {
		case !known || len(found) == 0:
		case field.kind == "array":
			answers[name] = found
		case len(found) > 1:
			return nil, countersign.Errorf(countersign.Invalid, "several-values", "The ticket has %d values for the field %q, which takes one.", len(found), name).At("/answers/" + name)
		default:
			answers[name] = answerOf(found[0], field.kind)
		}
	}
	return json.Marshal(answers)
}

func answerOf(value any, kind string) any {
	text, isText := value.(string)
	if !isText {
		return value
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && kind == "integer" {
		return n
	}
	if kind == "boolean" && (text == "true" || text == "false") {
		return text == "true"
	}
	return text
}
