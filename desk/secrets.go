package desk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/countersign/countersign"
)

// secretShapes are the published forms of credentials that people paste by
// mistake. The list refuses only what is unmistakable.
var secretShapes = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"a Countersign key", regexp.MustCompile(`\bcs[ckt]_[A-Za-z0-9]{20,}`)},
	{"an AWS access key", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})`)},
	{"a GitLab token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`)},
	{"a Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}\b`)},
	{"a Stripe key", regexp.MustCompile(`\b[sr]k_live_[A-Za-z0-9]{20,}`)},
	{"a JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)},
}

// secretShape names the kind of credential that the text holds, or returns "".
func secretShape(text string) string {
	for _, shape := range secretShapes {
		if shape.pattern.MatchString(text) {
			return shape.name
		}
	}
	return ""
}

// secretWithin looks at every text of a JSON value, as it reads once decoded.
func secretWithin(value any) string {
	switch value := value.(type) {
	case string:
		return secretShape(value)
	case []any:
		for _, one := range value {
			if shape := secretWithin(one); shape != "" {
				return shape
			}
		}
	case map[string]any:
		for name, one := range value {
			if shape := cmp.Or(secretShape(name), secretWithin(one)); shape != "" {
				return shape
			}
		}
	}
	return ""
}

// checkReason refuses what must not stay on the record as a reason.
func checkReason(text string) error {
	if len(text) > MaxReason {
		return countersign.Errorf(countersign.TooLarge, "reason-too-long", "A reason has at most %d bytes.", MaxReason).At("/reason")
	}
	if shape := secretShape(text); shape != "" {
		return countersign.Errorf(countersign.Invalid, "secret-pasted", "This reason looks like %s. Secrets never pass the desk: take it out, and treat it as leaked if it is real.", shape).At("/reason")
	}
	return nil
}

// findSecret looks through everything that an asking brings.
func findSecret(asking Asking) (field, shape string) {
	if shape := secretShape(asking.Reason); shape != "" {
		return "/reason", shape
	}
	var answers any
	if json.Unmarshal(asking.Answers, &answers) == nil {
		if shape := secretWithin(answers); shape != "" {
			return "/answers", shape
		}
	}
	for i, evidence := range asking.Evidence {
		if shape := secretShape(string(evidence.Content)); shape != "" {
			return fmt.Sprintf("/evidence/%d", i), shape
		}
	}
	return "", ""
}
