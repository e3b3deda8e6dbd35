package metrics_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// words of the query language that stand in expressions beside names of figures.
var spoken = map[string]bool{"time": true, "abs": true, "increase": true, "absent": true, "and": true, "or": true, "m": true, "h": true}

func TestEveryAlertIsAboutFiguresThatExistAndHasItsSection(t *testing.T) {
	w := watch(t)
	names := map[string]bool{}
	for full := range w.scrape() {
		name, _, _ := strings.Cut(full, "{")
		names[name] = true
	}
	text, err := os.ReadFile("../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      struct{ Severity string }
				Annotations struct{ Summary string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	rules := file.Groups[0].Rules
	if len(rules) < 10 {
		t.Errorf("there are %d alerts", len(rules))
	}
	sections := regexp.MustCompile(`(?m)^### (Countersign\w+)$`).FindAllStringSubmatch(string(page), -1)
	if len(sections) != len(rules) {
		t.Errorf("docs/operating.md has %d sections of alerts, and there are %d alerts", len(sections), len(rules))
	}
	for _, rule := range rules {
		plain := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(rule.Expr, "")
		for _, word := range regexp.MustCompile(`[A-Za-z_]\w*`).FindAllString(plain, -1) {
			if !names[word] && !spoken[word] {
				t.Errorf("%s is about %s, which /metrics does not have", rule.Alert, word)
			}
		}
		if !strings.Contains(plain, "countersign_") || rule.Annotations.Summary == "" || rule.Labels.Severity != "page" && rule.Labels.Severity != "ticket" {
			t.Errorf("%s is not whole: %+v", rule.Alert, rule)
		}
		if !strings.Contains(string(page), "\n### "+rule.Alert+"\n") {
			t.Errorf("docs/operating.md does not say what to do at %s", rule.Alert)
		}
	}
}

func TestEveryAlertFiresForWhatItIsAbout(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, arguments := range [][]string{{"check", "rules", "../deploy/alerts.yaml"}, {"test", "rules", "testdata/alerts.yaml"}} {
		if out, err := exec.Command("promtool", arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
}
