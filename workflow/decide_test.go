package workflow_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

const start countersign.Instant = 1_790_000_000_000

// history is a stream's events as they are stored, and the state that Decide gave.
type history struct {
	t       rapid.TB
	now     countersign.Instant
	counter byte
	replays map[countersign.Stream]*workflow.Replay
	seqs    map[countersign.Stream]int64
}

func newHistory(t rapid.TB) *history {
	return &history{t: t, now: start, replays: map[countersign.Stream]*workflow.Replay{}, seqs: map[countersign.Stream]int64{}}
}

func (h *history) occasion(actor countersign.Actor) workflow.Occasion {
	h.counter++
	return workflow.Occasion{Actor: actor, Now: h.now, PolicySet: "sha256:set", Mint: countersign.NewMint([32]byte{h.counter}, h.now)}
}

// take stores an outcome's events as bytes, reads them back, and checks that
// folding them gives the very state that Decide gave.
func (h *history) take(occasion workflow.Occasion, outcome workflow.Outcome) {
	for _, event := range outcome.Events {
		values, err := countersign.EncodePayload(event.Payload)
		if err != nil {
			h.t.Fatal(err)
		}
		if h.replays[event.Stream] == nil {
			h.replays[event.Stream] = workflow.NewReplay()
		}
		h.seqs[event.Stream]++
		header := countersign.Header{Stream: event.Stream, Seq: h.seqs[event.Stream], Kind: event.Payload.EventKind(), Time: occasion.Now, Actor: occasion.Actor, PolicySet: occasion.PolicySet}
		payload, err := workflow.Registry.Decode(countersign.SealedEvent{Header: header, Values: values})
		if err != nil {
			h.t.Fatal(err)
		}
		if err := h.replays[event.Stream].Apply(header, payload); err != nil {
			h.t.Fatal(err)
		}
	}
	check := func(row countersign.Row) {
		want, err := countersign.Canonical(row)
		if err != nil {
			h.t.Fatal(err)
		}
		got, err := countersign.Canonical(h.replays[row.RowStream()].Rows[row.RowKey()])
		if err != nil {
			h.t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			h.t.Fatalf("replay gives\n%s\nand the decision gave\n%s", got, want)
		}
	}
	if outcome.Request != nil {
		check(outcome.Request)
	}
	for _, grant := range outcome.Grants {
		check(grant)
	}
}

var staff = []countersign.IdentityID{"idn_a", "idn_b", "idn_c", "idn_d", "idn_e"}

// drawStages draws stages and, for each, the rungs of its ladder.
func drawStages(t *rapid.T) ([]countersign.Stage, map[int][]workflow.Rung) {
	rungs := map[int][]workflow.Rung{}
	var stages []countersign.Stage
	step := 1
	for i := range rapid.IntRange(1, 3).Draw(t, "stages") {
		if i > 0 && rapid.Bool().Draw(t, "next step") {
			step++
		}
		stage := countersign.Stage{Name: fmt.Sprint("stage-", i), Step: step, State: countersign.StageWaiting, Quorums: []countersign.Quorum{{Approvers: []string{"group(x)"}, Need: rapid.IntRange(1, 2).Draw(t, "need")}}}
		if rapid.IntRange(0, 5).Draw(t, "skipped") == 0 {
			stage.State = countersign.StageSkipped
		}
		stages = append(stages, stage)
		for rung := range rapid.IntRange(1, 2).Draw(t, "rungs") {
			var asked []countersign.Asked
			for _, person := range rapid.SliceOfNDistinct(rapid.SampledFrom(staff), 0, len(staff), rapid.ID[countersign.IdentityID]).Draw(t, "asked") {
				asked = append(asked, countersign.Asked{Person: person, Rule: "group(x)"})
			}
			rungs[i] = append(rungs[i], workflow.Rung{Asked: asked, Deadline: start.Add(countersign.Hour * countersign.Seconds(rung+1))})
		}
	}
	return stages, rungs
}

