package sim

import (
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// Laws of what is owed: evidence after the access, older credentials after a rotation,
// and findings.

// checkOwed finds evidence that is overdue and that nobody heard of who is there. Who
// left in the same step may have been there when it was told.
func (s *story) checkOwed(l *look) {
	for _, request := range l.requests {
		for _, slot := range request.Evidence {
			if request.State != countersign.RequestClosing || !slot.Overdue || slot.Held != nil {
				continue
			}
			key := string(request.ID) + " " + slot.Name
			if s.laws.told[key] == slot.Deadline {
				continue
			}
			s.laws.told[key] = slot.Deadline
			told := append(s.toldOf(request.ID, slot.Name), request.Requester, request.Beneficiary)
			heard := slices.ContainsFunc(told, func(id countersign.IdentityID) bool {
				person := l.identities[id]
				return person != nil && person.Human() && (person.ActiveAt(l.now) || s.laws.rows[string(id)] != person.Version)
			})
			if !heard {
				s.breaks("an owner and a clock", "the evidence %s of the request %s is overdue, and of those who heard of it, %s, nobody is there", slot.Name, request.ID, told)
			}
		}
	}
}

// toldOf are those who were told last that the evidence is overdue.
func (s *story) toldOf(id countersign.RequestID, slot string) (told []countersign.IdentityID) {
	events, err := s.store.Events(s.ctx, countersign.Stream(id), 0, 1000)
	s.must(err)
	for _, event := range events {
		payload, err := workflow.Registry.Decode(event)
		s.must(err)
		if overdue, is := payload.(*workflow.EvidenceOverdue2); is && overdue.Change.Slot == slot {
			told = overdue.Change.Told
		}
	}
	return told
}

// checkRotated holds what a rotation left of older credentials to its overlap: all but
// one of a grant's credentials end, and soon.
func (s *story) checkRotated(l *look) {
	const law, longest = "an old credential ends", 3 * countersign.Day
	for _, grant := range l.grants {
		var stay []countersign.CredentialID
		newest := countersign.Instant(0)
		for _, credential := range grant.Credentials {
			newest = max(newest, credential.From)
		}
		for _, credential := range grant.Credentials {
			switch {
			case credential.State != countersign.CredentialLive:
			case credential.RetireAt == 0:
				stay = append(stay, credential.ID)
			case credential.RetireAt > newest.Add(longest) && s.ahead <= l.now:
				s.breaks(law, "%s of %s lasts until %s beside one from %s", credential.ID, grant.ID, credential.RetireAt, newest)
			}
		}
		if len(stay) > 1 {
			s.breaks(law, "of %s the credentials %s go on beside each other", grant.ID, stay)
		}
	}
}

// checkRetired is for engines at rest: an older credential whose overlap has passed is
// ending. One of a grant whose other operation is under way waits for it.
func (s *story) checkRetired(l *look) {
	for _, grant := range l.grants {
		if work, err := s.store.Work(s.ctx, string(grant.ID)); err == nil && work.LeaseUntil > l.now || grant.Intent != nil {
			continue
		}
		for _, credential := range grant.Credentials {
			if credential.State == countersign.CredentialLive && credential.RetireAt != 0 && credential.RetireAt <= l.now {
				s.breaks("an old credential ends", "%s of %s is live at %s, and was to end at %s", credential.ID, grant.ID, l.now, credential.RetireAt)
			}
		}
	}
}

// checkFindingsOwned holds each finding to somebody who answers for it, and to a time.
func (s *story) checkFindingsOwned(l *look) {
	for _, finding := range l.findings {
		if owner := l.identities[finding.Owner]; owner == nil || !owner.Human() || finding.Deadline <= finding.OpenedAt {
			s.breaks("an owner and a clock", "the finding %s of %s has the owner %q and is due %s", finding.ID, finding.OpenedAt, finding.Owner, finding.Deadline)
		}
	}
}
