package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/faultpoint"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// ManyAsking asks for the same for many: each beneficiary and entitlement becomes
// a request of its own, by the type that fits.
type ManyAsking struct {
	Beneficiaries []string
	// Entitlements and Package are alternatives.
	Entitlements []string
	Package      string
	Reason       string
	Duration     countersign.Seconds
	Answers      json.RawMessage
}

// MaxItems is how many requests one batch can become.
const MaxItems = 500

// BatchView is a batch as its author sees it.
type BatchView struct {
	ID      countersign.BatchID `json:"id"`
	Version int64               `json:"version"`
	By      Ref                 `json:"by"`
	At      countersign.Instant `json:"at"`
	Reason  string              `json:"reason"`
	Package string              `json:"package,omitempty"`
	// Done says that every item has its result; Opened and Refused count them.
	Done    bool            `json:"done"`
	Opened  int             `json:"opened"`
	Refused int             `json:"refused"`
	Items   []BatchItemView `json:"items"`
}

// BatchItemView is one item with its result.
type BatchItemView struct {
	Beneficiary Ref                   `json:"beneficiary"`
	Entitlement EntitlementRef        `json:"entitlement"`
	Request     countersign.RequestID `json:"request,omitempty"`
	Refused     string                `json:"refused,omitempty"`
	Because     string                `json:"because,omitempty"`
}

// SubmitMany opens a batch. Its requests are opened afterwards, a few at a time;
// what one of them is refused for keeps none of the others back.
func (d *Desk) SubmitMany(ctx context.Context, caller Caller, key Key, asking ManyAsking) (countersign.BatchID, error) {
	if err := checkReason(asking.Reason); err != nil {
		return "", err
	}
	if len(asking.Answers) == 0 {
		asking.Answers = json.RawMessage("{}")
	}
	if field, shape := findSecret(Asking{Answers: asking.Answers}); shape != "" {
		return "", countersign.Errorf(countersign.Invalid, "secret-pasted", "This looks like %s. Secrets never pass the desk: take it out, and treat it as leaked if it is real.", shape).At(field)
	}
	id, err := d.command(ctx, caller, key, func(tx *transaction) (string, error) {
		items, err := tx.itemsOf(asking)
		if err != nil {
			return "", err
		}
		id := tx.occasion.Mint.Batch()
		opened := &workflow.BatchOpened{
			Change: workflow.BatchOpenedChange{By: caller.Identity, Package: asking.Package, Duration: asking.Duration, Items: items},
			Reason: &workflow.Reason{Text: asking.Reason, Answers: asking.Answers},
		}
		batch, err := tx.batch(nil, id, opened)
		if err == nil {
			tx.stepBatchOn(batch)
		}
		return string(id), err
	})
	return countersign.BatchID(id), err
}

// batch writes one event of a batch.
func (tx *transaction) batch(before *countersign.Batch, id countersign.BatchID, payload countersign.Payload) (*countersign.Batch, error) {
	var was int64
	if before != nil {
		was, before = before.Version, workflow.Copy(before)
	}
	stream := countersign.Stream(id)
	after, err := workflow.ApplyBatch(before, workflow.Stamp{Stream: stream, Seq: was + 1, Time: tx.now(), Actor: tx.occasion.Actor}, payload)
	if err != nil {
		return nil, err
	}
	tx.put(after, was)
	tx.events = append(tx.events, countersign.Event{Stream: stream, Payload: payload})
	return after, nil
}

// stepBatchOn has the engine go on with a batch while it has items that are not done.
func (tx *transaction) stepBatchOn(batch *countersign.Batch) {
	var due countersign.Instant
	if slices.ContainsFunc(batch.Items, func(item countersign.BatchItem) bool { return !item.Done() }) {
		due = tx.now()
	}
	tx.schedule(string(batch.ID), store.BatchWork, due)
}

// itemsOf resolves every name before anything is opened: a misspelt one refuses
// the whole batch, with its place.
func (tx *transaction) itemsOf(asking ManyAsking) ([]countersign.BatchItem, error) {
	names := asking.Entitlements
	if asking.Package != "" {
		if len(names) > 0 {
			return nil, countersign.Errorf(countersign.Invalid, "package-and-entitlements", "Ask for a package or for entitlements, not for both.").At("/package")
		}
		set, err := tx.policy.judging()
		if err != nil {
			return nil, err
		}
		wanted, err := set.Package(asking.Package)
		if err != nil {
			return nil, err
		}
		names = wanted.Entitlements
	}
	if count := len(asking.Beneficiaries) * len(names); count == 0 || count > MaxItems {
		return nil, countersign.Errorf(countersign.Invalid, "batch-size", "A batch is for 1 to %d requests, one for each beneficiary and entitlement; this would be %d.", MaxItems, count).At("/beneficiaries")
	}
	seen := map[countersign.BatchItem]bool{}
	var items []countersign.BatchItem
	for i, name := range asking.Beneficiaries {
		identity := tx.directory.findIdentity(name)
		if identity == nil {
			return nil, countersign.Errorf(countersign.Invalid, "no-such-identity", "There is no identity %q: give an id, a login, an e-mail address or a SPIFFE id.", countersign.Clip(name)).At(fmt.Sprintf("/beneficiaries/%d", i))
		}
		for k, right := range names {
			entitlement := tx.directory.findEntitlement(right)
			if entitlement == nil {
				return nil, countersign.Errorf(countersign.Invalid, "no-such-entitlement", "There is no entitlement %q: name it as system/resource/entitlement, as the catalogue lists it.", countersign.Clip(right)).At(fmt.Sprintf("/entitlements/%d", k))
			}
			item := countersign.BatchItem{Beneficiary: identity.ID, Entitlement: entitlement.ID}
			if seen[item] {
				return nil, countersign.Errorf(countersign.Invalid, "item-twice", "%s and %s stand twice.", identity.Name, right).At(fmt.Sprintf("/beneficiaries/%d", i))
			}
			seen[item] = true
			items = append(items, item)
		}
	}
	return items, nil
}

