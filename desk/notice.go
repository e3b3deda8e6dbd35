package desk

import (
	"cmp"
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
	NoticeAskedToTriage  = "asked-to-triage"
	NoticeBreakGlass     = "break-glass"
	NoticeOutcome        = "outcome"
	NoticeQuestion       = "question"
	NoticeReminder       = "reminder"
	NoticeOverdue        = "overdue"
	NoticeEnding         = "ending"
	NoticeParked         = "parked"
	NoticeLapsing        = "lapsing"
	NoticeEmergency      = "emergency-policy"
	NoticeFindings       = "findings"
	NoticeUnread         = "target-unread"
	NoticeRedefined      = "redefined"
	NoticeTask           = "task"
	NoticeTaskOverdue    = "task-overdue"
	NoticeTaskToCheck    = "task-to-check"
	NoticeConfirm        = "confirm"
	NoticeOwnerSilent    = "owner-silent"
	NoticeProposal       = "proposal"
	NoticeOffer          = "ownership-offer"
	NoticeLapsed         = "lapsed"
	NoticeHold           = "hold"

	NoticeFindingsOverdue = "findings-overdue"
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

// tellings says who hears of an event. The row is what the event belongs to, as the
// transaction leaves it.
func (tx *transaction) tellings(payload countersign.Payload, row countersign.Row) []telling {
	request, _ := row.(*countersign.Request)
	grant, _ := row.(*countersign.Grant)
	proposal, _ := row.(*countersign.Proposal)
	var askers []countersign.IdentityID
	if request != nil {
		askers = []countersign.IdentityID{request.Requester, request.Beneficiary, request.Consent.Of}
	}
	switch event := payload.(type) {
	case *workflow.RequestSubmitted:
		return []telling{{kind: NoticeAskedToConsent, people: []countersign.IdentityID{event.Change.ConsentOf}}}
	case *workflow.RequestDescribed:
		return []telling{{kind: NoticeAskedToTriage, people: tx.operators(), atOnce: event.Change.Priority == 1}}
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
	case *workflow.EvidenceOverdue2:
		return []telling{{kind: NoticeOverdue, people: append(slices.Clone(event.Change.Told), askers...), atOnce: true}}
	case *workflow.GrantReminded:
		return []telling{{kind: NoticeReminder, people: []countersign.IdentityID{grant.Holder, grant.Requester}}}
	case *workflow.ProposalEnforced:
		return []telling{{kind: NoticeEmergency, people: event.Change.Told, atOnce: true}}
	case *workflow.ProposalDeadlineSet:
		return []telling{{kind: NoticeProposal, people: event.Change.Told}}
	case *workflow.ProposalReminded:
		return []telling{{kind: NoticeProposal, people: append(slices.Clone(event.Change.Told), proposal.By)}}
	case *workflow.ProposalLapsed:
		return []telling{{kind: NoticeLapsed, people: []countersign.IdentityID{proposal.By, proposal.EnforcedBy}}}
	case *workflow.RemovalAsked:
		if !event.Change.ByHand {
			return nil
		}
		return []telling{{kind: NoticeTask, people: event.Change.Told, atOnce: true}}
	case *workflow.ReconciliationCompleted:
		var told []telling
		if event.Change.Opened+event.Change.Beyond > 0 {
			told = append(told, telling{kind: NoticeFindings, people: tx.ownersOf(event.Change.System)})
		}
		if event.Change.Overdue > 0 {
			told = append(told, telling{kind: NoticeFindingsOverdue, people: append(tx.ownersOf(event.Change.System), tx.withPower(PowerAdministrator)...)})
		}
		return told
	case *workflow.HoldReminded:
		return []telling{{kind: NoticeHold, people: event.Change.Told}}
	case *workflow.ReconciliationFailed:
		return []telling{{kind: NoticeUnread, people: tx.ownersOf(event.Change.System)}}
	case *workflow.GrantLapsing:
		people := []countersign.IdentityID{grant.Holder, grant.Requester}
		if holder := tx.directory.identities[grant.Holder]; holder != nil {
			people = append(people, holder.Manager)
		}
		return []telling{{kind: NoticeLapsing, people: people}}
	case *workflow.GrantRedefined:
		// The holder, or who answers for it, and who owns the system.
		return []telling{{kind: NoticeRedefined, people: append([]countersign.IdentityID{grant.Holder}, tx.directory.ownersOf(grant.System)...)}}
	case *workflow.GrantEnding:
		return []telling{{kind: NoticeEnding, people: []countersign.IdentityID{grant.Holder, grant.Requester}, atOnce: event.Change.Cause != workflow.CauseExpired}}
	case *workflow.TaskOpened:
		return []telling{{kind: NoticeTask, people: event.Change.Told, atOnce: event.Change.Operation == countersign.RevokeOperation}}
	case *workflow.TaskEscalated:
		return []telling{{kind: NoticeTaskOverdue, people: event.Change.Told, atOnce: true}}
	case *workflow.TaskDone:
		return []telling{{kind: NoticeTaskToCheck, people: event.Change.Asked}}
	case *workflow.TaskRefused:
		return []telling{{kind: NoticeTaskOverdue, people: event.Change.Told, atOnce: true}}
	case *workflow.TaskChecked:
		return []telling{{kind: NoticeTask, people: event.Change.Told, atOnce: true}}
	case *workflow.IdentityRecorded:
		var before *countersign.OwnershipOffer
		if was := tx.directory.identities[event.Change.ID]; was != nil {
			before = was.Offer
		}
		return append(tx.silenceTold(event.Change.Silence), tx.offerTold(event.Change.Offer, before)...)
	case *workflow.SystemRecorded:
		var before *countersign.OwnershipOffer
		if was := tx.directory.systems[event.Change.ID]; was != nil {
			before = was.Offer
		}
		return append(tx.silenceTold(event.Change.Silence), tx.offerTold(event.Change.Offer, before)...)
	case *workflow.IntentParked:
		return []telling{{kind: NoticeParked, people: []countersign.IdentityID{event.Change.Person}, atOnce: true}}
	}
	return nil
}

// silenceTold says who hears of what the house has just found out of an owner.
func (tx *transaction) silenceTold(said *countersign.Silence) []telling {
	switch {
	case said == nil || said.At != tx.now() || tx.occasion.Actor != countersign.SystemTimer:
		return nil
	case said.Escalated:
		return []telling{{kind: NoticeOwnerSilent, people: said.Told}}
	}
	return []telling{{kind: NoticeConfirm, people: said.Told}}
}

// operators are the people who hold that power now.
func (tx *transaction) operators() []countersign.IdentityID { return tx.withPower(PowerOperator) }

// withPower are the people who hold a power of the desk, by what this process knew
// last: that it cannot show to be fresh is no reason to tell nobody.
func (tx *transaction) withPower(power string) []countersign.IdentityID {
	var people []countersign.IdentityID
	for id, identity := range tx.directory.identities {
		if held, _ := tx.desk.HoldsPower(id, power); held && identity.Human() {
			people = append(people, id)
		}
	}
	slices.Sort(people)
	return people
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
		switch states[event.Stream].(type) {
		case *countersign.Request, *countersign.Grant, *countersign.Proposal, *countersign.Reconciliation, *countersign.Finding, *countersign.Identity, *countersign.System, *countersign.Hold:
		default:
			continue
		}
		for _, telling := range tx.tellings(event.Payload, states[event.Stream]) {
			due := tx.now()
			if !telling.atOnce {
				const quarter = countersign.Instant(digestEvery) * 1000
				due += quarter - due%quarter
			}
			for _, person := range tx.reachable(telling.people) {
				for _, channel := range tx.desk.Channels {
					key := noticeKey{channel, telling.kind, event.Stream, seq, person}
					tx.change.Work = append(tx.change.Work, store.WorkWrite{
						Work: store.Work{Key: key.String(), Kind: store.NoticeWork, Ref: string(person), DueAt: due}, Attempt: store.AnyAttempt,
					})
				}
			}
		}
	}
}

