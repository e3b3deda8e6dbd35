package scim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
)

func rejected(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Rejected, Message: fmt.Sprintf(format, args...)}
}

func transient(format string, args ...any) error {
	return &connector.Failure{Kind: connector.Transient, Message: fmt.Sprintf(format, args...)}
}

// refusal is an answer of the server that is not what was asked for.
type refusal struct {
	status int
	said   string
}

func (r *refusal) Error() string {
	if r.said == "" {
		return fmt.Sprintf("the status %d", r.status)
	}
	return fmt.Sprintf("the status %d: %s", r.status, r.said)
}

func hasStatus(err error, status int) bool {
	var told *refusal
	return errors.As(err, &told) && told.status == status
}

// nothingHappened says that the server refused a write, so that it surely did not
// take place.
func nothingHappened(err error) bool {
	var failure *connector.Failure
	return errors.As(err, &failure) && (failure.Kind != connector.Transient || hasStatus(err, http.StatusPreconditionFailed))
}

// unsettled is an error of a read that came after a write: whatever it says, the
// write has happened.
func unsettled(err error) error {
	var failure *connector.Failure
	if errors.As(err, &failure) && failure.Kind != connector.Transient {
		return &connector.Failure{Kind: connector.Transient, Message: "what was written was not read back", After: failure.After, Cause: err}
	}
	return err
}

const (
	contentType = "application/scim+json"
	// maxAnswer is a group of some hundred thousand members.
	maxAnswer = 64 << 20

	schemaBegin  = "urn:ietf:params:scim:schemas:core:2.0:"
	messageBegin = "urn:ietf:params:scim:api:messages:2.0:"
)

// message is what every answer says of itself.
type message struct {
	Schemas []string `json:"schemas"`
}

func (m message) is(schema string) bool {
	return slices.ContainsFunc(m.Schemas, func(one string) bool { return strings.EqualFold(one, schema) })
}

// ask sends one question, with a version only if the thing still has it, and
// returns the answer and the version that it tells.
func (c *Connector) ask(ctx context.Context, method, path string, query url.Values, version string, body any) (answer []byte, now string, err error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, "", fmt.Errorf("writing a question in JSON: %w", err)
		}
		content = bytes.NewReader(text)
	}
	address := c.URL + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, "", fmt.Errorf("asking the SCIM server: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	request.Header.Set("Accept", contentType)
	request.Header.Set("User-Agent", "countersign")
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	if version != "" {
		request.Header.Set("If-Match", version)
	}
	response, err := c.client.Do(request)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, "", &connector.Failure{Kind: connector.Transient, Message: "the SCIM server did not answer", Cause: err}
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode/100 != 2:
		return nil, "", c.refused(response, answer)
	case err != nil:
		return nil, "", &connector.Failure{Kind: connector.Transient, Message: "the answer of the SCIM server broke off", Cause: err}
	case len(answer) > maxAnswer:
		return nil, "", transient("the SCIM server answered %s with more than %d bytes", path, maxAnswer)
	}
	return answer, response.Header.Get("ETag"), nil
}

// refused is what a status other than success means.
func (c *Connector) refused(response *http.Response, answer []byte) error {
	var told struct {
		message
		Detail   string `json:"detail"`
		ScimType string `json:"scimType"`
	}
	// What is no SCIM error is shown as it is; a thing is not there only if the SCIM
	// server itself says so, and not something before it.
	isError := json.Unmarshal(answer, &told) == nil && told.is(messageBegin+"Error")
	said := strings.TrimSpace(told.ScimType + " " + told.Detail)
	if !isError {
		said = string(answer)
	}
	cause := &refusal{status: response.StatusCode, said: wire.OneLine(strings.ReplaceAll(said, c.Token.Reveal(), "…"))}
	failure := &connector.Failure{Kind: connector.Transient, Message: "the SCIM server did not do it", Cause: cause}
	method := response.Request.Method
	switch status := response.StatusCode; {
	case status == http.StatusTooManyRequests:
		failure.Kind = connector.Throttled
	case status/100 == 3:
		failure.Kind, failure.Message = connector.Rejected, "the SCIM server redirects, which is not followed: give the address that it leads to"
	case status == http.StatusNotFound && !isError:
		failure.Message = "something answered that is no SCIM server: look at the url of the connector " + c.Name
		cause.status = 0 // not to be taken for gone
	case status == http.StatusUnauthorized:
		failure.Message = "the SCIM server does not take the token of the connector " + c.Name
	case status == http.StatusPreconditionFailed, status == http.StatusConflict && (method == http.MethodPatch || method == http.MethodPut):
		failure.Message = "it was changed at the same moment"
		cause.status = http.StatusPreconditionFailed
	case status == http.StatusRequestTimeout:
	case status/100 == 4, status == http.StatusNotImplemented:
		failure.Kind, failure.Message = connector.Rejected, "the SCIM server refuses"
	}
	failure.After = c.wait(response.Header.Get("Retry-After"))
	return failure
}

