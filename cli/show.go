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
		names[i] = fmt.Sprintf("%s (%s%s)", one.Person.Name, one.Rule, onBehalf(one.OnBehalfOf))
	}
	return strings.Join(names, ", ")
}

// onBehalf says whom somebody stands in for.
func onBehalf(of client.Ref) string {
	if of.Id == "" {
		return ""
	}
	return ", on behalf of " + of.Name
}

func refNames(refs []client.Ref) string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.Name
	}
	return strings.Join(names, ", ")
}

const breakGlassText = "  urgent    by break-glass: taken at once, and reviewed afterwards"

// previewText tells the path before anything is asked.
func previewText(preview *client.Preview) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s) for %s, for %s\n", preview.Title, preview.Type, preview.Beneficiary.Name, countersign.Seconds(preview.Duration))
	if preview.BreakGlass {
		fmt.Fprintf(&out, "%s; told: %s\n", breakGlassText, strings.Join(preview.Tell, ", "))
	}
	for _, effect := range preview.Effects {
		fmt.Fprintf(&out, "  effect    %s\n", effect)
	}
	for _, refusal := range preview.Refusals {
		hint := ""
		if refusal.Waivable {
			hint = "; an exception could waive it"
		}
		fmt.Fprintf(&out, "  REFUSED   %s (%s)%s\n", refusal.Because, refusal.Reason, hint)
	}
	for _, refusal := range preview.Waived {
		fmt.Fprintf(&out, "  waived    %s (%s), once the exception is approved\n", refusal.Because, refusal.Reason)
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
	what := fmt.Sprintf("%s for %s, for %s", rightNames(request.Entitlements), request.Beneficiary.Name, countersign.Seconds(request.Duration))
	if len(request.Entitlements) == 0 {
		what = fmt.Sprintf("in words, for %s, with the priority %d", request.Beneficiary.Name, request.Priority)
	}
	fmt.Fprintf(&out, "\n  what      %s\n", what)
	if request.Extends != "" {
		fmt.Fprintf(&out, "  extends   %s\n", request.Extends)
	}
	if rotates := request.Rotates; rotates.Grant != "" {
		fmt.Fprintf(&out, "  rotates   %s, with an overlap of %s\n", rotates.Grant, countersign.Seconds(rotates.Overlap))
	}
	fmt.Fprintf(&out, "  asked by  %s, %s: %s\n", request.Requester.Name, stamp(request.SubmittedAt), request.Reason)
	if ticket := request.Ticket; ticket.Id != "" {
		fmt.Fprintf(&out, "  ticket    %s of %s", ticket.Key, ticket.System)
		if ticket.Unwritten > 0 {
			fmt.Fprintf(&out, ", which does not say %d thing(s) yet, since %s %s", ticket.Unwritten, stamp(ticket.Since), ticket.Why)
		}
		out.WriteString("\n")
	}
	for _, effect := range request.Effects {
		fmt.Fprintf(&out, "  effect    %s\n", effect)
	}
	if request.BreakGlass {
		out.WriteString(breakGlassText)
		if len(request.Told) > 0 {
			fmt.Fprintf(&out, "; told at once: %s", refNames(request.Told))
		}
		out.WriteString("\n")
	}
	if exception := request.Exception; exception.Owner.Id != "" {
		fmt.Fprintf(&out, "  exception until %s, waives %s; %s answers for it: %s\n", stamp(exception.Until), waivedText(exception.Waives), exception.Owner.Name, exception.Control)
	}
	if request.Consent.Of.Id != "" {
		state := "missing"
		if request.Consent.By.Id != "" {
			state = "given by " + request.Consent.By.Name
		}
		fmt.Fprintf(&out, "  consent   of %s: %s\n", request.Consent.Of.Name, state)
	}
	for _, slot := range request.Evidence {
		fmt.Fprintf(&out, "  evidence  %s: %s\n", slot.Name, slotText(slot))
	}
	for _, question := range request.Questions {
		fmt.Fprintf(&out, "  question  %s, %s: %s\n", question.By.Name, stamp(question.At), question.Text)
		if !question.AnsweredAt.IsZero() {
			fmt.Fprintf(&out, "            answered, %s: %s\n", stamp(question.AnsweredAt), question.Answer)
		}
	}
	for _, stage := range request.Stages {
		fmt.Fprintf(&out, "  stage     %s: %s", stage.Name, stageState(stage))
		if stage.Because != "" {
			fmt.Fprintf(&out, ", %s", stage.Because)
		}
		if stage.State == "open" {
			fmt.Fprintf(&out, ", %d more of %s, until %s", stage.StillNeeded, askedText(stage.Asked), stamp(stage.Deadline))
		}
		if stage.Overdue && stage.State == client.StageStateOpen {
			out.WriteString(", OVERDUE")
		}
		if len(stage.LiftedBy) > 0 {
			fmt.Fprintf(&out, ", block lifted by %s", refNames(stage.LiftedBy))
		}
		out.WriteString("\n")
		for _, decision := range stage.Decisions {
			fmt.Fprintf(&out, "            %s by %s%s, %s %s\n", pastTense[decision.Outcome], decision.By.Name, onBehalf(decision.OnBehalfOf), stamp(decision.At), decision.Reason)
		}
	}
	for _, grant := range request.Grants {
		out.WriteString(grantText(&grant))
	}
	return out.String()
}

