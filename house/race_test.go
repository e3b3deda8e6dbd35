package house_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// rounds is how often each race is run; every round begins with a new request.
const rounds = 16

// verifiedNowAndThen checks the whole record, which grows, after every few rounds
// and after the last.
func (w *world) verifiedNowAndThen(round int) {
	w.t.Helper()
	if round%8 == 0 || round == rounds-1 {
		w.verified()
	}
}

// ended revokes what a round left live and lets the target be read back.
func (w *world) ended(id countersign.RequestID) {
	w.t.Helper()
	w.settle()
	for _, grant := range w.view(id).Grants {
		if grant.State == countersign.GrantLive {
			w.must(w.revocation("ana", grant.ID)())
		}
	}
	w.settle()
	if w.holds(id) {
		w.t.Fatal("the target holds what has ended")
	}
}

func TestApproveAndDenyAtTheSameInstantExactlyOneCounts(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(`- {name: security, approvers: [group(security)]}`, ""))
		won := map[string]int{}
		for round := range rounds {
			id := w.submit("ana", asking())
			answers := race(w.approval("syd", id), w.denial("sam", id))
			if (answers[0] == nil) == (answers[1] == nil) {
				t.Fatalf("round %d: approve says %v, deny says %v", round, answers[0], answers[1])
			}
			if answers[0] == nil {
				won["approve"]++
				w.refused(answers[1], "already-decided")
				w.settle()
				w.state(id, countersign.RequestActive)
				if !w.holds(id) {
					t.Fatal("approved, and the target holds nothing")
				}
			} else {
				won["deny"]++
				w.refused(answers[0], "already-denied")
				w.settle()
				if view := w.state(id, countersign.RequestDenied); len(view.Grants) != 0 {
					t.Fatal("a denied request has a grant")
				}
			}
			w.ended(id)
			w.verifiedNowAndThen(round)
		}
		t.Logf("who was first: %v", won)
		if want := 2 * won["approve"]; w.target.Total() != want {
			t.Errorf("%d effects on the target, want %d: one apply and one revoke for each approval", w.target.Total(), want)
		}
	})
}

func TestApproveAndCancelAtTheSameInstantExactlyOneCounts(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		approved := 0
		for round := range rounds {
			id := w.submit("ana", asking())
			answers := race(w.approval("max", id), w.cancellation("ana", id))
			switch {
			case answers[0] == nil && answers[1] == nil || answers[0] != nil && answers[1] != nil:
				t.Fatalf("round %d: approve says %v, cancel says %v", round, answers[0], answers[1])
			case answers[0] == nil:
				approved++
				w.refused(answers[1], "already-approved")
				w.settle()
				w.state(id, countersign.RequestActive)
			default:
				w.refused(answers[0], "already-cancelled")
				w.settle()
				w.state(id, countersign.RequestCancelled)
			}
			w.ended(id)
			w.verifiedNowAndThen(round)
		}
		if w.target.Total() != 2*approved {
			t.Errorf("%d effects for %d approvals", w.target.Total(), approved)
		}
	})
}

func TestEightIdenticalSubmissionsAtOnceAreOneRequest(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		caller := w.as("ana")
		for round := range rounds / 3 {
			for _, key := range []desk.Key{{}, {Route: "POST /requests", Value: fmt.Sprint("key-", round), Body: "sha256:1"}} {
				runs, ids := make([]func() error, 8), make([]countersign.RequestID, 8)
				for i := range runs {
					runs[i] = func() error {
						var err error
						ids[i], err = w.house.Desk.Submit(w.ctx, caller, key, asking())
						return err
					}
				}
				answers := race(runs...)
				var id countersign.RequestID
				for i, err := range answers {
					if err == nil && id != "" && ids[i] != id {
						t.Fatalf("two requests were opened: %s and %s", id, ids[i])
					}
					if err == nil {
						id = ids[i]
					}
				}
				for _, err := range answers {
					if err != nil && (key.Value != "" || countersign.ReasonOf(err) != "duplicate-request" || !strings.Contains(err.Error(), string(id))) {
						t.Fatalf("with the key %q the answer is %v, and the request is %s", key.Value, err, id)
					}
				}
				open, err := w.house.Store.Requests(w.ctx, store.RequestQuery{Holder: caller.Identity, States: []countersign.RequestState{countersign.RequestDeciding}, Limit: 10})
				w.must(err)
				if len(open) != 1 || open[0].ID != id {
					t.Fatalf("%d requests are open", len(open))
				}
				w.must(w.cancellation("ana", id)())
			}
			w.verified()
		}
	})
}