// wait reads Retry-After, which is seconds or a date.
func (c *Connector) wait(text string) countersign.Seconds {
	seconds, err := strconv.Atoi(text)
	if date, wrong := http.ParseTime(text); err != nil && wrong == nil {
		seconds = int(date.Sub(c.Clock.Now()) / time.Second)
	}
	return min(max(countersign.Seconds(seconds), 0), wire.MaxWait)
}

// get reads one thing; found is false where the server says that it is not there.
func (c *Connector) get(ctx context.Context, path string, into any) (raw json.RawMessage, version string, found bool, err error) {
	raw, version, err = c.ask(ctx, http.MethodGet, path, nil, "", nil)
	if hasStatus(err, http.StatusNotFound) {
		return nil, "", false, nil
	}
	if err == nil {
		if wrong := json.Unmarshal(raw, into); wrong != nil {
			err = transient("the answer of the SCIM server to %s cannot be read: %v", path, wrong)
		}
	}
	return raw, version, err == nil, err
}

// pageSize is what is asked for at once; a server may give less.
const pageSize = 200

// pages shows everything below the path that the filter finds. A page begins with
// the last one of the page before: where that is another one, or where there are
// fewer than there were, something was moved while it was read, and so something
// may be missing.
func (c *Connector) pages(ctx context.Context, path, filter string, each func(json.RawMessage) error) error {
	moved := transient("%s changed while it was read: it is to be read again", path)
	query := url.Values{"count": {strconv.Itoa(pageSize)}}
	if filter != "" {
		query.Set("filter", filter)
	}
	start, total, last := 1, 0, ""
	for {
		query.Set("startIndex", strconv.Itoa(start))
		answer, _, err := c.ask(ctx, http.MethodGet, path, query, "", nil)
		if err != nil {
			return err
		}
		var page struct {
			message
			Total     *int              `json:"totalResults"`
			Resources []json.RawMessage `json:"Resources"`
		}
		if err := json.Unmarshal(answer, &page); err != nil || page.Total == nil || !page.is(messageBegin+"ListResponse") {
			return transient("the answer of the SCIM server to %s is no list", path)
		}
		if *page.Total < total {
			return moved
		}
		total = *page.Total
		if len(page.Resources) == 0 {
			if start <= total {
				return transient("the SCIM server says that %s has %d, and shows none from %d on", path, total, start)
			}
			return nil
		}
		for i, raw := range page.Resources {
			var named struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(raw, &named); err != nil || checkID(named.ID) != nil {
				return transient("the SCIM server lists something in %s without an id", path)
			}
			if i == 0 && last != "" {
				if named.ID != last {
					return moved
				}
			} else if err := each(raw); err != nil {
				return err
			}
			if i == len(page.Resources)-1 {
				last = named.ID
			}
		}
		if start += len(page.Resources); start > total {
			return nil
		}
		if len(page.Resources) > 1 {
			start--
		} else {
			last = ""
		}
	}
}

// quote writes a text as a filter has it: a JSON string (RFC 7644, 3.4.2.2).
func quote(text string) string {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic("scim: " + err.Error()) // a string always has a form in JSON
	}
	return strings.TrimSuffix(quoted.String(), "\n")
}
