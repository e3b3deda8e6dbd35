package desk

import (
	"context"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

// House shows the house itself.
func (d *Desk) House(ctx context.Context) (*countersign.House, error) { return d.Store.House(ctx) }

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
