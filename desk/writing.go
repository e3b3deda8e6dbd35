package desk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/ticketing"
	"github.com/countersign/countersign/workflow"
)

// What becomes of a request is written into the ticket that opened it, as work
// like notices: one item for each event, in the transaction of the event, and what
// it says is read from the event when it is written. Nothing waits for it. The
// items of one ticket are written in their order.

// writtenOf is what a ticket is told of an event, and the state that the request
// reached with it; "" leaves the ticket's state. Most events are not told.
func writtenOf(payload countersign.Payload, request *countersign.Request) (told bool, reached countersign.RequestState) {
	switch event := payload.(type) {
	case *workflow.RequestSubmitted:
		return true, countersign.RequestCollecting
	case *workflow.StageOpened:
		if event.Change.Stage < len(request.Stages) && request.Stages[event.Change.Stage].Review {
			return true, ""
		}
		return true, countersign.RequestDeciding
	case *workflow.RequestApproved:
		return true, countersign.RequestFulfilling
	case *workflow.RequestEnded:
		return true, event.Change.State
	case *workflow.RequestProgressed:
		return true, event.Change.State
	case *workflow.RequestDecided, *workflow.RequestAmended, *workflow.RequestRerouted, *workflow.RequestRedefined, *workflow.QuestionAsked, *workflow.QuestionAnswered, *workflow.EvidenceOverdue, *workflow.EvidenceOverdue2:
		return true, ""
	}
	return false, ""
}

// writingKey is the key of the work that writes one event into a ticket.
func writingKey(stream countersign.Stream, seq int64) string {
	return fmt.Sprintf("ticket/%s/%06d", stream, seq)
}

func seqOfWriting(work store.Work) (int64, error) {
	seq, err := strconv.ParseInt(strings.TrimPrefix(work.Key, "ticket/"+work.Ref+"/"), 10, 64)
	if err != nil {
		return 0, countersign.Errorf(countersign.Internal, "malformed-writing", "%q is not the key of what is written into a ticket", work.Key)
	}
	return seq, nil
}

// writeTickets adds the work that follows from the transaction's events.
func (tx *transaction) writeTickets() {
	requests := map[countersign.Stream]*countersign.Request{}
	for _, write := range tx.change.Writes {
		if request, is := write.Row.(*countersign.Request); is && request.Ticket != nil {
			requests[request.RowStream()] = request
		}
	}
	if len(requests) == 0 {
		return
	}
	for i, event := range tx.events {
		request := requests[event.Stream]
		if request == nil {
			continue
		}
		if told, _ := writtenOf(event.Payload, request); told {
			work := store.Work{Key: writingKey(event.Stream, tx.change.Events[i].Header.Seq), Kind: store.TicketWork, Ref: string(request.ID), DueAt: tx.now()}
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: work, Attempt: store.AnyAttempt})
		}
	}
}

// Writing is what one item of work writes into a ticket.
type Writing struct {
	// System is nil where it cannot be written now, and Why says so.
	System ticketing.System
	Why    error
	// Name is that of the ticket system.
	Name string
	Note ticketing.Note
	// After is when to look again, because something earlier is still to be written
	// into this ticket; 0 for now.
	After countersign.Instant
}

// Writing reads what a claimed item of work writes.
func (d *Desk) Writing(ctx context.Context, work store.Work) (*Writing, error) {
	tx, err := d.begin(ctx, countersign.SystemDelivery)
	if err != nil {
		return nil, err
	}
	writing := &Writing{}
	if countersign.PrefixOf(work.Ref) == "req" {
		err = tx.writeEvent(ctx, work, writing)
	} else {
		err = tx.writeRefusal(ctx, work, writing)
	}
	if err != nil || writing.After != 0 {
		return writing, err
	}
	writing.Name, writing.Note.Again = writing.Note.Ticket.System, work.Attempt > 1
	info, err := tx.policy.ticketing(writing.Name)
	if err == nil {
		writing.System, err = d.TicketSystem(info)
	}
	if err != nil {
		writing.Why = err
		return writing, nil
	}
	writing.Note.State = info.States[countersign.RequestState(writing.Note.State)]
	return writing, nil
}

