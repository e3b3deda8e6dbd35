// Package acme is the connector for TLS certificates that an authority elsewhere
// signs by ACME (RFC 8555). The house answers its challenges (http-01) itself.
//
// It never imports desk. What was ordered stands in the register of the built-in
// authority before it is ordered, and where the order is kept before it is made
// final, so that whoever carries the same task out again takes up that order. The
// authority elsewhere decides when a certificate ends; the house revokes it at the
// end of the access, and counts that once the authority has said of it that it is
// revoked already. After Apply the rest is that of package connector/pki: deploying,
// looking, taking back.
package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/connector/wire"
	target "github.com/countersign/countersign/target/pki"
)

// Options say which authority is asked, as whom.
type Options struct {
	pki.Options
	// Directory is the address of the authority.
	Directory string
	// Account is the key of the account there.
	Account crypto.Signer
	// Contact are addresses for the authority, as mailto:pki@example.org.
	Contact []string
	// HTTP is how it is reached.
	HTTP *http.Client
	// Residual is how long verifiers may go by what they know of a certificate that is
	// revoked, in seconds.
	Residual countersign.Seconds
}

// Connector implements connector.Connector on an authority elsewhere.
type Connector struct {
	*pki.Connector
	residual countersign.Seconds
}

// New returns the connector, or says what is wrong with the options. It asks
// nothing yet.
func New(register *target.Authority, options Options, clock connector.Clock) (*Connector, error) {
	options.Kind = target.Elsewhere
	if options.Account == nil {
		return nil, wire.Malformed(options.Name, "account_key_file", "an account has a key: name a file that holds one")
	}
	elsewhere := &authority{
		Authority: register, contact: options.Contact, clock: clock,
		client: &acme.Client{Key: options.Account, DirectoryURL: options.Directory, HTTPClient: options.HTTP, UserAgent: "countersign"},
	}
	made, err := pki.New(elsewhere, options.Options, clock)
	return &Connector{made, options.Residual}, err
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	description := c.Connector.Describe()
	description.EnforcesExpiryItself, description.ExpiryGranularity, description.Residual = false, 0, c.residual
	return description
}

// authority is what connector/pki needs of an authority, elsewhere.
type authority struct {
	*target.Authority
	client  *acme.Client
	contact []string
	clock   connector.Clock

	lock       sync.Mutex
	registered bool
	// apart keeps two calls for one credential apart in this process. In another
	// process, a late duplicate takes up the same order.
	apart connector.Apart
}

// account makes the account, or finds the one with the key.
func (a *authority) account(ctx context.Context) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.registered {
		return nil
	}
	_, err := a.client.Register(ctx, &acme.Account{Contact: a.contact}, acme.AcceptTOS)
	if err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return failureOf(err)
	}
	a.registered = true
	return nil
}

// within ends the context at the deadline.
func (a *authority) within(ctx context.Context, notAfter countersign.Instant) (context.Context, context.CancelFunc) {
	if notAfter == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, notAfter.Time().Sub(a.clock.Now()))
}

// Issue implements pki.Target.
func (a *authority) Issue(ctx context.Context, order target.Order) error {
	defer a.apart.Alone(string(order.Credential))()
	reserved, err := a.Reserve(ctx, order)
	if err != nil || reserved.There {
		return err
	}
	ctx, cancel := a.within(ctx, order.NotAfter)
	defer cancel()
	if err := a.account(ctx); err != nil {
		return err
	}
	if reserved.Place == "" {
		made, err := a.client.AuthorizeOrder(ctx, acme.DomainIDs(order.Name))
		if err != nil {
			return failureOf(err)
		}
		reserved.Place = made.URI
		if err := a.Ordered(ctx, order.Credential, made.URI, order.NotAfter); err != nil {
			return err
		}
	}
	chain, err := a.complete(ctx, reserved.Place, order.Key)
	if err != nil {
		var abandoned *abandonedOrder
		if errors.As(err, &abandoned) {
			// Nothing comes of this one: the next attempt makes another.
			return errors.Join(err, a.Ordered(ctx, order.Credential, "", order.NotAfter))
		}
		return err
	}
	err = a.Deposit(ctx, order.Credential, reserved.Asked, chain, order.NotAfter)
	if countersign.ReasonOf(err) == "revoked" {
		// It was revoked while the authority signed, so what came of it is taken back.
		return errors.Join(err, a.takeBack(ctx, chain[0]))
	}
	return err
}

