// Package client is a typed client of a house's interface, for programs of
// others and for our own command line.
//
// client.gen.go is made from docs/api/openapi.yaml and holds one method for each
// operation, as SubmitRequestWithResponse. Every answer that is a problem
// document comes back as a *countersign.Error with its kind and reason. This
// package imports the root package only, so that it can be used without the
// house's other rooms.
package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

//go:generate go tool oapi-codegen -config generate.yaml ../docs/api/openapi.yaml

// Prefix stands before every path of the interface.
const Prefix = "/api/v1"

// answerTime bounds a whole exchange, from connecting to the last byte.
const answerTime = 40 * time.Second

// maxAnswer bounds how much of the body of an error, or of a target's answer, is
// read, in bytes.
const maxAnswer = 1 << 20

// Client speaks to one house as the bearer of one token. It is safe for use
// by many goroutines.
type Client struct {
	*ClientWithResponses
	watching *Operations
	// plain calls what the interface does not describe: the endpoints of targets.
	plain  doer
	server string
	token  countersign.Secret
}

// New returns a client of the house at an address such as
// https://access.example.com. Nothing is sent yet.
func New(server string, token countersign.Secret) (*Client, error) {
	address, err := url.Parse(server)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" {
		return nil, countersign.Errorf(countersign.Invalid, "malformed-address", "This is not the address of a house: write it as https://access.example.com, without user, query or fragment.")
	}
	base := strings.TrimSuffix(address.String(), "/") + Prefix
	authorise := WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
		leaveOutEmpty(r)
		return nil
	})
	// A redirect would carry the token elsewhere; an interface has none.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answering, err := NewClientWithResponses(base, authorise, WithHTTPClient(doer{&http.Client{Timeout: answerTime, CheckRedirect: stay}}))
	if err != nil {
		return nil, err
	}
	watching, err := NewClient(base, authorise, WithHTTPClient(doer{&http.Client{CheckRedirect: stay}}))
	if err != nil {
		return nil, err
	}
	plain := doer{&http.Client{Timeout: answerTime, CheckRedirect: stay}}
	return &Client{answering, watching, plain, strings.TrimSuffix(address.String(), "/"), token}, nil
}

// leaveOutEmpty drops parameters that nobody set.
func leaveOutEmpty(r *http.Request) {
	for name, values := range r.Header {
		if len(values) == 1 && values[0] == "" {
			r.Header.Del(name)
		}
	}
	query := r.URL.Query()
	for name, values := range query {
		if len(values) == 1 && values[0] == "" {
			query.Del(name)
		}
	}
	r.URL.RawQuery = query.Encode()
}

// Watch opens the stream of a request's changes, in the form of server-sent
// events. It lasts until the request is final, the token or the context ends, or
// the caller closes it.
func (c *Client) Watch(ctx context.Context, id string) (io.ReadCloser, error) {
	response, err := c.watching.WatchRequest(ctx, id)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// ReadSecret reads a secret of the vault, as whoever may read it. Most can be read
// once only.
func (c *Client) ReadSecret(ctx context.Context, reference string) (countersign.Secret, error) {
	var answer struct{ Secret string }
	if err := c.target(ctx, http.MethodPost, "vault/secrets/"+url.PathEscape(reference)+"/read", nil, &answer); err != nil {
		return countersign.Secret{}, err
	}
	if answer.Secret == "" {
		return countersign.Secret{}, countersign.Errorf(countersign.Unavailable, "unexpected-answer", "The vault's answer holds no secret.")
	}
	return countersign.NewSecret(answer.Secret), nil
}

// target calls an endpoint of a target, sends a value as JSON if there is one, and
// reads the answer.
func (c *Client) target(ctx context.Context, method, path string, send, into any) error {
	var body io.Reader = http.NoBody
	if send != nil {
		text, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server+"/targets/"+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	if send != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.plain.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return countersign.Errorf(countersign.Unavailable, "unexpected-answer", "The answer of %s cannot be read.", request.URL.Host)
	}
	return nil
}

// NewEvidence is evidence with any content, as text where it is text.
func NewEvidence(slot string, content []byte) EvidenceContent {
	if utf8.Valid(content) {
		return EvidenceContent{Slot: slot, Text: string(content)}
	}
	return EvidenceContent{Slot: slot, Base64: base64.StdEncoding.EncodeToString(content)}
}

// doer sends requests, and turns every answer that is no success into an error.
type doer struct{ client *http.Client }

func (d doer) Do(r *http.Request) (*http.Response, error) {
	response, err := d.client.Do(r)
	if err != nil {
		if cause := r.Context().Err(); cause != nil {
			return nil, cause
		}
		return nil, countersign.Errorf(countersign.Unavailable, "house-unreachable", "The house at %s does not answer: %v", r.URL.Host, errors.Unwrap(err)).Because(err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		body = nil
	}
	return nil, errorOf(response, body)
}

// errorOf reads a problem document. Its Problems, Refusals or Preview become the
// error's detail. An answer that is none, as from a proxy, is named by its status.
func errorOf(response *http.Response, body []byte) error {
	var problem Problem
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if media != "application/problem+json" || json.NewDecoder(bytes.NewReader(body)).Decode(&problem) != nil || problem.Reason == "" {
		return countersign.Errorf(kindOf(response.StatusCode), "unexpected-answer", "The answer of %s is no problem document of a house: %s", response.Request.URL.Host, response.Status)
	}
	kind := countersign.Kind(problem.Kind)
	if !problem.Kind.Valid() {
		// The endpoints of targets write problems without a kind.
		kind = kindOf(response.StatusCode)
	}
	found := countersign.Errorf(kind, problem.Reason, "%s", problem.Detail).At(problem.Field)
	switch {
	case len(problem.Problems) > 0:
		return found.With(problem.Problems)
	case len(problem.Refusals) > 0:
		return found.With(problem.Refusals)
	case problem.Preview.Route != "":
		return found.With(problem.Preview)
	}
	return found
}

// kindOf is what a status alone says.
func kindOf(status int) countersign.Kind {
	switch status {
	case http.StatusUnauthorized:
		return countersign.Unauthenticated
	case http.StatusForbidden:
		return countersign.Refused
	case http.StatusNotFound, http.StatusGone:
		return countersign.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return countersign.Conflict
	case http.StatusRequestEntityTooLarge:
		return countersign.TooLarge
	case http.StatusTooManyRequests:
		return countersign.TooMany
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return countersign.Unavailable
	}
	if status >= http.StatusInternalServerError {
		return countersign.Internal
	}
	return countersign.Invalid
}
