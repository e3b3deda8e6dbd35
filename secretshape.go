package countersign

import (
	"regexp"
	"slices"
	"strings"
)

// secretShapes are the published forms of credentials that people paste by
// mistake. The list refuses only what is unmistakable.
var secretShapes = []struct {
	name string
	// marks are what one of stands in every text that fits: a file of ten megabytes is
	// searched for them in no time, and for patterns in minutes.
	marks   []string
	pattern *regexp.Regexp
}{
	{"a private key", []string{"PRIVATE KEY"}, regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----`)},
	{"an age key", []string{"AGE-SECRET-KEY-1"}, regexp.MustCompile(`\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
	{"a Countersign key", []string{"csc_", "csk_", "cst_"}, regexp.MustCompile(`\bcs[ckt]_[A-Za-z0-9]{20,}`)},
	{"an AWS access key", []string{"AKIA", "ASIA", "ABIA", "ACCA"}, regexp.MustCompile(`\b(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`)},
	{"an Azure client secret", []string{"Q~"}, regexp.MustCompile(`(^|[^A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}($|[^A-Za-z0-9_~.-])`)},
	{"a Google API key", []string{"AIza"}, regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`)},
	{"a Google OAuth client secret", []string{"GOCSPX-"}, regexp.MustCompile(`\bGOCSPX-[A-Za-z0-9_-]{28}\b`)},
	{"a GitHub token", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})`)},
	{"a GitLab token", []string{"glpat-", "gldt-", "glrt-", "glptt-", "glsoat-", "glcbt-", "glagent-"}, regexp.MustCompile(`\bgl(pat|dt|rt|ptt|soat|cbt|agent)-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", []string{"xox", "xapp-"}, regexp.MustCompile(`\b(xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]+)`)},
	{"a Slack webhook", []string{"hooks.slack.com/"}, regexp.MustCompile(`hooks\.slack\.com/(services|workflows|triggers)/[A-Za-z0-9+/]{40,}`)},
	{"a Stripe key", []string{"k_live_", "k_test_", "k_prod_"}, regexp.MustCompile(`\b[sr]k_(live|test|prod)_[A-Za-z0-9]{10,}`)},
	{"a Vault token", []string{"hvs.", "hvb.", "hvr."}, regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{24,}`)},
	{"an OpenAI key", []string{"sk-"}, regexp.MustCompile(`\bsk-((proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})`)},
	{"an Anthropic key", []string{"sk-ant-"}, regexp.MustCompile(`\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{40,}`)},
	{"a Hugging Face token", []string{"hf_"}, regexp.MustCompile(`\bhf_[A-Za-z]{34}\b`)},
	{"an npm token", []string{"npm_"}, regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a PyPI token", []string{"pypi-"}, regexp.MustCompile(`\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`)},
	{"a Docker token", []string{"dckr_"}, regexp.MustCompile(`\bdckr_(pat|oat)_[A-Za-z0-9_-]{27,32}`)},
	{"a DigitalOcean token", []string{"doo_v1_", "dop_v1_", "dor_v1_"}, regexp.MustCompile(`\bdo[opr]_v1_[a-f0-9]{64}\b`)},
	{"a SendGrid key", []string{"SG."}, regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}`)},
	{"a Shopify token", []string{"shpat_", "shpca_", "shppa_", "shpss_"}, regexp.MustCompile(`\bshp(at|ca|pa|ss)_[a-fA-F0-9]{32}\b`)},
	{"a Databricks token", []string{"dapi"}, regexp.MustCompile(`\bdapi[a-f0-9]{32}\b`)},
	{"a Grafana token", []string{"glsa_"}, regexp.MustCompile(`\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}\b`)},
	{"a JSON web token", []string{"eyJ"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)},
}

// SecretShape names the kind of credential that the text holds, or returns "".
func SecretShape(text string) string {
	for _, shape := range secretShapes {
		marked := slices.ContainsFunc(shape.marks, func(mark string) bool { return strings.Contains(text, mark) })
		if marked && shape.pattern.MatchString(text) {
			return shape.name
		}
	}
	return ""
}
