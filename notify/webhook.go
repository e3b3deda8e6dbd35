package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/countersign/countersign"
)

// WebhookOptions say which program is told.
type WebhookOptions struct {
	// URL is where messages are posted: https, or http on loopback.
	URL string
	// Secret signs: "whsec_" and 24 to 64 random bytes in base64.
	Secret countersign.Secret
	// Client carries requests; nil for one of our own. Redirects are not followed
	// by either.
	Client *http.Client
	// Now is the clock that attempts are stamped with.
	Now func() time.Time
}

// Webhook is the channel that posts each message as JSON, signed by Standard
// Webhooks 1.0.0.
type Webhook struct {
	url    string
	host   string
	key    countersign.WebhookKey
	client http.Client
	now    func() time.Time
}

// maxAnswer is how much of a refusal is read.
const maxAnswer = 4 << 10

// NewWebhook checks the options and connects to nothing.
func NewWebhook(options WebhookOptions) (*Webhook, error) {
	refuse := func(reason, format string, args ...any) (*Webhook, error) {
		return nil, countersign.Errorf(countersign.Invalid, reason, format, args...)
	}
	// What is wrong with the address is told without the address: it may hold a
	// secret.
	address, err := url.Parse(options.URL)
	if err != nil || address.Hostname() == "" || address.User != nil || address.Fragment != "" {
		return refuse("malformed-webhook-url", "the webhook's address is not one that can be posted to: write it as https://host/path, without a user and a fragment")
	}
	if address.Scheme != "https" && !(address.Scheme == "http" && onLoopback(address.Hostname())) {
		return refuse("webhook-in-the-clear", "the webhook at %s would be told over %q: write an https address; http is for loopback only", address.Host, countersign.Clip(address.Scheme))
	}
	key, signs := countersign.ParseWebhookKey(options.Secret)
	if !signs {
		return refuse("malformed-webhook-secret", "the webhook's secret cannot sign: write %s", countersign.WebhookSecretForm)
	}
	if options.Now == nil {
		return refuse("no-clock", "the webhook at %s has no clock to stamp its messages with: set Now", address.Host)
	}
	webhook := &Webhook{url: address.String(), host: address.Host, key: key, now: options.Now}
	if options.Client != nil {
		webhook.client = *options.Client
	}
	webhook.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return webhook, nil
}

func (w *Webhook) Name() string { return "webhook" }

// Reaches is true for everybody: the program behind the webhook finds them.
func (w *Webhook) Reaches(Recipient) bool { return true }

type (
	posted struct {
		Type      string              `json:"type"`
		Timestamp countersign.Instant `json:"timestamp"`
		Data      postedData          `json:"data"`
	}
	postedData struct {
		To    postedRecipient `json:"to"`
		Lines []postedLine    `json:"lines"`
		// More counts the lines that were left out.
		More int `json:"more,omitempty"`
	}
	postedRecipient struct {
		ID   countersign.IdentityID `json:"id"`
		Name string                 `json:"name"`
	}
	postedLine struct {
		Key     string              `json:"key"`
		Kind    string              `json:"kind"`
		At      countersign.Instant `json:"at"`
		Subject string              `json:"subject"`
		Text    string              `json:"text"`
		About   string              `json:"about"`
	}
)

// Send posts one message. Sent again it has the same webhook-id and the same
// body; only the stamp of the attempt and the signature differ.
func (w *Webhook) Send(ctx context.Context, message Message) error {
	if err := message.check(); err != nil {
		return err
	}
	tidied, more := message.tidy()
	lines := make([]postedLine, len(tidied.Lines))
	for i, line := range tidied.Lines {
		lines[i] = postedLine(line)
	}
	body, err := json.Marshal(posted{
		Type: "countersign.notice", Timestamp: message.at(),
		Data: postedData{To: postedRecipient{ID: tidied.To.ID, Name: tidied.To.Name}, Lines: lines, More: more},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "countersign")
	request.Header.Set("webhook-id", message.Key)
	request.Header.Set("webhook-timestamp", stamp)
	request.Header.Set("webhook-signature", w.key.Sign(message.Key, stamp, body))
	response, err := w.client.Do(request)
	if err != nil {
		// The text of the outer error has the whole address.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return countersign.Errorf(countersign.Unavailable, "webhook-not-delivered", "the webhook at %s did not answer to the message %s: %s", w.host, message.Key, oneLine(err.Error(), maxSubject)).Because(err)
	}
	defer response.Body.Close()
	return w.judge(message.Key, response)
}

// judge says what an answer means: 2xx that the message was taken.
func (w *Webhook) judge(key string, response *http.Response) error {
	status := response.StatusCode
	if status/100 == 2 {
		return nil
	}
	kind, reason, advice := countersign.Refused, "webhook-refused", "it has to take messages with 2xx"
	switch {
	case status == http.StatusGone:
		reason, advice = "webhook-gone", "it wants no more messages: remove it or give another address"
	case status/100 == 3:
		reason, advice = "webhook-redirected", "redirects are not followed: give the address that they lead to"
	case status/100 == 5 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		kind, reason, advice = countersign.Unavailable, "webhook-not-delivered", "it may take it later"
	}
	// What cannot be read of a refusal is only missing from the text.
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if said := oneLine(string(answer), maxSubject); said != "" {
		advice += "; it says: " + said
	}
	return countersign.Errorf(kind, reason, "the webhook at %s answered %d to the message %s; %s", w.host, status, key, advice)
}
