package desk

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// taskVerbs say what a task is about.
var taskVerbs = map[countersign.Operation]string{
	countersign.ApplyOperation: "give the access", countersign.RevokeOperation: "take the access away",
}

// byHand returns the planner whose tasks people carry out, or nil.
func (d *Desk) byHand(name string) connector.ByHand {
	hands, err := d.Connectors.Find(name)
	if err != nil {
		return nil
	}
	people, _ := hands.(connector.ByHand)
	return people
}

func (d *snapshot) namesOf(ids []countersign.IdentityID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = d.nameOf(id)
	}
	return cmp.Or(strings.Join(names, ", "), "nobody")
}

// wakeTask opens a task or lets it escalate, and judges first whether the access
// may still be given.
func (tx *transaction) wakeTask(ctx context.Context, grant *countersign.Grant, hands connector.ByHand, verdict workflow.GrantVerdict) error {
	verdict.Standing = workflow.Standing{Actor: tx.occasion.Actor, Roles: []workflow.Role{workflow.Timer}}
	if grant.State == countersign.GrantProvisioning && verdict.EndCause == "" {
		cause, why, err := tx.stopsFulfilment(ctx, grant)
		if err != nil {
			return err
		}
		if cause != "" && cause != postponed {
			verdict.EndCause, verdict.EndReason = cause, why
		}
	}
	crew, err := tx.crewOf(ctx, grant, hands)
	if err != nil {
		return err
	}
	told := crew.fulfillers
	if len(told) == 0 {
		told = tx.fit(slices.Concat(crew.owners, crew.administrators), nil)
	}
	verdict.Task = &workflow.TaskTerms{Told: told, Deadline: tx.now().Add(crew.procedure.Within)}
	verdict.Ladder = crew.escalation(tx, grant)
	return tx.decideGrant(ctx, grant, workflow.GrantCommand{Name: workflow.Wake}, verdict)
}

// TaskReport is what a person says of a task, which is named as it was shown.
type TaskReport struct {
	Task   countersign.IntentID
	Reason string
	// Present is what a second person attests; List is the target's list of accounts
	// instead.
	Present bool
	List    []byte
}

// TaskDone says that a task was done.
func (d *Desk) TaskDone(ctx context.Context, caller Caller, key Key, id countersign.GrantID, report TaskReport) error {
	return d.onTask(ctx, caller, key, id, workflow.Done, report)
}

// TaskRefuse says that a task cannot be done.
func (d *Desk) TaskRefuse(ctx context.Context, caller Caller, key Key, id countersign.GrantID, report TaskReport) error {
	return d.onTask(ctx, caller, key, id, workflow.Refuse, report)
}

// TaskCheck says what a second person found.
func (d *Desk) TaskCheck(ctx context.Context, caller Caller, key Key, id countersign.GrantID, report TaskReport) error {
	return d.onTask(ctx, caller, key, id, workflow.Check, report)
}

func (d *Desk) onTask(ctx context.Context, caller Caller, key Key, id countersign.GrantID, name workflow.Command, report TaskReport) error {
	if err := checkReason(report.Reason); err != nil {
		return err
	}
	stopped := ""
	_, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		stopped = ""
		grant, err := tx.read.Grant(ctx, id)
		if countersign.KindOf(err) == countersign.NotFound {
			return "", notFound("grant", string(id))
		}
		if err != nil {
			return "", err
		}
		if err := tx.lookForHolds(ctx, string(caller.Identity)); err != nil {
			return "", err
		}
		standing, crew, err := tx.standOnTask(ctx, grant)
		if err != nil {
			return "", err
		}
		if crew == nil || standing.HasAny(workflow.Stranger) && standing.KeptOut == "" {
			return "", notFound("grant", string(id))
		}
		if tx.match != nil {
			if err := tx.match(grant.Version); err != nil {
				return "", err
			}
		}
		if err := crew.relyOnPeople(ctx, tx, grant, caller.Identity); err != nil {
			return "", err
		}
		for _, rule := range []string{crew.procedure.Fulfiller, crew.procedure.Witness} {
			crew.resolver.relyOn(tx, rule, caller.Identity)
		}
		if name != workflow.Refuse && grant.State == countersign.GrantProvisioning {
			cause, why, err := tx.stopsFulfilment(ctx, grant)
			switch {
			case err != nil:
				return "", err
			case cause == postponed:
				return "", countersign.Errorf(countersign.Conflict, "held", "The access is not given now: %s", why)
			case cause != "":
				stopped = why
				return string(id), tx.wake(ctx, grant, cause, why)
			}
		}
		command := workflow.GrantCommand{Name: name, Intent: report.Task, Reason: report.Reason, Person: crew.matter.items[0].system.Owner}
		if name == workflow.Check {
			if err := tx.readCheck(grant, crew, report, &command); err != nil {
				return "", err
			}
		}
		witnesses := slices.DeleteFunc(slices.Clone(crew.witnesses), func(who countersign.IdentityID) bool {
			return tx.directory.standIns(who, caller.Identity, tx.now(), tx.now())
		})
		verdict := workflow.GrantVerdict{Standing: standing, Witnesses: witnesses, Ladder: crew.escalation(tx, grant)}
		return string(id), tx.decideGrant(ctx, grant, command, verdict)
	})
	if err == nil && stopped != "" {
		err = countersign.Errorf(countersign.Refused, "not-given-any-more", "This access is not given any more, and its end has begun: %s", stopped)
	}
	return err
}

