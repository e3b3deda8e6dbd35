package sim

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

// Laws of exceptions, birthrights, moves, packages, and of what is given by hand.

// ruled is what a birthright of the organisation gives, told once more: whom, what,
// and for how long after.
type ruled struct {
	gives   []string
	overlap countersign.Seconds
	holds   func(l *look, identity *countersign.Identity) bool
}

var rules = map[string]ruled{
	"crew":      {[]string{"handbook", "list"}, 2 * countersign.Day, func(l *look, identity *countersign.Identity) bool { return l.in("crew", identity.ID) }},
	"outsiders": {[]string{"guest"}, 0, func(_ *look, identity *countersign.Identity) bool { return outside(identity) }},
}

func outside(identity *countersign.Identity) bool {
	return identity.Affiliation != "" && identity.Affiliation != countersign.Employee
}

func (l *look) in(name string, id countersign.IdentityID) bool {
	return slices.ContainsFunc(l.directory.Groups, func(group *countersign.Group) bool {
		return group.Name == name && slices.ContainsFunc(group.Members, func(member countersign.Member) bool { return member.Identity == id })
	})
}

// gives reports whether the rule gives the entitlement to the identity today.
func (l *look) gives(rule, name string, identity *countersign.Identity) bool {
	one := rules[rule]
	return slices.Contains(one.gives, name) && (name != "list" || !l.lean) && identity.Human() && one.holds(l, identity)
}

// lean reports whether the policy in force gives the crew less.
func (s *story) lean(active countersign.Digest) bool {
	if _, known := s.laws.lean[active]; !known {
		content, err := s.store.PolicySet(s.ctx, active)
		s.must(err)
		s.laws.lean[active] = !bytes.Contains(content, []byte("ledger/books/list]"))
	}
	return s.laws.lean[active]
}

// looks are the rows that somebody is still to look at.
func (s *story) looks() map[string]bool {
	found := map[string]bool{}
	s.query(`SELECT ref FROM work WHERE key <> ref AND kind IN ('identity', 'grant', 'request')`, 1, func(row []driver.Value) { found[fmt.Sprint(row[0])] = true })
	return found
}

// checkBirthrights holds what nobody asked for to the rule that it names, and to what
// the rule says today where nobody is still to look.
func (s *story) checkBirthrights(l *look) {
	const law = "birthrights follow their rules"
	type again struct {
		holder      countersign.IdentityID
		entitlement countersign.EntitlementID
		rule        countersign.Birthright
	}
	revoked, looks := map[again]countersign.Instant{}, s.looks()
	for _, grant := range l.grants {
		if grant.Birthright != nil && grant.EndCause == "revoked" {
			key := again{grant.Holder, grant.Entitlement, *grant.Birthright}
			revoked[key] = countersign.Earliest(revoked[key], grant.EndAt)
		}
	}
	for _, grant := range l.grants {
		if grant.Birthright == nil {
			continue
		}
		holder, name, rule := l.identities[grant.Holder], l.names[grant.Entitlement], rules[grant.Birthright.Rule]
		if !slices.Contains(rule.gives, name) || grant.Origin != countersign.FromBirthright || grant.Request != "" || !holder.Human() || grant.System == l.powers {
			s.breaks(law, "the grant %s gives %s of %s, and no rule does", grant.ID, name, grant.Holder)
		}
		if since := revoked[again{grant.Holder, grant.Entitlement, *grant.Birthright}]; since != 0 && grant.OpenedAt > since && grant.EndAt != since {
			s.breaks(law, "%s was revoked for %s at %s, and the same rule gave it again by %s", name, grant.Holder, since, grant.ID)
		}
		if grant.State != countersign.GrantLive || !holder.ActiveAt(l.now) || looks[string(grant.Holder)] || looks[string(grant.ID)] {
			continue
		}
		last, gives := l.now.Add(rule.overlap), l.gives(grant.Birthright.Rule, name, holder)
		extended := slices.ContainsFunc(l.restsOn(grant), func(request *countersign.Request) bool { return request.Rotates == nil })
		switch lapsing := grant.Lapsing; {
		case extended && lapsing == nil:
			// People have approved another end since.
		case !gives && lapsing == nil && (grant.Until == 0 || grant.Until > last):
			s.breaks(law, "the rule %s does not give %s to %s any more, and %s goes on", grant.Birthright.Rule, name, grant.Holder, grant.ID)
		case !gives && lapsing != nil && grant.Until > lapsing.Since.Add(rule.overlap):
			s.breaks(law, "the grant %s lapses at %s, later than its rule lets it since %s", grant.ID, grant.Until, lapsing.Since)
		case gives && lapsing != nil && lapsing.Cause == "birthright-ended":
			s.breaks(law, "the rule %s gives %s to %s, and %s lapses", grant.Birthright.Rule, name, grant.Holder, grant.ID)
		}
	}
}

