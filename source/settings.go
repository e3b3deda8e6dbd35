package source

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/theory/jsonpath"

	"github.com/countersign/countersign"
)

// Settings describe a source that answers over HTTP with JSON. They are part of
// the policy set and hold no secret.
type Settings struct {
	// URL has {key} once, in its path or query, where the key of a ticket goes. It is
	// https, or http on this host. Where the key stands in the query, the answer is a
	// list: one without a state says that there is no such ticket.
	URL string
	// Key is the regular expression (RE2) that a whole key must match.
	Key string
	// State is the JSON path (RFC 9535) to the state of the ticket, which must be
	// one text. Descendant segments ("..") are refused, here and below: what else
	// stands in an answer must not decide what is read.
	State string
	// Open and Closed are the words of State, letter by letter. A word in neither
	// list makes the source Unavailable.
	Open   []string
	Closed []string
	// Title, OpenedBy and Assignee are JSON paths; "" where the source does not say.
	Title    string
	OpenedBy string
	Assignee string
}

// placeholder is where the key goes in a URL.
const placeholder = "{key}"

// most bounds each setting, in bytes.
const most = 2000

// compiled are settings ready for use.
type compiled struct {
	before, after string // of the URL, around the key
	inQuery       bool   // the key stands in the query
	key           *regexp.Regexp
	state         *jsonpath.Path
	open          map[string]bool // by word
	// title, openedBy and assignee are nil where the source does not say.
	title, openedBy, assignee *jsonpath.Path
}

func (s Settings) compile() (*compiled, error) {
	c := &compiled{open: map[string]bool{}}
	var err error
	if c.before, c.after, err = splitURL(s.URL); err != nil {
		return nil, err
	}
	c.inQuery = strings.Contains(c.before, "?")
	if s.Key == "" || len(s.Key) > most {
		return nil, wrong("/key", "a regular expression that a whole key must match belongs here, as [A-Z]+-[0-9]+, of at most %d bytes", most)
	}
	// Alone first: what is wrong only by itself could reach out of the group.
	if _, err = regexp.Compile(s.Key); err == nil {
		c.key, err = regexp.Compile(`\A(?:` + s.Key + `)\z`)
	}
	if err != nil {
		return nil, wrong("/key", "%v", err)
	}
	if s.State == "" {
		return nil, wrong("/state", "a JSON path to the state of the ticket belongs here, as $.status")
	}
	for _, path := range []struct {
		field, text string
		into        **jsonpath.Path
	}{{"/state", s.State, &c.state}, {"/title", s.Title, &c.title}, {"/opened_by", s.OpenedBy, &c.openedBy}, {"/assignee", s.Assignee, &c.assignee}} {
		if *path.into, err = parsePath(path.field, path.text); err != nil {
			return nil, err
		}
	}
	for _, list := range []struct {
		field string
		words []string
		open  bool
	}{{"/open", s.Open, true}, {"/closed", s.Closed, false}} {
		if len(list.words) == 0 {
			return nil, wrong(list.field, "at least one word of the state belongs here: a ticket must be able to be open and to be closed")
		}
		for i, word := range list.words {
			at := fmt.Sprintf("%s/%d", list.field, i)
			if word == "" || len(word) > most {
				return nil, wrong(at, "a word of the state belongs here, of at most %d bytes", most)
			}
			if _, twice := c.open[word]; twice {
				return nil, wrong(at, "the word %q stands twice; it means open or closed, once", countersign.Clip(word))
			}
			c.open[word] = list.open
		}
	}
	return c, nil
}

// splitURL returns what stands before and after the key.
func splitURL(text string) (before, after string, err error) {
	const form = "write it as https://tickets.example.com/api/" + placeholder
	before, after, _ = strings.Cut(text, placeholder)
	whole, failed := url.Parse(before + "key" + after)
	if failed != nil || len(text) > most || whole.Host == "" {
		// What failed may show a password; the form does not.
		return "", "", wrong("/url", "this is not a URL of at most %d bytes: %s", most, form)
	}
	// The key stands in the path or in the query if the URL up to it has a host and a
	// path, and no fragment.
	start, failed := url.Parse(before)
	switch {
	case strings.Count(text, placeholder) != 1 || failed != nil || start.Path == "" || strings.Contains(before, "#"):
		return "", "", wrong("/url", "%s must stand in it once, in the path or the query: %s", placeholder, form)
	case whole.User != nil:
		return "", "", wrong("/url", "a user or password must not stand in it; the credential of a source is no part of its settings")
	case strings.Contains(text, "#"):
		return "", "", wrong("/url", "leave out what begins with #, which is never sent")
	case whole.Scheme != "https" && (whole.Scheme != "http" || !loopback(whole.Hostname())):
		return "", "", wrong("/url", "it must begin with https://; http:// is for this host alone")
	}
	return before, after, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// parsePath returns nil for "".
func parsePath(field, text string) (*jsonpath.Path, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > most {
		return nil, wrong(field, "a JSON path has at most %d bytes here", most)
	}
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, wrong(field, "%q is not a JSON path (RFC 9535): %s", countersign.Clip(text), strings.TrimPrefix(err.Error(), "jsonpath: "))
	}
	for _, segment := range path.Query().Segments() {
		if segment.IsDescendant() {
			return nil, wrong(field, `".." looks everywhere in the answer; give the way to the value step by step, as $.fields.status.name`)
		}
	}
	return path, nil
}

func wrong(field, format string, args ...any) *countersign.Error {
	return countersign.Errorf(countersign.Invalid, "malformed-source", format, args...).At(field)
}