func TestALimitOnOpenRequestsHoldsAlsoAtTheSameInstant(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, strings.Replace(policyFor(managerStage, ""), "open_per_holder: 5", "open_per_holder: 1", 1))
		caller := w.as("ana")
		for range rounds {
			var runs []func() error
			for _, right := range []string{"read", "write", "brief"} {
				wanted := asking()
				wanted.Entitlements = []string{"ledger/books/" + right}
				runs = append(runs, func() error {
					_, err := w.house.Desk.Submit(w.ctx, caller, desk.Key{}, wanted)
					return err
				})
			}
			for _, err := range race(runs...) {
				if err != nil {
					w.refused(err, "too-many-open")
				}
			}
			open, err := w.house.Store.Requests(w.ctx, store.RequestQuery{Holder: caller.Identity, States: []countersign.RequestState{countersign.RequestDeciding}, Limit: 10})
			w.must(err)
			if len(open) != 1 {
				t.Fatalf("%d requests are open, and one is allowed", len(open))
			}
			w.must(w.cancellation("ana", open[0].ID)())
		}
		w.verified()
	})
}

func TestManyWhoWriteTheSameAtTheSameInstantAllGetThrough(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, strings.Replace(policyFor(managerStage, ""), "open_per_holder: 5", "open_per_holder: 50", 1))
		caller := w.as("ana")
		tokens, descriptions := make([]func() error, 24), make([]func() error, 24)
		for i := range tokens {
			tokens[i] = func() error {
				_, _, err := w.house.Auth.Issue(w.ctx, auth.Order{Identity: caller.Identity, Scopes: []auth.Scope{auth.Read}, Duration: countersign.Hour, OperatingSystemUser: "root"})
				return err
			}
			descriptions[i] = func() error {
				_, err := w.house.Desk.Describe(w.ctx, caller, desk.Key{}, desk.Describing{Text: fmt.Sprint("I have to look at the books of month ", i)})
				return err
			}
		}
		for _, err := range append(race(tokens...), race(descriptions...)...) {
			w.must(err)
		}
		w.verified()
	})
}

func TestADecisionSentTwiceHasOneEffectAndTheSameAnswer(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		max := w.as("max")
		for round := range rounds / 3 {
			id := w.submit("ana", asking())
			decision := desk.Decision{Shown: w.shown(id)}
			key := desk.Key{Route: "POST /approve", Value: fmt.Sprint("key-", round), Body: "sha256:1"}
			send := func() error { return w.house.Desk.Approve(w.ctx, max, key, id, decision) }
			for _, err := range race(send, send, send) {
				w.must(err)
			}
			w.must(send())
			w.must(w.house.Desk.Approve(w.ctx, max, desk.Key{}, id, decision))
			other := key
			other.Body = "sha256:2"
			w.refused(w.house.Desk.Approve(w.ctx, max, other, id, decision), "idempotency-key-reused")
			w.settle()
			view := w.state(id, countersign.RequestActive)
			if len(view.Stages[0].Decisions) != 1 || len(view.Grants) != 1 || w.target.Total() != 2*round+1 {
				t.Fatalf("%d decisions, %d grants, %d effects", len(view.Stages[0].Decisions), len(view.Grants), w.target.Total())
			}
			w.ended(id)
		}
		w.verified()
	})
}

func TestTheSameKeyWithAnotherBodyIsRefusedAtSubmit(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	key := desk.Key{Route: "POST /requests", Value: "k", Body: "sha256:1"}
	first, err := w.house.Desk.Submit(w.ctx, w.as("ana"), key, asking())
	w.must(err)
	again, err := w.house.Desk.Submit(w.ctx, w.as("ana"), key, asking())
	w.must(err)
	if again != first {
		t.Errorf("the same key gave %s, then %s", first, again)
	}
	key.Body = "sha256:2"
	_, err = w.house.Desk.Submit(w.ctx, w.as("ana"), key, asking())
	w.refused(err, "idempotency-key-reused")
	// Keys belong to their caller.
	_, err = w.house.Desk.Submit(w.ctx, w.as("olga"), key, desk.Asking{Entitlements: []string{"ledger/books/read"}, Reason: "the books of the month are due"})
	w.must(err)
}

