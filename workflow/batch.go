package workflow

import "github.com/countersign/countersign"

// Events of a batch.

type BatchOpened struct {
	Change BatchOpenedChange `json:"change"`
	Reason *Reason           `json:"reason"`
}

type BatchOpenedChange struct {
	By       countersign.IdentityID  `json:"by"`
	Package  string                  `json:"package,omitempty"`
	Duration countersign.Seconds     `json:"duration,omitempty"`
	Items    []countersign.BatchItem `json:"items"`
}

func (BatchOpened) EventKind() string { return "batch.opened@1" }

// BatchProgressed tells what became of some items; the sentences of refusals can
// name people and stand apart.
type BatchProgressed struct {
	Change struct {
		Results []BatchResult `json:"results"`
	} `json:"change"`
	Reason *BatchSentences `json:"reason"`
}

type BatchResult struct {
	Item    int                   `json:"item"`
	Request countersign.RequestID `json:"request,omitempty"`
	Refused string                `json:"refused,omitempty"`
}

// BatchSentences are in the order of the results.
type BatchSentences struct {
	Because []string `json:"because"`
}

func (BatchProgressed) EventKind() string { return "batch.progressed@1" }

func init() { Registry.Register(&BatchOpened{}, &BatchProgressed{}) }

// ApplyBatch folds one event of a batch's stream into its state, which it takes
// over and returns; nil is the state before the first event.
func ApplyBatch(b *countersign.Batch, stamp Stamp, payload countersign.Payload) (*countersign.Batch, error) {
	switch event := payload.(type) {
	case *BatchOpened:
		b = &countersign.Batch{
			ID: countersign.BatchID(stamp.Stream), By: event.Change.By, At: stamp.Time, Package: event.Change.Package,
			Duration: event.Change.Duration, Items: Copy(&event.Change).Items,
		}
		if event.Reason != nil {
			b.Reason, b.Answers = event.Reason.Text, event.Reason.Answers
		}
	case *BatchProgressed:
		if b == nil {
			return nil, countersign.Errorf(countersign.Internal, "stream-without-beginning", "a batch's stream begins with %s", BatchOpened{}.EventKind())
		}
		for i, result := range event.Change.Results {
			item := &b.Items[result.Item]
			item.Request, item.Refused = result.Request, result.Refused
			if event.Reason != nil {
				item.Because = event.Reason.Because[i]
			}
		}
	default:
		return nil, countersign.Errorf(countersign.Internal, "unknown-event", "%s is not an event of a batch", payload.EventKind())
	}
	b.Version = stamp.Seq
	return b, nil
}
