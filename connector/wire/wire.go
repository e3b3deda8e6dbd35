// Package wire is the JSON contract of connectors that are programs of somebody
// else, in any language: one question, one answer. docs/connectors.md describes
// it. What carries questions and answers is next door, in exec and webhook.
//
// It never imports desk, and believes nothing that it can judge itself: whether
// a task names one right, whether its time is over, and whether what was read
// back is what was asked. An answer has no place for a secret. After each write
// the same holds as for every connector: only the read-back counts.
package wire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// Protocol is the version of the contract.
const Protocol = 1

// MaxAnswer is how many bytes an answer may have.
const MaxAnswer = 1 << 20

// patience is how long a question without a deadline of its own may take.
const patience = 30 * time.Second

// Carrier takes a question to the program and brings its answer back.
type Carrier interface {
	// Carry returns the bytes of the answer, at most MaxAnswer. The id names the
	// question: the same for the same attempt at the same write. An error that is no
	// connector.Failure counts as Transient. When ctx ends, so does the question.
	Carry(ctx context.Context, id string, question []byte) ([]byte, error)
}

// operation is the closed list of what a program is asked.
type operation string

const (
	describe   operation = "describe"
	plan       operation = "plan"
	apply      operation = "apply"
	verify     operation = "verify"
	revoke     operation = "revoke"
	verifyGone operation = "verify-gone"
	lastUsed   operation = "last-used"
	inventory  operation = "inventory"
)

type (
	question struct {
		Protocol  int       `json:"protocol"`
		Operation operation `json:"operation"`
		// AskedAt is the desk's time.
		AskedAt countersign.Instant `json:"asked_at"`
		Task    *task               `json:"task,omitempty"`
		Scope   *scope              `json:"scope,omitempty"`
	}
	task struct {
		Intent      countersign.IntentID     `json:"intent"`
		Attempt     int                      `json:"attempt"`
		Credential  countersign.CredentialID `json:"credential"`
		Grant       countersign.GrantID      `json:"grant"`
		Action      string                   `json:"action"`
		Holder      named                    `json:"holder"`
		Accountable countersign.IdentityID   `json:"accountable"`
		System      named                    `json:"system"`
		Resource    string                   `json:"resource"`
		Entitlement named                    `json:"entitlement"`
		Settings    map[string]string        `json:"settings"`
		Parameters  map[string]string        `json:"parameters,omitempty"`
		TakesOver   string                   `json:"takes_over,omitempty"`
		Until       countersign.Instant      `json:"until"`
		Deadline    countersign.Instant      `json:"deadline"`
	}
	named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
)

// Hands is a connector behind the contract. What it says of itself stands in the
// house's configuration, so that a house starts while the program is away, and so
// that the program cannot change it.
type Hands interface {
	connector.Connector
	// Check asks the program what it says of itself, and returns an error that names
	// each difference from the configuration.
	Check(ctx context.Context) error
}

// New returns the connector with the name, whose questions the carrier takes. It
// asks nothing yet. The Hands are a connector.LastUse, too, where the
// description says that the program tells of uses, and a connector.Inventory where
// it lists what is there.
func New(name string, description Description, carrier Carrier, clock connector.Clock) (Hands, error) {
	if err := description.check(name); err != nil {
		return nil, err
	}
	if clock == nil {
		return nil, countersign.Errorf(countersign.Internal, "no-clock", "the connector %s has no clock", name)
	}
	plain := &hands{name: name, description: description, carrier: carrier, clock: clock}
	switch {
	case description.TellsLastUse && description.TellsInventory:
		return struct {
			*hands
			telling
			listing
		}{plain, telling{plain}, listing{plain}}, nil
	case description.TellsLastUse:
		return struct {
			*hands
			telling
		}{plain, telling{plain}}, nil
	case description.TellsInventory:
		return struct {
			*hands
			listing
		}{plain, listing{plain}}, nil
	}
	return plain, nil
}

type hands struct {
	name        string
	description Description
	carrier     Carrier
	clock       connector.Clock
}

type (
	// telling is what a program can that knows when a credential was used.
	telling struct{ asker }
	// listing is what a program can that lists what is there.
	listing struct{ asker }
	asker   interface {
		ask(ctx context.Context, what operation, asked *connector.Task) (answer, error)
		put(ctx context.Context, put question) (answer, error)
		unsettled(what operation, cause error) error
	}
)

// Describe implements connector.Connector.
func (h *hands) Describe() connector.Description { return h.description.of(h.name) }

// Check implements Hands.
func (h *hands) Check(ctx context.Context) error {
	said, err := h.ask(ctx, describe, nil)
	if err != nil {
		return countersign.Errorf(countersign.Unavailable, "connector-unavailable", "the connector %s does not describe itself: %v", h.name, err).Because(err)
	}
	if differences := h.description.differences(said.Description); len(differences) > 0 {
		return countersign.Errorf(countersign.Invalid, "connector-differs", "the connector %s says other things of itself than its configuration: %s; change one of the two", h.name, strings.Join(differences, "; ")).At(place(h.name, "describe"))
	}
	return nil
}

// Plan implements connector.Connector. The right stands before the program's own
// words, so that these cannot hide it.
func (h *hands) Plan(ctx context.Context, asked connector.Task) (connector.Plan, error) {
	if err := asked.CheckRight(h.Describe()); err != nil {
		return connector.Plan{}, err
	}
	said, err := h.ask(ctx, plan, &asked)
	if err != nil {
		return connector.Plan{}, err
	}
	return connector.Plan{Effect: fmt.Sprintf("%s gives %s: %s", h.name, asked.Describe(), said.Effect)}, nil
}

