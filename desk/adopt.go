package desk

import (
	"context"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// Access that somebody gave by hand is adopted by a request like any other: its
// grant takes the place of what is there, in one step on the target, and ends it
// with its own end. Until then nothing is touched.

// askFor returns the one entitlement that a finding of access given by hand can be
// about, as it is asked for; "" where there is none, or several.
func (d *snapshot) askFor(finding *countersign.Finding) string {
	if finding.Kind != countersign.OutOfBandFinding || finding.State != countersign.FindingOpen || finding.Credential != "" || finding.Holder == "" {
		return ""
	}
	found := ""
	for id, entitlement := range d.entitlements {
		if item, err := d.rightOf(id); err != nil || !about(finding, item) {
			continue
		}
		if found != "" {
			return ""
		}
		found = d.rightName(entitlement)
	}
	return found
}

// about reports whether the finding can be about the right.
func about(finding *countersign.Finding, item right) bool {
	return item.system.ID == finding.System && item.entitlement.Name == finding.Entitlement && !item.entitlement.Retired &&
		(finding.Resource == "" || finding.Resource == item.resource.Name)
}

// takesOver returns how the target names who holds what is to be adopted, and
// refuses what cannot be.
func (tx *transaction) takesOver(ctx context.Context, id countersign.FindingID, m matter) (string, error) {
	finding, err := tx.seenFinding(ctx, Caller{Identity: tx.occasion.Actor.Identity()}, id)
	if err != nil {
		return "", err
	}
	item := m.items[0]
	switch {
	case finding.State == countersign.FindingOpen && finding.Removal != nil:
		return "", countersign.Errorf(countersign.Conflict, "removal-asked", "Somebody asked at %s for this access to be taken away.", finding.Removal.At)
	case finding.State != countersign.FindingOpen:
		return "", countersign.Errorf(countersign.Conflict, "finding-closed", "The finding %s is closed: the target does not hold it any more.", id)
	case finding.Kind != countersign.OutOfBandFinding || finding.Credential != "":
		return "", countersign.Errorf(countersign.Conflict, "nothing-to-adopt", "The finding %s is not about access that somebody gave by hand.", id)
	case len(m.items) != 1 || finding.Holder != m.beneficiary.ID || !about(finding, item):
		return "", countersign.Errorf(countersign.Conflict, "something-else", "The finding %s is about %s for %s, and this asks for something else.", id, finding.Entitlement, tx.directory.nameOf(finding.Holder))
	}
	hands, err := tx.desk.Connectors.Find(item.system.Connector)
	if err != nil {
		return "", err
	}
	if !hands.Describe().TakesOver {
		return "", countersign.Errorf(countersign.Conflict, "cannot-take-over", "The connector %q cannot take over what others gave: have it taken away on %s, and ask for it anew.", item.system.Connector, item.system.Name)
	}
	return finding.Principal, nil
}

// adoptsNothing says why a grant is not given, whose request adopts what is not there
// to be adopted any more. Only before the first attempt: after that it can be missing
// because it was taken over.
func (tx *transaction) adoptsNothing(ctx context.Context, grant *countersign.Grant) (cause, why string, err error) {
	if grant.Request == "" || grant.State != countersign.GrantProvisioning {
		return "", "", nil
	}
	request, err := tx.read.Request(ctx, grant.Request)
	if err != nil || request.Adopts == "" {
		return "", "", err
	}
	finding, err := tx.read.Finding(ctx, request.Adopts)
	switch {
	case err != nil:
		return "", "", err
	case finding.State != countersign.FindingOpen:
		return workflow.CauseRejected, fmt.Sprintf("What was to be adopted is not there any more: the finding %s was closed at %s. Ask for the access anew.", finding.ID, finding.ClosedAt), nil
	case finding.Removal != nil:
		return workflow.CauseRejected, fmt.Sprintf("Somebody asked at %s for what was to be adopted to be taken away.", finding.Removal.At), nil
	}
	return "", "", nil
}

// adopted returns what a grant that is given now takes over, or "".
func (tx *transaction) adopted(ctx context.Context, grant *countersign.Grant) (string, error) {
	if grant.Request == "" || grant.State != countersign.GrantProvisioning {
		return "", nil
	}
	request, err := tx.read.Request(ctx, grant.Request)
	if err != nil || request.Adopts == "" {
		return "", err
	}
	finding, err := tx.read.Finding(ctx, request.Adopts)
	if err != nil {
		return "", fmt.Errorf("what %s adopts: %w", request.ID, err)
	}
	return finding.Principal, nil
}
