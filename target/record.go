package target

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/audit"
	"github.com/countersign/countersign/store"
)

// Access is what a target holds, by ids: stopping any of them stops it.
type Access struct {
	Credential  countersign.CredentialID
	Grant       countersign.GrantID
	Holder      countersign.IdentityID
	System      countersign.SystemID
	Entitlement countersign.EntitlementID
}

func (a Access) ids() (small [5]ID, err error) {
	if small[0], err = ParseID(a.Credential); err != nil {
		return small, err
	}
	if small[1], err = ParseID(a.Grant); err != nil {
		return small, err
	}
	if small[2], err = ParseID(a.Holder); err != nil {
		return small, err
	}
	if small[3], err = ParseID(a.System); err != nil {
		return small, err
	}
	// What was kept before stops could name entitlements has none.
	if a.Entitlement != "" {
		small[4], err = ParseID(a.Entitlement)
	}
	return small, err
}

// Check refuses an id that is missing or none.
func (a Access) Check() error {
	if _, err := a.ids(); err != nil {
		return err
	}
	_, err := ParseID(a.Entitlement)
	return err
}

// Stops reports whether any part of the access is stopped. What cannot be read is
// an error, and never let through.
func (s *Stops) Stops(a Access) (bool, error) {
	ids, err := a.ids()
	return err != nil || s.Stopped(ids[:]...), err
}

// Next is the next version of an item, with the body as JSON.
func Next(item store.Item, body any) (store.Item, error) {
	content, err := json.Marshal(body)
	item.Version++
	item.Body = content
	return item, err
}

// Record adds an event to a change, on a stream: that of a system, or the house's.
func Record(ctx context.Context, shelf store.Shelf, random io.Reader, change *store.ShelfChange, now countersign.Instant, actor countersign.Actor, stream countersign.Stream, payload countersign.Payload) error {
	head, err := shelf.Head(ctx, stream)
	if err != nil {
		return err
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return fmt.Errorf("making salts: %w", err)
	}
	event, err := audit.Seal(head.Seq, head.Hash, audit.Stamp{Time: now, Actor: actor}, countersign.NewMint(seed, now), countersign.Event{Stream: stream, Payload: payload})
	if err != nil {
		return err
	}
	change.Events = append(change.Events, event)
	return nil
}
