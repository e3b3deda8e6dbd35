package desk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// TimelineEntry is one event of a request or of its grants, as a sentence.
type TimelineEntry struct {
	Stream countersign.Stream  `json:"stream"`
	Seq    int64               `json:"seq"`
	Time   countersign.Instant `json:"time"`
	// Actor is a person's name, or "the house".
	Actor string           `json:"actor"`
	Kind  string           `json:"kind"`
	Text  string           `json:"text"`
	Hash  countersign.Hash `json:"hash"`
}

// Timeline tells a request's history and that of its grants in the order of
// their times.
func (d *Desk) Timeline(ctx context.Context, caller Caller, id countersign.RequestID) (_ []TimelineEntry, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	request, _, err := tx.readable(ctx, id)
	if err != nil {
		return nil, err
	}
	streams := []countersign.Stream{countersign.Stream(id)}
	for _, ref := range request.Grants {
		streams = append(streams, countersign.Stream(ref.Grant))
	}
	var entries []TimelineEntry
	for _, stream := range streams {
		events, err := allEvents(ctx, d.Store, stream)
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			payload, err := workflow.Registry.Decode(event)
			if err != nil {
				return nil, err
			}
			actor := "the house"
			if who := event.Header.Actor.Identity(); who != "" {
				actor = tx.directory.nameOf(who)
			}
			entries = append(entries, TimelineEntry{
				Stream: stream, Seq: event.Header.Seq, Time: event.Header.Time, Actor: actor, Kind: event.Header.Kind,
				Text: tx.directory.sentence(request, payload), Hash: event.Hash,
			})
		}
	}
	// In one instant, what became of a grant comes before what the request makes
	// of it.
	slices.SortStableFunc(entries, func(a, b TimelineEntry) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(consequence(a), consequence(b)))
	})
	return entries, nil
}

func consequence(entry TimelineEntry) int {
	switch entry.Kind {
	case (workflow.RequestProgressed{}).EventKind():
		return 1
	case (workflow.StageOpened{}).EventKind():
		return 2
	}
	return 0
}

// allEvents reads a whole stream.
func allEvents(ctx context.Context, reader store.Reader, stream countersign.Stream) ([]countersign.SealedEvent, error) {
	const page = 500
	var all []countersign.SealedEvent
	var after int64
	for {
		events, err := reader.Events(ctx, stream, after, page)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
		if len(events) < page {
			return all, nil
		}
		after = events[len(events)-1].Header.Seq
	}
}

func stageName(request *countersign.Request, index int) string {
	if index < len(request.Stages) {
		return request.Stages[index].Name
	}
	return fmt.Sprint(index)
}

func because(reason *workflow.Reason) string {
	if reason == nil || reason.Text == "" {
		return ""
	}
	return ": " + reason.Text
}

