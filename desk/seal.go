package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/store"
)

// seal chains the transaction's events to the ends of their streams.
func (tx *transaction) seal(ctx context.Context) error {
	var streams []countersign.Stream
	heads := map[countersign.Stream]store.Head{}
	for _, event := range tx.events {
		if _, known := heads[event.Stream]; !known {
			heads[event.Stream] = store.Head{}
			streams = append(streams, event.Stream)
		}
	}
	for _, write := range tx.change.Writes {
		if write.Was == 0 {
			streams = without(streams, write.Row.RowStream())
		}
	}
	if len(streams) > 0 {
		found, err := tx.read.Heads(ctx, streams)
		if err != nil {
			return err
		}
		for stream, head := range found {
			heads[stream] = head
			tx.desk.noticeAhead(head, tx.now())
		}
	}
	stamp := audit.Stamp{Time: tx.now(), Actor: tx.occasion.Actor, PolicySet: tx.occasion.PolicySet, DirectoryRevision: tx.directory.revision}
	for _, event := range tx.events {
		head := heads[event.Stream]
		sealed, err := audit.Seal(head.Seq, head.Hash, stamp, tx.occasion.Mint, event)
		if err != nil {
			return err
		}
		heads[event.Stream] = store.Head{Seq: sealed.Header.Seq, Hash: sealed.Hash}
		tx.change.Events = append(tx.change.Events, sealed)
	}
	return nil
}

// without drops the stream of a new noun, which has no head to read: the noun's
// id was minted in this transaction.
func without(streams []countersign.Stream, stream countersign.Stream) []countersign.Stream {
	switch countersign.PrefixOf(string(stream)) {
	case "req", "grt", "idn", "grp", "rec", "bat", "dlg", "fnd":
	default:
		return streams
	}
	kept := streams[:0]
	for _, other := range streams {
		if other != stream {
			kept = append(kept, other)
		}
	}
	return kept
}
