package countersign_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

// The example is that of the reference libraries of Standard Webhooks.
func TestTheSignatureIsThatOfOthers(t *testing.T) {
	key, is := countersign.ParseWebhookKey(countersign.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	if !is {
		t.Fatal("the secret is not read")
	}
	got := key.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("got %s", got)
	}
}

func TestASecretOfAWebhookHasItsForm(t *testing.T) {
	of := func(length int) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", length))) }
	for secret, want := range map[string]bool{
		"whsec_" + of(24): true, "whsec_" + of(64): true, "whsec_" + of(23): false, "whsec_" + of(65): false, of(32): false, "whsec_": false, "whsec_hidden!": false, "": false,
	} {
		if _, is := countersign.ParseWebhookKey(countersign.NewSecret(secret)); is != want {
			t.Errorf("%q is a secret: %t", secret, is)
		}
	}
}
