package house_test

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

// byHand gives somebody a right on the ledger's books behind the house's back.
func (w *world) byHand(login, entitlement string) connector.Task {
	w.t.Helper()
	ledger, _ := w.systemID("ledger")
	seed := sha256.Sum256([]byte(login + " " + entitlement))
	task := connector.Task{
		Credential: countersign.NewMint(seed, countersign.InstantOf(w.clock.Now())).Credential(), Holder: w.as(login).Identity,
		System: ledger, SystemName: "ledger", Resource: "books", Entitlement: entitlement,
	}
	w.target.Put(task)
	return task
}

func (w *world) proposeBaseline(who string, lasts countersign.Seconds) (countersign.ProposalID, error) {
	return w.house.Desk.ProposeBaseline(w.ctx, w.as(who), desk.Key{}, "ledger", lasts, "what was there before the house")
}

// baseline proposes and signs a baseline of the ledger, and has it adopted.
func (w *world) baseline() countersign.ProposalID {
	w.t.Helper()
	w.read()
	id, err := w.proposeBaseline("otto", 0)
	w.must(err)
	w.must(w.publish("pit", id))
	w.read()
	return id
}

// legacy are the grants on the ledger that a baseline adopted, by holder and right.
func (w *world) legacy() map[string]*countersign.Grant {
	w.t.Helper()
	ledger, _ := w.systemID("ledger")
	grants, err := w.house.Store.Grants(w.ctx, store.GrantQuery{System: ledger})
	w.must(err)
	found := map[string]*countersign.Grant{}
	for _, grant := range grants {
		if grant.Adopted != nil {
			view, err := w.house.Desk.Grant(w.ctx, w.as("otto"), grant.ID)
			w.must(err)
			found[view.Holder.Login+" "+view.Entitlement.Name] = grant
		}
	}
	return found
}

// What was answered once is answered the same, also when the baseline stands by then.
func TestABaselineThatIsProposedAgainUnderItsKeyIsTheSame(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.byHand("ana", "write")
	w.read()
	propose := func() (countersign.ProposalID, error) {
		return w.house.Desk.ProposeBaseline(w.ctx, w.as("otto"), desk.Key{Route: "baseline", Value: "key-1", Body: "sha256:same"}, "ledger", 0, "what was there before the house")
	}
	id, err := propose()
	w.must(err)
	w.must(w.publish("pit", id))
	w.read()
	if again, err := propose(); err != nil || again != id {
		t.Errorf("it is %s, and then %s, %v", id, again, err)
	}
}

func (w *world) proven() *desk.ClaimView {
	w.t.Helper()
	view, err := w.house.Desk.Claim(w.ctx, w.as("aud"))
	w.must(err)
	return view
}

func TestABaselineIsSignedByASecondPersonAndAdoptsWhatWasShownAndIsThereStill(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		ana, syd, gone := w.byHand("ana", "write"), w.byHand("syd", "write"), w.byHand("max", "read")
		w.byHand("cora", "nothing-known")
		_, err := w.proposeBaseline("otto", 0)
		w.refused(err, "never-read")
		w.read()
		for who, reason := range map[string]string{"ana": "no-such-system", "aud": "not-the-owner"} {
			_, err := w.proposeBaseline(who, 0)
			w.refused(err, reason)
		}
		_, err = w.proposeBaseline("otto", 181*countersign.Day)
		w.refused(err, "malformed-duration")
		id, err := w.proposeBaseline("otto", 0)
		w.must(err)
		view := w.proposal("pit", id)
		told := strings.Join(view.Changes, "\n")
		for _, want := range []string{"0 account(s) and 4 pair(s), of which live grants give 0", "adopts 3 pair(s) of 3 holder(s) as legacy, for 90d", "nobody approved them", "leaves 1 pair(s) as findings: the catalogue has no such entitlement", "ledger/books/write: 2 holder(s)"} {
			if !strings.Contains(told, want) {
				t.Errorf("the second person is not told %q:\n%s", want, told)
			}
		}
		pairs, parts, err := w.house.Desk.BaselinePairs(w.ctx, w.as("pit"), id, 0)
		w.must(err)
		if len(pairs) != 4 || parts != 1 {
			t.Fatalf("the list is %+v in %d parts", pairs, parts)
		}
		_, _, err = w.house.Desk.BaselinePairs(w.ctx, w.as("ana"), id, 0)
		w.refused(err, "no-such-proposal")
		w.refused(w.publish("otto", id), "separation-of-duties")
		w.refused(w.house.Desk.Publish(w.ctx, w.as("pit"), desk.Key{}, id, desk.ProposalDecision{Shown: "sha256:other"}), "shown-has-changed")
		other, err := w.proposeBaseline("adam", countersign.Day)
		w.must(err)
		// What changed since it was shown is not adopted.
		w.must(w.target.Revoke(w.ctx, gone))
		w.byHand("sam", "read")
		w.must(w.publish("pit", id))
		w.refused(w.publish("alma", other), "cannot-be-published")
		w.read()
		signed := countersign.InstantOf(w.clock.Now())
		legacy := w.legacy()
		if len(legacy) != 2 {
			t.Fatalf("adopted: %v", legacy)
		}
		for who, task := range map[string]connector.Task{"ana": ana, "syd": syd} {
			grant := legacy[who+" ledger/books/write"]
			if grant == nil || grant.State != countersign.GrantLive || grant.Origin != "legacy" || grant.Request != "" || grant.From != signed || grant.Until != signed.Add(90*countersign.Day) ||
				grant.Adopted.Baseline != id || !w.target.Holds(task.Credential) {
				t.Fatalf("the grant of %s is %+v", who, grant)
			}
		}
		w.expectOpen("the rest stays", "out-of-band cora books/nothing-known", "out-of-band sam books/read")
		standing := w.standing("otto", "ledger")
		if b := standing.Baseline; b == nil || b.SignedBy != w.as("pit").Identity || b.ProposedBy != w.as("otto").Identity || b.Adopted != 2 || b.Left != 1 || b.Pending() || standing.Last.Ours != 2 || standing.Last.Legacy != 2 {
			t.Fatalf("the system stands at %+v %+v", standing.Baseline, standing.Last)
		}
		_, err = w.proposeBaseline("otto", 0)
		w.refused(err, "baseline-signed")
		w.reread("ledger")
		w.expectOpen("and the next list says the same", "out-of-band cora books/nothing-known", "out-of-band sam books/read")
		w.verified()
	})
}

