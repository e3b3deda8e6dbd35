package audit

import (
	"fmt"

	"github.com/countersign/countersign"
)

// Chain checks the events of one stream, in order, against what they claim: each
// header hashes to its hash, names the event before it, and commits to exactly
// the values that are kept.
type Chain struct {
	stream countersign.Stream
	seq    int64
	last   countersign.Hash
}

// NewChain begins a stream.
func NewChain(stream countersign.Stream) *Chain { return &Chain{stream: stream} }

// Add checks the next event of the stream. Its error names the event.
func (c *Chain) Add(event countersign.SealedEvent) error {
	header := event.Header
	broken := func(format string, args ...any) error {
		return countersign.Errorf(countersign.Conflict, "broken-chain", "stream %s, event %d: %s", c.stream, c.seq+1, fmt.Sprintf(format, args...))
	}
	if header.Stream != c.stream || header.Seq != c.seq+1 {
		return broken("the event kept here says that it is event %d of %s: one was removed, added or moved", header.Seq, header.Stream)
	}
	if header.Prev != c.last {
		return broken("it follows %s, and the event before it has the hash %s", header.Prev, c.last)
	}
	hash, err := header.Hash()
	if err != nil {
		return broken("its header has no canonical form: %v", err)
	}
	if hash != event.Hash {
		return broken("its header hashes to %s, and %s is kept", hash, event.Hash)
	}
	for _, value := range event.Values {
		commitment, known := header.Commitments[value.Group]
		if !known || value.Commitment() != commitment {
			return broken("the values of its group %q are not those that it committed to", value.Group)
		}
	}
	for group := range header.Commitments {
		if !holds(event.Values, group) {
			return broken("the values of its group %q are missing, and no event says that they were erased", group)
		}
	}
	c.seq, c.last = header.Seq, hash
	return nil
}

func holds(values []countersign.Value, group countersign.ValueGroup) bool {
	for _, value := range values {
		if value.Group == group {
			return true
		}
	}
	return false
}