// itemsAtOnce is how many items one step takes.
const itemsAtOnce = 20

// lastTry is the attempt from which on an item that cannot be opened is refused by
// name.
const lastTry = 12

// StepBatches opens the next requests of batches, each as its author would have. A
// step that is taken twice opens nothing twice.
func (d *Desk) StepBatches(ctx context.Context, works []store.Work) error {
	for _, work := range works {
		if err := d.stepBatch(ctx, work); err != nil {
			return err
		}
	}
	return nil
}

// stepBatch notes with each request that it opens which item it came of, in one
// commit; what is refused is noted at the end of the step.
func (d *Desk) stepBatch(ctx context.Context, work store.Work) error {
	id := countersign.BatchID(work.Ref)
	batch, err := d.Store.Batch(ctx, id)
	if err != nil {
		return err
	}
	caller := Caller{Identity: batch.By, Issuer: "countersign", Strength: "batch"}
	refused := map[int]error{}
	var trouble error
	done := 0
	for i, item := range batch.Items {
		if item.Done() || done == itemsAtOnce {
			continue
		}
		asking := Asking{Beneficiary: string(item.Beneficiary), Entitlements: []string{string(item.Entitlement)}, Reason: batch.Reason, Duration: batch.Duration, Answers: batch.Answers}
		_, err := d.submit(ctx, caller, Key{}, asking, func(tx *transaction, request countersign.RequestID) error {
			batch, err := d.Store.Batch(ctx, id)
			if err != nil {
				return err
			}
			if batch.Items[i].Done() {
				return countersign.Errorf(countersign.Conflict, itemDone, "Another step opened this meanwhile.")
			}
			progressed := &workflow.BatchProgressed{Reason: &workflow.BatchSentences{Because: []string{""}}}
			progressed.Change.Results = []workflow.BatchResult{{Item: i, Request: request}}
			_, err = tx.batch(batch, id, progressed)
			return err
		})
		faultpoint.Reach(faultpoint.InBatch)
		switch kind := countersign.KindOf(err); {
		case err == nil || countersign.ReasonOf(err) == itemDone:
		case (kind == countersign.Unavailable || kind == countersign.Internal || countersign.ReasonOf(err) == "changed-meanwhile") && work.Attempt < lastTry:
			trouble = err // this item is tried again, and keeps no other back
			continue
		default:
			refused[i] = err
		}
		done++
	}
	return d.together(ctx, 1, nil, func(tx *transaction, _ int) error {
		batch, err := d.Store.Batch(ctx, id)
		if err != nil {
			return err
		}
		if done == 0 && trouble != nil {
			later := work
			later.DueAt, later.Reported, later.Trouble = tx.now().Add(backoff(work.Attempt)), true, troubleOf(trouble)
			tx.change.Work = append(tx.change.Work, store.WorkWrite{Work: later, Attempt: work.Attempt})
			return nil
		}
		progressed := &workflow.BatchProgressed{Reason: &workflow.BatchSentences{}}
		for i, item := range batch.Items {
			// Who was refused because another step had opened it is not refused.
			if why := refused[i]; why != nil && !item.Done() {
				progressed.Change.Results = append(progressed.Change.Results, workflow.BatchResult{Item: i, Refused: countersign.ReasonOf(why)})
				progressed.Reason.Because = append(progressed.Reason.Because, why.Error())
			}
		}
		if len(progressed.Change.Results) > 0 {
			if batch, err = tx.batch(batch, id, progressed); err != nil {
				return err
			}
		}
		tx.stepBatchOn(batch)
		return nil
	})
}

const itemDone = "batch-item-done"

// Batch shows a batch to its author, and to auditors.
func (d *Desk) Batch(ctx context.Context, caller Caller, id countersign.BatchID) (_ *BatchView, err error) {
	tx, err := d.begin(ctx, countersign.Actor(caller.Identity))
	if err != nil {
		return nil, err
	}
	defer tx.orStale(&err)
	batch, err := d.Store.Batch(ctx, id)
	if countersign.KindOf(err) == countersign.NotFound || err == nil && batch.By != caller.Identity && !tx.power(caller.Identity, PowerAuditor) {
		return nil, notFound("batch", string(id))
	}
	if err != nil {
		return nil, err
	}
	view := &BatchView{
		ID: batch.ID, Version: batch.Version, By: tx.directory.ref(batch.By), At: batch.At, Reason: batch.Reason, Package: batch.Package,
		Done: true, Items: make([]BatchItemView, 0, len(batch.Items)),
	}
	for _, item := range batch.Items {
		switch {
		case item.Request != "":
			view.Opened++
		case item.Refused != "":
			view.Refused++
		default:
			view.Done = false
		}
		view.Items = append(view.Items, BatchItemView{
			Beneficiary: tx.directory.ref(item.Beneficiary), Entitlement: tx.directory.entitlementRef(item.Entitlement),
			Request: item.Request, Refused: item.Refused, Because: strings.TrimSpace(item.Because),
		})
	}
	return view, nil
}
