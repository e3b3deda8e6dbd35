package sim

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target/tickets"
)

// act is one thing that somebody does, or that happens.
type act struct {
	weight int
	name   string
	do     func(*story) error
}

// what people do. Each draws what it is about from what storage holds now, and is
// refused as often as not.
var acts = []act{
	{14, "submit", (*story).submit},
	{20, "decide", (*story).decide},
	{12, "decide all", (*story).decideAll},
	{3, "cancel", (*story).cancel},
	{3, "amend", (*story).amend},
	{5, "attach", (*story).attach},
	{4, "consent", (*story).consent},
	{7, "revoke", (*story).revoke},
	{5, "rotate", (*story).rotate},
	{4, "extend", (*story).extend},
	{5, "ask for a rotation", (*story).askForRotation},
	{3, "retry", (*story).retry},
	{3, "hold", (*story).hold},
	{6, "lift", (*story).lift},
	{3, "suspend", (*story).suspend},
	{8, "reactivate", (*story).reactivate},
	{3, "delegate", (*story).delegate},
	{1, "end a delegation", (*story).endDelegation},
	{4, "break-glass", (*story).emergency},
	{4, "review", (*story).review},
	{3, "ask for an exception", (*story).askForException},
	{4, "change the directory", (*story).changeDirectory},
	{2, "join", (*story).join},
	{6, "move", (*story).move},
	{2, "leave", (*story).leave},
	{2, "change the policy", (*story).changePolicy},
	{2, "withdraw", (*story).withdraw},
	{4, "remove", (*story).removeFound},
	{3, "sign a baseline", (*story).signBaseline},
	{6, "ask for the archive", (*story).askForArchive},
	{6, "do a task", (*story).doTask},
	{4, "ask for an account", (*story).askForAccount},
	{4, "ask for a tool", (*story).askForTool},
	{3, "get a token", (*story).getToken},
	{3, "call a tool", (*story).callTool},
	{2, "refuse a task", (*story).refuseTask},
	{6, "look at a task", (*story).checkTask},
	{5, "describe", (*story).describe},
	{5, "classify", (*story).classify},
	{2, "prioritise", (*story).prioritise},
	{2, "decline", (*story).decline},
	{3, "merge", (*story).merge},
	{3, "ask", (*story).ask},
	{3, "answer", (*story).answer},
	{4, "submit many", (*story).submitMany},
	{3, "ask for a package", (*story).askForPackage},
	{3, "offer a machine", (*story).offerMachine},
	{3, "accept a machine", (*story).acceptMachine},
	{4, "confirm", (*story).confirm},
	{2, "offer a system", (*story).offerSystem},
	{2, "accept a system", (*story).acceptSystem},
	{3, "take the power over the policy", (*story).takePolicyPower},
	{3, "enforce", (*story).enforce},
	{2, "end an emergency", (*story).endEnforced},
	{3, "close", (*story).close},
	{3, "give by hand", (*story).giveByHand},
	{1, "take away by hand", (*story).takeByHand},
	{5, "adopt", (*story).adopt},
	{2, "unblock", (*story).unblock},
}

// tally counts how often an act was accepted and refused.
type tally struct{ accepted, refused int }

func pick[T any](s *story, from ...T) T { return from[s.rng.IntN(len(from))] }

// chance is true in so many of a hundred cases.
func (s *story) chance(of100 int) bool { return s.rng.IntN(100) < of100 }

// draw performs one act, by weight, of those that there is something to do for. Of
// those that the story has not accepted yet each gets a chance now and then, so that
// a short story has every one.
func (s *story) draw() error {
	total, missing := 0, []act{}
	for _, a := range acts {
		total += a.weight
		if s.tallies[a.name].accepted == 0 && !s.seen[a.name] {
			missing = append(missing, a)
		}
	}
	if len(missing) > 0 && s.chance(50) {
		if err := s.perform(pick(s, missing...)); err != errNothing {
			return err
		}
	}
	for {
		at := s.rng.IntN(total)
		for _, a := range acts {
			if at -= a.weight; at >= 0 {
				continue
			}
			if err := s.perform(a); err != errNothing {
				return err
			}
			break
		}
	}
}

