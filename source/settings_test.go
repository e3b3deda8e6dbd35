package source_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/source"
)

func settings() source.Settings {
	return source.Settings{
		URL: "https://tickets.example.com/api/{key}?fields=status", Key: "[A-Z]+-[0-9]+", State: "$.fields.status.name",
		Open: []string{"Open", "In progress"}, Closed: []string{"Done"},
		Title: "$.fields.summary", OpenedBy: "$.fields.reporter.name", Assignee: `$.people[?@.role == "assignee"].name`,
	}
}

func TestSettingsThatAreRightPass(t *testing.T) {
	for name, change := range map[string]func(*source.Settings){
		"whole":            func(*source.Settings) {},
		"without the rest": func(s *source.Settings) { s.Title, s.OpenedBy, s.Assignee = "", "", "" },
		"loopback":         func(s *source.Settings) { s.URL = "http://127.0.0.1:9000/{key}" },
		"loopback, IPv6":   func(s *source.Settings) { s.URL = "http://[::1]:9000/{key}" },
		"localhost":        func(s *source.Settings) { s.URL = "http://localhost/{key}" },
		"in the query":     func(s *source.Settings) { s.URL = "https://tickets.example.com/api?number={key}" },
		"within a segment": func(s *source.Settings) { s.URL = "https://tickets.example.com/ticket-{key}.json" },
	} {
		s := settings()
		change(&s)
		if _, err := source.NewHTTP("x", s, countersign.Secret{}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASettingThatIsWrongIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*source.Settings)
		field, says string
	}{
		"no URL":              {func(s *source.Settings) { s.URL = "" }, "/url", "https://"},
		"no key":              {func(s *source.Settings) { s.URL = "https://t.example.com/" }, "/url", "{key}"},
		"two keys":            {func(s *source.Settings) { s.URL = "https://t.example.com/{key}/{key}" }, "/url", "once"},
		"key as host":         {func(s *source.Settings) { s.URL = "https://{key}/x" }, "/url", "path"},
		"key in the host":     {func(s *source.Settings) { s.URL = "https://t.{key}.example.com/x" }, "/url", "path"},
		"key ends the host":   {func(s *source.Settings) { s.URL = "https://t.example.com{key}" }, "/url", "path"},
		"key as port":         {func(s *source.Settings) { s.URL = "https://t.example.com:{key}/" }, "/url", "URL"},
		"key in both":         {func(s *source.Settings) { s.URL = "https://t.example.com/{key}?id={key}" }, "/url", "path"},
		"key in the fragment": {func(s *source.Settings) { s.URL = "https://t.example.com/#{key}" }, "/url", "path"},
		"key as scheme":       {func(s *source.Settings) { s.URL = "{key}://t.example.com/" }, "/url", "path"},
		"a fragment":          {func(s *source.Settings) { s.URL = "https://t.example.com/{key}#x" }, "/url", "#"},
		"a password":          {func(s *source.Settings) { s.URL = "https://u:hunter2@t.example.com/{key}" }, "/url", "credential"},
		"http":                {func(s *source.Settings) { s.URL = "http://t.example.com/{key}" }, "/url", "https://"},
		"a name like an IP":   {func(s *source.Settings) { s.URL = "http://127.0.0.1.example.com/{key}" }, "/url", "https://"},
		"another scheme":      {func(s *source.Settings) { s.URL = "file://localhost/{key}" }, "/url", "https://"},
		"no host":             {func(s *source.Settings) { s.URL = "/tickets/{key}" }, "/url", "URL"},
		"a bad URL":           {func(s *source.Settings) { s.URL = "https://t.example.com/%zz/{key}" }, "/url", "URL"},
		"a long URL":          {func(s *source.Settings) { s.URL += strings.Repeat("x", 2000) }, "/url", "2000 bytes"},
		"no expression":       {func(s *source.Settings) { s.Key = "" }, "/key", "expression"},
		"a bad expression":    {func(s *source.Settings) { s.Key = "[A-Z" }, "/key", "missing closing ]: `[A-Z`"},
		"out of the group":    {func(s *source.Settings) { s.Key = "a)|(?:b" }, "/key", "unexpected )"},
		"no state":            {func(s *source.Settings) { s.State = "" }, "/state", "JSON path"},
		"a bad path":          {func(s *source.Settings) { s.State = "fields.status" }, "/state", "RFC 9535"},
		"a path anywhere":     {func(s *source.Settings) { s.State = "$..status" }, "/state", "step by step"},
		"a bad title":         {func(s *source.Settings) { s.Title = "$." }, "/title", "RFC 9535"},
		"a bad opener":        {func(s *source.Settings) { s.OpenedBy = "$[" }, "/opened_by", "RFC 9535"},
		"a bad assignee":      {func(s *source.Settings) { s.Assignee = "$x" }, "/assignee", "RFC 9535"},
		"a long path":         {func(s *source.Settings) { s.Title = "$." + strings.Repeat("x", 2000) }, "/title", "2000 bytes"},
		"never open":          {func(s *source.Settings) { s.Open = nil }, "/open", "at least one word"},
		"never closed":        {func(s *source.Settings) { s.Closed = nil }, "/closed", "at least one word"},
		"an empty word":       {func(s *source.Settings) { s.Open = []string{"Open", ""} }, "/open/1", "word"},
		"open and closed":     {func(s *source.Settings) { s.Closed = []string{"Done", "Open"} }, "/closed/1", `"Open" stands twice`},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings()
			c.change(&s)
			_, err := source.NewHTTP("x", s, countersign.Secret{}, nil)
			var known *countersign.Error
			if !errors.As(err, &known) || known.Kind != countersign.Invalid || known.Reason != "malformed-source" || known.Field != c.field || !strings.Contains(known.Message, c.says) {
				t.Errorf("got %v, want %s: %s", err, c.field, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows a password: %v", err)
			}
		})
	}
}