func TestLegacyIsCountedByItselfAndWorkedOff(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		tasks := map[string]connector.Task{}
		for _, who := range []string{"ana", "syd", "max"} {
			tasks[who] = w.byHand(who, "write")
		}
		w.baseline()
		claim := w.proven()
		if claim.Verdict != desk.DoesNotHold || claim.Legacy != (desk.LegacyCount{Adopted: 3, Left: 3}) || !strings.Contains(strings.Join(claim.Because, "\n"), "3 live grant(s) are legacy") {
			t.Fatalf("the claim is %+v", claim)
		}
		legacy := w.legacy()
		// A later end takes a request and its approval; then it counts as approved.
		anas := legacy["ana ledger/books/write"]
		w.refused(w.rotate("ana", anas.ID), "cannot-rotate")
		asked := extension(anas.ID, 20*countersign.Day)
		asked.Entitlements = []string{"ledger/books/write"}
		id := w.submit("ana", asked)
		if effects := w.view(id).Effects; len(effects) != 1 || !strings.Contains(effects[0], "Nobody approved it before") {
			t.Fatalf("the approver is shown %v", effects)
		}
		w.must(w.approve("max", id))
		w.settle()
		w.state(id, countersign.RequestClosed)
		converted := w.stored(anas.ID)
		if converted.Origin != countersign.FromRequest || converted.Request != id || converted.Requester != w.as("ana").Identity || converted.Until != countersign.InstantOf(w.clock.Now()).Add(20*countersign.Day) {
			t.Fatalf("the approved grant is %+v", converted)
		}
		// An end takes the right away, and the target is read back.
		w.must(w.revocation("max", legacy["max ledger/books/write"].ID)())
		w.settle()
		if w.target.Holds(tasks["max"].Credential) || w.stored(legacy["max ledger/books/write"].ID).State != countersign.GrantGone {
			t.Fatal("a revoke should take away what was adopted")
		}
		w.reread("ledger")
		w.expectOpen("nothing differs")
		if claim := w.proven(); claim.Legacy != (desk.LegacyCount{Adopted: 3, Left: 1, WorkedOff: 2}) {
			t.Fatalf("the claim is %+v", claim)
		}
		w.pass(21 * 24 * time.Hour)
		if w.target.Holds(tasks["ana"].Credential) || !w.target.Holds(tasks["syd"].Credential) {
			t.Fatal("the approved end has passed, and that of the baseline has not")
		}
		w.pass(70 * 24 * time.Hour)
		if w.target.Holds(tasks["syd"].Credential) {
			t.Fatal("what was adopted outlives its end")
		}
		w.verified()
	})
}