// Whatever is said by whomever in whatever order: the law holds.
func TestEveryHistoryOfARequestKeepsTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		stages, rungs := drawStages(t)
		systems := map[countersign.EntitlementID]countersign.SystemID{"ent_1": "sys_1", "ent_2": "sys_1"}
		verdict := func(roles ...workflow.Role) workflow.RequestVerdict {
			return workflow.RequestVerdict{Standing: workflow.Standing{Roles: roles}, Rungs: rungs, Systems: systems, ShownNow: "sha256:shown"}
		}
		occasion := h.occasion("idn_asker")
		route := workflow.Route{
			Type: "access", Requester: "idn_asker", Beneficiary: "idn_asker", SamePerson: []countersign.IdentityID{"idn_asker"}, Entitlements: []countersign.EntitlementID{"ent_1", "ent_2"},
			Answers: []byte("{}"), Facts: []byte("{}"), Duration: countersign.Day, Stages: stages, Fulfil: []countersign.Step{{Connector: "noop", Action: "apply"}}, CollectBy: start.Add(countersign.Day),
			Evidence: []countersign.Slot{},
		}
		if rapid.Bool().Draw(t, "evidence is owed") {
			route.Evidence = []countersign.Slot{{Name: "ticket", Kind: countersign.TicketEvidence, Due: countersign.DueAtRequest}}
		}
		outcome, err := workflow.SubmitRequest(occasion, route, verdict())
		if err != nil {
			t.Fatal(err)
		}
		h.take(occasion, outcome)
		request, grants := outcome.Request, outcome.Grants
		for range rapid.IntRange(1, 12).Draw(t, "commands") {
			actor, command, roles := countersign.Actor("idn_asker"), workflow.RequestCommand{}, []workflow.Role{workflow.Requester}
			command.Name = rapid.SampledFrom(workflow.RequestCommands).Draw(t, "command")
			switch command.Name {
			case workflow.Approve, workflow.Deny:
				actor = countersign.Actor(rapid.SampledFrom(staff).Draw(t, "who"))
				roles = []workflow.Role{workflow.Approver}
				command.Shown, command.Reason = "sha256:shown", "because"
				if rapid.Bool().Draw(t, "names the stage") {
					command.Stage = rapid.SampledFrom(stages).Draw(t, "stage").Name
				}
			case workflow.Tick:
				actor, roles = countersign.SystemTimer, []workflow.Role{workflow.Timer}
				h.now = h.now.Add(countersign.Seconds(rapid.IntRange(-60, 90).Draw(t, "minutes")) * countersign.Minute)
			case workflow.Progress:
				if len(request.Grants) == 0 {
					continue
				}
				actor, roles = countersign.SystemDelivery, []workflow.Role{workflow.Delivery}
				command.Grant = rapid.SampledFrom(request.Grants).Draw(t, "grant").Grant
				command.GrantState = rapid.SampledFrom(countersign.GrantStates).Draw(t, "state")
			case workflow.Classify, workflow.Prioritise, workflow.Merge, workflow.Decline:
				roles = []workflow.Role{workflow.Operator}
			case workflow.Close:
				actor, roles, command.Reason = "idn_owner", []workflow.Role{workflow.SystemOwner}, "it never came"
			case workflow.Ask:
				actor, roles = countersign.Actor(rapid.SampledFrom(staff).Draw(t, "who")), []workflow.Role{workflow.Approver}
				command.Reason = "what for?"
			case workflow.Answer:
				command.Reason = "for the month"
			case workflow.Attach, workflow.Fetch, workflow.Open:
				command.Slot, command.Evidence = "ticket", countersign.Evidence{ID: "evd_1", Digest: "sha256:e"}
			case workflow.Amend:
				occasion := h.occasion(actor)
				outcome, err := workflow.AmendRequest(occasion, request, amended(t, request), verdict(roles...))
				if err == nil {
					h.take(occasion, outcome)
					request = outcome.Request
					grants = append(grants, outcome.Grants...)
					lawful(t, request, grants)
				} else if countersign.KindOf(err) == countersign.Internal {
					t.Fatalf("amend in %s: %v", request.State, err)
				}
				continue
			case workflow.Review, workflow.Unblock, workflow.Consent, workflow.Cancel, workflow.Revoke, workflow.Rotate, workflow.Retry, workflow.Done, workflow.Refuse, workflow.Check, workflow.Observe, workflow.Park, workflow.Wake,
				workflow.Publish, workflow.Enforce, workflow.Reject, workflow.Withdraw, workflow.Lift:
			}
			before, err := countersign.Canonical(request)
			if err != nil {
				t.Fatal(err)
			}
			occasion := h.occasion(actor)
			outcome, err := workflow.DecideRequest(occasion, request, command, verdict(roles...))
			if after, _ := countersign.Canonical(request); !bytes.Equal(before, after) {
				t.Fatal("a decision changed the state that it was given")
			}
			if err != nil {
				if countersign.KindOf(err) == countersign.Internal {
					t.Fatalf("%s in %s: %v", command.Name, request.State, err)
				}
				continue
			}
			h.take(occasion, outcome)
			if len(outcome.Events) == 0 {
				continue
			}
			wasFinal := request.State.Final()
			request = outcome.Request
			if wasFinal {
				t.Fatalf("%s on a request that had ended", command.Name)
			}
			grants = append(grants, outcome.Grants...)
			lawful(t, request, grants)
			again, err := workflow.DecideRequest(h.occasion(actor), request, command, verdict(roles...))
			said := command.Name == workflow.Approve || command.Name == workflow.Deny || command.Name == workflow.Cancel || command.Name == workflow.Progress
			if len(again.Events) > 0 && said && !(command.Name == workflow.Approve && command.Stage == "") {
				t.Fatalf("%s said twice has a second effect: %v", command.Name, again.Events)
			}
			if err != nil && (command.Name == workflow.Approve && command.Stage != "" || command.Name == workflow.Deny && command.Stage != "" || command.Name == workflow.Cancel) {
				t.Fatalf("%s said twice is answered with %v", command.Name, err)
			}
		}
	})
}

