package vault

import (
	"context"

	"github.com/countersign/countersign"
)

// LastUsed returns the last time that the key was shown and found active, to the
// hour; zero for none.
func (v *Vault) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	return v.uses.Last(ctx, credential)
}