// readCheck takes what was found from the list, or from the person's word.
// The account that the access was given to can have another name by now, so what is
// taken away is looked for under both.
func (tx *transaction) readCheck(grant *countersign.Grant, crew *crew, report TaskReport, command *workflow.GrantCommand) error {
	holder := tx.directory.identities[grant.Holder]
	command.Account = holder.Handle(crew.procedure.Handle)
	if report.List == nil {
		if !crew.procedure.Attested {
			return countersign.Errorf(countersign.Refused, "list-needed", "A word is not enough for this system: bring its list of accounts.")
		}
		if strings.TrimSpace(report.Reason) == "" {
			return countersign.Errorf(countersign.Invalid, "reason-missing", "Say what you looked at: it stays on the record.").At("/reason")
		}
		command.Assurance, command.Present = countersign.Attested, report.Present
		return nil
	}
	accounts := grant.Accounts()
	if command.Account != "" {
		accounts = append(accounts, command.Account)
	}
	if len(accounts) == 0 {
		return countersign.Errorf(countersign.Refused, "no-handle", "%s has no %s by which the list could name it.", holder.Name, crew.procedure.Handle)
	}
	present, err := crew.procedure.Holds(report.List, accounts...)
	if err != nil {
		return err
	}
	kept, err := tx.keep(report.List, "upload", "")
	if err != nil {
		return err
	}
	command.Assurance, command.Present, command.List = countersign.Listed, present, kept.Digest
	return nil
}

// standOnTask says as what the actor stands to a grant that people carry out; no
// crew where they do not.
func (tx *transaction) standOnTask(ctx context.Context, grant *countersign.Grant) (workflow.Standing, *crew, error) {
	standing, err := tx.standOnGrant(ctx, grant)
	hands := tx.desk.byHand(grant.Step.Connector)
	if err != nil || hands == nil {
		return standing, nil, err
	}
	crew, err := tx.crewOf(ctx, grant, hands)
	if err != nil {
		return standing, nil, err
	}
	who := tx.occasion.Actor.Identity()
	fulfils, looks := slices.Contains(crew.fulfillers, who), slices.Contains(crew.witnesses, who)
	if fulfils {
		standing.Roles = append(standing.Roles, workflow.Fulfiller)
	}
	if looks {
		standing.Roles = append(standing.Roles, workflow.Witness)
	}
	if fulfils || looks {
		standing.Roles = slices.DeleteFunc(standing.Roles, func(role workflow.Role) bool { return role == workflow.Stranger })
	}
	named := slices.Concat(tx.found(crew.resolver, crew.procedure.Fulfiller), tx.found(crew.resolver, crew.procedure.Witness), crew.owners)
	if slices.Contains(named, who) || len(standing.Roles) > 0 && !standing.HasAny(workflow.Stranger) {
		standing.KeptOut = crew.keptOut[who]
		if grant.Task != nil && grant.Task.DoneBy != "" && !looks && tx.directory.standIns(who, grant.Task.DoneBy, grant.Task.DoneAt, tx.now()) {
			standing.KeptOut = "did the task, or stands in for who did"
		}
	}
	return standing, crew, nil
}