// amended draws what the request could ask for instead.
func amended(t *rapid.T, request *countersign.Request) workflow.Route {
	route := workflow.Route{
		Type: request.Type, Beneficiary: request.Beneficiary, Entitlements: request.Entitlements[:rapid.IntRange(1, len(request.Entitlements)).Draw(t, "entitlements")],
		Reason: request.Reason, Answers: request.Answers, Duration: countersign.Day * countersign.Seconds(rapid.IntRange(1, 2).Draw(t, "days")), Route: "sha256:other",
		Evidence: request.Evidence, Facts: []byte("{}"), CollectBy: start.Add(countersign.Day),
	}
	for _, stage := range request.Stages {
		fresh := countersign.Stage{Name: stage.Name, Step: stage.Step, State: countersign.StageWaiting, Quorums: stage.Quorums}
		if stage.State == countersign.StageSkipped {
			fresh.State = countersign.StageSkipped
		}
		route.Stages = append(route.Stages, fresh)
	}
	return route
}

// lawful checks what must hold of a request in every state.
func lawful(t *rapid.T, request *countersign.Request, grants []*countersign.Grant) {
	open := request.OpenStages()
	switch {
	case (request.State == countersign.RequestDeciding) != (len(open) > 0):
		t.Fatalf("the request is %s with the open stages %v", request.State, open)
	case request.State == countersign.RequestDeciding && workflow.RequestDue(request) == 0, request.State == countersign.RequestCollecting && workflow.RequestDue(request) == 0:
		t.Fatalf("nothing will ever wake a request that is %s", request.State)
	case request.State.Final() && workflow.RequestDue(request) != 0:
		t.Fatal("a request that ended has a timer")
	case request.DecidedAt == 0 && len(grants) > 0:
		t.Fatal("grants before a decision")
	}
	granted := slices.Contains([]countersign.RequestState{countersign.RequestFulfilling, countersign.RequestActive, countersign.RequestClosing, countersign.RequestClosed, countersign.RequestFailed}, request.State)
	if granted != (len(grants) > 0) {
		t.Fatalf("%s with %d grants", request.State, len(grants))
	}
	for i := range request.Stages {
		stage := &request.Stages[i]
		need, _ := workflow.StillNeeded(stage)
		people := map[countersign.IdentityID]bool{}
		for _, decision := range stage.Decisions {
			if people[decision.By] {
				t.Fatalf("%s decided the stage %s twice", decision.By, stage.Name)
			}
			people[decision.By] = true
		}
		switch {
		case granted && stage.State != countersign.StagePassed && stage.State != countersign.StageSkipped:
			t.Fatalf("granted while the stage %s is %s", stage.Name, stage.State)
		case stage.State == countersign.StagePassed && need != 0:
			t.Fatalf("the stage %s passed with %d approvals missing", stage.Name, need)
		case stage.State == countersign.StageOpen && (need == 0 || stage.Deadline == 0):
			t.Fatalf("the stage %s is open, %d are missing, until %s", stage.Name, need, stage.Deadline)
		}
		for _, index := range open {
			if request.Stages[index].Step > stage.Step && stage.State != countersign.StagePassed && stage.State != countersign.StageSkipped {
				t.Fatalf("the stage %s is open and the earlier %s is %s", request.Stages[index].Name, stage.Name, stage.State)
			}
		}
	}
}

// target is what a grant's connector would find, with writes that come late.
type target map[countersign.CredentialID]bool

