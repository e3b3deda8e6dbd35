package countersign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// WebhookKey signs what is posted, by Standard Webhooks 1.0.0.
type WebhookKey struct{ key []byte }

// WebhookSecretForm is how the secret of a webhook is written.
const WebhookSecretForm = "whsec_ and 24 to 64 random bytes in base64"

// ParseWebhookKey reads a secret of WebhookSecretForm; is says whether it is one.
func ParseWebhookKey(secret Secret) (key WebhookKey, is bool) {
	encoded, prefixed := strings.CutPrefix(secret.Reveal(), "whsec_")
	bytes, err := base64.StdEncoding.DecodeString(encoded)
	if !prefixed || err != nil || len(bytes) < 24 || len(bytes) > 64 {
		return WebhookKey{}, false
	}
	return WebhookKey{bytes}, true
}

// Sum returns HMAC-SHA256 over id, stamp and body, joined by full stops.
func (k WebhookKey) Sum(id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// Sign returns the sum as the header webhook-signature has it.
func (k WebhookKey) Sign(id, stamp string, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(k.Sum(id, stamp, body))
}