// checkGiven is for a house in which nothing is wrong: within days everybody has what
// rules give, but for what was revoked.
func (s *story) checkGiven(l *look) {
	for _, identity := range l.identities {
		for rule, one := range rules {
			for _, name := range one.gives {
				key := string(identity.ID) + " " + name
				there := slices.ContainsFunc(l.grantsOf(identity.ID, name), func(grant *countersign.Grant) bool {
					return !grant.State.Ended() || grant.Birthright != nil && grant.EndCause == "revoked"
				})
				sponsor := l.identities[identity.Sponsor]
				if there || l.silent(name) || !identity.ActiveAt(l.now) || !l.gives(rule, name, identity) || identity.Sponsor != "" && !sponsor.ActiveAt(l.now) {
					delete(s.laws.missing, key)
					continue
				}
				if s.laws.missing[key] == 0 {
					s.laws.missing[key] = l.now
				}
				if since := s.laws.missing[key]; l.now > since.Add(3*countersign.Day) {
					s.breaks("birthrights follow their rules", "the rule %s gives %s to %s, who has not got it since %s", rule, name, identity.ID, since)
				}
			}
		}
	}
}

// silent reports whether nothing new need be given of the system: its owner is not
// there, or has not confirmed it for long.
func (l *look) silent(name string) bool {
	return slices.ContainsFunc(l.directory.Systems, func(system *countersign.System) bool {
		late := system.LastConfirmed < l.now.Add(-100*countersign.Day) || !l.identities[system.Owner].ActiveAt(l.now)
		return late && slices.ContainsFunc(l.directory.Entitlements, func(entitlement *countersign.Entitlement) bool {
			return entitlement.Name == name && entitlement.System == system.ID
		})
	})
}

func (l *look) grantsOf(holder countersign.IdentityID, name string) []*countersign.Grant {
	var found []*countersign.Grant
	for _, grant := range l.grants {
		if grant.Holder == holder && l.names[grant.Entitlement] == name {
			found = append(found, grant)
		}
	}
	return found
}

// restsOn are the requests that the grant goes back to: the first one, and those by
// which it got a later end or another credential.
func (l *look) restsOn(grant *countersign.Grant) []*countersign.Request {
	var found []*countersign.Request
	for _, request := range l.requests {
		switch done := request.State; {
		case request.ID == grant.Request:
		case request.Changes() != grant.ID:
			continue
		case done != countersign.RequestClosed && done != countersign.RequestActive && done != countersign.RequestClosing:
			continue
		}
		found = append(found, request)
	}
	return found
}

// checkMoves holds what nobody is still to look at to this: what somebody who moved would not get any more
// lapses after its overlap, and goes on where he or she is back; what is still to be
// decided asks whom it would ask now.
func (s *story) checkMoves(l *look) {
	const law, overlap = "who moves is judged anew", 3 * countersign.Day
	looks := s.looks()
	for _, grant := range l.grants {
		holder, first := l.identities[grant.Holder], l.requests[grant.Request]
		if first == nil || first.Type != "access" || grant.State != countersign.GrantLive || !holder.ActiveAt(l.now) || looks[string(grant.Holder)] || looks[string(grant.ID)] {
			continue
		}
		passed := slices.ContainsFunc(l.restsOn(grant), func(request *countersign.Request) bool {
			return request.Rotates == nil && (request != first && request.Type != "access" || asked(request))
		})
		// An agent can hold no more than its owner.
		owner := l.identities[holder.Owner]
		vendor := holder.Affiliation == "vendor" || holder.Kind == countersign.Agent && owner != nil && owner.Affiliation == "vendor"
		would := (!outside(holder) || passed) && !vendor
		switch lapsing := grant.Lapsing; {
		case !would && lapsing == nil && grant.Until > l.now.Add(overlap):
			s.breaks(law, "%s of %s, who is a %s by now, goes on until %s", grant.ID, grant.Holder, holder.Affiliation, grant.Until)
		case lapsing != nil && lapsing.Cause == "moved" && grant.Until > lapsing.Since.Add(overlap):
			s.breaks(law, "%s lapses at %s, more than its overlap after %s", grant.ID, grant.Until, lapsing.Since)
		case would && lapsing != nil && lapsing.Cause == "moved" && !s.toxic(l, grant):
			s.breaks(law, "%s of %s, who is a %s, would be given, and lapses: %s", grant.ID, grant.Holder, holder.Affiliation, lapsing.Because)
		}
	}
	for _, request := range l.requests {
		beneficiary := l.identities[request.Beneficiary]
		if open := request.State == countersign.RequestDeciding || request.State == countersign.RequestCollecting; open && request.Type == "access" && outside(beneficiary) && !asked(request) &&
			beneficiary.ActiveAt(l.now) && !looks[string(request.ID)] {
			s.breaks(law, "the request %s is for a %s by now, and its stages ask nobody of it", request.ID, beneficiary.Affiliation)
		}
	}
}

