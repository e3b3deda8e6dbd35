package sim

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// Acts of people who join, move and leave, of packages, of exceptions, and of what is
// given by hand.

// join adds somebody to the directory, mostly to the crew.
func (s *story) join() error {
	files := s.files.clone()
	left := slices.DeleteFunc(slices.Clone(joiners), func(login string) bool { return slices.Contains(files.joined, login) })
	if len(left) == 0 {
		return errNothing
	}
	login := pick(s, left...)
	files.joined = append(files.joined, login)
	if s.chance(70) {
		files.crew = append(files.crew, login)
	}
	return s.applyFiles(files)
}

// move gives somebody another manager, affiliation or group. Mostly it is somebody
// who has something, or waits for it.
func (s *story) move() error {
	files := s.files.clone()
	who := pick(s, s.moving()...)
	switch s.rng.IntN(7) {
	case 0:
		files.managers[who] = pick(s, slices.DeleteFunc([]string{"max", "bea", "otto", "pia"}, func(login string) bool { return login == files.managers[who] })...)
	case 1, 2, 3, 4:
		files.affiliations[who] = pick(s, slices.DeleteFunc([]string{"", "", "contractor", "contractor", "vendor"}, func(name string) bool { return name == files.affiliations[who] })...)
	default:
		if s.chance(30) {
			who = pick(s, "pia", "cora")
		}
		if crew := slices.DeleteFunc(slices.Clone(files.crew), func(login string) bool { return login == who }); len(crew) < len(files.crew) {
			files.crew = crew
		} else {
			files.crew = append(files.crew, who)
		}
	}
	return s.applyFiles(files)
}

// moving lists who is there to move: more often whoever has something under way.
func (s *story) moving() []string {
	l, there := s.look(), []string{}
	for _, login := range movers {
		if slices.Contains(joiners, login) && !slices.Contains(s.files.joined, login) {
			continue
		}
		there = append(there, login)
		id, known := s.houses[0].Desk.Resolve(login)
		for _, request := range l.requests {
			if known && request.Type == "access" && (request.State.Open() || request.State == countersign.RequestActive) && request.Beneficiary == id {
				there = append(there, login, login)
			}
		}
	}
	return there
}

// leave lets somebody go for good.
func (s *story) leave() error {
	files := s.files.clone()
	leaver := pick(s, append([]string{"ben", "sue", "pit", "olga", "cora"}, files.joined...)...)
	if slices.Contains(files.departed, leaver) || len(files.departed) == 4 {
		return errNothing
	}
	files.departed = append(files.departed, leaver)
	return s.applyFiles(files)
}

// askForPackage asks for all of a package, for one or for some.
func (s *story) askForPackage() error {
	asking := desk.ManyAsking{
		Beneficiaries: pick(s, []string{"ana"}, []string{"ben", "cora"}, []string{"ana", "svc-ana"}, []string{"max"}),
		Package:       pick(s, "starter", "starter", "basics", "nothing"),
		Duration:      pick(s, 0, countersign.Day, 10*countersign.Day), Reason: fmt.Sprintf("the season %d begins", s.commands),
	}
	if s.chance(10) {
		asking.Entitlements = []string{"ledger/books/read"}
	}
	asker := pick(s, "ana", "max", "pia")
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.SubmitMany(s.ctx, s.as(asker), key, asking)
		return string(id), err
	})
}

// exception is mostly what a waived refusal needs, and otherwise lacks one thing.
func (s *story) exception() *desk.AskedException {
	asked := &desk.AskedException{
		Control: "somebody else reads the log each evening", Owner: pick(s, "otto", "bea", "olga"),
		Until: s.clock.instant().Add(pick(s, countersign.Hour, 2*countersign.Day, 15*countersign.Day)),
	}
	switch s.rng.IntN(12) {
	case 0:
		asked.Control = "none"
	case 1:
		asked.Until = s.clock.instant().Add(40 * countersign.Day)
	case 2:
		asked.Until = s.clock.instant().Add(-countersign.Hour)
	case 3:
		asked.Owner = pick(s, "", "nobody", "svc")
	}
	return asked
}

// askForException asks for the other half of a toxic combination, as whoever has the
// first one; where nobody has, somebody is given it first.
func (s *story) askForException() error {
	other := map[string]string{"write": "ledger/vaults/open", "open": "ledger/books/write"}
	half := func() *countersign.Grant {
		l := s.look()
		return s.someGrant(func(g *countersign.Grant) bool { return !g.State.Ended() && other[l.names[g.Entitlement]] != "" })
	}
	grant := half()
	if grant == nil {
		if err := s.askAndDecide("ana", desk.Asking{Entitlements: []string{"ledger/vaults/open"}, Duration: 20 * countersign.Day, Reason: "the vaults are counted"}); err != nil {
			return err
		}
		if grant = half(); grant == nil {
			return errNothing
		}
	}
	asking := desk.Asking{
		Beneficiary: string(grant.Holder), Entitlements: []string{other[s.look().names[grant.Entitlement]]}, Reason: "the one who does the other is ill",
		Duration: pick(s, 0, countersign.Day, 20*countersign.Day), Exception: s.exception(),
	}
	return s.askAndDecide(string(asker(grant).Identity), asking)
}

// giveByHand gives somebody a right on the target behind the house's back, who has not
// got it.
func (s *story) giveByHand() error {
	l, by := s.look(), handed{holder: s.as(pick(s, "ana", "ben", "cora", "syd")).Identity, resource: "books", entitlement: pick(s, "read", "write", "list")}
	for _, system := range l.directory.Systems {
		if system.Name == "ledger" {
			by.system = system.ID
		}
	}
	s.target.land()
	for _, task := range s.target.held {
		if handedOf(task) == by {
			return errNothing
		}
	}
	if s.target.byHand[by] {
		return errNothing
	}
	s.target.byHand[by], s.target.ever[by], s.target.again[by] = true, true, s.target.ever[by]
	return nil
}

// takeByHand takes away what was given by hand, behind the house's back as well.
func (s *story) takeByHand() error {
	if len(s.target.byHand) == 0 {
		return errNothing
	}
	delete(s.target.byHand, pick(s, s.target.handedOut()...))
	return nil
}

// adopt asks for a grant in the place of what was found.
func (s *story) adopt() error {
	who := pick(s, "otto", "otto", "otto", "adam", "ana")
	findings, err := s.houses[0].Desk.Findings(s.ctx, s.as("otto"), desk.FindingFilter{System: "ledger"})
	if err != nil {
		return err
	}
	findings = slices.DeleteFunc(findings, func(finding desk.FindingView) bool { return finding.AskFor == "" })
	if len(findings) == 0 {
		return errNothing
	}
	finding := pick(s, findings...)
	return s.askAndDecide(who, desk.Asking{
		Beneficiary: string(finding.Holder.ID), Entitlements: []string{finding.AskFor}, Adopts: finding.ID, Reason: "it was given by hand before",
		Duration: pick(s, 0, countersign.Day, 20*countersign.Day),
	})
}

// askAndDecide asks, and mostly has everybody decide at once.
func (s *story) askAndDecide(who string, asking desk.Asking) error {
	var id countersign.RequestID
	err := s.command(func(h *house.House, key desk.Key) (string, error) {
		var err error
		id, err = h.Desk.Submit(s.ctx, s.as(who), key, asking)
		return string(id), err
	})
	if err != nil || s.chance(25) {
		return err
	}
	request, err := s.store.Request(s.ctx, id)
	s.must(err)
	return s.decideAllOn(request)
}
