package policy

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

const (
	maxParameters = 16
	// maxParameter is how many bytes the answer may have that a connector is given: a
	// certificate signing request with a long key has some 2 kB.
	maxParameter = 16 << 10
)

// readParameters reads which answers go to the connector, by the names of their
// fields.
func (t *requestType) readParameters(m *mapping) {
	var fields []string
	for _, field := range t.form.fields {
		if field.kind != "array" {
			fields = append(fields, field.name)
		}
	}
	nodes := m.list("parameters")
	if len(nodes) > maxParameters {
		m.problem(m.values["parameters"], "`parameters` names %d fields, and a connector is given at most %d", len(nodes), maxParameters)
	}
	for _, node := range nodes {
		name := m.scalar(node, "a parameter")
		field, known := t.form.find(name)
		switch {
		case name == "" || node.Kind != yaml.ScalarNode:
		case known && field.kind == "array":
			m.problem(node, "`%s` is a list, and a parameter is one text, number or truth value", name)
		case !known:
			m.problem(node, "%s", unknown("field of `ask` to give to the connector", name, fields))
		case slices.Contains(t.parameters, name):
			m.problem(node, "`%s` stands twice", name)
		default:
			t.parameters = append(t.parameters, name)
		}
	}
}

// Parameters returns what the connector of the request type is given of the
// answers, as text, by field; nil for nothing. What was not answered is absent.
func (s *Set) Parameters(typeName string, answers json.RawMessage) map[string]string {
	t := s.find(typeName)
	if t == nil || len(t.parameters) == 0 {
		return nil
	}
	decoded, _ := t.form.decode(answers)
	view, given := t.form.view(decoded), map[string]string{}
	for _, name := range t.parameters {
		if value, there := view.values[name]; there {
			given[name] = fmt.Sprint(value)
		}
	}
	return given
}

// judgeParameters refuses what no connector would be given.
func (j *judgement) judgeParameters() {
	for _, name := range j.kind.parameters {
		if text, isText := j.answers.values[name].(string); isText && len(text) > maxParameter {
			j.refuse(Refusal{Reason: "invalid-answer", Field: "/answers/" + name, Because: fmt.Sprintf("`%s` has %d bytes, and the connector is given at most %d.", name, len(text), maxParameter)})
		}
	}
}
