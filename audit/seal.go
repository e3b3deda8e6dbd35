// Package audit is the proof: it turns events into links of a chain that nobody
// can change unseen.
//
// It does no I/O and reads no clock and no randomness: a law that reads the
// world cannot be replayed. It imports the root package only. After Seal
// returns, the event's hash covers everything that the event says.
package audit

import (
	"github.com/countersign/countersign"
)

// Stamp is what every event of one transaction has in common.
type Stamp struct {
	Time  countersign.Instant
	Actor countersign.Actor
	// PolicySet is the active set that the command was judged by; "" where none was.
	PolicySet countersign.Digest
	// DirectoryRevision is the directory as the writer knew it; 0 where it read none.
	DirectoryRevision int64
}

// Seal links an event to the end of its stream: seq and prev are the sequence
// number and hash of the last event there, both zero for the first one. Each
// group of values gets its own salt from the mint, in the order of the groups.
func Seal(seq int64, prev countersign.Hash, stamp Stamp, mint *countersign.Mint, event countersign.Event) (countersign.SealedEvent, error) {
	kind := event.Payload.EventKind()
	if seq < 0 || (seq == 0) != (prev == countersign.Hash{}) {
		return countersign.SealedEvent{}, countersign.Errorf(countersign.Internal, "broken-chain",
			"%s on stream %s: the end of the stream is event %d with the hash %q, and only an empty stream has no hash", kind, event.Stream, seq, prev)
	}
	if event.Stream == "" || stamp.Actor == "" || stamp.Time == 0 {
		return countersign.SealedEvent{}, countersign.Errorf(countersign.Internal, "incomplete-event",
			"%s needs a stream, an actor and a time; it has %q, %q and %q", kind, event.Stream, stamp.Actor, stamp.Time)
	}
	values, err := countersign.EncodePayload(event.Payload)
	if err != nil {
		return countersign.SealedEvent{}, err
	}
	commitments := make(map[countersign.ValueGroup]countersign.Hash, len(values))
	for i := range values {
		if !known(values[i].Group) {
			return countersign.SealedEvent{}, countersign.Errorf(countersign.Internal, "unknown-value-group",
				"%s has a group of values named %q; the groups are change, evidence, facts, reason and subject", kind, values[i].Group)
		}
		values[i].Salt = mint.Salt()
		commitments[values[i].Group] = values[i].Commitment()
	}
	header := countersign.Header{
		Stream: event.Stream, Seq: seq + 1, Prev: prev, Kind: kind,
		Time: stamp.Time, Actor: stamp.Actor,
		PolicySet: stamp.PolicySet, DirectoryRevision: stamp.DirectoryRevision,
		Commitments: commitments,
	}
	hash, err := header.Hash()
	if err != nil {
		return countersign.SealedEvent{}, err
	}
	return countersign.SealedEvent{Header: header, Hash: hash, Values: values}, nil
}

func known(group countersign.ValueGroup) bool {
	switch group {
	case countersign.ValueChange, countersign.ValueEvidence, countersign.ValueFacts, countersign.ValueReason, countersign.ValueSubject:
		return true
	}
	return false
}
