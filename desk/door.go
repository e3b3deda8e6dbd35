package desk

import (
	"cmp"
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

// House shows the house itself.
func (d *Desk) House(ctx context.Context) (*countersign.House, error) { return d.Store.House(ctx) }

// Power reports whether the identity is known to hold a power of the desk now.
func (d *Desk) Power(holder countersign.IdentityID, power string) bool {
	held, err := d.HoldsPower(holder, power)
	return err == nil && held
}

// power is Power, and remembers that it could not be told: who is refused for want of
// one is then told that, and not that there is none.
func (tx *transaction) power(holder countersign.IdentityID, power string) bool {
	held, err := tx.desk.HoldsPower(holder, power)
	tx.stale = cmp.Or(tx.stale, err)
	return err == nil && held
}

// Powers lists the powers of the desk that the identity holds now.
func (d *Desk) Powers(holder countersign.IdentityID) []string {
	held := []string{}
	for _, power := range directory.PowerNames {
		if d.Power(holder, power) {
			held = append(held, power)
		}
	}
	return held
}

// Answered returns the object of a command that the caller gave before under the
// same key, and whether there was one. A key without a value has none.
func (d *Desk) Answered(ctx context.Context, caller Caller, key Key) (object string, done bool, err error) {
	if key.Value == "" {
		return "", false, nil
	}
	return d.answered(ctx, caller, key)
}
