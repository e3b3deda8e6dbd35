package desk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// A notice is work like any other: it is written with the event that it tells of,
// one for each person and channel, and what it says is read from that event when
// it is sent. Nothing waits for it.

// The kinds of notices, as channels and their templates name them.
const (
	NoticeAskedToDecide  = "asked-to-decide"
	NoticeAskedToReview  = "asked-to-review"
	NoticeAskedToConsent = "asked-to-consent"
	NoticeBreakGlass     = "break-glass"
	NoticeOutcome        = "outcome"
	NoticeQuestion       = "question"
	NoticeReminder       = "reminder"
	NoticeOverdue        = "overdue"
	NoticeEnding         = "ending"
	NoticeParked         = "parked"
)

// digestEvery gathers what can wait: all that a person is to be told of a quarter
// of an hour comes as one message.
const digestEvery = 15 * countersign.Minute

// telling is whom an event is told to, and how soon.
type telling struct {
	kind   string
	people []countersign.IdentityID
	atOnce bool
}

// tellings says who hears of an event. The request is the one that the event
// belongs to, as the transaction leaves it; nil for a grant without one.
func (tx *transaction) tellings(payload countersign.Payload, request *countersign.Request, grant *countersign.Grant) []telling {
	var askers []countersign.IdentityID
	if request != nil {
		askers = []countersign.IdentityID{request.Requester, request.Beneficiary, request.Consent.Of}
	}
	switch event := payload.(type) {
	case *workflow.RequestSubmitted:
		return []telling{{kind: NoticeAskedToConsent, people: []countersign.IdentityID{event.Change.ConsentOf}}}
	case *workflow.StageOpened:
		asked := telling{kind: NoticeAskedToDecide, atOnce: event.Change.Why == workflow.WhyOverdue}
		if request != nil && request.Stages[event.Change.Stage].Review {
			asked.kind = NoticeAskedToReview
		}
		for _, one := range event.Change.Asked {
			asked.people = append(asked.people, one.Person)
		}
		return []telling{asked}
	case *workflow.RequestApproved:
		return []telling{{kind: NoticeBreakGlass, people: event.Change.Told, atOnce: true}, {kind: NoticeOutcome, people: askers}}
	case *workflow.RequestEnded:
		return []telling{{kind: NoticeOutcome, people: askers}}
	case *workflow.QuestionAsked:
		return []telling{{kind: NoticeQuestion, people: []countersign.IdentityID{request.Requester}, atOnce: true}}
	case *workflow.QuestionAnswered:
		return []telling{{kind: NoticeQuestion, people: []countersign.IdentityID{request.Questions[len(request.Questions)-1].By}, atOnce: true}}
	case *workflow.EvidenceOverdue:
		return []telling{{kind: NoticeOverdue, people: append(slices.Clone(event.Change.Told), askers...), atOnce: true}}
	case *workflow.GrantReminded:
		return []telling{{kind: NoticeReminder, people: []countersign.IdentityID{grant.Holder, grant.Requester}}}
	case *workflow.GrantEnding:
		return []telling{{kind: NoticeEnding, people: []countersign.IdentityID{grant.Holder, grant.Requester}, atOnce: event.Change.Cause != workflow.CauseExpired}}
	case *workflow.IntentParked:
		return []telling{{kind: NoticeParked, people: []countersign.IdentityID{event.Change.Person}, atOnce: true}}
	}
	return nil
}

// notify writes the notices of the transaction's events, for each channel that
// the house has.
func (tx *transaction) notify() {
	if len(tx.desk.Channels) == 0 {
		return
	}
	states := map[countersign.Stream]countersign.Row{}
	for _, write := range tx.change.Writes {
		states[write.Row.RowStream()] = write.Row
	}
	for i, event := range tx.events {
		seq := tx.change.Events[i].Header.Seq
		request, _ := states[event.Stream].(*countersign.Request)
		grant, _ := states[event.Stream].(*countersign.Grant)
		if request == nil && grant == nil {
			continue
		}
		for _, telling := range tx.tellings(event.Payload, request, grant) {
			due := tx.now()
			if !telling.atOnce {
				const quarter = countersign.Instant(digestEvery) * 1000
				due += quarter - due%quarter
			}
			for _, person := range tx.reachable(telling.people) {
				for _, channel := range tx.desk.Channels {
					key := strings.Join([]string{"notice", channel, telling.kind, string(event.Stream), strconv.FormatInt(seq, 10), string(person)}, "/")
					tx.change.Work = append(tx.change.Work, store.WorkWrite{
						Work: store.Work{Key: key, Kind: store.NoticeWork, Ref: string(person), DueAt: due}, Attempt: store.AnyAttempt,
					})
				}
			}
		}
	}
}

// reachable returns the people who are told, each once: for a machine whoever
// answers for it; nobody who caused the event.
func (tx *transaction) reachable(people []countersign.IdentityID) []countersign.IdentityID {
	var found []countersign.IdentityID
	for _, id := range people {
		identity := tx.directory.identities[id]
		if identity != nil && !identity.Human() {
			identity = tx.directory.identities[identity.Owner]
		}
		if identity == nil || !identity.ActiveAt(tx.now()) || identity.ID == tx.occasion.Actor.Identity() || slices.Contains(found, identity.ID) {
			continue
		}
		found = append(found, identity.ID)
	}
	return found
}

