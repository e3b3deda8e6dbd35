package house_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/store"
)

// enough is how long a test waits for what should happen within a few beats.
const enough = 20 * time.Second

// gated is a target whose writes tell that they began and wait to be let on, and
// that does not answer when its keys were used.
type gated struct {
	*noop.Connector
	began, goOn chan struct{}
}

func newGated(w *world) gated {
	g := gated{w.target, make(chan struct{}, 100), make(chan struct{})}
	w.house.Engine.Connectors["noop"] = g
	return g
}

func (g gated) Apply(ctx context.Context, task connector.Task) error {
	g.began <- struct{}{}
	<-g.goOn
	if err := ctx.Err(); err != nil {
		return err
	}
	return g.Connector.Apply(ctx, task)
}

func (g gated) LastUsed(context.Context, countersign.CredentialID) (countersign.Instant, error) {
	<-g.goOn
	return 0, nil
}

// running lets the engine run by itself. A turn is given for each beat.
func (w *world) running(ctx context.Context) (beats <-chan struct{}, ended <-chan struct{}) {
	turns, done := make(chan struct{}), make(chan struct{})
	follow := w.house.Engine.Follow
	w.house.Engine.Follow = func(ctx context.Context) error {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		return follow(ctx)
	}
	go func() {
		w.house.Run(ctx)
		close(done)
	}()
	return turns, done
}

func (w *world) within(happens <-chan struct{}, what string) {
	w.t.Helper()
	select {
	case <-happens:
	case <-time.After(enough):
		w.t.Fatal("too late: " + what)
	}
}

func TestATargetThatHangsStopsNeitherTheHeartNorOtherTargets(t *testing.T) {
	w := found(t, onSQLite(t), strings.Replace(policyFor(managerStage, ""), "open_per_holder: 5", "open_per_holder: 50", 1), keyPolicy)
	w.house.Engine.Workers = 4
	target := newGated(w)
	for _, beneficiary := range []string{"ana", "svc-ana", "agent"} {
		for _, entitlement := range []string{"ledger/books/read", "ledger/books/write", "ledger/vaults/read"} {
			id, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, desk.Asking{Beneficiary: beneficiary, Entitlements: []string{entitlement}, Reason: "the books of the month are due"})
			if err == nil {
				_ = w.approve("max", id)
			}
		}
	}
	ctx, stop := context.WithCancel(w.ctx)
	beats, ended := w.running(ctx)
	defer func() {
		stop()
		close(target.goOn)
		w.within(ended, "the engine ends")
	}()
	w.within(beats, "the first beat")
	for range cap(target.began) {
		// Half of the slots hang; what comes now is for another target.
		if len(target.began) == 2 {
			break
		}
		w.within(beats, "a beat before the target hangs")
	}
	key := w.submit("ana", desk.Asking{Entitlements: []string{"keys/api/call"}, Reason: "the books of the month are due"})
	w.must(w.approve("max", key))
	for range 10 {
		w.within(beats, "a beat while the target hangs")
		if w.view(key).State == countersign.RequestActive {
			if began := len(target.began); began != 2 {
				t.Errorf("%d of four operations are under way on one target", began)
			}
			return
		}
	}
	t.Error("a target that hangs keeps the others from working")
}

func TestAnOperationWhoseTimeIsNearlyOverIsGivenBackAndNotTried(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, _ := w.approved(asking())
	works := w.claim()
	w.move(time.Duration(desk.OperationTime) * time.Second / 2)
	w.must(w.house.Engine.Deliver(w.ctx, works[0]))
	if w.target.Total() != 0 {
		t.Error("the target was reached with little time left")
	}
	w.pass(3 * time.Second)
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestWhatIsUnderWayAtTheEndIsFinishedAndReported(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	target := newGated(w)
	id, _ := w.approved(asking())
	ctx, stop := context.WithCancel(w.ctx)
	beats, ended := w.running(ctx)
	w.within(beats, "the first beat")
	go func() {
		for range beats {
		}
	}()
	w.within(target.began, "the operation begins")
	stop()
	close(target.goOn)
	w.within(ended, "the engine ends")
	w.state(id, countersign.RequestActive)
	w.verified()
}

func TestWhatWasNotBegunAtTheEndIsDueSoonAndNobodyWaits(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.house.Desk.BornLeased = true
	w.approved(asking())
	if works := w.claim(); len(works) != 0 {
		t.Fatalf("%v are due although they are leased", works)
	}
	ctx, stop := context.WithCancel(w.ctx)
	stop()
	began := time.Now()
	w.house.Run(ctx)
	if took := time.Since(began); took > time.Second {
		t.Errorf("with nothing under way the engine takes %s to end", took)
	}
	w.move(3 * time.Second)
	if works := w.claim(); len(works) != 1 || w.target.Total() != 0 {
		t.Errorf("%v are due, and the target was reached %d times", works, w.target.Total())
	}
}

// hasty ends the context while a claim of the kind is under way. As with PostgreSQL, the
// claim counts, and who gave it up does not hear what was leased.
type hasty struct {
	store.Store
	kind store.WorkKind
	end  func()
}

func (h hasty) Claim(ctx context.Context, claim store.Claim) ([]store.Work, error) {
	works, err := h.Store.Claim(context.WithoutCancel(ctx), claim)
	if slices.Contains(claim.Kinds, h.kind) {
		h.end()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return works, err
}

func TestWhatIsClaimedAtTheEndIsGivenBack(t *testing.T) {
	for _, kind := range []store.WorkKind{store.DeliverWork, store.NoticeWork} {
		t.Run(string(kind), func(t *testing.T) {
			w := listening(t, onSQLite(t), &listener{}, policyFor(managerStage, ""))
			w.approved(asking())
			w.move(15 * time.Minute)
			ctx, stop := context.WithCancel(w.ctx)
			defer stop()
			before := w.house.Engine.Store
			w.house.Engine.Store = hasty{before, kind, stop}
			w.house.Run(ctx)
			w.house.Engine.Store = before
			w.move(3 * time.Second)
			works, err := before.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "next", Kinds: []store.WorkKind{kind}, Limit: 10, Lease: desk.Lease})
			w.must(err)
			if len(works) == 0 {
				t.Error("nothing is due, so what was claimed is still leased")
			}
		})
	}
}

