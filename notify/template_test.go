package notify

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign"
)

// folder is a folder with one file.
func folder(name, content string) fs.FS {
	return fstest.MapFS{name: &fstest.MapFile{Data: []byte(content)}}
}

func parsed(t *testing.T, from fs.FS) *Templates {
	t.Helper()
	templates, err := ParseTemplates(from)
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

func link(about string) string { return "https://desk.example/requests/" + about }

func TestTheDefaultTemplatesTellOneLineAndADigest(t *testing.T) {
	templates := parsed(t, fstest.MapFS{})
	bare := Message{Key: "bare", Lines: []Line{{At: at, Subject: "The vault is full"}}}
	about := bare
	about.Lines = []Line{{At: at, Subject: "The vault is full", About: "sys_1"}}
	shortDigest := digest(2)
	shortDigest.Lines[1].Text, shortDigest.Lines[1].About = "", ""
	for name, c := range map[string]struct {
		message       Message
		house         string
		link          func(string) string
		subject, text string
	}{
		"one": {oneMessage(), "Example Ltd", link, "[Example Ltd] Grace asks for the role admin on billing", `Hello Ada Lovelace,

Grace asks for the role admin on billing

    Reason: the month ends.
    Until: tomorrow.

https://desk.example/requests/req_1

-- 
Example Ltd, 2026-01-31 09:00 UTC. This mail was written by a program.
`},
		"the least": {bare, "", nil, "The vault is full", `The vault is full

-- 
2026-01-31 09:00 UTC. This mail was written by a program.
`},
		"without links": {about, "", nil, "The vault is full", `The vault is full

It is about sys_1.

-- 
2026-01-31 09:00 UTC. This mail was written by a program.
`},
		"digest": {shortDigest, "Example Ltd", link, "[Example Ltd] 2 notices, first: Thing 0", `Hello Ada Lovelace,

there are 2 things to tell you.

* Thing 0 (2026-01-31 09:00 UTC)
    Reason: the month ends.
    Until: tomorrow.
  https://desk.example/requests/req_1

* Thing 1 (2026-01-31 08:59 UTC)

-- 
Example Ltd. This mail was written by a program.
`},
	} {
		t.Run(name, func(t *testing.T) {
			subject, text, err := templates.render(c.message, c.house, c.link)
			if err != nil {
				t.Fatal(err)
			}
			if subject != c.subject || text != c.text {
				t.Errorf("got %q and\n%s", subject, text)
			}
		})
	}
}

func TestADigestCountsWhatItLeavesOut(t *testing.T) {
	_, text, err := parsed(t, fstest.MapFS{}).render(digest(60), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "there are 60 things") || strings.Count(text, "\n* ") != 50 || !strings.Contains(text, "And 10 more, which the desk shows you.") {
		t.Errorf("got\n%s", text)
	}
}

func TestWhatOthersWroteDoesNotLookLikeOurs(t *testing.T) {
	message := oneMessage()
	message.Lines[0].Text = "Reason\u2028https://evil.example/sign-in\r-- \rhttps://evil.example"
	_, text, err := parsed(t, fstest.MapFS{}).render(message, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "https://evil") {
			t.Errorf("a line of somebody else's stands at the margin:\n%s", text)
		}
	}
	if strings.Count(text, "    https://evil") != 2 {
		t.Errorf("got\n%s", text)
	}
}

func TestAHouseHasItsOwnWordsWhereItGivesThem(t *testing.T) {
	templates := parsed(t, fstest.MapFS{
		"one.subject.txt": &fstest.MapFile{Data: []byte("{{if eq .Kind `reminder`}}Again: {{end}}{{.Subject}}\nat {{.House}}\n")},
		"..data":          &fstest.MapFile{Data: []byte("{{")},
	})
	message := oneMessage()
	message.Lines[0].Kind = "reminder"
	subject, text, err := templates.render(message, "Example\r\nBcc: x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if subject != "Again: Grace asks for the role admin on billing at Example Bcc: x" {
		t.Errorf("the subject is %q", subject)
	}
	if !strings.Contains(text, "written by a program") {
		t.Errorf("the text is not the default:\n%s", text)
	}
	if subject, _, err = templates.render(digest(2), "", nil); err != nil || subject != "2 notices, first: Thing 0" {
		t.Errorf("the digest's subject is %q, %v", subject, err)
	}
}