// asked reports whether people decide, or decided, that an outsider gets it.
func asked(request *countersign.Request) bool {
	return slices.ContainsFunc(request.Stages, func(stage countersign.Stage) bool {
		return stage.Name == "outside" && stage.State != countersign.StageSkipped
	})
}

// toxic reports whether somebody who counts as one with the holder has the other half
// of what the grant gives, or has it under way.
func (s *story) toxic(l *look, grant *countersign.Grant) bool {
	other := map[string]string{"write": "open", "open": "write"}[l.names[grant.Entitlement]]
	one := l.identities[grant.Holder].SamePerson()
	for _, held := range l.grants {
		if l.names[held.Entitlement] == other && !held.State.Ended() && slices.ContainsFunc(l.identities[held.Holder].SamePerson(), func(id countersign.IdentityID) bool { return slices.Contains(one, id) }) {
			return true
		}
	}
	return false
}

// checkExceptions holds what waived a refusal to what an exception is: its control,
// its owner, its end, and the stage that others decide; and what relies on it ends
// with it.
func (s *story) checkExceptions(l *look) {
	const law = "an exception is bounded"
	for _, request := range l.requests {
		exception := request.Exception
		if exception == nil {
			continue
		}
		owner := l.identities[exception.Owner]
		if utf8.RuneCountInString(exception.Control) < 20 || owner == nil || !owner.Human() || exception.Until == 0 || exception.Until > request.SubmittedAt.Add(20*countersign.Day) {
			s.breaks(law, "the request %s has the exception %+v", request.ID, exception)
		}
		for _, waived := range exception.Waives {
			if waived.Rule != "write-and-open" {
				s.breaks(law, "the request %s waives %+v", request.ID, waived)
			}
		}
		if undecided(request) != "" {
			continue
		}
		deciders := map[countersign.IdentityID]string{}
		for _, stage := range request.Stages {
			for _, decision := range stage.Decisions {
				for _, standing := range decision.Standing {
					if before := deciders[standing.Seat()]; before != "" && stage.Name == "exception" && before != stage.Name {
						s.breaks(law, "%s decided the stage %s of %s, and its exception", standing.Seat(), before, request.ID)
					}
					deciders[standing.Seat()] = stage.Name
				}
			}
		}
		strict := slices.ContainsFunc(request.Stages, func(stage countersign.Stage) bool {
			return stage.Name == "exception" && stage.State == countersign.StagePassed && len(stage.Quorums) == 1 && stage.Quorums[0].Need == 2
		})
		if !strict {
			s.breaks(law, "the request %s waived a refusal without the stage for it", request.ID)
		}
	}
	for _, grant := range l.grants {
		var end countersign.Instant
		free := grant.Request == ""
		for _, request := range l.restsOn(grant) {
			free = free || request.Exception == nil
			if request.Exception != nil {
				end = max(end, request.Exception.Until)
			}
		}
		if !free && grant.Until > end {
			s.breaks(law, "the grant %s lasts until %s, and the exception that it rests on until %s", grant.ID, grant.Until, end)
		}
	}
}

// waived reports whether the grant rests on an exception that lasts at now.
func (l *look) waived(grant *countersign.Grant, now countersign.Instant) bool {
	return slices.ContainsFunc(l.restsOn(grant), func(request *countersign.Request) bool {
		return request.Exception != nil && request.Exception.Until > now
	})
}

// checkSeparation finds both halves of the toxic combination with one person, by
// whatever machine, without an exception. What came together because a machine
// changed hands is let lapse, once the engines have looked.
func (s *story) checkSeparation(l *look, rest bool) {
	halves, now := map[string]map[countersign.IdentityID][]*countersign.Grant{"write": {}, "open": {}}, countersign.Instant(0)
	if rest {
		now = l.now
	}
	for _, grant := range l.grants {
		if s.laws.handed[grant.Holder] && (!rest || grant.Lapsing != nil || !l.identities[grant.Holder].ActiveAt(l.now)) {
			continue
		}
		if half := halves[l.names[grant.Entitlement]]; half != nil && grant.State == countersign.GrantLive {
			for _, id := range l.identities[grant.Holder].SamePerson() {
				half[id] = append(half[id], grant)
			}
		}
	}
	for id, grants := range halves["write"] {
		for _, grant := range grants {
			for _, other := range halves["open"][id] {
				// What was there before is taken on the record as it is.
				if since := s.laws.since; grant.Adopted != nil && since[grant.ID] >= since[other.ID] || other.Adopted != nil && since[other.ID] >= since[grant.ID] {
					continue
				}
				if !l.waived(grant, now) && !l.waived(other, now) {
					s.breaks("separation of duties", "%s has both halves of a toxic combination by %s and %s", id, grant.ID, other.ID)
				}
			}
		}
	}
}

