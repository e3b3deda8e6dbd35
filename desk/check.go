package desk

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/policy"
)

// checkPolicies says where a policy set names what the directory or the house
// does not have: groups, people, systems, entitlements, connectors, actions; and
// which of its sources of tickets could not be asked.
func (d *Desk) checkPolicies(set *policy.Set, world *snapshot) []string {
	var problems []string
	for _, info := range set.Sources() {
		if _, err := d.Source(info); err != nil {
			problems = append(problems, fmt.Sprintf("source %s: %s", info.Name, err))
		}
	}
	for _, info := range set.Types() {
		found := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("request type %s: ", info.Name)+fmt.Sprintf(format, args...))
		}
		for _, stage := range set.Stages(info.Name) {
			for _, rule := range allRules(stage) {
				if problem := world.checkRule(rule); problem != "" {
					found("stage %s: %s", stage.Name, problem)
				}
			}
		}
		for _, slot := range info.Evidence {
			for _, rule := range slot.EscalateTo {
				if problem := world.checkRule(rule); problem != "" {
					found("evidence %s: %s", slot.Name, problem)
				}
			}
		}
		for _, rule := range info.Tell {
			if problem := world.checkRule(rule); problem != "" {
				found("break_glass: %s", problem)
			}
		}
		for _, problem := range world.checkSelector(info.Grants) {
			found("grants: %s", problem)
		}
		for _, bound := range info.Terms.BoundedBy {
			for _, name := range bound.Holds {
				if problem := world.checkBound(name, d.Connectors); problem != "" {
					found("bounded_by: %s", problem)
				}
			}
		}
		for _, step := range info.Fulfil {
			if problem := checkStep(step, info, d.Connectors); problem != "" {
				found("fulfil: %s", problem)
			}
		}
	}
	if exceptions := set.Exceptions(); exceptions != nil {
		for _, rule := range allRules(exceptions.Stage) {
			if problem := world.checkRule(rule); problem != "" {
				problems = append(problems, "exceptions: "+problem)
			}
		}
	}
	for _, rule := range set.Separations() {
		for _, side := range rule.Combination {
			for _, problem := range world.checkSelector(policy.Selector{Systems: side.Systems, Resources: side.Resources, Entitlements: side.Entitlements}) {
				problems = append(problems, fmt.Sprintf("separation rule %s: %s", rule.Name, problem))
			}
		}
	}
	for _, pack := range set.Packages() {
		for _, name := range pack.Entitlements {
			entitlement := world.findEntitlement(name)
			if entitlement != nil && entitlement.System == world.systemNames[SystemName] && slices.ContainsFunc(set.Birthrights(), func(rule policy.BirthrightInfo) bool { return rule.Package == pack.Name }) {
				problems = append(problems, fmt.Sprintf("package %s: %s is a power of the desk, which no birthright gives: powers are asked for", pack.Name, name))
			}
			if entitlement == nil {
				problems = append(problems, fmt.Sprintf("package %s: there is no entitlement %q%s", pack.Name, name, meant(name, sortedKeys(world.rights))))
			}
		}
	}
	return problems
}

// checkRule looks for the group or person that a rule names.
func (d *snapshot) checkRule(rule string) string {
	function, argument := splitRule(rule)
	if function == "group" && d.groups[d.groupNames[argument]] == nil {
		return fmt.Sprintf("there is no group %q%s", argument, meant(argument, sortedKeys(d.groupNames)))
	}
	if function == "person" && d.findIdentity(argument) == nil {
		return fmt.Sprintf("there is no person %q", argument)
	}
	return ""
}

func meant(word string, known []string) string {
	if near := countersign.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// checkSelector looks for the systems, resources and entitlements that a type
// names.
func (d *snapshot) checkSelector(selector policy.Selector) []string {
	var problems []string
	var resources, entitlements []string
	for _, system := range d.systems {
		for _, resource := range system.Resources {
			resources = append(resources, resource.Name)
		}
	}
	for _, entitlement := range d.entitlements {
		entitlements = append(entitlements, entitlement.Name)
	}
	for _, part := range []struct {
		noun         string
		named, known []string
	}{
		{"system", selector.Systems, sortedKeys(d.systemNames)}, {"resource", selector.Resources, resources}, {"entitlement", selector.Entitlements, entitlements},
	} {
		for _, name := range part.named {
			if name != "any" && !slices.Contains(part.known, name) {
				problems = append(problems, fmt.Sprintf("there is no %s %q%s", part.noun, name, meant(name, part.known)))
			}
		}
	}
	return problems
}

// checkStep looks for the connector, its action and its parameters.
func checkStep(step countersign.Step, info policy.TypeInfo, connectors connector.Planners) string {
	hands, err := connectors.Find(step.Connector)
	if err != nil {
		return err.Error()
	}
	description := hands.Describe()
	switch {
	case !slices.Contains(description.Actions, step.Action):
		return fmt.Sprintf("the connector %q has no action %q; it has %v", step.Connector, step.Action, description.Actions)
	case description.Kind != info.Grants.Kind:
		return fmt.Sprintf("the connector %q carries out entitlements of the kind %s, and this type grants the kind %s", step.Connector, description.Kind, info.Grants.Kind)
	}
	if len(info.Terms.BoundedBy) > 0 && !description.Bounds {
		return fmt.Sprintf("the connector %q cannot bound access by what somebody else holds", step.Connector)
	}
	for _, name := range info.Parameters {
		if !slices.Contains(description.Parameters, name) {
			return fmt.Sprintf("the connector %q takes no parameter %q; it takes %v", step.Connector, name, description.Parameters)
		}
	}
	return ""
}