// Whatever happens in whatever order: live and gone are what was read back.
func TestEveryHistoryOfAGrantKeepsTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, holds := newHistory(t), target{}
		occasion := h.occasion(countersign.SystemHost)
		outcome, err := workflow.OpenUnasked(occasion, workflow.UnaskedGrant{Origin: countersign.FromGenesis, Holder: "idn_h", Entitlement: "ent_1", System: "sys_1", Step: countersign.Step{Connector: "noop", Action: "apply"}, Duration: countersign.Day})
		if err != nil {
			t.Fatal(err)
		}
		h.take(occasion, outcome)
		grant, flight := outcome.Grants[0], workflow.Flight{}
		decide := func(actor countersign.Actor, role workflow.Role, command workflow.GrantCommand, verdict workflow.GrantVerdict) {
			verdict.Standing = workflow.Standing{Actor: actor, Roles: []workflow.Role{role}}
			verdict.Flight, verdict.Lease, verdict.Rotates = flight, countersign.Minute, true
			occasion := h.occasion(actor)
			outcome, err := workflow.DecideGrant(occasion, grant, command, verdict)
			if countersign.KindOf(err) == countersign.Internal {
				t.Fatalf("%s in %s: %v", command.Name, grant.State, err)
			}
			if err != nil || len(outcome.Events) == 0 {
				return
			}
			h.take(occasion, outcome)
			var was countersign.IntentID
			if grant.Intent != nil {
				was = grant.Intent.ID
			}
			grant = outcome.Grants[0]
			if grant.Intent == nil || grant.Intent.ID != was {
				flight = workflow.Flight{}
			}
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1, 2: // the connector works, and its report may get lost
				if grant.Intent == nil || grant.Parked != nil {
					continue
				}
				h.now = max(h.now, grant.Intent.NotBefore)
				flight = workflow.Flight{Claimed: true, LeaseUntil: h.now.Add(countersign.Minute)}
				present := grant.Intent.Operation == countersign.ApplyOperation
				if present {
					holds[grant.Intent.Credential] = true
				} else {
					delete(holds, grant.Intent.Credential)
				}
				if rapid.IntRange(0, 3).Draw(t, "report is lost") == 0 {
					continue
				}
				until := workflow.ClaimedUntil(grant, h.now)
				decide(countersign.SystemDelivery, workflow.Delivery, workflow.GrantCommand{
					Name: workflow.Observe, Intent: grant.Intent.ID, Until: until,
					Observation: countersign.Observation{Present: present, At: h.now, Credential: grant.Intent.Credential, By: "test"},
				}, workflow.GrantVerdict{})
			case 3: // a report about something that is over
				decide(countersign.SystemDelivery, workflow.Delivery, workflow.GrantCommand{Name: workflow.Observe, Intent: "int_old", Observation: countersign.Observation{Present: true}}, workflow.GrantVerdict{})
			case 4:
				decide("idn_h", workflow.Beneficiary, workflow.GrantCommand{Name: workflow.Revoke, Reason: "enough"}, workflow.GrantVerdict{})
			case 5:
				decide("idn_h", workflow.Beneficiary, workflow.GrantCommand{Name: workflow.Rotate, Overlap: countersign.Hour}, workflow.GrantVerdict{})
			case 6:
				h.now = h.now.Add(countersign.Seconds(rapid.IntRange(-1, 13).Draw(t, "hours")) * countersign.Hour)
				decide(countersign.SystemTimer, workflow.Timer, workflow.GrantCommand{Name: workflow.Wake}, workflow.GrantVerdict{})
			case 7:
				if grant.Intent != nil {
					decide(countersign.SystemDelivery, workflow.Delivery, workflow.GrantCommand{Name: workflow.Park, Intent: grant.Intent.ID, Person: "idn_o"}, workflow.GrantVerdict{})
					if rapid.Bool().Draw(t, "retried") {
						decide("idn_o", workflow.SystemOwner, workflow.GrantCommand{Name: workflow.Retry}, workflow.GrantVerdict{})
					}
				}
			case 8: // the holder moves, and back
				before := grant.Until
				if grant.Lapsing != nil {
					before = grant.Lapsing.Was
				}
				verdict := workflow.GrantVerdict{Keep: rapid.Bool().Draw(t, "moves back")}
				if !verdict.Keep {
					verdict.Lapse = &workflow.Lapse{Cause: workflow.CauseMoved, Reason: "another team", Until: h.now.Add(5 * countersign.Hour)}
				}
				decide(countersign.SystemTimer, workflow.Timer, workflow.GrantCommand{Name: workflow.Wake}, verdict)
				if grant.State == countersign.GrantLive && (grant.Until > before || grant.Lapsing == nil && grant.Until != before) {
					t.Fatalf("a move brought the end from %s to %s", before, grant.Until)
				}
			}
			switch {
			case grant.State.Ended() && len(holds) > 0:
				t.Fatalf("the grant is %s and the target holds %v", grant.State, holds)
			case grant.State.Ended() && (grant.Intent != nil || len(grant.Queue) > 0 || workflow.GrantDue(grant, 0, 0, 0) != 0):
				t.Fatalf("an ended grant has work to do: %+v", grant)
			case !grant.State.Ended() && grant.State != countersign.GrantLive && grant.Intent == nil:
				t.Fatalf("nothing moves a grant that is %s", grant.State)
			case grant.State == countersign.GrantLive && (grant.Until == 0 || workflow.GrantDue(grant, 0, 0, 0) > grant.Until || workflow.GrantDue(grant, 0, 0, 0) == 0):
				t.Fatalf("a live grant until %s is looked at %s", grant.Until, workflow.GrantDue(grant, 0, 0, 0))
			case grant.Parked != nil && grant.Intent.Operation != countersign.ApplyOperation:
				t.Fatal("a revoke is parked")
			}
		}
	})
}

