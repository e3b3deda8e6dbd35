package desk

import (
	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// What a name stands for on its target changes without the name: then nobody has
// approved what it gives now. Open approvals of it are voided, and live grants marked.

// redefined returns the versions of what the request asks for, where they are not
// those that it was asked for with.
func (d *snapshot) redefined(request *countersign.Request) workflow.Definitions {
	var changed workflow.Definitions
	for _, id := range request.Entitlements {
		entitlement := d.entitlements[id]
		if entitlement == nil || entitlement.Definition == request.Definitions[id] {
			continue
		}
		if changed == nil {
			changed = workflow.Definitions{}
		}
		changed[id] = entitlement.Definition
	}
	return changed
}

func definitionText(definition string) string {
	if definition == "" {
		return "of no version"
	}
	return "version " + definition
}
