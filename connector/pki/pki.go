// Package pki is the connector for TLS certificates of the built-in X.509
// authority. With a deploy program it also puts them where they are used, and with
// a probe it looks there by a TLS handshake.
//
// It never imports desk, and reaches the authority only through what a remote one
// would offer. How far a deployment has come stands on the authority's shelf: after
// each write, whoever carries the same task out again goes on from there. A
// certificate that the probe does not see is taken back, and what was there before
// is put back; the former certificate is never touched.
package pki

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
	"github.com/countersign/countersign/faultpoint"
	"github.com/countersign/countersign/target/pki"
)

// Target is what the connector needs of an authority.
type Target interface {
	Check(ctx context.Context, order pki.Order) (pki.Asked, error)
	Issue(ctx context.Context, order pki.Order) error
	List(ctx context.Context, kind pki.Kind, system countersign.SystemID, found func(pki.Listed) error) error
	Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	CheckCredential(ctx context.Context, credential countersign.CredentialID) (pki.Check, error)
	Deploy(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) (pki.Deployment, error)
	Seen(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
	Restore(ctx context.Context, credential countersign.CredentialID, trouble string, notAfter countersign.Instant) error
	Restored(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error
}

// Options say what else than issuing is to be done.
type Options struct {
	// Name is what policies call the connector; "" is pki.
	Name string
	// Kind is what the target signs; "" is pki.X509.
	Kind pki.Kind
	// Deploy takes a certificate to where it is used; nil leaves that to its holder.
	Deploy wire.Carrier
	// Probe is where it must be seen then, as host:port, with {name} for the DNS
	// name; "" is nowhere.
	Probe string
	// Within is how long the probe waits for it to be seen; 0 is ten seconds.
	Within time.Duration
}

// Connector implements connector.Connector on an authority.
type Connector struct {
	target  Target
	clock   connector.Clock
	options Options
}

const (
	standardName   = "pki"
	standardWithin = 10 * time.Second
	// The answer of the form that is signed.
	requestParameter = "csr"
	// The settings of a system.
	usageSetting   = "usage"
	longestSetting = "longest"
	standardLife   = 90 * countersign.Day
)

var usages = map[string]pki.Limits{"": {Server: true}, "server": {Server: true}, "client": {Client: true}, "both": {Server: true, Client: true}}

// New returns the connector for the authority, or says what is wrong with the
// options.
func New(target Target, options Options, clock connector.Clock) (*Connector, error) {
	if options.Name == "" {
		options.Name = standardName
	}
	if options.Kind == "" {
		options.Kind = pki.X509
	}
	if options.Within == 0 {
		options.Within = standardWithin
	}
	if options.Within < 0 || options.Within > 20*time.Second {
		return nil, wire.Malformed(options.Name, "probe_within", "%s is not between 0s and 20s: an operation has 30s in all", options.Within)
	}
	if options.Probe != "" {
		host, port, err := net.SplitHostPort(strings.ReplaceAll(options.Probe, "{name}", "name.example"))
		if err != nil || host == "" || port == "" || strings.ContainsAny(host+port, "{}/ ") {
			return nil, wire.Malformed(options.Name, "probe", "%q is not host:port: write it as {name}:443 or 10.0.0.7:8443", countersign.Clip(options.Probe))
		}
	}
	if options.Deploy != nil && options.Probe == "" {
		return nil, wire.Malformed(options.Name, "probe", "a certificate that is deployed must be seen where it is used: give the address, as {name}:443")
	}
	return &Connector{target, clock, options}, nil
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: c.options.Name, Actions: []string{"issue"}, Kind: countersign.CredentialKind, Parameters: []string{requestParameter}, ParametersOnce: true,
		// The end stands in the certificate, in whole seconds that include the last one.
		// Before it, who verifies may
		// go by the list of revoked ones that was fetched last, and connections that are
		// open stay open.
		Rotates: true, EnforcesExpiryItself: true, ExpiryGranularity: 2, IdempotentRevoke: true, Residual: pki.CRLInterval,
	}
}

// orderOf is the task in the words of the authority.
func (c *Connector) orderOf(task connector.Task) (pki.Order, error) {
	for setting := range task.Settings {
		if setting != usageSetting && setting != longestSetting {
			return pki.Order{}, rejected("the connector %s has no setting %q: it has %q and %q", c.options.Name, setting, usageSetting, longestSetting)
		}
	}
	limits, known := usages[task.Settings[usageSetting]]
	if !known {
		return pki.Order{}, rejected("the setting %q of the connector %s is server, client or both, not %q", usageSetting, c.options.Name, task.Settings[usageSetting])
	}
	if c.options.Kind == pki.Elsewhere && task.Settings[usageSetting] != "" {
		return pki.Order{}, rejected("the connector %s has no setting %q: what a certificate is good for, the authority elsewhere decides", c.options.Name, usageSetting)
	}
	limits.Longest = standardLife
	if text := task.Settings[longestSetting]; text != "" {
		var err error
		if limits.Longest, err = countersign.ParseSeconds(text); err != nil || limits.Longest <= 0 {
			return pki.Order{}, rejected("the setting %q of the connector %s is a duration as 90d, not %q", longestSetting, c.options.Name, text)
		}
	}
	return OrderOf(task, c.options.Kind, requestParameter, limits), nil
}

// OrderOf is what the authority is asked for, with the key that the parameter names.
func OrderOf(task connector.Task, kind pki.Kind, parameter string, limits pki.Limits) pki.Order {
	return pki.Order{
		Intent: task.Intent, Attempt: task.Attempt, Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System, SystemName: task.SystemName,
		Entitlement: task.EntitlementID, Resource: task.Resource, Name: task.Entitlement, Kind: kind, Key: task.Parameters[parameter],
		Limits: limits, Until: task.Until, NotAfter: task.Deadline,
	}
}

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

// Plan implements connector.Connector. It refuses what the authority would refuse,
// so that nobody is asked to approve it.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	if err := task.CheckRight(c.Describe()); err != nil {
		return connector.Plan{}, err
	}
	order, err := c.orderOf(task)
	if err != nil {
		return connector.Plan{}, err
	}
	asked, err := c.target.Check(ctx, order)
	if err != nil {
		return connector.Plan{}, InWords(err)
	}
	life := countersign.Seconds(task.Until.Time().Sub(c.clock.Now()).Round(time.Second) / time.Second)
	lasts := fmt.Sprintf("%s, for %s at most", usageWords(order.Limits), life)
	if c.options.Kind == pki.Elsewhere {
		// What it is good for, and until when, the authority says; the house revokes it.
		lasts = fmt.Sprintf("signed elsewhere, revoked after %s at most", life)
	}
	effect := fmt.Sprintf("A certificate for %s (%s, %s, key %s) gives %s", order.Name, asked.Words(), lasts, asked.Fingerprint(), task.Describe())
	switch {
	case c.options.Deploy != nil:
		effect += fmt.Sprintf("; it is deployed, and taken back where it is not seen at %s.", c.address(order.Name))
	case c.options.Probe != "":
		effect += fmt.Sprintf("; it counts once it is seen at %s.", c.address(order.Name))
	default:
		effect += "; its holder fetches it."
	}
	return connector.Plan{Effect: effect}, nil
}

