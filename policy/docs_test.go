package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The examples of the reference are policies: together they load, and their own
// tests pass.
func TestTheExamplesOfTheReferenceLoad(t *testing.T) {
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	for i, block := range strings.Split(string(page), "```yaml\n")[1:] {
		content, _, closed := strings.Cut(block, "```")
		if !closed {
			t.Fatalf("example %d does not end", i+1)
		}
		files = append(files, File{Path: fmt.Sprintf("example-%d.yaml", i+1), Bytes: []byte(content)})
	}
	if len(files) != 13 {
		t.Fatalf("the page has %d examples, want 13", len(files))
	}
	set, problems := Load(files, time.LoadLocation)
	for _, problem := range problems {
		t.Error(problem)
	}
	if set == nil {
		return
	}
	tests := set.Test()
	if len(tests) != 5 {
		t.Errorf("the examples have %d tests, want 5", len(tests))
	}
	for _, result := range tests {
		for _, failure := range result.Failures {
			t.Errorf("%s:%d %s: %s", result.File, result.Line, result.Name, failure)
		}
	}
	for _, reason := range []string{ReasonInactive, ReasonUnowned, ReasonTooManyItems, ReasonTooManyOpen, ReasonInvalidAnswer, ReasonRecordNotFound,
		ReasonRecordRetired, ReasonRecordOfAnother, ReasonRecordTooNarrow, ReasonEndAndDuration, ReasonEndInThePast, ReasonNotOffered, ReasonContractEnded,
		ReasonRefusedByPolicy, ReasonMissingAttribute, ReasonConditionFailed, ReasonNoApprover, ReasonTooFewApprovers, ReasonNoRequestType,
		ReasonWrongRequestType, ReasonNothingIsAskedFor, ReasonToxicCombination, ReasonNoExceptions, ReasonNothingToWaive, ReasonNoControl,
		ReasonNoExceptionOwner, ReasonExceptionEnd, ReasonOutOfBounds} {
		if !strings.Contains(string(page), "`"+reason+"`") {
			t.Errorf("the reference does not name the reason %s", reason)
		}
	}
}
