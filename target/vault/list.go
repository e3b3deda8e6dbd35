package vault

import (
	"context"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/target"
)

// Listed is one secret as the vault has it; never the secret itself.
type Listed struct {
	Credential countersign.CredentialID
	Holder     countersign.IdentityID
	Resource   string
	Scope      string
	Until      countersign.Instant
	LastUsed   countersign.Instant
}

// listPage is how many items are read at a time.
const listPage = 500

// List calls found for each secret of the system that works now, in the order of
// their credentials.
func (v *Vault) List(ctx context.Context, system countersign.SystemID, found func(Listed) error) error {
	for after := ""; ; {
		items, err := v.shelf.Items(ctx, "", after, listPage)
		if err != nil {
			return err
		}
		for _, item := range items {
			after = item.Key
			if strings.HasPrefix(item.Key, target.UsePrefix) {
				continue
			}
			held, err := decode(item)
			if err != nil {
				return err
			}
			if held.System != system || held.endedAt(v.now()) {
				continue
			}
			used, err := v.LastUsed(ctx, countersign.CredentialID(item.Key))
			if err != nil {
				return err
			}
			if err := found(Listed{countersign.CredentialID(item.Key), held.Holder, held.Resource, held.Scope, held.Until, used}); err != nil {
				return err
			}
		}
		if len(items) < listPage {
			return nil
		}
	}
}