// sentence tells one event.
func (d *snapshot) sentence(request *countersign.Request, payload countersign.Payload) string {
	switch event := payload.(type) {
	case *workflow.RequestSubmitted:
		text := fmt.Sprintf("asked for %s for %s, for %s", d.rightsText(event.Change.Entitlements), d.nameOf(event.Change.Beneficiary), event.Change.Duration)
		if ticket := event.Change.Ticket; ticket != nil {
			text += fmt.Sprintf(", in the ticket %s of %s", ticket.Key, ticket.System)
		}
		for _, stage := range event.Change.Stages {
			if stage.State == countersign.StageSkipped || stage.State == countersign.StagePassed {
				text += fmt.Sprintf("; the stage %q is %s: %s", stage.Name, stage.State, stage.Because)
			}
		}
		return text
	case *workflow.RequestConsented:
		return "consented as accountable for " + d.nameOf(request.Beneficiary)
	case *workflow.EvidenceAttached:
		if event.Change.Unavailable {
			return fmt.Sprintf("fetched the evidence %q, which is not available, or not all of it (%s)", event.Change.Slot, event.Change.Digest)
		}
		return fmt.Sprintf("attached the evidence %q (%s)", event.Change.Slot, event.Change.Digest)
	case *workflow.StageOpened:
		names := make([]string, 0, len(event.Change.Asked))
		for _, asked := range event.Change.Asked {
			names = append(names, d.nameOf(asked.Person)+" by "+d.readable(asked.Rule))
		}
		verb := map[string]string{workflow.WhyOpened: "opened", workflow.WhyEscalated: "escalated", workflow.WhyApproversChanged: "asks other people now",
			workflow.WhyAnswered: "goes on after the answer", workflow.WhyOverdue: "is overdue and asks again"}[event.Change.Why]
		return fmt.Sprintf("the stage %q %s: %s may decide until %s", stageName(request, event.Change.Stage), verb, strings.Join(names, ", "), event.Change.Deadline)
	case *workflow.RequestDescribed:
		return fmt.Sprintf("asked in own words, with the priority %d%s", event.Change.Priority, because(event.Reason))
	case *workflow.RequestPrioritised:
		return fmt.Sprintf("the priority is %d; an operator should look by %s", event.Change.Priority, event.Change.LookBy)
	case *workflow.RequestClassified:
		return fmt.Sprintf("triage says that this is the request type %s, for %s", event.Change.Route.Type, d.rightsText(event.Change.Route.Entitlements))
	case *workflow.RequestAmended:
		text := fmt.Sprintf("the request was amended to %s for %s%s", d.rightsText(event.Change.Entitlements), event.Change.Duration, because(event.Reason))
		if event.Change.Voids {
			text += "; what was consented to and approved before counts no longer"
		}
		return text
	case *workflow.RequestPlanned:
		if event.Facts == nil {
			return "what would be done was said"
		}
		return "this would be done: " + strings.Join(event.Facts.Effects, " ")
	case *workflow.RequestRedefined:
		names := make([]string, 0, len(event.Change.Definitions))
		for _, id := range slices.Sorted(maps.Keys(event.Change.Definitions)) {
			names = append(names, d.entitlementRef(id).Name+", "+definitionText(event.Change.Definitions[id]))
		}
		text := "what is asked for has another definition by now: " + strings.Join(names, "; ")
		if event.Change.Voids {
			text += "; what was approved before is decided anew"
		}
		return text
	case *workflow.RequestRerouted:
		names := make([]string, len(event.Change.Stages))
		for i, index := range event.Change.Stages {
			names[i] = stageName(request, index)
		}
		text := "what the path depends on has changed; these stages decide, too: " + strings.Join(names, ", ")
		if event.Change.Voids {
			text += "; what was approved before is decided anew"
		}
		return text
	case *workflow.EvidenceWrittenOff:
		return fmt.Sprintf("closed the request without the evidence %s%s", strings.Join(event.Change.Slots, ", "), because(event.Reason))
	case *workflow.EvidenceOpened:
		return fmt.Sprintf("opened the evidence %q", event.Change.Slot)
	case *workflow.QuestionAsked:
		return "asked" + because(event.Reason)
	case *workflow.QuestionAnswered:
		return "answered" + because(event.Reason)
	case *workflow.BlockLifted:
		return "agreed that break-glass can be used again before the review is done" + because(event.Reason)
	case *workflow.RequestDecided:
		verb := "approved"
		switch event.Change.Outcome {
		case countersign.Approve:
		case countersign.Deny:
			verb = "denied"
		case countersign.InOrder, countersign.NotInOrder:
			verb = "found " + strings.ReplaceAll(string(event.Change.Outcome), "-", " ")
		}
		rules := make([]string, 0, len(event.Change.Standing))
		for _, standing := range event.Change.Standing {
			rule := d.readable(standing.Rule)
			if standing.OnBehalfOf != "" {
				rule += " on behalf of " + d.nameOf(standing.OnBehalfOf)
			}
			rules = append(rules, rule)
		}
		text := fmt.Sprintf("%s in the stage %q by %s%s", verb, stageName(request, event.Change.Stage), strings.Join(rules, " and "), because(event.Reason))
		if event.Change.Duration != 0 {
			text += fmt.Sprintf("; shortened to %s", event.Change.Duration)
		}
		return text
	case *workflow.StageSettled:
		if event.Change.Stage < len(request.Stages) && request.Stages[event.Change.Stage].Review {
			return "the review is done"
		}
		return fmt.Sprintf("the stage %q %s", stageName(request, event.Change.Stage), event.Change.State)
	case *workflow.RequestApproved:
		text := "the request is approved; the access is being set up"
		if len(event.Change.Told) > 0 {
			names := make([]string, len(event.Change.Told))
			for i, id := range event.Change.Told {
				names[i] = d.nameOf(id)
			}
			text += "; told at once: " + strings.Join(names, ", ")
		}
		return text
	case *workflow.RequestEnded:
		return fmt.Sprintf("the request ended as %s (%s)%s", event.Change.State, event.Change.Cause, because(event.Reason))
	case *workflow.RequestProgressed:
		if event.Change.GrantState == "" {
			return fmt.Sprintf("the request is %s: %s", event.Change.State, event.Change.Outcome)
		}
		return fmt.Sprintf("the access is %s; the request is %s", event.Change.GrantState, event.Change.State)
	case *workflow.EvidenceOverdue:
		return fmt.Sprintf("the follow-up %q is overdue", event.Change.Slot)
	case *workflow.EvidenceOverdue2:
		return fmt.Sprintf("the follow-up %q is overdue; told: %s; again at %s unless it is there", event.Change.Slot, d.namesOf(event.Change.Told), event.Change.Again)
	}
	return d.grantSentence(payload)
}