// perform does what it is told, and counts what came of it.
func (s *story) perform(a act) error {
	err := a.do(s)
	if err == errNothing {
		return err
	}
	counted := s.tallies[a.name]
	if err == nil {
		counted.accepted++
	} else {
		counted.refused++
	}
	s.tallies[a.name] = counted
	s.tell("%s: %v", a.name, err)
	return err
}

// command gives a command under a key, at either replica.
func (s *story) command(run func(h *house.House, key desk.Key) (string, error)) error {
	s.commands++
	sent := &sent{key: desk.Key{Route: "sim", Value: fmt.Sprintf("key-%d", s.commands), Body: "sha256:sim"}, run: run}
	if s.depth == 0 {
		s.last = sent
	}
	return s.send(sent)
}

// sent is a command that can be sent again.
type sent struct {
	key desk.Key
	run func(h *house.House, key desk.Key) (string, error)
}

func (s *story) send(sent *sent) error {
	commits, earlier := s.faults.commits, s.faults.answered[sent.key.Value]
	h := s.houses[s.rng.IntN(len(s.houses))]
	object, err := sent.run(h, sent.key)
	switch {
	case countersign.KindOf(err) == countersign.Internal:
		s.breaks("answers", "a command was answered with %v", err)
	case earlier != "" && (err != nil || object != "" && object != earlier):
		s.breaks("one effect", "the command %s had %s and was answered %q, %v when it was sent again", sent.key.Value, earlier, object, err)
	case earlier != "" && s.faults.commits != commits && s.depth == 0:
		s.breaks("one effect", "the command %s wrote again when it was sent again", sent.key.Value)
	case err == nil && earlier == "" && s.chance(5):
		return s.send(sent)
	}
	return err
}

// refused checks, as soon as a command has been answered at a replica, that its
// decision point lets none of the grants through that the command stopped.
func (s *story) refused(h *house.House, err error, stopped func(*countersign.Grant) bool) {
	if err != nil {
		return
	}
	names := s.entitlementsOf("wiki")
	for _, grant := range s.grants() {
		if name := names[grant.Entitlement]; name != "" && stopped(grant) && letsThrough(h, grant.Holder, name, "wiki/space", s.clock.instant()) {
			s.breaks("checks refuse", "%s may be %s of the wiki by %s although the command that stops it was answered (%s, %s)", grant.Holder, name, grant.ID, grant.State, s.last.key.Value)
		}
	}
}

// entitlementsOf names the entitlements of a system.
func (s *story) entitlementsOf(name string) map[countersign.EntitlementID]string {
	changed, err := s.store.Directory(s.ctx, 0)
	s.must(err)
	names := map[countersign.EntitlementID]string{}
	for _, system := range changed.Systems {
		for _, entitlement := range changed.Entitlements {
			if system.Name == name && entitlement.System == system.ID {
				names[entitlement.ID] = entitlement.Name
			}
		}
	}
	return names
}

// with turns a command without an object into one.
func with(object string, err error) (string, error) { return object, err }

func (s *story) submit() error {
	asker := pick(s, "ana", "ana", "olga", "cora", "ben", "max", "pia")
	asking := desk.Asking{
		Reason:       "the books of the month are due",
		Entitlements: []string{pick(s, "ledger/books/read", "ledger/books/write", "ledger/books/brief", "ledger/vaults/open", "wiki/space/reader", "wiki/space/editor-on-call")},
		Duration:     pick(s, 0, countersign.Hour, countersign.Day, 3*countersign.Day, 20*countersign.Day),
	}
	if s.chance(10) {
		asking.Entitlements = []string{"ledger/books/read", "ledger/books/brief"}
	}
	switch {
	case s.chance(15):
		asking.Beneficiary = pick(s, "ana", "svc", "svc-ana", "agent", "cora")
	case asker == "ana" && s.chance(50):
		asking.Beneficiary = pick(s, "svc-ana", "agent")
	case asker == "olga" && s.chance(50):
		asking.Beneficiary = "svc"
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Submit(s.ctx, s.as(asker), key, asking)
		return string(id), err
	})
}