func TestExpiryAndAManualRevokeAtTheSameInstantAreOneRevoke(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		for round := range rounds {
			short := asking()
			short.Duration = countersign.Hour
			id := w.submit("ana", short)
			w.must(w.approve("max", id))
			w.settle()
			grant := w.grant(id)
			before := w.target.Total()
			w.move(time.Hour)
			answers := race(w.revocation("ana", grant.ID), func() error {
				_, err := w.house.Engine.Timers(w.ctx)
				return err
			})
			w.must(answers[1])
			if answers[0] != nil {
				w.refused(answers[0], "already-ending")
			}
			w.settle()
			w.state(id, countersign.RequestClosed)
			endings := 0
			events, err := w.house.Store.Events(w.ctx, countersign.Stream(grant.ID), 0, 100)
			w.must(err)
			for _, event := range events {
				if event.Header.Kind == "grant.ending@1" {
					endings++
				}
			}
			if endings != 1 || w.target.Total() != before+1 || w.holds(id) {
				t.Fatalf("%d endings, %d effects, the target holds it: %v", endings, w.target.Total()-before, w.holds(id))
			}
			w.verifiedNowAndThen(round)
		}
	})
}

// Whichever comes first, no approval that relied on a membership, or on somebody
// active, is committed after that was taken away.
func TestAnApprovalAndTheEndOfItsStandingAtTheSameInstant(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		const people = 18
		var names, lines []string
		for i := range people {
			names = append(names, fmt.Sprintf("r%02d", i))
			lines = append(lines, fmt.Sprintf("  - {login: r%02d, name: Reviewer %02d, manager: bea}\n", i, i))
		}
		w := empty(t, open)
		w.edit("services:\n", strings.Join(lines, "")+"services:\n",
			"{name: nobody, members: []}", "{name: nobody, members: []}\n  - {name: crowd, members: [syd], groups: [inner]}\n  - {name: inner, members: ["+strings.Join(names, ", ")+", syd]}")
		w.must(w.found(policyFor(`- {name: crowd, approvers: [group(crowd)]}`, "")))
		w.settle()
		won := 0
		for i, name := range names {
			id := w.submit("ana", asking())
			adam := w.as("adam")
			switch i % 3 {
			case 0:
				w.edit(name+", r", "r")
			case 1:
				w.edit("{login: "+name+",", "{login: "+name+", status: suspended,")
			case 2:
				w.edit("{login: "+name+",", "{login: "+name+", status: departed,")
			}
			files := w.files()
			answers := race(w.approval(name, id), func() error {
				_, err := w.house.Desk.ApplyDirectory(w.ctx, adam, files)
				return err
			})
			w.must(answers[1])
			known, err := w.house.Store.Directory(w.ctx, 0)
			w.must(err)
			if answers[0] == nil {
				won++
				events, err := w.house.Store.Events(w.ctx, countersign.Stream(id), 0, 100)
				w.must(err)
				if by := events[len(events)-1].Header.DirectoryRevision; by != known.Revision-1 {
					t.Errorf("round %d: approved by the directory %d, and the removal made %d", i, by, known.Revision)
				}
			} else {
				w.refused(answers[0], "no-such-request")
				w.state(id, countersign.RequestDeciding)
				w.must(w.deny("syd", id))
			}
			w.settle()
			if i%3 != 0 && w.holds(id) {
				t.Fatal("it was carried out by the word of somebody who is not active")
			}
			w.ended(id)
			// An end that cannot know what an attempt left looks twice.
			for !w.view(id).State.Final() {
				w.pass(time.Minute)
			}
		}
		t.Logf("the approval was first in %d of %d rounds", won, people)
		w.verified()
	})
}

func TestTwoApprovalsThatRelyOnOneHolderAtTheSameInstantBothLookAgain(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		for range rounds / 2 {
			var ids []countersign.RequestID
			for _, right := range []string{"read", "write"} {
				wanted := asking()
				wanted.Entitlements = []string{"ledger/books/" + right}
				ids = append(ids, w.submit("ana", wanted))
			}
			guard := store.GuardHolder(w.as("ana").Identity)
			before, err := w.house.Store.Guards(w.ctx, []string{guard})
			w.must(err)
			for _, err := range race(w.approval("max", ids[0]), w.approval("max", ids[1])) {
				w.must(err)
			}
			after, err := w.house.Store.Guards(w.ctx, []string{guard})
			w.must(err)
			if after[guard] != before[guard]+2 {
				t.Fatalf("the holder's guard moved from %d to %d", before[guard], after[guard])
			}
			for _, id := range ids {
				w.ended(id)
			}
		}
		w.verified()
	})
}