func (tx *transaction) writeRefusal(ctx context.Context, work store.Work, writing *Writing) error {
	refusal, err := tx.desk.refusalOf(ctx, work)
	if err != nil {
		return err
	}
	mark := strings.TrimPrefix(work.Ref, "sha256:")
	writing.Note = ticketing.Note{
		Ticket: refusal.Ticket, Mark: "countersign-" + mark[:min(len(mark), 24)],
		Lines: []string{"Countersign: this ticket does not do what it asks for (" + refusal.Reason + ").", refusal.Because},
	}
	return nil
}

// writeEvent says what an event is in a ticket. The state of the note is still
// that of the request.
func (tx *transaction) writeEvent(ctx context.Context, work store.Work, writing *Writing) error {
	request, err := tx.read.Request(ctx, countersign.RequestID(work.Ref))
	if err != nil {
		return err
	}
	seq, err := seqOfWriting(work)
	if err != nil {
		return err
	}
	events, err := allEvents(ctx, tx.desk.Store, request.RowStream())
	if err != nil {
		return err
	}
	earlier := ""
	for _, event := range events {
		payload, err := workflow.Registry.Decode(event)
		if err != nil {
			return err
		}
		told, reached := writtenOf(payload, request)
		switch {
		case !told:
		case event.Header.Seq < seq:
			earlier = writingKey(request.RowStream(), event.Header.Seq)
		case event.Header.Seq == seq:
			writing.Note = ticketing.Note{
				Ticket: *request.Ticket, Lines: tx.linesOf(request, event, payload), State: string(reached),
				Mark: fmt.Sprintf("countersign-%s-%d-%s", strings.ReplaceAll(string(request.ID), "_", "-"), seq, event.Hash.String()[:12]),
			}
			if tx.desk.Page != nil {
				writing.Note.Link = tx.desk.Page(string(request.ID))
			}
		}
	}
	if earlier == "" {
		return nil
	}
	before, err := tx.desk.Store.Work(ctx, earlier)
	switch {
	case countersign.KindOf(err) == countersign.NotFound:
		return nil
	case before.ParkedAt != 0:
		writing.After = tx.now().Add(slowest)
	default:
		writing.After = max(before.DueAt, tx.now()) + 1
	}
	return err
}

// linesOf are the paragraphs that tell of an event.
func (tx *transaction) linesOf(request *countersign.Request, event countersign.SealedEvent, payload countersign.Payload) []string {
	actor := "Countersign"
	if who := event.Header.Actor.Identity(); who != "" {
		actor = tx.directory.nameOf(who)
	}
	lines := []string{actor + ": " + strings.TrimSuffix(tx.directory.sentence(request, payload), ".") + "."}
	switch event := payload.(type) {
	case *workflow.RequestSubmitted:
		path := make([]string, 0, len(event.Change.Stages))
		for _, stage := range event.Change.Stages {
			rules := make([]string, 0, len(stage.Quorums))
			for _, quorum := range stage.Quorums {
				rule := fmt.Sprintf("%d of %s", quorum.Need, strings.Join(quorum.Approvers, ", "))
				rules = append(rules, rule)
			}
			path = append(path, stage.Name+" ("+strings.Join(rules, " and ")+")")
		}
		if len(path) > 0 {
			lines = append(lines, "The path: "+strings.Join(path, ", then ")+".")
		}
		lines = append(lines, fmt.Sprintf("This is the request %s of Countersign. It is decided there: what is done in this ticket approves and denies nothing.", request.ID))
	case *workflow.QuestionAsked:
		lines = append(lines, fmt.Sprintf("The answer is given in Countersign: countersign request answer %s", request.ID))
	}
	return lines
}

// slowest is how long an item waits at most before it is tried again.
const slowest = 10 * countersign.Minute

