package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

func rightNames(rights []client.EntitlementRef) string {
	names := make([]string, len(rights))
	for i, right := range rights {
		names[i] = right.Name
	}
	return strings.Join(names, ", ")
}

func stamp(at time.Time) string { return shortTime(countersign.InstantOf(at)) }

var pastTense = map[client.DecisionOutcome]string{
	client.DecisionOutcomeApprove: "approved", client.DecisionOutcomeDeny: "denied",
	client.DecisionOutcomeInOrder: "found in order", client.DecisionOutcomeNotInOrder: "found not in order",
}

func askedText(asked []client.Asked) string {
	names := make([]string, len(asked))
	for i, one := range asked {
		names[i] = fmt.Sprintf("%s (%s)", one.Person.Name, one.Rule)
	}
	return strings.Join(names, ", ")
}

// previewText tells the path before anything is asked.
func previewText(preview *client.Preview) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s) for %s, for %s\n", preview.Title, preview.Type, preview.Beneficiary.Name, countersign.Seconds(preview.Duration))
	for _, effect := range preview.Effects {
		fmt.Fprintf(&out, "  effect    %s\n", effect)
	}
	for _, refusal := range preview.Refusals {
		fmt.Fprintf(&out, "  REFUSED   %s (%s)\n", refusal.Because, refusal.Reason)
	}
	if preview.ConsentOf.Id != "" {
		fmt.Fprintf(&out, "  consent   %s, as the owner\n", preview.ConsentOf.Name)
	}
	for _, slot := range preview.Evidence {
		fmt.Fprintf(&out, "  evidence  %s (%s), %s\n", slot.Name, slot.Kind, slot.Due)
	}
	for _, stage := range preview.Stages {
		if stage.State == client.StageStateSkipped || stage.State == client.StageStatePassed {
			fmt.Fprintf(&out, "  stage     %s: %s, %s\n", stage.Name, stage.State, stage.Because)
			continue
		}
		fmt.Fprintf(&out, "  stage     %s: %d of %s, within %s\n", stage.Name, stage.Need, askedText(stage.Asked), stage.Within)
	}
	fmt.Fprintf(&out, "  route     %s\n", preview.Route)
	return out.String()
}

// requestText tells where a request stands.
func requestText(request *client.Request) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s\n", request.Id, request.Title)
	fmt.Fprintf(&out, "  state     %s (%s)", request.State, request.Phase)
	switch {
	case request.WaitsFor != "":
		fmt.Fprintf(&out, ", waits for %s", request.WaitsFor)
	case request.Outcome != "":
		fmt.Fprintf(&out, ": %s", request.Outcome)
	}
	fmt.Fprintf(&out, "\n  what      %s for %s, for %s\n", rightNames(request.Entitlements), request.Beneficiary.Name, countersign.Seconds(request.Duration))
	fmt.Fprintf(&out, "  asked by  %s, %s: %s\n", request.Requester.Name, stamp(request.SubmittedAt), request.Reason)
	if request.Consent.Of.Id != "" {
		state := "missing"
		if request.Consent.By.Id != "" {
			state = "given by " + request.Consent.By.Name
		}
		fmt.Fprintf(&out, "  consent   of %s: %s\n", request.Consent.Of.Name, state)
	}
	for _, slot := range request.Evidence {
		state := "missing"
		if slot.Held.Id != "" {
			state = fmt.Sprintf("%s, %s %s", slot.Held.Source, slot.Held.Digest, slot.Held.Verified)
		}
		fmt.Fprintf(&out, "  evidence  %s: %s\n", slot.Name, state)
	}
	for _, stage := range request.Stages {
		fmt.Fprintf(&out, "  stage     %s: %s", stage.Name, stage.State)
		if stage.Because != "" {
			fmt.Fprintf(&out, ", %s", stage.Because)
		}
		if stage.State == "open" {
			fmt.Fprintf(&out, ", %d more of %s, until %s", stage.StillNeeded, askedText(stage.Asked), stamp(stage.Deadline))
		}
		out.WriteString("\n")
		for _, decision := range stage.Decisions {
			fmt.Fprintf(&out, "            %s by %s, %s %s\n", pastTense[decision.Outcome], decision.By.Name, stamp(decision.At), decision.Reason)
		}
	}
	for _, grant := range request.Grants {
		out.WriteString(grantText(&grant))
	}
	return out.String()
}

func grantText(grant *client.Grant) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  grant     %s: %s", grant.Id, grant.State)
	if !grant.Until.IsZero() {
		fmt.Fprintf(&out, ", until %s", stamp(grant.Until))
	}
	if grant.Ending != "" {
		fmt.Fprintf(&out, ", ends: %s", grant.Ending)
	}
	if !grant.EffectiveBy.IsZero() {
		fmt.Fprintf(&out, ", effective by %s", stamp(grant.EffectiveBy))
	}
	out.WriteString("\n")
	for _, credential := range grant.Credentials {
		fmt.Fprintf(&out, "            credential %s: %s", credential.Id, credential.State)
		if credential.Reference != "" && credential.Reference != credential.Id {
			fmt.Fprintf(&out, ", %s", credential.Reference)
		}
		out.WriteString("\n")
	}
	if grant.Parked.Person.Id != "" {
		fmt.Fprintf(&out, "            PARKED since %s; %s has to look: %s\n", stamp(grant.Parked.Since), grant.Parked.Person.Name, grant.Parked.Why)
	}
	return out.String()
}

func timelineText(entries []client.TimelineEntry) string {
	var out strings.Builder
	out.WriteString("\nTimeline\n")
	for _, entry := range entries {
		fmt.Fprintf(&out, "  %s  %s: %s\n", entry.Time.UTC().Format("2006-01-02 15:04:05Z"), entry.Actor, entry.Text)
	}
	return out.String()
}
