package countersign

import "regexp"

// secretShapes are the published forms of credentials that people paste by
// mistake. The list refuses only what is unmistakable.
var secretShapes = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----`)},
	{"an age key", regexp.MustCompile(`\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
	{"a Countersign key", regexp.MustCompile(`\bcs[ckt]_[A-Za-z0-9]{20,}`)},
	{"an AWS access key", regexp.MustCompile(`\b(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`)},
	{"an Azure client secret", regexp.MustCompile(`(^|[^A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}($|[^A-Za-z0-9_~.-])`)},
	{"a Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`)},
	{"a Google OAuth client secret", regexp.MustCompile(`\bGOCSPX-[A-Za-z0-9_-]{28}\b`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})`)},
	{"a GitLab token", regexp.MustCompile(`\bgl(pat|dt|rt|ptt|soat|cbt|agent)-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\b(xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-z0-9]+)`)},
	{"a Slack webhook", regexp.MustCompile(`hooks\.slack\.com/(services|workflows|triggers)/[A-Za-z0-9+/]{40,}`)},
	{"a Stripe key", regexp.MustCompile(`\b[sr]k_(live|test|prod)_[A-Za-z0-9]{10,}`)},
	{"a Vault token", regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{24,}`)},
	{"an OpenAI key", regexp.MustCompile(`\bsk-((proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})`)},
	{"an Anthropic key", regexp.MustCompile(`\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{40,}`)},
	{"a Hugging Face token", regexp.MustCompile(`\bhf_[A-Za-z]{34}\b`)},
	{"an npm token", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a PyPI token", regexp.MustCompile(`\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`)},
	{"a Docker token", regexp.MustCompile(`\bdckr_(pat|oat)_[A-Za-z0-9_-]{27,32}`)},
	{"a DigitalOcean token", regexp.MustCompile(`\bdo[opr]_v1_[a-f0-9]{64}\b`)},
	{"a SendGrid key", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}`)},
	{"a Shopify token", regexp.MustCompile(`\bshp(at|ca|pa|ss)_[a-fA-F0-9]{32}\b`)},
	{"a Databricks token", regexp.MustCompile(`\bdapi[a-f0-9]{32}\b`)},
	{"a Grafana token", regexp.MustCompile(`\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}\b`)},
	{"a JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)},
}

// SecretShape names the kind of credential that the text holds, or returns "".
func SecretShape(text string) string {
	for _, shape := range secretShapes {
		if shape.pattern.MatchString(text) {
			return shape.name
		}
	}
	return ""
}