func usageWords(limits pki.Limits) string {
	switch {
	case limits.Server && limits.Client:
		return "TLS server and client"
	case limits.Client:
		return "TLS client"
	}
	return "TLS server"
}

// InWords gives the authority's sentence to people as it is.
func InWords(err error) error {
	var failure *connector.Failure
	if errors.As(err, &failure) {
		return failure
	}
	if kind := countersign.KindOf(err); kind == countersign.Invalid || kind == countersign.Conflict {
		return &connector.Failure{Kind: connector.Rejected, Message: err.Error()}
	}
	return connector.FailureOf(err)
}

// Apply implements connector.Connector.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	order, err := c.orderOf(task)
	if err != nil {
		return err
	}
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	if err := c.target.Issue(ctx, order); err != nil {
		return InWords(err)
	}
	faultpoint.Reach(faultpoint.AfterIssue)
	if c.options.Deploy == nil {
		return nil
	}
	return c.deploy(ctx, task)
}

// deploy takes the certificate to where it is used, from wherever an earlier call
// left off, and back where it is not seen.
func (c *Connector) deploy(ctx context.Context, task connector.Task) error {
	next, err := c.target.Deploy(ctx, task.Credential, task.Deadline)
	if err != nil {
		return InWords(err)
	}
	if next.Stage == pki.Deploying {
		trouble, err := c.put(ctx, task, next)
		switch {
		case err != nil:
			return err
		case trouble == "":
			return connector.FailureOf(c.target.Seen(ctx, task.Credential, task.Deadline))
		}
		if err := c.target.Restore(ctx, task.Credential, trouble, task.Deadline); err != nil {
			return connector.FailureOf(err)
		}
		if next, err = c.target.Deploy(ctx, task.Credential, task.Deadline); err != nil {
			return InWords(err)
		}
	}
	if next.Stage == pki.Deployed {
		return nil
	}
	// What was there before is put back, as often as it takes. Where nothing was, the
	// certificate stays where the program put it, and is revoked.
	if next.Former != nil {
		if err := c.tell(ctx, task, next.Former); err != nil {
			return &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf("the certificate is to be taken back (%s), and the former one could not be put back", next.Trouble), Cause: err}
		}
		faultpoint.Reach(faultpoint.AfterRestore)
	}
	if err := c.target.Restored(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	former := "nothing was there before"
	if next.Former != nil {
		former = "the former one was put back"
	}
	return rejected("the certificate for %s was taken back, and %s: %s", task.Entitlement, former, next.Trouble)
}

