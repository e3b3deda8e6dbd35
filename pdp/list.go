package pdp

import (
	"context"
	"strings"

	"github.com/countersign/countersign"
)

// Listed is one assignment as the table has it.
type Listed struct {
	Credential countersign.CredentialID
	Subject    countersign.IdentityID
	Action     string
	// Resource is "system/resource".
	Resource string
	Until    countersign.Instant
}

// listPage is how many items are read at a time.
const listPage = 500

// List calls found for each assignment on the system that counts now, in the order
// of their credentials. It reads the table and not memory. An item that cannot be
// understood gives nothing and is left out, as it is by Evaluate.
func (p *Point) List(ctx context.Context, system countersign.SystemID, found func(Listed) error) error {
	for after := ""; ; {
		items, err := p.shelf.Items(ctx, "", after, listPage)
		if err != nil {
			return err
		}
		for _, item := range items {
			after = item.Key
			if strings.HasPrefix(item.Key, beatPrefix) || isUse(item.Key) {
				continue
			}
			held, damaged := decode(item)
			if damaged != nil || held.RemovedAt != 0 || held.System != system || held.Until != 0 && held.Until <= countersign.InstantOf(p.clock.Now()) {
				continue
			}
			if err := found(Listed{countersign.CredentialID(item.Key), held.Subject, held.Action, held.Resource, held.Until}); err != nil {
				return err
			}
		}
		if len(items) < listPage {
			return nil
		}
	}
}
