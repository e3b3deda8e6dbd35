package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// id finds the first id with the prefix in what was printed.
func id(t *testing.T, prefix, out string) string {
	t.Helper()
	found := regexp.MustCompile(prefix + `_[0-9a-z]{26}`).FindString(out)
	if found == "" {
		t.Fatalf("there is no %s in:\n%s", prefix, out)
	}
	return found
}

func newLedger(t *testing.T) *served {
	t.Helper()
	return newHouse(t, os.DirFS(filepath.Join("..", "httpapi", "testdata", "ledger")))
}

// onCall makes Ada eligible for the emergency role, and returns the grant.
func (s *served) onCall() string {
	s.t.Helper()
	request := id(s.t, "req", s.as("ada", "all", 0, "request", "new", "-e", "ledger/books/on-call", "--reason", "my week"))
	s.as("bo", "all", 0, "request", "approve", request)
	s.settle()
	return id(s.t, "grt", s.as("ada", "all", 0, "request", "show", request))
}

func TestBreakGlassAndItsReviewFromTheCommandLine(t *testing.T) {
	s := newLedger(t)
	s.onCall()
	s.as("ada", "all", 0, "ticket", "open", "incident", "--title", "The books do not balance")
	asking := []string{"--type", "emergency", "-e", "ledger/books/fixer", "--answer", "incident=INC-1", "--reason", "they do not balance"}
	says(t, s.as("ada", "all", 0, append([]string{"request", "preview"}, asking...)...), "by break-glass", "told: group(security)")
	request := id(t, "req", s.as("ada", "all", 0, append([]string{"request", "new"}, asking...)...))
	s.settle()
	shown := s.as("cleo", "all", 0, "request", "show", request)
	says(t, shown, "taken at once, and reviewed afterwards; told at once: ", "Cleo Danner", "Dana Egger", "review: waiting for the end of the access", "the ticket INC-1 has to be closed")
	s.as("ada", "all", 0, "grant", "revoke", id(t, "grt", shown), "--reason", "repaired")
	s.settle()
	says(t, s.as("cleo", "all", exitConflict, "request", "review", request, "--finding", "in-order", "--reason", "looked"), `needs the evidence "report" first`)
	says(t, s.as("ada", "all", exitConflict, "request", "fetch", request, "report"), "INC-1 is not closed yet")
	says(t, s.as("cleo", "all", exitConflict, "request", "unblock", request, "--reason", "again"), "No overdue review")

	s.clock.Advance(25 * time.Hour)
	s.settle()
	says(t, s.as("cleo", "all", 0, "request", "unblock", request, "--reason", "again tonight"), "OVERDUE", "block lifted by Cleo Danner")
	says(t, s.as("emil", "all", 0, "request", "unblock", request, "--reason", "so it is"), "block lifted by Cleo Danner, Emil Falk")

	s.as("ada", "all", 0, "ticket", "close", "INC-1", "--resolution", "Two lines were swapped")
	says(t, s.as("ada", "all", 0, "request", "fetch", request, "report"), "waits for the overdue review", "INC-1 exists and is closed")
	says(t, s.as("cleo", "all", 0, "request", "open", request, "report"), "Two lines were swapped")
	says(t, s.as("cleo", "all", exitConflict, "request", "review", request, "--finding", "in-order", "--reason", "looked"), `needs the evidence "activity" first`)
	says(t, s.as("cleo", "all", 0, "request", "fetch", request, "activity"), "activity: target, sha256:", "Every target told what was done.", "asked of the reviewer where activity is not available")
	says(t, s.as("cleo", "all", 0, "request", "open", request, "activity"), "nothing was done with it")
	says(t, s.as("cleo", "all", exitConflict, "request", "attach", request, "substitute=I asked Ada."), "where that was fetched and is not available")
	says(t, s.as("cleo", "all", exitInvalid, "request", "review", request, "--finding", "fine", "--reason", "looked"), `"in-order" or "not-in-order"`)
	says(t, s.as("cleo", "all", exitInvalid, "request", "review", request, "--reason", "looked"), "finding")
	says(t, s.as("cleo", "all", 0, "request", "review", request, "--finding", "not-in-order", "--reason", "one line too many"), "found not in order by Cleo Danner", "one line too many")
	says(t, s.as("ada", "read", 0, "request", "show", request), "review: done, not in order", "Timeline", `opened the evidence "report"`, "agreed that break-glass can be used again", "found not in order")
}

