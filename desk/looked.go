package desk

import (
	"context"
	"io"
	"reflect"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// begin fixes the transaction's time and what it knows of directory and policy.
func (d *Desk) begin(ctx context.Context, actor countersign.Actor) (*transaction, error) {
	return d.beginLooking(ctx, actor, nil)
}

// stoppingKey marks the calls that take access away.
type stoppingKey struct{}

// toStop marks a command that takes access away: it does not wait until this replica
// can tell who holds a power. Whoever may give it without one is obeyed at once.
func toStop(ctx context.Context) context.Context { return context.WithValue(ctx, stoppingKey{}, true) }

func stopping(ctx context.Context) bool { return ctx.Value(stoppingKey{}) != nil }

// foresight says what a transaction will ask of storage, from what this process
// knows: a transaction that has not begun, whose directory may be behind.
type foresight func(tx *transaction) store.Questions

func (d *Desk) beginLooking(ctx context.Context, actor countersign.Actor, foresee foresight) (*transaction, error) {
	return d.beginSeen(ctx, actor, nil, foresee)
}

// beginSeen begins with what was seen, and with the directory and policy set that
// this process knows: what they say is recorded, and not relied on.
func (d *Desk) beginSeen(ctx context.Context, actor countersign.Actor, seen *looked, foresee foresight) (*transaction, error) {
	if !actor.IsSystem() && !stopping(ctx) {
		if err := d.Answers(); err != nil {
			return nil, err
		}
	}
	now := countersign.InstantOf(d.Clock.Now())
	known, active := d.known.Load(), d.active.Load()
	if seen != nil {
		return d.transaction(actor, now, known, active, seen)
	}
	read := &looked{Reader: d.Store}
	if foresee != nil && known != nil && active != nil {
		early := &transaction{desk: d, directory: known, policy: active, read: read, occasion: workflow.Occasion{Actor: actor, Now: now}}
		questions := foresee(early)
		questions.Guards = append(questions.Guards, store.GuardDirectory, store.GuardPolicy)
		if err := read.look(ctx, questions); err != nil {
			return nil, err
		}
	}
	nowKnown, nowActive, err := d.refresh(ctx, read)
	if err != nil {
		return nil, err
	}
	if nowKnown != known || nowActive != active {
		// What was asked followed from a directory or a policy set of before.
		read.forget()
	}
	return d.transaction(actor, now, nowKnown, nowActive, read)
}

func (d *Desk) transaction(actor countersign.Actor, now countersign.Instant, known *snapshot, active *activeSet, read *looked) (*transaction, error) {
	var seed [32]byte
	if _, err := io.ReadFull(d.Entropy, seed[:]); err != nil {
		return nil, countersign.Errorf(countersign.Internal, "no-entropy", "no random bytes: %v", err)
	}
	tx := &transaction{desk: d, directory: known, policy: active, read: read, guards: map[string]store.Guard{}, requests: map[countersign.RequestID]*countersign.Request{}}
	tx.occasion = workflow.Occasion{Actor: actor, Now: now, Mint: countersign.NewMint(seed, now)}
	if active != nil {
		tx.occasion.PolicySet = active.digest
	}
	return tx, nil
}

// looked is a reader that remembers what was looked at together, for one
// transaction. What it remembers was read after the guards that it remembers; when
// a guard is asked for that is not among them, everything else is forgotten, so
// that no fact is older than the guard that stands for it.
type looked struct {
	store.Reader
	asked   store.Questions
	answers store.Answers
}

// look asks the questions in one round trip, unless all of them were asked. It is
// for saving time only: where it fails, each is asked again when its answer is
// needed, and fails by itself.
func (l *looked) look(ctx context.Context, questions store.Questions) error {
	if l.covers(questions) {
		return nil
	}
	answers, err := l.Reader.Look(ctx, questions)
	if kind := countersign.KindOf(err); kind == countersign.Internal || kind == countersign.NotFound {
		l.forget()
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	// Rows by their ids guard themselves and are kept from an earlier look.
	answers.GrantsByID = append(answers.GrantsByID, l.answers.GrantsByID...)
	answers.RequestsByID = append(answers.RequestsByID, l.answers.RequestsByID...)
	answers.Works = append(answers.Works, l.answers.Works...)
	if answers.Heads == nil {
		answers.Heads = l.answers.Heads
	}
	l.asked, l.answers = questions, answers
	return nil
}

// covers reports whether everything that is asked about a matter was looked at.
func (l *looked) covers(questions store.Questions) bool {
	for _, key := range questions.Guards {
		if _, known := l.answers.Guards[key]; !known {
			return false
		}
	}
	for _, query := range questions.Requests {
		if !slices.ContainsFunc(l.asked.Requests, func(asked store.RequestQuery) bool { return reflect.DeepEqual(asked, query) }) {
			return false
		}
	}
	for _, query := range questions.Grants {
		if !slices.ContainsFunc(l.asked.Grants, func(asked store.GrantQuery) bool { return reflect.DeepEqual(asked, query) }) {
			return false
		}
	}
	return len(questions.GrantIDs)+len(questions.RequestIDs)+len(questions.RequestsOf)+len(questions.Works)+len(questions.Heads) == 0 && questions.Holds == l.asked.Holds
}

// rows returns what was looked at of rows that guard themselves, for a later
// transaction on the grant and its request; nil where one of them was not.
func (l *looked) rows(grant *countersign.Grant) *looked {
	a := l.answers
	kept := &looked{Reader: l.Reader, answers: store.Answers{GrantsByID: a.GrantsByID, RequestsByID: a.RequestsByID, Works: a.Works, Heads: a.Heads}}
	_, chained := a.Heads[grant.RowStream()]
	of := func(request *countersign.Request) bool { return request.ID == grant.Request }
	if !chained || len(a.GrantsByID) == 0 || len(a.Works) == 0 || grant.Request != "" && !slices.ContainsFunc(a.RequestsByID, of) {
		return nil
	}
	return kept
}

func (l *looked) forget() { l.asked, l.answers = store.Questions{}, store.Answers{} }

func (l *looked) Guards(ctx context.Context, keys []string) (map[string]int64, error) {
	versions := make(map[string]int64, len(keys))
	for _, key := range keys {
		version, known := l.answers.Guards[key]
		if !known {
			l.forget()
			return l.Reader.Guards(ctx, keys)
		}
		versions[key] = version
	}
	return versions, nil
}

func (l *looked) Grant(ctx context.Context, id countersign.GrantID) (*countersign.Grant, error) {
	for _, grant := range l.answers.GrantsByID {
		if grant.ID == id {
			return grant, nil
		}
	}
	return l.Reader.Grant(ctx, id)
}

func (l *looked) Request(ctx context.Context, id countersign.RequestID) (*countersign.Request, error) {
	for _, request := range l.answers.RequestsByID {
		if request.ID == id {
			return request, nil
		}
	}
	return l.Reader.Request(ctx, id)
}

func (l *looked) Work(ctx context.Context, key string) (store.Work, error) {
	for _, work := range l.answers.Works {
		if work.Key == key {
			return work, nil
		}
	}
	return l.Reader.Work(ctx, key)
}

func (l *looked) Grants(ctx context.Context, query store.GrantQuery) ([]*countersign.Grant, error) {
	for i, asked := range l.asked.Grants {
		if reflect.DeepEqual(asked, query) {
			return l.answers.Grants[i], nil
		}
	}
	return l.Reader.Grants(ctx, query)
}

// Requests also answers what follows from a list that was looked at: the open
// requests of a holder, of one type or for one entitlement.
func (l *looked) Requests(ctx context.Context, query store.RequestQuery) ([]*countersign.Request, error) {
	for i, asked := range l.asked.Requests {
		found := l.answers.Requests[i]
		if reflect.DeepEqual(asked, query) {
			return found, nil
		}
		wider := openOf(query.Holder)
		if !reflect.DeepEqual(asked, wider) || len(found) >= wider.Limit {
			continue
		}
		narrow := wider
		narrow.Type, narrow.Entitlement, narrow.Limit = query.Type, query.Entitlement, query.Limit
		if !reflect.DeepEqual(narrow, query) {
			continue
		}
		return slices.DeleteFunc(slices.Clone(found), func(request *countersign.Request) bool {
			return query.Type != "" && request.Type != query.Type || query.Entitlement != "" && !slices.Contains(request.Entitlements, query.Entitlement)
		}), nil
	}
	return l.Reader.Requests(ctx, query)
}

func (l *looked) Heads(ctx context.Context, streams []countersign.Stream) (map[countersign.Stream]store.Head, error) {
	heads := make(map[countersign.Stream]store.Head, len(streams))
	for _, stream := range streams {
		head, known := l.answers.Heads[stream]
		if !known {
			return l.Reader.Heads(ctx, streams)
		}
		heads[stream] = head
	}
	return heads, nil
}

// openOf asks for all open requests of a holder.
func openOf(holder countersign.IdentityID) store.RequestQuery {
	return store.RequestQuery{Holder: holder, States: openStates, Limit: mostOpen}
}

// heldOf asks for the grant by which a holder has an entitlement.
func heldOf(holder countersign.IdentityID, entitlement countersign.EntitlementID) store.GrantQuery {
	return store.GrantQuery{Holders: []countersign.IdentityID{holder}, Entitlement: entitlement, States: heldStates, Limit: 1}
}

const (
	// mostOpen is how many open requests of a holder are looked at.
	mostOpen = 100
	// holdPage is how many holds are read at a time.
	holdPage = 500
)

// questionsOf are what the judgement of a matter asks of storage: guards of its
// holders and of the further keys, what lookAtMatter reads, and what today's policy
// set asks of nearly every request.
func (d *snapshot) questionsOf(m matter, more ...string) store.Questions {
	questions := store.Questions{Holds: holdPage, Requests: []store.RequestQuery{openOf(m.beneficiary.ID)}}
	questions.Guards = append(more, store.GuardDirectory, store.GuardPolicy)
	for _, holder := range m.beneficiary.SamePerson() {
		questions.Guards = append(questions.Guards, store.GuardHolder(holder))
	}
	held, groups := d.guardsOf(m)
	questions.Guards = append(questions.Guards, groups...)
	for _, id := range held {
		questions.Guards = append(questions.Guards, store.GuardHold(id))
	}
	for _, item := range m.items {
		questions.Grants = append(questions.Grants, heldOf(m.beneficiary.ID, item.entitlement.ID))
	}
	return questions
}

// followHolds brings what this process knows of holds up to those in force. Those
// that were looked at count where they are the ones that are known; anything else
// is read in turn, so that an older look never undoes a newer one.
func (tx *transaction) followHolds(ctx context.Context) error {
	if known := tx.desk.held.Load(); known != nil && tx.read.asked.Holds == holdPage && len(tx.read.answers.Holds) < holdPage {
		on := make(map[string]bool, len(tx.read.answers.Holds))
		for _, hold := range tx.read.answers.Holds {
			on[hold.On] = true
		}
		if reflect.DeepEqual(on, *known) {
			return nil
		}
	}
	return tx.desk.followHolds(ctx)
}
