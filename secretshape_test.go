package countersign_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

// The samples are put together here, so that nothing that looks for secrets in this
// repository finds one.
func TestKnownShapesOfSecretsAreRecognised(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a1B2", n/4+1)[:n] }
	hex := func(n int) string { return strings.Repeat("0f9e", n/4+1)[:n] }
	for sample, want := range map[string]string{
		"-----BEGIN " + "RSA PRIVATE KEY-----":                                             "a private key",
		"-----BEGIN " + "PRIVATE KEY-----":                                                 "a private key",
		"-----BEGIN " + "OPENSSH PRIVATE KEY-----":                                         "a private key",
		"-----BEGIN " + "PGP PRIVATE KEY BLOCK-----":                                       "a private key",
		`{"type":"service_account","private_key":"-----BEGIN ` + `PRIVATE KEY-----\nMII"}`: "a private key",
		"AGE-SECRET-" + "KEY-1" + strings.Repeat("Q", 58):                                  "an age key",
		"csk_" + a(24):                              "a Countersign key",
		"AKIA" + strings.Repeat("A", 16):            "an AWS access key",
		"ASIA" + strings.Repeat("7", 16):            "an AWS access key",
		"abc8Q~" + a(34):                            "an Azure client secret",
		"AIza" + a(35):                              "a Google API key",
		"GOCSPX-" + a(28):                           "a Google OAuth client secret",
		"ghp_" + a(36):                              "a GitHub token",
		"ghs_" + a(36):                              "a GitHub token",
		"github_pat_" + a(82):                       "a GitHub token",
		"glpat-" + a(20):                            "a GitLab token",
		"gldt-" + a(20):                             "a GitLab token",
		"xoxb-" + "123456789012-abcdef":             "a Slack token",
		"xapp-1-" + "A0B-123-abc":                   "a Slack token",
		"https://hooks.slack.com/services/" + a(44): "a Slack webhook",
		"sk_live_" + a(24):                          "a Stripe key",
		"rk_test_" + a(24):                          "a Stripe key",
		"hvs." + a(24):                              "a Vault token",
		"hvb." + a(120):                             "a Vault token",
		"sk-proj-" + a(48):                          "an OpenAI key",
		"sk-" + strings.Repeat("a", 20) + "T3BlbkFJ" + strings.Repeat("b", 20): "an OpenAI key",
		"sk-ant-api03-" + a(93):                      "an Anthropic key",
		"hf_" + strings.Repeat("aB", 17):             "a Hugging Face token",
		"npm_" + a(36):                               "an npm token",
		"pypi-AgEIcHlwaS5vcmc" + a(60):               "a PyPI token",
		"dckr_pat_" + a(27):                          "a Docker token",
		"dop_v1_" + hex(64):                          "a DigitalOcean token",
		"SG." + a(22) + "." + a(43):                  "a SendGrid key",
		"shpat_" + hex(32):                           "a Shopify token",
		"dapi" + hex(32):                             "a Databricks token",
		"glsa_" + a(32) + "_" + hex(8):               "a Grafana token",
		"eyJ" + a(20) + ".eyJ" + a(40) + "." + a(43): "a JSON web token",
	} {
		for _, text := range []string{sample, "it is " + sample + " for now", "key=" + sample + "\n", `{"x":"` + sample + `"}`} {
			if found := countersign.SecretShape(text); found != want {
				t.Errorf("%.40q is %q, want %q", text, found, want)
			}
		}
	}
	for _, text := range []string{
		"", "the books of the month are due", "sha256:" + hex(64), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "-----BEGIN PUBLIC KEY-----",
		"req_01kdqzw5q8f3z8t4v5x6y7z8a9", "INC-1", "ask-projects-and-teams-about-it-first", "https://tickets.example/api/CHG-1042", "eyJhbGciOiJub25lIn0=",
		"npm_config_registry", "sk-learn is a library", "spiffe://meridian.example/data/nightly-export", strings.Repeat("A", 5000),
	} {
		if found := countersign.SecretShape(text); found != "" {
			t.Errorf("%.40q is taken for %s", text, found)
		}
	}
}