// abandonedOrder is an order that the authority will not carry out.
type abandonedOrder struct{ *connector.Failure }

func (a *abandonedOrder) Unwrap() error { return a.Failure }

// complete brings an order from wherever it is to its certificate.
func (a *authority) complete(ctx context.Context, place, request string) ([][]byte, error) {
	order, err := a.client.GetOrder(ctx, place)
	if err != nil {
		return nil, failureOf(err)
	}
	if order.Status == acme.StatusPending {
		for _, where := range order.AuthzURLs {
			if err := a.prove(ctx, where); err != nil {
				return nil, err
			}
		}
		if order, err = a.client.WaitOrder(ctx, place); err != nil {
			return nil, orderFailure(err)
		}
	}
	switch order.Status {
	case acme.StatusReady:
		block, _ := pem.Decode([]byte(request))
		if block == nil {
			return nil, countersign.Errorf(countersign.Invalid, "malformed-request", "the certificate signing request cannot be read")
		}
		chain, _, err := a.client.CreateOrderCert(ctx, order.FinalizeURL, block.Bytes, true)
		return chain, orderFailure(err)
	case acme.StatusProcessing:
		if order, err = a.client.WaitOrder(ctx, place); err != nil {
			return nil, orderFailure(err)
		}
	}
	if order.Status != acme.StatusValid {
		return nil, &abandonedOrder{&connector.Failure{Kind: connector.Transient, Message: "the authority has given the order up"}}
	}
	chain, err := a.client.FetchCert(ctx, order.CertURL, true)
	return chain, failureOf(err)
}

// prove has the house answer one authorization's challenge.
func (a *authority) prove(ctx context.Context, where string) error {
	authorization, err := a.client.GetAuthorization(ctx, where)
	if err != nil {
		return failureOf(err)
	}
	if authorization.Status == acme.StatusValid {
		return nil
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		answer, err := a.client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		if err := a.Challenge(ctx, challenge.Token, answer); err != nil {
			return err
		}
		// It is public and of no use to anybody; that it stays is no harm.
		defer func() { _ = a.Forget(context.WithoutCancel(ctx), challenge.Token) }()
		if _, err := a.client.Accept(ctx, challenge); err != nil {
			return failureOf(err)
		}
		return a.believed(ctx, where)
	}
	return &connector.Failure{Kind: connector.Rejected, Message: "the authority offers no http-01 challenge, and this house answers no other"}
}

// believed waits until the authority has looked. It usually has within a moment,
// which is less than the client would wait between two questions.
func (a *authority) believed(ctx context.Context, where string) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 3*time.Second) {
		authorization, err := a.client.GetAuthorization(ctx, where)
		if err != nil {
			return failureOf(err)
		}
		switch authorization.Status {
		case acme.StatusValid:
			return nil
		case acme.StatusPending, acme.StatusProcessing:
		default:
			refused := &acme.AuthorizationError{URI: where, Identifier: authorization.Identifier.Value}
			for _, challenge := range authorization.Challenges {
				if challenge.Error != nil {
					refused.Errors = append(refused.Errors, challenge.Error)
				}
			}
			return orderFailure(refused)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return failureOf(ctx.Err())
		}
	}
}

// Restored implements pki.Target: what was not seen is revoked at the authority
// before it counts as revoked here.
func (a *authority) Restored(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	defer a.apart.Alone(string(credential))()
	check, err := a.CheckCredential(ctx, credential)
	if err != nil {
		return err
	}
	if check.State != target.Revoked && check.Certificate != nil {
		within, cancel := a.within(ctx, notAfter)
		defer cancel()
		if err := a.takeBack(within, check.Certificate); err != nil {
			return err
		}
	}
	return a.Authority.Restored(ctx, credential, notAfter)
}

// Revoke implements pki.Target.
func (a *authority) Revoke(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	defer a.apart.Alone(string(credential))()
	check, err := a.CheckCredential(ctx, credential)
	if err != nil || check.State == target.Revoked {
		return err
	}
	within, cancel := a.within(ctx, notAfter)
	defer cancel()
	certificate := check.Certificate
	if certificate == nil && check.Place != "" {
		// It may have been signed without anybody having fetched it.
		if certificate, err = a.signed(within, check.Place); err != nil {
			return err
		}
	}
	if certificate != nil {
		if err := a.takeBack(within, certificate); err != nil {
			return err
		}
	}
	return a.Authority.Revoke(ctx, credential, notAfter)
}