// put tells the program, and looks. Trouble is why the certificate is to be taken
// back; an error, that it is not known yet.
func (c *Connector) put(ctx context.Context, task connector.Task, next pki.Deployment) (trouble string, err error) {
	err = c.tell(ctx, task, next.Chain)
	var failure *connector.Failure
	if errors.As(err, &failure) && failure.Kind == connector.Rejected {
		return "the deploy program refuses: " + failure.Message, nil
	}
	if err != nil {
		return "", err
	}
	faultpoint.Reach(faultpoint.AfterDeploy)
	// Trouble in the register says nothing about what the server shows.
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return "", connector.FailureOf(err)
	}
	waiting, cancel := context.WithTimeout(ctx, c.options.Within)
	defer cancel()
	var saw error
	for {
		seen, err := c.probe(waiting, task, check)
		if seen {
			return "", nil
		}
		// A look that the end of the wait cut off says less than the one before it.
		if saw == nil || waiting.Err() == nil {
			saw = err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-waiting.Done():
			timer.Stop()
			// Somebody else's cancelling says nothing about the certificate.
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return fmt.Sprintf("after %s the probe of %s does not see it: %v", c.options.Within, c.address(task.Entitlement), saw), nil
		}
	}
}

// pause is between two looks of the probe.
const pause = 200 * time.Millisecond

// question is what the deploy program reads, in the form of docs/connectors.md.
type question struct {
	Protocol  int                 `json:"protocol"`
	Operation string              `json:"operation"`
	AskedAt   countersign.Instant `json:"asked_at"`
	Task      deployTask          `json:"task"`
}

type deployTask struct {
	Credential countersign.CredentialID `json:"credential"`
	System     string                   `json:"system"`
	Resource   string                   `json:"resource"`
	Name       string                   `json:"name"`
	// Certificate is PEM, with the authority's after it.
	Certificate string              `json:"certificate"`
	Deadline    countersign.Instant `json:"deadline"`
}