// stageState says where a stage is; that of a review in its own words.
func stageState(stage client.Stage) string {
	switch {
	case stage.Review && stage.State == client.StageStateWaiting:
		return "waiting for the end of the access"
	case stage.Review && stage.State == client.StageStatePassed:
		return "done, in order"
	case stage.Review && stage.State == client.StageStateDenied:
		return "done, not in order"
	}
	return string(stage.State)
}

func waivedText(waives []client.Waived) string {
	names := make([]string, len(waives))
	for i, waived := range waives {
		names[i] = waived.Reason
	}
	return strings.Join(names, ", ")
}

// slotText tells what fills a slot, or what is still to fill it.
func slotText(slot client.EvidenceSlot) string {
	text := "missing"
	switch {
	case slot.Held.Unavailable:
		text = fmt.Sprintf("activity not available, %s: request open says why, request fetch asks again", slot.Held.Digest)
	case slot.Held.Id != "":
		text = strings.TrimSpace(fmt.Sprintf("%s, %s %s", slot.Held.Source, slot.Held.Digest, slot.Held.Verified))
	case slot.Ticket != "" && slot.Record != "":
		text += fmt.Sprintf(", the ticket %s has to be %s", slot.Record, slot.Ticket)
	}
	if slot.InPlaceOf != "" && slot.Held.Id == "" {
		text = "asked of the reviewer where " + slot.InPlaceOf + " is not available"
	}
	switch {
	case slot.Deadline.IsZero() || slot.Held.Id != "":
	case slot.Overdue:
		text += ", OVERDUE, told again at " + stamp(slot.Deadline)
	default:
		text += ", due " + stamp(slot.Deadline)
	}
	if slot.MustOpen {
		text += "; whoever approves has to open it"
	}
	return text
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
	if grant.Birthright.Rule != "" {
		fmt.Fprintf(&out, ", a birthright by the rule %s", grant.Birthright.Rule)
	}
	if grant.Origin == client.GrantOriginLegacy {
		fmt.Fprintf(&out, ", legacy: on the target before as %s, by the baseline %s, and nobody approved it", grant.Adopted.Principal, grant.Adopted.Baseline)
	}
	if grant.Lapsing.Cause != "" {
		fmt.Fprintf(&out, ", lapsing (%s): %s", grant.Lapsing.Cause, grant.Lapsing.Because)
	}
	if !grant.Redefined.Since.IsZero() {
		fmt.Fprintf(&out, ", which means something else since %s: version %s", stamp(grant.Redefined.Since), grant.Redefined.Definition)
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
	if grant.Trouble != "" {
		fmt.Fprintf(&out, "            NOT GONE, and tried again: %s\n", grant.Trouble)
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
