package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// maxText is how many bytes one text of an answer may have; MaxWait is the longest
// wait that a program can ask for, since a revoke must not be put off for long.
const (
	maxText = 2000
	MaxWait = countersign.Hour
)

// answer is every member that an answer may have; which, forms says.
type answer struct {
	Protocol    int                 `json:"protocol"`
	Answer      string              `json:"answer"`
	Effect      string              `json:"effect"`
	Present     bool                `json:"present"`
	Holder      string              `json:"holder"`
	System      string              `json:"system"`
	Resource    string              `json:"resource"`
	Entitlement string              `json:"entitlement"`
	Until       countersign.Instant `json:"until"`
	Reference   string              `json:"reference"`
	How         string              `json:"how"`
	At          countersign.Instant `json:"at"`
	Message     string              `json:"message"`
	RetryAfter  countersign.Seconds `json:"retry_after"`
	Items       []connector.Item    `json:"items"`
	Next        string              `json:"next"`
	Description
}

// form says which members an answer must and may have besides protocol and answer,
// and which operations it answers; nil is each of them.
type form struct {
	must, may  []string
	operations []operation
}

var forms = map[string]form{
	"description": {must: []string{"actions", "kind"}, may: traits, operations: []operation{describe}},
	"plan":        {must: []string{"effect"}, operations: []operation{plan}},
	"done":        {operations: []operation{apply, revoke}},
	"reading":     {must: []string{"present", "how"}, may: []string{"holder", "system", "resource", "entitlement", "until", "reference"}, operations: []operation{verify, verifyGone}},
	"last-used":   {must: []string{"at"}, operations: []operation{lastUsed}},
	"inventory":   {must: []string{"items", "next"}, operations: []operation{inventory}},
	"rejected":    {must: []string{"message"}},
	"transient":   {must: []string{"message"}, may: []string{"retry_after"}},
	"throttled":   {must: []string{"message", "retry_after"}},
}

// readAnswer reads an answer strictly: what it does not know may be a secret, or
// a misspelt member whose absence would pass for "no".
func readAnswer(what operation, content []byte) (answer, error) {
	var said answer
	members, err := membersOf(content)
	if err != nil {
		return said, err
	}
	if err := json.Unmarshal(members["protocol"], &said.Protocol); err != nil || said.Protocol != Protocol {
		return said, fmt.Errorf(`the member "protocol" must be %d`, Protocol)
	}
	word := ""
	if json.Unmarshal(members["answer"], &word) != nil {
		word = ""
	}
	shape, known := forms[word]
	if !known || shape.operations != nil && !slices.Contains(shape.operations, what) {
		var fit []string
		for _, one := range slices.Sorted(maps.Keys(forms)) {
			if forms[one].operations == nil || slices.Contains(forms[one].operations, what) {
				fit = append(fit, one)
			}
		}
		return said, fmt.Errorf(`the member "answer" must be one of %s, not %q`, strings.Join(fit, ", "), countersign.Clip(word))
	}
	for _, name := range shape.must {
		if members[name] == nil {
			return said, fmt.Errorf("the answer %q lacks the member %q", word, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name != "protocol" && name != "answer" && !slices.Contains(shape.must, name) && !slices.Contains(shape.may, name) {
			return said, fmt.Errorf("the answer %q has no member %q", word, countersign.Clip(name))
		}
		if string(members[name]) == "null" {
			return said, fmt.Errorf("the member %q is null: leave it out where there is nothing", name)
		}
	}
	if err := checkItems(members["items"]); err != nil {
		return said, err
	}
	if err := json.Unmarshal(content, &said); err != nil {
		// The decoder's own text may repeat the value.
		var typed *json.UnmarshalTypeError
		if errors.As(err, &typed) {
			return said, fmt.Errorf("the member %q is of the wrong type", typed.Field)
		}
		return said, errors.New("a time is RFC 3339 in UTC, as 2026-01-31T09:00:00Z, and a duration a whole number of seconds")
	}
	if said.RetryAfter < 0 {
		return said, errors.New(`the member "retry_after" is less than 0`)
	}
	said.RetryAfter, said.Message = min(said.RetryAfter, MaxWait), OneLine(said.Message)
	for name, text := range map[string]string{
		"effect": said.Effect, "how": said.How, "reference": said.Reference,
		"next": said.Next, "holder": said.Holder, "system": said.System, "resource": said.Resource, "entitlement": said.Entitlement,
	} {
		if len(text) > maxText || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			return said, fmt.Errorf("the member %q must be one line of at most %d bytes", name, maxText)
		}
	}
	for _, name := range shape.must {
		if strings.TrimSpace(string(members[name])) == `""` && name != "at" && name != "next" {
			return said, fmt.Errorf("the member %q is empty", name)
		}
	}
	return said, nil
}

// checkItems refuses items that have members that an item does not have: a misspelt
// mark would make somebody else's of what is ours.
func checkItems(content json.RawMessage) error {
	if content == nil {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(content, &items) != nil || items == nil {
		return errors.New(`the member "items" must be a list of objects`)
	}
	for i, item := range items {
		members, err := membersOf(item)
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if !slices.Contains(itemMembers, name) {
				return fmt.Errorf("item %d has a member %q, and an item has none of that name", i, countersign.Clip(name))
			}
		}
	}
	return nil
}

// itemMembers are the names of what a connector.Item holds.
var itemMembers = []string{"principal", "holder", "resource", "entitlement", "credential", "unmarkable", "until", "last_used"}

// membersOf reads one JSON object that can be read in one way only.
func membersOf(content []byte) (map[string]json.RawMessage, error) {
	broken := errors.New("it is not one JSON object in UTF-8")
	if !utf8.Valid(content) {
		return nil, broken
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return nil, broken
	}
	members := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		name, is := token.(string)
		if err != nil || !is {
			return nil, broken
		}
		if members[name] != nil {
			return nil, fmt.Errorf("the member %q stands twice", countersign.Clip(name))
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return nil, broken
		}
		members[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, broken
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows after the JSON object")
	}
	return members, nil
}

// failure is the error that the answer stands for, if it does.
func (a answer) failure() error {
	switch kind := connector.FailureKind(a.Answer); kind {
	case connector.Rejected, connector.Transient, connector.Throttled:
		return &connector.Failure{Kind: kind, Message: a.Message, After: a.RetryAfter}
	}
	return nil
}

// IsFailure reports whether content is an answer that says that nothing was done,
// or perhaps nothing.
func IsFailure(content []byte) bool {
	said, err := readAnswer("", content)
	return err == nil && said.failure() != nil
}

// OneLine is what a program said in passing, fit for a message: the first line
// that is not empty, without what does not print, of at most 500 bytes.
func OneLine(said string) string {
	const most = 500
	for line := range strings.Lines(strings.ToValidUTF8(said, "")) {
		shown := strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsGraphic(r) {
				return r
			}
			return ' '
		}, line))
		if len(shown) > most {
			shown = strings.ToValidUTF8(shown[:most], "") + "…"
		}
		if shown != "" {
			return shown
		}
	}
	return ""
}

// Loopback reports whether a host is this machine, to which a secret may go in clear.
func Loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
