package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// fillSlots puts evidence into the slots: what the asking brought, the records
// that the directory holds, and what the sources said of the tickets it names.
func (tx *transaction) fillSlots(ctx context.Context, j *judgement, asking Asking) ([]countersign.Slot, error) {
	slots := append([]countersign.Slot{}, j.preview.Plan.Evidence...)
	given := map[string][]byte{}
	for _, evidence := range asking.Evidence {
		given[evidence.Slot] = evidence.Content
	}
	for i := range slots {
		slot := &slots[i]
		content, has := given[slot.Name]
		delete(given, slot.Name)
		switch {
		case slot.VerifiedBy != "" && has:
			return nil, countersign.Errorf(countersign.Refused, "slot-is-verified", "The evidence %q is fetched and verified by %s; it cannot be attached.", slot.Name, slot.VerifiedBy).At("/evidence")
		case slot.VerifiedBy == "directory":
			held, err := tx.recordEvidence(j.facts.Records[slot.Record])
			if err != nil {
				return nil, err
			}
			slot.Held = held
		case slot.Ticket != "" && slot.Due == countersign.DueAtRequest && slot.Record != "":
			found, err := j.asked.look(ctx, tx.desk, j.set, policy.TicketQuery{Slot: slot.Name, Source: slot.VerifiedBy, Key: slot.Record})
			if err != nil {
				return nil, err
			}
			if slot.Held, err = tx.ticketEvidence(found); err != nil {
				return nil, err
			}
		case has && slot.Due == countersign.DueAtClosure:
			return nil, countersign.Errorf(countersign.Invalid, "not-due-yet", "The evidence %q falls due when the access is gone.", slot.Name).At("/evidence")
		case has:
			held, err := tx.keep(content, "upload", "")
			if err != nil {
				return nil, err
			}
			slot.Held = held
		}
	}
	for name := range given {
		return nil, countersign.Errorf(countersign.Invalid, "no-such-slot", "This request type has no evidence slot %q.", name).At("/evidence")
	}
	return slots, nil
}

// recordEvidence keeps a system record exactly as the directory holds it.
func (tx *transaction) recordEvidence(fact policy.RecordFact) (*countersign.Evidence, error) {
	record := tx.directory.records[tx.directory.recordKeys[fact.Key]]
	if record == nil {
		return nil, nil
	}
	content, err := countersign.Canonical(record)
	if err != nil {
		return nil, err
	}
	tx.relyOn(record)
	return tx.keep(content, "directory, record "+fact.Key, "The record exists, is not retired, and names the accountable owner.")
}

// keep stores evidence under its digest.
func (tx *transaction) keep(content []byte, source, verified string) (*countersign.Evidence, error) {
	if len(content) == 0 || len(content) > MaxEvidence {
		return nil, countersign.Errorf(countersign.TooLarge, "evidence-size", "Evidence has between 1 and %d bytes.", MaxEvidence).At("/evidence")
	}
	if shape := secretShape(string(content)); shape != "" {
		return nil, countersign.Errorf(countersign.Invalid, "secret-pasted", "This evidence looks like %s. Secrets never pass the desk.", shape).At("/evidence")
	}
	digest := countersign.DigestBytes(evidenceDomain, content)
	tx.change.Contents = append(tx.change.Contents, store.Content{Digest: digest, Bytes: content})
	return &countersign.Evidence{
		ID: tx.occasion.Mint.Evidence(), Digest: digest, Source: source, Verified: verified,
		By: tx.occasion.Actor.Identity(), At: tx.now(),
	}, nil
}

// OpenEvidence returns the content of evidence, and puts on the record who has
// opened it, as long as somebody may still decide on it.
func (d *Desk) OpenEvidence(ctx context.Context, caller Caller, id countersign.RequestID, slotName string) ([]byte, error) {
	var digest countersign.Digest
	reader := false
	err := d.onRequest(ctx, caller, Key{}, id, func(_ *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		for _, slot := range request.Evidence {
			if slot.Name == slotName && slot.Held != nil {
				digest = slot.Held.Digest
			}
		}
		reader = s.standing.HasAny(workflow.Requester, workflow.Beneficiary, workflow.Accountable, workflow.SystemOwner, workflow.Auditor) || tookPart(request, caller.Identity)
		return workflow.RequestCommand{Name: workflow.Open, Slot: slotName}, workflow.RequestVerdict{}, nil
	})
	// What has ended takes no more history, and can be read all the same by those
	// who may read it.
	ended := digest != "" && reader && countersign.KindOf(err) == countersign.Conflict
	if err != nil && !ended {
		return nil, err
	}
	content, err := d.Store.Content(ctx, digest)
	if err == nil && countersign.DigestBytes(evidenceDomain, content) != digest {
		err = countersign.Errorf(countersign.Internal, "damaged-evidence", "the evidence that is kept under %s has another digest: it was changed behind the house's back", digest)
	}
	return content, err
}