// slow is a channel that tells when a message is under way, and waits to be let on.
type slow struct {
	listener
	began, goOn chan struct{}
}

func (s *slow) Send(ctx context.Context, message notify.Message) error {
	s.began <- struct{}{}
	<-s.goOn
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.listener.Send(ctx, message)
}

func TestAtTheEndAMessageUnderWayIsSentAndTheOthersAreDueAtOnce(t *testing.T) {
	ear := &slow{began: make(chan struct{}, 9), goOn: make(chan struct{})}
	w := listening(t, onSQLite(t), ear, policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.move(15 * time.Minute)
	// Max hears that he was asked, and Ana of the outcome.
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan error)
	go func() {
		_, err := w.house.Engine.Tell(ctx)
		done <- err
	}()
	w.within(ear.began, "a message is under way")
	stop()
	close(ear.goOn)
	select {
	case err := <-done:
		w.must(err)
	case <-time.After(enough):
		t.Fatal("telling does not end")
	}
	if len(ear.heard) != 1 {
		t.Fatalf("%d messages were sent after the end", len(ear.heard))
	}
	works, err := w.house.Store.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "next", Kinds: []store.WorkKind{store.NoticeWork}, Limit: 10, Lease: desk.Lease})
	w.must(err)
	if len(works) == 0 || works[0].Attempt != 1 {
		t.Errorf("what was not sent is %+v", works)
	}
}

// leaving lets the context end while targets are asked about uses.
type leaving struct {
	*noop.Connector
	leave func()
}

func (l leaving) LastUsed(context.Context, countersign.CredentialID) (countersign.Instant, error) {
	l.leave()
	return 0, nil
}

func TestAtTheEndNoTimerStaysLeased(t *testing.T) {
	w := found(t, onSQLite(t), strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke", "grant: {ends: revoke, ends_when: [unused(1h)]", 1))
	_, grant := w.approved(asking())
	w.settle()
	ctx, stop := context.WithCancel(w.ctx)
	w.house.Engine.Connectors["noop"] = leaving{w.target, stop}
	w.clock.move(time.Hour)
	w.house.Run(ctx)
	if ended := w.stored(grant.ID); ended.State != countersign.GrantRevoking {
		t.Errorf("the grant is %s", ended.State)
	}
	w.verified()
}

func TestATargetThatDoesNotTellOfUsesDelaysNoEnd(t *testing.T) {
	w := found(t, onSQLite(t), strings.Replace(policyFor(managerStage, ""), "grant: {ends: revoke", "grant: {ends: revoke, ends_when: [unused(1h)]", 1))
	short := asking()
	short.Duration = countersign.Hour
	_, ends := w.approved(short)
	long := asking()
	long.Entitlements = []string{"ledger/books/write"}
	_, stays := w.approved(long)
	w.settle()
	target := newGated(w)
	w.move(time.Hour)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := w.house.Engine.Timers(w.ctx)
		if err != nil {
			t.Error(err)
		}
	}()
	w.within(done, "the timers wait for the target")
	close(target.goOn)
	if ended, kept := w.stored(ends.ID), w.stored(stays.ID); ended.State != countersign.GrantRevoking || kept.State != countersign.GrantLive {
		t.Errorf("the grant that ends is %s, the other one %s", ended.State, kept.State)
	}
	works, err := w.house.Store.Claim(w.ctx, store.Claim{Now: countersign.InstantOf(w.clock.Now()), Owner: "test", Kinds: []store.WorkKind{store.GrantWork}, Limit: 10, Lease: desk.Lease})
	w.must(err)
	if len(works) != 0 {
		t.Errorf("%v are looked at again at once", works)
	}
	w.verified()
}

// A key that is used daily to sign in is not unused, and what the house itself
// looks at is no use.
func TestSigningInWithAKeyIsAUseOfIt(t *testing.T) {
	w := found(t, onSQLite(t), keyPolicy)
	id := w.submit("ana", desk.Asking{Entitlements: []string{"keys/api/call"}, Reason: "the books of the month are due"})
	w.must(w.approve("max", id))
	w.settle()
	credential := w.grant(id).Credentials[0].ID
	if at, err := w.house.Vault.LastUsed(w.ctx, credential); err != nil || at != 0 {
		t.Errorf("the read-back after the issue counts as a use at %s: %v", at, err)
	}
	secret, err := w.house.Vault.Read(w.ctx, w.as("ana").Identity, credential)
	w.must(err)
	// This key is for another system and is refused here, but it was shown.
	_, err = w.house.Authenticate(w.ctx, secret)
	w.refused(err, "token-unknown-or-expired")
	if at, err := w.house.Vault.LastUsed(w.ctx, credential); err != nil || at != countersign.InstantOf(w.clock.Now()) {
		t.Errorf("the last use is %s: %v", at, err)
	}
}
