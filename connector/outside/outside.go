//go:build faultpoint

// Package outside is a connector whose target outlives the program: the test that
// kills the program serves it over HTTP. It is there in builds with the tag
// faultpoint only.
//
// The target is as plain as one can be (a credential is put, read and deleted by
// its id) and remembers nothing of what was deleted, so that a write which comes
// too late gives access again. It never imports desk, and writes nothing after a
// task's deadline.
package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// Connector implements connector.Connector.
type Connector struct {
	address string
	clock   connector.Clock
	client  http.Client
}

// New returns the connector to the target that COUNTERSIGN_OUTSIDE_TARGET names.
func New(clock connector.Clock) *Connector {
	return &Connector{address: os.Getenv("COUNTERSIGN_OUTSIDE_TARGET"), clock: clock}
}

// credential is one as the target keeps it.
type credential struct {
	Intent      countersign.IntentID   `json:"intent"`
	Grant       countersign.GrantID    `json:"grant"`
	Holder      countersign.IdentityID `json:"holder"`
	Entitlement string                 `json:"entitlement"`
	Until       countersign.Instant    `json:"until"`
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: "outside", Actions: []string{"put"}, Kind: countersign.CredentialKind,
		Rotates: true, Extends: true, EnforcesExpiryItself: true, EndsSessions: true, IdempotentRevoke: true,
	}
}

// Plan implements connector.Connector.
func (c *Connector) Plan(_ context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return connector.Plan{}, err
	}
	return connector.Plan{Effect: "The outside target holds " + task.Describe() + "."}, nil
}

func wanted(task connector.Task) credential {
	return credential{task.Intent, task.Grant, task.Holder, task.ResourcePath() + "/" + task.Entitlement, task.Until}
}

func (c *credential) gives(task connector.Task) bool {
	want := wanted(task)
	return c != nil && c.Grant == want.Grant && c.Holder == want.Holder && c.Entitlement == want.Entitlement
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	held, err := c.call(ctx, http.MethodGet, task, nil)
	if err != nil {
		return err
	}
	if held != nil && !held.gives(task) {
		return &connector.Failure{Kind: connector.Rejected, Message: "the target holds something else under " + string(task.Credential)}
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	body, err := json.Marshal(wanted(task))
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPut, task, body)
	return err
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	_, err := c.call(ctx, http.MethodDelete, task, nil)
	return err
}

// Verify implements connector.Connector.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	held, err := c.call(ctx, http.MethodGet, task, nil)
	if err == nil && !held.gives(task) {
		held = nil
	}
	return c.reading(held, task), err
}

// VerifyGone implements connector.Connector.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	held, err := c.call(ctx, http.MethodGet, task, nil)
	return c.reading(held, task), err
}

func (c *Connector) reading(held *credential, task connector.Task) connector.Reading {
	reading := connector.Reading{How: "GET /credentials/" + string(task.Credential)}
	if held != nil {
		reading.Present, reading.Until, reading.Reference = true, held.Until, string(task.Credential)
	}
	return reading
}

// call returns what the target holds under the task's credential, nil for nothing.
func (c *Connector) call(ctx context.Context, method string, task connector.Task, body []byte) (*credential, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.address+"/credentials/"+string(task.Credential), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, &connector.Failure{Kind: connector.Transient, Message: "the outside target did not answer", Cause: err}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	switch {
	case err != nil:
		return nil, &connector.Failure{Kind: connector.Transient, Message: "the outside target did not answer", Cause: err}
	case response.StatusCode == http.StatusNotFound:
		return nil, nil
	case response.StatusCode != http.StatusOK:
		return nil, &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf("the outside target answered %s", response.Status)}
	}
	var held credential
	if err := json.Unmarshal(content, &held); err != nil {
		return nil, &connector.Failure{Kind: connector.Transient, Message: "the outside target's answer cannot be read", Cause: err}
	}
	return &held, nil
}
