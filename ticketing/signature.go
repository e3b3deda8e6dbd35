package ticketing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/source"
)

// How far the time of what is sent may lie from ours. Jira stamps an event once,
// and sends it again for more than an hour; what is sent again has no second
// effect, so that a wide window is no risk.
const (
	window     = 5 * countersign.Minute
	jiraWindow = 2 * countersign.Hour
)

// leastSecret is in bytes: Jira makes secrets of twenty letters.
const leastSecret = 20

// Check refuses what was not signed with the secret, and what is too old or of the
// future: for ServiceNow by Standard Webhooks 1.0.0, for Jira by its own
// X-Hub-Signature, over the body as it came.
func Check(kind countersign.TicketingKind, header http.Header, body []byte, secret countersign.Secret, now countersign.Instant) error {
	switch kind {
	case countersign.ServiceNow:
		return checkStandard(header, body, secret, now)
	case countersign.Jira:
		return checkJira(header, body, secret, now)
	}
	return wrongSignature()
}

func wrongSignature() error {
	return countersign.Errorf(countersign.Unauthenticated, "signature-wrong", "This was not signed with the secret that is configured for the ticket system.")
}

func stale(sent, now countersign.Instant, old countersign.Seconds) error {
	if sent < now.Add(-old) || sent > now.Add(window) {
		return countersign.Errorf(countersign.Unauthenticated, "timestamp-stale", "This was signed at %s, and it is %s now: send it again with a stamp of now, and set the clocks.", sent, now)
	}
	return nil
}

func checkStandard(header http.Header, body []byte, secret countersign.Secret, now countersign.Instant) error {
	key, checks := countersign.ParseWebhookKey(secret)
	if !checks {
		return badSecret("write %s", countersign.WebhookSecretForm)
	}
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	// Once, however many are given: whoever sends them is not known yet.
	right, fits := key.Sum(id, stamp, body), false
	for _, given := range strings.Fields(header.Get("webhook-signature")) {
		encoded, versioned := strings.CutPrefix(given, "v1,")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if versioned && err == nil && hmac.Equal(signature, right) {
			fits = true
		}
	}
	sent, err := strconv.ParseInt(stamp, 10, 64)
	if !fits || err != nil || id == "" || sent < 0 || sent > 1<<40 {
		return wrongSignature()
	}
	return stale(countersign.Instant(sent*1000), now, window)
}

func checkJira(header http.Header, body []byte, secret countersign.Secret, now countersign.Instant) error {
	if len(secret.Reveal()) < leastSecret {
		return badSecret("write at least %d random characters", leastSecret)
	}
	given, prefixed := strings.CutPrefix(header.Get("X-Hub-Signature"), "sha256=")
	signature, err := hex.DecodeString(given)
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	if !prefixed || err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return wrongSignature()
	}
	content, err := source.Decode(body)
	if err != nil {
		return malformed("%v", err)
	}
	event := Event{content: content}
	found := event.Values("$.timestamp")
	if len(found) != 1 {
		return malformed("there is no timestamp at $.timestamp, in milliseconds")
	}
	number, _ := found[0].(json.Number)
	sent, err := number.Int64()
	if err != nil {
		return malformed("what stands at $.timestamp is no time in milliseconds")
	}
	return stale(countersign.Instant(sent), now, jiraWindow)
}

func badSecret(format string, args ...any) error {
	return countersign.Errorf(countersign.Unavailable, "malformed-ticketing-secret", "The secret of the ticket system cannot check anything: "+format+".", args...)
}
