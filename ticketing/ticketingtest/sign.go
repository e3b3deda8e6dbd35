package ticketingtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Secrets that the fakes sign with.
const (
	ServiceNowSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	JiraSecret       = "a-secret-that-jira-made-up-itself"
)

// SignServiceNow signs a body by Standard Webhooks, as the script of a business
// rule does.
func SignServiceNow(header http.Header, id string, at time.Time, body string) {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(ServiceNowSecret, "whsec_"))
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	header.Set("Content-Type", "application/json")
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", stamp)
	header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// SignJira signs a body as Jira does.
func SignJira(header http.Header, body string) {
	mac := hmac.New(sha256.New, []byte(JiraSecret))
	mac.Write([]byte(body))
	header.Set("Content-Type", "application/json; charset=UTF-8")
	header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}