// Notice is one thing that one person is told through one channel.
type Notice struct {
	Work    store.Work
	Channel string
	Kind    string
	To      Ref
	Email   string
	At      countersign.Instant
	Subject string
	Text    string
	// About is the request or grant.
	About string
}

// Notice reads what a claimed notice says. Nil means that there is nothing to tell
// any more: the person has left.
func (d *Desk) Notice(ctx context.Context, work store.Work) (*Notice, error) {
	tx, err := d.begin(ctx, countersign.SystemDelivery)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(work.Key, "/")
	if len(parts) != 6 {
		return nil, countersign.Errorf(countersign.Internal, "malformed-notice", "%q is not the key of a notice", work.Key)
	}
	person := tx.directory.identities[countersign.IdentityID(parts[5])]
	if person == nil || !person.ActiveAt(tx.now()) {
		return nil, nil
	}
	stream := countersign.Stream(parts[3])
	seq, err := strconv.ParseInt(parts[4], 10, 64)
	if err != nil {
		return nil, countersign.Errorf(countersign.Internal, "malformed-notice", "%q is not the key of a notice", work.Key)
	}
	events, err := d.Store.Events(ctx, stream, seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, countersign.Errorf(countersign.Internal, "malformed-notice", "the stream %s has no event %d", stream, seq)
	}
	payload, err := workflow.Registry.Decode(events[0])
	if err != nil {
		return nil, err
	}
	request, what, err := tx.aboutWhat(ctx, string(stream))
	if err != nil {
		return nil, err
	}
	notice := &Notice{
		Work: work, Channel: parts[1], Kind: parts[2], To: tx.directory.ref(person.ID), Email: person.Handle(countersign.Email),
		At: events[0].Header.Time, About: string(stream),
	}
	notice.Subject = noticeSubject(notice.Kind, what)
	notice.Text = tx.directory.sentence(request, payload)
	return notice, nil
}

// aboutWhat names what a notice is about: "Ana Asker: ledger/books/read".
func (tx *transaction) aboutWhat(ctx context.Context, id string) (*countersign.Request, string, error) {
	if countersign.PrefixOf(id) == "grt" {
		grant, err := tx.desk.Store.Grant(ctx, countersign.GrantID(id))
		if err != nil {
			return nil, "", err
		}
		return &countersign.Request{}, tx.directory.nameOf(grant.Holder) + ": " + tx.directory.entitlementRef(grant.Entitlement).Name, nil
	}
	request, err := tx.desk.Store.Request(ctx, countersign.RequestID(id))
	if err != nil {
		return nil, "", err
	}
	return request, tx.directory.nameOf(request.Beneficiary) + ": " + tx.directory.rightsText(request.Entitlements), nil
}

func noticeSubject(kind, what string) string {
	words := map[string]string{
		NoticeAskedToDecide: "Your decision is asked for", NoticeAskedToReview: "Your review is asked for", NoticeAskedToConsent: "Your consent is asked for",
		NoticeBreakGlass: "Break-glass access was taken", NoticeOutcome: "Decided", NoticeQuestion: "A question about a request", NoticeReminder: "Access ends soon",
		NoticeOverdue: "Evidence is overdue", NoticeEnding: "Access ends", NoticeParked: "Work waits for you",
	}[kind]
	return fmt.Sprintf("%s (%s)", words, what)
}

// Told settles notices that a channel took, or that there is nobody for.
func (d *Desk) Told(ctx context.Context, works []store.Work) error {
	return d.settleNotices(ctx, works, func(_ *transaction, work store.Work) store.WorkWrite {
		return store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true}
	})
}

// Bounds of retrying notices.
const (
	longestSilence = countersign.Hour
	// giveUpTelling is after how many attempts a notice is parked: some four days.
	giveUpTelling = 100
)

// NotTold puts notices off that a channel did not take. They are tried again, and
// hold nothing up.
func (d *Desk) NotTold(ctx context.Context, works []store.Work, cause error) error {
	return d.settleNotices(ctx, works, func(tx *transaction, work store.Work) store.WorkWrite {
		later := work
		later.Trouble, later.Reported = troubleOf(cause), true
		wait := longestSilence
		if work.Attempt < 10 {
			wait = min(longestSilence, countersign.Seconds(10)<<work.Attempt)
		}
		later.DueAt = tx.now().Add(wait)
		if work.Attempt >= giveUpTelling {
			later.ParkedAt = tx.now()
		}
		return store.WorkWrite{Work: later, Attempt: work.Attempt}
	})
}

func (d *Desk) settleNotices(ctx context.Context, works []store.Work, settle func(*transaction, store.Work) store.WorkWrite) error {
	return d.together(ctx, len(works), nil, func(tx *transaction, i int) error {
		tx.change.Work = append(tx.change.Work, settle(tx, works[i]))
		return nil
	})
}