// Written settles what is in the ticket. A refusal waits for an operator from now
// on.
func (d *Desk) Written(ctx context.Context, work store.Work) error {
	return d.settleNotices(ctx, []store.Work{work}, func(tx *transaction, work store.Work) store.WorkWrite {
		if countersign.PrefixOf(work.Ref) == "req" {
			return store.WorkWrite{Work: work, Attempt: work.Attempt, Delete: true}
		}
		parked := work
		parked.ParkedAt, parked.Reported, parked.Trouble = tx.now(), true, ""
		return store.WorkWrite{Work: parked, Attempt: work.Attempt}
	})
}

// NotWritten puts off what a ticket system did not take. While the system is away,
// that is tried again without end; what is wrong with one ticket waits for a
// person.
func (d *Desk) NotWritten(ctx context.Context, work store.Work, cause error) error {
	return d.settleNotices(ctx, []store.Work{work}, func(tx *transaction, work store.Work) store.WorkWrite {
		later := work
		later.Trouble, later.Reported = troubleOf(cause), true
		later.DueAt = tx.now().Add(max(min(slowest, countersign.Seconds(5)<<min(work.Attempt, 10)), ticketing.After(cause)))
		if countersign.KindOf(cause) != countersign.Unavailable {
			later.ParkedAt = tx.now()
		}
		return store.WorkWrite{Work: later, Attempt: work.Attempt}
	})
}

// WriteLater gives back what was claimed and not tried; it is due again then.
func (d *Desk) WriteLater(ctx context.Context, work store.Work, then countersign.Instant) error {
	return d.settleNotices(ctx, []store.Work{work}, func(tx *transaction, work store.Work) store.WorkWrite {
		return untried(work, max(then, tx.now()))
	})
}

// unwrittenSince is when that came about which an item of work is to write; 0 for
// none. A refusal counts from its last attempt: it is no event.
func (d *Desk) unwrittenSince(ctx context.Context, work store.Work) (countersign.Instant, error) {
	if countersign.PrefixOf(work.Ref) != "req" {
		return work.ClaimedAt, nil
	}
	seq, err := seqOfWriting(work)
	if err != nil {
		return 0, err
	}
	event, err := d.toldOf(ctx, noticeKey{stream: countersign.Stream(work.Ref), seq: seq})
	if err != nil {
		return 0, err
	}
	return event.Header.Time, nil
}

// TicketView is the ticket that a request was opened from.
type TicketView struct {
	System string `json:"system"`
	ID     string `json:"id"`
	Key    string `json:"key"`
	// Unwritten counts what the ticket does not say yet, since the time of the oldest.
	Unwritten int64               `json:"unwritten,omitempty"`
	Since     countersign.Instant `json:"since,omitzero"`
	// Why is what the ticket system answered last.
	Why string `json:"why,omitempty"`
}

// showTicket says what is not in the ticket yet.
func (tx *transaction) showTicket(ctx context.Context, request *countersign.Request, view *RequestView) error {
	if request.Ticket == nil {
		return nil
	}
	view.Ticket = &TicketView{System: request.Ticket.System, ID: request.Ticket.ID, Key: request.Ticket.Key}
	events, err := allEvents(ctx, tx.desk.Store, request.RowStream())
	if err != nil {
		return err
	}
	at := map[string]countersign.Instant{}
	for _, event := range events {
		at[writingKey(request.RowStream(), event.Header.Seq)] = event.Header.Time
	}
	answers, err := tx.desk.Store.Look(ctx, store.Questions{Works: sortedKeys(at)})
	if err != nil {
		return err
	}
	slices.SortFunc(answers.Works, func(a, b store.Work) int { return strings.Compare(a.Key, b.Key) })
	for _, work := range answers.Works {
		if view.Ticket.Unwritten++; view.Ticket.Unwritten == 1 {
			view.Ticket.Since, view.Ticket.Why = at[work.Key], work.Trouble
		}
	}
	return nil
}
