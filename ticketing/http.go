package ticketing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/countersign/countersign"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// client calls one ticket system.
type client struct {
	name, url  string
	credential countersign.Secret
	hands      http.Client
}

// call sends one request and reads the answer into a value; nil for an answer that
// does not matter.
func (c *client) call(ctx context.Context, method, path string, query url.Values, send, into any) error {
	var body io.Reader
	if send != nil {
		encoded, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	address := c.url + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return c.unavailable("the address of its settings cannot be called")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "countersign")
	if send != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if credential := c.credential.Reveal(); credential != "" {
		request.Header.Set("Authorization", credential)
	}
	response, err := c.hands.Do(request)
	if err != nil {
		var called *url.Error
		if errors.As(err, &called) {
			err = called.Err
		}
		return c.unavailable("%v", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.unavailable("%v", err)
	case len(answer) > maxAnswer:
		return c.unavailable("its answer has more than %d bytes", maxAnswer)
	}
	if err := c.judge(response, answer); err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return c.unavailable("its answer is not what its interface answers")
	}
	return nil
}

// judge says what the status means.
func (c *client) judge(response *http.Response, answer []byte) error {
	status := response.StatusCode
	said := fmt.Sprintf("it answers %d: %s", status, countersign.Clip(string(answer)))
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusUnauthorized:
		return c.unavailable("it answers 401: renew the credential in the credential_file of the ticket system, and start again")
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		seconds, err := strconv.ParseInt(response.Header.Get("Retry-After"), 10, 64)
		if err != nil || seconds < 0 {
			return c.unavailable("%s", said)
		}
		return later{c.unavailable("%s", said), min(countersign.Seconds(seconds), countersign.Hour)}
	case status/100 == 5 || status == http.StatusRequestTimeout || status == http.StatusConflict:
		return c.unavailable("%s", said)
	case status == http.StatusNotFound || status == http.StatusGone:
		return countersign.Errorf(countersign.NotFound, "no-such-ticket", "The ticket system %s does not know the ticket, or does not show it to us.", c.name)
	}
	return countersign.Errorf(countersign.Refused, "ticketing-refused", "The ticket system %s does not take this: %s.", c.name, said)
}

func (c *client) unavailable(format string, args ...any) error {
	return countersign.Errorf(countersign.Unavailable, "ticketing-unavailable", "The ticket system %s cannot be written to: "+format+".", append([]any{c.name}, args...)...)
}
