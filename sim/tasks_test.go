package sim

import (
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// What people carry out by hand on a system without an interface, and the laws of it.
// Who is asked mostly does what the task says; the archive is as they left it.

const archiveSystem = `  - name: archive
    title: Archive
    owner: otto
    second_owner: pit
    environment: prod
    risk: low
    connector: manual
    settings: {fulfiller: group(clerks), within: 2d}
    resources: [{name: files, title: Files, entitlements: [{name: browse, kind: role}]}]
`

const archivePolicy = `
request: archive
title: Access to the archive
grants: {system: archive, kind: role}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: manager, approvers: [manager-of(requester)], else: [group(leads)], within: 2 business days}]
fulfil: [manual.give]
grant: {ends: revoke}
`

// clerks are who does what the archive takes, and who looks afterwards.
var clerks = []string{"oda", "odo", "sam", "syd"}

func (s *story) askForArchive() error {
	asking := desk.Asking{Entitlements: []string{"archive/files/browse"}, Duration: pick(s, 0, countersign.Day, 20*countersign.Day), Reason: "old invoices are asked for"}
	return s.askAndDecide(pick(s, "ana", "ben", "max", "cora", "sam"), asking)
}

// tasked draws a grant with a task that is done, or not, and waits for nobody.
func (s *story) tasked(done bool) *countersign.Grant {
	return s.someGrant(func(g *countersign.Grant) bool {
		return g.Task != nil && g.Parked == nil && (g.Task.DoneBy != "") == done
	})
}

// tasker draws who says something of a task, mostly one of those who were told of it.
func (s *story) tasker(grant *countersign.Grant) desk.Caller {
	who := s.as(pick(s, append(people, clerks...)...))
	if len(grant.Task.Told) > 0 && s.chance(80) {
		who = desk.Caller{Identity: pick(s, grant.Task.Told...)}
	}
	return who
}

func (s *story) doTask() error {
	grant := s.tasked(false)
	if grant == nil {
		return errNothing
	}
	return s.doTaskOf(grant, s.tasker(grant), s.chance(85))
}

// doTaskOf says that it was done, which is true or not.
func (s *story) doTaskOf(grant *countersign.Grant, who desk.Caller, really bool) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		err := h.Desk.TaskDone(s.ctx, who, key, grant.ID, desk.TaskReport{Task: grant.Task.Intent, Reason: "I did as it says"})
		if err == nil && really {
			s.archive[grant.ID] = grant.Intent.Operation == countersign.ApplyOperation
		}
		return string(grant.ID), err
	})
}

func (s *story) refuseTask() error {
	grant := s.tasked(false)
	if grant == nil {
		return errNothing
	}
	who := s.tasker(grant)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(grant.ID), h.Desk.TaskRefuse(s.ctx, who, key, grant.ID, desk.TaskReport{Task: grant.Task.Intent, Reason: "the archive is closed"}))
	})
}

// checkTask lets somebody look, now and then who did it.
func (s *story) checkTask() error {
	grant := s.tasked(true)
	if grant == nil {
		return errNothing
	}
	who := s.as(pick(s, clerks...))
	if s.chance(20) {
		who = desk.Caller{Identity: pick(s, grant.Task.DoneBy, grant.Holder, grant.Requester)}
	}
	return s.checkTaskOf(grant, who)
}

func (s *story) checkTaskOf(grant *countersign.Grant, who desk.Caller) error {
	report := desk.TaskReport{Task: grant.Task.Intent, Reason: "I looked at the list on the wall", Present: s.archive[grant.ID]}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(grant.ID), h.Desk.TaskCheck(s.ctx, who, key, grant.ID, report))
	})
}

// taskDuties lets people do the tasks that wait, owners and administrators too where
// nobody else does, and look at them.
func (s *story) taskDuties() {
	all := []desk.Caller{}
	for _, login := range append([]string{"otto", "pit", "adam", "alma"}, clerks...) {
		all = append(all, s.as(login))
	}
	for _, system := range s.look().directory.Systems {
		if system.Name == "archive" {
			all = append(all, desk.Caller{Identity: system.Owner}, desk.Caller{Identity: system.SecondOwner})
		}
	}
	for _, grant := range s.grants() {
		if grant.Task == nil || grant.Parked != nil {
			continue
		}
		for _, who := range append(slices.Clone(all), all...) {
			if grant.Task != nil && grant.Task.DoneBy == "" {
				_ = s.doTaskOf(grant, who, true)
			} else if grant.Task != nil {
				_ = s.checkTaskOf(grant, who)
			}
			var err error
			grant, err = s.store.Grant(s.ctx, grant.ID)
			s.must(err)
		}
	}
}

// checkTasks holds what people carry out to two of them: whoever did it never looks,
// and neither asked for it, holds it, or decided on it; nothing is live or gone that
// nobody looked at. What waits has somebody who was told, and a time.
func (s *story) checkTasks(l *look) {
	const law = "who did it does not look"
	for _, grant := range l.grants {
		if grant.Step.Connector != "manual" {
			continue
		}
		request := l.requests[grant.Request]
		near, decided := append([]countersign.IdentityID{request.Requester, request.Beneficiary}, request.SamePerson...), []countersign.IdentityID{}
		for _, stage := range request.Stages {
			for _, decision := range stage.Decisions {
				decided = append(decided, decision.By)
			}
		}
		var given, taken bool
		for _, check := range grant.Checks {
			if check.By == check.DoneBy || check.DoneBy == "" {
				s.breaks(law, "%s did the task %s of %s, and %s looked", check.DoneBy, check.Intent, grant.ID, check.By)
			}
			for _, who := range []countersign.IdentityID{check.By, check.DoneBy} {
				// Who approved gives nobody anything by taking it away.
				gives := check.Operation == countersign.ApplyOperation
				if person := l.identities[who]; person == nil || !person.Human() || slices.Contains(near, who) || gives && slices.Contains(decided, who) {
					s.breaks(law, "%s did or looked at the task %s of %s, and asked for it, has it or decided it", who, check.Intent, grant.ID)
				}
			}
			given = given || check.Operation == countersign.ApplyOperation && check.Present
			taken = check.Operation == countersign.RevokeOperation && !check.Present
		}
		switch {
		case grant.State == countersign.GrantLive && !given:
			s.breaks(law, "%s is live, and nobody saw that it was given", grant.ID)
		case grant.State == countersign.GrantGone && given && !taken:
			s.breaks(law, "%s is gone, and nobody saw that it was taken away", grant.ID)
		case grant.Task == nil || grant.Parked != nil:
		case len(grant.Task.Told) == 0:
			s.breaks("an owner and a clock", "the task of %s waits for nobody", grant.ID)
		default:
			s.wakes(string(grant.ID), grant.Task.Deadline)
		}
	}
	for _, grant := range l.grants {
		if grant.State == countersign.GrantGone && s.archive[grant.ID] {
			s.breaks("no access after its end", "the grant %s is gone, and the archive has it", grant.ID)
		}
	}
}
