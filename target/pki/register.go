package pki

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/countersign/countersign"
)

// Issued is a certificate as the register lists it.
type Issued struct {
	Serial    string              `json:"serial"`
	Kind      Kind                `json:"kind"`
	Name      string              `json:"name"`
	IssuedAt  countersign.Instant `json:"issued_at"`
	Until     countersign.Instant `json:"until"`
	RevokedAt countersign.Instant `json:"revoked_at,omitzero"`
}

// Register returns up to limit certificates of a system, in the order of kinds and
// serial numbers, after the one that is named by kind/serial.
func (a *Authority) Register(ctx context.Context, system countersign.SystemID, after string, limit int) ([]Issued, error) {
	prefix := serialPrefix + string(system) + "/"
	items, err := a.shelf.Items(ctx, "", prefix+after, limit)
	if err != nil {
		return nil, err
	}
	found := []Issued{}
	for _, item := range items {
		if !strings.HasPrefix(item.Key, prefix) {
			break
		}
		var one issued
		if err := json.Unmarshal(item.Body, &one); err != nil {
			return nil, err
		}
		found = append(found, Issued{Serial: one.Serial, Kind: one.Kind, Name: one.Name, IssuedAt: one.IssuedAt, Until: one.Until, RevokedAt: one.RevokedAt})
	}
	return found, nil
}

// Listed is a certificate that is good, with whose it is.
type Listed struct {
	Credential countersign.CredentialID
	Holder     countersign.IdentityID
	Resource   string
	Name       string
	Until      countersign.Instant
}

// listPage is how many items are read at a time.
const listPage = 500

// List calls found for each certificate of the system's authority that is neither
// revoked nor ended, in the order of serial numbers.
func (a *Authority) List(ctx context.Context, kind Kind, system countersign.SystemID, found func(Listed) error) error {
	prefix := serialKey(system, kind, "")
	for after := prefix; ; {
		items, err := a.shelf.Items(ctx, "", after, listPage)
		if err != nil {
			return err
		}
		for _, item := range items {
			if after = item.Key; !strings.HasPrefix(after, prefix) {
				return nil
			}
			var one issued
			if err := json.Unmarshal(item.Body, &one); err != nil {
				return err
			}
			if one.RevokedAt != 0 || a.now() >= one.Until {
				continue
			}
			if err := found(Listed{one.Credential, one.Holder, one.Resource, one.Name, one.Until}); err != nil {
				return err
			}
		}
		if len(items) < listPage {
			return nil
		}
	}
}
