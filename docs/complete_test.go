package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/workflow"
)

// pages are all pages of the repository that people read.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "decisions/*.md", "../*.md"} {
		matched, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matched...)
	}
	return found
}

var (
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	inCode = regexp.MustCompile("(?s)```.*?```")
)

func TestLinksLeadSomewhere(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(inCode.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, found[1], err)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d links were looked at", checked)
	}
}

func TestTheGlossaryHasEveryStateCommandAndRole(t *testing.T) {
	var words []string
	add := func(word any) { words = append(words, fmt.Sprintf("`%s`", word)) }
	for _, state := range countersign.RequestStates {
		add(state)
	}
	for _, state := range countersign.GrantStates {
		add(state)
	}
	for _, state := range countersign.ProposalStates {
		add(state)
	}
	for _, state := range countersign.HoldStates {
		add(state)
	}
	for _, command := range slices.Concat(workflow.RequestCommands, workflow.GrantCommands, workflow.ProposalCommands, workflow.HoldCommands) {
		add(command)
	}
	for _, role := range workflow.Roles {
		add(role)
	}
	missing(t, "glossary.md", words)
}

func TestTheOperatorsPageHasEveryScopeFlagAndKey(t *testing.T) {
	var words []string
	for _, scope := range auth.Scopes {
		words = append(words, fmt.Sprintf("`%s`", scope))
	}
	// The flags and keys of the configuration as the command line declares them.
	source := read(t, "../cli/serve.go") + read(t, "../cli/config.go")
	for _, found := range regexp.MustCompile(`flags\.[A-Z]\w+, "([a-z-]+)"`).FindAllStringSubmatch(source, -1) {
		words = append(words, "`--"+found[1]+"`")
	}
	for _, found := range regexp.MustCompile("`yaml:\"([a-z_]+)\"`").FindAllStringSubmatch(source, -1) {
		words = append(words, "`"+found[1]+"`")
	}
	if len(words) < len(auth.Scopes)+16 {
		t.Fatalf("found only %v", words)
	}
	missing(t, "operating.md", words)
}

func TestTheLibrariesPageNamesExactlyTheDirectDependencies(t *testing.T) {
	var direct []string
	for _, line := range strings.Split(read(t, "../go.mod"), "\n") {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			direct = append(direct, fields[0])
		}
	}
	if len(direct) < 5 {
		t.Fatalf("found only %v in go.mod", direct)
	}
	page := "decisions/0010-libraries.md"
	var words []string
	for _, module := range direct {
		words = append(words, "| `"+module+"` |")
	}
	missing(t, page, words)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, page), -1) {
		if !strings.Contains(" "+strings.Join(direct, " ")+" ", " "+row[1]+" ") {
			t.Errorf("%s names %s, which go.mod does not require directly", page, row[1])
		}
	}
}

func missing(t *testing.T, page string, words []string) {
	t.Helper()
	text := read(t, page)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s does not have %s", page, word)
		}
	}
}

// Nothing that is committed tells where and how it was made.
func TestPagesTellNothingOfTheMachineTheyWereWrittenOn(t *testing.T) {
	for _, page := range pages(t) {
		for i, line := range strings.Split(read(t, page), "\n") {
			if strings.Contains(line, "/work"+"/") || strings.Contains(line, "../"+"shared") {
				t.Errorf("%s:%d: %s", page, i+1, line)
			}
		}
	}
}

// inWords are numbers as pages write them.
var inWords = []string{"ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "twenty-one", "twenty-two", "twenty-three", "twenty-four", "twenty-five"}

func TestPagesThatCountTheAlertsCountThemRight(t *testing.T) {
	count := strings.Count(read(t, "../deploy/alerts.yaml"), "\n      - alert: ")
	if count < 10 || count >= 10+len(inWords) {
		t.Fatalf("there are %d alerts, which nobody could write in words here", count)
	}
	counted := 0
	for _, page := range pages(t) {
		for _, found := range regexp.MustCompile(`\b([a-z]+(?:-[a-z]+)?|\d+) alerts\b`).FindAllStringSubmatch(read(t, page), -1) {
			if number := strings.ToLower(found[1]); !slices.Contains(inWords, number) && !regexp.MustCompile(`^\d+$`).MatchString(number) {
				continue
			}
			counted++
			if found[1] != inWords[count-10] && found[1] != fmt.Sprint(count) {
				t.Errorf("%s says %q, and there are %d", page, found[0], count)
			}
		}
	}
	if counted == 0 {
		t.Error("no page says how many alerts there are")
	}
}