// decide is one decision on what is open, mostly by somebody who is asked.
func (s *story) decide() error {
	request := s.someRequest(func(r *countersign.Request) bool { return r.State == countersign.RequestDeciding })
	if request == nil {
		return errNothing
	}
	return s.decideOn(request, s.chance(80), s.chance(15))
}

func (s *story) decideOn(request *countersign.Request, approve, anybody bool) error {
	stage := request.Stages[pick(s, request.OpenStages()...)]
	caller := s.as(pick(s, people...))
	if len(stage.Asked) > 0 && !anybody {
		caller.Identity = pick(s, stage.Asked...).Person
	}
	view, err := s.houses[0].Desk.Request(s.ctx, caller, request.ID)
	if err != nil {
		return err
	}
	decision := desk.Decision{Shown: view.Shown, Stage: stage.Name, Reason: "I looked at it"}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		if approve {
			return with(string(request.ID), h.Desk.Approve(s.ctx, caller, key, request.ID, decision))
		}
		return with(string(request.ID), h.Desk.Deny(s.ctx, caller, key, request.ID, decision))
	})
}

// decideAll lets those who are asked approve until nobody is.
func (s *story) decideAll() error {
	request := s.someRequest(func(r *countersign.Request) bool { return r.State == countersign.RequestDeciding })
	if request == nil {
		return errNothing
	}
	return s.decideAllOn(request)
}

func (s *story) decideAllOn(request *countersign.Request) error {
	for range 8 {
		if request.State != countersign.RequestDeciding {
			return nil
		}
		if err := s.decideOn(request, true, false); countersign.KindOf(err) == countersign.Unavailable {
			return err
		}
		var err error
		if request, err = s.store.Request(s.ctx, request.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) cancel() error {
	request := s.someRequest(func(r *countersign.Request) bool { return r.State.Open() })
	if request == nil {
		return errNothing
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Cancel(s.ctx, desk.Caller{Identity: request.Requester}, key, request.ID, "not needed any more"))
	})
}

func (s *story) amend() error {
	request := s.someRequest(func(r *countersign.Request) bool {
		return r.State == countersign.RequestDeciding || r.State == countersign.RequestCollecting
	})
	if request == nil {
		return errNothing
	}
	asking := desk.Asking{Reason: "the books of the year are due", Duration: pick(s, countersign.Hour, 2*countersign.Day, 25*countersign.Day)}
	for _, id := range request.Entitlements {
		asking.Entitlements = append(asking.Entitlements, string(id))
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Amend(s.ctx, desk.Caller{Identity: request.Requester}, key, request.ID, asking))
	})
}

// attach fills what is owed at the closure.
func (s *story) attach() error {
	request := s.someRequest(func(r *countersign.Request) bool { return r.State == countersign.RequestClosing && owed(r) != nil })
	if request == nil {
		return errNothing
	}
	return s.attachTo(request, request.Requester)
}

// owed returns the first slot that keeps the request from closing.
func owed(r *countersign.Request) *countersign.Slot {
	for i := range r.Evidence {
		// All targets here can tell what was done, so nothing stands in for that.
		if slot := &r.Evidence[i]; slot.Due == countersign.DueAtClosure && slot.Held == nil && slot.InPlaceOf == "" {
			return slot
		}
	}
	return nil
}

// attachTo fills the slot, or lets it be fetched once the ticket is closed.
func (s *story) attachTo(request *countersign.Request, who countersign.IdentityID) error {
	if slot := owed(request); slot.Kind == countersign.TicketEvidence {
		_, _ = s.houses[0].Tickets.Close(s.ctx, s.as("otto").Identity, slot.Record, "the right handbook is back")
		return s.command(func(h *house.House, key desk.Key) (string, error) {
			return with(string(request.ID), h.Desk.Fetch(s.ctx, desk.Caller{Identity: who}, key, request.ID, slot.Name))
		})
	}
	evidence := desk.EvidenceContent{Slot: owed(request).Name, Content: []byte("it was handed over")}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Attach(s.ctx, desk.Caller{Identity: who}, key, request.ID, evidence))
	})
}

