package notify

import (
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

// FuzzTemplates: a template is refused by name, or carries out for any message,
// and its subject is one line.
func FuzzTemplates(f *testing.F) {
	for _, name := range templateNames {
		text, err := defaults.ReadFile("templates/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, string(text), "A subject", "A text\nof two lines", 3)
	}
	for _, text := range []string{"{{.Subjekt}}", "{{range .Lines}}{{.Text}}{{else}}none{{end}}", "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "{{indent 1}}", "{{", "{{index .Lines 7}}", "{{with .Link}}{{.About}}{{end}}", "{{printf \"%1000000d\" 1}}"} {
		f.Add(digestText, text, "A subject", "", 60)
	}
	f.Fuzz(func(t *testing.T, name, text, subject, content string, count int) {
		templates, err := ParseTemplates(fstest.MapFS{name: &fstest.MapFile{Data: []byte(text)}})
		if err != nil {
			if countersign.KindOf(err) != countersign.Invalid {
				t.Fatalf("%s: %v is not Invalid", name, err)
			}
			return
		}
		message := Message{Key: "key", To: Recipient{ID: "idn_1", Name: subject}}
		for range 1 + uint(count)%60 {
			message.Lines = append(message.Lines, Line{Key: "key", Kind: "reminder", At: 1769850000123, Subject: subject, Text: content, About: "req_1"})
		}
		title, body, err := templates.render(message, subject, nil)
		if err != nil {
			t.Fatalf("%s passed, and fails on the day: %v", name, err)
		}
		if strings.ContainsAny(title, "\r\n") || utf8.RuneCountInString(title) > maxSubject || !strings.HasSuffix(body, "\n") {
			t.Fatalf("the subject is %q, the body %q", title, body)
		}
	})
}
