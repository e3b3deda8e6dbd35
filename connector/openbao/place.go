package openbao

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
)

// place is where on the server a credential is. The house's vault keeps it beside
// the secret, written before each question whose answer could be lost.
type place struct {
	connector.Mark
	// Cluster and Namespace say on which server.
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	// Path is what gives, as database/creds/reader or auth/approle/role/reader.
	Path string `json:"path"`
	// Accessor is that of the lease's token, or of the secret id; Lease is the lease's id.
	Accessor string `json:"accessor,omitempty"`
	Lease    string `json:"lease,omitempty"`
	// Handed says that the secret was deposited.
	Handed bool `json:"handed,omitempty"`
}

func (p place) text() string {
	content, err := json.Marshal(p)
	if err != nil {
		// A struct of strings and numbers always marshals.
		panic("openbao: " + err.Error())
	}
	return string(content)
}

// readPlace returns the credential's place, nil for none, and its text as it was kept.
func (c *Connector) readPlace(ctx context.Context, credential countersign.CredentialID) (*place, string, error) {
	text, err := c.Vault.PlaceOf(ctx, credential)
	if err != nil || text == "" {
		return nil, "", connector.FailureOf(err)
	}
	var at place
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		return nil, "", rejected("what the vault keeps of the place of %s is not the connector's", credential)
	}
	return &at, text, nil
}

// sameServer refuses to take for gone what only another server does not know.
func (s *server) sameServer(ctx context.Context, at place) error {
	cluster, err := s.cluster(ctx)
	switch {
	case err != nil:
		return err
	case cluster != at.Cluster || s.Namespace != at.Namespace:
		return transient("this is another OpenBao cluster or namespace (%s, %q) than the one that gave it (%s, %q): set the connector's address and namespace as they were until it is gone",
			cluster, s.Namespace, at.Cluster, at.Namespace)
	}
	return nil
}

// keep writes the place down, unless somebody else did since it was read as former.
func (c *Connector) keep(ctx context.Context, task connector.Task, how vaulthands.Reading, at place, former string) (string, error) {
	order := vaulthands.OrderOf(task, how)
	order.Place, order.Former = at.text(), former
	return order.Place, kept(c.Vault.Reserve(ctx, order))
}

// deposit hands the secret over.
func (c *Connector) deposit(ctx context.Context, task connector.Task, how vaulthands.Reading, at place, former string, secret countersign.Secret) error {
	order := vaulthands.OrderOf(task, how)
	at.Handed = true
	order.Place, order.Former = at.text(), former
	return kept(c.Vault.Deposit(ctx, order, secret))
}

// kept turns an error of the vault's into a failure: what another operation
// changed at the same time is worth another try.
func kept(err error) error {
	if countersign.ReasonOf(err) == "place-changed" {
		return &connector.Failure{Kind: connector.Transient, Message: "it is being changed by somebody else", Cause: err}
	}
	return connector.FailureOf(err)
}

// undone is why nothing was given, once what was made for it is gone again; until
// then it is worth another try.
func undone(why, undoing error) error {
	if undoing == nil {
		return why
	}
	return &connector.Failure{Kind: connector.Transient, Message: "what was made and not handed over is still there", Cause: errors.Join(why, undoing)}
}

// metaOf is the mark that the server keeps of what was made for a task: readable
// for whoever reads its audit log, and never changed.
func metaOf(task connector.Task) map[string]string {
	return map[string]string{
		"countersign_credential": string(task.Credential), "countersign_grant": string(task.Grant), "countersign_holder": string(task.Holder),
		"countersign_system": string(task.System), "countersign_resource": task.Resource, "countersign_entitlement": task.Entitlement,
	}
}

// differs says in what a mark is not the task's, or "".
func differs(meta map[string]string, task connector.Task) string {
	for name, want := range metaOf(task) {
		if meta[name] != want {
			return fmt.Sprintf("its %s is %q, and not %q", name, countersign.Clip(meta[name]), want)
		}
	}
	return ""
}

// segments are names of roles and mounts that cannot lead elsewhere in a path.
var (
	roleName  = regexp.MustCompile(`^\w(?:[\w.-]*\w)?$`)
	mountName = regexp.MustCompile(`^\w(?:[\w.-]*\w)?(?:/\w(?:[\w.-]*\w)?)*$`)
)

// secondsUntil is how long it is until then, rounded up: the server counts in
// whole seconds, and what it keeps longer the house ends itself.
func (c *Connector) secondsUntil(until countersign.Instant) int64 {
	left := int64(until - countersign.InstantOf(c.Clock.Now()))
	return (left + 999) / 1000
}
