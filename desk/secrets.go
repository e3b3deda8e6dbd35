package desk

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/directory"
)

// secretWithin looks at every text of a JSON value, as it reads once decoded.
func secretWithin(value any) string {
	switch value := value.(type) {
	case string:
		return countersign.SecretShape(value)
	case []any:
		for _, one := range value {
			if shape := secretWithin(one); shape != "" {
				return shape
			}
		}
	case map[string]any:
		for name, one := range value {
			if shape := cmp.Or(countersign.SecretShape(name), secretWithin(one)); shape != "" {
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
	if shape := countersign.SecretShape(text); shape != "" {
		return countersign.Errorf(countersign.Invalid, "secret-pasted", "This reason looks like %s. Secrets never pass the desk: take it out, and treat it as leaked if it is real.", shape).At("/reason")
	}
	return nil
}

// findSecret looks through everything that an asking brings.
func findSecret(asking Asking) (field, shape string) {
	if shape := countersign.SecretShape(asking.Reason); shape != "" {
		return "/reason", shape
	}
	var answers any
	if json.Unmarshal(asking.Answers, &answers) == nil {
		if shape := secretWithin(answers); shape != "" {
			return "/answers", shape
		}
	}
	for i, evidence := range asking.Evidence {
		if shape := countersign.SecretShape(string(evidence.Content)); shape != "" {
			return fmt.Sprintf("/evidence/%d", i), shape
		}
	}
	return "", ""
}

// checkFiles refuses files that would be kept, or made rows, with a secret in them.
func checkFiles(files []directory.File) error {
	for _, file := range files {
		if shape := countersign.SecretShape(string(file.Bytes)); shape != "" {
			return countersign.Errorf(countersign.Invalid, "secret-pasted", "The file %s holds what looks like %s. Secrets never pass the desk: take it out, and treat it as leaked if it is real.", countersign.Clip(file.Path), shape).At("/files")
		}
	}
	return nil
}