// checkPackages holds a batch for a package to what the package has: each
// beneficiary is asked for all of it, and for nothing else.
func (s *story) checkPackages(l *look) {
	has := map[string][][]string{"starter": {{"brief", "read", "reader"}}, "basics": {{"handbook", "list"}, {"handbook"}}}
	for _, batch := range l.batches {
		if batch.Package == "" {
			continue
		}
		asked := map[countersign.IdentityID][]string{}
		for _, item := range batch.Items {
			asked[item.Beneficiary] = append(asked[item.Beneficiary], l.names[item.Entitlement])
		}
		for beneficiary, names := range asked {
			slices.Sort(names)
			if !slices.ContainsFunc(has[batch.Package], func(whole []string) bool { return slices.Equal(whole, names) }) {
				s.breaks("a package is asked for whole", "the batch %s asks for %q for %s, of the package %s", batch.ID, names, beneficiary, batch.Package)
			}
		}
	}
}

// checkStanding finds who decided without being whom the stage asks for; who decides
// in the step in which that changed may have done so before.
func (s *story) checkStanding(l *look, request *countersign.Request, decision countersign.Decision, moved func(string, int64) bool) {
	for _, standing := range decision.Standing {
		requester := l.identities[request.Requester]
		switch standing.Rule {
		case "manager-of(requester)":
			if !moved(string(requester.ID), requester.Version) && requester.Manager != standing.Seat() {
				s.breaks("who decides may", "%s decided %s as the manager of %s, who is %s", standing.Seat(), request.ID, requester.ID, requester.Manager)
			}
		case "group(leads)", "group(security)", "group(board)":
			name := standing.Rule[len("group(") : len(standing.Rule)-1]
			for _, group := range l.directory.Groups {
				if group.Name == name && !moved(string(group.ID), group.Version) && !l.in(name, standing.Seat()) {
					s.breaks("who decides may", "%s decided %s for %s, and is no member", standing.Seat(), request.ID, name)
				}
			}
		}
	}
}

// checkFindings holds the comparison of targets with the record to this: whatever
// happens while a target is read, nothing is found that is not so; and what is adopted
// is there once, as its grant.
func (s *story) checkFindings(l *look) {
	adopted := map[countersign.FindingID]bool{}
	for _, grant := range l.grants {
		if request := l.requests[grant.Request]; request != nil && request.Adopts != "" && grant.State == countersign.GrantLive {
			adopted[request.Adopts] = true
		}
	}
	for _, finding := range l.findings {
		by := handed{finding.Holder, finding.System, finding.Resource, finding.Entitlement}
		switch {
		case finding.Kind == countersign.LostFinding && (l.grants[finding.Grant] == nil || l.grants[finding.Grant].Adopted == nil), finding.Kind == countersign.OutOfBandFinding && !s.target.ever[by] && !s.target.back[finding.Credential]:
			s.breaks("no false finding", "%s: %s of %s (%s)", finding.Kind, finding.Entitlement, finding.Holder, finding.Credential)
		case adopted[finding.ID] && s.target.byHand[by]:
			s.breaks("what is adopted is taken over", "%s of %s was adopted, and is still there as it was given by hand", finding.Entitlement, finding.Holder)
		}
	}
}

// checkFound is for targets that were just read: what is there by hand is a finding
// with an owner and a deadline, and what is gone is none.
func (s *story) checkFound(l *look) {
	const law = "what is given by hand is found"
	open := map[handed]*countersign.Finding{}
	for _, finding := range l.findings {
		if finding.Kind == countersign.OutOfBandFinding && finding.State == countersign.FindingOpen {
			open[handed{finding.Holder, finding.System, finding.Resource, finding.Entitlement}] = finding
		}
	}
	legacy := map[handed]bool{}
	for _, grant := range l.grants {
		if grant.Adopted != nil && !grant.State.Ended() {
			legacy[adoptedAs(grant)] = true
		}
	}
	for by := range s.target.byHand {
		if legacy[by] {
			continue
		}
		if finding := open[by]; finding == nil || finding.Owner == "" || finding.Deadline == 0 {
			s.breaks(law, "%s has %s by hand, and the finding is %+v", by.holder, by.entitlement, finding)
		}
	}
	for by := range open {
		if !s.target.byHand[by] {
			s.breaks(law, "%s has %s by hand no more, and the finding is open", by.holder, by.entitlement)
		}
	}
}