func (s *story) consent() error {
	request := s.someRequest(func(r *countersign.Request) bool {
		return r.State == countersign.RequestCollecting && r.Consent.Missing()
	})
	if request == nil {
		return errNothing
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Consent(s.ctx, desk.Caller{Identity: request.Consent.Of}, key, request.ID))
	})
}

func (s *story) revoke() error {
	grant := s.someGrant(func(g *countersign.Grant) bool { return !g.State.Ended() })
	if grant == nil {
		return errNothing
	}
	caller := pick(s, s.as("otto"), s.as("adam"), asker(grant), s.as("syd"))
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		err := h.Desk.Revoke(s.ctx, caller, key, grant.ID, "not needed any more")
		s.refused(h, err, func(g *countersign.Grant) bool { return g.ID == grant.ID })
		return string(grant.ID), err
	})
}

// asker is who asked for the access, or has it without being asked.
func asker(grant *countersign.Grant) desk.Caller {
	if grant.Requester == "" {
		return desk.Caller{Identity: grant.Holder}
	}
	return desk.Caller{Identity: grant.Requester}
}

func (s *story) rotate() error {
	grant := s.someGrant(func(g *countersign.Grant) bool { return g.State == countersign.GrantLive && g.Step.Connector == "fake" })
	if grant == nil {
		return errNothing
	}
	overlap := pick(s, 0, 30*countersign.Minute, countersign.Day)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(grant.ID), h.Desk.Rotate(s.ctx, asker(grant), key, grant.ID, overlap, "it was seen in a log"))
	})
}

func (s *story) extend() error {
	grant := s.someGrant(func(g *countersign.Grant) bool { return g.State == countersign.GrantLive })
	if grant == nil {
		return errNothing
	}
	asking := desk.Asking{
		Beneficiary: string(grant.Holder), Entitlements: []string{string(grant.Entitlement)}, Extends: grant.ID,
		Duration: pick(s, 5*countersign.Day, 20*countersign.Day, 30*countersign.Day), Reason: "the books take longer",
	}
	if left := countersign.Seconds(grant.Until-s.clock.instant()) / 1000; left > 0 && s.chance(70) {
		asking.Duration = left + countersign.Day
	}
	if request := s.look().requests[grant.Request]; request != nil && request.Exception != nil {
		asking.Exception = s.exception()
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Submit(s.ctx, asker(grant), key, asking)
		return string(id), err
	})
}

func (s *story) askForRotation() error {
	live := func(g *countersign.Grant) bool { return g.State == countersign.GrantLive && g.Step.Connector == "fake" }
	var grant *countersign.Grant
	if s.chance(80) {
		// The one that a policy offers a rotation of.
		names := s.entitlementsOf("ledger")
		grant = s.someGrant(func(g *countersign.Grant) bool { return live(g) && names[g.Entitlement] == "write" })
	} else {
		grant = s.someGrant(live)
	}
	if grant == nil {
		return errNothing
	}
	asking := desk.Asking{
		Beneficiary: string(grant.Holder), Entitlements: []string{string(grant.Entitlement)}, Rotates: grant.ID,
		Duration: pick(s, 5*countersign.Day, 20*countersign.Day), Reason: "it was seen in a log",
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Submit(s.ctx, asker(grant), key, asking)
		return string(id), err
	})
}

func (s *story) retry() error {
	grant := s.someGrant(func(g *countersign.Grant) bool { return g.Parked != nil })
	if grant == nil {
		return errNothing
	}
	return s.retryOn(grant)
}

func (s *story) retryOn(grant *countersign.Grant) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(grant.ID), h.Desk.Retry(s.ctx, s.as("adam"), key, grant.ID))
	})
}

func (s *story) revokeOn(grant *countersign.Grant) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(grant.ID), h.Desk.Revoke(s.ctx, s.as("adam"), key, grant.ID, "it cannot be given"))
	})
}