// signed returns what came of an order; nil for nothing.
func (a *authority) signed(ctx context.Context, place string) ([]byte, error) {
	if err := a.account(ctx); err != nil {
		return nil, err
	}
	order, err := a.client.GetOrder(ctx, place)
	var refused *acme.Error
	switch {
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, failureOf(err)
	case order.Status == acme.StatusProcessing:
		return nil, &connector.Failure{Kind: connector.Transient, Message: "the authority is still signing; what comes of it is revoked then"}
	case order.Status != acme.StatusValid:
		return nil, nil
	}
	chain, err := a.client.FetchCert(ctx, order.CertURL, false)
	if err != nil || len(chain) == 0 {
		return nil, failureOf(err)
	}
	return chain[0], nil
}

// takeBack revokes a certificate, and asks once more: only that the authority says
// that it is revoked already counts, which is what can be read back of it.
//
// What has ended by its own time is good for nothing, and authorities refuse to
// speak of it.
func (a *authority) takeBack(ctx context.Context, certificate []byte) error {
	if parsed, err := x509.ParseCertificate(certificate); err == nil && a.clock.Now().After(parsed.NotAfter) {
		return nil
	}
	if err := a.account(ctx); err != nil {
		return err
	}
	// The client takes "already revoked" for success like any other.
	reading := &listening{over: a.client.HTTPClient}
	client := &acme.Client{Key: a.client.Key, DirectoryURL: a.client.DirectoryURL, HTTPClient: &http.Client{Transport: reading}, UserAgent: a.client.UserAgent}
	for range 2 {
		if err := client.RevokeCert(ctx, nil, certificate, acme.CRLReasonCessationOfOperation); err != nil {
			return failureOf(err)
		}
		if reading.alreadyRevoked {
			return nil
		}
	}
	return &connector.Failure{Kind: connector.Transient, Message: "the authority takes the revoke, and does not say afterwards that the certificate is revoked"}
}

// listening hears what the authority says of a certificate that is revoked already.
type listening struct {
	over           *http.Client
	alreadyRevoked bool
}

// RoundTrip implements http.RoundTripper.
func (l *listening) RoundTrip(request *http.Request) (*http.Response, error) {
	client := l.over
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil || response.StatusCode < http.StatusBadRequest {
		return response, err
	}
	defer response.Body.Close()
	const most = 64 << 10
	content, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(content))
	var problem struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(content, &problem) == nil && problem.Type == "urn:ietf:params:acme:error:alreadyRevoked" {
		l.alreadyRevoked = true
	}
	return response, nil
}

// failureOf says what the engine should do about what the authority answered.
func failureOf(err error) error {
	if err == nil {
		return nil
	}
	var refused *acme.Error
	if !errors.As(err, &refused) {
		return &connector.Failure{Kind: connector.Transient, Message: "the authority does not answer", Cause: err}
	}
	if wait, limited := acme.RateLimit(err); limited {
		return &connector.Failure{Kind: connector.Throttled, Message: "the authority asks to wait", After: countersign.Seconds(min(wait, time.Hour) / time.Second), Cause: err}
	}
	switch refused.ProblemType {
	case "urn:ietf:params:acme:error:rejectedIdentifier", "urn:ietf:params:acme:error:unsupportedIdentifier", "urn:ietf:params:acme:error:caa",
		"urn:ietf:params:acme:error:badCSR", "urn:ietf:params:acme:error:badPublicKey", "urn:ietf:params:acme:error:externalAccountRequired":
		return &connector.Failure{Kind: connector.Rejected, Message: "the authority refuses", Cause: err}
	}
	return &connector.Failure{Kind: connector.Transient, Message: "the authority refuses for now", Cause: err}
}

// orderFailure is failureOf, and knows when nothing can come of the order any more.
func orderFailure(err error) error {
	var order *acme.OrderError
	var authorization *acme.AuthorizationError
	if errors.As(err, &order) || errors.As(err, &authorization) {
		return &abandonedOrder{&connector.Failure{Kind: connector.Transient, Message: "the authority has given the order up; is the name led to this house?", Cause: err}}
	}
	return failureOf(err)
}