// Apply implements connector.Connector.
func (h *hands) Apply(ctx context.Context, asked connector.Task) error {
	if err := asked.CheckComplete(h.Describe()); err != nil {
		return err
	}
	if asked.Until != 0 && asked.Until <= countersign.InstantOf(h.clock.Now()) {
		return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf("the end %s has passed", asked.Until)}
	}
	return h.write(ctx, apply, asked)
}

// Revoke implements connector.Connector.
func (h *hands) Revoke(ctx context.Context, asked connector.Task) error {
	return h.write(ctx, revoke, asked)
}

func (h *hands) write(ctx context.Context, what operation, asked connector.Task) error {
	if err := asked.CheckDeadline(ctx, h.clock); err != nil {
		return err
	}
	if asked.Deadline != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, asked.Deadline.Time().Sub(h.clock.Now()))
		defer cancel()
	}
	_, err := h.ask(ctx, what, &asked)
	return err
}

// Verify implements connector.Connector. The program says what is there; whether
// that is what was asked is judged here.
func (h *hands) Verify(ctx context.Context, asked connector.Task) (connector.Reading, error) {
	said, reading, err := h.read(ctx, verify, asked)
	if err != nil || !reading.Present {
		return reading, err
	}
	var wrong []string
	for _, part := range []struct{ what, found, want string }{
		{"holder", said.Holder, string(asked.Holder)}, {"system", said.System, asked.SystemName},
		{"resource", said.Resource, asked.Resource}, {"entitlement", said.Entitlement, asked.Entitlement},
	} {
		if part.found != part.want {
			wrong = append(wrong, fmt.Sprintf("the %s is %q and not %q", part.what, part.found, part.want))
		}
	}
	if h.description.EnforcesExpiryItself && asked.Until != 0 && (said.Until == 0 || said.Until > asked.Until.Add(h.description.ExpiryGranularity)) {
		wrong = append(wrong, fmt.Sprintf("it ends at %q and not at %s", said.Until, asked.Until))
	}
	if len(wrong) > 0 {
		reading.Present = false
		reading.How += ", which is not what was asked for: " + strings.Join(wrong, ", ")
	}
	return reading, nil
}

// VerifyGone implements connector.Connector.
func (h *hands) VerifyGone(ctx context.Context, asked connector.Task) (connector.Reading, error) {
	_, reading, err := h.read(ctx, verifyGone, asked)
	return reading, err
}

func (h *hands) read(ctx context.Context, what operation, asked connector.Task) (answer, connector.Reading, error) {
	said, err := h.ask(ctx, what, &asked)
	if err != nil {
		return said, connector.Reading{}, err
	}
	// What was read of another credential, or of nobody knows which, proves nothing.
	if !strings.Contains(said.How, string(asked.Credential)) {
		return said, connector.Reading{}, h.unsettled(what, errors.New(`the member "how" must say what was looked at, with the credential's id`))
	}
	reading := connector.Reading{Present: said.Present, How: said.How}
	if said.Present {
		reading.Until, reading.Reference = said.Until, said.Reference
	}
	return said, reading, nil
}

// LastUsed implements connector.LastUse.
func (h telling) LastUsed(ctx context.Context, credential countersign.CredentialID) (countersign.Instant, error) {
	said, err := h.ask(ctx, lastUsed, &connector.Task{Credential: credential})
	return said.At, err
}

// ask takes one question there and judges the form of its answer.
func (h *hands) ask(ctx context.Context, what operation, asked *connector.Task) (answer, error) {
	put := question{Operation: what}
	if asked != nil {
		put.Task = &task{
			Intent: asked.Intent, Attempt: asked.Attempt, Credential: asked.Credential, Grant: asked.Grant, Action: asked.Action,
			Holder: named{string(asked.Holder), asked.HolderName}, Accountable: asked.Accountable,
			System: named{string(asked.System), asked.SystemName}, Resource: asked.Resource,
			Entitlement: named{string(asked.EntitlementID), asked.Entitlement},
			Settings:    asked.Settings, Parameters: asked.Parameters, TakesOver: asked.TakesOver, Until: asked.Until, Deadline: asked.Deadline,
		}
		if asked.Settings == nil {
			put.Task.Settings = map[string]string{}
		}
	}
	return h.put(ctx, put)
}

// put takes a question there that is complete but for its version and time.
func (h *hands) put(ctx context.Context, put question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	put.Protocol, put.AskedAt = Protocol, countersign.InstantOf(h.clock.Now())
	what := put.Operation
	body, err := json.Marshal(put)
	if err != nil {
		return answer{}, err
	}
	// A read may be asked for again at any time, and is another question then.
	id := rand.Text()
	if what == apply || what == revoke {
		id = fmt.Sprintf("%s-%s-%d", put.Task.Intent, what, put.Task.Attempt)
	}
	content, err := h.carrier.Carry(ctx, id, body)
	if err != nil {
		var failure *connector.Failure
		if errors.As(err, &failure) {
			return answer{}, err
		}
		return answer{}, h.unsettled(what, err)
	}
	said, err := readAnswer(what, content)
	if err != nil {
		return answer{}, h.unsettled(what, err)
	}
	return said, said.failure()
}

// Done reads the answer to a question that asks for something to be done, and
// returns nil where it was. What is no such answer counts as Transient.
func Done(content []byte) error {
	said, err := readAnswer(apply, content)
	if err != nil {
		return &connector.Failure{Kind: connector.Transient, Message: "the program does not answer as it should", Cause: err}
	}
	return said.failure()
}

// unsettled is the failure after which nobody knows whether the effect happened.
func (h *hands) unsettled(what operation, cause error) error {
	return &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf("the connector %s does not answer %s as it should", h.name, what), Cause: cause}
}