func (s *story) hold() error {
	on := pick(s, "ana", "svc-ana", "agent", "max", "ledger", "wiki", "gateway", "tools")
	if grant := s.someGrant(func(g *countersign.Grant) bool { return !g.State.Ended() }); grant != nil && s.chance(50) {
		on = string(grant.ID)
	}
	revoke, caller := s.chance(20), s.as(pick(s, "adam", "otto", "ana"))
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Hold(s.ctx, caller, key, on, "something looks wrong", revoke)
		if hold, _ := s.store.Hold(s.ctx, id); hold != nil && hold.State() == countersign.HoldActive {
			s.refused(h, err, func(g *countersign.Grant) bool {
				return hold.On == string(g.ID) || hold.On == string(g.Holder) || hold.On == string(g.System)
			})
		}
		return string(id), err
	})
}

func (s *story) lift() error {
	holds, err := s.store.Holds(s.ctx, false, "", 100)
	s.must(err)
	if len(holds) == 0 {
		return errNothing
	}
	return s.liftOne(pick(s, holds...), pick(s, "adam", "otto", "bea", "ana"))
}

func (s *story) liftOne(hold *countersign.Hold, who string) error {
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(hold.ID), h.Desk.Lift(s.ctx, s.as(who), key, hold.ID, "nothing was wrong"))
	})
}

func (s *story) suspend() error {
	name, leaver := pick(s, "ana", "cora", "ben", "otto", "sam", "svc-ana", "agent"), s.chance(30)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		err := h.Desk.Suspend(s.ctx, s.as("adam"), key, name, "on the way out", leaver)
		look := s.look()
		s.refused(h, err, func(g *countersign.Grant) bool {
			return look.identities[g.Holder].Status == countersign.IdentitySuspended && g.Holder == s.as(name).Identity
		})
		return "", err
	})
}

func (s *story) reactivate() error {
	changed, err := s.store.Directory(s.ctx, 0)
	s.must(err)
	var suspended []string
	for _, identity := range changed.Identities {
		if identity.SuspendedBy != "" {
			suspended = append(suspended, string(identity.ID))
		}
	}
	if len(suspended) == 0 {
		return errNothing
	}
	name := pick(s, suspended...)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with("", h.Desk.Reactivate(s.ctx, s.as("alma"), key, name, "stays after all"))
	})
}

func (s *story) delegate() error {
	from, to := pick(s, "max", "bea", "syd", "pia"), pick(s, "otto", "olga", "ana", "ben", "pit", "oda")
	asked := desk.Delegating{To: to, Ends: s.clock.instant().Add(pick(s, countersign.Hour, countersign.Day, 20*countersign.Day)), Reason: "on holiday"}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Delegate(s.ctx, s.as(from), key, asked)
		return string(id), err
	})
}

func (s *story) endDelegation() error {
	changed, err := s.store.Directory(s.ctx, 0)
	s.must(err)
	if len(changed.Delegations) == 0 {
		return errNothing
	}
	delegation := pick(s, changed.Delegations...)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(delegation.ID), h.Desk.EndDelegation(s.ctx, desk.Caller{Identity: delegation.From}, key, delegation.ID))
	})
}

func (s *story) emergency() error {
	who := s.eligible("editor-on-call", "ana", "ben")
	ticket, err := s.houses[0].Tickets.Open(s.ctx, s.as("otto").Identity, tickets.Incident, "The wiki shows the wrong handbook")
	if err != nil {
		return err
	}
	asking := desk.Asking{Type: "break-glass", Entitlements: []string{"wiki/space/editor"}, Reason: "the handbook is wrong", Answers: []byte(`{"incident":"` + ticket.Key + `"}`)}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		id, err := h.Desk.Submit(s.ctx, who, key, asking)
		return string(id), err
	})
}

// eligible is mostly somebody with a live grant of the entitlement, and otherwise one
// of the others.
func (s *story) eligible(name string, others ...string) desk.Caller {
	l := s.look()
	var holders []countersign.IdentityID
	for _, entitlement := range l.directory.Entitlements {
		for _, grant := range l.grants {
			if entitlement.Name == name && grant.Entitlement == entitlement.ID && grant.State == countersign.GrantLive {
				holders = append(holders, grant.Holder)
			}
		}
	}
	if len(holders) == 0 || s.chance(15) {
		return s.as(pick(s, others...))
	}
	slices.Sort(holders)
	return desk.Caller{Identity: pick(s, holders...), Issuer: "test", Strength: "test"}
}