func TestABaselineThatWasCutOffGoesOnWhereItStopped(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	ledger, _ := w.systemID("ledger")
	mint := countersign.NewMint([32]byte{8}, countersign.InstantOf(w.clock.Now()))
	// Three parts, the first two of accounts that are nobody's.
	for range 1100 {
		w.target.Put(connector.Task{Credential: mint.Credential(), Holder: mint.Identity(), System: ledger, Resource: "books", Entitlement: "read"})
	}
	for _, who := range []string{"ana", "syd", "max"} {
		w.byHand(who, "write")
	}
	w.read()
	id, err := w.proposeBaseline("otto", 0)
	w.must(err)
	w.must(w.publish("pit", id))
	ctx, die := context.WithCancel(w.ctx)
	w.before(func() { w.before(die) })
	if _, err := w.house.Engine.Reconcile(ctx); err == nil {
		t.Fatal("the process died, and the step says that it did not")
	}
	if b := w.standing("otto", "ledger").Baseline; b.Done != 1 || !b.Pending() {
		t.Fatalf("the baseline stands at %+v", b)
	}
	if !slices.ContainsFunc(w.proven().Because, func(why string) bool { return strings.Contains(why, "the baseline of ledger is not adopted whole yet") }) {
		t.Fatalf("the claim is %+v", w.proven())
	}
	w.restart()
	w.pass(11 * time.Minute)
	w.read()
	if b := w.standing("otto", "ledger").Baseline; b.Pending() || b.Adopted != 3 || len(w.legacy()) != 3 {
		t.Fatalf("the baseline stands at %+v", b)
	}
	w.verified()
}

// listsOnly is a target that takes nothing away that others gave.
type listsOnly struct {
	connector.Connector
	target *noop.Connector
}

func (l listsOnly) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return l.target.List(ctx, of, found)
}

func TestWhatTheConnectorCannotTakeAwayIsTakenByHandAndSeenToBeGone(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	byHand := w.byHand("ana", "write")
	w.house.Desk.Connectors["noop"] = listsOnly{w.target, w.target}
	w.house.Engine.Connectors["noop"] = listsOnly{w.target, w.target}
	id := w.baseline()
	if told := strings.Join(w.proposal("pit", id).Changes, "\n"); told != "" {
		t.Fatalf("a decided baseline changes %s", told)
	}
	grant := w.legacy()["ana ledger/books/write"]
	w.must(w.revocation("otto", grant.ID)())
	w.settle()
	if got := w.stored(grant.ID); got.State != countersign.GrantRevoking || !w.target.Holds(byHand.Credential) {
		t.Fatalf("the grant is %s", got.State)
	}
	work, err := w.house.Store.Work(w.ctx, string(w.stored(grant.ID).Intent.ID))
	w.must(err)
	if !strings.Contains(work.Trouble, "by hand") || work.DueAt.Time().Sub(w.clock.Now()) < 30*time.Minute {
		t.Fatalf("the work is %+v", work)
	}
	w.must(w.target.Revoke(w.ctx, byHand))
	w.pass(2 * time.Hour)
	if got := w.stored(grant.ID); got.State != countersign.GrantGone {
		t.Fatalf("it was taken away by hand, and the grant is %s", got.State)
	}
	w.verified()
}

// A baseline that was signed while the target is read is adopted by the next reading,
// which follows at once.
func TestABaselineSignedWhileTheTargetIsReadIsNotForgotten(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.byHand("ana", "write")
	w.read()
	id, err := w.proposeBaseline("otto", 0)
	w.must(err)
	w.house.Desk.Connectors["noop"] = &meanwhile{Connector: w.target, after: func() {
		w.house.Desk.Connectors["noop"] = w.target
		w.must(w.publish("pit", id))
	}}
	w.reread("ledger")
	if len(w.legacy()) != 1 {
		t.Fatalf("adopted: %v", w.legacy())
	}
	w.verified()
}

// What changed while the target was read is adopted no more than what changed before.
func TestWhatMayNotBeHeldAnyMoreIsNotAdopted(t *testing.T) {
	for name, test := range map[string]struct {
		edit    []string
		adopted []string
	}{
		"the holder has left":          {[]string{"{login: ana, name: Ana Asker,", "{login: ana, name: Ana Asker, status: departed,"}, []string{"syd ledger/books/write"}},
		"it is for break-glass by now": {[]string{"{name: write, kind: credential, risk: high}", "{name: write, kind: credential, risk: high, eligible_for: read}"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			everyDatabase(t, func(t *testing.T, open database) {
				w := found(t, open, policyFor(managerStage, ""))
				w.byHand("ana", "write")
				w.byHand("syd", "write")
				w.read()
				id, err := w.proposeBaseline("otto", 0)
				w.must(err)
				w.must(w.publish("pit", id))
				w.house.Desk.Connectors["noop"] = &meanwhile{Connector: w.target, after: func() {
					w.house.Desk.Connectors["noop"] = w.target
					w.together(test.edit...)
				}}
				w.read()
				if adopted := slices.Sorted(maps.Keys(w.legacy())); !slices.Equal(adopted, test.adopted) {
					t.Errorf("adopted: %v", adopted)
				}
				if b := w.standing("otto", "ledger").Baseline; b.Adopted != len(test.adopted) || b.Left != 2-len(test.adopted) || b.Pending() {
					t.Errorf("the baseline stands at %+v", b)
				}
				w.verified()
			})
		})
	}
}