func TestGrantsAreDueWhenTimeNextMatters(t *testing.T) {
	at := func(hours countersign.Seconds) countersign.Instant { return start.Add(hours * countersign.Hour) }
	unused := countersign.GrantTerms{EndsWhen: []countersign.EndCondition{{Kind: countersign.Unused, Within: 5 * countersign.Hour}}}
	live := countersign.Grant{State: countersign.GrantLive, From: at(0), Until: at(10)}
	with := func(change func(*countersign.Grant)) countersign.Grant {
		grant := live
		change(&grant)
		return grant
	}
	for _, test := range []struct {
		name            string
		grant           countersign.Grant
		lastUsed, again countersign.Instant
		want            countersign.Instant
	}{
		{"its end", live, 0, 0, at(10)},
		{"the reminder first", with(func(g *countersign.Grant) { g.Terms.Remind = 2 * countersign.Hour }), 0, 0, at(8)},
		{"reminded once", with(func(g *countersign.Grant) { g.Terms.Remind, g.Reminded = 2*countersign.Hour, true }), 0, 0, at(10)},
		{"not reminded at its very beginning", with(func(g *countersign.Grant) { g.Terms.Remind = 20 * countersign.Hour }), 0, 0, start.Add(1)},
		{"the end of an overlap", with(func(g *countersign.Grant) {
			g.Credentials = []countersign.Credential{{State: countersign.CredentialLive, RetireAt: at(3)}, {State: countersign.CredentialGone, RetireAt: at(1)}}
		}), 0, 0, at(3)},
		{"unused since its beginning", with(func(g *countersign.Grant) { g.Terms = unused }), 0, 0, at(5)},
		{"unused since its last use", with(func(g *countersign.Grant) { g.Terms = unused }), at(2), 0, at(7)},
		{"to ask again", with(func(g *countersign.Grant) { g.Terms = unused }), 0, at(6), at(6)},
		{"its end before asking again", with(func(g *countersign.Grant) { g.Terms = unused }), 0, at(11), at(10)},
		{"the latest end while it is set up", countersign.Grant{State: countersign.GrantProvisioning, LatestEnd: at(4)}, 0, 0, at(4)},
		{"never while it ends", with(func(g *countersign.Grant) { g.State = countersign.GrantRevoking }), 0, 0, 0},
		{"never when it has ended", with(func(g *countersign.Grant) { g.State = countersign.GrantGone }), 0, 0, 0},
	} {
		if got := workflow.GrantDue(&test.grant, test.lastUsed, test.again, test.again); got != test.want {
			t.Errorf("%s: due %s, want %s", test.name, got, test.want)
		}
	}
}

func TestTheEndOfACredentialIsFixedAtItsClaim(t *testing.T) {
	for _, test := range []struct {
		name  string
		grant countersign.Grant
		want  countersign.Instant
	}{
		{"the claim and the duration", countersign.Grant{Duration: countersign.Day}, start.Add(countersign.Day)},
		{"never beyond the latest end", countersign.Grant{Duration: countersign.Day, LatestEnd: start.Add(countersign.Hour)}, start.Add(countersign.Hour)},
		{"the latest end alone", countersign.Grant{LatestEnd: start.Add(countersign.Hour)}, start.Add(countersign.Hour)},
		{"a later credential ends with its grant", countersign.Grant{Duration: countersign.Day, Until: start.Add(countersign.Minute)}, start.Add(countersign.Minute)},
	} {
		if got := workflow.ClaimedUntil(&test.grant, start); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