func (s *story) review() error {
	request := s.someRequest(reviewable)
	if request == nil {
		return errNothing
	}
	return s.reviewOn(request)
}

func reviewable(r *countersign.Request) bool {
	return slices.ContainsFunc(r.OpenStages(), func(index int) bool { return r.Stages[index].Review })
}

func (s *story) reviewOn(request *countersign.Request) error {
	stage := request.Stages[request.OpenStages()[0]]
	caller := desk.Caller{Identity: pick(s, stage.Asked...).Person}
	// Refused where it is there already, and so is what is opened without.
	_ = s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Fetch(s.ctx, caller, key, request.ID, "activity"))
	})
	_, _ = s.houses[0].Desk.OpenEvidence(s.ctx, caller, request.ID, "activity")
	view, err := s.houses[0].Desk.Request(s.ctx, caller, request.ID)
	if err != nil {
		return err
	}
	decision, finding := desk.Decision{Shown: view.Shown, Reason: "I compared the pages with the ticket"}, pick(s, countersign.InOrder, countersign.InOrder, countersign.NotInOrder)
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(request.ID), h.Desk.Review(s.ctx, caller, key, request.ID, finding, decision))
	})
}

// changeDirectory edits what nobody's own access depends on.
func (s *story) changeDirectory() error {
	files := s.files.clone()
	switch s.rng.IntN(3) {
	case 0:
		files.managers["ana"] = pick(s, "max", "bea", "otto")
	case 1:
		files.security = pick(s, []string{"syd", "sam", "sue"}, []string{"syd", "sue"}, []string{"sam", "pit", "sue"}, []string{"syd"})
	default:
		files.contractEnd = pick(s, "2027-02-20", "2027-05-20", "2028-11-20")
	}
	return s.applyFiles(files)
}

// applyFiles applies the directory; what takes a second person gets one.
func (s *story) applyFiles(files organisation) error {
	s.files = files
	applied, err := s.houses[0].Desk.ApplyDirectory(s.ctx, s.as("adam"), files.directory())
	if err != nil || len(applied.Refused.Changes) == 0 {
		return err
	}
	return s.propose(countersign.DirectoryProposal, files.directory())
}

func (s *story) changePolicy() error {
	if s.chance(40) {
		s.files.lean = !s.files.lean
	} else {
		s.files.stricter = !s.files.stricter
	}
	return s.propose(countersign.PolicyProposal, s.files.policies())
}

func (s *story) propose(kind countersign.ProposalKind, files []directory.File) error {
	var id countersign.ProposalID
	err := s.command(func(h *house.House, key desk.Key) (string, error) {
		var err error
		id, err = h.Desk.Propose(s.ctx, s.as("adam"), key, kind, files, "the organisation changes")
		return string(id), err
	})
	if err != nil {
		return err
	}
	view, err := s.houses[0].Desk.Proposal(s.ctx, s.as("alma"), id)
	if err != nil {
		return err
	}
	return s.command(func(h *house.House, key desk.Key) (string, error) {
		return with(string(id), h.Desk.Publish(s.ctx, s.as("alma"), key, id, desk.ProposalDecision{Shown: view.Shown}))
	})
}

var errNothing = countersign.Errorf(countersign.NotFound, "nothing", "there is nothing to do this to")

// someRequest draws one of the requests that fit; nil if there is none.
func (s *story) someRequest(fits func(*countersign.Request) bool) *countersign.Request {
	all, err := s.store.Requests(s.ctx, store.RequestQuery{})
	s.must(err)
	all = slices.DeleteFunc(all, func(r *countersign.Request) bool { return !fits(r) })
	if len(all) == 0 {
		return nil
	}
	return pick(s, all...)
}

// someGrant draws one of the grants of requests, rules and baselines that fit; nil if
// there is none.
func (s *story) someGrant(fits func(*countersign.Grant) bool) *countersign.Grant {
	all, err := s.store.Grants(s.ctx, store.GrantQuery{})
	s.must(err)
	all = slices.DeleteFunc(all, func(g *countersign.Grant) bool {
		return g.Request == "" && g.Birthright == nil && g.Adopted == nil || !fits(g)
	})
	if len(all) == 0 {
		return nil
	}
	return pick(s, all...)
}
