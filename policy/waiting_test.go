package policy

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestASetSaysHowLongSomethingWaitsForASecondPerson(t *testing.T) {
	load := func(text string) (*Set, []Problem) {
		return Load([]File{{Path: "proposals.yaml", Bytes: []byte(text)}}, nil)
	}
	const day = countersign.Day
	for text, want := range map[string]WaitingTerms{
		"proposals: {within: 60d, remind: 10d}": {60 * day, 10 * day},
		"proposals: {within: 4d}":               {4 * day, 2 * day},
		"proposals: {remind: 1h}":               {30 * day, countersign.Hour},
		"owners: {grace: 3d}":                   {30 * day, 7 * day},
	} {
		set, problems := load(text)
		if len(problems) > 0 || set.Proposals() != want {
			t.Errorf("%s: %v, want %v", text, problems, want)
		}
	}
	for text, want := range map[string]WaitingTerms{
		"owners: {grace: 3d}":                       {30 * day, 14 * day},
		"owners: {accept_within: 6d}":               {6 * day, 3 * day},
		"owners: {accept_within: 60d, remind: 20d}": {60 * day, 20 * day},
	} {
		set, problems := load(text)
		if len(problems) > 0 || set.Owners().Offers() != want {
			t.Errorf("%s: %v, want %v", text, problems, want)
		}
	}
	for text, problem := range map[string]string{
		"proposals: {within: 1h}":               "`within` is 1h, and must be from 1d to 365d",
		"proposals: {within: 366d}":             "must be from",
		"proposals: {within: 5d, remind: 5d}":   "`remind` is 5d, and must be shorter than `within`, which is 5d",
		"proposals: {remind: 30d}":              "must be shorter than `within`, which is 30d",
		"proposals: {remind: 1m}":               "`remind` is 1m, and must be from 1h to 90d",
		"proposals: {whithin: 5d}":              "within",
		"proposals: 30d":                        "mapping",
		"owners: {accept_within: 2h}":           "`accept_within` is 2h, and must be from 1d to 365d",
		"owners: {accept_within: 30d, x: true}": "accept_within",
	} {
		if _, problems := load(text); len(problems) != 1 || !strings.Contains(problems[0].Message, problem) {
			t.Errorf("%s: %v, want %q", text, problems, problem)
		}
	}
	if _, problems := Load([]File{{"a.yaml", []byte("proposals: {within: 3d}")}, {"b.yaml", []byte("proposals: {within: 4d}")}}, nil); len(problems) != 1 || !strings.Contains(problems[0].Message, "given twice") {
		t.Errorf("two files: %v", problems)
	}
}

func TestWhatIsOlderThanItsTimeIsRemindedOfBeforeItLapses(t *testing.T) {
	terms := WaitingTerms{Within: 30 * countersign.Day, Remind: 7 * countersign.Day}
	const begun = countersign.Instant(1_800_000_000_000)
	for name, c := range map[string]struct{ age, until, remind countersign.Seconds }{
		"just made":                 {0, 30, 23},
		"older, with time left":     {20, 30, 23},
		"old, and nobody was told":  {26, 33, 26},
		"forgotten for a long time": {400, 407, 400},
	} {
		until, remindAt := terms.Clock(begun, begun.Add(c.age*countersign.Day))
		if until != begun.Add(c.until*countersign.Day) || remindAt != begun.Add(c.remind*countersign.Day) {
			t.Errorf("%s: until %s, reminded of at %s", name, until, remindAt)
		}
	}
}
