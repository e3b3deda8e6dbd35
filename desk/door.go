package desk

import (
	"cmp"
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

// House shows the house itself.
func (d *Desk) House(ctx context.Context) (*countersign.House, error) { return d.Store.House(ctx) }

// power reports whether the identity is known to hold a power of the desk now. That it
// could not be told is remembered for orStale.
func (tx *transaction) power(holder countersign.IdentityID, power string) bool {
	held, err := tx.desk.HoldsPower(holder, power)
	tx.stale = cmp.Or(tx.stale, err)
	return err == nil && held
}

// orStale ends a reading or a refusal of somebody whose power could not be told: with
// that, and not as if there were none.
func (tx *transaction) orStale(err *error) {
	if kind := countersign.KindOf(*err); tx.stale != nil && (*err == nil || kind == countersign.NotFound || kind == countersign.Refused) {
		*err = tx.stale
	}
}

// holdsAny reports whether the caller holds one of the powers; an error says that this
// cannot be told now.
func (d *Desk) holdsAny(caller Caller, powers ...string) (bool, error) {
	for _, power := range powers {
		if held, err := d.HoldsPower(caller.Identity, power); held || err != nil {
			return held && err == nil, err
		}
	}
	return false, nil
}

// Powers lists the powers of the desk that the identity holds now.
func (d *Desk) Powers(holder countersign.IdentityID) ([]string, error) {
	powers := []string{}
	for _, power := range directory.PowerNames {
		held, err := d.HoldsPower(holder, power)
		if err != nil {
			return nil, err
		}
		if held {
			powers = append(powers, power)
		}
	}
	return powers, nil
}

// Answered returns the object of a command that the caller gave before under the
// same key, and whether there was one. A key without a value has none.
func (d *Desk) Answered(ctx context.Context, caller Caller, key Key) (object string, done bool, err error) {
	if key.Value == "" {
		return "", false, nil
	}
	return d.answered(ctx, caller, key)
}