func TestAQuestionItsAnswerAndAnAmendmentFromTheCommandLine(t *testing.T) {
	s := newHouse(t, nil)
	request := id(t, "req", s.as("mina.park", "all", 0, "request", "new", "-e", "wiki/pages/editor", "--reason", "I write the handbook", "--duration", "20d"))
	says(t, s.as("keiko.mori", "all", 0, "request", "ask", request, "Which chapter?"), "waits for an answer to Keiko Mori", "question  Keiko Mori, ", ": Which chapter?")
	says(t, s.as("mina.park", "all", 0, "request", "answer", request, "The one on refunds."), "answered, ", ": The one on refunds.")
	says(t, s.as("keiko.mori", "all", 0, "request", "approve", request), "approved by Keiko Mori")
	says(t, s.as("mina.park", "all", 0, "request", "amend", request, "--duration", "10d"), "for 10d", "I write the handbook", "approved by Keiko Mori")
	out := s.as("mina.park", "all", 0, "request", "amend", request, "--reason", "I write two chapters")
	says(t, out, "for 10d", "I write two chapters", "1 more of Keiko Mori")
	if strings.Contains(out, "approved by") {
		t.Errorf("an approval of something else still counts:\n%s", out)
	}
	says(t, s.as("keiko.mori", "all", exitRefused, "request", "amend", request, "--duration", "1d"), "Only who asked")
	says(t, s.as("mina.park", "all", exitInvalid, "request", "amend", request, "--until", "soon"), "soon")
	says(t, s.as("mina.park", "request", exitRefused, "request", "ask", request, "x"), `lacks the scope "decide"`)

	// An end that was asked for stays the end.
	until := s.clock.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
	bound := id(t, "req", s.as("leo.martin", "all", 0, "request", "new", "-e", "wiki/pages/editor", "--reason", "a week of writing", "--until", until.Format(time.RFC3339)))
	s.as("keiko.mori", "all", 0, "request", "approve", bound)
	s.clock.Advance(time.Minute)
	s.settle()
	out = s.as("leo.martin", "all", 0, "request", "amend", bound, "--json")
	says(t, out, until.UTC().Format("2006-01-02T15:04:05"), `"outcome": "approve"`)
}

func TestAnExceptionFromTheCommandLine(t *testing.T) {
	s := newLedger(t)
	until := s.clock.Now().Add(7 * 24 * time.Hour).Format(time.RFC3339)
	asking := []string{"-e", "ledger/books/reader", "--reason", "the audit", "--evidence", "plan=All of May"}
	says(t, s.as("fay", "all", 0, append([]string{"request", "preview"}, asking...)...), "an exception could waive it")
	exception := append(asking, "--exception-control", "Emil looks at each query")
	says(t, s.as("fay", "all", exitInvalid, append([]string{"request", "new"}, exception...)...), "--exception-owner")
	exception = append(exception, "--exception-owner", "emil", "--exception-until", until)
	says(t, s.as("fay", "all", 0, append([]string{"request", "preview"}, exception...)...), "waived    The books are for employees.", "stage     exception")
	out := s.as("fay", "all", 0, append([]string{"request", "new"}, exception...)...)
	says(t, out, "waives refused-by-policy; Emil Falk answers for it: Emil looks at each query", "whoever approves has to open it")
	request := id(t, "req", out)
	says(t, s.as("fay", "all", 0, "request", "amend", request, "--exception-control", "Emil looks at each query at once"), "Emil Falk answers for it: Emil looks at each query at once")
	says(t, s.as("fay", "all", exitRefused, "request", "amend", request, "--no-exception"), "The books are for employees.")
	says(t, s.as("cleo", "all", exitRefused, "request", "approve", request), `Open the evidence "plan"`)
	if out := s.as("cleo", "read", 0, "request", "open", request, "plan"); out != "All of May\n" {
		t.Errorf("the evidence is %q", out)
	}
	s.as("cleo", "all", 0, "request", "approve", request)
}

func TestEvidenceThatIsNoTextIsWrittenToAFile(t *testing.T) {
	s := newLedger(t)
	folder := t.TempDir()
	scan, copied := filepath.Join(folder, "scan"), filepath.Join(folder, "copy")
	if err := os.WriteFile(scan, []byte("%PDF\x00\x1b"), 0o600); err != nil {
		t.Fatal(err)
	}
	request := id(t, "req", s.as("ada", "all", 0, "request", "new", "-e", "ledger/books/reader", "--reason", "the audit", "--evidence", "plan=@"+scan))
	says(t, s.as("cleo", "all", exitInvalid, "request", "open", request, "plan"), "is no text")
	says(t, s.as("cleo", "all", 0, "request", "open", request, "plan", "--json"), `"base64": "JVBERgAb"`)
	s.as("cleo", "all", 0, "request", "open", request, "plan", "--output", copied)
	if content, err := os.ReadFile(copied); err != nil || string(content) != "%PDF\x00\x1b" {
		t.Errorf("the copy is %q, %v", content, err)
	}
}

func TestALaterEndIsAskedForFromTheCommandLine(t *testing.T) {
	s := newLedger(t)
	grant := s.onCall()
	says(t, s.as("ada", "all", exitInvalid, "grant", "extend", grant, "--duration", "60d"), "reason")
	says(t, s.as("ada", "all", exitRefused, "grant", "extend", grant, "--duration", "5d", "--reason", "my week again"), "ends at")
	out := s.as("ada", "all", 0, "grant", "extend", grant, "--duration", "60d", "--reason", "my week again")
	says(t, out, "extends   "+grant, "ledger/books/on-call for Ada Berg, for 60d")
	s.as("bo", "all", 0, "request", "approve", id(t, "req", out))
	s.settle()
	says(t, s.as("ada", "all", 0, "grant", "show", grant), "until "+s.clock.Now().Add(60*24*time.Hour).UTC().Format("2006-01-02"))
}