// ownersOf are the owner and the second owner of a system.
func (tx *transaction) ownersOf(id countersign.SystemID) []countersign.IdentityID {
	if system := tx.directory.systems[id]; system != nil {
		return []countersign.IdentityID{system.Owner, system.SecondOwner}
	}
	return nil
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

// noticeKey is what the key of a notice says: whom it tells through which channel,
// and of which event.
type noticeKey struct {
	channel, kind string
	stream        countersign.Stream
	seq           int64
	person        countersign.IdentityID
}

func (k noticeKey) String() string {
	return strings.Join([]string{"notice", k.channel, k.kind, string(k.stream), strconv.FormatInt(k.seq, 10), string(k.person)}, "/")
}

func parseNoticeKey(text string) (noticeKey, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 6 {
		if seq, err := strconv.ParseInt(parts[4], 10, 64); err == nil {
			return noticeKey{parts[1], parts[2], countersign.Stream(parts[3]), seq, countersign.IdentityID(parts[5])}, nil
		}
	}
	return noticeKey{}, countersign.Errorf(countersign.Internal, "malformed-notice", "%q is not the key of a notice", text)
}

// toldOf reads the event that a notice tells of.
func (d *Desk) toldOf(ctx context.Context, key noticeKey) (*countersign.SealedEvent, error) {
	events, err := d.Store.Events(ctx, key.stream, key.seq-1, 1)
	if err == nil && len(events) == 0 {
		err = countersign.Errorf(countersign.Internal, "malformed-notice", "the stream %s has no event %d", key.stream, key.seq)
	}
	if err != nil {
		return nil, err
	}
	return &events[0], nil
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
	// About is the request, grant or proposal.
	About string
}

// Notice reads what a claimed notice says. Nil means that there is nothing to tell
// any more: the person has left.
func (d *Desk) Notice(ctx context.Context, work store.Work) (*Notice, error) {
	tx, err := d.begin(ctx, countersign.SystemDelivery)
	if err != nil {
		return nil, err
	}
	key, err := parseNoticeKey(work.Key)
	if err != nil {
		return nil, err
	}
	person := tx.directory.identities[key.person]
	if person == nil || !person.ActiveAt(tx.now()) {
		return nil, nil
	}
	event, err := d.toldOf(ctx, key)
	if err != nil {
		return nil, err
	}
	payload, err := workflow.Registry.Decode(*event)
	if err != nil {
		return nil, err
	}
	request, what, err := tx.aboutWhat(ctx, string(key.stream))
	if err != nil {
		return nil, err
	}
	notice := &Notice{
		Work: work, Channel: key.channel, Kind: key.kind, To: tx.directory.ref(person.ID), Email: person.Handle(countersign.Email),
		At: event.Header.Time, About: string(key.stream),
	}
	notice.Subject = noticeSubject(notice.Kind, what)
	notice.Text = tx.directory.sentence(request, payload)
	if key.kind == NoticeOffer || key.kind == NoticeLapsed {
		notice.Text = cmp.Or(tx.directory.ofOffer(payload), notice.Text)
	}
	if notice.Kind == NoticeReminder {
		notice.Text += tx.rotationOffered(ctx, countersign.GrantID(key.stream))
	}
	return notice, nil
}

// rotationOffered says how access that ends soon gets another credential by a request; ""
// where no request type rotates it.
func (tx *transaction) rotationOffered(ctx context.Context, id countersign.GrantID) string {
	grant, err := tx.desk.Store.Grant(ctx, id)
	if err != nil || grant.State != countersign.GrantLive || grant.Rotating != nil {
		return ""
	}
	if by, err := tx.rotatedBy(grant); err != nil || by == "" {
		return ""
	}
	return fmt.Sprintf(". Ask for another credential in time: countersign request rotate %s", grant.ID)
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
	if countersign.PrefixOf(id) == "fnd" {
		finding, err := tx.desk.Store.Finding(ctx, countersign.FindingID(id))
		if err != nil {
			return nil, "", err
		}
		return &countersign.Request{}, tx.findingView(finding).Text, nil
	}
	if countersign.PrefixOf(id) == "prp" {
		proposal, err := tx.desk.Store.Proposal(ctx, countersign.ProposalID(id))
		if err != nil {
			return nil, "", err
		}
		return &countersign.Request{}, tx.directory.nameOf(proposal.By) + ": " + string(proposal.Kind), nil
	}
	if countersign.PrefixOf(id) == "hld" {
		_, found, err := tx.loadHold(ctx, countersign.HoldID(id))
		if err != nil {
			return nil, "", err
		}
		return &countersign.Request{}, found.name, nil
	}
	if identity := tx.directory.identities[countersign.IdentityID(id)]; identity != nil {
		return &countersign.Request{}, identity.Name, nil
	}
	if system := tx.directory.systems[countersign.SystemID(id)]; system != nil {
		return &countersign.Request{}, system.Name, nil
	}
	if countersign.PrefixOf(id) == "rcn" {
		all, err := tx.desk.Store.Reconciliations(ctx)
		if err != nil {
			return nil, "", err
		}
		for _, one := range all {
			if system := tx.directory.systems[one.System]; string(one.ID) == id && system != nil {
				return &countersign.Request{}, system.Name, nil
			}
		}
	}
	request, err := tx.desk.Store.Request(ctx, countersign.RequestID(id))
	if err != nil {
		return nil, "", err
	}
	return request, tx.directory.nameOf(request.Beneficiary) + ": " + tx.directory.rightsText(request.Entitlements), nil
}

func noticeSubject(kind, what string) string {
	words := map[string]string{
		NoticeAskedToDecide: "Your decision is asked for", NoticeAskedToReview: "Your review is asked for", NoticeAskedToConsent: "Your consent is asked for", NoticeAskedToTriage: "Somebody asks in their own words",
		NoticeBreakGlass: "Break-glass access was taken", NoticeOutcome: "Decided", NoticeQuestion: "A question about a request", NoticeReminder: "Access ends soon",
		NoticeOverdue: "Evidence is overdue", NoticeEnding: "Access ends", NoticeParked: "Work waits for you", NoticeLapsing: "Access will lapse", NoticeRedefined: "Access means something else now", NoticeEmergency: "A policy was put into force by one person",
		NoticeFindings: "A system differs from the record", NoticeUnread: "A system cannot be read",
		NoticeTask: "A task waits for you", NoticeTaskOverdue: "A task is overdue", NoticeTaskToCheck: "Look at what was done",
		NoticeConfirm: "Confirm what you answer for", NoticeOwnerSilent: "An owner does not answer",
		NoticeProposal: "A change waits for a second person", NoticeOffer: "An offer waits for an answer", NoticeLapsed: "Nobody decided in time",
		NoticeHold: "A stop is still in force", NoticeFindingsOverdue: "Differences of a system from the record are overdue",
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

// Untried gives notices back that were claimed and not tried: they are due as if
// nobody had claimed them.
func (d *Desk) Untried(ctx context.Context, works []store.Work) error {
	return d.settleNotices(ctx, works, func(tx *transaction, work store.Work) store.WorkWrite {
		return untried(work, tx.now())
	})
}

// untried gives back work that was claimed, as if nobody had claimed it.
func untried(work store.Work, due countersign.Instant) store.WorkWrite {
	again := work
	again.Attempt, again.DueAt, again.ClaimedAt, again.LeaseUntil, again.LeasedBy = work.Attempt-1, due, 0, 0, ""
	return store.WorkWrite{Work: again, Attempt: work.Attempt}
}

func (d *Desk) settleNotices(ctx context.Context, works []store.Work, settle func(*transaction, store.Work) store.WorkWrite) error {
	return d.together(ctx, len(works), nil, func(tx *transaction, i int) error {
		tx.change.Work = append(tx.change.Work, settle(tx, works[i]))
		return nil
	})
}
