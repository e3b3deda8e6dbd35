package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/attest"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/workflow"
)

// Attach fills an evidence slot.
func (d *Desk) Attach(ctx context.Context, caller Caller, key Key, id countersign.RequestID, evidence EvidenceContent) error {
	return d.onRequest(ctx, caller, key, id, func(tx *transaction, request *countersign.Request, s *stance) (workflow.RequestCommand, workflow.RequestVerdict, error) {
		if err := tx.bump(ctx, s.matter.beneficiary.SamePerson()...); err != nil {
			return workflow.RequestCommand{}, workflow.RequestVerdict{}, err
		}
		verdict, err := tx.verdict(ctx, request, s)
		if err != nil {
			return workflow.RequestCommand{}, verdict, err
		}
		var slot countersign.Slot
		for _, one := range request.Evidence {
			if one.Name == evidence.Slot {
				slot = one
			}
		}
		held, err := tx.brought(slot, evidence.Content)
		if err != nil {
			return workflow.RequestCommand{}, verdict, err
		}
		return workflow.RequestCommand{Name: workflow.Attach, Slot: evidence.Slot, Evidence: *held}, verdict, nil
	})
}

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
		case slot.VerifiedBy != "" && !slot.Brought && has:
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
			held, err := tx.brought(*slot, content)
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

// brought keeps what somebody brings: as it is, or what a verifier has checked.
func (tx *transaction) brought(slot countersign.Slot, content []byte) (*countersign.Evidence, error) {
	if !slot.Brought {
		return tx.keep(content, "upload", "")
	}
	return tx.attested(slot, content, "upload")
}

// attested keeps a signed statement about the artifact that the request declares,
// where it is what the verifier of today's set asks for.
func (tx *transaction) attested(slot countersign.Slot, content []byte, from string) (*countersign.Evidence, error) {
	_, terms, err := tx.verifier(slot)
	if err != nil {
		return nil, err
	}
	result, err := attest.Verify(content, terms, slot.Record, tx.now())
	var refused *countersign.Error
	if errors.As(err, &refused) {
		return nil, refused.At("/evidence")
	}
	if err != nil {
		return nil, err
	}
	// What is signed stands in the envelope in base64, where nobody would see it.
	if shape := countersign.SecretShape(string(result.Payload)); shape != "" {
		return nil, countersign.Errorf(countersign.Invalid, "secret-pasted", "What is signed holds %s. Secrets never pass the desk.", shape).At("/evidence")
	}
	held, err := tx.keep(content, from, result.Sentence(slot.Record))
	if err == nil {
		held.Key = result.Key.Fingerprint
		tx.relyOnPolicy()
	}
	return held, err
}

// verifier is the slot's, as it is in today's set.
func (tx *transaction) verifier(slot countersign.Slot) (policy.VerifierInfo, attest.Terms, error) {
	set, err := tx.policy.judging()
	if err != nil {
		return policy.VerifierInfo{}, attest.Terms{}, err
	}
	info, terms, known := set.Verifier(slot.VerifiedBy)
	if !known {
		err = countersign.Errorf(countersign.Refused, "no-such-verifier", "Today's policy set has no verifier %q any more: what it verifies is asked for anew.", slot.VerifiedBy).At("/evidence")
	}
	return info, terms, err
}

// refuseUntrusted refuses evidence that was signed by a key which no longer counts.
func (tx *transaction) refuseUntrusted(set *policy.Set, request *countersign.Request) []policy.Refusal {
	var refusals []policy.Refusal
	for _, slot := range request.Evidence {
		if slot.Held == nil || slot.Held.Key == "" {
			continue
		}
		info, _, _ := set.Verifier(slot.VerifiedBy)
		if !slices.ContainsFunc(info.Keys, func(key policy.VerifierKey) bool { return key.Fingerprint == slot.Held.Key }) {
			refusals = append(refusals, policy.Refusal{Reason: "key-not-trusted", Because: fmt.Sprintf("The evidence %q was signed by the key %s, which the verifier %s does not trust any more: ask anew, with another statement.", slot.Name, slot.Held.Key, slot.VerifiedBy)})
		}
	}
	return refusals
}

// keep stores evidence under its digest.
func (tx *transaction) keep(content []byte, source, verified string) (*countersign.Evidence, error) {
	if len(content) == 0 || len(content) > MaxEvidence {
		return nil, countersign.Errorf(countersign.TooLarge, "evidence-size", "Evidence has between 1 and %d bytes.", MaxEvidence).At("/evidence")
	}
	if shape := countersign.SecretShape(string(content)); shape != "" {
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

// followUpSentence says what the end of a request waits for, and until when.
func followUpSentence(slot *countersign.Slot) string {
	if slot.Overdue {
		return "the follow-up " + slot.Name + ", which is overdue; people are told again at " + slot.Deadline.String()
	}
	return "the follow-up " + slot.Name + ", due " + slot.Deadline.String()
}
