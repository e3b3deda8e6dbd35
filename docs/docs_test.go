// Package docs_test holds the pages to what they say: the tutorial and the
// README are executed, links lead somewhere, and lists that follow from the
// code are complete.
package docs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds the command once for a test.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the program")
	}
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	binary := filepath.Join(t.TempDir(), "countersign")
	build := exec.Command("go", "build", "-o", binary, "../cmd/countersign")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return binary
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestTheCommandsOfThePagesDoWhatThePagesSay(t *testing.T) {
	binary := program(t)
	for _, path := range []string{"tutorial.md", "../README.md"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if err := walk(t.Context(), t, read(t, path), binary); err != nil {
				t.Errorf("%s, %v", path, err)
			}
		})
	}
}

// The test above can fail: each page in testdata says something that is not so.
func TestAPageThatSaysWhatIsNotSoIsFound(t *testing.T) {
	binary := program(t)
	for page, want := range map[string]string{
		"wrong-output.md":    `line 5: "echo one": the page shows "two", and there is "one"`,
		"missing-output.md":  `the page shows "two", and there is nothing more`,
		"more-output.md":     `the page shows no output, and there is "one"`,
		"hidden-failure.md":  `ended with the exit code 3, which does not fit the page`,
		"hidden-success.md":  `ended with the exit code 0, which does not fit the page`,
		"wrong-after-gap.md": `nothing in the output is followed to its end from "four" on`,
	} {
		err := walk(context.Background(), t, read(t, filepath.Join("testdata", page)), binary)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", page, err, want)
		}
	}
}