func TestATemplateThatCannotWorkIsRefusedByFileAndLine(t *testing.T) {
	for name, c := range map[string]struct {
		file, content, want string
	}{
		"broken":                           {"one.text.txt", "a\n{{.Subject}\n", "one.text.txt:2:"},
		"an unknown function":              {"one.text.txt", "\n\n{{upper .Subject}}", "one.text.txt:3:"},
		"an unknown field":                 {"one.text.txt", "a\n{{.Subjct}}", "one.text.txt:2:"},
		"a field of the digest":            {"one.subject.txt", "{{.Lines}}", "there are House, Name, Kind, At, Subject"},
		"a field of one line":              {"digest.subject.txt", "{{.Subject}}", "there are House, Name, Count, More, Lines"},
		"an unknown field of lines":        {"digest.text.txt", "{{range .Lines}}\n\n{{.Sub}}{{end}}", "digest.text.txt:3:"},
		"in a branch not taken":            {"one.text.txt", "{{if eq .Kind `x`}}\n{{.Bogus}}{{end}}", "one.text.txt:2:"},
		"in an else":                       {"one.text.txt", "{{if .Kind}}a{{else}}\n{{.Bogus}}{{end}}", "one.text.txt:2:"},
		"in an else of with":               {"one.text.txt", "{{with .Link}}a{{else}}\n{{.Bogus}}{{end}}", "one.text.txt:2:"},
		"in a with":                        {"one.text.txt", "{{with .Link}}\n{{.Bogus}}{{end}}", "one.text.txt:2:"},
		"in an else of range, in a branch": {"digest.text.txt", "{{range .Lines}}a{{else}}{{if .More}}\n{{.Bogus}}{{end}}{{end}}", "digest.text.txt:2:"},
		"behind a break":                   {"digest.text.txt", "{{range .Lines}}{{if eq .Kind `reminder`}}{{break}}{{end}}\n{{.Bogus}}{{end}}", "digest.text.txt:2:"},
		"in a definition":                  {"one.text.txt", "{{define `x`}}{{if .About}}\n{{.Bogus}}{{end}}{{end}}{{template `x` .}}", "one.text.txt:2:"},
		"an undefined definition":          {"one.text.txt", "{{template `x` .}}", "one.text.txt:1:"},
		"what fails without a link":        {"one.text.txt", "\n{{slice .Link 0 8}}", "one.text.txt:2:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTemplates(folder(c.file, c.content))
			refusedAs(t, err, countersign.Invalid, "malformed-template")
			if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
}

func TestAFileThatIsNoTemplateIsRefusedWithTheNearestName(t *testing.T) {
	for name, want := range map[string]string{
		"one.subjct.txt": "did you mean one.subject.txt?",
		"Digest.text":    "did you mean digest.text.txt?",
		"README.md":      "the names are one.subject.txt, one.text.txt, digest.subject.txt, digest.text.txt",
	} {
		_, err := ParseTemplates(folder(name, "x"))
		refusedAs(t, err, countersign.Invalid, "unknown-template")
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	_, err := ParseTemplates(os.DirFS(t.TempDir() + "/none"))
	refusedAs(t, err, countersign.Invalid, "unreadable-templates")
	_, err = ParseTemplates(fstest.MapFS{"one.text.txt/x": &fstest.MapFile{}})
	refusedAs(t, err, countersign.Invalid, "unreadable-templates")
}

func TestTheTemplatesThatAreEmbeddedAreTheOnesThatAreUsed(t *testing.T) {
	entries, err := fs.ReadDir(defaults, "templates")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(templateNames) {
		t.Errorf("%d files are embedded", len(entries))
	}
	for _, entry := range entries {
		if !slices.Contains(templateNames, entry.Name()) {
			t.Errorf("%s is embedded and not used", entry.Name())
		}
	}
}
