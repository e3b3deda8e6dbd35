// Package webhook is the connector for a program that is reached over HTTPS: the
// questions and answers of connector/wire, each question signed by Standard
// Webhooks 1.0.0.
//
// It never imports desk, follows no redirect, and speaks plain HTTP on loopback
// only. After each write only the read-back counts: an answer that got lost says
// nothing about the effect.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
)

// Settings say which program is asked, as countersign.yaml has them under the
// name of a connector.
type Settings struct {
	// URL is where questions are posted: https, or http on loopback.
	URL string `yaml:"url"`
	// SecretFile holds the signing secret, whsec_ and base64.
	SecretFile string `yaml:"secret_file"`
	// Describe is what the program says of itself.
	Describe wire.Description `yaml:"describe"`
}

// New checks the settings and returns the connector with the name. The secret is
// the content of SecretFile, which the caller reads. A nil client is one of our
// own. It asks nothing yet.
func New(name string, settings Settings, secret countersign.Secret, client *http.Client, clock connector.Clock) (wire.Hands, error) {
	// What is wrong with the address is told without it: it may hold a secret.
	address, err := url.Parse(settings.URL)
	if err != nil || address.Hostname() == "" || address.User != nil || address.Fragment != "" {
		return nil, wire.Malformed(name, "url", "this is no address that can be posted to: write it as https://host/path, without a user and a fragment")
	}
	if address.Scheme != "https" && !(address.Scheme == "http" && wire.Loopback(address.Hostname())) {
		return nil, wire.Malformed(name, "url", "it must begin with https://; http:// is for this host alone")
	}
	key, signs := countersign.ParseWebhookKey(secret)
	if !signs {
		return nil, wire.Malformed(name, "secret_file", "the secret in it cannot sign: write %s", countersign.WebhookSecretForm)
	}
	p := &post{url: address.String(), host: address.Host, key: key, clock: clock}
	if client != nil {
		p.client = *client
	}
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return wire.New(name, settings.Describe, p, clock)
}

// post implements wire.Carrier by signed requests.
type post struct {
	url, host string
	key       countersign.WebhookKey
	client    http.Client
	clock     connector.Clock
}

// Carry implements wire.Carrier.
func (p *post) Carry(ctx context.Context, id string, question []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	stamp := strconv.FormatInt(p.clock.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "countersign")
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", stamp)
	request.Header.Set("webhook-signature", p.key.Sign(id, stamp, question))
	response, err := p.client.Do(request)
	if err != nil {
		// The text of the outer error has the whole address.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, fmt.Errorf("%s did not answer: %w", p.host, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, wire.MaxAnswer+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, p.refusal(response, answer)
	case err != nil:
		return nil, fmt.Errorf("the answer of %s broke off: %w", p.host, err)
	case len(answer) > wire.MaxAnswer:
		return nil, fmt.Errorf("the answer of %s has more than %d bytes", p.host, wire.MaxAnswer)
	}
	return answer, nil
}

// refusal is what a status other than 200 means.
func (p *post) refusal(response *http.Response, answer []byte) error {
	failure := &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf("%s answered with the status %d", p.host, response.StatusCode)}
	switch status := response.StatusCode; {
	case status == http.StatusTooManyRequests:
		failure.Kind = connector.Throttled
	case status/100 == 3:
		failure.Kind = connector.Rejected
		failure.Message += "; redirects are not followed: give the address that they lead to"
	case status/100 == 4 && status != http.StatusRequestTimeout:
		failure.Kind = connector.Rejected
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		failure.After = min(countersign.Seconds(seconds), wire.MaxWait)
	}
	if said := wire.OneLine(string(answer)); said != "" {
		failure.Message += ": " + said
	}
	return failure
}
