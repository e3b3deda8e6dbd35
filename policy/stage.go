package policy

import (
	"slices"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// stage is one loaded stage; its template holds what every request's stage
// begins with.
type stage struct {
	template        countersign.Stage
	when, automatic *expression
	// line is where it begins in its file.
	line int
}

// readStages reads the stages in order; those of one `together` share a step.
func (t *requestType) readStages(c *compiler, m *mapping, calendars []string) {
	nodes := m.list("stages")
	if node := m.values["stages"]; node != nil && node.Kind == yaml.SequenceNode && len(nodes) == 0 {
		m.problem(node, "a request type needs at least one stage; one that needs no person has a stage with `automatic: \"true\"`")
	}
	for i, node := range nodes {
		siblings := []*yaml.Node{node}
		if node.Kind == yaml.MappingNode && len(node.Content) > 0 && node.Content[0].Value == "together" {
			together := c.mapping(node, "a stage", "together")
			if siblings = together.list("together"); len(siblings) < 2 {
				c.problem(node, "`together` holds at least two stages side by side")
			}
		}
		var earlier []string
		for _, before := range t.stages {
			earlier = append(earlier, before.template.Name)
		}
		for _, sibling := range siblings {
			read := t.readStage(c, sibling, calendars, earlier)
			read.template.Step = i + 1
			t.stages = append(t.stages, read)
		}
	}
}

func (t *requestType) readStage(c *compiler, node *yaml.Node, calendars, earlier []string) stage {
	m := c.mapping(node, "a stage", "name", "when", "automatic", "approvers", "else", "need", "quorum", "distinct_from", "within", "calendar", "then")
	m.require("name")
	read := stage{line: node.Line, template: countersign.Stage{
		Name: m.name("name"), State: countersign.StageWaiting, Within: defaultWithin, Calendar: m.text("calendar"),
	}}
	name := read.template.Name
	if name == "requester" || name == "beneficiary" {
		m.problem(m.values["name"], "a stage cannot be named `%s`: `distinct_from` could not tell it from the person", name)
	}
	if name != "" && slices.ContainsFunc(t.stages, func(other stage) bool { return other.template.Name == name }) {
		m.problem(m.values["name"], "there are two stages named `%s`", name)
	}
	if name != "" && t.exceptions.stageName() == name {
		m.problem(m.values["name"], "a stage cannot be named `%s`: the exception stage of %s:%d is", name, t.exceptions.path, t.exceptions.line)
	}
	if m.has("when") {
		read.when = c.compile(m.values["when"], "`when`", cel.BoolType)
	}
	if m.has("automatic") {
		read.automatic = c.compile(m.values["automatic"], "`automatic`", cel.BoolType)
	}
	read.template.Quorums = t.readQuorums(m)
	if m.has("distinct_from") {
		for _, from := range m.each(m.values["distinct_from"], "`distinct_from`") {
			switch {
			case from.Value == "requester" || from.Value == "beneficiary":
				// They are kept out of every stage, by separation of duties.
			case !slices.Contains(earlier, from.Value):
				m.problem(from, "%s", unknown("earlier stage", from.Value, append([]string{"requester", "beneficiary"}, earlier...)))
			case !slices.Contains(read.template.DistinctFrom, from.Value):
				read.template.DistinctFrom = append(read.template.DistinctFrom, from.Value)
			}
		}
	}
	if m.has("within") {
		read.template.Within = m.within("within")
	}
	if m.has("calendar") && !slices.Contains(calendars, read.template.Calendar) {
		m.problem(m.values["calendar"], "%s", unknown("calendar", read.template.Calendar, calendars))
	}
	if m.has("then") {
		read.template.Ladder = c.readLadder(m.values["then"])
	}
	return read
}

// readLadder flattens the nested `then` into rungs. After the last rung's time
// the request is denied, so `deny` adds none.
func (s *source) readLadder(node *yaml.Node) []countersign.Rung {
	var ladder []countersign.Rung
	for node != nil && (node.Kind != yaml.ScalarNode || node.Value != "deny") {
		if node.Kind == yaml.ScalarNode {
			s.problem(node, "%s", unknown("consequence", node.Value, []string{"deny", "escalate_to"}))
			return ladder
		}
		m := s.mapping(node, "`then`", "escalate_to", "within", "then")
		m.require("escalate_to")
		rung := countersign.Rung{EscalateTo: m.readRules("escalate_to"), Within: defaultWithin}
		if m.has("within") {
			rung.Within = m.within("within")
		}
		ladder = append(ladder, rung)
		node = m.values["then"]
	}
	return ladder
}

// readQuorums reads the one quorum of a plain stage, or the several.
func (t *requestType) readQuorums(m *mapping) []countersign.Quorum {
	var quorums []countersign.Quorum
	before := len(m.problems)
	plain := m.has("approvers") || m.has("else") || m.has("need")
	switch {
	case m.has("quorum") && plain:
		m.problem(m.keys["quorum"], "a stage has either `quorum` or `approvers`, `else` and `need`")
	case m.has("quorum"):
		for _, node := range m.list("quorum") {
			quorums = append(quorums, readQuorum(m.mapping(node, "a quorum", "approvers", "else", "need")))
		}
		if len(quorums) == 0 {
			m.problem(m.values["quorum"], "`quorum` names nobody")
		}
	case plain:
		quorums = append(quorums, readQuorum(m))
	case !m.has("automatic") && m.node.Kind == yaml.MappingNode:
		m.problem(m.node, "a stage needs `approvers`, `quorum` or `automatic`")
	}
	if len(m.problems) > before {
		return quorums
	}
	if missing, ok := canSupply(quorums, t.entitlements); !ok {
		m.problem(m.node, "this stage can never be decided: %s", missing)
	}
	return quorums
}

func readQuorum(m *mapping) countersign.Quorum {
	m.require("approvers")
	return countersign.Quorum{Approvers: m.readRules("approvers"), Else: m.readRules("else"), Need: m.number("need", 1, 1, 100)}
}

// canSupply says whether the rules could ever find enough different people. Each
// rule stands for as many people as it can find; the same rule in two quorums
// finds the same people.
func canSupply(quorums []countersign.Quorum, entitlements int) (missing string, ok bool) {
	needed := 0
	for _, quorum := range quorums {
		needed += quorum.Need
	}
	var asked []countersign.Asked
	for i, quorum := range quorums {
		for _, rule := range slices.Concat(quorum.Approvers, quorum.Else) {
			people := mostPeople(rule, entitlements)
			if people < 0 {
				people = needed
			}
			for n := range people {
				person := countersign.IdentityID(rule + string(rune('0'+n)))
				asked = append(asked, countersign.Asked{Person: person, Rule: rule, Quorum: i})
			}
		}
	}
	return Supplies(countersign.Stage{Quorums: quorums}, asked)
}