func (d *snapshot) grantSentence(payload countersign.Payload) string {
	switch event := payload.(type) {
	case *workflow.GrantOpened:
		if rule := event.Change.Birthright; rule != nil {
			return fmt.Sprintf("the rule %q gives %s, of the package %s", rule.Rule, d.rightsText([]countersign.EntitlementID{event.Change.Entitlement}), rule.Package)
		}
		return fmt.Sprintf("%s is to carry out %s on %s", event.Change.Step.Connector, event.Change.Step.Action, d.rightsText([]countersign.EntitlementID{event.Change.Entitlement}))
	case *workflow.GrantAdopted:
		return fmt.Sprintf("%s was on the target before; the baseline %s takes it on the record as legacy, until %s, and nobody approved it",
			d.rightsText([]countersign.EntitlementID{event.Change.Entitlement}), event.Change.Baseline, event.Change.Until)
	case *workflow.CredentialApplied:
		text := fmt.Sprintf("read back by %s: the access works until %s", event.Change.Observation.By, event.Change.Until)
		if event.Change.RetireOthersAt != 0 {
			text += fmt.Sprintf("; the older credential ends at %s", event.Change.RetireOthersAt)
		}
		return text
	case *workflow.RotationStarted:
		return "a new credential is to be issued under the same grant" + because(event.Reason)
	case *workflow.RotationAsked:
		return fmt.Sprintf("asks for another credential of the grant %s; the older one works beside it for %s", event.Change.Grant, event.Change.Overlap)
	case *workflow.RotationApproved:
		return fmt.Sprintf("another credential is to be issued under the same grant, by the request %s", event.Change.Rotation.Request)
	case *workflow.RotationDropped:
		return "the older credential stays, and what there may be of the new one goes" + because(event.Reason)
	case *workflow.ExtensionStarted:
		return fmt.Sprintf("the end is to be moved by the request %s", event.Change.Extension.Request)
	case *workflow.CredentialExtended:
		return fmt.Sprintf("read back by %s: the access works until %s", event.Change.Observation.By, event.Change.Until)
	case *workflow.ExtensionDropped:
		return "the end stays where it is" + because(event.Reason)
	case *workflow.CredentialRetiring:
		return "the older credential is to go after the overlap"
	case *workflow.GrantEnding:
		return fmt.Sprintf("the access ends (%s)%s", event.Change.Cause, because(event.Reason))
	case *workflow.CredentialRevoked:
		text := fmt.Sprintf("read back by %s: the credential is gone", event.Change.Observation.By)
		if event.Change.EffectiveBy != 0 {
			text += fmt.Sprintf("; effective by %s, when it is looked at once more", event.Change.EffectiveBy)
		}
		return text
	case *workflow.EndDeferred:
		return fmt.Sprintf("the end is put off to %s, because fewer than two others hold this power; give it to somebody else first", event.Change.Until)
	case *workflow.ProposalEnforced:
		return fmt.Sprintf("%s put a policy into force alone%s. Publish or reject it; it lapses at %s", d.nameOf(event.Change.By), because(event.Reason), event.Change.Until)
	case *workflow.ProposalDeadlineSet:
		return fmt.Sprintf("waits for a second person, and lapses at %s. Look at it: countersign proposal show", event.Change.Until)
	case *workflow.ProposalReminded:
		return fmt.Sprintf("nobody has decided yet, and it lapses at %s. Look at it: countersign proposal show", event.Change.Until)
	case *workflow.ProposalLapsed:
		return "lapsed, and nothing has changed by it" + because(event.Reason)
	case *workflow.HoldReminded:
		return fmt.Sprintf("the stop is in force since %s, and ends only when somebody lifts it. Look whether it still has to be: countersign hold show", event.Change.Since)
	case *workflow.RemovalAsked:
		return "is to be taken away on the target by hand, and closes with the next reading that does not show it" + because(event.Reason)
	case *workflow.ReconciliationCompleted:
		text := fmt.Sprintf("%d new finding(s), see finding list", event.Change.Opened)
		if event.Change.Beyond > 0 {
			text += fmt.Sprintf("; %d more have none of their own", event.Change.Beyond)
		}
		if event.Change.Overdue > 0 {
			text += fmt.Sprintf("; %d finding(s) are overdue by now", event.Change.Overdue)
		}
		return text
	case *workflow.ReconciliationFailed:
		return "the target does not list what it holds" + because(event.Reason) + ". Until it does, nothing is known of it"
	case *workflow.GrantLapsing:
		return fmt.Sprintf("the access lapses at %s (%s)%s", event.Change.Until, event.Change.Cause, because(event.Reason))
	case *workflow.GrantKept:
		return "the access does not lapse after all"
	case *workflow.GrantRedefined:
		return fmt.Sprintf("the entitlement has another definition by now: %s", definitionText(event.Change.Definition))
	case *workflow.IdentityRecorded:
		if machine := d.identities[event.Change.ID]; machine != nil {
			return d.silenceSentence(ownership{owned: ownedMachine(machine), machine: machine}, event.Change.Silence)
		}
	case *workflow.SystemRecorded:
		return d.silenceSentence(ownership{owned: ownedSystem(&event.Change), system: &event.Change}, event.Change.Silence)
	case *workflow.GrantReminded:
		return fmt.Sprintf("reminded: the access ends at %s", event.Change.Ends)
	case *workflow.IntentParked:
		return fmt.Sprintf("parked after %d attempt(s); %s has to look%s", event.Change.Attempt, d.nameOf(event.Change.Person), because(event.Reason))
	case *workflow.TaskOpened:
		return fmt.Sprintf("a task is open until %s, for %s: %s", event.Change.Deadline, d.namesOf(event.Change.Told), taskVerbs[event.Change.Operation])
	case *workflow.TaskEscalated:
		return fmt.Sprintf("the task is overdue (%d); told: %s", event.Change.Escalated, d.namesOf(event.Change.Told))
	case *workflow.TaskDone:
		return "says that the task is done; a second person has to look" + because(event.Reason)
	case *workflow.TaskRefused:
		return "says that the task cannot be done" + because(event.Reason)
	case *workflow.TaskChecked:
		found := "not there"
		if event.Change.Present {
			found = "there"
		}
		text := fmt.Sprintf("found the access %s (%s)", found, event.Change.Assurance)
		if event.Change.List != "" {
			text += " on the list " + string(event.Change.List)
		}
		if len(event.Change.Told) > 0 {
			text += "; the task is to be done again"
		}
		return text + because(event.Reason)
	case *workflow.IntentRetried:
		return "put back to work"
	}
	return payload.EventKind()
}

func (d *snapshot) rightsText(ids []countersign.EntitlementID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = d.entitlementRef(id).Name
	}
	return strings.Join(names, ", ")
}