// TaskView is a task as one reader sees it.
type TaskView struct {
	Task      countersign.IntentID  `json:"task"`
	Grant     countersign.GrantID   `json:"grant"`
	Operation countersign.Operation `json:"operation"`
	Holder    Ref                   `json:"holder"`
	Account   string                `json:"account"`
	// GivenTo are the names of the account when the access was given, which can be
	// others than today's.
	GivenTo     []string            `json:"given_to,omitempty"`
	Entitlement EntitlementRef      `json:"entitlement"`
	OpenedAt    countersign.Instant `json:"opened_at"`
	Deadline    countersign.Instant `json:"deadline"`
	Escalated   int                 `json:"escalated"`
	// Told are who heard of it last; Fulfillers and Witnesses who can act now.
	Told       []Ref               `json:"told"`
	Fulfillers []Ref               `json:"fulfillers"`
	Witnesses  []Ref               `json:"witnesses"`
	DoneBy     *Ref                `json:"done_by,omitempty"`
	DoneAt     countersign.Instant `json:"done_at,omitzero"`
	Offered    []workflow.Command  `json:"offered"`
}

// Tasks lists the open tasks in which the caller can do something, or owns the
// system, or may read everything; the oldest first.
func (d *Desk) Tasks(ctx context.Context, caller Caller) (_ []TaskView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	views := []TaskView{}
	for _, system := range tx.directory.systems {
		query := store.GrantQuery{System: system.ID, States: []countersign.GrantState{countersign.GrantProvisioning, countersign.GrantRevoking}, Limit: 500}
		for d.byHand(system.Connector) != nil {
			grants, err := d.Store.Grants(ctx, query)
			if err != nil {
				return nil, err
			}
			for _, grant := range grants {
				if grant.Task == nil {
					continue
				}
				standing, crew, err := tx.standOnTask(ctx, grant)
				if err != nil {
					return nil, err
				}
				if crew != nil && standing.HasAny(workflow.Fulfiller, workflow.Witness, workflow.SystemOwner, workflow.Administrator, workflow.Auditor) {
					views = append(views, tx.taskView(grant, standing, crew))
				}
			}
			if len(grants) < query.Limit {
				break
			}
			query.Before = grants[len(grants)-1].ID
		}
	}
	slices.SortFunc(views, func(a, b TaskView) int {
		return cmp.Or(cmp.Compare(a.OpenedAt, b.OpenedAt), cmp.Compare(a.Task, b.Task))
	})
	return views, nil
}

func (tx *transaction) taskView(grant *countersign.Grant, standing workflow.Standing, crew *crew) TaskView {
	dir, task := tx.directory, grant.Task
	view := TaskView{
		Task: task.Intent, Grant: grant.ID, Operation: grant.Intent.Operation, Holder: dir.ref(grant.Holder), Account: dir.identities[grant.Holder].Handle(crew.procedure.Handle),
		GivenTo:     grant.Accounts(),
		Entitlement: dir.entitlementRef(grant.Entitlement), OpenedAt: task.OpenedAt, Deadline: task.Deadline, Escalated: task.Escalated,
		Told: dir.refs(task.Told), Fulfillers: dir.refs(crew.fulfillers), Witnesses: dir.refs(crew.witnesses), DoneAt: task.DoneAt, Offered: []workflow.Command{},
	}
	if task.DoneBy != "" {
		view.DoneBy = dir.refTo(task.DoneBy)
	}
	for _, command := range workflow.Offered(workflow.GrantTransitions, grant.State, standing) {
		if grant.Parked != nil {
			break
		}
		if command == workflow.Check && task.DoneBy != "" || (command == workflow.Done || command == workflow.Refuse) && task.DoneBy == "" {
			view.Offered = append(view.Offered, command)
		}
	}
	return view
}

// nobodyFulfils reports whether nobody could carry the item out by hand.
func (d *Desk) nobodyFulfils(j *judgement, people connector.ByHand, item right, now countersign.Instant) bool {
	procedure, err := people.Procedure(item.system.Settings)
	if err != nil {
		// The plan says what is wrong.
		return false
	}
	kept := j.resolver.directory.onePerson(j.matter, nil)
	for _, candidate := range j.resolver.answer(procedure.Fulfiller)[procedure.Fulfiller] {
		if candidate.Active && candidate.Human && candidate.OnBehalfOf == "" && kept[candidate.ID] == "" {
			return false
		}
	}
	return true
}