// tell has the program put a certificate where it is used.
func (c *Connector) tell(ctx context.Context, task connector.Task, chain []byte) error {
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	if task.Deadline != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, task.Deadline.Time().Sub(c.clock.Now()))
		defer cancel()
	}
	body, err := json.Marshal(question{Protocol: wire.Protocol, Operation: "deploy", AskedAt: countersign.InstantOf(c.clock.Now()), Task: deployTask{
		Credential: task.Credential, System: task.SystemName, Resource: task.Resource, Name: task.Entitlement, Certificate: string(chain), Deadline: task.Deadline,
	}})
	if err != nil {
		return err
	}
	content, err := c.options.Deploy.Carry(ctx, fmt.Sprintf("%s-deploy-%d", task.Intent, task.Attempt), body)
	if err != nil {
		return &connector.Failure{Kind: connector.Transient, Message: "the deploy program does not answer as it should", Cause: err}
	}
	return wire.Done(content)
}

// Verify implements connector.Connector: by a handshake where a probe is
// configured, and by the authority's register. What is only stopped by the desk
// counts as present: a stop is not the target's doing.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	check, reading, err := c.read(ctx, task)
	if err != nil || !reading.Present {
		return reading, err
	}
	if check.Kind != c.options.Kind || check.Holder != task.Holder || check.System != task.System || check.SystemName != task.SystemName || check.Resource != task.Resource || check.Name != task.Entitlement {
		reading.Present = false
		reading.How += ", which is not what was asked for"
		return reading, nil
	}
	if c.options.Probe != "" {
		if seen, err := c.probe(ctx, task, check); !seen {
			reading.Present = false
			reading.How += fmt.Sprintf("; a TLS handshake with %s does not show it: %v", c.address(task.Entitlement), err)
		} else {
			reading.How += fmt.Sprintf("; a TLS handshake with %s shows it", c.address(task.Entitlement))
		}
	}
	return reading, nil
}

// Revoke implements connector.Connector.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := task.CheckDeadline(ctx, c.clock); err != nil {
		return err
	}
	if err := c.target.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return InWords(err)
	}
	return nil
}

// VerifyGone implements connector.Connector. What is only stopped is not gone.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	_, reading, err := c.read(ctx, task)
	return reading, err
}

// List implements connector.Inventory.
func (c *Connector) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return c.target.List(ctx, c.options.Kind, of.System, func(listed pki.Listed) error {
		return found(connector.Item{
			Principal: string(listed.Holder), Holder: listed.Holder, Resource: listed.Resource, Entitlement: listed.Name, Credential: listed.Credential, Until: listed.Until,
		})
	})
}

func (c *Connector) read(ctx context.Context, task connector.Task) (pki.Check, connector.Reading, error) {
	check, err := c.target.CheckCredential(ctx, task.Credential)
	if err != nil {
		return check, connector.Reading{}, connector.FailureOf(err)
	}
	return check, ReadingOf(check, task), nil
}

// ReadingOf is what the register says, as the read-back of a task.
func ReadingOf(check pki.Check, task connector.Task) connector.Reading {
	reading := connector.Reading{
		Present: slices.Contains([]pki.State{pki.Good, pki.Stopped}, check.State),
		How:     fmt.Sprintf("the register of the authority, by %s: %s", task.Credential, check.State),
	}
	if check.Serial != "" {
		reading.How += fmt.Sprintf(", serial number %s, for %s on %s/%s for %s until %s", check.Serial, check.Name, check.SystemName, check.Resource, check.Holder, check.Until)
	}
	if reading.Present {
		reading.Until = check.Until
		reading.Reference = strings.Replace(pki.IssuedPath, "{credential}", string(task.Credential), 1)
	}
	return reading
}
