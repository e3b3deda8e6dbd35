package desk

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// PowerOperator sorts what people describe in words. It grants nothing.
const PowerOperator = "operator"

// Describing is an asking in somebody's own words.
type Describing struct {
	Text string
	// Beneficiary is who the access is for; "" is the caller.
	Beneficiary string
	// Impact and Urgency are low, medium or high; "" is medium.
	Impact, Urgency string
}

// Classification is which request a description is.
type Classification struct {
	Type         string
	Entitlements []string
	Duration     countersign.Seconds
	Answers      json.RawMessage
}

func priorityOf(impact, urgency string) (int, error) {
	level := func(text string) workflow.Level {
		if text == "" {
			return workflow.MediumLevel
		}
		return workflow.Level(text)
	}
	return workflow.PriorityOf(level(impact), level(urgency))
}

// Describe opens a request that is only words yet, for an operator to sort.
func (d *Desk) Describe(ctx context.Context, caller Caller, key Key, asked Describing) (countersign.RequestID, error) {
	if err := checkReason(asked.Text); err != nil {
		return "", err
	}
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		priority, err := priorityOf(asked.Impact, asked.Urgency)
		if err != nil {
			return "", err
		}
		beneficiary := string(caller.Identity)
		if asked.Beneficiary != "" {
			beneficiary = asked.Beneficiary
		}
		identity := tx.directory.findIdentity(beneficiary)
		if identity == nil {
			return "", countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q: give an id, a login, an e-mail address or a SPIFFE id.", countersign.Clip(beneficiary)).At("/beneficiary")
		}
		m, err := tx.directory.matterOf(caller.Identity, identity.ID, nil)
		if err != nil {
			return "", err
		}
		same := sortedIDs(tx.directory.samePerson(m, nil, tx.now(), tx.now()))
		outcome, err := workflow.DescribeRequest(tx.occasion, caller.Identity, identity.ID, same, asked.Text, priority)
		if err != nil {
			return "", err
		}
		tx.relyOn(m.requester, m.beneficiary)
		tx.write(outcome, nil)
		return string(outcome.Request.ID), nil
	})
	return countersign.RequestID(id), err
}

// Classify says which request a description is. Whoever does so decides nothing
// of it afterwards.
func (d *Desk) Classify(ctx context.Context, caller Caller, key Key, id countersign.RequestID, said Classification) error {
	asked := tickets{}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		request, s, err := tx.triaging(ctx, id)
		if err != nil {
			return "", err
		}
		if err := workflow.Allowed(workflow.RequestTransitions, request.State, workflow.Classify, s.standing); err != nil {
			return "", err
		}
		tx.classifies = true
		asking := Asking{
			Type: said.Type, Beneficiary: string(request.Beneficiary), Entitlements: said.Entitlements, Reason: request.Reason, Duration: said.Duration, Answers: said.Answers,
		}
		requester := Caller{Identity: request.Requester}
		judged, err := d.judge(ctx, tx, requester, &asking, nil, asked)
		if err != nil {
			return "", err
		}
		if err := tx.checkDuplicate(ctx, judged); err != nil {
			return "", err
		}
		if err := refusal(judged.preview.Plan.Refusals); err != nil {
			return "", err
		}
		route, verdict, err := tx.route(ctx, judged, asking)
		if err != nil {
			return "", err
		}
		verdict.Standing = s.standing
		outcome, err := workflow.ClassifyRequest(tx.occasion, request, route, verdict)
		if err != nil {
			return "", err
		}
		tx.writeRouted(judged, outcome, request)
		return string(id), nil
	})
	return err
}

// Prioritise says how urgent a description is.
func (d *Desk) Prioritise(ctx context.Context, caller Caller, key Key, id countersign.RequestID, impact, urgency string) error {
	priority, err := priorityOf(impact, urgency)
	if err != nil {
		return err
	}
	return d.sort(ctx, caller, key, id, workflow.RequestCommand{Name: workflow.Prioritise, Priority: priority})
}

// Decline ends a description that is nothing to be granted.
func (d *Desk) Decline(ctx context.Context, caller Caller, key Key, id countersign.RequestID, reason string) error {
	return d.sort(ctx, caller, key, id, workflow.RequestCommand{Name: workflow.Decline, Reason: reason})
}

// Merge ends a description that asks for what another request of the same person
// does.
func (d *Desk) Merge(ctx context.Context, caller Caller, key Key, id, into countersign.RequestID, reason string) error {
	return d.sort(ctx, caller, key, id, workflow.RequestCommand{Name: workflow.Merge, Into: into, Reason: reason})
}

// sort gives one command of triage.
func (d *Desk) sort(ctx context.Context, caller Caller, key Key, id countersign.RequestID, command workflow.RequestCommand) error {
	if err := checkReason(command.Reason); err != nil {
		return err
	}
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		request, s, err := tx.triaging(ctx, id)
		if err != nil {
			return "", err
		}
		if command.Name == workflow.Merge {
			// Whatever ends the other one meanwhile, a merge the other way too, is seen.
			if err := tx.bump(ctx, request.Beneficiary); err != nil {
				return "", err
			}
			other, err := d.Store.Request(ctx, command.Into)
			if countersign.KindOf(err) == countersign.NotFound || err == nil && (other.ID == id || other.Beneficiary != request.Beneficiary || other.State.Final()) {
				return "", countersign.Errorf(countersign.Invalid, "nothing-to-merge-with", "%q is no other request for the same beneficiary that goes on.", countersign.Clip(string(command.Into))).At("/into")
			}
			if err != nil {
				return "", err
			}
		}
		outcome, err := workflow.DecideRequest(tx.occasion, request, command, workflow.RequestVerdict{Standing: s.standing})
		if err != nil || len(outcome.Events) == 0 {
			return string(id), err
		}
		tx.write(outcome, request)
		return string(id), nil
	})
	return err
}

// triaging loads a description for an operator, who sorts nothing of his or her
// own.
func (tx *transaction) triaging(ctx context.Context, id countersign.RequestID) (*countersign.Request, *stance, error) {
	request, s, err := tx.readable(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	who := tx.occasion.Actor.Identity()
	holds, err := tx.holdsPower(ctx, who, PowerOperator)
	if err != nil {
		return nil, nil, err
	}
	if !holds {
		s.standing.Roles = slices.DeleteFunc(s.standing.Roles, func(role workflow.Role) bool { return role == workflow.Operator })
	} else if why, same := s.same[who]; same {
		return nil, nil, countersign.Errorf(countersign.Refused, "separation-of-duties", "You may not sort this: separation of duties keeps out whoever %s.", why)
	}
	return request, s, nil
}
