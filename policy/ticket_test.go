package policy

import (
	"slices"
	"strings"
	"testing"
)

const sourcesFile = `sources:
  - {name: incidents, built_in: tickets}
  - name: changes
    url: https://tickets.example/api/{key}?fields=all
    key: "[A-Z]+-[0-9]+"
    state: $.status
    open: [open, in progress]
    closed: [done, closed]
    title: $.summary
    opened_by: $.reporter
    assignee: $.assignee
`

func TestWhatIsWrongWithASourceIsNamed(t *testing.T) {
	const address, form = "https://tickets.example/api/{key}?fields=all", ": write it as in https://tickets.example/api/{key}"
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":          {"opened_by:", "openedby:", "p.yaml:10:5: unknown key `openedby`: did you mean `opened_by`?"},
		"two of one name":      {"changes", "incidents", "p.yaml:3:11: the source `incidents` is given twice, first in p.yaml:2"},
		"neither":              {", built_in: tickets", "", "p.yaml:2:5: a source has either `built_in` or `url`"},
		"both":                 {"    url:", "    built_in: tickets\n    url:", "p.yaml:3:5: a source has either `built_in` or `url`"},
		"built in":             {"built_in: tickets", "built_in: ticket", "p.yaml:2:33: unknown source that is built in `ticket`: did you mean `tickets`?"},
		"a key of the other":   {"built_in: tickets", "built_in: tickets, state: $.x", "p.yaml:2:42: `state` belongs to a source with a `url`"},
		"no state":             {"    state: $.status\n", "", "p.yaml:3:5: the key `state` is missing"},
		"no address":           {address, "tickets", "p.yaml:4:10: this is not an address" + form},
		"an empty address":     {address, `""`, "p.yaml:4:10: this is not an address" + form},
		"not encrypted":        {"https://tickets", "http://tickets", "p.yaml:4:10: an address begins with https; http is for this host alone" + form},
		"no loopback":          {"https://tickets.example", "http://127.0.0.1.example", "p.yaml:4:10: an address begins with https; http is for this host alone" + form},
		"another scheme":       {"https://tickets", "ftp://tickets", "p.yaml:4:10: an address begins with https; http is for this host alone" + form},
		"a password":           {"https://tickets", "https://me:secret@tickets", "p.yaml:4:10: an address holds no user and no password" + form},
		"no place for the key": {"/{key}?", "/key?", "p.yaml:4:10: `{key}` should stand once in an address, in its path or query" + form},
		"in the fragment":      {"/{key}?fields=all", "/#{key}", "p.yaml:4:10: an address has no part after #" + form},
		"in both":              {"/{key}?fields=all", "/{key}?key={key}", "p.yaml:4:10: `{key}` should stand once in an address, in its path or query" + form},
		"twice":                {"/{key}?", "/{key}/{key}?", "p.yaml:4:10: `{key}` should stand once in an address, in its path or query" + form},
		"a fragment":           {"fields=all", "fields=all#top", "p.yaml:4:10: an address has no part after #" + form},
		"no expression":        {"[A-Z]+-[0-9]+", "[A-Z", "p.yaml:5:10: `key` is not a regular expression: error parsing regexp: missing closing ]: `[A-Z`"},
		"an empty expression":  {"[A-Z]+-[0-9]+", "", "p.yaml:5:10: `key` is empty: write what a whole key matches, as in \"[A-Z]+-[0-9]+\""},
		"no path":              {"$.status", "status", "p.yaml:6:12: `status` is not a path into the answer: write it as in $.status"},
		"nothing is open":      {"[open, in progress]", "[]", "p.yaml:7:11: `open` names nothing"},
		"a state twice":        {"in progress", "open", "p.yaml:7:18: `open` stands twice"},
		"open and closed":      {"[done,", "[in progress,", "p.yaml:8:14: `in progress` stands under `open` too"},
	} {
		t.Run(name, func(t *testing.T) { wantSpoiled(t, sourcesFile, c.from, c.to, c.want) })
	}
	for _, host := range []string{"http://localhost:8080", "http://127.0.0.1:9", "http://[::1]:9", "https://tickets.example:8443"} {
		load(t, File{"p.yaml", []byte(strings.Replace(sourcesFile, "https://tickets.example", host, 1))})
	}
}

func TestSourcesAreListed(t *testing.T) {
	infos := load(t, File{"p.yaml", []byte(sourcesFile)}).Sources()
	if len(infos) != 2 || infos[1].Name != "incidents" || infos[1].BuiltIn != "tickets" || infos[1].URL != "" {
		t.Fatalf("the sources are %+v", infos)
	}
	changes := infos[0]
	if changes.Name != "changes" || changes.URL != "https://tickets.example/api/{key}?fields=all" || changes.Key != "[A-Z]+-[0-9]+" || changes.State != "$.status" ||
		!slices.Equal(changes.Open, []string{"open", "in progress"}) || !slices.Equal(changes.Closed, []string{"done", "closed"}) ||
		changes.Title != "$.summary" || changes.OpenedBy != "$.reporter" || changes.Assignee != "$.assignee" {
		t.Errorf("the source is %+v", changes)
	}
}
