package policy

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// The closed list of approver rules, and what each may be asked about.
var approverRules = map[string][]string{
	"manager-of":      {"requester", "beneficiary", "sponsor"},
	"owner-of":        {"resource", "beneficiary"},
	"second-owner-of": {"resource", "beneficiary"},
	"group":           nil,
	"person":          nil,
}

// AskerRules returns the rules that find somebody by who asks for whom.
func AskerRules() []string {
	var rules []string
	for name, subjects := range approverRules {
		for _, subject := range subjects {
			if subject != "resource" {
				rules = append(rules, name+"("+subject+")")
			}
		}
	}
	slices.Sort(rules)
	return rules
}

var ruleNames = []string{"manager-of", "owner-of", "second-owner-of", "group", "person"}

var (
	ruleForm  = regexp.MustCompile(`^([a-z-]+)\(([^()]*)\)$`)
	groupForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// readRules reads approver rules into their one spelling, without repetition.
func (m *mapping) readRules(key string) []string {
	var rules []string
	for _, node := range m.list(key) {
		text := m.scalar(node, "an approver rule")
		if text == "" {
			continue
		}
		rule, wrong := parseRule(text)
		switch {
		case wrong != "":
			m.problem(node, "%s", wrong)
		case slices.Contains(rules, rule):
			m.problem(node, "the rule `%s` stands twice", rule)
		default:
			rules = append(rules, rule)
		}
	}
	if node := m.values[key]; node != nil && node.Kind == yaml.SequenceNode && len(node.Content) == 0 {
		m.problem(node, "`%s` names nobody", key)
	}
	return rules
}

// parseRule brings an approver rule into its one spelling, or says what is wrong.
func parseRule(text string) (rule, wrong string) {
	match := ruleForm.FindStringSubmatch(text)
	if match == nil {
		if near := countersign.Nearest(text, ruleNames); near != "" {
			return "", "`" + countersign.Clip(text) + "` is not an approver rule: write `" + near + "(…)`"
		}
		return "", "`" + countersign.Clip(text) + "` is not an approver rule: write it as in `manager-of(requester)` or `group(security)`"
	}
	name, subject := match[1], strings.TrimSpace(match[2])
	if name == "on-call" {
		return "", "`on-call()` cannot be used: no on-call source is configured"
	}
	subjects, known := approverRules[name]
	if !known {
		return "", unknown("approver rule", name, ruleNames)
	}
	switch {
	case name == "group" && !groupForm.MatchString(subject):
		return "", "`" + countersign.Clip(subject) + "` is not the name of a group"
	case name == "person":
		login, err := countersign.NewHandle(countersign.Login, "", subject)
		if err != nil {
			return "", "`" + countersign.Clip(subject) + "` is not a login"
		}
		subject = login.Value
	case subjects != nil && !slices.Contains(subjects, subject):
		return "", unknown("subject of `"+name+"`", subject, subjects)
	}
	return name + "(" + subject + ")", ""
}

// mostPeople is how many people a rule can ever find, for a request with the
// given number of entitlements; negative means any number.
func mostPeople(rule string, entitlements int) int {
	switch {
	case strings.HasPrefix(rule, "group("):
		return -1
	case rule == "owner-of(resource)", rule == "second-owner-of(resource)":
		return entitlements
	}
	return 1
}
