package scim

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
)

// ShelfName is the name of the shelf that marks lie on.
const ShelfName = "scim"

// mark is the body of an item, under the credential's id. Its Ref names holder and
// right. One without a grant is of a credential that was revoked before it was
// given.
type mark struct {
	connector.Mark
	// Connector is the name of the one that gave it.
	Connector string `json:"connector"`
	// Group is a SCIM id, or "" for the account itself; User is one, or "" for an
	// account that is being made.
	Group string `json:"group,omitempty"`
	User  string `json:"user,omitempty"`
	// RevokedAt is set for good.
	RevokedAt countersign.Instant `json:"revoked_at,omitempty"`
}

func (m *mark) ref() string {
	return strings.Join([]string{m.Connector, m.Group, string(m.Holder)}, "\n")
}

func (m *mark) reference() string {
	if m.Group == "" {
		return "user " + m.User
	}
	return "user " + m.User + " in the group " + m.Group
}

// differs says in what the mark is not for exactly what the task asks for, or "".
func (m *mark) differs(task connector.Task, of right, now *state) string {
	switch {
	case !m.MadeFor(task):
		return "it was made for " + m.Entitlement + " on " + m.Resource + " for " + string(m.Holder) + ", under " + string(m.Grant)
	case m.Group != of.group:
		return "it was made for " + right{m.Group}.String()
	case m.User != "" && m.User != now.id:
		return "the account was made anew since"
	}
	return ""
}

func open(item store.Item) (*mark, error) {
	m := &mark{}
	if err := json.Unmarshal(item.Body, m); err != nil {
		return nil, countersign.Errorf(countersign.Internal, "unreadable-mark", "the mark of %s on the shelf %s cannot be read", item.Key, ShelfName).Because(err)
	}
	return m, nil
}

// find returns the item of the credential with its mark, which is nil for none.
func (c *Connector) find(ctx context.Context, credential countersign.CredentialID) (store.Item, *mark, error) {
	item, err := c.Marks.Item(ctx, string(credential))
	if countersign.KindOf(err) == countersign.NotFound {
		return store.Item{Key: string(credential)}, nil, nil
	}
	if err != nil {
		return item, nil, err
	}
	held, err := open(item)
	return item, held, err
}

func (c *Connector) readMark(ctx context.Context, credential countersign.CredentialID) (*mark, error) {
	_, held, err := c.find(ctx, credential)
	return held, connector.FailureOf(err)
}

// keep lets decide alter the mark of the task's credential and writes it, before
// the deadline or not at all.
func (c *Connector) keep(ctx context.Context, task connector.Task, decide func(now countersign.Instant, held *mark) (*mark, error)) error {
	err := target.Commit(ctx, c.Marks, c.Clock, task.Deadline, func(now countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := c.find(ctx, task.Credential)
		if err != nil {
			return nil, err
		}
		next, err := decide(now, held)
		if err != nil || next == nil {
			return nil, err
		}
		if item, err = target.Next(item, next); err != nil {
			return nil, err
		}
		item.Ref = next.ref()
		return &store.ShelfChange{Puts: []store.Item{item}}, nil
	})
	var failure *connector.Failure
	if errors.As(err, &failure) {
		return err
	}
	return connector.FailureOf(err)
}

// writeMark says that the task gives the right, and to which user.
func (c *Connector) writeMark(ctx context.Context, task connector.Task, of right, user string) error {
	return c.keep(ctx, task, func(_ countersign.Instant, held *mark) (*mark, error) {
		if held == nil {
			return &mark{Mark: connector.MarkOf(task), Connector: c.Name, Group: of.group, User: user}, nil
		}
		if held.RevokedAt != 0 {
			return nil, rejected("%s was revoked and is never given again", task.Credential)
		}
		next := *held
		if next.User = user; !held.Stays(task) {
			next.Mark = held.Moved(task)
		}
		return &next, nil
	})
}

// revokeMark marks the credential as revoked, also where nothing was given.
func (c *Connector) revokeMark(ctx context.Context, task connector.Task) (*mark, error) {
	revoked := &mark{}
	err := c.keep(ctx, task, func(now countersign.Instant, held *mark) (*mark, error) {
		if held != nil {
			*revoked = *held
		} else {
			*revoked = mark{Connector: c.Name}
		}
		if revoked.RevokedAt != 0 {
			return nil, nil
		}
		revoked.RevokedAt = now
		return revoked, nil
	})
	return revoked, err
}

func (c *Connector) removeMark(ctx context.Context, task connector.Task) error {
	return connector.FailureOf(target.Commit(ctx, c.Marks, c.Clock, task.Deadline, func(countersign.Instant) (*store.ShelfChange, error) {
		item, held, err := c.find(ctx, task.Credential)
		if err != nil || held == nil || held.RevokedAt != 0 {
			return nil, err
		}
		return &store.ShelfChange{Deletes: []store.Item{item}}, nil
	}))
}

const marksAtOnce = 500

// each shows the marks with the reference, all for "".
func (c *Connector) each(ctx context.Context, ref string, found func(countersign.CredentialID, *mark)) error {
	for after := ""; ; {
		items, err := c.Marks.Items(ctx, ref, after, marksAtOnce)
		if err != nil {
			return connector.FailureOf(err)
		}
		for _, item := range items {
			held, err := open(item)
			if err != nil {
				return connector.FailureOf(err)
			}
			found(countersign.CredentialID(item.Key), held)
			after = item.Key
		}
		if len(items) < marksAtOnce {
			return nil
		}
	}
}

// others counts the credentials that give the same right to the same user, besides
// the one.
func (c *Connector) others(ctx context.Context, one countersign.CredentialID, like *mark) (count int, err error) {
	err = c.each(ctx, like.ref(), func(credential countersign.CredentialID, other *mark) {
		if credential != one && other.RevokedAt == 0 && other.User == like.User {
			count++
		}
	})
	return count, err
}
